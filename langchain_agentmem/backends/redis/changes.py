"""The changes in the messages of a user on Redis since the last search.

A client notes each change in a log of the user, which is in another slot than the session, before it makes the change. A
reader checks the sessions whose notes are younger than its last call, and a minute older than that, because a change may
reach its server after its note. Each session has an edition and a next position, so that only what changed is read. Except in
a cluster, one script compares the versions of several sessions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from langchain_agentmem.backends.contract import Changes, Entries, SessionChange, SessionKey, SessionVersion
from langchain_agentmem.backends.contract.changes import first_unknown, joined
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.message_rows import packed_entries
from langchain_agentmem.backends.redis.scripts import InvokeAll, InvokeEach, optional
from langchain_agentmem.backends.redis.session_keys import LUA, invoke, owner_index, session_keys
from langchain_agentmem.programs import Program

_SESSIONS_AT_ONCE = 200

_FEW = 20
"""Up to this number of sessions are read without a check before: a check takes a round trip."""

_SAME = ord("0")
"""The answer of the script `changed` for a session that has not changed."""


@dataclass(frozen=True)
class Known:
    """The state that a reader has: the cursor."""

    read_at: int | None = None
    """The time of the last call, on the server's clock; None before the first call."""
    sessions: Mapping[str, SessionVersion] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    """The first keys of sessions that were checked. All cursors of a reader share them."""


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
    current = dict(known.sessions)
    read_at = None
    names = [session_id or ""]
    if session_id is None:
        read_at, names = yield from _named(owner_index(tenant, user_id), known)
        names = yield from _unlike(tenant, user_id, names, known)
    changed: list[SessionChange] = []
    parts: list[Entries] = []
    for start in range(0, len(names), _SESSIONS_AT_ONCE):
        some = names[start : start + _SESSIONS_AT_ONCE]
        steps = []
        for name in some:
            version = current.get(name)
            arguments = ("", 0) if version is None else (version.edition, version.next_position)
            steps.append(invoke("changes", SessionKey(tenant, user_id, name), (*arguments, int(vectors))))
        for name, answer in zip(some, (yield from InvokeAll(steps)), strict=True):
            former = current.pop(name, None)
            if answer is None:
                continue
            edition, following, expires, first, *found = answer
            expires_at = None if expires is None else float(expires)
            version = current[name] = SessionVersion(edition.decode(), int(following), expires_at)
            if first_unknown(former, version) is not None:
                own = packed_entries(int(first), *found)
                changed.append(SessionChange(name, version, int(first), own.size))
                parts.append(own)
    gone = [one for one in known.sessions if one not in current]
    return Changes(Known(read_at, current, known.keys), changed, gone, joined(parts))


def _named(index: str, known: Known) -> Program[tuple[int, list[str]]]:
    """Return the time of this call, and the IDs of the sessions that may have changed."""
    found = yield from indexes.changed(index, known.read_at)
    if not found.are_all and found.total < len(known.sessions):  # sessions were removed
        found = yield from indexes.changed(index, None)
    names = [member.decode() for member in found.found if member]
    if found.are_all:
        names = list(dict.fromkeys([*names, *known.sessions]))
    return found.read_at, names


def _unlike(tenant: str, user_id: str | None, names: list[str], known: Known) -> Program[list[str]]:
    """Return the IDs of sessions without those that have not changed."""
    checked = [(name, version) for name in names if (version := known.sessions.get(name)) is not None]
    if len(checked) <= _FEW:
        return names
    keys, arguments = [], []
    for name, (edition, following, expires_at) in checked:
        key = known.keys.get(name)
        if key is None:
            key = known.keys[name] = session_keys(SessionKey(tenant, user_id, name))[0]
        keys.append(key)
        arguments.append(f"{edition} {following} {optional(expires_at)}")
    answers = yield from InvokeEach(LUA["changed"], keys, arguments)
    same = {name for (name, _), answer in zip(checked, answers, strict=True) if answer == _SAME}
    return [name for name in names if name not in same]
