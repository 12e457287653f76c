"""The Redis backend: its tables on one driver."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import urlsplit

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.credentials import Credentials
from langchain_agentmem.backends.redis.cache import RedisCache
from langchain_agentmem.backends.redis.checkpoints import RedisCheckpoints
from langchain_agentmem.backends.redis.driver import RedisDriver
from langchain_agentmem.backends.redis.history import RedisMessages
from langchain_agentmem.backends.redis.occurrences import traces
from langchain_agentmem.backends.redis.openings import RedisOpenings
from langchain_agentmem.backends.redis.options import settings_of
from langchain_agentmem.backends.redis.records import RedisRecords
from langchain_agentmem.backends.redis.rewriting import rewrite
from langchain_agentmem.backends.redis.settings import Settings
from langchain_agentmem.backends.redis.stale import RedisStaleRows
from langchain_agentmem.backends.redis.statistics import RedisStatistics
from langchain_agentmem.backends.redis.store import RedisItems
from langchain_agentmem.backends.redis.transfer import RedisTransfer
from langchain_agentmem.backends.redis.variables import RedisVariables
from langchain_agentmem.backends.rewriting import CellChange, Rewritten
from langchain_agentmem.backends.traces import TracesPage
from langchain_agentmem.programs import Program, storage_program
from langchain_agentmem.text.words import ENGLISH, check_language

T = TypeVar("T")


class RedisBackend(Backend):
    """Memory in Redis, Valkey or a Redis Cluster, shared by any number of processes."""

    name = "redis"

    def __init__(self, driver: RedisDriver) -> None:
        self.driver = driver
        self.messages = self._messages = RedisMessages()
        self.language = driver.settings.language
        self.items = self._items = RedisItems()
        self.checkpoints = self._checkpoints = RedisCheckpoints()
        self.records = self._records = RedisRecords()
        self.variables = RedisVariables()
        self.openings = RedisOpenings()
        self.cache = RedisCache()
        self.stale = RedisStaleRows()
        self.statistics = RedisStatistics(
            *(self.messages, self.items, self.checkpoints, self.records, self.variables, self.cache)
        )
        self.transfer = RedisTransfer(self._items)

    @classmethod
    def from_url(cls, url: str, credentials: Credentials | None = None) -> RedisBackend:
        """Return the backend for a URL. See `langchain_agentmem.backends.connect`."""
        return cls(RedisDriver(settings_of(url)._replace(credentials=credentials)))

    @classmethod
    def from_connection(cls, client: Any, *, allow_eviction: bool = False, language: str = ENGLISH) -> RedisBackend:
        """Return the backend on a client of the application, which stays open when the backend is closed."""
        settings = Settings(allow_eviction=allow_eviction, language=check_language(language))
        return cls(RedisDriver(settings, client))

    def __repr__(self) -> str:
        if self.driver.client is not None:
            return f"RedisBackend({type(self.driver.client).__name__}{self.closed_mark})"
        settings = self.driver.settings
        if settings.kind == "sentinel":
            return f"RedisBackend({settings.service!r}{self.closed_mark})"
        parts = urlsplit(settings.url)
        return f"RedisBackend({parts.netloc.rpartition('@')[2] + parts.path!r}{self.closed_mark})"

    def never_create(self) -> None:
        self.driver.creates = False

    @storage_program
    def purge(self, tenant: str, user_id: str, root: str, now: float) -> Program[None]:
        yield from self._messages.purge(tenant, user_id, now)
        yield from self._records.purge(tenant, user_id, now)
        yield from self._checkpoints.purge(tenant, user_id, now)
        yield from self._items.purge(tenant, root, now)

    def traces(self, tenant: str, user_id: str, root: str, after: Any) -> Program[TracesPage]:
        return traces(tenant, user_id, root, after)

    def rewrite(self, change: CellChange, after: Any) -> Program[Rewritten]:
        return rewrite(change, after)

    @property
    def closed(self) -> bool:
        return self.driver.closed

    def read(self, program: Program[T]) -> T:
        return self.driver.run(program)

    async def aread(self, program: Program[T]) -> T:
        return await self.driver.arun(program)

    def write(self, program: Program[T]) -> T:
        return self.driver.run(program, writes=True)

    async def awrite(self, program: Program[T]) -> T:
        return await self.driver.arun(program, writes=True)

    def close(self) -> None:
        self.driver.close()

    async def aclose(self) -> None:
        await self.driver.aclose()
