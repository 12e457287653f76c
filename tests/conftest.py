"""What all tests share: a memory on every backend, and one way to call a method and its async twin."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent))

from servers import PostgresServer

BACKENDS = ("sqlite-file", "sqlite-memory", "postgres")
"""Every contract test runs on each of these."""

LASTING = tuple(backend for backend in BACKENDS if backend != "sqlite-memory")
"""Those whose data outlives the object that uses it."""

_numbers = itertools.count()


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return new_url(request.param, tmp_path)


@pytest.fixture(params=LASTING)
def lasting_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database that outlives the object that uses it."""
    return new_url(request.param, tmp_path)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an empty SQLite file, for what only SQLite has."""
    return new_url("sqlite-file", tmp_path)


@pytest.fixture
def postgres_url(tmp_path: Path) -> str:
    """The URL of an empty schema in Postgres, for what only Postgres has."""
    return new_url("postgres", tmp_path)


def new_url(backend: str, folder: Path) -> str:
    """The URL of another empty database of a backend."""
    if backend == "sqlite-memory":
        return "sqlite:///:memory:"
    if backend == "postgres":
        return _schemas().take()
    return f"sqlite:///{folder / f'memory-{next(_numbers)}.db'}"


class Schemas:
    """Schemas with our tables in one Postgres server, emptied and used again, which is faster than making them."""

    def __init__(self) -> None:
        given = os.environ.get("AGENTMEM_TEST_POSTGRES_URL")
        self.server = None if given else PostgresServer()
        self.base = given or self.server.url
        self._prefix = f"agentmem_test_{os.getpid()}_"
        self._made = 0
        self._free: list[str] = []
        self._taken: list[str] = []

    def take(self) -> str:
        if not self._free:
            self._made += 1
            self._free.append(f"{self._prefix}{self._made}")
        schema = self._free.pop()
        self._taken.append(schema)
        return f"{self.base}{'&' if '?' in self.base else '?'}schema={schema}"

    def release(self) -> None:
        """Empty the schemas that were taken. Whatever a test left that is not ours goes with its schema."""
        import psycopg

        if not self._taken:
            return
        with psycopg.connect(self.base, autocommit=True) as connection:
            for schema in self._taken:
                if not schema.startswith(self._prefix):
                    continue
                tables = connection.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename NOT LIKE %s",
                    (schema, "%migrations"),
                ).fetchall()
                names = {name for (name,) in tables}
                if names == TABLES:
                    every = ", ".join(f'"{schema}".{name}' for name in names - {"agentmem_schema"})
                    connection.execute(f"TRUNCATE {every} RESTART IDENTITY")
                    self._free.append(schema)
                else:
                    connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
                    connection.execute(f'CREATE SCHEMA "{schema}"')
        self._taken.clear()

    def close(self) -> None:
        if self.server is not None:
            self.server.close()


TABLES = {
    "agentmem_channel_values",
    "agentmem_elements",
    "agentmem_item_texts",
    "agentmem_item_ttls",
    "agentmem_messages",
    "agentmem_schema",
    "agentmem_sessions",
    "agentmem_threads",
    "checkpoint_blobs",
    "checkpoint_writes",
    "checkpoints",
    "store",
}

_started: list[Schemas] = []


def _schemas() -> Schemas:
    if not _started:
        _started.append(Schemas())
        atexit.register(_started[0].close)
    return _started[0]


@pytest.fixture(autouse=True)
def _empty_again() -> Iterator[None]:
    yield
    for schemas in _started:
        schemas.release()


@pytest.fixture
def memory(url: str) -> Iterator[AgentMemory]:
    """An empty memory."""
    with AgentMemory.from_url(url) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`await call(store.put, …)` calls the method, or its async twin; iterators come back as lists."""

    async def call_twin(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            result = method(*args, **kwargs)
            return list(result) if isinstance(result, Iterator) else result
        twin = getattr(method.__self__, f"a{method.__name__}")
        result = twin(*args, **kwargs)
        if hasattr(result, "__aiter__"):
            return [one async for one in result]
        return await result

    return call_twin
