"""The opening: a message in the user's place, for requests of conversations without any message of the user.

Anthropic, Gemini and Bedrock refuse a request that begins with an answer or a call of the model.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage, HumanMessage

OPENING = "[The conversation continues.]"
"""The text of the opening."""


def opening() -> HumanMessage:
    """Return the opening."""
    return HumanMessage(OPENING)


def opened(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return messages that begin with one of the user: after the opening, unless they begin so already.

    Args:
        messages: The messages of a request, without system messages.

    Example:
        >>> from langchain_core.messages import AIMessage
        >>> from langchain_agentmem.messages.openings import opened
        >>> [message.type for message in opened([AIMessage("Hello! How can I help?")])]
        ['human', 'ai']
    """
    return [*messages] if messages and isinstance(messages[0], HumanMessage) else [opening(), *messages]
