"""Rows on Redis that were not used for a long time. The indexes are read with cursors, a few members at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.backends.contract import (
    DoomedSession,
    ItemRow,
    LoggedMessage,
    MessageRow,
    Page,
    RecordRow,
    SessionKey,
    SessionRow,
    StaleScan,
    ThreadKey,
    ThreadRow,
    VariableRow,
    VariableScope,
)
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.checkpoint_rows import thread_row
from langchain_agentmem.backends.redis.checkpoints import invoke_thread, threads_index, unlist_steps
from langchain_agentmem.backends.redis.message_rows import message_rows, pack_message, session_row
from langchain_agentmem.backends.redis.records import RedisRecords, delisted, record_owners
from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, optional
from langchain_agentmem.backends.redis.session_keys import edit_steps, edited, invoke, owner_index, owners_index
from langchain_agentmem.backends.redis.store import RedisItems, root_index
from langchain_agentmem.backends.redis.variables import LUA as VARIABLES
from langchain_agentmem.backends.redis.variables import all_of_hash, delisted_steps, hash_keys, users_index
from langchain_agentmem.programs import Program, storage_program

T = TypeVar("T")

_FIRST = b"0"
_AT_ONCE = 10
"""The number of indexes of users that are read in one round trip. An answer may have 128 members even if fewer are wanted."""
_RECORDS, _ITEMS = RedisRecords(), RedisItems()


class _Walk(NamedTuple):
    """A walk over an index of users, and over what each user has."""

    cursor: bytes | None = _FIRST
    """The cursor of the index of users; None after its last members."""
    pending: tuple[tuple[str, Any], ...] = ()
    """Users that are not finished, each with the position that was reached."""


_ALL_SESSIONS = _Walk(pending=(("", _FIRST),))
"""The walk over the sessions of all users. Databases of earlier versions do not list nobody among the users."""


class _Listed(NamedTuple):
    """A session that an index lists."""

    key: SessionKey
    used: float


class RedisStaleRows:
    """Stale rows on Redis. See `langchain_agentmem.backends.contract.StaleRows`."""

    @storage_program
    def sessions(self, scan: StaleScan) -> Program[Page[SessionRow]]:
        listed, following = yield from _sessions(scan)
        old = [one.key for one in listed if one.used < scan.before]
        answers = yield from InvokeAll(
            [invoke(script, key, ()) for key in old for script in ("describe", "open_until")]
        )
        found = [
            session_row(key, one)
            for key, one, until in zip(old, answers[::2], answers[1::2], strict=True)
            if _is_alive(one, scan.now) and (not until or float(until) <= scan.now)
        ]
        return [row for row in found if row.updated_at < scan.before], following

    @storage_program
    def delete_sessions(self, sessions: Sequence[DoomedSession], now: float) -> Program[list[bool]]:
        steps: list[Invoke] = []
        for row, revision in sessions:
            known = "*" if revision is OMITTED else optional(revision)
            state = (optional(row.updated_at), row.message_count, row.title or "", row.metadata or "", known)
            steps += edit_steps("delete_unchanged", row.key, (optional(now), *state))
        timeouts = (yield from InvokeAll(steps))[1::2]
        for (row, _), timeout in zip(sessions, timeouts, strict=True):
            if timeout is not None:
                yield from delisted(row.key, row.updated_at, float(timeout or 0))
        return [timeout is not None for timeout in timeouts]

    @storage_program
    def messages(self, scan: StaleScan, *, every: bool) -> Program[Page[LoggedMessage]]:
        walk, pending = scan.after or (_ALL_SESSIONS, ())
        if not pending and walk is not None:
            listed, walk = yield from _sessions(scan._replace(after=walk))
            pending = tuple((one.key, -1) for one in listed if every or one.used >= scan.before)
        found: list[LoggedMessage] = []
        while pending and len(found) < scan.limit:
            (key, after), *others = pending
            most = scan.limit - len(found)
            records, follows = yield from invoke("older", key, (optional(scan.now), optional(scan.before), after, most))
            rows = message_rows(records)
            found += [LoggedMessage(key, row) for row in rows]
            pending = ((key, rows[-1].position), *others) if follows else tuple(others)
        return found, None if walk is None and not pending else (walk, pending)

    @storage_program
    def delete_messages(self, key: SessionKey, rows: Sequence[MessageRow], now: float) -> Program[int]:
        pairs = [one for row in rows for one in (row.position, pack_message(row))]
        return int((yield from edited("delete_messages", key, (optional(now), *pairs))))

    @storage_program
    def threads(self, scan: StaleScan) -> Program[Page[ThreadRow]]:
        cursor, flat = yield from indexes.walk(threads_index(scan.tenant), scan.after or _FIRST, scan.limit)
        old = [member for member, used in _pairs(flat) if used < scan.before]
        threads = [ThreadKey(scan.tenant, member.decode()) for member in old]
        answers = yield from InvokeAll([invoke_thread("describe", thread) for thread in threads])
        found = [
            thread_row(thread.thread_id, *one)
            for thread, one in zip(threads, answers, strict=True)
            if one[2] is not None and indexes.is_alive(one[4], scan.now)
        ]
        return [row for row in found if row.updated_at < scan.before], _following(cursor)

    @storage_program
    def delete_thread(self, thread: ThreadKey, updated_at: float, now: float) -> Program[bool]:  # noqa: ARG002
        deleted, users = yield from invoke_thread("delete_unused", thread, (optional(updated_at),))
        if deleted:
            yield from InvokeAll(unlist_steps(thread, users, updated_at))
        return bool(deleted)

    @storage_program
    def items(self, scan: StaleScan, omitted: Sequence[str] = ()) -> Program[Page[ItemRow]]:
        stamp = int(scan.before * 1_000_000)

        def page_of(root: str, after: Any) -> Program[Page[ItemRow]]:
            if root.startswith(tuple(omitted)):
                return [], None
            return (yield from _ITEMS.scan(scan.tenant, (root,), None, scan.limit, after or (stamp, root), scan.now))

        found, following = yield from _of_each(scan, root_index(scan.tenant), page_of)
        return [row for row in found if row.updated_at < scan.before], following

    @storage_program
    def records(self, scan: StaleScan) -> Program[Page[RecordRow]]:
        def page_of(user: str, after: Any) -> Program[Page[RecordRow]]:
            query = scan.records._replace(user_id=user or None, above=after)
            rows = yield from _RECORDS.query(query, scan.now)
            return rows, rows[-1].id if len(rows) == scan.limit else None

        return (yield from _of_each(scan, record_owners(scan.tenant), page_of))

    @storage_program
    def variables(self, scan: StaleScan) -> Program[Page[VariableRow]]:
        def page_of(user: str, after: Any) -> Program[Page[VariableRow]]:  # noqa: ARG001 (a user is one page)
            return (yield from all_of_hash(VariableScope(scan.tenant, user), scan.now)), None

        found, following = yield from _of_each(scan, users_index(scan.tenant), page_of)
        return [row for row in found if row.updated_at < scan.before], following

    @storage_program
    def delete_variables(self, rows: Sequence[VariableRow], now: float) -> Program[int]:
        by_user: dict[VariableScope, list[Any]] = {}
        for row in rows:
            named = (row.scope.agent or "", row.name, optional(row.updated_at))
            by_user.setdefault(row.scope._replace(agent=None), []).extend(named)
        steps = [Invoke(VARIABLES["delete_unchanged"], hash_keys(scope), groups) for scope, groups in by_user.items()]
        answers = yield from InvokeAll(steps)
        for scope, (_, left) in zip(by_user, answers, strict=True):
            if not left:
                yield from InvokeAll(delisted_steps(scope, now))
        return sum(removed for removed, _ in answers)

    @storage_program
    def session_variables(self, key: SessionKey, now: float) -> Program[list[VariableRow]]:
        return (yield from all_of_hash(VariableScope(*key), now))


def _sessions(scan: StaleScan) -> Program[Page[_Listed]]:
    """Return some of the sessions that the indexes of users list, and the walk that continues."""
    walk: _Walk | None = scan.after or _ALL_SESSIONS
    found: list[_Listed] = []
    while walk is not None and len(found) < scan.limit:
        walk = yield from _with_pending(walk, owners_index(scan.tenant), _FIRST, {""})
        if walk is None:
            break
        some, others = walk.pending[:_AT_ONCE], walk.pending[_AT_ONCE:]
        users = [user or None for user, _ in some]
        answers = yield from InvokeAll(
            [
                indexes.walk(owner_index(scan.tenant, user), cursor, scan.limit)
                for user, (_, cursor) in zip(users, some, strict=True)
            ]
        )
        for user, (_, flat) in zip(users, answers, strict=True):
            found += [_Listed(SessionKey(scan.tenant, user, one.decode()), used) for one, used in _pairs(flat)]
        unfinished = [
            (user or "", cursor) for user, (cursor, _) in zip(users, answers, strict=True) if cursor != _FIRST
        ]
        walk = _continued(walk._replace(pending=(*unfinished, *others)))
    return found, walk


def _of_each(scan: StaleScan, index: str, page_of: Callable[[str, Any], Program[Page[T]]]) -> Program[Page[T]]:
    """Return a page of the rows of each member of an index.

    Args:
        scan: The page.
        index: The index.
        page_of: Returns a page of the rows of a member, from a continuation (None: the first page).
    """
    walk: _Walk | None = scan.after or _Walk()
    found: list[T] = []
    while walk is not None and len(found) < scan.limit:
        walk = yield from _with_pending(walk, index, None, ())
        if walk is None:
            break
        (member, after), *others = walk.pending
        rows, after = yield from page_of(member, after)
        found += rows
        unfinished = [] if after is None else [(member, after)]
        walk = _continued(walk._replace(pending=(*unfinished, *others)))
    return found, walk


def _with_pending(walk: _Walk, index: str, start: Any, known: Sequence[str] | set[str]) -> Program[_Walk | None]:
    """Read members of an index until some are pending; None after the last one."""
    cursor, pending = walk
    while not pending:
        if cursor is None:
            return None
        following, flat = yield from indexes.walk(index, cursor, _AT_ONCE)
        pending = tuple((one.decode(), start) for one, _ in _pairs(flat) if one.decode() not in known)
        cursor = _following(following)
    return _Walk(cursor, pending)


def _continued(walk: _Walk) -> _Walk | None:
    return None if walk.cursor is None and not walk.pending else walk


def _is_alive(described: Sequence[Any], now: float) -> bool:
    return described[2] is not None and indexes.is_alive(described[4], now)


def _following(cursor: bytes) -> bytes | None:
    return None if cursor == _FIRST else cursor


def _pairs(flat: Sequence[bytes]) -> list[tuple[bytes, float]]:
    return [(member, float(used)) for member, used in zip(flat[::2], flat[1::2], strict=True)]
