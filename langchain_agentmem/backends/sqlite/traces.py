"""What deleted and replaced text leaves behind in a database's files, and how it is removed.

`PRAGMA secure_delete` overwrites deleted rows. Two places remain. The write-ahead log holds earlier images of the pages until
it is truncated. The full-text index holds the words of deleted texts until its segments are merged; SQLite 3.42 and newer
remove them at once if the index is told to.

Both cost something: truncating the log two more syncs of the disk, merging time that grows with the index. So writers that
wait in line leave it to the last of them, a large index is merged no more often than can be afforded, and a retention rule
that deletes with every turn truncates the log about once a second.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_agentmem.programs import Step

WORDS = "agentmem_item_texts"
"""The full-text index."""

MERGE = f"INSERT INTO {WORDS} ({WORDS}) VALUES ('optimize')"
"""Merges the segments of the full-text index into one, without the words of deleted texts."""

_PATIENCE_SECONDS = 1.0
"""How long writers that wait in line may put the work off."""

_CHEAP_SECONDS = 0.02
"""A merge that takes no longer is done at once."""

_SHARE = 10
"""After an expensive merge, this many times its duration passes until the next."""

_BUSY_MILLISECONDS = 100
"""How long truncating the log waits for readers of earlier states."""


@dataclass(slots=True)
class Replaced(Step[None]):
    """Storage step: say that the transaction replaced text that was stored before."""


@dataclass(slots=True)
class Trim(Step[int]):
    """Same as `Execute`, for a DELETE that a retention rule does with every turn: the log may be truncated a little later."""

    statement: str
    parameters: Sequence[Any] = ()


@functools.lru_cache(maxsize=256)
def deletes(statement: str) -> str | None:
    """The table that a statement deletes from; None if it is no DELETE statement."""
    found = re.match(r"(?:\s*--[^\n]*\n)*\s*DELETE FROM (\w+)", statement)
    return found and found[1]


class Traces:
    """What one database's files may still hold of deleted text."""

    def __init__(self) -> None:
        self.merges = True
        """Whether the full-text index keeps words of deleted texts until it is merged."""
        self.in_file = False
        """Whether the database is a file."""
        self._words = False
        self._pages = False
        self._can_wait = True
        self._since = 0.0
        self._cost = 0.0
        self._merged_at = 0.0

    def note(self, *, words: bool = False, can_wait: bool = False) -> None:
        """Text was deleted or replaced, with `words` text that is in the full-text index."""
        if not self.in_file:
            return
        if not self._pages:
            self._since = time.monotonic()
            self._can_wait = True
        self._can_wait = self._can_wait and can_wait
        self._words = self._words or (words and self.merges)
        self._pages = True

    @property
    def left(self) -> bool:
        """Whether there is something to remove."""
        return self._pages

    def merge(self, cursor: Any, *, busy: bool, closing: bool = False) -> bool:
        """Merge the full-text index, if that is due. To be called within a transaction.

        Args:
            cursor: A cursor on the connection.
            busy: Whether other writers wait.
            closing: Whether this is the last opportunity.

        Returns:
            Whether it was merged. Call `merged` when the transaction is committed.
        """
        now = time.monotonic()
        affordable = self._cost <= _CHEAP_SECONDS or now - self._merged_at >= _SHARE * self._cost
        if not self._words or not (closing or (affordable and self._is_due(busy=busy))):
            return False
        cursor.execute(MERGE)
        self._merged_at = time.monotonic()
        self._cost = self._merged_at - now
        return True

    def merged(self) -> None:
        """The full-text index was merged, and that is committed."""
        self._words = False

    def truncate_log(self, cursor: Any, *, busy: bool, closing: bool = False) -> None:
        """Empty the write-ahead log, if that is due. To be called outside of a transaction.

        Readers of an earlier state may prevent it; the next call tries again.
        """
        if not self._pages or not (closing or self._is_due(busy=busy)):
            return
        ((timeout,),) = cursor.execute("PRAGMA busy_timeout").fetchall()
        try:
            cursor.execute(f"PRAGMA busy_timeout = {min(timeout, _BUSY_MILLISECONDS)}").fetchall()
            ((blocked, *_),) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {timeout}").fetchall()
        if not blocked:
            self._pages = self._words

    def _is_due(self, *, busy: bool) -> bool:
        return not (busy or self._can_wait) or time.monotonic() - self._since > _PATIENCE_SECONDS
