"""Messages decoded from the rows of a backend."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from langchain_core.messages import BaseMessage

from langchain_agentmem.backends.contract import MessageRow, SessionKey
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.messages.models import StoredMessage
from langchain_agentmem.messages.properties import datetime_of
from langchain_agentmem.programs.sizes import is_large


def message_of(codec: Codec, row: MessageRow, key: SessionKey) -> BaseMessage:
    """Decode the message of a row.

    Earlier versions stored messages without an ID. Such a message always gets the same one.

    Args:
        codec: Decodes the message.
        row: The row.
        key: The session of the message.

    Raises:
        DamagedDataError: The row cannot be decoded. The error names the session and the position.
    """
    with reading(f"Message {row.position} of session {key.session_id!r}"):
        message = codec.load_message(row.body)
        if not message.id:
            message.id = derived_id(key, row.position)
        return message


def stored_message(codec: Codec, row: MessageRow, key: SessionKey) -> StoredMessage:
    """Same as `message_of`, but return the message with its properties."""
    message = message_of(codec, row, key)
    with reading(f"Message {row.position} of session {key.session_id!r}"):
        return StoredMessage(
            message,
            key.session_id,
            row.position,
            datetime_of(row.created_at),
            key.user_id,
            row.agent,
            {} if row.metadata is None else load_json(row.metadata),
        )


def derived_id(key: SessionKey, position: int) -> str:
    """Return the ID of a message that was stored without one.

    Args:
        key: The session.
        position: The position of the message.
    """
    return str(UUID(bytes=_digest(key, str(position)), version=5))


def digest_of_message(key: SessionKey, message_id: str) -> bytes:
    """Return the digest by which a backend finds the messages with an ID; see `MessageRow.id_digest`.

    Args:
        key: The session. Equal IDs in two sessions have different digests.
        message_id: The ID.
    """
    return _digest(key, "id", message_id)


def are_large(rows: Iterable[MessageRow]) -> bool:
    """Return true if decoding the rows would block an event loop noticeably."""
    return is_large([row.body.data for row in rows])


def _digest(key: SessionKey, *names: str) -> bytes:
    return digest_of_ids(key.tenant, key.user_id or "", key.session_id, *names)
