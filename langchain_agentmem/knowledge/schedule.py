"""Work that is done after the answer: in threads for synchronous callers, in tasks for asynchronous ones.

What waits is data, no running thing: a closing memory does it in the closing thread or task. Of one conversation no two jobs
run at once, and a job that waits takes in what is handed over meanwhile. A job that failed waits for the next of its
conversation. Threads and tasks end when nothing is left to do.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.errors import StorageClosedError
from langchain_agentmem.knowledge.extraction import Conversation
from langchain_agentmem.program import Program, arun, run

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_log = logging.getLogger(__name__)

MAX_WAITING = 1_000
"""How many conversations may wait; what is handed over beyond is left to the next run of its thread."""

WORKERS = 4
"""How many conversations are read at once, in threads, and in the tasks of one event loop."""

Key = tuple[str, str]


@dataclass
class Job:
    """A conversation that is to be read."""

    conversation: Conversation
    config: RunnableConfig
    due: float
    """When, by the monotonic clock."""
    loop: asyncio.AbstractEventLoop | None
    """Whose event loop it came from; None: from a synchronous caller."""
    done: Future[None] = field(default_factory=Future)

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
        self._changed = threading.Condition()
        self._waiting: dict[Key, Job] = {}
        self._failed: dict[Key, Job] = {}
        self._running: dict[Key, Job] = {}
        self._threads = 0
        self._tasks: dict[asyncio.Task[None], asyncio.AbstractEventLoop] = {}
        self._asleep: dict[asyncio.Task[None], asyncio.AbstractEventLoop] = {}
        self._closed = False

    @property
    def pending(self) -> int:
        """How many conversations wait, or are being read."""
        with self._changed:
            return len({*self._waiting, *self._failed, *self._running})

    def submit(
        self, conversation: Conversation, config: RunnableConfig, loop: asyncio.AbstractEventLoop | None
    ) -> None:
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
            self._changed.notify_all()

    def flush(self) -> None:
        """Do all that waits, now and here, and wait for what is being done."""
        self._hurry()
        while True:
            with self._changed:
                job = self._take(lambda _: True)
                if job is None:
                    if not self._awaited():
                        return
                    self._changed.wait(1.0)
                    continue
            self._do(job)

    async def aflush(self) -> None:
        """Same as `flush`, but without blocking the event loop."""
        self._hurry()
        while True:
            with self._changed:
                job = self._take(lambda _: True)
                others = [] if job else [asyncio.wrap_future(one.done) for one in self._awaited(asynchronous=True)]
            if job is not None:
                await (self._ado(job) if job.loop is not None else asyncio.to_thread(self._do, job))
            elif others:
                await asyncio.wait(others, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            else:
                return

    def close(self) -> None:
        """Do all that waits, and accept nothing more."""
        self._end()
        self.flush()
        self._say_what_is_left()

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        self._end()
        await self.aflush()
        self._say_what_is_left()

    def _end(self) -> None:
        with self._changed:
            self._closed = True

    def _say_what_is_left(self) -> None:
        if self.pending:
            _log.warning("%d conversations were not read: their threads' next runs do it.", self.pending)

    # Who works

    def _begin(self, job: Job) -> None:
        """See to it that somebody does a job; the lock is held."""
        if job.loop is None:
            if self._threads < min(WORKERS, len(self._waiting)):
                self._threads += 1
                threading.Thread(target=self._thread, name="agentmem-extraction", daemon=True).start()
        elif job.loop.is_running():
            try:
                mine = asyncio.get_running_loop() is job.loop
            except RuntimeError:
                mine = False
            if mine:
                self._begin_task(job.loop)
            else:
                with suppress(RuntimeError):  # it ended this moment: who flushes does the job
                    job.loop.call_soon_threadsafe(self._begin_task, job.loop)

    def _begin_task(self, loop: asyncio.AbstractEventLoop) -> None:
        if sum(own is loop for own in self._tasks.values()) < WORKERS:
            # In a context of its own: it is no part of the run that handed the job over.
            task = contextvars.Context().run(loop.create_task, self._task(loop))
            self._tasks[task] = loop
            task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    def _thread(self) -> None:
        while True:
            with self._changed:
                job = self._take(lambda one: one.loop is None)
                if job is None:
                    wait = self._due(None)
                    if wait is None:
                        self._threads -= 1
                        return
                    self._changed.wait(wait)
                    continue
            self._do(job)

    async def _task(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            with self._changed:
                job = self._take(lambda one: one.loop is loop)
                wait = None if job else self._due(loop)
            if job is not None:
                await self._ado(job)
            elif wait is None:
                return
            else:
                await self._sleep(loop, wait)

    async def _sleep(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        task: Any = asyncio.current_task()
        with self._changed:
            self._asleep[task] = loop
        try:
            await asyncio.sleep(seconds)
        finally:
            with self._changed:
                self._asleep.pop(task, None)

    # Jobs

    def _take(self, fits: Callable[[Job], bool]) -> Job | None:
        """A job that is due, and now being done; the lock is held."""
        now = time.monotonic()
        for key, job in self._waiting.items():
            if job.due <= now and key not in self._running and fits(job):
                self._running[key] = self._waiting.pop(key)
                return job
        return None

    def _due(self, loop: asyncio.AbstractEventLoop | None) -> float | None:
        """The seconds until a job is due; None where none waits. The lock is held."""
        times = [job.due for key, job in self._waiting.items() if job.loop is loop and key not in self._running]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _do(self, job: Job) -> None:
        succeeded = False
        try:
            succeeded = run(self._work(job))
        except Exception:
            _log.exception("A conversation could not be read; it is read with its next turn.")
        finally:
            self._finished(job, succeeded=succeeded)

    async def _ado(self, job: Job) -> None:
        succeeded = False
        try:
            succeeded = await arun(self._work(job))
        except Exception:
            _log.exception("A conversation could not be read; it is read with its next turn.")
        finally:
            self._finished(job, succeeded=succeeded)

    def _finished(self, job: Job, *, succeeded: bool) -> None:
        with self._changed:
            del self._running[job.key]
            following = self._waiting.get(job.key)
            if following is not None:
                if not succeeded:
                    messages = _together(job.conversation.messages, following.conversation.messages)
                    following.conversation = replace(following.conversation, messages=messages)
                if not self._closed:
                    self._begin(following)
            elif not succeeded:
                self._failed[job.key] = job
            job.done.set_result(None)
            job.done = Future()
            self._changed.notify_all()

    def _hurry(self) -> None:
        with self._changed:
            for key, job in list(self._failed.items()):
                self._waiting.setdefault(key, job)
            self._failed.clear()
            for job in self._waiting.values():
                job.due = 0.0
            self._changed.notify_all()
            for task, loop in self._asleep.items():
                with suppress(RuntimeError):  # an event loop that has ended
                    loop.call_soon_threadsafe(task.cancel)  # what it waits for is done by who flushes

    def _awaited(self, *, asynchronous: bool = False) -> list[Job]:
        """The jobs that others are doing, and will have done: not those of an event loop that waits for us, or ended."""
        try:
            mine: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            mine = None
        return [
            job
            for job in self._running.values()
            if job.loop is None or (job.loop.is_running() and (asynchronous or job.loop is not mine))
        ]


def _together(earlier: Sequence[BaseMessage], later: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Messages of a conversation that was handed over twice, the second time often with what was in the first."""
    ids = {message.id for message in later if message.id is not None}
    texts = {(message.type, str(message.text)) for message in later if message.id is None}
    left = [
        one for one in earlier if (one.id not in ids if one.id is not None else (one.type, str(one.text)) not in texts)
    ]
    return [*left, *later]
