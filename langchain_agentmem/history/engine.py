"""The operations of the chat history, as programs: adding, reading, searching and deleting messages of sessions."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_optional_id
from langchain_agentmem.arguments.omitted import Omitted
from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.backends.contract import (
    HAS_MESSAGES,
    Append,
    Backend,
    HistoryScope,
    LoggedMessage,
    MessageRow,
    PositionTakenError,
    Restoration,
    SessionKey,
    SessionRow,
)
from langchain_agentmem.backends.reads import CachedReads, session_group
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import InvalidVectorsError
from langchain_agentmem.history.titles import titles_of
from langchain_agentmem.history.turns import serialized_turn
from langchain_agentmem.messages.models import FoundMessages
from langchain_agentmem.messages.properties import time_of
from langchain_agentmem.programs import OffLoop, Program, Read, Write
from langchain_agentmem.programs.sizes import LONG, is_large
from langchain_agentmem.search.corpora import Corpora
from langchain_agentmem.search.fingerprint import Embedded, Indexer
from langchain_agentmem.search.indexing import embed_messages, settle_messages
from langchain_agentmem.search.messages import MessageQuery, search_messages
from langchain_agentmem.search.ranking import stop_words
from langchain_agentmem.text.guard import Guard

_log = logging.getLogger(__name__)

_KEEP_ALL = Retention()


class HistoryEngine:
    """The message log of one tenant.

    Args:
        backend: The backend that stores the messages.
        tenant: The tenant.
        codec: Encodes and decodes messages. Default: `Codec()`.
        indexer: Embeds messages for search. Default: None (full-text search only).
        sweeper: Deletes expired data after writes. Default: a new `Sweeper`.
        cache: The cache of reads, which ending or deleting a session invalidates. Default: None (nothing is cached).
        guard: The rules for what must not be stored. Default: None (anything is stored).
        search_cache: The bound of what searches keep in memory, in megabytes. Default: None (that of the backend).

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.backends import connect
        >>> from langchain_agentmem.history.engine import HistoryEngine
        >>> from langchain_agentmem.programs import run
        >>> engine = HistoryEngine(connect("sqlite:///:memory:"), "default")
        >>> key = engine.key("session-1", "alice@example.com")
        >>> run(engine.append(key, [HumanMessage("Hello")]))
        0
        >>> run(engine.count(key))
        1
        >>> engine.backend.close()
    """

    def __init__(
        self,
        backend: Backend,
        tenant: str,
        *,
        codec: Codec | None = None,
        indexer: Indexer | None = None,
        sweeper: Sweeper | None = None,
        cache: CachedReads | None = None,
        guard: Guard | None = None,
        search_cache: float | None = None,
    ) -> None:
        Corpora.of(backend, search_cache)
        self.guard = guard
        self.backend = backend
        self.tenant = tenant
        self.codec = codec or Codec()
        self.indexer = indexer
        self.sweeper = sweeper or Sweeper(backend, tenant)
        self.cache = cache or CachedReads()
        self.run_rows: dict[SessionKey, list[MessageRow]] | None = None
        """The messages of the policy `"single_run"` that histories of this engine share; None: each history has its own."""
        stop_words(backend.language)  # loads a file now; a search on an event loop must not block on it

    def key(self, session_id: str, user_id: str | None = None) -> SessionKey:
        """Return the key of a session."""
        return SessionKey(self.tenant, user_id, session_id)

    def append(
        self,
        key: SessionKey,
        messages: Sequence[BaseMessage],
        *,
        agent: str | None = None,
        retention: Retention = _KEEP_ALL,
        metadata: Mapping[str, Any] | None = None,
        repair: bool = False,
    ) -> Program[int | None]:
        """Add messages at the end of a session: all of them, next to each other, or none.

        Args:
            key: The session.
            messages: The messages.
            agent: The agent that adds them. Default: None.
            retention: The messages that are kept, and their TTL. Default: all, forever.
            metadata: A JSON-serialisable mapping that is stored with each message. Default: None.
            repair: If true, store a message that cannot be stored unchanged in a repaired form. Default: False.

        Returns:
            The position of the first message; None if there are no messages.

        Raises:
            UnsupportedValueError: A message would not round-trip.
            InvalidInputError: A message is malformed or too large.
            InvalidVectorsError: The embedding model returned vectors that cannot be stored.
            StorageError: The backend could not store the messages.
        """
        now = time.time()
        turn = yield from serialized_turn(
            self.codec, messages, metadata, key.session_id, repair=repair, guard=self.guard
        )
        if not turn.messages:
            _log.debug("history: appended nothing to session %r: no messages", key.session_id)
            return None
        embedded = yield from self._embedded(key, turn.messages, repair=repair)
        yield from OffLoop(is_large(turn.messages, LONG))
        rows = turn.rows(
            key,
            agent,
            now,
            ends_with_session=retention.policy == "session",
            language=self.backend.language,
            vectors=embedded.vectors,
        )
        addition = Append(
            rows,
            titles_of(turn.messages, retention.max_messages),
            now,
            agent,
            retention.max_messages,
            seconds("Retention.ttl", retention.ttl),
            retention.sliding,
            secrets.randbits(62),
        )
        return (yield from self._store(key, turn.messages, addition, embedded))

    def import_messages(
        self,
        key: SessionKey,
        messages: Sequence[BaseMessage],
        times: Sequence[float | None],
        *,
        position: int | None,
        agent: str | None = None,
        ttl: float | None = None,
        sliding: bool = True,
    ) -> Program[int | None]:
        """Add messages of another package at the end of a session, with their times. No message is trimmed.

        Args:
            key: The session.
            messages: The messages.
            times: The times of messages that state none, in Unix seconds; None for now.
            position: The position that the first message must get; None: the session must have no messages. A new session is
                created at the time of its first message.
            agent: The agent that the messages belong to. Default: None.
            ttl: The TTL of the session in seconds, counted from now. Default: None (unchanged).
            sliding: If false, a session that has an expiry keeps it. Default: True.

        Returns:
            The position of the next message; None if other messages were added to the session, and nothing was stored.

        Raises:
            InvalidInputError: A message is malformed or too large.
            UnsupportedValueError: A message would not round-trip.
            InvalidVectorsError: The embedding model returned vectors that cannot be stored.
            StorageError: The backend could not store the messages.
        """
        now = time.time()
        turn = yield from serialized_turn(self.codec, messages, None, key.session_id, repair=False, guard=self.guard)
        embedded = yield from self._embedded(key, turn.messages, repair=False)
        yield from OffLoop(is_large(turn.messages, LONG))
        rows = [
            row._replace(created_at=time_of(message, now if at is None else at))
            for message, row, at in zip(
                turn.messages,
                turn.rows(key, agent, now, language=self.backend.language, vectors=embedded.vectors),
                times,
                strict=True,
            )
        ]
        used = now if ttl is not None else min(now, max(row.created_at for row in rows))
        titles = titles_of(turn.messages, None)
        addition = Append(rows, titles, used, agent, None, ttl, sliding, secrets.randbits(62), first=position)
        created_at = min(now, *(row.created_at for row in rows))
        restoration = Restoration(addition, created_at) if position is None else None
        try:
            first = yield from self._store(key, turn.messages, addition, embedded, restoration)
        except PositionTakenError:
            return None
        return None if first == HAS_MESSAGES else first + len(rows)

    def next_position(self, key: SessionKey) -> Program[int]:
        """Return the position of the next message of a session; 0 if there is no such session."""
        head = yield from Read(self.backend, self.backend.messages.head(key, time.time()))
        return head.next_position

    def _store(
        self,
        key: SessionKey,
        messages: Sequence[BaseMessage],
        addition: Append,
        embedded: Embedded,
        restoration: Restoration | None = None,
    ) -> Program[int]:
        """Store an addition; with a restoration, only if the session has no messages. Return the first position."""
        log = self.backend.messages
        with reading(f"Session {key.session_id!r}"):
            program = log.append(key, addition) if restoration is None else log.restore(key, restoration)
            first = yield from Write(self.backend, program)
        if first == HAS_MESSAGES:
            return first
        _log.debug(
            "history: appended %d messages to session %r at position %d", len(addition.rows), key.session_id, first
        )
        stored = [LoggedMessage(key, row._replace(position=first + row.position)) for row in addition.rows]
        yield from settle_messages(self.backend, self.indexer, stored, messages, embedded)
        yield from self.sweeper.after_write()
        return first

    def newest(self, key: SessionKey, agent: str | None, limit: int | None) -> Program[list[MessageRow]]:
        """Read the newest `limit` messages, oldest first, and before them the newest system message if it is older.

        Args:
            key: The session.
            agent: Only this agent's messages; None for those of all agents.
            limit: The maximum number of messages; None for all.
        """
        with reading(f"A message of session {key.session_id!r}"):
            rows = yield from Read(self.backend, self.backend.messages.window(key, agent, limit, time.time()))
        _log.debug("history: read the newest %d messages of session %r", len(rows), key.session_id)
        return rows

    def page(self, key: SessionKey, agent: str | None, after: int, size: int) -> Program[list[MessageRow]]:
        """Read at most `size` messages whose position is greater than `after`, oldest first."""
        with reading(f"A message of session {key.session_id!r}"):
            rows = yield from Read(self.backend, self.backend.messages.page(key, agent, after, size, time.time()))
        _log.debug("history: read %d messages of session %r after position %d", len(rows), key.session_id, after)
        return rows

    def count(self, key: SessionKey, agent: str | None = None) -> Program[int]:
        """Return the number of messages of a session, or of one agent in it."""
        return (yield from Read(self.backend, self.backend.messages.count(key, agent, time.time())))

    def clear(self, key: SessionKey, agent: str | None = None) -> Program[None]:
        """Delete the messages of a session, or of one agent in it. The session stays listed."""
        yield from Write(self.backend, self.backend.messages.clear(key, agent))
        _log.debug("history: cleared session %r", key.session_id)

    def search(
        self,
        query: MessageQuery,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        agent: str | None = None,
    ) -> Program[FoundMessages]:
        """Find messages of a user in one session or in all; see `AgentMemory.search_history` for the arguments."""
        ids = {"user_id": user_id, "session_id": session_id, "agent": agent}
        scope = HistoryScope(self.tenant, **{name: check_optional_id(name, value) for name, value in ids.items()})
        found = yield from search_messages(self.backend, self.codec, self.indexer, scope, query)
        _log.debug("history: found %d messages of user %r", len(found), user_id)
        return found

    def sessions(self, user_id: str | Omitted | None, limit: int | None, offset: int) -> Program[list[SessionRow]]:
        """List the sessions of one user, of nobody (None), or of all users (`OMITTED`), the most recently used first."""
        with reading("A session"):
            listed = self.backend.messages.sessions(self.tenant, user_id, limit, offset, time.time())
            return (yield from Read(self.backend, listed))

    def session(self, key: SessionKey) -> Program[SessionRow | None]:
        """Return a session, or None."""
        with reading(f"Session {key.session_id!r}"):
            return (yield from Read(self.backend, self.backend.openings.get(key, time.time())))

    def rename(self, key: SessionKey, title: str) -> Program[bool]:
        """Set the title of a session; return true if the session exists."""
        if self.guard is not None:
            title = self.guard.text(title, "title")
        return (yield from Write(self.backend, self.backend.messages.rename(key, title, time.time())))

    def end(self, key: SessionKey) -> Program[int]:
        """Delete the messages that were added under the retention policy `"session"`; return their number."""
        with self.cache.writing([session_group(key)]):
            ended = yield from Write(self.backend, self.backend.messages.end(key))
        _log.debug("history: ended session %r, which deleted %d messages", key.session_id, ended)
        return ended

    def delete(self, key: SessionKey) -> Program[bool]:
        """Delete a session with its messages; return true if it existed."""
        with self.cache.writing([session_group(key)]):
            existed = yield from Write(self.backend, self.backend.messages.delete(key))
        _log.debug("history: deleted session %r" if existed else "history: no session %r to delete", key.session_id)
        return existed

    def _embedded(self, key: SessionKey, messages: Sequence[BaseMessage], *, repair: bool) -> Program[Embedded]:
        try:
            return (yield from embed_messages(self.indexer, messages))
        except InvalidVectorsError as error:
            if not repair:
                raise
            _log.warning(
                "A turn in session %r is stored without vectors, because RunnableWithMessageHistory would lose it: %s",
                key.session_id,
                error,
            )
            return Embedded()
