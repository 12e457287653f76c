"""The variable table."""

from __future__ import annotations

import weakref
from typing import Any

from dict_backend.messages import Messages
from dict_backend.programs import alive, program
from langchain_agentmem.backends.contract import KEEP_EXPIRY, HeadChangedError, VariableRow, VariableScope


def put_all(scope, rows, puts, now):
    """Set variables in the rows of a scope."""
    for put in puts:
        before = rows.get(put.name)
        updated = max(now, before.updated_at) if before else now
        created = before.created_at if alive(before, now) else now
        expires = None if put.ttl is None else updated + put.ttl
        rows[put.name] = VariableRow(scope, put.name, put.value, created, updated, expires)


def swap_head(scope, rows, head, now):
    """Change the head in the rows of a scope."""
    if head is None:
        return
    known = rows.get(head.name)
    if (known.value if alive(known, now) else None) != head.expected:
        raise HeadChangedError
    if head.put is None:
        rows.pop(head.name, None)
    else:
        put_all(scope, rows, [head.put], now)


class Variables:
    """The variables of sessions are part of the sessions, so that they end with them."""

    def __init__(self, messages: Messages) -> None:
        self._messages = weakref.ref(messages)  # a copy of the state refers to the same table
        self._scopes: dict[VariableScope, dict[str, VariableRow]] = {}

    def _of(self, scope: VariableScope, now: float) -> tuple[dict[str, VariableRow], float | None]:
        """The variables of exactly a scope, and the expiry of its session."""
        if scope.session is None:
            return self._scopes.setdefault(scope, {}), None
        session = self._messages().alive(scope.session, now)
        return ({}, None) if session is None else (session.variables.setdefault(scope.agent, {}), session.expires_at)

    def living(self, tenant: str, now: float) -> list[VariableRow]:
        """The variables outside of sessions that have not expired."""
        every = [row for scope, rows in self._scopes.items() if scope.tenant == tenant for row in rows.values()]
        return [row for row in every if alive(row, now)]

    @program
    def set(self, scope, puts, now, use=KEEP_EXPIRY, head=None):
        if scope.session is not None:
            self._messages().use(scope.session, use.ttl, use.sliding, now)
        rows, _ = self._of(scope, now)
        swap_head(scope, rows, head, now)
        put_all(scope, rows, puts, now)

    @program
    def read(self, scope, names, now, *, whole_session=False):
        found = []
        for one in scope.ranked:
            rows, ends = self._of(one, now)
            for row in rows.values():
                if alive(row, now) and (names is None or row.name in names or (whole_session and one.session)):
                    times = [time for time in (row.expires_at, ends) if time is not None]
                    found.append(row._replace(expires_at=min(times, default=None)))
        return found

    @program
    def remove(self, scope, names, now, head=None):
        rows, _ = self._of(scope, now)
        swap_head(scope, rows, head, now)
        doomed = [name for name in rows if names is None or name in names]
        return sum(alive(rows.pop(name), now) for name in doomed)

    @program
    def forget(self, tenant, user_id, now):
        doomed = [scope for scope in self._scopes if (scope.tenant, scope.user_id) == (tenant, user_id)]
        return sum(len(self._scopes.pop(scope)) for scope in doomed)

    @program
    def users(self, tenant, now):
        return list(
            {
                scope.user_id
                for scope, rows in self._scopes.items()
                if scope.tenant == tenant and scope.user_id and any(alive(row, now) for row in rows.values())
            }
        )

    def of_users(self, tenant: str) -> list[VariableRow]:
        """Return the variables of users outside of sessions."""
        return [
            row
            for scope, rows in self._scopes.items()
            if scope.tenant == tenant and scope.user_id and scope.session_id is None
            for row in rows.values()
        ]

    def discard(self, row: VariableRow) -> bool:
        """Delete a variable that has not changed."""
        rows = self._scopes.get(row.scope, {})
        found = rows.get(row.name) == row
        if found:
            del rows[row.name]
        return found

    @program
    def sweep(self, tenant, now, limit):
        swept = 0
        every: list[dict[str, Any]] = [rows for scope, rows in self._scopes.items() if scope.tenant == tenant]
        every += [rows for session in self._messages().of(tenant) for rows in session.variables.values()]
        for rows in every:
            for name in [name for name, row in rows.items() if not alive(row, now)][: limit - swept]:
                del rows[name]
                swept += 1
        return swept
