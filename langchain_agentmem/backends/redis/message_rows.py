"""Messages as bytes: the arguments and results of the message log's scripts."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import ormsgpack

from langchain_agentmem.backends.contract import Entries, MessageRow, SessionKey, SessionRow
from langchain_agentmem.backends.contract.changes import packed_columns
from langchain_agentmem.backends.redis.scripts import framed
from langchain_agentmem.encoding.references import Typed

_HEADER = struct.Struct(">dI")
_LENGTH = struct.Struct(">I")
_STORED_POSITION = struct.Struct("<d")


def pack_message(row: MessageRow) -> bytes:
    """Return a message as it is stored."""
    return ormsgpack.packb((row.role, row.agent, row.ends_with_session, row.created_at, row.metadata, *row.body))


def pack_entry(row: MessageRow) -> bytes:
    """Return the search entry of a message: a header and its words."""
    return framed(ormsgpack.packb((row.role, row.agent, row.created_at))) + (row.words or b"")


def message_rows(records: bytes) -> list[MessageRow]:
    """Return the messages in records that a script returned."""
    rows = []
    at = 0
    while at < len(records):
        position, length = _HEADER.unpack_from(records, at)
        at += _HEADER.size + length
        role, agent, ends_with_session, created_at, metadata, type_, body = ormsgpack.unpackb(records[at - length : at])
        rows.append(MessageRow(int(position), role, agent, ends_with_session, created_at, metadata, Typed(type_, body)))
    return rows


def packed_entries(first: int, positions: bytes, lengths: bytes, entries: bytes, logs: Sequence[Any]) -> Entries:
    """Return the search entries of a session in packed columns.

    Args:
        first: The position of the first message that is wanted.
        positions: The positions of the messages.
        lengths: The lengths of their entries.
        entries: Their entries.
        logs: Pairs of a width and a log of vectors.
    """
    import numpy as np

    found = np.fromiter(map(int, positions.split()), dtype="<i8")
    ends = np.cumsum(np.fromiter(map(int, lengths.split()), dtype=np.int64))
    order = np.argsort(found, kind="stable")
    order = order[found[order] >= first]
    roles, agents, times, words = [], [], [], []
    for end, start in zip(ends[order].tolist(), np.concatenate([[0], ends])[order].tolist(), strict=True):
        (length,) = _LENGTH.unpack_from(entries, start)
        middle = start + _LENGTH.size + length
        role, agent, created_at = ormsgpack.unpackb(entries[start + _LENGTH.size : middle])
        roles.append(role)
        agents.append(agent)
        times.append(created_at)
        words.append(entries[middle:end])
    wanted = found[order]
    packed = packed_columns(wanted.tolist(), roles, agents, times, words, [], {})
    if len(logs) == 2:  # vectors of one model, of each message and in order: one block without their positions
        width = int(logs[0])
        records = np.frombuffer(logs[1], dtype=np.dtype([("position", "<f8"), ("vector", f"V{width}")]))
        if len(records) == len(wanted) and (records["position"] == wanted).all():
            sizes = np.full(len(wanted), width, dtype="<i4").tobytes()
            return packed._replace(vectors=records["vector"].tobytes(), vector_sizes=sizes)
    by_position = vectors_in(logs)
    vectors = [by_position.get(at) for at in wanted.tolist()]
    sizes = np.array([len(one or b"") for one in vectors], dtype="<i4").tobytes()
    return packed._replace(vectors=b"".join([one for one in vectors if one is not None]), vector_sizes=sizes)


def vectors_in(logs: Sequence[Any]) -> dict[int, bytes]:
    """Return the vectors in logs by position.

    Args:
        logs: Pairs of a width and a log.
    """
    return {
        int(_STORED_POSITION.unpack_from(log, at)[0]): log[at + 8 : at + 8 + width]
        for width, log in zip(logs[::2], logs[1::2], strict=True)
        for at in range(0, len(log), 8 + width)
    }


def session_row(key: SessionKey, described: Sequence[Any]) -> SessionRow:
    """Return a session, as the script `describe` describes it."""
    title, count, created_at, updated_at, expires_at, metadata, head, *summaries = described
    return SessionRow(
        key,
        None if title is None else title.decode(),
        int(count),
        float(created_at),
        float(updated_at),
        None if expires_at is None else float(expires_at),
        [one.decode() for one in summaries if one],
        None if metadata is None else metadata.decode(),
        head,
    )
