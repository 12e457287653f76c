"""Leases: the use of one connection for one transaction, and where the application's connections come from.

Nothing here depends on psycopg. An exception may come at any instruction (a signal handler raises it), and a task may be
cancelled at any `await`: a lease always ends, and a connection is given back only when it is known to be sound.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.postgres.slots import Slot, Slots, TimeLimit
from langchain_agentmem.programs import Compute, Execute, ExecuteMany, Fetch, OffLoop, OuterStep, Program

Connection = Any
"""A connection of psycopg, synchronous or not: a step performs a method of either."""

INTERVAL = 0.1
"""Seconds after which a wait for the server looks at its time limit."""


class NoAnswerError(Exception):
    """The server did not answer within the time limit."""


class Operation:
    """One call: its time limit, and what is known of its effect."""

    def __init__(self, limit: TimeLimit, *, writes: bool) -> None:
        self.limit = limit
        self.restarts = False
        """Whether each answer starts the time limit again: while tables are made."""
        self.connecting = False
        self.lost = False
        """Whether the last attempt lost its connection, and others may be lost together with it."""
        self.writes = writes
        self._effect = self._NOTHING
        self._doubtful = False

    _NOTHING, _UNKNOWN, _STORED = (
        "; nothing was stored",
        "; it is not known whether it was stored: read it back",
        "; it was stored",
    )

    def may_store(self) -> None:
        """The next statement stores what is written."""
        self._effect = self._UNKNOWN

    def settle(self, *, stored: bool) -> None:
        """The server said whether it stored it."""
        if self._effect == self._UNKNOWN:
            self._effect = self._STORED if stored else self._NOTHING

    def begin_again(self, *, lost: bool) -> None:
        """Go on to another attempt.

        Args:
            lost: Whether the connection was lost.
        """
        self.lost = lost
        self._doubtful = self._doubtful or self._effect != self._NOTHING
        self._effect = self._NOTHING

    @property
    def fate(self) -> str:
        """What a failure says of the data."""
        if not self.writes:
            return ""
        return self._UNKNOWN if self._doubtful and self._effect == self._NOTHING else self._effect


class Source:
    """Where connections come from."""

    own = False

    def __init__(self, count: int) -> None:
        self.slots = Slots(count)

    def take(self, lease: Lease) -> Program[None]:
        """Give a lease its connection, when its turn has come."""
        raise NotImplementedError

    def give_back(self, lease: Lease) -> None:
        """Take the connection of a lease back; may be repeated."""
        raise NotImplementedError

    async def agive_back(self, lease: Lease) -> None:
        """Same as `give_back`, for asynchronous callers."""
        self.give_back(lease)

    def renew(self, operation: Operation) -> Program[None]:  # noqa: ARG002 (those who wait for it know)
        """Replace the connections that were lost together with the one that failed."""
        yield from ()

    def close(self, *, abandon: bool = False) -> None:  # noqa: ARG002 (those who have connections know)
        """Close our own connections, and refuse callers that wait for one.

        Args:
            abandon: Whether to close those in use as well: their event loop will not go on.
        """
        self.slots.close()


def is_open(given: Any) -> bool:
    """Whether the application gave a connection or pool, and it is open."""
    return given is not None and not given.closed


def close_in(source: Source, process: int) -> None:
    """Close connections in the process that opened them; not in one that inherited them."""
    if process == os.getpid():
        source.close()


class Lease:
    """The use of one connection for one transaction.

    `slot` and `held` change in single steps, and ending a lease may be repeated: whatever breaks it off, nothing is lost.
    """

    def __init__(self, source: Source, operation: Operation) -> None:
        self.source = source
        self.operation = operation
        self.slot = Slot(source.slots)
        self.held: deque[Connection] = deque()
        self.over = False
        self.sound = True
        """Whether the connection is as it was: no unread answer, no transaction of ours."""
        self.answered = False

    @property
    def connection(self) -> Connection:
        """The connection."""
        return self.held[0]

    def adopt(self, connection: Connection) -> None:
        """Take a connection that another thread opened; close it if nobody waits for it any more."""
        self.held.append(connection)
        if self.over:
            self.source.give_back(self)

    def limit(self) -> None:
        """Let the connection wait for the server only as long as the operation may take."""
        connection, limit = self.connection, self.operation.limit
        kind: Any = type(connection)
        attributes: dict[str, Any] = connection.__dict__

        def wait(generator: Any, interval: float = INTERVAL, **options: Any) -> Any:
            if not self.over:
                generator, interval = _limited(generator, limit), max(0.001, min(interval, limit.left))
            return kind.wait(connection, generator, interval=interval, **options)

        def cancel_safe(*, timeout: float = 30.0) -> Any:
            # psycopg cancels by itself when a call is broken off, and would wait for a silent server.
            if not self.over:
                limit.use_reserve()
                timeout = max(0.001, min(timeout, limit.left))
            return kind.cancel_safe(connection, timeout=timeout)

        attributes.update(wait=wait, cancel_safe=cancel_safe)

    def discard(self) -> None:
        """Close the connection."""
        self.close_connection()
        self.held.clear()

    def close_connection(self) -> None:
        for connection in list(self.held):
            connection.pgconn.finish()

    def _free(self) -> None:
        self.over = True
        for connection in list(self.held):
            for name in ("wait", "cancel_safe"):
                connection.__dict__.pop(name, None)

    def end(self) -> None:
        """Give the connection and the slot back; may be repeated."""
        self._free()
        self.source.give_back(self)
        self.slot.leave(answered=self.answered)

    async def aend(self) -> None:
        """Same as `end`, for asynchronous callers."""
        self._free()
        try:
            await self.source.agive_back(self)
        finally:
            self.slot.leave(answered=self.answered)


class GivenConnection(Source):
    """The application's one connection, which all share in turn."""

    def __init__(self, given: Connection) -> None:
        super().__init__(1)
        self._given = given

    def take(self, lease: Lease) -> Program[None]:
        yield from lease.slot.take(lease.operation.limit)
        lease.held.append(self._given)

    def give_back(self, lease: Lease) -> None:
        if lease.sound:
            lease.held.clear()
        else:
            lease.discard()


class GivenPool(Source):
    """The application's pool."""

    def __init__(self, given: Any) -> None:
        super().__init__(max(1, given.max_size))
        self._given = given
        self._returning: set[asyncio.Future[None]] = set()

    def take(self, lease: Lease) -> Program[None]:
        yield from lease.slot.take(lease.operation.limit)
        yield from _FromPool(lease, self._given)

    def give_back(self, lease: Lease) -> None:
        if not lease.sound:
            lease.close_connection()
        if lease.held:
            aside(lambda: self._return(lease))

    def _return(self, lease: Lease) -> None:
        with contextlib.suppress(IndexError):
            self._given.putconn(lease.held.pop())

    async def agive_back(self, lease: Lease) -> None:
        if not lease.sound:
            lease.close_connection()
        if lease.held:
            # A task of its own: this one may be cancelled.
            returning = asyncio.ensure_future(self._given.putconn(lease.held.pop()))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)
            await asyncio.shield(returning)

    def renew(self, operation: Operation) -> Program[None]:
        yield from _CheckPool(self._given, operation)


def move(source: deque[Connection], target: deque[Connection]) -> None:
    """Move a connection from one place to another. No exception can come in between: it is one call of C code."""
    target.extend(map(deque.pop, (source,)))


def _limited(generator: Any, limit: TimeLimit) -> Any:
    """A generator of psycopg that ends when the time is over and the answer is not there."""
    try:
        wanted = generator.send(None)
        while True:
            ready = yield wanted
            wanted = generator.send(ready)
            if limit.left <= 0:
                raise NoAnswerError
    except StopIteration as done:
        return done.value


def aside(function: Callable[[], None], *, always: bool = False, seconds: float | None = None) -> None:
    """Call a function in a thread of its own if signals may break off this one, and wait for it.

    Raises:
        NoAnswerError: It took longer than `seconds`; it goes on.
    """
    if not always and threading.current_thread() is not threading.main_thread():
        function()
        return
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            function()
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)

    try:
        # Not `threading.Thread`: an exception of a signal handler in its `start` leaves it half started.
        _thread.start_new_thread(work, ())
    except RuntimeError:  # the interpreter is about to end
        work()
    try:
        error = done.get(timeout=seconds)
    except queue.Empty:
        raise NoAnswerError from None
    if error is not None:
        raise error


async def await_within(coroutine: Any, seconds: float, dispose: Callable[[Any], None] | None = None) -> Any:
    """Wait for a coroutine. `dispose` gets the result that comes when nobody waits any more."""
    task = asyncio.ensure_future(coroutine)
    try:
        # Not `asyncio.wait_for`: until Python 3.12 it can lose what comes together with a cancellation.
        await asyncio.wait({task}, timeout=max(0.0, seconds))
    except BaseException:
        _drop(task, dispose)
        raise
    if not task.done():
        _drop(task, dispose)
        raise NoAnswerError
    return task.result()


def _drop(task: asyncio.Future[Any], dispose: Callable[[Any], None] | None) -> None:
    def forget(done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None and dispose is not None:
            dispose(done.result())

    task.cancel()
    task.add_done_callback(forget)


class Do(OuterStep[Any]):
    """Outer step: call a method of a connection or cursor, and await what it returns if it is asynchronous."""

    __slots__ = ("arguments", "method", "options")

    def __init__(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self.method = method
        self.arguments = arguments
        self.options = options

    def perform(self) -> Any:
        return self.method(*self.arguments, **self.options)

    async def aperform(self) -> Any:
        return await self.method(*self.arguments, **self.options)


def perform(program: Program[Any], cursor: Any, operation: Operation) -> Program[Any]:
    """Drive a storage program on a cursor."""
    program = iter(program)
    error: Exception | None = None
    answer: Any = None
    try:
        while True:
            step = program.send(answer) if error is None else program.throw(error)
            error = None
            try:
                answer = yield from _answer(cursor, step)
            except Exception as raised:
                error = raised
            if operation.restarts:
                operation.limit.restart()
    except StopIteration as done:
        return done.value
    finally:
        error = None  # its traceback refers to this frame
        program.close()


def _answer(cursor: Any, step: Any) -> Program[Any]:
    if isinstance(step, (Compute, OffLoop)):
        return (yield step)
    if isinstance(step, ExecuteMany):
        yield from Do(cursor.executemany, step.statement, step.rows)
        return cursor.rowcount
    if not isinstance(step, (Fetch, Execute)):
        msg = f"A storage program may yield Fetch, Execute and ExecuteMany, not {shown(step)}."
        raise TypeError(msg)
    yield from Do(cursor.execute, step.statement, step.parameters)
    return (yield from Do(cursor.fetchall)) if isinstance(step, Fetch) else cursor.rowcount


@dataclass(slots=True)
class _FromPool(OuterStep[Any]):
    """Outer step: get a connection from the application's pool for a lease."""

    lease: Lease
    pool: Any

    def perform(self) -> None:
        seconds = max(0.001, self.lease.operation.limit.left)
        aside(lambda: self.lease.adopt(self.pool.getconn(seconds)))

    async def aperform(self) -> None:
        self.lease.held.append(await self.pool.getconn(max(0.001, self.lease.operation.limit.left)))


@dataclass(slots=True)
class _CheckPool(OuterStep[Any]):
    """Outer step: have the application's pool replace its lost connections."""

    pool: Any
    operation: Operation

    def perform(self) -> None:
        aside(self.pool.check, always=True, seconds=max(0.001, self.operation.limit.left))

    async def aperform(self) -> None:
        await await_within(self.pool.check(), self.operation.limit.left)
