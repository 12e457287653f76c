"""Summaries of sessions and threads that a model makes on demand, and those of all conversations of a user."""

from __future__ import annotations

import json
from typing import Any

import pytest
from identity import without_ids
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemory, InvalidInputError, InvalidTypeError
from langchain_agentmem.compression.answers import SummaryError
from langchain_agentmem.testing import ScriptedChatModel

ALICE, BOB = "alice@example.com", "bob"


def answer(text: str, *topics: str) -> str:
    return json.dumps({"summary": text, "topics": topics, "decisions": ["Go."], "open_questions": ["When?"]})


def talk(*texts: str) -> list[BaseMessage]:
    return [one for text in texts for one in (HumanMessage(text), AIMessage(f"I see: {text}"))]


def graph(memory: AgentMemory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(f"I see: {state['messages'][-1].text}")]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=memory.checkpointer)


def config(thread: str, user_id: str = ALICE) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, "user_id": user_id}}


def shown(request: list[BaseMessage]) -> str:
    """The new messages that a summariser was shown."""
    return request[-1].text.partition("New: ")[2]


async def test_a_session_that_was_never_compressed_is_summarised_with_its_topics(memory, call):
    model = ScriptedChatModel([answer("A trip to Malta.", "travel"), answer("A trip to Gozo.", "travel", "ferries")])
    history = memory.history("s", user_id=ALICE)
    await call(history.add_messages, talk("Shall we go to Malta?"))
    first = await call(memory.summary, "s", user_id=ALICE, model=model)
    assert (first.text, first.topics, first.decisions, first.open_questions, first.message_count) == (
        "A trip to Malta.",
        ("travel",),
        ("Go.",),
        ("When?",),
        2,
    )
    # What is summarised is not shown again, and nothing is asked when nothing is new.
    assert await call(memory.summary, "s", user_id=ALICE, model=model) == first
    assert await call(memory.summary, "s", user_id=ALICE) == first
    await call(history.add_messages, talk("No, to Gozo."))
    second = await call(memory.summary, "s", user_id=ALICE, model=model)
    assert (second.text, second.topics, second.message_count) == ("A trip to Gozo.", ("travel", "ferries"), 4)
    assert len(model.requests) == 2
    assert "A trip to Malta." in model.requests[1][-1].text
    assert "Malta" not in shown(model.requests[1])
    assert await call(memory.summary, "s", user_id=BOB, model=model) is None
    assert without_ids(await call(history.get_recent, 1)) == talk("No, to Gozo.")[-1:]


async def test_a_thread_that_was_never_compressed_is_summarised_with_its_topics(memory, call):
    model = ScriptedChatModel([answer("A trip to Malta.", "travel"), answer("A trip to Gozo.", "ferries")])
    agent = graph(memory)
    await call(agent.invoke, {"messages": [("user", "Shall we go to Malta?")]}, config("t"))
    assert await call(memory.summary, thread_id="t") is None
    first = await call(memory.summary, thread_id="t", model=model)
    assert (first.text, first.topics, first.message_count) == ("A trip to Malta.", ("travel",), 2)
    assert await call(memory.summary, thread_id="t", model=model) == first
    await call(agent.invoke, {"messages": [("user", "No, to Gozo.")]}, config("t"))
    second = await call(memory.summary, thread_id="t", model=model)
    assert (second.text, second.topics, second.message_count) == ("A trip to Gozo.", ("ferries",), 4)
    assert "Malta" not in shown(model.requests[1])
    assert len(model.requests) == 2
    assert len((await call(agent.get_state, config("t"))).values["messages"]) == 4
    assert await call(memory.summary, thread_id="never there", model=model) is None


async def test_a_thread_whose_messages_were_edited_is_summarised_again(memory, call):
    model = ScriptedChatModel([answer("A trip to Malta."), answer("A trip to Gozo.")])
    agent = graph(memory)
    await call(agent.invoke, {"messages": [HumanMessage("To Malta?", id="1")]}, config("t"))
    await call(memory.summary, thread_id="t", model=model)
    await call(agent.update_state, config("t"), {"messages": [HumanMessage("To Gozo?", id="1")]})
    assert (await call(memory.summary, thread_id="t", model=model)).text == "A trip to Gozo."
    assert "Malta" not in model.requests[1][-1].text.partition("I see")[0]


async def test_a_long_session_is_summarised_in_several_calls(memory, call):
    model = ScriptedChatModel([answer(f"Part {number}.", f"topic {number}") for number in range(10)])
    await call(memory.history("s").add_messages, talk(*(f"{number}: {'word ' * 900}" for number in range(6))))
    summary = await call(memory.summary, "s", model=model)
    assert 1 < len(model.requests) < 10
    assert (summary.text, summary.message_count) == (f"Part {len(model.requests) - 1}.", 12)


@pytest.mark.parametrize("fault", [RuntimeError("no answer"), "  "])
async def test_a_model_that_fails_leaves_no_summary_and_is_asked_again(memory, call, fault):
    model = ScriptedChatModel([fault, answer("A trip to Malta.")])
    await call(memory.history("s").add_messages, talk("Shall we go to Malta?"))
    with pytest.raises((RuntimeError, SummaryError)):
        await call(memory.summary, "s", model=model)
    assert (await call(memory.summary, "s")).topics == ()
    assert (await call(memory.summary, "s", model=model)).text == "A trip to Malta."


async def test_the_summaries_of_a_user(memory, call):
    await call(memory.history("monday", user_id=ALICE).add_messages, talk("Shall we go to Malta?"))
    await call(graph(memory).invoke, {"messages": [("user", "What is the weather in Gozo?")]}, config("t"))
    await call(memory.history("tuesday", user_id=ALICE).add_messages, talk("I am hungry."))
    await call(memory.history("of bob", user_id=BOB).add_messages, talk("Secret."))
    await call(graph(memory).invoke, {"messages": [("user", "Secret.")]}, config("of bob", BOB))
    found = await call(memory.summaries, user_id=ALICE)
    assert [(one.session_id, one.thread_id) for one in found] == [("tuesday", None), (None, "t"), ("monday", None)]
    assert [one.summary is None for one in found] == [False, True, False]
    assert (found[0].title, found[0].user_id) == ("I am hungry.", ALICE)
    model = ScriptedChatModel([answer("Food.", "food"), answer("Weather.", "weather"), answer("A trip.", "travel")])
    found = await call(memory.summaries, user_id=ALICE, model=model)
    assert [one.summary.topics for one in found] == [("food",), ("weather",), ("travel",)]
    assert "Secret" not in str(model.requests)
    assert [one.summary.text for one in await call(memory.summaries, user_id=ALICE, limit=1, offset=1)] == ["Weather."]
    assert await call(memory.summaries, user_id=ALICE, model=model, offset=3) == []
    assert len(model.requests) == 3
    assert ">monday</td>" in found._repr_html_()
    assert await call(memory.summaries, user_id=None) == []
    everyone = await call(memory.summaries)
    assert {(one.session_id or one.thread_id, one.user_id) for one in everyone} >= {("of bob", BOB), ("monday", ALICE)}
    assert len(everyone) == 5


async def test_arguments_are_checked(memory, call):
    for arguments, error in (
        ({"limit": 0}, InvalidInputError),
        ({"offset": -1}, InvalidInputError),
        ({"model": 5}, InvalidTypeError),
    ):
        with pytest.raises(error):
            await call(memory.summaries, **arguments)
    with pytest.raises(InvalidInputError, match="model must not be empty"):
        await call(memory.summary, "s", model="")
