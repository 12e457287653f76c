"""A fair queue for connections and for the right to write, which survives interrupted calls.

A signal handler (Ctrl-C, a notebook's stop button, a job queue's time limit) may raise an exception between any two
instructions: also just before a `try`, and within a `finally`. A slot that only its holder can give back would then be
lost. Therefore waiting callers also check the tickets ahead of theirs, and remove those whose calls have ended.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

from langchain_agentmem.backends.sqlite.groups import Job

_LOOK_SECONDS = 0.25
"""Interval at which a waiting caller checks the tickets ahead, if nothing wakes it."""


class Ticket:
    """One call in a line.

    Args:
        frame: The frame of the call. The ticket is valid as long as this frame executes.
        job: The write of the call, if the transaction of another call may include it. Default: None.
    """

    __slots__ = ("bell", "commits", "connection", "cursor", "forked", "frame", "job", "thread", "whole")

    def __init__(self, frame: FrameType, job: Job | None = None) -> None:
        self.frame: FrameType | None = frame
        self.job = job
        self.thread = threading.get_ident()
        self.bell: queue.SimpleQueue[None] | None = None
        self.connection: Any = None
        """The connection of the call."""
        self.cursor: Any = None
        self.commits = False
        """True if the transaction is being committed, or was committed."""
        self.whole = False
        """True if the transaction was committed and the connection can be used again."""
        self.forked = False
        """True in a forked child, for a call of the parent."""

    @property
    def is_over(self) -> bool:
        """True if the call has ended in any way."""
        if self.frame is None:
            return True
        try:
            self.frame.clear()
        except RuntimeError:  # the frame still executes
            return False
        self.frame = None
        return True


class Line:
    """A fair line, whose first callers are served.

    Each operation on the line's dicts is one instruction of the interpreter, so an interrupted call leaves them consistent.

    Args:
        slots: The number of callers that are served concurrently.
        abandoned: Function that is called with the ticket of a call that ended without leaving the line.
    """

    def __init__(self, slots: int, abandoned: Callable[[Ticket], None]) -> None:
        self._slots = slots
        self._abandoned = abandoned
        self._tickets: dict[Ticket, None] = {}
        self._served: dict[Ticket, None] = {}
        self._left = 0
        self._holds: dict[int, queue.SimpleQueue[None]] = {}

    def enter(self, ticket: Ticket, timeout: float) -> bool:
        """Wait at the end of the line until the ticket is served.

        Args:
            ticket: The ticket.
            timeout: Seconds to wait while no caller leaves the line. Each leaving caller restarts the timeout.

        Returns:
            True if the ticket is served, or its job is done. Otherwise it has left the line: the timeout is over, or all
            served tickets belong to this thread, which cannot continue.
        """
        self._tickets[ticket] = None
        if self._serves(ticket):
            return True
        bell = ticket.bell = queue.SimpleQueue()
        left, deadline = self._left, time.monotonic() + timeout
        while not self._serves(ticket) and not (ticket.job is not None and ticket.job.done):
            now = time.monotonic()
            if left != self._left:
                left, deadline = self._left, now + timeout
            elif now >= deadline and ticket.job is not None and not ticket.job.take():
                deadline = now + timeout  # the transaction of another call includes it
            elif (now >= deadline and not self._holds) or self.is_held_by(ticket.thread):
                self._tickets.pop(ticket, None)
                return False
            with contextlib.suppress(queue.Empty):
                bell.get(timeout=max(0.001, min(deadline - now, _LOOK_SECONDS)))
        return True

    def leave(self, ticket: Ticket) -> None:
        """Give the slot back. A ticket that is not in the line is ignored."""
        self._served.pop(ticket, None)
        self._tickets.pop(ticket, None)
        self._left += 1
        self._ring()

    def jobs_behind(self, ticket: Ticket) -> Iterator[Job]:
        """Take the jobs of the callers that wait behind a ticket, including those that come later.

        Args:
            ticket: The ticket, which is served.
        """
        found = True
        while found:
            found = False
            for one in list(self._tickets):
                job = one.job
                if job is not None and one is not ticket and not job.done and not one.is_over and job.take():
                    found = True
                    yield job

    def finish(self, jobs: Iterable[Job]) -> None:
        """Wake the callers whose jobs are done.

        Args:
            jobs: The jobs.
        """
        for job in jobs:
            job.done = True
        for ticket in list(self._tickets):
            if ticket.job is not None and ticket.job.done and ticket.bell is not None:
                ticket.bell.put(None)

    @property
    def is_busy(self) -> bool:
        """True if callers wait in the line."""
        return len(self._tickets) > self._slots

    def is_held_by(self, thread: int) -> bool:
        """Return true if one thread holds all slots."""
        served = self.served()
        return len(served) >= self._slots and all(ticket.thread == thread for ticket in served)

    def hold(self) -> None:
        """Serve no further caller until this thread calls `resume`."""
        self._holds[threading.get_ident()] = queue.SimpleQueue()

    def drained(self, deadline: float) -> bool:
        """Wait until no call of another thread is served.

        Args:
            deadline: End of the wait, on the clock of `time.monotonic`.

        Returns:
            True if that was the case before the deadline.
        """
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
        """Serve callers again after `hold`."""
        self._holds.pop(threading.get_ident(), None)
        self._ring()

    def served(self) -> list[Ticket]:
        """Return the tickets that are served now.

        A forked child must not read `is_over` of tickets of other threads: their frames do not exist there.
        """
        return list(self._served)

    def _serves(self, ticket: Ticket) -> bool:
        while self._remove_abandoned(self._head()):
            pass
        if ticket not in self._head():
            return False
        # In this order, because `hold` is called first, and then `drained` reads the served tickets.
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
        return list(self._tickets)[: self._slots]

    def _ring(self) -> None:
        bells = [ticket.bell for ticket in self._head()]
        for bell in (*bells, *list(self._holds.values())):
            if bell is not None:
                bell.put(None)
