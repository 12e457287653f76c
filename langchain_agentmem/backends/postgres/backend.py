"""The Postgres backend: its tables on one driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.postgres.checkpoints import PostgresCheckpoints
from langchain_agentmem.backends.postgres.driver import PostgresDriver, Settings
from langchain_agentmem.backends.postgres.history import PostgresMessages
from langchain_agentmem.backends.postgres.store import PostgresItems, vector_settings
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.program import Program

T = TypeVar("T")


class PostgresBackend(Backend):
    """Memory in one Postgres database, beside LangGraph's own tables."""

    name = "postgres"

    def __init__(self, driver: PostgresDriver) -> None:
        self.driver = driver
        schema = driver.settings.schema
        self.language = driver.settings.language
        self.messages = PostgresMessages(schema)
        self.items = self._items = PostgresItems(schema)
        self.checkpoints = PostgresCheckpoints(schema)

    @classmethod
    def from_url(cls, url: str) -> PostgresBackend:
        """The backend for a `postgresql://` URL; see `langchain_agentmem.backends.connect`."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        settings = _settings(options)
        # What is left are options of the driver, such as sslmode.
        conninfo = urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(options, quote_via=quote), ""))
        return cls(PostgresDriver(settings._replace(conninfo=conninfo)))

    @classmethod
    def from_connection(cls, connection: Any, **options: str) -> PostgresBackend:
        """The backend on the application's own pool or connection, which stays open on `close`."""
        return cls(PostgresDriver(_settings(dict(options)), connection))

    def use_vectors(self, config: Mapping[str, Any]) -> None:
        self._items.use_vectors(vector_settings(config))

    def __repr__(self) -> str:
        parts = urlsplit(self.driver.settings.conninfo)
        place = f"{parts.hostname or ''}{parts.path}" if self.driver.given is None else type(self.driver.given).__name__
        schema = self.driver.settings.schema
        return f"PostgresBackend({place!r})" if schema is None else f"PostgresBackend({place!r}, schema={schema!r})"

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


def _settings(options: dict[str, str]) -> Settings:
    """Takes our own options out of those of a URL."""
    schema = options.pop("schema", None)
    language = options.pop("language", "english")
    size = options.pop("pool_size", "10")
    timeout = options.pop("timeout", "30")
    prepare = options.pop("prepare", "false")
    if schema is not None and (not schema or "\x00" in schema or len(schema.encode()) > 63):
        msg = f"The option schema must be a name of 1 to 63 bytes, got {schema!r:.100}."
        raise ConfigurationError(msg)
    if not size.isdecimal() or not 1 <= int(size) <= 1000:
        msg = f"The option pool_size must be a number of connections from 1 to 1000, got {size!r}."
        raise ConfigurationError(msg)
    try:
        seconds = float(timeout)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 86_400:
        msg = f"The option timeout must be a number of seconds up to 86400, got {timeout!r}."
        raise ConfigurationError(msg)
    if prepare not in ("true", "false"):
        msg = f"The option prepare must be true or false, got {prepare!r}."
        raise ConfigurationError(msg)
    return Settings("", schema, language, int(size), seconds, prepare == "true")
