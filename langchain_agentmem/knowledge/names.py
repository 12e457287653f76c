"""Normal forms of names and sentences. Texts with equal normal forms count as equal."""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache
from typing import Any

from langchain_agentmem.arguments.ids import check_name
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.errors import InvalidInputError

LONGEST_NAME = 200
"""Longest name, in characters."""

_END = " .!…。！"


def folded(text: str) -> str:
    """Return a text without case, compatibility forms, invisible characters and extra spaces.

    Example:
        >>> from langchain_agentmem.knowledge.names import folded
        >>> folded("  ＡＣＭＥ\u00a0Ltd ") == folded("Acme ltd")
        True
    """
    return _folded_name(text) if len(text) <= LONGEST_NAME else _folded(text)


def _folded(text: str) -> str:
    # Case folding may undo the normal form and vice versa, so both are repeated until nothing changes.
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    while (again := unicodedata.normalize("NFKC", once.casefold())) != once:
        once = again
    visible = "".join(one for one in once if unicodedata.category(one) != "Cf")
    return unicodedata.normalize("NFC", " ".join(visible.split()))


_folded_name = lru_cache(maxsize=20_000)(_folded)


def name_key(what: str, name: Any) -> str:
    """Return the key of a name, which is equal for all ways to write the name.

    Args:
        what: Name of the argument, for error messages, for example `"name"`.
        name: The name.

    Raises:
        InvalidTypeError: The name is not a string.
        InvalidInputError: The name is empty, longer than `LONGEST_NAME`, or cannot be stored.
    """
    text = check_name(what, name)
    key = folded(text)
    if not key:
        msg = f"{what} must not be empty; got {shown(text)}."
        raise InvalidInputError(msg)
    length = max(len(text), len(key))
    if length > LONGEST_NAME:
        msg = f"{what} {shown(text, 40)} has {length:,} characters; at most {LONGEST_NAME} are accepted."
        raise InvalidInputError(msg)
    return key


def text_id(text: str) -> str:
    """Return the ID of a text: equal texts have equal IDs."""
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def folded_sentence(text: str) -> str:
    """Return a sentence as `folded` does, and without full stops and exclamation marks around it.

    Example:
        >>> from langchain_agentmem.knowledge.names import folded_sentence
        >>> folded_sentence("Likes  tea.") == folded_sentence("likes tea")
        True
    """
    return folded(text).strip(_END)


def checked_content(what: str, text: Any, longest: int) -> str:
    """Return a text without spaces around it.

    Args:
        what: Name of the argument, for error messages.
        text: The text.
        longest: Longest accepted text, in characters.

    Raises:
        InvalidTypeError: The text is not a string.
        InvalidInputError: The text is empty or has more than `longest` characters.
    """
    check_count("max_length", longest)
    content = check_name(what, text).strip()
    if not folded_sentence(content):
        msg = f"{what} must not be empty."
        raise InvalidInputError(msg)
    if len(content) > longest:
        msg = f"{what} has {len(content):,} characters; at most {longest:,} are accepted. Shorten it."
        raise InvalidInputError(msg)
    return content
