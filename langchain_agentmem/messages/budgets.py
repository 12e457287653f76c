"""Budgets of requests, and the newest messages of a conversation that fit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import BudgetError
from langchain_agentmem.messages.answers import joined
from langchain_agentmem.messages.atoms import Atom
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.messages.truncation import truncated

_SHOWN = 60
"""The number of characters of a message that an error shows."""


@dataclass(frozen=True)
class Budget:
    """Upper bounds of a request.

    Args:
        counter: Counts tokens.
        max_tokens: The maximum number of tokens; None for any number.
        max_messages: The maximum number of messages; None for any number.
    """

    counter: TokenCounter
    max_tokens: int | None = None
    max_messages: int | None = None

    def minus(self, messages: Sequence[BaseMessage], tokens: int = 0) -> Budget:
        """Return the rest of the budget after some messages and a number of other tokens."""
        return self.reduced(tokens + self.tokens(messages), len(messages))

    def reduced(self, tokens: int, count: int) -> Budget:
        """Return the budget that is left after a number of messages with a number of tokens."""
        tokens_left = None if self.max_tokens is None else self.max_tokens - tokens
        return Budget(self.counter, tokens_left, None if self.max_messages is None else self.max_messages - count)

    def holds(self, messages: Sequence[BaseMessage]) -> bool:
        """Return true if messages fit the budget."""
        return self.allows(self.tokens(messages), len(messages))

    def allows(self, tokens: int, count: int) -> bool:
        """Return true if `count` messages with `tokens` tokens in total fit the budget."""
        if self.max_messages is not None and count > self.max_messages:
            return False
        return self.max_tokens is None or tokens <= self.max_tokens

    def tokens(self, messages: Sequence[BaseMessage]) -> int:
        """Return the number of tokens of messages; 0 if the budget does not limit tokens."""
        return 0 if self.max_tokens is None else sum(map(self.counter.message, messages))


def messages_of(atoms: Sequence[Atom]) -> list[BaseMessage]:
    """Return the messages of atoms, for a request."""
    return joined([message for atom in atoms for message in atom.request])


def newest_atoms(atoms: Sequence[Atom], budget: Budget, keep: Budget | None = None) -> tuple[int | None, int]:
    """Find the newest atoms that fit a budget.

    They begin with a human message if possible. If the last turn alone does not fit, its human message and its newest atoms
    are kept.

    Args:
        atoms: The conversation.
        budget: The budget.
        keep: Stop once the atoms exceed this budget. Default: None (as many as fit).

    Returns:
        The index of the human message to keep before them (None if they begin with one), and the index of the first of them.
    """
    turn, start = _reach(atoms, 0, budget, keep)
    if turn is not None:
        return None, turn
    last_human = max((at for at, atom in enumerate(atoms) if atom.is_human), default=None)
    if last_human is None or last_human == len(atoms) - 1:
        return None, min(start, len(atoms) - 1)
    _, start = _reach(atoms, last_human + 1, budget.minus(atoms[last_human].request), keep)
    return last_human, min(start, len(atoms) - 1)


def _reach(atoms: Sequence[Atom], first: int, budget: Budget, keep: Budget | None) -> tuple[int | None, int]:
    """Return the index of the oldest human message and of the oldest atom that fit, not before `first`."""
    turn, start = None, len(atoms)
    tokens = count = 0
    for at in range(len(atoms) - 1, first - 1, -1):
        tokens += budget.tokens(atoms[at].request)
        count += len(atoms[at].request)
        if not budget.allows(tokens, count):
            break
        start = at
        if atoms[at].is_human:
            turn = at
        if keep is not None and not keep.allows(tokens, count) and (atoms[at].is_human or first):
            break
    return turn, start


def newest_messages(atoms: Sequence[Atom], budget: Budget) -> list[BaseMessage]:
    """Return the newest messages of a conversation that fit a budget.

    A message that exceeds the budget by itself is truncated, with a visible mark.

    Args:
        atoms: The conversation.
        budget: The budget.

    Raises:
        BudgetError: A message cannot be truncated far enough.
    """
    if not atoms:
        return []
    human, start = newest_atoms(atoms, budget)
    kept = messages_of([*([] if human is None else [atoms[human]]), *atoms[start:]])
    return kept if budget.holds(kept) else truncated_to(kept, budget)


def truncated_to(messages: list[BaseMessage], budget: Budget) -> list[BaseMessage]:
    """Truncate the largest messages until all fit, with a visible mark.

    Args:
        messages: The messages. The list is changed.
        budget: The budget.

    Raises:
        BudgetError: There are too many messages, or one cannot be truncated far enough.
    """
    if budget.max_messages is not None and len(messages) > budget.max_messages:
        msg = (
            f"The last turn has {len(messages)} messages, which must stay together, and the budget leaves room for "
            f"{max(0, budget.max_messages)}. Raise max_messages."
        )
        raise BudgetError(msg)
    if budget.max_tokens is None:
        return messages
    originals = list(messages)
    sizes = [budget.counter.message(message) for message in messages]
    excess = sum(sizes) - budget.max_tokens
    # The first round truncates no message below an even share, so that two large messages both keep some text.
    for share in (budget.max_tokens // len(messages), 0):
        for at in sorted(range(len(messages)), key=lambda one: -sizes[one]):
            if excess <= 0:
                break
            target = max(budget.max_tokens - (sum(sizes) - sizes[at]), share)
            messages[at] = truncated(originals[at], target, budget.counter)
            sizes[at] = budget.counter.message(messages[at])
            excess = sum(sizes) - budget.max_tokens
    if excess > 0:
        at = max(range(len(messages)), key=sizes.__getitem__)
        raise _too_large(messages[at], sizes[at], budget)
    return messages


def _too_large(message: BaseMessage, size: int, budget: Budget) -> BudgetError:
    msg = (
        f"The {message.type} message {shown(str(message.text)[:_SHOWN])}… has {size:,} tokens and cannot be truncated to "
        f"the {max(0, budget.max_tokens or 0):,} tokens that the budget leaves. Raise max_tokens, or send a shorter message."
    )
    return BudgetError(msg)
