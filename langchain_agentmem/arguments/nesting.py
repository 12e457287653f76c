"""The maximum nesting depth of values: readers, filters and JSON encoding are recursive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_agentmem.errors import InvalidInputError

MAX_DEPTH = 200
"""The deepest nesting of content blocks, arguments, store values and filters."""


def check_depth(what: str, value: Any, depth: int = 0) -> None:
    """Check the nesting depth of a value.

    Args:
        what: The name of the value, for the error.
        value: The value. Mappings, lists and tuples count as levels.
        depth: The number of levels that contain the value. Default: 0.

    Raises:
        InvalidInputError: The value is nested deeper than `MAX_DEPTH` levels, or contains itself.
    """
    if depth > MAX_DEPTH:
        msg = f"{what} is nested deeper than {MAX_DEPTH} levels, or contains itself."
        raise InvalidInputError(msg)
    if isinstance(value, (Mapping, list, tuple)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            check_depth(what, inner, depth + 1)
