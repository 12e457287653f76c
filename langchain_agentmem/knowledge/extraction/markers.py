"""Markers of the messages that were read: one for each user, thread and purpose.

A marker holds digests of the last messages that were read, so extraction works although a history was trimmed or two runs
overlap. Messages with an ID are known by ID and text; messages after the last known one are new. Messages without an ID are
known by their text. They may repeat, so the longest known sequence of them counts; messages after it are new.

A marker also holds messages to read again: those whose answers could not be used, or only in part. They are due once the
model has given an answer without faults, so a model that always fails is not asked more often because of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.knowledge.extraction.conversations import storable

REMEMBERED = 200
"""Number of digests that a marker keeps."""

MAX_FAILURES = 3
"""Number of failed extractions in a row after which the messages of the first one are skipped."""

MAX_AGAIN = 40
"""Upper bound of the messages to read again: those that were read last."""

_BY_ID, _BY_TEXT = "i", "t"


class Marker:
    """The messages of a thread that were read.

    Args:
        value: The stored value; None if nothing was read yet.

    Raises:
        DamagedDataError: The value does not hold a marker.
    """

    def __init__(self, value: Mapping[str, Any] | None) -> None:
        given = value or {}
        with reading("The marker of the messages that were read"):
            self._seen = [str(one) for one in given.get("seen", ())]
            self.handed_over: float | None = given.get("handed_over")
            """Time of the latest hand-over whose messages were all read, in Unix seconds."""
            self.failures = int(given.get("failures", 0))
            """Number of extractions in a row that failed."""
            self.failed_messages = int(given.get("failed_messages", 0))
            """Number of messages that the first of these extractions read."""
            self.again = {str(digest): int(times) for digest, times in given.get("again", {}).items()}
            """Digests of messages to read again, with how often they were read again."""
            self._is_due = bool(given.get("due", False))

    def start(self, digests: Sequence[str]) -> int:
        """Return the position of the first message that was not read.

        Args:
            digests: Digests of the messages of the conversation.
        """
        where: dict[str, list[int]] = {}
        for number, digest in enumerate(self._seen, 1):
            where.setdefault(digest, []).append(number)
        known = longest = end = 0
        # Lengths of the equal sequences that end at this message, by where they end in the marker.
        lengths: dict[int, int] = {}
        for after, digest in enumerate(digests, 1):
            lengths = {number: lengths.get(number - 1, 0) + 1 for number in where.get(digest, ())}
            if lengths and digest[0] == _BY_ID:
                known = after
            for number, length in lengths.items():
                # A single text often repeats, so it is known only if it is that of the message read last.
                if length > longest and (length > 1 or number == len(self._seen)):
                    longest, end = length, after
        return max(known, end)

    @property
    def due(self) -> frozenset[str]:
        """Digests of the messages that the next extraction reads again."""
        return frozenset(self.again) if self._is_due else frozenset()

    def after(self, digests: Sequence[str], handed_over: float | None = None) -> dict[str, Any]:
        """Return the value to store once messages were read.

        Args:
            digests: Digests of the messages from the start of the conversation.
            handed_over: When the run handed them over, if all of its messages were read. Default: None.
        """
        seen = [*self._seen, *digests[self.start(digests) :]][-REMEMBERED:]
        return {**self._value(), "seen": seen, "failures": 0, "handed_over": handed_over or self.handed_over}

    def after_failure(self, messages: int) -> dict[str, Any]:
        """Return the value to store once an extraction has failed.

        Args:
            messages: Number of messages that it read.
        """
        first = self.failed_messages if self.failures else messages
        return {**self._value(), "failures": self.failures + 1, "failed_messages": first}

    def answered(self, repeated: Sequence[str]) -> None:
        """Note an answer without faults: messages that were read again are done, and the others are due.

        Args:
            repeated: Digests of the messages that were read again.
        """
        self.again = {digest: times for digest, times in self.again.items() if digest not in repeated}
        self._is_due = bool(self.again)

    def not_answered(self, repeated: Sequence[str], skipped: Sequence[str] = ()) -> None:
        """Note an answer that could not be used, or only in part.

        Args:
            repeated: Digests of the messages that were read again. Each is read again `MAX_FAILURES` times at most.
            skipped: Digests of the messages that no later extraction reads as new. Default: none.
        """
        counted = {digest: times + (digest in repeated) for digest, times in self.again.items()}
        left = {digest: times for digest, times in counted.items() if times < MAX_FAILURES}
        new = {digest: 0 for digest in skipped if digest not in counted}
        self.again = dict([*left.items(), *new.items()][-MAX_AGAIN:])
        self._is_due = False

    def _value(self) -> dict[str, Any]:
        return {
            "seen": self._seen,
            "handed_over": self.handed_over,
            "failures": self.failures,
            "failed_messages": self.failed_messages,
            "again": self.again,
            "due": self._is_due,
        }


def digests_of(messages: Sequence[BaseMessage], alone: str | None = None) -> list[str]:
    """Return digests by which messages are recognised.

    Args:
        messages: The messages.
        alone: Added to the digest of a message without ID if it is the only message. Default: None (its text alone).
    """
    if alone is not None and len(messages) == 1 and messages[0].id is None:
        return [_digest(_BY_TEXT, messages[0].type, str(messages[0].text), alone)]
    return [
        _digest(_BY_TEXT, message.type, str(message.text), str(message.additional_kwargs.get("created_at")))
        if message.id is None
        else _digest(_BY_ID, message.id, str(message.text))
        for message in messages
    ]


def _digest(kind: str, *parts: str) -> str:
    return kind + digest_of_ids(*map(storable, parts), size=9).hex()
