"""Connections to Postgres, transactions, retries, and Postgres' errors in our words: the only module that imports psycopg.

A driver has connections of its own for synchronous callers and for each event loop, opened on first use; or it uses the pool
or the connection that the application has. It never relies on anything that outlives a transaction, so that it works
through a pooler such as PgBouncer: no prepared statements (unless asked for), no settings of a session.

A call may be broken off anywhere: by a cancelled task, or by an exception that a signal handler raises. Its connection is
then given back only after the statement was cancelled and the transaction rolled back; else it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

import psycopg
from psycopg import errors as pg
from psycopg import generators, postgres
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo, ConnStatus, ExecStatus, Format, PGconn, PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from langchain_agentmem.backends.existing import warn_of_existing
from langchain_agentmem.backends.postgres.leases import (
    Connection,
    Do,
    GivenConnection,
    GivenPool,
    Lease,
    NoAnswerError,
    Operation,
    Source,
    aside,
    await_within,
    close_in,
    is_open,
    move,
    perform,
)
from langchain_agentmem.backends.postgres.migrating import index_items, migrate, settled
from langchain_agentmem.backends.postgres.options import Settings, check_names, check_values, split_url, wrong_url
from langchain_agentmem.backends.postgres.slots import SlotTimeoutError, TimeLimit
from langchain_agentmem.backends.postgres.statements import Floats, array_of
from langchain_agentmem.errors import (
    AgentMemError,
    ConfigurationError,
    DamagedDataError,
    InvalidInputError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
)
from langchain_agentmem.programs import OuterStep, Program, Sleep, StorageProgram, arun, run

T = TypeVar("T")
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
WRITE = "BEGIN"

_ATTEMPTS = 3


class _FloatsDumper(Dumper):
    """Sends numbers as they are in memory; psycopg would send each on its own, which takes longer than the search."""

    format = Format.BINARY
    oid = psycopg.adapters.types["float4"].array_oid

    def dump(self, obj: Floats) -> bytes:
        return array_of(obj, psycopg.adapters.types["float4"].oid)


def _adapters() -> AdaptersMap:
    """Psycopg's own conversions, whatever the application has registered on its connections or for the process."""
    own = AdaptersMap(types=psycopg.adapters.types)
    postgres.register_default_adapters(own)
    own.register_dumper(Floats, _FloatsDumper)
    return own


_ADAPTERS = _adapters()


class _Cursor(psycopg.Cursor[Any]):
    """A cursor that does not depend on the connection's `cursor_factory`, `row_factory` and adapters."""

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


class _AsyncCursor(psycopg.AsyncCursor[Any]):
    """Same as `_Cursor`, for an asynchronous connection."""

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


def connection_settings(url: str) -> Settings:
    """The settings in a `postgresql://` URL, checked as far as that is possible without connecting.

    Raises:
        ConfigurationError: The URL cannot be parsed, or an option or its value is wrong.
    """
    settings, options = split_url(url)
    defaults = Conninfo.get_defaults()
    check_names(options, [one.keyword.decode() for one in defaults])
    connecting: dict[str, str] | None = None
    with contextlib.suppress(psycopg.Error):  # whose text may show the password
        connecting = {name: str(value) for name, value in conninfo_to_dict(settings.conninfo).items()}
    if connecting is None:
        raise wrong_url()
    check_values(connecting)
    # libpq checks the other options when it begins to connect: to a socket that does not exist, it goes no further.
    nowhere = "/nonexistent/agentmem"
    probed = {name: value for name, value in connecting.items() if name not in ("host", "hostaddr", "port", "service")}
    probe = PGconn.connect_start(psycopg.conninfo.make_conninfo("", **probed, host=nowhere).encode())
    reason = probe.get_error_message()
    probe.finish()
    if nowhere not in reason:
        secrets = [connecting.get(one.keyword.decode()) for one in defaults if one.dispchar != b""]
        if any(secret and secret in reason for secret in secrets):
            raise wrong_url()
        msg = f"An option of the Postgres URL is wrong: {reason.strip()}."
        raise ConfigurationError(msg)
    return settings._replace(connecting=connecting)


def url_of_conninfo(conninfo: str) -> str:
    """The `postgresql://` URL for a connection string of libpq.

    Raises:
        ConfigurationError: libpq cannot parse it.
    """
    try:
        options = conninfo_to_dict(conninfo)
    except psycopg.Error:  # its text may show the password
        msg = (
            "The connection string of Postgres cannot be parsed: write it as 'host=localhost dbname=app', or as a URL."
        )
        raise ConfigurationError(msg) from None
    return f"postgresql:///?{urlencode(options, quote_via=quote)}"


class PostgresDriver:
    """Runs storage programs on one Postgres database.

    Args:
        settings: How to connect.
        given: A pool or connection that the application has, which is never closed by us. Default: None (own connections).
    """

    def __init__(self, settings: Settings, given: Any = None) -> None:
        self.settings = settings
        self.given = given
        self.closed = False
        self._given_open = is_open(given)
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._ready = False
        self._lock = threading.Lock()
        self._reached = threading.Event()  # a connection could be opened once
        self._source: Source | None = None
        self._loops: dict[asyncio.AbstractEventLoop, Source] = {}
        self._finalizer = weakref.finalize(self, _close_all, self._loops, self._process)

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
        """Run a storage program as one transaction."""
        return run(self._operate(program, WRITE))

    async def awrite(self, program: Program[T]) -> T:
        """Same as `write`, but without blocking the event loop."""
        if self._blocking:
            return await asyncio.to_thread(self.write, program)
        return await arun(self._operate(program, WRITE))

    @property
    def _blocking(self) -> bool:
        """Whether the application's connections are such that only a thread can wait for them."""
        return isinstance(self.given, (psycopg.Connection, ConnectionPool))

    def _operate(self, program: Program[T], begin: str) -> Program[T]:
        """Run a program within the time limit, and say what its failure means."""
        self._check()
        operation = Operation(TimeLimit(self.settings.timeout), writes=begin == WRITE)
        try:
            if not self._ready:
                yield from self._prepare(operation)
            return (yield from self._attempts(program, begin, operation))
        except (psycopg.Error, NoAnswerError, SlotTimeoutError) as error:
            raise self._translate(error, operation) from error

    def _attempts(self, program: Program[T], begin: str | None, operation: Operation) -> Program[T]:
        """Run a program; again if the connection was lost, or the database broke a deadlock."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return cast("T", (yield from _Transaction(self, program, begin, operation)))
            except psycopg.Error as error:
                again = isinstance(program, StorageProgram) and not operation.connecting and _may_try_again(error)
                if not again or attempt == _ATTEMPTS or operation.limit.left <= 0:
                    raise
                lost = not isinstance(error, (pg.DeadlockDetected, pg.SerializationFailure))
            operation.begin_again(lost=lost)
        raise AssertionError

    def _prepare(self, operation: Operation) -> Program[None]:
        schema, language = self.settings.schema, self.settings.language
        state = yield from self._attempts(settled(schema, language), None, operation)
        others: list[str] = []
        if state is None:
            operation.restarts = True  # each statement that is answered is progress
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    others = yield from self._attempts(migrate(schema, language), WRITE, operation)
                    break
                except (pg.UniqueViolation, pg.DuplicateTable, pg.DuplicateObject, pg.DuplicateSchema):
                    # Somebody who does not take our lock, such as LangGraph's own setup(), made the same just now.
                    if attempt == _ATTEMPTS:
                        raise
            state = yield from self._attempts(settled(schema, language), None, operation)
        indexed = state is not None and state.indexed
        operation.restarts = not indexed
        while not indexed:
            indexed = yield from self._attempts(index_items(schema), WRITE, operation)
        operation.restarts = False
        self._ready = True
        warn_of_existing("The Postgres database", others)

    def _check(self) -> None:
        if self.closed:
            msg = "This memory is closed: make a new one, or call close() later."
            raise StorageClosedError(msg)
        if self._process != os.getpid():
            if self._given_open:
                msg = (
                    f"This {type(self.given).__name__} was opened by another process, from which this one was forked: open "
                    f"one after the fork, and make a memory from that."
                )
                raise ConfigurationError(msg)
            # A connection must not be used, nor closed, in a process that inherited it.
            self._finalizer.detach()
            _inherited.append((self._source, self._loops))
            self._reset()
        elif self.given is not None and not self._given_open:
            self._given_open = is_open(self.given)

    # Connections

    def source(self) -> Source:
        """The connections of synchronous callers."""
        if self.given is not None and not self._blocking:
            msg = (
                f"This memory was made from an {type(self.given).__name__}, which only asynchronous methods can use: call "
                f"the method with the prefix `a` and await it, or pass a URL, which serves both."
            )
            raise ConfigurationError(msg)
        known = self._source
        if known is not None:
            return known
        with self._lock:
            if self._source is None:
                self._source = self._new_source(psycopg.Connection)
                weakref.finalize(self, close_in, self._source, self._process)
            return self._source

    def loop_source(self) -> Source:
        """The connections of the event loop that is running."""
        loop = asyncio.get_running_loop()
        known = self._loops.get(loop)
        if known is not None:
            return known
        with self._lock:
            known = self._loops.get(loop)
            if known is None:
                for gone in [one for one in self._loops if one.is_closed()]:
                    self._loops.pop(gone).close(abandon=True)
                known = self._loops[loop] = self._new_source(psycopg.AsyncConnection)
            return known

    def _new_source(self, kind: type[Any]) -> Source:
        if self.given is None:
            return _Own(self.settings, kind, self._reached)
        if isinstance(self.given, (ConnectionPool, AsyncConnectionPool)):
            return GivenPool(self.given)
        return GivenConnection(self.given)

    def close(self) -> None:
        """Close the own connections; those of other event loops at once, without asking their loops."""
        self.closed = True
        with self._lock:
            if self._source is not None:
                self._source.close()
            _close_all(self._loops, self._process)

    async def aclose(self) -> None:
        """Same as `close`. Closing a connection does not block."""
        self.close()

    # Errors

    def _translate(self, error: Exception, operation: Operation) -> Exception:
        fate, limit = operation.fate, f"within {self.settings.timeout:g} seconds"
        if isinstance(error, (SlotTimeoutError, PoolTimeout, TooManyRequests)):
            return StorageBusyError(f"No connection to Postgres came free {limit}{fate}.")
        if isinstance(error, NoAnswerError):
            what = "Could not connect to Postgres" if operation.connecting else "Postgres did not answer"
            return StorageBusyError(f"{what} {limit}{fate}. The option timeout of the URL sets the limit.")
        text = str(error).strip().partition("\n")[0].rstrip(".")
        for kinds, kind, meaning in _MEANINGS:
            if isinstance(error, kinds):
                return kind(meaning.format(text=text, fate=fate))
        return _meaning(error, text, fate, operation, closed=self.closed)


def _meaning(error: Exception, text: str, fate: str, operation: Operation, *, closed: bool) -> StorageError:
    if isinstance(error, (pg.InvalidParameterValue, pg.InvalidTextRepresentation)) and not operation.writes:
        return DamagedDataError(f"A stored row cannot be read: it was damaged or altered ({text}).")
    if isinstance(error, pg.DataException) and "dimensions" in text:
        return StorageError(
            f"The embedding model was changed: {text}. Call memory.reindex(), which makes all vectors anew, or use the model "
            f"that the stored ones came from{fate}."
        )
    if closed:
        return StorageClosedError(f"This memory was closed while the call was under way{fate}.")
    if operation.connecting:
        return StorageError(f"Could not connect to Postgres: {text}. Check the URL, and that the server is running.")
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return StorageError(f"The connection to Postgres was lost: {text}{fate}.")
    return StorageError(f"Postgres refused the operation: {text}{fate}.")


_inherited: list[Any] = []
"""Connections that a forked process got from its parent: kept, because closing them would harm the parent's."""

_MEANINGS: tuple[tuple[Any, type[AgentMemError], str], ...] = (
    (PoolClosed, StorageClosedError, "The application's pool is closed: {text}."),
    ((pg.ProgramLimitExceeded, pg.StringDataRightTruncation), InvalidInputError,
     "Ids, labels or names that belong together are too long for Postgres ({text}){fate}."),
    ((pg.LockNotAvailable, pg.QueryCanceled, pg.DeadlockDetected, pg.SerializationFailure), StorageBusyError,
     "Postgres gave up waiting for others ({text}){fate}."),
    ((pg.InvalidPassword, pg.InvalidAuthorizationSpecification, pg.InvalidCatalogName), ConfigurationError,
     "Cannot connect to Postgres: {text}."),
    (pg.InsufficientPrivilege, ConfigurationError,
     "Postgres does not allow it: {text}. Let a user who may create tables open the memory once."),
    ((pg.FeatureNotSupported, pg.UndefinedFile), ConfigurationError,
     "Postgres lacks something: {text}. Embeddings need pgvector on the server: https://github.com/pgvector/pgvector"),
    (pg.ReadOnlySqlTransaction, StorageError, "This Postgres server accepts no writes: {text}{fate}."),
)  # fmt: skip
"""Map psycopg's errors to ours."""

_LASTING = ("authentication", "pg_hba.conf", "does not exist", "permission denied", "not permitted")
"""What a server says that refuses a connection for another reason than that it is starting."""


def _may_try_again(error: psycopg.Error) -> bool:
    """Whether an error leaves open that the same transaction succeeds now: a lost connection, or a broken deadlock."""
    if isinstance(error, (PoolTimeout, PoolClosed, TooManyRequests)) or not isinstance(error, psycopg.OperationalError):
        return False
    if isinstance(error, (pg.DeadlockDetected, pg.SerializationFailure)):
        return True
    lost = (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.IdleInTransactionSessionTimeout)
    code = error.sqlstate
    return isinstance(error, lost) or code is None or code.startswith("08")


# Connections


class _Own(Source):
    """Our own connections. Callers who need one open it: there are no background threads or tasks."""

    own = True

    def __init__(self, settings: Settings, kind: type[Any], reached: threading.Event) -> None:
        super().__init__(settings.pool_size)
        self._reached = reached
        self._settings = settings
        self._kind = kind
        self._idle: deque[Connection] = deque()
        self._every: weakref.WeakSet[Connection] = weakref.WeakSet()

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
                yield from _Connect(lease, self._kind, self._settings)
                break
            except psycopg.OperationalError as error:
                # A server that was reached before may be restarting.
                refused = any(sign in str(error) for sign in _LASTING)
                if refused or not self._reached.is_set() or limit.left <= pause:
                    raise
            yield from Sleep(pause)
            pause = min(1.0, 2 * pause)
        lease.operation.connecting = False
        if self._kind is psycopg.AsyncConnection:
            self._every.add(lease.connection)
        if not self._reached.is_set():
            self._reached.set()

    def give_back(self, lease: Lease) -> None:
        if lease.sound and not self.slots.closed:
            with contextlib.suppress(IndexError):
                move(lease.held, self._idle)
            if self.slots.closed:  # just now
                self._close_idle()
        else:
            lease.discard()

    def renew(self, operation: Operation) -> Program[None]:  # noqa: ARG002 (nothing to wait for)
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
            for connection in list(self._every):
                connection.pgconn.finish()


# Steps


@dataclass(slots=True)
class _Connect(OuterStep[Any]):
    """Outer step: open a connection for a lease."""

    lease: Lease
    kind: type[Any]
    settings: Settings

    def perform(self) -> None:
        settings = self.settings

        def connect() -> None:
            self.lease.adopt(self.kind.connect(settings.conninfo, **settings.arguments))

        aside(connect, always=True, seconds=max(0.001, self.lease.operation.limit.left))

    async def aperform(self) -> None:
        connecting = self.kind.connect(self.settings.conninfo, **self.settings.arguments)
        seconds = self.lease.operation.limit.left
        self.lease.held.append(await await_within(connecting, seconds, lambda late: late.pgconn.finish()))


@dataclass(slots=True)
class _Transaction(OuterStep[Any]):
    """Outer step: run a storage program as one transaction, or alone without one."""

    driver: PostgresDriver
    program: Program[Any]
    begin: str | None
    operation: Operation

    def perform(self) -> Any:
        lease = Lease(self.driver.source(), self.operation)
        try:
            # Twice: an exception that comes while the lease is ended the first time finds it ended the second time.
            try:
                return run(self._on(lease))
            finally:
                lease.end()
        finally:
            lease.end()

    async def aperform(self) -> Any:
        lease = Lease(self.driver.loop_source(), self.operation)
        try:
            try:
                return await arun(self._on(lease))
            finally:
                await lease.aend()
        finally:
            await lease.aend()

    def _on(self, lease: Lease) -> Program[Any]:
        if self.operation.lost:
            self.operation.lost = False
            yield from lease.source.renew(self.operation)
        yield from lease.source.take(lease)
        connection = lease.connection
        lease.limit()
        kind: Any = _Cursor if isinstance(connection, psycopg.Connection) else _AsyncCursor
        cursor = kind(connection, row_factory=tuple_row)
        cursor.format = Format.BINARY
        before = connection.pgconn.transaction_status
        try:
            lease.sound = False  # until the server has answered
            result = yield from self._in_transaction(cursor, connection, before)
            lease.sound = lease.answered = _is_sound(connection, before)
            return result
        except GeneratorExit:  # the runner is gone: no more steps
            raise
        except BaseException as error:
            with contextlib.suppress(psycopg.Error, NoAnswerError):
                yield from self._mend(error, cursor, connection, before)
                known = isinstance(error, (psycopg.Error, AgentMemError, NoAnswerError))
                lease.sound = _is_sound(connection, before) and (known or not lease.source.own)
            lease.answered = lease.sound and isinstance(error, psycopg.Error)
            raise

    def _in_transaction(self, cursor: Any, connection: Connection, before: int) -> Program[Any]:
        if before != TransactionStatus.IDLE:
            # The application's transaction: what is stored in it is for the application to say.
            yield from self._say(cursor, "SAVEPOINT agentmem")
            result = yield from perform(self.program, cursor, self.operation)
            yield from self._say(cursor, "RELEASE SAVEPOINT agentmem")
            return result
        single = self.begin is None or (isinstance(self.program, StorageProgram) and self.program.single)
        if connection.autocommit:
            if single:
                if self.begin == WRITE:
                    self.operation.may_store()
                result = yield from perform(self.program, cursor, self.operation)
            else:
                yield from self._say(cursor, cast("str", self.begin))
                result = yield from perform(self.program, cursor, self.operation)
                self.operation.may_store()
                yield from self._say(cursor, "COMMIT")
        else:
            result = yield from perform(self.program, cursor, self.operation)
            self.operation.may_store()
            yield from Do(connection.commit)
        self.operation.settle(stored=True)
        return result

    def _say(self, cursor: Any, statement: str) -> Program[None]:
        yield from Do(cursor.execute, statement)

    def _mend(self, error: BaseException, cursor: Any, connection: Connection, before: int) -> Program[None]:
        """End the statement that is under way, and roll back what the transaction did."""
        pgconn, operation = connection.pgconn, self.operation
        if pgconn.status != ConnStatus.OK or pgconn.pipeline_status != PipelineStatus.OFF:
            return
        operation.limit.use_reserve()
        if pgconn.transaction_status == TransactionStatus.ACTIVE:
            if not psycopg.capabilities.has_cancel_safe():
                return
            yield from Do(connection.cancel_safe)
            results = yield from Do(connection.wait, generators.execute(pgconn))
            if results:
                operation.settle(stored=results[-1].status != ExecStatus.FATAL_ERROR)
        elif isinstance(error, psycopg.Error):
            operation.settle(stored=False)
        if pgconn.transaction_status not in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            return
        if before == TransactionStatus.IDLE:
            yield from Do(connection.rollback)
        elif before == TransactionStatus.INTRANS:
            yield from self._say(cursor, "ROLLBACK TO SAVEPOINT agentmem")
            yield from self._say(cursor, "RELEASE SAVEPOINT agentmem")


def _is_sound(connection: Connection, before: int) -> bool:
    """Whether a connection is free of unread answers, and in no other transaction than before."""
    pgconn = connection.pgconn
    return bool(pgconn.transaction_status == before and pgconn.pipeline_status == PipelineStatus.OFF)


def _close_all(sources: dict[asyncio.AbstractEventLoop, Source], process: int) -> None:
    if process == os.getpid():
        while sources:
            loop, source = sources.popitem()
            # A loop that runs gives back what is in use, and it is closed then.
            source.close(abandon=not loop.is_running())
