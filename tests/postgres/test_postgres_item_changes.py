"""The items that a process keeps in memory for searches: what other writers and transactions do to them."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from counting import Costs
from langgraph.store.base import PutOp

import langchain_agentmem.backends.postgres.store as items
from langchain_agentmem import AgentMemory

NS = ("notes", "alice")


def keys(found: Any) -> list[str]:
    return [item.key for item in found]


@pytest.fixture
def memory(postgres_database: str) -> Any:
    with AgentMemory.from_url(postgres_database) as memory:
        memory.store.batch([PutOp(NS, f"k{at}", {"text": f"tea {at}"}) for at in range(4)])
        yield memory


def test_uncommitted_changes_that_are_rolled_back_leave_no_trace(memory, postgres_database):
    with psycopg.connect(postgres_database) as connection, AgentMemory.from_connection(connection) as given:
        assert sorted(keys(given.store.search(NS, query="tea"))) == ["k0", "k1", "k2", "k3"]
        connection.commit()
        connection.execute("SELECT 1")  # begins a transaction
        given.store.delete(NS, "k0")
        given.store.put(NS, "new", {"text": "tea"})
        assert sorted(keys(given.store.search(NS, query="tea"))) == ["k1", "k2", "k3", "new"]
        connection.rollback()
        assert sorted(keys(given.store.search(NS, query="tea"))) == ["k0", "k1", "k2", "k3"]


def test_a_transaction_that_commits_late_is_seen(memory, postgres_database):
    with psycopg.connect(postgres_database) as connection, AgentMemory.from_connection(connection) as given:
        connection.execute("SELECT 1")
        given.store.put(NS, "late", {"text": "tea"})
        given.store.delete(NS, "k1")
        memory.store.put(NS, "early", {"text": "tea"})
        assert sorted(keys(memory.store.search(NS, query="tea"))) == ["early", "k0", "k1", "k2", "k3"]
        connection.commit()
        assert sorted(keys(memory.store.search(NS, query="tea"))) == ["early", "k0", "k2", "k3", "late"]


def test_notes_of_deletions_contain_no_names(memory, postgres_database):
    memory.store.delete(NS, "k1")
    memory.store.put(NS, "k2", {"text": "tea"}, index=False)
    memory.store.put(NS, "k3", {"text": "tea and milk"})
    with psycopg.connect(postgres_database) as connection:
        rows = connection.execute("SELECT place FROM agentmem_item_deletions").fetchall()
    assert [len(place) for (place,) in rows] == [8, 8]  # the third item is found as before


def test_a_reader_of_the_day_before_reads_everything(memory):
    table, backend = memory.backend.items, memory.backend
    first = backend.read(table.changes("default", NS, None, None, time.time()))
    again = backend.read(table.changes("default", NS, None, first.cursor, time.time()))
    assert (again.is_whole, len(again.texts)) == (False, 0)
    old = first.cursor._replace(read_at=first.cursor.read_at - 50_000)
    assert backend.read(table.changes("default", NS, None, old, time.time())).is_whole


def test_many_deletions_are_read_as_everything(memory, postgres_database):
    table, backend = memory.backend.items, memory.backend
    first = backend.read(table.changes("default", NS, None, None, time.time()))
    with psycopg.connect(postgres_database) as connection:
        connection.execute(
            "INSERT INTO agentmem_item_deletions (place) SELECT int8send(n) FROM generate_series(1, 20000) AS n"
        )
    found = backend.read(table.changes("default", NS, None, first.cursor, time.time()))
    assert (found.is_whole, len(found.texts), len(found.gone)) == (True, 4, 0)


def test_texts_of_an_earlier_version_are_ranked_by_the_same_words(memory, postgres_database):
    memory.store.put(NS, "phrase", {"text": "the red cat's hat, a cat"})
    memory.store.put(NS, "other", {"text": "hat of a red cat, cat"})
    expected = [(item.key, item.score) for item in memory.store.search(NS, query="red cat hat")]
    with psycopg.connect(postgres_database) as connection:
        connection.execute("UPDATE agentmem_item_texts SET numbers = NULL")
    with AgentMemory.from_url(postgres_database) as later:
        assert [(item.key, item.score) for item in later.store.search(NS, query="red cat hat")] == expected
    assert keys(memory.store.search(NS, query="red cat hat"))[0] == "phrase"


def test_below_a_root_with_too_many_items_each_namespace_is_kept(memory, postgres_database, monkeypatch):
    expected = [(item.key, item.score) for item in memory.store.search(NS, query="tea 2")]
    memory.store.batch([PutOp(("notes", f"user{at}"), "k", {"text": f"tea {at}"}) for at in range(9)])
    monkeypatch.setattr(items, "MOST_KEPT", 8)
    with AgentMemory.from_url(postgres_database) as other:
        assert [(item.key, item.score) for item in other.store.search(NS, query="tea 2")] == expected
        assert len(other.store.search(("notes",), query="tea", limit=50)) == 13
        assert len(other.store.search((), query="tea", limit=50)) == 13
        other.store.put(NS, "new", {"text": "tea 2"})
        assert len(other.store.search(NS, query="tea 2")) == 5


def test_an_expired_item_whose_ttl_restarts_is_found(memory, postgres_database):
    memory.store.put(NS, "tea", {"text": "green tea"}, ttl=10)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("UPDATE store SET expires_at = now() - interval '1 second' WHERE key = 'tea'")
        assert keys(memory.store.search(NS, query="green")) == []
        connection.execute("UPDATE store SET expires_at = now() + interval '1 hour' WHERE key = 'tea'")
    assert keys(memory.store.search(NS, query="green")) == ["tea"]


def test_transaction_ids_of_another_server_are_no_changes(memory, postgres_database, monkeypatch):
    memory.history("s", user_id="alice").add_messages([("human", "tea")])
    costs = Costs(memory, monkeypatch)

    def search() -> int:
        costs.reset()
        assert len(memory.store.search(NS, query="tea", limit=1)) == 1
        assert len(memory.search_history("tea", user_id="alice", k=1)) == 1
        return costs.rows

    search()
    rows = search()
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute("INSERT INTO agentmem_item_deletions (place) VALUES ('gone')")
        for table in ("agentmem_item_texts", "agentmem_item_deletions", "agentmem_sessions"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            connection.execute(f"UPDATE {table} SET changed = '900000000'::xid8")
    search()
    assert search() == rows
