"""What a user or an application removes by hand is gone, with its history; what the application stores beside it stays."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from profiles import ALICE, START, Clock, config, human, taking_turns
from pydantic import Field

from langchain_agentmem import InvalidInputError, UserProfile
from langchain_agentmem.testing import ScriptedChatModel

SECRET = "xyzzy-forgotten"
USER = f"user:{ALICE}"


class Traveller(UserProfile):
    """A profile with a field that has a default other than None, and a list."""

    seat: str | None = "window"
    cities: list[str] = Field(default_factory=list)


@pytest.fixture
def call() -> Any:
    return taking_turns()


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


def stored_text(memory: Any) -> str:
    return json.dumps([[item.namespace, item.key, item.value] for item in memory.store.search((), limit=1000)])


async def by_update(call: Any, profiles: Any) -> None:
    await call(profiles.update_preference, ALICE, "drink", None)


async def by_deletion(call: Any, profiles: Any) -> None:
    profile = await call(profiles.get, ALICE)
    del profile.preferences["drink"]
    await call(profiles.save, profile)


async def by_none(call: Any, profiles: Any) -> None:
    profile = await call(profiles.get, ALICE)
    profile.preferences["drink"] = None
    await call(profiles.save, profile)


@pytest.mark.parametrize("value", [SECRET, {"hot": [SECRET], "cold": 1}, [SECRET, "tea"]])
@pytest.mark.parametrize("remove", [by_update, by_deletion, by_none])
async def test_a_preference_that_is_removed_leaves_no_value_behind(memory, call, clock, remove, value):
    profiles = memory.profiles
    await call(profiles.update_preference, ALICE, "drink", value)
    await call(profiles.update_preference, ALICE, "tone", "short")
    clock.tick(days=1)
    await call(profiles.update_preference, ALICE, "drink", ["coffee", SECRET])
    await call(profiles.update_preference, ALICE, "tone", "long")
    clock.tick(days=1)
    await remove(call, profiles)
    assert SECRET not in stored_text(memory)
    for day, tone in ((0, "short"), (1, "long"), (3, "long")):
        then = await call(profiles.get, ALICE, as_of=START.replace(day=1 + day, hour=1))
        assert then.preferences.get("drink") is None
        assert then.preferences["tone"] == tone


async def test_a_field_that_is_set_to_none_is_forgotten_and_stays_none(memory, call, clock):
    profiles = memory.profiles
    await call(profiles.save, Traveller(user_id=ALICE, name=SECRET, seat=SECRET))
    profile = await call(profiles.get, ALICE, schema=Traveller)
    profile.name = profile.seat = None
    await call(profiles.save, profile)
    again = await call(profiles.get, ALICE, schema=Traveller)
    assert (again.name, again.seat) == (None, None)
    assert SECRET not in stored_text(memory)


async def test_an_element_that_is_removed_from_a_list_is_forgotten_and_one_that_is_replaced_is_superseded(
    memory, call, clock
):
    profiles = memory.profiles
    await call(profiles.save, Traveller(user_id=ALICE, cities=["Athens", SECRET, "Patras"]))
    clock.tick(days=1)
    profile = await call(profiles.get, ALICE, schema=Traveller)
    profile.cities.remove(SECRET)
    await call(profiles.save, profile)
    assert SECRET not in stored_text(memory)
    clock.tick(days=1)
    profile = await call(profiles.get, ALICE, schema=Traveller)
    profile.cities = ["Athens", "Volos"]
    await call(profiles.save, profile)
    seen = [
        (await call(profiles.get, ALICE, schema=Traveller, as_of=START.replace(day=day, hour=1))).cities
        for day in (2, 3)
    ]
    assert seen == [["Athens", "Patras"], ["Athens", "Volos"]]


async def test_a_preference_that_was_removed_does_not_come_back_from_old_messages(memory, call, clock):
    answer = {"action": "update", "field": "preferences.drink", "value": SECRET, "messages": [1]}
    await call(memory.profiles.update_preference, ALICE, "drink", SECRET)
    clock.tick(days=1)
    await call(memory.profiles.update_preference, ALICE, "drink", None)
    node = memory.profile_node(ScriptedChatModel([json.dumps({"changes": [answer]})] * 2))
    await call(node.invoke, [human("I drink it.", "m1", day=0.5)], config())
    assert (await call(memory.profiles.get, ALICE)).preferences == {}
    await call(
        node.invoke, [human("I drink it again.", "m2", day=0.9), human("I do.", "m3", day=1.5)], config(thread="2")
    )
    assert SECRET not in stored_text(memory)
    await call(memory.profiles.update_preference, ALICE, "drink", SECRET)
    assert (await call(memory.profiles.get, ALICE)).preferences == {"drink": SECRET}


OF_THE_APPLICATION = (
    (USER,),
    (USER, "app"),
    (USER, "notes", "2026"),
    (USER, "profile", "photos"),
    (USER, "facts", "facts"),
    (USER, "memories", "deeper"),
    (USER, "entities", "x"),
    (USER, "seen", "x"),
    ("user", ALICE),
)


async def test_forgetting_a_user_leaves_what_the_application_stores_below_its_namespace(memory, call):
    for number in range(3):
        for namespace in OF_THE_APPLICATION:
            await call(memory.store.put, namespace, f"own-{number}", {"text": f"own {number}"})
    profiles = memory.profiles
    await call(profiles.save, UserProfile(user_id=ALICE, name="Alice", preferences={"p": 1}))
    fact = await call(profiles.add_fact, ALICE, "Has two dogs")
    await call(profiles.forget_fact, ALICE, fact)
    await call(profiles.add_facts, ALICE, [f"Has {number} cats" for number in range(5)])
    await call(memory.memories.save, ALICE, "Likes tea.")
    await call(memory.entities.relate, ALICE, "Eve", "works at", "Acme")
    # The profile, a digest, five facts, a memory, two entities and their relation.
    assert await call(profiles.forget, ALICE) == 1 + 1 + 5 + 1 + 2 + 1
    left = {item.namespace for item in await call(memory.store.search, (), limit=1000)}
    assert left == {*OF_THE_APPLICATION}
    assert await call(profiles.forget, ALICE) == 0
    assert len(await call(memory.store.search, (USER,), limit=1000)) == 3 * (len(OF_THE_APPLICATION) - 1)


async def test_what_the_application_stores_below_our_namespaces_is_none_of_ours(memory, call):
    for namespace in (*OF_THE_APPLICATION, ("shared", "guide", "deeper")):
        await call(memory.store.put, namespace, "own", {"text": "Likes tea and coffee"})
    await call(memory.knowledge.add, "guide", ["Serve tea."])
    await call(memory.profiles.add_fact, ALICE, "Likes tea")
    await call(memory.memories.save, ALICE, "Likes coffee.")
    await call(memory.entities.upsert, ALICE, "Tea")
    assert [fact.text for fact in (await call(memory.profiles.get, ALICE)).facts] == ["Likes tea"]
    assert [fact.text for fact in await call(memory.profiles.search, ALICE, "tea")] == ["Likes tea"]
    assert [one.text for one in await call(memory.memories.list, ALICE)] == ["Likes coffee."]
    assert [one.text for one in await call(memory.memories.search, ALICE, "coffee")] == ["Likes coffee."]
    assert [one.name for one in await call(memory.entities.list, ALICE)] == ["Tea"]
    assert [one.name for one in (await call(memory.entities.graph, ALICE)).entities] == ["Tea"]
    assert [one.text for one in await call(memory.knowledge.list, "guide")] == ["Serve tea."]
    assert [one.text for one in await call(memory.knowledge.search, "tea", names=["guide"])] == ["Serve tea."]
    assert await call(memory.knowledge.delete, "guide") == 1
    assert await call(memory.store.get, ("shared", "guide", "deeper"), "own") is not None


async def test_a_collection_does_not_take_the_place_of_an_item_of_the_application(memory, call):
    await call(memory.store.put, ("shared",), "guide", {"text": "own"})
    await call(memory.knowledge.add, "guide", ["Serve tea."])
    with pytest.raises(ValueError, match="Choose another name"):
        await call(memory.knowledge.replace, "guide", ["Serve coffee."])
    await call(memory.knowledge.delete, "guide")
    assert (await call(memory.store.get, ("shared",), "guide")).value == {"text": "own"}


async def test_an_attribute_that_is_removed_is_gone_with_what_other_entities_said_of_it(memory, call):
    entities = memory.entities
    await call(entities.upsert, ALICE, "Robert", attributes={"Phone": SECRET, "town": "Bonn"})
    await call(entities.upsert, ALICE, "Bob", attributes={"phone": "5", "town": "Ulm"})
    await call(entities.upsert, ALICE, "Robert", aliases=["Bob"])
    assert SECRET in stored_text(memory)
    await call(entities.upsert, ALICE, "bob", attributes={"PHONE": ""})
    entity = await call(entities.get, ALICE, "Robert")
    assert SECRET not in stored_text(memory)
    assert (entity.attributes, entity.other_values) == ({"town": "Ulm"}, {"town": ["Bonn"]})


async def test_one_value_of_a_field_is_forgotten(memory, call, clock):
    profiles = memory.profiles
    for name, cities in (("Ann", ["Oslo", SECRET]), (SECRET, ["Oslo"]), ("Alice", ["Oslo", SECRET.upper(), "Cork"])):
        profile = await call(profiles.get, ALICE, schema=Traveller) or Traveller(user_id=ALICE)
        profile.name, profile.cities, profile.preferences = name, cities, {"diet": name, "a.b": {"c": name}}
        await call(profiles.save, profile)
        clock.tick(days=1)
    fields = ("name", "cities", "preferences.diet", ["preferences", "a.b", "c"])
    for expected in (True, False):
        for field in fields:
            assert await call(profiles.forget_value, ALICE, field, SECRET, schema=Traveller) is expected, field
    assert SECRET not in stored_text(memory).lower()
    names = [
        (await call(profiles.get, ALICE, schema=Traveller, as_of=START + timedelta(days=day, hours=1))).name
        for day in range(3)
    ]
    assert names == ["Ann", None, "Alice"]
    profile = await call(profiles.get, ALICE, schema=Traveller)
    assert (profile.cities, profile.preferences) == (["Oslo", "Cork"], {"diet": "Alice", "a.b": {"c": "Alice"}})
    assert await call(profiles.forget_value, ALICE, "name", "alice", schema=Traveller)
    profile = await call(profiles.get, ALICE, schema=Traveller)
    assert (profile.name, profile.preferences["diet"]) == (None, "Alice")
    # An older message does not bring the value back, a later one does.
    for day, name in ((2.5, None), (4, "Alice")):
        proposal = json.dumps({"changes": [{"action": "update", "field": "name", "value": "Alice"}]})
        node = memory.profile_node(ScriptedChatModel([proposal]), Traveller)
        clock.tick(days=1)
        await call(node.invoke, [human("I am Alice.", f"m{day}", day)], config(thread=f"t{day}"))
        assert (await call(profiles.get, ALICE, schema=Traveller)).name == name
    for wrong in ("nothing", "facts", ""):
        with pytest.raises(InvalidInputError):
            await call(profiles.forget_value, ALICE, wrong, "x", schema=Traveller)


@pytest.mark.parametrize("by_model", [True, False])
async def test_a_superseded_fact_is_forgotten(memory, call, by_model):
    profiles = memory.profiles
    secret = await call(profiles.add_fact, ALICE, f"Lives in {SECRET}")
    await call(profiles.add_fact, ALICE, "Lives in Patras", replaces=secret)
    if by_model:
        forget = {"action": "remove", "text": f"The user lives in {SECRET}.", "reason": "forget"}
        node = memory.profile_node(ScriptedChatModel([json.dumps({"changes": [forget]})]))
        done = await call(node.invoke, [human("Forget where I lived before.", "m")], config())
        assert (done.forgotten, done.refused) == (1, ())
    else:
        assert await call(profiles.forget_fact, ALICE, secret)
    assert SECRET not in stored_text(memory)
    assert [fact.text for fact in await call(profiles.timeline, ALICE)] == ["Lives in Patras"]


async def test_a_model_ends_no_fact_that_it_is_not_shown(memory, call):
    fact = await call(memory.profiles.add_fact, ALICE, "Likes tea")
    await call(memory.profiles.end_fact, ALICE, fact, at=START)
    for reason, text in (("ended", "Likes tea"), ("forget", "Likes coffee")):
        change = {"action": "remove", "text": text, "reason": reason}
        node = memory.profile_node(ScriptedChatModel([json.dumps({"changes": [change]})] * 2))
        done = await call(node.invoke, [human("No tea.", reason)], config(thread=reason))
        assert "number of the fact" in done.error
