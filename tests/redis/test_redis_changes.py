"""How searches on Redis find the sessions that changed."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage
from redis.exceptions import ClusterCrossSlotError

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.redis import exchange
from langchain_agentmem.backends.redis.dispatcher import Dispatcher

SESSIONS = 30


@pytest.fixture
def memories(any_redis_url):
    with AgentMemory.from_url(any_redis_url) as here, AgentMemory.from_url(any_redis_url) as there:
        for number in range(SESSIONS):
            there.history(f"s-{number}", user_id="alice").add_messages([HumanMessage(f"tea {number}")])
        assert len(here.search_history("tea", user_id="alice", k=50)) == SESSIONS
        yield here, there


def texts(memory):
    return sorted(one.message.text for one in memory.search_history("tea", user_id="alice", k=50))


def change(memory):
    """Add to a session, edit one, delete one, begin one. Return the texts that a search for tea finds then."""
    memory.history("s-1", user_id="alice").add_messages([HumanMessage("tea again")])
    memory.history("s-2", user_id="alice").clear()
    memory.sessions.delete("s-3", user_id="alice")
    memory.history("new", user_id="alice").add_messages([HumanMessage("new tea")])
    return sorted([f"tea {at}" for at in range(SESSIONS) if at not in (2, 3)] + ["new tea", "tea again"])


def test_a_search_after_changes_of_several_sessions_finds_them(memories):
    here, there = memories
    expected = change(there)
    assert texts(here) == expected
    assert texts(here) == expected


def test_one_script_compares_the_versions_of_all_sessions_that_changed_lately(redis_url, monkeypatch):
    sent = []
    original = exchange.Exchange.__init__

    def watched(self, servers, parts, limit, writes):
        sent.append(sum(len(part.commands) for part in parts))
        original(self, servers, parts, limit, writes)

    with AgentMemory.from_url(redis_url) as memory:
        for number in range(SESSIONS):
            memory.history(f"s-{number}", user_id="alice").add_messages([HumanMessage(f"tea {number}")])
        texts(memory)
        monkeypatch.setattr(exchange.Exchange, "__init__", watched)
        assert len(texts(memory)) == SESSIONS
    assert sum(sent) <= 2 + SESSIONS  # the changed sessions, their versions, and the messages that were found
    assert sent[:2] == [1, 1]


def refuse_several_slots(monkeypatch):
    """Answer as a server does whose data is divided among processes."""
    original = Dispatcher.invoke

    def refuse(self, step, limit, *, writes):
        for one in getattr(step, "invocations", [step]):
            if len({str(key).partition("}")[0] for key in one.keys}) > 1:
                raise ClusterCrossSlotError("Keys in request don't hash to the same slot")
        return (yield from original(self, step, limit, writes=writes))

    monkeypatch.setattr(Dispatcher, "invoke", refuse)


def test_a_server_that_refuses_keys_of_several_slots_is_asked_for_each_session(memories, monkeypatch):
    here, there = memories
    refuse_several_slots(monkeypatch)
    expected = change(there)
    assert texts(here) == expected


@pytest.mark.parametrize("refuses", [False, True])
def test_recall_finds_changes_of_several_sessions(memories, monkeypatch, refuses):
    here, there = memories
    here.recall("tea", user_id="alice")
    change(there)
    if refuses:
        refuse_several_slots(monkeypatch)
    assert any("new tea" in item.text for item in here.recall("new tea", user_id="alice"))
