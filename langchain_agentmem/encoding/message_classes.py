"""The message classes of langchain-core, which are stored field by field."""

from __future__ import annotations

from typing import Any

from langchain_core import messages as core
from langchain_core.messages import BaseMessage

from langchain_agentmem.encoding.refusals import UNREADABLE
from langchain_agentmem.encoding.repairs import built

_CLASSES: dict[str, type[BaseMessage]] = {
    cls.__name__: cls
    for cls in (
        core.AIMessage,
        core.AIMessageChunk,
        core.ChatMessage,
        core.ChatMessageChunk,
        core.FunctionMessage,
        core.FunctionMessageChunk,
        core.HumanMessage,
        core.HumanMessageChunk,
        core.RemoveMessage,
        core.SystemMessage,
        core.SystemMessageChunk,
        core.ToolMessage,
        core.ToolMessageChunk,
    )
}
_FIELDS = {f"message:{name}": (cls, cls.model_fields.keys()) for name, cls in _CLASSES.items()}

FORMATS = {cls: name for name, (cls, _) in _FIELDS.items()}
"""The name of each class's stored format."""


def is_plain_message(value: Any) -> bool:
    """Return true if a value is a message of one of langchain-core's own classes."""
    return type(value) in FORMATS


def has_all_fields(message: BaseMessage) -> bool:
    """Return true if a message of langchain-core's own class has exactly the fields of its class."""
    return message.__dict__.keys() == _FIELDS[FORMATS[type(message)]][1]


def is_message_format(name: str) -> bool:
    """Return true if a stored format is that of a message."""
    return name in _FIELDS


def message_class(cls: type) -> type[BaseMessage] | None:
    """Return langchain-core's message class from which a class is derived, or None."""
    return next((_CLASSES[one.__name__] for one in cls.__mro__ if one in FORMATS), None)


def rebuilt_message(name: str, fields: dict[str, Any]) -> BaseMessage:
    """Construct a message from its stored fields.

    The fields are not validated again, unless another version of langchain-core stored them.

    Args:
        name: The name of the stored format.
        fields: The fields.
    """
    cls, known = _FIELDS[name]
    if fields.keys() == known:
        return built(cls, fields)
    if fields.keys() >= known:  # with extra fields
        return cls.model_construct(**fields)
    try:
        return cls(**fields)
    except UNREADABLE:
        if "type" not in fields:
            raise
        # The application constructed it without validation, and an earlier version stored it unchecked.
        return cls.model_construct(**fields)
