"""Compression: histories, chains, graphs and agents in a budget, with summaries that are stored and paid for once."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from counting import Costs
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from patience import PATIENCE
from pydantic import PrivateAttr

from langchain_agentmem import AgentMemHistory, AgentMemory, InvalidInputError, MemoryCompressor, Retention
from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.compression.records import Record
from langchain_agentmem.compression.storage import SessionRecords
from langchain_agentmem.programs import run
from langchain_agentmem.testing import ScriptedChatModel


class Noting(BaseChatModel):
    """A summariser that notes what it is shown, and answers with the first words of it."""

    _shown: list[str] = PrivateAttr(default_factory=list)
    _gate: threading.Event | None = PrivateAttr(default=None)
    _begun: threading.Event = PrivateAttr(default_factory=threading.Event)

    def __init__(self, gate: threading.Event | None = None) -> None:
        super().__init__()
        self._gate = gate

    @property
    def shown(self) -> list[str]:
        return self._shown

    @property
    def begun(self) -> threading.Event:
        return self._begun

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any) -> Any:
        self._shown.append(str(messages[-1].content))
        self._begun.set()
        if self._gate is not None:
            assert self._gate.wait(PATIENCE)
        text = f"Summary {len(self._shown)}."
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    @property
    def _llm_type(self) -> str:
        return "noting"


def talk(first: int, last: int) -> list[BaseMessage]:
    return [one for at in range(first, last) for one in (HumanMessage(f"fact {at} is {at}"), AIMessage(f"noted {at}"))]


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


def texts(messages: list[BaseMessage]) -> list[str]:
    return [str(message.text) for message in messages]


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


def test_the_summary_outlives_the_process_and_is_extended_by_the_new_part_alone(lasting_url):
    for turn in range(3):
        model = Noting()
        with AgentMemory.from_url(lasting_url) as memory:
            history = memory.history("s", compressor=memory.compressor(model, max_messages=8))
            history.add_messages(talk(10 * turn, 10 * turn + 10))
            assert "Summary 1." in history.messages[0].text
        (shown,) = model.shown
        assert ("Summary so far" in shown) == (turn > 0)
        assert f"fact {10 * turn + 5} " in shown
        assert f"fact {10 * turn - 8} " not in shown


def test_a_session_that_is_cleared_deleted_or_ended_has_no_summary(memory):
    compressor = memory.compressor(Noting(), max_messages=6)
    for forget in ("clear", "delete", "end"):
        history = memory.history("s", compressor=compressor, retention=Retention("session"))
        history.add_messages(talk(0, 10))
        assert "Summary" in history.messages[0].text
        assert memory.summary("s") is not None
        if forget == "clear":
            history.clear()
        elif forget == "delete":
            memory.sessions.delete("s")
        else:
            memory.sessions.end("s")
        assert memory.summary("s") is None
        history.add_messages(talk(0, 1))
        assert texts(history.messages) == ["fact 0 is 0", "noted 0"]


def test_no_summary_of_cleared_messages_is_written_afterwards(memory):
    gate = threading.Event()
    model = Noting(gate)
    history = memory.history("s", compressor=memory.compressor(model, max_messages=6))
    history.add_messages(talk(0, 10))
    with ThreadPoolExecutor() as pool:
        running = pool.submit(lambda: history.messages)
        assert model.begun.wait(PATIENCE)
        memory.history("s").clear()
        gate.set()
        running.result(PATIENCE)
    history.add_messages(talk(50, 51))
    assert texts(history.messages) == ["fact 50 is 50", "noted 50"]
    assert "fact 0" not in str(memory.summary("s"))


def test_agents_and_users_have_summaries_of_their_own(memory):
    compressor = memory.compressor(Noting(), max_messages=6)
    for user, agent in (("u", "a"), ("u", "b"), ("v", "a")):
        memory.history("s", user_id=user, agent=agent, compressor=compressor).add_messages(talk(0, 10))
        assert "Summary" in memory.history("s", user_id=user, agent=agent, compressor=compressor).messages[0].text
    found = {
        memory.summary("s", user_id=user, agent=agent).text for user, agent in (("u", "a"), ("u", "b"), ("v", "a"))
    }
    assert found == {"Summary 1.", "Summary 2.", "Summary 3."}
    assert memory.summary("s", user_id="w") is None


def test_an_expired_session_that_begins_anew_has_no_summary(memory, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    other = AgentMemory(memory.backend, ttl=60.0)
    history = other.history("s", compressor=other.compressor(Noting(), max_messages=6))
    history.add_messages(talk(0, 10))
    assert "Summary" in history.messages[0].text
    now[0] += 61
    assert history.messages == []
    history.add_messages(talk(20, 21))
    assert texts(history.messages) == ["fact 20 is 20", "noted 20"]


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


def test_the_summary_of_a_thread_goes_with_the_thread(memory):
    first, second = Noting(), Noting()
    config: Any = {"configurable": {"thread_id": "t"}}
    memory.compressor(first, max_messages=6).invoke(talk(0, 10), config)
    memory.compressor(second, max_messages=6).invoke(talk(0, 10), config)
    assert (len(first.shown), len(second.shown)) == (1, 0)
    memory.checkpointer.delete_thread("t")
    memory.compressor(second, max_messages=6).invoke(talk(0, 10), config)
    assert len(second.shown) == 1


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


def test_a_claim_of_a_process_that_was_killed_does_not_hold_for_long(lasting_url):
    with AgentMemory.from_url(lasting_url) as memory:
        history = memory.history("s", compressor=memory.compressor(Noting(), max_messages=6, time_limit=0.2))
        history.add_messages(talk(0, 10))
        storage = SessionRecords(memory.backend, SessionKey("default", None, "s"), None)
        now = time.time()
        assert run(storage.swap(Record(claim=1, until=now + 1.0), None, now))
        # The turn of the time goes on without a summary, and one after the claim has run out makes it.
        assert texts(history.messages) == texts(talk(7, 10))
        run(storage.swap(Record(claim=1, until=now - 1.0), run(storage.load(now))[1], now))
        assert "Summary 1." in history.messages[0].text


def test_ending_a_session_that_has_nothing_to_end_leaves_its_summary(memory):
    model = Noting()
    history = memory.history("s", compressor=memory.compressor(model, max_messages=6))
    history.add_messages(talk(0, 10))
    before = history.messages
    assert memory.sessions.end("s") == 0
    assert history.messages == before
    assert len(model.shown) == 1


def test_deleted_messages_are_not_shown_to_the_model_any_more(memory):
    history = memory.history("s")
    history.add_messages([HumanMessage(f"secret {at} " + "word " * 400) for at in range(20)])
    shown: list[Any] = []

    def summarise(request: list[BaseMessage]) -> str:
        shown.append(request)
        history.clear()
        return "ok"

    compressor = memory.compressor(summarise, max_tokens=1_000, input_tokens=1_000)
    memory.history("s", compressor=compressor).messages  # noqa: B018 (reading is what counts)
    assert len(shown) == 1
    assert memory.summary("s") is None


@pytest.mark.parametrize("what", ["thread", "session"])
def test_nothing_is_left_of_a_thread_or_session_that_is_deleted_while_it_is_summarised(memory, what):
    config: Any = {"configurable": {f"{what}_id": "x"}}
    memory.history("x").add_message(HumanMessage("hi"))

    def summarise(request: list[BaseMessage]) -> str:
        if what == "thread":
            memory.checkpointer.delete_thread("x")
        else:
            memory.sessions.delete("x")
        return "secret"

    compressor = memory.compressor(summarise, max_messages=6)
    assert texts(compressor.invoke(talk(0, 10), config)) == texts(talk(7, 10))
    assert memory.summary(**{f"{what}_id": "x"}) is None


def test_the_summary_of_a_list_goes_with_its_session(memory, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    compressor = memory.compressor(Noting(), max_messages=6)
    config: Any = {"configurable": {"session_id": "s"}}
    memory.history("s", retention=Retention(ttl=60)).add_messages(talk(0, 10))
    compressor.invoke(talk(0, 10), config)
    assert memory.summary("s").text == "Summary 1."
    now[0] += 61
    memory.sweep()
    assert memory.summary("s") is None


def test_the_summary_of_a_thread_expires_with_it_and_lives_as_long_as_it_is_used(memory, monkeypatch):
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    model = Noting()
    compressor = memory.compressor(model, max_messages=6)
    config: Any = {"configurable": {"thread_id": "t"}}
    memory.checkpointer.set_ttl("t", 60)
    compressor.invoke(talk(0, 10), config)
    for _ in range(4):
        now[0] += 40
        compressor.invoke(talk(0, 10), config)
    assert len(model.shown) == 1
    now[0] += 61
    assert memory.summary(thread_id="t") is None


def test_a_history_that_is_not_stored_leaves_no_summary_either(memory):
    compressor = memory.compressor(lambda request: "secret", max_messages=6)
    history = memory.history("s", compressor=compressor, retention=Retention("single_run"))
    history.add_messages(talk(0, 10))
    chain = RunnableLambda(lambda _: history.messages)
    assert "secret" in chain.invoke("x", {"configurable": {"session_id": "s"}})[0].text
    assert memory.summary("s") is None


def test_the_summary_of_an_encrypted_thread_is_encrypted(sqlite_url):
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
    config: Any = {"configurable": {"thread_id": "t"}}
    with AgentMemory.from_url(sqlite_url, serde=serde) as memory:
        memory.compressor(lambda request: "OLDSECRET", max_messages=6).invoke(talk(0, 10), config)
        assert memory.summary(thread_id="t").text == "OLDSECRET"
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    assert all(b"OLDSECRET" not in file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    with AgentMemory.from_url(sqlite_url) as memory:
        assert memory.summary(thread_id="t") is None


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
