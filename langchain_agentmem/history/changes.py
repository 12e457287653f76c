"""Changes to stored messages: deleting, replacing and truncating, as programs."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.values import check_list, shown
from langchain_agentmem.backends.contract import (
    UNKNOWN_MESSAGE,
    LoggedMessage,
    MessageRow,
    Removal,
    Replacement,
    SessionKey,
)
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.repairs import completed
from langchain_agentmem.errors import DamagedDataError, InvalidInputError, InvalidTypeError, UnknownMessageError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.titles import titles_of
from langchain_agentmem.history.turns import serialized_turn, with_id
from langchain_agentmem.messages.properties import local_time_of
from langchain_agentmem.programs import OffLoop, Program, Write
from langchain_agentmem.programs.sizes import LONG, is_large
from langchain_agentmem.search.indexing import embed_messages, settle_messages
from langchain_agentmem.search.rows import are_large, derived_id, digest_of_message, message_of

_log = logging.getLogger(__name__)

T = TypeVar("T")

_PAGE = 1_000


class Doomed(NamedTuple):
    """The checked arguments of `AgentMemHistory.delete`; `Doomed.of` checks them."""

    ids: list[str] | None
    before: float | None
    """Unix seconds."""

    @classmethod
    def of(cls, ids: Any, before: Any) -> Doomed:
        """Check the arguments.

        Raises:
            InvalidInputError: Neither or both are given, or a value is not accepted.
            InvalidTypeError: A value has the wrong type.
        """
        if (ids is None) == (before is None):
            msg = (
                f"delete takes either ids or before; got ids={shown(ids)}, before={shown(before)}. "
                f"Call history.delete(message.id) or history.delete(before=datetime.now(UTC) - timedelta(days=30)). "
                f"To delete all messages, call history.clear()."
            )
            raise InvalidInputError(msg)
        if ids is None:
            return cls(None, _moment(before))
        given = [ids] if isinstance(ids, (str, BaseMessage)) else check_list("ids", ids, "message IDs")
        return cls([check_message_id(f"ids[{at}]", one) for at, one in enumerate(given)], None)


def check_message_id(what: str, value: Any) -> str:
    """Return the ID of a message.

    Args:
        what: The name of the argument, for the error.
        value: The ID.

    Raises:
        InvalidTypeError: The value is not a string.
        InvalidInputError: The ID is empty, or contains half of a surrogate pair.
    """
    if not isinstance(value, str):
        hint = " Pass message.id." if isinstance(value, BaseMessage) else ""
        msg = f"{what} must be the ID of a message, a string; got {type(value).__name__}: {shown(value)}.{hint}"
        raise InvalidTypeError(msg)
    check_text(what, value)
    if not value:
        msg = f"{what} must not be empty."
        raise InvalidInputError(msg)
    return value


def delete_messages(engine: HistoryEngine, key: SessionKey, agent: str | None, doomed: Doomed) -> Program[int]:
    """Delete messages, and return their number.

    Args:
        engine: The engine of the history.
        key: The session.
        agent: Only this agent's messages; None for those of all agents.
        doomed: The messages.
    """
    ids = None if doomed.ids is None else [digest_of_message(key, one) for one in dict.fromkeys(doomed.ids)]
    if ids == []:
        return 0
    return (yield from _removed(engine, key, Removal(agent, ids, doomed.before, token=secrets.randbits(62))))


def truncate(engine: HistoryEngine, key: SessionKey, agent: str | None, after: str) -> Program[int]:
    """Delete the messages after a message, and return their number.

    Args:
        engine: The engine of the history.
        key: The session.
        agent: Only this agent's messages; None for those of all agents.
        after: The ID of the message.

    Raises:
        UnknownMessageError: No message has the ID.
    """
    removal = Removal(agent, after=digest_of_message(key, after), token=secrets.randbits(62))
    number = yield from _removed(engine, key, removal)
    if number == UNKNOWN_MESSAGE:
        raise unknown_message(after, key.session_id, agent)
    return number


def replace(
    engine: HistoryEngine,
    key: SessionKey,
    agent: str | None,
    message_id: str,
    message: BaseMessage,
    metadata: Mapping[str, Any] | Omitted | None,
) -> Program[None]:
    """Store a message in place of another one.

    Args:
        engine: The engine of the history.
        key: The session.
        agent: Only a message of this agent; None for those of all agents.
        message_id: The ID of the other message.
        message: The new message.
        metadata: The new metadata; `OMITTED` to keep the stored metadata.

    Raises:
        UnknownMessageError: No message has the ID.
    """
    given = None if metadata is OMITTED else metadata
    one = with_id(completed(message), message_id)
    turn = yield from serialized_turn(engine.codec, [one], given, key.session_id, repair=False, guard=engine.guard)
    embedded = yield from embed_messages(engine.indexer, turn.messages)
    yield from OffLoop(is_large(turn.messages, LONG))
    (row,) = turn.rows(key, agent, time.time(), language=engine.backend.language, vectors=embedded.vectors)
    replacement = Replacement(
        digest_of_message(key, message_id),
        row,
        agent,
        keeps_time=local_time_of(turn.messages[0]) is None,
        keeps_metadata=metadata is OMITTED,
        title=next((title.text for title in titles_of(turn.messages, None)), None),
        token=secrets.randbits(62),
    )

    def change() -> Program[list[MessageRow] | None]:
        return engine.backend.messages.replace(key, replacement, time.time())

    rows = yield from _identified(engine, key, change)
    if not rows:
        raise unknown_message(message_id, key.session_id, agent)
    stored = [LoggedMessage(key, one) for one in rows]
    yield from settle_messages(engine.backend, engine.indexer, stored, turn.messages * len(stored), embedded)
    yield from engine.sweeper.after_write()


def unknown_message(message_id: str, session_id: str, agent: str | None) -> UnknownMessageError:
    """Return the error for an ID that no message of a history has."""
    whose = "" if agent is None else f" of agent {shown(agent)}"
    msg = (
        f"Session {session_id!r} has no message{whose} with the ID {shown(message_id)}. It may have been deleted. Read the "
        f"IDs from history.messages or history.stored()."
    )
    return UnknownMessageError(msg)


def _removed(engine: HistoryEngine, key: SessionKey, removal: Removal) -> Program[int]:
    def change() -> Program[int | None]:
        return engine.backend.messages.remove(key, removal, time.time())

    number = yield from _identified(engine, key, change)
    yield from engine.sweeper.after_write()
    return number


def _identified(engine: HistoryEngine, key: SessionKey, change: Callable[[], Program[T | None]]) -> Program[T]:
    """Run a storage program. If it needs the digests of IDs that earlier versions did not store, store them first.

    Args:
        engine: The engine of the history.
        key: The session.
        change: Returns the program.
    """
    while True:
        with reading(f"Session {key.session_id!r}"):
            done = yield from Write(engine.backend, change())
        if done is not None:
            _log.debug("history: changed messages of session %r", key.session_id)
            return done
        after: int | None = -1
        while after is not None:
            rows = yield from engine.page(key, None, after, _PAGE)
            yield from OffLoop(are_large(rows))
            known = [row._replace(id_digest=digest_of_message(key, _id_of(engine, key, row))) for row in rows]
            yield from Write(engine.backend, engine.backend.messages.identify(key, known))
            after = rows[-1].position if len(rows) == _PAGE else None


def _id_of(engine: HistoryEngine, key: SessionKey, row: MessageRow) -> str:
    """Return the ID of a stored message. A damaged message gets one too, so that the others can be changed."""
    try:
        return message_of(engine.codec, row, key).id or ""
    except DamagedDataError:
        return derived_id(key, row.position)


def _moment(before: Any) -> float:
    """Return a datetime, or a number of seconds since 1970, in Unix seconds."""
    if isinstance(before, datetime):
        return (before if before.tzinfo else before.replace(tzinfo=UTC)).timestamp()
    if isinstance(before, bool) or not isinstance(before, (int, float)):
        msg = (
            f"before must be a datetime or a Unix time in seconds, got {type(before).__name__}: {shown(before)}. To delete "
            f"messages by ID, pass ids."
        )
        raise InvalidTypeError(msg)
    if not math.isfinite(before):
        msg = f"before must be a finite number of seconds, got {before}."
        raise InvalidInputError(msg)
    return float(before)
