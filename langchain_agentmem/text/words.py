"""Full-text search for data that no database engine has indexed.

A text is represented by the stems of its words, each as a number of 32 bits. Texts are ranked with BM25 (Robertson and
Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; k1 = 1.2, b = 0.75, as in SQLite's FTS5).
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError

MAX_SEARCHED_CHARACTERS = 100_000
"""The number of characters of a text that are indexed, about 40 pages. Search does not find later words."""

_K1, _B = 1.2, 0.75
_WORD = re.compile(r"[^\W_]+")
_BYTES = 4
_LONGEST = 64
"""The length of the longest word that is stemmed, in characters."""
_ORDINAL = re.compile(r"^(\d+)(?:st|nd|rd|th)$")
_UNSPACED = re.compile(
    r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
)
"""Text in scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""
_APOSTROPHES = "'\u2019\u02bc\uff07"
_ENDING = re.compile(
    rf"(?<=\w)(?:(?<!\bca)n(?=[{_APOSTROPHES}]t\b))?[{_APOSTROPHES}](?:s|t|ll|re|ve|m|d)\b", re.IGNORECASE
)
"""Contracted endings, which are not words: in Bob's, what's, we'll, don't, can't."""

ENGLISH = "english"


def check_language(language: str) -> str:
    """Return the name of a language with a stemmer.

    Raises:
        ConfigurationError: Snowball has no stemmer for the language.
    """
    if not isinstance(language, str) or language not in _languages():
        known = ", ".join(sorted(_languages()))
        msg = f"Unknown language {shown(language)}. Use one of {known}."
        raise ConfigurationError(msg)
    return language


def analyze(text: str, language: str = ENGLISH, *, characters: bool = True) -> bytes:
    """Return the word numbers of a text: little-endian, 32 bits each.

    Args:
        text: The text, of which the first `MAX_SEARCHED_CHARACTERS` characters are used.
        language: The language of the stemmer. Words of a language without a stemmer are not stemmed. Default: `"english"`.
        characters: Same as in `spaced`. Default: True.

    Example:
        >>> from langchain_agentmem.text.words import analyze
        >>> analyze("Running dogs") == analyze("run, dog!")
        True
    """
    numbers = [_number(word, language) for word in _words(searched(text), characters=characters)]
    return struct.pack(f"<{len(numbers)}I", *numbers)


def searched(text: str) -> str:
    """Return the indexed part of a text: its first `MAX_SEARCHED_CHARACTERS` characters, whole words only.

    Example:
        >>> from langchain_agentmem.text.words import searched
        >>> len(searched("word " * 100_000))
        99999
    """
    if len(text) <= MAX_SEARCHED_CHARACTERS:
        return text
    part = text[: MAX_SEARCHED_CHARACTERS + 1]
    whole = max(part.rfind(" "), part.rfind("\n"))
    return part[:whole] if whole > 0 else part[:-1]


def checked_words(words: bytes) -> bytes:
    """Return stored word numbers.

    Raises:
        ValueError: The bytes are not a result of `analyze`.
    """
    if not isinstance(words, bytes) or len(words) % _BYTES:
        msg = f"its words are not numbers of {_BYTES * 8} bits"
        raise ValueError(msg)
    return words


def scores(texts: Sequence[bytes], terms: Iterable[str], language: str = ENGLISH) -> list[float]:
    """Return the BM25 scores of texts; 0 for a text without any word of the query.

    Args:
        texts: The texts, as results of `analyze`.
        terms: The words of the query.
        language: The language of the texts and the query. Default: `"english"`.
    """
    import numpy as np

    result = np.zeros(len(texts))
    lengths = np.array([len(text) // _BYTES for text in texts], dtype=np.int64)
    if lengths.any():
        words = np.frombuffer(b"".join(texts), dtype="<u4")
        ends = np.cumsum(lengths)
        norms = _K1 * (1 - _B + _B * lengths / lengths.mean())
        for number in {number for term in terms for number in numbers_of(term, language)}:
            positions = np.flatnonzero(words == number)
            owners, counts = np.unique(np.searchsorted(ends, positions, side="right"), return_counts=True)
            rarity = np.log1p((len(texts) - len(owners) + 0.5) / (len(owners) + 0.5))
            result[owners] += rarity * counts * (_K1 + 1) / (counts + norms[owners])
    found: list[float] = result.tolist()
    return found


def spaced(text: str, *, characters: bool = False) -> str:
    """Return a text with spaces for engines that need them: scripts without spaces become overlapping pairs of characters.

    Args:
        text: The text.
        characters: If true, the single characters follow, so that a query finds words of one character. Use true for texts
            and false for queries. Default: False.

    Example:
        >>> from langchain_agentmem.text.words import spaced
        >>> spaced("I am in 東京都!").split()
        ['I', 'am', 'in', '東京', '京都', '!']
        >>> spaced("東京都", characters=True).split()
        ['東京', '京都', '東', '京', '都']
    """
    if text.isascii():
        return text
    return _UNSPACED.sub(lambda run: f" {' '.join(_pairs(_letters(run.group()), characters))} ", text)


def frequencies(texts: Sequence[bytes], numbers: Iterable[int]) -> dict[int, int]:
    """Return the number of texts that contain each word.

    Args:
        texts: The texts, as results of `analyze`.
        numbers: The word numbers.
    """
    import numpy as np

    words = np.frombuffer(b"".join(texts), dtype="<u4")
    ends = np.cumsum([len(text) // _BYTES for text in texts])
    return {
        number: len(np.unique(np.searchsorted(ends, np.flatnonzero(words == number), side="right")))
        for number in set(numbers)
    }


def numbers_of(text: str, language: str = ENGLISH) -> list[int]:
    """Return the word numbers of a text, in order."""
    return [_number(word, language) for word in _words(text)]


def stemmed(text: str, language: str) -> str:
    """Return a text with its words stemmed, for engines that do not know the language."""
    return " ".join(_stem(word, language) for word in _words(text))


def without_endings(text: str) -> str:
    """Return a text without contracted endings, such as `'s` and `n't`.

    Example:
        >>> from langchain_agentmem.text.words import without_endings
        >>> without_endings("What's Bob's bike? We'll see. I don't, can't.")
        'What Bob bike? We see. I do, can.'
    """
    return _ENDING.sub("", text) if any(one in text for one in _APOSTROPHES) else text


def _words(text: str, *, characters: bool = False) -> Iterable[str]:
    plain = text.casefold()
    if plain.isascii():
        return _WORD.findall(plain)
    decomposed = unicodedata.normalize("NFKD", plain)
    plain = "".join(one for one in decomposed if not unicodedata.combining(one))
    return (part for word in _WORD.findall(plain) for part in _parts(word, characters))


def _parts(word: str, characters: bool) -> Iterable[str]:
    """Split a run of letters into words, and into pairs of characters where the script has no spaces."""
    if word.isascii():
        yield word
        return
    for part in _UNSPACED.split(word):
        if part and _UNSPACED.fullmatch(part):
            yield from _pairs(part, characters)
        elif part:
            yield part


def _letters(run: str) -> str:
    """Return a text without combining marks, at which engines split words."""
    return "".join(one for one in run if not unicodedata.category(one).startswith("M"))


def _pairs(run: str, characters: bool) -> Iterable[str]:
    yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))
    if characters and len(run) > 1:
        yield from run


@lru_cache(maxsize=50_000)
def _number(word: str, language: str) -> int:
    return zlib.crc32(_stem(word, language).encode())


def _stem(word: str, language: str) -> str:
    """Return the stem of a word: `8` for `8th`, `dog` for `dogs`."""
    from snowballstemmer import stemmer

    if len(word) > _LONGEST or language not in _languages():
        return word
    # A stemmer object has a state, so concurrent calls cannot share one.
    own: Any = stemmer(language)
    return str(own.stemWord(_ORDINAL.sub(r"\1", word)))


@cache
def _languages() -> frozenset[str]:
    from snowballstemmer import algorithms

    return frozenset(algorithms())
