"""The message log on Redis: a stream for each session."""

from __future__ import annotations

import struct
from typing import Any

import ormsgpack

from langchain_agentmem.backends.contract import Append, MessageRow, SessionKey, SessionRow
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, load_scripts, optional, slot
from langchain_agentmem.codec import Typed
from langchain_agentmem.program import Program, storage_program

LUA = load_scripts("history.lua")

_HEADER = struct.Struct(">dI")


class RedisMessages:
    """See `langchain_agentmem.backends.contract.MessageLog`."""

    @storage_program
    def append(self, key: SessionKey, addition: Append) -> Program[int]:
        now, ttl = addition.now, addition.ttl
        arguments: list[Any] = [
            optional(now),
            _identity(key),
            "" if addition.title is None else f"={addition.title}",
            addition.agent or "",
            optional(addition.keep),
            optional(ttl),
            int(addition.sliding),
            addition.token,
        ]
        for row in addition.rows:
            marks = ("s" if row.role == "system" else "") + ("e" if row.ends_with_session else "")
            arguments += (marks, row.agent or "", _packed(row))
        steps = [indexes.enlist(_owner(key.tenant, key.user_id), key.session_id, now)]
        if ttl is not None:
            steps.append(indexes.schedule(_expiring(key.tenant), _identity(key), now + ttl))
        (*_, first) = yield InvokeAll([*steps, _invoke("append", key, arguments)])
        return int(first)

    @storage_program
    def window(self, key: SessionKey, agent: str | None, limit: int | None, now: float) -> Program[list[MessageRow]]:
        most = -1 if limit is None else limit
        return _rows((yield _invoke("window", key, (optional(now), _whose(agent), most))))

    @storage_program
    def page(self, key: SessionKey, agent: str | None, after: int, limit: int, now: float) -> Program[list[MessageRow]]:
        return _rows((yield _invoke("page", key, (optional(now), _whose(agent), after, limit))))

    @storage_program
    def count(self, key: SessionKey, agent: str | None, now: float) -> Program[int]:
        return int((yield _invoke("count", key, (optional(now), _whose(agent)))))

    @storage_program
    def clear(self, key: SessionKey, agent: str | None) -> Program[None]:
        yield _invoke("clear", key, (_whose(agent),))

    @storage_program
    def end(self, key: SessionKey) -> Program[int]:
        return int((yield _invoke("end", key, ())))

    @storage_program
    def sessions(
        self, tenant: str, user_id: str | None, limit: int | None, offset: int, now: float
    ) -> Program[list[SessionRow]]:
        def key_of(member: bytes) -> SessionKey:
            return SessionKey(tenant, user_id, member.decode())

        entries = yield from indexes.listing(
            _owner(tenant, user_id),
            lambda member: _invoke("describe", key_of(member), ()),
            lambda found: found[2] is not None and (found[4] is None or float(found[4]) > now),
            limit,
            offset,
            now,
        )
        return [_session(key_of(member), found) for member, found in entries]

    @storage_program
    def rename(self, key: SessionKey, title: str, now: float) -> Program[bool]:
        return bool((yield _invoke("rename", key, (title, optional(now)))))

    @storage_program
    def delete(self, key: SessionKey) -> Program[bool]:
        _, used, _ = yield _invoke("delete", key, ("",))
        if used is None:
            return False
        yield InvokeAll(
            [
                indexes.heal(_owner(key.tenant, key.user_id), [(key.session_id, float(used))]),
                indexes.reschedule(_expiring(key.tenant), [(_identity(key), "")]),
            ]
        )
        return True

    @storage_program
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        members = [member for member, _ in (yield from indexes.due(_expiring(tenant), now, limit))]
        keys = [SessionKey(*ormsgpack.unpackb(member)) for member in members]
        states = yield InvokeAll([_invoke("delete", key, (optional(now),)) for key in keys])
        gone = [key for key, (deleted, *_) in zip(keys, states, strict=True) if deleted]
        later = [
            (member, "" if deleted else optional(expires))
            for member, (deleted, _, expires) in zip(members, states, strict=True)
        ]
        steps = [indexes.heal(_owner(tenant, key.user_id), [(key.session_id, now)]) for key in gone]
        yield InvokeAll([*steps, indexes.reschedule(_expiring(tenant), later)])
        return len(gone)


def _invoke(name: str, key: SessionKey, arguments: Any) -> Invoke:
    place = slot("session", key.tenant, key.user_id or "", key.session_id)
    return Invoke(LUA[name], [place + part for part in ("session", "messages", "index", "tokens")], arguments)


def _owner(tenant: str, user_id: str | None) -> str:
    """The index of a user's sessions."""
    return slot("sessions", tenant, user_id or "") + "sessions"


def _expiring(tenant: str) -> str:
    """The index of the sessions that are to expire."""
    return slot("tenant", tenant) + "expiring-sessions"


def _identity(key: SessionKey) -> bytes:
    return ormsgpack.packb(tuple(key))


def _whose(agent: str | None) -> str:
    return "*" if agent is None else f"={agent}"


def _packed(row: MessageRow) -> bytes:
    return ormsgpack.packb((row.role, row.agent, row.ends_with_session, row.created_at, row.metadata, *row.body))


def _rows(records: bytes) -> list[MessageRow]:
    rows = []
    at = 0
    while at < len(records):
        position, length = _HEADER.unpack_from(records, at)
        at += _HEADER.size + length
        role, agent, ends_with_session, created_at, metadata, type_, body = ormsgpack.unpackb(records[at - length : at])
        rows.append(MessageRow(int(position), role, agent, ends_with_session, created_at, metadata, Typed(type_, body)))
    return rows


def _session(key: SessionKey, found: Any) -> SessionRow:
    title, count, created_at, updated_at, expires_at = found
    return SessionRow(
        key,
        None if title is None else title.decode(),
        int(count),
        float(created_at),
        float(updated_at),
        None if expires_at is None else float(expires_at),
    )
