"""Metadata of facts and memories, the agent that saved them, and learning outside of a graph."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from profiles import ALICE, START, Clock, add, answer, assistant, config, human, texts

from langchain_agentmem import Fact, InvalidInputError, InvalidTypeError, UserProfile
from langchain_agentmem.testing import ScriptedChatModel


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


async def filled(call: Any, profiles: Any) -> None:
    await call(profiles.add_fact, ALICE, "Drinks tea", metadata={"rating": 5, "by": {"phone": True}}, agent="travel")
    await call(profiles.add_fact, ALICE, "Drinks wine", topics=["drinks"], metadata={"rating": 2}, agent="support")
    await call(
        profiles.add_facts,
        ALICE,
        ["Drinks water", {"text": "Drinks juice", "agent": "travel", "metadata": {"rating": 3}}],
    )


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"tea", "wine", "water", "juice"}),
    ({"agent": "travel"}, {"tea", "juice"}),
    ({"agent": "nobody"}, set()),
    ({"filter": {"rating": 2}}, {"wine"}),
    ({"filter": {"rating": {"$gte": 3}}}, {"tea", "juice"}),
    ({"filter": {"rating": None}}, {"water"}),
    ({"filter": {"rating": {"$exists": False}}}, {"water"}),
    ({"filter": {"by": {"phone": True}}}, {"tea"}),
    ({"filter": {"by.phone": True}}, {"tea"}),
    ({"filter": {"rating": {"$in": [2, 3]}}, "agent": "travel"}, {"juice"}),
]


@pytest.mark.parametrize(
    ("chosen", "expected"), FILTERS, ids=lambda value: str(sorted(value) if isinstance(value, set) else value)
)
async def test_facts_are_filtered_by_agent_and_metadata(memory, call, chosen, expected):
    await filled(call, memory.profiles)
    found = await call(memory.profiles.search, ALICE, "drinks", **chosen)
    assert {text.split()[1] for text in texts(found)} == expected
    every = await call(memory.profiles.timeline, ALICE, **chosen)
    assert {text.split()[1] for text in texts(every)} == expected
    on_topic = await call(memory.profiles.by_topic, ALICE, "Drinks", **chosen)
    assert {text.split()[1] for text in texts(on_topic)} == expected & {"wine"}


@pytest.mark.parametrize(
    ("chosen", "expected"), FILTERS, ids=lambda value: str(sorted(value) if isinstance(value, set) else value)
)
async def test_memories_are_filtered_by_agent_and_metadata(memory, call, chosen, expected):
    memories = memory.memories
    await call(memories.save, ALICE, "Drinks tea", metadata={"rating": 5, "by": {"phone": True}}, agent="travel")
    await call(memories.save, ALICE, "Drinks wine", metadata={"rating": 2}, agent="support")
    await call(memories.save, ALICE, "Drinks water")
    await call(memories.save, ALICE, "Drinks juice", metadata={"rating": 3}, agent="travel")
    for found in (
        await call(memories.search, ALICE, "drinks", 10, **chosen),
        await call(memories.list, ALICE, **chosen),
    ):
        assert {one.text.split()[1] for one in found} == expected


async def test_metadata_and_agent_are_part_of_what_is_read(memory, call):
    await filled(call, memory.profiles)
    profile = await call(memory.profiles.get, ALICE)
    assert {fact.text: (fact.metadata, fact.agent) for fact in profile.facts} == {
        "Drinks tea": ({"rating": 5, "by": {"phone": True}}, "travel"),
        "Drinks wine": ({"rating": 2}, "support"),
        "Drinks water": ({}, None),
        "Drinks juice": ({"rating": 3}, "travel"),
    }
    saved = await call(memory.memories.save, ALICE, "Sails", metadata={"a": [1, None]}, agent="travel")
    (read,) = await call(memory.memories.list, ALICE)
    assert (saved.metadata, saved.agent) == (read.metadata, read.agent) == ({"a": [1, None]}, "travel")


async def test_saving_again_adds_metadata_and_keeps_the_agent(memory, call):
    for metadata, agent in (({"a": 1, "b": 1}, None), ({"b": 2}, "travel"), ({"c": 3}, "support"), (None, None)):
        await call(memory.profiles.add_fact, ALICE, "Sails", metadata=metadata, agent=agent)
        await call(memory.memories.save, ALICE, "Sails.", metadata=metadata, agent=agent)
    (fact,) = (await call(memory.profiles.get, ALICE)).facts
    (saved,) = await call(memory.memories.list, ALICE)
    assert (fact.metadata, fact.agent) == (saved.metadata, saved.agent) == ({"a": 1, "b": 2, "c": 3}, "travel")


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"metadata": ["a"]}, InvalidTypeError, "metadata must be a mapping"),
    ({"metadata": {"a": {1, 2}}}, InvalidInputError, "metadata must be JSON-serialisable"),
    ({"metadata": {1: 2}}, InvalidInputError, "metadata must be JSON-serialisable"),
    ({"metadata": {"a": float("nan")}}, InvalidInputError, "metadata must be JSON-serialisable"),
    ({"metadata": {"a": "\ud800"}}, InvalidInputError, "surrogate"),
    ({"agent": ""}, InvalidInputError, "agent must not be empty"),
    ({"agent": 5}, InvalidTypeError, "agent must be a string"),
]


@pytest.mark.parametrize(("given", "kind", "message"), WRONG, ids=str)
async def test_wrong_metadata_and_agents_are_refused_before_anything_is_stored(memory, call, given, kind, message):
    for method, arguments in (
        (memory.profiles.add_fact, (ALICE, "Sails")),
        (memory.memories.save, (ALICE, "Sails")),
    ):
        with pytest.raises(kind, match=message):
            await call(method, *arguments, **given)
    with pytest.raises(kind, match=message):
        await call(memory.profiles.add_facts, ALICE, ["Rows", {"text": "Sails", **given}])
    assert await call(memory.store.search, ()) == []


async def test_wrong_filters_are_refused(memory, call):
    for method in (memory.profiles.search, memory.memories.search):
        with pytest.raises(InvalidTypeError, match="filter must be a mapping"):
            await call(method, ALICE, "tea", filter="rating")
        with pytest.raises(InvalidInputError, match=r"Unsupported operator '\$near'"):
            await call(method, ALICE, "tea", filter={"rating": {"$near": 3}})


async def test_texts_are_facts_of_a_profile(memory, call):
    profile = UserProfile(user_id=ALICE, facts=["Sails", Fact(text="Rows", agent="travel", metadata={"a": 1})])
    assert [type(fact) for fact in profile.facts] == [Fact, Fact]
    await call(memory.profiles.save, profile)
    facts = (await call(memory.profiles.get, ALICE)).facts
    assert {(fact.text, fact.agent) for fact in facts} == {("Sails", None), ("Rows", "travel")}
    assert all(fact.id for fact in profile.facts)


async def test_every_write_by_hand_moves_the_last_interaction(memory, call, clock):
    profiles = memory.profiles

    class Sailor(UserProfile):
        boat: str | None = None

    async def save() -> None:
        profile = await call(profiles.get, ALICE)
        profile.name = "Alice"
        await call(profiles.save, profile)

    fact = await call(profiles.add_fact, ALICE, "Sails", valid_from="2020-01-01")
    assert (await call(profiles.get, ALICE)).last_interaction == START
    for write in (
        lambda: call(profiles.update_preference, ALICE, "tone", "short"),
        lambda: call(profiles.update_preference, ALICE, "tone", None),
        lambda: call(profiles.update_preference, ALICE, "tone", "long"),
        lambda: call(profiles.forget_value, ALICE, "preferences.tone", "long"),
        lambda: call(profiles.add_fact, ALICE, "Sails"),
        lambda: call(profiles.add_facts, ALICE, ["Rows", "Swims"]),
        save,
        lambda: call(profiles.end_fact, ALICE, fact),
        lambda: call(profiles.forget_fact, ALICE, fact),
        lambda: call(memory.memories.save, ALICE, "Wants short answers"),
    ):
        moment = clock.tick(days=1)
        await write()
        clock.tick(hours=1)
        assert (await call(profiles.get, ALICE)).last_interaction == moment
    before = moment - timedelta(minutes=1)
    assert (await call(profiles.get, ALICE, as_of=before)).last_interaction < before
    assert (await call(profiles.get, ALICE, schema=Sailor)).last_interaction == moment
    moment = clock.tick(days=1)
    assert not await call(profiles.forget_fact, ALICE, fact)
    assert not await call(profiles.end_fact, ALICE, fact)
    assert (await call(profiles.get, ALICE)).last_interaction < moment
    assert (await call(profiles.get, "bob")).last_interaction is None


async def test_tools_and_nodes_record_the_agent_of_the_run(memory, call):
    asks = AIMessage(
        "", tool_calls=[{"name": "save_memory", "args": {"memory": "Sails"}, "id": "1", "type": "tool_call"}]
    )
    model = ScriptedChatModel([asks, "Saved."])
    learning = ScriptedChatModel([answer(add("Rows", messages=[1]))])
    middleware = memory.middleware(learning, tools=True, when="turn", max_tokens=4_000)
    agent = create_agent(model, middleware=[middleware], name="travel")
    await call(agent.invoke, {"messages": [human("I row. Remember that I sail.")]}, config())
    (saved,) = await call(memory.memories.list, ALICE)
    (fact,) = (await call(memory.profiles.get, ALICE)).facts
    assert (saved.agent, fact.agent) == ("travel", "travel")
    node = memory.profile_node(ScriptedChatModel([answer(add("Swims", messages=[1]))]))
    await call(node.invoke, [human("I swim")], config(agent="support"))
    assert texts(await call(memory.profiles.search, ALICE, "swims", agent="support")) == ["Swims"]
    node = memory.profile_node(ScriptedChatModel([answer(add("Dives", messages=[1]))]))
    await call(node.invoke, [human("I dive")], config(agent=model))  # an application's own value
    assert [fact.agent for fact in await call(memory.profiles.search, ALICE, "dives")] == [None]


MESSAGES: list[Any] = [
    [human("I sail", "m1"), assistant("Nice", "m2")],
    [{"role": "user", "content": "I sail", "id": "m1"}, {"role": "assistant", "content": "Nice", "id": "m2"}],
]


@pytest.mark.parametrize("messages", MESSAGES, ids=["messages", "dicts"])
async def test_learning_outside_of_a_graph_reads_each_message_once(memory, call, messages):
    model = ScriptedChatModel([answer(add("Sails", messages=[1]))])
    done = await call(memory.learn, messages, user_id=ALICE, model=model, agent="import")
    assert (texts(done.added), done.messages, done.calls, done.error) == (["Sails"], 2, 1, None)
    (fact,) = (await call(memory.profiles.get, ALICE)).facts
    assert (fact.sources, fact.agent) == (["m1"], "import")
    again = await call(memory.learn, messages, user_id=ALICE, model=model)
    assert (again.messages, again.calls, again.changed) == (0, 0, False)
    assert len(model.requests) == 1


async def test_tuples_are_learnt_once_in_a_session(memory, call):
    model = ScriptedChatModel([answer(add("Sails")), answer(add("Rows"))])
    pairs = [("user", "I sail"), ("assistant", "Nice")]
    for session_id, calls in (("monday", 1), ("monday", 0), ("tuesday", 1)):
        done = await call(memory.learn, pairs, user_id=ALICE, model=model, session_id=session_id)
        assert done.calls == calls


async def test_a_long_conversation_is_learnt_in_one_call(memory, call):
    messages = [HumanMessage(f"Note {number}", id=f"m{number}") for number in range(90)]
    answers = [answer(add(f"Part {number}", messages=[1])) for number in range(3)]
    reports: list[Any] = []
    model = ScriptedChatModel(answers)
    done = await call(memory.learn, messages, user_id=ALICE, model=model, on_extraction=reports.append)
    assert (done.messages, done.calls, done.more) == (90, 3, False)
    assert texts(done.added) == ["Part 0", "Part 1", "Part 2"]
    assert [one.messages for one in reports] == [40, 40, 10]


async def test_learning_stops_at_an_answer_that_cannot_be_used(memory, call, caplog):
    messages = [HumanMessage(f"Note {number}", id=f"m{number}") for number in range(50)]
    done = await call(memory.learn, messages, user_id=ALICE, model=ScriptedChatModel(["?", "?"]))
    assert done.error is not None
    assert (done.messages, done.more, done.changed) == (40, True, False)
    assert "Nothing was extracted" in caplog.text


async def test_wrong_arguments_of_learning_are_refused(memory, call):
    model = ScriptedChatModel([])
    for given, kind, message in (
        ({"user_id": ""}, InvalidInputError, "user_id must not be empty"),
        ({"user_id": ALICE, "when": "background"}, InvalidTypeError, "memory.learn has no argument 'when'"),
        ({"user_id": ALICE, "agent": 5}, InvalidTypeError, "agent must be a string"),
        ({"user_id": ALICE, "session_id": ""}, InvalidInputError, "session_id must not be empty"),
    ):
        with pytest.raises(kind, match=message):
            await call(memory.learn, [human("Hello")], model=model, **given)
    with pytest.raises(InvalidInputError, match="There are no messages in the input"):
        await call(memory.learn, "Hello", user_id=ALICE, model=model)
    with pytest.raises(InvalidTypeError, match="messages\\[0\\] is not a message"):
        await call(memory.learn, [5], user_id=ALICE, model=model)
    with pytest.raises(InvalidTypeError, match="model"):
        await call(memory.learn, [human("Hello")], user_id=ALICE, model=None)
