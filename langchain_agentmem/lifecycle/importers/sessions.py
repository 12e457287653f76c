"""Stores the messages of imported chat histories.

A message is recognised by its ID, so that a second import stores nothing twice. A message without an ID gets one that is
derived from its source, session, row and text. The messages of a session are stored in order, so a session that has some of
them continues after the last one that is stored.

Each addition names the position of its first message. If another process added messages since, nothing is stored: the import
reads them, skips those that it was to store itself, and tries again. So concurrent imports store each message once.
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
from langchain_agentmem.lifecycle.transfer.tally import Tally
from langchain_agentmem.messages.properties import text_of
from langchain_agentmem.programs import OffLoop, Program
from langchain_agentmem.search.rows import message_of

SessionOf = Callable[[str], tuple[str | None, str]]
"""Returns the user (None: nobody) and the session in the memory for a session of the source."""

_PAGE = 1_000
_KNOWN_IDS = 200_000
"""The maximum number of message IDs of existing sessions that are in memory at the same time."""

_ATTEMPTS = 50
"""The number of times that other processes may add messages to a session before a page of the import fails."""

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
        stores: If false, only count what would be stored.
    """

    def __init__(
        self,
        engine: HistoryEngine,
        source: Source,
        owner: Owner,
        retention: Retention,
        tally: Tally,
        *,
        stores: bool,
    ) -> None:
        self._engine = engine
        self._stores = stores
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
        self._positions: dict[SessionKey, int] = {}
        """The positions of the next messages of sessions that have messages."""
        self._added: dict[SessionKey, Counter[str]] = {}
        """The number of messages by ID that others added to sessions during the import."""
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
            self._last[session] = last
            left = yield from self._append(self._keys[session], new)
            self._tally.unchanged["messages"] += len(messages) - len(left)
            self._tally.stored["messages"] += len(left)

    def _append(self, key: SessionKey, new: Sequence[Incoming]) -> Program[Sequence[Incoming]]:
        """Add messages to a session, except for those that others added, and return the added ones."""
        for _ in range(_ATTEMPTS):
            new = self._missing(key, new)
            if not new:
                return new
            position = self._positions.get(key)
            following = yield from (self._import(key, position, new) if self._stores else _counted(position, new))
            if following is not None:
                self._positions[key] = following
                self._tally.stored["sessions"] += position is None
                return new
            yield from self._read_added(key)
        msg = (
            f"Session {shown(key.session_id)} gets messages from other processes all the time. The import stopped before it: "
            f"import again when it is used less."
        )
        raise ConflictError(msg)

    def _import(self, key: SessionKey, position: int | None, new: Sequence[Incoming]) -> Program[int | None]:
        ttl, sliding = self._ttl, self._sliding
        if ttl is None and (until := new[-1].expires_at) is not None:
            ttl, sliding = max(1.0, until - time.time()), False
        return (
            yield from self._engine.import_messages(
                key,
                [one.message for one in new],
                [one.time for one in new],
                position=position,
                agent=self._owner.agent,
                ttl=ttl,
                sliding=sliding,
            )
        )

    def _missing(self, key: SessionKey, new: Sequence[Incoming]) -> Sequence[Incoming]:
        """Return the messages after the last one that others added to the session."""
        added, first = self._added.get(key), 0
        if added:
            for at, one in enumerate(new, 1):
                message_id = str(one.message.id)
                if added[message_id] > 0:
                    added[message_id] -= 1
                    first = at
        return new[first:]

    def _read_added(self, key: SessionKey) -> Program[None]:
        """Read the IDs of messages that others added to a session since this import saw it last.

        Raises:
            ConflictError: The session was deleted since.
        """
        before, following = self._positions.get(key), (yield from self._engine.next_position(key))
        if before is not None and following < before:
            msg = (
                f"Session {shown(key.session_id)} was deleted by another process during this import, which stopped there. "
                f"Import again to store it from its first message."
            )
            raise ConflictError(msg)
        found = yield from self._ids(key, before or 0, following)
        self._added.setdefault(key, Counter()).update(found)
        if before is not None or found:
            self._positions[key] = following

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
        following = yield from self._engine.next_position(key)
        found = yield from self._ids(key, 0, following)
        if not found:
            self._empty.add(session)
            return _NONE
        self._positions[key] = following
        self._last.setdefault(session, None)
        self._known_size += found.total()
        while self._known and self._known_size > _KNOWN_IDS:
            self._known_size -= self._known.pop(next(iter(self._known))).total()
        self._known[session] = found
        return found

    def _ids(self, key: SessionKey, first: int, following: int) -> Program[Counter[str]]:
        """Return the number of messages by ID that a session has at positions from `first` to before `following`."""
        found: Counter[str] = Counter()
        while first < following and (page := (yield from self._engine.page(key, None, first - 1, _PAGE))):
            yield from OffLoop(large=True)
            rows = [row for row in page if row.position < following]
            found.update(str(message_of(self._engine.codec, row, key).id) for row in rows)
            first = page[-1].position + 1
        return found


def _counted(position: int | None, new: Sequence[Incoming]) -> Program[int]:
    """Return the position after messages that are counted only."""
    yield from ()
    return (position or 0) + len(new)
