"""Encrypted rows that were not used for a long time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from langchain_agentmem.backends.contract import (
    DoomedSession,
    HistoryScope,
    ItemRow,
    LoggedMessage,
    MessageRow,
    Page,
    RecordRow,
    SessionKey,
    SessionRow,
    StaleRows,
    StaleScan,
    ThreadKey,
    ThreadRow,
    VariableRow,
)
from langchain_agentmem.backends.encrypted.records import RecordCipher
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, as_inner
from langchain_agentmem.backends.encrypted.variable_heads import by_scope
from langchain_agentmem.encoding.encryption import USER_ROOT
from langchain_agentmem.programs import Program, storage_program, together

if TYPE_CHECKING:
    from langchain_agentmem.backends.encrypted.backend import EncryptedBackend


class EncryptedStaleRows(EncryptedTable[StaleRows]):
    """Implements `langchain_agentmem.backends.contract.StaleRows`.

    Args:
        backend: The encrypted backend, whose other tables decrypt their rows.
    """

    def __init__(self, backend: EncryptedBackend) -> None:
        super().__init__(backend.inner.stale, backend.ring)
        self._backend = backend
        self._records = RecordCipher(self._inner, backend.ring)
        self._variables = backend.variable_table.guard

    @as_inner
    def sessions(self, scan: StaleScan) -> Program[Page[SessionRow]]:
        rows, following = yield from self._inner.sessions(scan)
        return [self._backend.log.plain_session(row) for row in rows], following

    @storage_program
    def delete_sessions(self, sessions: Sequence[DoomedSession], now: float) -> Program[list[bool]]:
        # The stored rows are compared, and a value that is encrypted again differs. So they are read again.
        openings = self._backend.inner.openings
        found = yield from together([openings.get(self._key(one.row.key), now) for one in sessions])
        stored = [
            one._replace(row=row)
            for one, row in zip(sessions, found, strict=True)
            if row is not None and self._backend.log.plain_session(row) == one.row
        ]
        deleted = iter((yield from self._inner.delete_sessions(stored, now)) if stored else [])
        kept = {self._key(one.row.key) for one in sessions} - {one.row.key for one in stored}
        return [self._key(one.row.key) not in kept and next(deleted) for one in sessions]

    @storage_program
    def messages(self, scan: StaleScan, *, every: bool) -> Program[Page[LoggedMessage]]:
        rows, following = yield from self._inner.messages(scan, every=every)
        return (yield from self._backend.log.plain_messages(rows, scan.now)), following

    @storage_program
    def delete_messages(self, key: SessionKey, rows: Sequence[MessageRow], now: float) -> Program[int]:
        messages = self._backend.log
        scope, addresses = HistoryScope(key.tenant, key.user_id), [(key.session_id, row.position) for row in rows]
        found = yield from messages.stored_rows(scope, addresses, now)
        doomed = [
            known.stored
            for row in rows
            if (known := found.get((key.session_id, row.position))) is not None and known.row.body == row.body
        ]
        yield from messages.discard(key, sorted(row.position for row in doomed), now)
        return (yield from self._inner.delete_messages(self._key(key), doomed, now)) if doomed else 0

    @as_inner
    def threads(self, scan: StaleScan) -> Program[Page[ThreadRow]]:
        rows, following = yield from self._inner.threads(scan)
        return [self._backend.checkpoint_table.plain_thread(row) for row in rows], following

    @as_inner
    def delete_thread(self, thread: ThreadKey, updated_at: float, now: float) -> Program[bool]:
        sealed = self._backend.checkpoint_table.sealed_thread(thread)
        return (yield from self._inner.delete_thread(sealed, updated_at, now))

    @as_inner
    def items(self, scan: StaleScan, omitted: Sequence[str] = ()) -> Program[Page[ItemRow]]:
        # Other roots are encrypted, so their beginnings say nothing.
        rows, following = yield from self._inner.items(scan, [one for one in omitted if one == USER_ROOT])
        table = self._backend.item_table
        return [table.seal.row(scan.tenant, row)[0] for row in table.guard.items(rows)], following

    @as_inner
    def records(self, scan: StaleScan) -> Program[Page[RecordRow]]:
        rows, following = yield from self._inner.records(scan)
        return [self._records.plain(scan.tenant, row) for row in rows], following

    @as_inner
    def variables(self, scan: StaleScan) -> Program[Page[VariableRow]]:
        rows, following = yield from self._inner.variables(scan)
        return self._variables.cipher.plain(rows), following

    @storage_program
    def delete_variables(self, rows: Sequence[VariableRow], now: float) -> Program[int]:
        deleted, table = 0, self._backend.variables
        for scope, own in by_scope(rows).items():
            # The head that is read together with the variables must still be there when they are deleted.
            stored = yield from table.read(scope, [row.name for row in own], now)
            times = {row.name: row.updated_at for row in stored if row.scope == scope}
            unchanged = [row.name for row in own if times.get(row.name) == row.updated_at]
            if unchanged:
                deleted += yield from table.remove(scope, unchanged, now)
        return deleted

    @as_inner
    def session_variables(self, key: SessionKey, now: float) -> Program[list[VariableRow]]:
        # They are counted before they are deleted, so they are not compared with their heads.
        rows = yield from self._inner.session_variables(self._key(key), now)
        return self._variables.cipher.plain(rows)
