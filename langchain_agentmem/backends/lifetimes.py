"""Lifetimes of connections, for every driver: closed memories, forked processes, and event loops."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from langchain_agentmem.errors import StorageClosedError

T = TypeVar("T")

_inherited: list[Any] = []


def refuse_closed(closed: bool) -> None:
    """Refuse calls of a closed memory.

    Raises:
        StorageClosedError: The memory was closed.
    """
    if closed:
        raise closed_error()


def closed_error() -> StorageClosedError:
    """Return the error of calls of a closed memory."""
    return StorageClosedError("This memory is closed. Create a new one, or call close() later.")


def keep_inherited(*connections: Any) -> None:
    """Keep connections that a forked process inherited, until the process ends.

    The process must neither use nor close them: they belong to its parent, and closing them would end the parent's sessions
    or release its locks.
    """
    _inherited.extend(connections)


class PerLoop(Generic[T]):
    """One object for each event loop, such as a pool of connections.

    Objects of closed loops are dropped when another loop uses the collection, and all objects when the collection is closed
    or garbage-collected. A process that inherited the collection drops nothing.

    Args:
        drop: Function that closes the object of a loop without waiting for the loop. It must not refer to the collection's
            owner.

    Example:
        >>> import asyncio
        >>> from langchain_agentmem.backends.lifetimes import PerLoop
        >>> pools = PerLoop(lambda loop, pool: None)
        >>> async def same():
        ...     return pools.current(list) is pools.current(list)
        >>> asyncio.run(same())
        True
    """

    def __init__(self, drop: Callable[[asyncio.AbstractEventLoop, T], None]) -> None:
        self._drop = drop
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._objects: dict[asyncio.AbstractEventLoop, T] = {}
        weakref.finalize(self, _drop_all, self._objects, drop, self._process)

    def __len__(self) -> int:
        return len(self._objects)

    def current(self, make: Callable[[], T]) -> T:
        """Return the object of the running event loop. Call `make` if it has none."""
        loop = asyncio.get_running_loop()
        found = self._objects.get(loop)
        if found is not None:
            return found
        with self._lock:
            found = self._objects.get(loop)
            if found is None:
                for closed in [one for one in self._objects if one.is_closed()]:
                    self._drop(closed, self._objects.pop(closed))
                found = self._objects[loop] = make()
            return found

    def pop_current(self) -> T | None:
        """Remove the object of the running event loop, and return it."""
        with self._lock:
            return self._objects.pop(asyncio.get_running_loop(), None)

    def close(self) -> None:
        """Drop the objects of all event loops."""
        with self._lock:
            _drop_all(self._objects, self._drop, self._process)


def _drop_all(
    objects: dict[asyncio.AbstractEventLoop, T], drop: Callable[[asyncio.AbstractEventLoop, T], None], process: int
) -> None:
    if process == os.getpid():
        while objects:
            drop(*objects.popitem())
