"""Messages as a guard lets them be stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.encoding.repairs import built
from langchain_agentmem.errors import UnsupportedValueError
from langchain_agentmem.messages.blocks import is_file, is_sealed, unread_fields
from langchain_agentmem.text.guard import unused

_IDS = {"id", "call_id", "tool_call_id", "tool_use_id"}
"""Fields of messages and blocks that hold IDs. A message and another one refer to each other by them."""
_UNREAD = {"type", "id", "tool_call_id", "usage_metadata", "status"}
"""Fields of a message that a guard does not read."""
_PROBABILITIES = "logprobs"
"""The field with a model's tokens, one by one. A guard could not recognise a credential in them."""
_ARGUMENTS = {"args", "arguments", "input"}
"""Fields of tool calls that hold arguments: an object in which any name may have any meaning."""


def guarded_message(message: BaseMessage, guarded: Callable[[str], str]) -> BaseMessage:
    """Return a message as a guard lets it be stored: itself, or a copy with changed texts.

    Files, images, and encrypted or signed values are not read, nor are IDs and objects without a JSON form.

    Args:
        message: The message.
        guarded: Returns a text as it may be stored, or raises an error.

    Raises:
        UnsupportedValueError: A value contains itself, or is nested too deep.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem import Guard
        >>> from langchain_agentmem.messages.guarding import guarded_message
        >>> guarded_message(HumanMessage("Token hf_abcdefghijklmnopqrstuvwxyz0123456789"), Guard().repaired).content
        'Token [redacted: Hugging Face Token]'
    """
    fields: dict[str, Any] = message.__dict__
    extra = message.__pydantic_extra__ or {}
    try:
        kept = {name: _of_block(one, guarded, name, fields) for name, one in fields.items() if name not in _UNREAD}
        more = _of_block(extra, guarded)
    except RecursionError:
        msg = f"A {type(message).__name__} cannot be stored: a value in it contains itself, or is nested too deep."
        raise UnsupportedValueError(msg) from None
    if more is extra and all(one is fields[name] for name, one in kept.items()):
        return message
    return built(type(message), {**fields, **kept}, more)


def guarded_value(value: Any, guarded: Callable[[str], str]) -> Any:
    """Return a value of a graph's state as it may be stored: messages, texts, and lists and dicts of them.

    Other objects are not read.

    Args:
        value: The value.
        guarded: As in `guarded_message`.

    Raises:
        UnsupportedValueError: A value contains itself, or is nested too deep.
    """
    try:
        return _of_data(value, guarded)
    except RecursionError:
        msg = f"A {type(value).__name__} cannot be stored: it contains itself, or is nested too deep."
        raise UnsupportedValueError(msg) from None


def _of_block(value: Any, guarded: Callable[[str], str], key: str = "", owner: Mapping[str, Any] | None = None) -> Any:
    """Return a part of a message as it may be stored.

    Args:
        value: The part.
        guarded: As in `guarded_message`.
        key: Its name in `owner`. Default: "" (it is in a list).
        owner: The object that contains the part. Default: None.
    """
    if key in _IDS or key == _PROBABILITIES or is_sealed(key):
        return value
    if key in _ARGUMENTS and not isinstance(value, str):
        return _of_data(value, guarded)
    if isinstance(value, str):
        return value if is_file(value, key, owner or {}) else guarded(value)
    if isinstance(value, Mapping):
        unread = unread_fields(value)
        return _of_object(
            value, guarded, lambda name, one: one if name in unread else _of_block(one, guarded, str(name), value)
        )
    return _of_elements(value, lambda one: _of_block(one, guarded, key, owner))


def _of_data(value: Any, guarded: Callable[[str], str], key: str = "") -> Any:
    """Return JSON data, or a value of a graph's state, as it may be stored."""
    if isinstance(value, BaseMessage):
        return guarded_message(value, guarded)
    if isinstance(value, str):
        return value if is_file(value, key, {}) else guarded(value)
    if isinstance(value, Mapping):
        return _of_object(value, guarded, lambda name, one: _of_data(one, guarded, str(name)))
    return _of_elements(value, lambda one: _of_data(one, guarded))


def _of_object(value: Mapping[Any, Any], guarded: Callable[[str], str], change: Callable[[Any, Any], Any]) -> Any:
    if type(value) is not dict:
        return value
    kept: dict[Any, Any] = {}
    for name, one in value.items():
        kept[unused(guarded(name), kept) if isinstance(name, str) else name] = change(name, one)
    same = all(a is b and kept[a] is value[b] for a, b in zip(kept, value, strict=True))
    return value if same else kept


def _of_elements(value: Any, change: Callable[[Any], Any]) -> Any:
    if type(value) not in (list, tuple, set, frozenset):
        return value
    elements = list(value)
    kept = [change(one) for one in elements]
    return value if all(a is b for a, b in zip(kept, elements, strict=True)) else type(value)(kept)
