"""Locks that are free in a forked child process."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

from langchain_agentmem.programs.snapshots import snapshot

_locks: weakref.WeakSet[Any] = weakref.WeakSet()


def forkable_lock() -> threading.Lock:
    """Return a lock that is free in a forked child process, even if a thread of the parent held it at the fork.

    Example:
        >>> from langchain_agentmem.programs.locks import forkable_lock
        >>> with forkable_lock():
        ...     pass
    """
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def _release_all() -> None:
    for lock in snapshot(_locks):
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_all)
