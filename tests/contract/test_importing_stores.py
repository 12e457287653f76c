"""Items of LangGraph's stores, imported into each backend."""

from __future__ import annotations

import random
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.postgres.aio import AsyncPostgresStore
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore
from psycopg_pool import ConnectionPool

from langchain_agentmem import AgentMemory, AgentMemStore
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

ITEMS: dict[tuple[tuple[str, ...], str], dict[str, Any]] = {
    (("docs",), "a"): {"text": "Malta is an island", "n": 1},
    (("docs",), "b/%_é"): {"text": "𝔘nicode \u0000", "nested": {"list": [1, 2.5, None, True]}},
    (("docs", "alice"), "a"): {"text": "Alice likes tea"},
    (("docsx",), "a"): {"text": "Another root"},
    (("do%s", "al_ce"), "k"): {"text": "Labels are no patterns"},
}
PLAIN = {key: {**value, "text": value["text"].replace("\u0000", "-")} for key, value in ITEMS.items()}
"""Postgres stores no NUL."""


def fill(store: Any, items: dict[Any, Any] = PLAIN) -> None:
    for (namespace, key), value in items.items():
        store.put(namespace, key, value)


async def holds(memory: AgentMemory, call: Any, source: Any, items: dict[Any, Any] = PLAIN) -> None:
    """The items with the times that they have in the source."""
    for (namespace, key), value in items.items():
        item = await call(memory.store.get, namespace, key)
        assert item.value == value
        before = source.get(namespace, key)
        assert (item.created_at, item.updated_at) == (before.created_at, before.updated_at)
    assert (await call(memory.stats)).entries["items"] == len(items)


async def imports_once(memory: AgentMemory, call: Any, source: Any, count: int = len(PLAIN), **options: Any) -> None:
    done = await call(memory.import_from, source, **options)
    assert dict(done.counts) == {"items": count}
    again = await call(memory.import_from, source, **options)
    assert (dict(again.counts), dict(again.unchanged)) == ({}, {"items": count})


async def test_an_in_memory_store(memory, call):
    store = InMemoryStore()
    fill(store, ITEMS)
    await imports_once(memory, call, store, len(ITEMS))
    await holds(memory, call, store, ITEMS)
    (found, *_) = await call(memory.store.search, ("docs",), query="an island")
    assert found.key == "a"


def sqlite_store(path: Path) -> None:
    with SqliteStore.from_conn_string(str(path)) as store:
        store.setup()
        fill(store)
        store.put(("ttl",), "later", {"n": 1}, ttl=90)
        store.put(("ttl",), "gone", {"n": 2}, ttl=90)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE store SET created_at = '2024-05-17 12:00:00', updated_at = '2024-05-18 12:00:00'")
        connection.execute("UPDATE store SET expires_at = '2024-05-18 13:30:00' WHERE key = 'gone'")
    connection.close()


async def has_ttls(memory: AgentMemory, call: Any, done: Any) -> None:
    """The TTL of 90 minutes came along; what has expired did not come."""
    assert (done.counts["items"], done.expired["items"]) == (len(PLAIN) + 1, 1)
    assert await call(memory.store.get, ("ttl",), "gone") is None
    item = await call(memory.store.get, ("ttl",), "later", refresh_ttl=False)
    assert item.value == {"n": 1}
    assert (await call(memory.stats)).expiries["all_items"]["day"] == 1


async def test_a_sqlite_store(memory, call, tmp_path):
    sqlite_store(tmp_path / "old.db")
    with SqliteStore.from_conn_string(str(tmp_path / "old.db")) as store:
        await has_ttls(memory, call, await call(memory.import_from, store))
        again = await call(memory.import_from, store)
        assert again.unchanged["items"] == len(PLAIN) + 1
    item = await call(memory.store.get, ("docs",), "a")
    assert (item.created_at, item.updated_at) == (
        datetime(2024, 5, 17, 12, tzinfo=UTC),
        datetime(2024, 5, 18, 12, tzinfo=UTC),
    )


@pytest.mark.parametrize("scheme", ["", "sqlite:///"])
async def test_the_file_of_a_sqlite_store(memory, call, tmp_path, scheme):
    sqlite_store(tmp_path / "old.db")
    before = (tmp_path / "old.db").read_bytes()
    await has_ttls(memory, call, await call(memory.import_from, f"{scheme}{tmp_path / 'old.db'}", format="store"))
    assert (tmp_path / "old.db").read_bytes() == before


async def test_an_asynchronous_sqlite_store(sqlite_memory, tmp_path):
    sqlite_store(tmp_path / "old.db")
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "old.db")) as store:
        with pytest.raises(InvalidTypeError, match="AsyncSqliteStore is asynchronous"):
            sqlite_memory.import_from(store)
        done = await sqlite_memory.aimport_from(store)
    assert done.counts["items"] == len(PLAIN) + 1


def postgres_store(url: str) -> None:
    with PostgresStore.from_conn_string(url) as store:
        store.setup()
        fill(store)
        store.put(("ttl",), "later", {"n": 1}, ttl=90)
        store.put(("ttl",), "gone", {"n": 2}, ttl=90)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE store SET expires_at = now() - interval '1 hour' WHERE key = 'gone'")


async def test_a_postgres_store(memory, call, postgres_database):
    postgres_store(postgres_database)
    with PostgresStore.from_conn_string(postgres_database) as store:
        await has_ttls(memory, call, await call(memory.import_from, store))
        for namespace, key in PLAIN:
            item, before = await call(memory.store.get, namespace, key), store.get(namespace, key)
            assert (item.value, item.created_at, item.updated_at) == (
                before.value,
                before.created_at,
                before.updated_at,
            )


@pytest.mark.parametrize("kind", ["url", "pool"])
async def test_the_database_of_a_postgres_store(memory, call, postgres_database, kind):
    postgres_store(postgres_database)
    if kind == "url":
        await has_ttls(memory, call, await call(memory.import_from, postgres_database, format="store"))
    else:
        with ConnectionPool(postgres_database, min_size=1, max_size=1) as pool:
            await has_ttls(memory, call, await call(memory.import_from, PostgresStore(pool)))


async def test_an_asynchronous_postgres_store(sqlite_memory, postgres_database):
    postgres_store(postgres_database)
    async with AsyncPostgresStore.from_conn_string(postgres_database) as store:
        done = await sqlite_memory.aimport_from(store)
    assert done.counts["items"] == len(PLAIN) + 1


async def test_a_store_of_this_package(memory, call, tmp_path):
    with AgentMemStore.from_url(f"sqlite:///{tmp_path / 'old.db'}") as store:
        fill(store, ITEMS)
        await imports_once(memory, call, store, len(ITEMS))
        await holds(memory, call, store, ITEMS)


async def test_a_memory_under_a_key(lasting_url, call):
    store = InMemoryStore()
    fill(store, ITEMS)
    with AgentMemory.from_url(lasting_url, key=bytes(range(32))) as memory:
        await imports_once(memory, call, store, len(ITEMS))
        await holds(memory, call, store, ITEMS)


async def test_imported_items_are_found_by_meaning(url, call):
    store = InMemoryStore()
    fill(store, ITEMS)
    with AgentMemory.from_url(url, embeddings=DeterministicFakeEmbedding(size=8)) as memory:
        await call(memory.import_from, store)
        assert (await call(memory.reindex)).items == 0


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_namespace_of_a_store(memory, call, tmp_path, kind):
    path = tmp_path / "old.db"
    with SqliteStore.from_conn_string(str(path)) as store:
        store.setup()
        source = InMemoryStore() if kind == "memory" else store
        fill(source)
        await imports_once(memory, call, source, 3, namespace=("docs",))
        assert await call(memory.store.get, ("docsx",), "a") is None


class Shuffling(InMemoryStore):
    """A store that orders items of one moment differently in each search."""

    def search(self, namespace_prefix: Any, /, *, limit: int = 10, offset: int = 0, **more: Any) -> Any:
        found = super().search(namespace_prefix, limit=10**6)
        random.Random(offset + limit).shuffle(found)
        return found[offset : offset + limit]


@pytest.mark.parametrize("kind", [InMemoryStore, Shuffling])
async def test_every_item_of_a_large_namespace_comes(sqlite_memory, kind):
    store = kind()
    for number in range(1_300):
        store.put(("many",), str(number), {"n": number})
    for number in range(3):
        store.put(("many", "below"), str(number), {"n": number})
    done = sqlite_memory.import_from(store)
    assert done.counts["items"] == 1_303
    found = sqlite_memory.store.search(("many",), limit=2_000)
    assert sorted(item.value["n"] for item in found if item.namespace == ("many",)) == [*range(1_300)]


async def test_an_item_that_is_stored_with_another_value(memory, call):
    store = InMemoryStore()
    fill(store)
    await call(memory.store.put, ("docsx",), "a", {"text": "mine"})
    with pytest.raises(InvalidInputError, match=r"Item 'a' in \('docsx',\) is stored already, and differs"):
        await call(memory.import_from, store)
    assert await call(memory.store.get, ("docs",), "a") is None
    done = await call(memory.import_from, store, existing="keep")
    assert (done.counts["items"], done.kept["items"]) == (len(PLAIN) - 1, 1)
    assert (await call(memory.store.get, ("docsx",), "a")).value == {"text": "mine"}
    done = await call(memory.import_from, store, existing="replace")
    assert (done.counts["items"], done.unchanged["items"]) == (1, len(PLAIN) - 1)
    await holds(memory, call, store)


@pytest.mark.parametrize("value", [{"n": {1, 2}}, {"n": float("nan")}, {1: "a"}])
async def test_a_value_that_is_no_json_is_named(memory, call, value):
    store = InMemoryStore()
    fill(store)
    store.put(("z",), "bad", value)
    with pytest.raises(
        InvalidInputError, match=r"Could not import item 'bad' of namespace \('z',\) in the InMemoryStore"
    ):
        await call(memory.import_from, store)
    assert (await call(memory.stats)).entries["items"] == 0


async def test_a_damaged_item_is_named(sqlite_memory, tmp_path):
    sqlite_store(tmp_path / "old.db")
    with sqlite3.connect(tmp_path / "old.db") as connection:
        connection.execute("UPDATE store SET value = '{' WHERE prefix = 'docsx'")
    connection.close()
    with pytest.raises(InvalidInputError, match=r"Could not import item 'a' of namespace \('docsx',\)"):
        sqlite_memory.import_from(tmp_path / "old.db", format="store")


async def test_a_file_that_is_no_store(sqlite_memory, tmp_path):
    with pytest.raises(InvalidInputError, match="there is no such file"):
        sqlite_memory.import_from(tmp_path / "missing.db", format="store")
    assert not (tmp_path / "missing.db").exists()
    (tmp_path / "other.db").write_bytes(b"")
    with pytest.raises(InvalidInputError, match="no such table: store"):
        sqlite_memory.import_from(tmp_path / "other.db", format="store")
