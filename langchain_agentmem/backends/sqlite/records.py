"""The record table in SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract import RecordQuery, RecordRow, session_of
from langchain_agentmem.backends.sqlite.history import use_session
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.programs import Execute, ExecuteMany, Fetch, Program

SQL = load_statements("langchain_agentmem.backends.sqlite", "records.sql")


class SqliteRecords:
    """See `langchain_agentmem.backends.contract.RecordTable`."""

    def add(self, tenant: str, row: RecordRow, ttl: float | None, sliding: bool, now: float) -> Program[None]:
        key = session_of(tenant, row)
        session = None if key is None else (yield from use_session(key, now, ttl, sliding))[0]
        yield from add_record(tenant, row, session)

    def query(self, query: RecordQuery, now: float) -> Program[list[RecordRow]]:
        name = "newest" if query.newest_first else "oldest"
        if query.user_id is not OMITTED:
            name += "_of_user" if query.session_id is None else "_of_session"
        parameters = {**query._asdict(), "user_id": _user(query.user_id), "now": now}
        rows = yield from Fetch(SQL[name], parameters)
        return [_record(row) for row in rows]

    def count(self, tenant: str, user_id: str | Omitted | None) -> Program[int]:
        ((count,),) = yield from Fetch(SQL[_named("count", user_id)], {"tenant": tenant, "user_id": _user(user_id)})
        return int(count)

    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [user for (user,) in (yield from Fetch(SQL["users"], {"tenant": tenant, "now": now}))]

    def delete(self, tenant: str, rows: Sequence[RecordRow]) -> Program[int]:
        return (yield from ExecuteMany(SQL["delete"], [(tenant, row.id) for row in rows]))

    def prune(self, tenant: str, user_id: str | Omitted | None, below: str | None, limit: int) -> Program[int]:
        parameters = {"tenant": tenant, "user_id": _user(user_id), "below": below, "limit": limit}
        return (yield from Execute(SQL[_named("prune", user_id)], parameters))


def add_record(tenant: str, row: RecordRow, session: int | None) -> Program[int]:
    """Add a record of the session with an ID (None: no session), unless it is stored. Return 1 if it was added."""
    columns = (
        *(row.id, tenant, row.user_id or "", session, row.agent, row.status, row.started_at, row.duration),
        *(row.created_at, row.record, row.ends_with_session),
    )
    return (yield from Execute(SQL["add"], columns))


def _named(statement: str, user_id: str | Omitted | None) -> str:
    """Return the name of a statement for one user, or for all."""
    return statement if user_id is OMITTED else f"{statement}_of_user"


def _user(user_id: str | Omitted | None) -> str | None:
    """Return the stored user ID: None for all users, an empty string for nobody."""
    return None if user_id is OMITTED else user_id or ""


def _record(row: Sequence[Any]) -> RecordRow:
    id_, user_id, *columns, ends_with_session = row
    return RecordRow._make((id_, user_id or None, *columns, bool(ends_with_session)))
