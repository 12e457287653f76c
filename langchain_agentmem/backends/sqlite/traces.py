"""Removes traces of deleted and replaced text from a database's files.

`PRAGMA secure_delete` overwrites deleted rows. The write-ahead log still holds the text until it is truncated, which costs
two more syncs of the disk. Therefore the last of several waiting writers does the work, and a retention rule that deletes
messages with every turn truncates the log about once a second.
"""

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_agentmem.programs import Step

_PATIENCE_SECONDS = 1.0
"""Seconds for which waiting writers may postpone the work."""

_BUSY_MILLISECONDS = 100
"""Time for which truncating the log waits for readers of earlier states."""


@dataclass(slots=True)
class Replaced(Step[None]):
    """Storage step: record that the transaction replaced stored text."""


@dataclass(slots=True)
class Purge(Step[None]):
    """Storage step: remove all traces at the end of the transaction, however long that takes."""


@dataclass(slots=True)
class Trim(Step[int]):
    """Same as `Execute`, for the DELETE of a retention rule: truncating the log may be postponed."""

    statement: str
    parameters: Sequence[Any] = ()


@functools.lru_cache(maxsize=256)
def deletes(statement: str) -> bool:
    """Return true for a DELETE statement."""
    return re.match(r"(?:\s*--[^\n]*\n)*\s*DELETE FROM ", statement) is not None


class Traces:
    """Traces of deleted text in the files of one database."""

    def __init__(self) -> None:
        self.in_file = False
        """True if the database is a file."""
        self._left = False
        self._can_wait = True
        self._since = 0.0

    def note(self, *, can_wait: bool = False) -> None:
        """Record that text was deleted or replaced.

        Args:
            can_wait: True if removing the traces may be postponed.
        """
        if not self.in_file:
            return
        if not self._left:
            self._since = time.monotonic()
            self._can_wait = True
        self._can_wait = self._can_wait and can_wait
        self._left = True

    def demand(self) -> None:
        """Make the removal of all traces due now, even if other writers wait."""
        self.note()
        self._since = -math.inf

    @property
    def left(self) -> bool:
        """True if there are traces to remove."""
        return self._left

    def truncate_log(self, cursor: Any, *, busy: bool, closing: bool = False) -> None:
        """Truncate the write-ahead log if that is due. Call it outside of a transaction.

        Readers of an earlier state may prevent it; the next call tries again.
        """
        if not self._left or not (closing or self._is_due(busy=busy)):
            return
        ((timeout,),) = cursor.execute("PRAGMA busy_timeout").fetchall()
        try:
            cursor.execute(f"PRAGMA busy_timeout = {min(timeout, _BUSY_MILLISECONDS)}").fetchall()
            ((blocked, *_),) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {timeout}").fetchall()
        self._left = bool(blocked)

    def _is_due(self, *, busy: bool) -> bool:
        return not (busy or self._can_wait) or time.monotonic() - self._since > _PATIENCE_SECONDS
