"""Which messages of a conversation were read already: a marker for each user, thread and purpose, stored with it.

The marker holds digests of the last messages that were read, so it does no harm that a history was trimmed, or that two runs
overlap. A message is known by its id and text: what follows the last that is known is new. Messages without ids are known by
what they say, where the most of them in a row are those that were read in a row: what follows these is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, ChatMessage, RemoveMessage

from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.encoding.damage import reading

REMEMBERED = 200
"""How many of the messages read last a marker holds."""

_BY_ID, _BY_TEXT = "i", "t"

USER, ASSISTANT = "user", "assistant"
_ROLES = {"human": USER, "user": USER, "ai": ASSISTANT, "assistant": ASSISTANT}

MAX_FAILURES = 3
"""After so many runs that came to nothing, the messages of the first of them are passed over."""


class Marker:
    """What was read of a thread.

    Args:
        value: What the store keeps of it; None for nothing yet.
    """

    def __init__(self, value: Mapping[str, Any] | None) -> None:
        with reading("The marker of the messages that were read"):
            self._seen = [str(one) for one in (value or {}).get("seen", ())]
            self.handed_over: float | None = (value or {}).get("handed_over")
            """When what was read to its end last was handed over, in seconds since 1970."""
            self.failures = int((value or {}).get("failures", 0))
            """How many runs in a row came to nothing."""
            self.failed_messages = int((value or {}).get("failed_messages", 0))
            """How many messages the first of these runs read."""

    def start(self, digests: Sequence[str]) -> int:
        """The place of the first message that was not read yet.

        Args:
            digests: What the messages of the conversation are known by, in order.
        """
        places: dict[str, list[int]] = {}
        for place, digest in enumerate(self._seen, 1):
            places.setdefault(digest, []).append(place)
        known = longest = end = 0
        runs: dict[int, int] = {}  # the lengths of what is the same up to here, by where it ends in the marker
        for at, digest in enumerate(digests, 1):
            runs = {place: runs.get(place - 1, 0) + 1 for place in places.get(digest, ())}
            if runs and digest[0] == _BY_ID:
                known = at
            for place, length in runs.items():
                # One message alone is often said again: it is known as the one read last.
                if length > longest and (length > 1 or place == len(self._seen)):
                    longest, end = length, at
        return max(known, end)

    def after(self, digests: Sequence[str], handed_over: float | None = None) -> dict[str, Any]:
        """What the store keeps once these were read.

        Args:
            digests: The conversation from its beginning.
            handed_over: When it was handed over, if this is all of it. Default: None (there is more).
        """
        seen = [*self._seen, *digests[self.start(digests) :]][-REMEMBERED:]
        return {**self._value(), "seen": seen, "failures": 0, "handed_over": handed_over or self.handed_over}

    def failed(self, messages: int) -> dict[str, Any]:
        """What the store keeps once a run came to nothing.

        Args:
            messages: How many messages it read.
        """
        first = self.failed_messages if self.failures else messages
        return {**self._value(), "failures": self.failures + 1, "failed_messages": first}

    def _value(self) -> dict[str, Any]:
        return {
            "seen": self._seen,
            "handed_over": self.handed_over,
            "failures": self.failures,
            "failed_messages": self.failed_messages,
        }


def digests_of(messages: Sequence[BaseMessage], alone: str | None = None) -> list[str]:
    """What messages are known by.

    Args:
        messages: The messages.
        alone: What one message without id is known by if it is all there is. Default: None (by what it says).
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
    return kind + digest_of_ids(*map(readable_text, parts), size=9).hex()


def readable_text(text: str) -> str:
    """A text in which halves of surrogate pairs, which cannot be stored, are replaced."""
    return text.encode(errors="replace").decode()


def role_of(message: BaseMessage) -> str | None:
    """Who says a message: the user, the assistant, or neither (None)."""
    return _ROLES.get(message.role.lower() if isinstance(message, ChatMessage) else message.type)


def without_removals(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Messages without those that stand for a removal."""
    return [message for message in messages if not isinstance(message, RemoveMessage)]
