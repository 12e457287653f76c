"""Arrays that the ranker computes once for a corpus and uses for each query.

Most messages are stored beside the messages before and after them. The ranker adds the scores of neighbours as shifted
arrays, which is several times faster than a lookup of each neighbour.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_agentmem.search.corpus import Corpus, products
from langchain_agentmem.search.weights import (
    AFTER,
    BEFORE,
    FEW_ITEMS,
    SHORT,
    SIMILAR,
    SPEAKER_SHARE,
    norms,
    size_and_mean,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PADDING = 2
"""The number of elements before the first row and after the last one in padded arrays."""

_KEPT = "statistics"


class _Lending:
    """The share of a neighbour's value that the ranker adds to each row.

    Args:
        offset: The distance from a row to most of these neighbours, in rows.
        source: The neighbour of each row; -1 for none.
        weight: The share for each row.
    """

    def __init__(self, offset: int, source: NDArray[np.integer[Any]], weight: NDArray[np.float32]) -> None:
        import numpy as np

        exists = source >= 0
        is_beside = exists & (source == np.arange(offset, len(source) + offset))
        self._begin = _PADDING + offset
        self._weights = np.where(is_beside, weight, np.float32(0))
        self._rows = np.flatnonzero(exists & ~is_beside)
        self._sources = source[self._rows] + _PADDING
        self._lent = weight[self._rows]
        self.is_nothing = not exists.any()

    def add_to(self, total: NDArray[np.float32], padded: NDArray[np.float32], scratch: NDArray[np.float32]) -> None:
        """Add the share of the neighbour's value to the total of each row.

        Args:
            total: The totals, which change.
            padded: The values of the rows, padded.
            scratch: An array to compute in.
        """
        import numpy as np

        if self.is_nothing:
            return
        np.multiply(self._weights, padded[self._begin : self._begin + len(total)], out=scratch)
        total += scratch
        if len(self._rows):
            total[self._rows] += self._lent * padded[self._sources]


class Statistics:
    """The statistics of a corpus for the ranker. Threads may share the object.

    Args:
        corpus: The corpus.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.size, self.mean = size_and_mean(corpus)
        self._norms: dict[float, NDArray[np.float32]] = {}

    @classmethod
    def of(cls, corpus: Corpus) -> Statistics:
        """Return the statistics of a corpus, which it keeps.

        Args:
            corpus: The corpus.
        """
        found = corpus.kept.get(_KEPT)
        if found is None:
            found = corpus.kept[_KEPT] = cls(corpus)
        statistics: Statistics = found
        return statistics

    def norms_of(self, b: float) -> NDArray[np.float32]:
        """Return the divisors of the word counts of each text.

        Args:
            b: How much the length of a text counts; see `langchain_agentmem.search.weights.Weights`.
        """
        import numpy as np

        found = self._norms.get(b)
        if found is None:
            found = self._norms[b] = norms(self._corpus.lengths, self.mean, b).astype(np.float32)
        return found

    @cached_property
    def borrows(self) -> NDArray[np.float32]:
        """The factor by which each text counts its neighbours: 1 for short texts."""
        import numpy as np

        return np.minimum(1.0, SHORT / np.maximum(self._corpus.lengths, 1)).astype(np.float32)

    @cached_property
    def speakers(self) -> frozenset[int]:
        """The names that begin enough texts to be names of speakers."""
        import numpy as np

        speaker = self._corpus.speaker
        named = speaker[(speaker != 0) & self._corpus.alive]
        names, often = np.unique(named, return_counts=True)
        return frozenset(names[often >= SPEAKER_SHARE * self.size].tolist())

    @cached_property
    def asking(self) -> NDArray[np.int64]:
        """The rows that ask, and whose speaker is known."""
        import numpy as np

        rows = np.flatnonzero(self._corpus.asks)
        known = np.array(sorted(self.speakers), dtype=np.uint32)
        asking: NDArray[np.int64] = rows[np.isin(self._corpus.speaker[rows], known)]
        return asking

    @cached_property
    def timed(self) -> NDArray[np.int64]:
        """The rows that speak of a time."""
        import numpy as np

        return np.flatnonzero(self._corpus.timed)

    @cached_property
    def empty(self) -> NDArray[np.int64]:
        """The rows without words."""
        import numpy as np

        return np.flatnonzero(self._corpus.lengths == 0)

    @cached_property
    def dates(self) -> dict[str, NDArray[np.integer[Any]]]:
        """The day of the month, the month and the year of each row, in UTC."""
        import numpy as np

        days = np.floor(self._corpus.created_at / 86400).astype("M8[D]")
        months = days.astype("M8[M]")
        return {
            "day": ((days - months).astype(np.int64) + 1).astype(np.int8),
            "month": (months.astype(np.int64) % 12 + 1).astype(np.int8),
            "year": (days.astype("M8[Y]").astype(np.int64) + 1970).astype(np.int16),
        }

    # Words

    @cached_property
    def _lending(self) -> list[_Lending]:
        import numpy as np

        found = []
        for links, weights, step in ((self._corpus.previous, BEFORE, -1), (self._corpus.following, AFTER, 1)):
            source = links
            for distance, weight in enumerate(weights, 1):
                if distance > 1:
                    source = np.where(source >= 0, links[source], -1)
                found.append(_Lending(step * distance, source, np.float32(weight) * self.borrows))
        return [one for one in found if not one.is_nothing]

    def with_context(self, rows: NDArray[np.int32], often: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how often a word counts for each text, with the texts near it.

        Args:
            rows: The rows that contain the word.
            often: How often it counts for them.
        """
        import numpy as np

        padded = self._padded()
        padded[rows + _PADDING] = often
        total = padded[_PADDING:-_PADDING].copy()
        scratch = np.empty_like(total)
        for one in self._lending:
            one.add_to(total, padded, scratch)
        return total

    def _padded(self) -> NDArray[np.float32]:
        import numpy as np

        return np.zeros(self._corpus.size + 2 * _PADDING, dtype=np.float32)

    # Vectors

    @cached_property
    def has_vector(self) -> NDArray[np.bool_] | None:
        """True for the rows that are alive and have a vector; None if all rows are."""
        has_vector = self._corpus.has_vector & self._corpus.alive
        return None if has_vector.all() else has_vector

    @cached_property
    def common(self) -> NDArray[np.float32]:
        """A share of the similarity of each text to the average text."""
        import numpy as np

        corpus = self._corpus
        alive = corpus.has_vector & corpus.alive
        counted = alive if corpus.owner is None else alive[corpus.owner]
        count = int(np.count_nonzero(counted))
        if corpus.vectors is None or not count:
            return np.zeros(corpus.size, dtype=np.float32)
        average = counted.astype(np.float32) @ corpus.vectors
        average *= np.float32(1 / (count + FEW_ITEMS))
        return products(corpus, average)

    @cached_property
    def _smoothing(self) -> tuple[NDArray[np.float32] | None, list[_Lending]]:
        """The share of its own similarity that each row keeps, None for all of it; and what it takes from its neighbours."""
        import numpy as np

        has_vector = self.has_vector
        shares = []
        for links in (self._corpus.previous, self._corpus.following):
            source = links
            if has_vector is not None:  # a link of -1 is the last row, which `links >= 0` excludes
                source = np.where((links >= 0) & has_vector & has_vector[links], links, -1)
            share = np.float32(SIMILAR) * np.minimum(self.borrows, self.borrows[source])
            share[source < 0] = 0
            shares.append((source, share))
        total = np.float32(1) + shares[0][1] + shares[1][1]
        lending = [_Lending(step, source, share / total) for (source, share), step in zip(shares, (-1, 1), strict=True)]
        lending = [one for one in lending if not one.is_nothing]
        own: NDArray[np.float32] = np.float32(1) / total
        return (own if lending else None), lending

    def smoothed(self, similarity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the similarity of each text, averaged with that of the texts before and after it.

        Args:
            similarity: The similarity of each text; any number for texts without vector.
        """
        import numpy as np

        own, lending = self._smoothing
        if own is None:
            return similarity
        padded = self._padded()
        padded[_PADDING:-_PADDING] = similarity
        total = own * similarity
        scratch = np.empty_like(total)
        for one in lending:
            one.add_to(total, padded, scratch)
        return total
