"""Which checkpoints may go: storage programs that delete old ones and keep what the others need.

A `DeltaChannel` stores its writes and only now and then a snapshot, so a checkpoint that is kept needs its ancestors back
to the latest snapshot of each such channel. They are kept too, or the deletion is refused.
"""

from __future__ import annotations

from collections.abc import Collection

from langgraph.checkpoint.serde.types import TASKS

from langchain_agentmem.backends.contract import (
    CheckpointEntry,
    CheckpointKey,
    CheckpointRow,
    CheckpointTable,
    ThreadKey,
)
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.errors import ThreadInUseError
from langchain_agentmem.programs import Program, storage_program

_GENERATIONS = 64
_DELTA_COUNTERS = "counters_since_delta_snapshot"


@storage_program
def keep_latest(
    table: CheckpointTable, thread: ThreadKey, codec: Codec, older_than: float | None = None
) -> Program[int]:
    """Delete all checkpoints of a thread but the latest of each namespace, and what those need.

    The namespace of a subgraph's call goes with the checkpoint that the call started from.

    Args:
        table: Where the checkpoints are.
        thread: Whose.
        codec: What reads them.
        older_than: Spare checkpoints stored at or after this time, in seconds since 1970. Default: None (spare none).

    Returns:
        How many were deleted.
    """
    entries = yield from table.entries(thread)
    heads = {entry.key.namespace: entry for entry in entries}
    kept = {entry.key for entry in heads.values()}
    if older_than is not None:
        kept.update(entry.key for entry in entries if entry.created_at >= older_than)
    kept -= yield from _finished_calls(table, thread, codec, entries, kept)
    for entry in entries:
        if entry.key in kept and _parent(entry) not in kept:
            kept.update((yield from _needed_ancestors(table, thread, entry.key, codec)))
    doomed = [entry.key for entry in entries if entry.key not in kept]
    if doomed:
        yield from table.delete(thread, doomed, codec, entries)
    return len(doomed)


@storage_program
def delete_runs(table: CheckpointTable, thread: ThreadKey, run_ids: Collection[str], codec: Codec) -> Program[None]:
    """Delete the checkpoints of some runs.

    Raises:
        ThreadInUseError: A checkpoint of another run rebuilds a `DeltaChannel` from one of them; nothing was deleted.
    """
    entries = yield from table.entries(thread)
    doomed = {entry.key for entry in entries if entry.run_id in run_ids}
    for entry in entries:
        if entry.key in doomed or _parent(entry) not in doomed:
            continue
        needed = yield from _needed_ancestors(table, thread, entry.key, codec)
        if not doomed.isdisjoint(needed):
            msg = (
                f"Cannot delete the runs {sorted(run_ids)} of thread {thread.thread_id!r}: checkpoint "
                f"{entry.key.checkpoint_id!r} of another run rebuilds a DeltaChannel from them. Delete the whole thread, "
                f"or these runs once a later snapshot of the channel was stored."
            )
            raise ThreadInUseError(msg)
    if doomed:
        yield from table.delete(thread, doomed, codec, entries)


def _finished_calls(
    table: CheckpointTable,
    thread: ThreadKey,
    codec: Codec,
    entries: Collection[CheckpointEntry],
    kept: Collection[CheckpointKey],
) -> Program[set[CheckpointKey]]:
    """The checkpoints of subgraph calls that started from a checkpoint of the root graph that goes.

    A call's namespace carries its task's id after a colon. While the checkpoint it started from is not stored, the call
    may still be running.
    """
    roots = {entry.key.checkpoint_id for entry in entries if not entry.key.namespace}
    finished: set[CheckpointKey] = set()
    for namespace in {entry.key.namespace for entry in entries if ":" in entry.key.namespace}:
        calls = [entry.key for entry in entries if entry.key.namespace == namespace]
        (head,) = yield from table.ancestors(thread, calls[-1], 1, codec)
        root = head.metadata.get("parents", {}).get("")
        if root in roots and CheckpointKey("", root) not in kept:
            finished.update(calls)
    return finished


def _needed_ancestors(
    table: CheckpointTable, thread: ThreadKey, key: CheckpointKey, codec: Codec
) -> Program[list[CheckpointKey]]:
    """The ancestors that a checkpoint needs to rebuild its delta channels, and its parent if that keeps its tasks."""
    needed: list[CheckpointKey] = []
    missing: set[str] | None = None
    at: str | None = key.checkpoint_id
    while at is not None:
        line = yield from table.ancestors(thread, CheckpointKey(key.namespace, at), _GENERATIONS, codec)
        for row in line:
            if missing is None:
                missing = _rebuilt_channels(row)
                if row.parent_id is not None and _sends_with_parent(row):
                    needed.append(CheckpointKey(key.namespace, row.parent_id))
            else:
                needed.append(row.key)
                missing -= row.inline.keys() | row.stored.keys()
            if not missing:
                return needed
        at = line[-1].parent_id if line else None
    return needed


def _rebuilt_channels(row: CheckpointRow) -> set[str]:
    return set(row.metadata.get(_DELTA_COUNTERS) or ()) - row.inline.keys() - row.stored.keys()


def _sends_with_parent(row: CheckpointRow) -> bool:
    """Whether the tasks that a checkpoint has sent are stored with its parent, as before version 4 of LangGraph's format."""
    version = row.checkpoint.get("v")
    return TASKS in row.inline and isinstance(version, int) and version < 4


def _parent(entry: CheckpointEntry) -> CheckpointKey | None:
    return None if entry.parent_id is None else CheckpointKey(entry.key.namespace, entry.parent_id)
