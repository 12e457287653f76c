"""Memories and profiles that LangMem and mem0 wrote, imported into each backend."""

from __future__ import annotations

import json
import warnings
from datetime import datetime
from typing import Any

import foreign
import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel

from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # trustcall uses names that moved in LangGraph
    from langmem import create_manage_memory_tool, create_memory_store_manager


class UserProfile(BaseModel):
    name: str
    preferences: dict[str, str] = {}


class Episode(BaseModel):
    observation: str


class Manager(GenericFakeChatModel):
    """A model that calls a tool, then ends."""

    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self


def manage(store: InMemoryStore, user: str, namespace: tuple[str, ...], schema: str, args: Any, **options: Any) -> None:
    """Let LangMem's store manager store one value."""
    said = [AIMessage("", tool_calls=[{"id": "1", "name": schema, "args": args}]), AIMessage("-"), AIMessage("-")]
    made = create_memory_store_manager(
        Manager(messages=iter(said)), store=store, enable_inserts=True, namespace=namespace, **options
    )
    config: Any = {"configurable": {"langgraph_user_id": user}}
    made.invoke({"messages": [{"role": "user", "content": "Hello"}]}, config=config)


def langmem_store() -> InMemoryStore:
    """What LangMem's tool and its store manager wrote."""
    store = InMemoryStore()
    tool = create_manage_memory_tool(namespace=("memories", "{langgraph_user_id}"), store=store)
    for user, texts in {"alice": ["Likes tea.", "Lives in Athens."], "bob": ["Likes tea."]}.items():
        for text in texts:
            tool.invoke({"content": text}, {"configurable": {"langgraph_user_id": user}})
    profile = create_manage_memory_tool(
        namespace=("memories", "{langgraph_user_id}", "profile"), schema=UserProfile, store=store
    )
    given = UserProfile(name="Alice", preferences={"language": "Greek"})
    profile.invoke({"content": given}, {"configurable": {"langgraph_user_id": "alice"}})
    namespace = ("memories", "{langgraph_user_id}")
    manage(store, "carol", namespace, "Memory", {"content": "Plays the oboe."})
    said = {"observation": "She laughed."}
    manage(store, "carol", (*namespace, "episodes"), "Episode", said, schemas=[Episode])
    store.put(("others",), "k", {"content": "Not of LangMem"})
    return store


async def texts(memory: Any, call: Any, user: str) -> list[str]:
    return sorted(one.text for one in await call(memory.memories.list, user))


async def test_langmems_memories_and_profiles(memory, call):
    store = langmem_store()
    done = await call(memory.import_from, store, format="langmem")
    assert (done.counts["memories"], done.counts["profiles"]) == (4, 1)
    assert await texts(memory, call, "alice") == ["Likes tea.", "Lives in Athens."]
    assert await texts(memory, call, "bob") == ["Likes tea."]
    assert await texts(memory, call, "carol") == ["Plays the oboe."]
    profile = await call(memory.profiles.get, "alice")
    assert (profile.name, profile.preferences) == ("Alice", {"language": "Greek"})
    saved = {
        item.value["content"]: item
        for item in store.search(("memories", "alice"), limit=100)
        if isinstance(item.value["content"], str)
    }
    for one in await call(memory.memories.list, "alice"):
        assert (one.created_at, one.metadata["langmem_key"]) == (saved[one.text].created_at, saved[one.text].key)
    again = await call(memory.import_from, store, format="langmem")
    assert dict(again.counts) == {}
    assert (again.unchanged["memories"], again.unchanged["profiles"]) == (4, 1)


async def test_documents_of_other_schemas_stay_items(memory, call):
    store = langmem_store()
    await call(memory.import_from, store, format="langmem")
    (item,) = await call(memory.store.search, ("memories", "carol", "episodes"))
    assert item.value == {"kind": "Episode", "content": {"observation": "She laughed."}}
    assert await call(memory.store.get, ("others",), "k") is None


async def test_a_namespace_of_langmem_without_a_user(sqlite_memory):
    store = InMemoryStore()
    create_manage_memory_tool(namespace=("team",), store=store).invoke({"content": "Ships on Fridays"})
    with pytest.raises(InvalidInputError, match=r"names no user\. Write the label of the user in braces"):
        sqlite_memory.import_from(store, format="langmem", namespace=("team",))
    done = sqlite_memory.import_from(store, format="langmem", namespace=("team",), user_id="team")
    assert done.counts["memories"] == 1


async def test_mem0s_memories(memory, call):
    rows = {row["memory"]: row for row in json.loads(foreign.GET_ALL.read_text())["results"]}
    done = await call(memory.import_from, foreign.GET_ALL, format="mem0")
    assert (done.counts["memories"], done.expired["memories"]) == (2, 1)
    found = {one.text: one for one in await call(memory.memories.list, "alice")}
    assert set(found) == {"She drinks tea, never coffee.", "I live in Patras."}
    tea, home = found["She drinks tea, never coffee."], found["I live in Patras."]
    assert tea.metadata == {"mem0_id": rows[tea.text]["id"], "channel": "phone", "role": "user"}
    assert (home.agent, home.metadata["run_id"]) == ("travel", "run-1")
    assert (home.created_at, home.updated_at) == tuple(
        datetime.fromisoformat(rows[home.text][name]) for name in ("created_at", "updated_at")
    )
    again = await call(memory.import_from, json.loads(foreign.GET_ALL.read_text()), format="mem0")
    assert (dict(again.counts), again.unchanged["memories"]) == ({}, 2)
    (best, *_) = await call(memory.memories.search, "alice", "What does she drink?")
    assert best.text == tea.text


async def test_the_history_of_a_memory_in_mem0(memory, call):
    with pytest.raises(InvalidInputError, match=r"names no user\. Pass user_id="):
        await call(memory.import_from, foreign.HISTORY, format="mem0")
    await call(memory.import_from, foreign.HISTORY, format="mem0", user_id="alice")
    (one,) = await call(memory.memories.list, "alice")
    assert (one.text, one.metadata["mem0_former_texts"]) == ("I live in Patras.", ["I live in Athens."])
    events = json.loads(foreign.HISTORY.read_text())
    deleted = [*events, {**events[-1], "event": "DELETE", "new_memory": None}]
    done = await call(memory.import_from, deleted, format="mem0", user_id="bob")
    assert dict(done.counts) == {}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("text", "row 1 of mem0's memories: it must be an object"),
        ({"id": "m", "user_id": "a"}, "row 1 .id 'm'. in mem0's memories: The memory"),
        ({"id": "m", "user_id": "a", "memory": " "}, "row 1 .id 'm'. in mem0's memories: The memory must not be empty"),
        ({"id": "m", "memory": "x"}, "row 1 .* it names no user. Pass user_id="),
        ({"id": "m", "user_id": 3, "memory": "x"}, "row 1 .*user_id"),
        ({"id": "m", "user_id": "a", "memory": "x", "created_at": "today"}, "row 1 .*created_at must be a datetime"),
    ],
)
async def test_a_damaged_memory_is_named_and_nothing_is_stored(memory, call, row, said):
    rows = [{"id": "0", "user_id": "a", "memory": "Likes tea."}, row]
    with pytest.raises(InvalidInputError, match=f"Could not import {said}"):
        await call(memory.import_from, {"results": rows}, format="mem0")
    assert await call(memory.memories.list, "a") == []


async def test_a_memory_that_is_known_keeps_its_wording(sqlite_memory):
    sqlite_memory.memories.save("alice", "she drinks tea, never coffee", metadata={"channel": "web"})
    done = sqlite_memory.import_from(foreign.GET_ALL, format="mem0")
    assert (done.counts["memories"], done.unchanged["memories"]) == (1, 1)
    known = next(one for one in sqlite_memory.memories.list("alice") if "tea" in one.text)
    assert (known.text, known.times, known.metadata["channel"]) == ("she drinks tea, never coffee", 1, "web")
    assert known.metadata["mem0_id"]


class Mem0Memory:
    """Stands for `mem0.Memory`: importing it takes a second and half a gigabyte of packages."""

    def get_all(self, **filters: Any) -> dict[str, Any]:
        raise AssertionError


async def test_mem0s_object_is_refused_with_what_to_pass(sqlite_memory):
    with pytest.raises(InvalidTypeError, match=r"returns at most top_k memories of one user\. Pass its result"):
        sqlite_memory.import_from(Mem0Memory(), format="mem0")


def test_a_namespace_that_names_users_takes_no_user(sqlite_memory):
    with pytest.raises(
        InvalidInputError, match=r"user_id='bob' has no effect: .*'\{langgraph_user_id\}'.* names the user"
    ):
        sqlite_memory.import_from(langmem_store(), format="langmem", user_id="bob")
    assert sqlite_memory.memories.list("bob") == []
