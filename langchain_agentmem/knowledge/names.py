"""When two texts are the same: names that are written differently, and memories that say the same."""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache
from typing import Any

from langchain_agentmem.arguments.ids import check_name
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.errors import InvalidInputError

LONGEST_NAME = 200
"""The most characters of a name."""

_END = " .!…。！"


def folded(text: str) -> str:
    """A text without what does not tell names apart: case, compatibility forms, invisible characters, extra spaces.

    Example:
        >>> from langchain_agentmem.knowledge.names import folded
        >>> folded("  ＡＣＭＥ\u00a0Ltd ") == folded("Acme ltd")
        True
    """
    return _folded_name(text) if len(text) <= LONGEST_NAME else _folded(text)


def _folded(text: str) -> str:
    # Folding the case may undo the normal form, and the other way round.
    once = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    while (again := unicodedata.normalize("NFKC", once.casefold())) != once:
        once = again
    visible = "".join(one for one in once if unicodedata.category(one) != "Cf")
    return unicodedata.normalize("NFC", " ".join(visible.split()))


_folded_name = lru_cache(maxsize=20_000)(_folded)


def name_key(what: str, name: Any) -> str:
    """The key under which a name is known: the same for all ways to write it.

    Args:
        what: How the name is called in a message, for example `"name"`.
        name: The name.

    Raises:
        InvalidTypeError: It is not a string.
        InvalidInputError: Nothing is left of it, it is longer than `LONGEST_NAME`, or it cannot be stored.
    """
    text = check_name(what, name)
    key = folded(text)
    if not key:
        msg = f"{what} must not be empty, got {shown(text)}."
        raise InvalidInputError(msg)
    if max(len(text), len(key)) > LONGEST_NAME:
        msg = f"{what} {shown(text[:40])}… has {max(len(text), len(key)):,} characters; at most {LONGEST_NAME} are accepted."
        raise InvalidInputError(msg)
    return key


def text_id(text: str) -> str:
    """The id of a text: the same for texts that are equal."""
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def folded_sentence(text: str) -> str:
    """What a sentence says: it without case, compatibility forms, extra spaces, and full stops around it.

    Example:
        >>> from langchain_agentmem.knowledge.names import folded_sentence
        >>> folded_sentence("Likes  tea.") == folded_sentence("likes tea")
        True
    """
    return folded(text).strip(_END)


def checked_content(what: str, text: Any, longest: int) -> str:
    """Refuse a text that is empty, too long, or no text; returns it without spaces around it.

    Raises:
        InvalidTypeError: It is not a string.
        InvalidInputError: It is empty or has more than `longest` characters.
    """
    check_count("max_length", longest)
    content = check_name(what, text).strip()
    if not folded_sentence(content):
        msg = f"{what} must not be empty."
        raise InvalidInputError(msg)
    if len(content) > longest:
        msg = f"{what} has {len(content):,} characters; at most {longest:,} are accepted. Say it shorter."
        raise InvalidInputError(msg)
    return content
