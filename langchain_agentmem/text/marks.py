"""Marks of a message for ranking: whether it asks, whether it speaks of a time, and who speaks.

Marks follow the word numbers of a message: the number of the speaker, if the message begins with a name and a colon, and one
number for the marks. No text contains a word with the number of a mark. Words that earlier versions stored have no marks.
The expressions for times are English.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from langchain_agentmem.text.words import ENGLISH, analyze, number_of, words_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ASKS, _TIMED, _SPEAKS = 1, 2, 4
_QUESTION_MARKS = "?\uff1f\u061f"
_ENDING_CHARACTERS = 40
"""A message asks if one of its last characters, as many as this, is a question mark."""

_SPEAKER = re.compile(r"\s*([^\W_]+)\s*:")
_MONTHS = "january|february|march|april|june|july|august|september|october|november|december"
"""Without May, which is a verb more often."""
_TIME = re.compile(
    r"\b(yesterday|today|tonight|tomorrow|last|next|ago|since|recently|just|this (morning|weekend)"
    rf"|(week(end)?|month|year|day)s?|(mon|tues|wednes|thurs|fri|satur|sun)day|{_MONTHS}|(19|20)\d\d)\b",
    re.IGNORECASE,
)


class Marked(NamedTuple):
    """The marks of texts, one element for each text."""

    lengths: NDArray[np.int32]
    """The number of words, without marks."""
    asks: NDArray[np.bool_]
    timed: NDArray[np.bool_]
    speaker: NDArray[np.uint32]
    """The word number of the name of the speaker; 0 if no name is known."""


def analyze_message(text: str, language: str = ENGLISH) -> bytes:
    """Return the word numbers of a message, as `analyze` does, followed by its marks.

    Args:
        text: The text of the message.
        language: The language of the stemmer. Default: `"english"`.

    Example:
        >>> from langchain_agentmem.text.marks import analyze_message
        >>> from langchain_agentmem.text.words import analyze
        >>> analyze_message("Hello").startswith(analyze("Hello"))
        True
    """
    words = analyze(text, language)
    if not words:
        return words
    flags, speaker = 0, _SPEAKER.match(text)
    if any(mark in text[-_ENDING_CHARACTERS:] for mark in _QUESTION_MARKS):
        flags |= _ASKS
    if _TIME.search(text):
        flags |= _TIMED
    if speaker:
        return words + struct.pack("<2I", speaker_number(speaker[1], language), _mark_numbers()[flags | _SPEAKS])
    return words + struct.pack("<I", _mark_numbers()[flags])


def speaker_number(name: str, language: str = ENGLISH) -> int:
    """Return the number of a speaker's name: that of its first word.

    Args:
        name: The name.
        language: The language of the stemmer. Default: `"english"`.
    """
    return next((number_of(word) for word in words_of(name, language)), 0)


def read_marks(numbers: NDArray[np.uint32], lengths: Sequence[int] | NDArray[np.int64]) -> Marked:
    """Return the marks of texts.

    Args:
        numbers: The word numbers of all texts with their marks, one text after the other.
        lengths: How many numbers each text has.
    """
    import numpy as np

    stored = np.asarray(lengths, dtype=np.int64)
    ends = np.cumsum(stored)
    known = np.array(_mark_numbers(), dtype=np.uint32)
    order = np.argsort(known)
    flags, speaker = np.zeros(len(stored), dtype=np.int64), np.zeros(len(stored), dtype=np.uint32)
    filled = np.flatnonzero(stored)
    last = numbers[ends[filled] - 1]
    at = np.searchsorted(known[order], last).clip(0, len(known) - 1)
    is_mark = known[order][at] == last
    marked = filled[is_mark]
    flags[marked] = order[at[is_mark]]
    speaks = marked[(flags[marked] & _SPEAKS > 0) & (stored[marked] > 1)]
    speaker[speaks] = numbers[ends[speaks] - 2]
    own = stored.copy()
    own[marked] -= 1
    own[speaks] -= 1
    return Marked(own.astype(np.int32), flags & _ASKS > 0, flags & _TIMED > 0, speaker)


@cache
def _mark_numbers() -> tuple[int, ...]:
    return tuple(number_of(f"\x00marks {flags}") for flags in range(_ASKS + _TIMED + _SPEAKS + 1))
