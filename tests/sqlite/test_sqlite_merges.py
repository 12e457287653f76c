"""The full-text index stays whole however often it is merged: each merge adds a level, and FTS5 accepts fewer than 1,000."""

from __future__ import annotations

import contextlib
from pathlib import Path

from langchain_agentmem import AgentMemory, DamagedDataError
from langchain_agentmem.backends.sqlite import traces


def overwrite(memory: AgentMemory, times: int) -> None:
    for number in range(times):
        memory.store.put(("notes",), str(number % 200), {"text": f"Note {number % 200} about tea and trains"})


def test_items_may_be_overwritten_a_thousand_times(tmp_path: Path) -> None:
    with AgentMemory.from_url(f"sqlite:///{tmp_path}/a.db") as memory:
        overwrite(memory, 1_300)
        assert len(memory.store.search(("notes",), query="trains", limit=300)) == 200


def test_an_index_with_too_many_levels_is_created_again(tmp_path: Path, monkeypatch) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with monkeypatch.context() as patched, AgentMemory.from_url(url) as memory:
        patched.setattr(traces, "levels", lambda cursor: 0)
        with contextlib.suppress(DamagedDataError):  # SQLite from 3.42 on needs no merges
            overwrite(memory, 1_300)
    with AgentMemory.from_url(url) as memory:
        memory.store.put(("notes",), "new", {"text": "A ferry"})
        assert [item.key for item in memory.store.search(("notes",), query="ferries")] == ["new"]
        assert len(memory.store.search(("notes",), query="trains", limit=300)) == 200
