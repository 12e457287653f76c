"""Learning from conversations, on every backend: what is new is read once, and stored with the marker or not at all."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START as BEGIN
from langgraph.graph import MessagesState, StateGraph
from profiles import ALICE, START, add, answer, assistant, config, human, shown, taking_turns, texts

from langchain_agentmem.testing import ScriptedChatModel

NOTHING = answer()


@pytest.fixture
def call() -> Any:
    return taking_turns()


def asked(model: ScriptedChatModel) -> list[list[str]]:
    """The texts of the new messages that the model was shown, one list a call."""
    return [[one["text"] for one in shown(request)["messages"]] for request in model.requests]


async def test_a_node_reads_each_message_once(memory, call):
    model = ScriptedChatModel([answer(add("Has two dogs", topics=["pets"], messages=[1])), NOTHING])
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage("I see.")]})
    builder.add_node("remember", memory.profile_node(model))
    builder.add_edge(BEGIN, "answer")
    builder.add_edge("answer", "remember")
    graph = builder.compile(checkpointer=memory.checkpointer, store=memory.store)
    for text in ("I have two dogs.", "Good night."):
        await call(graph.invoke, {"messages": [HumanMessage(text)]}, config())
    assert asked(model) == [["I have two dogs.", "I see."], ["Good night.", "I see."]]
    (fact,) = (await call(memory.profiles.get, ALICE)).facts
    state = await call(graph.get_state, config())
    assert (fact.text, fact.topics, fact.sources) == ("Has two dogs", ["pets"], [state.values["messages"][0].id])
    assert len(state.values["messages"]) == 4


async def test_it_says_what_it_did(memory, call):
    proposals = answer(
        add("Lives in Athens", messages=[1]),
        {"action": "update", "field": "name", "value": "Alice"},
        {"action": "update", "field": "preferences.language", "value": "Greek"},
    )
    second = answer(
        {"action": "update", "fact": 1, "text": "Lives in Patras"},
        {"action": "remove", "field": "preferences.language"},
        add("Sails"),
    )
    third = answer(
        {"action": "remove", "fact": 1, "reason": "ended"}, {"action": "remove", "fact": 2, "reason": "forget"}
    )
    model = ScriptedChatModel([proposals, second, third])
    node = memory.profile_node(model)
    first = await call(node.invoke, [human("I'm Alice in Athens. Greek, please.", "a", 0)], config())
    assert (texts(first.added), first.fields, first.calls, first.messages, first.error) == (
        ["Lives in Athens"],
        ("name", "preferences.language"),
        1,
        1,
        None,
    )
    done = await call(node.invoke, [human("I moved to Patras, and I sail.", "b", 1)], config())
    assert (texts(done.updated), texts(done.added), done.fields) == (
        ["Lives in Patras"],
        ["Sails"],
        ("preferences.language",),
    )
    facts = shown(model.requests[-1])["facts"]
    last = await call(node.invoke, [human("…", "c", 2)], config())
    known = [one["text"] for one in shown(model.requests[-1])["facts"]]
    assert {*known} == {"Lives in Patras", "Sails"}
    assert (texts(last.ended), last.forgotten) == ([known[0]], 1)
    assert facts == [{"number": 1, "text": "Lives in Athens", "topics": []}]
    profile = await call(memory.profiles.get, ALICE)
    assert (profile.name, profile.preferences, profile.facts) == ("Alice", {}, [])
    assert profile.last_interaction == START + timedelta(days=2)


async def test_of_two_runs_over_the_same_messages_one_is_stored(memory, call):
    """Both have asked the model before either stores."""
    inner = ScriptedChatModel([answer(add("Owns a pair of dogs", messages=[1]), add("Has a cat", messages=[2]))])
    first, second = human("I have two dogs.", "a"), human("And a cat.", "b")

    class Meanwhile(ScriptedChatModel):
        def _generate(self, *args: Any, **options: Any) -> Any:
            other = memory.profile_node(ScriptedChatModel([answer(add("Has two dogs", messages=[1]))]))
            other.invoke([first], config())
            return super()._generate(*args, **options)

    meanwhile = Meanwhile([answer(add("Owns a pair of dogs", messages=[1]), add("Has a cat", messages=[2]))])
    await call(memory.profile_node(meanwhile).invoke, [first, second], config())
    assert sorted(texts((await call(memory.profiles.get, ALICE)).facts)) == ["Has a cat", "Has two dogs"]
    await call(memory.profile_node(inner).invoke, [first, second], config())
    assert inner.requests == []


async def test_a_fact_that_was_forgotten_comes_back_from_new_messages_only(memory, call):
    fact = add("Suffers from hay fever", messages=[1])
    illness = {"action": "update", "field": "preferences.illness", "value": "hay fever", "messages": [1]}
    old = [human("I have hay fever.", "a", 1), assistant("Oh.", "b")]
    asks = [human("Forget about the hay fever.", "c", 2)]
    forget = [
        {"action": "remove", "fact": 1, "reason": "forget"},
        {"action": "remove", "field": "preferences.illness", "reason": "forget"},
    ]
    model = ScriptedChatModel([answer(fact, illness), answer(*forget)] + [answer(fact, illness)] * 4)
    node = memory.profile_node(model)
    await call(node.invoke, old, config())
    done = await call(node.invoke, [*old, *asks], config())
    assert (done.forgotten, done.fields) == (1, ("preferences.illness",))

    async def known() -> Any:
        profile = await call(memory.profiles.get, ALICE)
        return texts(profile.facts), profile.preferences

    assert await known() == ([], {})
    assert "fever" not in str([item.value for item in await call(memory.store.search, (), limit=100)])
    # The same old messages in another thread; old ones without a time, before the last turn; then what is said anew.
    await call(node.invoke, old, config(thread="u"))
    await call(node.invoke, [human("I have hay fever."), assistant("Oh."), human("Hello")], config(thread="v"))
    assert await known() == ([], {})
    await call(node.invoke, [human("My hay fever is back.", "d", 3)], config())
    assert await known() == (["Suffers from hay fever"], {"illness": "hay fever"})


@pytest.mark.parametrize("forgotten", ["while it waits", "while the model is asked"])
async def test_what_was_said_before_a_user_is_forgotten_does_not_come_back(memory, call, forgotten):
    told = {"entities": [{"name": "Acme"}], "relations": [], "wrong_relations": [], "forgotten": []}
    name = {"action": "update", "field": "name", "value": "Alice"}
    learned = json.dumps({"changes": [add("Has hay fever"), name], "entities": told})
    script = ScriptedChatModel([learned] * 4)

    def reply(prompt: Any) -> Any:
        if forgotten == "while the model is asked" and not script.requests:
            memory.profiles.forget(ALICE)
        return script.invoke(prompt)

    options: dict[str, Any] = {"when": "debounce", "delay": 60} if forgotten == "while it waits" else {}
    node = memory.profile_node(RunnableLambda(reply), method="json", entities=True, **options)
    said = [human("I have hay fever.", "a")]
    await call(node.invoke, said, config())
    if options:
        await call(memory.profiles.forget, ALICE)
    await call(node.flush)

    def known() -> Any:
        profile = memory.profiles.get(ALICE)
        found = memory.store.search((f"user:{ALICE}", "entities"))
        return texts(profile.facts), profile.name, profile.last_interaction is not None, len(found)

    assert await asyncio.to_thread(known) == ([], None, False, 0)
    # Nor does it for who looks for something else; what is said since is learned, in several messages too.
    other = memory.profile_node(script, method="json", entities=True, instructions="Look for illnesses.")
    await call(other.invoke, [*said, assistant("Oh."), human("Hello", "b")], config())
    assert await asyncio.to_thread(known) == ([], None, True, 0)
    await call(other.invoke, [*said, human("Hello", "b"), human("I have hay fever.", "c"), human("Hi", "d")], config())
    assert await asyncio.to_thread(known) == (["Has hay fever"], "Alice", True, 1)


def test_fifty_runs_at_once_lose_nothing(memory):
    def run(number: int) -> None:
        node = memory.profile_node(ScriptedChatModel([answer(add(f"Owns book {number}"), add("Reads a lot"))]))
        node.invoke([human(f"I own book {number}", f"m{number}")], config(thread=f"t{number}"))

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(run, range(50)))
    facts = memory.profiles.get(ALICE).facts
    assert {fact.text for fact in facts} == {f"Owns book {number}" for number in range(50)} | {"Reads a lot"}
    assert len(facts) == 51


async def test_fifty_tasks_at_once_lose_nothing(memory):
    async def run(number: int) -> None:
        node = memory.profile_node(ScriptedChatModel([answer(add(f"Owns book {number}"))]))
        await node.ainvoke([human(f"I own book {number}", f"m{number}")], config(thread=f"t{number}"))

    await asyncio.gather(*map(run, range(50)))
    assert len((await memory.profiles.aget(ALICE)).facts) == 50
