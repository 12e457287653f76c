"""What the package writes down itself, beside the user's data."""

from __future__ import annotations

import pytest

from langchain_agentmem import AgentMemory, InvalidInputError
from langchain_agentmem.arguments.ids import TENANT_OF_NOTES
from langchain_agentmem.backends.notes import Notes


def notes_of(memory: AgentMemory, *about: str | None) -> Notes:
    return Notes(memory.backend, memory.tenant, *about)


def test_a_note_comes_back(memory):
    notes = notes_of(memory, "session", None, "s")
    memory.backend.write(notes.put("summary", {"text": "ä\x00"}, now=1.0))
    note = memory.backend.read(notes.get("summary", now=2.0))
    assert (note.value, note.updated_at) == ({"text": "ä\x00"}, 1.0)
    assert memory.backend.read(notes.get("other", now=2.0)) is None
    assert memory.backend.read(notes_of(memory, "session", "s", None).get("summary", now=2.0)) is None


def test_a_note_is_swapped_only_by_who_knows_it(memory):
    notes = notes_of(memory, "session", None, "s")
    assert memory.backend.write(notes.swap("n", {"n": 1}, None, now=1.0))
    assert not memory.backend.write(notes.swap("n", {"n": 2}, None, now=2.0))
    revision = memory.backend.read(notes.get("n", now=3.0)).revision
    assert memory.backend.write(notes.swap("n", {"n": 3}, revision, now=3.0))
    assert not memory.backend.write(notes.swap("n", None, revision, now=4.0))
    assert memory.backend.read(notes.get("n", now=5.0)).value == {"n": 3}


def test_clearing_deletes_all_about_one_thing_and_nothing_else(memory):
    notes, other = notes_of(memory, "session", None, "s"), notes_of(memory, "session", None, "t")
    for number in range(120):
        memory.backend.write(notes.put(f"n{number}", {}, now=1.0))
    memory.backend.write(other.put("n1", {}, now=1.0))
    memory.backend.write(notes.clear(now=2.0))
    assert all(memory.backend.read(notes.get(f"n{number}", now=2.0)) is None for number in range(120))
    assert memory.backend.read(other.get("n1", now=2.0)) is not None


def test_notes_expire_and_are_swept(memory):
    notes = notes_of(memory, "session", None, "s")
    memory.backend.write(notes.put("summary", {}, now=1.0, ttl=10.0))
    assert memory.backend.read(notes.get("summary", now=10.9)) is not None
    assert memory.backend.read(notes.get("summary", now=11.1)) is None
    memory.sweep()
    assert memory.backend.read(notes.get("summary", now=2.0)) is None


def test_no_store_shows_notes(memory):
    memory.backend.write(notes_of(memory, "session", None, "s").put("summary", {"text": "secret"}, now=1.0))
    assert memory.store.search((), query="secret") == []
    assert memory.store.search(()) == []
    assert memory.store.list_namespaces() == []


def test_an_application_cannot_choose_the_tenant_of_notes(url):
    with pytest.raises(InvalidInputError, match="which is reserved"):
        AgentMemory.from_url(url, tenant=f"{TENANT_OF_NOTES}default")
