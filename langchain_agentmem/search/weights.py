"""The weights of the ranking, each measured on LoCoMo and BEAM (see `docs/search.md`), and BM25's parts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from langchain_agentmem.search.corpus import Corpus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K1, B = 1.2, 0.9
"""The parameters of BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009)."""

BEFORE, AFTER = (0.5, 0.5), (0.4, 0.2)
"""What a word of the two messages before a message, and of the two after it, counts for it. A word of its own counts 1."""

DATE = 1.0
"""What a word of a message's date counts, such as `May`."""

SHORT = 75
"""Messages of more words than this take less from their neighbours: half at twice as many."""

ASKS = 0.25
"""The share of its word score that a message loses if it asks and names its speaker."""

TIMED = 0.5
"""The share by which the word score of a message that speaks of a time rises, if the query asks for a time."""

OTHER_SPEAKER = 0.35
"""The share of its score that a message loses if the query names a speaker and another one said it."""

SPEAKER_SHARE = 0.02
"""A name that begins at least this share of the messages is the name of a speaker."""

SIMILAR = 0.25
"""What the similarity of the message before, and of the one after, counts for a message. Its own counts 1."""

DENSE = 1.75
"""The weight of vectors that are trusted in full. Words have weight 1."""

FEW_ITEMS = 25
"""Of this number of items, half of the similarity to the average item is subtracted; of more items, a greater share."""

AVERAGE, DEVIATION = 0.3, 8.0
"""The score of a text of average similarity; and by how many deviations a text must be more similar to score 1 more."""

EXACT = 0.9
"""Texts that contain all words of the query in order score at least this much, and if there are any, no other text does."""

LEAST_DEVIATION = 1e-3
"""The least standard deviation of similarities that counts. Equal vectors differ by less, in the last digits of float32."""

LEAST_TRUST = 0.01
"""The least weight of trust, by which texts without a word of the query are in order of their similarity."""

COMMON_SHARE = 0.25
"""Words that a larger share of the texts contains do not show that two texts belong together."""

MAX_WORDS = 64
"""Of the words of a query, this number of the rarest are looked for."""


class Weights(NamedTuple):
    """The weights that differ between messages and items of a store."""

    k1: float
    b: float
    dense: float


MESSAGES, ITEMS = Weights(K1, B, DENSE), Weights(1.0, 0.85, 3.0)


def rarity_of(size: int, holders: int) -> float:
    """Return the weight of a word: its inverse document frequency.

    Args:
        size: The number of texts.
        holders: The number of texts that contain the word.
    """
    return math.log1p((size - holders + 0.5) / (holders + 0.5))


def size_and_mean(corpus: Corpus) -> tuple[int, float]:
    """Return the number of texts with words that are alive, and their mean length in words.

    Args:
        corpus: The corpus.
    """
    import numpy as np

    lengths = np.where(corpus.alive, corpus.lengths, 0)
    size = int(np.count_nonzero(lengths))
    return size, float(lengths.sum()) / size if size else 1.0


def norms(lengths: NDArray[np.int32], mean: float, b: float = B) -> NDArray[np.float64]:
    """Return the numbers that divide the counts of words in texts: 1 for a text of average length.

    Args:
        lengths: The lengths of the texts in words.
        mean: The mean length of all texts.
        b: How much the length counts, from 0 to 1. Default: `B`.
    """
    import numpy as np

    return 1 - b + b * np.maximum(lengths, 1) / mean
