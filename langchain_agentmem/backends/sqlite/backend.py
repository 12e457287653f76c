"""The SQLite backend: its tables on one driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.rewriting import CellChange, Rewritten
from langchain_agentmem.backends.sqlite.cache import SqliteCache
from langchain_agentmem.backends.sqlite.checkpoints import SqliteCheckpoints
from langchain_agentmem.backends.sqlite.driver import SqliteDriver
from langchain_agentmem.backends.sqlite.history import SqliteMessages
from langchain_agentmem.backends.sqlite.occurrences import traces
from langchain_agentmem.backends.sqlite.openings import SqliteOpenings
from langchain_agentmem.backends.sqlite.options import split_url
from langchain_agentmem.backends.sqlite.records import SqliteRecords
from langchain_agentmem.backends.sqlite.rewriting import rewrite
from langchain_agentmem.backends.sqlite.stale import SqliteStaleRows
from langchain_agentmem.backends.sqlite.statistics import SqliteStatistics
from langchain_agentmem.backends.sqlite.store import SqliteItems
from langchain_agentmem.backends.sqlite.traces import Purge
from langchain_agentmem.backends.sqlite.transfer import SqliteTransfer
from langchain_agentmem.backends.sqlite.variables import SqliteVariables
from langchain_agentmem.backends.traces import TracesPage
from langchain_agentmem.programs import Program
from langchain_agentmem.text.words import ENGLISH

T = TypeVar("T")


class SqliteBackend(Backend):
    """Storage in one SQLite file, which threads, processes and event loops may share."""

    name = "sqlite"

    def __init__(self, driver: SqliteDriver) -> None:
        self.driver = driver
        self.messages = SqliteMessages()
        self.language = driver.language
        self.items = SqliteItems()
        self.checkpoints = SqliteCheckpoints()
        self.records = SqliteRecords()
        self.variables = SqliteVariables()
        self.openings = SqliteOpenings()
        self.cache = SqliteCache()
        self.stale = SqliteStaleRows()
        self.statistics = SqliteStatistics()
        self.transfer = SqliteTransfer()

    @classmethod
    def from_url(cls, url: str) -> SqliteBackend:
        """The backend for a `sqlite:///` URL; see `langchain_agentmem.backends.connect`."""
        path, options = split_url(url)
        return cls(SqliteDriver(path, **options.model_dump()))

    @classmethod
    def from_connection(cls, connection: Any, *, language: str = ENGLISH) -> SqliteBackend:
        """Create the backend on a connection of the application. `close` does not close the connection."""
        return cls(SqliteDriver.on(connection, language))

    def __repr__(self) -> str:
        return f"SqliteBackend({self.driver.given_path!r}{self.closed_mark})"

    def index_fields(self, fields: Sequence[str]) -> None:
        self.driver.indexed_fields = tuple(fields)
        self.items = SqliteItems(fields)

    def never_create(self) -> None:
        self.driver.creates = False

    def purge(self, tenant: str, user_id: str, root: str, now: float) -> Program[None]:  # noqa: ARG002
        yield from Purge()

    def traces(self, tenant: str, user_id: str, root: str, after: Any) -> Program[TracesPage]:  # noqa: ARG002
        return traces(user_id, after)

    def rewrite(self, change: CellChange, after: Any) -> Program[Rewritten]:
        return rewrite(change, after)

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
        return await self.driver.awrite(program)

    def close(self) -> None:
        self.driver.close()

    async def aclose(self) -> None:
        await self.driver.aclose()
