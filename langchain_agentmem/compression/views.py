"""What of a conversation a request holds, and what is to be summarised when that is too much."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage, SystemMessage

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.compression.budgets import Budget, fitted, request_of, suffix
from langchain_agentmem.compression.sources import STAYS, Past
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.compression.summarizing import Summarizer, summary_message
from langchain_agentmem.errors import BudgetError
from langchain_agentmem.messages.atoms import Atom, atoms_of


class Plan(NamedTuple):
    """What is to be summarised."""

    groups: list[list[BaseMessage]]
    """The first messages of the tail, those that belong together in one group."""
    human: int | None
    """Which message of the tail is kept all the same; see `Source.entry`."""


class View:
    """A conversation as a request holds it.

    Args:
        past: The conversation.
        room: What the request may be.
        role: Where the summary stands: `"human"` or `"system"`.
        summarizer: What says how long a summary may be.
    """

    def __init__(self, past: Past, room: Budget, role: str, summarizer: Summarizer) -> None:
        self.past = past
        self._room = room
        self._role = role
        self._summarizer = summarizer
        tail = past.tail
        self._systems = [*past.systems, *(one for one in tail if isinstance(one, SystemMessage))]
        places = [at for at, one in enumerate(tail) if not isinstance(one, SystemMessage)]
        atoms = atoms_of([tail[at] for at in places])
        self._starts: list[int] = []
        """Where in the tail the atoms start."""
        at = 0
        for atom in atoms:
            self._starts.append(places[at])
            at += len(atom.originals)
        self._resumed = [] if past.human is None else [Atom((past.human,), (past.human,), True)]
        if atoms and atoms[0].is_human:
            self._resumed = []
        self._atoms = [*self._resumed, *atoms]
        self.head = self._head(past.summary)
        left = room.less(self.head)
        self.fits = left.holds(request_of(self._atoms))

    def messages(self) -> list[BaseMessage]:
        """The request: all if it fits, else the newest.

        Raises:
            BudgetError: A message cannot be made to fit.
        """
        if self.fits:
            return [*self.head, *request_of(self._atoms)]
        problem: BudgetError | None = None
        for head in (self.head, self._systems):  # without the summary where there is no room for it
            left = self._room.less(head)
            least = min(1, len(self._atoms))
            if head and not left.allows(least, least):
                problem = problem or self._crowded(head)
                continue
            try:
                return [*head, *fitted(self._atoms, left)]
            except BudgetError as error:
                problem = error
        assert problem is not None
        raise problem

    def whole(self) -> Plan:
        """All that is not summarised yet, so that the summary covers the conversation."""
        bounds = [0, *self._starts[1:], len(self.past.tail)]
        return Plan([self.past.tail[start:end] for start, end in pairwise(bounds)], None)

    def plan(self, keep: Budget) -> Plan | None:
        """What is to be summarised so that it fits; None if nothing is left that could be.

        Args:
            keep: No more than does not fit in this stays as it is.
        """
        summary = 0 if self._room.max_tokens is None else self._summarizer.message_tokens
        room = self._room.less(self._systems, summary)
        if room.max_messages is not None and (self._role == "human" or not self._systems):
            room = Budget(room.counter, room.max_tokens, room.max_messages - 1)
        pinned, start = suffix(self._atoms, room, keep)
        skipped = len(self._resumed)
        end = start - skipped
        if end <= 0:
            return None
        bounds = [0, *self._starts[1:], len(self.past.tail)]
        human = None
        if pinned is not None:
            human = STAYS if pinned < skipped else self._starts[pinned - skipped]
        return Plan([self.past.tail[bounds[at] : bounds[at + 1]] for at in range(end)], human)

    def _head(self, summary: SessionSummary | None) -> list[BaseMessage]:
        if summary is None:
            return self._systems
        # One that was made for a larger budget is cut.
        message = summary_message(self._summarizer.bounded(summary), self.past.stand_in)
        if self._role == "human":
            return [*self._systems, message]
        text = str(message.content)
        if not self._systems:
            return [SystemMessage(text, id=message.id)]
        first, *others = self._systems
        content: Any = first.content
        joined = f"{content}\n\n{text}" if isinstance(content, str) else [*content, {"type": "text", "text": text}]
        return [first.model_copy(update={"content": joined}), *others]

    def _crowded(self, head: Sequence[BaseMessage]) -> BudgetError:
        largest = max(head, key=self._room.counter.message)
        msg = (
            f"No room is left for the conversation beside what stands before it, of which the {largest.type} message "
            f"{shown(str(largest.text)[:60])}… counts {self._room.counter.message(largest):,} tokens: raise "
            f"max_tokens or max_messages."
        )
        return BudgetError(msg)
