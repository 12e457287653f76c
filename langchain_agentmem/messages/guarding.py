"""Messages as a guard lets them be stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.encoding.repairs import built
from langchain_agentmem.messages.blocks import with_all_texts

_FIELDS = ("content", "name", "tool_calls", "invalid_tool_calls", "additional_kwargs", "artifact")
"""Fields of a message that a guard reads."""


def guarded_message(message: BaseMessage, guarded: Callable[[str], str]) -> BaseMessage:
    """Return a message as a guard lets it be stored: itself, or a copy with changed texts.

    Files, images, and encrypted or signed values are not read.

    Args:
        message: The message.
        guarded: Returns a text as it may be stored, or raises an error.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem import Guard
        >>> from langchain_agentmem.messages.guarding import guarded_message
        >>> guarded_message(HumanMessage("Token hf_abcdefghijklmnopqrstuvwxyz0123456789"), Guard().repaired).content
        'Token [redacted: Hugging Face Token]'
    """
    changed: dict[str, Any] = {}
    for name in _FIELDS:
        value = getattr(message, name, None)
        if not value:
            continue
        is_changed = False

        def change(text: str) -> str:
            nonlocal is_changed
            kept = guarded(text)
            is_changed = is_changed or kept != text
            return kept

        found = with_all_texts(value, change)
        if is_changed:
            changed[name] = found
    if not changed:
        return message
    return built(type(message), {**message.__dict__, **changed}, message.__pydantic_extra__)


def guarded_value(value: Any, guarded: Callable[[str], str]) -> Any:
    """Return a value of a graph's state as it may be stored: messages, texts, and lists and dicts of them.

    Other objects are not read.

    Args:
        value: The value.
        guarded: As in `guarded_message`.
    """
    if isinstance(value, BaseMessage):
        return guarded_message(value, guarded)
    if isinstance(value, str):
        return guarded(value)
    if type(value) in (list, tuple):
        kept = [guarded_value(one, guarded) for one in value]
        return type(value)(kept) if any(a is not b for a, b in zip(kept, value, strict=True)) else value
    if type(value) is dict:
        found: Mapping[Any, Any] = {key: guarded_value(one, guarded) for key, one in value.items()}
        return found if any(found[key] is not value[key] for key in value) else value
    return value
