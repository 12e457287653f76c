"""The exchange: an outer step that sends commands to several servers at once and reads their answers."""

from __future__ import annotations

import asyncio
import copy
import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, cast

from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoAnswerError

from langchain_agentmem.backends.redis.connections import AsyncConnection, SyncConnection
from langchain_agentmem.backends.redis.failures import CONNECTION_ERRORS, connection_error
from langchain_agentmem.backends.redis.internals import interrupt, set_timeout
from langchain_agentmem.backends.redis.limits import TimeLimit
from langchain_agentmem.backends.redis.pools import GRACE_SECONDS, Companion, Lease, LoopPool, Message
from langchain_agentmem.backends.redis.protocol import Words, packed
from langchain_agentmem.backends.redis.routing import Endpoint
from langchain_agentmem.backends.redis.servers import Servers
from langchain_agentmem.programs import OuterStep

C = TypeVar("C")

Result = list[Any] | Exception
"""The answers of a server to the commands of a part, or the reason why they are missing."""


class Part(NamedTuple):
    """Commands for one server."""

    server: Endpoint
    indexes: list[int]
    """The indexes of these commands among all commands of the call."""
    commands: list[Words]
    skipped: int
    """Number of leading answers to other commands, which are dropped."""


class _Leases(dict[int, Lease[C]], Generic[C]):
    """The leases of an exchange, by the index of the part."""

    timer: asyncio.TimerHandle | None = None
    """Ends the exchange when its time limit is over."""
    ends_at: float = 0.0
    """When the time limit is over (`time.monotonic`)."""

    def end(self) -> None:
        """End all leases. A second call has no effect."""
        for lease in self.values():
            lease.end()
        if self.timer is not None:
            self.timer.cancel()


@dataclass(slots=True)
class Exchange(OuterStep[list[Result]]):
    """Outer step: send commands to several servers at once. The result holds one `Result` for each part.

    An answer may be an error of the server. Other callers get a connection only after all its answers were read.
    """

    servers: Servers
    parts: list[Part]
    limit: TimeLimit
    writes: bool

    def perform(self) -> list[Result]:
        results: list[Result | None] = [None] * len(self.parts)
        while missing := [index for index, result in enumerate(results) if result is None]:
            self._exchange(missing, results)
        return cast("list[Result]", results)

    async def aperform(self) -> list[Result]:
        if len(self.parts) == 1:
            return [await self._together(self.parts[0])]
        results: list[Result | None] = [None] * len(self.parts)
        while missing := [index for index, result in enumerate(results) if result is None]:
            await self._aexchange(missing, results)
        return cast("list[Result]", results)

    def _exchange(self, missing: list[int], results: list[Result | None]) -> None:
        """Perform the parts for which connections are free. A caller that has one does not wait for others."""
        handled = sys.exc_info()[1]
        leases: _Leases[SyncConnection] = _Leases()
        try:
            for index in missing:
                results[index] = self._send(index, leases, handled)
            for index, lease in leases.items():
                if results[index] is None:
                    results[index] = self._read_all(index, lease, handled)
        finally:
            try:
                leases.end()
            finally:  # an exception may interrupt the first call
                leases.end()

    def _send(self, index: int, leases: _Leases[SyncConnection], handled: BaseException | None) -> Exception | None:
        """Send the commands of a part, if a connection is free. Return the error that prevented it."""
        part = self.parts[index]
        pool = self.servers.pool(part.server)
        lease = leases[index] = Lease(pool)
        if not pool.take(lease, self.limit, wait=len(leases) == 1):
            del leases[index]
            return None
        try:
            connection = pool.connect(lease, self.limit)
            chunks = packed(part.commands)
            _apply(self.limit, lease)
            self.limit.sent = self.limit.sent or self.writes
            connection.send_packed_command(chunks)
        except CONNECTION_ERRORS as error:
            return connection_error(error, handled)
        return None

    def _read_all(self, index: int, lease: Lease[SyncConnection], handled: BaseException | None) -> Result:
        """Read the answers to a part."""
        try:
            answers = [_read(lease, self.limit) for _ in self.parts[index].commands]
            lease.clean = True
        except CONNECTION_ERRORS as error:
            return connection_error(error, handled)
        return answers

    async def _together(self, part: Part) -> Result:
        """Perform the only part, together with those of other tasks that wait for a connection."""
        handled = sys.exc_info()[1]
        pool = self.servers.loop_pool(part.server)
        message = Message(packed(part.commands), len(part.commands), self.writes)
        lease = Lease(pool)
        leases: _Leases[AsyncConnection] = _Leases({0: lease})
        others: list[Companion] = []
        answers: list[Any] = []
        try:
            found = await pool.join(lease, self.limit, message)
            if found is not None:
                return found
            await self._alead(pool, leases, message, others, answers)
        except CONNECTION_ERRORS as error:
            failed = self._timed_out(connection_error(error, handled), leases.ends_at)
            _fail(others, failed)
            if len(answers) < message.answers:
                return failed
        finally:
            try:
                _dismiss(others, leases)
            finally:  # an exception may interrupt the first call
                _dismiss(others, leases)
        return answers

    async def _alead(
        self,
        pool: LoopPool,
        leases: _Leases[AsyncConnection],
        message: Message,
        others: list[Companion],
        answers: list[Any],
    ) -> None:
        """Send a message and those of other tasks, and read all answers.

        The time limit of this task also ends the wait for the answers to the others.

        Args:
            pool: The pool.
            leases: The lease of this task.
            message: The message of this task.
            others: Receives the other tasks.
            answers: Receives the answers to the message. If reading the other answers fails, they are complete.
        """
        lease = leases[0]
        connection = await pool.connect(lease, self.limit)
        leases.ends_at = self.limit.ends_at
        leases.timer = self._timer(leases)
        pool.take_along(message, others)
        self.limit.sent = self.limit.sent or self.writes
        chunks = [*message.data]
        if others:
            for one in others:
                one.limit.sent = one.limit.sent or one.message.writes
            chunks = [*chunks[:-1], b"".join([chunks[-1], *(one.message.data[0] for one in others)])]
        await connection.send_packed_command(chunks)
        answers.extend([await _aread(lease) for _ in range(message.answers)])
        for one in others:
            leases.ends_at = min(self.limit.ends_at, one.limit.end_after_waiting(one.since, pool.progress()))
            found = [await _aread(lease) for _ in range(one.message.answers)]
            if not one.future.done():
                one.future.set_result(found)
        lease.clean = True

    async def _aexchange(self, missing: list[int], results: list[Result | None]) -> None:
        """Same as `_exchange`, but without blocking the event loop."""
        handled = sys.exc_info()[1]
        leases: _Leases[AsyncConnection] = _Leases()
        try:
            for index in missing:
                results[index] = await self._asend(index, leases, handled)
            for index, lease in leases.items():
                if results[index] is None:
                    results[index] = await self._aread_all(index, lease, handled)
        finally:
            try:
                leases.end()
            finally:
                leases.end()

    async def _asend(
        self, index: int, leases: _Leases[AsyncConnection], handled: BaseException | None
    ) -> Exception | None:
        """Same as `_send`, but without blocking the event loop."""
        part = self.parts[index]
        pool = self.servers.loop_pool(part.server)
        lease = leases[index] = Lease(pool)
        if not await pool.take(lease, self.limit, wait=len(leases) == 1):
            del leases[index]
            return None
        try:
            connection = await pool.connect(lease, self.limit)
            if leases.timer is None:
                leases.ends_at = self.limit.ends_at
                leases.timer = self._timer(leases)
            self.limit.sent = self.limit.sent or self.writes
            await connection.send_packed_command(packed(part.commands))
        except CONNECTION_ERRORS as error:
            return self._timed_out(connection_error(error, handled))
        return None

    async def _aread_all(self, index: int, lease: Lease[AsyncConnection], handled: BaseException | None) -> Result:
        """Same as `_read_all`, but without blocking the event loop."""
        try:
            answers = [await _aread(lease) for _ in self.parts[index].commands]
            lease.clean = True
        except CONNECTION_ERRORS as error:
            return self._timed_out(connection_error(error, handled))
        return answers

    def _timer(self, leases: _Leases[AsyncConnection]) -> asyncio.TimerHandle:
        """Schedule the end of the time limit: tasks that wait for an answer then get an error."""
        known = weakref.ref(leases)  # a timer that was not cancelled keeps no permit
        loop = asyncio.get_running_loop()

        def end() -> None:
            found = known()
            if found is not None and (left := found.ends_at - time.monotonic()) > 0:
                found.timer = loop.call_later(left, end)
            elif found is not None:
                # The loop may have been blocked, and may read only now an answer that came in time.
                found.timer = loop.call_later(GRACE_SECONDS, stop)

        def stop() -> None:
            for lease in (known() or {}).values():
                if lease.link is not None:
                    interrupt(lease.link.connection)

        return loop.call_later(max(0.0, self.limit.left()), end)

    def _timed_out(self, error: Exception, ends_at: float = 0.0) -> Exception:
        """Return a timeout in place of an error, if the time limit is over, or another one that ends earlier."""
        over = min(ends_at or self.limit.ends_at, self.limit.ends_at) <= time.monotonic()
        return NoAnswerError("Timeout reading from server") if over else error


def _fail(others: Sequence[Companion], error: Exception) -> None:
    """Pass the error of an exchange to the tasks whose messages it sent, unless they have time to try again."""
    timed_out = isinstance(error, NoAnswerError)
    for one in others:
        if not one.future.done() and (not timed_out or one.limit.left() <= GRACE_SECONDS):
            one.future.set_exception(copy.copy(error))


def _dismiss(others: Sequence[Companion], leases: _Leases[AsyncConnection]) -> None:
    """End an exchange. Tasks without an answer wait for another one. A second call has no effect."""
    try:
        leases.end()
    finally:
        for one in others:
            if not one.future.done():
                one.future.set_result(None)


def _read(lease: Lease[SyncConnection], limit: TimeLimit) -> Any:
    connection = _apply(limit, lease)
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


async def _aread(lease: Lease[AsyncConnection]) -> Any:
    link: Any = lease.link
    try:
        return await link.connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


def _apply(limit: TimeLimit, lease: Lease[SyncConnection]) -> SyncConnection:
    """Let a synchronous connection wait no longer than the time limit. Return the connection."""
    left = limit.left()
    if left <= 0:
        msg = "Timeout reading from server"
        raise NoAnswerError(msg)
    link: Any = lease.link  # `connect` of the pool has set it
    connection: SyncConnection = link.connection
    set_timeout(connection, min(left, link.longest))
    return connection
