"""The content of messages apart from calls and results."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from langchain_agentmem.messages.call_types import THOUGHTS, is_result, kind_of


def is_said(content: Any) -> bool:
    """Return true if providers accept a message without calls that has this content: more than reasoning.

    Args:
        content: The content of a message.
    """
    if isinstance(content, str):
        return bool(content) and not content.isspace()
    return any(map(_is_said, content))


def _is_said(block: Any) -> bool:
    if isinstance(block, str):
        return is_said(block)
    kind = kind_of(block)
    if kind in THOUGHTS:
        return False
    text = block.get("text")
    return is_said(text) if isinstance(text, str) else kind != "text" and bool(block)


def without_results(message: BaseMessage) -> BaseMessage | None:
    """Return a message without the results of tools in its content; None if nothing is left, the message if it has none.

    Args:
        message: The message.
    """
    content = message.content
    if isinstance(message, HumanMessage) and isinstance(content, list):
        rest = [block for block in content if not is_result(block)]
        if len(rest) < len(content):
            content = rest
            message = message.model_copy(update={"content": rest})
    return message if is_said(content) else None
