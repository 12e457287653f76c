"""What the tests of exports and imports share: a memory on a backend, and the lines of an export."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from conftest import new_url
from everything import Words

from langchain_agentmem import AgentMemory


def opened(backend: str, folder: Path, **options: Any) -> AgentMemory:
    """An empty memory of a backend, with an embedding model."""
    return AgentMemory.from_url(new_url(backend, folder), **{"embeddings": Words(), **options})


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def contents(path: Path) -> list[str]:
    """The lines of an export in any order, without checksums."""
    return sorted(json.dumps({**line, "sum": ""}, sort_keys=True) for line in lines_of(path))


def is_empty(memory: AgentMemory) -> bool:
    file = io.StringIO()
    memory.export(file)
    return {json.loads(line)["kind"] for line in file.getvalue().splitlines()} <= {"header", "embeddings", "end"}
