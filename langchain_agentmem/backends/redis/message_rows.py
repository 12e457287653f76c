"""Messages as bytes: the arguments and results of the message log's scripts."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import ormsgpack

from langchain_agentmem.backends.contract import IndexEntry, MessageRow, SessionKey, SessionRow
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


def index_entries(
    session_id: str, agent: str | None, positions: bytes, lengths: bytes, entries: bytes, logs: Sequence[Any]
) -> list[IndexEntry]:
    """Return the search entries of a session, as the script `index` returns them.

    Args:
        session_id: The ID of the session.
        agent: The agent whose messages are searched. None for all messages.
        positions: The positions of the messages.
        lengths: The lengths of their entries.
        entries: Their entries.
        logs: Pairs of a width and a log of vectors.
    """
    vectors = vectors_in(logs)
    found = []
    ends = list(accumulate(map(int, lengths.split())))
    for position, start, end in zip(map(int, positions.split()), [0, *ends], ends, strict=False):
        (length,) = _LENGTH.unpack_from(entries, start)
        middle = start + _LENGTH.size + length
        role, author, created_at = ormsgpack.unpackb(entries[start + _LENGTH.size : middle])
        if agent is None or author == agent:
            words = entries[middle:end]
            found.append(IndexEntry(session_id, position, role, created_at, words, vectors.get(position), agent=author))
    return sorted(found, key=lambda entry: entry.position)


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
    title, count, created_at, updated_at, expires_at, metadata, *summaries = described
    return SessionRow(
        key,
        None if title is None else title.decode(),
        int(count),
        float(created_at),
        float(updated_at),
        None if expires_at is None else float(expires_at),
        [one.decode() for one in summaries if one],
        None if metadata is None else metadata.decode(),
    )
