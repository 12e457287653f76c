"""The record table of a backend: what agents did, as an append-only log."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract.messages import SessionKey
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.locks import forkable_lock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS = 1000
_LAST_MILLISECOND = 2**48 - 1
_COUNTS = 2**12


class RecordRow(NamedTuple):
    """A stored record."""

    id: str
    """The ID; see `new_record_id`. It is the idempotency token as well."""
    user_id: str | None
    session_id: str | None
    agent: str
    status: str
    started_at: float | None
    duration: float | None
    """Seconds."""
    created_at: float
    record: str
    """JSON text."""
    ends_with_session: bool = False
    """If true, the end of the session deletes the record."""


class RecordQuery(NamedTuple):
    """The records to return."""

    tenant: str
    user_id: str | Omitted | None = OMITTED
    """The user; None for the records without a user; `OMITTED` for all records."""
    session_id: str | None = None
    """The session; None for records of all sessions and of no session."""
    agent: str | None = None
    """The agent; None for all."""
    status: str | None = None
    """The status; None for all."""
    lowest: str | None = None
    """The smallest ID that is returned."""
    above: str | None = None
    """Only greater IDs are returned."""
    below: str | None = None
    """Only smaller IDs are returned."""
    newest_first: bool = True
    limit: int = 100
    """The maximum number of records."""


class RecordTable(Protocol):
    """The records of agents, ordered by ID, which is the order of time.

    A record of a session is deleted with the session, and is no longer returned when the session has expired.
    """

    def add(self, tenant: str, row: RecordRow, ttl: float | None, sliding: bool, now: float) -> Program[None]:
        """Store a record. A record whose ID is stored already stays unchanged.

        Args:
            tenant: The tenant.
            row: The record. Its session is used: it is created if it does not exist or has expired.
            ttl: The TTL of the session in seconds; None leaves its expiry unchanged.
            sliding: If false, a session that has an expiry keeps it.
            now: The current time.
        """

    def query(self, query: RecordQuery, now: float) -> Program[list[RecordRow]]:
        """Return records in the order of their IDs."""

    def count(self, tenant: str, user_id: str | Omitted | None) -> Program[int]:
        """Return the number of stored records of one user, of nobody (None), or of all users (`OMITTED`).

        Records of sessions that have expired count until they are swept.
        """

    def users(self, tenant: str, now: float) -> Program[list[str]]:
        """Return the users that have records, in any order. Records of sessions that have expired do not count."""

    def delete(self, tenant: str, rows: Sequence[RecordRow]) -> Program[int]:
        """Delete records, as `query` returned them; return the number of those that were stored."""

    def prune(self, tenant: str, user_id: str | Omitted | None, below: str | None, limit: int) -> Program[int]:
        """Delete about `limit` records, and return their number. Zero means that none is left.

        Args:
            tenant: The tenant.
            user_id: The user; None for the records without a user; `OMITTED` for all records.
            below: Only records with smaller IDs; None for all. See `first_record_id`.
            limit: The maximum number of records.
        """


def session_of(tenant: str, row: RecordRow) -> SessionKey | None:
    """Return the key of a record's session; None if it has none."""
    return None if row.session_id is None else SessionKey(tenant, row.user_id, row.session_id)


class _Counter:
    """Orders the IDs that one process makes within a millisecond."""

    def __init__(self) -> None:
        self._lock = forkable_lock()
        self._millisecond = -1
        self._next = 0

    def take(self, millisecond: int) -> int:
        """Return a number that is greater than the former one of the same millisecond, as far as 12 bits suffice."""
        with self._lock:
            if millisecond != self._millisecond:
                self._millisecond, self._next = millisecond, 0
            self._next += 1
            return min(self._next, _COUNTS) - 1


_counter = _Counter()
_random = random.SystemRandom()


def new_record_id(now: float | None = None) -> str:
    """Return a new ID: a UUID of version 7, which begins with the time in milliseconds. IDs are sorted by time as text.

    Args:
        now: The time, in seconds since 1970. Default: None (the current time).

    Example:
        >>> from langchain_agentmem.backends.contract.records import new_record_id, time_of_record
        >>> first, second = new_record_id(5.0), new_record_id(5.0)
        >>> first < second, time_of_record(first)
        (True, 5.0)
    """
    millisecond = _millisecond(time.time() if now is None else now)
    low = 0b10 << 62 | _random.getrandbits(62)
    return _text(millisecond << 80 | 0x7 << 76 | _counter.take(millisecond) << 64 | low)


def first_record_id(moment: datetime) -> str:
    """Return an ID that is not greater than those of records from a moment on, and greater than those of earlier records.

    Args:
        moment: A time with a time zone. A record's time has milliseconds.
    """
    millisecond = -((_EPOCH - moment) // timedelta(milliseconds=1))
    return _text(min(max(0, millisecond), _LAST_MILLISECOND) << 80)


def time_of_record(record_id: str) -> float:
    """Return the time in an ID, in seconds since 1970."""
    return int(record_id.replace("-", "")[:12], 16) / _MILLISECONDS


def _millisecond(seconds: float) -> int:
    return min(max(0, int(seconds * _MILLISECONDS + 1e-3)), _LAST_MILLISECOND)


def _text(number: int) -> str:
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
