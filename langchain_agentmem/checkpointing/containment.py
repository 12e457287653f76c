"""Filters on checkpoint metadata, with the meaning that `PostgresSaver` gives them: containment, as in Postgres' `@>`.

A mapping contains another one if it has all of its keys and each value contains the other's value. A list contains another
one if each of the other's elements is contained in one of its own, in any order. Other values contain their equals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_agentmem.arguments.nesting import check_depth
from langchain_agentmem.errors import InvalidTypeError


def checked_filter(condition: Any) -> dict[str, Any]:
    """Check a filter on metadata.

    Args:
        condition: The filter, or None for none.

    Raises:
        InvalidTypeError: It is not a mapping.
        InvalidInputError: It is nested too deep, or holds itself.
    """
    if condition is None:
        return {}
    if not isinstance(condition, Mapping):
        msg = f"filter must be a mapping of metadata such as {{'source': 'loop'}}, got {type(condition).__name__}."
        raise InvalidTypeError(msg)
    check_depth("filter", condition)
    return dict(condition)


def contains(value: Any, wanted: Any) -> bool:
    """Return whether a value contains another one.

    Args:
        value: A value of the metadata, or all of them.
        wanted: A value of the filter, or all of it.

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
    """Return metadata with lists in place of tuples, as they come back from LangGraph's own savers.

    Args:
        value: Metadata, or a value in them. It is not changed.
    """
    if type(value) is dict:
        return {key: with_lists(inner) for key, inner in value.items()}
    return [with_lists(inner) for inner in value] if type(value) in (list, tuple) else value
