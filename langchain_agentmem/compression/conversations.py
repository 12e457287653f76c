"""Conversations as a compressor reads them: a summary, and the messages that it does not cover."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from operator import is_
from typing import NamedTuple, Protocol

from langchain_core.messages import BaseMessage, SystemMessage

from langchain_agentmem.compression.records import Entry, Record, RecordStorage, chained, checked
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.messages.budgets import Budget
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.caches import RecentValues

SAME_HUMAN = -1
"""In place of an index: the human message that is kept already, because its turn has not ended."""

_KNOWN_CONVERSATIONS = 64
"""The number of conversations whose covered messages are remembered, so that they need not be digested again."""


class Snapshot(NamedTuple):
    """The state of a conversation at one time."""

    record: Record
    revision: int | None
    """The revision of the record; None if none is stored."""
    entry: Entry | None
    """The entry of the summary; None if there is no summary of this conversation."""
    systems: list[BaseMessage]
    """The system messages at the beginning, and the newest covered one."""
    human: BaseMessage | None
    """The covered human message whose turn has not ended."""
    tail: list[BaseMessage]
    """The messages that the summary does not cover."""
    stand_in: str | None = None
    """The ID of a covered message, which the message with the summary gets."""
    is_loaded: bool = True
    """False if the record was not read, because the whole conversation fits. Nothing can be stored then."""

    @property
    def summary(self) -> SessionSummary | None:
        """The summary so far."""
        return self.entry.summary if self.entry else None


class Conversation(Protocol):
    """A conversation. Its methods are outer programs."""

    @property
    def storage(self) -> RecordStorage:
        """The storage of the record of its summaries."""

    def load(self, room: Budget) -> Program[Snapshot]:
        """Return the current state. The record may be omitted if the whole conversation fits `room`."""

    def entry(self, snapshot: Snapshot, summary: SessionSummary, count: int, human: int | None) -> Entry:
        """Return the entry of a summary that also covers the first `count` messages of the tail.

        Args:
            snapshot: The state that was summarised.
            summary: The new summary.
            count: The number of messages.
            human: The index in the tail of a human message to keep; `SAME_HUMAN` for the one that is kept already; None for
                none.
        """


class Coverage:
    """Remembers which message objects a summary covers."""

    def __init__(self) -> None:
        self._known: RecentValues[str, list[BaseMessage]] = RecentValues(_KNOWN_CONVERSATIONS)

    def matches(self, entry: Entry, messages: list[BaseMessage], first: int) -> bool:
        """Return true if a summary covers the messages that follow the first `first` messages."""
        end = first + entry.covered
        if len(messages) < end:
            return False
        known = self._known.get(entry.chain)
        if known and _are_same(known, messages, first):
            return True
        if chained("", messages[first:end]) != entry.chain:
            return False
        self.remember(entry, messages, first)
        return True

    def remember(self, entry: Entry, messages: list[BaseMessage], first: int) -> None:
        """Remember the messages that a summary covers."""
        self._known.put(entry.chain, messages[first : first + entry.covered])


def _are_same(known: list[BaseMessage], messages: list[BaseMessage], first: int) -> bool:
    """Return true if `messages` contains the same objects as `known`, from index `first` on."""
    # The last one is compared first: if a framework copies messages, it differs.
    return messages[first + len(known) - 1] is known[-1] and all(map(is_, known, islice(messages, first, None)))


class MessageList:
    """A conversation that is a list of messages.

    Args:
        messages: All messages of the conversation.
        coverage: Remembers which messages summaries cover.
        style: The style of the summaries to use; see `Entry`.
    """

    storage: RecordStorage
    """The storage of the record. It must be set before `load`."""

    def __init__(self, messages: Sequence[BaseMessage], coverage: Coverage, style: str) -> None:
        first = next((at for at, one in enumerate(messages) if not isinstance(one, SystemMessage)), len(messages))
        self._systems = list(messages[:first])
        self._all = messages if isinstance(messages, list) else list(messages)
        self._first = first
        self._coverage = coverage
        self._style = style
        self._last = 0, ""
        """The number of messages that the entry returned last covers, and their digest."""

    @property
    def beginning(self) -> Sequence[BaseMessage]:
        """The messages after the system messages at the beginning."""
        return self._all[self._first :] if self._first else self._all

    def load(self, room: Budget) -> Program[Snapshot]:
        """See `Conversation`.

        Raises:
            NotAMessageError: The list contains another object.
        """
        messages, first = self._all, self._first
        if self._fits(room):
            return Snapshot(Record(), None, None, self._systems, None, messages[first:], is_loaded=False)
        record, revision = yield from self.storage.load(time.time())
        candidates = sorted(record.of(self._style), key=lambda entry: -entry.covered)
        entry = next((entry for entry in candidates if self._coverage.matches(entry, messages, first)), None)
        for message in messages[first + (entry.covered if entry else 0) :]:
            checked(message)
        if entry is None:
            return Snapshot(record, revision, None, self._systems, None, messages[first:])
        kept = [messages[first + at] for at in entry.kept]
        systems = self._systems + [one for one in kept if isinstance(one, SystemMessage)]
        human = next((one for one in kept if not isinstance(one, SystemMessage)), None)
        gone = next((at for at in range(entry.covered - 1, -1, -1) if at not in entry.kept), None)
        stand_in = None if gone is None else messages[first + gone].id
        return Snapshot(record, revision, entry, systems, human, messages[first + entry.covered :], stand_in)

    def entry(self, snapshot: Snapshot, summary: SessionSummary, count: int, human: int | None) -> Entry:
        """See `Conversation`."""
        before, chain = (snapshot.entry.covered, snapshot.entry.chain) if snapshot.entry else (0, "")
        covered = before + count
        first = self._first
        added = self._all[first + before : first + covered]
        systems = [before + at for at, one in enumerate(added) if isinstance(one, SystemMessage)][-1:]
        kept: dict[bool, list[int]] = {True: [], False: []}
        for at in snapshot.entry.kept if snapshot.entry else ():
            kept[isinstance(self._all[first + at], SystemMessage)].append(at)
        humans = kept[False] if human == SAME_HUMAN else [] if human is None else [before + human]
        # A long conversation is summarised in parts, each with an entry of its own.
        done, digest = self._last if before < self._last[0] <= covered else (before, chain)
        digest = chained(digest, self._all[first + done : first + covered])
        self._last = covered, digest
        entry = Entry(summary, covered, digest, (*(systems or kept[True]), *humans), self._style)
        self._coverage.remember(entry, self._all, first)
        return entry

    def _fits(self, room: Budget) -> bool:
        """Return true if all messages fit. Counting stops at the first message that does not."""
        tokens = room.tokens(self._systems)
        count = len(self._systems)
        for at in range(len(self._all) - 1, self._first - 1, -1):
            message = checked(self._all[at])
            tokens += room.tokens([message])
            count += 1
            if not room.allows(tokens, count):
                return False
        return True
