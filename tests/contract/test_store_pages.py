"""Pages of the store: an offset skips the same items that a listing returns first; indexed fields change no result."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemory, AgentMemStore, ConfigurationError, InvalidInputError, InvalidTypeError
from langchain_agentmem.settings import AgentMemSettings

PLACES = [("users", "alice", "notes"), ("users", "bob", "notes"), ("users", "alice"), ("shared",)]
FILTERS: list[dict[str, Any] | None] = [
    None,
    {"kind": "even"},
    {"kind": {"$in": ["even", "third"]}},
    {"kind": {"$ne": "even"}},
    {"number": {"$gte": 20}},
    {"number": 7},
    {"kind": None},
    {"nested": {"deep": True}},
    {"nested": {}},
    {"kind": {"$in": []}},
    {"kind": {"$nin": []}},
    {"number": {"$in": [], "$gte": 20}},
]


def value(number: int) -> dict[str, Any]:
    kind = "third" if number % 3 == 0 else "even" if number % 2 == 0 else None
    nested = None if number % 7 == 1 else {"deep": number % 5 == 0}
    return {"number": number, "nested": nested, **({"kind": kind} if kind else {})}


async def fill(call: Any, store: AgentMemStore) -> None:
    """Store 48 items; every fifth has a TTL, which is over for every tenth."""
    ops = [
        PutOp(PLACES[number % 4], f"k{number}", value(number), index=False, ttl=1e-6 if number % 10 == 0 else 60)
        if number % 5 == 0
        else PutOp(PLACES[number % 4], f"k{number}", value(number), index=False)
        for number in range(48)
    ]
    for op in ops:
        await call(store.batch, [op])


@pytest.mark.parametrize("prefix", [(), ("users",), ("users", "alice"), ("shared",)])
async def test_a_page_continues_where_the_one_before_ended(memory, call, prefix):
    store = memory.store
    await fill(call, store)
    for condition in FILTERS:
        everything = await call(store.search, prefix, filter=condition, limit=100)
        assert len({(item.namespace, item.key) for item in everything}) == len(everything)
        for limit in (1, 7, 20):
            pages = []
            while page := await call(store.search, prefix, filter=condition, limit=limit, offset=len(pages)):
                pages += page
            assert pages == everything
    assert await call(store.search, prefix, limit=5, offset=10_000) == []


async def test_an_offset_does_not_return_what_it_skips(memory, call, monkeypatch):
    store = memory.store
    await call(store.batch, [PutOp(("notes",), f"k{number}", value(number), index=False) for number in range(300)])
    read = []
    scan = type(store.engine.backend.items).scan

    def counted(*arguments: Any, **options: Any) -> Any:
        rows, following = yield from scan(*arguments, **options)
        read.append(len(rows))
        return rows, following

    monkeypatch.setattr(type(store.engine.backend.items), "scan", counted)
    assert len(await call(store.search, ("notes",), limit=5, offset=250)) == 5
    assert read == [5]


async def test_indexed_fields_change_no_result(url, call):
    with AgentMemStore.from_url(url) as plain, AgentMemStore.from_url(url, index_fields=["kind", "number"]) as store:
        await fill(call, plain)
        for condition in FILTERS:
            expected = await call(plain.search, ("users",), filter=condition, limit=100)
            assert await call(store.search, ("users",), filter=condition, limit=100) == expected
        await call(store.put, ("users", "new"), "k", {"kind": "new", "number": 1e300, "odd": "a\x00b"})
        assert [item.key for item in await call(store.search, ("users",), filter={"kind": "new"})] == ["k"]
        await call(store.put, ("users", "new"), "long", {"kind": "x" * 100_000})
        assert [item.key for item in await call(store.search, (), filter={"kind": "x" * 100_000})] == ["long"]
    with AgentMemStore.from_url(url, index_fields=["kind"]) as again:
        assert [item.key for item in await call(again.search, ("users",), filter={"kind": "new"})] == ["k"]


def test_fields_that_differ_in_case_have_an_index_each(tmp_path):
    path = tmp_path / "memory.db"
    with AgentMemory.from_url(f"sqlite:///{path}", index_fields=["kind", "Kind"]) as memory:
        memory.store.put(("a",), "k", {"kind": "small", "Kind": "capital"})
        for field, value in (("kind", "small"), ("Kind", "capital")):
            assert [item.key for item in memory.store.search(("a",), filter={field: value})] == ["k"]
    with closing(sqlite3.connect(path)) as connection:
        indexes = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name LIKE 'agentmem_items_by_field%'"
        ).fetchall()
    assert sorted(field for (sql,) in indexes for field in ('."kind"', '."Kind"') if field in sql) == [
        '."Kind"',
        '."kind"',
    ]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ("kind", InvalidTypeError),
        ([1], InvalidTypeError),
        (["a.b"], InvalidInputError),
        (["a'; DROP TABLE x"], InvalidInputError),
        ([""], InvalidInputError),
        ([f"f{number}" for number in range(17)], InvalidInputError),
    ],
)
def test_wrong_index_fields_are_refused(fields, error):
    with pytest.raises(error, match="index_fields"):
        AgentMemory.from_url("sqlite:///:memory:", index_fields=fields)


def test_index_fields_and_a_key_exclude_one_another():
    with pytest.raises(ConfigurationError, match="index_fields"):
        AgentMemory.from_url("sqlite:///:memory:", index_fields=["kind"], key=b"k" * 32)


def test_the_environment_names_index_fields(monkeypatch):
    monkeypatch.setenv("AGENTMEM_INDEX_FIELDS", "kind, number")
    assert AgentMemSettings().options["index_fields"] == ["kind", "number"]
