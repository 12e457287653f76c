"""One damaged item of a user's knowledge is reported, and the others are returned."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from langchain.agents import create_agent
from profiles import ALICE, add, answer, config, human, taking_turns

from langchain_agentmem import DamagedDataError, UserProfile
from langchain_agentmem.backends.contract import ItemPut
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.programs import Write, run
from langchain_agentmem.testing import ScriptedChatModel

USER = f"user:{ALICE}"


@pytest.fixture
def call() -> Any:
    return taking_turns()


def damage(memory: Any, namespace: tuple[str, ...], key: str, stored: Any) -> None:
    """Store a value behind the store's back: what it would refuse too."""

    def program() -> Any:
        put = ItemPut(namespace, key, json.dumps(stored), None, "tea")
        yield from Write(memory.backend, memory.backend.items.put(memory.tenant, [put], time.time()))

    run(program())


FACT = {"text": "Likes milk", "topics": [], "number": 1, "valid_to": None}
DAMAGED_FACTS = (
    "text",
    [1],
    {},
    {"valid_to": None, "topics": ["food"]},
    {**FACT, "number": "one"},
    {**FACT, "text": None},
    {**FACT, "valid_from": "yesterday"},
    {**FACT, "topics": 5},
)


async def test_damaged_facts_are_reported_and_the_others_are_returned(memory, call, caplog):
    profiles = memory.profiles
    await call(profiles.save, UserProfile(user_id=ALICE, name="Alice"))
    await call(profiles.add_fact, ALICE, "Likes tea", topics=["food"])
    for number, stored in enumerate(DAMAGED_FACTS):
        damage(memory, (USER, "facts"), f"0123abc{number}", stored)
    profile = await call(profiles.get, ALICE)
    assert (profile.name, [fact.text for fact in profile.facts]) == ("Alice", ["Likes tea"])
    for number in range(len(DAMAGED_FACTS)):
        message = f"The item '0123abc{number}' in ('user:alice@example.com', 'facts') is damaged and was left out"
        assert message in caplog.text
    assert [fact.text for fact in await call(profiles.timeline, ALICE)] == ["Likes tea"]
    assert [fact.text for fact in await call(profiles.search, ALICE, "tea")] == ["Likes tea"]
    assert [fact.text for fact in await call(profiles.by_topic, ALICE, "food")] == ["Likes tea"]
    await call(profiles.add_fact, ALICE, "Likes milk")
    assert await call(profiles.forget_fact, ALICE, (await call(profiles.timeline, ALICE))[0])
    assert await call(profiles.forget, ALICE) == 1 + len(DAMAGED_FACTS) + 2
    assert await call(memory.store.search, (USER, "facts")) == []


DAMAGED_PROFILES = (
    "text",
    {"fields": "text"},
    {"fields": {}, "past": [5]},
    {"fields": {}, "past": [{"path": "a", "at": "2026-01-01"}]},
    {"fields": {}, "last_interaction": "yesterday"},
    {"fields": {}, "forgotten": {"a": 5}},
)


async def test_damaged_fields_are_reported_and_the_facts_are_returned(memory, call, caplog):
    await call(memory.profiles.add_fact, ALICE, "Likes tea")
    for stored in DAMAGED_PROFILES:
        damage(memory, (USER, "profile"), "UserProfile", stored)
        caplog.clear()
        profile = await call(memory.profiles.get, ALICE)
        assert (profile.preferences, [fact.text for fact in profile.facts]) == ({}, ["Likes tea"])
        assert "The item 'UserProfile' in" in caplog.text
        with pytest.raises(DamagedDataError):
            await call(memory.profiles.update_preference, ALICE, "drink", "tea")


async def test_writing_over_a_damaged_fact_is_refused_and_forgetting_it_is_not(memory, call):
    fact = await call(memory.profiles.add_fact, ALICE, "Likes tea")
    digest = fact.id.partition("-")[0]
    damage(memory, (USER, "facts"), digest, {"text": "Likes tea"})
    with pytest.raises(DamagedDataError, match="cannot be read"):
        await call(memory.profiles.add_fact, ALICE, "Likes tea")
    assert await call(memory.profiles.forget_fact, ALICE, fact) is True
    await call(memory.profiles.add_fact, ALICE, "Likes tea")
    assert len((await call(memory.profiles.get, ALICE)).facts) == 1


async def test_a_damaged_memory_is_reported_and_can_be_forgotten(memory, call, caplog):
    await call(memory.memories.save, ALICE, "Drinks tea.")
    for stored in ("text", {}, {"text": "Tea"}, {"text": 5, "times": 1, "created_at": "now"}):
        damage(memory, (USER, "memories"), "bad", stored)
        caplog.clear()
        assert [one.text for one in await call(memory.memories.list, ALICE)] == ["Drinks tea."]
        assert [one.text for one in await call(memory.memories.search, ALICE, "tea")] == ["Drinks tea."]
        assert caplog.text.count("The item 'bad' in") == 2
        assert await call(memory.memories.forget, ALICE, "bad") is True
        assert await call(memory.store.get, (USER, "memories"), "bad") is None


async def test_a_damaged_entity_is_reported_and_not_written_over(memory, call, caplog):
    entities = memory.entities
    await call(entities.relate, ALICE, "Eve", "works at", "Acme")
    for stored in ("text", {}, {"name": "Tea"}, {"same_as": 5}, {"name": "Tea", "kind": "", "aliases": [5]}):
        damage(memory, (USER, "entities"), "tea", stored)
        caplog.clear()
        assert {one.name for one in await call(entities.list, ALICE)} == {"Eve", "Acme"}
        assert {one.name for one in (await call(entities.graph, ALICE)).entities} == {"Eve", "Acme"}
        assert await call(entities.get, ALICE, "Tea") is None
        assert "The item 'tea' in" in caplog.text
        with pytest.raises(DamagedDataError):
            await call(entities.upsert, ALICE, "Tea")
    assert await call(entities.forget, ALICE, "Tea") is True
    assert (await call(entities.upsert, ALICE, "Tea")).name == "Tea"


async def test_damaged_relations_are_reported(memory, call, caplog):
    entities = memory.entities
    await call(entities.upsert, ALICE, "Eve")
    for stored in ("text", {}, {"relations": [5]}, {"relations": {"1": {"subject": "Eve"}}}):
        damage(memory, (USER, "relations"), "eve", stored)
        caplog.clear()
        assert await call(entities.relations, ALICE, "Eve") == []
        assert [one.name for one in (await call(entities.neighbours, ALICE, "Eve")).entities] == ["Eve"]
        assert caplog.text.count("The item 'eve' in") == 2
        with pytest.raises(DamagedDataError):
            await call(entities.relate, ALICE, "Eve", "works at", "Acme")


async def test_a_damaged_entry_of_shared_knowledge_is_reported_and_can_be_deleted(memory, call, caplog):
    await call(memory.knowledge.add, "guide", ["Serve tea."])
    for stored in ("text", {"collection": "guide"}, {"collection": "guide", "text": 5, "metadata": {}}):
        damage(memory, ("shared", "guide"), "bad", stored)
        caplog.clear()
        assert "Serve tea." in [one.text for one in await call(memory.knowledge.list, "guide")]
        assert "The item 'bad' in" in caplog.text
        await call(memory.knowledge.add, "guide", ["Serve milk."])
        assert await call(memory.knowledge.delete, "guide", ["bad"]) == 1
    assert len(await call(memory.knowledge.search, "serve", names=["guide"])) == 2


async def test_an_agent_goes_on_with_what_can_be_read(memory, call, caplog):
    await call(memory.profiles.add_fact, ALICE, "Likes tea")
    await call(memory.memories.save, ALICE, "Drinks tea.")
    damage(memory, (USER, "facts"), "0123", "text")
    damage(memory, (USER, "memories"), "bad", {"text": 5})
    damage(memory, (USER, "profile"), "UserProfile", {"fields": 5})
    model = ScriptedChatModel(["Tea?"])
    agent = create_agent(model, [], middleware=[memory.middleware()])
    await call(agent.invoke, {"messages": [("user", "What do I drink? Tea?")]}, config())
    assert "Likes tea" in model.requests[0][0].text
    assert "Drinks tea." in model.requests[0][0].text
    assert caplog.text.count("is damaged and was left out") >= 2


async def test_learning_goes_on_beside_a_damaged_fact(memory, call):
    damage(memory, (USER, "facts"), "0123", "text")
    damage(memory, (USER, "facts"), "0124", {"valid_to": None})
    node = memory.profile_node(ScriptedChatModel([answer(add("Has two dogs"))]))
    extraction = await call(node.invoke, [human("I have two dogs", "a")], config())
    assert [fact.text for fact in extraction.added] == ["Has two dogs"]


DAMAGED_PROVENANCE: tuple[dict[str, Any], ...] = ({"metadata": 5}, {"metadata": None}, {"agent": 5}, {"agent": ["a"]})


async def test_damaged_metadata_and_agents_are_reported_and_the_others_are_returned(memory, call, caplog):
    fact = await call(memory.profiles.add_fact, ALICE, "Likes tea", metadata={"a": 1})
    saved = await call(memory.memories.save, ALICE, "Likes tea", metadata={"a": 1})
    for number, part in enumerate(DAMAGED_PROVENANCE):
        for label, key in (("facts", fact.id.partition("-")[0]), ("memories", saved.id)):
            value = (await call(memory.store.get, (USER, label), key)).value
            damage(memory, (USER, label), f"0123abc{number}", {**value, **part})
    assert [one.metadata for one in (await call(memory.profiles.get, ALICE)).facts] == [{"a": 1}]
    assert [one.metadata for one in await call(memory.memories.list, ALICE)] == [{"a": 1}]
    assert caplog.text.count("is damaged and was left out") == 2 * len(DAMAGED_PROVENANCE)


@pytest.mark.parametrize("label", ["facts", "memories", "entities", "relations"])
async def test_a_recall_leaves_out_damaged_items(memory, call, caplog, label):
    await call(memory.profiles.add_fact, ALICE, "Likes tea")
    await call(memory.memories.save, ALICE, "Wants tea")
    await call(memory.entities.upsert, ALICE, "Tea", kind="drink")
    await call(memory.history("monday", user_id=ALICE).add_messages, [human("Where is my tea?")])
    for number, stored in enumerate(([1], "text", {"text": 5}, {})):
        damage(memory, (USER, label), "tea" if label == "relations" and number == 0 else f"0123abc{number}", stored)
    found = await call(memory.recall, "tea?", user_id=ALICE)
    assert {item.text for item in found} == {"Likes tea", "Wants tea", "Tea (drink)", "user: Where is my tea?"}
    assert "is damaged and was left out" in caplog.text


async def test_a_recall_leaves_out_damaged_messages(memory, call, caplog, monkeypatch):
    load = Codec.load_message

    def damaged(self: Codec, typed: Any) -> Any:
        message = load(self, typed)
        return load(self, ("message:HumanMessage", b"\x80")) if "pizza" in str(message.content) else message

    await call(memory.profiles.add_fact, ALICE, "Likes pizza")
    await call(memory.history("monday", user_id=ALICE).add_messages, [human("Where is my pizza?")])
    monkeypatch.setattr(Codec, "load_message", damaged)
    found = await call(memory.recall, "pizza?", user_id=ALICE)
    assert [item.text for item in found] == ["Likes pizza"]
    assert "Earlier sessions were left out of a recall" in caplog.text
