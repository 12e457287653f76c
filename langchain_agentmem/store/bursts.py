"""Bursts of store operations: what is submitted in one tick of an event loop is done in few round trips.

A burst belongs to one event loop of one store. Operations that are submitted wait until the tick ends. Then they are merged
into jobs, of which several run concurrently:

* reads of keys, many in one job;
* writes, many in one job, which is one transaction. Of several writes to one key in one tick only the last is done;
* searches and listings, each once for all callers that ask the same;
* a caller's own batch of several kinds, alone and in one transaction.

Callers stay apart: when a job of several callers fails, it is done again in parts, so that only the caller with the bad
operation gets the error. No job outlives its callers: when the last one is cancelled the job is cancelled too.

A signal handler may raise an exception anywhere in here. It ends the calls that are waiting, and leaves nothing behind that
later calls would wait for.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from langgraph.store.base import Result

from langchain_agentmem.errors import AgentMemError, StorageBusyError, StorageClosedError, StorageError
from langchain_agentmem.programs import Program, arun
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.store.batches import Batch, Place

MOST_OPERATIONS = 1_000
"""The most keys that one job reads or writes for callers that did not ask together."""

MOST_EMBEDDED = 100
"""The same where an embedding model is called with the texts of all of them."""

MOST_QUESTIONS = 25
"""The most searches and listings that one job asks."""

MOST_CHARACTERS = 4_000_000
"""The characters of values after which a job takes no further write."""

MOST_JOBS = 8
"""The jobs that run concurrently; each needs one connection."""

_LOOKED_AT = 20
"""How many batches that wait for others are passed over in search of one that need not wait."""

_PARTS = 32
"""Into how many jobs a failed one is split."""

_QUICK_SECONDS = 5.0
"""A database that could not be reached for longer than this is not asked again for each caller."""

_NET_SECONDS = 0.05
"""When what waits is looked at again, should the call at the end of the tick have been broken off."""

Perform = Callable[[Batch, "Sequence[int] | None"], Program[list[list[Result]]]]
"""An outer program: does a batch. It is told how many callers want each result (None: one), and returns a result for each."""


class _Results(asyncio.Future[list[Result]]):
    """What a caller awaits.

    When the caller is cancelled and no other waits for the same job, the job is cancelled, and ends before the caller does.
    So nothing goes on in an event loop that ends with its caller.
    """

    __slots__ = ("caller",)

    def __init__(self, caller: Batch, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.caller: Batch | None = caller

    def cancel(self, msg: Any = None) -> bool:
        job: _Job | None = self.caller.job if self.caller is not None and not self.done() else None
        if job is not None and job.is_last(self):
            self.caller = None  # whatever the job still does, this caller is cancelled when it ends
            return True
        return super().cancel(msg)

    def end(self) -> None:
        """Cancel it if it has no results, and forget what it waited for."""
        self.caller = None
        super().cancel()


class _Job:
    """What is done at once: units, each of callers of which the last one's operation counts for all."""

    __slots__ = ("alike", "finish", "task", "units")

    def __init__(self, units: Sequence[Sequence[Batch]], *, alike: bool = False) -> None:
        self.units = units
        self.alike = alike
        """Whether the callers of a unit asked the same, and each is to have a result of its own."""
        self.task: asyncio.Task[None] | None = None
        self.finish: Callable[[asyncio.Task[None]], None] | None = None
        """What is called when the task is done."""
        for caller in self.callers():
            caller.job = self

    def is_last(self, waiter: _Results) -> bool:
        """Whether nobody but a cancelled caller waits; then the job is cancelled."""
        if any(caller.future is not waiter and not caller.future.done() for caller in self.callers()):
            return False
        return self.task is not None and not self.task.done() and self.task.cancel()

    def callers(self) -> Iterator[Batch]:
        return itertools.chain.from_iterable(self.units)

    def places(self) -> Iterable[Place]:
        return itertools.chain.from_iterable(unit[-1].places() for unit in self.units)


class Burst:
    """The operations of one event loop.

    Args:
        perform: Does a batch.
        embedding: Whether an embedding model is asked for what is stored.
    """

    def __init__(self, perform: Perform, *, embedding: bool) -> None:
        self._perform = perform
        self._embedding = embedding
        self._most = MOST_EMBEDDED if embedding else MOST_OPERATIONS
        self._gets: deque[Batch] = deque()
        self._writes: dict[Place, list[Batch]] = {}
        self._questions: dict[Any, list[Batch]] = {}
        self._alone: deque[Batch] = deque()
        self._lanes = deque((self._take_gets, self._take_writes, self._take_questions, self._take_alone))
        self._busy: set[Place] = set()
        """What is being written: a later write to it waits, so that writes to a key are done in order."""
        self._jobs: set[_Job] = set()
        """Those that run."""
        self._scheduled = False
        """Whether what waits is looked at when this tick ends."""
        self._net: asyncio.TimerHandle | None = None
        self._pending: set[Batch] = set()
        """All callers that wait."""

    def add(self, caller: Batch, loop: asyncio.AbstractEventLoop) -> asyncio.Future[list[Result]]:
        """Do a caller's batch together with what others add in this tick of the event loop; returns what to await."""
        results = caller.future = _Results(caller, loop)
        self._pending.add(caller)
        self._enqueue(caller)
        if not self._scheduled:
            # The exception of a signal handler can break off a call of `_flush`. Then the second one is made.
            self._net = loop.call_later(_NET_SECONDS, self._flush)
            loop.call_soon(self._flush)
            self._scheduled = True
        return results

    def _enqueue(self, caller: Batch) -> None:
        if caller.is_gets:
            self._gets.append(caller)
        elif (question := caller.question()) is not None:
            self._questions.setdefault(question, []).append(caller)
        elif caller.size == 1:
            (place,) = caller.puts or caller.deletes
            self._writes.setdefault(place, []).append(caller)
        else:
            self._alone.append(caller)

    # Jobs

    def _flush(self) -> None:
        self._scheduled = False
        if self._net is not None:
            self._net.cancel()
        if self._gets or self._writes or self._questions or self._alone:
            try:
                self._start()
            except BaseException as error:
                self._give_up(error)
                raise

    def _start(self) -> None:
        """Start as many jobs as may run, of each kind in turn."""
        for job in [job for job in self._jobs if job.task is not None and job.task.done()]:
            self._retire(job)
        idle = 0
        while len(self._jobs) < MOST_JOBS and idle < len(self._lanes):
            started = False
            for job in self._lanes[0]():
                self._launch(job)
                started = True
            self._lanes.rotate(-1)
            idle = 0 if started else idle + 1

    def _launch(self, job: _Job) -> None:
        self._jobs.add(job)
        self._busy.update(job.places())
        # Not at the end of the coroutine: one that is cancelled early never begins.
        job.finish = functools.partial(self._finish, job)
        job.task = asyncio.get_running_loop().create_task(self._attempt(job))
        job.task.add_done_callback(job.finish)

    def _finish(self, job: _Job, task: asyncio.Task[None]) -> None:
        try:
            self._retire(job)
            self._start()
        except BaseException as error:
            self._give_up(error)
            raise
        if not task.cancelled() and (raised := task.exception()) is not None:
            raise raised

    def _retire(self, job: _Job) -> None:
        """Forget a job that is done; may be repeated."""
        if job not in self._jobs:
            return
        self._jobs.discard(job)
        self._busy.difference_update(job.places())
        self._pending.difference_update(job.callers())
        for caller in job.callers():
            caller.job = None
            caller.future.end()

    def _give_up(self, error: BaseException) -> None:
        """End all calls but those whose jobs run: the exception of a signal handler broke off the work on them."""
        self._jobs = {job for job in self._jobs if job.task is not None and not job.task.done()}
        self._busy = set(itertools.chain.from_iterable(job.places() for job in self._jobs))
        for job in self._jobs:
            if job.task is not None and job.finish is not None:  # it may not have been told whom to call
                job.task.remove_done_callback(job.finish)
                job.task.add_done_callback(job.finish)
        for waiting in (self._gets, self._writes, self._questions, self._alone):
            waiting.clear()
        kept = set(itertools.chain.from_iterable(job.callers() for job in self._jobs))
        ended, self._pending = self._pending - kept, kept
        for caller in ended:
            if isinstance(error, Exception) and not caller.future.done():
                caller.future.set_exception(_own(error))
            caller.future.end()

    async def _attempt(self, job: _Job) -> None:
        began = time.monotonic()
        try:
            await self._complete(job)
        except Exception as error:
            slow = isinstance(error, StorageError) and time.monotonic() > began + _QUICK_SECONDS
            final = isinstance(error, (StorageBusyError, StorageClosedError)) or came_by_signal(error)
            if len(job.units) == 1 or slow or final:
                await self._fail(job, error)
            else:
                await self._split(job)

    async def _complete(self, job: _Job) -> None:
        works = [unit[-1] for unit in job.units]
        merged = works[0] if len(works) == 1 else Batch.merged(works)
        if job.alike:
            every = await arun(self._perform(merged, [len(unit) for unit in job.units]))
            for unit, results in zip(job.units, every, strict=True):
                for caller, result in zip(unit, results, strict=True):
                    _answer(caller, [result])
            return
        every = await arun(self._perform(merged, None))
        at = 0
        for unit, work in zip(job.units, works, strict=True):
            own = [result for (result,) in every[at : at + work.size]]
            at += work.size
            for caller in unit:
                _answer(caller, own)

    async def _split(self, job: _Job) -> None:
        """Do a failed job in parts, so that an operation that cannot be done fails alone."""
        size = -(-len(job.units) // _PARTS)
        failed: tuple[type[Exception], str] | None = None
        for start in range(0, len(job.units), size):
            part = _Part(job.units[start : start + size], alike=job.alike)
            try:
                await self._complete(part)
            except Exception as error:
                same = (type(error), str(error))
                if (same == failed and type(error) is StorageError) or came_by_signal(error):
                    # Twice the same, wherever the cause is: it is the database that cannot, not an operation.
                    await self._fail(_Part(job.units[start:], alike=job.alike), error)
                    return
                failed = same
                if len(part.units) > 1:
                    await self._split(part)
                else:
                    await self._fail(part, error)
            else:
                failed = None

    async def _fail(self, job: _Job, error: Exception) -> None:
        for unit in job.units:
            if len(unit) > 1 and not (job.alike or isinstance(error, StorageError) or came_by_signal(error)):
                # What the last caller wanted cannot be stored; what those before it wanted may well be.
                for caller in unit:
                    await self._attempt(_Part([[caller]]))
            else:
                for caller in unit:
                    if not caller.future.done():
                        caller.future.set_exception(_own(error))

    # Lanes: what the next jobs of a kind are; none when nothing of it waits.

    def _take_gets(self) -> Iterator[_Job]:
        units: list[list[Batch]] = []
        count = 0
        while self._gets and (not units or count + self._gets[0].size <= MOST_OPERATIONS):
            caller = self._gets.popleft()
            if not caller.future.done():
                units.append([caller])
                count += caller.size
        if units:
            yield _Job(units)

    def _take_writes(self) -> Iterator[_Job]:
        puts: list[list[Batch]] = []
        deletes: list[list[Batch]] = []
        characters = 0
        taken: list[Place] = []
        for place, unit in self._writes.items():
            if len(puts) >= self._most or len(deletes) >= MOST_OPERATIONS or characters > MOST_CHARACTERS:
                break
            if place in self._busy:
                continue
            taken.append(place)
            live = [caller for caller in unit if not caller.future.done()]
            if live:
                work = live[-1]
                (puts if work.puts else deletes).append(live)
                characters += work.characters
        for place in taken:
            del self._writes[place]
        for units in (puts, deletes):
            if units:
                yield _Job(units)

    def _take_questions(self) -> Iterator[_Job]:
        # Few questions are each asked on their own; of many, each job gets its share. A model is asked for each by itself.
        most = 1 if self._embedding else min(MOST_QUESTIONS, -(-len(self._questions) // MOST_JOBS))
        units: list[list[Batch]] = []
        while self._questions and len(units) < most:
            live = [caller for caller in self._questions.pop(next(iter(self._questions))) if not caller.future.done()]
            if live:
                units.append(live)
        if units:
            yield _Job(units, alike=True)

    def _take_alone(self) -> Iterator[_Job]:
        passed: list[Batch] = []
        found: Batch | None = None
        while self._alone and found is None and len(passed) < _LOOKED_AT:
            caller = self._alone.popleft()
            if caller.future.done():
                continue
            if self._busy.isdisjoint(caller.places()):
                found = caller
            else:
                passed.append(caller)
        self._alone.extendleft(reversed(passed))
        if found is not None:
            yield _Job([[found]])


class _Part(_Job):
    """A part of a job, done within it."""

    __slots__ = ()

    def __init__(self, units: Sequence[Sequence[Batch]], *, alike: bool = False) -> None:
        self.units = units
        self.alike = alike


def _answer(caller: Batch, results: list[Result]) -> None:
    if not caller.future.done() and caller.future.caller is not None:
        caller.future.set_result(results)


def _own(error: Exception) -> Exception:
    """An error for one of several callers: raised in each, one object would gather the tracebacks of all."""
    if not isinstance(error, AgentMemError):
        return error
    own = copy.copy(error)
    own.__cause__, own.__traceback__ = error.__cause__, error.__traceback__
    return own
