"""Export, import and copy between memories with and without a key."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from everything import Words, fill
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import create_checkpoint, empty_checkpoint

from langchain_agentmem import AgentMemory, TamperedDataError

FIRST, SECOND = bytes(range(32)), bytes(range(1, 33))


def opened(backend: str, folder: Path, key: bytes | None) -> AgentMemory:
    return AgentMemory.from_url(new_url(backend, folder), embeddings=Words(), key=key)


def lines(path: Path) -> list[str]:
    """The lines of an export without header and checksums, in any order."""

    found = []
    for line in path.read_text().rstrip("\n").split("\n"):
        read = json.loads(line)
        if read.get("kind") not in {"header", "end", "footer"}:
            found.append(json.dumps({name: value for name, value in read.items() if name not in {"sum", "checksum"}}))
    return sorted(found)


@pytest.mark.parametrize(
    ("source", "target"), [("sqlite-file", "postgres"), ("postgres", "redis"), ("redis", "sqlite-file")]
)
async def test_everything_moves_between_encrypted_memories(source, target, call, tmp_path):
    with opened(source, tmp_path, FIRST) as memory, opened(target, tmp_path, SECOND) as other:
        fill(memory)
        exported = await call(memory.export, tmp_path / "first.jsonl")
        imported = await call(other.import_from, tmp_path / "first.jsonl")
        assert imported.counts == exported.counts
        await call(other.export, tmp_path / "second.jsonl")
        assert lines(tmp_path / "second.jsonl") == lines(tmp_path / "first.jsonl")
        again = await call(other.import_from, tmp_path / "first.jsonl")
        assert not sum(again.counts.values())


def states(memory: AgentMemory) -> dict[str, Any]:
    """The values of the latest checkpoint of each thread."""
    found = {}
    for thread in memory.checkpointer.threads():
        config = {"configurable": {"thread_id": thread.thread_id, "checkpoint_ns": ""}}
        found[thread.thread_id] = tuple(memory.checkpointer.get_tuple(config) or ())
    return found


@pytest.mark.parametrize(
    ("source", "target"), [("sqlite-file", "redis"), ("postgres", "sqlite-file"), ("redis", "postgres")]
)
async def test_a_memory_without_a_key_moves_into_an_encrypted_one(source, target, call, tmp_path):
    with opened(source, tmp_path, None) as memory, opened(target, tmp_path, FIRST) as other:
        fill(memory)
        await call(memory.export, tmp_path / "first.jsonl")
        await call(memory.copy_to, other)
        await call(other.export, tmp_path / "second.jsonl")
        assert lines(tmp_path / "second.jsonl") == lines(tmp_path / "first.jsonl")
        assert states(other) == states(memory)
        assert states(memory)


async def test_values_of_imported_threads_that_took_each_others_place_are_refused(call, tmp_path):
    def put(memory: AgentMemory, thread: str) -> None:
        config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        checkpoint = create_checkpoint(empty_checkpoint(), None, 1)
        checkpoint["channel_values"] = {"state": f"value of {thread} " * 500}
        checkpoint["channel_versions"] = {"state": "1"}
        memory.checkpointer.put(config, checkpoint, {"source": "loop", "step": 1}, {"state": "1"})

    path = tmp_path / "encrypted.db"
    with opened("sqlite-file", tmp_path, None) as memory:
        for thread in ("first", "second"):
            put(memory, thread)
        with AgentMemory.from_url(f"sqlite:///{path}", key=FIRST) as other:
            await call(memory.copy_to, other)
    with closing(sqlite3.connect(path)) as connection, connection:
        (one, first), (two, second) = connection.execute("SELECT thread, data FROM agentmem_channel_values").fetchall()
        for thread, data in ((one, second), (two, first)):
            connection.execute("UPDATE agentmem_channel_values SET data = ? WHERE thread = ?", (data, thread))
    with AgentMemory.from_url(f"sqlite:///{path}", key=FIRST) as other:
        for thread in ("first", "second"):
            with pytest.raises(TamperedDataError, match="moved here from another row"):
                await call(other.checkpointer.get_tuple, {"configurable": {"thread_id": thread}})


async def test_an_encrypted_memory_moves_into_one_without_a_key(call, tmp_path):
    with opened("sqlite-file", tmp_path, FIRST) as memory, opened("sqlite-file", tmp_path, None) as other:
        fill(memory)
        await call(memory.copy_to, other)
        assert states(other) == states(memory)
        assert states(memory)


@pytest.mark.parametrize("backend", ["sqlite-file", "postgres", "redis"])
@pytest.mark.parametrize("is_open", [True, False])
async def test_messages_are_imported_into_a_session_that_has_none(call, tmp_path, monkeypatch, backend, is_open):
    began, shift = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: began() + shift[0])
    path = tmp_path / "archive.jsonl"
    with opened(backend, tmp_path, FIRST) as memory:
        history = memory.history("trip", user_id="alice")
        history.add_messages([HumanMessage("old")])
        shift[0] = 100.0
        history.add_messages([HumanMessage("new")])
        assert memory.cleanup(older_than=50, archive=path).messages == 1
        memory.sessions.delete("trip", user_id="alice")
        with contextlib.ExitStack() as stack:
            if is_open:
                stack.enter_context(memory.session("trip", user_id="alice"))
            else:
                memory.variables.set("city", "Bern", user_id="alice", session_id="trip")
            assert (await call(memory.import_from, path)).counts["messages"] == 1
            assert [one.text for one in history.messages] == ["old"]
            await call(history.add_messages, [HumanMessage("newer")])
            assert [one.text for one in await call(history.get_recent)] == ["old", "newer"]
            again = await call(memory.import_from, path)
            assert not again.counts.get("messages")
