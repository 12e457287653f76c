"""The right to use a connection comes back from a reference cycle, though Python does not collect garbage by itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from langchain_agentmem.backends import garbage
from langchain_agentmem.backends.postgres import slots
from langchain_agentmem.backends.redis.limits import TimeLimit
from langchain_agentmem.backends.redis.pools import Lease, LoopPool, Pool
from langchain_agentmem.programs import arun, run

SIZE, TIMEOUT = 1, 5.0

pytestmark = pytest.mark.usefixtures("no_collection")


@pytest.fixture
def no_collection(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "_next", float("-inf"))
    gc.disable()
    yield
    gc.enable()


def lose(held: Any) -> None:
    """Refer to an object only from a reference cycle."""
    cycle: list[Any] = [held]
    cycle.append(cycle)


def test_a_redis_connection_comes_back_to_threads() -> None:
    pool = Pool(lambda limit: None, lambda connection: True, SIZE)
    lost = Lease(pool)
    assert pool.take(lost, TimeLimit(TIMEOUT), wait=True)
    lose(lost)
    del lost
    assert pool.take(Lease(pool), TimeLimit(TIMEOUT), wait=True)


async def test_a_redis_connection_comes_back_to_tasks() -> None:
    async def open_(limit: TimeLimit) -> None:
        return None

    pool = LoopPool(open_, lambda connection: True, SIZE)
    lost = Lease(pool)
    assert await pool.take(lost, TimeLimit(TIMEOUT), wait=True)
    lose(lost)
    del lost
    assert await pool.take(Lease(pool), TimeLimit(TIMEOUT), wait=True)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_postgres_connection_comes_back(asynchronous: bool) -> None:
    places = slots.Slots(SIZE)
    lost, following = slots.Slot(places), slots.Slot(places)
    run(lost.take(slots.TimeLimit(TIMEOUT)))
    lose(lost)
    del lost
    taking = following.take(slots.TimeLimit(TIMEOUT))
    if asynchronous:
        await arun(taking)
    else:
        run(taking)
    assert following.is_taken


def test_a_pool_collects_garbage_only_if_nobody_progresses_and_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now, collections = 100.0, []
    monkeypatch.setattr(garbage.time, "monotonic", lambda: now)
    monkeypatch.setattr(garbage.gc, "collect", lambda: collections.append(now))
    garbage.collect_garbage(99.95)
    assert collections == []
    garbage.collect_garbage(99.0)
    now = 100.5
    garbage.collect_garbage(99.0)
    now = 101.5
    garbage.collect_garbage(99.0)
    assert collections == [100.0, 101.5]


def test_a_slow_collection_is_not_repeated_by_each_waiting_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, collections = [100.0], []

    def collect() -> None:
        collections.append(clock[0])
        clock[0] += 3.0

    monkeypatch.setattr(garbage.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(garbage.gc, "collect", collect)
    for _ in range(100):
        garbage.collect_garbage(0.0)
    assert collections == [100.0]
    clock[0] += 60.0
    garbage.collect_garbage(0.0)
    assert collections == [100.0, 163.0]
