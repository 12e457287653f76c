"""The changes in the messages of a user in SQLite since the last search."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from langchain_agentmem.backends.contract.changes import (
    Changes,
    Entries,
    SessionChange,
    SessionVersion,
    first_unknown,
    packed_columns,
)
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Fetch, Program

_SQL = load_statements("langchain_agentmem.backends.sqlite", "history.sql")


@dataclass(frozen=True)
class Known:
    """The state that a reader has: the cursor."""

    fingerprint: tuple[float | None, ...] = ()
    """Sums over the versions."""
    sessions: Mapping[str, SessionVersion] = field(default_factory=dict)


def changed_sessions(
    tenant: str, user_id: str | None, session_id: str | None, known: Known, vectors: bool
) -> Program[Changes]:
    """Return the sessions whose versions differ from the known ones. See `MessageLog.changes`.

    Args:
        tenant: The tenant.
        user_id: The user; None for the sessions without a user.
        session_id: The only session; None for all sessions of the user.
        known: The state that the reader has.
        vectors: If true, read the vectors as well.
    """
    parameters = {"tenant": tenant, "user_id": user_id or "", "session_id": session_id}
    (fingerprint,) = yield from Fetch(_SQL["fingerprint"], parameters)
    if fingerprint == known.fingerprint:
        return Changes(known, (), (), Entries())
    current: dict[str, SessionVersion] = {}
    changed: dict[str, tuple[int, int]] = {}  # the number of the session, and the position to read it from
    wanted = []
    for number, name, edition, following, expires_at in (yield from Fetch(_SQL["versions"], parameters)):
        former = known.sessions.get(name)
        stored = current[name] = SessionVersion(edition, following, expires_at)
        if former == stored:
            continue
        first = first_unknown(former, stored)
        if first is not None:
            changed[name] = number, first
            if first < stored.next_position:
                wanted.append((number, first))
    rows = []
    if wanted:
        rows = yield from Fetch(_SQL["entries"], {"wanted": json.dumps(wanted), "vectors": vectors})
    counts: Mapping[int, int] = {}
    gone = [name for name in known.sessions if name not in current]
    entries = Entries()
    if rows:
        numbers, positions, roles, agents, times, words, found_vectors, types, contents = zip(*rows, strict=True)
        counts = Counter(numbers)
        lacking = [at for at, kind in enumerate(types) if kind is not None] if any(types) else ()
        bodies = {at: Typed(types[at], contents[at]) for at in lacking}
        entries = packed_columns(positions, roles, agents, times, words, found_vectors, bodies)
    sessions = [
        SessionChange(name, current[name], first, counts.get(number, 0)) for name, (number, first) in changed.items()
    ]
    return Changes(Known(fingerprint, current), sessions, gone, entries)
