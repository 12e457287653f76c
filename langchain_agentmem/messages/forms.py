"""Message types that only some providers accept, as the types that all accept.

* A chunk of a streamed answer, as chains store it, is a message.
* A `ChatMessage` is a message of the user, the model or the system, by its role. Other speakers become users with a name.
* `additional_kwargs["function_call"]` and a `FunctionMessage`, OpenAI's first form, are a tool call and its result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

from langchain_agentmem.encoding.repairs import built
from langchain_agentmem.messages.blocks import as_json
from langchain_agentmem.messages.call_types import dict_of_json

_CLASSES: dict[str, type[BaseMessage]] = {
    "user": HumanMessage,
    "human": HumanMessage,
    "assistant": AIMessage,
    "ai": AIMessage,
    "system": SystemMessage,
    "developer": SystemMessage,
}
_OF_CHUNKS: dict[type[BaseMessage], type[BaseMessage]] = {
    AIMessageChunk: AIMessage,
    ChatMessageChunk: ChatMessage,
    FunctionMessageChunk: FunctionMessage,
    HumanMessageChunk: HumanMessage,
    SystemMessageChunk: SystemMessage,
    ToolMessageChunk: ToolMessage,
}
_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")
"""Characters that OpenAI refuses in a name."""


def as_plain(message: BaseMessage) -> BaseMessage:
    """Return a message in a type that all providers accept; the message itself if it has such a type.

    Args:
        message: The message. It is not changed.

    Example:
        >>> from langchain_core.messages import ChatMessage
        >>> from langchain_agentmem.messages.forms import as_plain
        >>> as_plain(ChatMessage("Hello", role="user")).type
        'human'
    """
    cls = _OF_CHUNKS.get(type(message))
    if cls is not None:
        message = _whole(message, cls)
    if isinstance(message, ChatMessage):
        return _of_role(message)
    if isinstance(message, FunctionMessage):
        return ToolMessage(**{**_fields(message), "tool_call_id": _legacy_id(message.name)})
    if isinstance(message, AIMessage) and not (message.tool_calls or message.invalid_tool_calls):
        function = message.additional_kwargs.get("function_call")
        if isinstance(function, Mapping):
            return _with_tool_call(message, function)
    return message


def is_system(message: BaseMessage) -> bool:
    """Return true if a message has the role of the system."""
    if isinstance(message, ChatMessage):
        return _CLASSES.get(message.role.lower()) is SystemMessage
    return isinstance(message, SystemMessage)


def is_named_speaker(message: BaseMessage) -> bool:
    """Return true if a message is of a speaker that is neither user, model nor system."""
    return isinstance(message, ChatMessage) and message.role.lower() not in _CLASSES


def _whole(chunk: BaseMessage, cls: type[BaseMessage]) -> BaseMessage:
    fields = {name: value for name, value in chunk.__dict__.items() if name in cls.model_fields}
    fields["type"] = cls.model_fields["type"].default
    return built(cls, fields, chunk.__pydantic_extra__)


def _of_role(message: ChatMessage) -> BaseMessage:
    cls = _CLASSES.get(message.role.lower())
    fields = _fields(message)
    if cls is None:
        return HumanMessage(**{**fields, "name": message.name or _NO_NAME.sub("_", message.role)[:64] or None})
    return cls(**fields)


def _fields(message: BaseMessage) -> dict[str, Any]:
    names = ("content", "name", "id", "additional_kwargs", "response_metadata")
    return {name: getattr(message, name) for name in names}


def _legacy_id(name: Any) -> str:
    return f"call_{name}"


def _with_tool_call(message: AIMessage, function: Mapping[str, Any]) -> AIMessage:
    name, given = str(function.get("name") or ""), function.get("arguments")
    args = dict_of_json(given)
    more = {key: value for key, value in message.additional_kwargs.items() if key != "function_call"}
    update: dict[str, Any] = {"additional_kwargs": more}
    if args is None:
        invalid = {
            "name": name,
            "args": as_json(given),
            "id": _legacy_id(name),
            "error": None,
            "type": "invalid_tool_call",
        }
        update["invalid_tool_calls"] = [invalid]
    else:
        update["tool_calls"] = [{"name": name, "args": args, "id": _legacy_id(name), "type": "tool_call"}]
    return message.model_copy(update=update)
