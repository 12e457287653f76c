"""Texts as the words in them, and how well they answer a query: full text where no engine does it.

A text is known by its words in their basic form, each as a number of 32 bits. A query is answered with BM25 (Robertson and
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
"""How much of one text is indexed: words that stand further behind are not found, and cost no time. About 40 pages."""

_K1, _B = 1.2, 0.75
_WORD = re.compile(r"[^\W_]+")
_BYTES = 4
_LONGEST = 64
"""What is longer is no word that has other forms."""
_ORDINAL = re.compile(r"^(\d+)(?:st|nd|rd|th)$")
_UNSPACED = re.compile(
    r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
)
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese."""
_APOSTROPHES = "'\u2019\u02bc\uff07"
_ENDING = re.compile(
    rf"(?<=\w)(?:(?<!\bca)n(?=[{_APOSTROPHES}]t\b))?[{_APOSTROPHES}](?:s|t|ll|re|ve|m|d)\b", re.IGNORECASE
)
"""What is no word by itself: in Bob's, what's, we'll, don't, can't."""

ENGLISH = "english"


def check_language(language: str) -> str:
    """Refuse a language whose words have no known basic forms.

    Raises:
        ConfigurationError: It is not one of Snowball's.
    """
    if not isinstance(language, str) or language not in _languages():
        known = ", ".join(sorted(_languages()))
        msg = f"Unknown language {shown(language)}: known are {known}."
        raise ConfigurationError(msg)
    return language


def analyze(text: str, language: str = ENGLISH, *, characters: bool = True) -> bytes:
    """The words of a text, or of its first `MAX_SEARCHED_CHARACTERS` characters: little-endian numbers of 32 bits.

    Args:
        text: The text.
        language: In which language words have a basic form; others than Snowball's are taken as they are. Default:
            `"english"`.
        characters: As in `spaced`. Default: True.

    Example:
        >>> from langchain_agentmem.text.words import analyze
        >>> analyze("Running dogs") == analyze("run, dog!")
        True
    """
    numbers = [_number(word, language) for word in _words(searched(text), characters=characters)]
    return struct.pack(f"<{len(numbers)}I", *numbers)


def searched(text: str) -> str:
    """The part of a text that is indexed: its first `MAX_SEARCHED_CHARACTERS` characters, whole words only.

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
    """Return what a text was stored as.

    Raises:
        ValueError: `analyze` cannot have made it.
    """
    if not isinstance(words, bytes) or len(words) % _BYTES:
        msg = "its words have no whole numbers"
        raise ValueError(msg)
    return words


def scores(texts: Sequence[bytes], terms: Iterable[str], language: str = ENGLISH) -> list[float]:
    """How well texts answer a query; 0 for those that hold none of its words.

    Args:
        texts: The texts, as `analyze` knows them.
        terms: The words of the query.
        language: The language of both. Default: `"english"`.
    """
    import numpy as np

    result = np.zeros(len(texts))
    lengths = np.array([len(text) // _BYTES for text in texts], dtype=np.int64)
    if lengths.any():
        words = np.frombuffer(b"".join(texts), dtype="<u4")
        ends = np.cumsum(lengths)
        norms = _K1 * (1 - _B + _B * lengths / lengths.mean())
        for number in {number for term in terms for number in numbers_of(term, language)}:
            places = np.flatnonzero(words == number)
            owners, often = np.unique(np.searchsorted(ends, places, side="right"), return_counts=True)
            rarity = np.log1p((len(texts) - len(owners) + 0.5) / (len(owners) + 0.5))
            result[owners] += rarity * often * (_K1 + 1) / (often + norms[owners])
    every: list[float] = result.tolist()
    return every


def spaced(text: str, *, characters: bool = False) -> str:
    """A text with spaces for engines that need them: in scripts without any, between all pairs of characters.

    Args:
        text: The text.
        characters: Whether the single characters follow, so that words of one are found: yes for what is to be found, no for
            a query. Default: False.

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
    """In how many texts words stand.

    Args:
        texts: The texts, as `analyze` knows them.
        numbers: The words, by their numbers.
    """
    import numpy as np

    words = np.frombuffer(b"".join(texts), dtype="<u4")
    ends = np.cumsum([len(text) // _BYTES for text in texts])
    return {
        number: len(np.unique(np.searchsorted(ends, np.flatnonzero(words == number), side="right")))
        for number in set(numbers)
    }


def numbers_of(text: str, language: str = ENGLISH) -> list[int]:
    """The numbers of the words of a text, in order."""
    return [_number(word, language) for word in _words(text)]


def stemmed(text: str, language: str) -> str:
    """A text with its words in their basic form, for engines that do not know the language."""
    return " ".join(_basic_form(word, language) for word in _words(text))


def without_endings(text: str) -> str:
    """A text without what is no word by itself, and stands behind an apostrophe.

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
    """The words of a run of letters: pairs of characters where a script puts no spaces between words."""
    if word.isascii():
        yield word
        return
    for part in _UNSPACED.split(word):
        if part and _UNSPACED.fullmatch(part):
            yield from _pairs(part, characters)
        elif part:
            yield part


def _letters(run: str) -> str:
    """Without the marks on letters, at which engines part words."""
    return "".join(one for one in run if not unicodedata.category(one).startswith("M"))


def _pairs(run: str, characters: bool) -> Iterable[str]:
    yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))
    if characters and len(run) > 1:
        yield from run


@lru_cache(maxsize=50_000)
def _number(word: str, language: str) -> int:
    return zlib.crc32(_basic_form(word, language).encode())


def _basic_form(word: str, language: str) -> str:
    """The basic form of a word: `8th` is 8, `dogs` is dog."""
    from snowballstemmer import stemmer

    if len(word) > _LONGEST or language not in _languages():
        return word
    # A stemmer keeps its place in the word, so each use needs one of its own.
    known: Any = stemmer(language)
    return str(known.stemWord(_ORDINAL.sub(r"\1", word)))


@cache
def _languages() -> frozenset[str]:
    from snowballstemmer import algorithms

    return frozenset(algorithms())
