"""What part of a conversation a model is given: the newest messages, as a request that a provider accepts."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage


def newest(messages: Sequence[BaseMessage], limit: int | None) -> list[BaseMessage]:
    """The newest messages that fit a limit.

    The newest system message is always among them, first if it lies before the others. A tool result whose call is not
    among them is left out, so there may be fewer messages than the limit allows.

    Args:
        messages: The end of a conversation, oldest first.
        limit: The most messages, a system message included; None for all.

    Returns:
        The messages, oldest first.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
        >>> from langchain_agentmem.windows import newest
        >>> [m.content for m in newest([SystemMessage("be kind"), HumanMessage("hi"), AIMessage("hello")], 2)]
        ['be kind', 'hello']
    """
    if limit is None:
        return _without_orphans(messages)
    start = max(0, len(messages) - limit)
    system = max((at for at, message in enumerate(messages) if isinstance(message, SystemMessage)), default=start)
    if system >= start:
        return _without_orphans(messages[start:])
    return [messages[system], *_without_orphans(messages[start + 1 :])]


def _without_orphans(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    called: set[str | None] = set()
    kept: list[BaseMessage] = []
    for message in messages:
        if isinstance(message, AIMessage):
            called.update(call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls))
        if not isinstance(message, ToolMessage) or message.tool_call_id in called:
            kept.append(message)
    return kept
