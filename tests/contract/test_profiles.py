"""Profiles by hand: fields and facts, their history, and what is left of what was forgotten."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from profiles import ALICE, START, Clock, taking_turns, texts

from langchain_agentmem import Fact, InvalidInputError, UserProfile
from langchain_agentmem.knowledge.facts.stored import MAX_SOURCES


@pytest.fixture
def call() -> Any:
    return taking_turns()


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def profiles(memory) -> Any:
    return memory.profiles


def stored_text(memory: Any) -> str:
    return json.dumps([[item.namespace, item.key, item.value] for item in memory.store.search((), limit=1000)])


async def test_a_profile_is_got_changed_and_saved(profiles, call):
    profile = await call(profiles.get, ALICE)
    profile.name = "Alice"
    profile.preferences["language"] = "Greek"
    profile.facts.append(Fact(text="Has two dogs", topics=["Pets"]))
    await call(profiles.save, profile)
    again = await call(profiles.get, ALICE)
    assert (again.name, again.preferences) == ("Alice", {"language": "Greek"})
    assert [(fact.text, fact.topics) for fact in again.facts] == [("Has two dogs", ["pets"])]
    del again.preferences["language"]
    await call(profiles.save, again)
    assert (await call(profiles.get, ALICE)).preferences == {}


async def test_preferences_have_any_name_and_any_json(profiles, call):
    values = {"tone.of voice": "short", "numbers": [1, 2.5, None], "nested": {"a.b": {"c": True}}, "ü😀": "x"}
    for key, value in values.items():
        await call(profiles.update_preference, ALICE, key, value)
    assert (await call(profiles.get, ALICE)).preferences == values
    await call(profiles.update_preference, ALICE, "numbers", None)
    assert "numbers" not in (await call(profiles.get, ALICE)).preferences
    with pytest.raises(InvalidInputError):
        await call(profiles.update_preference, ALICE, "", "x")


async def test_a_fact_that_says_the_same_confirms_the_first(profiles, call, clock):
    first = await call(profiles.add_fact, ALICE, "Likes pizza", topics=["food"], sources=["m1"], confidence=0.5)
    clock.tick(days=1)
    second = await call(profiles.add_fact, ALICE, "The user likes Pizza.", topics=["italy"], sources=["m2"])
    (fact,) = (await call(profiles.get, ALICE)).facts
    assert fact.id == first.id == second.id
    assert (fact.text, fact.topics, fact.sources, fact.confidence) == (
        "Likes pizza",
        ["food", "italy"],
        ["m1", "m2"],
        1.0,
    )
    assert fact.first_seen == fact.valid_from == START
    for number in range(3, 40):
        await call(profiles.add_fact, ALICE, "Likes pizza", sources=[f"m{number}"])
    (fact,) = (await call(profiles.get, ALICE)).facts
    assert len(fact.sources) == MAX_SOURCES
    assert (fact.sources[0], fact.sources[-1]) == ("m1", "m39")


async def test_a_fact_supersedes_another_which_stays_with_its_end(profiles, call, clock):
    athens = await call(profiles.add_fact, ALICE, "Lives in Athens", topics=["home"])
    moved = clock.tick(days=10)
    patras = await call(profiles.add_fact, ALICE, "Lives in Patras", topics=["home"], replaces=athens)
    profile = await call(profiles.get, ALICE)
    assert texts(profile.facts) == ["Lives in Patras"]
    assert texts(profile.past) == ["Lives in Athens"]
    timeline = await call(profiles.timeline, ALICE)
    assert [(fact.text, fact.valid_from, fact.valid_to) for fact in timeline] == [
        ("Lives in Athens", START, moved),
        ("Lives in Patras", moved, None),
    ]
    assert timeline[0].replaced_by == patras.id
    assert timeline[1].replaces == athens.id
    assert texts(await call(profiles.search, ALICE, "Where does she live?")) == ["Lives in Patras"]
    assert len(await call(profiles.search, ALICE, "Where does she live?", past=True)) == 2
    assert texts(await call(profiles.by_topic, ALICE, "HOME")) == ["Lives in Patras"]
    assert len(await call(profiles.by_topic, ALICE, "home", past=True)) == 2
    with pytest.raises(InvalidInputError, match="does not exist"):
        await call(profiles.add_fact, ALICE, "Lives in Volos", replaces="nothing-1")


async def test_a_profile_at_any_time(profiles, call, clock):
    await call(profiles.save, UserProfile(user_id=ALICE, name="Al"))
    await call(profiles.update_preference, ALICE, "language", "Greek")
    clock.tick(days=10)
    await call(profiles.save, UserProfile(user_id=ALICE, name="Alice"))
    await call(profiles.update_preference, ALICE, "language", "Danish")
    await call(profiles.update_preference, ALICE, "tone", "short")
    clock.tick(days=10)
    await call(profiles.update_preference, ALICE, "tone", "long")
    seen = []
    for day in (-1, 5, 15, 25):
        profile = await call(profiles.get, ALICE, as_of=START + timedelta(days=day))
        seen.append((profile.name, profile.preferences))
    assert seen == [
        (None, {}),
        ("Al", {"language": "Greek"}),
        ("Alice", {"language": "Danish", "tone": "short"}),
        ("Alice", {"language": "Danish", "tone": "long"}),
    ]
    naive = await call(profiles.get, ALICE, as_of=datetime(2025, 1, 5))
    assert naive.name == "Al"


async def test_a_forgotten_fact_leaves_no_text_and_comes_back_when_it_is_stated_anew(memory, profiles, call, clock):
    fact = await call(profiles.add_fact, ALICE, "Suffers from hay fever", topics=["illness"])
    await call(profiles.add_fact, ALICE, "Lives in Athens")
    clock.tick(days=1)
    assert await call(profiles.forget_fact, ALICE, fact)
    assert not await call(profiles.forget_fact, ALICE, fact)
    left = stored_text(memory)
    assert "fever" not in left
    assert "illness" not in left
    assert await call(memory.store.search, (), query="fever illness") == []
    clock.tick(days=1)
    await call(profiles.add_fact, ALICE, "Suffers from hay fever")
    assert len((await call(profiles.get, ALICE)).facts) == 2


async def test_forgetting_a_user_leaves_the_others(memory, profiles, call):
    for user in (ALICE, "alice", f"{ALICE}x"):
        await call(profiles.save, UserProfile(user_id=user, name="A", preferences={"p": 1}))
        await call(profiles.add_facts, user, [f"Has {number} dogs" for number in range(5)])
    assert await call(profiles.forget, ALICE) == 6
    assert await call(profiles.get, ALICE) == UserProfile(user_id=ALICE)
    assert [item for item in memory.store.search((), limit=100) if item.namespace[0] == f"user:{ALICE}"] == []
    for user in ("alice", f"{ALICE}x"):
        assert len((await call(profiles.get, user)).facts) == 5
    assert await call(profiles.forget, ALICE) == 0


async def test_knowledge_does_not_expire_with_sessions(url, call, monkeypatch):
    from langchain_agentmem import AgentMemory

    with AgentMemory.from_url(url, ttl=60) as memory:
        await call(memory.profiles.add_fact, ALICE, "Has a dog")
        await call(memory.store.put, ("a",), "k", {"n": 1})
        later = datetime.now(UTC).timestamp() + 3600
        monkeypatch.setattr("time.time", lambda: later)
        assert await call(memory.store.get, ("a",), "k") is None
        assert len((await call(memory.profiles.get, ALICE)).facts) == 1
        await call(memory.close)


def test_fifty_threads_that_add_facts_lose_nothing(profiles):
    def add(number: int) -> None:
        profiles.add_fact(ALICE, f"Owns book {number}", sources=[f"m{number}"])
        profiles.add_fact(ALICE, "Owns books", sources=[f"m{number}"])
        profiles.update_preference(ALICE, f"p{number}", number)

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(add, range(50)))
    profile = profiles.get(ALICE)
    assert {fact.text for fact in profile.facts} == {f"Owns book {number}" for number in range(50)} | {"Owns books"}
    assert profile.preferences == {f"p{number}": number for number in range(50)}


async def test_fifty_tasks_that_save_a_profile_they_got_lose_nothing(profiles):
    async def change(number: int) -> None:
        profile = await profiles.aget(ALICE)
        profile.preferences[f"p{number}"] = number
        profile.facts.append(Fact(text=f"Owns book {number}"))
        await profiles.asave(profile)

    await asyncio.gather(*map(change, range(50)))
    profile = await profiles.aget(ALICE)
    assert profile.preferences == {f"p{number}": number for number in range(50)}
    assert len(profile.facts) == 50


async def test_a_profile_of_plain_texts_is_saved_for_a_user(memory, call):
    profile = UserProfile(name="Ann", facts=["Drinks tea"])
    with pytest.raises(
        InvalidInputError, match=r"The UserProfile has no user_id. Pass it: save\(profile, user_id=…\)."
    ):
        await call(memory.profiles.save, profile)
    await call(memory.profiles.save, profile, user_id="ann")
    assert profile.user_id == "ann"
    stored = await call(memory.profiles.get, "ann")
    assert (stored.user_id, stored.name, [one.text for one in stored.facts]) == ("ann", "Ann", ["Drinks tea"])
    stored.facts.append("Sails")
    await call(memory.profiles.save, stored)
    assert {one.text for one in (await call(memory.profiles.get, "ann")).facts} == {"Drinks tea", "Sails"}
    with pytest.raises(InvalidInputError, match="belongs to user 'ann', and user_id is 'bob'"):
        await call(memory.profiles.save, stored, user_id="bob")
    assert (await call(memory.profiles.get, "bob")).facts == []
