"""Rows in SQLite that were not used for a long time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
from langchain_agentmem.backends.sqlite.checkpoints import SqliteCheckpoints
from langchain_agentmem.backends.sqlite.history import SqliteMessages, listed_session, message_row, revise, settle
from langchain_agentmem.backends.sqlite.records import SqliteRecords
from langchain_agentmem.backends.sqlite.store import SqliteItems
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.programs import Execute, ExecuteMany, Fetch, Program

SQL = load_statements("langchain_agentmem.backends.sqlite", "stale.sql")

_MESSAGES, _ITEMS, _CHECKPOINTS, _RECORDS = SqliteMessages(), SqliteItems(), SqliteCheckpoints(), SqliteRecords()


class SqliteStaleRows:
    """See `langchain_agentmem.backends.contract.StaleRows`."""

    def sessions(self, scan: StaleScan) -> Program[Page[SessionRow]]:
        rows = yield from Fetch(SQL["sessions"], _parameters(scan))
        return [listed_session(scan.tenant, row[1:]) for row in rows], _following(scan, rows)

    def delete_sessions(self, sessions: Sequence[DoomedSession], now: float) -> Program[list[bool]]:
        deleted = []
        for row, revision in sessions:
            tenant, user_id, session_id = row.key
            named = {"tenant": tenant, "user_id": user_id or "", "session_id": session_id, "now": now}
            found = yield from Fetch(SQL["session"], named)
            unchanged = [
                number
                for number, is_closed, current, *listed in found
                if is_closed and listed_session(tenant, listed) == row and revision in (OMITTED, current)
            ]
            if unchanged:
                yield from _MESSAGES.delete(row.key)
            deleted.append(bool(unchanged))
        return deleted

    def messages(self, scan: StaleScan, *, every: bool) -> Program[Page[LoggedMessage]]:
        rows = yield from Fetch(SQL["messages"], {**_parameters(scan), "every": every})
        found = [
            LoggedMessage(SessionKey(scan.tenant, user_id or None, session_id), message_row(tuple(row)))
            for _, user_id, session_id, *row in rows
        ]
        return found, _following(scan, rows)

    def delete_messages(self, key: SessionKey, rows: Sequence[MessageRow], now: float) -> Program[int]:
        tenant, user_id, session_id = key
        named = {"tenant": tenant, "user_id": user_id or "", "session_id": session_id, "now": now}
        for session, *_ in (yield from Fetch(SQL["session"], named)):
            doomed, agents = [], []
            for row in rows:
                for (agent,) in (yield from Fetch(SQL["unchanged"], (session, row.position, row.body.data))):
                    doomed.append((session, row.position))
                    agents.append(agent)
            if doomed:
                yield from ExecuteMany(SQL["delete_message"], doomed)
                yield from settle(session, len(doomed))
                yield from revise(session, agents, min(position for _, position in doomed))
            return len(doomed)
        return 0

    def threads(self, scan: StaleScan) -> Program[Page[ThreadRow]]:
        rows = yield from Fetch(SQL["threads"], _parameters(scan))
        return (yield from _CHECKPOINTS.listed(rows)), _following(scan, rows)

    def delete_thread(self, thread: ThreadKey, updated_at: float, now: float) -> Program[bool]:  # noqa: ARG002
        if (yield from Fetch(SQL["used"], thread)) != [(updated_at,)]:
            return False
        yield from _CHECKPOINTS.delete_thread(thread)
        return True

    def items(self, scan: StaleScan, omitted: Sequence[str] = ()) -> Program[Page[ItemRow]]:  # noqa: ARG002
        after = scan.after or (scan.before, 0)
        return (yield from _ITEMS.scan(scan.tenant, (), None, scan.limit, after, scan.now))

    def records(self, scan: StaleScan) -> Program[Page[RecordRow]]:
        rows = yield from _RECORDS.query(scan.records._replace(above=scan.after), scan.now)
        return rows, rows[-1].id if len(rows) == scan.limit else None

    def variables(self, scan: StaleScan) -> Program[Page[VariableRow]]:
        rows = yield from Fetch(SQL["variables"], _parameters(scan))
        found = [
            VariableRow(VariableScope(scan.tenant, user_id, None, agent or None), *columns)
            for _, user_id, agent, *columns in rows
        ]
        return found, _following(scan, rows)

    def delete_variables(self, rows: Sequence[VariableRow], now: float) -> Program[int]:  # noqa: ARG002
        deleted = 0
        for scope, name, _, _, updated_at, _ in rows:
            parameters = (scope.tenant, scope.user_id, scope.agent or "", name, updated_at)
            deleted += yield from Execute(SQL["delete_variable"], parameters)
        return deleted

    def session_variables(self, key: SessionKey, now: float) -> Program[list[VariableRow]]:
        tenant, user_id, session_id = key
        named = {"tenant": tenant, "user_id": user_id or "", "session_id": session_id, "now": now}
        rows = yield from Fetch(SQL["session_variables"], named)
        return [VariableRow(VariableScope(*key, agent or None), *columns) for agent, *columns in rows]


def _parameters(scan: StaleScan) -> dict[str, Any]:
    return {**scan._asdict(), "after": scan.after or 0}


def _following(scan: StaleScan, rows: Sequence[Any]) -> Any:
    """Return the last ID of a full page."""
    return rows[-1][0] if len(rows) == scan.limit else None
