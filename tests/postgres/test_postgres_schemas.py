"""Memories in several schemas of one database are apart, whichever was made first, and whatever the search path finds."""

from __future__ import annotations

import itertools
from typing import Any

import psycopg
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.store.postgres import PostgresStore

from langchain_agentmem import AgentMemory, Reindexed
from langchain_agentmem.backends.postgres import migrating

NS = ("facts",)
CONFIG: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
PAIRS = [*itertools.permutations(("public", "own"), 2), ("own", "own2"), ("path", "public"), ("public", "path")]
"""The schemas of two memories, in the order in which they are made; `path` is made from the connection's search path."""


def url_of(database: str, schema: str) -> str:
    separator = "&" if "?" in database else "?"
    if schema == "path":
        return f"{database}{separator}options=-csearch_path%3Dpath%2Cpublic"
    return database if schema == "public" else f"{database}{separator}schema={schema}"


def opened(database: str, schema: str, dimensions: int | None) -> AgentMemory:
    embeddings = DeterministicFakeEmbedding(size=dimensions) if dimensions else None
    return AgentMemory.from_url(url_of(database, schema), embeddings=embeddings)


def contents(database: str, schema: str) -> dict[str, Any]:
    """All rows of a schema's tables, and the definitions of its indexes."""
    with psycopg.connect(database) as connection:
        tables = connection.execute(
            "SELECT format('%%I.%%I', table_schema, table_name) FROM information_schema.tables WHERE table_schema = %s",
            (schema,),
        ).fetchall()
        found: dict[str, Any] = {
            table: sorted(map(str, connection.execute(f"SELECT * FROM {table}").fetchall())) for (table,) in tables
        }
        found["indexes"] = sorted(
            connection.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = %s", (schema,)).fetchall()
        )
    return found


async def fill(memory: AgentMemory, call: Any, words: str) -> None:
    await call(memory.store.put, NS, "k", {"text": f"{words} tea"}, ["text"])
    await call(memory.store.put, NS, "l", {"text": f"{words} bread"}, ["text"])
    await call(memory.history("s").add_messages, [HumanMessage(f"{words} milk")])
    await call(memory.checkpointer.put, CONFIG, empty_checkpoint(), {"source": "input", "step": 0}, {})


async def check(memory: AgentMemory, call: Any, words: str, *, embedded: bool) -> None:
    texts = {item.key: item.value["text"] for item in await call(memory.store.search, NS)}
    assert texts == {"k": f"{words} tea", "l": f"{words} bread"}
    for key, text in texts.items():
        best = (await call(memory.store.search, NS, query=text))[0]
        assert best.key == key
        assert not embedded or best.similarity == pytest.approx(1.0, abs=1e-5)
    (found,) = await call(memory.history("s").search, f"{words} milk")
    assert found.message.content == f"{words} milk"
    assert not embedded or found.score > 0.9
    assert await call(memory.checkpointer.get_tuple, CONFIG) is not None


@pytest.mark.parametrize("order", PAIRS, ids="-".join)
@pytest.mark.parametrize("dimensions", [(16, 8), (None, 8), (16, None)])
async def test_memories_in_two_schemas_never_meet(postgres_database, call, order, dimensions):
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE SCHEMA path")
    first, second = (opened(postgres_database, schema, size) for schema, size in zip(order, dimensions, strict=True))
    await fill(first, call, "first")
    before = contents(postgres_database, order[0])
    await fill(second, call, "second")
    await call(second.store.put, NS, "gone", {"text": "short"})
    await call(second.store.delete, NS, "gone")
    if dimensions[1]:
        assert await call(second.reindex) == Reindexed()
        # Another model: all vectors are deleted, and the column and its index are made again.
        changed = AgentMemory(second.backend, embeddings=DeterministicFakeEmbedding(size=24))
        assert await call(changed.reindex) == Reindexed(items=2, messages=1)
        await check(changed, call, "second", embedded=True)
    else:
        await check(second, call, "second", embedded=False)
    assert contents(postgres_database, order[0]) == before
    await check(first, call, "first", embedded=dimensions[0] is not None)
    after = contents(postgres_database, order[1])
    await fill(first, call, "changed")
    if dimensions[0]:
        await call(AgentMemory(first.backend, embeddings=DeterministicFakeEmbedding(size=32)).reindex)
    assert contents(postgres_database, order[1]) == after
    for memory in (first, second):
        await call(memory.close)


async def test_langgraphs_tables_in_another_schema_are_not_used(postgres_database, call):
    with AgentMemory.from_url(postgres_database) as memory:
        await fill(memory, call, "public")
        await call(memory.close)
    with psycopg.connect(postgres_database) as connection:
        for (table,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename ~ '^agentmem'"
        ).fetchall():
            connection.execute(f"DROP TABLE {table} CASCADE")
    before = contents(postgres_database, "public")
    with AgentMemory.from_url(
        url_of(postgres_database, "own"), embeddings=DeterministicFakeEmbedding(size=8)
    ) as memory:
        assert await call(memory.store.search, NS) == []
        assert await call(memory.checkpointer.get_tuple, CONFIG) is None
        await fill(memory, call, "own")
        await check(memory, call, "own", embedded=True)
        await call(memory.close)
    assert contents(postgres_database, "public") == before


async def test_vectors_of_langgraphs_store_that_are_made_later_are_used(postgres_database, call):
    """The table of vectors of the own schema may be made by LangGraph's store after the tables of a memory."""
    embeddings = DeterministicFakeEmbedding(size=8)
    with opened(postgres_database, "own", None) as memory:
        await call(memory.store.put, NS, "k", {"text": "tea"})
        with PostgresStore.from_conn_string(
            url_of(postgres_database, "public")
            + ("&" if "?" in postgres_database else "?")
            + "options=-csearch_path%3Down%2Cpublic",
            index={"dims": 8, "embed": embeddings, "fields": ["text"]},
        ) as store:
            store.setup()
            store.put(NS, "theirs", {"text": "bread"})
        await call(memory.store.put, NS, "l", {"text": "milk"})
        embedding = AgentMemory(memory.backend, embeddings=embeddings)
        assert (await call(embedding.store.search, NS, query="bread"))[0].key == "theirs"
        await call(memory.close)


async def test_functions_of_version_3_that_looked_on_the_whole_search_path_are_mended(
    postgres_database, call, monkeypatch
):
    with opened(postgres_database, "public", 16) as public:
        await fill(public, call, "public")
        await call(public.close)
    before = contents(postgres_database, "public")
    with monkeypatch.context() as patched, opened(postgres_database, "own", None) as old:
        patched.setattr(migrating, "VERSION", 3)
        assert old.history("s").count() == 0
    with psycopg.connect(postgres_database) as connection:
        for (function,) in connection.execute(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'own'::regnamespace "
            "AND proconfig::text LIKE '%search_path=%'"
        ).fetchall():
            connection.execute(f"ALTER FUNCTION {function} SET search_path = own, public")
    with opened(postgres_database, "own", 8) as own:
        await fill(own, call, "own")
        await check(own, call, "own", embedded=True)
        changed = AgentMemory(own.backend, embeddings=DeterministicFakeEmbedding(size=24))
        assert await call(changed.reindex) == Reindexed(items=2, messages=1)
        await call(own.close)
    assert contents(postgres_database, "public") == before
