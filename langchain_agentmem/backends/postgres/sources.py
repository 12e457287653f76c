"""Sources of connections: our own, and the application's connection or pool."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any

import psycopg

from langchain_agentmem.backends.postgres.failures import is_lasting
from langchain_agentmem.backends.postgres.leases import Connection, Lease, Operation, Source
from langchain_agentmem.backends.postgres.options import Settings
from langchain_agentmem.backends.postgres.waits import aside, await_within, move
from langchain_agentmem.programs import OuterStep, Program, Sleep
from langchain_agentmem.programs.snapshots import snapshot


def is_open(given: Any) -> bool:
    """Return true if the application gave a connection or pool, and it is open."""
    return given is not None and not given.closed


def close_source(source: Source, process: int) -> None:
    """Close the connections of a source in the process that opened them."""
    if process == os.getpid():
        source.close()


def drop_source(loop: asyncio.AbstractEventLoop, source: Source) -> None:
    """Close the connections of an event loop. A running loop gives back those in use, which are closed then."""
    source.close(abandon=not loop.is_running())


# Our own connections


class OwnConnections(Source):
    """Our own connections. A caller opens the connection that it needs: there are no background threads or tasks.

    Args:
        settings: How to connect.
        kind: `psycopg.Connection` or `psycopg.AsyncConnection`.
        reached: An event that is set once any connection to the server was opened.
    """

    own = True

    def __init__(self, settings: Settings, kind: type[Any], reached: threading.Event) -> None:
        super().__init__(settings.pool_size)
        self._reached = reached
        self._settings = settings
        self._kind = kind
        self._idle: deque[Connection] = deque()
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()

    def take(self, lease: Lease) -> Program[None]:
        yield from lease.slot.take(lease.operation.limit)
        try:
            move(self._idle, lease.held)
        except IndexError:
            yield from self._open(lease)

    def _open(self, lease: Lease) -> Program[None]:
        pause, limit = 0.05, lease.operation.limit
        lease.operation.connecting = True
        while True:
            try:
                yield from _Connect(lease, self._kind, self._settings, (yield from self._login(limit.left)))
                break
            except psycopg.OperationalError as error:
                # A server that was reached before may be restarting.
                if is_lasting(error) or not self._reached.is_set() or limit.left <= pause:
                    raise
            yield from Sleep(pause)
            pause = min(1.0, 2 * pause)
        lease.operation.connecting = False
        if self._kind is psycopg.AsyncConnection:
            self._all.add(lease.connection)
        if not self._reached.is_set():
            self._reached.set()

    def _login(self, seconds: float) -> Program[dict[str, str]]:
        """Return the options with the credentials of a new connection; none for those in the URL.

        Args:
            seconds: The seconds that are left for the operation.
        """
        if self._settings.credentials is None:
            return {}
        login = yield from self._settings.credentials.within(seconds)
        return {"password": login.password, **({} if login.user is None else {"user": login.user})}

    def give_back(self, lease: Lease) -> None:
        if lease.clean and not self.slots.closed:
            with contextlib.suppress(IndexError):
                move(lease.held, self._idle)
            if self.slots.closed:  # concurrently
                self._close_idle()
        else:
            lease.discard()

    def renew(self, operation: Operation) -> Program[None]:  # noqa: ARG002 (closing does not wait)
        self._close_idle()
        yield from ()

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                connection = self._idle.popleft()
                connection.pgconn.finish()

    def close(self, *, abandon: bool = False) -> None:
        super().close()
        self._close_idle()
        if abandon:
            for connection in snapshot(self._all):
                connection.pgconn.finish()


@dataclass(slots=True, repr=False)  # a representation would show the password
class _Connect(OuterStep[None]):
    """Outer step: open a connection for a lease."""

    lease: Lease
    kind: type[Any]
    settings: Settings
    login: dict[str, str]

    def perform(self) -> None:
        settings = self.settings

        def connect() -> None:
            self.lease.adopt(self.kind.connect(settings.conninfo, **settings.arguments, **self.login))

        aside(connect, always=True, seconds=max(0.001, self.lease.operation.limit.left))

    async def aperform(self) -> None:
        connecting = self.kind.connect(self.settings.conninfo, **self.settings.arguments, **self.login)
        seconds = self.lease.operation.limit.left
        self.lease.held.append(await await_within(connecting, seconds, lambda late: late.pgconn.finish()))


# The application's connections


class GivenConnection(Source):
    """The application's connection, which callers use one after another.

    Args:
        given: The connection.
    """

    def __init__(self, given: Connection) -> None:
        super().__init__(1)
        self._given = given

    def take(self, lease: Lease) -> Program[None]:
        yield from lease.slot.take(lease.operation.limit)
        lease.held.append(self._given)

    def give_back(self, lease: Lease) -> None:
        if lease.clean:
            lease.held.clear()
        else:
            lease.discard()


class GivenPool(Source):
    """The application's pool.

    Args:
        given: The pool.
    """

    def __init__(self, given: Any) -> None:
        super().__init__(max(1, given.max_size))
        self._given = given
        self._returning: set[asyncio.Future[None]] = set()

    def take(self, lease: Lease) -> Program[None]:
        yield from lease.slot.take(lease.operation.limit)
        yield from _FromPool(lease, self._given)

    def give_back(self, lease: Lease) -> None:
        if not lease.clean:
            lease.close_connection()
        if lease.held:
            aside(lambda: self._return(lease))

    def _return(self, lease: Lease) -> None:
        with contextlib.suppress(IndexError):
            self._given.putconn(lease.held.pop())

    async def agive_back(self, lease: Lease) -> None:
        if not lease.clean:
            lease.close_connection()
        if lease.held:
            # A separate task, because this one may be cancelled.
            returning = asyncio.ensure_future(self._given.putconn(lease.held.pop()))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)
            await asyncio.shield(returning)

    def renew(self, operation: Operation) -> Program[None]:
        yield from _CheckPool(self._given, operation)


@dataclass(slots=True)
class _FromPool(OuterStep[None]):
    """Outer step: get a connection from the application's pool for a lease."""

    lease: Lease
    pool: Any

    def perform(self) -> None:
        seconds = max(0.001, self.lease.operation.limit.left)
        aside(lambda: self.lease.adopt(self.pool.getconn(seconds)))

    async def aperform(self) -> None:
        self.lease.held.append(await self.pool.getconn(max(0.001, self.lease.operation.limit.left)))


@dataclass(slots=True)
class _CheckPool(OuterStep[None]):
    """Outer step: let the application's pool replace its lost connections."""

    pool: Any
    operation: Operation

    def perform(self) -> None:
        aside(self.pool.check, always=True, seconds=max(0.001, self.operation.limit.left))

    async def aperform(self) -> None:
        await await_within(self.pool.check(), self.operation.limit.left)
