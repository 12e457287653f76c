"""Keeps connections from being shared with a forked process.

SQLite's locks belong to a process, but a forked child inherits SQLite's record of them. If a file is open in this record, the
child takes locks for granted that only its parent holds, and data is lost. So every connection is closed before a fork, and
opened again after it, in the parent and in the child.
"""

from __future__ import annotations

import os
import time
import weakref
from typing import Protocol

WAIT_SECONDS = 30.0
"""How long a fork waits for the transactions of other threads."""


class Forkable(Protocol):
    """A driver whose connections must not outlive a fork."""

    def hold(self) -> None:
        """Begin no transaction until the process was forked."""

    def before_fork(self, deadline: float) -> None:
        """Wait until running transactions have ended, and close the connections."""

    def after_fork_in_parent(self) -> None:
        """Go on."""

    def after_fork_in_child(self) -> None:
        """Begin again with connections of the child's own."""


_drivers: weakref.WeakSet[Forkable] = weakref.WeakSet()


def register(driver: Forkable) -> None:
    """Call a driver's methods at each fork, as long as it lives."""
    _drivers.add(driver)


def _all() -> list[Forkable]:
    while True:
        try:
            return list(_drivers)
        except RuntimeError:  # another thread made a driver just now
            continue


def _before() -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    drivers = _all()
    for driver in drivers:
        driver.hold()
    for driver in drivers:
        driver.before_fork(deadline)


def _after_in_parent() -> None:
    for driver in _all():
        driver.after_fork_in_parent()


def _after_in_child() -> None:
    for driver in _all():
        driver.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
