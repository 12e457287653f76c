"""Placeholders that models write instead of an unknown value, such as "N/A" or "<UNKNOWN>". They are never stored."""

from __future__ import annotations

import re
import unicodedata
from importlib.resources import files
from typing import Any

from langchain_agentmem.knowledge.names import folded

_PLACEHOLDERS = frozenset(
    folded(one)
    for one in (files("langchain_agentmem.knowledge.facts") / "placeholders.txt").read_text("utf-8").splitlines()
)
"""Placeholders in several languages. Texts that are ordinary answers too, such as "no", are left out."""

_NAMES = frozenset(("Na", "Nan"))
"""Names of people that are placeholders in other capitals."""

_LONGEST = 60
"""Length of the longest text that may be a placeholder."""

_MARKED = re.compile(r"[<\[{]{1,2}\s*([^<>\[\]{}]{1,40}?)\s*[>\]}]{1,2}")
"""A placeholder in a text, between angle brackets and the like."""

_NAMED = re.compile(r"^(.{1,60}?)\s*(?::|=|\b(?:is|are)\b)\s*(.{1,60})$", re.IGNORECASE | re.DOTALL)
"""A name and a value: "Name: unknown", "The user's age is N/A"."""

_USER = re.compile(r"^(?:the\s+)?(?:user|i|he|she|they|it)$", re.IGNORECASE)


def is_placeholder(value: Any) -> bool:
    """Return true if a value is an empty text or a placeholder for an unknown value.

    Example:
        >>> from langchain_agentmem.knowledge.facts.placeholders import is_placeholder
        >>> [is_placeholder(text) for text in ("N/A", "<UNKNOWN>", " ", "Not_provided.", "Unbekannt", "Nora", 0)]
        [True, True, True, True, True, False, False]
    """
    if not isinstance(value, str) or value.strip() in _NAMES:
        return False
    if len(value) > _LONGEST:
        return not value.strip()
    plain = folded(value.replace("_", " ").replace("’", "'"))
    bare = _without_edges(plain)
    return not bare or bare in _PLACEHOLDERS or _without_edges(bare.replace("-", " ")) in _PLACEHOLDERS


def states_nothing(text: str) -> bool:
    """Return true if the text of a fact is a placeholder, contains a marked one, or says that a value is not known.

    Example:
        >>> from langchain_agentmem.knowledge.facts.placeholders import states_nothing
        >>> [states_nothing(text) for text in ("N/A", "Lives in <UNKNOWN>", "Name: unknown", "Has no pets", "Likes None")]
        [True, True, True, False, False]
    """
    if is_placeholder(text) or any(is_placeholder(marked) for marked in _MARKED.findall(text)):
        return True
    stated = _NAMED.match(text.strip())
    return stated is not None and not _USER.match(stated[1]) and is_placeholder(stated[2])


def without_placeholders(value: Any) -> Any:
    """Return a JSON value without the placeholders in it, and without elements that are None; None for a placeholder.

    Example:
        >>> from langchain_agentmem.knowledge.facts.placeholders import without_placeholders
        >>> without_placeholders({"city": "Oslo", "street": "unknown", "pets": ["N/A", "cat"]})
        {'city': 'Oslo', 'pets': ['cat']}
    """
    if is_placeholder(value):
        return None
    if isinstance(value, list):
        return [without_placeholders(one) for one in value if one is not None and not is_placeholder(one)]
    if isinstance(value, dict):
        return {name: without_placeholders(one) for name, one in value.items() if not is_placeholder(one)}
    return value


def _without_edges(text: str) -> str:
    """Return a text without the characters around it that are neither letters nor digits."""
    start, end = 0, len(text)
    while start < end and not _counts(text[start]):
        start += 1
    while end > start and not _counts(text[end - 1]):
        end -= 1
    return text[start:end]


def _counts(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNMS" and character not in "<>=|~`^+$"
