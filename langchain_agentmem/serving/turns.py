"""Running turns of agents: they go on when the client leaves, and are finished before the application ends."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from langchain_agentmem.serving.problems import ProblemError, problem_of

T = TypeVar("T")


class RunningTurns:
    """The running turns of an application. Turns of the same thread run one after the other.

    Args:
        most: The maximum number of turns; None for no limit.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[Any]] = set()
        self._locks: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()

    def lock(self, tenant: str, thread_id: str) -> asyncio.Lock:
        """Return the lock of a thread.

        Args:
            tenant: The tenant.
            thread_id: The thread.
        """
        return self._locks.setdefault((tenant, thread_id), asyncio.Lock())

    def start(self, turn: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a turn, which nobody needs to wait for.

        Args:
            turn: The turn.

        Raises:
            ProblemError: The maximum number of turns is running.
        """
        if self._most is not None and len(self._tasks) >= self._most:
            turn.close()
            raise ProblemError(503, "Too many turns are running. Try again later.", {"Retry-After": "5"})
        task = asyncio.create_task(turn)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def finish(self, time_limit: float | None) -> None:
        """Wait for all turns. Those that run longer are cancelled.

        Args:
            time_limit: The time limit, in seconds; None for no limit.
        """
        if not self._tasks:
            return
        _, running = await asyncio.wait(set(self._tasks), timeout=time_limit)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the request, if it still waits, gets the error


class Events:
    """Server-sent events that a turn produces and a response sends. The turn never waits for the client.

    After the client has left, events are dropped.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._is_read = True

    def send(self, name: str, data: str) -> None:
        """Send an event.

        Args:
            name: The name of the event.
            data: JSON, without line breaks.
        """
        if self._is_read:
            self._queue.put_nowait(f"event: {name}\ndata: {data}\n\n".encode())

    def close(self, error: Exception | None = None) -> None:
        """End the stream, after an event `error` if there was one."""
        if error is not None:
            self.send("error", bytes(problem_of(error).body).decode())
        self._queue.put_nowait(None)

    async def body(self, pause: float = 15.0) -> AsyncIterator[bytes]:
        """Yield the events, and a comment in each pause, so that proxies keep the connection.

        Args:
            pause: The seconds between two comments. Default: 15.
        """
        try:
            while True:
                try:
                    part = await asyncio.wait_for(self._queue.get(), pause)
                except TimeoutError:
                    part = b": waiting\n\n"
                if part is None:
                    return
                yield part
        finally:
            self._is_read = False
            self._queue = asyncio.Queue()
