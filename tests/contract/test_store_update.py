"""`store.update`: changes that depend on the value, of which none is lost."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from langgraph.store.base import InvalidNamespaceError

from langchain_agentmem import (
    AgentMemory,
    AgentMemStore,
    ConflictError,
    InvalidInputError,
    InvalidTypeError,
    UnsupportedValueError,
)
from langchain_agentmem.backends.contract import ItemPut, Swap

NS = ("counters",)


@pytest.fixture
def store(memory) -> AgentMemStore:
    return memory.store


def add_one(value: dict[str, Any] | None) -> dict[str, Any]:
    return {"n": (value or {"n": 0})["n"] + 1}


async def test_an_update_makes_changes_and_returns_the_value(store, call):
    assert await call(store.update, NS, "k", add_one) == {"n": 1}
    assert await call(store.update, NS, "k", add_one) == {"n": 2}
    assert (await call(store.get, NS, "k")).value == {"n": 2}


async def test_an_update_keeps_created_at_and_moves_updated_at(store, call, monkeypatch):
    now = 1_800_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    await call(store.put, NS, "k", {"n": 1})
    now += 100
    await call(store.update, NS, "k", add_one)
    item = await call(store.get, NS, "k")
    assert item.created_at == datetime.fromtimestamp(1_800_000_000, UTC)
    assert item.updated_at == datetime.fromtimestamp(1_800_000_100, UTC)


async def test_the_function_gets_a_copy(store, call):
    await call(store.put, NS, "k", {"tags": ["a"]})
    seen: list[Any] = []

    def change(value: dict[str, Any]) -> dict[str, Any]:
        seen.append(value)
        value["tags"].append("b")
        return value

    returned = await call(store.update, NS, "k", change)
    assert returned == {"tags": ["a", "b"]}
    seen[0]["tags"].append("c")
    assert (await call(store.get, NS, "k")).value == {"tags": ["a", "b"]}


async def test_a_function_that_raises_changes_nothing(store, call):
    await call(store.put, NS, "k", {"n": 1})

    def fail(value: dict[str, Any]) -> dict[str, Any]:
        value["n"] = 99
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await call(store.update, NS, "k", fail)
    with pytest.raises(LookupError, match="no"):
        await call(store.update, NS, "new", lambda value: {}[1] if value else fail({}))
    assert [(item.key, item.value) for item in await call(store.search, NS)] == [("k", {"n": 1})]


async def test_a_function_that_returns_none_is_an_error_and_changes_nothing(store, call):
    await call(store.put, NS, "k", {"n": 1})

    def forget_to_return(value: dict[str, Any]) -> None:
        value["n"] += 1

    with pytest.raises(InvalidTypeError, match="returned None"):
        await call(store.update, NS, "k", forget_to_return)
    assert (await call(store.get, NS, "k")).value == {"n": 1}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"a": {1}}, UnsupportedValueError),
        ("text", UnsupportedValueError),
        ([1], UnsupportedValueError),
        ({"a": "\ud800"}, InvalidInputError),
    ],
    ids=ascii,
)
async def test_a_function_that_returns_no_value_is_an_error_and_changes_nothing(store, call, value, error):
    await call(store.put, NS, "k", {"n": 1})
    with pytest.raises(error):
        await call(store.update, NS, "k", lambda _: value)
    assert (await call(store.get, NS, "k")).value == {"n": 1}


async def test_places_are_checked_before_the_function_is_called(store, call):
    for namespace, key, error in (
        ((), "k", InvalidNamespaceError),
        (("langgraph",), "k", InvalidNamespaceError),
        (NS, "", ValueError),
    ):
        with pytest.raises(error):
            await call(store.update, namespace, key, lambda _: pytest.fail("called"))


async def test_keys_may_be_numbers_here_too(store, call):
    await call(store.put, NS, 5, {"n": 1})
    await call(store.update, NS, 5, add_one)
    assert (await call(store.get, NS, "5")).value == {"n": 2}


async def test_a_function_may_be_a_coroutine_function_in_the_async_world(store):
    async def slowly(value: dict[str, Any] | None) -> dict[str, Any]:
        await asyncio.sleep(0)
        return add_one(value)

    assert await store.aupdate(NS, "k", slowly) == {"n": 1}
    await asyncio.gather(*(store.aupdate(NS, "k", slowly) for _ in range(10)))
    assert (await store.aget(NS, "k")).value == {"n": 11}
    with pytest.raises(TypeError, match="prefix `a`"):
        store.update(NS, "k", slowly)
    assert (await store.aget(NS, "k")).value == {"n": 11}


async def test_an_update_sees_a_change_that_came_between(store, call):
    await call(store.put, NS, "k", {"n": 1})
    seen: list[Any] = []

    def slow(value: dict[str, Any] | None) -> dict[str, Any]:
        if not seen:
            store.put(NS, "k", {"n": 10})
        seen.append(value)
        return add_one(value)

    assert await call(store.update, NS, "k", slow) == {"n": 11}
    assert seen == [{"n": 1}, {"n": 10}]


@pytest.mark.parametrize("between", ["delete", "delete and put the same", "put the same"])
async def test_an_update_notices_every_kind_of_change(store, call, between):
    await call(store.put, NS, "k", {"n": 1})
    seen: list[Any] = []

    def slow(value: dict[str, Any] | None) -> dict[str, Any]:
        if not seen:
            if "delete" in between:
                store.delete(NS, "k")
            if "put" in between:
                store.put(NS, "k", {"n": 1})
        seen.append(value)
        return add_one(value)

    await call(store.update, NS, "k", slow)
    assert len(seen) == 2
    assert seen[1] == (None if between == "delete" else {"n": 1})


async def test_an_update_notices_that_another_made_the_item(store, call):
    seen: list[Any] = []

    def slow(value: dict[str, Any] | None) -> dict[str, Any]:
        if not seen:
            store.put(NS, "k", {"n": 5})
        seen.append(value)
        return add_one(value)

    assert await call(store.update, NS, "k", slow) == {"n": 6}
    assert seen == [None, {"n": 5}]


async def test_an_update_gives_up_when_others_never_stop_changing_the_item(store, call, monkeypatch):
    monkeypatch.setattr("langchain_agentmem.store.updates.UPDATE_SECONDS", 0.05)

    def slow(value: dict[str, Any] | None) -> dict[str, Any]:
        store.put(NS, "k", {"n": 7})
        return {"n": 99}

    with pytest.raises(ConflictError, match="kept changing"):
        await call(store.update, NS, "k", slow)
    assert (await call(store.get, NS, "k")).value == {"n": 7}


async def test_a_read_that_refreshes_the_time_to_live_is_no_change(store, call):
    await call(store.put, NS, "k", {"n": 1}, ttl=10)
    seen: list[Any] = []

    def slow(value: dict[str, Any] | None) -> dict[str, Any]:
        store.get(NS, "k", refresh_ttl=True)
        seen.append(value)
        return add_one(value)

    await call(store.update, NS, "k", slow)
    assert seen == [{"n": 1}]


async def test_an_updated_item_is_found_by_its_new_words_only(store, call):
    await call(store.put, NS, "k", {"text": "pizza"})
    await call(store.update, NS, "k", lambda value: {"text": "lemonade"})
    assert await call(store.search, NS, query="pizza") == []
    assert len(await call(store.search, NS, query="lemonade")) == 1
    await call(store.update, NS, "k", lambda value: {"text": "lemonade"}, index=False)
    assert await call(store.search, NS, query="lemonade") == []


def test_64_threads_that_update_one_item_lose_nothing(store):
    with ThreadPoolExecutor(64) as pool:
        returned = list(pool.map(lambda _: store.update(NS, "k", add_one)["n"], range(128)))
    assert store.get(NS, "k").value == {"n": 128}
    assert sorted(returned) == list(range(1, 129))


async def test_64_tasks_that_update_one_item_lose_nothing(store):
    returned = await asyncio.gather(*(store.aupdate(NS, "k", add_one) for _ in range(64)))
    assert (await store.aget(NS, "k")).value == {"n": 64}
    assert sorted(one["n"] for one in returned) == list(range(1, 65))


async def test_threads_and_tasks_together_lose_nothing(store):
    with ThreadPoolExecutor(8) as pool:
        threads = [asyncio.get_running_loop().run_in_executor(pool, store.update, NS, "k", add_one) for _ in range(24)]
        await asyncio.gather(*threads, *(store.aupdate(NS, "k", add_one) for _ in range(24)))
    assert store.get(NS, "k").value == {"n": 48}


async def test_two_that_update_at_the_same_moment_to_the_same_value_lose_nothing(lasting_url, call, monkeypatch):
    """Both read the counter before either writes, and their clocks show the same."""
    moment = time.time()
    monkeypatch.setattr(time, "time", lambda: moment)
    with AgentMemory.from_url(lasting_url) as first, AgentMemory.from_url(lasting_url) as second:
        await call(first.store.put, ("counters",), "visits", {"n": 0})
        met = False

        def increment(value: Any) -> Any:
            nonlocal met
            if not met:
                met = True
                second.store.update(("counters",), "visits", lambda other: {"n": other["n"] + 1})
            return {"n": value["n"] + 1}

        await call(first.store.update, ("counters",), "visits", increment)
        assert (await call(first.store.get, ("counters",), "visits")).value == {"n": 2}
        await call(first.close)


async def test_a_swap_that_is_done_twice_is_done_once_and_says_so(lasting_url, call):
    """As when the connection was lost before its answer came, which cannot happen on SQLite."""
    with AgentMemory.from_url(lasting_url) as memory:
        await call(memory.store.put, ("counters",), "visits", {"n": 0})
        key, put = (("counters",), "visits"), ItemPut(("counters",), "visits", '{"n": 1}', None, None)
        (row,) = memory.backend.read(memory.backend.items.get("default", [key], time.time()))
        swaps = [Swap(*key, row.revision, put)]
        now, known_again = time.time(), memory.backend.name != "sqlite"
        for token, swapped in ((7, True), (7, known_again), (8, False)):
            swap = memory.backend.items.swap("default", swaps, now, token)
            assert memory.backend.write(swap) is swapped
        assert (await call(memory.store.get, ("counters",), "visits")).value == {"n": 1}
        await call(memory.close)


async def test_an_update_leaves_it_how_an_item_is_found(memory, call):
    store = memory.store
    secret, titled, whole = ((("notes",), key) for key in ("secret", "titled", "whole"))
    await call(store.put, *secret, {"title": "alpha", "text": "beta"}, False)
    await call(store.put, *titled, {"title": "alpha", "text": "beta"}, ["title"])
    await call(store.put, *whole, {"title": "alpha", "text": "beta"})
    for key in (secret, titled, whole):
        await call(store.update, *key, lambda value: {**value, "n": 1})
    await call(store.update_many, [secret, titled, whole], lambda values: {k: {**v, "n": 2} for k, v in values.items()})
    for query, expected in (("alpha", {"titled", "whole"}), ("beta", {"whole"})):
        assert {item.key for item in await call(store.search, ("notes",), query=query)} == expected
    # Unless it is said anew, or the item is.
    await call(store.update, *secret, lambda value: value, index=["title"])
    await call(store.update, *titled, lambda value: value, index=None)
    assert {item.key for item in await call(store.search, ("notes",), query="alpha")} == {"secret", "titled", "whole"}
    assert {item.key for item in await call(store.search, ("notes",), query="beta")} == {"titled", "whole"}
    await call(store.update, *secret, lambda value: value, index=False)
    await call(store.delete, *secret)
    await call(store.update, *secret, lambda value: {"title": "gamma"})
    assert [item.key for item in await call(store.search, ("notes",), query="gamma")] == ["secret"]
