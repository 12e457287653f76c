"""Windows: the newest messages of a conversation, as a request that model providers accept.

System messages come first and together. The other messages begin with one of the user, if there is any. Calls of tools and
their results are kept or left out together; see `langchain_agentmem.messages.atoms`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from langchain_core.messages import BaseMessage, HumanMessage

from langchain_agentmem.errors import BudgetError
from langchain_agentmem.messages.atoms import Atom, atoms_of, from_human, is_plain
from langchain_agentmem.messages.budgets import Budget, messages_of, truncated_to
from langchain_agentmem.messages.content import is_said
from langchain_agentmem.messages.forms import as_plain, is_system
from langchain_agentmem.messages.tokens import TokenCounter

_LARGE = 2
"""An atom that does not fit is truncated if it has more than this part of the budget. A smaller one ends the window."""
_SHARE = 2
"""Such an atom is truncated to what is left of the budget, divided by this number: older messages get the rest."""
_SHARE_OF_HUMAN = 4
"""A large question is truncated to the budget divided by this number, so that there is room for the answer."""


class Window(NamedTuple):
    """The newest messages of a conversation."""

    messages: list[BaseMessage]
    """The messages, oldest first."""
    is_full: bool
    """True if no older message fits, apart from the question of the last turn."""
    has_question: bool
    """True if the messages begin with one of the user."""

    @property
    def is_complete(self) -> bool:
        """True if messages that are older than the given ones would not change the window."""
        return self.is_full and self.has_question


def newest(messages: Sequence[BaseMessage], limit: int | None) -> Window:
    """Return the window of the newest messages.

    It contains the system messages among the newest ones, and always the newest system message. If the last turn has more
    messages than the limit, the window contains its question and its newest messages.

    Args:
        messages: The end of a conversation, oldest first.
        limit: The maximum number of messages, including system messages; None for all.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
        >>> from langchain_agentmem.messages.windows import newest
        >>> talk = [SystemMessage("be kind"), HumanMessage("hi"), AIMessage("hello"), HumanMessage("bye")]
        >>> [message.content for message in newest(talk, 3).messages]
        ['be kind', 'bye']
    """
    systems, rest = _split(messages, limit)
    if limit is None:
        return Window([*systems, *_begun(rest)], is_full=True, has_question=True)
    room = limit - len(systems)
    if room <= 0:
        return Window(systems, is_full=True, has_question=True)
    is_full = len(messages) >= limit
    if is_plain(rest[-room:]):
        newest_ones = rest[-room:]
        first = next((at for at, one in enumerate(newest_ones) if isinstance(one, HumanMessage)), None)
        if first is not None or len(rest) == len(newest_ones):
            return Window([*systems, *newest_ones[first or 0 :]], is_full, has_question=first is not None)
    atoms = atoms_of(rest)
    chosen, has_human = _newest_turns(atoms, room)
    return Window([*systems, *messages_of(chosen)], is_full, has_question=has_human)


def newest_within(messages: Sequence[BaseMessage], limit: int | None, max_tokens: int, counter: TokenCounter) -> Window:
    """Return the window of the newest messages within a budget of messages and tokens.

    A message that does not fit and has more than half of the budget is truncated, with a visible mark.

    Args:
        messages: The end of a conversation, oldest first.
        limit: The maximum number of messages, including system messages; None for any number.
        max_tokens: The maximum number of tokens. System messages are counted first, the newest one before the others; those
            that exceed the budget are left out.
        counter: The token counter.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from langchain_agentmem.messages.tokens import TokenCounter
        >>> from langchain_agentmem.messages.windows import newest_within
        >>> talk = [HumanMessage("hi"), AIMessage("hello there"), HumanMessage("bye")]
        >>> [message.content for message in newest_within(talk, None, 12, TokenCounter()).messages]
        ['bye']
    """
    systems, rest = _split(messages, limit)
    budget = Budget(counter, max_tokens - counter.base, limit)
    kept: list[BaseMessage] = []
    for system in reversed(systems):
        if budget.minus([*kept, system]).allows(0, 0):
            kept.insert(0, system)
    walk = _Walk(atoms_of(rest), budget.minus(kept))
    chosen, is_full, has_question = walk.chosen()
    result = messages_of(chosen)
    is_joined = len(result) < sum(len(atom.request) for atom in chosen)
    while is_joined and result and not walk.budget.holds(result):  # an application's function may count more for them
        chosen = list(from_human(chosen[1:]))
        result = messages_of(chosen)
    return Window([*kept, *result], is_full or (limit is not None and len(messages) >= limit), has_question)


def _split(messages: Sequence[BaseMessage], limit: int | None) -> tuple[list[BaseMessage], list[BaseMessage]]:
    """Return the system messages of a window, and all other messages."""
    systems = [at for at, message in enumerate(messages) if is_system(message)]
    if not systems:
        return [], list(messages)
    first = 0 if limit is None else len(messages) - limit
    kept = [as_plain(messages[at]) for at in systems if at >= first or at == systems[-1]]
    rest = [message for message in messages if not is_system(message)]
    return [one for one in kept if is_said(one.content)], rest


def _begun(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return a whole conversation from the first message of the user on; all of it if there is none."""
    if is_plain(messages):
        first = next((at for at, one in enumerate(messages) if isinstance(one, HumanMessage)), 0)
        return list(messages[first:])
    return messages_of(from_human(atoms_of(messages)))


def _newest_turns(atoms: Sequence[Atom], room: int) -> tuple[list[Atom], bool]:
    """Return the newest atoms with at most `room` messages, and true if they begin with a message of the user."""
    start, left = len(atoms), room
    while start > 0 and len(atoms[start - 1].request) <= left:
        start -= 1
        left -= len(atoms[start].request)
    human = next((at for at in range(start, len(atoms)) if atoms[at].is_human), None)
    if human is not None:
        return list(atoms[human:]), True
    human = next((at for at in range(start - 1, -1, -1) if atoms[at].is_human), None)
    if human is None:
        return list(atoms[start:]), False
    left, start = room - len(atoms[human].request), len(atoms)
    while start > human + 1 and len(atoms[start - 1].request) <= left:
        start -= 1
        left -= len(atoms[start].request)
    return [atoms[human], *atoms[start:]], True


class _Walk:
    """Chooses the newest atoms within a budget, from the newest to the oldest.

    Args:
        atoms: The atoms of a conversation.
        budget: The budget.
    """

    def __init__(self, atoms: Sequence[Atom], budget: Budget) -> None:
        self.budget = budget
        self._atoms = atoms

    def chosen(self) -> tuple[list[Atom], bool, bool]:
        """Return the atoms, whether no older atom fits, and whether they begin with a message of the user."""
        kept, is_full = self._newest(0, self.budget)
        first = next((at for at, atom in enumerate(kept) if atom.is_human), None)
        if first is not None:
            return kept[first:], is_full, True
        human = next((at for at in range(len(self._atoms) - 1, -1, -1) if self._atoms[at].is_human), None)
        if human is None:
            return kept, is_full, False
        question = self._fitted(self._atoms[human], self.budget, _SHARE_OF_HUMAN)
        if question is None:
            return [], True, True
        kept, _ = self._newest(human + 1, self.budget.minus(question.request))
        return [question, *kept], True, True

    def _newest(self, first: int, left: Budget) -> tuple[list[Atom], bool]:
        """Return the newest atoms from an index on that fit, and whether a budget was exhausted."""
        kept: list[Atom] = []
        room = left.max_tokens or 0
        free = sys.maxsize if left.max_messages is None else left.max_messages
        for at in range(len(self._atoms) - 1, first - 1, -1):
            atom = self._atoms[at]
            tokens = left.tokens(atom.request)
            if len(atom.request) > free or (tokens > room and not self._is_large(tokens)):
                return kept[::-1], True
            if tokens > room:
                short = self._fitted(atom, Budget(left.counter, room), _SHARE)
                if short is None:
                    continue  # left out alone
                atom, tokens = short, left.tokens(short.request)
            room -= tokens
            free -= len(atom.request)
            kept.append(atom)
        return kept[::-1], False

    def _is_large(self, tokens: int) -> bool:
        return self.budget.max_tokens is not None and tokens * _LARGE > self.budget.max_tokens

    def _fitted(self, atom: Atom, left: Budget, share: int) -> Atom | None:
        """Return an atom, truncated to a share of the budget if it does not fit; None if that is not possible."""
        tokens = left.tokens(atom.request)
        if left.allows(tokens * (1 if share == _SHARE else 2), len(atom.request)):
            return atom
        if not left.allows(0, len(atom.request)) or left.max_tokens is None:
            return None
        try:
            target = Budget(left.counter, left.max_tokens // share)
            return atom._replace(request=tuple(truncated_to(list(atom.request), target)))
        except BudgetError:
            return atom if left.allows(tokens, len(atom.request)) else None
