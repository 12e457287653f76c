"""The scripts and keys of sessions, and the indexes that list sessions."""

from __future__ import annotations

from typing import Any

import ormsgpack

from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.backends.redis.scripts import Invoke, load_scripts, slot

LUA = {
    **load_scripts("history.lua", "a session"),
    **load_scripts("sessions.lua", "a session", base="history.lua"),
}

_KEYS = ("session", "messages", "index", "tokens", "words", "vectors", "tokens:old", "records")


def invoke(name: str, key: SessionKey, arguments: Any) -> Invoke:
    """Run a script on the keys of a session."""
    prefix = session_slot(key)
    return Invoke(LUA[name], [prefix + part for part in _KEYS], arguments)


def session_slot(key: SessionKey) -> str:
    """Return the prefix of a session's keys."""
    return slot("session", key.tenant, key.user_id or "", key.session_id)


def owner_index(tenant: str, user_id: str | None) -> str:
    """Return the index of a user's sessions."""
    return slot("sessions", tenant, user_id or "") + "sessions"


def owners_index(tenant: str) -> str:
    """Return the index of the users with sessions. The empty string means nobody."""
    return slot("tenant", tenant) + "owners"


def expiry_schedule(tenant: str) -> str:
    """Return the schedule of the sessions that have a TTL."""
    return slot("tenant", tenant) + "expiring-sessions"


def identity_of(key: SessionKey) -> bytes:
    """Return a session's key as one byte string."""
    return ormsgpack.packb(tuple(key))
