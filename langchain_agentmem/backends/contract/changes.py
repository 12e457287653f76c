"""The changes in the messages of a user since the last search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from langchain_agentmem.encoding.references import Typed


class SessionVersion(NamedTuple):
    """The version of a session's messages."""

    edition: Any
    """A value that changes with each change that is not an addition at the end."""
    next_position: int
    """The position of the next message."""
    expires_at: float | None


class Entries(NamedTuple):
    """Messages as searches see them, in packed columns: one session after the other. Those of a session are in any order."""

    positions: bytes = b""
    """Little-endian integers of 64 bits."""
    times: bytes = b""
    """`MessageRow.created_at`: little-endian float64."""
    roles: Sequence[str] = ()
    agents: Sequence[str | None] = ()
    word_sizes: bytes = b""
    """The numbers of bytes of the messages' words: little-endian integers of 32 bits. -1: the message has no words."""
    words: bytes = b""
    """The words of all messages; see `MessageRow.words`."""
    vector_sizes: bytes = b""
    """The numbers of bytes of the messages' vectors; 0 for a message without a vector."""
    vectors: bytes = b""
    """The vectors of all messages."""
    bodies: Mapping[int, Typed] = {}
    """The contents of the messages without words, by row: early versions stored no words."""

    @property
    def size(self) -> int:
        """The number of messages."""
        return len(self.roles)


class SessionChange(NamedTuple):
    """A session that changed."""

    session_id: str
    version: SessionVersion
    first: int
    """`Changes.entries` contain the session's messages from this position on. Messages before it did not change; a session
    that was edited is read again from position 0."""
    size: int
    """The number of these messages."""


class Changes(NamedTuple):
    """The result of `MessageLog.changes`."""

    cursor: Any
    """The state that was read. The next call returns what changed since."""
    sessions: Sequence[SessionChange]
    """The sessions that are new or changed, in the order of their `entries`."""
    gone: Sequence[str]
    """The IDs of sessions that were deleted."""
    entries: Entries


EntryRow = tuple[int, str, "str | None", float, "bytes | None", "bytes | None", "Typed | None"]
"""A message: position, role, agent, time, words, vector; its content if it has no words."""


def packed(rows: Iterable[Sequence[Any]]) -> Entries:
    """Return messages in packed columns.

    Args:
        rows: The messages; see `EntryRow`.
    """
    every = list(rows)
    if not every:
        return Entries()
    positions, roles, agents, times, words, vectors, contents = zip(*every, strict=True)
    bodies = {at: body for at, body in enumerate(contents) if body is not None}
    return packed_columns(positions, roles, agents, times, words, vectors, bodies)


def packed_columns(
    positions: Sequence[int],
    roles: Sequence[str],
    agents: Sequence[str | None],
    times: Sequence[float],
    words: Sequence[bytes | None],
    vectors: Sequence[bytes | None],
    bodies: Mapping[int, Typed],
) -> Entries:
    """Return messages in packed columns.

    Args:
        positions: The positions of the messages.
        roles: Their roles, as for the other arguments: one element for each message.
        agents: See `roles`.
        times: See `roles`.
        words: See `roles`.
        vectors: See `roles`.
        bodies: The contents of messages without words, by row.
    """
    import numpy as np

    return Entries(
        np.array(positions, dtype="<i8").tobytes(),
        np.array(times, dtype="<f8").tobytes(),
        roles,
        agents,
        *_joined_column(words, -1),
        *_joined_column(vectors, 0),
        {at: body for at, body in bodies.items() if words[at] is None},
    )


def _joined_column(values: Sequence[bytes | None], none: int) -> tuple[bytes, bytes]:
    """Return the sizes of byte strings, `none` for None, and all of them as one."""
    import numpy as np

    if None not in values:  # by far the most frequent case, and the faster one
        present = cast("Sequence[bytes]", values)
        return np.fromiter(map(len, present), "<i4", len(present)).tobytes(), b"".join(present)
    sizes = np.array([none if one is None else len(one) for one in values], dtype="<i4")
    return sizes.tobytes(), b"".join([one for one in values if one is not None])


def joined(parts: Sequence[Entries]) -> Entries:
    """Return packed messages as one."""
    bodies: dict[int, Typed] = {}
    first = 0
    for part in parts:
        bodies.update({first + at: body for at, body in part.bodies.items()})
        first += part.size
    return Entries(
        b"".join([part.positions for part in parts]),
        b"".join([part.times for part in parts]),
        [role for part in parts for role in part.roles],
        [agent for part in parts for agent in part.agents],
        b"".join([part.word_sizes for part in parts]),
        b"".join([part.words for part in parts]),
        b"".join([part.vector_sizes for part in parts]),
        b"".join([part.vectors for part in parts]),
        bodies,
    )


def unpacked(entries: Entries) -> Iterator[EntryRow]:
    """Yield the messages in packed columns; the inverse of `packed`."""
    import numpy as np

    positions = np.frombuffer(entries.positions, dtype="<i8").tolist()
    times = np.frombuffer(entries.times, dtype="<f8").tolist()
    word_sizes = np.frombuffer(entries.word_sizes, dtype="<i4").tolist()
    vector_sizes = np.frombuffer(entries.vector_sizes, dtype="<i4").tolist()
    word_at = vector_at = 0
    for row in range(entries.size):
        words = vector = None
        if word_sizes[row] >= 0:
            words = entries.words[word_at : word_at + word_sizes[row]]
            word_at += word_sizes[row]
        if vector_sizes[row]:
            vector = entries.vectors[vector_at : vector_at + vector_sizes[row]]
            vector_at += vector_sizes[row]
        known = (positions[row], entries.roles[row], entries.agents[row], times[row])
        yield (*known, words, vector, entries.bodies.get(row))


def first_unknown(known: SessionVersion | None, version: SessionVersion) -> int | None:
    """Return the position from which a session must be read again; None if it did not change.

    Args:
        known: The version that the reader has; None if it does not know the session.
        version: The stored version.
    """
    if known == version:
        return None
    if known is None or known.edition != version.edition or known.next_position > version.next_position:
        return 0
    return known.next_position
