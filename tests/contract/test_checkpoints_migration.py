"""Threads of a former version of an application: read, continued and resumed by today's version."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import pytest
from former_app import former_app
from langchain_core.messages import AIMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from langchain_agentmem import (
    AgentMemory,
    AgentMemSaver,
    InvalidTypeError,
    MigrationError,
    MissingClass,
    MissingClassError,
)
from langchain_agentmem.encoding.codec import Codec

CONFIG: Any = {"configurable": {"thread_id": "1"}}
BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4


def extend(state: list[Any] | None, writes: Sequence[Any]) -> list[Any]:
    return [*(state or []), *(one for write in writes for one in write)]


def state_of(name: str, *, delta: bool = False, **more: Any) -> Any:
    channel = Annotated[list[Any], DeltaChannel(extend, snapshot_frequency=3) if delta else operator.add]
    return TypedDict("State", {name: channel, **more})  # type: ignore[operator]


def talk(saver: Any, name: str, *, delta: bool = False, before: Any = None, **more: Any) -> Any:
    """Two nodes run at once, of which one asks, and a third follows."""
    builder = StateGraph(state_of(name, delta=delta, **more))
    builder.add_node("ask", lambda state: {name: [f"answer: {interrupt('What?')}"]})
    builder.add_node("look", lambda state: {name: ["looked", BIG]})
    builder.add_node("last", lambda state: {name: [f"{len(state[name])} entries"]})
    for node in ("ask", "look"):
        builder.add_edge(START, node)
        builder.add_edge(node, "last")
    return builder.compile(checkpointer=saver, interrupt_before=before)


def renamed(values: Any, metadata: Any) -> Any:
    values.rename("msgs", "messages")
    return values, metadata


def popped(values: Any, metadata: Any) -> Any:
    if "msgs" in values:
        values["messages"] = values.pop("msgs")
    return values, metadata


def rebuilt(values: Any, metadata: Any) -> Any:
    return {("messages" if name == "msgs" else name): value for name, value in values.items()}, metadata


def reopened(memory: Any, **options: Any) -> AgentMemSaver:
    """A saver of today's version, on the same database."""
    return AgentMemSaver(memory.backend, **options)


ENTRIES = ["begin", "answer: 42", "looked", BIG, "4 entries"]


@pytest.mark.parametrize("migrate", [renamed, popped, rebuilt])
async def test_a_thread_is_resumed_in_the_middle_of_a_step(memory, call, migrate):
    talk(memory.checkpointer, "msgs").invoke({"msgs": ["begin"]}, CONFIG)
    saver = reopened(memory, migrate=migrate)
    graph = talk(saver, "messages")
    assert await call(graph.invoke, Command(resume="42"), CONFIG) == {"messages": ENTRIES}
    await call(graph.invoke, {"messages": ["again"]}, CONFIG)
    result = await call(graph.invoke, Command(resume="43"), CONFIG)
    assert result["messages"][: len(ENTRIES) + 1] == [*ENTRIES, "again"]
    assert result["messages"][-1] == f"{len(result['messages']) - 1} entries"
    for state in graph.get_state_history(CONFIG):
        assert set(state.values) <= {"messages"}


@pytest.mark.parametrize("delta", [False, True])
async def test_a_thread_that_stopped_before_a_node_continues_with_it_once(memory, call, delta):
    former = talk(memory.checkpointer, "msgs", delta=delta, before=["last"])
    former.invoke({"msgs": ["begin"]}, CONFIG)
    former.invoke(Command(resume="42"), CONFIG)
    graph = talk(reopened(memory, migrate=renamed), "messages", delta=delta, before=["last"])
    assert graph.get_state(CONFIG).next == ("last",)
    assert await call(graph.invoke, None, CONFIG) == {"messages": ENTRIES}


async def test_a_renamed_delta_channel_is_rebuilt_from_its_former_and_present_writes(memory, call):
    former = talk(memory.checkpointer, "msgs", delta=True)
    for _ in range(3):
        former.invoke({"msgs": ["begin"]}, CONFIG)
        former.invoke(Command(resume="42"), CONFIG)
    before = former.get_state(CONFIG).values["msgs"]
    history = [state.values.get("msgs") for state in former.get_state_history(CONFIG)]
    saver = reopened(memory, migrate=renamed)
    graph = talk(saver, "messages", delta=True)
    assert graph.get_state(CONFIG).values == {"messages": before}
    assert [state.values.get("messages") for state in graph.get_state_history(CONFIG)] == history
    await call(graph.invoke, {"messages": ["today"]}, CONFIG)
    result = await call(graph.invoke, Command(resume="43"), CONFIG)
    assert result["messages"] == [*before, "today", "answer: 43", "looked", BIG, f"{len(before) + 4} entries"]
    again = talk(reopened(memory, migrate=renamed), "messages", delta=True)
    assert again.get_state(CONFIG).values == result


async def test_a_subgraph_that_waits_is_resumed_with_its_renamed_state(memory, call):
    def nested(saver: Any, name: str) -> Any:
        inner = StateGraph(state_of(name))
        inner.add_node("first", lambda state: {name: ["first"]})
        inner.add_node("ask", lambda state: {name: [f"answer: {interrupt('What?')}"]})
        inner.add_edge(START, "first").add_edge("first", "ask")
        builder = StateGraph(state_of(name)).add_node("inner", inner.compile()).add_edge(START, "inner")
        return builder.compile(checkpointer=saver)

    expected = nested(AgentMemSaver("sqlite:///:memory:"), "messages")
    expected.invoke({"messages": ["begin"]}, CONFIG)
    nested(memory.checkpointer, "msgs").invoke({"msgs": ["begin"]}, CONFIG)
    graph = nested(reopened(memory, migrate=renamed), "messages")
    result = await call(graph.invoke, Command(resume="42"), CONFIG)
    assert result == expected.invoke(Command(resume="42"), CONFIG)
    assert result["messages"][-1] == "answer: 42"


async def test_an_input_that_no_node_has_read_is_converted(memory, call):
    checkpoint: Any = {
        "v": 4,
        "id": "1ef4f797-8335-6428-8001-8a1503f9b875",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {"__start__": {"msgs": ["begin"]}},
        "channel_versions": {"__start__": f"{1:032}.0"},
        "versions_seen": {"__input__": {}},
    }
    where: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    memory.checkpointer.put(
        where, checkpoint, {"source": "input", "step": -1, "parents": {}}, {"__start__": f"{1:032}.0"}
    )
    graph = talk(reopened(memory, migrate=popped), "messages")
    result = await call(graph.invoke, None, CONFIG)
    assert result["messages"] == ["begin", "looked", BIG]


async def test_a_channel_that_was_added_stays(memory, call):
    def with_language(values: Any, metadata: Any) -> Any:
        values.setdefault("words", [BIG])
        return values, metadata

    talk(memory.checkpointer, "messages").invoke({"messages": ["begin"]}, CONFIG)
    saver = reopened(memory, migrate=with_language)
    graph = talk(saver, "messages", words=list[str])
    result = await call(graph.invoke, Command(resume="42"), CONFIG)
    assert result == {"messages": ENTRIES, "words": [BIG]}
    stored = reopened(memory).get_tuple(CONFIG)
    assert stored.checkpoint["channel_values"]["words"] == [BIG]


async def test_a_function_may_rename_a_channel_in_some_threads_only(memory, call):
    """Two graphs share a checkpointer, and only one of them renamed its channel."""

    def migrate(values: Any, metadata: Any) -> Any:
        return renamed(values, metadata) if metadata.get("graph") == "new" else (values, metadata)

    expected = {}
    for name in ("new", "old"):
        where: Any = {"configurable": {"thread_id": name, "graph": name}}
        graph = talk(memory.checkpointer, "msgs", delta=True)
        for _ in range(2):
            graph.invoke({"msgs": ["begin"]}, where)
            graph.invoke(Command(resume=name), where)
        expected[name] = graph.get_state(where).values["msgs"]
    saver = reopened(memory, migrate=migrate)
    for name, channel in (("new", "messages"), ("old", "msgs"), ("new", "messages")):
        graph = talk(saver, channel, delta=True)
        state = await call(graph.get_state, {"configurable": {"thread_id": name}})
        assert state.values == {channel: expected[name]}


async def test_versions_counters_and_updates_follow_a_renamed_channel(memory, call):
    checkpoint: Any = {
        "v": 4,
        "id": "c1",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {"msgs": ["a"], "other": 1},
        "channel_versions": {"msgs": "2.a", "other": "3.b", "branch:to:msgs": "3.c"},
        "versions_seen": {
            "msgs": {"msgs": "1.a", "branch:to:msgs": "2.c"},
            "__bumps__": {"ask|msgs": "1", "ask:msgs": "2"},
        },
        "updated_channels": ["msgs", "other"],
    }
    where: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    metadata: Any = {"source": "loop", "counters_since_delta_snapshot": {"msgs": [1, 2]}, "note": {"a": 1}}
    stored = memory.checkpointer.put(where, checkpoint, metadata, checkpoint["channel_versions"])
    memory.checkpointer.put_writes(stored, [("msgs", ["b"]), ("other", 2), ("__interrupt__", "x")], "task")

    def migrate(values: Any, found: Any) -> Any:
        found["note"]["a"] = 2
        return renamed(values, found)

    saver = reopened(memory, migrate=migrate)
    for found in (await call(saver.get_tuple, CONFIG), (await call(saver.list, CONFIG))[0]):
        assert found.checkpoint["channel_values"] == {"messages": ["a"], "other": 1}
        assert found.checkpoint["channel_versions"] == {"messages": "2.a", "other": "3.b", "branch:to:msgs": "3.c"}
        assert found.checkpoint["versions_seen"] == {
            "msgs": {"messages": "1.a", "branch:to:msgs": "2.c"},
            "__bumps__": {"ask|messages": "1", "ask:messages": "2"},
        }
        assert found.checkpoint["updated_channels"] == ["messages", "other"]
        assert found.metadata["counters_since_delta_snapshot"] == {"messages": [1, 2]}
        assert found.metadata["note"] == {"a": 2}
        assert [write[1:] for write in found.pending_writes] == [
            ("__interrupt__", "x"),
            ("messages", ["b"]),
            ("other", 2),
        ]


async def test_writes_to_a_channel_that_was_removed_are_dropped(memory, call):
    def without(values: Any, metadata: Any) -> Any:
        return {name: value for name, value in values.items() if name != "msgs"}, metadata

    talk(memory.checkpointer, "msgs").invoke({"msgs": ["begin"]}, CONFIG)
    found = await call(reopened(memory, migrate=without).get_tuple, CONFIG)
    assert "msgs" not in found.checkpoint["channel_values"]
    channels = {channel for _, channel, _ in found.pending_writes}
    assert "__interrupt__" in channels
    assert "msgs" not in channels


# Classes that do not exist any more


def store(memory: Any, value: Any) -> Any:
    """Store a value in a channel and in a pending write, and return the config."""
    checkpoint: Any = {
        "v": 4,
        "id": "c1",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {"notes": value},
        "channel_versions": {"notes": "1"},
        "versions_seen": {},
    }
    where: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    return memory.checkpointer.put(where, checkpoint, {"source": "loop"}, {"notes": "1"})


VALUES = {
    "model": (lambda app: app.Note(text="a"), "Note"),
    "list": (lambda app: ["first", app.Note(text=BIG), BIG], "Note"),
    "dict": (lambda app: {"a": [1, {"b": app.Point(1)}], "long": BIG}, "Point"),
    "nested": (lambda app: app.Point(1, app.Pair(1, 2)), "P"),
    "enum": (lambda app: [app.Color.RED], "Color"),
    "message": (lambda app: [AIMessage(BIG), app.CardMessage(BIG, card="x")], "CardMessage"),
}


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("kind", VALUES)
async def test_a_value_whose_class_is_gone_is_an_error_that_names_it(url, call, kind, plain):
    make, name = VALUES[kind]
    with AgentMemory.from_url(url, compact=not plain) as memory:
        with former_app() as app:
            value = make(app)
            where = store(memory, value)
            assert memory.checkpointer.get_tuple(where).checkpoint["channel_values"]["notes"] == value
        expected = (
            rf"Thread '1', checkpoint 'c1': the channel 'notes' has a value of the class former_app_models\.{name}"
        )
        for read in (memory.checkpointer.get_tuple, memory.checkpointer.list):
            with pytest.raises(MissingClassError, match=expected):
                await call(read, CONFIG)


@pytest.mark.parametrize("channel", ["notes", "__interrupt__"])
async def test_a_pending_write_whose_class_is_gone_is_an_error_that_names_it(memory, call, channel):
    where = store(memory, ["plain"])
    with former_app() as app:
        memory.checkpointer.put_writes(where, [(channel, [app.Note(text=BIG), app.Note(text=BIG * 2)])], "task")
    with pytest.raises(
        MissingClassError, match=rf"checkpoint 'c1': the channel '{channel}' has .*former_app_models\.Note"
    ):
        await call(memory.checkpointer.get_tuple, CONFIG)


async def test_a_delta_channel_whose_class_is_gone_is_an_error_that_names_it(memory, call):
    with former_app() as app:
        graph = talk(memory.checkpointer, "log", delta=True)
        graph.invoke({"log": [app.Note(text="a")]}, CONFIG)
    with pytest.raises(MissingClassError, match=r"the channel 'log' has a value of the class former_app_models\.Note"):
        await call(memory.checkpointer.get_delta_channel_history, config=CONFIG, channels=["log"])


def converted(value: Any) -> Any:
    """Return a value in today's shape: plain data and langchain-core's messages."""
    if isinstance(value, MissingClass):
        if value.name == "CardMessage":
            return AIMessage(value.state["content"], additional_kwargs={"card": value.state["card"]})
        state = value.state if isinstance(value.state, dict) else {"value": value.state}
        return {"was": value.class_name, **{name: converted(inner) for name, inner in state.items()}}
    if isinstance(value, list):
        return [converted(one) for one in value]
    return {name: converted(one) for name, one in value.items()} if isinstance(value, dict) else value


def convert(values: Any, metadata: Any) -> Any:
    return {name: converted(value) for name, value in values.items()}, metadata


@pytest.mark.parametrize("kind", VALUES)
async def test_a_function_converts_a_value_whose_class_is_gone(memory, call, kind):
    with former_app() as app:
        where = store(memory, VALUES[kind][0](app))
        memory.checkpointer.put_writes(where, [("notes", VALUES[kind][0](app))], "task")
    found = await call(reopened(memory, migrate=convert).get_tuple, CONFIG)
    was = "former_app_models."
    expected = {
        "model": {"was": f"{was}Note", "text": "a"},
        "list": ["first", {"was": f"{was}Note", "text": BIG}, BIG],
        "dict": {"a": [1, {"b": {"was": f"{was}Point", "x": 1, "note": None}}], "long": BIG},
        "nested": {"was": f"{was}Point", "x": 1, "note": {"was": f"{was}Pair", "left": 1, "right": 2}},
        "enum": [{"was": f"{was}Color", "value": "red"}],
        "message": [AIMessage(BIG), AIMessage(BIG, additional_kwargs={"card": "x"})],
    }[kind]
    assert found.checkpoint["channel_values"]["notes"] == expected
    assert found.pending_writes == [("task", "notes", expected)]


async def test_a_value_that_the_function_leaves_is_an_error(memory, call):
    with former_app() as app:
        store(memory, [app.Note(text="a")])
    saver = reopened(memory, migrate=lambda values, metadata: (values, metadata))
    with pytest.raises(
        MissingClassError, match=r"Note, which does not exist\. The function migrate left it unconverted"
    ):
        await call(saver.get_tuple, CONFIG)


async def test_a_function_that_fails_or_returns_something_else_is_named(memory, call):
    store(memory, ["a"])

    def fail(values: Any, metadata: Any) -> Any:
        return values["nothing"], metadata

    with pytest.raises(MigrationError, match=r"Thread '1', checkpoint 'c1': the function migrate failed.*KeyError"):
        await call(reopened(memory, migrate=fail).get_tuple, CONFIG)
    with pytest.raises(MigrationError, match="must return a tuple of the values and the metadata"):
        await call(reopened(memory, migrate=lambda values, metadata: values).get_tuple, CONFIG)
    with pytest.raises(InvalidTypeError, match="migrate must be a function"):
        reopened(memory, migrate="renamed")


async def test_a_memory_takes_the_function(url, call):
    with AgentMemory.from_url(url, migrate=renamed) as memory:
        where = store(memory, ["a"])
        memory.checkpointer.put_writes(where, [("msgs", [1])], "task")
        assert (await call(memory.checkpointer.get_tuple, CONFIG)).pending_writes == [("task", "messages", [1])]


def test_the_json_of_former_versions_is_read_with_placeholders():
    serde = JsonPlusSerializer(allowed_json_modules=True)
    stored = b'{"lc": 2, "type": "constructor", "id": ["gone_app", "models", "Thing"], "kwargs": {"a": 1}}'
    assert Codec(serde, placeholders=True).load(("json", stored)) == MissingClass("gone_app.models", "Thing", {"a": 1})
    existing = b'{"lc": 2, "type": "constructor", "id": ["decimal", "Decimal"], "args": ["1.5"]}'
    assert Codec(serde, placeholders=True).load(("json", existing)) == Decimal("1.5")
