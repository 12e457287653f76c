"""What changed in the items of a root: applying it step by step gives the same as reading everything."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemory, StorageError
from langchain_agentmem.backends.contract import EmbeddedItem, ItemText
from langchain_agentmem.text.vectors import unit

WIDTH = 8
NAMESPACES = [("a", "one"), ("a", "two"), ("a",), ("b", "one")]
NOW = 1_800_000_000.0


class Client:
    """A process that keeps the search entries of a root.

    Args:
        backend: The backend.
        width: The bytes of a vector.
    """

    def __init__(self, backend: Any, width: int | None) -> None:
        self.backend, self.width, self.cursor = backend, width, None
        self.known: dict[Any, ItemText] = {}

    def update(self, now: float) -> dict[Any, ItemText]:
        """Apply what changed, and return the entries that have not expired."""
        changes = self.backend.read(self.backend.items.changes("default", ("a",), self.width, self.cursor, now))
        if changes.is_whole:
            self.known = {}
        for id_ in changes.gone:
            self.known.pop(id_, None)
        self.known.update((one.id, one) for one in changes.texts)
        if changes.remaining is not None:
            self.known = {id_: one for id_, one in self.known.items() if id_ in changes.remaining}
        self.cursor = changes.cursor
        return {
            id_: one._replace(updated_at=0.0)
            for id_, one in self.known.items()
            if (one.expires_at is None or one.expires_at > now) and id_ not in changes.expired
        }


def vector(number: int) -> bytes:
    return unit([1.0, float(number)])


def change(source: random.Random, memory: AgentMemory, now: float) -> None:
    """Do one change of a random kind."""
    store, items, backend = memory.store, memory.backend.items, memory.backend
    namespace, key = source.choice(NAMESPACES), f"k{source.randrange(6)}"
    kind = source.choice(["put", "put", "put", "delete", "expiring", "unindexed", "embed", "touch", "sweep", "unembed"])
    if kind in ("put", "expiring", "unindexed"):
        ttl = source.choice([1.0, 1_000.0]) if kind == "expiring" else None
        index = False if kind == "unindexed" else None
        store.batch([PutOp(namespace, key, {"text": f"word{source.randrange(9)}"}, index=index, ttl=ttl)])
    elif kind == "delete":
        store.batch([PutOp(namespace, key, None)])
    elif kind == "embed":
        (row,) = backend.read(items.get("default", [(namespace, key)], now))
        if row is not None:
            count = source.randrange(1, 3)
            backend.write(
                items.embed("default", [EmbeddedItem(row, [vector(source.randrange(9)) for _ in range(count)])])
            )
    elif kind == "touch":
        backend.write(items.touch("default", [(namespace, key)], now))
    elif kind == "sweep":
        backend.write(items.sweep("default", now, 3))
    elif source.random() < 0.2:
        backend.write(items.unembed("default", WIDTH // 4, None))


@pytest.mark.parametrize("seed", range(6))
def test_changes_lead_to_the_same_as_reading_everything(url, monkeypatch, seed):
    source, now = random.Random(seed), [NOW]
    monkeypatch.setattr("time.time", lambda: now[0])
    with AgentMemory.from_url(url) as memory, AgentMemory.from_url(url) as other:
        memory.store.put(("a",), "first", {"text": "first"})
        clients = [Client(memory.backend, WIDTH), Client(other.backend, WIDTH), Client(other.backend, None)]
        for step in range(60):
            change(source, memory if step % 2 else other, now[0])
            now[0] += source.choice([0.0, 0.001, 30.0])
            client = source.choice(clients)
            found = client.update(now[0])
            whole = Client(memory.backend, client.width).update(now[0])
            assert found == whole
            assert all(one.namespace[0] == "a" for one in found.values())
            stored = {(one.namespace, one.key) for one in memory.store.search(("a",), limit=100, refresh_ttl=False)}
            assert {(one.namespace, one.key) for one in found.values()} <= stored
        for client in clients:
            assert client.update(now[0]) == Client(memory.backend, client.width).update(now[0])


def test_nothing_is_read_again_when_nothing_changed(url):
    with AgentMemory.from_url(url) as memory:
        memory.store.put(("a",), "k", {"text": "pizza"})
        items = memory.backend.items
        first = memory.backend.read(items.changes("default", ("a",), None, None, time.time()))
        assert [one.key for one in first.texts] == ["k"]
        assert first.is_whole
        second = memory.backend.read(items.changes("default", ("a",), None, first.cursor, time.time()))
        assert (list(second.texts), list(second.gone), second.remaining, second.is_whole) == ([], [], None, False)
        memory.store.put(("b",), "other root", {"text": "pizza"})
        memory.store.put(("a",), "new", {"text": "pasta"})
        third = memory.backend.read(items.changes("default", ("a",), None, second.cursor, time.time()))
        assert [one.key for one in third.texts] == ["new"]
        rows = memory.backend.read(items.rows([one.id for one in [*first.texts, *third.texts]]))
        assert sorted(row.key for row in rows.values()) == ["k", "new"]


def test_vectors_of_other_dimensions_are_refused(url):
    with AgentMemory.from_url(url) as memory:
        memory.store.put(("a",), "k", {"text": "pizza"})
        items, backend = memory.backend.items, memory.backend
        (row,) = backend.read(items.get("default", [(("a",), "k")], time.time()))
        backend.write(items.embed("default", [EmbeddedItem(row, [vector(1)])]))
        with pytest.raises(StorageError, match="dimensions"):
            backend.read(items.changes("default", ("a",), 12, None, time.time()))
