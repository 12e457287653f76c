"""A session as a JSON object, as `AgentMemHistory.to_dict` returns it, and the check of such an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.ids import check_id, check_optional_id, check_text
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import MessageRow, SessionKey, SessionRow
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.documents import document_of, message_in
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.errors import AgentMemError, InvalidInputError, InvalidTypeError
from langchain_agentmem.messages.properties import datetime_of
from langchain_agentmem.search.rows import message_of

FORMAT = "langchain-agentmem session"
VERSION = 1
"""The version of the format. A greater one is refused."""


class SessionMessage(NamedTuple):
    """A message of a session, with its properties."""

    message: BaseMessage
    agent: str | None
    created_at: float
    """Unix seconds."""
    metadata: Mapping[str, Any] | None
    ends_with_session: bool


class SessionDocument(NamedTuple):
    """The checked contents of a session."""

    session_id: str
    user_id: str | None
    agent: str | None
    """The agent of the history; None for the messages of all agents."""
    title: str | None
    metadata: Mapping[str, Any]
    created_at: float | None
    """Unix seconds; None if the session did not exist."""
    messages: Sequence[SessionMessage]


def session_document(
    key: SessionKey, agent: str | None, session: SessionRow | None, rows: Sequence[MessageRow], codec: Codec
) -> dict[str, Any]:
    """Return a session as a JSON object.

    Args:
        key: The session.
        agent: The agent of the history; None for the messages of all agents.
        session: The session as it is stored; None if it is not.
        rows: Its messages.
        codec: Decodes the messages.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "session_id": key.session_id,
        "user_id": key.user_id,
        "agent": agent,
        "title": None if session is None else session.title,
        "metadata": {} if session is None or session.metadata is None else load_json(session.metadata),
        "created_at": None if session is None else _text_of(session.created_at),
        "updated_at": None if session is None else _text_of(session.updated_at),
        "messages": [_message_document(key, row, codec) for row in rows],
    }


def checked_document(data: Any) -> SessionDocument:
    """Check a JSON object that `session_document` returned.

    Args:
        data: The object.

    Raises:
        InvalidTypeError: The value is not a mapping.
        InvalidInputError: The object is malformed. The error has the path of the wrong value.
    """
    if not isinstance(data, Mapping):
        msg = f"data must be a mapping, as history.to_dict() returns it, got {type(data).__name__}: {shown(data)}."
        raise InvalidTypeError(msg)
    if data.get("format") != FORMAT:
        msg = f"format must be {FORMAT!r}, got {shown(data.get('format'))}. Pass the result of history.to_dict()."
        raise InvalidInputError(msg)
    version = data.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        msg = f"version must be {VERSION}, got {shown(version)}. A later release of langchain-agentmem wrote the data."
        raise InvalidInputError(msg)
    messages = data.get("messages")
    if not isinstance(messages, (list, tuple)):
        msg = f"messages must be a list, got {type(messages).__name__}: {shown(messages)}."
        raise InvalidInputError(msg)
    try:
        session_id = check_id("session_id", data.get("session_id"))
        user_id = check_optional_id("user_id", data.get("user_id"))
        agent = check_optional_id("agent", data.get("agent"))
    except InvalidTypeError as error:
        raise InvalidInputError(str(error)) from error
    title = data.get("title")
    if title is not None:
        if not isinstance(title, str):
            msg = f"title must be a string, got {type(title).__name__}: {shown(title)}."
            raise InvalidInputError(msg)
        check_text("title", title)
    created_at = data.get("created_at")
    return SessionDocument(
        session_id,
        user_id,
        agent,
        title,
        _metadata_in(data, "metadata") or {},
        None if created_at is None else _time_in(created_at, "created_at"),
        _messages_in(messages),
    )


def _message_document(key: SessionKey, row: MessageRow, codec: Codec) -> dict[str, Any]:
    document: dict[str, Any] = {
        "position": row.position,
        "agent": row.agent,
        "created_at": _text_of(row.created_at),
        "metadata": {} if row.metadata is None else load_json(row.metadata),
        "message": document_of(message_of(codec, row, key)),
    }
    return {**document, "ends_with_session": True} if row.ends_with_session else document


def _messages_in(values: Sequence[Any]) -> list[SessionMessage]:
    found = []
    last = -1
    for at, value in enumerate(values):
        where = f"messages[{at}]"
        if not isinstance(value, Mapping):
            msg = f"{where} must be a mapping, got {type(value).__name__}: {shown(value)}."
            raise InvalidInputError(msg)
        position = value.get("position", last + 1)
        if type(position) is not int or position <= last:
            msg = f"{where}.position must be a whole number greater than {last}, got {shown(position)}."
            raise InvalidInputError(msg)
        last = position
        try:
            agent = check_optional_id(f"{where}.agent", value.get("agent"))
        except InvalidTypeError as error:
            raise InvalidInputError(str(error)) from error
        ends = value.get("ends_with_session", False)
        if not isinstance(ends, bool):
            msg = f"{where}.ends_with_session must be true or false, got {shown(ends)}."
            raise InvalidInputError(msg)
        found.append(
            SessionMessage(
                message_in(value.get("message"), f"{where}.message"),
                agent,
                _time_in(value.get("created_at"), f"{where}.created_at"),
                _metadata_in(value, f"{where}.metadata"),
                ends,
            )
        )
    return found


def _metadata_in(owner: Mapping[str, Any], where: str) -> Mapping[str, Any] | None:
    """Return the metadata in an object; None if there are none."""
    metadata = owner.get("metadata") or None
    if metadata is None:
        return None
    try:
        dump_json(metadata, where)
    except AgentMemError as error:
        raise InvalidInputError(str(error)) from error
    return metadata  # type: ignore[no-any-return]  # `dump_json` accepts mappings only


def _time_in(value: Any, where: str) -> float:
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        msg = f"{where} must be a time in ISO 8601, such as '2026-03-02T20:30:00+00:00', got {shown(value)}."
        raise InvalidInputError(msg) from None


def _text_of(seconds: float) -> str:
    return datetime_of(seconds).isoformat()
