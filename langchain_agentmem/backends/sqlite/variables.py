"""The variable table in SQLite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_agentmem.backends.contract import (
    KEEP_EXPIRY,
    HeadChangedError,
    ScopeHead,
    SessionUse,
    VariablePut,
    VariableRow,
    VariableScope,
)
from langchain_agentmem.backends.sqlite.history import use_session
from langchain_agentmem.backends.sqlite.traces import Replaced
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.programs import Execute, ExecuteMany, Fetch, Program

SQL = load_statements("langchain_agentmem.backends.sqlite", "variables.sql")

_NO_SESSION = 0


class SqliteVariables:
    """See `langchain_agentmem.backends.contract.VariableTable`."""

    def set(
        self,
        scope: VariableScope,
        puts: Sequence[VariablePut],
        now: float,
        use: SessionUse = KEEP_EXPIRY,
        head: ScopeHead | None = None,
    ) -> Program[None]:
        session = _NO_SESSION
        if scope.session is not None:
            session, _ = yield from use_session(scope.session, now, use.ttl, use.sliding)
        if head is not None:
            yield from self._swap_head(scope, session, head, now)
        named = _columns(scope, session, [put.name for put in puts])
        ((stored,),) = yield from Fetch(SQL["stored"], named)
        yield from self._set(scope, session, puts, now)
        if stored:
            yield from Replaced()

    def _set(self, scope: VariableScope, session: int, puts: Sequence[VariablePut], now: float) -> Program[None]:
        columns = (scope.tenant, scope.user_id or "", session, scope.agent or "")
        rows = [
            (*columns, put.name, put.value, now, now, None if put.ttl is None else now + put.ttl, put.ttl)
            for put in puts
        ]
        yield from ExecuteMany(SQL["set"], rows)

    def _swap_head(self, scope: VariableScope, session: int, head: ScopeHead, now: float) -> Program[None]:
        columns = _columns(scope, session, [head.name])
        found = yield from Fetch(SQL["head"], {**columns, "name": head.name, "now": now})
        if (found[0][0] if found else None) != head.expected:
            raise HeadChangedError
        if head.put is None:
            yield from Execute(SQL["remove"], columns)
        else:
            yield from self._set(scope, session, [head.put], now)

    def read(
        self, scope: VariableScope, names: Sequence[str] | None, now: float, *, whole_session: bool = False
    ) -> Program[list[VariableRow]]:
        parameters = {
            **scope._asdict(),
            "user_id": scope.user_id or "",
            "names": None if names is None else json.dumps(names),
            "whole_session": whole_session,
            "now": now,
        }
        rows = yield from Fetch(SQL["read"], parameters)
        scopes = {
            (user, session, agent): VariableScope(
                scope.tenant, user or None, scope.session_id if session else None, agent or None
            )
            for user, session, agent in {row[:3] for row in rows}
        }
        return [VariableRow(scopes[row[:3]], *row[3:]) for row in rows]

    def remove(
        self, scope: VariableScope, names: Sequence[str] | None, now: float, head: ScopeHead | None = None
    ) -> Program[int]:
        session = _NO_SESSION
        if scope.session is not None:
            parameters = {**scope._asdict(), "user_id": scope.user_id or "", "now": now}
            found = yield from Fetch(SQL["living_session"], parameters)
            if not found:
                return 0
            session = found[0][0]
        if head is not None:
            yield from self._swap_head(scope, session, head, now)
        columns = _columns(scope, session, names)
        ((expired,),) = yield from Fetch(SQL["count_expired"], {**columns, "now": now})
        removed: int = (yield from Execute(SQL["remove"], columns)) - expired
        return removed

    def forget(self, tenant: str, user_id: str, now: float) -> Program[int]:  # noqa: ARG002
        return (yield from Execute(SQL["forget"], (tenant, user_id)))

    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [user for (user,) in (yield from Fetch(SQL["users"], {"tenant": tenant, "now": now}))]

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from Execute(SQL["sweep"], (tenant, now, limit)))


def _columns(scope: VariableScope, session: int, names: Sequence[str] | None) -> dict[str, Any]:
    return {
        "tenant": scope.tenant,
        "user_id": scope.user_id or "",
        "session": session,
        "agent": scope.agent or "",
        "names": None if names is None else json.dumps(names),
    }
