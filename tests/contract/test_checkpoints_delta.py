"""Delta channels, which store writes and now and then a snapshot: rebuilt as `InMemorySaver` rebuilds them, also from
what pruning and copying left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from database import database
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Overwrite, Send, interrupt
from typing_extensions import TypedDict

from langchain_agentmem import AgentMemory, AgentMemSaver, ThreadInUseError

CONFIG: Any = {"configurable": {"thread_id": "1"}}
BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4


def extend(state: list[Any] | None, writes: Sequence[Any]) -> list[Any]:
    return [*(state or []), *(one for write in writes for one in write)]


def merge(state: dict[str, Any] | None, writes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    merged = dict(state or {})
    for write in writes:
        merged.update(write)
    return {key: value for key, value in merged.items() if value is not None}


def schema(log: int = 100, table: int = 100) -> Any:
    """A state with two delta channels that snapshot every so many updates."""

    fields = {
        "log": Annotated[list[Any], DeltaChannel(extend, snapshot_frequency=log)],
        "table": Annotated[dict[str, Any], DeltaChannel(merge, snapshot_frequency=table)],
        "steps": int,
    }
    return TypedDict("State", fields)  # type: ignore[operator]


def hop(state: Any) -> Any:
    """Write to one delta channel or the other, or neither, and go on."""
    steps = state.get("steps", 0) + 1
    update: dict[str, Any] = {"steps": steps}
    if steps % 3:
        update["log"] = [f"{steps} {BIG}", {"n": steps}] if steps % 5 else [AIMessage(f"{steps} {BIG}", id=str(steps))]
    if steps % 2:
        update["table"] = {f"key {steps % 7}": [steps, BIG], f"key {steps % 5}": None}
    return Command(update=update, goto=END if steps % 20 == 0 else "hop")


def build(saver: Any, state: Any) -> Any:
    builder = StateGraph(state)
    builder.add_node("hop", hop, destinations=("hop", END))
    builder.add_edge(START, "hop")
    return builder.compile(checkpointer=saver)


def limited(config: Any = CONFIG) -> Any:
    return {**config, "recursion_limit": 1000}


async def turns(graph: Any, call: Any, count: int, config: Any = CONFIG, **options: Any) -> None:
    """Each turn is 20 steps."""
    for number in range(count):
        given = {"log": [HumanMessage(f"turn {number} {BIG}", id=f"turn {number}")], "table": {"turn": number}}
        await call(graph.invoke, given, limited(config), **options)


async def values_of(graph: Any, call: Any, config: Any = CONFIG) -> list[Any]:
    return [(one.values, one.next) for one in await call(graph.get_state_history, config)]


async def both(memory: AgentMemory, call: Any, state: Any, count: int, **options: Any) -> tuple[Any, Any]:
    """The same turns with our saver, and with LangGraph's."""
    graphs = build(memory.checkpointer, state), build(InMemorySaver(), state)
    for graph in graphs:
        await turns(graph, call, count, **options)
    return graphs


def walked(saver: AgentMemSaver, config: Any, channels: list[str]) -> Any:
    """The history by the base class's walk from parent to parent."""
    return BaseCheckpointSaver.get_delta_channel_history(saver, config=config, channels=channels)


FREQUENCIES = pytest.mark.parametrize("frequencies", [(100, 100), (1, 5)], ids=str)


@pytest.mark.parametrize(("frequencies", "durability"), [((100, 100), "sync"), ((10, 1000), "exit")], ids=str)
async def test_over_260_steps_the_state_is_that_of_langgraphs_own_saver(memory, call, frequencies, durability):
    ours, reference = await both(memory, call, schema(*frequencies), 13, durability=durability)
    expected = await call(reference.get_state, CONFIG)
    assert len(expected.values["log"]) > 250
    fresh = build(AgentMemSaver(memory.backend), schema(*frequencies))
    for graph in (ours, fresh):
        state = await call(graph.get_state, CONFIG)
        assert state.values == expected.values
        assert state.metadata["step"] == expected.metadata["step"]


@FREQUENCIES
async def test_the_whole_history_is_that_of_langgraphs_own_saver(memory, call, frequencies):
    ours, reference = await both(memory, call, schema(*frequencies), 2)
    expected = await values_of(reference, call)
    assert len(expected) > 40
    assert await values_of(ours, call) == expected
    assert await values_of(build(AgentMemSaver(memory.backend), schema(*frequencies)), call) == expected


async def test_steps_that_are_stored_in_the_background_are_rebuilt_too(memory, call):
    ours, reference = await both(memory, call, schema(4, 4), 3, durability="async")
    assert await values_of(ours, call) == await values_of(reference, call)


@FREQUENCIES
async def test_the_history_of_delta_channels_is_that_of_the_walk_from_parent_to_parent(memory, call, frequencies):
    state = schema(*frequencies)
    await turns(build(memory.checkpointer, state), call, 2)
    saver = memory.checkpointer
    tuples = await call(saver.list, CONFIG)
    assert len(tuples) > 40
    for config in [CONFIG, *(one.config for one in tuples[::9])]:
        for channels in (["log", "table"], ["table"], ["log", "steps", "nothing"]):
            found = await call(saver.get_delta_channel_history, config=config, channels=channels)
            assert found == walked(saver, config, channels)
            assert found == await BaseCheckpointSaver.aget_delta_channel_history(
                saver, config=config, channels=channels
            )
            assert list(found) == channels


async def test_the_history_is_read_at_once_however_long_the_walk(memory, call, monkeypatch):
    reads: list[str] = []
    for name in ("read", "aread"):
        original = getattr(memory.backend, name)
        monkeypatch.setattr(
            memory.backend,
            name,
            lambda program, original=original, name=name: (reads.append(name), original(program))[1],
        )
    await turns(build(memory.checkpointer, schema()), call, 4)
    reads.clear()
    found = await call(memory.checkpointer.get_delta_channel_history, config=CONFIG, channels=["log", "table"])
    assert len(found["log"]["writes"]) > 50
    assert len(reads) == 1


async def test_the_history_of_what_is_not_there_is_empty(memory, call):
    saver = memory.checkpointer
    nothing: Any = {"configurable": {"thread_id": "nobody"}}
    assert await call(saver.get_delta_channel_history, config=nothing, channels=["a"]) == {"a": {"writes": []}}
    assert await call(saver.get_delta_channel_history, config=nothing, channels=[]) == {}
    await turns(build(saver, schema()), call, 1)
    unknown: Any = {"configurable": {"thread_id": "1", "checkpoint_id": "unknown"}}
    assert await call(saver.get_delta_channel_history, config=unknown, channels=["log"]) == {"log": {"writes": []}}


# What changes a channel


async def test_overwrites_updates_and_forks(memory, call):
    state = schema(5, 3)

    async def play(graph: Any) -> list[Any]:
        seen: list[Any] = []
        await turns(graph, call, 1)
        middle = (await call(graph.get_state_history, CONFIG))[7]
        await call(graph.update_state, CONFIG, {"log": [f"by hand {BIG}"], "table": {"by": "hand"}}, as_node="hop")
        await turns(graph, call, 1)
        await call(graph.update_state, CONFIG, {"log": Overwrite([BIG, "overwritten"])}, as_node="hop")
        await turns(graph, call, 1)
        seen.append((await call(graph.get_state, CONFIG)).values)
        fork = await call(graph.update_state, middle.config, {"log": ["forked"], "table": {"f": BIG}}, as_node="hop")
        seen.append((await call(graph.get_state, fork)).values)
        await call(graph.invoke, None, limited(fork))
        await turns(graph, call, 1)
        await call(graph.invoke, None, limited(middle.config))
        return [*seen, await values_of(graph, call)]

    assert await play(build(memory.checkpointer, state)) == await play(build(InMemorySaver(), state))


async def test_parallel_tasks_write_in_the_order_of_their_paths(memory, call):
    state = schema(4)

    def fan(saver: Any) -> Any:
        builder = StateGraph(state)
        builder.add_node("plan", lambda _: {"log": ["plan"]})
        builder.add_node("work", lambda one: {"log": [one["n"], f"{one['n']} {BIG}"]})
        builder.add_edge(START, "plan")
        builder.add_conditional_edges("plan", lambda _: [Send("work", {"n": n}) for n in range(15)])
        return builder.compile(checkpointer=saver)

    graphs = fan(memory.checkpointer), fan(InMemorySaver())
    for graph in graphs:
        for _ in range(3):
            live = await call(graph.invoke, {"log": ["in"]}, CONFIG)
        assert (await call(graph.get_state, CONFIG)).values == live
    assert await values_of(graphs[0], call) == await values_of(graphs[1], call)


async def test_in_subgraphs_with_interrupts(memory, call):
    state = schema(3, 2)

    def nested(saver: Any) -> Any:
        inner = StateGraph(state)
        inner.add_node("note", lambda _: {"log": [BIG], "table": {"a": BIG}})
        inner.add_node("ask", lambda _: {"log": [interrupt("first?"), interrupt("second?")]})
        inner.add_node("after", lambda one: {"log": [len(one["log"])]})
        inner.add_edge(START, "note")
        inner.add_edge("note", "ask")
        inner.add_edge("ask", "after")
        outer = StateGraph(state)
        outer.add_node("before", lambda _: {"log": ["before"]})
        outer.add_node("inner", inner.compile())
        outer.add_edge(START, "before")
        outer.add_edge("before", "inner")
        return outer.compile(checkpointer=saver)

    async def play(saver: Any, prune: bool) -> list[Any]:
        for turn in range(2):
            await call(nested(saver).invoke, {"log": [f"turn {turn}"]}, CONFIG)
            if prune:
                await call(saver.prune, ["1"])
            for answer in ("yes", f"no {BIG}"):
                await call(nested(saver).invoke, Command(resume=answer), CONFIG)
                if prune:
                    await call(saver.prune, ["1"])
        return (await call(nested(saver).get_state, CONFIG)).values

    expected = await play(InMemorySaver(), prune=False)
    assert expected["log"].count(f"no {BIG}") > 0
    assert await play(memory.checkpointer, prune=False) == expected
    await call(memory.checkpointer.delete_thread, "1")
    assert await play(memory.checkpointer, prune=True) == expected


# Pruning


@pytest.mark.parametrize(
    ("frequencies", "durability"), [((100, 100), "sync"), ((1, 1), "sync"), ((3, 7), "exit")], ids=str
)
async def test_a_pruned_thread_is_whole_and_goes_on(memory, call, frequencies, durability):
    state = schema(*frequencies)
    ours, reference = await both(memory, call, state, 2, durability=durability)
    saver = memory.checkpointer
    before = len(await call(saver.list, CONFIG))
    await call(saver.prune, ["1"])
    after = await call(saver.list, CONFIG)
    assert len(after) <= before
    if frequencies == (1, 1) and durability == "sync":
        assert len(after) < before / 3
    expected = (await call(reference.get_state, CONFIG)).values
    for graph in (ours, build(AgentMemSaver(memory.backend), state)):
        assert (await call(graph.get_state, CONFIG)).values == expected
    for graph in (ours, reference):
        await turns(graph, call, 1, durability=durability)
    assert (await call(ours.get_state, CONFIG)).values == (await call(reference.get_state, CONFIG)).values


@FREQUENCIES
async def test_every_checkpoint_that_expiring_others_leaves_is_whole(memory, call, frequencies, monkeypatch):
    state = schema(*frequencies)
    graph = build(memory.checkpointer, state)
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    await turns(graph, call, 1)
    now += 100
    await turns(graph, call, 1)
    expected = {
        one.config["configurable"]["checkpoint_id"]: one.values for one in await call(graph.get_state_history, CONFIG)
    }
    deleted = await call(memory.checkpointer.expire_checkpoints, 50)
    kept = await call(memory.checkpointer.list, CONFIG)
    assert deleted + len(kept) == len(expected)
    young = [one for one in kept if one.metadata["step"] > 21]
    assert len(young) >= 20
    for one in young:
        assert (await call(graph.get_state, one.config)).values == expected[one.config["configurable"]["checkpoint_id"]]


@FREQUENCIES
async def test_a_copied_thread_is_whole_without_its_source(memory, call, frequencies):
    state = schema(*frequencies)
    graph = build(memory.checkpointer, state)
    await turns(graph, call, 2)
    expected = await values_of(graph, call)
    await call(memory.checkpointer.copy_thread, "1", "2")
    await call(memory.checkpointer.delete_thread, "1")
    assert await values_of(graph, call, {"configurable": {"thread_id": "2"}}) == expected
    assert await values_of(graph, call) == []


async def test_runs_that_a_channel_is_rebuilt_from_are_not_deleted(memory, call):
    graph = build(memory.checkpointer, schema(100))
    for run in ("first", "second", "third"):
        await turns(graph, call, 1, {**CONFIG, "metadata": {"run_id": run}})
    before = await call(memory.checkpointer.list, CONFIG)
    for doomed in (["first"], ["second"], ["first", "second"]):
        with pytest.raises(ThreadInUseError, match="DeltaChannel"):
            await call(memory.checkpointer.delete_for_runs, doomed)
    assert await call(memory.checkpointer.list, CONFIG) == before
    expected = before[-1].metadata["run_id"]
    assert expected == "first"
    await call(memory.checkpointer.delete_for_runs, ["third"])  # nothing is rebuilt from the newest
    left = await call(memory.checkpointer.list, CONFIG)
    assert {one.metadata["run_id"] for one in left} == {"first", "second"}
    assert len((await call(graph.get_state, CONFIG)).values["log"]) > 30
    await call(memory.checkpointer.delete_for_runs, ["first", "second"])
    assert await call(memory.checkpointer.list, CONFIG) == []


async def test_runs_before_a_snapshot_are_deleted(memory, call):
    saver = memory.checkpointer
    config = CONFIG
    log: list[str] = []
    for number in range(1, 7):
        log.append(f"{number} {BIG}")
        snapshot = {"log": _DeltaSnapshot(list(log))} if number == 4 else {}
        counters = {} if snapshot else {"counters_since_delta_snapshot": {"log": (number % 4, number % 4)}}
        checkpoint: Any = {
            "v": 4,
            "id": str(number),
            "ts": "",
            "channel_values": snapshot,
            "channel_versions": {"log": str(number)},
            "versions_seen": {},
        }
        placed: Any = {"configurable": {"checkpoint_ns": "", **config["configurable"]}}
        metadata = {"run_id": "first" if number < 4 else "second", **counters}
        config = await call(saver.put, placed, checkpoint, metadata, {"log": str(number)})
        await call(saver.put_writes, config, [("log", [f"{number + 1} {BIG}"])], "task")
    await call(saver.delete_for_runs, ["first"])
    assert [found.checkpoint["id"] for found in await call(saver.list, CONFIG)] == ["6", "5", "4"]
    history = await call(saver.get_delta_channel_history, config=CONFIG, channels=["log"])
    assert history["log"]["seed"] == _DeltaSnapshot(log[:4])
    assert extend(log[:4], [value for _, _, value in history["log"]["writes"]]) == log


async def test_a_snapshot_shares_its_elements_with_the_one_before(lasting_url, call):
    with AgentMemory.from_url(lasting_url) as memory:
        await turns(build(memory.checkpointer, schema(5, 5)), call, 6)
        state = await call(build(memory.checkpointer, schema(5, 5)).get_state, CONFIG)
        texts = sum(BIG in str(one) for one in state.values["log"])
    with database(lasting_url) as opened:
        stored = sum(len(element.data) for element in opened.stored("elements"))
    assert texts > 60
    assert stored < 2 * texts * (len(BIG) + 200)
