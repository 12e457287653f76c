"""The checkpoints of a thread with their sizes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from langchain_agentmem.arguments.ids import check_optional_id
from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.backends.contract import CheckpointKey, LoadedCheckpoint
from langchain_agentmem.checkpointing.arguments import thread_id_of
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.checkpointing.loader import reading_thread
from langchain_agentmem.checkpointing.scan import Scan, read_page
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import LIST, PLAIN, StoredValue, ValueKey
from langchain_agentmem.encoding.references import REFERENCE_BYTES, each_reference
from langchain_agentmem.programs import OffLoop, Program, Read, storage_program
from langchain_agentmem.programs.sizes import is_large
from langchain_agentmem.text.tables import html_table

_MESSAGES = "messages"


@dataclass(frozen=True)
class CheckpointSize:
    """A checkpoint with its size. Sizes are those of the stored values, without indexes and the overhead of rows."""

    thread_id: str
    namespace: str
    """Empty for the graph itself; otherwise the subgraph."""
    checkpoint_id: str
    parent_id: str | None
    created_at: datetime | None
    """None if the checkpoint does not tell."""
    step: int | None
    """The number of the step: -1 for the input of the first run; None if the metadata has none."""
    source: str | None
    """What made the checkpoint, such as `"input"`, `"loop"` or `"update"`; None if the metadata does not tell."""
    channels: tuple[str, ...]
    """The channels that have a value, in alphabetical order."""
    writes: int
    """The number of pending writes."""
    bytes: int
    """The bytes that the checkpoint needs, including those that it shares with other checkpoints."""
    new_bytes: int
    """The bytes that its parent does not need."""
    message_count: int | None = None
    """The number of messages in the channel `messages`; None if it is no list that is stored in this checkpoint."""


class CheckpointSizes(list[CheckpointSize]):
    """Checkpoints with their sizes. A notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = [
            (one.namespace, one.step, one.source, one.created_at, one.writes, one.bytes, one.new_bytes) for one in self
        ]
        return html_table(rows, header=("subgraph", "step", "source", "created", "writes", "bytes", "new bytes"))


class _Pieces(NamedTuple):
    """The sizes of the parts of a checkpoint."""

    own: int
    """The bytes of the checkpoint itself and its pending writes."""
    shared: Mapping[ValueKey | bytes, int]
    """The bytes of values and elements, which other checkpoints may need too."""


def checkpoint_sizes(
    engine: CheckpointEngine, thread_id: str, limit: int, before: str | None
) -> Program[CheckpointSizes]:
    """Return the newest checkpoints of a thread with their sizes.

    Args:
        engine: The engine of the checkpointer.
        thread_id: The thread.
        limit: The maximum number of checkpoints.
        before: Only checkpoints older than this one; None for all.
    """
    thread = thread_id_of("thread_id", thread_id)
    before = check_optional_id("before", before)
    scan = Scan(thread, None, None, {}, before, check_count("limit", limit))
    with reading_thread(thread):
        page = yield from Read(engine.backend, _with_parents(engine, scan))
        found, parents = page
        yield from OffLoop(is_large([one.parts for one in found]))
        pieces = {one.row.key: _pieces(one, engine.codec) for one in [*found, *parents]}
        return CheckpointSizes(_sized(one, pieces, engine.codec) for one in found)


@storage_program
def _with_parents(
    engine: CheckpointEngine, scan: Scan
) -> Program[tuple[list[LoadedCheckpoint], list[LoadedCheckpoint]]]:
    """Read checkpoints, and those of their parents that are not among them."""
    table, tenant = engine.backend.checkpoints, engine.tenant
    found, _ = yield from read_page(table, tenant, scan, engine.codec, scan.limit or 1)
    known = {one.row.key for one in found}
    parents = []
    for one in found:
        namespace, parent_id = one.row.key.namespace, one.row.parent_id
        if parent_id is not None and (key := CheckpointKey(namespace, parent_id)) not in known:
            known.add(key)
            thread, now = one.row.thread_id, time.time()
            rows = yield from table.page(tenant, thread, namespace, parent_id, None, None, 1, engine.codec, now)
            parents += yield from table.load(tenant, rows)
    return found, parents


def _sized(loaded: LoadedCheckpoint, pieces: Mapping[CheckpointKey, _Pieces], codec: Codec) -> CheckpointSize:
    row = loaded.row
    own, shared = pieces[row.key]
    parent = None if row.parent_id is None else pieces.get(CheckpointKey(row.key.namespace, row.parent_id))
    inherited: Mapping[ValueKey | bytes, int] = {} if parent is None else parent.shared
    return CheckpointSize(
        thread_id=row.thread_id,
        namespace=row.key.namespace,
        checkpoint_id=row.key.checkpoint_id,
        parent_id=row.parent_id,
        created_at=_moment(row.checkpoint.get("ts")),
        step=_of_type(row.metadata.get("step"), int),
        source=_of_type(row.metadata.get("source"), str),
        channels=tuple(sorted({*row.inline, *row.stored})),
        writes=len(loaded.writes),
        bytes=own + sum(shared.values()),
        new_bytes=own + sum(size for key, size in shared.items() if key not in inherited),
        message_count=_message_count(loaded, codec),
    )


def _message_count(loaded: LoadedCheckpoint, codec: Codec) -> int | None:
    """Return the length of the list in the channel `messages`, which is known without decoding the messages."""
    version = loaded.row.stored.get(_MESSAGES)
    if version is None:
        value = loaded.row.inline.get(_MESSAGES)
        return len(value) if isinstance(value, list) else None
    found = loaded.parts.values.get(ValueKey(loaded.row.key.namespace, _MESSAGES, version))
    if found is None:
        return None
    stored, known = found
    if stored.kind == LIST:
        return len(known.references) // REFERENCE_BYTES
    value = codec.load((stored.type, stored.data)) if stored.kind == PLAIN else None
    return len(value) if isinstance(value, list) else None


def _pieces(loaded: LoadedCheckpoint, codec: Codec) -> _Pieces:
    row, parts = loaded.row, loaded.parts
    document = {"checkpoint": row.checkpoint, "metadata": row.metadata, "inline": row.inline, "stored": row.stored}
    own = len(codec.dump_document(document).data) + sum(len(write.data) for write in loaded.writes)
    keys = [*row.value_keys(), *(key for write in loaded.writes if (key := write.value_key(row.key.namespace)))]
    shared: dict[ValueKey | bytes, int] = {}
    for key in keys:
        if key not in parts.values:
            continue
        value, known = parts.values[key]
        shared[key] = len(value.data)
        if _is_split(value):
            for reference in each_reference(known.references):
                shared[reference] = len(parts.elements[reference].data) if reference in parts.elements else 0
    return _Pieces(own, shared)


def _is_split(value: StoredValue) -> bool:
    return value.kind != PLAIN


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def _of_type(value: Any, kind: type[Any]) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
