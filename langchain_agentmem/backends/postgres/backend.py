"""The Postgres backend: its tables on one driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.credentials import Credentials
from langchain_agentmem.backends.postgres.cache import PostgresCache
from langchain_agentmem.backends.postgres.checkpoints import PostgresCheckpoints
from langchain_agentmem.backends.postgres.conninfo import connection_settings, url_of_conninfo
from langchain_agentmem.backends.postgres.driver import PostgresDriver
from langchain_agentmem.backends.postgres.history import PostgresMessages
from langchain_agentmem.backends.postgres.occurrences import traces
from langchain_agentmem.backends.postgres.openings import PostgresOpenings
from langchain_agentmem.backends.postgres.options import settings_of
from langchain_agentmem.backends.postgres.records import PostgresRecords
from langchain_agentmem.backends.postgres.rewriting import rewrite
from langchain_agentmem.backends.postgres.stale import PostgresStaleRows
from langchain_agentmem.backends.postgres.statements import statements
from langchain_agentmem.backends.postgres.statistics import PostgresStatistics
from langchain_agentmem.backends.postgres.store import PostgresItems, vector_settings
from langchain_agentmem.backends.postgres.transfer import PostgresTransfer
from langchain_agentmem.backends.postgres.variables import PostgresVariables
from langchain_agentmem.backends.rewriting import CellChange, Rewritten
from langchain_agentmem.backends.traces import TracesPage
from langchain_agentmem.programs import Program

T = TypeVar("T")


class PostgresBackend(Backend):
    """Memory in one Postgres database. Items and checkpoints are in LangGraph's tables."""

    name = "postgres"

    def __init__(self, driver: PostgresDriver) -> None:
        self.driver = driver
        schema = driver.settings.schema
        self.language = driver.settings.language
        self.messages = PostgresMessages(schema)
        self.items = self._items = PostgresItems(schema)
        self.checkpoints = PostgresCheckpoints(schema)
        self.records = PostgresRecords(schema)
        self.variables = PostgresVariables(schema)
        self.openings = PostgresOpenings(schema)
        self.cache = PostgresCache(schema)
        self.stale = PostgresStaleRows(schema)
        self.statistics = PostgresStatistics(schema)
        self.transfer = PostgresTransfer(schema, self._items)
        self._occurrences = statements("occurrences.sql", schema)

    @classmethod
    def from_url(cls, url: str, credentials: Credentials | None = None) -> PostgresBackend:
        """Create the backend for a `postgresql://` URL; see `langchain_agentmem.backends.connect`."""
        return cls(PostgresDriver(connection_settings(url)._replace(credentials=credentials)))

    @staticmethod
    def url_of(conninfo: str) -> str:
        """Return the URL for a connection string of libpq, such as `"host=localhost dbname=app"`.

        Raises:
            ConfigurationError: libpq cannot parse it.
        """
        return url_of_conninfo(conninfo)

    @classmethod
    def from_connection(cls, connection: Any, **options: str) -> PostgresBackend:
        """Create the backend on a pool or connection of the application, which stays open after `close`."""
        return cls(PostgresDriver(settings_of(options), connection))

    def index_fields(self, fields: Sequence[str]) -> None:
        self.driver.indexed_fields = tuple(fields)
        self._items.index_fields(fields)

    def never_create(self) -> None:
        self.driver.creates = False

    def use_vectors(self, config: Mapping[str, Any]) -> None:
        self._items.use_vectors(vector_settings(config))

    def __repr__(self) -> str:
        database = self.driver.settings.database if self.driver.given is None else type(self.driver.given).__name__
        schema = self.driver.settings.schema
        shown = repr(database) if schema is None else f"{database!r}, schema={schema!r}"
        return f"PostgresBackend({shown}{self.closed_mark})"

    def traces(self, tenant: str, user_id: str, root: str, after: Any) -> Program[TracesPage]:  # noqa: ARG002
        return traces(self.driver.settings.schema, self._occurrences["columns"], tenant, user_id, after)

    def rewrite(self, change: CellChange, after: Any) -> Program[Rewritten]:
        return rewrite(self.driver.settings.schema, change, after)

    @property
    def closed(self) -> bool:
        return self.driver.closed

    def read(self, program: Program[T]) -> T:
        return self.driver.read(program)

    async def aread(self, program: Program[T]) -> T:
        return await self.driver.aread(program)

    def write(self, program: Program[T]) -> T:
        return self.driver.write(program)

    async def awrite(self, program: Program[T]) -> T:
        return await self.driver.awrite(program)

    def close(self) -> None:
        self.driver.close()

    async def aclose(self) -> None:
        await self.driver.aclose()
