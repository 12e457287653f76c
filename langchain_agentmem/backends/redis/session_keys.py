"""The scripts and keys of sessions, and the indexes that list sessions."""

from __future__ import annotations

from typing import Any

import ormsgpack

from langchain_agentmem.backends.contract import HeadSwap, SessionKey
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, load_scripts, slot
from langchain_agentmem.programs import Program

LUA = {
    **load_scripts("history.lua", "a session"),
    **load_scripts("edits.lua", "a session", "history.lua"),
    **load_scripts("sessions.lua", "a session", "history.lua"),
    **load_scripts("session_variables.lua", "a session", "history.lua", "sessions.lua", "variables.lua"),
}

_KEYS = ("session", "messages", "index", "tokens", "words", "vectors", "tokens:old", "records", "variables", "ids")


def invoke(name: str, key: SessionKey, arguments: Any) -> Invoke:
    """Run a script on the keys of a session."""
    return Invoke(LUA[name], session_keys(key), arguments)


def session_keys(key: SessionKey) -> list[str]:
    """Return the keys of a session."""
    prefix = session_slot(key)
    return [prefix + part for part in _KEYS]


def session_slot(key: SessionKey) -> str:
    """Return the prefix of a session's keys."""
    return slot("session", key.tenant, key.user_id or "", key.session_id)


def user_slot(tenant: str, user_id: str | None) -> str:
    """Return the prefix of the keys of a user, or of nobody."""
    return slot("sessions", tenant, user_id or "")


def listed(key: SessionKey, now: float, ttl: float | None) -> list[Invoke]:
    """Return the calls that list a session, which come before those that write it.

    Args:
        key: The session.
        now: The time of its use.
        ttl: The session's TTL in seconds; None for none.
    """
    steps = [
        indexes.enlist(owners_index(key.tenant), key.user_id or "", now),
        indexes.enlist_changed(owner_index(key.tenant, key.user_id), key.session_id, now),
    ]
    if ttl is not None:
        steps.append(indexes.schedule(expiry_schedule(key.tenant), identity_of(key), now + ttl))
    return steps


def edited(name: str, key: SessionKey, arguments: Any) -> Program[Any]:
    """Run a script that changes the messages of a session in another way than by an addition, and return its result."""
    _, result = yield from InvokeAll(edit_steps(name, key, arguments))
    return result


def edit_steps(name: str, key: SessionKey, arguments: Any) -> list[Invoke]:
    """Return the calls that note a change of a session, and that run the script which makes it."""
    return [note_edit(key), invoke(name, key, arguments)]


def note_edit(key: SessionKey) -> Invoke:
    """Return the call that notes a change of a session, which comes before the one that makes it."""
    return indexes.note_change(owner_index(key.tenant, key.user_id), key.session_id)


def swapped_head(head: HeadSwap | None) -> tuple[int, bytes, bytes]:
    """Return a change of a session's head as arguments of scripts: 1, the expected head, and the new one; 0 for no change."""
    return (0, b"", b"") if head is None else (1, head.expected or b"", head.head)


def owner_index(tenant: str, user_id: str | None) -> str:
    """Return the index of a user's sessions."""
    return user_slot(tenant, user_id) + "sessions"


def owners_index(tenant: str) -> str:
    """Return the index of the users with sessions. The empty string means nobody."""
    return slot("tenant", tenant) + "owners"


def expiry_schedule(tenant: str) -> str:
    """Return the schedule of the sessions that have a TTL."""
    return slot("tenant", tenant) + "expiring-sessions"


def variable_schedule(tenant: str) -> str:
    """Return the schedule of the hashes with variables that have a TTL."""
    return slot("tenant", tenant) + "expiring-variables"


def check_schedule(tenant: str) -> str:
    """Return the schedule of the open sessions that have a timeout."""
    return slot("tenant", tenant) + "open-sessions"


def identity_of(key: SessionKey) -> bytes:
    """Return a session's key as one byte string."""
    return ormsgpack.packb(tuple(key))
