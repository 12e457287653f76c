"""The message log in SQLite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract import (
    HAS_MESSAGES,
    LIST_SUMMARY,
    UNKNOWN_MESSAGE,
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
    StoredSummary,
)
from langchain_agentmem.backends.sqlite.changes import Known, changed_sessions
from langchain_agentmem.backends.sqlite.traces import Replaced, Trim
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Execute, ExecuteMany, Fetch, Program
from langchain_agentmem.text.vectors import width_of

SQL = load_statements("langchain_agentmem.backends.sqlite", "history.sql")


_SESSIONS_AT_ONCE = 100

_ANY = dict.fromkeys(("agent", "ids", "before", "after", "ending"))
"""The parameters of the statement `chosen` that choose every message."""


def use_session(
    key: SessionKey,
    now: float,
    ttl: float | None,
    sliding: bool,
    *,
    added: int = 0,
    title: str | None = None,
    title_position: int | None = None,
) -> Program[tuple[int, int]]:
    """Note the use of a session; create it if it does not exist or has expired.

    Args:
        key: The session.
        now: The current time.
        ttl: The TTL in seconds; None leaves the expiry unchanged.
        sliding: If false, a session that has an expiry keeps it.
        added: The number of messages that are added. Default: 0.
        title: The title of a session without title. Default: None.
        title_position: The position of the title's message among the added ones. Default: None.

    Returns:
        The ID of the session, and the position of the next message.
    """
    found = yield from Fetch(SQL["session"], session_columns(key))
    if not found:
        expires_at = None if ttl is None else now + ttl
        columns = (*session_columns(key), title, title_position, added, added, now, now, expires_at)
        ((session,),) = yield from Fetch(SQL["add_session"], columns)
        return session, 0
    session, first, updated_at, until = found[0]
    if until is not None and until <= now:
        yield from Execute(SQL["delete_messages"], (session,))
        yield from Execute(SQL["restart_session"], (now, now, session))
        yield from Replaced()
        first, updated_at, until = 0, now, None
    now = max(now, updated_at)
    expires_at = until
    if ttl is not None and (until is None or sliding):
        expires_at = now + ttl
    parameters = {
        "session": session,
        "title": title,
        "title_position": None if title_position is None else first + title_position,
        "added": added,
        "next": first + added,
        "now": now,
        "expires_at": expires_at,
    }
    yield from Execute(SQL["grow_session"], parameters)
    return session, first


class SqliteMessages:
    """See `langchain_agentmem.backends.contract.MessageLog`."""

    def append(self, key: SessionKey, addition: Append) -> Program[int]:
        count, seal = len(addition.rows), addition.seal
        if seal is not None and (yield from self.head(key, addition.now)) != (seal.first, seal.expected):
            raise HeadChangedError
        if addition.first is not None and (yield from self.head(key, addition.now)).next_position != addition.first:
            raise PositionTakenError
        place, title = addition.titles[0] if addition.titles else (None, None)
        session, first = yield from use_session(
            key, addition.now, addition.ttl, addition.sliding, added=count, title=title, title_position=place
        )
        yield from ExecuteMany(
            SQL["add_message"],
            [
                (
                    session,
                    first + row.position,
                    row.role,
                    row.agent,
                    row.ends_with_session,
                    row.created_at,
                    row.metadata,
                    *row.body,
                    row.words,
                    row.vector,
                    row.id_digest,
                )
                for row in addition.rows
            ],
        )
        if seal is not None:
            yield from self.swap_head(key, seal.expected, seal.head, addition.now)
        if addition.keep is not None:
            yield from self._trim(session, addition.agent, addition.keep, first + count)
            yield from Execute(SQL["settle_title"], {"session": session})
            for place, title in addition.titles or ():
                yield from Execute(SQL["take_title"], {"session": session, "position": first + place, "title": title})
        return first

    def head(self, key: SessionKey, now: float) -> Program[LogHead]:
        rows = yield from Fetch(SQL["head"], _named(key, None, now))
        return LogHead(*rows[0]) if rows else LogHead(0, None)

    def swap_head(self, key: SessionKey, expected: bytes | None, head: bytes, now: float) -> Program[bool]:
        parameters = {**_named(key, None, now), "expected": expected, "head": head}
        changed = yield from Execute(SQL["swap_head"], parameters)
        return bool(changed)

    def restore(self, key: SessionKey, restoration: Restoration) -> Program[int]:
        now = restoration.addition.now
        if (yield from self.count(key, None, now)):
            return HAS_MESSAGES
        if not (yield from Fetch(SQL["session"], session_columns(key))):
            columns = (*session_columns(key), None, None, 0, 0, restoration.created_at, now, None)
            yield from Fetch(SQL["add_session"], columns)
        first = yield from self.append(key, restoration.addition)
        properties = {"title": restoration.title, "metadata": restoration.metadata}
        yield from Execute(SQL["restore_session"], {**_named(key, None, now), **properties})
        return first

    def window(self, key: SessionKey, agent: str | None, limit: int | None, now: float) -> Program[list[MessageRow]]:
        name = "window" if agent is None else "window_of_agent"
        parameters = {**_named(key, agent, now), "limit": -1 if limit is None else limit}
        rows = yield from Fetch(SQL[name], parameters)
        return [message_row(row) for row in sorted(rows)]

    def page(self, key: SessionKey, agent: str | None, after: int, limit: int, now: float) -> Program[list[MessageRow]]:
        rows = yield from Fetch(SQL["page"], {**_named(key, agent, now), "after": after, "limit": limit})
        return [message_row(row) for row in rows]

    def count(self, key: SessionKey, agent: str | None, now: float) -> Program[int]:
        rows = yield from Fetch(SQL["count" if agent is None else "count_of_agent"], _named(key, agent, now))
        return rows[0][0] if rows else 0

    def changes(
        self, tenant: str, user_id: str | None, session_id: str | None, cursor: Any, *, vectors: bool
    ) -> Program[Changes]:
        return changed_sessions(tenant, user_id, session_id, cursor or Known(), vectors)

    def rows(
        self, scope: HistoryScope, positions: Sequence[tuple[str, int]], now: float
    ) -> Program[dict[tuple[str, int], MessageRow]]:
        by_session: dict[str, list[int]] = {}
        for session_id, position in positions:
            by_session.setdefault(session_id, []).append(position)
        found: dict[tuple[str, int], MessageRow] = {}
        for session_id, wanted in by_session.items():
            key = SessionKey(scope.tenant, scope.user_id, session_id)
            parameters = {**_named(key, None, now), "positions": json.dumps(wanted)}
            for row in (yield from Fetch(SQL["rows"], parameters)):
                found[session_id, row[0]] = message_row(row)
        return found

    def summary(self, key: SessionKey, agent: str | None, now: float) -> Program[StoredSummary | None]:
        rows = yield from Fetch(SQL["summary"], _named(key, agent, now))
        return StoredSummary(*rows[0]) if rows else None

    def swap_summary(
        self, key: SessionKey, agent: str | None, summary: StoredSummary, expected: int | None, now: float
    ) -> Program[bool]:
        parameters = {**_named(key, agent, now), **summary._asdict(), "expected": expected}
        written = yield from Execute(SQL["swap_summary"], parameters)
        if written and expected is not None:
            yield from Replaced()
        return bool(written)

    def clear(self, key: SessionKey, agent: str | None) -> Program[None]:
        for session, *_ in (yield from Fetch(SQL["session"], session_columns(key))):
            agents = yield from _agents(session)
            if agent is None:
                yield from settle(session, (yield from Execute(SQL["delete_messages"], (session,))))
            else:
                yield from _delete(session, agent=agent)
            yield from revise(session, [*agents, agent], -1)

    def end(self, key: SessionKey) -> Program[int]:
        yield from Execute(SQL["delete_variables_of_session"], session_columns(key))
        return (yield from end_session(key))

    def remove(self, key: SessionKey, removal: Removal, now: float) -> Program[int | None]:
        session = yield from _living(key, now)
        conditions: dict[str, Any] = {"agent": removal.agent, "before": removal.before}
        if removal.before is None and (yield from _is_unidentified(session)):
            return None
        if removal.ids is not None:
            conditions["ids"] = _hexadecimal(removal.ids)
        if removal.after is not None:
            chosen = {"session": session, **_ANY, "agent": removal.agent, "ids": _hexadecimal([removal.after])}
            found = yield from Fetch(SQL["chosen"], chosen)
            if not found:
                return UNKNOWN_MESSAGE
            conditions["after"] = found[-1][0]
        deleted = yield from _delete(session, **conditions)
        if deleted:
            yield from revise(session, [agent for _, agent in deleted], deleted[0][0])
        return len(deleted)

    def replace(self, key: SessionKey, replacement: Replacement, now: float) -> Program[list[MessageRow] | None]:
        session = yield from _living(key, now)
        if (yield from _is_unidentified(session)):
            return None
        row = replacement.row
        parameters = {
            "session": session,
            "agent": replacement.agent,
            "id_digest": replacement.id_digest,
            "role": row.role,
            "keeps_time": replacement.keeps_time,
            "created_at": row.created_at,
            "keeps_metadata": replacement.keeps_metadata,
            "metadata": row.metadata,
            "type": row.body.type,
            "body": row.body.data,
            "words": row.words,
            "vector": row.vector,
        }
        replaced = [message_row(one) for one in sorted((yield from Fetch(SQL["replace"], parameters)))]
        if replaced:
            positions = json.dumps([one.position for one in replaced])
            retitled = {"session": session, "title": replacement.title, "positions": positions}
            yield from Execute(SQL["retitle"], retitled)
            yield from revise(session, [one.agent for one in replaced], replaced[0].position)
            yield from Replaced()
        return replaced

    def identify(self, key: SessionKey, rows: Sequence[MessageRow]) -> Program[None]:
        found = [(row.id_digest, *session_columns(key), row.position, row.body.data) for row in rows]
        yield from ExecuteMany(SQL["identify"], found)

    def sessions(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[SessionRow]]:
        parameters = {"tenant": tenant, "limit": -1 if limit is None else limit, "offset": offset, "now": now}
        if user_id is OMITTED:
            rows = yield from Fetch(SQL["sessions_of_all"], parameters)
        else:
            rows = yield from Fetch(SQL["sessions"], {**parameters, "user_id": user_id or ""})
        return [listed_session(tenant, row) for row in rows]

    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [user for (user,) in (yield from Fetch(SQL["users"], {"tenant": tenant, "now": now}))]

    def session_ids(self, tenant: str, user_id: str | None, after: str | None, limit: int) -> Program[list[str]]:
        rows = yield from Fetch(SQL["session_ids"], (tenant, user_id or "", after or "", limit))
        return [session_id for (session_id,) in rows]

    def rename(self, key: SessionKey, title: str, now: float, head: HeadSwap | None = None) -> Program[bool]:
        expected, new = head or (None, None)
        parameters = {**_named(key, None, now), "title": title, "expected": expected, "head": new}
        changed = yield from Execute(SQL["rename"], parameters)
        if changed:
            yield from Replaced()
        return bool(changed)

    def delete(self, key: SessionKey) -> Program[bool]:
        found = yield from Fetch(SQL["session"], session_columns(key))
        for session, *_ in found:
            yield from Execute(SQL["delete_messages"], (session,))
            yield from Execute(SQL["delete_session"], (session,))
        return bool(found)

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        expired = yield from Fetch(SQL["expired"], (tenant, now, limit))
        yield from ExecuteMany(SQL["delete_messages"], expired)
        yield from ExecuteMany(SQL["delete_session"], expired)
        return len(expired)

    def unembed(self, tenant: str, after: Any) -> Program[Any]:
        sessions = yield from Fetch(SQL["next_sessions"], (tenant, after or 0, _SESSIONS_AT_ONCE))
        yield from ExecuteMany(SQL["unembed"], sessions)
        return sessions[-1][0] if len(sessions) == _SESSIONS_AT_ONCE else None

    def unembedded(
        self, tenant: str, dimensions: int | None, after: Any, limit: int, now: float
    ) -> Program[tuple[list[LoggedMessage], Any]]:
        parameters = {"tenant": tenant, "bytes": width_of(dimensions), "after": after or 0, "limit": limit, "now": now}
        rows = yield from Fetch(SQL["unembedded"], parameters)
        found = [
            LoggedMessage(SessionKey(tenant, user_id or None, session_id), message_row(tuple(row)))
            for _, user_id, session_id, *row in rows
        ]
        return found, rows[-1][0] if len(rows) == limit else None

    def set_words(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[None]:  # noqa: ARG002 (keys contain it)
        rows = [(row.words, *session_columns(key), row.position, row.body.data) for key, row in messages]
        yield from ExecuteMany(SQL["set_words"], rows)

    def embed(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[int]:  # noqa: ARG002 (keys say it)
        rows = [(row.vector, *session_columns(key), row.position, row.body.data) for key, row in messages]
        embedded: int = yield from ExecuteMany(SQL["embed"], rows)
        return embedded

    def _trim(self, session: int, agent: str | None, keep: int, end: int) -> Program[None]:
        """Delete all but an agent's newest `keep` messages, which include its newest system message."""
        newest = {"session": session, "agent": agent}
        ((oldest, system),) = yield from Fetch(SQL["oldest_of_newest"], {**newest, "n": keep})
        if oldest is None:
            return
        if system is not None and system < oldest:
            oldest = end
            if keep > 1:
                ((oldest, _),) = yield from Fetch(SQL["oldest_of_newest"], {**newest, "n": keep - 1})
        trimmed = yield from Trim(SQL["trim"], (session, agent, oldest, system))
        yield from Execute(SQL["shrink_session"], (trimmed, session))


def end_session(key: SessionKey) -> Program[int]:
    """Delete the messages and records that end with the session, and return the number of messages."""
    yield from Execute(SQL["delete_records_of_session"], session_columns(key))
    for session, *_ in (yield from Fetch(SQL["session"], session_columns(key))):
        agents = yield from _agents(session)
        deleted = yield from _delete(session, ending=1)
        if deleted:
            yield from revise(session, agents, -1)
        return len(deleted)
    return 0


def _living(key: SessionKey, now: float) -> Program[int | None]:
    """Return the ID of a session; None if it does not exist or has expired."""
    for session, _, _, expires_at in (yield from Fetch(SQL["session"], session_columns(key))):
        if expires_at is None or expires_at > now:
            return int(session)
    return None


def _is_unidentified(session: int | None) -> Program[bool]:
    return bool((yield from Fetch(SQL["unidentified"], (session,))))


def _agents(session: int) -> Program[list[str]]:
    return [agent for (agent,) in (yield from Fetch(SQL["agents"], {"session": session}))]


def _delete(session: int | None, **conditions: Any) -> Program[list[tuple[int, str | None]]]:
    """Delete messages, and return their positions and agents, oldest first."""
    chosen: list[Any] = yield from Fetch(SQL["chosen"], {"session": session, **_ANY, **conditions})
    if chosen:
        positions = json.dumps([position for position, _ in chosen])
        yield from settle(session, (yield from Execute(SQL["delete_chosen"], (session, positions))))
    return chosen


def settle(session: int | None, deleted: int) -> Program[None]:
    """Update a session after a number of its messages were deleted: the count, and the title."""
    yield from Execute(SQL["shrink_session"], (deleted, session))
    yield from Execute(SQL["settle_title"], {"session": session})


def revise(session: int | None, agents: Sequence[str | None], first: int) -> Program[None]:
    """Empty the summaries that tell messages from position `first` on, of some agents and of all."""
    names = json.dumps(sorted({"", LIST_SUMMARY, *(agent or "" for agent in agents)}))
    yield from Execute(SQL["revise_summaries"], {"session": session, "agents": names, "first": first})


def listed_session(tenant: str, row: Sequence[Any]) -> SessionRow:
    """Return a session, from the columns of the fragment `listed_session`."""
    user, session_id, title, count, created_at, updated_at, expires_at, history, listed, *properties = row
    key = SessionKey(tenant, user or None, session_id)
    summaries = [one for one in (history, listed) if one]
    return SessionRow(key, title, count, created_at, updated_at, expires_at, summaries, *properties)


def session_columns(key: SessionKey) -> tuple[str, str, str]:
    """Return the columns that identify a session."""
    return key.tenant, key.user_id or "", key.session_id


def _named(key: SessionKey, agent: str | None, now: float) -> dict[str, Any]:
    return {
        "tenant": key.tenant,
        "user_id": key.user_id or "",
        "session_id": key.session_id,
        "agent": agent,
        "now": now,
    }


def _hexadecimal(digests: Sequence[bytes]) -> str:
    return json.dumps([digest.hex().upper() for digest in digests])


def message_row(row: tuple[Any, ...]) -> MessageRow:
    """Return a message, from the columns of the fragment `message`."""
    position, role, agent, ends_with_session, created_at, metadata, type_, body = row
    return MessageRow(position, role, agent, bool(ends_with_session), created_at, metadata, Typed(type_, body))
