"""The SQLite backend: three tables on one driver."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from langchain_agentmem.arguments.urls import shown_url
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.sqlite.checkpoints import SqliteCheckpoints
from langchain_agentmem.backends.sqlite.driver import SqliteDriver
from langchain_agentmem.backends.sqlite.history import SqliteMessages
from langchain_agentmem.backends.sqlite.store import SqliteItems
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.programs import Program
from langchain_agentmem.text.words import ENGLISH

T = TypeVar("T")

MAX_TIMEOUT = 86_400


class SqliteBackend(Backend):
    """Storage in one SQLite file, which threads, processes and event loops may share."""

    name = "sqlite"

    def __init__(self, driver: SqliteDriver) -> None:
        self.driver = driver
        self.messages = SqliteMessages()
        self.language = driver.language
        self.items = SqliteItems(driver.language)
        self.checkpoints = SqliteCheckpoints()

    @classmethod
    def from_url(cls, url: str) -> SqliteBackend:
        """The backend for a `sqlite:///` URL; see `langchain_agentmem.backends.connect`."""
        parts = urlsplit(url)
        path = unquote(parts.path.removeprefix("/"))
        if parts.netloc or parts.fragment or not path or not url.startswith("sqlite:///"):
            msg = (
                f"The URL {shown_url(url)!r} names no file: write sqlite:///file.db for a file in the working directory, "
                f"sqlite:////folder/file.db for an absolute path, or sqlite:///:memory:; write %23 for # and %3F for ?."
            )
            raise ConfigurationError(msg)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        timeout = options.pop("timeout", "30")
        synchronous = options.pop("synchronous", "full")
        language = options.pop("language", ENGLISH)
        if options:
            msg = (
                f"Unknown option {shown(next(iter(options)))} in the URL {shown_url(url)!r}: known: timeout, synchronous and "
                f"language."
            )
            raise ConfigurationError(msg)
        try:
            wait = float(timeout)
        except ValueError:
            wait = -1.0
        if not 0 <= wait <= MAX_TIMEOUT:
            msg = f"The option timeout must be a number of seconds from 0 to {MAX_TIMEOUT}, got {shown(timeout)}."
            raise ConfigurationError(msg)
        return cls(SqliteDriver(path, timeout=wait, synchronous=synchronous, language=language))

    @classmethod
    def from_connection(cls, connection: Any, *, language: str = ENGLISH) -> SqliteBackend:
        """Create the backend on a connection of the application, which `close` leaves open."""
        return cls(SqliteDriver.on(connection, language))

    def __repr__(self) -> str:
        return f"SqliteBackend({self.driver.given_path!r}{self.closed_mark})"

    @property
    def closed(self) -> bool:
        return self.driver.closed

    def read(self, program: Program[T]) -> T:
        return self.driver.read(program)

    async def aread(self, program: Program[T]) -> T:
        return await self.driver.submit(self.driver.read, program)

    def write(self, program: Program[T]) -> T:
        return self.driver.write(program)

    async def awrite(self, program: Program[T]) -> T:
        return await self.driver.submit(self.driver.write, program)

    def close(self) -> None:
        self.driver.close()

    async def aclose(self) -> None:
        await self.driver.aclose()
