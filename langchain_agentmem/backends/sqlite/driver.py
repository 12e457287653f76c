"""Runs transactions on SQLite and maps its errors to ours.

A file has a small pool of connections. With the write-ahead log, readers wait neither for one another nor for a writer.
SQLite runs one writing transaction at a time. Writers of one process wait in a `Line`; writers of several
processes wait in SQLite's busy handler. All callers share the one connection of a database in memory.

A signal handler may interrupt a call between any two instructions. Then a connection to a file is closed. A shared
connection is rolled back, at the latest by the next call.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar, cast

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.failures import Translated, error_for, first_line
from langchain_agentmem.backends.lifetimes import closed_error, keep_inherited, refuse_closed
from langchain_agentmem.backends.sqlite import forks, tables
from langchain_agentmem.backends.sqlite.failures import DRIVER_ERRORS, RULES, is_busy
from langchain_agentmem.backends.sqlite.groups import Group, Job, Jobs, LoopJob
from langchain_agentmem.backends.sqlite.line import Line, Ticket
from langchain_agentmem.backends.sqlite.traces import Purge, Replaced, Traces, Trim, deletes
from langchain_agentmem.errors import (
    ConfigurationError,
    StorageBusyError,
    StorageError,
)
from langchain_agentmem.programs import All, Execute, ExecuteMany, Fetch, Program, StorageProgram, run
from langchain_agentmem.text.words import ENGLISH, check_language

T = TypeVar("T")

MEMORY = ":memory:"
MAX_CONNECTIONS = 8
READ, WRITE = "BEGIN", "BEGIN IMMEDIATE"
_OLDEST_SQLITE = (3, 35, 0)

_stranded: dict[str, str] = {}
"""Files that this process must not open because its parent used them during the fork, each with the error text."""


class SqliteDriver:
    """Runs storage programs on one SQLite database.

    Args:
        path: The file, which the first use creates, or `":memory:"`.
        timeout: Seconds to wait for other writers while none of them finishes. Default: 30.
        synchronous: `"full"` or `"normal"`: SQLite's durability setting. Default: `"full"`.
    """

    def __init__(self, path: str, *, timeout: float = 30.0, synchronous: str = "full", language: str = ENGLISH) -> None:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            msg = f"SQLite 3.35 or newer is required; Python has {sqlite3.sqlite_version}. Use a newer Python."
            raise ConfigurationError(msg)
        self.given_path = path
        self.path = path if path == MEMORY else str(Path(path).expanduser().absolute())
        self._timeout = timeout
        self._synchronous = synchronous
        self.language = check_language(language)
        self._adopted: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._unusable: str | None = None
        """The reason why this process must not use the database; None if it may."""
        self.closed = False
        self.creates = True
        """False if a database without a memory is refused; see `Backend.never_create`."""
        self.indexed_fields: tuple[str, ...] = ()
        """The fields of items that get an index; see `Backend.index_fields`."""
        self._traces = Traces()
        self._reset()
        forks.register(self)

    @classmethod
    def on(cls, connection: sqlite3.Connection, language: str) -> SqliteDriver:
        """Create a driver on a connection of the application. One thread at a time uses it, and it is never closed."""
        driver = cls(MEMORY, language=language)
        driver._adopted = connection
        driver._finalizer.detach()
        return driver

    def _reset(self) -> None:
        self._idle: list[sqlite3.Connection] = []
        """The unused connections, or the shared one."""
        self._ready = False
        abandoned = _keep_open if self._is_shared else _close_abandoned
        self._writing = Line(1, abandoned)
        self._free = Line(1 if self._is_shared else MAX_CONNECTIONS, abandoned)
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._jobs = Jobs()
        self._began = False
        """True while a shared connection is in a transaction of ours."""
        self._cursor: sqlite3.Cursor | None = None
        """The cursor of that transaction."""
        self._text_factory: Any = None
        """The text factory of the application's connection, while ours replaces it."""
        self._finalizer = weakref.finalize(self, _close_all, self._idle)

    @property
    def _is_shared(self) -> bool:
        return self.path == MEMORY

    @property
    def _name(self) -> str:
        """The name of the database in errors: its file, also on a connection of the application."""
        if self._adopted is None:
            return self.path
        try:
            return _file_of(self._adopted) or MEMORY
        except sqlite3.Error:  # the connection is closed, or belongs to another thread
            return "The application's SQLite connection"

    # Transactions

    def read(self, program: Program[T]) -> T:
        """Run a storage program on one consistent view of the database."""
        return cast("T", self._transact(READ, lambda cursor, ticket: run(program, self._performer(cursor, ticket))))

    def write(self, program: Program[T]) -> T:
        """Run a storage program as one transaction. Concurrent writes that may run again share one."""
        if self._is_shared or not isinstance(program, StorageProgram):
            done = self._transact(WRITE, lambda cursor, ticket: run(program, self._performer(cursor, ticket)))
            return cast("T", done)
        job = Job(program)
        taken: list[Job] = []

        def work(cursor: sqlite3.Cursor, ticket: Ticket) -> None:
            every = chain((job,), self._writing.jobs_behind(ticket))
            self._group(cursor, ticket).run(lambda: next(every, None), taken)

        def end(stored: bool) -> None:
            if stored:
                self._writing.finish(taken)
            for one in taken:
                if not one.done:
                    one.offer()

        self._transact(WRITE, work, job, end)
        return cast("T", job.outcome())

    async def submit(self, function: Callable[[Program[T]], T], program: Program[T]) -> T:
        """Run `read` or `write` in a worker thread and wait for it without blocking the event loop."""
        self._check()
        try:
            waiting = asyncio.get_running_loop().run_in_executor(self._pool, function, program)
        except RuntimeError:  # the pool was shut down
            self._check()
            raise
        return await waiting

    async def awrite(self, program: Program[T]) -> T:
        """Same as `write`, without blocking the event loop. Concurrent writes may share one transaction."""
        if self._is_shared:
            return await self.submit(self.write, program)
        self._check()
        job = LoopJob(program, future=asyncio.get_running_loop().create_future())
        try:
            self._jobs.add(job, lambda: self._pool.submit(self._jobs.serve, self._transact_jobs))
        except RuntimeError as error:  # the pool was shut down
            self._jobs.refuse(closed_error() if self.closed else error)
        result: T = await job.future
        return result

    @property
    def _pool(self) -> ThreadPoolExecutor:
        return self._threads.get("pool") or self._threads.setdefault(
            "pool", ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="agentmem-sqlite")
        )

    def _transact_jobs(self, jobs: Jobs) -> list[LoopJob]:
        """Run waiting writes as one transaction, and return them."""
        taken: list[LoopJob] = []
        try:
            self._transact(WRITE, lambda cursor, ticket: self._group(cursor, ticket).run(jobs.take, taken))
        except BaseException as error:
            if not taken:
                raise
            for job in taken:
                job.error = error
        return taken

    def _group(self, cursor: sqlite3.Cursor, ticket: Ticket) -> Group[Any]:
        return Group(
            cursor,
            self._performer(cursor, ticket),
            lambda: self._begin(cursor, WRITE),
            lambda: Translated(DRIVER_ERRORS, self._translate),
        )

    def _transact(
        self,
        begin: str,
        work: Callable[[sqlite3.Cursor, Ticket], T],
        job: Job | None = None,
        end: Callable[[bool], None] = lambda _: None,
    ) -> T | None:
        """Run a transaction.

        Args:
            begin: `READ` or `WRITE`.
            work: The work.
            job: The write, if a transaction of another thread may include it. Default: None.
            end: Function that is called as soon as the transaction has ended, before other writers can begin, with true if it
                is stored. It may be called twice. Default: none.

        Returns:
            The result of the work; None if another transaction included the write.
        """
        self._check()
        ticket = Ticket(sys._getframe(), job)
        try:
            with Translated(DRIVER_ERRORS, self._translate):
                if begin is WRITE:
                    self._enter(self._writing, ticket)
                    if job is not None and job.done:
                        return None
                self._enter(self._free, ticket)
                self._check()
                cursor = self._take(ticket)
                self._begin(cursor, begin)
                result = work(cursor, ticket)
                if ticket.forked:
                    raise self._forked_within()
                ticket.commits = True
                cursor.execute("COMMIT")
                self._began = False
                end(True)
                if begin is WRITE and self._traces.left:
                    with contextlib.suppress(sqlite3.Error):  # the transaction is stored; the next one tries again
                        self._traces.truncate_log(cursor, busy=self._writing.is_busy)
                cursor.close()
            ticket.whole = True
            return result
        except BaseException as error:
            end(_was_committed(ticket, error))
            raise
        finally:
            self._give_back(ticket)

    def _enter(self, line: Line, ticket: Ticket) -> None:
        if not line.enter(ticket, self._timeout):
            if line.is_held_by(ticket.thread):
                msg = (
                    f"This call was made within another call of the same thread that uses {self._name}, for example by a "
                    f"signal handler. It would wait forever, so nothing was done. Call it after the other call has returned."
                )
                raise StorageBusyError(msg)
            raise self._busy()

    def _begin(self, cursor: sqlite3.Cursor, begin: str) -> None:
        """Begin a transaction. Wait for writers of other processes as long as they finish transactions."""
        self._began = True
        changes = self._changes(cursor) if begin is WRITE and self.path != MEMORY else None
        while True:
            try:
                cursor.execute(begin)
            except sqlite3.OperationalError as error:
                if changes is None or not is_busy(error):
                    raise
                before, changes = changes, self._changes(cursor)
                if before == changes:
                    raise
            else:
                return

    @staticmethod
    def _changes(cursor: sqlite3.Cursor) -> int:
        """Return a number that changes with each transaction of another connection."""
        ((version,),) = cursor.execute("PRAGMA data_version").fetchall()
        return int(version)

    def _performer(self, cursor: sqlite3.Cursor, ticket: Ticket) -> Callable[[Any], Any]:
        # A function that refers to itself would be a reference cycle, and leave garbage after each transaction.
        return partial(self._perform, cursor, ticket)

    def _perform(self, cursor: sqlite3.Cursor, ticket: Ticket, step: Any) -> Any:
        """Perform one step of a storage program."""
        if ticket.forked:
            raise self._forked_within()
        if isinstance(step, Fetch):
            return cursor.execute(step.statement, step.parameters).fetchall()
        if isinstance(step, All):
            return [self._perform(cursor, ticket, one) for one in step.steps]
        if isinstance(step, ExecuteMany):
            count = cursor.executemany(step.statement, step.rows).rowcount
        elif isinstance(step, (Execute, Trim)):
            count = cursor.execute(step.statement, step.parameters).rowcount
        elif isinstance(step, Replaced):
            return self._traces.note()
        elif isinstance(step, Purge):
            return self._traces.demand()
        else:
            msg = f"A storage program may yield Fetch, Execute and ExecuteMany, not {shown(step)}."
            raise TypeError(msg)
        if count > 0 and deletes(step.statement):
            self._traces.note(can_wait=isinstance(step, Trim))
        return count

    # Connections

    def _check(self) -> None:
        refuse_closed(self.closed)
        if self._process != os.getpid() and self._adopted is None:  # forked by something other than Python
            self.after_fork_in_child()
        unusable = self._unusable or _stranded.get(self.path)
        if unusable is not None:
            raise StorageError(unusable)

    def _take(self, ticket: Ticket) -> sqlite3.Cursor:
        """Give a call a connection, and a cursor whose rows are tuples even if the connection has a row factory."""
        if not self._is_shared:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._open()
        else:
            if self._adopted is not None:
                self._use_adopted(ticket, self._adopted)
            if self._began:  # by an interrupted call
                self._end_shared(self._cursor)
            connection = self._idle[0] if self._idle else self._open()
        ticket.connection = connection
        ticket.cursor = self._cursor = cursor = _cursor_of(connection)
        return cursor

    def _use_adopted(self, ticket: Ticket, connection: sqlite3.Connection) -> None:
        if self._process != os.getpid() and _file_of(connection):
            msg = (
                "This process was forked after the application opened its connection. SQLite cannot share a connection "
                "between processes. Open one in the child, or create the memory from a URL."
            )
            raise StorageError(msg)
        if connection.in_transaction and not self._began:
            msg = (
                "The connection is in a transaction of the application. Commit it or roll it back before you use the "
                "memory, and open the connection without autocommit=False."
            )
            raise StorageError(msg)
        ticket.connection = connection
        if connection.text_factory is not str:
            if self._text_factory is None:
                self._text_factory = connection.text_factory
            connection.text_factory = str

    def _end_shared(self, cursor: sqlite3.Cursor | None) -> None:
        """Roll back an open transaction on the shared connection."""
        for connection in (self._adopted, *self._idle):
            if connection is not None:
                _roll_back(connection, cursor)
        self._began = False

    def _give_back(self, ticket: Ticket) -> None:
        """End a call. If this is interrupted, the next callers in line complete it."""
        connection = ticket.connection
        if connection is not None and not ticket.forked:
            if self._is_shared:
                if self._began:
                    self._end_shared(ticket.cursor)
                if self._text_factory is not None:
                    connection.text_factory, self._text_factory = self._text_factory, None
            elif ticket.whole:
                ticket.connection = None
                self._idle.append(connection)
            else:
                _close_abandoned(ticket)
        ticket.frame = None
        self._free.leave(ticket)
        self._writing.leave(ticket)
        if self.closed:
            self._close_idle()

    def _open(self) -> sqlite3.Connection:
        connection = self._adopted or sqlite3.connect(
            self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except BaseException:
            if connection is not self._adopted:
                connection.close()
            raise
        if self._is_shared:
            self._idle.append(connection)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        cursor = sqlite3.Cursor(connection)
        if not self.creates and not self._ready:
            tables.require_tables(cursor, self.path)
        if self._adopted is None:
            cursor.execute(f"PRAGMA synchronous = {self._synchronous}")
            if not self._is_shared:
                self._use_write_ahead_log(cursor)
        cursor.execute("PRAGMA secure_delete = ON").fetchall()
        if self._is_shared or not self._ready:
            file = _file_of(connection) if self._is_shared else self.path
            self._began = True
            tables.make_tables(cursor, file or MEMORY, self.language)
            tables.index_fields(cursor, self.indexed_fields)
            self._traces.in_file = bool(file)
            self._ready = True

    def _use_write_ahead_log(self, cursor: sqlite3.Cursor) -> None:
        # SQLite does not call its busy handler when several processes switch the journal mode at the same time, so this
        # loop retries.
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                cursor.execute("PRAGMA journal_mode = WAL").fetchall()
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    # Forks

    def hold(self) -> None:
        """Start no transaction until the fork is done."""
        self._free.hold()

    def before_fork(self, deadline: float) -> None:
        """Wait until running transactions have ended, and close the connections to a file."""
        if self._free.drained(deadline) and not self._is_shared:
            self._close_idle()

    def after_fork_in_parent(self) -> None:
        """Allow transactions again."""
        self._free.resume()

    def after_fork_in_child(self) -> None:
        """Start with new connections. A database in memory was copied with the process."""
        running = self._free.served()
        for ticket in running:
            ticket.forked = True
        inherited = [*self._idle, *(ticket.connection for ticket in running)]
        idle, ready, text_factory = self._idle, self._ready, self._text_factory
        self._finalizer.detach()
        self._reset()
        if self._adopted is None:
            self._process = os.getpid()
        else:
            self._finalizer.detach()
            self._text_factory = text_factory
        if self._is_shared and not running:
            if self._adopted is None:
                self._idle += idle
                self._ready = ready
        elif inherited:
            # Closing them would release the parent's locks.
            keep_inherited(*inherited)
            self._unusable = str(self._forked_within())
            if not self._is_shared:
                _stranded[self.path] = self._unusable

    def _forked_within(self) -> StorageError:
        msg = (
            f"This process was forked while its parent was using {self._name}, and cannot use it without losing data. Fork "
            f"with os.fork or multiprocessing between two calls, or start the process with `spawn`."
        )
        return StorageError(msg)

    # Closing

    def close(self) -> None:
        """Stop the worker threads and close the connections. Running calls end first, and close theirs."""
        self.closed = True
        threads = self._threads.pop("pool", None)
        if threads is not None:
            threads.shutdown(wait=True)
        self._close_idle()

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def _close_idle(self) -> None:
        """Close the unused connections."""
        if not self._is_shared:
            while True:
                try:
                    connection = self._idle.pop()
                except IndexError:  # another call took it
                    return
                if not self._idle and self._traces.left:
                    self._remove_traces(connection)
                connection.close()
            return
        ticket = Ticket(sys._getframe())
        try:
            # If the line is busy, the running call closes the connection when it ends.
            if self._free.enter(ticket, 0) and self._adopted is None:
                _close_all(self._idle)
        finally:
            ticket.frame = None
            self._free.leave(ticket)

    def _remove_traces(self, connection: sqlite3.Connection) -> None:
        cursor = sqlite3.Cursor(connection)
        with contextlib.suppress(sqlite3.Error):  # other processes use the file: the last one removes the traces
            cursor.execute("PRAGMA busy_timeout = 100").fetchall()
            self._traces.truncate_log(cursor, busy=False, closing=True)

    # Errors

    def _busy(self) -> StorageBusyError:
        msg = f"{self._name} was locked by another writer for more than {self._timeout:g} seconds. Nothing was written."
        return StorageBusyError(msg)

    def _translate(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.Error) and is_busy(error):
            return self._busy()
        folder = Path(self.path).parent
        reason = f"the folder {folder} does not exist" if not folder.is_dir() else "it is not a readable file"
        text = first_line(error)
        return error_for(RULES, error, path=self._name, reason=reason, text=text) or StorageError(
            f"SQLite refused the operation in {self._name}: {text}."
        )


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


def _close_abandoned(ticket: Ticket) -> None:
    """Close the connection of an interrupted call."""
    if ticket.connection is not None:
        # Roll back first: a referenced statement keeps the transaction of a closed connection open.
        _roll_back(ticket.connection, ticket.cursor)
        ticket.connection.close()


def _was_committed(ticket: Ticket, error: BaseException) -> bool:
    """Return true if an exception interrupted a call after its transaction was committed."""
    if not ticket.commits or ticket.connection.in_transaction:
        return False
    one: BaseException | None = error
    while one is not None and not isinstance(one, sqlite3.Error):  # an error of SQLite may have rolled back everything
        one = one.__context__
    return one is None


def _keep_open(ticket: Ticket) -> None:
    """Do nothing: the next call rolls a shared connection back."""


def _roll_back(connection: sqlite3.Connection, cursor: sqlite3.Cursor | None) -> None:
    with contextlib.suppress(sqlite3.ProgrammingError):  # already closed
        if cursor is not None:
            cursor.close()  # an interrupted statement would continue to read
        if connection.in_transaction:
            sqlite3.Cursor(connection).execute("ROLLBACK")


def _cursor_of(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """Return a cursor that ignores the connection's row factory.

    A connection keeps a weak reference to each of its cursors. Its method `cursor` sometimes drops those of deleted cursors.
    `sqlite3.Cursor(connection)` never does, so the list would grow with each call.
    """
    cursor = sqlite3.Connection.cursor(connection, sqlite3.Cursor)
    cursor.row_factory = None
    return cursor


def _file_of(connection: sqlite3.Connection) -> str:
    """Return the file of a connection; an empty string for a database in memory."""
    rows = sqlite3.Cursor(connection).execute("PRAGMA database_list").fetchall()
    return next((os.fsdecode(file or "") for _, name, file in rows if name in ("main", b"main")), "")
