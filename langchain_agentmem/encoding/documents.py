"""Messages as JSON: LangChain's dictionary of a message, or its packed bytes if that dictionary would lose something.

{"type": "human", "data": {"content": "Hello", "id": "1", …}}
{"type": "tool", "format": "message:ToolMessage", "packed": "hKdjb250ZW50…"}
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import BaseMessage, messages_from_dict

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.message_classes import is_message_format
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.encoding.refusals import UNREADABLE
from langchain_agentmem.encoding.repairs import faults_of
from langchain_agentmem.errors import DamagedDataError, InvalidInputError, UnsupportedValueError

_codec = Codec()
"""Packs messages without encryption."""


def document_of(message: BaseMessage) -> dict[str, Any]:
    """Return a message as a JSON object, from which `message_in` returns an equal message.

    Args:
        message: A message that can be stored.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.encoding.documents import document_of, message_in
        >>> document = document_of(HumanMessage("Hello", id="1"))
        >>> document["type"], document["data"]["content"], message_in(document, "message").id
        ('human', 'Hello', '1')
    """
    packed = _codec.identify(message)
    document = {"type": message.type, "data": message.model_dump(warnings=False)}
    try:
        text = json.dumps(document, allow_nan=False)
        (copy,) = messages_from_dict([json.loads(text)])
        if _codec.identify(copy) == packed:
            return document
    except (TypeError, ValueError, RecursionError, UnsupportedValueError, InvalidInputError):
        pass  # the dictionary does not express the message
    return {"type": message.type, "format": packed.type, "packed": b64encode(packed.data).decode()}


def message_in(document: Any, where: str) -> BaseMessage:
    """Return the message of a JSON object that `document_of` returned.

    Args:
        document: The object.
        where: The path of the object, for errors.

    Raises:
        InvalidInputError: The object is malformed. The error has its path.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("type"), str):
        msg = f"{where} must be a mapping with the type of a message, got {shown(document)}."
        raise InvalidInputError(msg)
    if "packed" in document:
        return _unpacked(document, where)
    data = document.get("data")
    if not isinstance(data, Mapping):
        msg = f"{where}.data must be a mapping with the fields of a message, got {shown(data)}."
        raise InvalidInputError(msg)
    try:
        (message,) = messages_from_dict([{"type": document["type"], "data": dict(data)}])
    except UNREADABLE as error:
        msg = f"{where} is not a message of type {shown(document['type'])}. Cause: {_cause_of(error)}."
        raise InvalidInputError(msg) from error
    return message


def _unpacked(document: Mapping[str, Any], where: str) -> BaseMessage:
    name, data = document.get("format"), document["packed"]
    try:
        if not isinstance(name, str) or not is_message_format(name):
            msg = f"{shown(name)} is not a format of messages"
            raise ValueError(msg)
        message = _codec.load_opened(Typed(name, b64decode(data, validate=True)))
    except (*UNREADABLE, DamagedDataError) as error:
        msg = f"{where}.packed is damaged. Cause: {_cause_of(error)}."
        raise InvalidInputError(msg) from error
    if not isinstance(message, BaseMessage) or faults_of(message):
        msg = f"{where}.packed is damaged: it is not a valid message."
        raise InvalidInputError(msg)
    return message


def _cause_of(error: BaseException) -> str:
    """Return the cause of an error in one line; pydantic names the field in the second line of its message."""
    lines = str(error).strip().splitlines()
    if len(lines) > 2 and "validation error" in lines[0]:
        return f"{lines[1].strip()}: {lines[2].strip().partition(' [type=')[0]}"
    return reason_of(error)
