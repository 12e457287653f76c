"""How alike vectors are, for backends that compare them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from langchain_agentmem.errors import StorageError

Id = TypeVar("Id")


def similarities(vectors: Sequence[tuple[Id, bytes]], query: bytes) -> dict[Id, float]:
    """The cosine similarity of each item's best vector.

    Args:
        vectors: The items, with vectors of length 1 in little-endian float32; an item may have several.
        query: What they are compared with, likewise.

    Raises:
        StorageError: They differ in dimensions.
    """
    import numpy as np

    if not vectors:
        return {}
    sizes = {len(vector) for _, vector in vectors} | {len(query)}
    if len(sizes) > 1:
        raise different_dimensions(*sizes)
    matrix = np.frombuffer(b"".join(vector for _, vector in vectors), dtype="<f4").reshape(len(vectors), -1)
    best: dict[Id, float] = {}
    for (item, _), score in zip(vectors, (matrix @ np.frombuffer(query, dtype="<f4")).tolist(), strict=True):
        best[item] = max(score, best.get(item, -1.0))
    return best


def different_dimensions(*sizes: int) -> StorageError:
    """The error for vectors that cannot be compared with each other.

    Args:
        *sizes: Their lengths in bytes.
    """
    dimensions = sorted(size // 4 for size in sizes)
    return StorageError(
        f"Stored vectors and the query differ in dimensions ({dimensions}): the embedding model was changed."
    )
