"""Export, import and copy: everything that a memory stores moves between any two backends, unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from everything import Words, fill

from langchain_agentmem import AgentMemory

PAIRS = [
    ("sqlite-file", "postgres"),
    ("sqlite-file", "redis"),
    ("postgres", "sqlite-file"),
    ("postgres", "redis"),
    ("redis", "sqlite-file"),
    ("redis", "postgres"),
]


def opened(backend: str, folder: Path, **options: Any) -> AgentMemory:
    from conftest import new_url

    return AgentMemory.from_url(new_url(backend, folder), embeddings=Words(), **options)


@pytest.mark.parametrize(("source", "target"), PAIRS)
async def test_everything_moves_between_any_two_backends(source, target, call, tmp_path):
    with opened(source, tmp_path) as memory, opened(target, tmp_path) as other:
        fill(memory)
        exported = await call(memory.export, tmp_path / "first.jsonl")
        imported = await call(other.import_from, tmp_path / "first.jsonl")
        assert imported.counts == exported.counts
        await call(other.export, tmp_path / "second.jsonl")
        assert (tmp_path / "second.jsonl").read_text() == (tmp_path / "first.jsonl").read_text()
