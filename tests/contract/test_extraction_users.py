"""A thread of several users: what one of them says is never taken for another's, on every backend."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import ChatMessage
from profiles import ALICE, add, answer, assistant, config, human, shown, taking_turns, texts

from langchain_agentmem.knowledge.extraction import speakers
from langchain_agentmem.testing import ScriptedChatModel

BOB = "bob@example.com"


@pytest.fixture
def call() -> Any:
    return taking_turns()


def asked(model: ScriptedChatModel) -> list[list[str]]:
    return [[one["text"] for one in shown(request)["messages"]] for request in model.requests]


async def test_what_was_read_for_one_user_is_not_shown_as_anothers(memory, call):
    model = ScriptedChatModel([answer(add("Has hay fever")), answer(add("Sails")), answer(), answer()])
    node = memory.profile_node(model)
    said = [human("I have hay fever.", "a"), assistant("Oh, Bob.", "b")]
    await call(node.invoke, said, config(BOB))
    said += [human("I sail.", "c"), assistant("Nice.", "d")]
    await call(node.invoke, said, config())
    await call(node.invoke, [*said, human("Good night.", "e")], config(BOB))
    # Others that read later, such as a node of another kind, know it too.
    other = memory.profile_node(model, instructions="Look for hobbies.")
    await call(other.invoke, [*said, human("Good night.", "e")], config(thread="t"))
    assert asked(model)[:3] == [["I have hay fever.", "Oh, Bob."], ["I sail.", "Nice."], ["Good night."]]
    assert not any("hay" in text or "night" in text for texts_ in asked(model)[3:] for text in texts_)
    assert texts((await call(memory.profiles.get, ALICE)).facts) == ["Sails"]


async def test_it_is_noted_as_soon_as_messages_are_handed_over(memory, call):
    model = ScriptedChatModel([answer()] * 2)
    node = memory.profile_node(model, when="debounce", delay=60)
    said = [human("I have hay fever.", "a"), assistant("Oh.", "b")]
    await call(node.invoke, said, config(BOB))
    now = memory.profile_node(model)
    await call(now.invoke, [*said, human("Hi", "c")], config())
    assert asked(model) == [["Hi"]]
    await call(node.flush)


async def test_what_is_forgotten_of_a_long_thread_is_nobodys(sqlite_memory, call, monkeypatch):
    monkeypatch.setattr(speakers, "REMEMBERED", 1)
    model = ScriptedChatModel([answer()] * 2)
    node = sqlite_memory.profile_node(model)
    said = [human("I have hay fever.", "a"), human("I have a cat.", "b")]
    await call(node.invoke, said, config(BOB))
    await call(node.invoke, [*said, human("Hi", "c")], config())
    assert asked(model)[1:] == [["Hi"]]


async def test_sessions_are_of_one_user_each_and_names_are_shown(sqlite_memory, call):
    model = ScriptedChatModel([answer()] * 2)
    node = sqlite_memory.profile_node(model)
    for user_id in (BOB, ALICE):
        said = [human("Hello"), ChatMessage("I sail.", role="user", name="Al")]
        await call(node.invoke, said, {"configurable": {"user_id": user_id, "session_id": "s"}})
    assert asked(model) == [["Hello", "I sail."]] * 2
    seen = shown(model.requests[0])["messages"][1]
    assert {name: value for name, value in seen.items() if name != "written"} == {
        "number": 2,
        "role": "user",
        "name": "Al",
        "text": "I sail.",
    }
