"""The sizes of a thread's checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemory, InvalidInputError

LONG = "A text that is long enough to be an element of its own, outside of the checkpoint's document. " * 40


def graph_of(memory: AgentMemory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} {LONG}")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=memory.checkpointer)


def talk(memory: AgentMemory, thread_id: str, turns: int) -> None:
    for number in range(turns):
        message = HumanMessage(f"{number} {LONG}")
        graph_of(memory).invoke({"messages": [message]}, {"configurable": {"thread_id": thread_id}})


async def test_sizes_grow_with_the_thread_but_new_bytes_do_not(memory: AgentMemory, call: Callable[..., Any]) -> None:
    talk(memory, "long", 6)
    found = [one for one in await call(memory.checkpointer.sizes, "long") if one.source == "loop"]
    newest, oldest = found[0], found[-2]
    assert newest.bytes > 3 * oldest.bytes
    assert 500 < newest.new_bytes < 2 * oldest.new_bytes
    assert all(one.new_bytes <= one.bytes for one in found)


async def test_a_page_has_the_same_sizes_as_the_whole(memory: AgentMemory, call: Callable[..., Any]) -> None:
    talk(memory, "paged", 3)
    talk(memory, "other", 1)
    whole = await call(memory.checkpointer.sizes, "paged")
    assert [one.step for one in whole] == list(range(len(whole) - 2, -2, -1))
    first = await call(memory.checkpointer.sizes, "paged", limit=4)
    second = await call(memory.checkpointer.sizes, "paged", limit=100, before=first[-1].checkpoint_id)
    assert [*first, *second] == [*whole]
    assert {one.thread_id for one in whole} == {"paged"}
    assert whole[-1].new_bytes == whole[-1].bytes


async def test_an_unknown_thread_has_no_checkpoints(memory: AgentMemory, call: Callable[..., Any]) -> None:
    assert await call(memory.checkpointer.sizes, "unknown") == []
    assert "<table>" in (await call(memory.checkpointer.sizes, "unknown"))._repr_html_()


@pytest.mark.parametrize("arguments", [{"limit": 0}, {"before": ""}])
async def test_wrong_arguments_are_refused(memory: AgentMemory, call: Callable[..., Any], arguments: Any) -> None:
    with pytest.raises(InvalidInputError):
        await call(memory.checkpointer.sizes, "thread", **arguments)
