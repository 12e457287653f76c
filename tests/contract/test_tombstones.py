"""Tombstones of forgotten users and digests of the users of messages, as earlier versions stored them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from profiles import ALICE, Clock, config, human, taking_turns

from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.knowledge.extraction.speakers import speakers_of
from langchain_agentmem.programs import run
from langchain_agentmem.programs.steps import Read, Write
from langchain_agentmem.testing import ScriptedChatModel

LIKES = json.dumps({"changes": [{"action": "add", "text": "Likes tea", "messages": [1]}]})


@pytest.fixture
def call() -> Any:
    return taking_turns()


async def test_a_tombstone_of_an_earlier_version_is_obeyed(memory, call, monkeypatch):
    clock = Clock(monkeypatch)
    clock.tick(days=1)
    await call(memory.store.put, (f"user:{ALICE}", "seen"), "forgotten", {"at": time.time()})
    node = memory.profile_node(ScriptedChatModel([LIKES] * 2))
    clock.tick(days=1)
    await call(node.invoke, [human("I like tea.", "m1", day=0.5)], config())
    assert await call(memory.profiles.timeline, ALICE) == []
    await call(memory.forget, ALICE)
    assert await call(memory.store.search, (), limit=10) == []
    clock.tick(days=1)
    await call(node.invoke, [human("I like tea.", "m2", day=2.5)], config(thread="2"))
    assert [one.text for one in await call(memory.profiles.timeline, ALICE)] == ["Likes tea"]


async def test_messages_older_than_the_tombstone_are_not_sent_to_the_model_again(memory, call, monkeypatch):
    clock = Clock(monkeypatch)
    clock.tick(days=1)
    model = ScriptedChatModel([LIKES])
    node = memory.profile_node(model)
    await call(node.invoke, [human("I like tea.", "m1", day=0.5)], config())
    await call(memory.profiles.forget, ALICE)
    clock.tick(days=1)
    await call(node.invoke, [human("I like tea.", "m1", day=0.5)], config())
    assert len(model.requests) == 1
    assert await call(memory.profiles.timeline, ALICE) == []


async def test_digests_of_users_differ_from_thread_to_thread(memory, call):
    backend = memory.backend
    former, messages = digest_of_ids(ALICE, size=9).hex(), [human("I like tea.", "m1")]
    node = memory.profile_node(ScriptedChatModel([LIKES] * 3))
    for thread in ("1", "2"):
        await call(node.invoke, messages, config(thread=thread))

    def stored(thread: str) -> Any:
        notes = speakers_of(backend, "default", thread)
        return run(iter(Read(backend, notes.get("speakers", time.time())))).value

    users = [tuple(stored(thread)["users"]) for thread in ("1", "2")]
    assert users[0] != users[1]
    # A note of an earlier version names the same user.
    value = {**stored("1"), "users": [former]}
    run(iter(Write(backend, speakers_of(backend, "default", "1").put("speakers", value, time.time()))))
    await call(node.invoke, [*messages, human("I do.", "m2")], config(thread="1"))
    assert tuple(stored("1")["users"]) == users[0]
    assert set(stored("1")["messages"].values()) == {0}
