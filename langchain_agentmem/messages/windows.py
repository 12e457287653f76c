"""Windows: the newest messages of a conversation, as a request that model providers accept."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage

from langchain_agentmem.messages.blocks import calls_of
from langchain_agentmem.messages.tokens import TokenCounter


def newest(messages: Sequence[BaseMessage], limit: int | None) -> list[BaseMessage]:
    """Return the window of the newest messages.

    The window always contains the newest system message. A tool result whose call is older than the window is left out, so
    the window may have fewer messages than the limit.

    Args:
        messages: The end of a conversation, oldest first.
        limit: The maximum number of messages, including the system message; None for all.

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
    """Return the window of the newest messages within a budget of messages and tokens.

    Args:
        messages: The end of a conversation, oldest first.
        limit: The maximum number of messages, including the system message; None for any number.
        max_tokens: The maximum number of tokens. The newest system message is counted first, and left out if it alone
            exceeds the budget.
        counter: The token counter.

    Returns:
        The messages, oldest first; and true if older messages than the given ones would not change the window.

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
    free = len(messages) if limit is None else limit
    if system is not None:
        tokens = counter.message(system)
        if tokens > left:
            messages = [message for message in messages if message is not system]
            system = None
        else:
            left -= tokens
            free -= 1
    start = len(messages)
    complete = False
    while start > 0:
        message = messages[start - 1]
        if message is not system:
            left -= counter.message(message)
            free -= 1
        if left < 0 or free < 0:
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
