"""Connections to Postgres, transactions, retries, and Postgres' errors in our words: the only module that imports psycopg.

A driver has a pool of its own for synchronous callers and one for each event loop, opened on first use; or it uses the pool
or the connection that the application has. It never relies on anything that outlives a transaction, so that it works
through a pooler such as PgBouncer: no prepared statements (unless asked for), no settings of a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple, TypeVar, cast

import psycopg
from psycopg import errors as pg
from psycopg.adapt import Dumper
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout

from langchain_agentmem.backends.postgres.migrating import index_items, migrate, settled
from langchain_agentmem.backends.postgres.statements import Floats
from langchain_agentmem.errors import (
    AgentMemError,
    ConfigurationError,
    InvalidInputError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
)
from langchain_agentmem.program import Execute, ExecuteMany, Fetch, Program, StorageProgram, arun, run

T = TypeVar("T")
AsyncConnection = psycopg.AsyncConnection[Any]
Connection = psycopg.Connection[Any]

READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
WRITE = "BEGIN"


class Settings(NamedTuple):
    """How a driver connects, and where its tables are."""

    conninfo: str = ""
    schema: str | None = None
    language: str = "english"
    pool_size: int = 10
    timeout: float = 30.0
    """Seconds to wait for a connection."""
    prepare: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """How a connection is opened."""
        return {"autocommit": True, "prepare_threshold": 5 if self.prepare else None}

    @property
    def connect_timeout(self) -> int:
        """Seconds to wait for the server, in the whole numbers that libpq takes."""
        return max(2, int(self.timeout))


class _FloatsDumper(Dumper):
    """Sends numbers as they are in memory; psycopg would send each on its own, which takes longer than the search."""

    format = Format.BINARY
    oid = psycopg.adapters.types["float4"].array_oid

    def dump(self, obj: Floats) -> bytes:
        import numpy as np

        numbers = np.frombuffer(obj, dtype="<f4")
        # One dimension, no NULLs, the type of the elements; the number of elements, counted from 1; each with its length.
        header = np.array([1, 0, psycopg.adapters.types["float4"].oid, len(numbers), 1], dtype=">i4")
        body = np.empty(len(numbers), dtype=[("length", ">i4"), ("number", ">f4")])
        body["length"], body["number"] = 4, numbers
        return header.tobytes() + body.tobytes() if len(numbers) else np.array([0, 0, header[2]], dtype=">i4").tobytes()


psycopg.adapters.register_dumper(Floats, _FloatsDumper)


class PostgresDriver:
    """Runs storage programs on one Postgres database.

    Args:
        settings: How to connect.
        given: A pool or connection that the application has, which is never closed by us. Default: None (own pools).
    """

    def __init__(self, settings: Settings, given: Any = None) -> None:
        self.settings = settings
        self.given = given
        self._closed = False
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._ready = False
        self._lock = threading.Lock()
        self._alone = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None
        self._loops: dict[asyncio.AbstractEventLoop, _LoopPool] = {}
        self._finding_loops = threading.Lock()
        weakref.finalize(self, _abandon_all, self._loops, self._process)
        self._turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()

    # Programs

    def read(self, program: Program[T]) -> T:
        """Run a storage program on one consistent view of the database."""
        return run(self._attempts(program, READ))

    async def aread(self, program: Program[T]) -> T:
        """Same as `read`, but without blocking the event loop."""
        if self._blocking:
            return await asyncio.to_thread(self.read, program)
        return await arun(self._attempts(program, READ))

    def write(self, program: Program[T]) -> T:
        """Run a storage program as one transaction."""
        return run(self._attempts(program, WRITE))

    async def awrite(self, program: Program[T]) -> T:
        """Same as `write`, but without blocking the event loop."""
        if self._blocking:
            return await asyncio.to_thread(self.write, program)
        return await arun(self._attempts(program, WRITE))

    @property
    def _blocking(self) -> bool:
        """Whether the application's connections are such that only a thread can wait for them."""
        return isinstance(self.given, (psycopg.Connection, ConnectionPool))

    def _attempts(self, program: Program[T], begin: str) -> Program[T]:
        """Run a program; once more if the connection was lost, or the database broke a deadlock."""
        self._check()
        try:
            if not self._ready:
                yield from self._prepare()
            try:
                return cast("T", (yield _Transaction(self, program, begin)))
            except (PoolTimeout, PoolClosed):
                raise
            except psycopg.OperationalError as error:
                if not isinstance(program, StorageProgram) or not _may_try_again(error):
                    raise
            yield _Revive(self)
            return cast("T", (yield _Transaction(self, program, begin)))
        except psycopg.Error as error:
            raise self._translate(error) from error

    def _prepare(self) -> Program[None]:
        schema, language = self.settings.schema, self.settings.language
        state = yield _Transaction(self, settled(schema, language), None)
        if state is None:
            yield _Transaction(self, migrate(schema, language), WRITE)
            state = yield _Transaction(self, settled(schema, language), None)
        indexed = state.indexed
        while not indexed:
            indexed = yield _Transaction(self, index_items(schema), WRITE)
        self._ready = True

    def _check(self) -> None:
        if self._closed:
            msg = "This memory is closed: make a new one, or call close() later."
            raise StorageClosedError(msg)
        if self._process != os.getpid():
            # A connection must not be used, nor closed, in a process that inherited it.
            _inherited.append((self._pool, self._loops))
            self._reset()

    # Connections

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for one transaction."""
        if isinstance(self.given, psycopg.Connection):
            with self._alone:
                yield self.given
            return
        if self.given is not None and not isinstance(self.given, ConnectionPool):
            msg = (
                f"This memory was made from an {type(self.given).__name__}, which only asynchronous methods can use: call "
                f"the method with the prefix `a` and await it, or pass a URL, which serves both."
            )
            raise ConfigurationError(msg)
        pool = self.given or self._own_pool()
        with pool.connection(timeout=self.settings.timeout) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def aconnection(self) -> AsyncIterator[AsyncConnection]:
        """Same as `connection`, for asynchronous callers of this event loop."""
        if isinstance(self.given, psycopg.AsyncConnection):
            async with self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
                yield self.given
            return
        if self.given is not None:
            async with self.given.connection(timeout=self.settings.timeout) as connection:
                yield connection
            return
        async with self.own_loop_pool().connection() as connection:
            yield connection

    def _own_pool(self) -> ConnectionPool[Connection]:
        with self._lock:
            if self._pool is None:
                self._connect_once()
                self._pool = ConnectionPool(
                    self.settings.conninfo,
                    min_size=0,
                    max_size=self.settings.pool_size,
                    open=True,
                    timeout=self.settings.timeout,
                    kwargs=self.settings.arguments,
                    name="agentmem",
                )
                weakref.finalize(self, _close_pool, self._pool, self._process)
            return self._pool

    def _connect_once(self) -> None:
        # A pool tries again and again, and hides why it cannot connect; the first connection says so at once.
        psycopg.connect(self.settings.conninfo, connect_timeout=self.settings.connect_timeout).close()

    def own_loop_pool(self) -> _LoopPool:
        """The connections of the event loop that is running."""
        loop = asyncio.get_running_loop()
        with self._finding_loops:
            known = self._loops.get(loop)
            if known is None:
                for gone in [one for one in self._loops if one.is_closed()]:
                    self._loops.pop(gone).abandon()
                known = self._loops[loop] = _LoopPool(self.settings)
            return known

    # Closing

    def close(self) -> None:
        """Close the own connections; those of other event loops at once, without asking their loops."""
        self._closed = True
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None
        with self._finding_loops:
            _abandon_all(self._loops, os.getpid())

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        own = self._loops.pop(asyncio.get_running_loop(), None)
        if own is not None:
            await own.close()
        await asyncio.to_thread(self.close)

    # Errors

    def _translate(self, error: Exception) -> Exception:
        text = str(error).strip().partition("\n")[0]
        if isinstance(error, PoolTimeout):
            seconds = self.settings.timeout
            return StorageBusyError(
                f"No connection to Postgres came free within {seconds:g} seconds; nothing was done."
            )
        if isinstance(error, pg.DataException) and "dimensions" in text:
            return StorageError(
                f"The embedding model was changed: {text}. Call memory.reindex(), which makes all vectors anew, or use the "
                f"model that the stored ones came from; nothing was written."
            )
        for kinds, kind, meaning in _MEANINGS:
            if isinstance(error, kinds):
                return kind(meaning.format(text=text))
        return StorageError(f"Postgres could not do it: {text}")


_inherited: list[Any] = []
"""Pools that a forked process got from its parent: kept, because closing them would harm the parent's connections."""

_MEANINGS: tuple[tuple[Any, type[AgentMemError], str], ...] = (
    (PoolClosed, StorageClosedError, "The application's pool is closed: {text}."),
    ((pg.ProgramLimitExceeded, pg.StringDataRightTruncation), InvalidInputError,
     "Ids, labels or names that belong together are too long for Postgres ({text}); nothing was written."),
    ((pg.LockNotAvailable, pg.QueryCanceled, pg.DeadlockDetected, pg.SerializationFailure), StorageBusyError,
     "Postgres gave up waiting for others ({text}); nothing was written."),
    ((pg.InvalidPassword, pg.InvalidAuthorizationSpecification, pg.InvalidCatalogName), ConfigurationError,
     "Cannot connect to Postgres: {text}"),
    (pg.InsufficientPrivilege, ConfigurationError,
     "Postgres does not allow it: {text}. Let a user who may create tables open the memory once."),
    ((pg.FeatureNotSupported, pg.UndefinedFile), ConfigurationError,
     "Postgres lacks something: {text}. Embeddings need pgvector on the server: https://github.com/pgvector/pgvector"),
    (pg.ReadOnlySqlTransaction, StorageError, "This Postgres server accepts no writes: {text}."),
)  # fmt: skip
"""What kinds of error mean to who called us."""


def _may_try_again(error: psycopg.Error) -> bool:
    """Whether an error leaves open that the same transaction succeeds now: a lost connection, or a broken deadlock."""
    if isinstance(error, (pg.DeadlockDetected, pg.SerializationFailure)):
        return True
    lost = (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.IdleInTransactionSessionTimeout)
    code = error.sqlstate
    return isinstance(error, lost) or code is None or code.startswith("08")


class _LoopPool:
    """The connections of one event loop.

    psycopg_pool's asynchronous pool works with tasks of its own, which swallow their cancellation while they connect, and so
    keep an event loop from ending that nobody asked to close the pool (as at the end of `asyncio.run`). This one has none:
    who needs a connection opens it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._free = asyncio.Semaphore(settings.pool_size)
        self._idle: list[AsyncConnection] = []
        self._every: weakref.WeakSet[AsyncConnection] = weakref.WeakSet()
        self._closed = False

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one transaction."""
        await self._wait_for_turn()
        try:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                yield connection
            finally:
                # One that is still in the middle of something, because its user was cancelled, is of no use to others.
                if self._closed or connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
                    await connection.close()
                else:
                    self._idle.append(connection)
        finally:
            self._free.release()

    async def _wait_for_turn(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        # Not `asyncio.wait_for`: until Python 3.12 it can swallow a cancellation.
        turn = asyncio.ensure_future(self._free.acquire())
        try:
            await asyncio.wait({turn}, timeout=self._settings.timeout)
        except BaseException:
            if not turn.cancel():
                self._free.release()
            raise
        if not turn.done():
            turn.cancel()
            msg = "no connection came free"
            raise PoolTimeout(msg)

    async def revive(self) -> None:
        """Replace the idle connections by a new one, as soon as the server accepts it."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()
        deadline, pause = time.monotonic() + self._settings.timeout, 0.05
        while True:
            try:
                self._idle.append(await self._connect())
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(pause)
                pause = min(1.0, 2 * pause)
            else:
                return

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    def abandon(self) -> None:
        """Close the connections of a loop that cannot be asked any more."""
        self._closed = True
        for connection in list(self._every):
            connection.pgconn.finish()

    async def _connect(self) -> AsyncConnection:
        connection = await psycopg.AsyncConnection.connect(
            self._settings.conninfo, connect_timeout=self._settings.connect_timeout, **self._settings.arguments
        )
        self._every.add(connection)
        return connection


def _close_pool(pool: ConnectionPool[Connection], process: int) -> None:
    if process == os.getpid():
        pool.close(timeout=5)


def _abandon_all(loops: dict[asyncio.AbstractEventLoop, _LoopPool], process: int) -> None:
    if process == os.getpid():
        while loops:
            _, pool = loops.popitem()
            pool.abandon()


class _Transaction(NamedTuple):
    """Outer step: run a storage program as one transaction, or alone without one."""

    driver: PostgresDriver
    program: Program[Any]
    begin: str | None

    def perform(self) -> Any:
        with self.driver.connection() as connection:
            single = self.begin is None or (isinstance(self.program, StorageProgram) and self.program.single)
            with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
                if connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE:
                    if single:
                        return run(self.program, lambda step: _perform(cursor, step))
                    try:
                        cursor.execute(cast("Any", self.begin))
                        result = run(self.program, lambda step: _perform(cursor, step))
                        cursor.execute("COMMIT")
                    except BaseException:
                        if not connection.closed:
                            connection.rollback()
                        raise
                    return result
                # The application's connection: as part of its transaction if there is one.
                with connection.transaction():
                    return run(self.program, lambda step: _perform(cursor, step))

    async def aperform(self) -> Any:
        async with self.driver.aconnection() as connection:
            single = self.begin is None or (isinstance(self.program, StorageProgram) and self.program.single)
            async with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
                if connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE:
                    if single:
                        return await arun(self.program, lambda step: _aperform(cursor, step))
                    try:
                        await cursor.execute(cast("Any", self.begin))
                        result = await arun(self.program, lambda step: _aperform(cursor, step))
                        await cursor.execute("COMMIT")
                    except BaseException:
                        if not connection.closed:
                            await connection.rollback()
                        raise
                    return result
                async with connection.transaction():
                    return await arun(self.program, lambda step: _aperform(cursor, step))


class _Revive(NamedTuple):
    """Outer step: replace the connections of a pool that were lost together with the one that failed."""

    driver: PostgresDriver

    def perform(self) -> None:
        pool = self.driver.given if isinstance(self.driver.given, ConnectionPool) else self.driver._pool
        if pool is not None:
            pool.check()

    async def aperform(self) -> None:
        given = self.driver.given
        if isinstance(given, AsyncConnectionPool):
            await given.check()
        elif given is None:
            await self.driver.own_loop_pool().revive()


def _perform(cursor: psycopg.Cursor[Any], step: Any) -> Any:
    if isinstance(step, ExecuteMany):
        cursor.executemany(cast("Any", step.statement), step.rows)
        return cursor.rowcount
    cursor.execute(cast("Any", step.statement), step.parameters)
    return _answer(cursor, step)


async def _aperform(cursor: psycopg.AsyncCursor[Any], step: Any) -> Any:
    if isinstance(step, ExecuteMany):
        await cursor.executemany(cast("Any", step.statement), step.rows)
        return cursor.rowcount
    await cursor.execute(cast("Any", step.statement), step.parameters)
    return await cursor.fetchall() if isinstance(step, Fetch) else _answer(cursor, step)


def _answer(cursor: Any, step: Any) -> Any:
    if isinstance(step, Fetch):
        return cursor.fetchall()
    if isinstance(step, Execute):
        return cursor.rowcount
    msg = f"A storage program may yield Fetch, Execute and ExecuteMany, not {step!r}."
    raise TypeError(msg)
