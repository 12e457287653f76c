"""A worker whose clock is two hours late never brings an expiry forward."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemory, Retention
from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.compression.records import Record
from langchain_agentmem.compression.storage import SessionRecords, ThreadRecords
from langchain_agentmem.programs import arun, run

HOUR = 3600.0
NOW = 1_800_000_000.0


class Clock:
    def __init__(self, monkeypatch) -> None:
        self.now = NOW
        monkeypatch.setattr("time.time", lambda: self.now)

    def move(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, UTC)


def config(thread_id: str = "1") -> Any:
    return {"configurable": {"thread_id": thread_id}}


async def say(memory: AgentMemory, call, thread_id: str = "1") -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [("ai", "ok")]})
    builder.add_edge(START, "reply")
    graph = builder.compile(checkpointer=memory.checkpointer)
    await call(graph.invoke, {"messages": [("user", "hi")]}, config(thread_id))


async def test_a_late_worker_leaves_a_session_its_time_to_live(memory, call, clock):
    history = memory.history("s", retention=Retention(ttl=HOUR))
    await call(history.add_messages, [HumanMessage("first")])
    clock.move(-2 * HOUR)
    await call(history.add_messages, [HumanMessage("late")])
    clock.move(2 * HOUR)
    (info,) = await call(memory.sessions.list)
    assert (info.updated_at, info.expires_at) == (moment(0), moment(HOUR))
    clock.move(HOUR / 2)
    await call(history.add_messages, [HumanMessage("third")])
    assert await call(memory.sweep) == 0
    assert [one.content for one in await call(history.get_recent)] == ["first", "late", "third"]


async def test_a_late_worker_leaves_a_fixed_time_to_live_as_it_is(memory, call, clock):
    history = memory.history("s", retention=Retention(ttl=HOUR, sliding=False))
    await call(history.add_messages, [HumanMessage("first")])
    clock.move(-2 * HOUR)
    await call(history.add_messages, [HumanMessage("late")])
    clock.move(2 * HOUR)
    assert (await call(memory.sessions.list))[0].expires_at == moment(HOUR)


@pytest.mark.parametrize("late", [0, 2 * HOUR])
async def test_a_shorter_time_to_live_of_a_session_counts_from_its_last_message(memory, call, clock, late):
    await call(memory.history("s", retention=Retention(ttl=24 * HOUR)).add_messages, [HumanMessage("a")])
    clock.move(-late)
    await call(memory.history("s", retention=Retention(ttl=HOUR)).add_messages, [HumanMessage("b")])
    clock.move(late)
    assert (await call(memory.sessions.list))[0].expires_at == moment(HOUR)


async def test_a_late_worker_leaves_an_item_its_time_to_live(url, call, clock):
    with AgentMemory.from_url(url, ttl=HOUR) as memory:
        store = memory.store
        await call(store.put, ("a",), "put", {"n": 1})
        await call(store.put, ("a",), "read", {"n": 1})
        await call(store.put, ("a",), "updated", {"n": 1})
        clock.move(-2 * HOUR)
        await call(store.put, ("a",), "put", {"n": 2})
        await call(store.get, ("a",), "read")
        await call(store.update, ("a",), "updated", lambda value: {"n": value["n"] + 1})
        clock.move(2 * HOUR + HOUR - 1)
        assert await call(store.sweep_ttl) == 0
        items = await call(store.search, ("a",), refresh_ttl=False)
        assert {item.key: item.value["n"] for item in items} == {"put": 2, "read": 1, "updated": 2}
        clock.move(1)
        assert await call(store.search, ("a",)) == []
        await call(memory.close)


async def test_a_late_worker_leaves_an_item_what_reading_it_gave_it(url, call, clock):
    with AgentMemory.from_url(url, ttl=HOUR) as memory:
        store = memory.store
        await call(store.put, ("a",), "k", {"n": 1})
        clock.move(HOUR / 2)
        await call(store.get, ("a",), "k")
        clock.move(-2 * HOUR)
        await call(store.put, ("a",), "k", {"n": 2})
        clock.move(2 * HOUR + HOUR - 1)
        assert (await call(store.get, ("a",), "k", refresh_ttl=False)).value == {"n": 2}
        clock.move(1)
        assert await call(store.get, ("a",), "k") is None
        await call(memory.close)


@pytest.mark.parametrize("late", [0, 2 * HOUR])
async def test_a_shorter_time_to_live_of_an_item_counts(url, call, clock, late):
    with AgentMemory.from_url(url) as memory:
        store = memory.store
        for key, ttl in (("long", 600.0), ("none", None)):
            await call(store.put, ("a",), key, {"n": 1}, ttl=ttl)
        clock.move(-late)
        for key in ("long", "none"):
            await call(store.put, ("a",), key, {"n": 2}, ttl=60.0)
        clock.move(late + HOUR - 1)
        assert len(await call(store.search, ("a",), refresh_ttl=False)) == 2
        clock.move(1)
        assert await call(store.search, ("a",)) == []
        await call(memory.close)


async def test_a_late_worker_leaves_a_thread_its_time_to_live(url, call, clock):
    with AgentMemory.from_url(url, ttl=HOUR) as memory:
        await say(memory, call)
        clock.move(-2 * HOUR)
        await say(memory, call)
        clock.move(2 * HOUR)
        (info,) = await call(memory.checkpointer.threads)
        assert (info.updated_at, info.expires_at) == (moment(0), moment(HOUR))
        clock.move(HOUR / 2)
        await say(memory, call)
        found = await call(memory.checkpointer.get_tuple, config())
        assert len(found.checkpoint["channel_values"]["messages"]) == 6
        await call(memory.close)


async def test_a_late_worker_leaves_a_thread_the_time_to_live_that_was_set(memory, call, clock):
    await say(memory, call)
    clock.move(HOUR / 2)
    await call(memory.checkpointer.set_ttl, "1", HOUR)
    clock.move(-2 * HOUR)
    await say(memory, call)
    await call(memory.checkpointer.copy_thread, "1", "2")
    clock.move(2 * HOUR)
    assert {info.expires_at for info in await call(memory.checkpointer.threads)} == {moment(1.5 * HOUR)}


@pytest.mark.parametrize("late", [0, 2 * HOUR])
async def test_a_shorter_time_to_live_of_a_thread_counts_from_its_last_use(memory, call, clock, late):
    await say(memory, call)
    await call(memory.checkpointer.set_ttl, "1", 24 * HOUR)
    clock.move(-late)
    assert await call(memory.checkpointer.set_ttl, "1", HOUR)
    clock.move(late)
    assert (await call(memory.checkpointer.threads))[0].expires_at == moment(HOUR)


async def test_a_late_worker_leaves_a_note_its_time_to_live(memory, clock):
    notes = Notes(memory.backend, "default", "session", "s")
    storage = ThreadRecords(memory.backend, notes, "summary", HOUR)
    assert await arun(storage.swap(Record(claim=1, until=NOW + 60), None, NOW))
    clock.move(-2 * HOUR)
    record, revision = await arun(storage.load(clock.now))
    assert await arun(storage.swap(record, revision, clock.now))
    clock.move(2 * HOUR + HOUR - 1)
    assert (await arun(storage.load(clock.now)))[0].claim == 1


def test_a_late_worker_leaves_a_claim_its_end(memory, clock):
    storage = SessionRecords(memory.backend, SessionKey("default", None, "s"), None)
    seen: list[Record] = []

    def summarise(_: Any) -> AIMessage:
        record, _ = run(storage.load(clock.now))
        seen.append(record)
        return AIMessage("They counted.")

    compressor = memory.compressor(RunnableLambda(summarise), max_messages=4)
    for late in (0, 2 * HOUR):
        memory.history("s").add_messages([HumanMessage(f"That is number {number}.") for number in range(10)])
        clock.move(-late)
        assert len(memory.history("s", compressor=compressor).messages) <= 4
    first, second = seen[0], seen[-1]
    assert first.claim != second.claim
    assert second.until >= first.until
