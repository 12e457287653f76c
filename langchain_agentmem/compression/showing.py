"""Messages as a summariser is shown them: who said it, all that was said, and which tools were called with what."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, ChatMessage, RemoveMessage, ToolMessage

from langchain_agentmem.messages.blocks import THOUGHTS, as_json, blocks_of, calls_of, content_of_block, is_call


def shown(message: BaseMessage) -> str:
    """A message as a summariser is shown it; nothing of a `RemoveMessage`, which says nothing.

    Args:
        message: The message.

    Example:
        >>> from langchain_core.messages import AIMessage
        >>> from langchain_agentmem.compression.showing import shown
        >>> shown(AIMessage("Let me see.", tool_calls=[{"name": "add", "args": {"a": 2}, "id": "1"}]))
        'ai: Let me see. [calls add {"a": 2}]'
    """
    if isinstance(message, RemoveMessage):
        return ""
    said = [_shown(block) for block in blocks_of(message) if not is_call(block)]
    said += [f"[calls {call['name']} {as_json(call['args'])}]" for call in calls_of(message)]
    return f"{_speaker(message)}: {' '.join(one for one in said if one)}"


def _speaker(message: BaseMessage) -> str:
    if isinstance(message, ToolMessage):
        return f"tool {message.name or ''}".rstrip()
    return message.name or (message.role if isinstance(message, ChatMessage) else message.type)


def _shown(block: Any) -> str:
    said = content_of_block(block)
    if isinstance(block, dict) and block.get("type") in THOUGHTS:
        return f"[thinks {as_json(said)}]" if said else ""
    if isinstance(said, str) and (said or isinstance(block, str) or block.get("type") == "text"):
        return said
    kind = block.get("type") or "content"
    return f"[{kind} {as_json(said)}]" if said else f"[{kind}]"
