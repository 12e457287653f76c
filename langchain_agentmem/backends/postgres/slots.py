"""Slots: which callers may use one of a few connections, and how long each of them waits.

A signal handler may raise an exception between any two instructions. Taking and leaving a slot are therefore one atomic step
each, both may be repeated, and no lock is held in between: an exception never leaves a slot taken.
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
from itertools import islice
from typing import Any

from langchain_agentmem.backends.garbage import collect_garbage
from langchain_agentmem.errors import StorageClosedError
from langchain_agentmem.programs import OuterStep, Program


class SlotTimeoutError(Exception):
    """No slot came free in time."""


class TimeLimit:
    """How long one operation may take, all of its attempts included.

    Args:
        seconds: The limit. A small part of it is kept back for the end, in which a statement is cancelled on the server.
    """

    __slots__ = ("_deadline", "_since", "reserve", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.reserve = min(1.0, seconds / 10)
        self._since = -math.inf
        self.restart()

    def restart(self) -> None:
        """Count from now."""
        self.count_from(time.monotonic())

    def count_from(self, moment: float) -> None:
        """Count from a moment (`time.monotonic`), if that is later than the one counted from so far."""
        self._since = max(self._since, moment)
        self._deadline = self._since + self.seconds - self.reserve

    def extend(self, seconds: float) -> None:
        """Allow more time, if `seconds` is above zero."""
        if seconds > 0:
            self._since += seconds
            self._deadline += seconds

    def use_reserve(self) -> None:
        """Allow what was kept back, from now on."""
        self._deadline = time.monotonic() + self.reserve

    @property
    def left(self) -> float:
        """Seconds that are left; not above zero when there are none."""
        return self._deadline - time.monotonic()


class Slots:
    """A number of slots, given to callers in the order in which they ask.

    Args:
        count: How many callers have a slot at the same time.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.progressed = -math.inf
        """When a caller last left its slot with an answer of the server (`time.monotonic`)."""
        self.closed = False
        # The first `count` have a slot, the others wait. Weak references: a caller that is gone does not keep its slot.
        self._order: OrderedDict[object, weakref.ref[Slot]] = OrderedDict()

    def close(self) -> None:
        """Refuse callers that wait, and later ones."""
        self.closed = True
        for slot in self._slots(len(self._order)):
            slot.ring()

    def _slots(self, count: int) -> list[Slot]:
        found = (reference() for reference in list(islice(self._order.values(), count)))
        return [slot for slot in found if slot is not None]

    def _forget_lost(self) -> None:
        while lost := [key for key, reference in list(islice(self._order.items(), self.count)) if reference() is None]:
            for key in lost:
                self._order.pop(key, None)


class Slot:
    """One caller's place among the `Slots`."""

    __slots__ = ("__weakref__", "_future", "_key", "_rung", "_slots", "_waiting")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._key = object()
        self._rung: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._future: asyncio.Future[None] | None = None
        self._waiting = False

    @property
    def is_taken(self) -> bool:
        """Whether this caller is one of those that may go on."""
        return self._key in islice(self._slots._order, self._slots.count)

    def take(self, limit: TimeLimit) -> Program[None]:
        """Wait for the slot. Time in which other callers get answers does not count.

        Raises:
            SlotTimeoutError: Nobody got an answer within the limit, and no slot came free.
            StorageClosedError: The connections were closed.
        """
        self._slots._order[self._key] = weakref.ref(self)
        self._waiting = True
        while True:
            if self._slots.closed:
                msg = "This memory was closed while a call waited for a connection."
                raise StorageClosedError(msg)
            limit.count_from(self._slots.progressed)
            if limit.left <= 0:
                raise SlotTimeoutError
            if self.is_taken:
                break
            # A wake-up can be lost with the caller that owed it: look again now and then.
            seconds = min(limit.left, 1.0 + len(self._slots._order) / 1000)
            asked = time.monotonic()
            yield from _Wait(self, seconds)
            # What this process needed to come back does not count: others could not progress either.
            limit.extend(time.monotonic() - asked - seconds)
            collect_garbage(max(asked, self._slots.progressed))
            self._slots._forget_lost()
        self._waiting = False

    def leave(self, *, answered: bool) -> None:
        """Give the slot to the caller that waits longest; may be repeated.

        Args:
            answered: Whether the server answered: then those that wait know that it makes progress.
        """
        if answered:
            self._slots.progressed = time.monotonic()
        self._slots._order.pop(self._key, None)
        for slot in self._slots._slots(self._slots.count):
            slot.ring()

    def ring(self) -> None:
        """Wake the caller up, if it waits."""
        if not self._waiting:
            return
        future = self._future
        if future is None:
            self._rung.put(None)
        elif asyncio._get_running_loop() is future.get_loop():
            _resolve(future)
        else:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                future.get_loop().call_soon_threadsafe(_resolve, future)


@dataclass(slots=True)
class _Wait(OuterStep[Any]):
    """Outer step: wait until a slot rings, or for some seconds."""

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
