"""Removes traces of deleted and replaced text from a database's files.

`PRAGMA secure_delete` overwrites deleted rows. Two places still hold the text:

* the write-ahead log, until it is truncated,
* the full-text index, until its segments are merged. SQLite 3.42 and newer remove the words at once.

Truncating the log costs two more syncs of the disk. Merging costs time that grows with the index. Therefore:

* the last of several waiting writers does the work,
* a large index is merged at most for a tenth of the time,
* a retention rule that deletes messages with every turn truncates the log about once a second.
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

WORDS = "agentmem_item_texts"
"""The full-text index."""

MERGE = f"INSERT INTO {WORDS} ({WORDS}) VALUES ('optimize')"
"""Merges the segments of the full-text index into one without the words of deleted texts."""

REBUILD = f"INSERT INTO {WORDS} ({WORDS}) VALUES ('rebuild')"
"""Creates the full-text index again from the stored texts."""

MOST_LEVELS = 500
"""The number of levels from which the index is rebuilt. Each merge adds a level, and FTS5 refuses an index of 1,000 levels as
malformed."""

_STRUCTURE = f"SELECT block FROM {WORDS}_data WHERE id = 10"
"""The structure of the index: a cookie of 4 bytes, and then the number of levels as a varint (`fts5_index.c`)."""
_COOKIE_BYTES = 4

_PATIENCE_SECONDS = 1.0
"""Seconds for which waiting writers may postpone the work."""

_CHEAP_SECONDS = 0.02
"""A merge of at most this duration (seconds) runs at once."""

_SHARE = 10
"""After a longer merge, the next one waits its duration times this factor."""

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
def deletes(statement: str) -> str | None:
    """Return the table that a statement deletes from; None if it is no DELETE statement."""
    found = re.match(r"(?:\s*--[^\n]*\n)*\s*DELETE FROM (\w+)", statement)
    return found and found[1]


def levels(cursor: Any) -> int:
    """Return the number of levels of the full-text index. SQLite below 3.42 adds one with each merge."""
    rows = cursor.execute(_STRUCTURE).fetchall()
    number = 0
    for byte in rows[0][0][_COOKIE_BYTES:] if rows else b"":
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return number


class Traces:
    """Traces of deleted text in the files of one database."""

    def __init__(self) -> None:
        self.merges = True
        """True if the full-text index keeps words of deleted texts until it is merged."""
        self.in_file = False
        """True if the database is a file."""
        self._words = False
        self._pages = False
        self._can_wait = True
        self._since = 0.0
        self._cost = 0.0
        self._merged_at = 0.0

    def note(self, *, words: bool = False, can_wait: bool = False) -> None:
        """Record that text was deleted or replaced.

        Args:
            words: True if the text is in the full-text index.
            can_wait: True if removing the traces may be postponed.
        """
        if not self.in_file:
            return
        if not self._pages:
            self._since = time.monotonic()
            self._can_wait = True
        self._can_wait = self._can_wait and can_wait
        self._words = self._words or (words and self.merges)
        self._pages = True

    def demand(self) -> None:
        """Make the removal of all traces due now, even if other writers wait or the index is large."""
        self.note(words=True)
        self._since, self._cost = -math.inf, 0.0

    @property
    def left(self) -> bool:
        """True if there are traces to remove."""
        return self._pages

    def merge(self, cursor: Any, *, busy: bool, closing: bool = False) -> bool:
        """Merge the full-text index if that is due. Call it within a transaction.

        Args:
            cursor: A cursor on the connection.
            busy: True if other writers wait.
            closing: True if the last connection is being closed.

        Returns:
            True if it was merged. Then call `merged` after the commit.
        """
        now = time.monotonic()
        affordable = self._cost <= _CHEAP_SECONDS or now - self._merged_at >= _SHARE * self._cost
        if not self._words or not (closing or (affordable and self._is_due(busy=busy))):
            return False
        cursor.execute(REBUILD if levels(cursor) >= MOST_LEVELS else MERGE)
        self._merged_at = time.monotonic()
        self._cost = self._merged_at - now
        return True

    def merged(self) -> None:
        """Record that a merge of the full-text index was committed."""
        self._words = False

    def truncate_log(self, cursor: Any, *, busy: bool, closing: bool = False) -> None:
        """Truncate the write-ahead log if that is due. Call it outside of a transaction.

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
