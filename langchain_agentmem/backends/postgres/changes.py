"""The changes in the messages of a user in Postgres since the last search.

Transactions commit in another order than they begin. Each changed session has the ID of the transaction that changed it, and
a reader continues at the oldest transaction that was running when it read: it reads sessions twice rather than never.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from langchain_agentmem.backends.contract.changes import Changes, Entries, SessionChange, SessionVersion, first_unknown
from langchain_agentmem.encoding.references import Typed

_SENT = 64
"""The number of known versions that a reader sends: those of the sessions that changed last."""


class KnownSession(NamedTuple):
    """A session that a reader knows."""

    place: bytes
    version: SessionVersion


@dataclass(frozen=True)
class Known:
    """The state that a reader has: the cursor."""

    since: str | None = None
    """The ID of a transaction; None before the first call."""
    sessions: dict[str, KnownSession] = field(default_factory=dict)
    """The sessions by ID. Those that changed last are the last."""
    newest: int = 0
    """The greatest number of a session."""


class _Part(NamedTuple):
    """A row of the statement `changes`, without the columns that all rows have."""

    number: int
    session_id: str
    place: bytes
    edition: str
    next_position: int
    expires_at: float | None
    first: int
    size: int | None
    positions: bytes
    times: bytes
    roles: str
    agents: str | None
    word_sizes: bytes
    words: bytes | None
    vector_sizes: bytes | None
    vectors: bytes | None
    types: str | None
    body_sizes: bytes | None
    bodies: bytes | None


def parameters_of(known: Known) -> dict[str, Any]:
    """Return the parameters of the statement `changes` that depend on what the reader knows."""
    sent = list(islice(reversed(known.sessions.values()), _SENT))
    return {
        "cursor": known.since,
        "known": len(known.sessions),
        "newest": known.newest,
        "places": [one.place for one in sent],
        "editions": [one.version.edition for one in sent],
        "positions": [one.version.next_position for one in sent],
    }


def changes_in(rows: Sequence[Sequence[Any]], known: Known) -> Changes:
    """Return what changed, from the rows of the statement `changes`.

    Args:
        rows: The rows, at least one.
        known: The result of the reader's last call.
    """
    since, number, present, *_ = rows[0]
    gone: list[str] = []
    current = dict(known.sessions)
    if present is not None or not number:
        stored = set(json.loads(present or "[]"))
        gone = [one for one in current if one not in stored]
        for one in gone:
            del current[one]
    by_session: dict[str, list[_Part]] = {}
    for row in rows:
        if row[3] is not None:
            part = _Part(*row[3:])
            by_session.setdefault(part.session_id, []).append(part)
    changed: list[SessionChange] = []
    parts: list[_Part] = []
    newest = known.newest
    for session_id, own in by_session.items():
        latest = own[0]
        version = SessionVersion(latest.edition, latest.next_position, latest.expires_at)
        former = current.pop(session_id, None)
        current[session_id] = KnownSession(bytes(latest.place), version)
        newest = max(newest, latest.number)
        if first_unknown(former.version if former else None, version) is not None:
            filled = [part for part in own if part.size]
            changed.append(SessionChange(session_id, version, latest.first, sum(part.size or 0 for part in filled)))
            parts += filled
    return Changes(Known(since, current, newest), changed, gone, _joined(parts))


def _joined(parts: Sequence[_Part]) -> Entries:
    import numpy as np

    def numbers(columns: Iterator[bytes], stored: str, wanted: str) -> bytes:
        return np.frombuffer(b"".join(columns), dtype=stored).astype(wanted).tobytes()

    if not parts:
        return Entries()
    agents: list[str | None] = []
    bodies: dict[int, Typed] = {}
    first = 0
    for part in parts:
        size = part.size or 0
        agents += json.loads(part.agents) if part.agents else [None] * size
        lacking = np.flatnonzero(np.frombuffer(part.word_sizes, dtype=">i4") < 0) + first if part.bodies else ()
        at = 0
        for row, kind, length in zip(lacking, json.loads(part.types or "[]"), _sizes(part.body_sizes), strict=False):
            bodies[int(row)] = Typed(kind, (part.bodies or b"")[at : at + length])
            at += length
        first += size
    return Entries(
        numbers((part.positions for part in parts), ">i8", "<i8"),
        numbers((part.times for part in parts), ">f8", "<f8"),
        [role for part in parts for role in json.loads(part.roles)],
        agents,
        numbers((part.word_sizes for part in parts), ">i4", "<i4"),
        b"".join([part.words or b"" for part in parts]),
        numbers((part.vector_sizes or bytes(4 * (part.size or 0)) for part in parts), ">i4", "<i4"),
        b"".join([part.vectors or b"" for part in parts]),
        bodies,
    )


def _sizes(packed: bytes | None) -> list[int]:
    import numpy as np

    return list(map(int, np.frombuffer(packed or b"", dtype=">i4")))
