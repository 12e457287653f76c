"""Transactions on a connection of psycopg: one program for synchronous and asynchronous callers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import psycopg
from psycopg import generators, postgres
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import ConnStatus, ExecStatus, Format, PipelineStatus, TransactionStatus
from psycopg.rows import tuple_row

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.postgres.leases import Connection, Lease, Operation, Source
from langchain_agentmem.backends.postgres.pipelines import drained, forget_pipeline, new_pipeline
from langchain_agentmem.backends.postgres.statements import Blobs, Floats, Texts, array_of, array_of_bytes
from langchain_agentmem.backends.postgres.waits import NoAnswerError
from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.programs import (
    All,
    Compute,
    Execute,
    ExecuteMany,
    Fetch,
    OffLoop,
    OuterStep,
    Program,
    StorageProgram,
    arun,
    run,
)

READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
WRITE = "BEGIN"


# Cursors


class _FloatsDumper(Dumper):
    """Sends an array of numbers in one piece. psycopg would convert each number, which takes longer than the search."""

    format = Format.BINARY
    oid = psycopg.adapters.types["float4"].array_oid

    def dump(self, obj: Floats) -> bytes:
        return array_of(obj, psycopg.adapters.types["float4"].oid)


class _TextsDumper(Dumper):
    """Sends an array of texts in one piece."""

    format = Format.BINARY
    oid = psycopg.adapters.types["text"].array_oid

    def dump(self, obj: Texts) -> bytes:
        return array_of_bytes([one.encode() for one in obj], psycopg.adapters.types["text"].oid)


class _BlobsDumper(Dumper):
    """Sends an array of byte strings in one piece."""

    format = Format.BINARY
    oid = psycopg.adapters.types["bytea"].array_oid

    def dump(self, obj: Blobs) -> bytes:
        return array_of_bytes(obj, psycopg.adapters.types["bytea"].oid)


def _adapters() -> AdaptersMap:
    """Return psycopg's own conversions, without those that the application registered."""
    own = AdaptersMap(types=psycopg.adapters.types)
    postgres.register_default_adapters(own)
    own.register_dumper(Floats, _FloatsDumper)
    own.register_dumper(Texts, _TextsDumper)
    own.register_dumper(Blobs, _BlobsDumper)
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


def _cursor(connection: Connection) -> Any:
    kind: Any = _Cursor if isinstance(connection, psycopg.Connection) else _AsyncCursor
    cursor = kind(connection, row_factory=tuple_row)
    cursor.format = Format.BINARY
    return cursor


class Do(OuterStep[Any]):
    """Outer step: call a method of a connection or cursor, and await its result if the connection is asynchronous."""

    __slots__ = ("arguments", "method", "options")

    def __init__(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self.method = method
        self.arguments = arguments
        self.options = options

    def perform(self) -> Any:
        return self.method(*self.arguments, **self.options)

    async def aperform(self) -> Any:
        try:
            return await self.method(*self.arguments, **self.options)
        except NoAnswerError as error:
            # psycopg 3.2 waits for the server once more after a cancellation, and the time limit ends that wait.
            if isinstance(error.__context__, asyncio.CancelledError):
                raise error.__context__ from None
            raise


# Transactions


class Sources(Protocol):
    """The sources of connections of a driver."""

    def source(self) -> Source:
        """Return the source for synchronous callers."""

    def loop_source(self) -> Source:
        """Return the source for the running event loop."""


@dataclass(slots=True)
class Transaction(OuterStep[Any]):
    """Outer step: run a storage program as one transaction."""

    sources: Sources
    program: Program[Any]
    begin: str | None
    """`READ` or `WRITE`; None to run the program without a transaction."""
    operation: Operation

    def perform(self) -> Any:
        lease = Lease(self.sources.source(), self.operation)
        with lease, lease:
            return run(self._on(lease))

    async def aperform(self) -> Any:
        lease = Lease(self.sources.loop_source(), self.operation)
        async with lease, lease:
            return await arun(self._on(lease))

    def _on(self, lease: Lease) -> Program[Any]:
        if self.operation.lost:
            self.operation.lost = False
            yield from lease.source.renew(self.operation)
        yield from lease.source.take(lease)
        connection = lease.connection
        lease.limit()
        cursor = _cursor(connection)
        before = connection.pgconn.transaction_status
        try:
            lease.clean = False  # until the server has answered
            result = yield from self._in_transaction(cursor, connection, before)
            lease.clean = lease.answered = _is_clean(connection, before)
            return result
        except GeneratorExit:  # the runner was abandoned: further steps are impossible
            raise
        except BaseException as error:
            with contextlib.suppress(psycopg.Error, NoAnswerError):
                yield from self._roll_back(error, cursor, connection, before)
                known = isinstance(error, (psycopg.Error, AgentMemError, NoAnswerError))
                lease.clean = _is_clean(connection, before) and (known or not lease.source.own)
            lease.answered = lease.clean and isinstance(error, psycopg.Error)
            raise

    def _in_transaction(self, cursor: Any, connection: Connection, before: int) -> Program[Any]:
        if before != TransactionStatus.IDLE:
            # The application has begun a transaction, and decides whether it is committed.
            yield from Do(cursor.execute, "SAVEPOINT agentmem")
            result = yield from perform(self.program, cursor, self.operation)
            yield from Do(cursor.execute, "RELEASE SAVEPOINT agentmem")
            return result
        single = self.begin is None or (isinstance(self.program, StorageProgram) and self.program.single)
        if connection.autocommit:
            if single:
                if self.begin == WRITE:
                    self.operation.may_store()
                result = yield from perform(self.program, cursor, self.operation)
            else:
                yield from Do(cursor.execute, cast("str", self.begin))
                result = yield from perform(self.program, cursor, self.operation)
                self.operation.may_store()
                yield from Do(cursor.execute, "COMMIT")
        else:
            result = yield from perform(self.program, cursor, self.operation)
            self.operation.may_store()
            yield from Do(connection.commit)
        self.operation.settle(stored=True)
        return result

    def _roll_back(self, error: BaseException, cursor: Any, connection: Connection, before: int) -> Program[None]:
        """Cancel the running statement, and roll back the transaction."""
        pgconn, operation = connection.pgconn, self.operation
        if pgconn.status != ConnStatus.OK:
            return
        operation.limit.use_reserve()
        if pgconn.pipeline_status != PipelineStatus.OFF:
            if pgconn.transaction_status == TransactionStatus.ACTIVE and psycopg.capabilities.has_cancel_safe():
                yield from Do(connection.cancel_safe)
            yield from Do(connection.wait, drained(connection))
        forget_pipeline(connection)
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
            yield from Do(cursor.execute, "ROLLBACK TO SAVEPOINT agentmem")
            yield from Do(cursor.execute, "RELEASE SAVEPOINT agentmem")


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
    if isinstance(step, All):
        return (yield from _pipelined(cursor.connection, step.steps))
    if isinstance(step, ExecuteMany):
        yield from Do(cursor.executemany, step.statement, step.rows)
        return cursor.rowcount
    if not isinstance(step, (Fetch, Execute)):
        msg = f"A storage program may yield Fetch, Execute, ExecuteMany and All, not {shown(step)}."
        raise TypeError(msg)
    yield from Do(cursor.execute, step.statement, step.parameters)
    return (yield from Do(cursor.fetchall)) if isinstance(step, Fetch) else cursor.rowcount


def _pipelined(connection: Connection, steps: Sequence[Any]) -> Program[list[Any]]:
    """Return the results of several statements, which are sent together if libpq can do so."""
    cursors = [_cursor(connection) for _ in steps]
    if not psycopg.capabilities.has_pipeline():
        results = []
        for cursor, step in zip(cursors, steps, strict=True):
            results.append((yield from _answer(cursor, step)))
        return results
    pipeline = new_pipeline(connection)
    is_blocking = isinstance(connection, psycopg.Connection)
    yield from Do(pipeline.__enter__ if is_blocking else pipeline.__aenter__)
    leave = pipeline.__exit__ if is_blocking else pipeline.__aexit__
    try:
        for cursor, step in zip(cursors, steps, strict=True):
            yield from Do(cursor.execute, step.statement, step.parameters)
    except psycopg.Error as error:  # after an interruption, `_roll_back` leaves the pipeline
        yield from Do(leave, type(error), error, error.__traceback__)
        forget_pipeline(connection)
        raise
    yield from Do(leave, None, None, None)
    forget_pipeline(connection)
    results = []
    for cursor, step in zip(cursors, steps, strict=True):
        results.append((yield from Do(cursor.fetchall)) if isinstance(step, Fetch) else cursor.rowcount)
    return results


def _is_clean(connection: Connection, before: int) -> bool:
    """Return true if a connection has no unread answer, and the same transaction status as before."""
    pgconn = connection.pgconn
    return bool(pgconn.transaction_status == before and pgconn.pipeline_status == PipelineStatus.OFF)
