"""Conversations as a compressor sees them: what of them is summarised already, and what is not."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from langchain_core.messages import BaseMessage, SystemMessage

from langchain_agentmem.compression.budgets import Budget
from langchain_agentmem.compression.summaries import Entry, Place, Record, SessionSummary, chained, checked
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.locks import forkable_lock

STAYS = -1

_REMEMBERED = 64
"""Of how many conversations it is remembered which messages a summary covers, so that they need not be digested again."""


class Past(NamedTuple):
    """A conversation: its summary, and the messages that it does not cover."""

    record: Record
    revision: int | None
    entry: Entry | None
    """The summary that fits the conversation."""
    systems: list[BaseMessage]
    """The system messages that come first, and the newest of those that are covered."""
    human: BaseMessage | None
    """The covered human message whose turn goes on."""
    tail: list[BaseMessage]
    stand_in: str | None = None
    """The id of a covered message, which the summary carries in its place."""

    @property
    def summary(self) -> SessionSummary | None:
        """The summary so far."""
        return self.entry.summary if self.entry else None


class Source(Protocol):
    """A conversation. Its methods are outer programs."""

    @property
    def place(self) -> Place:
        """Where the record of its summaries is kept."""

    def load(self, room: Budget) -> Program[Past]:
        """The conversation as it is now; where all of it fits in `room`, its summary need not be looked at."""

    def entry(self, past: Past, summary: SessionSummary, count: int, human: int | None) -> Entry:
        """A summary of `count` messages of the tail more.

        `human` is which message of the tail is kept, since its turn goes on: `STAYS` for the one that is kept already,
        None for none.
        """


class Coverage:
    """Remembers which message objects a summary was seen to cover."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[list[BaseMessage], int]] = OrderedDict()
        self._lock = forkable_lock()

    def fits(self, entry: Entry, messages: list[BaseMessage], first: int) -> bool:
        """Whether a summary covers the messages from the first after the system messages on.

        Args:
            entry: The summary.
            messages: The conversation.
            first: How many system messages it begins with.
        """
        end = first + entry.covered
        if len(messages) < end:
            return False
        with self._lock:
            known, begun = self._known.get(entry.chain, ([], 0))
        # The same objects are compared quickly, and others that are equal slowly: those are rather digested.
        same = bool(known) and messages[end - 1] is known[-1] and messages[first] is known[begun]
        if same and (_begins_with(messages, known) or messages[first:end] == known[begun:]):
            return True
        fits = chained("", messages[first:end]) == entry.chain
        if fits:
            self.remember(entry, messages, first)
        return fits

    def remember(self, entry: Entry, messages: list[BaseMessage], first: int) -> None:
        """Remember that it does."""
        with self._lock:
            self._known[entry.chain] = messages[: first + entry.covered], first
            self._known.move_to_end(entry.chain)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _begins_with(messages: list[BaseMessage], beginning: list[BaseMessage]) -> bool:
    """Whether a list begins with the same objects as another, in the shortest time.

    Python compares lists item by item, passing over those that are the same object, and only then by their lengths; a slice
    would touch each of the objects, which takes several times as long.
    """
    try:
        return beginning <= messages
    except TypeError:  # two that are not equal, of which neither is less
        return False


class MessageList:
    """A conversation that is given as a list of messages.

    Args:
        messages: All of it.
        coverage: What is remembered of summaries.
        style: What the summaries that may be used were made by; see `Entry`.
    """

    place: Place
    """Where the record of its summaries is kept; to be set before it is loaded."""

    def __init__(self, messages: Sequence[BaseMessage], coverage: Coverage, style: str) -> None:
        first = next((at for at, one in enumerate(messages) if not isinstance(one, SystemMessage)), len(messages))
        self._systems = list(messages[:first])
        self._all = messages if isinstance(messages, list) else list(messages)
        self._first = first
        self._coverage = coverage
        self._style = style

    @property
    def beginning(self) -> Sequence[BaseMessage]:
        """The conversation without the system messages that it begins with."""
        return self._all[self._first :] if self._first else self._all

    def load(self, room: Budget) -> Program[Past]:
        """See `Source`.

        Raises:
            NotAMessageError: Something in the list is no message.
        """
        messages, first = self._all, self._first
        if self._is_small(room):
            return Past(Record(), None, None, self._systems, None, messages[first:])
        record, revision = yield from self.place.load(time.time())
        fitting = sorted(record.of(self._style), key=lambda entry: -entry.covered)
        entry = next((entry for entry in fitting if self._coverage.fits(entry, messages, first)), None)
        for message in messages[first + (entry.covered if entry else 0) :]:
            checked(message)
        if entry is None:
            return Past(record, revision, None, self._systems, None, messages[first:])
        kept = [messages[first + at] for at in entry.kept]
        systems = self._systems + [one for one in kept if isinstance(one, SystemMessage)]
        human = next((one for one in kept if not isinstance(one, SystemMessage)), None)
        gone = next((at for at in range(entry.covered - 1, -1, -1) if at not in entry.kept), None)
        stand_in = None if gone is None else messages[first + gone].id
        return Past(record, revision, entry, systems, human, messages[first + entry.covered :], stand_in)

    def entry(self, past: Past, summary: SessionSummary, count: int, human: int | None) -> Entry:
        begun, chain = (past.entry.covered, past.entry.chain) if past.entry else (0, "")
        covered = begun + count
        first = self._first
        added = self._all[first + begun : first + covered]
        systems = [begun + at for at, one in enumerate(added) if isinstance(one, SystemMessage)][-1:]
        before: dict[bool, list[int]] = {True: [], False: []}
        for at in past.entry.kept if past.entry else ():
            before[isinstance(self._all[first + at], SystemMessage)].append(at)
        humans = before[False] if human == STAYS else [] if human is None else [begun + human]
        entry = Entry(summary, covered, chained(chain, added), (*(systems or before[True]), *humans), self._style)
        self._coverage.remember(entry, self._all, first)
        return entry

    def _is_small(self, room: Budget) -> bool:
        """Whether all fits; counts no more messages than it takes to know."""
        tokens = room.tokens(self._systems)
        count = len(self._systems)
        for at in range(len(self._all) - 1, self._first - 1, -1):
            message = checked(self._all[at])
            tokens += room.tokens([message])
            count += 1
            if not room.allows(tokens, count):
                return False
        return True
