"""How searches on SQLite find the sessions that changed."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.sqlite import changes


@pytest.fixture
def memories(tmp_path):
    url = f"sqlite:///{tmp_path}/memory.db"
    with AgentMemory.from_url(url) as here, AgentMemory.from_url(url) as there:
        for number in range(30):
            there.history(f"s-{number}", user_id="alice").add_messages([HumanMessage(f"tea {number}")])
        assert len(here.search_history("tea", user_id="alice", k=50)) == 30
        yield here, there


def found(memory):
    return {one.message.text for one in memory.search_history("tea", user_id="alice", k=50)}


def test_a_search_without_changes_reads_no_versions(memories, monkeypatch):
    here, _ = memories
    monkeypatch.setitem(changes._SQL, "versions", "this is not read")
    assert len(found(here)) == 30


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda memory: memory.history("s-1", user_id="alice").add_messages([HumanMessage("more tea")]), 31),
        (lambda memory: memory.history("s-1", user_id="alice").clear(), 29),
        (lambda memory: memory.sessions.delete("s-1", user_id="alice"), 29),
        (lambda memory: memory.history("new", user_id="alice").add_messages([HumanMessage("new tea")]), 31),
    ],
)
def test_a_search_after_any_change_reads_it(memories, change, expected):
    here, there = memories
    change(there)
    assert len(found(here)) == expected


def test_a_session_in_place_of_a_deleted_one_is_found(memories):
    here, there = memories
    there.sessions.delete("s-29", user_id="alice")
    there.history("s-29", user_id="alice").add_messages([HumanMessage("other tea")])
    assert found(here) == {*(f"tea {number}" for number in range(29)), "other tea"}
