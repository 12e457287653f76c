"""Export, import and copy between memories with and without a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from everything import Words, fill

from langchain_agentmem import AgentMemory

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


async def test_an_encrypted_memory_moves_into_one_without_a_key(call, tmp_path):
    with opened("sqlite-file", tmp_path, FIRST) as memory, opened("sqlite-file", tmp_path, None) as other:
        fill(memory)
        await call(memory.copy_to, other)
        assert states(other) == states(memory)
        assert states(memory)
