"""Connections to one Redis server, shared by the callers of a process: a pool for threads, and one for an event loop.

An exception may break off a call between any two bytecodes: a signal handler raises it, or a task is cancelled. So no lock is
held, and a caller owns the connection that it uses. If the caller does not give it back, it is closed and never used again,
and its permit comes back by itself when nothing refers to it any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from langchain_agentmem.backends.garbage import collect_garbage

NEVER = float("-inf")
_LATE, _LOOK_SECONDS = 0.05, 0.25


class NoTurnError(Exception):
    """No connection came free, and nobody made progress."""


class Limit:
    """How long an operation may take: until `at`, on the clock of `time.monotonic`.

    Waiting for a connection counts only while nothing progresses.
    """

    __slots__ = ("at", "partial", "sent")

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds
        self.sent = False
        """Whether a server may have received a part of the operation."""
        self.partial = False
        """Whether a part of the operation was done."""

    def left(self) -> float:
        """Seconds that are left."""
        return self.at - time.monotonic()

    def after(self, since: float, progress: float) -> float:
        """The end for a caller that waits for a connection since a time; others last succeeded at `progress`."""
        return self.at + max(0.0, progress - since)

    def part(self, count: int) -> Limit:
        """A limit for the first of `count` attempts, each of which gets the same share of the time that is left."""
        share = Limit(max(0.0, self.left()) / count)
        share.sent = self.sent
        return share


class Permit:
    """The right to use one connection."""

    __slots__ = ("__weakref__",)


class Link:
    """An open connection of redis-py, on either side."""

    __slots__ = ("__weakref__", "connection")

    def __init__(self, connection: Any) -> None:
        self.connection = connection


class LoopLink(Link):
    """One of an event loop, which redis-py does not close when nothing refers to it any more."""

    __slots__ = ()

    def __del__(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            close_now(self.connection)


class Lease:
    """A connection as long as one exchange uses it."""

    __slots__ = ("clean", "link", "permit", "pool")

    def __init__(self, pool: Pool | LoopPool) -> None:
        self.pool = pool
        self.permit: Permit | None = None
        self.link: Link | None = None
        self.clean = False
        """Whether every answer was read, so that others may use the connection."""

    def end(self) -> None:
        """Give the connection back if it is clean, else close it."""
        link, self.link = self.link, None
        if link is not None:
            self.pool.take_back(link, clean=self.clean)
        permit, self.permit = self.permit, None
        if permit is not None:
            self.pool.release(permit, progress=self.clean)


class _Permits:
    """A fixed number of permits; one that is lost is replaced.

    Args:
        size: How many.
        put: Takes one that is free. When a permit is lost, it is called with the dead weak reference instead: it must not run
            Python code, where a signal handler could break it off.
    """

    def __init__(self, size: int, put: Callable[[Any], None]) -> None:
        self._put = put
        self._known: set[weakref.ref[Permit]] = set()
        for _ in range(size):
            put(self._new())

    def checked(self, token: Permit | weakref.ref[Permit]) -> Permit:
        """The permit that was taken, or another one for one that was lost."""
        if isinstance(token, Permit):
            return token
        self._known.discard(token)
        return self._new()

    def _new(self) -> Permit:
        permit = Permit()
        self._known.add(weakref.ref(permit, self._put))
        return permit


class Pool:
    """Connections for threads.

    Args:
        open_: Opens a connection.
        is_quiet: Whether a connection is open and nothing unread is in it.
        size: The most connections at a time.
    """

    def __init__(self, open_: Callable[[Limit], Any], is_quiet: Callable[[Any], bool], size: int) -> None:
        self._open, self._is_quiet = open_, is_quiet
        self._free: SimpleQueue[Any] = SimpleQueue()
        self._permits = _Permits(size, self._free.put)
        self._idle: deque[Link] = deque()
        self._progress = NEVER
        self._closed = False

    def take(self, lease: Lease, limit: Limit, *, wait: bool) -> bool:
        """Get a permit, if one is free or `wait`; returns whether it got one.

        Raises:
            NoTurnError: None came free in time.
        """
        with contextlib.suppress(Empty):
            lease.permit = self._permits.checked(self._free.get_nowait())
            return True
        if not wait:
            return False
        since = time.monotonic()
        while lease.permit is None:
            left = limit.after(since, self._progress) - time.monotonic()
            try:
                token = self._free.get(timeout=max(0.0, min(left, _LOOK_SECONDS)))
                lease.permit = self._permits.checked(token)
            except Empty:
                collect_garbage(max(since, self._progress))
                if limit.after(since, self._progress) <= time.monotonic():
                    raise NoTurnError from None
        limit.at = limit.after(since, self._progress)
        return True

    def connect(self, lease: Lease, limit: Limit) -> Any:
        """Get an open connection for a permit."""
        while self._idle:
            try:
                lease.link = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if self._is_quiet(lease.link.connection):
                return lease.link.connection
            lease.link.connection.disconnect()
        lease.link = Link(self._open(limit))
        return lease.link.connection

    def take_back(self, link: Link, *, clean: bool) -> None:
        """Keep a connection for others, or close it."""
        if not clean:
            link.connection.disconnect()
            return
        self._idle.append(link)
        if self._closed:
            self.drop_idle()

    def release(self, permit: Permit, *, progress: bool) -> None:
        """Give a permit back."""
        if progress:
            self._progress = time.monotonic()
        self._free.put(permit)

    def drop_idle(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            try:
                link = self._idle.pop()
            except IndexError:
                return
            link.connection.disconnect()

    def close(self) -> None:
        """Close the connections that nobody uses now, and the others when they are given back."""
        self._closed = True
        self.drop_idle()


class LoopPool:
    """Connections for the tasks of one event loop.

    Args:
        open_: Opens a connection.
        is_quiet: Whether a connection is open and nothing unread is in it.
        size: The most connections at a time.
    """

    def __init__(self, open_: Callable[[Limit], Awaitable[Any]], is_quiet: Callable[[Any], bool], size: int) -> None:
        self._open, self._is_quiet = open_, is_quiet
        self._free: deque[Any] = deque()
        self._permits = _Permits(size, self._free.append)
        self._idle: list[Link] = []
        self._every: weakref.WeakSet[Link] = weakref.WeakSet()
        self._line: deque[tuple[asyncio.Future[Permit], Limit, float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._next_look = NEVER
        self._progress = NEVER
        self._closed = False

    async def take(self, lease: Lease, limit: Limit, *, wait: bool) -> bool:
        """Get a permit, if one is free or `wait`; returns whether it got one.

        Raises:
            NoTurnError: None came free in time.
        """
        if self._free:
            lease.permit = self._permits.checked(self._free.popleft())
            return True
        if not wait:
            return False
        since = time.monotonic()
        turn: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._line.append((turn, limit, since))
        self._watch(limit.at)
        try:
            lease.permit = await turn
        except BaseException:
            if not turn.cancel() and not turn.cancelled() and turn.exception() is None:
                self.release(turn.result(), progress=False)
            raise
        limit.at = limit.after(since, self._progress)
        return True

    async def connect(self, lease: Lease, limit: Limit) -> Any:
        """Get an open connection for a permit."""
        while self._idle:
            lease.link = self._idle.pop()
            if self._is_quiet(lease.link.connection):
                return lease.link.connection
            close_now(lease.link.connection)
        lease.link = LoopLink(await self._open(limit))
        self._every.add(lease.link)
        return lease.link.connection

    def take_back(self, link: Link, *, clean: bool) -> None:
        """Keep a connection for others, or close it."""
        if clean and not self._closed:
            self._idle.append(link)
        else:
            close_now(link.connection)

    def release(self, permit: Permit, *, progress: bool) -> None:
        """Give a permit to the first in the line, or back."""
        if progress:
            self._progress = time.monotonic()
        while self._line:
            turn, *_ = self._line.popleft()
            if not turn.done():
                turn.set_result(permit)
                return
        self._free.append(permit)

    def drop_idle(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            close_now(self._idle.pop().connection)

    async def aclose(self) -> None:
        """Close the connections that nobody uses now, and the others when they are given back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().connection.disconnect()

    def connections(self) -> list[Any]:
        """All connections, also those that are used now."""
        self._closed = True
        return [link.connection for link in list(self._every)]

    def _watch(self, end: float) -> None:
        """Look at the line from time to time, and when a caller in it may have waited too long."""
        now = time.monotonic()
        at = min(end, now + _LOOK_SECONDS)
        if self._timer is None or at < self._next_look:
            if self._timer is not None:
                self._timer.cancel()
            self._next_look = at
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now), self._look)

    def _look(self, *, again: bool = False) -> None:
        self._timer = None
        if self._line:
            collect_garbage(max(self._line[0][2], self._progress))
        while self._free and self._line:  # a permit that was lost came back
            self.release(self._permits.checked(self._free.popleft()), progress=False)
        now, ends = time.monotonic(), []
        for turn, limit, since in self._line:
            if not turn.done():
                end = limit.after(since, self._progress)
                if end > now:
                    ends.append(end)
                elif again:
                    turn.set_exception(NoTurnError())
                else:
                    # The loop may have stood still: others may have progressed, which it learns only now.
                    self._next_look = now
                    self._timer = asyncio.get_running_loop().call_later(_LATE, partial(self._look, again=True))
                    return
        if ends:
            self._watch(min(ends))


def close_now(connection: Any) -> None:
    """Close an asynchronous connection without waiting: whoever waits can be cancelled."""
    writer = getattr(connection, "_writer", None)
    connection._reader = connection._writer = None
    if writer is not None:
        writer.transport.abort()
