"""The message log on Redis: one stream for each session, and further keys in the same slot."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import ormsgpack

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract import (
    Append,
    Changes,
    HeadChangedError,
    HeadSwap,
    HistoryScope,
    LoggedMessage,
    LogHead,
    MessageRow,
    PositionTakenError,
    Removal,
    Replacement,
    Restoration,
    SessionKey,
    SessionRow,
    StatisticsQuery,
    StoredSummary,
    Tally,
)
from langchain_agentmem.backends.contract.statistics import one_in
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.changes import Known, changed_sessions
from langchain_agentmem.backends.redis.message_rows import (
    message_rows,
    pack_entry,
    pack_message,
    session_row,
)
from langchain_agentmem.backends.redis.records import delete_references, delisted, forget_sessions
from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, framed, optional
from langchain_agentmem.backends.redis.session_keys import (
    check_schedule,
    edit_steps,
    edited,
    expiry_schedule,
    identity_of,
    invoke,
    listed,
    owner_index,
    owners_index,
    swapped_head,
    variable_schedule,
)
from langchain_agentmem.programs import Program, storage_program
from langchain_agentmem.text.vectors import width_of

_POSITION = struct.Struct(">I")
_SESSIONS_AT_ONCE = 200
_ALL = sys.maxsize
_HEAD_CHANGED, _POSITION_TAKEN = -2, -3


class RedisMessages:
    """Messages on Redis. See `langchain_agentmem.backends.contract.MessageLog`."""

    @storage_program
    def append(self, key: SessionKey, addition: Append) -> Program[int]:
        return (yield from _added(key, addition, ("", "", "")))

    @storage_program
    def restore(self, key: SessionKey, restoration: Restoration) -> Program[int]:
        title = "" if restoration.title is None else f"={restoration.title}"
        properties = (optional(restoration.created_at), title, restoration.metadata or "")
        return (yield from _added(key, restoration.addition, properties))

    @storage_program
    def head(self, key: SessionKey, now: float) -> Program[LogHead]:
        following, head = yield from invoke("head", key, (optional(now),))
        return LogHead(int(following), head)

    @storage_program
    def swap_head(self, key: SessionKey, expected: bytes | None, head: bytes, now: float) -> Program[bool]:
        return bool((yield from invoke("swap_head", key, (optional(now), expected or b"", head))))

    @storage_program
    def window(self, key: SessionKey, agent: str | None, limit: int | None, now: float) -> Program[list[MessageRow]]:
        count = -1 if limit is None else limit
        return message_rows((yield from invoke("window", key, (optional(now), _filter_for(agent), count))))

    @storage_program
    def page(self, key: SessionKey, agent: str | None, after: int, limit: int, now: float) -> Program[list[MessageRow]]:
        return message_rows((yield from invoke("page", key, (optional(now), _filter_for(agent), after, limit))))

    @storage_program
    def count(self, key: SessionKey, agent: str | None, now: float) -> Program[int]:
        return int((yield from invoke("count", key, (optional(now), _filter_for(agent)))))

    @storage_program
    def changes(
        self, tenant: str, user_id: str | None, session_id: str | None, cursor: Any, *, vectors: bool
    ) -> Program[Changes]:
        return (yield from changed_sessions(tenant, user_id, session_id, cursor or Known(), vectors))

    @storage_program
    def rows(
        self, scope: HistoryScope, positions: Sequence[tuple[str, int]], now: float
    ) -> Program[dict[tuple[str, int], MessageRow]]:
        by_session: dict[str, list[int]] = {}
        for session_id, position in positions:
            by_session.setdefault(session_id, []).append(position)
        answers = yield from InvokeAll(
            [
                invoke("rows", SessionKey(scope.tenant, scope.user_id, session_id), (optional(now), *own))
                for session_id, own in by_session.items()
            ]
        )
        return {
            (session_id, row.position): row
            for session_id, records in zip(by_session, answers, strict=True)
            for row in message_rows(records)
        }

    @storage_program
    def summary(self, key: SessionKey, agent: str | None, now: float) -> Program[StoredSummary | None]:
        found = yield from invoke("summary", key, (optional(now), agent or ""))
        if not found or found[0] is None:
            return None
        value, revision, covers = found
        return StoredSummary(value.decode(), int(revision), None if covers is None else int(covers))

    @storage_program
    def swap_summary(
        self, key: SessionKey, agent: str | None, summary: StoredSummary, expected: int | None, now: float
    ) -> Program[bool]:
        value, revision, covers = summary
        arguments = (optional(now), agent or "", value, revision, optional(covers), optional(expected))
        return bool((yield from invoke("swap_summary", key, arguments)))

    @storage_program
    def clear(self, key: SessionKey, agent: str | None) -> Program[None]:
        yield from edited("clear", key, (_filter_for(agent),))

    @storage_program
    def end(self, key: SessionKey) -> Program[int]:
        messages, records = yield from edited("end", key, ())
        yield from delete_references(key, [one.decode() for one in records])
        return int(messages)

    @storage_program
    def remove(self, key: SessionKey, removal: Removal, now: float) -> Program[int | None]:
        arguments = [optional(now), _filter_for(removal.agent), removal.token, optional(removal.before)]
        chosen = (removal.after or b"", int(removal.ids is not None), *(removal.ids or ()))
        removed = yield from edited("remove_messages", key, [*arguments, *chosen])
        return None if removed is None else int(removed)

    @storage_program
    def replace(self, key: SessionKey, replacement: Replacement, now: float) -> Program[list[MessageRow] | None]:
        row = replacement.row
        arguments = (
            *(optional(now), _filter_for(replacement.agent), replacement.token, replacement.id_digest),
            *(int(row.role == "system"), ormsgpack.packb(row.role)),
            b"" if replacement.keeps_time else ormsgpack.packb(row.created_at),
            b"" if replacement.keeps_metadata else ormsgpack.packb(row.metadata),
            *(ormsgpack.packb(row.body.type) + ormsgpack.packb(row.body.data), row.words or b"", row.vector or b""),
            replacement.title or "",
        )
        records = yield from edited("replace", key, arguments)
        return None if records is None else message_rows(records)

    @storage_program
    def identify(self, key: SessionKey, rows: Sequence[MessageRow]) -> Program[None]:
        groups = [value for row in rows for value in (row.position, pack_message(row), row.id_digest or b"")]
        yield from invoke("identify", key, groups)

    @storage_program
    def sessions(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[SessionRow]]:
        def describe(index: str, member: bytes) -> Invoke:
            return invoke("describe", SessionKey(tenant, owners[index], member.decode()), ())

        def is_listed(found: Sequence[Any]) -> bool:
            return is_living(found, now)

        users = (yield from self._users(tenant)) if user_id is OMITTED else [user_id]
        owners = {owner_index(tenant, user): user for user in users}
        entries = yield from indexes.listing_of(list(owners), describe, is_listed, limit, offset, now)
        return [
            session_row(SessionKey(tenant, owners[index], member.decode()), found) for index, member, found in entries
        ]

    @storage_program
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        users = [user for user in (yield from self._users(tenant)) if user is not None]
        found: list[str] = []
        for start in range(0, len(users), _SESSIONS_AT_ONCE):
            some = users[start : start + _SESSIONS_AT_ONCE]
            newest = yield from InvokeAll([indexes.first(owner_index(tenant, user)) for user in some])
            keys = [SessionKey(tenant, user, one[0].decode()) for user, one in zip(some, newest, strict=True) if one]
            described = yield from InvokeAll([invoke("describe", key, ()) for key in keys])
            living = {key.user_id for key, one in zip(keys, described, strict=True) if is_living(one, now)}
            for user in (key.user_id or "" for key in keys):
                is_user = user in living or bool((yield from self.sessions(tenant, user, 1, 0, now)))
                found += [user] if is_user else []
        return found

    @storage_program
    def session_ids(self, tenant: str, user_id: str | None, after: str | None, limit: int) -> Program[list[str]]:
        ids = {one.decode() for one in (yield from indexes.members(owner_index(tenant, user_id)))}
        ids.update(key.session_id for key in (yield from self._expiring_sessions(tenant)) if key.user_id == user_id)
        return sorted(one for one in ids if one > (after or ""))[:limit]

    @storage_program
    def purge(self, tenant: str, user_id: str, now: float) -> Program[None]:
        """Remove a user's sessions that do not exist from all indexes."""
        keys = [SessionKey(tenant, user_id, one) for one in (yield from self.session_ids(tenant, user_id, None, _ALL))]
        every = [expiry_schedule(tenant), variable_schedule(tenant), check_schedule(tenant)]
        for members in (yield from indexes.members_of(every)):
            scopes = [SessionKey(*ormsgpack.unpackb(one)[:3]) for one in members]
            keys += [one for one in scopes if one.user_id == user_id and one.session_id is not None]
        keys = list(dict.fromkeys(keys))
        for start in range(0, len(keys), _SESSIONS_AT_ONCE):
            some = keys[start : start + _SESSIONS_AT_ONCE]
            described = yield from InvokeAll([invoke("describe", key, ()) for key in some])
            for key, (_, _, created_at, *_) in zip(some, described, strict=True):
                if created_at is None:
                    yield from indexes.reschedule(check_schedule(tenant), [(identity_of(key), "")])
                    yield from delisted(key, now, 0.0)
        if not (yield from indexes.heal(owner_index(tenant, user_id), [])):
            yield from indexes.heal(owners_index(tenant), [(user_id, now)])

    @storage_program
    def rename(self, key: SessionKey, title: str, now: float, head: HeadSwap | None = None) -> Program[bool]:
        return bool((yield from invoke("rename", key, (title, optional(now), *swapped_head(head)))))

    @storage_program
    def delete(self, key: SessionKey) -> Program[bool]:
        _, used, _, timeout = yield from edited("delete", key, ("",))
        if used is None:
            return False
        yield from delisted(key, float(used), float(timeout or 0))
        return True

    @storage_program
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        members = [member for member, _ in (yield from indexes.due(expiry_schedule(tenant), now, limit))]
        keys = [SessionKey(*ormsgpack.unpackb(member)) for member in members]
        states = yield from InvokeAll([invoke("delete", key, (optional(now),)) for key in keys])
        gone = [key for key, (deleted, *_) in zip(keys, states, strict=True) if deleted]
        later = [
            (member, "" if deleted else optional(expires))
            for member, (deleted, _, expires, _) in zip(members, states, strict=True)
        ]
        steps = [indexes.heal(owner_index(tenant, key.user_id), [(key.session_id, now)]) for key in gone]
        schedules = [
            indexes.reschedule(expiry_schedule(tenant), later),
            indexes.reschedule(variable_schedule(tenant), [(identity_of(key), "") for key in gone]),
        ]
        (*left, _, _) = yield from InvokeAll([*steps, *schedules])
        idle = [(key.user_id or "", now) for key, sessions in zip(gone, left, strict=True) if not sessions]
        if idle:
            yield from indexes.heal(owners_index(tenant), idle)
        yield from forget_sessions(tenant, gone, now)
        return len(gone)

    @storage_program
    def unembed(self, tenant: str, after: Any) -> Program[Any]:
        sessions, at = after or ((yield from self._sessions(tenant)), 0)
        some = sessions[at : at + _SESSIONS_AT_ONCE]
        yield from InvokeAll([step for key in some for step in edit_steps("unembed", key, ())])
        at += _SESSIONS_AT_ONCE
        return (sessions, at) if at < len(sessions) else None

    @storage_program
    def unembedded(
        self, tenant: str, dimensions: int | None, after: Any, limit: int, now: float
    ) -> Program[tuple[list[LoggedMessage], Any]]:
        sessions, at, positions = after or ((yield from self._sessions(tenant)), 0, None)
        found: list[LoggedMessage] = []
        while at < len(sessions) and len(found) < limit:
            if positions is None:
                lacking = yield from invoke("unembedded", sessions[at], (optional(now), width_of(dimensions)))
                positions = sorted(map(int, lacking.split()))
            page, positions = positions[: limit - len(found)], positions[limit - len(found) :]
            if page:
                records = yield from invoke("rows", sessions[at], (optional(now), *page))
                found += [LoggedMessage(sessions[at], row) for row in message_rows(records)]
            if not positions:
                at, positions = at + 1, None
        return found, (sessions, at, positions) if at < len(sessions) else None

    @storage_program
    def set_words(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[None]:  # noqa: ARG002
        by_session: dict[SessionKey, list[Any]] = {}
        for key, row in messages:
            by_session.setdefault(key, []).extend((row.position, pack_message(row), pack_entry(row)))
        yield from InvokeAll(
            [step for key, groups in by_session.items() for step in edit_steps("set_words", key, groups)]
        )

    @storage_program
    def embed(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[int]:  # noqa: ARG002 (each key contains it)
        by_session: dict[SessionKey, list[Any]] = {}
        for key, row in messages:
            by_session.setdefault(key, []).extend((row.position, pack_message(row), row.vector or b""))
        steps = [step for key, groups in by_session.items() for step in edit_steps("embed", key, groups)]
        return sum((yield from InvokeAll(steps))[1::2])

    def tally(self, query: StatisticsQuery, tally: Tally) -> Program[None]:
        """Count the sessions, and what they contain."""
        arguments = [optional(query.now), *map(optional, query.ends), query.omitted]

        def of_user(user: str, sessions: Sequence[str]) -> Program[None]:
            steps = [invoke("tally", SessionKey(query.tenant, user or None, one), arguments) for one in sessions]
            for period, messages, summaries, records, variables, agents in filter(None, (yield from InvokeAll(steps))):
                counts = {"sessions": 1, "messages": messages, "summaries": summaries, "records": records}
                for name, number in {**counts, "variables": sum(variables)}.items():
                    tally.add(name, number)
                tally.expire("sessions", one_in(period))
                tally.expire("variables", variables)
                tally.use(users=[user], agents=[agent.decode() for agent in agents])

        for user in (yield from self._users(query.tenant)):
            yield from indexes.each(owner_index(query.tenant, user), partial(of_user, user or ""))

    def _sessions(self, tenant: str) -> Program[list[SessionKey]]:
        """Return the keys of all sessions of a tenant, in a stable order."""
        keys = yield from self._expiring_sessions(tenant)
        users = yield from self._users(tenant, keys)
        listed = yield from indexes.members_of([owner_index(tenant, user) for user in users])
        keys.update(
            SessionKey(tenant, user, member.decode())
            for user, members in zip(users, listed, strict=True)
            for member in members
        )
        return sorted(keys, key=lambda key: (key.user_id or "", key.session_id))

    def _users(self, tenant: str, expiring: Iterable[SessionKey] | None = None) -> Program[list[str | None]]:
        """Return the users that have sessions in a tenant, and None for nobody.

        Databases of earlier versions do not list every user in the index of owners. Their sessions that expire are in
        the index of expiring sessions.
        """
        owners = [member.decode() for member in (yield from indexes.members(owners_index(tenant)))]
        if expiring is None:
            expiring = yield from self._expiring_sessions(tenant)
        return [user or None for user in {"", *owners, *(key.user_id or "" for key in expiring)}]

    def _expiring_sessions(self, tenant: str) -> Program[set[SessionKey]]:
        members = yield from indexes.members(expiry_schedule(tenant))
        return {SessionKey(*ormsgpack.unpackb(member)) for member in members}


def is_living(described: Sequence[Any], now: float) -> bool:
    """Return true if a described session exists and has not expired."""
    _, _, created_at, _, expires_at, *_ = described
    return created_at is not None and indexes.is_alive(expires_at, now)


def _added(key: SessionKey, addition: Append, properties: Sequence[Any]) -> Program[int]:
    """Add messages; with properties, only to a session without messages.

    Args:
        key: The session.
        addition: The messages.
        properties: The time at which the session was created, "=" and its title, and its metadata; empty strings for none.
    """
    now, ttl, seal = addition.now, addition.ttl, addition.seal
    arguments: list[Any] = [
        optional(now),
        identity_of(key),
        b"".join(framed(_POSITION.pack(title.position) + title.text.encode()) for title in addition.titles or ()),
        addition.agent or "",
        optional(addition.keep),
        optional(ttl),
        int(addition.sliding),
        addition.token,
        *properties,
        *((0, "", "", "") if seal is None else (1, seal.first, seal.expected or b"", seal.head)),
        optional(addition.first),
    ]
    for row in addition.rows:
        marks = ("s" if row.role == "system" else "") + ("e" if row.ends_with_session else "")
        arguments += (
            marks,
            row.agent or "",
            pack_message(row),
            pack_entry(row),
            row.vector or b"",
            row.id_digest or b"",
        )
    (*_, first) = yield from InvokeAll([*listed(key, now, ttl), invoke("append", key, arguments)])
    if int(first) == _HEAD_CHANGED:
        raise HeadChangedError
    if int(first) == _POSITION_TAKEN:
        raise PositionTakenError
    return int(first)


def _filter_for(agent: str | None) -> str:
    """Return the agent filter that scripts take."""
    return "*" if agent is None else f"={agent}"
