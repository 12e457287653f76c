"""Work that is done after the answer: in threads for synchronous callers, in tasks for asynchronous ones.

What waits is data, no running thing: whoever flushes has it done at once, by threads, or by tasks of its own event loop. Of
one conversation no two jobs run at once, and a job that waits takes in what is handed over meanwhile. A job that failed waits
for the next of its conversation. Threads and tasks end when nothing is left to do, and none is ever broken off. When the
interpreter exits, pending conversations are read first, for at most `TIME_LIMIT` seconds; the number of those that are left
is logged.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 (registers before us what ends its threads, so that it runs after us)
import contextvars
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from langchain_core.messages import BaseMessage

from langchain_agentmem.errors import StorageClosedError
from langchain_agentmem.knowledge.extraction.reading import Conversation
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.programs.signals import came_by_signal

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_log = logging.getLogger(__name__)

MAX_WAITING = 1_000
"""How many conversations may wait; what is handed over beyond is left to the next run of its thread."""

WORKERS = 4
"""How many conversations are read at once, in threads, and in the tasks of one event loop."""

TIME_LIMIT = 30.0
"""Seconds: so long closing waits for what is being read, unless said otherwise."""

Key = tuple[str, str]
Worker = asyncio.AbstractEventLoop | None
"""Who does a job: the tasks of an event loop, or threads."""

_doing: contextvars.ContextVar[tuple[Schedule, ...]] = contextvars.ContextVar("agentmem_doing", default=())
"""The schedules whose job this thread or task is doing."""

_all: weakref.WeakSet[Schedule] = weakref.WeakSet()

_pending: set[Schedule] = set()
"""The schedules with pending conversations, which therefore are not garbage when nobody else refers to them."""


@dataclass
class Job:
    """A conversation that is to be read."""

    conversation: Conversation
    config: RunnableConfig
    due: float
    """When, by the monotonic clock."""
    loop: Worker
    """Whose event loop it came from; None: from a synchronous caller."""

    @property
    def key(self) -> Key:
        """Which conversation."""
        return self.conversation.user_id, self.conversation.thread


class Schedule:
    """Does jobs later.

    Args:
        work: Does one, and returns whether it came to something.
        delay: Seconds of quiet after which a conversation is read.
    """

    def __init__(self, work: Callable[[Job], Program[bool]], delay: float) -> None:
        self._work = work
        self._delay = delay
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[Key, Job] = {}
        self._failed: dict[Key, Job] = {}
        self._running: dict[Key, Worker] = {}
        self._threads = 0
        self._tasks: dict[asyncio.Task[None], asyncio.AbstractEventLoop] = {}
        self._bells: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._flushing: list[Worker] = []
        self._closed = False
        self._given_up = False
        self._alone = False
        """Whether no threads can be begun, because the process ends: who flushes does what they would do."""
        _pending.discard(self)

    def forked(self) -> None:
        """Begin anew in a child process: its threads and tasks are not there, and what waits is done by the parent."""
        closed = self._closed
        self._reset()
        self._closed = closed

    @property
    def pending(self) -> int:
        """How many conversations wait, or are being read."""
        with self._changed:
            return len({*self._waiting, *self._failed, *self._running})

    @property
    def is_given_up(self) -> bool:
        """Whether this was closed: what was not read by then is not read."""
        return self._given_up

    def submit(self, conversation: Conversation, config: RunnableConfig, loop: Worker) -> None:
        """Hand over a conversation.

        Args:
            conversation: The conversation.
            config: That of the run.
            loop: The running event loop of an asynchronous caller, else None.

        Raises:
            StorageClosedError: This was closed before.
        """
        job = Job(conversation, config, time.monotonic() + self._delay, loop)
        with self._changed:
            if self._closed:
                msg = "This memory is closed: make a new one, or call close() later."
                raise StorageClosedError(msg)
            for earlier in (self._waiting.pop(job.key, None), self._failed.pop(job.key, None)):
                if earlier is not None:
                    messages = _together(earlier.conversation.messages, job.conversation.messages)
                    job.conversation = replace(job.conversation, messages=messages)
            while self._failed and len(self._waiting) + len(self._failed) >= MAX_WAITING:
                self._failed.pop(next(iter(self._failed)))  # the one that failed first is left to its thread's next run
            if len(self._waiting) >= MAX_WAITING:
                _log.warning("%d conversations wait to be read: this one waits for its next turn.", MAX_WAITING)
                return
            self._waiting[job.key] = job
            self._begin(job)
            self._notify()

    def flush(self, time_limit: float | None = None) -> None:
        """Do all that waits, now, and wait for what is being done. Within a job it only sees to it that it is done.

        Args:
            time_limit: Seconds after which it goes on being done, but is not waited for. Default: None (any time).
        """
        with self._flush(None, time_limit) as waits:
            for seconds in waits:
                with self._changed:
                    job = self._take(None) if self._alone else None
                    if job is None and self._unfinished(None):
                        self._changed.wait(seconds)
                if job is not None:
                    self._do(job)

    async def aflush(self, time_limit: float | None = None) -> None:
        """Same as `flush`, but without blocking the event loop."""
        loop = asyncio.get_running_loop()
        with self._flush(loop, time_limit) as waits:
            for seconds in waits:
                with self._changed:
                    bell = self._bell(loop)
                    if not self._unfinished(loop):
                        bell.set()
                await self._rung(bell, seconds)

    def close(self, time_limit: float | None = TIME_LIMIT) -> None:
        """Do all that waits, and accept nothing more.

        Args:
            time_limit: Seconds after which what is not done is given up, with a warning. Default: 30.
        """
        self._end()
        self.flush(time_limit)
        self._give_up()

    async def aclose(self, time_limit: float | None = TIME_LIMIT) -> None:
        """Same as `close`, but without blocking the event loop."""
        self._end()
        await self.aflush(time_limit)
        self._give_up()

    def _end(self) -> None:
        with self._changed:
            self._closed = True

    def _give_up(self) -> None:
        with self._changed:
            left = self.pending
            self._given_up = True
            self._waiting.clear()
            self._failed.clear()
            self._notify()
        if left:
            _log.warning("%d conversations were not read: their threads' next runs do it.", left)

    @contextmanager
    def _flush(self, worker: Worker, time_limit: float | None) -> Iterator[Iterator[float]]:
        """Has all that waits done at once; gives, as long as it is not done, how many seconds to wait for a change."""
        ends = time.monotonic() + (float("inf") if time_limit is None else time_limit)

        def waits() -> Iterator[float]:
            while True:
                with self._changed:
                    self._staff(None)
                    if worker is not None:
                        self._staff(worker)
                    if not self._unfinished(worker):
                        return
                left = ends - time.monotonic()
                # One that waits within a job might wait for one that waits for it.
                if left <= 0 or self in _doing.get():
                    return
                yield min(1.0, left)

        with self._changed:
            for key, job in self._failed.items():
                self._waiting.setdefault(key, job)
            self._failed.clear()
            for job in self._waiting.values():
                job.due = 0.0
            self._flushing.append(worker)
            self._notify()
        try:
            yield waits()
        finally:
            with self._changed:
                self._flushing.remove(worker)
                self._notify()

    def _unfinished(self, worker: Worker) -> bool:
        """Whether something is due, or being done; the lock is held.

        What an event loop does that we block, or that ended, is not waited for.
        """
        try:
            blocked: Worker = None if worker is not None else asyncio.get_running_loop()
        except RuntimeError:
            blocked = None
        now = time.monotonic()
        return any(job.due <= now and key not in self._running for key, job in self._waiting.items()) or any(
            loop is None or (loop.is_running() and loop is not blocked) for loop in self._running.values()
        )

    # Waking who waits

    def _notify(self) -> None:
        """Wake all threads and tasks that wait for a change; the lock is held."""
        (_pending.add if self._waiting or self._running else _pending.discard)(self)
        self._changed.notify_all()
        for bell, loop in self._bells.items():
            with suppress(RuntimeError):  # an event loop that has ended
                loop.call_soon_threadsafe(bell.set)

    def _bell(self, loop: asyncio.AbstractEventLoop) -> asyncio.Event:
        """What is set at the next change; the lock is held."""
        bell = asyncio.Event()
        self._bells[bell] = loop
        return bell

    async def _rung(self, bell: asyncio.Event, seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, bell.set)
        try:
            await bell.wait()
        finally:
            timer.cancel()
            with self._changed:
                self._bells.pop(bell, None)

    # Who works

    def _is_for(self, job: Job, worker: Worker) -> bool:
        """Whether a worker does a job: its own, and what others left when it flushes."""
        return job.loop is worker or (
            worker in self._flushing and (worker is None or job.loop is not None or self._alone)
        )

    def _begin(self, job: Job) -> None:
        """See to it that somebody does a job; the lock is held."""
        if job.loop is None:
            self._staff(None)
        elif job.loop.is_running():
            try:
                mine = asyncio.get_running_loop() is job.loop
            except RuntimeError:
                mine = False
            if mine:
                self._staff(job.loop)
            else:
                with suppress(RuntimeError):  # it ended this moment: who flushes does the job
                    job.loop.call_soon_threadsafe(self._staff, job.loop)

    def _staff(self, worker: Worker) -> None:
        """Begin as many threads, or tasks of the running event loop, as there is work for."""
        with self._changed:
            ready = sum(key not in self._running and self._is_for(job, worker) for key, job in self._waiting.items())
            busy = sum(loop is worker for loop in self._running.values())
            there = self._threads if worker is None else sum(loop is worker for loop in self._tasks.values())
            for _ in range(min(WORKERS, ready + busy) - there if ready else 0):
                if worker is None:
                    self._begin_thread()
                else:
                    # In a context of its own: it is no part of the run that handed the job over.
                    task = contextvars.Context().run(worker.create_task, self._task(worker))
                    self._tasks[task] = worker
                    task.add_done_callback(self._task_ended)

    def _begin_thread(self) -> None:
        run_apart = contextvars.Context().run
        try:
            threading.Thread(target=run_apart, args=(self._thread,), name="agentmem-extraction", daemon=True).start()
        except RuntimeError:
            self._alone = True
        else:
            self._threads += 1

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        with self._changed:
            self._tasks.pop(task, None)

    def _thread(self) -> None:
        while True:
            with self._changed:
                job = self._take(None)
                if job is None:
                    wait = self._due(None)
                    if wait is None:
                        self._threads -= 1
                        return
                    self._changed.wait(wait)
                    continue
            try:
                self._do(job)
            except BaseException:
                _log.exception("A conversation could not be read; it is read with its next turn.")

    async def _task(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            with self._changed:
                job = self._take(loop)
                wait = None if job else self._due(loop)
                bell = None if wait is None else self._bell(loop)
            if job is not None:
                await self._ado(job)
            elif bell is None or wait is None:
                return
            else:
                await self._rung(bell, wait)

    # Jobs

    def _take(self, worker: Worker) -> Job | None:
        """A job that is due, and now being done; the lock is held."""
        now = time.monotonic()
        for key, job in self._waiting.items():
            if job.due <= now and key not in self._running and self._is_for(job, worker):
                self._running[key] = worker
                return self._waiting.pop(key)
        return None

    def _due(self, worker: Worker) -> float | None:
        """The seconds until a job is due; None where none waits. The lock is held."""
        times = [
            job.due for key, job in self._waiting.items() if key not in self._running and self._is_for(job, worker)
        ]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _do(self, job: Job) -> None:
        with self._done(job) as succeeded:
            succeeded.append(run(self._work(job)))

    async def _ado(self, job: Job) -> None:
        with self._done(job) as succeeded:
            succeeded.append(await arun(self._work(job)))

    @contextmanager
    def _done(self, job: Job) -> Iterator[list[bool]]:
        """Around what does a job: notes that it was done, and whether it came to something."""
        succeeded: list[bool] = []
        broken_off = False
        token = _doing.set((*_doing.get(), self))
        try:
            yield succeeded
        except StorageClosedError as error:
            _log.warning("A conversation could not be read; it is read with its next turn: %s", error)
        except Exception as error:  # the model, the store and the application's own functions each raise their own
            if came_by_signal(error):
                raise
            _log.exception("A conversation could not be read; it is read with its next turn.")
        except asyncio.CancelledError:
            # A task is cancelled when its event loop ends. A thread goes on, so its job counts as failed.
            broken_off = job.loop is not None
            raise
        finally:
            with suppress(ValueError):  # a task that its event loop left behind
                _doing.reset(token)
            self._finished(job, succeeded=any(succeeded), broken_off=broken_off)

    def _finished(self, job: Job, *, succeeded: bool, broken_off: bool) -> None:
        with self._changed:
            self._running.pop(job.key, None)
            following = self._waiting.get(job.key)
            if following is not None:
                if not succeeded:
                    messages = _together(job.conversation.messages, following.conversation.messages)
                    following.conversation = replace(following.conversation, messages=messages)
                if not self._closed:
                    self._begin(following)
            elif not succeeded and not self._given_up:
                (self._waiting if broken_off else self._failed)[job.key] = job
            self._notify()


def _together(earlier: Sequence[BaseMessage], later: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Messages of a conversation that was handed over twice, the second time often with what was in the first."""
    ids = {message.id for message in later if message.id is not None}
    texts = {(message.type, str(message.text)) for message in later if message.id is None}
    left = [
        one for one in earlier if (one.id not in ids if one.id is not None else (one.type, str(one.text)) not in texts)
    ]
    return [*left, *later]


def _forked() -> None:
    for schedule in list(_all):
        schedule.forked()


class _Exit:
    """Reads pending conversations when the interpreter exits.

    `begin` runs before threads that are not daemons are joined, as long as threads can still be started. Such threads may
    hand over more conversations until `end` runs.
    """

    def __init__(self) -> None:
        self._left = TIME_LIMIT

    def begin(self) -> None:
        self._finish([schedule for schedule in list(_all) if not schedule.is_given_up])

    def end(self) -> None:
        self._finish([schedule for schedule in list(_pending) if not schedule.is_given_up])
        for schedule in list(_all):
            if not schedule.is_given_up:
                schedule.close(0)

    def _finish(self, schedules: Sequence[Schedule]) -> None:
        ends = time.monotonic() + self._left
        self._left = 0.0  # when this is interrupted, nothing more is waited for
        for schedule in schedules:
            schedule.flush(max(0.0, ends - time.monotonic()))
        self._left = max(0.0, ends - time.monotonic())


_exit = _Exit()
# Exit functions run in reverse order. The first `finalize` registers the one that closes the connections of drivers.
weakref.finalize(_exit, bool)
atexit.register(_exit.end)
with suppress(
    AttributeError, RuntimeError
):  # private to Python, or the interpreter is exiting already: `end` does it all
    threading._register_atexit(_exit.begin)  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
