"""Rows that were not used for a long time."""

from __future__ import annotations

import weakref
from typing import Any

from dict_backend.programs import alive, program
from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.backends.contract import LoggedMessage
from langchain_agentmem.programs import run


class StaleRows:
    """Listings are one page of all rows."""

    def __init__(self, backend: Any) -> None:
        self._backend = weakref.ref(backend)

    @property
    def _tables(self) -> Any:
        return self._backend()

    @program
    def sessions(self, scan):
        rows = run(self._tables.messages.sessions(scan.tenant, OMITTED, None, 0, scan.now))
        return [row for row in rows if row.updated_at < scan.before and not self._is_open(row.key, scan.now)], None

    def _is_open(self, key, now):
        session = self._tables.messages.alive(key, now)
        if session is None or not session.openings:
            return False
        return session.timeout is None or session.updated_at + session.timeout > now

    @program
    def delete_sessions(self, sessions, now):
        deleted = []
        for row, revision in sessions:
            session = self._tables.messages.alive(row.key, now)
            summary = session and session.summaries.get("")
            known = revision in (OMITTED, summary.revision if summary else None)
            known = known and not self._is_open(row.key, now)
            deleted.append(session is not None and known and self._tables.messages.row(row.key, session) == row)
            if deleted[-1]:
                self._tables.messages.drop(row.key)
        return deleted

    @program
    def messages(self, scan, *, every):
        found = []
        for row in run(self._tables.messages.sessions(scan.tenant, OMITTED, None, 0, scan.now)):
            if every or row.updated_at >= scan.before:
                page = run(self._tables.messages.page(row.key, None, -1, 10**6, scan.now))
                found += [LoggedMessage(row.key, one) for one in page if one.created_at < scan.before]
        return found, None

    @program
    def delete_messages(self, key, rows, now):
        return self._tables.messages.discard(key, rows, now)

    @program
    def threads(self, scan):
        rows = run(self._tables.checkpoints.threads(scan.tenant, OMITTED, None, 0, scan.now))
        return [row for row in rows if row.updated_at < scan.before], None

    @program
    def delete_thread(self, thread, updated_at, now):
        rows = run(self._tables.checkpoints.threads(thread.tenant, OMITTED, None, 0, now))
        found = any((row.thread_id, row.updated_at) == (thread.thread_id, updated_at) for row in rows)
        if found:
            run(self._tables.checkpoints.delete_thread(thread))
        return found

    @program
    def items(self, scan, omitted=()):
        rows, _ = run(self._tables.items.scan(scan.tenant, (), None, 10**6, None, scan.now))
        return [row for row in rows if row.updated_at < scan.before], None

    @program
    def records(self, scan):
        return run(self._tables.records.query(scan.records._replace(limit=10**6), scan.now)), None

    @program
    def variables(self, scan):
        rows = self._tables.variables.of_users(scan.tenant)
        return [row for row in rows if row.updated_at < scan.before and alive(row, scan.now)], None

    @program
    def delete_variables(self, rows, now):
        return sum(self._tables.variables.discard(row) for row in rows)

    @program
    def session_variables(self, key, now):
        session = self._tables.messages.alive(key, now)
        every = session.variables.values() if session else ()
        return [row for rows in every for row in rows.values() if alive(row, now)]
