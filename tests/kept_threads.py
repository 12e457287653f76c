"""Threads of all kinds, which a checkpointer keeps: finished, interrupted, failed, with subgraphs and delta channels."""

from __future__ import annotations

import contextlib
import importlib.util
import operator
import sys
import types
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
import redis
import redis.asyncio
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4


class Notes(TypedDict):
    notes: Annotated[list[str], operator.add]


def extend(state: list[Any] | None, writes: Sequence[Any]) -> list[Any]:
    return [*(state or []), *(one for write in writes for one in write)]


class Log(TypedDict):
    log: Annotated[list[Any], DeltaChannel(extend, snapshot_frequency=3)]
    steps: int


def config(thread_id: Any, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread_id, **more}}


def chat() -> Any:
    builder = StateGraph(MessagesState)

    def reply(state: Any) -> Any:
        count = len(state["messages"])
        return {"messages": [AIMessage(f"{count} {BIG}", id=f"a{count}")]}

    return builder.add_node("reply", reply).add_edge(START, "reply")


def questions() -> Any:
    """Two nodes run at once: one is done, the other waits for an answer."""
    builder = StateGraph(Notes)
    builder.add_node("ask", lambda state: {"notes": [f"answer: {interrupt('What?')}"]})
    builder.add_node("look", lambda state: {"notes": ["looked", BIG]})
    builder.add_node("last", lambda state: {"notes": [f"{len(state['notes'])} notes"]})
    for name in ("ask", "look"):
        builder.add_edge(START, name)
        builder.add_edge(name, "last")
    return builder


def nested() -> Any:
    """A subgraph waits for an answer, after a step of its own."""
    inner = StateGraph(Notes)
    inner.add_node("first", lambda state: {"notes": ["first"]})
    inner.add_node("ask", lambda state: {"notes": [f"inner answer: {interrupt('Which?')}"]})
    inner.add_edge(START, "first").add_edge("first", "ask")
    builder = StateGraph(Notes).add_node("inner", inner.compile())
    builder.add_node("last", lambda state: {"notes": ["last"]})
    return builder.add_edge(START, "inner").add_edge("inner", "last")


def logged() -> Any:
    """Delta channels, with tasks that were sent at once: their order in the channel is that of their paths."""

    def hop(state: Any) -> Any:
        steps = state.get("steps", 0) + 1
        return {"steps": steps, "log": [f"hop {steps}", {"n": steps}]}

    def fan(state: Any) -> Any:
        return [Send("part", {"part": part}) for part in ("c", "a", "b")]

    builder = StateGraph(Log)
    builder.add_node("hop", hop)
    builder.add_node("part", lambda state: {"log": [f"part {state['part']} {BIG}"]})
    builder.add_node("ask", lambda state: {"log": [f"answer {interrupt('Go on?')}"]})
    builder.add_edge(START, "hop").add_conditional_edges("hop", fan, ["part"]).add_edge("part", "ask")
    builder.add_conditional_edges("ask", lambda state: END if state["steps"] > 1 else "hop")
    return builder


def failing() -> Any:
    """One node failed, after another one."""
    builder = StateGraph(Notes)

    def fail(state: Any) -> Any:
        if "repaired" in REPAIRED:
            return {"notes": ["done"]}
        raise ValueError("no luck")

    builder.add_node("fail", fail)
    builder.add_node("work", lambda state: {"notes": ["worked"]})
    return builder.add_edge(START, "work").add_edge("work", "fail")


REPAIRED: set[str] = set()
"""What `fail` looks at: with `"repaired"` in it, the node works."""

GRAPHS: dict[str, Any] = {"questions": questions, "nested": nested, "logged": logged, "failing": failing, "chat": chat}

USERS = {"chat": "alice@example.com", "questions": "bob@example.com"}


def _input(name: str) -> Any:
    if name == "logged":
        return {"log": ["begin"]}
    return {"messages": [HumanMessage("Hi", id="h")]} if name == "chat" else {"notes": ["begin"]}


def _config(name: str) -> Any:
    return config(name, **({"user_id": USERS[name]} if name in USERS else {}))


async def _invoke(saver: Any, graph: Any, given: Any, where: Any) -> Any:
    """Run a graph, synchronously on a synchronous saver."""
    if type(saver).__name__.startswith("Async"):
        return await graph.ainvoke(given, where)
    return graph.invoke(given, where)


async def play(saver: Any) -> None:
    """Make a thread of each kind."""
    REPAIRED.clear()
    for name, make in GRAPHS.items():
        graph = make().compile(checkpointer=saver)
        failure = pytest.raises(ValueError, match="no luck") if name == "failing" else contextlib.nullcontext()
        with failure:
            await _invoke(saver, graph, _input(name), _config(name))
            if name == "chat":
                for turn in range(2):
                    message = HumanMessage(f"turn {turn}", id=f"h{turn}")
                    await _invoke(saver, graph, {"messages": [message]}, _config(name))
            if name == "logged":
                await _invoke(saver, graph, Command(resume="yes"), _config(name))


async def states(saver: Any) -> dict[str, list[Any]]:
    """Return the whole history of each thread, with the states of subgraphs."""
    found: dict[str, list[Any]] = {}
    for name, make in GRAPHS.items():
        graph = make().compile(checkpointer=saver)
        if type(saver).__name__.startswith("Async"):
            history = [one async for one in graph.aget_state_history(config(name))]
            head = await graph.aget_state(config(name), subgraphs=True)
        else:
            history = list(graph.get_state_history(config(name)))
            head = graph.get_state(config(name), subgraphs=True)
        found[name] = [_comparable(one) for one in [head, *history]]
    return found


def _comparable(state: Any) -> Any:
    if not hasattr(state, "tasks"):
        return state
    tasks = [
        (one.id, one.name, one.error and str(one.error), one.interrupts, _comparable(one.state), one.result)
        for one in state.tasks
    ]
    ids = [where and where["configurable"]["checkpoint_id"] for where in (state.config, state.parent_config)]
    metadata = {name: value for name, value in state.metadata.items() if name != "writes"}
    return (dict(state.values), state.next, ids, metadata, state.created_at, tasks, state.interrupts)


async def resume(saver: Any) -> dict[str, Any]:
    """Finish each thread and return its values."""
    REPAIRED.add("repaired")
    found = {}
    for name, make in GRAPHS.items():
        graph = make().compile(checkpointer=saver)
        given: Any = None if name in ("failing", "chat") else Command(resume="42")
        if name == "chat":
            given = {"messages": [HumanMessage("Bye", id="bye")]}
        found[name] = await _invoke(saver, graph, given, _config(name))
    return found


def valkey_saver(*, asynchronous: bool = False) -> tuple[Any, Any]:
    """Return the Valkey saver, or its asynchronous twin, and its client. Where the client `valkey` is missing, redis-py, of which it is a fork, takes its place."""
    if "valkey" not in sys.modules and importlib.util.find_spec("valkey") is None:
        errors = {"ValkeyError": redis.RedisError, "WatchError": redis.WatchError}
        names: dict[str, dict[str, Any]] = {
            "valkey": {"Valkey": redis.Redis},
            "valkey.asyncio": {"Valkey": redis.asyncio.Redis},
            "valkey.asyncio.connection": {"ConnectionPool": redis.asyncio.ConnectionPool},
            "valkey.connection": {"ConnectionPool": redis.ConnectionPool},
            "valkey.exceptions": errors,
        }
        for name, attributes in names.items():
            module = types.ModuleType(name)
            vars(module).update(attributes)
            sys.modules[name] = module
    from langgraph_checkpoint_aws.checkpoint.valkey.async_saver import AsyncValkeySaver
    from langgraph_checkpoint_aws.checkpoint.valkey.saver import ValkeySaver
    from valkey import Valkey
    from valkey.asyncio import Valkey as AsyncValkey

    return (AsyncValkeySaver, AsyncValkey) if asynchronous else (ValkeySaver, Valkey)
