"""The openings of sessions in SQLite."""

from __future__ import annotations

import json
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
from langchain_agentmem.backends.sqlite.history import end_session, listed_session, session_columns, use_session
from langchain_agentmem.backends.sqlite.traces import Replaced
from langchain_agentmem.backends.sqlite.variables import SqliteVariables
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.programs import Execute, Fetch, Program

SQL = load_statements("langchain_agentmem.backends.sqlite", "openings.sql")

_MOST_WITHDRAWN = 1_000
"""Upper bound of the withdrawn openings that are remembered."""


class SqliteOpenings:
    """See `langchain_agentmem.backends.contract.OpeningTable`.

    An interrupted call of SQLite runs in this process, so withdrawn openings are remembered here.
    """

    def __init__(self) -> None:
        self._withdrawn: dict[int, None] = {}

    def open(self, key: SessionKey, opening: Opening) -> Program[Opened]:
        now, timeout = opening.now, opening.timeout
        if opening.token in self._withdrawn:
            return Opened()
        for _, updated_at, _, stored, *_ in (yield from Fetch(SQL["state"], _named(key, now))):
            if stored is not None and updated_at + stored <= now:
                yield from self._end(key, now)
        session, _ = yield from use_session(key, now, opening.ttl, opening.sliding)
        ((_, used_at, metadata, stored, openings, *_, head),) = yield from Fetch(SQL["state"], _named(key, now))
        tokens = json.loads(openings)
        if tokens:  # a session that is open already keeps the longer timeout
            timeout = None if stored is None or timeout is None else max(stored, timeout)
        metadata = metadata if opening.metadata is None else opening.metadata
        parameters = {
            "session": session,
            "openings": json.dumps(sorted({*tokens, opening.token})),
            "timeout": timeout,
            "check_at": None if timeout is None else used_at + timeout,
            "metadata": metadata,
            **_ending(opening.ending),
        }
        if opening.session_head is not None:
            if head not in opening.session_head:
                raise HeadChangedError
            head = opening.session_head.head
        yield from Execute(SQL["open"], {**parameters, "head": head})
        if opening.variables:
            yield from SqliteVariables().set(VariableScope(*key), opening.variables, now, head=opening.head)
        return Opened(metadata, head)

    def close(self, key: SessionKey, token: int, ending: Ending | None, now: float) -> Program[bool]:
        if ending is None:
            self._withdrawn[token] = None
            for old in list(self._withdrawn)[:-_MOST_WITHDRAWN]:
                self._withdrawn.pop(old, None)
        for session, _, _, _, openings, *_ in (yield from Fetch(SQL["state"], _named(key, now))):
            tokens = json.loads(openings)
            left = [one for one in tokens if one != token]
            if ending is None and token not in tokens:
                return False
            if ending is not None and not tokens:
                yield from self.change(key, ending, now)
            if not left:
                return (yield from self._end(key, now))
            yield from Execute(SQL["close"], (json.dumps(left), session))
        return False

    def change(self, key: SessionKey, ending: Ending, now: float) -> Program[bool]:
        return bool((yield from Execute(SQL["change_ending"], {**_named(key, now), **_ending(ending)})))

    def swap_metadata(
        self, key: SessionKey, expected: str | None, metadata: str, now: float, head: HeadSwap | None = None
    ) -> Program[tuple[str | None] | None]:
        for _, _, stored, *_, known in (yield from Fetch(SQL["state"], _named(key, now))):
            if stored != expected or (head is not None and head.expected != known):
                return (stored,)
            new = known if head is None else head.head
            yield from Execute(SQL["change_metadata"], {**_named(key, now), "metadata": metadata, "head": new})
            yield from Replaced()
            return (metadata,)
        return None

    def get(self, key: SessionKey, now: float) -> Program[SessionRow | None]:
        rows = yield from Fetch(SQL["get"], _named(key, now))
        return listed_session(key.tenant, rows[0]) if rows else None

    def activity(self, key: SessionKey, now: float) -> Program[SessionActivity | None]:
        row = yield from self.get(key, now)
        messages = yield from Fetch(SQL["agents"], _named(key, now))
        records = yield from Fetch(SQL["tally"], _named(key, now))
        return None if row is None else SessionActivity(row, [*map(tuple, messages)], [*map(tuple, records)])

    def end_abandoned(self, tenant: str, now: float, limit: int) -> Program[int]:
        yield from Execute(SQL["postpone"], {"tenant": tenant, "now": now})
        rows = yield from Fetch(SQL["abandoned"], {"tenant": tenant, "now": now, "limit": limit})
        for user_id, session_id in rows:
            yield from self._end(SessionKey(tenant, user_id or None, session_id), now)
        return len(rows)

    def _end(self, key: SessionKey, now: float) -> Program[bool]:
        """End a session as its `Ending` says, and return true."""
        for session, *_, ends, exceptions, _ in (yield from Fetch(SQL["state"], _named(key, now))):
            yield from end_session(key)
            named = {"session": session, "ends": ends, "exceptions": exceptions}
            yield from Execute(SQL["delete_variables"], named)
            yield from Execute(SQL["close_all"], (session,))
            if ends:
                yield from Execute(SQL["delete_empty"], {"session": session})
        return True


def _ending(ending: Ending) -> dict[str, Any]:
    return {"ends": ending.ends, "exceptions": json.dumps(list(ending.exceptions))}


def _named(key: SessionKey, now: float) -> dict[str, Any]:
    names = ("tenant", "user_id", "session_id")
    return {**dict(zip(names, session_columns(key), strict=True)), "now": now}
