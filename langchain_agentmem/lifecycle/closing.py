"""Finish pending work within a time limit, before a memory closes its connections."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from langchain_agentmem.arguments.durations import seconds

if TYPE_CHECKING:
    from langchain_agentmem.knowledge.extraction.scheduler import Schedule

CLOSING_SECONDS = 30.0
"""The default time limit."""


class Deadline:
    """The moment at which a time limit ends.

    Args:
        time_limit: A `timedelta` or seconds; None for no limit.
    """

    def __init__(self, time_limit: timedelta | float | None) -> None:
        limit = seconds("time_limit", time_limit)
        self._ends = None if limit is None else time.monotonic() + limit

    def left(self) -> float | None:
        """Return the seconds that are left; None for no limit."""
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())


def close_schedules(schedules: Iterable[Schedule], deadline: Deadline) -> None:
    """Run the pending jobs of background extraction until the deadline, and accept no more."""
    for schedule in schedules:
        schedule.close(deadline.left())


async def aclose_schedules(schedules: Iterable[Schedule], deadline: Deadline) -> None:
    """Same as `close_schedules`, but without blocking the event loop."""
    for schedule in schedules:
        await schedule.aclose(deadline.left())
