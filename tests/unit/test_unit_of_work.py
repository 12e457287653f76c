"""A unit of work reads what a change needs, and stores all changes together."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_agentmem import AgentMemory
from langchain_agentmem.knowledge.namespaces import fact_key, profile_key, user_namespace
from langchain_agentmem.knowledge.unit import UnitOfWork, UnreadItemsError, commit
from langchain_agentmem.programs import run

FIRST, SECOND = fact_key("alice", "first"), profile_key("alice", "UserProfile")


@pytest.fixture
def memory():
    with AgentMemory.from_url("sqlite:///:memory:") as memory:
        yield memory


def test_an_unread_item_is_named_by_the_error() -> None:
    unit = UnitOfWork("alice", {FIRST: None})
    assert unit[FIRST] is None
    with pytest.raises(UnreadItemsError) as caught:
        unit.need([FIRST, SECOND, SECOND])
    assert caught.value.keys == (SECOND,)
    with pytest.raises(UnreadItemsError):
        unit[SECOND]
    unit[SECOND] = {"n": 1}
    assert (unit[SECOND], unit.before(SECOND)) == ({"n": 1}, None)


@pytest.mark.parametrize("keys", [[], [FIRST], [FIRST, SECOND]])
def test_commit_reads_the_items_that_a_change_needs(memory: AgentMemory, keys: list[Any]) -> None:
    memory.store.put(*SECOND, {"n": 1})
    calls = []

    def edit(unit: UnitOfWork) -> int:
        calls.append(1)
        number = (unit[FIRST] or {"n": 10})["n"] + (unit[SECOND] or {"n": 0})["n"]
        unit[FIRST] = {"n": number}
        unit[SECOND] = None
        return number

    assert run(commit(memory.store.engine, "alice", keys, edit)) == 11
    assert len(calls) == 3 - len(keys)
    assert memory.store.get(*FIRST).value == {"n": 11}
    assert memory.store.get(*SECOND) is None


def test_commit_stores_items_that_were_not_read_and_not_needed(memory: AgentMemory) -> None:
    memory.store.put(*FIRST, {"n": 1})
    run(commit(memory.store.engine, "alice", [], lambda unit: unit.__setitem__(FIRST, {"n": 2})))
    assert memory.store.get(*FIRST).value == {"n": 2}


def test_commit_loses_no_concurrent_change(memory: AgentMemory) -> None:
    calls = []

    def edit(unit: UnitOfWork) -> None:
        value = unit[FIRST] or {"n": 0}
        if not calls:
            calls.append(1)
            memory.store.put(*FIRST, {"n": 5})
        unit[FIRST] = {"n": value["n"] + 1}

    run(commit(memory.store.engine, "alice", [FIRST], edit))
    assert memory.store.get(*FIRST).value == {"n": 6}


def test_knowledge_does_not_expire_and_only_its_texts_are_searched() -> None:
    with AgentMemory.from_url("sqlite:///:memory:", ttl=0.001) as memory:

        def edit(unit: UnitOfWork) -> None:
            unit[FIRST] = {"text": "Likes tea", "note": "coffee"}
            unit[SECOND] = {"text": "Likes tea"}

        run(commit(memory.store.engine, "alice", [], edit))
        found = [memory.store.search(user_namespace("alice"), query=word) for word in ("tea", "coffee")]
        assert [[item.key for item in items] for items in found] == [["first"], []]
