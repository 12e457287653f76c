"""Transcripts of messages for a model that summarises them: speakers, texts, and tool calls.

A model's reasoning and encrypted content are left out.
"""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, ChatMessage, RemoveMessage, ToolMessage

from langchain_agentmem.messages.blocks import as_json, blocks_of, calls_of, content_of_block
from langchain_agentmem.messages.call_types import THOUGHTS, is_call, kind_of
from langchain_agentmem.messages.roles import role_of


def transcribed(message: BaseMessage) -> str:
    """Return a message as a line of a transcript; `""` for a `RemoveMessage`, which has no content.

    Args:
        message: The message.

    Example:
        >>> from langchain_core.messages import AIMessage
        >>> from langchain_agentmem.compression.transcript import transcribed
        >>> transcribed(AIMessage("Let me see.", tool_calls=[{"name": "add", "args": {"a": 2}, "id": "1"}]))
        'ai: Let me see. [calls add {"a": 2}]'
    """
    if isinstance(message, RemoveMessage):
        return ""
    parts = [_text(block) for block in blocks_of(message) if not is_call(block)]
    parts += [f"[calls {call['name']} {as_json(call['args'])}]" for call in calls_of(message)]
    return f"{_speaker(message)}: {' '.join(part for part in parts if part)}"


def _speaker(message: BaseMessage) -> str:
    if isinstance(message, ToolMessage):
        return f"tool {message.name or ''}".rstrip()
    return message.name or (message.role if isinstance(message, ChatMessage) else role_of(message))


def _text(block: Any) -> str:
    if kind_of(block) in THOUGHTS:
        return ""
    content = content_of_block(block)
    if isinstance(content, str) and (content or isinstance(block, str) or kind_of(block) == "text"):
        return content
    kind = kind_of(block) or "content"
    return f"[{kind} {as_json(content)}]" if content else f"[{kind}]"
