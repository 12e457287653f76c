"""Group commit: short writes of threads, or of tasks of one event loop, share a transaction and a round trip.

One caller sends the writes of the callers that wait, in one pipeline. If one of them fails, the transaction is rolled back,
and each caller runs its own write. So a write succeeds or fails alone, and runs at most twice.

An exception of a signal handler may interrupt a caller anywhere. Each change of a collection is one instruction of the
interpreter. A group whose caller is lost ends when the last reference to it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import queue
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from langchain_agentmem.backends.postgres.slots import TimeLimit
from langchain_agentmem.programs import All, Fetch, OuterStep, Program, one_statement
from langchain_agentmem.programs.signals import came_by_signal

MOST_WRITES = 32
"""The maximum number of writes in one transaction."""

MOST_GROUPS = 4
"""The maximum number of groups that run at once. Each needs a connection."""

_LOCK_MILLISECONDS = 1_000
"""The time for which a group waits for a lock of another writer. A write alone waits until its time limit."""

_LONE_SECONDS = 0.25
"""The time for which a write that runs alone counts as a group. It may wait for a lock longer than a group does."""

_FALLBACK_SECONDS = 0.25
"""The time after which waiting callers are noticed, even if an exception of a signal handler interrupted another caller."""

_LEADS, _ALONE = object(), object()

Operate = Callable[[Program[Any]], Program[Any]]


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
    """A caller that runs a group, or its own write alone."""

    __slots__ = ("__weakref__", "alone_since", "others")

    def __init__(self) -> None:
        self.others: list[_Waiter] = []
        self.alone_since: float | None = None
        """The time at which the caller began to run its own write alone (`time.monotonic`)."""

    @property
    def counts(self) -> bool:
        """True if the caller counts as a group."""
        return self.alone_since is None or time.monotonic() < self.alone_since + _LONE_SECONDS


class _Waiter:
    """A caller whose write another caller may run."""

    __slots__ = ("bell", "future", "leader", "limit", "outcome", "program")

    def __init__(self, program: Program[Any], limit: TimeLimit) -> None:
        self.program, self.limit = program, limit
        self.outcome: Any = None
        """`_LEADS`, `_ALONE`, a tuple of the write's result, or an exception; None while the caller waits."""
        self.leader: weakref.ref[_Leader] | None = None
        """The caller that runs the write."""
        self.bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.future: asyncio.Future[None] | None = None

    def tell(self, outcome: Any) -> None:
        """Set the outcome and wake the caller."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        self.bell.put(None)
        if self.future is not None and not self.future.done():
            self.future.set_result(None)


class _Wait(OuterStep[Any]):
    """Outer step: wait for the outcome of a waiter."""

    __slots__ = ("groups", "waiter")

    def __init__(self, groups: Groups, waiter: _Waiter) -> None:
        self.groups, self.waiter = groups, waiter

    def perform(self) -> Any:
        groups, waiter = self.groups, self.waiter
        try:
            groups.waiting.append(waiter)
            while waiter.outcome is None:
                if groups.has_room():
                    with contextlib.suppress(ValueError):  # another caller took it
                        groups.waiting.remove(waiter)
                        return _LEADS
                try:
                    waiter.bell.get(timeout=_FALLBACK_SECONDS)
                except queue.Empty:
                    groups.check(waiter)
        except BaseException:
            self._leave()
            raise
        return waiter.outcome

    async def aperform(self) -> Any:
        groups, waiter = self.groups, self.waiter
        loop = asyncio.get_running_loop()
        try:
            waiter.future = loop.create_future()
            groups.waiting.append(waiter)
            groups.add_task(waiter, loop)
            await waiter.future
        except BaseException:
            self._leave()
            raise
        finally:
            groups.tasks.discard(waiter)
        return waiter.outcome

    def _leave(self) -> None:
        """Leave the line: the caller was interrupted."""
        if self.waiter.outcome is _LEADS:
            self.groups.appoint()
        self.waiter.tell(_ALONE)


def no_groups(loop: asyncio.AbstractEventLoop, groups: Groups) -> None:
    """Do nothing when an event loop has ended: its tasks have ended too."""


class Groups:
    """The short writes of threads, or of the tasks of one event loop.

    Args:
        eager: The number of groups that run before callers wait for each other.
    """

    def __init__(self, eager: int) -> None:
        self._eager = eager
        self.waiting: deque[_Waiter] = deque()
        self._leaders: dict[int, weakref.ref[_Leader]] = {}
        """The callers that run a group. A caller that is lost does not count, nor does one that runs long alone."""
        self.tasks: set[_Waiter] = set()
        """The tasks that wait."""

    def write(self, program: Program[Any], limit: TimeLimit, operate: Operate) -> Program[Any]:
        """Run a storage program as a part of one transaction.

        Args:
            program: The program, of one statement.
            limit: The time limit of the caller.
            operate: Returns a program that runs a storage program as one transaction, within this limit.
        """
        if self._count() >= self._eager:
            found = yield from _Wait(self, _Waiter(program, limit))
            if found is _ALONE:
                return (yield from operate(program))
            if isinstance(found, Exception):
                raise found
            if found is not _LEADS:
                return found[0]
        leader = _Leader()
        try:
            self._leaders[id(leader)] = weakref.ref(leader)
            return (yield from self._lead(leader, program, limit, operate))
        finally:
            try:
                self._end(leader)
            finally:  # an exception may interrupt the first call
                self._end(leader)

    def has_room(self) -> bool:
        """Return true if another group may run."""
        return self._count() < MOST_GROUPS

    def _count(self) -> int:
        for key, known in list(self._leaders.items()):
            leader = known()
            if leader is None or not leader.counts:
                self._leaders.pop(key, None)
        return len(self._leaders)

    def add_task(self, waiter: _Waiter, loop: asyncio.AbstractEventLoop) -> None:
        """Add a task that waits. The tasks of one tick of the loop share a group."""
        if len(self.waiting) == 1:
            loop.call_soon(self.appoint)
        if not self.tasks:
            loop.call_later(_FALLBACK_SECONDS, self._check_tasks, loop)
        self.tasks.add(waiter)

    def _check_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        self.appoint()
        for waiter in list(self.tasks):
            self.check(waiter)
        if self.tasks:
            loop.call_later(_FALLBACK_SECONDS, self._check_tasks, loop)

    def check(self, waiter: _Waiter) -> None:
        """Let a caller run its own write if the caller that took it was lost."""
        taken = waiter not in self.waiting
        if taken and (waiter.leader is None or waiter.leader() is None):
            waiter.tell(_ALONE)

    def appoint(self) -> None:
        """Let the caller that has waited longest run a group."""
        while self.has_room():
            try:
                waiter = self.waiting.popleft()
            except IndexError:
                return
            if waiter.outcome is None:
                waiter.tell(_LEADS)
                return

    def _lead(self, leader: _Leader, program: Program[Any], limit: TimeLimit, operate: Operate) -> Program[Any]:
        """Run a program together with those of callers that wait."""
        others = leader.others
        while len(others) < MOST_WRITES - 1:
            try:
                waiter = self.waiting.popleft()
            except IndexError:
                break
            if waiter.outcome is None:
                waiter.leader = weakref.ref(leader)
                others.append(waiter)
        if not others:
            leader.alone_since = time.monotonic()
            return (yield from operate(program))
        try:
            results = yield from operate(together([program, *(one.program for one in others)]))
        except Exception as error:
            if came_by_signal(error):
                raise
            if limit.left <= 0:
                for one in others:
                    if one.limit.left <= limit.reserve:
                        one.tell(copy.copy(error))
                raise
        else:
            for one, result in zip(others, results[1:], strict=True):
                one.tell((result,))
            return results[0]
        self._end(leader)
        return (yield from operate(program))

    def _end(self, leader: _Leader) -> None:
        """End a group. A second call has no effect. Callers without a result run their own writes."""
        for one in leader.others:
            one.tell(_ALONE)
        self._leaders.pop(id(leader), None)
        self.appoint()
