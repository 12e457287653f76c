"""Slots: the right to use one of a limited number of connections, and the time limit for waiting.

A signal handler may raise an exception between any two instructions. So taking a slot and leaving it are one atomic step
each, both can be repeated, and no lock is held in between. An exception never leaves a slot taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import time
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from langchain_agentmem.backends.garbage import collect_garbage
from langchain_agentmem.errors import StorageClosedError
from langchain_agentmem.programs import OuterStep, Program
from langchain_agentmem.programs.snapshots import snapshot


class SlotTimeoutError(Exception):
    """No slot became free within the time limit."""


class TimeLimit:
    """The time limit of one operation, including all of its attempts.

    Args:
        seconds: The limit. A small part of it is reserved for cancelling the statement on the server.
    """

    __slots__ = ("_deadline", "_since", "reserve", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.reserve = min(1.0, seconds / 10)
        self._since = -math.inf
        self.restart()

    def restart(self) -> None:
        """Restart the limit now."""
        self.count_from(time.monotonic())

    def count_from(self, moment: float) -> None:
        """Restart the limit at a moment (`time.monotonic`), if that is later than the last start."""
        self._since = max(self._since, moment)
        self._deadline = self._since + self.seconds - self.reserve

    def extend(self, seconds: float) -> None:
        """Extend the limit if `seconds` is positive."""
        if seconds > 0:
            self._since += seconds
            self._deadline += seconds

    def use_reserve(self) -> None:
        """Use the reserved time, from now on."""
        self._deadline = time.monotonic() + self.reserve

    @property
    def left(self) -> float:
        """The seconds that are left; zero or negative after the end."""
        return self._deadline - time.monotonic()


class Slots:
    """A number of slots, which callers get in the order of their requests.

    Args:
        count: The number of slots.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.progressed = -math.inf
        """The last time that a caller left its slot after an answer of the server (`time.monotonic`)."""
        self.closed = False
        # The first `count` callers have a slot, the others wait. With weak references, a lost caller does not keep its slot.
        self._order: OrderedDict[object, weakref.ref[Slot]] = OrderedDict()

    def close(self) -> None:
        """Refuse waiting and later callers."""
        self.closed = True
        for slot in self._slots(len(self._order)):
            slot.ring()

    def _first(self, count: int) -> list[tuple[object, weakref.ref[Slot]]]:
        """Return the keys and slots of the first `count` callers."""
        return snapshot(self._order.items(), count)

    def _slots(self, count: int) -> list[Slot]:
        found = (reference() for _, reference in self._first(count))
        return [slot for slot in found if slot is not None]

    def _forget_lost(self) -> None:
        while lost := [key for key, reference in self._first(self.count) if reference() is None]:
            for key in lost:
                self._order.pop(key, None)


class Slot:
    """The slot of one caller, or its turn in the queue."""

    __slots__ = ("__weakref__", "_future", "_key", "_rung", "_slots", "_waiting")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._key = object()
        self._rung: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._future: asyncio.Future[None] | None = None
        self._waiting = False

    @property
    def is_taken(self) -> bool:
        """True if the caller has the slot."""
        return any(key is self._key for key, _ in self._slots._first(self._slots.count))

    def take(self, limit: TimeLimit) -> Program[None]:
        """Wait for the slot. The time limit restarts when another caller gets an answer.

        Raises:
            SlotTimeoutError: No slot became free within the limit, and no other caller got an answer.
            StorageClosedError: The connections were closed.
        """
        self._slots._order[self._key] = weakref.ref(self)
        self._waiting = True
        began = time.monotonic()
        while True:
            if self._slots.closed:
                msg = "This memory was closed while a call waited for a connection."
                raise StorageClosedError(msg)
            limit.count_from(self._slots.progressed)
            if limit.left <= 0:
                raise SlotTimeoutError
            if self.is_taken:
                break
            # A wake-up is lost if the caller that sends it is interrupted, so the wait is bounded.
            seconds = min(limit.left, limit.seconds / 2, 1.0 + len(self._slots._order) / 1000)
            asked = time.monotonic()
            yield from _Wait(self, seconds)
            # A collection delays all callers, so it waits until this caller is at risk of failing.
            collect_garbage(max(began, self._slots.progressed) + limit.seconds / 4)
            # A delay of the whole process does not count towards the limit: no caller could progress.
            limit.extend(time.monotonic() - asked - seconds)
            self._slots._forget_lost()
        self._waiting = False

    def leave(self, *, answered: bool) -> None:
        """Give the slot to the next caller. Calling it twice has no effect.

        Args:
            answered: True if the server answered. The time limits of waiting callers restart then.
        """
        if answered:
            self._slots.progressed = time.monotonic()
        self._slots._order.pop(self._key, None)
        for slot in self._slots._slots(self._slots.count):
            slot.ring()

    def ring(self) -> None:
        """Wake the caller if it waits."""
        if not self._waiting:
            return
        future = self._future
        if future is None:
            self._rung.put(None)
        elif asyncio._get_running_loop() is future.get_loop():
            _resolve(future)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                future.get_loop().call_soon_threadsafe(_resolve, future)


@dataclass(slots=True)
class _Wait(OuterStep[Any]):
    """Outer step: wait until the caller of a slot is woken, at most for some seconds."""

    slot: Slot
    seconds: float

    def perform(self) -> None:
        with contextlib.suppress(queue.Empty):
            self.slot._rung.get(timeout=self.seconds)

    async def aperform(self) -> None:
        loop = asyncio.get_running_loop()
        self.slot._future = future = loop.create_future()
        if self.slot.is_taken or self.slot._slots.closed:
            return
        timer = loop.call_later(self.seconds, _resolve, future)
        try:
            await future
        finally:
            timer.cancel()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
