"""Full text without an engine: texts as the words in them, and how well they answer a query.

A text is known by its words in their basic form, each as a number of 32 bits, with how often it stands there. A query is
answered with BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; k1 = 1.2,
b = 0.75, as in SQLite's FTS5).
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from snowballstemmer import stemmer

_K1, _B = 1.2, 0.75
_WORD = re.compile(r"[^\W_]+")
_HEADER = struct.Struct("<II")
_MOST = 0xFFFF


class Text(NamedTuple):
    """A text as it is known to searches."""

    length: int
    """How many words it has."""
    words: bytes
    """Its words, each once: little-endian numbers of 32 bits."""
    counts: bytes
    """How often each stands in it: little-endian numbers of 16 bits."""

    def dump(self) -> bytes:
        """The text in bytes."""
        return _HEADER.pack(self.length, len(self.words) // 4) + self.words + self.counts

    @classmethod
    def load(cls, data: bytes) -> Text:
        """The inverse of `dump`."""
        length, distinct = _HEADER.unpack_from(data)
        middle = _HEADER.size + 4 * distinct
        return cls(length, data[_HEADER.size : middle], data[middle : middle + 2 * distinct])


def analyze(text: str) -> Text:
    """What is to be known of a text.

    Example:
        >>> from langchain_agentmem.backends.redis.words import analyze
        >>> analyze("Running dogs ran").length
        3
    """
    counts = Counter(map(_number, _words(text)))
    numbers = struct.pack(f"<{len(counts)}I", *counts)
    often = struct.pack(f"<{len(counts)}H", *(min(count, _MOST) for count in counts.values()))
    return Text(counts.total(), numbers, often)


def scores(texts: Sequence[Text], terms: Iterable[str]) -> list[float]:
    """How well texts answer a query; 0 for those that hold none of its words.

    Args:
        texts: The texts.
        terms: The words of the query.
    """
    import numpy as np

    result = np.zeros(len(texts))
    lengths = np.array([text.length for text in texts], dtype=float)
    if not texts or not lengths.any():
        return list(result)
    words = np.frombuffer(b"".join(text.words for text in texts), dtype="<u4")
    counts = np.frombuffer(b"".join(text.counts for text in texts), dtype="<u2").astype(float)
    owners = np.repeat(np.arange(len(texts)), [len(text.words) // 4 for text in texts])
    norms = _K1 * (1 - _B + _B * lengths / lengths.mean())
    for number in {_number(word) for term in terms for word in _words(term)}:
        places = np.flatnonzero(words == number)
        found, often = owners[places], counts[places]
        rarity = np.log1p((len(texts) - len(places) + 0.5) / (len(places) + 0.5))
        result[found] += rarity * often * (_K1 + 1) / (often + norms[found])
    every: list[float] = result.tolist()
    return every


def _words(text: str) -> Iterable[str]:
    plain = text.casefold()
    if not plain.isascii():
        decomposed = unicodedata.normalize("NFKD", plain)
        plain = "".join(one for one in decomposed if not unicodedata.combining(one))
    return map(_basic_form, _WORD.findall(plain))


def _number(word: str) -> int:
    return zlib.crc32(word.encode())


@lru_cache(maxsize=50_000)
def _basic_form(word: str) -> str:
    # A stemmer keeps its place in the word, so each use needs one of its own.
    known: Any = stemmer("english")
    return str(known.stemWord(word))
