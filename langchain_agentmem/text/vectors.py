"""Stored vectors (little-endian float32, unit length) and their similarity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import StorageError

Id = TypeVar("Id")


def unit(vector: Sequence[float]) -> bytes:
    """Return a vector in the stored form.

    Raises:
        ValueError: The vector is empty, or contains a value that is not a finite number.

    Example:
        >>> from langchain_agentmem.text.vectors import unit
        >>> unit([3.0, 4.0]) == unit([6.0, 8.0])
        True
    """
    import numpy as np

    try:
        array = np.asarray(vector, dtype="<f8")
    except (ValueError, TypeError) as error:
        msg = f"got {shown(vector, 60)}"
        raise ValueError(msg) from error
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(np.linalg.norm(array))
    if array.ndim != 1 or not array.size or not np.isfinite(length):
        msg = f"got {shown(vector, 60)}"
        raise ValueError(msg)
    return (array / length if length else array).astype("<f4").tobytes()


def width_of(dimensions: int | None) -> int:
    """Return the bytes of a stored vector. Without dimensions, return -1, which no vector has.

    Example:
        >>> from langchain_agentmem.text.vectors import width_of
        >>> width_of(384), width_of(None)
        (1536, -1)
    """
    return -1 if dimensions is None else 4 * dimensions


def similarities_to(vectors: Sequence[bytes | None], query: bytes | None) -> list[float | None]:
    """Return the cosine similarity of each vector to a query; None for a missing vector, or one of other dimensions.

    Args:
        vectors: The stored vectors.
        query: The query's vector; None gives None for each vector.
    """
    import numpy as np

    found: list[float | None] = [None] * len(vectors)
    if query is None:
        return found
    indexes = [at for at, vector in enumerate(vectors) if vector is not None and len(vector) == len(query)]
    if indexes:
        matrix = np.frombuffer(b"".join([vectors[at] or b"" for at in indexes]), dtype="<f4").reshape(len(indexes), -1)
        for at, score in zip(indexes, (matrix @ np.frombuffer(query, dtype="<f4")).tolist(), strict=True):
            found[at] = score
    return found


def similarities(vectors: Sequence[tuple[Id, bytes]], query: bytes) -> dict[Id, float]:
    """Return the cosine similarity of each item's best vector to a query.

    Args:
        vectors: Pairs of an item and one of its stored vectors.
        query: The query's vector.

    Raises:
        StorageError: The vectors differ in dimensions.
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
    """Return the error for vectors of different dimensions.

    Args:
        *sizes: The lengths of the vectors in bytes.
    """
    dimensions = sorted(size // 4 for size in sizes)
    return StorageError(
        f"Stored vectors and the query differ in dimensions ({dimensions}): the embedding model was changed. Call "
        f"memory.reindex(), which replaces the vectors of the former model."
    )
