"""The openings of sessions in Postgres."""

from __future__ import annotations

from typing import Any

from langchain_agentmem.backends.contract import (
    Ending,
    HeadChangedError,
    HeadSwap,
    Opened,
    Opening,
    SessionActivity,
    SessionKey,
    SessionRow,
    VariableScope,
)
from langchain_agentmem.backends.postgres.history import listed_session, owner_digest, session_digest
from langchain_agentmem.backends.postgres.statements import statements
from langchain_agentmem.backends.postgres.variables import head_columns, scope_digest
from langchain_agentmem.programs import All, Execute, Fetch, Program, one_statement, storage_program


class PostgresOpenings:
    """Implements `langchain_agentmem.backends.contract.OpeningTable`."""

    def __init__(self, schema: str | None) -> None:
        self._sql = statements("openings.sql", schema)

    @one_statement
    def open(self, key: SessionKey, opening: Opening) -> Program[Opened]:
        parameters = (
            *(
                session_digest(key),
                owner_digest(key.tenant, key.user_id),
                key.tenant,
                key.user_id or "",
                key.session_id,
            ),
            *(opening.now, opening.ttl, opening.sliding, opening.token, opening.timeout, opening.metadata),
            *(opening.ending.ends, list(opening.ending.exceptions), scope_digest(VariableScope(*key))),
            [put.name for put in opening.variables],
            [put.value for put in opening.variables],
            [put.ttl for put in opening.variables],
            *head_columns(opening.head),
            *(opening.session_head or (None, None)),
        )
        ((metadata, head, is_done),) = yield from Fetch(self._sql["open"], parameters)
        if not is_done:
            raise HeadChangedError
        return Opened(metadata, head)

    @one_statement
    def close(self, key: SessionKey, token: int, ending: Ending | None, now: float) -> Program[bool]:
        named = (None, []) if ending is None else (ending.ends, list(ending.exceptions))
        parameters = (session_digest(key), token, now, *named)
        ((ended,),) = yield from Fetch(self._sql["close"], parameters)
        return bool(ended)

    @one_statement
    def change(self, key: SessionKey, ending: Ending, now: float) -> Program[bool]:
        parameters = {**_named(key, now), "ends": ending.ends, "exceptions": list(ending.exceptions)}
        return bool((yield from Execute(self._sql["change"], parameters)))

    @one_statement
    def swap_metadata(
        self, key: SessionKey, expected: str | None, metadata: str, now: float, head: HeadSwap | None = None
    ) -> Program[tuple[str | None] | None]:
        former, new = head or (None, None)
        properties = {"expected": expected, "metadata": metadata, "former": former, "head": new}
        parameters = {**_named(key, now), **properties}
        rows = yield from Fetch(self._sql["swap_metadata"], parameters)
        return (rows[0][0],) if rows else None

    @one_statement
    def get(self, key: SessionKey, now: float) -> Program[SessionRow | None]:
        rows = yield from Fetch(self._sql["get"], _named(key, now))
        return listed_session(key.tenant, rows[0]) if rows else None

    @storage_program
    def activity(self, key: SessionKey, now: float) -> Program[SessionActivity | None]:
        named = _named(key, now)
        steps = [Fetch(self._sql[name], named) for name in ("get", "agents", "tally")]
        rows, messages, records = yield from All(steps)
        return SessionActivity(listed_session(key.tenant, rows[0]), messages, records) if rows else None

    @one_statement
    def end_abandoned(self, tenant: str, now: float, limit: int) -> Program[int]:
        ((ended,),) = yield from Fetch(self._sql["end_abandoned"], (tenant, now, limit))
        return int(ended)


def _named(key: SessionKey, now: float) -> dict[str, Any]:
    return {"place": session_digest(key), "now": now}
