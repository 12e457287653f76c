"""Requests: the messages of a conversation that a model receives, and the messages to summarise if they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.compression.conversations import SAME_HUMAN, Snapshot
from langchain_agentmem.compression.excerpts import Excerpts
from langchain_agentmem.compression.summaries import SessionSummary, summary_message
from langchain_agentmem.compression.writer import SummaryWriter
from langchain_agentmem.errors import BudgetError
from langchain_agentmem.messages.atoms import atoms_of, from_human
from langchain_agentmem.messages.budgets import Budget, messages_of, newest_atoms, newest_messages
from langchain_agentmem.messages.content import is_said
from langchain_agentmem.messages.forms import as_plain, is_system
from langchain_agentmem.messages.openings import opened, opening


class Plan(NamedTuple):
    """The messages to summarise."""

    groups: list[list[BaseMessage]]
    """The first messages of the tail, in groups that belong together."""
    human: int | None
    """The index of a human message that requests still contain; see `Conversation.entry`."""


class Request:
    """The request for a conversation.

    Args:
        snapshot: The conversation.
        budget: The budget of the request.
        role: The role of the message with the summary: `"human"` or `"system"`.
        writer: Its `summary_tokens` bound the summary.
        trigger: Compaction begins when the conversation exceeds this budget. Default: None (`budget`).
        excerpts: Shortens old tool results and arguments before anything is summarised. Default: None (nothing is shortened).
        opens: If true, a request without any message of the user begins with a message in its place. Default: False.
        is_readable: If true, the message with the summary names the tool that returns the summarised messages. Default:
            False.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        budget: Budget,
        role: str,
        writer: SummaryWriter,
        trigger: Budget | None = None,
        excerpts: Excerpts | None = None,
        *,
        opens: bool = False,
        is_readable: bool = False,
    ) -> None:
        self.snapshot = snapshot
        self._is_readable = is_readable
        self._budget = budget
        self._role = role
        self._writer = writer
        tail = snapshot.tail
        systems = [as_plain(one) for one in (*snapshot.systems, *tail) if is_system(one)]
        self._systems = [one for one in systems if is_said(one.content)]
        indexes = [at for at, one in enumerate(tail) if not is_system(one)]
        atoms = atoms_of([tail[at] for at in indexes])
        self._starts: list[int] = []
        """The index in the tail of each atom's first message."""
        at = 0
        for atom in atoms:
            self._starts.append(indexes[at])
            at += len(atom.originals)
        self._resumed = [] if snapshot.human is None else atoms_of([snapshot.human])
        if atoms and atoms[0].is_human:
            self._resumed = []
        self._atoms = [*self._resumed, *atoms]
        self.head = self._head(snapshot.summary)
        """The system messages and the summary."""
        self._opening = [opening()] if opens and atoms and not any(atom.is_human for atom in self._atoms) else []
        start = self._start(self.head)
        left = (trigger or budget).minus(start)
        self.is_whole = left.holds(messages_of(self._atoms))
        """True if the conversation does not exceed the trigger: it stays unchanged."""
        self.is_small = self.is_whole
        """True if nothing has to be summarised."""
        self.fits = self.is_whole
        """True if all messages fit the budget."""
        if not self.is_whole:
            is_enough = True
            if excerpts is not None:
                self._atoms, is_enough = excerpts.of(self._atoms, left)
            messages = messages_of(self._atoms)
            self.is_small = is_enough and left.holds(messages)
            self.fits = budget.minus(start).holds(messages)

    def messages(self) -> list[BaseMessage]:
        """Return the messages of the request: all of them if they fit, or the newest.

        Raises:
            BudgetError: A message does not fit, and cannot be truncated far enough.
        """
        if self.fits:
            atoms = self._atoms if _has_human(self.head) else from_human(self._atoms)
            return self._opened(self.head, messages_of(atoms))
        problem: BudgetError | None = None
        for head in (self.head, self._systems):  # the summary is left out if it leaves no room
            start = self._start(head)
            left = self._budget.minus(start)
            least = min(1, len(self._atoms))
            if start and not left.allows(least, least):
                problem = problem or self._no_room(start)
                continue
            try:
                return self._opened(head, newest_messages(self._atoms, left))
            except BudgetError as error:
                problem = error
        assert problem is not None
        raise problem

    def everything(self) -> Plan:
        """Return the plan after which the summary covers the whole conversation."""
        bounds = [0, *self._starts[1:], len(self.snapshot.tail)]
        return Plan([self.snapshot.tail[start:end] for start, end in pairwise(bounds)], None)

    def plan(self, keep: Budget) -> Plan | None:
        """Return the messages to summarise so that the request fits; None if there are none.

        Args:
            keep: The newest messages stay unchanged, up to the first that exceeds this budget.
        """
        summary = 0 if self._budget.max_tokens is None else self._writer.message_tokens(is_readable=self._is_readable)
        systems = self._systems if self._role == "human" else self._start(self._systems)
        room = self._budget.minus(systems, summary)
        if room.max_messages is not None and (self._role == "human" or not self._systems):
            room = Budget(room.counter, room.max_tokens, room.max_messages - 1)
        human_atom, start = newest_atoms(self._atoms, room, keep)
        skipped = len(self._resumed)
        end = start - skipped
        if end <= 0:
            return None
        bounds = [0, *self._starts[1:], len(self.snapshot.tail)]
        human = None
        if human_atom is not None:
            human = SAME_HUMAN if human_atom < skipped else self._starts[human_atom - skipped]
        return Plan([self.snapshot.tail[bounds[at] : bounds[at + 1]] for at in range(end)], human)

    def _start(self, head: list[BaseMessage]) -> list[BaseMessage]:
        """Return the messages before the conversation: system messages, the summary, and the opening."""
        return head if _has_human(head) else [*head, *self._opening]

    def _opened(self, head: list[BaseMessage], messages: list[BaseMessage]) -> list[BaseMessage]:
        has_opening = len(self._start(head)) > len(head)
        return [*head, *(opened(messages) if has_opening else messages)]

    def _head(self, summary: SessionSummary | None) -> list[BaseMessage]:
        if summary is None:
            return self._systems
        # The summary may have been written for a larger budget.
        message = summary_message(self._writer.bounded(summary), self.snapshot.stand_in, is_readable=self._is_readable)
        if self._role == "human":
            return [*self._systems, message]
        text = str(message.content)
        if not self._systems:
            return [SystemMessage(text, id=message.id)]
        first, *others = self._systems
        content: Any = first.content
        joined = f"{content}\n\n{text}" if isinstance(content, str) else [*content, {"type": "text", "text": text}]
        return [first.model_copy(update={"content": joined}), *others]

    def _no_room(self, head: Sequence[BaseMessage]) -> BudgetError:
        largest = max(head, key=self._budget.counter.message)
        msg = (
            f"System messages and summary leave no room for the conversation. The largest is the {largest.type} message "
            f"{shown(str(largest.text)[:60])}… with {self._budget.counter.message(largest):,} tokens. Raise max_tokens or "
            f"max_messages."
        )
        return BudgetError(msg)


def _has_human(head: Sequence[BaseMessage]) -> bool:
    """Return true if system messages are followed by a summary that is a message of the user."""
    return any(isinstance(message, HumanMessage) for message in head)
