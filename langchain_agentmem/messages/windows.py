"""What part of a conversation a model is given: the newest messages, as a request that a provider accepts."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage

from langchain_agentmem.messages.blocks import calls_of
from langchain_agentmem.messages.tokens import TokenCounter


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
        >>> from langchain_agentmem.messages.windows import newest
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


def newest_within(
    messages: Sequence[BaseMessage], limit: int | None, max_tokens: int, counter: TokenCounter
) -> tuple[list[BaseMessage], bool]:
    """The newest messages that fit a limit and a number of tokens.

    Args:
        messages: The end of a conversation, oldest first.
        limit: The most messages, a system message included; None for any number.
        max_tokens: The most tokens. The newest system message counts first, and is left out if it does not fit by itself.
        counter: What counts them.

    Returns:
        The messages, oldest first, and whether more messages at the beginning would make no difference.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from langchain_agentmem.messages.tokens import TokenCounter
        >>> from langchain_agentmem.messages.windows import newest_within
        >>> window, _ = newest_within([HumanMessage("hi"), AIMessage("hello there")], None, 12, TokenCounter())
        >>> [message.content for message in window]
        ['hello there']
    """
    system = next((message for message in reversed(messages) if isinstance(message, SystemMessage)), None)
    left = max_tokens - counter.base
    places = len(messages) if limit is None else limit
    if system is not None:
        tokens = counter.message(system)
        if tokens > left:
            messages = [message for message in messages if message is not system]
            system = None
        else:
            left -= tokens
            places -= 1
    start = len(messages)
    complete = False
    while start > 0:
        message = messages[start - 1]
        if message is not system:
            left -= counter.message(message)
            places -= 1
        if left < 0 or places < 0:
            complete = left < 0
            break
        start -= 1
    window = messages[start:]
    kept = _without_orphans(window)
    return ([system, *kept] if system is not None and all(one is not system for one in window) else kept), complete


def _without_orphans(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    called: set[str | None] = set()
    kept: list[BaseMessage] = []
    for message in messages:
        if isinstance(message, AIMessage):
            called.update(call["id"] for call in calls_of(message))
        if not isinstance(message, ToolMessage) or message.tool_call_id in called:
            kept.append(message)
    return kept
