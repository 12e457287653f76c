"""Statistics of a memory, as a dict, and as tables and charts."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from datetime import UTC, datetime

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint

from langchain_agentmem import AgentMemory, ReadCache, Retention, Stats, UserProfile
from langchain_agentmem.backends.reads import ReadCacheInfo
from langchain_agentmem.lifecycle.statistics import readable_size

HOUR, DAY = 3_600, 86_400


async def test_statistics_count_every_kind_of_entry(memory, call):
    fill(memory)
    stats = await call(memory.stats)
    assert stats.entries == {
        "sessions": 3,
        "messages": 4,
        "summaries": 0,
        "items": 2,
        "profiles": 1,
        "facts": 1,
        "memories": 1,
        "entities": 2,
        "relations": 1,
        "knowledge": 1,
        "markers": 0,
        "threads": 1,
        "checkpoints": 1,
        "pending_writes": 1,
        "cache_entries": 0,
        "variables": 3,
        "records": 1,
    }
    assert (stats.users, stats.agents, stats.tenant) == (4, 3, "default")
    assert stats.bytes > 10_000
    assert datetime.now(UTC).timestamp() - stats.taken_at.timestamp() < 60


async def test_statistics_count_one_tenant(url, call):
    with AgentMemory.from_url(url) as memory, AgentMemory(memory.backend, tenant="other") as other:
        fill(memory)
        stats = await call(other.stats)
        assert not any(stats.entries.values())
        assert (stats.users, stats.agents) == (0, 0)


async def test_statistics_tell_what_expires_when(memory, call):
    for name, ttl in (("a", 60), ("b", 2 * HOUR), ("c", 2 * DAY), ("d", 20 * DAY)):
        retention = Retention(policy="persistent", ttl=ttl)
        memory.history(name, retention=retention).add_user_message("Hello")
        memory.store.put(("notes",), name, {"text": "pizza"}, ttl=ttl / 60)
        memory.variables.set(name, 1, ttl=ttl)
        memory.checkpointer.put(thread(name), empty_checkpoint(), {}, {})
        memory.checkpointer.set_ttl(name, ttl)
        memory.cache.set({(("node",), name): (1, ttl)})
    memory.history("e").add_user_message("Hello")
    memory.profiles.update_preference("alice", "answers", "short")
    expected = {"hour": 1, "day": 1, "week": 1, "later": 1, "never": 0}
    stats = await call(memory.stats)
    assert stats.expiries == {
        "sessions": expected | {"never": 1},
        "all_items": expected | {"never": 1},
        "threads": expected,
        "variables": expected,
        "cache_entries": expected,
    }
    assert (stats.entries["items"], stats.entries["profiles"]) == (4, 1), "all_items are more than the application's"


async def test_statistics_contain_the_use_of_the_read_cache(lasting_url, call):
    with AgentMemory.from_url(lasting_url, read_cache=ReadCache(size=10)) as memory:
        memory.variables.set("a", 1)
        for _ in range(3):
            memory.variables.get("a")
        assert (await call(memory.stats)).cache == ReadCacheInfo(2, 1, 1, 10)


def test_statistics_are_a_mapping_and_json(sqlite_memory):
    fill(sqlite_memory)
    stats = sqlite_memory.stats()
    assert dict(stats) == {field.name: getattr(stats, field.name) for field in dataclasses.fields(stats)}
    assert json.loads(json.dumps(stats.as_dict())) == stats.as_dict()
    assert stats.as_dict()["entries"]["facts"] == stats["entries"]["facts"] == 1
    with pytest.raises(KeyError, match="facts"):
        stats["facts"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.users = 3  # type: ignore[misc]


def test_a_notebook_shows_tables_and_charts_without_scripts():
    entries = {"sessions": 1_234, "<script>alert(1)</script>": 1, "facts": 0}
    periods = dict(zip(("hour", "day", "week", "later", "never"), (1, 0, 2, 0, 7), strict=True))
    stats = Stats(
        backend="sqlite",
        tenant="<b>tenant</b>",
        taken_at=datetime(2026, 1, 2, tzinfo=UTC),
        entries=entries,
        users=3,
        agents=2,
        expiries={"sessions": periods, "all_items": dict.fromkeys(periods, 0)},
        bytes=1_480_000,
        bytes_by_table={"agentmem_<i>": 512},
        cache=ReadCacheInfo(5, 2, 1, 10),
    )
    shown = stats._repr_html_()
    assert not re.search(r"<script|<b>|<i>|\son\w+=", shown)
    text = html.unescape(re.sub("<[^>]*>", " ", shown))
    for wanted in ("<b>tenant</b>", "1,234", "1.5 MB", "512 bytes", "5 hits, 2 misses", "within a week: 2", "never: 7"):
        assert wanted in text
    assert shown.count("<span") == 2 + 3 + 1, "a bar for each number that is not zero"
    assert not re.search(r"(?<!-)color:|background:\s*(white|#fff|black|#000)", shown), "readable on dark and light"
    assert Stats._repr_html_(dataclasses.replace(stats, bytes=None, bytes_by_table={}))


def test_sizes_are_readable():
    assert [readable_size(size) for size in (0, 999, 1_000, 2_500_000_000)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "2.5 GB",
    ]


def test_only_postgres_knows_the_sizes_of_tables(memory):
    stats = memory.stats()
    tables = stats.bytes_by_table
    assert ("agentmem_messages" in tables and "store" in tables) == (memory.backend.name == "postgres")
    assert memory.backend.name != "postgres" or sum(tables.values()) == stats.bytes


def thread(thread_id: str, user_id: str | None = None) -> RunnableConfig:
    configurable = {"thread_id": thread_id, "checkpoint_ns": ""}
    return {"configurable": configurable | ({"user_id": user_id} if user_id else {})}


def fill(memory: AgentMemory) -> None:
    memory.history("session-1", user_id="alice@example.com").add_user_message("Hello")
    memory.history("session-1", user_id="bob").add_messages([("human", "Hello"), ("ai", "Hi")])
    memory.history("session-2", agent="writer").add_user_message("Draft")
    memory.store.put(("notes",), "food", {"text": "pizza"})
    memory.store.put(("bob", "facts"), "food", {"text": "pizza"})
    memory.profiles.save(UserProfile(user_id="alice@example.com", preferences={"color": "blue"}))
    memory.profiles.add_fact("carol.d", "Has a dog")
    memory.memories.save("carol.d", "Prefers tea")
    memory.entities.relate("carol.d", "Rex", "lives in", "Malta")
    memory.knowledge.add("manual", ["Press the button"])
    config = memory.checkpointer.put(thread("t", "dave"), empty_checkpoint(), {"source": "input"}, {})
    memory.checkpointer.put_writes(config, [("channel", 1)], "task")
    memory.variables.set("a", 1)
    memory.variables.set("a", 1, user_id="bob", agent="critic")
    memory.variables.set("a", 1, agent="planner", session_id="session-2")
    memory.records.save("critic", {"done": True})
