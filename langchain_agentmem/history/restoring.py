"""Storing a whole session: its messages with their properties, its title and its metadata, or nothing."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import (
    HAS_MESSAGES,
    Append,
    LoggedMessage,
    MessageRow,
    Restoration,
    SessionKey,
)
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import dump_json
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.history.documents import SessionDocument, SessionMessage
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.titles import titles_of
from langchain_agentmem.history.turns import serialized_turn
from langchain_agentmem.programs import OffLoop, Program, Write
from langchain_agentmem.programs.sizes import LONG, is_large
from langchain_agentmem.search.indexing import embed_messages, settle_messages
from langchain_agentmem.text.guard import Guard

_log = logging.getLogger(__name__)


def restore_session(
    engine: HistoryEngine, key: SessionKey, agent: str | None, retention: Retention, session: SessionDocument
) -> Program[None]:
    """Store the messages, the title and the metadata of a session. The session must have no messages.

    Args:
        engine: The engine of the history.
        key: The session to store.
        agent: The agent of messages that name none.
        retention: The messages that are kept, and their TTL.
        session: The contents of the session.

    Raises:
        InvalidInputError: The session has messages, or a message is malformed or too large.
        UnsupportedValueError: A message would not round-trip.
        StorageError: The backend could not store the session.
    """
    now = time.time()
    given = [one.message for one in session.messages]
    turn = yield from serialized_turn(engine.codec, given, None, key.session_id, repair=False, guard=engine.guard)
    embedded = yield from embed_messages(engine.indexer, turn.messages)
    yield from OffLoop(is_large(turn.messages, LONG))
    drafts = turn.rows(key, agent, now, language=engine.backend.language, vectors=embedded.vectors)
    rows = restored_rows(drafts, session.messages, ends=retention.policy == "session", guard=engine.guard)
    titles = titles_of(turn.messages, None)
    title = session.title
    if title is not None and engine.guard is not None:
        title = engine.guard.text(title, "title")
    if titles and titles[0].text == title:
        title = None  # it belongs to its message
    metadata = _dumped(session.metadata, "metadata", engine.guard)
    if not rows and title is None and metadata is None:
        return
    ttl, token = seconds("Retention.ttl", retention.ttl), secrets.randbits(62)
    addition = Append(rows, titles, now, agent, None, ttl, retention.sliding, token)
    created_at = now if session.created_at is None else min(session.created_at, now)
    restoration = Restoration(addition, created_at, title, metadata)
    with reading(f"Session {key.session_id!r}"):
        first = yield from Write(engine.backend, engine.backend.messages.restore(key, restoration))
    if first == HAS_MESSAGES:
        raise has_messages(key.session_id)
    _log.debug("history: restored %d messages of session %r", len(rows), key.session_id)
    stored = [LoggedMessage(key, row._replace(position=first + row.position)) for row in rows]
    yield from settle_messages(engine.backend, engine.indexer, stored, turn.messages, embedded)
    yield from engine.sweeper.after_write()


def restored_rows(
    drafts: Sequence[MessageRow], messages: Sequence[SessionMessage], *, ends: bool = False, guard: Guard | None = None
) -> list[MessageRow]:
    """Return rows with the properties of the messages that are restored.

    Args:
        drafts: The rows of the messages, as they are added to a session.
        messages: The messages.
        ends: If true, all messages end with the session. Default: False (as each message says).
        guard: The rules for texts. Default: None (any text).
    """
    return [
        draft._replace(
            agent=one.agent or draft.agent,
            created_at=one.created_at,
            ends_with_session=one.ends_with_session or ends,
            metadata=_dumped(one.metadata, f"messages[{at}].metadata", guard),
        )
        for at, (draft, one) in enumerate(zip(drafts, messages, strict=True))
    ]


def has_messages(session_id: str) -> InvalidInputError:
    """Return the error for a session that has messages already."""
    msg = (
        f"Session {shown(session_id)} has messages already, and nothing was stored. Pass another session_id, or delete the "
        f"messages first with history.clear()."
    )
    return InvalidInputError(msg)


def _dumped(metadata: Mapping[str, Any] | None, where: str, guard: Guard | None) -> str | None:
    if not metadata:
        return None
    return dump_json(metadata if guard is None else guard.value(metadata, where), where)
