"""Closes connections before a fork, so that a parent and its child never share one.

SQLite's locks belong to a process, but a forked child inherits SQLite's record of them. With an open file in this record, the
child relies on locks that only its parent holds, and data is lost. Parent and child open new connections after the fork.
"""

from __future__ import annotations

import os
import time
import weakref
from typing import Protocol

from langchain_agentmem.programs.snapshots import snapshot

WAIT_SECONDS = 30.0
"""Seconds for which a fork waits for the transactions of other threads."""


class Forkable(Protocol):
    """A driver whose connections must not outlive a fork."""

    def hold(self) -> None:
        """Start no transaction until the fork is done."""

    def before_fork(self, deadline: float) -> None:
        """Wait until running transactions have ended, and close the connections."""

    def after_fork_in_parent(self) -> None:
        """Allow transactions again."""

    def after_fork_in_child(self) -> None:
        """Start with new connections."""


_drivers: weakref.WeakSet[Forkable] = weakref.WeakSet()


def register(driver: Forkable) -> None:
    """Call a driver's methods at each fork, until the driver is collected."""
    _drivers.add(driver)


def _before() -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    drivers = snapshot(_drivers)
    for driver in drivers:
        driver.hold()
    for driver in drivers:
        driver.before_fork(deadline)


def _after_in_parent() -> None:
    for driver in snapshot(_drivers):
        driver.after_fork_in_parent()


def _after_in_child() -> None:
    for driver in snapshot(_drivers):
        driver.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
