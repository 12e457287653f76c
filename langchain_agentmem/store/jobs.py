"""Jobs of a burst: batches of several callers that are done together.

If a job of several callers fails, it is done again in parts, so that only the callers with a bad operation get the error.
If all callers of a job are cancelled, the job is cancelled too.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import Context
from typing import Any

from langgraph.store.base import Result

from langchain_agentmem.errors import AgentMemError, StorageBusyError, StorageClosedError, StorageError
from langchain_agentmem.programs import Program, arun
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.store.arguments import ItemKey
from langchain_agentmem.store.batches import Batch

_PARTS = 32
"""The number of parts of a failed job."""

_QUICK_SECONDS = 5.0
"""Seconds. A job that fails later is not tried again in parts: the database is slow or unreachable."""

Perform = Callable[[Batch, "Sequence[int] | None"], Program[list[list[Result]]]]
"""Runs a batch; see `StoreEngine.perform`."""


class Caller(asyncio.Future[list[Result]]):
    """The future that a caller awaits for the results of its batch.

    If the last caller of a job is cancelled, the job is cancelled first, and the caller when the job has ended. So no work
    continues on an event loop that ends with its caller.
    """

    __slots__ = ("batch", "context", "job", "left")

    def __init__(self, batch: Batch, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.batch = batch
        self.job: Job | None = None
        """The job that includes the batch; None before it starts and after it ends."""
        self.context: Context | None = None
        """The context in which a job of this caller runs; None for any."""
        self.left = False
        """True if the caller was cancelled, and the job with it."""

    def cancel(self, msg: Any = None) -> bool:
        if not self.done() and self.job is not None and self.job.cancel_for(self):
            self.left = True
            return True
        return super().cancel(msg)

    @property
    def waits(self) -> bool:
        """True while the caller waits for results."""
        return not self.done() and not self.left

    def end(self) -> None:
        """Leave the job; cancel the future if it has no results."""
        self.job = None
        if not self.done():
            super().cancel()


class Job:
    """Groups of callers whose batches are done together.

    Args:
        groups: The groups. The last batch of a group is done for the whole group.
        perform: Does a batch.
        alike: If true, the callers of a group sent equal reads, and each gets results of its own. If false, they wrote to the
            same item.
    """

    __slots__ = ("_perform", "alike", "finish", "groups", "task")

    def __init__(self, groups: Sequence[Sequence[Caller]], perform: Perform, *, alike: bool = False) -> None:
        self.groups = groups
        self.alike = alike
        self._perform = perform
        self.task: asyncio.Task[None] | None = None
        self.finish: Callable[[asyncio.Task[None]], None] | None = None
        """The callback of the task."""

    def callers(self) -> Iterator[Caller]:
        """Return all callers."""
        return itertools.chain.from_iterable(self.groups)

    def written_keys(self) -> Iterable[ItemKey]:
        """Return the keys of the items that the job stores or deletes."""
        return itertools.chain.from_iterable(group[-1].batch.written_keys() for group in self.groups)

    def cancel_for(self, caller: Caller) -> bool:
        """Cancel the job if only this caller waits for it; return true if it was cancelled."""
        if any(other is not caller and not other.done() for other in self.callers()):
            return False
        return self.task is not None and not self.task.done() and self.task.cancel()

    async def run(self) -> None:
        """Run the job. Each caller gets its results or an error."""
        began = time.monotonic()
        try:
            await self._complete()
        except Exception as error:
            slow = isinstance(error, StorageError) and time.monotonic() > began + _QUICK_SECONDS
            final = isinstance(error, (StorageBusyError, StorageClosedError)) or came_by_signal(error)
            if len(self.groups) == 1 or slow or final:
                await self._fail(error)
            else:
                await self._split()

    async def _complete(self) -> None:
        batches = [group[-1].batch for group in self.groups]
        merged = batches[0] if len(batches) == 1 else Batch.merged(batches)
        if self.alike:
            every = await arun(self._perform(merged, [len(group) for group in self.groups]))
            for group, results in zip(self.groups, every, strict=True):
                for caller, result in zip(group, results, strict=True):
                    if not (caller.done() or caller.left):
                        caller.set_result([result])
            return
        every = await arun(self._perform(merged, None))
        start = 0
        for group, batch in zip(self.groups, batches, strict=True):
            # A single operation has one result, which is in a list already.
            results = every[start] if batch.size == 1 else [one for (one,) in every[start : start + batch.size]]
            start += batch.size
            for caller in group:
                if not (caller.done() or caller.left):
                    caller.set_result(results)

    async def _split(self) -> None:
        """Run a failed job in parts, so that only the invalid operation fails."""
        size = -(-len(self.groups) // _PARTS)
        failed: tuple[type[Exception], str] | None = None
        for start in range(0, len(self.groups), size):
            part = self._part(self.groups[start : start + size])
            try:
                await part._complete()
            except Exception as error:
                same = (type(error), str(error))
                if (same == failed and type(error) is StorageError) or came_by_signal(error):
                    # Two parts in a row fail in the same way: the cause is the database, not an operation.
                    await self._part(self.groups[start:])._fail(error)
                    return
                failed = same
                if len(part.groups) > 1:
                    await part._split()
                else:
                    await part._fail(error)
            else:
                failed = None

    def _part(self, groups: Sequence[Sequence[Caller]]) -> Job:
        return Job(groups, self._perform, alike=self.alike)

    async def _fail(self, error: Exception) -> None:
        for group in self.groups:
            if len(group) > 1 and not (self.alike or isinstance(error, StorageError) or came_by_signal(error)):
                # The last write of the group failed; earlier ones may succeed.
                for caller in group:
                    await self._part([[caller]]).run()
            else:
                for caller in group:
                    if caller.waits:
                        caller.set_exception(own_error(error))


def own_error(error: Exception) -> Exception:
    """Return a copy of an error for one of several callers: a shared object would collect the tracebacks of all."""
    if not isinstance(error, AgentMemError):
        return error
    own = copy.copy(error)
    own.__cause__, own.__traceback__ = error.__cause__, error.__traceback__
    return own
