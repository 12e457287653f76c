"""Group commit: waiting writes of event loops share one transaction, and one wait for the disk.

Each write runs in a savepoint of its own, so a write that fails leaves the others as they are. A write ends after the
transaction was committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from langchain_agentmem.programs import Program

MAX_GROUP = 64
"""The maximum number of writes that share a transaction."""


@dataclass(eq=False, slots=True)
class Job:
    """A write that waits for its transaction."""

    program: Program[Any]
    future: asyncio.Future[Any]
    since: float = field(default_factory=time.monotonic)
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        """Pass the outcome to the waiting task, on its event loop."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Jobs:
    """The waiting writes of a database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Job] = deque()
        self._served = False

    def add(self, job: Job, start: Callable[[], Any]) -> None:
        """Add a write.

        Args:
            job: The write.
            start: Starts a thread that calls `serve`. It is called if there is none.
        """
        with self._lock:
            self._waiting.append(job)
            if not self._served:
                start()
                self._served = True  # last: if an exception interrupts this method, the next write starts a thread

    def take(self) -> Job | None:
        """Return the next write that is not cancelled; None if there is none."""
        while True:
            try:
                job = self._waiting.popleft()
            except IndexError:
                return None
            if not job.future.cancelled():
                return job

    def serve(self, transact: Callable[[Jobs], list[Job]]) -> None:
        """Perform the waiting writes until there are none.

        Args:
            transact: Performs at most `MAX_GROUP` writes in one transaction, and returns them with their outcomes.
        """
        while True:
            with self._lock:
                if not self._waiting:
                    self._served = False
                    return
            began = time.monotonic()
            try:
                done = transact(self)
            except BaseException as error:
                done = self._failed(error, began)
            _settle(done)

    def _failed(self, error: BaseException, began: float) -> list[Job]:
        """Return the writes that were waiting when a transaction that could not begin was tried, with its error."""
        failed = []
        while self._waiting and self._waiting[0].since <= began:
            job = self.take()
            if job is not None:
                job.error = error
                failed.append(job)
        return failed

    def refuse(self, error: BaseException) -> None:
        """Refuse all waiting writes: no thread can be started."""
        with self._lock:
            self._served = False
            waiting, self._waiting = list(self._waiting), deque()
        for job in waiting:
            job.error = error
        _settle(waiting)


def _settle(jobs: list[Job]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        loops.setdefault(job.future.get_loop(), []).append(job)
    for loop, own in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle_all, own)


def _settle_all(jobs: list[Job]) -> None:
    for job in jobs:
        job.settle()
