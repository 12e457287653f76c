"""Pools of connections to one Redis server: one for threads, and one for the tasks of an event loop.

An exception may interrupt a caller between any two bytecodes: a signal handler raises it, or a task is cancelled.
Therefore no lock is held, and a caller owns the connection that it uses. If the caller does not return the connection, it is
closed and never used again. Its permit becomes available when the last reference to it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

from langchain_agentmem.backends.garbage import collect_garbage
from langchain_agentmem.backends.redis.connections import AsyncConnection, SyncConnection
from langchain_agentmem.backends.redis.internals import abort
from langchain_agentmem.backends.redis.limits import TimeLimit
from langchain_agentmem.programs.snapshots import snapshot

C = TypeVar("C")

_NEVER = -math.inf
GRACE_SECONDS = 0.05
"""Seconds in which a loop that was blocked can notice answers and the progress of other tasks, before waiting tasks fail."""
_CHECK_SECONDS = 0.25
"""Seconds between two checks of the waiting callers."""

_MOST_TOGETHER = 256
"""The number of commands from which an exchange takes no further callers along."""
_MOST_BYTES = 256 * 1024
"""The number of bytes from which it takes no further callers along. A longer message is sent alone."""


class PoolTimeoutError(Exception):
    """No connection became free within the time limit, and no other caller made progress."""


class Permit:
    """The right to use one connection."""

    __slots__ = ("__weakref__",)


class Link(Generic[C]):
    """An open connection of redis-py, in a pool or in use."""

    __slots__ = ("__weakref__", "connection", "longest")

    def __init__(self, connection: C, longest: float = math.inf) -> None:
        self.connection = connection
        self.longest = longest
        """Maximum number of seconds to wait for data."""


class LoopLink(Link[AsyncConnection]):
    """A connection of an event loop. redis-py does not close it when the last reference to it is gone; this class does."""

    __slots__ = ()

    def __del__(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            abort(self.connection)


class _Owner(Protocol[C]):
    """The pool that a lease belongs to."""

    def return_link(self, link: Link[C], *, clean: bool) -> None: ...

    def return_permit(self, permit: Permit, *, progress: bool) -> None: ...


class Lease(Generic[C]):
    """The use of a connection during one exchange.

    Args:
        pool: The pool of the connection.
    """

    __slots__ = ("clean", "link", "permit", "pool")

    def __init__(self, pool: _Owner[C]) -> None:
        self.pool = pool
        self.permit: Permit | None = None
        self.link: Link[C] | None = None
        self.clean = False
        """True if every answer was read, so that other callers may use the connection."""

    def end(self) -> None:
        """Return the connection to the pool if it is clean; otherwise close it. A second call has no effect."""
        link, self.link = self.link, None
        if link is not None:
            self.pool.return_link(link, clean=self.clean)
        permit, self.permit = self.permit, None
        if permit is not None:
            self.pool.return_permit(permit, progress=self.clean)


class Message(NamedTuple):
    """Commands in the protocol of Redis."""

    data: Sequence[bytes]
    answers: int
    """The number of answers."""
    writes: bool
    """True if the commands belong to an operation that writes."""


class Waiter:
    """A caller that waits for a connection of an event loop.

    Args:
        limit: The time limit of the caller.
    """

    __slots__ = ("future", "limit", "since")

    def __init__(self, limit: TimeLimit) -> None:
        self.future: asyncio.Future[Permit | list[Any] | None] = asyncio.get_running_loop().create_future()
        """Its result is a permit, or for a `Companion` the answers to its message, or None: it must wait again."""
        self.limit = limit
        self.since = time.monotonic()


class Companion(Waiter):
    """A caller whose message may be sent together with those of other callers.

    Args:
        limit: The time limit of the caller.
        message: The message.
    """

    __slots__ = ("message",)

    def __init__(self, limit: TimeLimit, message: Message) -> None:
        super().__init__(limit)
        self.message = message


Token = Permit | weakref.ref[Permit]
"""A free permit, or the dead reference to a permit that was lost."""


class _Permits:
    """A fixed number of permits. A permit that is lost is replaced.

    Args:
        size: The number of permits.
        put: Receives free permits. When a permit is lost, it is called with the dead weak reference instead. It must not
            run Python code, because a signal handler could interrupt it there.
    """

    def __init__(self, size: int, put: Callable[[Token], None]) -> None:
        self._put = put
        self._known: set[weakref.ref[Permit]] = set()
        for _ in range(size):
            put(self._new())

    def redeem(self, token: Token) -> Permit:
        """Return the permit, or a new one in place of a permit that was lost."""
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
        connect: Opens a connection.
        is_clean: Returns whether a connection is open and has no unread data.
        size: The maximum number of connections.
        longest: The maximum number of seconds to wait for data. Default: no maximum.
    """

    def __init__(
        self,
        connect: Callable[[TimeLimit], SyncConnection],
        is_clean: Callable[[SyncConnection], bool],
        size: int,
        longest: float = math.inf,
    ) -> None:
        self._connect, self._is_clean, self._longest = connect, is_clean, longest
        self._free: SimpleQueue[Token] = SimpleQueue()
        self._permits = _Permits(size, self._free.put)
        self._idle: deque[Link[SyncConnection]] = deque()
        self._progress = _NEVER
        self._closed = False

    def take(self, lease: Lease[SyncConnection], limit: TimeLimit, *, wait: bool) -> bool:
        """Get a permit, if one is free or if `wait` is true. Return whether the lease got one.

        Raises:
            PoolTimeoutError: No permit came free in time.
        """
        with contextlib.suppress(Empty):
            lease.permit = self._permits.redeem(self._free.get_nowait())
            return True
        if not wait:
            return False
        since = time.monotonic()
        while lease.permit is None:
            left = limit.end_after_waiting(since, self._progress) - time.monotonic()
            try:
                token = self._free.get(timeout=max(0.0, min(left, _CHECK_SECONDS)))
                lease.permit = self._permits.redeem(token)
            except Empty:
                collect_garbage(max(since, self._progress))
                if limit.end_after_waiting(since, self._progress) <= time.monotonic():
                    raise PoolTimeoutError from None
        limit.ends_at = limit.end_after_waiting(since, self._progress)
        return True

    def connect(self, lease: Lease[SyncConnection], limit: TimeLimit) -> SyncConnection:
        """Return an open connection for a lease that has a permit."""
        while self._idle:
            try:
                lease.link = self._idle.pop()
            except IndexError:  # another thread took it
                break
            if self._is_clean(lease.link.connection):
                return lease.link.connection
            lease.link.connection.disconnect()
        lease.link = Link(self._connect(limit), self._longest)
        return lease.link.connection

    def return_link(self, link: Link[SyncConnection], *, clean: bool) -> None:
        """Keep a connection for other callers if it is clean; otherwise close it."""
        if not clean:
            link.connection.disconnect()
            return
        self._idle.append(link)
        if self._closed:
            self._drop_idle()

    def return_permit(self, permit: Permit, *, progress: bool) -> None:
        """Make a permit available to other callers."""
        if progress:
            self._progress = time.monotonic()
        self._free.put(permit)

    def _drop_idle(self) -> None:
        """Close the connections that no caller uses."""
        while self._idle:
            try:
                link = self._idle.pop()
            except IndexError:
                return
            link.connection.disconnect()

    def close(self) -> None:
        """Close the idle connections now, and the others when they are returned."""
        self._closed = True
        self._drop_idle()


class LoopPool:
    """Connections for the tasks of one event loop.

    Args:
        connect: Opens a connection.
        is_clean: Returns whether a connection is open and has no unread data.
        size: The maximum number of connections.
    """

    def __init__(
        self,
        connect: Callable[[TimeLimit], Awaitable[AsyncConnection]],
        is_clean: Callable[[AsyncConnection], bool],
        size: int,
    ) -> None:
        self._connect, self._is_clean = connect, is_clean
        self._free: deque[Token] = deque()
        self._permits = _Permits(size, self._free.append)
        self._idle: list[Link[AsyncConnection]] = []
        self._links: weakref.WeakSet[Link[AsyncConnection]] = weakref.WeakSet()
        self._size = size
        self._waiting: deque[Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._next_check = _NEVER
        self._progress = _NEVER
        self._closed = False

    async def take(self, lease: Lease[AsyncConnection], limit: TimeLimit, *, wait: bool) -> bool:
        """Get a permit, if one is free or if `wait` is true. Return whether the lease got one.

        Raises:
            PoolTimeoutError: No permit came free in time.
        """
        if self._free:
            lease.permit = self._permits.redeem(self._free.popleft())
            return True
        if not wait:
            return False
        got = await self._wait(Waiter(limit))
        lease.permit = cast("Permit", got)
        return True

    async def join(self, lease: Lease[AsyncConnection], limit: TimeLimit, message: Message) -> list[Any] | None:
        """Get a permit, or let another caller send a message with its own.

        The callers of one tick of the event loop share an exchange, unless the pool is unused.

        Returns:
            The answers to the message; None if the lease has a permit.

        Raises:
            PoolTimeoutError: No permit came free in time.
            Exception: The other caller could not get the answers.
        """
        if len(self._free) == self._size:
            lease.permit = self._permits.redeem(self._free.popleft())
            return None
        while True:
            got = await self._wait(Companion(limit, message))
            if isinstance(got, Permit):
                lease.permit = got
                return None
            if got is not None:
                return got

    async def _wait(self, waiter: Waiter) -> Permit | list[Any] | None:
        self._waiting.append(waiter)
        if self._free and len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._grant)
        self._schedule_check(waiter.limit.ends_at)
        future = waiter.future
        try:
            got = await future
        except BaseException:
            if not future.cancel() and not future.cancelled() and future.exception() is None:
                permit = future.result()
                if isinstance(permit, Permit):
                    self.return_permit(permit, progress=False)
            raise
        waiter.limit.ends_at = waiter.limit.end_after_waiting(waiter.since, self._progress)
        return got

    def take_along(self, message: Message, others: list[Companion]) -> None:
        """Take the waiting callers whose messages an exchange sends together with its own.

        Args:
            message: The message of the exchange.
            others: Receives the callers. The exchange must set the result of each.
        """
        count, size = message.answers, sum(map(len, message.data))
        while self._waiting and count < _MOST_TOGETHER and size < _MOST_BYTES:
            waiter = self._waiting[0]
            if not waiter.future.done():
                if not isinstance(waiter, Companion) or len(waiter.message.data) > 1:
                    break
                others.append(waiter)  # first: an exception may interrupt this method
                count += waiter.message.answers
                size += len(waiter.message.data[0])
            self._waiting.popleft()
        self._grant()

    def progress(self) -> float:
        """Note that a caller made progress, and return the time."""
        self._progress = time.monotonic()
        return self._progress

    def _grant(self) -> None:
        """Give a free permit to the caller that has waited longest."""
        if self._free and self._waiting:
            self.return_permit(self._permits.redeem(self._free.popleft()), progress=False)

    async def connect(self, lease: Lease[AsyncConnection], limit: TimeLimit) -> AsyncConnection:
        """Return an open connection for a lease that has a permit."""
        while self._idle:
            lease.link = self._idle.pop()
            if self._is_clean(lease.link.connection):
                return lease.link.connection
            abort(lease.link.connection)
        lease.link = LoopLink(await self._connect(limit))
        self._links.add(lease.link)
        return lease.link.connection

    def return_link(self, link: Link[AsyncConnection], *, clean: bool) -> None:
        """Keep a connection for other callers if it is clean; otherwise close it."""
        if clean and not self._closed:
            self._idle.append(link)
        else:
            abort(link.connection)

    def return_permit(self, permit: Permit, *, progress: bool) -> None:
        """Give a permit to the caller that has waited longest, or make it available."""
        if progress:
            self._progress = time.monotonic()
        while self._waiting:
            future = self._waiting.popleft().future
            if not future.done():
                future.set_result(permit)
                return
        self._free.append(permit)

    async def aclose(self) -> None:
        """Close the idle connections now, and the others when they are returned."""
        self._closed = True
        while self._idle:
            await self._idle.pop().connection.disconnect()

    def closed_connections(self) -> list[AsyncConnection]:
        """Mark the pool as closed, and return all its connections, including those in use."""
        self._closed = True
        return [link.connection for link in snapshot(self._links)]

    def _schedule_check(self, end: float) -> None:
        """Check the waiting callers at regular intervals, and when the time limit of one of them ends."""
        now = time.monotonic()
        at = min(end, now + _CHECK_SECONDS)
        if self._timer is None or at < self._next_check:
            if self._timer is not None:
                self._timer.cancel()
            self._next_check = at
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now), self._check)

    def _check(self, *, again: bool = False) -> None:
        """Give lost permits to waiting callers, and fail the callers whose time limit has ended."""
        self._timer = None
        if self._waiting and not self._free:
            collect_garbage(max(self._waiting[0].since, self._progress))
        while self._free and self._waiting:  # a permit that was lost is available again
            self.return_permit(self._permits.redeem(self._free.popleft()), progress=False)
        now, ends = time.monotonic(), []
        for waiter in self._waiting:
            if not waiter.future.done():
                end = waiter.limit.end_after_waiting(waiter.since, self._progress)
                if end > now:
                    ends.append(end)
                elif again:
                    waiter.future.set_exception(PoolTimeoutError())
                else:
                    # The loop may have been blocked, and may notice only now that other tasks made progress.
                    self._next_check = now
                    self._timer = asyncio.get_running_loop().call_later(GRACE_SECONDS, partial(self._check, again=True))
                    return
        if ends:
            self._schedule_check(min(ends))
