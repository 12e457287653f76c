"""Filters on checkpoint metadata, with the semantics of `PostgresSaver`: containment, Postgres' `@>`.

- A mapping contains another if it has all of its keys and each value contains the other's value.
- A list contains another if each element of the other is contained in one of its own elements, in any order.
- Any other value contains the values that are equal to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_agentmem.arguments.nesting import check_depth
from langchain_agentmem.errors import InvalidTypeError


def checked_filter(condition: Any) -> dict[str, Any]:
    """Check a filter on metadata and return it as a dict; empty for None.

    Raises:
        InvalidTypeError: The filter is not a mapping.
        InvalidInputError: The filter is nested too deeply, or contains itself.
    """
    if condition is None:
        return {}
    if not isinstance(condition, Mapping):
        msg = f"filter must be a mapping of metadata such as {{'source': 'loop'}}, got {type(condition).__name__}."
        raise InvalidTypeError(msg)
    check_depth("filter", condition)
    return dict(condition)


def contains(value: Any, wanted: Any) -> bool:
    """Return true if a value contains another one.

    Args:
        value: The metadata, or a value in it.
        wanted: The filter, or a value in it.

    Example:
        >>> from langchain_agentmem.checkpointing.containment import contains
        >>> contains({"source": "loop", "tags": ["a", "b"]}, {"tags": ["b"]})
        True
    """
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and contains(value[key], inner) for key, inner in wanted.items()
        )
    if isinstance(wanted, (list, tuple)):
        return isinstance(value, (list, tuple)) and all(any(contains(one, inner) for one in value) for inner in wanted)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    try:
        return bool(value == wanted)
    except (TypeError, ValueError):  # objects without a single truth value, such as arrays
        return False


def with_lists(value: Any) -> Any:
    """Return metadata with lists in place of tuples, as LangGraph's savers return it.

    Args:
        value: The metadata, or a value in it. It is not changed.
    """
    if type(value) is dict:
        return {key: with_lists(inner) for key, inner in value.items()}
    return [with_lists(inner) for inner in value] if type(value) in (list, tuple) else value
