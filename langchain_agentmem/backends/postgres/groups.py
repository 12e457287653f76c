"""Group commit: short writes of tasks of one event loop share a transaction and a round trip.

The first task sends the writes of the tasks that wait, in one pipeline. If one of them fails, the transaction is rolled back,
and each task runs its own write. So a write succeeds or fails alone, and runs at most twice.
"""

from __future__ import annotations

import asyncio
import copy
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_agentmem.backends.postgres.slots import TimeLimit
from langchain_agentmem.programs import All, Fetch, Program, one_statement

MOST_WRITES = 32
"""The maximum number of writes in one transaction."""

MOST_GROUPS = 4
"""The maximum number of groups that run at once. Each needs a connection."""

_LOCK_MILLISECONDS = 1_000
"""The time for which a group waits for a lock of another writer. A write alone waits until its time limit."""

_FALLBACK_SECONDS = 0.25
"""The time after which waiting tasks are noticed, even if an exception of a signal handler interrupted a callback."""

_LEADS, _ALONE = object(), object()

Perform = Callable[[Program[Any]], Awaitable[Any]]


@one_statement
def together(programs: Sequence[Program[Any]]) -> Program[list[Any]]:
    """Run storage programs of one statement each in one pipeline, which is one transaction, and return their results.

    Programs that lock the same threads lock them in the same order.
    """
    running = [iter(program) for program in programs]
    steps: list[Any] = [next(one) for one in running]
    order = sorted(range(len(steps)), key=lambda at: str(steps[at].parameters[0]))
    limit = Fetch("SELECT set_config('lock_timeout', %s, true)", (str(_LOCK_MILLISECONDS),))
    _, *answers = yield All([limit, *(steps[at] for at in order)])
    results: list[Any] = [None] * len(steps)
    for at, answer in zip(order, answers, strict=True):
        try:
            running[at].send(answer)
        except StopIteration as done:
            results[at] = done.value
    return results


class _Leader:
    """A task that runs a group."""

    __slots__ = ("__weakref__", "others")

    def __init__(self) -> None:
        self.others: list[_Waiter] = []


class _Waiter:
    """A task whose write another task may run. The result is `_LEADS`, `_ALONE`, or a tuple of the write's result."""

    __slots__ = ("future", "limit", "program")

    def __init__(self, program: Program[Any], limit: TimeLimit) -> None:
        self.program, self.limit = program, limit
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


def no_groups(loop: asyncio.AbstractEventLoop, groups: Groups) -> None:
    """Do nothing when an event loop has ended: its tasks have ended too."""


class Groups:
    """The short writes of the tasks of one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiter] = deque()
        self._leaders: weakref.WeakSet[_Leader] = weakref.WeakSet()
        """The tasks that run a group. A task that is lost does not count."""

    async def write(self, program: Program[Any], limit: TimeLimit, perform: Perform) -> Any:
        """Run a storage program as a part of one transaction.

        Args:
            program: The program, of one statement.
            limit: The time limit of the task.
            perform: Runs a storage program as one transaction, within this limit.
        """
        if self._leaders:
            found = await self._wait(_Waiter(program, limit))
            if found is _ALONE:
                return await perform(program)
            if found is not _LEADS:
                return found[0]
        leader = _Leader()
        try:
            self._leaders.add(leader)
            return await self._lead(leader, program, limit, perform)
        finally:
            try:
                self._end(leader)
            finally:  # an exception may interrupt the first call
                self._end(leader)

    async def _wait(self, waiter: _Waiter) -> Any:
        loop = asyncio.get_running_loop()
        self._waiting.append(waiter)
        if len(self._waiting) == 1:
            loop.call_soon(self._appoint)
            loop.call_later(_FALLBACK_SECONDS, self._appoint)
        future = waiter.future
        try:
            return await future
        except BaseException:
            if not future.cancel() and not future.cancelled() and not future.exception() and future.result() is _LEADS:
                self._appoint()
            raise

    def _appoint(self) -> None:
        """Let the task that has waited longest run a group."""
        while self._waiting and len(self._leaders) < MOST_GROUPS:
            waiter = self._waiting.popleft()
            if not waiter.future.done():
                waiter.future.set_result(_LEADS)
                return

    async def _lead(self, leader: _Leader, program: Program[Any], limit: TimeLimit, perform: Perform) -> Any:
        """Run a program together with those of tasks that wait."""
        others = leader.others
        while self._waiting and len(others) < MOST_WRITES - 1:
            if not self._waiting[0].future.done():
                others.append(self._waiting[0])  # first: an exception may interrupt this method
            self._waiting.popleft()
        if not others:
            return await perform(program)
        try:
            results = await perform(together([program, *(one.program for one in others)]))
        except Exception as error:
            if limit.left <= 0:
                for one in others:
                    if not one.future.done() and one.limit.left <= limit.reserve:
                        one.future.set_exception(copy.copy(error))
                raise
        else:
            for one, result in zip(others, results[1:], strict=True):
                if not one.future.done():
                    one.future.set_result((result,))
            return results[0]
        self._end(leader)
        return await perform(program)

    def _end(self, leader: _Leader) -> None:
        """End a group. A second call has no effect. Tasks without a result run their own writes."""
        for one in leader.others:
            if not one.future.done():
                one.future.set_result(_ALONE)
        self._leaders.discard(leader)
        self._appoint()
