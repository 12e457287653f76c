"""The record table on Redis: one sorted set for each session, and one index for each user. See records.lua."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import ormsgpack

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract import (
    RecordQuery,
    RecordRow,
    SessionKey,
    StatisticsQuery,
    Tally,
    session_of,
    time_of_record,
)
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, framed, frames, load_scripts, optional, slot
from langchain_agentmem.backends.redis.session_keys import (
    check_schedule,
    expiry_schedule,
    identity_of,
    invoke,
    listed,
    owner_index,
    owners_index,
    session_slot,
    variable_schedule,
)
from langchain_agentmem.programs import Program, storage_program

LUA = load_scripts("records.lua", "a user's records")

_ID = 36
_REFERENCE, _ENDING, _LASTING = b"s", b"e", b"-"
_AT_ONCE = 500
"""The maximum number of records that one script returns, and of scripts in one round trip."""
_IN_MEMORY = 20_000
"""The maximum number of records that one round trip returns."""


class _Source(NamedTuple):
    """A sorted set of records: the index of a user, or the records of a session."""

    user_id: str | None
    session: SessionKey | None
    keys: Sequence[str]


class _Member(NamedTuple):
    """A member that was read."""

    id: str
    source: _Source
    data: bytes

    @property
    def session_id(self) -> str | None:
        """The session of the record; None if it has none."""
        if self.source.session is not None:
            return self.source.session.session_id
        return _rest_of(self.data).decode() if self.is_reference else None

    @property
    def is_reference(self) -> bool:
        """True if the record is in the slot of its session."""
        return self.data[_ID : _ID + 1] == _REFERENCE

    def row(self, data: bytes) -> RecordRow:
        """Return the record in the data of a member."""
        agent, status = _names_in(data)
        started_at, duration, created_at, record = ormsgpack.unpackb(_rest_of(data))
        ends = data[_ID : _ID + 1] == _ENDING
        known = (self.id, self.source.user_id, self.session_id, agent, status)
        return RecordRow(*known, started_at, duration, created_at, record, ends)


class RedisRecords:
    """Records on Redis. See `langchain_agentmem.backends.contract.RecordTable`."""

    @storage_program
    def add(self, tenant: str, row: RecordRow, ttl: float | None, sliding: bool, now: float) -> Program[None]:
        steps, member = restore_steps(tenant, row)
        key = session_of(tenant, row)
        if key is not None:
            steps = [*listed(key, now, ttl), *steps]
            arguments = (optional(now), identity_of(key), optional(ttl), int(sliding), member)
            steps.append(invoke("add_record", key, arguments))
        yield from InvokeAll(steps)

    @storage_program
    def query(self, query: RecordQuery, now: float) -> Program[list[RecordRow]]:
        sources = yield from self._sources(query)
        found: list[RecordRow] = []
        while len(found) < query.limit:
            wanted = min(query.limit - len(found), _AT_ONCE)
            members = yield from _merged(sources, query._replace(limit=wanted), now)
            found += yield from _rows_of(query.tenant, members, now)
            if len(members) < wanted:
                break
            last = members[-1].id
            query = query._replace(below=last) if query.newest_first else query._replace(above=last)
        return found

    @storage_program
    def count(self, tenant: str, user_id: str | Omitted | None) -> Program[int]:
        total = 0
        users = yield from _users(tenant, user_id)
        for some in _chunks(users, _AT_ONCE):
            total += sum((yield from InvokeAll([Invoke(LUA["count"], (_index(tenant, user),)) for user in some])))
        return total

    @storage_program
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        found: list[str] = []
        users = [user for user in (yield from _users(tenant, OMITTED)) if user is not None]
        for some in _chunks(users, _AT_ONCE):
            sources = [_Source(user, None, (_index(tenant, user),)) for user in some]
            members = yield from _read(sources, RecordQuery(tenant, newest_first=False, limit=1), now)
            outside = {member.source.user_id for member in members if not member.is_reference}
            for user in some:  # the session of a reference may have expired
                found += (
                    [user]
                    if user in outside or (yield from self.query(RecordQuery(tenant, user_id=user, limit=1), now))
                    else []
                )
        return found

    @storage_program
    def purge(self, tenant: str, user_id: str, now: float) -> Program[None]:
        """Remove a user without records from the index of users."""
        if not (yield from Invoke(LUA["count"], (_index(tenant, user_id),))):
            yield from _heal_owners(tenant, [(user_id, now)])

    @storage_program
    def delete(self, tenant: str, rows: Sequence[RecordRow]) -> Program[int]:
        return (yield from _delete(tenant, [(row.user_id, row.session_id, row.id) for row in rows]))

    @storage_program
    def prune(self, tenant: str, user_id: str | Omitted | None, below: str | None, limit: int) -> Program[int]:
        deleted = 0
        users = yield from _users(tenant, user_id)
        sources = [_Source(user, None, (_index(tenant, user),)) for user in users]
        for some in _chunks(sources, max(1, _IN_MEMORY // min(limit, _AT_ONCE))):
            query = RecordQuery(tenant, below=below, newest_first=False, limit=min(limit - deleted, _AT_ONCE))
            members = yield from _merged(some, query, 0.0)
            deleted += yield from _delete(tenant, [(one.source.user_id, one.session_id, one.id) for one in members])
            if deleted >= limit:
                break
        return deleted

    def tally(self, query: StatisticsQuery, tally: Tally) -> Program[None]:
        """Count the records without a session."""

        def visit(users: Sequence[str]) -> Program[None]:
            bounds = dict.fromkeys(users, b"-")
            while bounds:
                steps = [
                    Invoke(LUA["tally"], (_index(query.tenant, user),), (bound,)) for user, bound in bounds.items()
                ]
                answers = yield from InvokeAll(steps)
                for user, (_, count, agents) in zip(bounds, answers, strict=True):
                    tally.add("records", count)
                    tally.use(users=[user] if count else [], agents=[agent.decode() for agent in agents])
                bounds = {user: bound for user, (bound, *_) in zip(bounds, answers, strict=True) if bound}

        yield from indexes.each(record_owners(query.tenant), visit)

    def _sources(self, query: RecordQuery) -> Program[list[_Source]]:
        """Return the sorted sets that may contain the records of a query."""
        users = yield from _users(query.tenant, query.user_id)
        if query.session_id is None:
            return [_Source(user, None, (_index(query.tenant, user),)) for user in users]
        keys = [SessionKey(query.tenant, user, query.session_id) for user in users]
        return [_Source(key.user_id, key, _session_keys(key)) for key in keys]


def restore_steps(tenant: str, row: RecordRow) -> tuple[list[Invoke], bytes]:
    """Return the calls that list a record, or store one without session; and its member of the session's records."""
    data = ormsgpack.packb((row.started_at, row.duration, row.created_at, row.record))
    steps = [indexes.enlist(record_owners(tenant), row.user_id or "", row.created_at)]
    member = _member(row, _ENDING if row.ends_with_session else _LASTING, data)
    key = session_of(tenant, row)
    if key is None:
        return [*steps, _refer(tenant, row.user_id, None, _member(row, _LASTING, data))], member
    return [*steps, _refer(tenant, row.user_id, key, _member(row, _REFERENCE, key.session_id.encode()))], member


def delete_references(key: SessionKey, ids: Sequence[str]) -> Program[None]:
    """Delete the references to records of a session that were deleted.

    Args:
        key: The session.
        ids: The IDs of the records.
    """
    if ids:
        yield from _delete(key.tenant, [(key.user_id, key.session_id, one) for one in ids])


def delisted(key: SessionKey, used: float, timeout: float) -> Program[None]:
    """Remove a deleted session from all indexes, unless it was used again.

    Args:
        key: The session.
        used: The time of its last use.
        timeout: Its timeout in seconds; zero if it was never open with one.
    """
    left, *_ = yield from InvokeAll(
        [
            indexes.heal(owner_index(key.tenant, key.user_id), [(key.session_id, used)]),
            indexes.reschedule(expiry_schedule(key.tenant), [(identity_of(key), "")]),
            indexes.reschedule(variable_schedule(key.tenant), [(identity_of(key), "")]),
            indexes.heal(check_schedule(key.tenant), [(identity_of(key), used + timeout)]),
        ]
    )
    if not left:
        yield from indexes.heal(owners_index(key.tenant), [(key.user_id or "", used)])
    yield from forget_sessions(key.tenant, [key], used)


def forget_sessions(tenant: str, keys: Sequence[SessionKey], now: float) -> Program[None]:
    """Delete all references to the records of sessions that were deleted.

    Args:
        tenant: The tenant.
        keys: The sessions.
        now: The time of their last use, or a later one.
    """
    steps = [Invoke(LUA["forget_session"], (_index(tenant, key.user_id), _references(key))) for key in keys]
    left = yield from InvokeAll(steps)
    yield from _heal_owners(tenant, [(key.user_id, now) for key, count in zip(keys, left, strict=True) if not count])


def _users(tenant: str, user_id: str | Omitted | None) -> Program[list[str | None]]:
    """Return the users whose records are read, and None for nobody."""
    if user_id is not OMITTED:
        return [user_id]
    return [member.decode() or None for member in (yield from indexes.members(record_owners(tenant)))]


def _merged(sources: Sequence[_Source], query: RecordQuery, now: float) -> Program[list[_Member]]:
    """Return the first `query.limit` members of several sources, in the order of the query."""
    best: list[_Member] = []
    for some in _chunks(sources, max(1, min(_AT_ONCE, _IN_MEMORY // query.limit))):
        added = yield from _read(some, query, now)
        choose = heapq.nlargest if query.newest_first else heapq.nsmallest
        best = choose(query.limit, [*best, *added], key=lambda member: member.id)
        if len(best) == query.limit:  # of the other sources, only members before the last of these matter
            last = best[-1].id
            query = query._replace(above=last) if query.newest_first else query._replace(below=last)
    return best


def _read(sources: Sequence[_Source], query: RecordQuery, now: float) -> Program[list[_Member]]:
    """Return the first `query.limit` members of each source."""
    first, last = _bounds(query)
    found: list[list[_Member]] = [[] for _ in sources]
    pending: dict[int, str | bytes] = dict.fromkeys(range(len(sources)), first)
    while pending:
        filters = (last, int(query.newest_first), _filter_for(query.agent), _filter_for(query.status))
        steps = [
            Invoke(LUA["find"], sources[at].keys, (optional(now), bound, *filters, query.limit - len(found[at])))
            for at, bound in pending.items()
        ]
        answers = yield from InvokeAll(steps)
        for at, (bound, *members) in zip([*pending], answers, strict=True):
            found[at] += [_Member(one[:_ID].decode(), sources[at], one) for one in members]
            if bound and len(found[at]) < query.limit:
                pending[at] = bound
            else:
                del pending[at]
    return [member for members in found for member in members]


def _rows_of(tenant: str, members: Sequence[_Member], now: float) -> Program[list[RecordRow]]:
    """Return the records of members. Remove old references whose records are gone."""
    references: dict[SessionKey, list[_Member]] = {}
    for member in members:
        if member.is_reference and member.session_id is not None:
            key = SessionKey(tenant, member.source.user_id, member.session_id)
            references.setdefault(key, []).append(member)
    steps = [
        Invoke(LUA["rows"], _session_keys(key), (optional(now), *(one.id for one in own)))
        for key, own in references.items()
    ]
    stored = {member.id: member.data for member in members if not member.is_reference}
    if steps:
        stored |= {data[:_ID].decode(): data for answer in (yield from InvokeAll(steps)) for data in answer}
    gone = [
        (one.source.user_id, one.session_id, one.id)
        for one in members
        if one.id not in stored and time_of_record(one.id) < now - indexes.GRACE_SECONDS
    ]
    if gone:
        yield from _delete(tenant, gone)
    return [member.row(stored[member.id]) for member in members if member.id in stored]


def _delete(tenant: str, rows: Iterable[tuple[str | None, str | None, str]]) -> Program[int]:
    """Delete records by user, session and ID, and return their number."""
    groups: dict[tuple[str | None, str | None], list[str]] = {}
    for user_id, session_id, id_ in rows:
        groups.setdefault((user_id, session_id), []).append(id_)
    steps = []
    for (user_id, session_id), ids in groups.items():
        index = _index(tenant, user_id)
        if session_id is None:
            steps += [Invoke(LUA["delete"], (index,), ids)]
        else:
            key = SessionKey(tenant, user_id, session_id)
            steps += [
                Invoke(LUA["delete"], _session_keys(key)[:1], ids),
                Invoke(LUA["delete"], (index, _references(key)), ids),
            ]
    answers = yield from InvokeAll(steps)
    removed = 0
    idle = []
    of_index = [answer for step, answer in zip(steps, answers, strict=True) if step.keys[0].endswith(_INDEX)]
    for ((user_id, _), ids), (count, left) in zip(groups.items(), of_index, strict=True):
        removed += count
        if not left:
            idle.append((user_id, max(map(time_of_record, ids))))
    yield from _heal_owners(tenant, idle)
    return removed


def _heal_owners(tenant: str, idle: Sequence[tuple[str | None, float]]) -> Program[None]:
    """Remove users without records from the index of users, unless they have been used since."""
    if idle:
        yield from indexes.heal(record_owners(tenant), [(user_id or "", used) for user_id, used in idle])


def _bounds(query: RecordQuery) -> tuple[str | bytes, str | bytes]:
    """Return the first and the last bound of a query, in the syntax of ZRANGEBYLEX."""
    low: str | bytes = "-" if query.lowest is None else f"[{query.lowest}"
    if query.above is not None and query.above >= (query.lowest or ""):
        low = f"({query.above}".encode() + b"\xff"
    high = "+" if query.below is None else f"({query.below}"
    return (high, low) if query.newest_first else (low, high)


def _member(row: RecordRow, kind: bytes, rest: bytes) -> bytes:
    return row.id.encode() + kind + framed(row.agent.encode()) + framed(row.status.encode()) + rest


def _names_in(data: bytes) -> tuple[str, str]:
    every: Iterator[bytes] = frames(data[_ID + 1 :])
    return next(every).decode(), next(every).decode()


def _rest_of(data: bytes) -> bytes:
    every = frames(data[_ID + 1 :])
    return data[_ID + 9 + len(next(every)) + len(next(every)) :]


def _refer(tenant: str, user_id: str | None, key: SessionKey | None, member: bytes) -> Invoke:
    index = _index(tenant, user_id)
    return Invoke(LUA["refer"], (index,) if key is None else (index, _references(key)), (member,))


_INDEX = "records:all"


def _index(tenant: str, user_id: str | None) -> str:
    """Return the index of a user's records."""
    return slot("records", tenant, user_id or "") + _INDEX


def _references(key: SessionKey) -> str:
    """Return the set of the references to a session's records."""
    return slot("records", key.tenant, key.user_id or "") + f"records:of:{digest_of_ids(key.session_id).hex()}"


def _session_keys(key: SessionKey) -> tuple[str, str]:
    """Return the records of a session, and its hash."""
    prefix = session_slot(key)
    return prefix + "records", prefix + "session"


def record_owners(tenant: str) -> str:
    """Return the index of the users with records. The empty string means nobody."""
    return slot("tenant", tenant) + "record-owners"


def _filter_for(name: str | None) -> str:
    """Return the filter that scripts take."""
    return "*" if name is None else f"={name}"


def _chunks(several: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (several[start : start + size] for start in range(0, len(several), size))
