"""Connections to SQLite, transactions, and SQLite's errors in our words: the only module that imports `sqlite3`.

A file has a small pool of connections, so that readers never wait for one another or for a writer (write-ahead log).
SQLite lets one transaction write at a time; within the process writers wait in line for a lock, and only between
processes in SQLite's own busy handler. A database in memory lives in its one connection, which all share in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.errors import (
    ConfigurationError,
    DamagedDataError,
    InvalidInputError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
)
from langchain_agentmem.program import Execute, ExecuteMany, Fetch, Program, run
from langchain_agentmem.words import ENGLISH, check_language

T = TypeVar("T")

MEMORY = ":memory:"
SCHEMA_VERSION = 4
MAX_CONNECTIONS = 8
_OLDEST_SQLITE = (3, 35, 0)
_SCHEMA = load_statements("langchain_agentmem.backends.sqlite", "schema.sql")
_MIGRATIONS = load_statements("langchain_agentmem.backends.sqlite", "migrations.sql")


class Slots:
    """A semaphore that is fair: whoever waits longest is next, so that a busy reader never keeps a writer out."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self, timeout: float) -> bool:
        """Take a slot; returns whether one came free within `timeout` seconds."""
        with self._lock:
            if self._left and not self._waiting:
                self._left -= 1
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=timeout):
            return True
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return False
        return True  # the slot was handed over just as the time ran out

    def release(self) -> None:
        """Give a slot back: straight to whoever waits longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._left += 1


class SqliteDriver:
    """Runs storage programs on one SQLite database.

    Args:
        path: The file, made on first use, or `":memory:"`.
        timeout: Seconds to wait for other writers. Default: 30.
        synchronous: `"full"` or `"normal"`: SQLite's durability setting. Default: `"full"`.
    """

    def __init__(self, path: str, *, timeout: float = 30.0, synchronous: str = "full", language: str = ENGLISH) -> None:
        if synchronous.lower() not in ("full", "normal"):
            msg = f"The option synchronous must be full or normal, got {synchronous!r}."
            raise ConfigurationError(msg)
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            msg = f"Python's SQLite is {sqlite3.sqlite_version}; 3.35 or newer is needed. Use a newer Python."
            raise ConfigurationError(msg)
        self.given_path = path
        self.path = path if path == MEMORY else str(Path(path).expanduser().absolute())
        self._timeout = timeout
        self._synchronous = synchronous.lower()
        self.language = check_language(language)
        self._adopted: sqlite3.Connection | None = None
        self._closed = False
        self._reset()

    @classmethod
    def on(cls, connection: sqlite3.Connection, language: str) -> SqliteDriver:
        """A driver on the application's own connection, which is used by one thread at a time and never closed."""
        driver = cls(MEMORY, language=language)
        driver._adopted = connection
        driver._finalizer.detach()
        return driver

    def _reset(self) -> None:
        self._process = os.getpid()
        self._idle: list[sqlite3.Connection] = []
        self._ready = False
        self._setting_up = threading.Lock()
        self._starting_threads = threading.Lock()
        self._writing = Slots(1)
        self._free = Slots(1 if self.path == MEMORY else MAX_CONNECTIONS)
        self._threads: ThreadPoolExecutor | None = None
        self._finalizer = weakref.finalize(self, _close_all, self._idle)

    # Transactions

    def read(self, program: Program[T]) -> T:
        """Run a storage program on one consistent view of the database."""
        return self._transact("BEGIN", program)

    def write(self, program: Program[T]) -> T:
        """Run a storage program as one transaction."""
        self._check()
        if not self._writing.acquire(self._timeout):
            raise self._busy()
        writing = self._writing
        try:
            return self._transact("BEGIN IMMEDIATE", program)
        finally:
            writing.release()

    async def submit(self, function: Callable[[Program[T]], T], program: Program[T]) -> T:
        """Run `read` or `write` in a worker thread and wait for it without blocking the event loop."""
        self._check()
        with self._starting_threads:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="agentmem-sqlite")
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, program)

    def _transact(self, begin: str, program: Program[T]) -> T:
        with self._connection() as connection, self._errors():
            connection.execute(begin)
            try:
                result = run(program, _performer(connection))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

    # Connections

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self._check()
        if not self._free.acquire(self._timeout):
            raise self._busy()
        free = self._free
        try:
            connection = self._idle.pop() if self._idle else self._open()
            try:
                yield connection
            finally:
                if self._closed and connection is not self._adopted:
                    connection.close()
                else:
                    self._idle.append(connection)
        finally:
            free.release()

    def _check(self) -> None:
        if self._closed:
            msg = "This memory is closed: make a new one, or call close() later."
            raise StorageClosedError(msg)
        if self._process != os.getpid() and self.path != MEMORY:
            # A connection must not be used, nor closed, in a process that inherited it.
            self._finalizer.detach()
            _inherited.extend(self._idle)
            self._reset()

    def _open(self) -> sqlite3.Connection:
        with self._errors():
            if self._adopted is not None:
                connection = self._adopted
            else:
                connection = sqlite3.connect(
                    self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
                )
            try:
                self._prepare(connection)
            except BaseException:
                if connection is not self._adopted:
                    connection.close()
                raise
            return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if self._adopted is None:
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            if self.path != MEMORY:
                self._use_write_ahead_log(connection)
        elif connection.isolation_level is not None:
            connection.isolation_level = None
        with self._setting_up:
            if not self._ready:
                self._make_tables(connection)
                self._ready = True

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        # Switching the journal mode does not wait for other processes that do the same: SQLite's busy handler is not
        # asked, so we ask again ourselves.
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        if (_schema_version(connection) or 0) < SCHEMA_VERSION:
            connection.execute("BEGIN IMMEDIATE")
            try:
                found = _schema_version(connection)
                if found is None:
                    for statement in _SCHEMA.values():
                        connection.execute(statement)
                    connection.execute("INSERT INTO agentmem_schema VALUES (?, ?)", (SCHEMA_VERSION, self.language))
                elif found < SCHEMA_VERSION:
                    for name, statement in _MIGRATIONS.items():
                        if int(name.removeprefix("v").partition("_")[0]) > found:
                            connection.execute(statement)
                    connection.execute("UPDATE agentmem_schema SET version = ?", (SCHEMA_VERSION,))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        version = _schema_version(connection)
        if version != SCHEMA_VERSION:
            msg = (
                f"The tables in {self.path} are of version {version}, this package knows version {SCHEMA_VERSION}: "
                f"install the langchain-agentmem that wrote them."
            )
            raise ConfigurationError(msg)
        ((language,),) = connection.execute("SELECT language FROM agentmem_schema")
        if language != self.language:
            msg = (
                f"The texts in {self.path} are searched in {language!r}, not {self.language!r}: write ?language={language} "
                f"in the URL."
            )
            raise ConfigurationError(msg)

    # Closing

    def close(self) -> None:
        """Close the connections and end the worker threads."""
        self._closed = True
        if self._threads is not None:
            self._threads.shutdown(wait=True)
            self._threads = None
        while self._idle:
            connection = self._idle.pop()
            if connection is not self._adopted:
                connection.close()

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        await asyncio.to_thread(self.close)

    # Errors

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error) from error
        except OverflowError as error:
            msg = f"A value is too large for SQLite ({error}); nothing was written."
            raise InvalidInputError(msg) from error

    def _busy(self) -> StorageBusyError:
        msg = f"{self.path} was held by another writer for more than {self._timeout:g} seconds; nothing was written."
        return StorageBusyError(msg)

    def _translate(self, error: sqlite3.Error) -> Exception:
        text = str(error)
        if _is_busy(error):
            return self._busy()
        if "unable to open database file" in text:
            folder = Path(self.path).parent
            why = f"the folder {folder} does not exist" if not folder.is_dir() else "it is no file, or may not be read"
            return ConfigurationError(f"Cannot open {self.path}: {why}.")
        for sign, kind, meaning in _MEANINGS:
            if sign in text:
                return kind(meaning.format(path=self.path, text=text))
        return StorageError(f"SQLite could not do it in {self.path}: {text}")


_MEANINGS: tuple[tuple[str, type[Exception], str], ...] = (
    ("not a database", DamagedDataError, "{path} is not a SQLite database, or is damaged ({text})."),
    ("malformed", DamagedDataError, "{path} is damaged ({text})."),
    ("Could not decode", DamagedDataError, "{path} is damaged ({text})."),
    ("readonly", StorageError, "{path} may be read but not written ({text})."),
    ("fts5", ConfigurationError, "Python's SQLite has no full-text search (FTS5): use another Python ({text})."),
    ("too big", InvalidInputError, "A value is too large for SQLite ({text}); nothing was written."),
)
"""What a part of SQLite's message says of an error."""

_inherited: list[sqlite3.Connection] = []
"""Connections that a forked process got from its parent: kept, because closing them would harm the parent's locks."""


def _close_all(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


def _performer(connection: sqlite3.Connection) -> Callable[[Any], Any]:
    def perform(step: Any) -> Any:
        if isinstance(step, Fetch):
            return connection.execute(step.statement, step.parameters).fetchall()
        if isinstance(step, Execute):
            return connection.execute(step.statement, step.parameters).rowcount
        if isinstance(step, ExecuteMany):
            return connection.executemany(step.statement, step.rows).rowcount
        msg = f"A storage program may yield Fetch, Execute and ExecuteMany, not {step!r}."
        raise TypeError(msg)

    return perform


def _schema_version(connection: sqlite3.Connection) -> int | None:
    known = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'agentmem_schema'"
    ).fetchone()
    if known is None:
        return None
    row = connection.execute("SELECT version FROM agentmem_schema").fetchone()
    return None if row is None else int(row[0])


def _is_busy(error: sqlite3.Error) -> bool:
    text = str(error)
    return "locked" in text or "busy" in text
