"""The encrypted variable table.

Each scope with variables has a head, which says what variables there must be; see
`langchain_agentmem.backends.encrypted.variable_heads`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from langchain_agentmem.backends.contract import (
    KEEP_EXPIRY,
    ScopeHead,
    SessionUse,
    TransferTable,
    VariablePut,
    VariableRow,
    VariableScope,
    VariableTable,
)
from langchain_agentmem.backends.encrypted.item_heads import HEADS, MARGIN
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, as_inner, refuse_head
from langchain_agentmem.backends.encrypted.variable_heads import VariableGuard
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.programs import Program, StorageProgram, storage_program


class EncryptedVariables(EncryptedTable[VariableTable]):
    """Implements `langchain_agentmem.backends.contract.VariableTable`.

    Args:
        inner: The table that stores the encrypted data.
        transfer: The table that reads all variables of a user.
        ring: The keys.
    """

    def __init__(self, inner: VariableTable, transfer: TransferTable, ring: KeyRing) -> None:
        super().__init__(inner, ring)
        self._transfer = transfer
        self.guard = VariableGuard(inner, ring)

    def set(
        self,
        scope: VariableScope,
        puts: Sequence[VariablePut],
        now: float,
        use: SessionUse = KEEP_EXPIRY,
        head: ScopeHead | None = None,
    ) -> Program[None]:
        def begin() -> Program[None]:
            refuse_head(head)
            change = yield from self.guard.setting(scope, puts, now)
            yield from self._inner.set(self.guard.cipher.scope(scope), change.puts, now, use, change.head)
            self.guard.keep(scope, change)

        # It is one conditional statement, perhaps after a read, so it needs no transaction.
        return cast("Program[None]", StorageProgram("set", begin, single=True))

    @as_inner
    def read(
        self, scope: VariableScope, names: Sequence[str] | None, now: float, *, whole_session: bool = False
    ) -> Program[list[VariableRow]]:
        wanted = None if names is None else [*map(self.guard.cipher.name, names), HEADS]
        sealed = self.guard.cipher.scope(scope)
        rows = yield from self._inner.read(sealed, wanted, now, whole_session=whole_session)
        return self.guard.checked(scope.ranked, rows, names, now, whole_session=whole_session)

    def remove(
        self, scope: VariableScope, names: Sequence[str] | None, now: float, head: ScopeHead | None = None
    ) -> Program[int]:
        def begin() -> Program[int]:
            sealed = self.guard.cipher.scope(scope)
            refuse_head(head)
            if names is None:
                removed = yield from self._inner.remove(sealed, None, now)
                self.guard.forget(scope)
                return max(0, removed - 1)  # the head has not expired if one of the variables has not
            change = yield from self.guard.removing(scope, names, now)
            removed = yield from self._inner.remove(sealed, [*map(self.guard.cipher.name, names)], now, change.head)
            self.guard.keep(scope, change)
            return removed

        return cast("Program[int]", StorageProgram("remove", begin, single=True))

    @storage_program
    def forget(self, tenant: str, user_id: str, now: float) -> Program[int]:
        rows = yield from self._transfer.variables(tenant, self._user(user_id), 0.0)
        removed = yield from self._inner.forget(tenant, self._user(user_id), now)
        return max(0, removed - sum(row.name == HEADS for row in rows))

    @as_inner
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        # A head outlives the last variable of its scope by `MARGIN`.
        return [self._ring.plain_id("user", one) for one in (yield from self._inner.users(tenant, now + MARGIN))]

    @as_inner
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from self._inner.sweep(tenant, now, limit))
