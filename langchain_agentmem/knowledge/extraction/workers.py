"""Workers for background jobs: threads for synchronous callers, tasks of an event loop for asynchronous ones."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)


class DaemonThreads:
    """Runs functions in daemon threads, which end as soon as no function is queued.

    The interpreter does not wait for them when it exits. It would wait for the threads of a `ThreadPoolExecutor`, as long as
    a model takes.

    Args:
        most: Upper bound of the number of threads.
        name: Name of the threads.

    Example:
        >>> import threading
        >>> from langchain_agentmem.knowledge.extraction.workers import DaemonThreads
        >>> called = threading.Event()
        >>> DaemonThreads(2, "example").call_later(0.0, called.set)
        >>> called.wait(10)
        True
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.alive = 0
        """The number of threads."""
        self.available = True
        """False once no thread could be started, which is so while the interpreter exits."""

    def call_later(self, delay: float, function: Callable[[], None]) -> None:
        """Queue a function.

        Args:
            delay: Seconds until it is due.
            function: The function.
        """
        with self._changed:
            heapq.heappush(self._queue, (time.monotonic() + delay, next(self._order), function))
            if self.alive < self._most:
                self._start()
            self._changed.notify()

    def hurry(self) -> None:
        """Make all queued functions due now."""
        with self._changed:
            self._queue = [(0.0, order, function) for _, order, function in sorted(self._queue)]
            self._changed.notify_all()

    def run_here(self) -> bool:
        """Run the next due function in the calling thread, if no thread runs it.

        Returns:
            False if there was nothing to do.
        """
        with self._changed:
            if self.alive or not self._queue or self._queue[0][0] > time.monotonic():
                return False
            function = heapq.heappop(self._queue)[-1]
        function()
        return True

    def _start(self) -> None:
        # Each thread has an empty context: it is no part of the run that queued the function.
        run = contextvars.Context().run
        try:
            threading.Thread(target=run, args=(self._work,), name=self._name, daemon=True).start()
        except RuntimeError:
            self.available = False
        else:
            self.alive += 1

    def _work(self) -> None:
        while (function := self._next()) is not None:
            try:
                function()
            except BaseException:  # a function may raise SystemExit; the thread goes on with the next one
                _log.exception("A background job failed; it is tried again with the next turn.")

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next due function; None if none is queued, which ends the thread."""
        with self._changed:
            while self._queue:
                wait = self._queue[0][0] - time.monotonic()
                if wait <= 0:
                    return heapq.heappop(self._queue)[-1]
                self._changed.wait(wait)
            self.alive -= 1
            return None


class LoopTasks:
    """Runs coroutine functions as tasks of one event loop. The tasks end as soon as no function is queued.

    Args:
        most: Upper bound of the number of tasks.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._queue: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self.alive: set[asyncio.Task[None]] = set()
        """The tasks."""

    def call_later(self, delay: float, function: Callable[[], Awaitable[None]]) -> None:
        """Queue a function. Only the thread of the event loop may call this.

        Args:
            delay: Seconds until it is due.
            function: The function.
        """
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self.call_later, 0.0, function)
            return
        self._queue.put_nowait(function)
        if len(self.alive) < self._most:
            # In an empty context: the task is no part of the run that queued the function.
            task = contextvars.Context().run(asyncio.get_running_loop().create_task, self._work())
            self.alive.add(task)
            task.add_done_callback(self.alive.discard)

    async def _work(self) -> None:
        while not self._queue.empty():
            await self._queue.get_nowait()()
        # Now and not in the callback: a function that is queued in between needs a task.
        self.alive.discard(asyncio.current_task())
