"""Back-off: a summarising model that fails repeatedly is called less often, and requests stay stable in the meantime."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import NamedTuple

from langchain_core.messages import SystemMessage

from langchain_agentmem.compression.conversations import SAME_HUMAN, Snapshot
from langchain_agentmem.compression.request import Plan
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.programs.locks import forkable_lock

_CONVERSATIONS = 1_000
"""The number of conversations whose failures are remembered in this process."""
_TOLERATED = 2
"""From this number of consecutive failures on, the oldest messages are left out in large steps."""
_MAX_SKIPS = 15
"""The maximum number of times that no summary is tried although the request is too large."""
_MAX_SECONDS = 600.0
"""After this time since the last failure, a summary is tried again in any case."""


class Failures(NamedTuple):
    """The consecutive failures of a conversation's summaries.

    While the model fails, requests leave out the messages that were to be summarised. The first message that remains stays
    the same until the request exceeds the budget again, so that a provider's prompt cache stays valid.
    """

    number: int
    error: str
    retry_at: float
    """Time after which a summary is tried again in any case (Unix seconds)."""
    skips: int
    """Number of requests that skip the summary before the next attempt."""
    covered: int | None
    """`Entry.covered` of the summary so far; None without a summary."""
    omitted: int
    """The number of messages after the summary that requests leave out."""
    human: int | None
    """The index of an omitted human message that requests still contain; see `Conversation.entry`."""

    def shortened(self, snapshot: Snapshot) -> Snapshot | None:
        """Return a conversation without the omitted messages; None if it was summarised or edited since."""
        covered = snapshot.entry.covered if snapshot.entry else None
        if self.covered != covered or not 0 < self.omitted <= len(snapshot.tail):
            return None
        omitted = snapshot.tail[: self.omitted]
        systems = [*snapshot.systems, *(one for one in omitted if isinstance(one, SystemMessage))]
        human = snapshot.human if self.human == SAME_HUMAN else None if self.human is None else omitted[self.human]
        return snapshot._replace(systems=systems, human=human, tail=snapshot.tail[self.omitted :])

    def moved(self, snapshot: Snapshot, plan: Plan) -> Failures:
        """Return the failures with the messages of a plan omitted."""
        covered = snapshot.entry.covered if snapshot.entry else None
        return self._replace(covered=covered, omitted=sum(map(len, plan.groups)), human=plan.human)


class Backoff:
    """Remembers the failures of each conversation."""

    def __init__(self) -> None:
        self._failures: RecentValues[Hashable, Failures] = RecentValues(_CONVERSATIONS)
        self._lock = forkable_lock()

    def of(self, name: Hashable) -> Failures | None:
        """Return the failures of a conversation if there are several; None otherwise."""
        found = self._failures.get(name)
        return found if found is not None and found.number >= _TOLERATED else None

    def has_failed(self, name: Hashable) -> bool:
        """Return true if the last summary of a conversation failed."""
        return self._failures.get(name) is not None

    def fail(self, name: Hashable, snapshot: Snapshot, plan: Plan, error: str) -> None:
        """Record a failure."""
        with self._lock:
            former = self._failures.get(name)
            number = 1 if former is None else former.number + 1
            skips = min(_MAX_SKIPS, 2 ** max(0, number - _TOLERATED) - 1)
            failures = Failures(number, error, time.time() + _MAX_SECONDS, skips, None, 0, None)
            self._failures.put(name, failures.moved(snapshot, plan))

    def skip(self, name: Hashable, snapshot: Snapshot, plan: Plan) -> str | None:
        """Return the last error if no summary is to be tried now, and leave out the messages of the plan; else None."""
        with self._lock:
            failures = self._failures.get(name)
            if failures is None or failures.skips <= 0 or time.time() > failures.retry_at:
                return None
            self._failures.put(name, failures.moved(snapshot, plan)._replace(skips=failures.skips - 1))
            return failures.error

    def succeed(self, name: Hashable) -> None:
        """Forget the failures of a conversation."""
        with self._lock:
            self._failures.discard(name)
