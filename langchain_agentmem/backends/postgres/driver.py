"""The Postgres driver: it runs storage programs, with a time limit and retries.

A driver has its own connections for synchronous callers and for each event loop, opened on first use, or it uses the
application's pool or connection. It relies on nothing that outlives a transaction, so it works with a pooler such as
PgBouncer: it uses no session settings, and prepared statements only if the URL enables them.

A cancelled task, or an exception of a signal handler, may interrupt a call anywhere. The connection is reused only after its
statement was cancelled and its transaction rolled back. Otherwise it is closed.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langchain_agentmem.backends.existing import Existing, refuse_without_memory, warn_of_existing
from langchain_agentmem.backends.failures import Translated
from langchain_agentmem.backends.lifetimes import PerLoop, keep_inherited, refuse_closed
from langchain_agentmem.backends.postgres.analysis import NOT_ANALYZED, analyze_items
from langchain_agentmem.backends.postgres.conditions import make_indexes
from langchain_agentmem.backends.postgres.failures import (
    CREATED_BY_OTHERS,
    DRIVER_ERRORS,
    is_lost,
    may_try_again,
    translated,
)
from langchain_agentmem.backends.postgres.groups import MOST_GROUPS, Groups, no_groups
from langchain_agentmem.backends.postgres.leases import Operation, Source
from langchain_agentmem.backends.postgres.migrating import found_instead, migrate, settled
from langchain_agentmem.backends.postgres.options import Settings
from langchain_agentmem.backends.postgres.slots import TimeLimit
from langchain_agentmem.backends.postgres.sources import (
    GivenConnection,
    GivenPool,
    OwnConnections,
    close_source,
    drop_source,
    is_open,
)
from langchain_agentmem.backends.postgres.transactions import READ, WRITE, Transaction
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.programs import Program, StorageProgram, arun, run

T = TypeVar("T")

_ATTEMPTS = 3
_PIPELINES = psycopg.capabilities.has_pipeline()


def _new_loop_groups() -> Groups:
    return Groups(eager=1)  # the writes of one tick are sent together


class PostgresDriver:
    """Runs storage programs on one Postgres database.

    Args:
        settings: How to connect.
        given: A pool or connection of the application, which stays open. Default: None (own connections).
    """

    def __init__(self, settings: Settings, given: Any = None) -> None:
        self.settings = settings
        self.given = given
        self.closed = False
        self.creates = True
        """False if a database without a memory is refused; see `Backend.never_create`."""
        self.indexed_fields: tuple[str, ...] = ()
        """The fields of items that get an index; see `Backend.index_fields`."""
        self._given_open = is_open(given)
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._ready = False
        self._lock = threading.Lock()
        self._reached = threading.Event()
        self._source: Source | None = None
        self._loops: PerLoop[Source] = PerLoop(drop_source)
        self._thread_groups = Groups(eager=MOST_GROUPS)
        self._groups: PerLoop[Groups] = PerLoop(no_groups)

    # Programs

    def read(self, program: Program[T]) -> T:
        """Run a storage program on one consistent view of the database."""
        return run(self._operate(program, READ))

    async def aread(self, program: Program[T]) -> T:
        """Same as `read`, but without blocking the event loop."""
        if self._blocking:
            return await asyncio.to_thread(self.read, program)
        return await arun(self._operate(program, READ))

    def write(self, program: Program[T]) -> T:
        """Run a storage program as one transaction. Concurrent short writes share one."""
        return run(self._write(program, lambda: self._thread_groups))

    async def awrite(self, program: Program[T]) -> T:
        """Same as `write`, but without blocking the event loop."""
        if self._blocking:
            return await asyncio.to_thread(self.write, program)
        return await arun(self._write(program, lambda: self._groups.current(_new_loop_groups)))

    def _write(self, program: Program[T], groups: Callable[[], Groups]) -> Program[T]:
        shares = isinstance(program, StorageProgram) and program.shares
        if not shares or self.given is not None or not _PIPELINES:
            return (yield from self._operate(program, WRITE))
        self._check_usable()
        limit = TimeLimit(self.settings.timeout)
        done = yield from groups().write(program, limit, lambda one: self._operate(one, WRITE, limit))
        return cast("T", done)

    @property
    def _blocking(self) -> bool:
        """True if the application's connections are synchronous: asynchronous callers use them in a thread."""
        return isinstance(self.given, (psycopg.Connection, ConnectionPool))

    def _operate(self, program: Program[T], begin: str, limit: TimeLimit | None = None) -> Program[T]:
        """Run a program within the time limit, and translate errors."""
        self._check_usable()
        operation = Operation(limit or TimeLimit(self.settings.timeout), writes=begin == WRITE)
        with Translated(DRIVER_ERRORS, lambda error: translated(error, operation, closed=self.closed)):
            if not self._ready:
                yield from self._prepare(operation)
            while True:
                try:
                    return (yield from self._attempts(program, begin, operation))
                except psycopg.Error as error:
                    if error.sqlstate != NOT_ANALYZED or not isinstance(program, StorageProgram):
                        raise
                yield from self._analyze(operation)

    def _attempts(self, program: Program[T], begin: str | None, operation: Operation) -> Program[T]:
        """Run a program. Retry it if the connection was lost, or Postgres resolved a deadlock."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return cast("T", (yield from Transaction(self, program, begin, operation)))
            except psycopg.Error as error:
                again = isinstance(program, StorageProgram) and not operation.connecting and may_try_again(error)
                if not again or attempt == _ATTEMPTS or operation.limit.left <= 0:
                    raise
                lost = is_lost(error)
            operation.begin_again(lost=lost)
        raise AssertionError

    def _prepare(self, operation: Operation) -> Program[None]:
        """Create or migrate the tables, once for each process."""
        schema, language = self.settings.schema, self.settings.language
        state = yield from self._attempts(settled(schema, language), None, operation)
        others: list[Existing] = []
        if state is None:
            if (
                not self.creates
                and (found := (yield from self._attempts(found_instead(schema), READ, operation))) is not None
            ):
                refuse_without_memory("The Postgres database", found)
            operation.restarts = True
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    others = yield from self._attempts(migrate(schema, language), WRITE, operation)
                    break
                except CREATED_BY_OTHERS:
                    # Other programs, such as LangGraph's `setup`, create the same tables without our lock.
                    if attempt == _ATTEMPTS:
                        raise
            yield from self._attempts(settled(schema, language), None, operation)
            operation.restarts = False
        if self.indexed_fields:
            yield from self._attempts(make_indexes(schema, self.indexed_fields), WRITE, operation)
        self._ready = True
        warn_of_existing("The Postgres database", others)

    def _analyze(self, operation: Operation) -> Program[None]:
        """Analyse the words of the items that LangGraph's own store wrote."""
        settings = self.settings
        operation.restarts = True
        while (yield from self._attempts(analyze_items(settings.schema, settings.language), WRITE, operation)):
            pass
        operation.restarts = False

    def _check_usable(self) -> None:
        refuse_closed(self.closed)
        if self._process != os.getpid():
            if self._given_open:
                msg = (
                    f"This process was forked after the {type(self.given).__name__} was opened. Open a new one in this "
                    f"process, and create a memory on it."
                )
                raise ConfigurationError(msg)
            keep_inherited(self._source, self._loops)
            self._reset()
        elif self.given is not None and not self._given_open:
            self._given_open = is_open(self.given)

    # Connections

    def source(self) -> Source:
        """Return the source of connections for synchronous callers.

        Raises:
            ConfigurationError: The application's pool or connection is asynchronous.
        """
        if self.given is not None and not self._blocking:
            msg = (
                f"This memory uses an {type(self.given).__name__}, which has asynchronous methods only. Await the method "
                f"with the prefix `a`, or create the memory from a URL, which serves both."
            )
            raise ConfigurationError(msg)
        known = self._source
        if known is not None:
            return known
        with self._lock:
            if self._source is None:
                self._source = self._new_source(psycopg.Connection)
                weakref.finalize(self, close_source, self._source, self._process)
            return self._source

    def loop_source(self) -> Source:
        """Return the source of connections for the running event loop."""
        return self._loops.current(self._new_loop_source)

    def _new_loop_source(self) -> Source:
        return self._new_source(psycopg.AsyncConnection)

    def _new_source(self, kind: type[Any]) -> Source:
        if self.given is None:
            return OwnConnections(self.settings, kind, self._reached)
        if isinstance(self.given, (ConnectionPool, AsyncConnectionPool)):
            return GivenPool(self.given)
        return GivenConnection(self.given)

    def close(self) -> None:
        """Close our own connections. Those of other event loops are closed without waiting for their loops."""
        self.closed = True
        with self._lock:
            if self._source is not None:
                self._source.close()
        self._loops.close()

    async def aclose(self) -> None:
        """Same as `close`. Closing a connection does not block."""
        self.close()
