"""The window of a history: its newest messages within a budget."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from langchain_agentmem.history.logs import Log
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.messages.windows import newest, newest_within
from langchain_agentmem.programs import Program

_SMALLEST_READ = 20
"""The minimum number of messages that the first read of a window within tokens fetches."""
_TOKENS_OF_SHORT_MESSAGE = 20
"""The first read fetches as many messages as fit the budget if each has this number of tokens."""


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


def window_of(log: Log, budget: WindowBudget) -> Program[list[BaseMessage]]:
    """Return the newest messages of a log within a budget, oldest first.

    The newest system message is included. A tool result without its call is left out.

    Args:
        log: The messages.
        budget: The upper bounds.
    """
    if budget.max_tokens is not None:
        return (yield from _within_tokens(log, budget, budget.max_tokens))
    return newest((yield from log.newest(budget.max_messages)), budget.max_messages)


def _within_tokens(log: Log, budget: WindowBudget, max_tokens: int) -> Program[list[BaseMessage]]:
    """Read more messages until those that were read exceed the budget."""
    yield from budget.counter.prepare()
    size = max(_SMALLEST_READ, max_tokens // _TOKENS_OF_SHORT_MESSAGE)
    while True:
        limit = size if budget.max_messages is None else min(size, budget.max_messages)
        messages = yield from log.newest(limit)
        window, is_complete = newest_within(messages, budget.max_messages, max_tokens, budget.counter)
        if is_complete or len(messages) < limit or limit == budget.max_messages:
            return window
        size *= 4
