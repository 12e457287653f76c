"""Sessions of chat history that become threads of a graph, and threads that become sessions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any
from unittest.mock import AsyncMock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, _messages_delta_reducer, add_messages
from langgraph.types import interrupt
from profiles import ALICE
from typing_extensions import TypedDict

from langchain_agentmem import (
    AgentMemory,
    Guard,
    InvalidInputError,
    InvalidTypeError,
    MovedConversation,
    ThreadInUseError,
    UnsupportedValueError,
)
from langchain_agentmem.testing import ScriptedChatModel

BOB = "bob"
CALL = {"name": "find", "args": {"what": "ferry"}, "id": "call-1", "type": "tool_call"}
TALK: list[BaseMessage] = [
    SystemMessage("Be brief.", id="0"),
    HumanMessage(
        "Shall we go to Malta?", id="1", name="Alice", additional_kwargs={"created_at": "2026-01-02T03:04:05Z"}
    ),
    AIMessage([{"type": "text", "text": "I look."}], id="2", tool_calls=[CALL]),
    ToolMessage("One ferry a day.", id="3", tool_call_id="call-1", artifact={"ferries": 1}),
    AIMessage("By ferry.", id="4", response_metadata={"model": "m"}, usage_metadata=None),
]


class Delta(TypedDict):
    messages: Annotated[list[Any], DeltaChannel(_messages_delta_reducer)]


class Replaced(TypedDict):
    messages: list[Any]


class Spoken(TypedDict):
    talk: Annotated[list[Any], add_messages]


def graph_of(kind: str, saver: Any, key: str = "messages") -> Any:
    """A graph that answers "Well." with one node after the start; it is run once for each input."""
    if kind == "agent":
        return create_agent(ScriptedChatModel(["Well."] * 9), [], checkpointer=saver)
    if kind == "agent with tools":

        def find(what: str) -> str:
            """Find something."""
            return what

        return create_agent(ScriptedChatModel(["Well."] * 9), [find], checkpointer=saver)
    state: Any = {"delta": Delta, "replaced": Replaced, "key": Spoken}.get(kind, MessagesState)

    def answer(given: Any) -> Any:
        return {key: [*(given[key] if kind == "replaced" else []), AIMessage("Well.")]}

    builder = StateGraph(state)
    builder.add_node("answer", answer)
    if kind == "routed":  # every edge is conditional
        builder.add_conditional_edges(START, lambda _: "answer", ["answer"])
        builder.add_conditional_edges("answer", lambda _: "__end__", ["__end__"])
    else:
        builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


async def filled(memory: AgentMemory, call: Any, session_id: str = "trip", user_id: str | None = ALICE) -> Any:
    """A session with messages of two agents, metadata, and a title and metadata of its own."""
    history = memory.history(session_id, user_id=user_id)
    async with memory.session(session_id, user_id=user_id, metadata={"channel": "web"}, timeout=None):
        await call(history.add_messages, TALK[:2], metadata={"channel": "web"})
        await call(memory.history(session_id, user_id=user_id, agent="guide").add_messages, TALK[2:])
    await call(memory.sessions.rename, session_id, "A trip", user_id=user_id)
    return history


def plain(messages: Any) -> list[BaseMessage]:
    """Messages without the labels of a handover."""
    return [
        message.model_copy(
            update={"additional_kwargs": {k: v for k, v in message.additional_kwargs.items() if k != "agentmem"}}
        )
        for message in messages
    ]


async def contents(memory: AgentMemory, call: Any, session_id: str, user_id: str | None = ALICE) -> list[Any]:
    stored = await call(memory.history(session_id, user_id=user_id).stored)
    return [(one.message, one.created_at, one.agent, one.metadata) for one in stored]


KINDS = ["agent", "agent with tools", "messages", "delta", "replaced", "routed"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ours", [True, False], ids=["our checkpointer", "another"])
async def test_a_graph_continues_a_session_from_its_start(memory, call, kind, ours):
    await filled(memory, call)
    graph = graph_of(kind, memory.checkpointer if ours else InMemorySaver())
    moved = await call(memory.to_thread, "trip", graph, user_id=ALICE)
    assert moved == MovedConversation("trip", ALICE, f"{ALICE}/trip", 5)
    state = await call(graph.get_state, moved.config)
    assert state.next == ()
    assert plain(state.values["messages"]) == TALK
    question = [*state.values["messages"], HumanMessage("And back?")] if kind == "replaced" else "And back?"
    answer = await call(graph.invoke, {"messages": question}, moved.config)
    assert plain(answer["messages"][:5]) == TALK
    assert [one.text for one in answer["messages"][5:]] == ["And back?", "Well."]
    if ours:
        assert [one.thread_id for one in await call(memory.checkpointer.threads, user_id=ALICE)] == [f"{ALICE}/trip"]


async def test_messages_may_have_another_key_in_the_state(memory, call):
    await filled(memory, call)
    graph = graph_of("key", memory.checkpointer, "talk")
    with pytest.raises(InvalidInputError, match=r"no list of messages 'messages'; it has: 'talk'. Pass messages_key"):
        await call(memory.to_thread, "trip", graph, user_id=ALICE)
    moved = await call(memory.to_thread, "trip", graph, user_id=ALICE, messages_key="talk")
    assert plain((await call(graph.get_state, moved.config)).values["talk"]) == TALK
    moved = await call(memory.from_thread, moved.thread_id, session_id="copy", messages_key="talk")
    assert moved.messages == 5


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_stored_twice_and_later_messages_follow(memory, call, kind):
    history = await filled(memory, call)
    graph = graph_of(kind, memory.checkpointer)
    moved = await call(memory.to_thread, "trip", graph, user_id=ALICE)
    assert (await call(memory.to_thread, "trip", graph, user_id=ALICE)).messages == 0
    assert len(list(memory.checkpointer.list(moved.config))) <= 2
    await call(history.add_messages, [HumanMessage("And Gozo?", id="5")])
    assert (await call(memory.to_thread, "trip", graph, user_id=ALICE)).messages == 1
    state = await call(graph.get_state, moved.config)
    assert [one.id for one in state.values["messages"]] == ["0", "1", "2", "3", "4", "5"]
    assert state.next == ()


async def test_messages_that_the_graph_removed_do_not_come_back(memory, call):
    history = await filled(memory, call)
    graph = graph_of("agent", memory.checkpointer)
    moved = await call(memory.to_thread, "trip", graph, user_id=ALICE)
    short = {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), HumanMessage("A summary", id="s")]}
    await call(graph.update_state, moved.config, short, as_node="model")
    assert (await call(memory.to_thread, "trip", graph, user_id=ALICE)).messages == 0
    await call(history.add_messages, [HumanMessage("And Gozo?", id="5")])
    await call(memory.to_thread, "trip", graph, user_id=ALICE)
    state = await call(graph.get_state, moved.config)
    assert [one.id for one in state.values["messages"]] == ["s", "5"]


@pytest.mark.parametrize("kind", ["agent", "delta", "replaced"])
async def test_a_thread_brings_back_everything_that_a_session_has(memory, call, kind):
    await filled(memory, call)
    before = await contents(memory, call, "trip")
    moved = await call(memory.to_thread, "trip", graph_of(kind, memory.checkpointer), user_id=ALICE)
    assert await call(memory.sessions.delete, "trip", user_id=ALICE)
    back = await call(memory.from_thread, moved.thread_id)
    assert back == MovedConversation("trip", ALICE, moved.thread_id, 5)
    assert await contents(memory, call, "trip") == before
    info = await call(memory.sessions.get, "trip", user_id=ALICE)
    assert (info.title, info.metadata) == ("A trip", {"channel": "web"})
    found = await call(memory.search_history, "ferry", user_id=ALICE)
    assert len([one for one in found if one.matched]) == 2


async def test_turns_of_the_graph_are_added_to_the_session_once_with_their_times(memory, call):
    await filled(memory, call)
    before = await contents(memory, call, "trip")
    graph = graph_of("agent", memory.checkpointer)
    moved = await call(memory.to_thread, "trip", graph, user_id=ALICE)
    begun = datetime.now(UTC)
    dated = HumanMessage("Later", additional_kwargs={"created_at": "2026-05-06T07:08:09+00:00"})
    await call(graph.invoke, {"messages": [dated]}, moved.config)
    for count in (2, 0):
        back = await call(memory.from_thread, moved.thread_id, agent="graph")
        assert (back.session_id, back.user_id, back.messages) == ("trip", ALICE, count)
    after = await contents(memory, call, "trip")
    assert after[:5] == before
    assert [(message.text, agent) for message, _, agent, _ in after[5:]] == [("Later", "graph"), ("Well.", "graph")]
    assert after[5][1] == datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert begun <= after[6][1] <= datetime.now(UTC)
    assert (await call(memory.to_thread, "trip", graph, user_id=ALICE)).messages == 0


async def test_a_thread_that_no_session_became_is_stored_under_the_names_of_its_last_run(memory, call):
    graph = graph_of("messages", memory.checkpointer)
    for names in ({"user_id": ALICE, "session_id": "s"}, {"user_id": BOB}, {}):
        thread_id = f"thread {len(names)}"
        await call(graph.invoke, {"messages": "Hello"}, {"configurable": {"thread_id": thread_id, **names}})
        moved = await call(memory.from_thread, thread_id)
        expected = names.get("session_id", thread_id), names.get("user_id"), 2
        assert (moved.session_id, moved.user_id, moved.messages) == expected
    moved = await call(memory.from_thread, "thread 2", session_id="other", user_id=None)
    assert (moved.session_id, moved.user_id) == ("other", None)
    assert [one.text for one in await call(memory.history("other").get_recent, 9)] == ["Hello", "Well."]
    info = await call(memory.sessions.get, "other")
    assert info.title == "Hello"


@pytest.mark.parametrize("kind", ["agent", "delta"])
async def test_all_checkpoints_bring_back_what_the_graph_removed(memory, call, kind):
    await filled(memory, call)
    saver = InMemorySaver() if kind == "agent" else memory.checkpointer
    graph = graph_of(kind, saver)
    moved = await call(memory.to_thread, "trip", graph, user_id=ALICE)
    for number in range(25):  # more checkpoints than a page
        await call(graph.update_state, moved.config, {"messages": [HumanMessage(f"Note {number}", id=f"n{number}")]})
    edited = HumanMessage("Note, edited", id="n3")
    await call(graph.update_state, moved.config, {"messages": [edited]})
    gone = [RemoveMessage(id=name) for name in ("4", "3", "2", "n7")]
    await call(graph.update_state, moved.config, {"messages": gone})
    options = {"graph": graph, "user_id": BOB}
    latest = await call(memory.from_thread, moved.thread_id, graph, session_id="latest", user_id=BOB)
    assert latest.messages == 26
    every = await call(memory.from_thread, moved.thread_id, session_id="all", all_checkpoints=True, **options)
    assert every.messages == 30
    stored = await call(memory.history("all", user_id=BOB).get_recent, 99)
    assert [one.id for one in stored] == [*"01234", *(f"n{number}" for number in range(25))]
    assert stored[:5] == TALK
    assert stored[8].text == "Note, edited"
    info = await call(memory.sessions.get, "latest", user_id=BOB)
    assert (info.title, info.metadata) == ("A trip", {"channel": "web"})  # although the message that says it is gone
    again = await call(memory.from_thread, moved.thread_id, session_id="all", all_checkpoints=True, **options)
    assert again.messages == 0


async def test_a_summary_goes_along_and_is_continued(memory, call):
    turns = [
        message
        for number in range(8)
        for message in (
            HumanMessage(f"Question {number}", id=f"q{number}"),
            AIMessage(f"Answer {number}", id=f"a{number}"),
        )
    ]
    await call(memory.history("trip", user_id=ALICE).add_messages, turns)
    first = ScriptedChatModel(["They asked eight questions."])
    compressor = memory.compressor(first, max_messages=6)
    await memory.history("trip", user_id=ALICE, compressor=compressor).aget_messages()
    summary = await call(memory.summary, "trip", user_id=ALICE)
    assert summary.text == "They asked eight questions."

    model = ScriptedChatModel(["Well."] * 3)
    unused = ScriptedChatModel([])
    middleware = memory.middleware(compressor=memory.compressor(unused, max_messages=9))
    agent = create_agent(model, [], system_prompt="Help.", middleware=[middleware], checkpointer=memory.checkpointer)
    moved = await call(memory.to_thread, "trip", agent, user_id=ALICE)
    assert await call(memory.summary, thread_id=moved.thread_id) == summary
    await call(agent.invoke, {"messages": [("user", "And now?")]}, moved.config)
    assert unused.requests == []
    assert "They asked eight questions." in " ".join(str(one.text) for one in model.requests[0])
    assert "Question 0" not in " ".join(str(one.text) for one in model.requests[0])

    await call(memory.sessions.delete, "trip", user_id=ALICE)
    await call(memory.from_thread, moved.thread_id)
    assert await call(memory.summary, "trip", user_id=ALICE) == summary
    silent = memory.compressor(ScriptedChatModel([]), max_messages=9)
    window = await memory.history("trip", user_id=ALICE, compressor=silent).aget_messages()
    assert "They asked eight questions." in window[0].text
    assert window[-1].text == "Well."


async def test_a_summary_of_other_messages_does_not_go_along(memory, call):
    await filled(memory, call)
    graph = graph_of("agent", memory.checkpointer)
    moved = await call(memory.to_thread, "trip", graph, user_id=ALICE)
    await call(memory.summary, thread_id=moved.thread_id, model=ScriptedChatModel(['{"summary": "A trip."}']))
    await call(memory.history("other").add_messages, [HumanMessage("First")])
    await call(memory.from_thread, moved.thread_id, session_id="other", user_id=None)
    assert "First" in (await call(memory.summary, "other")).text
    await call(memory.from_thread, moved.thread_id, session_id="new", user_id=None)
    assert (await call(memory.summary, "new")).text == "A trip."


async def test_sessions_of_two_users_and_of_two_agents_become_threads_of_their_own(memory, call):
    graph = graph_of("agent", memory.checkpointer)
    for user_id in (ALICE, BOB, None):
        await filled(memory, call, user_id=user_id)
    ids = [(await call(memory.to_thread, "trip", graph, user_id=user_id)).thread_id for user_id in (ALICE, BOB, None)]
    moved = await call(memory.to_thread, "trip", graph, user_id=ALICE, agent="guide")
    assert [*ids, moved.thread_id] == [f"{ALICE}/trip", f"{BOB}/trip", "trip", f"{ALICE}/trip/guide"]
    assert moved.messages == 3
    for thread_id, user_id, agent in (("trip", ALICE, None), (f"{ALICE}/trip", ALICE, "guide"), (ids[0], None, None)):
        with pytest.raises(ThreadInUseError, match="another conversation"):
            await call(memory.to_thread, "trip", graph, user_id=user_id, agent=agent, thread_id=thread_id)


async def test_a_thread_that_has_not_finished_is_refused_and_unchanged(memory, call):
    builder = StateGraph(MessagesState)
    builder.add_node("ask", lambda _: {"messages": [interrupt("Sure?")]})
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=memory.checkpointer)
    history = await filled(memory, call)
    moved = await call(memory.to_thread, "trip", graph, user_id=ALICE)
    await call(graph.invoke, {"messages": "Go"}, moved.config)
    await call(history.add_messages, [HumanMessage("And Gozo?")])
    before = await call(graph.get_state, moved.config)
    with pytest.raises(ThreadInUseError, match="has not finished"):
        await call(memory.to_thread, "trip", graph, user_id=ALICE)
    assert await call(graph.get_state, moved.config) == before


async def test_what_a_graph_would_carry_out_or_merge_arrives_whole(memory, call):
    same = HumanMessage("Same", id="same")
    chunk = AIMessageChunk("Streamed", id="chunk")
    history = memory.history("s")
    await call(history.add_messages, [same, same, RemoveMessage(REMOVE_ALL_MESSAGES), chunk])
    graph = graph_of("agent", memory.checkpointer)
    moved = await call(memory.to_thread, "s", graph)
    state = await call(graph.get_state, moved.config)
    assert [(one.id, one.text) for one in state.values["messages"]] == [
        ("same", "Same"),
        ("same#1", "Same"),
        ("chunk", "Streamed"),
    ]
    assert (await call(memory.from_thread, "s")).messages == 0
    assert (await call(memory.from_thread, "s", session_id="copy")).messages == 3
    assert [(one.id, one.type) for one in await call(memory.history("copy").get_recent, 9)] == [
        ("same", "human"),
        ("same", "human"),
        ("chunk", "ai"),
    ]


async def test_a_thread_with_a_value_that_cannot_be_stored_is_stored_whole_or_not_at_all(memory, call, monkeypatch):
    graph = graph_of("messages", InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    await call(graph.invoke, {"messages": "Hello"}, config)
    odd = ToolMessage("x", tool_call_id="1", artifact=datetime.now)
    state = await call(graph.get_state, config)
    state.values["messages"].append(odd)
    monkeypatch.setattr(graph, "get_state", lambda _: state)
    monkeypatch.setattr(graph, "aget_state", AsyncMock(return_value=state))
    with pytest.raises(UnsupportedValueError, match=r"messages\[2\]"):
        await call(memory.from_thread, "t", graph=graph)
    assert await call(memory.history("t").count) == 0
    assert await call(memory.sessions.get, "t") is None


async def test_the_guard_reads_what_comes_from_a_thread(url, call):
    saver = InMemorySaver()
    graph = graph_of("messages", saver)
    await call(graph.invoke, {"messages": "My key is red"}, {"configurable": {"thread_id": "t"}})
    with AgentMemory.from_url(url, guard=Guard(rules={"red": lambda text: ["red"] if "red" in text else []})) as memory:
        with pytest.raises(InvalidInputError):
            await call(memory.from_thread, "t", graph=graph)
        assert await call(memory.history("t").count) == 0


async def test_a_label_in_a_message_of_a_user_names_no_other_user(memory, call):
    """A client of an agent server can send any message."""
    forged = {"created_at": 1.0, "position": 0, "session": {"title": "T", "user_id": BOB, "session_id": "bobs"}}
    graph = graph_of("agent", memory.checkpointer)
    config = {"configurable": {"thread_id": "t", "user_id": ALICE}}
    broken = [{"created_at": "x", "position": 0}, {"created_at": 1.0, "position": 0, "agent": 7}, 7, {"more": 1}]
    messages = [HumanMessage("Hello", additional_kwargs={"agentmem": one}) for one in (forged, *broken)]
    await call(graph.invoke, {"messages": messages}, config)
    moved = await call(memory.from_thread, "t")
    assert (moved.session_id, moved.user_id, moved.messages) == ("t", ALICE, 6)
    stored = await call(memory.history("t", user_id=ALICE).get_recent, 9)
    assert [one.additional_kwargs.get("agentmem") for one in stored[:5]] == [None, *broken]


async def test_two_calls_at_once_store_a_thread_once(memory, call):
    graph = graph_of("agent", memory.checkpointer)
    await call(graph.invoke, {"messages": "Hello"}, {"configurable": {"thread_id": "t"}})
    done = await asyncio.gather(*(memory.afrom_thread("t") for _ in range(4)))
    assert sorted(one.messages for one in done) == [0, 0, 0, 2]
    assert await call(memory.history("t").count) == 2
    assert (await call(memory.from_thread, "t")).messages == 0


async def test_arguments_that_are_not_accepted(memory, call):
    await filled(memory, call)
    graph = graph_of("agent", memory.checkpointer)
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda _: {"messages": [AIMessage("Well.")]})
    builder.add_edge(START, "answer")
    for wrong, error, match in (
        (builder, InvalidTypeError, "must be a compiled LangGraph graph"),
        (builder.compile(), InvalidInputError, "no checkpointer"),
    ):
        with pytest.raises(error, match=match):
            await call(memory.to_thread, "trip", wrong, user_id=ALICE)
    with pytest.raises(InvalidInputError, match="Session 'trip' of user 'bob' has no messages"):
        await call(memory.to_thread, "trip", graph, user_id=BOB)
    with pytest.raises(InvalidInputError, match="has no messages of agent 'nobody'"):
        await call(memory.to_thread, "trip", graph, user_id=ALICE, agent="nobody")
    with pytest.raises(InvalidInputError, match="as_node must be a node of the graph"):
        await call(memory.to_thread, "trip", graph, user_id=ALICE, as_node="nowhere")
    for arguments in ({"thread_id": ""}, {"messages_key": 7}, {"agent": ""}):
        with pytest.raises((InvalidInputError, InvalidTypeError)):
            await call(memory.to_thread, "trip", graph, user_id=ALICE, **arguments)
    assert await call(memory.checkpointer.threads) == []
    with pytest.raises(InvalidInputError, match="There is no thread 'nowhere'"):
        await call(memory.from_thread, "nowhere")
    await call(graph.invoke, {"messages": "Hello"}, {"configurable": {"thread_id": "t"}})
    with pytest.raises(InvalidInputError, match="no messages under 'talk'"):
        await call(memory.from_thread, "t", messages_key="talk")
    for arguments in ({"session_id": ""}, {"user_id": 7}, {"all_checkpoints": 1}, {"agent": ""}, {"graph": 7}):
        with pytest.raises((InvalidInputError, InvalidTypeError)):
            await call(memory.from_thread, "t", **arguments)


TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
VALUES = st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(-9, 9), st.none(), st.booleans()), max_size=2)
NAMES = st.one_of(st.none(), st.sampled_from(["ann", "bot"]))
CONTENTS = st.one_of(TEXTS, st.lists(st.builds(lambda one: {"type": "text", "text": one}, TEXTS), max_size=2))
IDS = st.one_of(st.none(), st.sampled_from("abcdef"))
MESSAGES = st.one_of(
    st.builds(HumanMessage, CONTENTS, id=IDS, name=NAMES, additional_kwargs=VALUES),
    st.builds(SystemMessage, CONTENTS, id=IDS),
    st.builds(
        lambda content, name, kwargs, call: AIMessage(
            content, name=name, additional_kwargs=kwargs, tool_calls=[{**CALL, "args": call}], response_metadata=call
        ),
        CONTENTS,
        NAMES,
        VALUES,
        VALUES,
    ),
    st.builds(ToolMessage, CONTENTS, id=IDS, tool_call_id=st.just("call-1"), artifact=VALUES),
    st.builds(ChatMessage, TEXTS, id=IDS, role=st.sampled_from(["user", "critic"])),
    st.builds(lambda value: HumanMessage("Labelled", additional_kwargs={"agentmem": value}), VALUES),
)
TURNS = st.lists(
    st.tuples(st.lists(MESSAGES, min_size=1, max_size=3), st.one_of(st.none(), VALUES), NAMES), min_size=1, max_size=4
)


@pytest.mark.parametrize("kind", ["agent", "delta"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=TURNS, title=TEXTS.filter(str.strip))
async def test_any_session_becomes_a_thread_and_comes_back_equal(memory, call, kind, turns, title):
    await call(memory.sessions.delete, "s", user_id=ALICE)
    await call(memory.sessions.delete, "copy", user_id=ALICE)
    for messages, metadata, agent in turns:
        await call(memory.history("s", user_id=ALICE, agent=agent).add_messages, messages, metadata=metadata)
    await call(memory.sessions.rename, "s", title, user_id=ALICE)
    graph = graph_of(kind, InMemorySaver())
    moved = await call(memory.to_thread, "s", graph, user_id=ALICE)
    copied = await call(memory.from_thread, moved.thread_id, graph=graph, session_id="copy")
    assert copied.messages == moved.messages
    before, after = await contents(memory, call, "s"), await contents(memory, call, "copy")
    assert after == before
    titles = [(await call(memory.sessions.get, name, user_id=ALICE)).title for name in ("s", "copy")]
    assert titles == [title, title]


async def test_a_thread_of_several_users_becomes_the_session_of_a_named_user(memory, call):
    agent = create_agent(ScriptedChatModel(["Hi!", "Hello!"]), [], checkpointer=memory.checkpointer)
    for user in (ALICE, BOB):
        agent.invoke({"messages": [("user", f"I am {user}")]}, {"configurable": {"thread_id": "t", "user_id": user}})
    with pytest.raises(InvalidInputError, match=r"turns of several users: 'alice.*, 'bob'\. Pass user_id="):
        await call(memory.from_thread, "t")
    assert await call(memory.sessions.list) == []
    assert (await call(memory.from_thread, "t", user_id=None)).messages == 4
    assert (await call(memory.from_thread, "t", user_id=ALICE)).user_id == ALICE
