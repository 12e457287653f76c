"""The store's time to live: minutes from the last use; what has expired is never returned, and swept by itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp

from langchain_agentmem import AgentMemory, AgentMemStore, InvalidInputError, InvalidTypeError

NS = ("memories",)


class Clock:
    """Wall clock and monotonic clock, which move together."""

    def __init__(self) -> None:
        self.start, self.now = 1_800_000_000.0, 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def minutes(self, minutes: float) -> None:
        self.now += minutes * 60


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monotonic = time.monotonic
    monkeypatch.setattr("time.time", clock.time)
    monkeypatch.setattr("time.monotonic", lambda: monotonic() + clock.now - clock.start)
    return clock


@pytest.fixture
def store(memory) -> AgentMemStore:
    return memory.store


def keys(items: list[Any]) -> list[str]:
    return [item.key for item in items]


@pytest.mark.parametrize("minutes", [0.1, 0.4, 1, 1.4, 90, 525_600])
async def test_an_item_expires_after_its_minutes(store, call, clock, minutes):
    await call(store.put, NS, "k", {"text": "pizza"}, ttl=minutes)
    clock.minutes(minutes * 0.999)
    assert await call(store.get, NS, "k", refresh_ttl=False)
    assert keys(await call(store.search, NS, refresh_ttl=False)) == ["k"]
    clock.minutes(minutes * 0.0011)
    assert await call(store.get, NS, "k") is None
    assert await call(store.search, NS) == []
    assert await call(store.search, NS, query="pizza") == []
    assert await call(store.search, NS, filter={"text": "pizza"}) == []
    assert await call(store.list_namespaces) == []


async def test_a_ttl_may_be_a_timedelta(store, call, clock):
    await call(store.put, NS, "k", {"n": 1}, ttl=timedelta(seconds=90))
    clock.minutes(1.49)
    assert await call(store.get, NS, "k", refresh_ttl=False)
    clock.minutes(0.02)
    assert await call(store.get, NS, "k") is None
    with pytest.raises(InvalidInputError, match=r"ttl must be more than 0 minutes .* got datetime\.timedelta"):
        await call(store.put, NS, "k", {"n": 1}, ttl=timedelta(0))


async def test_without_a_time_to_live_an_item_stays(store, call, clock):
    await call(store.put, NS, "a", {"n": 1})
    await call(store.put, NS, "b", {"n": 1}, ttl=None)
    clock.minutes(10**7)
    assert set(keys(await call(store.search, NS))) == {"a", "b"}


async def test_a_default_holds_for_items_that_have_none_of_their_own(url, call, clock):
    store = AgentMemStore.from_url(url, ttl={"default_ttl": 1.5})
    await call(store.put, NS, "default", {"n": 1})
    await call(store.put, NS, "longer", {"n": 1}, ttl=3)
    await call(store.put, NS, "never", {"n": 1}, ttl=None)
    clock.minutes(1.5)
    assert set(keys(await call(store.search, NS, refresh_ttl=False))) == {"longer", "never"}
    clock.minutes(1.5)
    assert keys(await call(store.search, NS)) == ["never"]
    await call(store.close)


async def test_the_memorys_time_to_live_holds_for_items(url, call, clock):
    with AgentMemory.from_url(url, ttl=90) as memory:
        await call(memory.store.put, NS, "k", {"n": 1})
        clock.minutes(1.49)
        assert await call(memory.store.get, NS, "k", refresh_ttl=False)
        clock.minutes(0.02)
        assert await call(memory.store.get, NS, "k") is None


@pytest.mark.parametrize("read", ["get", "search", "query", "batch"])
async def test_reading_an_item_starts_its_time_anew(store, call, clock, read):
    await call(store.put, NS, "k", {"text": "pizza"}, ttl=0.4)
    await call(store.put, NS, "other", {"text": "tea"}, ttl=0.4)
    for _ in range(5):
        clock.minutes(0.3)
        if read == "get":
            assert await call(store.get, NS, "k")
        elif read == "batch":
            assert (await call(store.batch, [GetOp(NS, "k"), PutOp(NS, "new", {"n": 1})]))[0]
        else:
            options = {"query": "pizza"} if read == "query" else {"filter": {"text": "pizza"}}
            assert keys(await call(store.search, NS, **options)) == ["k"]
    assert await call(store.get, NS, "other") is None
    clock.minutes(0.41)
    assert await call(store.get, NS, "k") is None


async def test_reading_need_not_start_the_time_anew(store, call, clock):
    await call(store.put, NS, "k", {"text": "pizza"}, ttl=1)
    clock.minutes(0.9)
    assert await call(store.get, NS, "k", refresh_ttl=False)
    assert await call(store.search, NS, refresh_ttl=False)
    assert await call(store.search, NS, query="pizza", refresh_ttl=False)
    assert (await call(store.batch, [GetOp(NS, "k", refresh_ttl=False)]))[0]
    assert (await call(store.batch, [SearchOp(NS, refresh_ttl=False)]))[0]
    clock.minutes(0.11)
    assert await call(store.get, NS, "k") is None


async def test_whether_reading_starts_the_time_anew_can_be_configured(url, call, clock):
    store = AgentMemStore.from_url(url, ttl={"default_ttl": 1, "refresh_on_read": False})
    await call(store.put, NS, "a", {"n": 1})
    await call(store.put, NS, "b", {"n": 1})
    clock.minutes(0.9)
    assert await call(store.get, NS, "a")
    assert len(await call(store.search, NS)) == 2
    assert await call(store.get, NS, "b", refresh_ttl=True)
    clock.minutes(0.2)
    assert keys(await call(store.search, NS)) == ["b"]
    await call(store.close)


async def test_only_the_items_of_the_page_are_refreshed(store, call, clock):
    for n in range(4):
        clock.now += 0.001
        await call(store.put, NS, str(n), {"n": n}, ttl=1)
    clock.minutes(0.9)
    assert keys(await call(store.search, NS, limit=2)) == ["3", "2"]
    clock.minutes(0.5)
    assert set(keys(await call(store.search, NS))) == {"2", "3"}


async def test_listing_namespaces_refreshes_nothing(store, call, clock):
    await call(store.put, NS, "k", {"n": 1}, ttl=1)
    clock.minutes(0.9)
    assert await call(store.list_namespaces) == [NS]
    clock.minutes(0.2)
    assert await call(store.list_namespaces) == []


async def test_reading_an_item_that_never_expires_does_not_make_it_expire(url, call, clock):
    store = AgentMemStore.from_url(url, ttl={"default_ttl": 1})
    await call(store.put, NS, "k", {"n": 1}, ttl=None)
    await call(store.get, NS, "k", refresh_ttl=True)
    await call(store.search, NS)
    clock.minutes(100)
    assert await call(store.get, NS, "k")
    await call(store.close)


async def test_a_put_sets_the_time_to_live_anew(store, call, clock):
    await call(store.put, NS, "k", {"n": 1}, ttl=1)
    clock.minutes(0.9)
    await call(store.put, NS, "k", {"n": 2}, ttl=2)
    clock.minutes(1.9)
    assert (await call(store.get, NS, "k", refresh_ttl=False)).value == {"n": 2}
    await call(store.put, NS, "k", {"n": 3}, ttl=None)
    clock.minutes(1000)
    assert (await call(store.get, NS, "k")).value == {"n": 3}


async def test_a_put_over_an_expired_item_makes_a_new_one(store, call, clock):
    await call(store.put, NS, "k", {"n": 1}, ttl=1)
    clock.minutes(2)
    await call(store.put, NS, "k", {"n": 2})
    item = await call(store.get, NS, "k")
    assert (item.value, item.created_at) == ({"n": 2}, datetime.fromtimestamp(clock.now, UTC))
    assert item.updated_at == item.created_at
    clock.minutes(1000)
    assert await call(store.get, NS, "k")


async def test_a_namespace_with_one_living_item_is_listed(store, call, clock):
    await call(store.put, ("a",), "short", {"n": 1}, ttl=1)
    await call(store.put, ("a",), "long", {"n": 1}, ttl=10)
    await call(store.put, ("b",), "short", {"n": 1}, ttl=1)
    clock.minutes(2)
    assert await call(store.list_namespaces) == [("a",)]


async def test_a_page_is_filled_with_living_items(store, call, clock):
    for n in range(30):
        await call(store.put, NS, str(n), {"text": "pizza"}, ttl=1 if n % 2 else None)
    clock.minutes(2)
    for options in ({}, {"query": "pizza"}, {"filter": {"text": "pizza"}}):
        found = await call(store.search, NS, limit=10, **options)
        assert len(found) == 10
        assert all(int(item.key) % 2 == 0 for item in found)


async def test_an_update_keeps_the_time_to_live_and_starts_it_anew(store, call, clock):
    await call(store.put, NS, "k", {"n": 1}, ttl=1.4)
    clock.minutes(1.3)
    await call(store.update, NS, "k", lambda value: {"n": value["n"] + 1})
    clock.minutes(1.3)
    assert (await call(store.get, NS, "k", refresh_ttl=False)).value == {"n": 2}
    clock.minutes(0.11)
    assert await call(store.get, NS, "k") is None
    seen: list[Any] = []
    await call(store.update, NS, "k", lambda value: seen.append(value) or {"n": 0})
    assert seen == [None]


async def test_an_update_of_an_item_that_never_expires_does_not_make_it_expire(url, call, clock):
    store = AgentMemStore.from_url(url, ttl={"default_ttl": 1})
    await call(store.put, NS, "k", {"n": 1}, ttl=None)
    await call(store.update, NS, "k", lambda value: {"n": value["n"] + 1})
    clock.minutes(2)
    assert (await call(store.get, NS, "k")).value == {"n": 2}
    await call(store.close)


async def test_an_update_can_set_the_time_to_live(store, call, clock):
    await call(store.put, NS, "k", {"n": 1}, ttl=1)
    await call(store.update, NS, "k", lambda value: {"n": 2}, ttl=None)
    clock.minutes(100)
    assert await call(store.get, NS, "k")
    await call(store.update, NS, "k", lambda value: {"n": 3}, ttl=0.5)
    clock.minutes(0.6)
    assert await call(store.get, NS, "k") is None


async def test_sweeping_deletes_what_has_expired_and_nothing_else(store, call, clock):
    for n in range(250):
        await call(store.put, NS, str(n), {"text": "pizza"}, ttl=1)
    await call(store.put, NS, "long", {"text": "pizza"}, ttl=10)
    await call(store.put, NS, "forever", {"text": "pizza"})
    assert await call(store.sweep_ttl) == 0
    clock.minutes(1)
    assert await call(store.sweep_ttl) == 250
    assert await call(store.sweep_ttl) == 0
    assert set(keys(await call(store.search, NS, refresh_ttl=False))) == {"long", "forever"}
    clock.minutes(-1)
    assert set(keys(await call(store.search, NS, query="pizza", limit=300))) == {"long", "forever"}


async def test_sweeping_happens_by_itself_after_a_write(store, call, clock):
    for n in range(5):
        await call(store.put, NS, str(n), {"n": n}, ttl=1)
    clock.minutes(4)
    await call(store.put, NS, "write", {"n": 1})
    clock.minutes(2)
    await call(store.get, NS, "write")
    await call(store.put, NS, "write", {"n": 2})
    clock.minutes(-6)
    assert keys(await call(store.search, NS)) == ["write"]


async def test_sweeping_does_not_happen_after_every_write(store, call, clock):
    await call(store.put, NS, "expired", {"n": 1}, ttl=1)
    clock.minutes(2)
    await call(store.put, NS, "write", {"n": 1})  # the first sweep of a program comes early
    assert await call(store.sweep_ttl) == 0
    await call(store.put, NS, "expired", {"n": 1}, ttl=1)
    clock.minutes(2)
    await call(store.put, NS, "write", {"n": 2})
    assert await call(store.sweep_ttl) == 1


async def test_sweeping_goes_on_with_the_next_write_while_there_is_more(store, call, clock):
    await call(store.batch, [PutOp(NS, f"expired {n}", {"n": n}, ttl=1) for n in range(250)])
    clock.minutes(2)
    for n in range(2):
        await call(store.put, NS, "write", {"n": n})
    assert await call(store.sweep_ttl) == 50


async def test_one_tenants_sweep_leaves_the_others(lasting_url, call, clock):
    with AgentMemory.from_url(lasting_url, tenant="a") as a, AgentMemory.from_url(lasting_url, tenant="b") as b:
        await call(a.store.put, NS, "k", {"n": 1}, ttl=1)
        await call(b.store.put, NS, "k", {"n": 1}, ttl=1)
        clock.minutes(2)
        assert await call(a.sweep) == 1
        assert await call(a.sweep) == 0
        assert await call(b.sweep) == 1


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e30, "5", True, [1]], ids=repr)
async def test_a_time_to_live_that_makes_no_sense_is_refused(store, call, ttl):
    with pytest.raises((InvalidInputError, InvalidTypeError), match="ttl"):
        await call(store.put, NS, "k", {"n": 1}, ttl=ttl)
    assert await call(store.search, ()) == []
