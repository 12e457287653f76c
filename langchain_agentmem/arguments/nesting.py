"""The bound on how deep values may be nested: readers, filters and JSON go through them recursively."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_agentmem.errors import InvalidInputError

MAX_DEPTH = 200
"""The deepest nesting of content blocks, arguments, store values and filters."""


def check_depth(what: str, value: Any, depth: int = 0) -> None:
    """Refuse a value that is nested too deep.

    Args:
        what: The name of the value, for the error.
        value: The value; only mappings, lists and tuples in it are followed.
        depth: The number of levels above it. Default: 0.

    Raises:
        InvalidInputError: It is nested deeper than `MAX_DEPTH` levels, or holds itself.
    """
    if depth > MAX_DEPTH:
        msg = f"{what} is nested deeper than {MAX_DEPTH} levels, or holds itself."
        raise InvalidInputError(msg)
    if isinstance(value, (Mapping, list, tuple)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            check_depth(what, inner, depth + 1)
