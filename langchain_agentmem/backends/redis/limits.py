"""The time limit of an operation. It also records if a write reached a server."""

from __future__ import annotations

import time


class TimeLimit:
    """Time limit of one operation, on the clock of `time.monotonic`.

    Waiting for a connection counts only while no other caller makes progress.

    Args:
        seconds: The time that the operation may take.
    """

    __slots__ = ("ends_at", "partial", "sent")

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds
        self.sent = False
        """True if a server may have received a part of the operation."""
        self.partial = False
        """True if a server completed a part of the operation."""

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.ends_at - time.monotonic()

    def end_after_waiting(self, since: float, progress: float) -> float:
        """Return the end of the limit for a caller that waits for a connection.

        Args:
            since: Time at which the wait began.
            progress: Time at which another caller last finished an exchange.
        """
        return self.ends_at + max(0.0, progress - since)

    def share(self, count: int) -> TimeLimit:
        """Return the limit of the next one of `count` attempts, which share the remaining time equally."""
        share = TimeLimit(max(0.0, self.left()) / count)
        share.sent = self.sent
        return share
