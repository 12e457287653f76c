"""Storage programs that delete checkpoints of a thread, but none that a remaining checkpoint depends on.

A `DeltaChannel` stores its writes, and a snapshot only occasionally. A checkpoint therefore depends on its ancestors back to
the latest snapshot of each such channel. `keep_latest` keeps these ancestors; `delete_runs` refuses to delete them.
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

_ANCESTORS_AT_ONCE = 64
_DELTA_COUNTERS = "counters_since_delta_snapshot"


@storage_program
def keep_latest(
    table: CheckpointTable, thread: ThreadKey, codec: Codec, older_than: float | None = None
) -> Program[int]:
    """Delete all checkpoints of a thread except the latest of each namespace and the ancestors that these depend on.

    The checkpoints of a subgraph's call are deleted with the checkpoint that started the call.

    Args:
        table: The checkpoints.
        thread: The thread.
        codec: The codec of the checkpoints.
        older_than: Also keep the checkpoints stored at or after this time (Unix seconds). Default: None (keep none of them).

    Returns:
        The number of deleted checkpoints.
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
    deleted = [entry.key for entry in entries if entry.key not in kept]
    if deleted:
        yield from table.delete(thread, deleted, codec, entries)
    return len(deleted)


@storage_program
def delete_runs(table: CheckpointTable, thread: ThreadKey, run_ids: Collection[str], codec: Codec) -> Program[None]:
    """Delete the checkpoints of some runs.

    Args:
        table: The checkpoints.
        thread: The thread.
        run_ids: The runs.
        codec: The codec of the checkpoints.

    Raises:
        ThreadInUseError: A checkpoint of another run depends on one of them; nothing was deleted.
    """
    entries = yield from table.entries(thread)
    deleted = {entry.key for entry in entries if entry.run_id in run_ids}
    for entry in entries:
        if entry.key in deleted or _parent(entry) not in deleted:
            continue
        needed = yield from _needed_ancestors(table, thread, entry.key, codec)
        if not deleted.isdisjoint(needed):
            msg = (
                f"Cannot delete the runs {sorted(run_ids)} of thread {thread.thread_id!r}: checkpoint "
                f"{entry.key.checkpoint_id!r} of another run rebuilds a DeltaChannel from them. Delete the whole thread, "
                f"or delete the runs after the channel's next snapshot."
            )
            raise ThreadInUseError(msg)
    if deleted:
        yield from table.delete(thread, deleted, codec, entries)


def _finished_calls(
    table: CheckpointTable,
    thread: ThreadKey,
    codec: Codec,
    entries: Collection[CheckpointEntry],
    kept: Collection[CheckpointKey],
) -> Program[set[CheckpointKey]]:
    """Return the checkpoints of subgraph calls whose root checkpoint is deleted.

    A call's namespace has the ID of its task after a colon. If the root checkpoint is not stored, the call may still be
    running, so its checkpoints are kept.
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
    """Return the ancestors from which a checkpoint's delta channels are rebuilt, and its parent if that stores its tasks."""
    needed: list[CheckpointKey] = []
    missing: set[str] | None = None
    at: str | None = key.checkpoint_id
    while at is not None:
        line = yield from table.ancestors(thread, CheckpointKey(key.namespace, at), _ANCESTORS_AT_ONCE, codec)
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
    """Return true if the parent stores the tasks that the checkpoint sent, as before version 4 of LangGraph's format."""
    version = row.checkpoint.get("v")
    return TASKS in row.inline and isinstance(version, int) and version < 4


def _parent(entry: CheckpointEntry) -> CheckpointKey | None:
    return None if entry.parent_id is None else CheckpointKey(entry.key.namespace, entry.parent_id)
