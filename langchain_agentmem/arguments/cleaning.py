"""The arguments of `memory.cleanup`, and the policy of cleanups in the background."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TextIO

from langchain_agentmem.arguments.durations import required_seconds
from langchain_agentmem.arguments.values import check_list, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

_DAY = 86_400.0

KINDS = ("records", "sessions", "messages", "threads", "items", "variables", "cache", "orphans")
"""The kinds of data that a cleanup can delete."""

DEFAULT_KINDS = ("records", "sessions", "messages", "threads", "items", "cache", "orphans")
"""The kinds that a cleanup deletes by default. Variables of users are settings, which may be old and still valid."""

Target = str | os.PathLike[str] | TextIO
"""An archive: a path, or an open text file."""


@dataclass(frozen=True)
class CleanupPolicy:
    """Clean up regularly, in the background.

    One process at a time cleans up a tenant, also if several have the policy. A daemon thread does it, until the memory is
    closed. Errors are logged as warnings, and the cleanup is tried again. A forked child has no such thread.

    Args:
        older_than: The age of the data that is deleted, as a `timedelta` or in seconds; see `AgentMemory.cleanup`.
        interval: The time between two cleanups, as a `timedelta` or in seconds. Default: one day.
        kinds: The kinds of data. Default: `DEFAULT_KINDS`.
        archive: The path of the archive that deleted data is appended to. Default: None (no archive).
        on_cleanup: A function that is called with the result of each cleanup. Default: None.

    Raises:
        InvalidInputError: A value is not accepted.
        InvalidTypeError: A value has the wrong type.

    Example:
        >>> from datetime import timedelta
        >>> from langchain_agentmem import AgentMemory, CleanupPolicy
        >>> policy = CleanupPolicy(older_than=timedelta(days=90), interval=timedelta(hours=6))
        >>> with AgentMemory.from_url("sqlite:///:memory:", cleanup=policy) as memory:
        ...     memory.history("session-1").add_user_message("Hello")
    """

    older_than: timedelta | float
    interval: timedelta | float = _DAY
    kinds: tuple[str, ...] = DEFAULT_KINDS
    archive: str | os.PathLike[str] | None = None
    on_cleanup: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        required_seconds("CleanupPolicy.older_than", self.older_than)
        required_seconds("CleanupPolicy.interval", self.interval)
        object.__setattr__(self, "kinds", check_kinds(self.kinds))
        if self.on_cleanup is not None and not callable(self.on_cleanup):
            msg = f"CleanupPolicy.on_cleanup must be a function, got {shown(self.on_cleanup)}."
            raise InvalidTypeError(msg)
        if self.archive is not None and not isinstance(self.archive, (str, os.PathLike)):
            msg = f"CleanupPolicy.archive must be a path, got {type(self.archive).__name__}: {shown(self.archive)}."
            raise InvalidTypeError(msg)


def check_cleanup_policy(given: object) -> CleanupPolicy | None:
    """Return an optional policy.

    Raises:
        InvalidTypeError: The value is neither a `CleanupPolicy` nor None.
    """
    if given is not None and not isinstance(given, CleanupPolicy):
        msg = f"cleanup must be a CleanupPolicy, such as CleanupPolicy(older_than=86400), got {shown(given)}."
        raise InvalidTypeError(msg)
    return given


def check_kinds(given: Iterable[str]) -> tuple[str, ...]:
    """Return kinds of data in the order of `KINDS`.

    Raises:
        InvalidInputError: There is no such kind, or none is given.
    """
    kinds = [given] if isinstance(given, str) else check_list("kinds", given, "kinds of data")
    unknown = next((one for one in kinds if one not in KINDS), None)
    if unknown is not None or not kinds:
        msg = f"kinds must be some of {', '.join(KINDS)}; got {shown(given)}."
        raise InvalidInputError(msg)
    return tuple(one for one in KINDS if one in kinds)


def cutoff_of(older_than: Any) -> float:
    """Return the time before which data is deleted, in seconds since 1970.

    Args:
        older_than: An age, as a `timedelta` or in seconds, or a datetime with a time zone.

    Raises:
        InvalidInputError: A duration is not positive, or a datetime has no time zone or is in the future.
        InvalidTypeError: The value has another type.
    """
    now = time.time()
    if not isinstance(older_than, datetime):
        return now - required_seconds("older_than", older_than)
    if older_than.tzinfo is None:
        msg = f"older_than must have a time zone, got {older_than!r}. Pass datetime(…, tzinfo=UTC), or a timedelta."
        raise InvalidInputError(msg)
    if older_than.timestamp() > now:
        msg = f"older_than must be in the past, got {older_than.isoformat()}."
        raise InvalidInputError(msg)
    return older_than.timestamp()
