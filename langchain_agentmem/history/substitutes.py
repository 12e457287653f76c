"""Substitutes for messages that cannot be stored unchanged."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from enum import Enum
from typing import Any

from langchain_core.messages import BaseMessage, ChatMessage
from pydantic import BaseModel

from langchain_agentmem.arguments.nesting import MAX_DEPTH
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.message_classes import message_class
from langchain_agentmem.encoding.refusals import text_of_error
from langchain_agentmem.encoding.repairs import built, completed, repaired
from langchain_agentmem.errors import UnsupportedValueError
from langchain_agentmem.programs.signals import came_by_signal

_log = logging.getLogger(__name__)


def substitute_for(codec: Codec, message: BaseMessage) -> BaseMessage:
    """Return a message that the codec accepts, as similar to the given one as possible."""
    message = repaired(_of_known_class(codec, message))
    extra = message.__pydantic_extra__ or {}
    return built(
        type(message),
        {name: _plain(codec, value, 0) for name, value in message.__dict__.items()},
        {name: _plain(codec, value, 0) for name, value in extra.items()},
    )


def mark_for(value: Any) -> str:
    """Return the text that is stored instead of a value."""
    return f"[a value of type {type(value).__module__}.{type(value).__qualname__}, which cannot be stored]"


def _of_known_class(codec: Codec, message: BaseMessage) -> BaseMessage:
    """Return a message as one of langchain-core's own classes."""
    cls = message_class(type(message))
    if cls is type(message):
        return message
    codec.reported.add(type(message))
    fields = {**message.__dict__, **(message.__pydantic_extra__ or {})}
    if cls is None:
        cls = ChatMessage
        fields["role"] = message.type
    known = {name: value for name, value in fields.items() if name in cls.model_fields and name != "type"}
    rest = {name: value for name, value in fields.items() if name not in cls.model_fields}
    return completed(built(cls, known, rest))


def _plain(codec: Codec, value: Any, depth: int) -> Any:
    """Return the value if the codec accepts it, or else its plain data, or a mark."""
    if codec.packs(value):
        return value
    if isinstance(value, str) or depth > MAX_DEPTH:
        text = value if isinstance(value, str) else f"[nested deeper than {MAX_DEPTH} levels]"
        return text.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {
            key if codec.packs({key: None}) else _plain(codec, str(key), depth): _plain(codec, inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)) and not hasattr(value, "_asdict"):
        inner = [_plain(codec, one, depth + 1) for one in value]
        return tuple(inner) if isinstance(value, tuple) else inner
    return _plain_object(codec, value, depth)


def _plain_object(codec: Codec, value: Any, depth: int) -> Any:
    cls = type(value)
    if cls not in codec.reported:
        codec.reported.add(cls)
        _log.warning(
            "Values of type %s.%s in messages do not round-trip: their plain data, or a mark, is stored instead. "
            "Put plain data into messages.",
            cls.__module__,
            cls.__qualname__,
        )
    try:
        return _plain(codec, _fields_of(value), depth + 1)
    except Exception as error:  # the object's own methods may raise any error
        if came_by_signal(error):
            raise
        return mark_for(value)


def _fields_of(value: Any) -> Any:
    """Return the content of an object as plain data.

    Raises:
        UnsupportedValueError: The object has no method or fields for that.
    """
    if isinstance(value, BaseModel):
        try:
            return value.model_dump(mode="json")
        except ValueError:  # a field that has no form in JSON
            return value.model_dump()
    for method in ("model_dump", "_asdict", "tolist", "to_dict"):
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, BaseException):
        return text_of_error(value)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    msg = f"A value of type {type(value).__name__} has no plain data."
    raise UnsupportedValueError(msg)
