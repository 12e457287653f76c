"""`store.update_many`: items that change together, of whose changes none is lost."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from langchain_agentmem import AgentMemory, AgentMemStore, ConflictError, InvalidInputError, InvalidTypeError
from langchain_agentmem.backends.contract import ItemPut, Swap

A, B, C = (("root", "one"), "a"), (("root", "two"), "b"), (("root",), "c")


@pytest.fixture
def store(memory) -> AgentMemStore:
    return memory.store


def values(store: AgentMemStore) -> dict[Any, Any]:
    return {(item.namespace, item.key): item.value for item in store.search(())}


async def test_items_are_put_deleted_and_left_together(store, call):
    await call(store.put, *A, {"n": 1})
    await call(store.put, *B, {"n": 2})
    seen: list[Any] = []

    def change(now: dict[Any, Any]) -> dict[Any, Any]:
        seen.append(dict(now))
        return {A: None, C: {"n": 3}}

    assert await call(store.update_many, [A, B, C], change) == {A: None, B: {"n": 2}, C: {"n": 3}}
    assert seen == [{A: {"n": 1}, B: {"n": 2}, C: None}]
    assert values(store) == {B: {"n": 2}, C: {"n": 3}}


async def test_the_values_are_copies_and_may_be_returned_as_a_whole(store, call):
    await call(store.put, *A, {"n": 1})

    def change(now: dict[Any, Any]) -> dict[Any, Any]:
        now[A]["n"] += 1
        return now

    assert await call(store.update_many, [A, B], change) == {A: {"n": 2}, B: None}
    assert values(store) == {A: {"n": 2}}

    def change_nothing(now: dict[Any, Any]) -> dict[Any, Any]:
        now[A]["n"] = 99
        return {}

    assert await call(store.update_many, [A], change_nothing) == {A: {"n": 2}}
    assert values(store) == {A: {"n": 2}}


async def test_what_was_only_read_must_not_have_changed_either(store, call):
    """Whether B is made depends on A being there, and the other way round: one of the two must see the other."""
    await call(store.put, *A, {"n": 1})
    seen: list[Any] = []

    def change(now: dict[Any, Any]) -> dict[Any, Any]:
        if not seen:
            store.delete(*A)
        seen.append(now[A])
        return {B: {"n": 2}} if now[A] else {}

    assert await call(store.update_many, [A, B], change) == {A: None, B: None}
    assert seen == [{"n": 1}, None]
    assert values(store) == {}


async def test_what_was_read_as_missing_must_still_be_missing(store, call):
    seen: list[Any] = []

    def change(now: dict[Any, Any]) -> dict[Any, Any]:
        if not seen:
            store.put(*A, {"n": 1})
        seen.append(now[A])
        return {B: {"saw": now[A]}}

    assert (await call(store.update_many, [A, B], change))[B] == {"saw": {"n": 1}}
    assert seen == [None, {"n": 1}]


async def test_a_key_that_is_added_is_new_or_is_read_too(store, call):
    await call(store.put, *B, {"n": 5})
    seen: list[Any] = []

    def change(now: dict[Any, Any]) -> dict[Any, Any]:
        seen.append(dict(now))
        return {A: {"n": 1}, B: {"n": (now.get(B) or {"n": 0})["n"] + 1}}

    assert await call(store.update_many, [A], change) == {A: {"n": 1}, B: {"n": 6}}
    assert seen == [{A: None}, {A: None, B: {"n": 5}}]
    assert await call(store.update_many, [], lambda now: {C: {"n": len(now)}}) == {C: {"n": 0}}


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ({A: {"n": 1}, B: "text"}, InvalidTypeError),
        ({A: {"n": 1}, B: {"x": "\ud800"}}, InvalidInputError),
        ({A: {"n": 1}, (("elsewhere",), "k"): {"n": 1}}, InvalidInputError),
        ({A: {"n": 1}, "b": {"n": 1}}, InvalidTypeError),
        ([A], InvalidTypeError),
        (None, InvalidTypeError),
    ],
    ids=ascii,
)
async def test_what_cannot_be_stored_changes_nothing(store, call, returned, error):
    await call(store.put, *A, {"n": 0})
    with pytest.raises(error):
        await call(store.update_many, [A, B], lambda now: returned)
    assert values(store) == {A: {"n": 0}}


async def test_keys_below_different_roots_are_refused_before_the_function_is_called(store, call):
    with pytest.raises(InvalidInputError, match="one root label"):
        await call(store.update_many, [A, (("elsewhere",), "k")], lambda now: pytest.fail("called"))
    with pytest.raises(InvalidTypeError, match="pair"):
        await call(store.update_many, ["a"], lambda now: pytest.fail("called"))


async def test_a_function_that_raises_changes_nothing(store, call):
    await call(store.put, *A, {"n": 1})
    with pytest.raises(ZeroDivisionError):
        await call(store.update_many, [A, B], lambda now: {A: {"n": 1 / 0}})
    assert values(store) == {A: {"n": 1}}


async def test_each_namespace_may_be_found_by_fields_of_its_own(store, call):
    index = {A[0]: ["text"], B[0]: False}
    changes = {A: {"text": "pizza", "more": "pasta"}, B: {"text": "pizza"}, C: {"text": "a pizza"}}
    await call(store.update_many, [A, B, C], lambda now: changes, index=index)
    assert {item.key for item in await call(store.search, ("root",), query="pizza")} == {"a", "c"}
    assert await call(store.search, ("root",), query="pasta") == []
    await call(store.update_many, [A, C], lambda now: {A: None, C: {"text": "bread"}}, index=index)
    assert await call(store.search, ("root",), query="pizza") == []


async def test_each_item_keeps_its_time_to_live(store, call, monkeypatch):
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now)
    await call(store.put, *A, {"n": 1}, ttl=10)
    await call(store.put, *B, {"n": 1})
    await call(store.update_many, [A, B], lambda now: {key: {"n": 2} for key in now})
    now += 601
    assert values(store) == {B: {"n": 2}}
    # What has expired is not there: it is made anew.
    assert await call(store.update_many, [A], lambda now: {A: {"was": now[A]}}) == {A: {"was": None}}


async def test_it_gives_up_when_others_never_stop(store, call, monkeypatch):
    monkeypatch.setattr("langchain_agentmem.store.updates.UPDATE_SECONDS", 0.05)

    def change(now: dict[Any, Any]) -> dict[Any, Any]:
        store.put(*B, {"n": 7})
        return {A: {"n": 1}}

    with pytest.raises(ConflictError, match="kept changing"):
        await call(store.update_many, [A, B], change)
    assert values(store) == {B: {"n": 7}}


def moved(giver: Any, taker: Any) -> Any:
    """Money that goes from one account to another, and what accounts for it."""

    def change(now: dict[Any, Any]) -> dict[Any, Any]:
        return {
            giver: {"n": (now[giver] or {"n": 0})["n"] - 1},
            taker: {"n": (now[taker] or {"n": 0})["n"] + 1},
            C: {"moves": (now[C] or {"moves": 0})["moves"] + 1},
        }

    return change


def test_threads_that_change_items_together_lose_nothing(store):
    def move(number: int) -> None:
        giver, taker = (A, B) if number % 3 else (B, A)
        store.update_many([giver, taker, C], moved(giver, taker))

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(move, range(48)))
    assert values(store) == {A: {"n": -16}, B: {"n": 16}, C: {"moves": 48}}


async def test_tasks_that_change_items_together_lose_nothing(store):
    await asyncio.gather(*(store.aupdate_many([A, B, C], moved(A, B)) for _ in range(24)))
    assert values(store) == {A: {"n": -24}, B: {"n": 24}, C: {"moves": 24}}


async def test_a_function_may_be_a_coroutine_function_in_the_async_world(store):
    async def slowly(now: dict[Any, Any]) -> dict[Any, Any]:
        await asyncio.sleep(0)
        return {A: {"n": 1}}

    assert await store.aupdate_many([A], slowly) == {A: {"n": 1}}
    with pytest.raises(TypeError, match="prefix `a`"):
        store.update_many([A], slowly)


def test_many_items_change_together(store):
    keys = [(("root", str(number % 7)), str(number)) for number in range(300)]
    store.update_many(keys, lambda now: {key: {"n": 1} for key in now})
    store.update_many(keys, lambda now: {key: None if int(key[1]) % 2 else {"n": 2} for key in now})
    found = store.search((), limit=1000)
    assert len(found) == 150
    assert all(item.value == {"n": 2} for item in found)


@pytest.mark.parametrize("between", [False, True], ids=["at once", "after another writer"])
def test_a_swap_of_several_that_is_done_twice_is_done_once_and_says_so(lasting_url, between):
    """As when the connection was lost before its answer came, which cannot happen on SQLite."""
    with AgentMemory.from_url(lasting_url) as memory:
        backend, store = memory.backend, memory.store
        store.put(*A, {"n": 0})
        store.put(*B, {"n": 0})
        rows = backend.read(backend.items.get("default", [A, B], time.time()))
        swaps = [
            Swap(*A, rows[0].revision, ItemPut(*A, '{"n": 1}', None, None)),
            Swap(*B, rows[1].revision),
            Swap(*C, None, ItemPut(*C, '{"n": 1}', None, None)),
        ]
        now, known_again = time.time(), backend.name != "sqlite"
        for token, swapped in ((7, True), (7, known_again), (8, False)):
            assert backend.write(backend.items.swap("default", swaps, now, token)) is swapped
            if between and token == 7:
                store.put(*A, {"n": 2})
                between = False
        assert values(store)[C] == {"n": 1}
        assert B not in values(store)


def test_a_swap_of_which_one_part_fails_changes_nothing(memory):
    backend, store = memory.backend, memory.store
    store.put(*A, {"n": 0})
    store.put(*B, {"n": 0})
    rows = backend.read(backend.items.get("default", [A, B], time.time()))
    put = ItemPut(*C, '{"n": 1}', None, None)
    for wrong in (Swap(*A, rows[1].revision, keep=True), Swap(*A, None, keep=True), Swap(*A, None)):
        swaps = [Swap(*B, rows[1].revision), Swap(*C, None, put), wrong]
        assert backend.write(backend.items.swap("default", swaps, time.time(), 7)) is False
    assert values(store) == {A: {"n": 0}, B: {"n": 0}}
    swaps = [Swap(*A, rows[0].revision, keep=True), Swap(*B, rows[1].revision), Swap(*C, None, keep=True)]
    assert backend.write(backend.items.swap("default", swaps, time.time(), 7)) is True
    assert values(store) == {A: {"n": 0}}
