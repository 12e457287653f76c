"""An empty user ID in a run's config names no user, as LangGraph's agent server passes it without authentication."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import ConfigurableFieldSpec, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.graph import START, MessagesState, StateGraph
from profiles import answer, config

from langchain_agentmem import InvalidInputError
from langchain_agentmem.knowledge.namespaces import user_of
from langchain_agentmem.testing import ScriptedChatModel

NO_USER: Any = config("")
NOBODY = "The run names no user"


async def test_a_graph_without_a_user_is_stored(memory, call):
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage("I see.")]})
    builder.add_edge(START, "answer")
    graph = builder.compile(checkpointer=memory.checkpointer)
    for turn in range(2):
        await call(graph.invoke, {"messages": [HumanMessage(f"Turn {turn}")]}, NO_USER)
    state = await call(graph.get_state, NO_USER)
    assert [one.text for one in state.values["messages"]] == ["Turn 0", "I see.", "Turn 1", "I see."]
    (thread,) = await call(memory.checkpointer.threads)
    assert thread.user_id is None


async def test_a_user_of_a_thread_stays_when_a_later_run_names_none(memory, call):
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage("I see.")]})
    builder.add_edge(START, "answer")
    graph = builder.compile(checkpointer=memory.checkpointer)
    for run in (config("alice"), NO_USER):
        await call(graph.invoke, {"messages": [HumanMessage("Hello")]}, run)
    assert [thread.thread_id for thread in await call(memory.checkpointer.threads, user_id="alice")] == ["t"]


@pytest.mark.parametrize("factory", ["get_session_history", "session_history"])
async def test_a_chain_without_a_user_writes_to_the_session_of_nobody(memory, call, factory):
    made = memory.get_session_history if factory == "get_session_history" else memory.session_history(max_messages=9)
    fields = [ConfigurableFieldSpec(id=name, annotation=str) for name in ("user_id", "session_id")]
    chain = RunnableWithMessageHistory(
        RunnableLambda(lambda _: AIMessage("I see.")), made, history_factory_config=fields
    )
    await call(chain.invoke, [HumanMessage("Hello")], {"configurable": {"session_id": "s", "user_id": ""}})
    assert [one.text for one in memory.history("s").messages] == ["Hello", "I see."]


async def test_a_compressor_without_a_user_keeps_the_summary_of_the_session_of_nobody(memory, call):
    compressor = memory.compressor(ScriptedChatModel(["A summary."]), max_tokens=60, summary_tokens=20)
    messages = [HumanMessage(f"Message {number} of a long conversation") for number in range(20)]
    made = [
        await call(compressor.invoke, messages, {"configurable": {"session_id": "s", **user}})
        for user in ({"user_id": ""}, {}, {"user_id": None})
    ]
    assert made[0] == made[1] == made[2]
    assert any("A summary." in one.text for one in made[0])


async def test_what_needs_a_user_says_that_none_was_named(memory, call):
    save, *_ = memory.tools()
    model = ScriptedChatModel([answer()])
    agent = create_agent(ScriptedChatModel(["Hello."]), [], middleware=[memory.middleware(model)])
    asked = {"messages": [HumanMessage("Hello")]}
    for runnable, given in (
        (save, {"memory": "Something"}),
        (memory.profile_node(model), asked),
        (agent, asked),
    ):
        with pytest.raises(InvalidInputError, match=NOBODY):
            await call(runnable.invoke, given, NO_USER)
    assert model.requests == []
    assert await call(memory.store.search, ()) == []


def test_an_empty_id_gives_way_to_the_context_and_the_state():
    empty = SimpleNamespace(user_id="")
    assert user_of(NO_USER, {"user_id": "s"}, {"user_id": "x"}) == "x"
    assert user_of(NO_USER, {"user_id": "s"}, empty) == "s"
    with pytest.raises(InvalidInputError, match=NOBODY):
        user_of(NO_USER, {"user_id": ""}, empty)


async def test_an_empty_id_given_by_hand_is_refused(memory, call):
    for method in (memory.profiles.get, memory.memories.list):
        with pytest.raises(InvalidInputError, match="user_id must not be empty"):
            await call(method, "")
    with pytest.raises(InvalidInputError, match="user_id must not be empty"):
        memory.history("s", user_id="")
    with pytest.raises(InvalidInputError, match="user_id must not be empty"):
        await call(memory.checkpointer.threads, user_id="")
