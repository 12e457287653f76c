"""The record table in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract import RecordQuery, RecordRow, SessionKey, session_of
from langchain_agentmem.backends.postgres.history import owner_digest, session_digest
from langchain_agentmem.backends.postgres.statements import statements
from langchain_agentmem.programs import Execute, Fetch, Program, one_statement


class PostgresRecords:
    """Implements `langchain_agentmem.backends.contract.RecordTable`."""

    def __init__(self, schema: str | None) -> None:
        self._sql = statements("records.sql", schema)

    @one_statement
    def add(self, tenant: str, row: RecordRow, ttl: float | None, sliding: bool, now: float) -> Program[None]:
        key = session_of(tenant, row)
        parameters = (
            *(
                None if key is None else session_digest(key),
                owner_digest(tenant, row.user_id),
                tenant,
                row.user_id or "",
            ),
            *(row.session_id, now, ttl, sliding, row.id, row.agent, row.status, row.started_at, row.duration),
            *(row.created_at, row.record, row.ends_with_session),
        )
        yield from Fetch(self._sql["add"], parameters)

    @one_statement
    def query(self, query: RecordQuery, now: float) -> Program[list[RecordRow]]:
        name = "newest" if query.newest_first else "oldest"
        parameters: dict[str, Any] = {**query._asdict(), "now": now}
        user_id = parameters.pop("user_id")
        if user_id is not OMITTED and query.session_id is not None:
            name += "_of_session"
            parameters["place"] = session_digest(SessionKey(query.tenant, user_id, query.session_id))
        elif user_id is not OMITTED:
            name += "_of_user"
            parameters["owner"] = owner_digest(query.tenant, user_id)
        rows = yield from Fetch(self._sql[name], parameters)
        return [RecordRow(id_, user_id or None, *columns) for id_, user_id, *columns in rows]

    @one_statement
    def count(self, tenant: str, user_id: str | Omitted | None) -> Program[int]:
        ((count,),) = yield from Fetch(*self._of("count", tenant, user_id))
        return int(count)

    @one_statement
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [user for (user,) in (yield from Fetch(self._sql["users"], {"tenant": tenant, "now": now}))]

    @one_statement
    def delete(self, tenant: str, rows: Sequence[RecordRow]) -> Program[int]:
        return (yield from Execute(self._sql["delete"], (tenant, [row.id for row in rows])))

    @one_statement
    def prune(self, tenant: str, user_id: str | Omitted | None, below: str | None, limit: int) -> Program[int]:
        return (yield from Execute(*self._of("prune", tenant, user_id, below=below, limit=limit)))

    def _of(
        self, name: str, tenant: str, user_id: str | Omitted | None, **parameters: Any
    ) -> tuple[str, dict[str, Any]]:
        """Return a statement for one user or for all, and its parameters."""
        if user_id is OMITTED:
            return self._sql[name], {"tenant": tenant, **parameters}
        return self._sql[f"{name}_of_user"], {"owner": owner_digest(tenant, user_id), **parameters}
