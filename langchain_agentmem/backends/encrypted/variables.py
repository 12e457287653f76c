"""The encrypted variable table."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_agentmem.backends.contract import (
    KEEP_EXPIRY,
    SessionUse,
    VariablePut,
    VariableRow,
    VariableScope,
    VariableTable,
)
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, as_inner
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.programs import Program


class VariableCipher(EncryptedTable[object]):
    """Encrypts and decrypts the rows of the variable table."""

    def scope(self, scope: VariableScope) -> VariableScope:
        """Encrypt a scope."""
        session_id = self._ring.optional_id("session", scope.session_id)
        return VariableScope(scope.tenant, self._user(scope.user_id), session_id, self._agent(scope.agent))

    def plain_scope(self, scope: VariableScope) -> VariableScope:
        """Decrypt a scope."""
        ring = self._ring
        return VariableScope(
            scope.tenant,
            ring.optional_plain_id("user", scope.user_id),
            ring.optional_plain_id("session", scope.session_id),
            self._plain_agent(scope.agent),
        )

    def name(self, name: str) -> str:
        """Encrypt the name of a variable."""
        return self._ring.id("variable", name)

    def names(self, names: Sequence[str] | None) -> list[str] | None:
        """Encrypt the names of variables."""
        return None if names is None else [self.name(one) for one in names]

    def puts(self, scope: VariableScope, puts: Sequence[VariablePut]) -> list[VariablePut]:
        """Encrypt variables of a scope."""
        return [
            put._replace(name=self.name(put.name), value=self._seal(put.value, *_place(scope, put.name)))
            for put in puts
        ]

    def sealed(self, row: VariableRow) -> VariableRow:
        """Encrypt a variable."""
        value = self._seal(row.value, *_place(row.scope, row.name))
        return row._replace(scope=self.scope(row.scope), name=self.name(row.name), value=value)

    def plain(self, row: VariableRow) -> VariableRow:
        """Decrypt a variable."""
        scope, name = self.plain_scope(row.scope), self._ring.plain_id("variable", row.name)
        value = self._open(f"Variable {name!r}", row.value, *_place(scope, name))
        return row._replace(scope=scope, name=name, value=value)


class EncryptedVariables(EncryptedTable[VariableTable]):
    """Implements `langchain_agentmem.backends.contract.VariableTable`."""

    def __init__(self, inner: VariableTable, ring: KeyRing) -> None:
        super().__init__(inner, ring)
        self._cipher = VariableCipher(inner, ring)

    @as_inner
    def set(
        self, scope: VariableScope, puts: Sequence[VariablePut], now: float, use: SessionUse = KEEP_EXPIRY
    ) -> Program[None]:
        yield from self._inner.set(self._cipher.scope(scope), self._cipher.puts(scope, puts), now, use)

    @as_inner
    def read(self, scope: VariableScope, names: Sequence[str] | None, now: float) -> Program[list[VariableRow]]:
        rows = yield from self._inner.read(self._cipher.scope(scope), self._cipher.names(names), now)
        return [self._cipher.plain(row) for row in rows]

    @as_inner
    def remove(self, scope: VariableScope, names: Sequence[str] | None, now: float) -> Program[int]:
        return (yield from self._inner.remove(self._cipher.scope(scope), self._cipher.names(names), now))

    @as_inner
    def forget(self, tenant: str, user_id: str, now: float) -> Program[int]:
        return (yield from self._inner.forget(tenant, self._user(user_id), now))

    @as_inner
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [self._ring.plain_id("user", one) for one in (yield from self._inner.users(tenant, now))]

    @as_inner
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from self._inner.sweep(tenant, now, limit))


def _place(scope: VariableScope, name: str) -> list[str]:
    """Return the place of a variable's value. Empty names, which no ID is, stand for none."""
    return ["variable", *(one or "" for one in scope), name]
