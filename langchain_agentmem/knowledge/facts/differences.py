"""Changes that the application made to a profile between reading and saving it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_agentmem.knowledge.facts.equality import same
from langchain_agentmem.knowledge.facts.paths import Path

REMOVED = object()
"""Marks a removed field, in place of a new value."""

Change = tuple[Path, Any]
"""Path of a field, and its new value."""


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any], path: Path = ()) -> list[Change]:
    """Return the fields that differ between two documents, nested fields included.

    Args:
        before: The document as it was read.
        after: The document to save.
        path: Path of both documents in the document that contains them. Default: `()`.

    Example:
        >>> from langchain_agentmem.knowledge.facts.differences import changed_fields
        >>> changed_fields({"name": "Alice", "likes": {"tea": 1}}, {"name": "Alice", "likes": {"tea": 2}})
        [(('likes', 'tea'), 2)]
    """
    changes: list[Change] = [((*path, name), REMOVED) for name in before.keys() - after.keys()]
    for name, value in after.items():
        old = before.get(name, REMOVED)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            changes += changed_fields(old, value, (*path, name))
        elif old is REMOVED or not same(old, value):
            changes.append(((*path, name), value))
    return changes


def removed_elements(before: Any, after: Any) -> list[Any]:
    """Return the elements that were removed from a list; none if anything else changed in it."""
    if not isinstance(before, list) or not isinstance(after, list):
        return []
    rest = iter(before)
    only_removed = all(any(same(one, other) for other in rest) for one in after)
    return [one for one in before if not any(same(one, other) for other in after)] if only_removed else []
