"""A cache of the most recently used values that stays consistent when an exception interrupts a change of it."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from langchain_agentmem.programs.locks import forkable_lock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_lock = forkable_lock()
_caches: weakref.WeakSet[RecentValues[Any, Any]] = weakref.WeakSet()
"""All caches of the process."""


def clear_caches() -> None:
    """Forget all values of all caches of the process."""
    with _lock:
        every = list(_caches)
    for cache in every:
        cache.clear()


class RecentValues(Generic[K, V]):
    """A bounded cache: a new value evicts the least recently used one. Threads may share it.

    A signal handler's exception may interrupt any method. Each change of the dictionary is one call of a C function, which
    a signal cannot interrupt, and there is no second structure that must agree with it. After an interruption, the cache
    holds at most one value too many until the next `put`.

    Args:
        most: The maximum number of values.
        size: Function that returns the size of a value in bytes. Default: None (only the number of values is bounded).
        most_bytes: The maximum size of all values. Default: 0.

    Example:
        >>> from langchain_agentmem.programs.caches import RecentValues
        >>> cache = RecentValues[str, int](2)
        >>> for name in ("a", "b", "c"):
        ...     cache.put(name, ord(name))
        >>> cache.get("a"), cache.get("c")
        (None, 99)
    """

    def __init__(self, most: int, size: Callable[[V], int] | None = None, most_bytes: int = 0) -> None:
        self._most = most
        self._size = size
        self._most_bytes = most_bytes
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = forkable_lock()
        with _lock:
            _caches.add(self)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None if the cache has none."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> None:
        """Remember a value. It must not be None."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._most or self._is_too_large():
                self._values.popitem(last=False)

    def _is_too_large(self) -> bool:
        if self._size is None:
            return False
        # The sizes are added each time: a total that must agree with the values could not survive an interruption.
        return sum(map(self._size, self._values.values())) > self._most_bytes

    def discard(self, key: K) -> None:
        """Forget the value of a key, if the cache has one."""
        with self._lock:
            self._values.pop(key, None)

    def trim(self, size: Callable[[V], int], most: int) -> None:
        """Forget the least recently used values until the others fit into a bound.

        Args:
            size: Returns the size of a value. It must not use the cache.
            most: The bound of the sum of all sizes.
        """
        with self._lock:
            total = sum(size(value) for value in self._values.values())
            while total > most and self._values:
                total -= size(self._values.popitem(last=False)[1])

    def total(self, size: Callable[[V], int]) -> int:
        """Return the sum of the sizes of all values.

        Args:
            size: Returns the size of a value. It must not use the cache.
        """
        with self._lock:
            return sum(size(value) for value in self._values.values())

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            self._values.clear()
