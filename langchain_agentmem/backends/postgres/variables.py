"""The variable table in Postgres."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_agentmem.backends.contract import (
    KEEP_EXPIRY,
    HeadChangedError,
    ScopeHead,
    SessionUse,
    VariablePut,
    VariableRow,
    VariableScope,
)
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.backends.postgres.history import owner_digest, session_digest
from langchain_agentmem.backends.postgres.statements import Blobs, Texts, statements
from langchain_agentmem.programs import Execute, Fetch, Program, one_statement


class PostgresVariables:
    """Implements `langchain_agentmem.backends.contract.VariableTable`."""

    def __init__(self, schema: str | None) -> None:
        self._sql = statements("variables.sql", schema)

    @one_statement
    def set(
        self,
        scope: VariableScope,
        puts: Sequence[VariablePut],
        now: float,
        use: SessionUse = KEEP_EXPIRY,
        head: ScopeHead | None = None,
    ) -> Program[None]:
        parameters = (
            *(scope_digest(scope), _session(scope), owner_digest(scope.tenant, scope.user_id), scope.tenant),
            *(scope.user_id or "", scope.session_id, scope.agent or ""),
            [put.name for put in puts],
            [put.value for put in puts],
            [put.ttl for put in puts],
            *(now, use.ttl, use.sliding),
            *head_columns(head),
        )
        ((is_done,),) = yield from Fetch(self._sql["set"], parameters)
        if not is_done:
            raise HeadChangedError

    @one_statement
    def read(
        self, scope: VariableScope, names: Sequence[str] | None, now: float, *, whole_session: bool = False
    ) -> Program[list[VariableRow]]:
        scopes = {scope_digest(one): one for one in scope.ranked}
        wanted = None if names is None else Texts(names)
        parameters = {"places": Blobs(scopes), "names": wanted, "now": now, "whole_session": whole_session}
        rows = yield from Fetch(self._sql["read"], parameters)
        return [VariableRow(scopes[bytes(place)], *row) for place, *row in rows]

    @one_statement
    def remove(
        self, scope: VariableScope, names: Sequence[str] | None, now: float, head: ScopeHead | None = None
    ) -> Program[int]:
        parameters = (
            scope_digest(scope),
            _session(scope),
            None if names is None else list(names),
            now,
            *head_columns(head),
        )
        ((removed,),) = yield from Fetch(self._sql["remove"], parameters)
        if removed is None:
            raise HeadChangedError
        return int(removed)

    @one_statement
    def forget(self, tenant: str, user_id: str, now: float) -> Program[int]:  # noqa: ARG002
        return (yield from Execute(self._sql["forget"], (owner_digest(tenant, user_id),)))

    @one_statement
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [user for (user,) in (yield from Fetch(self._sql["users"], {"tenant": tenant, "now": now}))]

    @one_statement
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from Execute(self._sql["sweep"], (tenant, now, limit)))


def scope_digest(scope: VariableScope) -> bytes:
    """Return the digest that identifies a scope."""
    return digest_of_ids(scope.tenant, scope.user_id or "", scope.session_id or "", scope.agent or "")


def head_columns(head: ScopeHead | None) -> tuple[str | None, str | None, str | None, float | None]:
    """Return the name of a head, its expected value, its new value, and its TTL; None for none."""
    if head is None:
        return None, None, None, None
    put = head.put
    return (head.name, head.expected, None, None) if put is None else (head.name, head.expected, put.value, put.ttl)


def _session(scope: VariableScope) -> bytes | None:
    return None if scope.session is None else session_digest(scope.session)
