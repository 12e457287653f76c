"""The filters of the store's search on every backend."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_agentmem import AgentMemStore, InvalidInputError, InvalidTypeError

NS = ("memories",)


@pytest.fixture
def store(memory) -> AgentMemStore:
    return memory.store


def keys(items: list[Any]) -> list[str]:
    return [item.key for item in items]


async def fill(call: Any, store: AgentMemStore, values: dict[str, Any]) -> None:
    for key, value in values.items():
        await call(store.put, NS, key, value)


FILTERED = {
    "one": {"size": 1, "color": "red", "tags": ["x"], "shape": {"corners": 3}},
    "nine": {"size": 9, "color": "blue", "tags": ["x", "y"], "shape": {"corners": 4}},
    "ten": {"size": 10, "color": "red", "tags": [], "shape": {"corners": 4, "name": "square"}},
    "hundred": {"size": 100, "color": "green", "extra": None},
    "text": {"size": "10", "color": "redder"},
    "none": {},
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"color": "red"}, {"one", "ten"}),
        ({"size": 10}, {"ten"}),
        ({"size": {"$eq": 10}}, {"ten"}),
        ({"size": {"$ne": 10}}, {"one", "nine", "hundred", "text", "none"}),
        ({"size": {"$gt": 9}}, {"ten", "hundred"}),
        ({"size": {"$gte": 9.0}}, {"nine", "ten", "hundred"}),
        ({"size": {"$lt": 10}}, {"one", "nine"}),
        ({"size": {"$lte": 10}}, {"one", "nine", "ten"}),
        ({"size": {"$gt": 4.99, "$lt": 50}}, {"nine", "ten"}),
        ({"size": {"$in": [1, 100]}}, {"one", "hundred"}),
        ({"size": {"$nin": [1, 100]}}, {"nine", "ten", "text", "none"}),
        ({"extra": {"$exists": True}}, {"hundred"}),
        ({"tags": {"$exists": False}}, {"hundred", "text", "none"}),
        ({"tags": {"$contains": "x"}}, {"one", "nine"}),
        ({"color": {"$contains": "red"}}, {"one", "ten", "text"}),
        ({"shape": {"corners": 4}}, {"nine", "ten"}),
        ({"shape": {"corners": {"$gt": 3}}}, {"nine", "ten"}),
        ({"shape.corners": {"$gt": 3}, "color": "red"}, {"ten"}),
        ({"shape.name": "square"}, {"ten"}),
        ({}, set(FILTERED)),
        (None, set(FILTERED)),
    ],
    ids=lambda one: str(sorted(one)) if isinstance(one, set) else repr(one),
)
async def test_a_filter_finds_what_it_describes(store, call, condition, expected):
    await fill(call, store, FILTERED)
    await call(store.put, ("elsewhere",), "ten", FILTERED["ten"])
    assert set(keys(await call(store.search, NS, filter=condition))) == expected


@pytest.mark.parametrize("query", [None, "pizza"])
async def test_an_operator_that_is_not_known_is_refused_even_if_nothing_is_stored(store, call, query):
    with pytest.raises(InvalidInputError, match="near"):
        await call(store.search, NS, filter={"size": {"$near": 3}}, query=query)
    with pytest.raises(InvalidTypeError):
        await call(store.search, NS, filter="red", query=query)


async def test_an_operator_next_to_a_field_is_an_error_of_ours(store, call):
    await fill(call, store, FILTERED)
    with pytest.raises(InvalidInputError):
        await call(store.search, NS, filter={"size": {"$gt": 3, "unit": "cm"}})


async def test_a_filter_is_applied_before_the_page_is_cut(store, call):
    for n in range(500):
        await call(store.put, NS, str(n), {"n": n, "rare": n % 100 == 0, "text": "pizza"})
    for query in (None, "pizza"):
        found = await call(store.search, NS, filter={"rare": True}, limit=3, query=query)
        assert len(found) == 3
        rest = await call(store.search, NS, filter={"rare": True}, limit=3, offset=3, query=query)
        assert {item.value["n"] for item in [*found, *rest]} == {0, 100, 200, 300, 400}
