"""A fair line for connections and for the writer's turn, which no exception can jam.

An exception that a signal raises (Ctrl-C, a notebook's stop button, a job queue's time limit) breaks a call off between any
two instructions: also just before a `try`, and within a `finally`. A place that only its holder gives back would then be
lost. So callers also look at the tickets ahead of theirs, and remove those whose call has ended.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

_LOOK_SECONDS = 0.25
"""How often a waiting caller looks at the tickets ahead, in case nobody woke it."""


class Ticket:
    """One call's place in a line.

    Args:
        frame: The frame of the call. The ticket is valid as long as this frame executes.
    """

    __slots__ = ("bell", "connection", "cursor", "forked", "frame", "thread", "whole")

    def __init__(self, frame: FrameType) -> None:
        self.frame: FrameType | None = frame
        self.thread = threading.get_ident()
        self.bell: queue.SimpleQueue[None] | None = None
        self.connection: Any = None
        """The connection that the call uses."""
        self.cursor: Any = None
        self.whole = False
        """Whether the call's transaction was committed, and left nothing behind."""
        self.forked = False
        """Whether this is a child's copy of a call of its parent."""

    @property
    def is_over(self) -> bool:
        """Whether the call has ended, no matter how."""
        if self.frame is None:
            return True
        try:
            self.frame.clear()
        except RuntimeError:  # it still executes
            return False
        self.frame = None
        return True


class Line:
    """A fair line: the callers at its head, as many as there are places, are served.

    Each operation on the line's dicts is one instruction of the interpreter, so a broken-off call leaves them whole.

    Args:
        places: How many callers are served at a time.
        abandoned: Called with the ticket of a call that ended without leaving the line.
    """

    def __init__(self, places: int, abandoned: Callable[[Ticket], None]) -> None:
        self._places = places
        self._abandoned = abandoned
        self._tickets: dict[Ticket, None] = {}
        self._served: dict[Ticket, None] = {}
        self._left = 0
        self._holds: dict[int, queue.SimpleQueue[None]] = {}

    def enter(self, ticket: Ticket, timeout: float) -> bool:
        """Wait at the end of the line until the ticket is served.

        Args:
            ticket: The ticket.
            timeout: Seconds to wait while nobody leaves the line. Each caller that leaves it starts the time again.

        Returns:
            Whether the ticket is served. If not, it is out of the line: the time is over, or the callers that are served are
            calls of the same thread, which cannot go on.
        """
        self._tickets[ticket] = None
        if self._serves(ticket):
            return True
        bell = ticket.bell = queue.SimpleQueue()
        left, deadline = self._left, time.monotonic() + timeout
        while not self._serves(ticket):
            now = time.monotonic()
            if left != self._left:
                left, deadline = self._left, now + timeout
            elif (now >= deadline and not self._holds) or self.is_held_by(ticket.thread):
                self._tickets.pop(ticket, None)
                return False
            with contextlib.suppress(queue.Empty):
                bell.get(timeout=max(0.001, min(deadline - now, _LOOK_SECONDS)))
        return True

    def leave(self, ticket: Ticket) -> None:
        """Give the place back. A ticket that is not in the line is ignored."""
        self._served.pop(ticket, None)
        self._tickets.pop(ticket, None)
        self._left += 1
        self._ring()

    @property
    def is_busy(self) -> bool:
        """Whether callers wait in the line."""
        return len(self._tickets) > self._places

    def is_held_by(self, thread: int) -> bool:
        """Whether all places are taken by calls of one thread."""
        served = self.served()
        return len(served) >= self._places and all(ticket.thread == thread for ticket in served)

    def hold(self) -> None:
        """Serve nobody until this thread calls `resume`; callers that are served already go on."""
        self._holds[threading.get_ident()] = queue.SimpleQueue()

    def drained(self, deadline: float) -> bool:
        """Wait until nobody is served but this thread's own calls; returns whether that was so before the deadline."""
        bell = self._holds[threading.get_ident()]
        while True:
            self._remove_abandoned(self.served())
            running = [ticket for ticket in self.served() if ticket.thread != threading.get_ident()]
            left = deadline - time.monotonic()
            if not running or left <= 0:
                return not running
            with contextlib.suppress(queue.Empty):
                bell.get(timeout=min(left, _LOOK_SECONDS))

    def resume(self) -> None:
        """The opposite of `hold`."""
        self._holds.pop(threading.get_ident(), None)
        self._ring()

    def served(self) -> list[Ticket]:
        """The tickets that are served now.

        A forked child must not ask whether tickets of other threads are over: their frames are gone.
        """
        return list(self._served)

    def _serves(self, ticket: Ticket) -> bool:
        while self._remove_abandoned(self._head()):
            pass
        if ticket not in self._head():
            return False
        # In this order, since `hold` first says that it holds the line, and then looks who is served.
        self._served[ticket] = None
        if self._holds:
            self._served.pop(ticket, None)
            return False
        return True

    def _remove_abandoned(self, tickets: list[Ticket]) -> bool:
        over = [ticket for ticket in tickets if ticket.is_over]
        for ticket in over:
            self._abandoned(ticket)
            self.leave(ticket)
        return bool(over)

    def _head(self) -> list[Ticket]:
        return list(self._tickets)[: self._places]

    def _ring(self) -> None:
        bells = [ticket.bell for ticket in self._head()]
        for bell in (*bells, *list(self._holds.values())):
            if bell is not None:
                bell.put(None)
