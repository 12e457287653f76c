"""Pending writes: in order, once, except LangGraph's own channels, before or after the checkpoint they belong to."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.base import WRITES_IDX_MAP, writes_sort_key
from langgraph.checkpoint.memory import InMemorySaver

from langchain_agentmem import AgentMemSaver, InvalidInputError

BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4
SPECIAL = tuple(WRITES_IDX_MAP)
numbers = itertools.count()

moderate = settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def named(thread: str = "1", checkpoint_id: str | None = "1") -> Any:
    more = {} if checkpoint_id is None else {"checkpoint_id": checkpoint_id}
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **more}}


def checkpoint(checkpoint_id: str = "1", value: Any = None) -> Any:
    values = {} if value is None else {"log": value}
    return {
        "v": 4,
        "id": checkpoint_id,
        "ts": "",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, checkpoint_id),
        "versions_seen": {},
    }


async def put(saver: Any, call: Any, checkpoint_id: str = "1", value: Any = None, thread: str = "1") -> Any:
    given = checkpoint(checkpoint_id, value)
    return await call(saver.put, named(thread, None), given, {}, given["channel_versions"])


async def pending(saver: Any, call: Any, config: Any = None) -> list[Any]:
    return (await call(saver.get_tuple, config or named(checkpoint_id=None))).pending_writes


batches = st.lists(
    st.tuples(
        st.lists(
            st.tuples(
                st.sampled_from(["log", "other", *SPECIAL]),
                st.sampled_from([None, 1, "text", BIG, [BIG], [f"{n} {BIG}" for n in range(70)], {"a": BIG}, ()]),
            ),
            max_size=4,
        ),
        st.sampled_from(["task 1", "task 2", "Task", "täsk", "~"]),
        st.sampled_from(["", "~", "a", "a, 1", "ä"]),
    ),
    max_size=8,
)


@moderate
@given(before=batches, after=batches)
async def test_writes_are_those_of_langgraphs_own_saver_in_its_order(memory, call, before, after):
    thread = f"thread {next(numbers)}"
    ours, reference = memory.checkpointer, InMemorySaver()
    config = named(thread)
    for saver in (ours, reference):
        twin = call if saver is ours else _directly
        for writes, task, path in before:
            await twin(saver.put_writes, config, writes, task, path)
        await put(saver, twin, value=[BIG, BIG], thread=thread)
        for writes, task, path in after:
            await twin(saver.put_writes, config, writes, task, path)
    expected = reference.get_tuple(config).pending_writes
    for saver in (ours, AgentMemSaver(memory.backend)):
        assert repr((await call(saver.get_tuple, config)).pending_writes) == repr(expected)
        assert [repr(one.pending_writes) for one in await call(saver.list, config)] == [repr(expected)]


async def _directly(method: Any, *args: Any) -> Any:
    return method(*args)


async def test_ordinary_channels_are_written_once(memory, call):
    saver = memory.checkpointer
    config = await put(saver, call)
    await call(saver.put_writes, config, [("a", 1), ("b", [BIG])], "task")
    await call(saver.put_writes, config, [("a", 2), ("c", [BIG, 2]), ("a", 3)], "task")
    assert await pending(saver, call) == [("task", "a", 1), ("task", "b", [BIG]), ("task", "a", 3)]


@pytest.mark.parametrize("channel", SPECIAL)
async def test_langgraphs_own_channels_are_overwritten(memory, call, channel):
    saver = memory.checkpointer
    config = await put(saver, call)
    for value in (["first", BIG], ["second"], "third", [BIG, BIG]):
        await call(saver.put_writes, config, [(channel, value)], "task", "path")
        assert await pending(saver, call) == [("task", channel, value)]
    await call(saver.put_writes, config, [(channel, "other")], "other task")
    assert len(await pending(saver, call)) == 2


async def test_both_kinds_in_one_call(memory, call):
    saver = memory.checkpointer
    config = await put(saver, call)
    await call(saver.put_writes, config, [("a", 1), ("__interrupt__", [BIG]), ("b", 2)], "task")
    await call(saver.put_writes, config, [("a", 10), ("__interrupt__", ["new"]), ("b", 20), ("__resume__", 5)], "task")
    assert await pending(saver, call) == [
        ("task", "__resume__", 5),
        ("task", "__interrupt__", ["new"]),
        ("task", "a", 1),
        ("task", "b", 2),
    ]


async def test_writes_come_in_the_order_that_langgraph_replays_them(memory, call):
    saver = memory.checkpointer
    config = await put(saver, call)
    paths = ("~b", "", "~a, 10", "~a, 2", "ä", "B")
    tasks = {f"{task}{paths.index(path)}": path for path in paths for task in ("2", "10", "a", "Z", "é")}
    for task, path in tasks.items():
        await call(saver.put_writes, config, [("n", n) for n in range(11)], task, path)
    expected = sorted((writes_sort_key(path, task, n) for task, path in tasks.items() for n in range(11)))
    found = [(tasks[task], task, n) for task, _, n in await pending(saver, call)]
    assert found == expected


async def test_writes_before_their_checkpoint_are_there_when_it_is(memory, call):
    saver = memory.checkpointer
    await call(saver.put_writes, named(), [("a", [BIG]), ("__interrupt__", "wait")], "task", "path")
    assert await call(saver.get_tuple, named()) is None
    assert await call(saver.get_tuple, named(checkpoint_id=None)) is None
    assert await call(saver.list, None) == []
    await put(saver, call)
    assert await pending(saver, call) == [("task", "__interrupt__", "wait"), ("task", "a", [BIG])]


async def test_putting_a_checkpoint_after_its_writes_keeps_them(memory, call):
    saver = memory.checkpointer
    for _ in range(2):
        config = await put(saver, call, value=[BIG])
        await call(saver.put_writes, config, [("a", [BIG])], "task")
        await put(saver, call, "2", [BIG, 2])
    assert await pending(saver, call, config) == [("task", "a", [BIG])]
    assert await pending(saver, call) == []


async def test_writes_belong_to_one_checkpoint_of_one_namespace_of_one_thread(memory, call):
    saver = memory.checkpointer
    places = [
        {"configurable": {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}
        for thread in ("1", "2")
        for namespace in ("", "inner", "inner:1", "inner|x")
        for checkpoint_id in ("1", "2")
    ]
    for number, place in enumerate(places):
        await call(saver.put, place, checkpoint(place["configurable"]["checkpoint_id"]), {}, {})
        await call(saver.put_writes, place, [("a", number), ("b", [number, BIG])], "task")
    for number, place in enumerate(places):
        assert await pending(saver, call, place) == [("task", "a", number), ("task", "b", [number, BIG])]


async def test_a_long_value_that_was_written_becomes_the_channels_value(memory, call):
    """A node that returns the whole list: the write and then the checkpoint hold the same."""
    saver = memory.checkpointer
    log: list[str] = []
    config = named(checkpoint_id=None)
    for number in range(1, 100):
        log.append(f"{number} {BIG}")
        if number > 1:
            await call(saver.put_writes, config, [("log", log)], f"task {number}")
        config = await put(saver, call, f"{number:04}", log)
    listed = await call(saver.list, named(checkpoint_id=None))
    fresh = await call(AgentMemSaver(memory.backend).list, named(checkpoint_id=None))
    assert listed == fresh
    for one in listed:
        number = int(one.checkpoint["id"])
        assert one.checkpoint["channel_values"]["log"] == log[:number]
        if number < 99:
            assert one.pending_writes == [(f"task {number + 1}", "log", log[: number + 1])]


async def test_writes_need_a_checkpoint_id(memory, call):
    with pytest.raises(InvalidInputError, match="checkpoint_id"):
        await call(memory.checkpointer.put_writes, named(checkpoint_id=None), [("a", 1)], "task")
    assert await call(memory.checkpointer.threads) == []


async def test_no_writes_are_no_writes(memory, call):
    saver = memory.checkpointer
    config = await put(saver, call)
    await call(saver.put_writes, config, [], "task")
    assert await pending(saver, call) == []
