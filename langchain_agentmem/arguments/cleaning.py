"""The arguments of `memory.cleanup`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TextIO

from langchain_agentmem.arguments.durations import required_seconds
from langchain_agentmem.arguments.values import check_list, shown
from langchain_agentmem.errors import InvalidInputError

KINDS = ("records", "sessions", "messages", "threads", "items", "variables")
"""The kinds of data that a cleanup can delete."""

DEFAULT_KINDS = ("sessions", "messages", "records", "threads", "items")
"""The kinds that a cleanup deletes by default. Variables of users are settings, which may be old and still valid."""

Target = str | os.PathLike[str] | TextIO
"""An archive: a path, or an open text file."""


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
