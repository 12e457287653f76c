"""Each surface of a memory used once, for tests of connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemory

CONFIG: Any = {"configurable": {"thread_id": "1"}}


def talk(memory: AgentMemory) -> Any:
    """A graph that answers."""
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage("ok")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=memory.checkpointer)


async def use(memory: AgentMemory, call: Callable[..., Any], number: int) -> None:
    """Use each surface; the numbers are 0, 1, 2 …"""
    await call(memory.history("s").add_messages, [HumanMessage(f"{number}"), AIMessage(f"{number}")])
    await call(memory.store.put, ("a",), str(number), {"n": number})
    await call(talk(memory).invoke, {"messages": [HumanMessage(f"{number}")]}, CONFIG)


async def assert_used(memory: AgentMemory, call: Callable[..., Any], times: int) -> None:
    """All that `use` did is there, in its order."""
    texts = [message.content for message in await call(memory.history("s").get_recent, 1_000)]
    assert texts == [str(number) for number in range(times) for _ in "ab"]
    assert {item.key for item in await call(memory.store.search, ("a",), limit=1_000)} == set(map(str, range(times)))
    assert len((await call(talk(memory).get_state, CONFIG)).values["messages"]) == 2 * times
