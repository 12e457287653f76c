"""Large calls while Postgres expects empty tables: it analyzed them in the middle of the first large write."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from langgraph.store.base import GetOp, PutOp

from langchain_agentmem import AgentMemory

MANY = 30_000
PLACE = ("many", "items")


@pytest.fixture
def memory(postgres_database: str) -> Any:
    """A memory whose tables seem to be empty, and are not analyzed again."""
    with AgentMemory.from_url(postgres_database) as memory:
        memory.store.put(PLACE, "first", {"text": "tea"}, index=["text"], ttl=1)
        memory.store.delete(PLACE, "first")
        with psycopg.connect(postgres_database, autocommit=True) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (table,) in tables:
                connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
                connection.execute(f"VACUUM ANALYZE {table}")
        yield memory


@pytest.mark.exhaustive
@pytest.mark.parametrize("words", [False, True])
def test_large_calls_take_time_in_proportion_to_their_items(memory, words):
    store = memory.store
    puts = [
        PutOp(PLACE, str(at), {"n": at, "text": "tea"}, index=["text"] if words else False, ttl=60)
        for at in range(MANY)
    ]
    store.batch(puts)
    store.batch(puts)
    found = store.batch([GetOp(PLACE, str(at)) for at in range(MANY)])
    assert [item.value["n"] for item in found] == list(range(MANY))
    store.batch([PutOp(PLACE, str(at), None) for at in range(MANY)])
    assert store.search(PLACE) == []
