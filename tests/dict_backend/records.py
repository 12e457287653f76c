"""The record table."""

from __future__ import annotations

import weakref
from typing import Any

from dict_backend.messages import Messages
from dict_backend.programs import program
from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.backends.contract import RecordRow, session_of


class Records:
    """Records of sessions are kept with their sessions."""

    def __init__(self, messages: Messages) -> None:
        self._messages = weakref.ref(messages)
        self._own: dict[str, list[RecordRow]] = {}

    def _all(self, tenant: str, now: float | None) -> list[RecordRow]:
        return [*self._own.get(tenant, []), *self._messages().records(tenant, now)]

    def living(self, tenant: str, now: float) -> list[RecordRow]:
        return self._all(tenant, now)

    @program
    def add(self, tenant, row, ttl, sliding, now):
        key = session_of(tenant, row)
        rows = self._own.setdefault(tenant, []) if key is None else self._messages().use(key, ttl, sliding, now).records
        if all(one.id != row.id for one in rows):
            rows.append(row)

    @program
    def query(self, query, now):
        found = [row for row in self._all(query.tenant, now) if _is_wanted(query, row)]
        found.sort(key=lambda row: row.id, reverse=query.newest_first)
        return found[: query.limit]

    @program
    def count(self, tenant, user_id):
        return sum(user_id in (OMITTED, row.user_id) for row in self._all(tenant, None))

    @program
    def users(self, tenant, now):
        return list({row.user_id for row in self._all(tenant, now) if row.user_id})

    @program
    def delete(self, tenant, rows):
        return self._remove(tenant, {row.id for row in rows})

    @program
    def prune(self, tenant, user_id, below, limit):
        own = [row for row in self._all(tenant, None) if user_id in (OMITTED, row.user_id)]
        old = sorted(row.id for row in own if below is None or row.id < below)
        return self._remove(tenant, set(old[:limit]))

    def _remove(self, tenant: str, ids: set[str]) -> int:
        gone = sum(row.id in ids for row in self._all(tenant, None))
        self._own[tenant] = [row for row in self._own.get(tenant, []) if row.id not in ids]
        self._messages().remove_records(tenant, ids)
        return gone


def _is_wanted(query: Any, row: RecordRow) -> bool:
    named = ("session_id", "agent", "status")
    return (
        query.user_id in (OMITTED, row.user_id)
        and all(getattr(query, name) in (None, getattr(row, name)) for name in named)
        and row.id >= (query.lowest or "")
        and (query.above is None or row.id > query.above)
        and (query.below is None or row.id < query.below)
    )
