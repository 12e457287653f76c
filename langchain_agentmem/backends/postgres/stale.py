"""Rows in Postgres that were not used for a long time."""

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
from langchain_agentmem.backends.postgres.checkpoints import PostgresCheckpoints, listed_thread, thread_name
from langchain_agentmem.backends.postgres.history import PostgresMessages, listed_session, message_row, session_digest
from langchain_agentmem.backends.postgres.records import PostgresRecords
from langchain_agentmem.backends.postgres.statements import statements
from langchain_agentmem.backends.postgres.store import PostgresItems
from langchain_agentmem.backends.postgres.variables import scope_digest
from langchain_agentmem.programs import Execute, Fetch, Program, one_statement, storage_program


class PostgresStaleRows:
    """Implements `langchain_agentmem.backends.contract.StaleRows`."""

    def __init__(self, schema: str | None) -> None:
        self._sql = statements("stale.sql", schema)
        self._messages = PostgresMessages(schema)
        self._items = PostgresItems(schema)
        self._checkpoints = PostgresCheckpoints(schema)
        self._records = PostgresRecords(schema)

    @one_statement
    def sessions(self, scan: StaleScan) -> Program[Page[SessionRow]]:
        rows = yield from Fetch(self._sql["sessions"], {**scan._asdict(), "after": scan.after or 0})
        return [listed_session(scan.tenant, row[1:]) for row in rows], _following(scan, rows)

    @storage_program
    def delete_sessions(self, sessions: Sequence[DoomedSession], now: float) -> Program[list[bool]]:
        doomed = {session_digest(one.row.key): one for one in sessions}
        locked = yield from Fetch(self._sql["lock_sessions"], {"places": list(doomed), "now": now})
        places = {number: bytes(place) for number, place in locked}
        unchanged: dict[int, bytes] = {}
        # The rows are read after all are locked: another writer may have changed them while this one waited for a lock.
        for number, current, *listed in (yield from Fetch(self._sql["locked_sessions"], (list(places),))):
            row, revision = doomed[places[number]]
            if listed_session(row.key.tenant, listed) == row and revision in (OMITTED, current):
                unchanged[number] = places[number]
        yield from Execute(self._sql["delete_messages_of_sessions"], (list(unchanged),))
        yield from Execute(self._sql["delete_sessions"], (list(unchanged),))
        gone = set(unchanged.values())
        return [place in gone for place in doomed]

    @one_statement
    def messages(self, scan: StaleScan, *, every: bool) -> Program[Page[LoggedMessage]]:
        session, position = scan.after or (0, 0)
        parameters = {**scan._asdict(), "session": session, "position": position, "every": every}
        rows = yield from Fetch(self._sql["messages"], parameters)
        found = [
            LoggedMessage(SessionKey(scan.tenant, user_id or None, session_id), message_row(row))
            for _, user_id, session_id, *row in rows
        ]
        return found, (rows[-1][0], rows[-1][3]) if len(rows) == scan.limit else None

    @storage_program
    def delete_messages(self, key: SessionKey, rows: Sequence[MessageRow], now: float) -> Program[int]:
        locked = yield from Fetch(self._sql["lock_sessions"], {"places": [session_digest(key)], "now": now})
        for session, _ in locked:
            known = ([row.position for row in rows], [row.body.data for row in rows], session)
            deleted = yield from Fetch(self._sql["delete_messages"], known)
            if deleted:
                yield from Execute(self._sql["settle_session"], (len(deleted), session))
                agents, first = [agent for _, agent in deleted], min(position for position, _ in deleted)
                yield from Fetch(self._sql["settle_title"], (session, session, agents, first))
            return len(deleted)
        return 0

    @one_statement
    def threads(self, scan: StaleScan) -> Program[Page[ThreadRow]]:
        rows = yield from Fetch(self._sql["threads"], {**scan._asdict(), "after": scan.after or 0})
        return [listed_thread(row[1:]) for row in rows], _following(scan, rows)

    @storage_program
    def delete_thread(self, thread: ThreadKey, updated_at: float, now: float) -> Program[bool]:  # noqa: ARG002
        if (yield from Fetch(self._sql["lock_thread"], (thread_name(thread),))) != [(updated_at,)]:
            return False
        yield from self._checkpoints.delete_thread(thread)
        return True

    @storage_program
    def items(self, scan: StaleScan, omitted: Sequence[str] = ()) -> Program[Page[ItemRow]]:  # noqa: ARG002
        after = scan.after
        if after is None:
            ((start,),) = yield from Fetch(self._sql["start"], (scan.before,))
            after = (start, "", "")
        return (yield from self._items.scan(scan.tenant, (), None, scan.limit, after, scan.now))

    @storage_program
    def records(self, scan: StaleScan) -> Program[Page[RecordRow]]:
        rows = yield from self._records.query(scan.records._replace(above=scan.after), scan.now)
        return rows, rows[-1].id if len(rows) == scan.limit else None

    @one_statement
    def variables(self, scan: StaleScan) -> Program[Page[VariableRow]]:
        place, name = scan.after or (b"", "")
        rows = yield from Fetch(self._sql["variables"], {**scan._asdict(), "place": place, "name": name})
        found = [
            VariableRow(VariableScope(scan.tenant, user_id, None, agent or None), *columns)
            for _, user_id, agent, *columns in rows
        ]
        return found, (bytes(rows[-1][0]), rows[-1][3]) if len(rows) == scan.limit else None

    @one_statement
    def delete_variables(self, rows: Sequence[VariableRow], now: float) -> Program[int]:  # noqa: ARG002
        parameters = (
            [scope_digest(row.scope) for row in rows],
            [row.name for row in rows],
            [row.updated_at for row in rows],
        )
        return (yield from Execute(self._sql["delete_variables"], parameters))

    @one_statement
    def session_variables(self, key: SessionKey, now: float) -> Program[list[VariableRow]]:
        parameters = {"place": session_digest(key), "now": now}
        rows = yield from Fetch(self._sql["session_variables"], parameters)
        return [VariableRow(VariableScope(*key, agent or None), *columns) for agent, *columns in rows]


def _following(scan: StaleScan, rows: Sequence[Sequence[Any]]) -> Any:
    """Return the ID of the last row of a full page."""
    return rows[-1][0] if len(rows) == scan.limit else None
