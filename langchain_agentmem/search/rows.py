"""Messages decoded from the rows of a backend."""

from __future__ import annotations

from collections.abc import Iterable

from langchain_core.messages import BaseMessage

from langchain_agentmem.backends.contract import MessageRow
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.messages.models import StoredMessage
from langchain_agentmem.messages.properties import datetime_of
from langchain_agentmem.programs.sizes import is_large


def message_of(codec: Codec, row: MessageRow, session_id: str) -> BaseMessage:
    """Decode the message of a row.

    Raises:
        DamagedDataError: The row cannot be decoded. The error names the session and the position.
    """
    with reading(f"Message {row.position} of session {session_id!r}"):
        return codec.load_message(row.body)


def stored_message(codec: Codec, row: MessageRow, session_id: str, user_id: str | None) -> StoredMessage:
    """Same as `message_of`, but return the message with its properties."""
    with reading(f"Message {row.position} of session {session_id!r}"):
        return StoredMessage(
            codec.load_message(row.body),
            session_id,
            row.position,
            datetime_of(row.created_at),
            user_id,
            row.agent,
            {} if row.metadata is None else load_json(row.metadata),
        )


def are_large(rows: Iterable[MessageRow]) -> bool:
    """Return true if decoding the rows would block an event loop noticeably."""
    return is_large([row.body.data for row in rows])
