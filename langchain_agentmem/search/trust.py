"""How far the vectors of a corpus can be trusted: whether texts that belong together are more similar than any two texts.

Texts that belong together are messages that follow each other. In a corpus without neighbours, such as items of a store, they
are texts that share rare words. A model that does not know the language of the texts places such pairs hardly closer together
than any two texts, and its similarities then say nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_agentmem.search.corpus import Corpus
from langchain_agentmem.search.weights import COMMON_SHARE, K1, norms, rarity_of, size_and_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEIGHBOURS_STAND_OUT = (0.3, 0.7)
"""By how many standard deviations neighbours are more similar than any two texts: up to the first number the trust is 0, and
from the second one on it is 1."""

SHARING_STANDS_OUT = (1.0, 1.3)
"""Same as `NEIGHBOURS_STAND_OUT`, for texts that share rare words."""

_PAIRS = 2_000
"""The largest number of pairs that are compared, about."""

_FEWEST_PAIRS = 20
"""With fewer pairs than this, vectors are trusted in full."""

_SHIFTS = 20
_SAMPLED = 200
_SHARED_WORDS = 12


def trust_in(corpus: Corpus) -> float:
    """Return how far the vectors of a corpus can be trusted, from 0 to 1.

    Args:
        corpus: The corpus. The result does not depend on the order of its rows.
    """
    import numpy as np

    order = _ordered(corpus)
    if corpus.vectors is None or not len(order):
        return 1.0
    vectors = _vector_of_each(corpus)
    following = corpus.following[order]
    followed = following >= 0
    followed[followed] = corpus.has_vector[following[followed]]
    one, other, (none, full) = order[followed], following[followed].astype(np.int64), NEIGHBOURS_STAND_OUT
    step = max(1, len(one) // _PAIRS)
    one, other = one[::step], other[::step]
    if len(one) < _FEWEST_PAIRS:
        one, other = _sharing(corpus, order)
        none, full = SHARING_STANDS_OUT
    if len(one) < _FEWEST_PAIRS:
        return 1.0
    some = vectors[order[:: max(1, len(order) // _PAIRS)]]
    together = np.einsum("ij,ij->i", vectors[one], vectors[other])
    shifts = (len(some) * part // _SHIFTS for part in range(1, _SHIFTS))
    any_two = np.concatenate([np.einsum("ij,ij->i", some, np.roll(some, shift, 0)) for shift in shifts])
    stands_out = (float(together.mean()) - float(any_two.mean())) / max(float(any_two.std()), 1e-9)
    return min(max((stands_out - none) / (full - none), 0.0), 1.0)


def _ordered(corpus: Corpus) -> NDArray[np.int64]:
    """Return the rows that are alive and have a vector, in an order that does not depend on that of the rows."""
    import numpy as np

    session = np.argsort(np.argsort(np.array(corpus.session_ids, dtype=object), kind="stable"), kind="stable")
    rows = np.flatnonzero(corpus.alive & corpus.has_vector)
    ranks = session[corpus.session[rows]] if len(rows) else rows
    order: NDArray[np.int64] = rows[np.lexsort((corpus.position[rows], ranks, corpus.created_at[rows]))]
    return order


def _vector_of_each(corpus: Corpus) -> NDArray[np.float32]:
    """Return one vector for each row: the first, if a text has several."""
    import numpy as np

    assert corpus.vectors is not None
    if corpus.owner is None:
        return corpus.vectors
    first = np.zeros(corpus.size, dtype=np.int64)
    owners, at = np.unique(corpus.owner, return_index=True)
    first[owners] = at
    vectors: NDArray[np.float32] = corpus.vectors[first]
    return vectors


def _sharing(corpus: Corpus, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of rows: some rows, each with the row that shares most with it by its rarest words."""
    import numpy as np

    size, mean = size_and_mean(corpus)
    rank = np.full(corpus.size, -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    pairs = []
    for row in order[:: max(1, len(order) // _SAMPLED)].tolist():
        found = []
        for number in np.unique(corpus.words(row)).tolist():
            rows, counts = corpus.occurrences(number)
            kept = corpus.alive[rows]
            rows, counts = rows[kept], counts[kept]
            if 1 < len(rows) <= max(COMMON_SHARE * size, 2):
                found.append((len(rows), number, rows, counts))
        if not found:
            continue
        rarest = sorted(found, key=lambda one: one[:2])[:_SHARED_WORDS]
        holders = np.concatenate([rows for _, _, rows, _ in rarest])
        often = np.concatenate([counts / norms(corpus.lengths[rows], mean) for _, _, rows, counts in rarest])
        rarity = np.repeat([rarity_of(size, one[0]) for one in rarest], [one[0] for one in rarest])
        candidates, which = np.unique(holders, return_inverse=True)
        score = np.round(np.bincount(which, rarity * often / (often + K1)), 9)
        score[(candidates == row) | (rank[candidates] < 0)] = 0
        if score.any():
            best = candidates[score == score.max()]
            pairs.append((row, int(best[rank[best].argmin()])))
    one, other = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return one, other
