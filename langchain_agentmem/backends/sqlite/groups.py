"""Group commit: waiting writes of threads and event loops share one transaction, and one wait for the disk.

A write that fails leaves the others of its group as they are. The writes of a group run one after the other. If one of them
fails, the transaction is rolled back, and all run again, each in a savepoint. So the writes of a group that succeeds need no
savepoints. A write that cannot run again has a savepoint from the beginning. A write ends after the transaction was
committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from langchain_agentmem.programs import Program, StorageProgram, run
from langchain_agentmem.programs.signals import came_by_signal

MAX_GROUP = 64
"""The maximum number of writes that share a transaction."""


@dataclass(eq=False, slots=True)
class Job:
    """A write that waits for its transaction."""

    program: Program[Any]
    result: Any = None
    error: BaseException | None = None
    done: bool = False
    """True after the transaction was committed, also if this write failed."""
    _open: list[None] = field(default_factory=lambda: [None])
    """Empty while a thread has taken the write. Taking it is one instruction of the interpreter."""

    @property
    def can_run_again(self) -> bool:
        """True if the program may run again after its transaction was rolled back."""
        return isinstance(self.program, StorageProgram)

    def take(self) -> bool:
        """Take the write, to run it. Return false if another thread has taken it."""
        try:
            self._open.pop()
        except IndexError:
            return False
        return True

    def offer(self) -> None:
        """Let others take the write again: its transaction was not committed."""
        if not self._open:
            self._open.append(None)

    def outcome(self) -> Any:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result


@dataclass(eq=False, slots=True, kw_only=True)
class LoopJob(Job):
    """A write of a task of an event loop."""

    future: asyncio.Future[Any]
    since: float = field(default_factory=time.monotonic)

    def settle(self) -> None:
        """Pass the outcome to the waiting task, on its event loop."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


J = TypeVar("J", bound=Job)


class Group(Generic[J]):
    """The writes of one transaction.

    Args:
        cursor: A cursor of `sqlite3` in a transaction.
        perform: Performs a step on it.
        begin: Begins another transaction on it.
        translated: Returns a context manager that replaces errors of the driver.
    """

    def __init__(
        self,
        cursor: Any,
        perform: Callable[[Any], Any],
        begin: Callable[[], None],
        translated: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._cursor, self._perform, self._begin, self._translated = cursor, perform, begin, translated
        self._careful = False
        """True if each further write needs a savepoint."""

    def run(self, take: Callable[[], J | None], taken: list[J]) -> None:
        """Run writes.

        Args:
            take: Returns the next write; None if there is none.
            taken: Receives the writes.

        Raises:
            Exception: The first write failed before others ran, a signal handler raised it, or SQLite rolled back everything.
        """
        while len(taken) < MAX_GROUP and (job := take()) is not None:
            taken.append(job)
            job.error = None  # of a transaction that was rolled back
            first = len(taken) == 1  # its transaction may be rolled back if it fails
            if self._careful:
                self._run_in_savepoint(job)
            elif first or job.can_run_again:
                self._run_together(job, taken)
            else:
                self._run_in_savepoint(job)
            self._careful = self._careful or not job.can_run_again

    def _run_together(self, job: J, taken: list[J]) -> None:
        try:
            with self._translated():
                job.result = run(job.program, self._perform)
        except Exception as error:
            if len(taken) == 1 or came_by_signal(error):
                raise
            self._careful = True
            self._check_transaction(error)
            self._cursor.execute("ROLLBACK")
            self._begin()
            for one in taken:
                self._run_in_savepoint(one)

    def _run_in_savepoint(self, job: J) -> None:
        self._cursor.execute("SAVEPOINT agentmem")
        try:
            with self._translated():
                job.result = run(job.program, self._perform)
        except Exception as error:
            if came_by_signal(error):
                raise
            self._check_transaction(error)
            job.error = error
            self._cursor.execute("ROLLBACK TO agentmem")
        self._cursor.execute("RELEASE agentmem")

    def _check_transaction(self, error: Exception) -> None:
        """Raise an error if SQLite rolled back everything because of it, as when the disk is full."""
        if not self._cursor.connection.in_transaction:
            raise error


class Jobs:
    """The waiting writes of a database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[LoopJob] = deque()
        self._served = False

    def add(self, job: LoopJob, start: Callable[[], Any]) -> None:
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

    def take(self) -> LoopJob | None:
        """Return the next write that is not cancelled; None if there is none."""
        while True:
            try:
                job = self._waiting.popleft()
            except IndexError:
                return None
            if not job.future.cancelled():
                return job

    def serve(self, transact: Callable[[Jobs], list[LoopJob]]) -> None:
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

    def _failed(self, error: BaseException, began: float) -> list[LoopJob]:
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


def _settle(jobs: list[LoopJob]) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[LoopJob]] = {}
    for job in jobs:
        loops.setdefault(job.future.get_loop(), []).append(job)
    for loop, own in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle_all, own)


def _settle_all(jobs: list[LoopJob]) -> None:
    for job in jobs:
        job.settle()
