"""Pending extraction when the interpreter exits, and in forked children."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 (it joins its threads at exit: imported first, it does so after `begin`)
import os
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress

from langchain_agentmem.knowledge.extraction.scheduler import TIME_LIMIT, Schedule, pending, schedules
from langchain_agentmem.programs.snapshots import snapshot


class Shutdown:
    """Flushes all schedules when the interpreter exits, for at most `TIME_LIMIT` seconds.

    `begin` runs before the interpreter joins threads that are not daemons, while threads can still be started. Those
    threads may submit more jobs until `end` runs.
    """

    def __init__(self) -> None:
        self.time_left = TIME_LIMIT

    def begin(self) -> None:
        """Flush all schedules."""
        self._flush([schedule for schedule in snapshot(schedules) if not schedule.is_given_up])

    def end(self) -> None:
        """Flush schedules that have jobs again, and close all; the number of jobs that are left is logged."""
        self._flush([schedule for schedule in snapshot(pending) if not schedule.is_given_up])
        for schedule in snapshot(schedules):
            if not schedule.is_given_up:
                schedule.close(0)

    def _flush(self, among: Sequence[Schedule]) -> None:
        ends = time.monotonic() + self.time_left
        self.time_left = 0.0  # if Ctrl-C interrupts this flush, the next one does not wait
        for schedule in among:
            schedule.flush(max(0.0, ends - time.monotonic()))
        self.time_left = max(0.0, ends - time.monotonic())


def _forked() -> None:
    for schedule in snapshot(schedules):
        schedule.forked()


shutdown = Shutdown()
# Exit functions run in reverse order. The first `finalize` registers the function that closes connections of drivers.
weakref.finalize(shutdown, bool)
atexit.register(shutdown.end)
# The function is private to Python. Where it is missing, or if the interpreter is exiting already, `end` does everything.
with suppress(AttributeError, RuntimeError):
    threading._register_atexit(shutdown.begin)  # type: ignore[attr-defined]

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
