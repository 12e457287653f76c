"""The window of a history: its newest messages within a budget."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_core.messages import BaseMessage, HumanMessage

from langchain_agentmem.history.logs import Log
from langchain_agentmem.messages.forms import is_system
from langchain_agentmem.messages.openings import opened, opening
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.messages.windows import Window, newest, newest_within
from langchain_agentmem.programs import Program

_SMALLEST_READ = 20
"""The minimum number of messages that the first read of a window within tokens fetches."""
_TOKENS_OF_SHORT_MESSAGE = 20
"""The first read fetches as many messages as fit the budget if each has this number of tokens."""

_LARGEST_SEARCH = 200
"""A question of the user that is older than a full window is searched in at least this number of messages."""


@dataclass(frozen=True)
class WindowBudget:
    """The upper bounds of a window.

    Args:
        max_messages: The maximum number of messages; None for any number.
        max_tokens: The maximum number of tokens; None for any number.
        counter: Counts tokens.
    """

    max_messages: int | None
    max_tokens: int | None
    counter: TokenCounter


def window_of(log: Log, budget: WindowBudget, *, opens: bool = False) -> Program[list[BaseMessage]]:
    """Return the newest messages of a log within a budget, oldest first, as a request that model providers accept.

    Args:
        log: The messages.
        budget: The upper bounds.
        opens: If true and there is no message of the user, a message in its place comes first. Default: False.
    """
    limit = budget.max_messages
    if budget.max_tokens is not None:
        yield from budget.counter.prepare()
        size = max(_SMALLEST_READ, budget.max_tokens // _TOKENS_OF_SHORT_MESSAGE)
        limit = size if limit is None else min(size, limit)
    while True:
        messages = yield from log.newest(limit)
        window = _window(messages, budget, opens=opens)
        if window.is_complete or limit is None or len(messages) < limit:
            return window.messages
        if window.is_full and limit > _LARGEST_SEARCH:
            return window.messages
        limit = max(_SMALLEST_READ, limit) * 4


def _window(messages: list[BaseMessage], budget: WindowBudget, *, opens: bool) -> Window:
    window = _newest(messages, budget)
    if not opens or any(isinstance(one, HumanMessage) for one in window.messages):
        return window
    first = opening()
    limit, tokens = budget.max_messages, budget.max_tokens
    room = WindowBudget(
        None if limit is None else limit - 1,
        None if tokens is None else tokens - budget.counter.message(first),
        budget.counter,
    )
    window = _newest(messages, room)
    count = sum(map(is_system, window.messages))
    systems, rest = window.messages[:count], window.messages[count:]
    return window._replace(messages=[*systems, *(opened(rest) if rest else [])])


def _newest(messages: list[BaseMessage], budget: WindowBudget) -> Window:
    if budget.max_tokens is None:
        return newest(messages, budget.max_messages)
    return newest_within(messages, budget.max_messages, budget.max_tokens, budget.counter)
