"""Transcripts of messages for a model that summarises them: speakers, texts, and tool calls."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, ChatMessage, RemoveMessage, ToolMessage

from langchain_agentmem.messages.blocks import THOUGHTS, as_json, blocks_of, calls_of, content_of_block, is_call


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
    return message.name or (message.role if isinstance(message, ChatMessage) else message.type)


def _text(block: Any) -> str:
    content = content_of_block(block)
    if isinstance(block, dict) and block.get("type") in THOUGHTS:
        return f"[thinks {as_json(content)}]" if content else ""
    if isinstance(content, str) and (content or isinstance(block, str) or block.get("type") == "text"):
        return content
    kind = block.get("type") or "content"
    return f"[{kind} {as_json(content)}]" if content else f"[{kind}]"
