"""The argument `min_similarity` of searches: a least cosine similarity."""

from __future__ import annotations

from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError, InvalidInputError, InvalidTypeError


def check_similarity(least: Any, *, with_vectors: bool = True) -> float | None:
    """Return the argument `min_similarity`.

    Args:
        least: The argument; None for no threshold.
        with_vectors: True if the memory has an embedding model. Default: True.

    Raises:
        InvalidTypeError: It is not a number.
        InvalidInputError: It is not between -1 and 1.
        ConfigurationError: The memory has no embedding model.
    """
    if least is None:
        return None
    if isinstance(least, bool) or not isinstance(least, (int, float)):
        msg = f"min_similarity must be a number from -1 to 1, got {type(least).__name__}: {shown(least)}."
        raise InvalidTypeError(msg)
    if not -1 <= least <= 1:
        msg = f"min_similarity must be a number from -1 to 1, got {shown(least)}."
        raise InvalidInputError(msg)
    if not with_vectors:
        msg = "min_similarity needs embeddings: pass an embedding model to the memory, or leave min_similarity out."
        raise ConfigurationError(msg)
    return float(least)


def is_similar(similarity: float | None, least: float | None) -> bool:
    """Return true if a similarity reaches a threshold; a text without vector reaches none.

    Args:
        similarity: The cosine similarity; None without vectors.
        least: The threshold; None for none.
    """
    return least is None or (similarity is not None and similarity >= least)
