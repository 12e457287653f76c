"""The encrypted openings of sessions."""

from __future__ import annotations

from langchain_agentmem.backends.contract import (
    Ending,
    HeadChangedError,
    HeadSwap,
    Opened,
    Opening,
    OpeningTable,
    SessionActivity,
    SessionKey,
    SessionRow,
    VariableScope,
)
from langchain_agentmem.backends.encrypted.messages import EncryptedMessages
from langchain_agentmem.backends.encrypted.session_rows import SessionCipher
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, as_inner, refuse_head
from langchain_agentmem.backends.encrypted.variable_heads import VariableGuard
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.programs import Program, storage_program


class EncryptedOpenings(EncryptedTable[OpeningTable]):
    """Implements `langchain_agentmem.backends.contract.OpeningTable`."""

    def __init__(self, inner: OpeningTable, ring: KeyRing, log: EncryptedMessages, variables: VariableGuard) -> None:
        super().__init__(inner, ring)
        self._cipher = SessionCipher(inner, ring)
        self._log = log
        self._variables = variables

    @as_inner
    def open(self, key: SessionKey, opening: Opening) -> Program[Opened]:
        refuse_head(opening.head)
        refuse_head(opening.session_head)
        try:
            return (yield from self._open_session(key, opening))
        except HeadChangedError:  # the opening may itself have ended the session, which has deleted the variables
            return (yield from self._open_session(key, opening))

    def _open_session(self, key: SessionKey, opening: Opening) -> Program[Opened]:
        sealed = opening._replace(
            ending=self._ending(opening.ending), metadata=self._cipher.metadata(key, opening.metadata)
        )
        scope, variables, session = VariableScope(*key), None, None
        if opening.metadata is not None:
            session = yield from self._log.changing(key, opening.now, metadata=opening.metadata)
            sealed = sealed._replace(session_head=session.swap)
        if opening.variables:
            variables = yield from self._variables.setting(scope, opening.variables, opening.now)
            sealed = sealed._replace(variables=variables.puts, head=variables.head)
        opened = yield from self._inner.open(self._key(key), sealed)
        metadata = self._cipher.plain_metadata(key, opened.metadata, opened.head)
        if variables is not None:
            self._variables.keep(scope, variables)
        if session is not None:
            self._log.keep(key, session)
        return Opened(metadata)

    @as_inner
    def close(self, key: SessionKey, token: int, ending: Ending | None, now: float) -> Program[bool]:
        sealed = None if ending is None else self._ending(ending)
        return (yield from self._inner.close(self._key(key), token, sealed, now))

    @as_inner
    def change(self, key: SessionKey, ending: Ending, now: float) -> Program[bool]:
        return (yield from self._inner.change(self._key(key), self._ending(ending), now))

    @storage_program
    def swap_metadata(
        self, key: SessionKey, expected: str | None, metadata: str, now: float, head: HeadSwap | None = None
    ) -> Program[tuple[str | None] | None]:
        refuse_head(head)
        change = yield from self._log.changing(key, now, metadata=metadata)
        row = yield from self._inner.get(self._key(key), now)
        if row is None:
            return None
        stored = self._cipher.plain_metadata(key, row.metadata, row.head)
        if stored != expected:
            return (stored,)
        sealed = self._cipher.metadata(key, metadata) or ""
        found = yield from self._inner.swap_metadata(self._key(key), row.metadata, sealed, now, change.swap)
        if found is not None and found[0] != sealed:
            raise HeadChangedError
        self._log.keep(key, change)
        return None if found is None else (metadata,)

    @as_inner
    def get(self, key: SessionKey, now: float) -> Program[SessionRow | None]:
        row = yield from self._inner.get(self._key(key), now)
        return None if row is None else self._cipher.plain_session(row)

    @as_inner
    def activity(self, key: SessionKey, now: float) -> Program[SessionActivity | None]:
        found = yield from self._inner.activity(self._key(key), now)
        if found is None:
            return None
        messages = [(self._plain_agent(agent), number) for agent, number in found.messages]
        records = [
            (self._ring.plain_id("agent", agent), self._ring.plain_id("status", status), number)
            for agent, status, number in found.records
        ]
        return SessionActivity(self._cipher.plain_session(found.row), messages, records)

    @as_inner
    def end_abandoned(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from self._inner.end_abandoned(tenant, now, limit))

    def _ending(self, ending: Ending) -> Ending:
        return ending._replace(exceptions=[self._ring.id("agent", one) for one in ending.exceptions])
