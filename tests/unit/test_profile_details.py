"""Profiles by hand: what does not depend on where they are."""

from __future__ import annotations

import contextlib
import copy
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import ALICE, START, Clock, add, answer, config, human, texts
from pydantic import BaseModel

from langchain_agentmem import InvalidInputError, InvalidTypeError, UserProfile
from langchain_agentmem.knowledge.facts.fields import Fields
from langchain_agentmem.knowledge.facts.paths import path_of
from langchain_agentmem.testing import ScriptedChatModel


@pytest.fixture
def url() -> str:
    """What does not depend on the backend is tested on one."""
    return "sqlite:///:memory:"


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def profiles(memory) -> Any:
    return memory.profiles


async def test_nobody_has_an_empty_profile(profiles, call):
    profile = await call(profiles.get, ALICE)
    assert profile == UserProfile(user_id=ALICE)
    assert await call(profiles.timeline, ALICE) == []
    assert await call(profiles.search, ALICE, "anything") == []


async def test_saving_keeps_what_others_changed_meanwhile(profiles, call):
    await call(profiles.save, UserProfile(user_id=ALICE, name="Al", preferences={"a": 1, "b": 1}))
    first, second = await call(profiles.get, ALICE), await call(profiles.get, ALICE)
    first.preferences["a"] = 2
    second.preferences["b"] = 2
    second.name = "Alice"
    await call(profiles.save, first)
    await call(profiles.save, second)
    profile = await call(profiles.get, ALICE)
    assert (profile.name, profile.preferences) == ("Alice", {"a": 2, "b": 2})


async def test_opposites_do_not_merge(profiles, call):
    await call(profiles.add_facts, ALICE, ["Likes pizza", {"text": "Does not like pizza", "topics": ["food"]}])
    assert len((await call(profiles.get, ALICE)).facts) == 2


async def test_of_two_that_supersede_one_fact_the_later_is_valid(profiles, call, clock):
    athens = await call(profiles.add_fact, ALICE, "Lives in Athens")
    clock.tick(days=1)
    await call(profiles.add_fact, ALICE, "Lives in Patras", replaces=athens)
    clock.tick(days=1)
    await call(profiles.add_fact, ALICE, "Lives in Volos", replaces=athens.id)
    assert texts((await call(profiles.get, ALICE)).facts) == ["Lives in Volos"]
    # Who says now that it has been so for long, says that it never was otherwise.
    early = START + timedelta(hours=1)
    await call(profiles.add_fact, ALICE, "Lives in Larisa", replaces=athens, valid_from=early)
    assert texts((await call(profiles.get, ALICE)).facts) == ["Lives in Larisa"]
    then = await call(profiles.get, ALICE, as_of=START + timedelta(hours=30))
    assert "Lives in Larisa" in texts(then.facts)
    assert len(await call(profiles.timeline, ALICE)) == 4


async def test_what_is_true_again_has_two_periods(profiles, call, clock):
    first = await call(profiles.add_fact, ALICE, "Lives in Athens")
    clock.tick(days=1)
    assert await call(profiles.end_fact, ALICE, first)
    assert not await call(profiles.end_fact, ALICE, first)
    clock.tick(days=1)
    second = await call(profiles.add_fact, ALICE, "Lives in Athens")
    assert second.id != first.id
    days = [START + timedelta(days=number, hours=1) for number in (-1, 0, 1, 2)]
    assert [len((await call(profiles.get, ALICE, as_of=day)).facts) for day in days] == [0, 1, 0, 1]
    assert [fact.id for fact in await call(profiles.timeline, ALICE)] == [first.id, second.id]
    assert await call(profiles.forget_fact, ALICE, first.id)
    assert await call(profiles.timeline, ALICE) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"text": ""},
        {"text": "x" * 501},
        {"text": "a \ud800"},
        {"text": "a", "topics": "food"},
        {"text": "a", "topics": [""]},
        {"text": "a", "topics": [str(number) for number in range(11)]},
        {"text": "a", "confidence": 2},
        {"text": None},
        {"text": "a", "colour": "red"},
    ],
    ids=ascii,
)
async def test_facts_are_checked_before_anything_is_stored(memory, profiles, call, arguments):
    with pytest.raises((InvalidInputError, InvalidTypeError)):
        await call(profiles.add_facts, ALICE, ["Has a dog", arguments])
    assert memory.store.search(()) == []


async def test_who_it_is_about_is_checked(profiles, call):
    for user_id in ("", None, "\x00", 7):
        for method, *arguments in (
            (profiles.get,),
            (profiles.add_fact, "a"),
            (profiles.forget,),
            (profiles.search, "a"),
        ):
            with pytest.raises((InvalidInputError, InvalidTypeError)):
                await call(method, user_id, *arguments)
    with pytest.raises(InvalidTypeError):
        await call(profiles.save, {"user_id": ALICE})


class Traveller(BaseModel):
    home: str
    visited: list[str] = []


SHOP = {"title": "Shop", "type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]}


async def test_profiles_of_other_forms_lie_beside_each_other(profiles, call):
    await call(profiles.add_fact, ALICE, "Has a dog")
    assert await call(profiles.get, ALICE, schema=Traveller) is None
    assert await call(profiles.get, ALICE, schema=SHOP) is None

    class Member(UserProfile):
        level: int = 0

    await call(profiles.save, Member(user_id=ALICE, name="Alice", level=3))
    member = await call(profiles.get, ALICE, schema=Member)
    assert (member.level, member.name, texts(member.facts)) == (3, "Alice", ["Has a dog"])
    assert (await call(profiles.get, ALICE)).name is None


def test_a_profile_shows_itself_with_its_timeline(profiles):
    athens = profiles.add_fact(ALICE, "Lives in Athens")
    profiles.add_fact(ALICE, "Lives in Patras & around", replaces=athens)
    profiles.update_preference(ALICE, "<b>", "x")
    shown = profiles.get(ALICE)._repr_html_()
    assert "<s>Lives in Athens</s>" in shown
    assert "Lives in Patras &amp; around" in shown
    assert "preferences: &lt;b&gt;" in shown


async def test_what_is_written_by_hand_counts_as_said_last_whatever_the_clocks_say(profiles, call, clock):
    fact = await call(profiles.add_fact, ALICE, "Lives in Athens")
    await call(profiles.update_preference, ALICE, "tone", "short")
    clock.tick(days=-10)
    await call(profiles.update_preference, ALICE, "tone", "long")
    assert (await call(profiles.get, ALICE)).preferences == {"tone": "long"}
    await call(profiles.update_preference, ALICE, "tone", None)
    assert (await call(profiles.get, ALICE)).preferences == {}
    other = await call(profiles.add_fact, ALICE, "Lives in Patras", replaces=fact)
    assert texts((await call(profiles.get, ALICE)).facts) == ["Lives in Patras"]
    await call(profiles.add_fact, ALICE, "Lives in Athens", replaces=other)
    assert texts((await call(profiles.get, ALICE)).facts) == ["Lives in Athens"]
    (fact,) = (await call(profiles.get, ALICE)).facts
    await call(profiles.forget_fact, ALICE, fact)
    await call(profiles.add_fact, ALICE, "Lives in Athens")
    assert texts((await call(profiles.get, ALICE)).facts) == ["Lives in Athens"]


def test_a_field_that_is_forgotten_is_gone_from_what_held_it_before_too():
    fields = Fields(ALICE, None)
    fields.set(("home",), {"city": "Athens", "door": "red"}, START)
    fields.set(("home",), {"city": "Patras", "door": "blue"}, START + timedelta(days=1))
    fields.set(("home", "door"), "green", START + timedelta(days=2))
    assert fields.forget(("home", "door"), START + timedelta(days=3))
    assert not fields.forget(("home", "door"), START + timedelta(days=3))
    for colour in ("red", "blue", "green"):
        assert colour not in json.dumps(fields.value)
    assert fields.as_of(START) == {"home": {"city": "Athens"}}
    assert not fields.set(("home", "door"), "red", START + timedelta(days=1))
    assert fields.set(("home", "door"), "red", START + timedelta(days=4))


async def test_now_is_a_time_like_any_other(profiles, call, clock):
    soon = clock.now + timedelta(days=1)
    await call(profiles.add_fact, ALICE, "Lives in Volos", valid_from=soon)
    ending = await call(profiles.add_fact, ALICE, "Works at Acme")
    await call(profiles.end_fact, ALICE, ending, at=soon)
    for facts, past in ((["Works at Acme"], []), (["Lives in Volos"], ["Works at Acme"])):
        for profile in (await call(profiles.get, ALICE), await call(profiles.get, ALICE, as_of=clock.now)):
            assert (texts(profile.facts), texts(profile.past)) == (facts, past)
        clock.tick(days=1)


def test_a_message_from_a_clock_that_is_ahead_keeps_nothing_away(memory, clock):
    other = answer({"action": "update", "fact": 1, "text": "Lives in Volos"})
    node = memory.profile_node(ScriptedChatModel([answer(add("Lives in Athens")), other]))
    node.invoke([human("I live in Athens", "a", 400)], config())
    clock.tick(hours=1)
    node.invoke([human("I live in Volos", "b")], config())
    assert texts(memory.profiles.get(ALICE).facts) == ["Lives in Volos"]


async def test_saving_twice_keeps_what_others_saved_in_between(profiles, call):
    for profile in (await call(profiles.get, ALICE), UserProfile(user_id=ALICE, preferences={})):
        profile.name, profile.preferences["tone"] = "Al", "short"
        await call(profiles.save, profile)
        other = await call(profiles.get, ALICE)
        other.name, other.preferences["tone"] = "Alice", "long"
        await call(profiles.save, other)
        profile.preferences["language"] = "Greek"
        await call(profiles.save, profile)
        after = await call(profiles.get, ALICE)
        assert (after.name, after.preferences) == ("Alice", {"tone": "long", "language": "Greek"})


async def test_a_fact_may_be_a_text_and_is_added_once(profiles, call):
    profile = await call(profiles.get, ALICE)
    profile.facts += ["Sails", {"text": "Hikes"}]
    await call(profiles.save, profile)
    assert texts(profile.facts) == ["Sails", "Hikes"]
    assert await call(profiles.end_fact, ALICE, profile.facts[0])
    await call(profiles.save, profile)
    assert texts((await call(profiles.get, ALICE)).facts) == ["Hikes"]


async def test_times_may_be_iso_8601(profiles, call):
    fact = await call(profiles.add_fact, ALICE, "Sails", valid_from="2024-05-17")
    assert fact.valid_from.isoformat() == "2024-05-17T00:00:00+00:00"
    assert texts((await call(profiles.get, ALICE, as_of="2024-05-17T12:00:00Z")).facts) == ["Sails"]
    assert (await call(profiles.get, ALICE, as_of="2024-05-16")).facts == []
    with pytest.raises(InvalidInputError, match="ISO 8601"):
        await call(profiles.get, ALICE, as_of="yesterday")
    with pytest.raises(InvalidTypeError, match="datetime"):
        await call(profiles.get, ALICE, as_of=START.date())


@pytest.mark.parametrize("value", [{"a"}, float("nan"), START, [object()]], ids=["set", "nan", "time", "object"])
async def test_a_preference_must_be_json_serialisable(profiles, call, value):
    with pytest.raises(InvalidInputError, match="must be JSON-serialisable"):
        await call(profiles.update_preference, ALICE, "x", value)
    assert (await call(profiles.get, ALICE)).preferences == {}


async def test_preferences_of_a_class_of_ones_own(profiles, call):
    class Customer(UserProfile):
        tier: str | None = None

    class Trip(BaseModel):
        to: str | None = None

    await call(profiles.update_preference, ALICE, "tone", "short", schema=Customer)
    assert (await call(profiles.get, ALICE, schema=Customer)).preferences == {"tone": "short"}
    assert (await call(profiles.get, ALICE)).preferences == {}
    with pytest.raises(InvalidInputError, match="no field"):
        await call(profiles.update_preference, ALICE, "tone", "short", schema=Trip)


async def test_the_periods_of_a_fact_do_not_overlap(profiles, call, clock):
    first = await call(profiles.add_fact, ALICE, "Lives in Athens")
    clock.tick(days=10)
    await call(profiles.end_fact, ALICE, first)
    clock.tick(days=10)
    await call(profiles.add_fact, ALICE, "Lives in Athens", valid_from=START + timedelta(days=5))
    for begun in (5, 3, -3):
        await call(profiles.add_fact, ALICE, "Lives in Athens", valid_from=START + timedelta(days=begun))
        one, two = await call(profiles.timeline, ALICE)
        assert one.valid_from <= one.valid_to == two.valid_from == START + timedelta(days=begun)
    for day in (-2, 4, 30):
        known = await call(profiles.get, ALICE, as_of=START + timedelta(days=day))
        assert texts(known.facts) == ["Lives in Athens"]


@pytest.mark.parametrize("days", [(1, 30, 20, 10), (1, 30, 10, 20), (1, 10, 20, 30)], ids=str)
def test_late_messages_find_their_place_among_facts_that_superseded_each_other(memory, days):
    changes = [add("Lives in 1")] + [{"action": "update", "fact": 1, "text": f"Lives in {day}"} for day in days[1:]]
    node = memory.profile_node(ScriptedChatModel([answer({**one, "messages": [1]}) for one in changes]))
    for day in days:
        node.invoke([human(str(day), str(day), day)], config(thread=str(day)))
    for day, valid in ((5, 1), (15, 10), (25, 20), (35, 30)):
        known = memory.profiles.get(ALICE, as_of=START + timedelta(days=day))
        assert texts(known.facts) == [f"Lives in {valid}"]
    chain = memory.profiles.timeline(ALICE)
    assert [fact.replaced_by for fact in chain] == [*(fact.id for fact in chain[1:]), None]


async def test_what_a_forgotten_fact_superseded_is_forgotten_too(memory, profiles, call, clock):
    first = await call(profiles.add_fact, ALICE, "Lives in Athens")
    clock.tick(days=1)
    second = await call(profiles.add_fact, ALICE, "Lives in Patras", replaces=first)
    clock.tick(days=1)
    third = await call(profiles.add_fact, ALICE, "Lives in Volos", replaces=second)
    clock.tick(days=1)
    await call(profiles.add_fact, ALICE, "Lives in Athens")
    assert await call(profiles.forget_fact, ALICE, third)
    # What is true again stays.
    assert set(texts(await call(profiles.timeline, ALICE))) == {"Lives in Athens"}
    assert "Patras" not in str([item.value for item in await call(memory.store.search, (), limit=100)])


def test_an_element_that_is_forgotten_is_gone_from_what_the_field_was_before_too(memory):
    class Traveller(BaseModel):
        visited: list[str] = []

    def change(action: str, place: str, **more: Any) -> str:
        return answer({"action": action, "field": "visited", "value": place, "messages": [1], **more})

    script = [change("add", "Crete"), change("add", "Rome"), change("remove", "Crete", reason="forget")]
    node = memory.profile_node(ScriptedChatModel([*script, change("add", "Crete"), change("add", "Crete")]), Traveller)
    for number, (text, day) in enumerate([("Crete", 1), ("Rome", 2), ("Forget Crete", 3), ("Crete", 1)]):
        node.invoke([human(text, str(number), day)], config())
    assert memory.profiles.get(ALICE, schema=Traveller).visited == ["Rome"]
    assert "Crete" not in str([item.value for item in memory.store.search((), limit=100)])
    node.invoke([human("I was on Crete again", "5", 4)], config())
    assert memory.profiles.get(ALICE, schema=Traveller).visited == ["Rome", "Crete"]


def test_the_later_statement_of_a_field_counts_whatever_was_said_of_others():
    def day(number: int) -> datetime:
        return START + timedelta(days=number)

    fields = Fields(ALICE, None)
    assert fields.set(("name",), "Al", day(10))
    assert fields.set(("home", "city"), "Athens", day(5))
    assert fields.set(("home", "city"), "Patras", day(7))
    assert not fields.set(("home", "city"), "Rome", day(6))
    # What holds a field, and what it holds, counts too.
    assert not fields.set(("home",), {"city": "Rome"}, day(6))
    assert not fields.remove(("home",), day(6))
    assert fields.set(("home",), {"city": "Chania"}, day(8))
    assert not fields.set(("home", "door"), "red", day(7))
    assert fields.set(("home", "door"), "red", day(9))
    assert fields.set(("name",), "Alice", day(1), override=True)
    assert not fields.set(("name",), "Ali", day(9))
    assert fields.document == {"name": "Alice", "home": {"city": "Chania", "door": "red"}}


def test_fields_remember_so_many_changes_and_hold_so_much(monkeypatch):
    fields = Fields(ALICE, None)
    for number in range(1100):
        fields.set(("n",), number, START + timedelta(seconds=number))
    assert len(fields.value["past"]) == 1000
    assert fields.as_of(START + timedelta(seconds=500)) == {"n": 500}
    with pytest.raises(InvalidInputError, match="at most 50,000"):
        fields.set(("long",), "x" * 60_000, START + timedelta(days=1))


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c.d", "c.e", "c"]), st.none() | st.integers(0, 3)), max_size=12))
def test_a_document_at_any_time_is_what_it_was_then(changes):
    fields = Fields(ALICE, None)
    seen = []
    for number, (field, value) in enumerate(changes):
        at = START + timedelta(days=number)
        with contextlib.suppress(InvalidInputError):
            if value is None:
                fields.remove(path_of(field), at)
            else:
                fields.set(path_of(field), {"d": value} if field == "c" else value, at)
        seen.append((at, copy.deepcopy(fields.document)))
    again = Fields(ALICE, json.loads(json.dumps(fields.value)))
    assert again.document == (seen[-1][1] if seen else {})
    for at, document in seen:
        assert again.as_of(at) == document
    assert again.as_of(START - timedelta(days=1)) == {}
