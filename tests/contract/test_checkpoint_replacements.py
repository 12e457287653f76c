"""A stored checkpoint and its pending writes get another form, beside writers that change them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from langchain_agentmem.backends.contract import CheckpointKey, CheckpointPut, ThreadKey, ThreadUse

THREAD = ThreadKey("default", "1")
WHERE: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": "c1"}}
BIG = [f"an element of a list that is long enough to be stored apart {n}" for n in range(10)]


@pytest.fixture
def thread(memory: Any) -> Any:
    checkpoint: Any = {
        "v": 4,
        "id": "c1",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {"notes": BIG},
        "channel_versions": {"notes": "1"},
        "versions_seen": {},
    }
    config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    memory.checkpointer.put(config, checkpoint, {"source": "loop"}, {"notes": "1"})
    memory.checkpointer.put_writes(WHERE, [("notes", ["a"]), ("notes", BIG), ("__interrupt__", "first")], "t1", "~p")
    return memory


def read(memory: Any) -> Any:
    backend = memory.backend
    return backend.read(backend.checkpoints.get(THREAD, "", "c1", memory.checkpointer.engine.codec, time.time()))


def entries(memory: Any) -> Any:
    return memory.backend.write(memory.backend.checkpoints.entries(THREAD))


def replace(memory: Any, loaded: Any, changes: Any, checkpoint_id: str = "c1") -> bool:
    row = loaded.row._replace(
        key=CheckpointKey("", checkpoint_id), metadata={"source": "update"}, inline={"note": "new"}, stored={}
    )
    (entry,) = entries(memory)
    table, codec = memory.backend.checkpoints, memory.checkpointer.engine.codec
    program = table.replace(THREAD, CheckpointPut(row, None, [], {}), changes, codec, ThreadUse(entry.created_at))
    return bool(memory.backend.write(program))


def test_a_checkpoint_and_its_writes_are_replaced_with_their_time(thread):
    before, loaded = entries(thread), read(thread)
    special, first, second = loaded.writes
    changes = [(first, first._replace(channel="renamed")), (second, None), (special, special._replace(channel="also"))]
    assert replace(thread, loaded, changes)
    assert entries(thread) == before
    stored = read(thread)
    assert (stored.row.inline, stored.row.stored, stored.row.metadata) == ({"note": "new"}, {}, {"source": "update"})
    assert [write[:3] for write in stored.writes] == [write[:3] for write in (special, first)]
    assert [write.channel for write in stored.writes] == ["also", "renamed"]


def test_a_write_that_changed_since_stays(thread):
    loaded = read(thread)
    special, first, second = loaded.writes
    thread.checkpointer.put_writes(WHERE, [("__interrupt__", "second")], "t1", "~p")
    thread.checkpointer.put_writes(WHERE, [("notes", ["late"])], "t2", "~p")
    assert replace(thread, loaded, [(special, None), (first, first._replace(channel="renamed"))])
    stored = thread.checkpointer.get_tuple(WHERE).pending_writes
    assert ("t1", "__interrupt__", "second") in stored
    assert ("t2", "notes", ["late"]) in stored
    assert ("t1", "renamed", ["a"]) in stored
    assert ("t1", "notes", BIG) in stored
    assert second in read(thread).writes


def test_a_checkpoint_that_was_deleted_does_not_come_back(thread):
    loaded = read(thread)
    assert not replace(thread, loaded, [], "c2")
    assert [entry.key.checkpoint_id for entry in entries(thread)] == ["c1"]
    assert read(thread).row.metadata == {"source": "loop"}
