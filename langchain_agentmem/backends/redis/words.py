"""Full text without an engine: texts as the words in them, and how well they answer a query.

A text is known by its words in their basic form, each as a number of 32 bits. A query is answered with BM25 (Robertson and
Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; k1 = 1.2, b = 0.75, as in SQLite's FTS5).
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from snowballstemmer import stemmer

_K1, _B = 1.2, 0.75
_WORD = re.compile(r"[^\W_]+")
_BYTES = 4


def analyze(text: str) -> bytes:
    """The words of a text, in order: little-endian numbers of 32 bits.

    Example:
        >>> from langchain_agentmem.backends.redis.words import analyze
        >>> analyze("Running dogs") == analyze("run, dog!")
        True
    """
    numbers = [_number(word) for word in _words(text)]
    return struct.pack(f"<{len(numbers)}I", *numbers)


def scores(texts: Sequence[bytes], terms: Iterable[str]) -> list[float]:
    """How well texts answer a query; 0 for those that hold none of its words.

    Args:
        texts: The texts, as `analyze` knows them.
        terms: The words of the query.
    """
    import numpy as np

    result = np.zeros(len(texts))
    lengths = np.array([len(text) // _BYTES for text in texts], dtype=np.int64)
    if lengths.any():
        words = np.frombuffer(b"".join(texts), dtype="<u4")
        ends = np.cumsum(lengths)
        norms = _K1 * (1 - _B + _B * lengths / lengths.mean())
        for number in {_number(word) for term in terms for word in _words(term)}:
            places = np.flatnonzero(words == number)
            owners, often = np.unique(np.searchsorted(ends, places, side="right"), return_counts=True)
            rarity = np.log1p((len(texts) - len(owners) + 0.5) / (len(owners) + 0.5))
            result[owners] += rarity * often * (_K1 + 1) / (often + norms[owners])
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
