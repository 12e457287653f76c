"""Snapshots of collections that other threads change."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def snapshot(values: Collection[T], count: int | None = None) -> list[T]:
    """Return the elements of a collection that other threads may change.

    Python refuses to go on with an iteration after a change of a dictionary or set. Threads may switch between the start of
    an iteration and its first element. So a changed collection is read again.

    Args:
        values: A dictionary's view, a set or a weak set. It must not be an iterator.
        count: The maximum number of elements. Default: None (all).

    Example:
        >>> from langchain_agentmem.programs.snapshots import snapshot
        >>> snapshot({"a": 1, "b": 2}.items(), 1)
        [('a', 1)]
    """
    while True:
        try:
            return list(islice(values, count))
        except RuntimeError:
            continue
