"""Which messages of a conversation were read already: a marker for each user and thread, stored with what was learned.

The marker holds digests of the last messages that were read. What follows the last of these in a conversation is new; so it
does no harm that a history was trimmed, or that two runs overlap. A message is known by its id and text; one without an id by
what it says, after the two messages before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, RemoveMessage

from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.knowledge.spaces import user_space

SEEN = "seen"
"""The second label of markers."""

REMEMBERED = 200
"""How many of the messages read last a marker holds."""

MAX_FAILURES = 3
"""After so many runs whose answers could not be used, the messages behind them are passed over."""


class Marker:
    """What was read of a thread.

    Args:
        value: What the store keeps of it; None for nothing yet.
    """

    def __init__(self, value: Mapping[str, Any] | None) -> None:
        self._seen: list[str] = list((value or {}).get("seen", ()))
        self.failures: int = (value or {}).get("failures", 0)
        """How many runs in a row came to nothing."""

    def unseen(self, messages: Sequence[BaseMessage]) -> list[tuple[str, BaseMessage]]:
        """The messages that were not read yet, each with its digest."""
        digests = digests_of(messages)
        known = set(self._seen)
        start = max((at + 1 for at, digest in enumerate(digests) if digest in known), default=0)
        return list(zip(digests[start:], messages[start:], strict=True))

    def knows(self, digest: str) -> bool:
        """Whether a message was read."""
        return digest in self._seen

    def after(self, digests: Sequence[str]) -> dict[str, Any]:
        """What the store keeps once these were read too."""
        new = [digest for digest in digests if digest not in self._seen]
        return {"seen": [*self._seen, *new][-REMEMBERED:], "failures": 0}

    def failed(self) -> dict[str, Any]:
        """What the store keeps once a run came to nothing."""
        return {"seen": self._seen, "failures": self.failures + 1}


def marker_place(user_id: str, thread: str) -> tuple[tuple[str, ...], str]:
    """Where the marker of a user's thread lies."""
    return user_space(user_id, SEEN), digest_of_ids(thread).hex()


def digests_of(messages: Sequence[BaseMessage]) -> list[str]:
    """What messages are known by."""
    digests = []
    for at, message in enumerate(messages):
        if message.id is not None:
            parts = ["id", message.id, str(message.text)]
        else:
            parts = [f"{one.type}\n{one.text}" for one in messages[max(0, at - 2) : at + 1]]
            parts.append(str(message.additional_kwargs.get("created_at")))
        digests.append(digest_of_ids(*parts, size=9).hex())
    return digests


def without_removals(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Messages without those that stand for a removal."""
    return [message for message in messages if not isinstance(message, RemoveMessage)]
