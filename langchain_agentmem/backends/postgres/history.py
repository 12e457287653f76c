"""The message log in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract import (
    HAS_MESSAGES,
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
    Seal,
    SessionKey,
    SessionRow,
    StoredSummary,
)
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.backends.postgres.changes import Known, changes_in, parameters_of
from langchain_agentmem.backends.postgres.statements import statements
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.programs import Execute, Fetch, Program, one_statement, storage_program
from langchain_agentmem.text.vectors import width_of

_SESSIONS_AT_ONCE = 100


class PostgresMessages:
    """Implements `langchain_agentmem.backends.contract.MessageLog`."""

    def __init__(self, schema: str | None) -> None:
        self._sql = statements("history.sql", schema)

    def append(self, key: SessionKey, addition: Append) -> Program[int]:
        if addition.first is not None:
            return self._append_at(key, addition, addition.first)
        return (
            self._append(key, addition) if addition.seal is None else self._append_sealed(key, addition, addition.seal)
        )

    @storage_program
    def _append_at(self, key: SessionKey, addition: Append, position: int) -> Program[int]:
        first = yield from self.append(key, addition._replace(first=None))
        if first != position:
            raise PositionTakenError
        return first

    @storage_program
    def _append_sealed(self, key: SessionKey, addition: Append, seal: Seal) -> Program[int]:
        first = yield from self._append(key, addition)
        parameters = (seal.head, session_digest(key), seal.first + len(addition.rows), seal.expected)
        if first != seal.first or not (yield from Execute(self._sql["seal"], parameters)):
            ((is_repeated,),) = yield from Fetch(self._sql["is_repeated"], (addition.token,))
            if not is_repeated:
                raise HeadChangedError
        return first

    @one_statement
    def head(self, key: SessionKey, now: float) -> Program[LogHead]:
        rows = yield from Fetch(self._sql["head"], _named(key, None, now))
        return LogHead(*rows[0]) if rows else LogHead(0, None)

    @one_statement
    def swap_head(self, key: SessionKey, expected: bytes | None, head: bytes, now: float) -> Program[bool]:
        parameters = {**_named(key, None, now), "expected": expected, "head": head}
        changed = yield from Execute(self._sql["swap_head"], parameters)
        return bool(changed)

    @one_statement
    def _append(self, key: SessionKey, addition: Append) -> Program[int]:
        rows = addition.rows
        parameters = (
            *(
                session_digest(key),
                owner_digest(key.tenant, key.user_id),
                key.tenant,
                key.user_id or "",
                key.session_id,
            ),
            [title.text.encode() for title in addition.titles or ()],
            [title.position for title in addition.titles or ()],
            *(addition.now, addition.agent, addition.keep, addition.ttl, addition.sliding, addition.token),
            [row.role for row in rows],
            column_of([row.agent for row in rows]),
            [row.ends_with_session for row in rows],
            [row.created_at for row in rows],
            column_of([row.metadata for row in rows]),
            [row.body.type for row in rows],
            [row.body.data for row in rows],
            [row.words for row in rows],
            column_of([row.vector for row in rows]),
            [row.id_digest for row in rows],
        )
        ((first,),) = yield from Fetch(self._sql["append"], parameters)
        return int(first)

    @storage_program
    def restore(self, key: SessionKey, restoration: Restoration) -> Program[int]:
        addition, title = restoration.addition, restoration.title
        named = {"place": session_digest(key), "now": addition.now, "token": addition.token}
        owner = {"owner": owner_digest(key.tenant, key.user_id), "tenant": key.tenant}
        columns = {"user_id": key.user_id or "", "session_id": key.session_id, "created_at": restoration.created_at}
        yield from Execute(self._sql["reserve"], {**named, **owner, **columns})
        if (yield from Fetch(self._sql["has_messages"], named)):
            return HAS_MESSAGES
        first = yield from self.append(key, addition)
        properties = {"title": None if title is None else title.encode(), "metadata": restoration.metadata}
        yield from Execute(self._sql["restore"], {**named, **properties})
        return first

    @one_statement
    def window(self, key: SessionKey, agent: str | None, limit: int | None, now: float) -> Program[list[MessageRow]]:
        rows = yield from Fetch(self._sql["window"], (session_digest(key), agent, limit, now))
        return [message_row(row) for row in sorted(rows)]

    @one_statement
    def page(self, key: SessionKey, agent: str | None, after: int, limit: int, now: float) -> Program[list[MessageRow]]:
        rows = yield from Fetch(self._sql["page"], {**_named(key, agent, now), "after": after, "limit": limit})
        return [message_row(row) for row in rows]

    @one_statement
    def count(self, key: SessionKey, agent: str | None, now: float) -> Program[int]:
        rows = yield from Fetch(self._sql["count" if agent is None else "count_of_agent"], _named(key, agent, now))
        return rows[0][0] if rows else 0

    @one_statement
    def changes(
        self, tenant: str, user_id: str | None, session_id: str | None, cursor: Any, *, vectors: bool
    ) -> Program[Changes]:
        place = None if session_id is None else session_digest(SessionKey(tenant, user_id, session_id))
        known = cursor or Known()
        parameters = {
            "owner": owner_digest(tenant, user_id),
            "place": place,
            "vectors": vectors,
            **parameters_of(known),
        }
        return changes_in((yield from Fetch(self._sql["changes"], parameters)), known)

    @one_statement
    def rows(
        self, scope: HistoryScope, positions: Sequence[tuple[str, int]], now: float
    ) -> Program[dict[tuple[str, int], MessageRow]]:
        parameters = {
            "places": [
                session_digest(SessionKey(scope.tenant, scope.user_id, session_id)) for session_id, _ in positions
            ],
            "positions": [position for _, position in positions],
            "now": now,
        }
        rows = yield from Fetch(self._sql["rows"], parameters)
        return {(session_id, row[0]): message_row(row) for session_id, *row in rows}

    @one_statement
    def summary(self, key: SessionKey, agent: str | None, now: float) -> Program[StoredSummary | None]:
        rows = yield from Fetch(self._sql["summary"], _named(key, agent, now))
        return StoredSummary(*rows[0]) if rows else None

    @one_statement
    def swap_summary(
        self, key: SessionKey, agent: str | None, summary: StoredSummary, expected: int | None, now: float
    ) -> Program[bool]:
        parameters = (session_digest(key), agent or "", *summary, expected, now)
        ((swapped,),) = yield from Fetch(self._sql["swap_summary"], parameters)
        return bool(swapped)

    @one_statement
    def clear(self, key: SessionKey, agent: str | None) -> Program[None]:
        yield from Fetch(self._sql["forget"], (session_digest(key), agent))

    @one_statement
    def end(self, key: SessionKey) -> Program[int]:
        ((removed,),) = yield from Fetch(self._sql["end"], (session_digest(key),))
        return int(removed)

    @one_statement
    def remove(self, key: SessionKey, removal: Removal, now: float) -> Program[int | None]:
        ids = None if removal.ids is None else [*removal.ids]
        parameters = (session_digest(key), removal.agent, ids, removal.before, removal.after, removal.token, now)
        ((removed,),) = yield from Fetch(self._sql["remove"], parameters)
        return None if removed is None else int(removed)

    @one_statement
    def replace(self, key: SessionKey, replacement: Replacement, now: float) -> Program[list[MessageRow] | None]:
        row, title = replacement.row, replacement.title
        parameters = (
            *(
                session_digest(key),
                replacement.agent,
                replacement.id_digest,
                replacement.keeps_time,
                replacement.keeps_metadata,
            ),
            *(row.role, row.created_at, row.metadata, *row.body, row.words, row.vector),
            *(None if title is None else title.encode(), replacement.token, now),
        )
        rows = yield from Fetch(self._sql["replace"], parameters)
        return None if rows and rows[0][0] is None else [message_row(one) for one in rows]

    @one_statement
    def identify(self, key: SessionKey, rows: Sequence[MessageRow]) -> Program[None]:
        parameters = (
            [row.position for row in rows],
            [row.body.data for row in rows],
            [row.id_digest for row in rows],
            session_digest(key),
        )
        yield from Execute(self._sql["identify"], parameters)

    @one_statement
    def sessions(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[SessionRow]]:
        parameters = {"now": now, "limit": limit, "offset": offset}
        if user_id is OMITTED:
            rows = yield from Fetch(self._sql["sessions_of_all"], {**parameters, "tenant": tenant})
        else:
            rows = yield from Fetch(self._sql["sessions"], {**parameters, "owner": owner_digest(tenant, user_id)})
        return [listed_session(tenant, row) for row in rows]

    @one_statement
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [user for (user,) in (yield from Fetch(self._sql["users"], {"tenant": tenant, "now": now}))]

    @one_statement
    def session_ids(self, tenant: str, user_id: str | None, after: str | None, limit: int) -> Program[list[str]]:
        parameters = (owner_digest(tenant, user_id), after or "", limit)
        return [session_id for (session_id,) in (yield from Fetch(self._sql["session_ids"], parameters))]

    @one_statement
    def rename(self, key: SessionKey, title: str, now: float, head: HeadSwap | None = None) -> Program[bool]:
        expected, new = head or (None, None)
        # A title is stored as bytes: it may contain a NUL, which Postgres' type `text` cannot.
        parameters = {
            "title": title.encode(),
            "place": session_digest(key),
            "now": now,
            "expected": expected,
            "head": new,
        }
        changed = yield from Execute(self._sql["rename"], parameters)
        return bool(changed)

    @one_statement
    def delete(self, key: SessionKey) -> Program[bool]:
        ((deleted,),) = yield from Fetch(self._sql["delete"], (session_digest(key),))
        return bool(deleted)

    @one_statement
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        ((deleted,),) = yield from Fetch(self._sql["sweep"], (tenant, now, limit))
        return int(deleted)

    @storage_program
    def unembed(self, tenant: str, after: Any) -> Program[Any]:
        rows = yield from Fetch(self._sql["next_sessions"], (tenant, after or 0, _SESSIONS_AT_ONCE))
        yield from Execute(self._sql["unembed"], ([session for (session,) in rows],))
        return rows[-1][0] if len(rows) == _SESSIONS_AT_ONCE else None

    @one_statement
    def unembedded(
        self, tenant: str, dimensions: int | None, after: Any, limit: int, now: float
    ) -> Program[tuple[list[LoggedMessage], Any]]:
        session, position = after or (0, 0)
        parameters = {
            "tenant": tenant,
            "session": session,
            "position": position,
            "bytes": width_of(dimensions),
            "limit": limit,
            "now": now,
        }
        rows = yield from Fetch(self._sql["unembedded"], parameters)
        found = [
            LoggedMessage(SessionKey(tenant, user_id or None, session_id), message_row(row))
            for _, user_id, session_id, *row in rows
        ]
        return found, (rows[-1][0], rows[-1][3]) if len(rows) == limit else None

    @one_statement
    def set_words(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[None]:  # noqa: ARG002
        parameters = (
            [session_digest(key) for key, _ in messages],
            [row.position for _, row in messages],
            [row.body.data for _, row in messages],
            [row.words for _, row in messages],
        )
        yield from Execute(self._sql["set_words"], parameters)

    @one_statement
    def embed(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[int]:  # noqa: ARG002 (the keys contain it)
        parameters = (
            [session_digest(key) for key, _ in messages],
            [row.position for _, row in messages],
            [row.body.data for _, row in messages],
            [row.vector for _, row in messages],
        )
        return (yield from Execute(self._sql["embed"], parameters))


def listed_session(tenant: str, row: Sequence[Any]) -> SessionRow:
    """Return a session, from the columns of the fragment `listed_session`."""
    user, session_id, title, count, created_at, updated_at, expires_at, history, listed, *properties = row
    key, times = SessionKey(tenant, user or None, session_id), (created_at, updated_at, expires_at)
    summaries = [one for one in (history, listed) if one]
    return SessionRow(key, read_title(session_id, title), count, *times, summaries, *properties)


def column_of(values: list[Any]) -> list[Any] | None:
    """Return the values of a column; None if all are None, because `unnest` fills a missing column with NULLs."""
    return values if any(value is not None for value in values) else None


def read_title(session_id: str, title: bytes | None) -> str | None:
    """Return a title that was read.

    Raises:
        DamagedDataError: It was damaged or altered.
    """
    try:
        return None if title is None else title.decode()
    except UnicodeDecodeError as error:
        msg = f"The title of session {session_id!r} cannot be read. It was damaged or altered: {error}."
        raise DamagedDataError(msg) from error


def session_digest(key: SessionKey) -> bytes:
    """Return the digest that identifies a session."""
    return digest_of_ids(key.tenant, key.user_id or "", key.session_id)


def owner_digest(tenant: str, user_id: str | None) -> bytes:
    """Return the digest that identifies a user of a tenant, or nobody."""
    return digest_of_ids(tenant, user_id or "")


def _named(key: SessionKey, agent: str | None, now: float) -> dict[str, Any]:
    return {"place": session_digest(key), "agent": agent, "now": now}


def message_row(row: Sequence[Any]) -> MessageRow:
    """Return a message, from the columns of the fragment `message`."""
    position, role, agent, ends_with_session, created_at, metadata, type_, body = row
    return MessageRow(position, role, agent, ends_with_session, created_at, metadata, Typed(type_, body))
