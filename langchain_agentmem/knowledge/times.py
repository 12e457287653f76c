"""Times in UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError


def now() -> datetime:
    """Return the current time in UTC."""
    return utc(time.time())


def utc(moment: Any, what: str = "A time") -> datetime:
    """Return a time in UTC. A `datetime` without a time zone is taken as UTC.

    Args:
        moment: A `datetime`, an ISO 8601 string, or a number of Unix seconds.
        what: Name of the argument, for error messages. Default: `"A time"`.

    Raises:
        InvalidTypeError: The value has another type.
        InvalidInputError: The string is not ISO 8601, or the time is out of range.

    Example:
        >>> from langchain_agentmem.knowledge.times import utc
        >>> utc("2024-05-17T12:00:00+02:00").isoformat()
        '2024-05-17T10:00:00+00:00'
    """
    given = moment
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment.strip())
        except ValueError:
            msg = (
                f"{what} must be a datetime or an ISO 8601 string such as 2024-05-17T12:00:00Z; got {shown(given, 60)}."
            )
            raise InvalidInputError(msg) from None
    elif isinstance(moment, bool) or not isinstance(moment, (int, float, datetime)):
        msg = f"{what} must be a datetime or an ISO 8601 string; got {type(moment).__name__}: {shown(moment, 60)}."
        raise InvalidTypeError(msg)
    if not isinstance(moment, datetime) and moment < 0:
        msg = f"{what} must be a datetime, an ISO 8601 string or Unix seconds; got {shown(given, 60)}."
        raise InvalidInputError(msg)
    try:
        if not isinstance(moment, datetime):
            return datetime.fromtimestamp(moment, UTC)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (OSError, OverflowError, ValueError):
        msg = f"{what} must be between the years 1 and 9999 in UTC; got {shown(given, 60)}."
        raise InvalidInputError(msg) from None
