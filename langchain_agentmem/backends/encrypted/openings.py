"""The encrypted openings of sessions."""

from __future__ import annotations

from langchain_agentmem.backends.contract import (
    Ending,
    HeadChangedError,
    Opening,
    OpeningTable,
    SessionActivity,
    SessionKey,
    SessionRow,
    VariableScope,
)
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, as_inner, names_of
from langchain_agentmem.backends.encrypted.variable_heads import VariableGuard, refuse_head
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.programs import Program, storage_program


class EncryptedOpenings(EncryptedTable[OpeningTable]):
    """Implements `langchain_agentmem.backends.contract.OpeningTable`."""

    def __init__(self, inner: OpeningTable, ring: KeyRing, variables: VariableGuard) -> None:
        super().__init__(inner, ring)
        self._variables = variables

    @as_inner
    def open(self, key: SessionKey, opening: Opening) -> Program[str | None]:
        refuse_head(opening.head)
        sealed = opening._replace(
            ending=self._ending(opening.ending),
            metadata=self._seal_optional(opening.metadata, "metadata", *names_of(key)),
        )
        if not opening.variables:
            return self._metadata(key, (yield from self._inner.open(self._key(key), sealed)))
        try:
            return (yield from self._open_with_variables(key, opening, sealed))
        except HeadChangedError:  # the opening may itself have ended the session, which has deleted the variables
            return (yield from self._open_with_variables(key, opening, sealed))

    def _open_with_variables(self, key: SessionKey, opening: Opening, sealed: Opening) -> Program[str | None]:
        scope = VariableScope(*key)
        change = yield from self._variables.setting(scope, opening.variables, opening.now)
        sealed = sealed._replace(variables=change.puts, head=change.head)
        metadata = yield from self._inner.open(self._key(key), sealed)
        self._variables.keep(scope, change)
        return self._metadata(key, metadata)

    @as_inner
    def close(self, key: SessionKey, token: int, ending: Ending | None, now: float) -> Program[bool]:
        sealed = None if ending is None else self._ending(ending)
        return (yield from self._inner.close(self._key(key), token, sealed, now))

    @as_inner
    def change(self, key: SessionKey, ending: Ending, now: float) -> Program[bool]:
        return (yield from self._inner.change(self._key(key), self._ending(ending), now))

    @storage_program
    def swap_metadata(
        self, key: SessionKey, expected: str | None, metadata: str, now: float
    ) -> Program[tuple[str | None] | None]:
        row = yield from self._inner.get(self._key(key), now)
        if row is None:
            return None
        stored = self._metadata(key, row.metadata)
        if stored != expected:
            return (stored,)
        sealed = self._seal(metadata, "metadata", *names_of(key))
        found = yield from self._inner.swap_metadata(self._key(key), row.metadata, sealed, now)
        if found is not None and found[0] != sealed:
            raise HeadChangedError
        return None if found is None else (metadata,)

    @as_inner
    def get(self, key: SessionKey, now: float) -> Program[SessionRow | None]:
        row = yield from self._inner.get(self._key(key), now)
        return None if row is None else self._plain_session(row)

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
        return SessionActivity(self._plain_session(found.row), messages, records)

    @as_inner
    def end_abandoned(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from self._inner.end_abandoned(tenant, now, limit))

    def _ending(self, ending: Ending) -> Ending:
        return ending._replace(exceptions=[self._ring.id("agent", one) for one in ending.exceptions])

    def _metadata(self, key: SessionKey, sealed: str | None) -> str | None:
        what = f"The metadata of session {key.session_id!r}"
        return None if sealed is None else self._open(what, sealed, "metadata", *names_of(key))
