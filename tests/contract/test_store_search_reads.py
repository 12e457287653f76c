"""The reads of the store's search: several searches at once, filters that few items pass, and all namespaces."""

from __future__ import annotations

from typing import Any

from counting import Costs
from langgraph.store.base import GetOp, PutOp, SearchOp


def keys(items: list[Any]) -> list[str]:
    return [item.key for item in items]


async def test_the_searches_of_a_batch_share_their_round_trips(memory, call, monkeypatch):
    for label in "abcd":
        await call(memory.store.put, ("root", label), "k", {"text": f"pizza {label}"})
    ops = [SearchOp(("root", label), query="pizza", limit=5) for label in "abcd"]
    alone = [await call(memory.store.batch, [op]) for op in ops]
    together = [*ops, GetOp(("root", "a"), "k")]
    await call(memory.store.batch, together)  # a server learns its scripts
    costs = Costs(memory, monkeypatch)
    found = await call(memory.store.batch, together)
    ((kind, statements),) = costs.reset()
    assert (kind, statements) == ("read", 2)  # the candidates, then their items
    assert [[(item.key, item.score) for item in items] for items in found[:4]] == [
        [(item.key, item.score) for item in items] for (items,) in alone
    ]
    assert found[4].value == {"text": "pizza a"}


async def test_a_query_with_a_filter_that_few_items_pass_reads_few_items(memory, call, monkeypatch):
    kinds = ["rare" if at in (3, 300, 599) else "common" for at in range(600)]
    puts = [
        PutOp(("root",), f"k{at:03}", {"text": "pizza " * (1 + at % 7), "kind": kind}, index=["text"])
        for at, kind in enumerate(kinds)
    ]
    await call(memory.store.batch, puts)
    await call(memory.store.search, ("root",), query="pizza")
    costs = Costs(memory, monkeypatch)
    found = await call(memory.store.search, ("root",), query="pizza", filter={"kind": "rare"})
    taken = costs.rows
    every = await call(memory.store.search, ("root",), query="pizza", limit=600)
    assert sorted(keys(found)) == ["k003", "k300", "k599"]
    assert keys(found) == [item.key for item in every if item.value["kind"] == "rare"]
    assert [item.score for item in found] == [item.score for item in every if item.value["kind"] == "rare"]
    assert taken < 250  # those that the first ranking checked, and those that pass
    page = await call(memory.store.search, ("root",), query="pizza", filter={"kind": "rare"}, limit=1, offset=1)
    assert keys(page) == keys(found)[1:2]
    assert await call(memory.store.search, ("root",), query="pizza", filter={"kind": "none"}) == []


async def test_a_search_of_all_namespaces_ranks_as_one_below_a_root(memory, call):
    texts = ["pizza with cheese", "cheese", "a pizza, and a second pizza", "tea"]
    for at, text in enumerate(texts):
        await call(memory.store.put, ("root", str(at)), "k", {"text": text})
    below = await call(memory.store.search, ("root",), query="pizza cheese")
    every = await call(memory.store.search, (), query="pizza cheese")
    assert [(item.namespace, item.score) for item in every] == [(item.namespace, item.score) for item in below]


async def test_a_search_of_all_namespaces_sees_what_changes_below_each_root(memory, call):
    for root in ("a", "b"):
        for key in ("one", "two"):
            await call(memory.store.put, (root, "n"), key, {"text": "pizza"})

    def found(items: list[Any]) -> list[tuple[str, str]]:
        return sorted((item.namespace[0], item.key) for item in items)

    assert len(await call(memory.store.search, (), query="pizza")) == 4
    await call(memory.store.put, ("c",), "one", {"text": "pizza"})
    await call(memory.store.delete, ("b", "n"), "one")
    expected = [("a", "one"), ("a", "two"), ("b", "two"), ("c", "one")]
    assert found(await call(memory.store.search, (), query="pizza")) == expected
    for key in ("one", "two"):
        await call(memory.store.delete, ("a", "n"), key)
    await call(memory.store.put, ("b", "n"), "two", {"text": "tea"})
    assert found(await call(memory.store.search, (), query="pizza")) == [("c", "one")]
