"""Bursts of store operations that the exception of a signal handler breaks off: no later call waits for what it left behind."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from langgraph.store.base import PutOp
from patience import PATIENCE

from langchain_agentmem import AgentMemStore
from langchain_agentmem.store import bursts, jobs
from langchain_agentmem.store.batches import Batch

PLACE = ("burst", "here")


class Stopped(Exception):
    """What a signal handler raises."""


class Breaking:
    """Raises an exception at one of the lines of the modules that a burst runs through."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.lines = 0

    def __enter__(self) -> Breaking:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        return self._line if frame.f_code.co_filename in (bursts.__file__, jobs.__file__) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                raise Stopped
        return self._line


@pytest.fixture
def store() -> Iterator[AgentMemStore]:
    with AgentMemStore.from_url("sqlite:///:memory:") as made:
        yield made


def test_a_burst_that_is_broken_off_at_any_line_lets_later_calls_go_on(store):
    async def burst(value: int, patience: float) -> list[Any]:
        calls = [store.aput(PLACE, key, {"n": value}) for key in ("a", "b", "a")]
        calls += [store.aget(PLACE, "a"), store.asearch(PLACE)]
        return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), patience)

    async def broken_off(at: int) -> bool:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # a callback was broken off
        with Breaking(at) as breaking:
            # A call whose callback was broken off may wait for ever.
            await asyncio.gather(burst(at, 2), return_exceptions=True)
        results = await burst(-at, PATIENCE)
        assert [result for result in results if isinstance(result, BaseException)] == [], at
        assert (await store.aget(PLACE, "a")).value == {"n": -at}
        return breaking.lines >= at

    at = 1
    while asyncio.run(broken_off(at)):
        at += 1
    assert at > 100


async def test_batches_that_wait_for_each_other_are_not_gone_through_each_time(store, monkeypatch):
    looks = 0
    written_keys = Batch.written_keys

    def counted(batch: Batch) -> Any:
        nonlocal looks
        looks += 1
        return written_keys(batch)

    monkeypatch.setattr(Batch, "written_keys", counted)
    count = 600
    batches = [[PutOp(PLACE, "same", {"n": at}), PutOp(PLACE, f"own {at}", {"n": at})] for at in range(count)]
    await asyncio.gather(*map(store.abatch, batches))
    assert (await store.aget(PLACE, "same")).value == {"n": count - 1}
    assert looks < 60 * count  # about 600 * 600 / 2 if each job looks at all


def test_a_time_limit_ends_the_calls_instead_of_being_taken_for_a_bad_operation():
    calls = 0

    def handle(number: int, frame: FrameType | None) -> None:
        raise Stopped

    async def embed(texts: list[str]) -> list[list[float]]:
        nonlocal calls
        calls += 1
        if calls == 1:
            signal.raise_signal(signal.SIGALRM)
        return [[1.0, 0.0, 0.0] for _ in texts]

    async def burst(store: AgentMemStore) -> list[Any]:
        puts = [store.aput(PLACE, key, {"text": key}) for key in "abc"]
        return await asyncio.gather(*puts, return_exceptions=True)

    former = signal.signal(signal.SIGALRM, handle)
    try:
        with AgentMemStore.from_url("sqlite:///:memory:", index={"embed": embed, "dims": 3}) as store:
            results = asyncio.run(burst(store))
            assert [type(result) for result in results] == [Stopped, Stopped, Stopped]
            assert store.search(PLACE) == []
    finally:
        signal.signal(signal.SIGALRM, former)
