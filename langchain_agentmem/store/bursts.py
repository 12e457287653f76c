"""Bursts: store operations that are submitted in one tick of an event loop are done in few round trips.

A burst belongs to one event loop and one store. Its operations wait until the tick ends, and are then merged into jobs. Up to
`MOST_JOBS` jobs run concurrently. There are four lanes of waiting operations:

* Gets: one job reads many keys.
* Writes of single items: one job, which is one transaction, writes many. Of several writes to a key in one tick, only the
  last is done.
* Searches and listings: equal ones are done once, for all their callers.
* Batches of several operations: each is a job of its own.

The exception of a signal handler may interrupt any line here. It ends the waiting calls, and later calls work as usual.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import deque
from collections.abc import Hashable, Iterator
from typing import TypeVar

from langchain_agentmem.store.arguments import ItemKey
from langchain_agentmem.store.batches import Batch
from langchain_agentmem.store.jobs import Caller, Job, Perform, own_error

K = TypeVar("K")

MOST_OPERATIONS = 1_000
"""The maximum number of keys that one job reads or writes for several callers."""

MOST_EMBEDDED = 100
"""The same for writes if there is an embedding model, which gets the texts of all of them in one call."""

MOST_SEARCHES = 25
"""The maximum number of searches and listings in one job."""

MOST_CHARACTERS = 4_000_000
"""The total length of values after which a job takes no further write."""

MOST_JOBS = 8
"""The maximum number of concurrent jobs. Each needs a connection."""

_MOST_PASSED_OVER = 20
"""The number of blocked batches that are skipped to find one that can start."""

_FALLBACK_SECONDS = 0.05
"""The time after which jobs are started in any case, even if an exception interrupted the callback at the end of the tick."""


class Burst:
    """The operations of one event loop.

    Args:
        perform: Runs a batch.
        embedding: True if the store has an embedding model.
    """

    def __init__(self, perform: Perform, *, embedding: bool) -> None:
        self._perform = perform
        self._embedding = embedding
        self._gets: deque[Caller] = deque()
        self._writes: dict[ItemKey, list[Caller]] = {}
        self._searches: dict[Hashable, list[Caller]] = {}
        self._batches: deque[Caller] = deque()
        self._lanes = deque((self._take_gets, self._take_writes, self._take_searches, self._take_batches))
        self._busy: set[ItemKey] = set()
        """The keys that running jobs write. Later writes to them wait, so that writes to a key are done in order."""
        self._jobs: set[Job] = set()
        """The running jobs."""
        self._callers: set[Caller] = set()
        """All callers, of waiting and of running batches."""
        self._scheduled = False
        """True if `_flush` is scheduled for the end of this tick."""
        self._fallback: asyncio.TimerHandle | None = None

    def add(self, batch: Batch, loop: asyncio.AbstractEventLoop) -> Caller:
        """Add a batch, and return the future of its results."""
        caller = Caller(batch, loop)
        self._callers.add(caller)
        self._enqueue(caller)
        if not self._scheduled:
            # The exception of a signal handler can interrupt the first call of `_flush`.
            self._fallback = loop.call_later(_FALLBACK_SECONDS, self._flush)
            loop.call_soon(self._flush)
            self._scheduled = True
        return caller

    def _enqueue(self, caller: Caller) -> None:
        batch = caller.batch
        if batch.is_gets:
            self._gets.append(caller)
        elif (question := batch.question()) is not None:
            _append(self._searches, question, caller)
        elif batch.size == 1:
            (key,) = batch.puts or batch.deletes
            _append(self._writes, key, caller)
        else:
            self._batches.append(caller)

    # Jobs

    def _flush(self) -> None:
        self._scheduled = False
        if self._fallback is not None:
            self._fallback.cancel()
            self._fallback = None  # a cancelled handle refers to its event loop
        if self._gets or self._writes or self._searches or self._batches:
            try:
                self._start()
            except BaseException as error:
                self._give_up(error)
                raise

    def _start(self) -> None:
        """Start as many jobs as may run, from each lane in turn."""
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

    def _launch(self, job: Job) -> None:
        for caller in job.callers():
            caller.job = job
        self._jobs.add(job)
        self._busy.update(job.written_keys())
        # A callback, not the end of the coroutine: a task that is cancelled early never starts its coroutine.
        job.finish = functools.partial(self._finish, job)
        context = next(iter(job.callers())).context
        job.task = asyncio.get_running_loop().create_task(job.run(), context=context)
        job.task.add_done_callback(job.finish)

    def _finish(self, job: Job, task: asyncio.Task[None]) -> None:
        try:
            self._retire(job)
            self._start()
        except BaseException as error:
            self._give_up(error)
            raise
        if not task.cancelled() and (raised := task.exception()) is not None:
            raise raised

    def _retire(self, job: Job) -> None:
        """Remove a job that has ended. A second call has no effect."""
        if job not in self._jobs:
            return
        self._jobs.discard(job)
        self._busy.difference_update(job.written_keys())
        self._callers.difference_update(job.callers())
        for caller in job.callers():
            caller.end()

    def _give_up(self, error: BaseException) -> None:
        """End all waiting calls after the exception of a signal handler. Running jobs continue."""
        self._jobs = {job for job in self._jobs if job.task is not None and not job.task.done()}
        self._busy = set(itertools.chain.from_iterable(job.written_keys() for job in self._jobs))
        for job in self._jobs:
            if job.task is not None and job.finish is not None:  # the exception may have come before it was added
                job.task.remove_done_callback(job.finish)
                job.task.add_done_callback(job.finish)
        for lane in (self._gets, self._writes, self._searches, self._batches):
            lane.clear()
        kept = set(itertools.chain.from_iterable(job.callers() for job in self._jobs))
        ended, self._callers = self._callers - kept, kept
        for caller in ended:
            if isinstance(error, Exception) and not caller.done():
                caller.set_exception(own_error(error))
            caller.end()

    # Lanes: the next jobs of each kind. A lane without waiting operations has none.

    def _take_gets(self) -> Iterator[Job]:
        groups: list[list[Caller]] = []
        count = 0
        while self._gets and (not groups or count + self._gets[0].batch.size <= MOST_OPERATIONS):
            caller = self._gets.popleft()
            if not caller.done():
                groups.append([caller])
                count += caller.batch.size
        if groups:
            yield Job(groups, self._perform)

    def _take_writes(self) -> Iterator[Job]:
        most_puts = MOST_EMBEDDED if self._embedding else MOST_OPERATIONS
        puts: list[list[Caller]] = []
        deletes: list[list[Caller]] = []
        characters = 0
        taken: list[ItemKey] = []
        for key, group in self._writes.items():
            if len(puts) >= most_puts or len(deletes) >= MOST_OPERATIONS or characters > MOST_CHARACTERS:
                break
            if key in self._busy:
                continue
            taken.append(key)
            waiting = [caller for caller in group if not caller.done()]
            if waiting:
                batch = waiting[-1].batch
                (puts if batch.puts else deletes).append(waiting)
                characters += batch.characters
        for key in taken:
            del self._writes[key]
        for groups in (puts, deletes):
            if groups:
                yield Job(groups, self._perform)

    def _take_searches(self) -> Iterator[Job]:
        # A few searches are one job each; of many, each job gets its share. With a model, each query is a call to it.
        most = 1 if self._embedding else min(MOST_SEARCHES, -(-len(self._searches) // MOST_JOBS))
        groups: list[list[Caller]] = []
        while self._searches and len(groups) < most:
            group = self._searches.pop(next(iter(self._searches)))
            waiting = [caller for caller in group if not caller.done()]
            if waiting:
                groups.append(waiting)
        if groups:
            yield Job(groups, self._perform, alike=True)

    def _take_batches(self) -> Iterator[Job]:
        blocked: list[Caller] = []
        found: Caller | None = None
        while self._batches and found is None and len(blocked) < _MOST_PASSED_OVER:
            caller = self._batches.popleft()
            if caller.done():
                continue
            if self._busy.isdisjoint(caller.batch.written_keys()):
                found = caller
            else:
                blocked.append(caller)
        self._batches.extendleft(reversed(blocked))
        if found is not None:
            yield Job([[found]], self._perform)


def _append(groups: dict[K, list[Caller]], key: K, caller: Caller) -> None:
    """Add a caller to its group. Unlike `setdefault`, no list is made for each caller of a group."""
    group = groups.get(key)
    if group is None:
        groups[key] = [caller]
    else:
        group.append(caller)
