"""The analysis of texts for full-text search, the same on every backend.

A text is split into words, and a word is reduced to its stem:

* Letters are compared without case and accents, and in compatible forms (`ß` is `ss`, `ｱ` is `ア`). Vowel signs, as in Hindi
  and Tamil, are parts of words; the vowel points of Arabic and Hebrew are not.
* Text in scripts without spaces between words becomes overlapping pairs of characters. So does Korean, where particles are
  written together with nouns.
* An emoji is a word.

Where no database engine indexes the words, each is a number of 32 bits, and texts are ranked with BM25 (Robertson and
Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; k1 = 1.2, b = 0.75, as in SQLite's FTS5).
"""

from __future__ import annotations

import re
import struct
import threading
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError

ANALYSIS_VERSION = 3
"""The version of the analysis. After it was changed, `memory.reindex()` analyses stored texts again."""

MAX_SEARCHED_CHARACTERS = 100_000
"""The number of characters of a text that are indexed, about 40 pages. Search does not find later words."""

_K1, _B = 1.2, 0.75
_WORD = re.compile(r"[^\W_]+")
_BYTES = 4
_LONGEST = 64
"""The length of the longest word that is stemmed, in characters."""
_LONGEST_INDEXED = 500
"""Longer words are cut after this number of characters: an index entry of Postgres holds 2,046 bytes."""
_ORDINAL = re.compile(r"^(\d+)(?:st|nd|rd|th)$")
_UNSPACED = re.compile(
    r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff"
    r"\U0001f1e6-\U0001f1ff\U00020000-\U0003ffff]+)"
)
"""Text that becomes pairs of characters: Thai, Lao, Burmese, Khmer, Japanese, Chinese, Korean; and flags, which are pairs."""
_MARKLESS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""Scripts whose pairs consist of letters only: Thai, Lao, Burmese, Khmer."""
_VOWEL_SIGN_CLASSES = frozenset((0, 7, 8, 9, 84, 91, 129, 130, 132))
"""The Unicode combining classes of marks that change a letter: vowel signs, viramas, the voicing marks of Japanese."""
_IGNORED = re.compile(r"[\u0640\u093c\u034f\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]")
"""Characters that writers leave out as they like: the Arabic tatweel, the Hindi nukta, variants and skin tones of emoji."""
_SYMBOLS = re.compile(r"[\u2300-\u24ff\u25a0-\u27ff\u2b00-\U0001faff]")
"""Ranges in which the Unicode category "other symbol" consists of emoji and pictographs."""
_REMEMBERED_CHARACTERS = 20_000
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


def words_of(text: str, language: str = ENGLISH, *, characters: bool = False) -> list[str]:
    """Return the words of a text in order, each reduced to its stem.

    Args:
        text: The text.
        language: The language of the stemmer. Words of a language without a stemmer are not stemmed. Default: `"english"`.
        characters: If true, the single characters of text without spaces between words follow its pairs, so that a query
            finds words of one character. Use true for texts and false for queries. Default: False.

    Example:
        >>> from langchain_agentmem.text.words import words_of
        >>> words_of("I am running in 東京都! 🎉")
        ['i', 'am', 'run', 'in', '東京', '京都', '🎉']
        >>> words_of("東京都", characters=True)
        ['東京', '京都', '東', '京', '都']
    """
    words = _words(text, characters=characters)
    # The cache of stems bounds its entries, so a long word must not be one.
    return [_stem(one, language) if len(one) <= _LONGEST else one[:_LONGEST_INDEXED] for one in words]


def analyze(text: str, language: str = ENGLISH) -> bytes:
    """Return the word numbers of a text: little-endian, 32 bits each.

    Args:
        text: The text, of which the first `MAX_SEARCHED_CHARACTERS` characters are used.
        language: Same as in `words_of`. Default: `"english"`.

    Example:
        >>> from langchain_agentmem.text.words import analyze
        >>> analyze("Running dogs") == analyze("run, dog!")
        True
    """
    return pack_words(words_of(searched(text), language, characters=True))


def pack_words(words: Sequence[str]) -> bytes:
    """Return the numbers of words that `words_of` returned, in the form of `analyze`."""
    return struct.pack(f"<{len(words)}I", *map(number_of, words))


@lru_cache(maxsize=50_000)
def number_of(word: str) -> int:
    """Return the number of a word that `words_of` returned."""
    return zlib.crc32(word.encode())


@cache
def numbers_of_characters() -> frozenset[int]:
    """Return the numbers of the single characters that follow pairs of characters, without those beyond the basic plane."""
    return frozenset(zlib.crc32(chr(code).encode()) for code in range(0x0E00, 0xFB00) if _UNSPACED.match(chr(code)))


def has_unspaced(text: str) -> bool:
    """Return true if a text contains text without spaces between words, which becomes pairs of characters."""
    return not text.isascii() and _UNSPACED.search(text) is not None


def searched(text: str) -> str:
    """Return the indexed part of a text: the complete words in its first `MAX_SEARCHED_CHARACTERS` characters.

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


def texts_in(value: Any) -> Iterable[str]:
    """Return the keys and the scalar values of a JSON value, at any depth, as texts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
    elif value is not None:
        yield str(value)


def checked_words(words: bytes) -> bytes:
    """Return stored word numbers.

    Raises:
        ValueError: The bytes are not a result of `analyze`.
    """
    if not isinstance(words, bytes) or len(words) % _BYTES:
        msg = f"its words are not numbers of {_BYTES * 8} bits"
        raise ValueError(msg)
    return words


def scores(texts: Sequence[bytes], words: Iterable[str]) -> list[float]:
    """Return the BM25 scores of texts; 0 for a text without any word of the query.

    Args:
        texts: The texts, as results of `analyze`.
        words: The words of the query, as results of `words_of`.
    """
    import numpy as np

    result = np.zeros(len(texts))
    lengths = np.array([len(text) // _BYTES for text in texts], dtype=np.int64)
    if lengths.any():
        numbers = np.frombuffer(b"".join(texts), dtype="<u4")
        ends = np.cumsum(lengths)
        norms = _K1 * (1 - _B + _B * lengths / lengths.mean())
        for number in {number_of(word) for word in words}:
            positions = np.flatnonzero(numbers == number)
            owners, counts = np.unique(np.searchsorted(ends, positions, side="right"), return_counts=True)
            rarity = np.log1p((len(texts) - len(owners) + 0.5) / (len(owners) + 0.5))
            result[owners] += rarity * counts * (_K1 + 1) / (counts + norms[owners])
    found: list[float] = result.tolist()
    return found


def numbers_of(text: str, language: str = ENGLISH) -> list[int]:
    """Return the word numbers of a text, in order."""
    return [number_of(word) for word in words_of(text, language)]


def split_words(text: str) -> list[str]:
    """Return the words of a text as they are written. Words with underscores and text without spaces are not divided.

    Example:
        >>> from langchain_agentmem.text.words import split_words
        >>> split_words("Où est snake_case? हिन्दी 👍🏽!")
        ['Où', 'est', 'snake_case', 'हिन्दी', '👍🏽']
    """
    return text.translate(_WRITTEN).split()


def without_endings(text: str) -> str:
    """Return a text without contracted endings, such as `'s` and `n't`.

    Example:
        >>> from langchain_agentmem.text.words import without_endings
        >>> without_endings("What's Bob's bike? We'll see. I don't, can't.")
        'What Bob bike? We see. I do, can.'
    """
    return _ENDING.sub("", text) if any(one in text for one in _APOSTROPHES) else text


def _words(text: str, *, characters: bool) -> Iterable[str]:
    """Split a text into words, with their letters in a common form."""
    if text.isascii():
        return _WORD.findall(text.casefold())
    # Letters in styles, such as bold ones, have no lower case before they are decomposed; others decompose further after it.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = unicodedata.normalize("NFC", decomposed.translate(_FOLDED))
    return (part for word in plain.split() for part in _parts(word, characters))


def _parts(word: str, characters: bool) -> Iterable[str]:
    """Divide text without spaces between words into pairs of characters."""
    if word.isascii():
        yield word
        return
    for part in _UNSPACED.split(word):
        if part and _UNSPACED.fullmatch(part):
            yield from _pairs(part, characters)
        elif part:
            yield part


def _pairs(run: str, characters: bool) -> Iterable[str]:
    yield from (run[at : at + 2] for at in range(max(1, len(run) - 1)))
    if characters and len(run) > 1:
        yield from run


class _Characters(dict[int, str]):
    """A table for `str.translate` that is filled as characters occur.

    Args:
        replacement: Returns what replaces a character.
    """

    def __init__(self, replacement: Callable[[str], str]) -> None:
        super().__init__()
        self._replacement = replacement

    def __missing__(self, code: int) -> str:
        found = self._replacement(chr(code))
        if len(self) < _REMEMBERED_CHARACTERS:
            self[code] = found
        return found


def _written(character: str) -> str:
    """Return a character if it is part of a word, with spaces around an emoji; else a space."""
    if character == "_":
        return character
    category = unicodedata.category(character)
    if category[0] in "LNM" or (category == "Cf" and character != "\u200b") or _IGNORED.match(character):
        return character
    if category == "So" and _SYMBOLS.match(character):
        return character if _UNSPACED.match(character) else f" {character}"
    return " "


def _folded(character: str) -> str:
    """Same as `_written`, but nothing for a character that does not distinguish words, and no underscores."""
    if character == "_":
        return " "
    if _IGNORED.match(character):
        return ""
    category = unicodedata.category(character)
    if category == "Cf" and character != "\u200b":
        return ""
    if category[0] == "M":
        kept = category != "Me" and unicodedata.combining(character) in _VOWEL_SIGN_CLASSES
        return character if kept and not _MARKLESS.match(character) else ""
    written = _written(character)
    return f"{written} " if written[0] == " " else written


_WRITTEN, _FOLDED = _Characters(_written), _Characters(_folded)


@lru_cache(maxsize=50_000)
def _stem(word: str, language: str) -> str:
    """Return the stem of a word of at most `_LONGEST` characters: `8` for `8th`, `dog` for `dogs`."""
    if word.isdecimal() or language not in _languages():
        return word
    return str(_stemmer(language).stemWord(_ORDINAL.sub(r"\1", word)))


def _stemmer(language: str) -> Any:
    """Return the stemmer of this thread: it has a state, so concurrent calls cannot share it."""
    own: dict[str, Any] = _local.__dict__
    if language not in own:
        from snowballstemmer import stemmer

        own[language] = stemmer(language)
    return own[language]


_local = threading.local()


@cache
def _languages() -> frozenset[str]:
    from snowballstemmer import algorithms

    return frozenset(algorithms())
