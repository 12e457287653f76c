"""Checkpoints as bytes: MessagePack and frames, which the scripts of the checkpoint table read as well."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple

import ormsgpack
from langgraph.checkpoint.base import writes_sort_key

from langchain_agentmem.backends.contract import (
    CheckpointEntry,
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    Parts,
    StoredWrite,
    ThreadKey,
    ThreadRow,
)
from langchain_agentmem.backends.redis.scripts import framed, frames, pairs
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import NOTHING_KNOWN, Known, StoredValue, ValueKey
from langchain_agentmem.encoding.references import Typed, each_reference
from langchain_agentmem.errors import DamagedDataError

_TYPE_LENGTH = struct.Struct(">H")
_WRITE_LENGTHS = struct.Struct(">II")


@contextmanager
def reading(thread: ThreadKey) -> Iterator[None]:
    """Map errors of decoding to a `DamagedDataError` that names the thread."""
    try:
        yield
    except (struct.error, TypeError, ValueError, LookupError) as error:
        msg = f"Thread {thread.thread_id!r} cannot be read: it was damaged or altered ({error})."
        raise DamagedDataError(msg) from error


def field_of(key: CheckpointKey | ValueKey) -> str:
    """Return the field of a checkpoint or a value in its hash. IDs and names contain no zero byte."""
    return "\x00".join(key)


def pack(typed: Typed) -> bytes:
    """Return the type and the data of a serialised value as one byte string."""
    type_ = typed.type.encode()
    return _TYPE_LENGTH.pack(len(type_)) + type_ + typed.data


def unpack(packed: bytes) -> Typed:
    """Return the serialised value in a byte string from `pack`."""
    (length,) = _TYPE_LENGTH.unpack_from(packed)
    start = _TYPE_LENGTH.size + length
    return Typed(packed[_TYPE_LENGTH.size : start].decode(), packed[start:])


# Checkpoints


def pack_checkpoint(put: CheckpointPut, codec: Codec, now: float) -> bytes:
    """Return the row of a checkpoint."""
    row = put.row
    document = codec.dump_document(
        {"checkpoint": row.checkpoint, "metadata": row.metadata, "inline": row.inline, "stored": row.stored}
    )
    return row_header(
        [row.parent_id or False, [field_of(key) for key in row.value_keys()], put.run_id or False, now]
    ) + pack(document)


def checkpoints_in(thread_id: str, records: bytes, codec: Codec) -> list[CheckpointRow]:
    """Return the checkpoints in records that a script returned."""
    rows = []
    for field, row in pairs(records):
        (parent_id, *_), document = row_parts(row)
        described = codec.load_document(unpack(document))
        rows.append(CheckpointRow(thread_id, checkpoint_key(field), parent_id or None, **described))
    return rows


def entries_in(records: bytes) -> list[CheckpointEntry]:
    """Return the entries of the checkpoints in records that a script returned."""
    entries = []
    for field, row in pairs(records):
        (parent_id, _, run_id, created_at), _ = row_parts(row)
        entries.append(CheckpointEntry(checkpoint_key(field), parent_id or None, run_id or None, created_at))
    return entries


def checkpoint_key(field: bytes) -> CheckpointKey:
    """Return the key of the checkpoint in a field."""
    return CheckpointKey(*field.decode().split("\x00"))


# Pending writes


def pack_write(write: StoredWrite) -> bytes:
    """Return the record of a pending write."""
    header = ormsgpack.packb(write[:-1])
    return _WRITE_LENGTHS.pack(len(header), len(write.data)) + header + write.data


def _writes_in(records: bytes) -> dict[CheckpointKey, list[StoredWrite]]:
    return {checkpoint_key(field): list(each_write(rows)) for field, rows in pairs(records)}


def each_write(rows: bytes) -> Iterator[StoredWrite]:
    """Yield the pending writes in the records of a checkpoint."""
    at = 0
    while at < len(rows):
        header, data = _WRITE_LENGTHS.unpack_from(rows, at)
        start = at + _WRITE_LENGTHS.size
        at = start + header + data
        described = ormsgpack.unpackb(rows[start : start + header])
        yield StoredWrite(*described, rows[at - data : at])  # type: ignore[call-arg]


# Values


def pack_additions(
    requires: Mapping[ValueKey, str], values: Collection[StoredValue], elements: Mapping[bytes, Typed]
) -> list[Any]:
    """Return the additions of a write as arguments of scripts: requirements, values and elements, each after their number."""
    groups: tuple[list[tuple[Any, Any]], ...] = (
        [(field_of(key), digest) for key, digest in requires.items()],
        [(field_of(value.key), pack_value(value)) for value in values],
        [(reference, pack(typed)) for reference, typed in elements.items()],
    )
    return [one for group in groups for one in (len(group), *(part for pair in group for part in pair))]


def pack_value(value: StoredValue) -> bytes:
    """Return the row of a value."""
    base = False if value.base is None else field_of(value.base)
    return row_header([value.kind, value.digest, base, value.head, value.tail, value.type, value.number]) + value.data


def unpack_value(field: bytes, row: bytes) -> StoredValue:
    """Return the value in a field and a row."""
    (kind, digest, base, head, tail, type_, number), data = row_parts(row)
    return StoredValue(
        _value_key(field), kind, type_, data, number, _value_key(base.encode()) if base else None, head, tail, digest
    )


def _value_key(field: bytes) -> ValueKey:
    return ValueKey(*field.decode().split("\x00"))


class Answer(NamedTuple):
    """An answer of the scripts `get` and `parts`."""

    pending: dict[CheckpointKey, list[StoredWrite]]
    parts: Parts

    @classmethod
    def of(
        cls, rows: Sequence[CheckpointRow], found: Sequence[Any], known: Mapping[ValueKey, Known] = NOTHING_KNOWN
    ) -> Answer:
        """Decode an answer.

        Args:
            rows: The checkpoints that it belongs to.
            found: The secret, writes, values, and the references, lengths and bytes of elements.
            known: Values that need no rows but their own. Default: none.
        """
        secret, writes, values, *elements = found
        pending = _writes_in(writes)
        chains = {value.key: value for value in (unpack_value(*pair) for pair in pairs(values))}
        stored = None if secret is None else unpack(secret)
        return cls(pending, Parts.of(rows, pending, chains, _elements(*elements), stored, known))

    def writes(self, checkpoint: CheckpointKey) -> list[StoredWrite]:
        """Return the pending writes of a checkpoint, in LangGraph's order."""
        pending = self.pending.get(checkpoint, ())
        return sorted(pending, key=lambda write: writes_sort_key(write.task_path, write.task_id, write.write_index))


def _elements(references: bytes, lengths: bytes, data: bytes) -> dict[bytes, Typed]:
    ends = list(accumulate(map(int, lengths.split())))
    bounds = zip([0, *ends], ends, strict=False)
    return {one: unpack(data[start:end]) for one, (start, end) in zip(each_reference(references), bounds, strict=True)}


def thread_row(
    thread_id: str,
    user: bytes,
    count: int,
    created_at: bytes,
    updated_at: bytes,
    expires_at: bytes | None,
    users: Sequence[bytes],
    used_at: Sequence[bytes],
) -> ThreadRow:
    """Return a thread, as the script `describe` describes it."""
    return ThreadRow(
        thread_id,
        user.decode() or None,
        count,
        float(created_at),
        float(updated_at),
        None if expires_at is None else float(expires_at),
        {one.decode(): float(used) for one, used in zip(users, used_at, strict=True)},
    )


def row_header(header: list[Any]) -> bytes:
    """Return the beginning of a row: its header, framed."""
    return framed(ormsgpack.packb(header))


def row_parts(row: bytes) -> tuple[list[Any], bytes]:
    """Return the header of a row, and the data after it."""
    header = next(frames(row), None)
    if header is None:
        msg = "an empty row"
        raise ValueError(msg)
    return ormsgpack.unpackb(header), row[4 + len(header) :]
