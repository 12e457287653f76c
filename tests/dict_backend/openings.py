"""The openings of sessions."""

from __future__ import annotations

import weakref
from collections import Counter

from dict_backend.messages import Messages, Session, replace_head
from dict_backend.programs import alive, program
from dict_backend.variables import swap_head
from langchain_agentmem.backends.contract import (
    HeadChangedError,
    Opened,
    SessionActivity,
    SessionKey,
    VariableRow,
    VariableScope,
)


class Openings:
    def __init__(self, messages: Messages) -> None:
        self._table = weakref.ref(messages)
        self._withdrawn = set()

    @property
    def _messages(self) -> Messages:
        return self._table()

    @program
    def open(self, key, opening):
        if opening.token in self._withdrawn:
            return Opened()
        found = self._messages.alive(key, opening.now)
        if found is not None and _is_over(found, opening.now):
            self._end(key, found)
        session = self._messages.use(key, opening.ttl, opening.sliding, opening.now)
        timeout = opening.timeout
        if session.openings:
            timeout = None if None in (session.timeout, timeout) else max(session.timeout, timeout)
        session.timeout, session.ending = timeout, opening.ending
        session.openings.add(opening.token)
        if not replace_head(session, opening.session_head):
            raise HeadChangedError
        if opening.metadata is not None:
            session.metadata = opening.metadata
        rows = session.variables.setdefault(None, {})
        if opening.variables:
            swap_head(VariableScope(*key), rows, opening.head, opening.now)
        for put in opening.variables:
            rows[put.name] = VariableRow(VariableScope(*key), put.name, put.value, opening.now, opening.now, None)
        return Opened(session.metadata, session.head)

    @program
    def close(self, key, token, ending, now):
        if ending is None:
            self._withdrawn.add(token)
        session = self._messages.alive(key, now)
        if session is None or (ending is None and token not in session.openings):
            return False
        if not session.openings:
            session.ending = ending
        session.openings.discard(token)
        if session.openings:
            return False
        self._end(key, session)
        return True

    def _end(self, key: SessionKey, session: Session) -> None:
        self._messages.finish(key)
        for agent in [one for one in session.variables if (one in session.ending.exceptions) != session.ending.ends]:
            del session.variables[agent]
        session.openings.clear()
        session.timeout = None
        if session.ending.ends and not session.rows and not session.records and not any(session.variables.values()):
            self._messages.drop(key)

    @program
    def change(self, key, ending, now):
        session = self._messages.alive(key, now)
        if session is None:
            return False
        session.ending = ending
        return True

    @program
    def swap_metadata(self, key, expected, metadata, now, head=None):
        session = self._messages.alive(key, now)
        if session is None:
            return None
        if session.metadata == expected and replace_head(session, head):
            session.metadata = metadata
        return (session.metadata,)

    @program
    def get(self, key, now):
        session = self._messages.alive(key, now)
        return None if session is None else self._messages.row(key, session)

    @program
    def activity(self, key, now):
        session = self._messages.alive(key, now)
        if session is None:
            return None
        messages = Counter(row.agent for row in session.rows.values())
        records = Counter((row.agent, row.status) for row in session.records)
        tally = [(agent, status, count) for (agent, status), count in records.items()]
        return SessionActivity(self._messages.row(key, session), [*messages.items()], tally)

    @program
    def end_abandoned(self, tenant, now, limit):
        over = [
            (key, one) for key, one in self._messages.open_sessions(tenant) if alive(one, now) and _is_over(one, now)
        ]
        for key, session in over[:limit]:
            self._end(key, session)
        return len(over[:limit])


def _is_over(session: Session, now: float) -> bool:
    return session.timeout is not None and session.updated_at + session.timeout <= now
