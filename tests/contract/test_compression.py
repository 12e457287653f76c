"""Compression: histories, chains, graphs and agents in a budget, with summaries that are stored and paid for once."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest
from compressed import Noting, talk, texts
from counting import Costs
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from patience import PATIENCE

from langchain_agentmem import AgentMemHistory, AgentMemory, InvalidInputError, MemoryCompressor
from langchain_agentmem.testing import ScriptedChatModel


async def window(history: AgentMemHistory, call: Any) -> list[BaseMessage]:
    """What a history gives, by `messages` or by `aget_messages`."""
    found: list[BaseMessage] = await call(Window(history).read)
    return found


class Window:
    def __init__(self, history: AgentMemHistory) -> None:
        self._history = history

    def read(self) -> list[BaseMessage]:
        return self._history.messages

    async def aread(self) -> list[BaseMessage]:
        return await self._history.aget_messages()


async def test_a_history_gives_a_summary_and_the_newest_messages(memory, call):
    model = Noting()
    history = memory.history("s", user_id="u", compressor=memory.compressor(model, max_messages=8))
    await call(history.add_messages, talk(0, 10))
    messages = history.messages
    assert len(messages) <= 8
    assert "Summary 1." in messages[0].text
    assert texts(messages)[-2:] == ["fact 9 is 9", "noted 9"]
    assert isinstance(messages[1], HumanMessage)
    assert await history.aget_messages() == messages
    assert len(model.shown) == 1
    assert history.count() == 20


async def test_each_message_is_shown_once_and_none_is_lost(memory):
    model = Noting()
    history = memory.history("s", compressor=memory.compressor(model, max_messages=8))
    for at in range(40):
        await history.aadd_messages(talk(at, at + 1))
        assert len(history.messages) <= 8
    shown = "\n".join(model.shown)
    kept = "\n".join(texts(history.messages))
    for at in range(40):
        assert shown.count(f"fact {at} is {at}\\n") + kept.count(f"fact {at} is {at}\n") == 1


def test_parallel_turns_of_a_session_summarise_once(memory):
    gate = threading.Event()
    model = Noting(gate)
    compressor = memory.compressor(model, max_messages=6)
    memory.history("s").add_messages(talk(0, 10))
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(lambda: memory.history("s", compressor=compressor).messages) for _ in range(8)]
        assert model.begun.wait(PATIENCE)
        gate.set()
        windows = [one.result(PATIENCE) for one in running]
    assert len(model.shown) == 1
    assert all(window == windows[0] for window in windows)


async def test_parallel_coroutines_of_a_thread_summarise_once(memory):
    model = Noting()
    compressor = memory.compressor(model, max_messages=6)
    config = {"configurable": {"thread_id": "t"}}
    found = await asyncio.gather(*(compressor.ainvoke(talk(0, 10), config) for _ in range(8)))
    assert len(model.shown) == 1
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("problem", ["error", "empty", "slow"])
async def test_when_the_model_fails_the_chain_goes_on_and_the_next_turn_tries_again(memory, problem, caplog, call):
    gate = threading.Event()
    if problem == "slow":
        model: BaseChatModel = Noting(gate)
    else:
        model = ScriptedChatModel([RuntimeError("overloaded") if problem == "error" else "", "All is well."])
    compressor = memory.compressor(model, max_messages=6, time_limit=0.05 if problem == "slow" else 30)
    history = memory.history("s", compressor=compressor)
    history.add_messages(talk(0, 10))
    with caplog.at_level(logging.WARNING):
        messages = await window(history, call)
    assert texts(messages) == texts(talk(7, 10))
    assert "The oldest messages are left out of this request" in caplog.text
    assert compressor.events[-1].error is not None
    gate.set()
    assert history.count() == 20
    again = memory.history("s", compressor=memory.compressor(model, max_messages=6))
    assert ("Summary" if problem == "slow" else "All is well.") in again.messages[0].text
    assert texts(again.messages)[-1] == "noted 9"


async def test_a_turn_that_was_cancelled_does_not_keep_the_next_one_waiting(memory):
    gate = threading.Event()

    class Hanging(Noting):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            self._begun.set()
            await asyncio.sleep(3600)

    hanging = Hanging(gate)
    memory.history("s").add_messages(talk(0, 10))
    running = asyncio.create_task(
        memory.history("s", compressor=memory.compressor(hanging, max_messages=6)).aget_messages()
    )
    while not hanging.begun.is_set():
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    model = Noting()
    messages = await memory.history("s", compressor=memory.compressor(model, max_messages=6)).aget_messages()
    assert "Summary 1." in messages[0].text


def chain_of(memory: AgentMemory, model: BaseChatModel, compressor: MemoryCompressor, *, around: bool) -> Any:
    prompt = ChatPromptTemplate.from_messages(
        [("system", "Be kind."), MessagesPlaceholder("history"), ("human", "{input}")]
    )
    chain = prompt | model if around else prompt | compressor | model
    factory = memory.session_history(compressor=compressor) if around else memory.get_session_history
    return RunnableWithMessageHistory(chain, factory, input_messages_key="input", history_messages_key="history")


@pytest.mark.parametrize("around", [True, False])
async def test_a_chain_stays_in_the_budget_and_its_history_stays_whole(memory, call, around):
    model = ScriptedChatModel([f"answer {turn}" for turn in range(30)])
    summariser = Noting()
    chain = chain_of(memory, model, memory.compressor(summariser, max_messages=8), around=around)
    for turn in range(30):
        await call(chain.invoke, {"input": f"question {turn}"}, {"configurable": {"session_id": "s"}})
    assert all(len(request) <= 8 + 2 * around for request in model.requests)
    assert all(
        request[0].text == "Be kind." and request[-1].text == f"question {at}"
        for at, request in enumerate(model.requests)
    )
    assert memory.history("s").count() == 60
    shown = "\n".join(summariser.shown)
    assert all(shown.count(f"question {turn}\\n") == 1 for turn in range(20))
    assert len(summariser.shown) <= 15


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    llm_input_messages: list[AnyMessage]


def graph_of(memory: AgentMemory, model: BaseChatModel, compressor: MemoryCompressor) -> Any:
    builder = StateGraph(State)
    builder.add_node("compress", compressor.as_node())
    builder.add_node("reply", lambda state: {"messages": [model.invoke(state["llm_input_messages"])]})
    builder.add_edge(START, "compress")
    builder.add_edge("compress", "reply")
    return builder.compile(checkpointer=memory.checkpointer)


async def test_a_node_leaves_the_transcript_as_it_is_and_nothing_of_the_summary_in_the_stream(memory, call):
    model = ScriptedChatModel([f"answer {turn}" for turn in range(12)])
    summariser = Noting()
    graph = graph_of(memory, model, memory.compressor(summariser, max_messages=8))
    config: Any = {"configurable": {"thread_id": "t"}}
    streamed: list[str] = []
    for turn in range(12):
        given = {"messages": [HumanMessage(f"question {turn}")]}
        streamed += [message.text for message, _ in await call(graph.stream, given, config, stream_mode="messages")]
    assert streamed == [f"answer {turn}" for turn in range(12)]
    assert summariser.shown
    state = graph.get_state(config).values
    assert len(state["messages"]) == 24
    assert all(len(request) <= 8 for request in model.requests)


def test_a_fork_of_a_thread_gets_a_summary_of_its_own(memory):
    model = Noting()
    compressor = memory.compressor(model, max_messages=6)
    config: Any = {"configurable": {"thread_id": "t"}}
    trunk = talk(0, 10)
    fork = [*trunk[:4], HumanMessage("Actually, no."), *trunk[5:]]
    first = compressor.invoke(trunk, config)
    second = compressor.invoke(fork, config)
    assert len(model.shown) == 2
    assert "Actually, no." in model.shown[1]
    assert compressor.invoke(trunk, config) == first
    assert compressor.invoke(fork, config) == second
    assert len(model.shown) == 2


async def test_a_window_of_tokens(memory, call):
    history = memory.history("s", max_tokens=40, token_counter=lambda messages: 10 * len(messages))
    history.add_messages([SystemMessage("Be kind."), *talk(0, 100)])
    assert texts(history.messages) == ["Be kind.", *texts(talk(0, 100))[-2:]]
    assert await history.aget_messages() == history.messages
    tiny = memory.history("s", max_tokens=5, token_counter=lambda messages: 10 * len(messages))
    assert tiny.messages == []


def test_a_window_of_tokens_reads_as_far_back_as_it_takes(memory):
    history = memory.history("s", max_tokens=5_000, token_counter=lambda messages: len(messages))
    history.add_messages(talk(0, 3_000))
    assert len(history.messages) == 5_000


def test_a_window_of_tokens_never_begins_with_the_result_of_a_call(memory):
    history = memory.history("s", max_tokens=30, token_counter=lambda messages: 10 * len(messages))
    call = AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": "1"}])
    history.add_messages([call, ToolMessage("5", tool_call_id="1"), AIMessage("5"), HumanMessage("Thanks")])
    assert texts(history.messages) == ["Thanks"]


def test_a_summary_without_a_model_is_made_of_the_conversations_own_sentences(memory):
    history = memory.history("s")
    history.add_messages([HumanMessage("The budget of the spring campaign is 900 euros."), AIMessage("Fine.")])
    summary = memory.summary("s")
    assert "The budget of the spring campaign is 900 euros." in summary.text
    assert summary.message_count == 2


def test_the_default_state_graph_takes_it_as_a_pre_model_hook(memory):
    from langgraph.prebuilt import create_react_agent

    model = ScriptedChatModel([f"answer {turn}" for turn in range(8)])
    with pytest.warns(DeprecationWarning, match="create_react_agent"):
        agent = create_react_agent(
            model,
            [],
            pre_model_hook=memory.compressor(Noting(), max_messages=6).as_pre_model_hook(),
            checkpointer=memory.checkpointer,
        )
    for turn in range(8):
        agent.invoke({"messages": [HumanMessage(f"q {turn}")]}, {"configurable": {"thread_id": "t"}})
    assert all(len(request) <= 6 for request in model.requests)
    assert len(agent.get_state({"configurable": {"thread_id": "t"}}).values["messages"]) == 16


async def test_create_agent_takes_it_as_a_middleware(memory, call):
    from langchain.agents import create_agent

    model = ScriptedChatModel([f"answer {turn}" for turn in range(8)])
    summariser = Noting()
    compressor = memory.compressor(summariser, max_messages=6)
    agent = create_agent(
        model, [], system_prompt="Be kind.", middleware=[compressor.as_middleware()], checkpointer=memory.checkpointer
    )
    config: Any = {"configurable": {"thread_id": "t"}}
    for turn in range(8):
        await call(agent.invoke, {"messages": [HumanMessage(f"q {turn}")]}, config)
    assert all(len(request) <= 6 and request[0].text == "Be kind." for request in model.requests)
    assert len(agent.get_state(config).values["messages"]) == 16
    assert summariser.shown


def test_messages_state_is_taken_as_it_is(memory):
    compressor = memory.compressor(Noting(), max_messages=6)
    assert len(compressor.invoke(MessagesState(messages=talk(0, 10)))) <= 6


async def test_a_compressed_window_is_two_reads_however_long_the_session_is(memory, call, monkeypatch):
    compressor = memory.compressor(Noting(), max_messages=8)
    histories = [memory.history(name, compressor=compressor) for name in ("short", "long")]
    for history, length in zip(histories, (20, 2_000), strict=True):
        await call(history.add_messages, talk(0, length))
        await history.aget_messages()
    costs = Costs(memory, monkeypatch)
    measured = []
    for history in histories:
        costs.reset()
        await history.aget_messages()
        measured.append((costs.transactions, costs.statements, costs.rows))
    assert measured[0] == measured[1]
    assert measured[0][0] == ["read", "read"]
    assert measured[0][2] <= 10


def test_a_conversation_that_fits_needs_no_round_trip(memory, monkeypatch):
    compressor = memory.compressor(Noting(), max_messages=8)
    costs = Costs(memory, monkeypatch)
    compressor.invoke(talk(0, 4), {"configurable": {"thread_id": "t"}})
    assert costs.transactions == []


def test_an_answer_in_content_blocks_is_taken_as_its_text(memory):
    model = ScriptedChatModel([AIMessage([{"type": "text", "text": "All "}, {"type": "text", "text": "is well."}])])
    messages = memory.compressor(model, max_messages=6).invoke(talk(0, 10))
    assert '<data>"All is well."</data>' in messages[0].text


def test_several_folds_of_one_line_leave_room_for_a_fork(memory):
    model = Noting()
    compressor = memory.compressor(model, max_messages=6)
    config: Any = {"configurable": {"thread_id": "t"}}
    fork = [HumanMessage("Another story."), *talk(1, 10)]
    compressor.invoke(fork, config)
    for end in range(10, 40, 4):
        compressor.invoke(talk(0, end), config)
    calls = len(model.shown)
    compressor.invoke(fork, config)
    assert len(model.shown) == calls


def test_compressors_with_other_instructions_have_summaries_of_their_own(memory):
    config: Any = {"configurable": {"thread_id": "t"}}
    first = memory.compressor(lambda request: "legal", max_messages=6)
    second = memory.compressor(lambda request: "medical", max_messages=6, instructions="Only what is medical.")
    for _ in range(2):
        assert "legal" in first.invoke(talk(0, 10), config)[0].text
        assert "medical" in second.invoke(talk(0, 10), config)[0].text


def test_a_session_or_a_thread_has_to_be_named(memory):
    for arguments in ({}, {"session_id": "s", "thread_id": "t"}):
        with pytest.raises(InvalidInputError, match="takes either a session or a thread"):
            memory.summary(**arguments)


def test_a_list_with_a_session_that_is_not_stored_is_summarised_once(memory):
    model = Noting()
    compressor = memory.compressor(model, max_messages=6)
    config: Any = {"configurable": {"session_id": "new"}}
    for _ in range(2):
        assert "Summary 1." in compressor.invoke(talk(0, 10), config)[0].text
    assert memory.sessions.list() == []


SUMMARISE = """
import sys, time
from langchain_agentmem import AgentMemory
def summarise(request):
    print("called", flush=True)
    time.sleep(1)
    return "Summary."
with AgentMemory.from_url(sys.argv[1]) as memory:
    history = memory.history("s", compressor=memory.compressor(summarise, max_messages=6))
    print(history.messages[0].text.count("Summary."), flush=True)
"""


def test_processes_that_want_the_same_summary_make_it_once(lasting_url):
    with AgentMemory.from_url(lasting_url) as memory:
        memory.history("s").add_messages(talk(0, 10))
    command = [sys.executable, "-c", SUMMARISE, lasting_url]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=PATIENCE)[0].split() for process in running]
    assert sorted(said) == [["1"], ["1"], ["called", "1"]]
