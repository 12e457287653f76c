"""Stores the messages of imported chat histories.

A message is recognised by its ID, so that a second import stores nothing twice. A message without an ID gets one that is
derived from its source, session, row and text. The messages of a session are stored in order, so a session that has some of
them continues after the last one that is stored.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_id, check_optional_id
from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.errors import ConflictError, InvalidInputError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.turns import serialized, with_id
from langchain_agentmem.lifecycle.importers.rows import Source, SourceMessage, importing
from langchain_agentmem.lifecycle.importers.tally import Tally
from langchain_agentmem.messages.properties import text_of
from langchain_agentmem.programs import OffLoop, Program
from langchain_agentmem.search.rows import message_of

SessionOf = Callable[[str], tuple[str | None, str]]
"""Returns the user (None: nobody) and the session in the memory for a session of the source."""

_PAGE = 1_000
_KNOWN_IDS = 200_000
"""The maximum number of message IDs of existing sessions that are in memory at the same time."""


_NONE: Counter[str] = Counter()


class Incoming(NamedTuple):
    """A message to store."""

    row: Any
    message: BaseMessage
    time: float | None
    expires_at: float | None


@dataclass(frozen=True)
class Owner:
    """The session and user that imported messages get.

    Args:
        session_of: Returns the user and the session for a session of the source; None if the other arguments say it.
        user_id: The user of all sessions; None for nobody.
        session_id: The session of a source with one session; None for the session of the source.
        agent: The agent of all messages; None for none.
    """

    session_of: SessionOf | None = None
    user_id: str | None = None
    session_id: str | None = None
    agent: str | None = None

    def key(self, tenant: str, session: str) -> SessionKey:
        """Return the key of the session that stores the messages of a source's session.

        Raises:
            InvalidInputError: The function returned no pair of a user and a session, or an ID is not accepted.
        """
        found: Any = (self.user_id, self.session_id or session) if self.session_of is None else self.session_of(session)
        if not isinstance(found, tuple) or len(found) != 2:
            msg = f"sessions must return a pair (user_id, session_id); it returned {shown(found)} for {shown(session)}."
            raise InvalidInputError(msg)
        return SessionKey(tenant, check_optional_id("user_id", found[0]), check_id("session_id", found[1]))


class MessageImport:
    """Checks and stores the messages of one source.

    Args:
        engine: The engine of the history.
        source: The source.
        owner: The user who gets the messages.
        retention: The retention of the agent. Its TTL applies to the sessions; nothing is trimmed.
        tally: Counts what is stored.
    """

    def __init__(self, engine: HistoryEngine, source: Source, owner: Owner, retention: Retention, tally: Tally) -> None:
        self._engine = engine
        self._source = source
        self._owner = owner
        self._ttl = seconds("Retention.ttl", retention.ttl)
        self._sliding = retention.sliding
        self._tally = tally
        self._keys: dict[str, SessionKey] = {}
        self._known: dict[str, Counter[str]] = {}
        """The number of messages by ID in existing sessions, reduced by those that the source was seen to have."""
        self._known_size = 0
        self._empty: set[str] = set()
        """The sessions of the source whose session in the memory has no messages yet."""
        self._begun: set[SessionKey] = set()
        """The sessions to which this import added messages."""
        self._last: dict[str, Any] = {}
        """The last row of each session that is stored; None if the session has messages, but none of the source."""

    def check(self, rows: Sequence[SourceMessage]) -> Program[None]:
        """Check that messages can be stored, and find those that are stored already.

        Raises:
            InvalidInputError: A message cannot be stored. Nothing was stored.
        """
        yield from OffLoop(large=True)
        by_session = self._decoded(rows, check=True)
        for session, messages in by_session.items():
            known = yield from self._known_ids(session)
            for incoming in messages:
                message_id = str(incoming.message.id)
                if known.get(message_id, 0) > 0:
                    known[message_id] -= 1
                    self._known_size -= 1
                    self._last[session] = incoming.row

    def store(self, rows: Sequence[SourceMessage]) -> Program[None]:
        """Store the messages that are not stored yet."""
        yield from OffLoop(large=True)
        by_session = self._decoded(rows, check=False)
        for session, messages in by_session.items():
            last = self._last.get(session)
            new: list[Incoming] = []
            for one in messages:  # a scan of Redis may return a session twice
                if last is None or one.row > last:
                    new.append(one)
                    last = one.row
            self._tally.skip("messages", len(messages) - len(new))
            if new:
                yield from self._append(session, new)

    def _append(self, session: str, new: Sequence[Incoming]) -> Program[None]:
        key = self._keys[session]
        is_new = session not in self._last and key not in self._begun
        ttl, sliding = self._ttl, self._sliding
        if ttl is None and (until := new[-1].expires_at) is not None:
            ttl, sliding = max(1.0, until - time.time()), False
        stored = yield from self._engine.import_messages(
            key,
            [one.message for one in new],
            [one.time for one in new],
            first=is_new,
            agent=self._owner.agent,
            ttl=ttl,
            sliding=sliding,
        )
        if not stored:
            msg = (
                f"Session {shown(key.session_id)} was changed by another process during this import, which stopped before "
                f"it. Import again to continue."
            )
            raise ConflictError(msg)
        self._last[session] = new[-1].row
        self._begun.add(key)
        self._tally.add("messages", len(new))
        if is_new:
            self._tally.add("sessions", 1)

    def _decoded(self, rows: Iterable[SourceMessage], *, check: bool) -> dict[str, list[Incoming]]:
        """Decode messages, and group them by session. Each has an ID."""
        by_session: dict[str, list[Incoming]] = {}
        codec, guard = self._engine.codec, self._engine.guard
        for row in rows:
            with importing(f"row {shown(row.row)} of session {shown(row.session)} in {self._source.name}"):
                message = self._source.message(row.value)
                if not message.id:
                    message = with_id(message, self._derived_id(row, message))
                if check:
                    serialized(codec, [message], None, row.session, repair=False, guard=guard)
                if row.session not in self._keys:
                    self._keys[row.session] = self._owner.key(self._engine.tenant, row.session)
            by_session.setdefault(row.session, []).append(Incoming(row.row, message, row.time, row.expires_at))
        return by_session

    def _derived_id(self, row: SourceMessage, message: BaseMessage) -> str:
        parts = (self._source.scope, row.session, str(row.row), message.type, text_of(message))
        return str(UUID(bytes=digest_of_ids(*parts), version=5))

    def _known_ids(self, session: str) -> Program[Counter[str]]:
        """Return the number of messages by ID that the session has."""
        if session in self._empty:
            return _NONE
        if session in self._known:
            return self._known[session]
        key = self._keys[session]
        found: Counter[str] = Counter()
        after = -1
        while page := (yield from self._engine.page(key, None, after, _PAGE)):
            yield from OffLoop(large=True)
            found.update(str(message_of(self._engine.codec, row, key).id) for row in page)
            after = page[-1].position
        if not found:
            self._empty.add(session)
            return _NONE
        self._last.setdefault(session, None)
        self._known_size += found.total()
        while self._known and self._known_size > _KNOWN_IDS:
            self._known_size -= self._known.pop(next(iter(self._known))).total()
        self._known[session] = found
        return found
