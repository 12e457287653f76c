"""Threads that expire, checkpoints that are too old, and the list of threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langchain_agentmem import AgentMemory, AgentMemSaver, InvalidInputError, InvalidTypeError, ThreadInfo
from langchain_agentmem.backends import connect

BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4


class Clock:
    """The time, which passes only when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_700_000_000.0
        monkeypatch.setattr(time, "time", lambda: self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def saver(url: str) -> Iterator[AgentMemSaver]:
    """A saver whose threads expire after 100 seconds without a new checkpoint."""
    with AgentMemory.from_url(url, ttl=100) as memory:
        yield memory.checkpointer


def thread(thread_id: str, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **more}}


class Putter:
    """Puts checkpoints that follow each other."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.number = 0

    async def __call__(self, saver: AgentMemSaver, config: Any, metadata: Any = None) -> Any:
        self.number += 1
        checkpoint: Any = {
            "v": 4,
            "id": f"{self.number:06}",
            "ts": "",
            "channel_values": {"log": [f"{n} {BIG}" for n in range(self.number)]},
            "channel_versions": {"log": str(self.number)},
            "versions_seen": {},
        }
        return await self.call(saver.put, config, checkpoint, metadata or {}, checkpoint["channel_versions"])


@pytest.fixture
def put(call: Any) -> Putter:
    return Putter(call)


# Threads that expire


async def test_an_expired_thread_is_gone(saver, call, clock, put):
    config = await put(saver, thread("1"))
    await call(saver.put_writes, config, [("log", [BIG])], "task")
    clock.passes(99)
    assert await call(saver.get_tuple, thread("1")) is not None
    clock.passes(1)
    assert await call(saver.get_tuple, thread("1")) is None
    assert await call(saver.get_tuple, config) is None
    assert await call(saver.list, thread("1")) == []
    assert await call(saver.list, {"configurable": {"thread_id": "1"}}) == []
    assert await call(saver.list, None) == []
    assert await call(saver.threads) == []
    for named in (config, thread("1")):
        history = await call(saver.get_delta_channel_history, config=named, channels=["log"])
        assert history == {"log": {"writes": []}}


async def test_an_ancestor_of_an_expired_thread_shows_nothing(saver, call, clock, put):
    first = await put(saver, thread("1"))
    await call(saver.put_writes, first, [("delta", [BIG])], "task")
    second = await put(saver, first)
    assert (await call(saver.get_delta_channel_history, config=second, channels=["delta"]))["delta"]["writes"]
    clock.passes(101)
    history = await call(saver.get_delta_channel_history, config=second, channels=["delta"])
    assert history == {"delta": {"writes": []}}


async def test_after_it_expired_a_thread_starts_afresh(saver, call, clock, put):
    first = await put(saver, thread("1"))
    second = await put(saver, first)
    await call(saver.put_writes, second, [("log", [BIG])], "task")
    clock.passes(101)
    third = await put(saver, second)
    listed = await call(saver.list, thread("1"))
    assert [one.config for one in listed] == [third]
    assert len(listed[0].checkpoint["channel_values"]["log"]) == 3
    assert await call(saver.get_tuple, first) is None
    assert [info.checkpoint_count for info in await call(saver.threads)] == [1]
    fresh = await call(AgentMemSaver(saver._backend).get_tuple, thread("1"))
    assert fresh.checkpoint == listed[0].checkpoint


async def test_every_checkpoint_and_write_starts_the_time_anew(saver, call, clock, put):
    config = await put(saver, thread("1"))
    for _ in range(3):
        clock.passes(90)
        config = await put(saver, config)
    clock.passes(90)
    await call(saver.put_writes, config, [("log", 1)], "task")
    clock.passes(90)
    assert len(await call(saver.list, thread("1"))) == 4
    clock.passes(11)
    assert await call(saver.list, thread("1")) == []


async def test_reading_does_not_start_the_time_anew(saver, call, clock, put):
    config = await put(saver, thread("1"))
    for _ in range(4):
        clock.passes(20)
        assert await call(saver.get_tuple, config) is not None
        assert len(await call(saver.list, config)) == 1
    clock.passes(20)
    assert await call(saver.get_tuple, config) is None


async def test_without_a_time_to_live_threads_stay(memory, call, clock, put):
    config = await put(memory.checkpointer, thread("1"))
    clock.passes(1e9)
    assert await call(memory.checkpointer.get_tuple, config) is not None
    (info,) = await call(memory.checkpointer.threads)
    assert info.expires_at is None


@pytest.mark.parametrize("ttl", [50, 50.0, timedelta(seconds=50)])
async def test_a_thread_may_have_a_time_to_live_of_its_own(memory, call, clock, put, ttl):
    saver = memory.checkpointer
    config = await put(saver, thread("1"))
    await put(saver, thread("2"))
    clock.passes(10)
    assert await call(saver.set_ttl, "1", ttl) is True
    clock.passes(49)
    config = await put(saver, config)  # the time starts anew, and is the same
    clock.passes(49)
    assert await call(saver.get_tuple, config) is not None
    clock.passes(1)
    assert await call(saver.get_tuple, config) is None
    assert [info.thread_id for info in await call(saver.threads)] == ["2"]
    assert await call(saver.set_ttl, "1", 10) is False


async def test_a_time_to_live_may_be_taken_away(saver, call, clock, put):
    config = await put(saver, thread("1"))
    assert await call(saver.set_ttl, "1", None) is True
    clock.passes(1000)
    config = await put(saver, config)
    clock.passes(1000)
    assert await call(saver.get_tuple, config) is not None


async def test_a_thread_that_is_not_there_has_no_time_to_live(saver, call):
    assert await call(saver.set_ttl, "nobody", 10) is False
    assert await call(saver.threads) == []


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), timedelta(0)])
async def test_a_time_to_live_that_is_no_time_is_refused(memory, call, put, ttl):
    await put(memory.checkpointer, thread("1"))
    with pytest.raises(InvalidInputError, match="ttl"):
        await call(memory.checkpointer.set_ttl, "1", ttl)
    with pytest.raises(InvalidInputError, match="ttl"):
        AgentMemSaver(connect("sqlite:///:memory:"), ttl=ttl)


@pytest.mark.parametrize("ttl", ["10", True, [10]])
async def test_a_time_to_live_of_another_type_is_refused(memory, call, put, ttl):
    await put(memory.checkpointer, thread("1"))
    with pytest.raises(InvalidTypeError, match="ttl"):
        await call(memory.checkpointer.set_ttl, "1", ttl)
    with pytest.raises(InvalidTypeError, match="ttl"):
        AgentMemSaver(connect("sqlite:///:memory:"), ttl=ttl)


async def test_a_copy_has_the_time_to_live_of_its_source_from_now_on(saver, call, clock, put):
    await put(saver, thread("1"))
    clock.passes(90)
    await call(saver.copy_thread, "1", "2")
    clock.passes(20)
    assert await call(saver.get_tuple, thread("1")) is None
    assert await call(saver.get_tuple, thread("2")) is not None
    clock.passes(80)
    assert await call(saver.get_tuple, thread("2")) is None


async def test_an_expired_thread_is_neither_copied_nor_in_the_way_of_a_copy(saver, call, clock, put):
    await put(saver, thread("old"))
    clock.passes(101)
    config = await put(saver, thread("new"))
    await call(saver.copy_thread, "old", "copy")
    assert await call(saver.get_tuple, thread("copy")) is None
    await call(saver.copy_thread, "new", "old")
    copied = await call(saver.list, thread("old"))
    assert [one.checkpoint["id"] for one in copied] == [config["configurable"]["checkpoint_id"]]


async def test_sweeping_gives_the_space_back_and_deletes_nothing_else(url, call, clock, put):
    with AgentMemory.from_url(url, ttl=100) as memory:
        saver = memory.checkpointer
        for number in range(230):
            await put(saver, thread(f"old {number}"))
            put.number = number % 3
        clock.passes(60)
        kept = await put(saver, thread("young"))
        await put(saver, thread("forever"))
        await call(saver.set_ttl, "forever", None)
        clock.passes(60)
        assert await call(memory.sweep) == 230
        assert await call(memory.sweep) == 0
        assert {info.thread_id for info in await call(saver.threads)} == {"young", "forever"}
        assert await call(saver.get_tuple, kept) is not None


async def test_a_graphs_conversation_begins_anew_after_it_expired(saver, call, clock):
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [("ai", f"{len(state['messages'])} {BIG}")]})
    builder.add_edge(START, "reply")
    graph = builder.compile(checkpointer=saver)
    lengths = []
    for pause in (0, 50, 99, 100, 50):
        clock.passes(pause)
        lengths.append(len((await call(graph.invoke, {"messages": [("user", BIG)]}, thread("1")))["messages"]))
    assert lengths == [2, 4, 6, 2, 4]


# Checkpoints that are too old


@pytest.mark.parametrize("older_than", [50, timedelta(seconds=50)])
async def test_old_checkpoints_go_and_the_newest_of_each_namespace_stays(memory, call, clock, put, older_than):
    saver = memory.checkpointer
    for thread_id in ("old", "mixed"):
        for namespace in ("", "inner"):
            config = thread(thread_id, checkpoint_ns=namespace)
            for _ in range(3):
                config = await put(saver, config)
    clock.passes(60)
    for _ in range(2):
        config = await put(saver, thread("mixed"))
    assert await call(saver.expire_checkpoints, older_than) == 2 + 2 + 3 + 2
    assert [len(await call(saver.list, thread("old", checkpoint_ns=ns))) for ns in ("", "inner")] == [1, 1]
    assert [len(await call(saver.list, thread("mixed", checkpoint_ns=ns))) for ns in ("", "inner")] == [2, 1]
    assert (await call(saver.get_tuple, thread("mixed"))).config == config
    assert await call(saver.expire_checkpoints, older_than) == 0
    for one in await call(AgentMemSaver(memory.backend).list, None):
        assert len(one.checkpoint["channel_values"]["log"]) == int(one.checkpoint["id"])


async def test_only_the_threads_that_are_named_lose_old_checkpoints(memory, call, clock, put):
    saver = memory.checkpointer
    for thread_id in "abc":
        for _ in range(3):
            await put(saver, thread(thread_id))
    clock.passes(60)
    assert await call(saver.expire_checkpoints, 50, thread_ids=["a", "c", "nobody"]) == 4
    assert [info.checkpoint_count for info in await call(saver.threads)] == [1, 3, 1]
    with pytest.raises(InvalidTypeError, match="list of strings"):
        await call(saver.expire_checkpoints, 50, thread_ids="b")
    for wrong in (0, -1, float("nan"), timedelta(0)):
        with pytest.raises(InvalidInputError, match="older_than"):
            await call(saver.expire_checkpoints, wrong)
    for other in (None, True, "60"):
        with pytest.raises(InvalidTypeError, match="older_than"):
            await call(saver.expire_checkpoints, other)
    assert [info.checkpoint_count for info in await call(saver.threads)] == [1, 3, 1]


async def test_a_graph_that_waits_resumes_after_its_old_checkpoints_went(memory, call, clock):
    def ask(state: MessagesState) -> Any:
        return {"messages": [("ai", interrupt("first?")), ("ai", interrupt("second?"))]}

    def build(saver: Any) -> Any:
        inner = StateGraph(MessagesState)
        inner.add_node("ask", ask)
        inner.add_edge(START, "ask")
        builder = StateGraph(MessagesState)
        builder.add_node("inner", inner.compile())
        builder.add_edge(START, "inner")
        return builder.compile(checkpointer=saver)

    results = []
    for saver, expire in ((InMemorySaver(), False), (memory.checkpointer, True)):
        await call(build(saver).invoke, {"messages": [("user", BIG)]}, thread("1"))
        for answer in ("one", f"two {BIG}"):
            clock.passes(1000)
            if expire:
                await call(saver.expire_checkpoints, 10)
            result = await call(build(saver).invoke, Command(resume=answer), thread("1"))
        results.append([message.content for message in result["messages"]])
    assert results[0] == results[1] == [BIG, "one", f"two {BIG}"]


# The list of threads


async def test_threads_are_listed_with_what_is_known_of_them(saver, call, clock, put):
    first = await put(saver, thread("1", user_id="alice@example.com"))
    clock.passes(5)
    await put(saver, first)
    assert await call(saver.threads) == [
        ThreadInfo(
            "1",
            "alice@example.com",
            2,
            datetime.fromtimestamp(clock.now - 5, UTC),
            datetime.fromtimestamp(clock.now, UTC),
            datetime.fromtimestamp(clock.now + 100, UTC),
        )
    ]


async def test_threads_come_most_recently_used_first_a_page_at_a_time(memory, call, clock, put):
    saver = memory.checkpointer
    configs = {}
    for name in "abcdef":
        clock.passes(1)
        configs[name] = await put(saver, thread(name))
    clock.passes(1)
    await put(saver, configs["b"])
    clock.passes(1)
    await call(saver.put_writes, configs["d"], [("log", 1)], "task")
    ordered = ["d", "b", "f", "e", "c", "a"]
    assert [info.thread_id for info in await call(saver.threads)] == ordered
    pages = [await call(saver.threads, limit=4, offset=offset) for offset in (0, 4, 8)]
    assert [[info.thread_id for info in page] for page in pages] == [ordered[:4], ordered[4:], []]
    assert [info.thread_id for info in await call(saver.threads, offset=5)] == ["a"]


async def test_threads_of_one_moment_are_all_on_some_page(memory, call, clock, put):
    for number in range(25):
        await put(memory.checkpointer, thread(f"{number}"))
        put.number = 0
    listed = [
        info.thread_id
        for offset in range(0, 25, 4)
        for info in await call(memory.checkpointer.threads, limit=4, offset=offset)
    ]
    assert sorted(listed, key=int) == [str(number) for number in range(25)]


async def test_threads_of_a_user_are_those_and_no_others(memory, call, put):
    saver = memory.checkpointer
    users = ["alice@example.com", "alice@example_com", "%", "*", "ü€😀", "Alice@example.com", "a" * 1024]
    for user in users:
        await put(saver, thread(f"of {user}"[:1000], user_id=user))
    await put(saver, thread("of nobody"))
    for user in users:
        assert [info.user_id for info in await call(saver.threads, user_id=user)] == [user]
    assert await call(saver.threads, user_id="bob") == []
    listed = await call(saver.threads)
    assert {info.user_id for info in listed} == {None, *users}


async def test_a_threads_user_is_the_last_that_was_named(memory, call, put):
    saver = memory.checkpointer
    config = await put(saver, thread("1", user_id="alice"))
    await put(saver, config)
    assert [info.user_id for info in await call(saver.threads)] == ["alice"]
    await put(saver, thread("1", user_id="bob"))
    assert [info.user_id for info in await call(saver.threads)] == ["bob"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"limit": 0}, InvalidInputError),
        ({"limit": -1}, InvalidInputError),
        ({"limit": 1.5}, InvalidTypeError),
        ({"offset": -1}, InvalidInputError),
        ({"offset": "1"}, InvalidTypeError),
        ({"user_id": ""}, InvalidInputError),
        ({"user_id": 7}, InvalidTypeError),
    ],
    ids=str,
)
async def test_a_wrong_page_or_user_is_refused(memory, call, options, error):
    with pytest.raises(error, match=next(iter(options))):
        await call(memory.checkpointer.threads, **options)


async def test_the_threads_of_another_tenant_are_not_ours(lasting_url, call, put):
    with AgentMemory.from_url(lasting_url, tenant="a") as ours, AgentMemory.from_url(lasting_url, tenant="b") as others:
        config = await put(ours.checkpointer, thread("1"))
        await put(others.checkpointer, thread("1"))
        await put(others.checkpointer, thread("2"), {"run_id": "r"})
        assert [info.checkpoint_count for info in await call(ours.checkpointer.threads)] == [1]
        await call(ours.checkpointer.delete_thread, "2")
        await call(ours.checkpointer.delete_for_runs, ["r"])
        await call(ours.checkpointer.prune, ["1", "2"], strategy="delete")
        assert await call(ours.checkpointer.get_tuple, config) is None
        assert len(await call(others.checkpointer.list, None)) == 2
