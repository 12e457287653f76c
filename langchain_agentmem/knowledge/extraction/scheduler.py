"""The schedule of background extraction.

Pending jobs are data, not tasks: `flush` runs them now. Threads run the jobs of synchronous callers. Tasks of their event
loop run the jobs of asynchronous callers; if that loop has ended, the next flush does. No two jobs of one conversation run
at the same time, and a waiting job takes in the messages of later runs. A failed job is tried again with the next turn of
its conversation. When the interpreter exits, `shutdown` flushes all schedules.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_agentmem.errors import StorageClosedError
from langchain_agentmem.knowledge.extraction.conversations import Conversation
from langchain_agentmem.knowledge.extraction.jobs import Job, Jobs, Key
from langchain_agentmem.knowledge.extraction.workers import DaemonThreads, LoopTasks
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.programs.signals import came_by_signal

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_log = logging.getLogger(__name__)

WORKERS = 4
"""Upper bound of the jobs that run at once in threads, and in the tasks of one event loop."""

TIME_LIMIT = 30.0
"""Default number of seconds that closing waits for running jobs."""

_ROUND = 1.0
"""Seconds after which a flush checks its jobs again: an event loop may have ended."""

Loop = asyncio.AbstractEventLoop | None

_inside: contextvars.ContextVar[tuple[Schedule, ...]] = contextvars.ContextVar("agentmem_inside", default=())
"""The schedules whose job this thread or task is running."""

schedules: weakref.WeakSet[Schedule] = weakref.WeakSet()
"""All schedules of the process."""

pending: set[Schedule] = set()
"""The schedules with pending jobs. The set keeps them from being collected as garbage."""


@dataclass
class _Outcome:
    """The outcome of a job."""

    succeeded: bool = False
    interrupted: bool = False
    """True if its event loop ended before the job did."""


class Schedule:
    """Runs jobs in the background.

    Args:
        work: Program that runs one job; its result tells whether the job succeeded.
        delay: Seconds without a new turn after which a conversation is due.
    """

    def __init__(self, work: Callable[[Job], Program[bool]], delay: float) -> None:
        self._work = work
        self._delay = delay
        self._closed = False
        self._reset()
        schedules.add(self)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._jobs = Jobs()
        self._threads = DaemonThreads(WORKERS, "agentmem-extraction")
        self._tasks: dict[asyncio.AbstractEventLoop, LoopTasks] = {}
        self._given_up = False
        pending.discard(self)

    def forked(self) -> None:
        """Start without jobs in a forked child: it has none of the threads, and the parent runs the jobs."""
        self._reset()

    @property
    def pending(self) -> int:
        """The number of conversations that wait or are being read."""
        with self._lock:
            return len(self._jobs)

    @property
    def is_given_up(self) -> bool:
        """True once `close` has returned. Jobs that were waiting then were dropped."""
        return self._given_up

    def submit(self, conversation: Conversation, config: RunnableConfig, loop: Loop) -> None:
        """Schedule the extraction of a conversation.

        Args:
            conversation: The conversation.
            config: Config of the run.
            loop: The running event loop of an asynchronous caller; None for a synchronous caller.

        Raises:
            StorageClosedError: The schedule was closed before.
        """
        job = Job(conversation, config, time.monotonic() + self._delay, loop)
        with self._lock:
            if self._closed:
                msg = "Cannot schedule an extraction: the memory is closed. Call close() later, or create a new memory."
                raise StorageClosedError(msg)
            if self._jobs.add(job):
                pending.add(self)
                self._start(job)

    def waiting_of(self, user_id: str) -> int:
        """Return the number of jobs that `forget` would drop."""
        with self._lock:
            return self._jobs.waiting_of(user_id)

    def forget(self, user_id: str) -> int:
        """Drop the pending jobs of a user; return their number. A running job stores nothing of a forgotten user."""
        with self._lock:
            dropped = self._jobs.forget(user_id)
            self._keep_alive()
            return dropped

    # Waiting for jobs

    def flush(self, time_limit: float | None = None) -> None:
        """Run all pending jobs now, and wait for them. Within a job, the call does not wait.

        Args:
            time_limit: Seconds to wait at most; jobs go on after that. Default: None (no limit).
        """
        for unfinished, seconds in self._rounds(None, time_limit):
            if not self._threads.run_here():
                concurrent.futures.wait(unfinished, seconds)

    async def aflush(self, time_limit: float | None = None) -> None:
        """Same as `flush`, without blocking the event loop."""
        for unfinished, seconds in self._rounds(asyncio.get_running_loop(), time_limit):
            waiters = [asyncio.wrap_future(one) for one in unfinished]
            try:
                await asyncio.wait(waiters, timeout=seconds)
            finally:
                for one in waiters:  # jobs may end after their event loop
                    one.cancel()

    def close(self, time_limit: float | None = TIME_LIMIT) -> None:
        """Run all pending jobs, and accept no more.

        Args:
            time_limit: Seconds to wait at most. Jobs that have not started by then are dropped with a warning; None for
                no limit. Default: 30.
        """
        self._closed = True
        self.flush(time_limit)
        self._give_up()

    async def aclose(self, time_limit: float | None = TIME_LIMIT) -> None:
        """Same as `close`, without blocking the event loop."""
        self._closed = True
        await self.aflush(time_limit)
        self._give_up()

    def _give_up(self) -> None:
        with self._lock:
            left = self.pending
            self._given_up = True
            self._jobs.clear()
            self._keep_alive()
        self._threads.hurry()
        if left:
            _log.warning("%d conversations were not read: the next runs of their threads read them.", left)

    def _rounds(self, loop: Loop, time_limit: float | None) -> Iterator[tuple[list[Future[None]], float]]:
        """Start all pending jobs, and yield what to wait for and how many seconds, until no job is left.

        Args:
            loop: The running event loop of an asynchronous caller; None for a synchronous caller.
            time_limit: Seconds after which the rounds end.
        """
        ends = time.monotonic() + (float("inf") if time_limit is None else time_limit)
        with self._lock:
            self._jobs.retry_failed()
            self._keep_alive()
            for job in self._jobs.waiting.values():
                job.due = 0.0
                self._start(job)
        self._threads.hurry()
        while True:
            with self._lock:
                self._take_over(loop)
                unfinished = self._unfinished(loop)
            left = ends - time.monotonic()
            # A job that waited for other jobs might wait for one that waits for it.
            if not unfinished or left <= 0 or self in _inside.get():
                return
            yield unfinished, min(_ROUND, left)

    def _take_over(self, loop: Loop) -> None:
        """Move due jobs of other event loops to the caller's worker; the lock is held.

        Jobs of synchronous callers stay with the threads, unless no thread can be started.
        """
        threads = self._threads.available or self._threads.alive
        for job in self._jobs.waiting.values():
            target = None if job.loop is None and threads else loop
            if job.loop is not target and job.due <= time.monotonic():
                job.loop = target
                self._start(job)

    def _unfinished(self, loop: Loop) -> list[Future[None]]:
        """Return the futures of jobs that are due or running; the lock is held.

        Without those that would never end: jobs of an event loop that has ended, or that the caller blocks.
        """
        blocked = None
        if loop is None:
            with suppress(RuntimeError):
                blocked = asyncio.get_running_loop()
        now = time.monotonic()
        due = [job for key, job in self._jobs.waiting.items() if job.due <= now and key not in self._jobs.running]
        running = [
            job
            for job in self._jobs.running.values()
            if job.loop is None or (job.loop.is_running() and job.loop is not blocked)
        ]
        return [job.ended for job in (*due, *running)]

    # Running jobs

    def _start(self, job: Job) -> None:
        """Queue a job with its worker; the lock is held. If it is queued twice, the second time has no effect."""
        key, due = job.key, job.due
        if job.loop is None:
            self._threads.call_later(due - time.monotonic(), lambda: self._run(key, due))
            return
        with suppress(RuntimeError):  # the event loop is closed: the next flush runs the job
            job.loop.call_soon_threadsafe(self._start_task, key, due)

    def _start_task(self, key: Key, due: float) -> None:
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._tasks:
                self._tasks = {one: tasks for one, tasks in self._tasks.items() if not one.is_closed()}
                self._tasks[loop] = LoopTasks(WORKERS)
            self._tasks[loop].call_later(due - time.monotonic(), lambda: self._arun(key, due))

    def _run(self, key: Key, due: float) -> None:
        job = self._take(key, due, None)
        if job is not None:
            with self._ending(job) as outcome:
                outcome.succeeded = run(self._work(job))

    async def _arun(self, key: Key, due: float) -> None:
        job = self._take(key, due, asyncio.get_running_loop())
        if job is not None:
            with self._ending(job) as outcome:
                outcome.succeeded = await arun(self._work(job))

    def _take(self, key: Key, due: float, loop: Loop) -> Job | None:
        with self._lock:
            job = self._jobs.take(key, due)
            if job is not None:
                job.loop = loop
            return job

    @contextmanager
    def _ending(self, job: Job) -> Iterator[_Outcome]:
        """Log errors of a job's work, and record how the job ended."""
        outcome = _Outcome()
        token = _inside.set((*_inside.get(), self))
        try:
            yield outcome
        except StorageClosedError as error:
            _log.warning("The extraction from a conversation failed. It is tried again with the next turn: %s", error)
        except Exception as error:  # the model, the store and the application's callbacks each raise their own
            if came_by_signal(error):
                raise
            _log.exception("The extraction from a conversation failed. It is tried again with the next turn.")
        except asyncio.CancelledError:
            # The event loop ends. In a thread, the exception comes from the work, and the job counts as failed.
            outcome.interrupted = job.loop is not None
            raise
        finally:
            with suppress(ValueError):  # the garbage collector ends the task of a closed event loop in another context
                _inside.reset(token)
            self._end(job, outcome)

    def _end(self, job: Job, outcome: _Outcome) -> None:
        with self._lock:
            # A job that fails after the schedule was closed is not kept.
            done = outcome.succeeded or self._given_up
            following = self._jobs.end(job, succeeded=done, interrupted=outcome.interrupted)
            if following is not None:
                self._start(following)
            self._keep_alive()

    def _keep_alive(self) -> None:
        """Keep the schedule from being collected as garbage while it has jobs; the lock is held."""
        (pending.add if self._jobs.waiting or self._jobs.running else pending.discard)(self)
