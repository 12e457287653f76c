"""Warm threads: what a process wrote or read last is not read again, is not shared, and is never stale."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from counting import Costs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from typing_extensions import TypedDict

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.contract import ThreadKey

TEXT = "words " * 60
CONFIG: Any = {"configurable": {"thread_id": "warm"}}


class Deltas(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer, snapshot_frequency=12)]


def graph_of(saver: Any, state: Any = MessagesState, node: Any = None) -> Any:
    builder = StateGraph(state)
    builder.add_node(
        "reply", node or (lambda state: {"messages": [AIMessage(f"{TEXT}{len(state['messages'])}", id=new_id())]})
    )
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=saver)


def new_id() -> str:
    return uuid.uuid4().hex


def turn(graph: Any, number: int, config: Any = CONFIG) -> None:
    graph.invoke({"messages": [HumanMessage(f"{TEXT}{number}", id=f"q{number}")]}, config, durability="sync")


@pytest.fixture
def other(lasting_url: str) -> Iterator[AgentMemory]:
    """Another memory on the same database, as in another process."""
    with AgentMemory.from_url(lasting_url) as memory:
        yield memory


@pytest.fixture
def memory(lasting_url: str) -> Iterator[AgentMemory]:
    with AgentMemory.from_url(lasting_url) as memory:
        yield memory


def test_a_warm_thread_is_read_without_its_elements(memory, monkeypatch):
    graph = graph_of(memory.checkpointer)
    found = []
    original = type(memory.backend.checkpoints).get

    def watched(*arguments: Any, **options: Any) -> Any:
        loaded = yield from original(*arguments, **options)
        found.append(loaded)
        return loaded

    monkeypatch.setattr(type(memory.backend.checkpoints), "get", watched)
    for number in range(6):
        turn(graph, number)
    assert [len(one.parts.elements) for one in found if one is not None] == [0] * 5
    assert len(graph.get_state(CONFIG).values["messages"]) == 12
    memory.checkpointer.engine.known.forget(ThreadKey("default", "warm"))
    assert len(graph.get_state(CONFIG).values["messages"]) == 12
    assert len(found[-1].parts.elements) == 12


def test_two_memories_that_take_turns_see_each_other(memory, other):
    graphs = [graph_of(memory.checkpointer), graph_of(other.checkpointer)]
    for number in range(9):
        turn(graphs[number % 2 if number < 7 else 0], number)
        contents = [[one.content for one in graph.get_state(CONFIG).values["messages"]] for graph in graphs]
        assert contents[0] == contents[1]
        assert len(contents[0]) == 2 * number + 2


edits = st.lists(
    st.tuples(st.sampled_from(["append", "edit", "drop", "tool", "nothing", "meta"]), st.integers(0, 30)), max_size=8
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits)
def test_messages_that_a_graph_changes_in_place_are_stored_as_in_memory(memory, edits):
    """Every edit changes the objects that the graph got, in place, as a node may do."""

    def run(saver: Any, config: Any) -> list[Any]:
        script = iter(edits)

        def node(state: MessagesState) -> Any:
            kind, at = next(script)
            messages = state["messages"]
            one = messages[at % len(messages)]
            if kind == "edit":
                one.content = f"{one.content}!"
            elif kind == "meta":
                one.additional_kwargs["seen"] = [at, True]
            elif kind == "tool" and isinstance(one, AIMessage):
                one.tool_calls.append({"name": "look", "args": {"at": at}, "id": str(at), "type": "tool_call"})
            elif kind == "drop":
                del messages[at % len(messages)]
            return {"messages": [AIMessage(f"{TEXT}{at}", id=f"a{at}")] if kind != "nothing" else []}

        graph = graph_of(saver, node=node)
        seen = []
        for number in range(len(edits)):
            turn(graph, number, config)
            for message in graph.get_state(config).values["messages"]:
                message.content = "spoiled"
                message.response_metadata["spoiled"] = True
            seen.append([one.model_dump() for one in graph.get_state(config).values["messages"]])
        return seen

    config = {"configurable": {"thread_id": new_id()}}
    # The saver in memory keeps serialised values, so that it notices every edit, too.
    assert run(memory.checkpointer, config) == run(InMemorySaver(), config)


def test_the_history_of_a_warm_delta_channel_is_read_without_the_database(memory, monkeypatch):
    graph = graph_of(memory.checkpointer, Deltas)
    for number in range(3):
        turn(graph, number)
    costs = Costs(memory, monkeypatch)
    for number in range(3, 30):
        costs.reset()
        turn(graph, number)
        assert costs.transactions.count("read") == 1, number
    assert [one.content for one in graph.get_state(CONFIG).values["messages"]][::2] == [
        f"{TEXT}{number}" for number in range(30)
    ]


def test_the_history_of_a_cold_delta_channel_takes_few_statements(memory, other, monkeypatch):
    graph = graph_of(memory.checkpointer, Deltas)
    for number in range(16):
        turn(graph, number)
    other.checkpointer.get_tuple({"configurable": {"thread_id": "another"}})
    costs = Costs(other, monkeypatch)
    assert len(graph_of(other.checkpointer, Deltas).get_state(CONFIG).values["messages"]) == 32
    assert costs.transactions == ["read", "read"]
    if other.backend.name != "sqlite":  # where a statement is no round trip
        assert costs.sizes == [1, 4]


def test_two_memories_that_take_turns_on_a_delta_channel_see_each_other(memory, other):
    graphs = [graph_of(memory.checkpointer, Deltas), graph_of(other.checkpointer, Deltas)]
    for number in range(20):
        turn(graphs[number // 3 % 2], number)
        contents = [[one.content for one in graph.get_state(CONFIG).values["messages"]] for graph in graphs]
        assert contents[0] == contents[1]
        assert len(contents[0]) == 2 * number + 2


def test_a_late_write_of_another_process_is_in_the_history(memory, other):
    graph = graph_of(memory.checkpointer, Deltas)
    for number in range(3):
        turn(graph, number)
    saver = memory.checkpointer
    history = [saver.get_tuple(CONFIG)]
    while history[-1].parent_config is not None:
        history.append(saver.get_tuple(history[-1].parent_config))
    graph.get_state(CONFIG)
    late = HumanMessage("late", id="late")
    other.checkpointer.put_writes(history[2].config, [("messages", [late])], "zzz-late-task")
    assert "late" in [one.content for one in graph.get_state(CONFIG).values["messages"]]


def test_an_early_write_to_a_checkpoint_is_in_the_history(memory):
    """Writes may be stored before their checkpoint, and the history be read in between."""
    graph = graph_of(memory.checkpointer, Deltas)
    for number in range(3):
        turn(graph, number)
    saver, last = memory.checkpointer, memory.checkpointer.get_tuple(CONFIG)
    ids = [f"{'f' * 8}-{number}" for number in range(2)]
    configs = [{"configurable": {"thread_id": "warm", "checkpoint_ns": "", "checkpoint_id": one}} for one in ids]
    saver.put_writes(configs[0], [("messages", [HumanMessage("early", id="early")])], "task")
    graph.get_state(CONFIG)
    graph.get_state(CONFIG)
    parent = last.config
    for id_ in ids:
        parent = saver.put(parent, {**last.checkpoint, "id": id_, "ts": "2026-01-01T00:00:00+00:00"}, {"step": 9}, {})
    saver.get_tuple(CONFIG)
    found = saver.get_delta_channel_history(config=configs[1], channels=["messages"])
    assert "early" in [one.content for _, _, values in found["messages"]["writes"] for one in values]


def test_a_thread_that_another_process_deleted_and_wrote_again_is_not_the_former_one(memory, other):
    for state in (MessagesState, Deltas):
        graph, theirs = graph_of(memory.checkpointer, state), graph_of(other.checkpointer, state)
        for number in range(4):
            turn(graph, number)
        other.checkpointer.delete_thread("warm")
        turn(theirs, 100)
        assert graph.get_state(CONFIG).values["messages"][0].content == f"{TEXT}100"
        turn(graph, 101)
        assert len(theirs.get_state(CONFIG).values["messages"]) == 4
        other.checkpointer.delete_thread("warm")


def test_a_history_that_was_confirmed_long_ago_is_read_again(memory, monkeypatch):
    graph = graph_of(memory.checkpointer, Deltas)
    for number in range(3):
        turn(graph, number)
    saver = memory.checkpointer
    config = saver.get_tuple(CONFIG).config
    costs = Costs(memory, monkeypatch)
    saver.get_delta_channel_history(config=config, channels=["messages"])
    assert costs.transactions == []
    now = time.monotonic()
    monkeypatch.setattr("langchain_agentmem.checkpointing.histories.time.monotonic", lambda: now + 60)
    saver.get_delta_channel_history(config=config, channels=["messages"])
    assert costs.transactions == ["read"]
