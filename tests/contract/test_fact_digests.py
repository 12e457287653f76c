"""Facts that an earlier version stored under other digests are recognised again after `memory.reindex()`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from profiles import ALICE, START, add, answer, config, human, texts

from langchain_agentmem.knowledge.namespaces import FACTS, user_namespace
from langchain_agentmem.testing import ScriptedChatModel

NAMESPACE = user_namespace(ALICE, FACTS)


async def outdate(memory: Any, call: Any) -> None:
    """Store all facts as an earlier version did: under other digests."""
    items = await call(memory.store.search, NAMESPACE, limit=100)
    for item in items:
        value = {
            **item.value,
            **{name: old(item.value[name]) for name in ("replaces", "replaced_by") if item.value[name]},
        }
        await call(memory.store.delete, NAMESPACE, item.key)
        await call(memory.store.put, NAMESPACE, old(item.key), value)


def old(id_: str) -> str:
    return id_[:24][::-1] + id_[24:]


def day(number: float) -> Any:
    return START + timedelta(days=number)


async def said(memory: Any, call: Any, number: float, *changes: dict[str, Any]) -> Any:
    node = memory.profile_node(ScriptedChatModel([answer(*changes)]))
    return await call(node.invoke, [human(f"Day {number}", f"m{number}", number)], config(thread=str(number)))


async def timeline(memory: Any, call: Any) -> list[tuple[Any, ...]]:
    facts = await call(memory.profiles.timeline, ALICE)
    names = {fact.id: fact.text for fact in facts}
    return sorted(
        (one.text, one.valid_from, str(one.valid_to), one.sources, names.get(one.replaces), names.get(one.replaced_by))
        for one in facts
    )


async def test_facts_move_to_their_present_digests(memory, call):
    profiles = memory.profiles
    await said(memory, call, 1, add("Lives in Athens"), add("Likes tea", topics=["drinks"]), add("Has a dog"))
    (home,) = [fact for fact in await call(profiles.timeline, ALICE) if fact.text == "Lives in Athens"]
    await call(profiles.end_fact, ALICE, home, at=day(2))
    await said(memory, call, 3, add("Lives in Athens"))
    home = (await call(profiles.search, ALICE, "Athens", 1))[0]
    await call(profiles.add_fact, ALICE, "Lives in Patras", replaces=home)
    expected = await timeline(memory, call)
    assert len(expected) == 5
    ids = {fact.id for fact in await call(profiles.timeline, ALICE)}
    await outdate(memory, call)
    assert await timeline(memory, call) == expected
    for _ in range(2):
        await call(memory.reindex)
        assert await timeline(memory, call) == expected
        assert {fact.id for fact in await call(profiles.timeline, ALICE)} == ids
    done = await said(memory, call, 4, add("The user likes tea."))
    assert not done.added
    assert await call(profiles.forget_fact, ALICE, (await call(profiles.search, ALICE, "Patras", 1))[0])
    assert sorted(texts(await call(profiles.timeline, ALICE))) == ["Has a dog", "Likes tea"]


async def test_facts_that_were_stored_twice_are_joined(memory, call):
    await said(memory, call, 1, add("Likes tea", topics=["drinks"], confidence=0.5), add("Lives in Athens"))
    await outdate(memory, call)
    await said(memory, call, 2, add("Likes tea", topics=["herbs"]))
    (athens,) = await call(memory.profiles.search, ALICE, "Athens", 1)
    await call(memory.profiles.add_fact, ALICE, "Lives in Patras", replaces=athens)
    await said(memory, call, 3, add("Lives in Athens"))
    assert len(await call(memory.profiles.timeline, ALICE)) == 5
    await call(memory.reindex)
    facts = {fact.text: fact for fact in await call(memory.profiles.timeline, ALICE)}
    assert sorted(texts(await call(memory.profiles.timeline, ALICE))) == [
        "Likes tea",
        "Lives in Athens",
        "Lives in Patras",
    ]
    tea, patras = facts["Likes tea"], facts["Lives in Patras"]
    assert (tea.topics, tea.sources, tea.confidence) == (["drinks", "herbs"], ["m1", "m2"], 1.0)
    assert (tea.first_seen, tea.last_seen, tea.valid_from, tea.valid_to) == (day(1), day(2), day(1), None)
    assert patras.replaces == facts["Lives in Athens"].id


async def test_a_fact_under_an_outdated_digest_stays_forgotten(memory, call):
    await said(memory, call, 1, add("Likes tea"))
    await outdate(memory, call)
    (tea,) = await call(memory.profiles.timeline, ALICE)
    assert await call(memory.profiles.forget_fact, ALICE, tea)
    await said(memory, call, 2, add("Likes tea"))
    assert await call(memory.profiles.timeline, ALICE) == []


async def test_damaged_facts_and_items_of_the_application_stay(memory, call):
    await said(memory, call, 1, add("Likes tea"), add("Has a dog"))
    await outdate(memory, call)
    (dog,) = await call(memory.profiles.search, ALICE, "dog", 1)
    await call(memory.store.put, NAMESPACE, dog.id[:24], {"text": "Has a dog"})
    await call(memory.store.put, ("mine", FACTS), "k", {"text": "Mine"})
    await call(memory.reindex)
    assert texts(await call(memory.profiles.timeline, ALICE)) == ["Likes tea"]
    assert (await call(memory.store.get, NAMESPACE, dog.id[:24])).value == {"text": "Has a dog"}
    assert (await call(memory.store.get, ("mine", FACTS), "k")).value == {"text": "Mine"}
    assert not (await said(memory, call, 2, add("Likes tea"))).added
