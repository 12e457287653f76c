"""What the middleware tells an agent of its user, on every backend."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from profiles import ALICE, config

from langchain_agentmem.testing import ScriptedChatModel


async def asked(memory: Any, call: Any, question: str, **options: Any) -> str:
    """What the model is told besides the question."""
    model = ScriptedChatModel(["Well."])
    agent = create_agent(model, [], middleware=[memory.middleware(**options)])
    await call(agent.invoke, {"messages": [("user", question)]}, config())
    first = model.requests[0][0]
    return str(first.text) if first.type == "system" else ""


@pytest.mark.parametrize("question", ["Can I eat a snickers?", "Hi", ""])
async def test_what_was_noted_last_is_told_whatever_is_asked(memory, call, question):
    for number in range(4):
        memory.profiles.add_fact(ALICE, f"Has been to place {number}")
    memory.profiles.add_fact(ALICE, "Allergic to peanuts")
    memory.memories.save(ALICE, "Wants short answers")
    memory.profiles.add_fact("bob", "Allergic to milk")
    text = await asked(memory, call, question, facts=2)
    assert "Allergic to peanuts" in text
    assert "Wants short answers" in text
    assert "place 3" in text
    assert "place 0" not in text
    assert "milk" not in text


async def test_what_answers_to_the_question_is_told_though_much_was_noted_since(memory, call):
    memory.profiles.add_fact(ALICE, "Allergic to peanuts")
    for number in range(6):
        memory.profiles.add_fact(ALICE, f"Has been to place {number}")
    text = await asked(memory, call, "Are there peanuts in it?", facts=3)
    assert [one in text for one in ("peanuts", "place 5", "place 4", "place 3")] == [True, True, True, False]


async def test_turns_of_earlier_sessions_are_told_while_they_are_stored(memory, call):
    for session, text in (("monday", "My boat is red"), ("t", "My boat is blue")):
        await call(memory.history(session, user_id=ALICE).add_messages, [HumanMessage(text), AIMessage("Nice")])
    await call(memory.history("monday", user_id="bob").add_messages, [HumanMessage("My boat is green")])
    assert "red" not in await asked(memory, call, "Which boat?")
    middleware = memory.middleware(turns=2)
    model = ScriptedChatModel(["Well."] * 4)
    agent = create_agent(model, [], middleware=[middleware])

    async def told(*questions: str) -> str:
        await call(agent.invoke, {"messages": [("user", question) for question in questions]}, config())
        return " ".join(str(one.text) for one in model.requests[-1])

    text = await told("Which boat?")
    assert "My boat is red\\nassistant: Nice" in text
    assert ("blue" in text, "green" in text) == (False, False)
    assert "My boat is red" in await told("Which boat?", "Is there a storm?")
    await call(memory.sessions.delete, "monday", user_id=ALICE)
    assert "My boat is red" not in await told("Which boat?", "Is there a storm?")
    assert "My boat is red" not in await told("Which boat?", "Is there a storm?", "And a boat?")
