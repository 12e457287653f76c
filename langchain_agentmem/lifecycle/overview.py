"""The state of a memory, as its notebook table shows it."""

from __future__ import annotations

from collections.abc import Sized

from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine

MAX_COUNT = 1_000
"""The largest number that the overview counts to."""


def overview(
    history: HistoryEngine, store: StoreEngine, checkpoints: CheckpointEngine
) -> Program[list[tuple[str, object]]]:
    """Count sessions, namespaces, threads and checkpoints; return a label and a number for each.

    Args:
        history: The engine of the history.
        store: The engine of the store.
        checkpoints: The engine of the checkpointer.
    """
    sessions = yield from history.sessions(OMITTED, MAX_COUNT, 0)
    namespaces = yield from store.list_namespaces(limit=MAX_COUNT)
    threads = yield from checkpoints.threads(limit=MAX_COUNT)
    return [
        ("sessions", _count(sessions)),
        ("namespaces", _count(namespaces)),
        ("threads", _count(threads)),
        ("checkpoints", sum(thread.checkpoint_count for thread in threads)),
    ]


def _count(found: Sized) -> int | str:
    return f"{MAX_COUNT:,} or more" if len(found) >= MAX_COUNT else len(found)
