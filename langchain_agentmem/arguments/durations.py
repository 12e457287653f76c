"""Durations: every time to live and time limit is a `timedelta` or a number."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

LONGEST_SECONDS = 1e11


def seconds(what: str, value: timedelta | float | None) -> float | None:
    """Return an optional duration in seconds.

    Args:
        what: The name of the argument, for the error.
        value: A `timedelta`, a number of seconds, or None.

    Raises:
        InvalidTypeError: The value has another type.
        InvalidInputError: The duration is not positive, or longer than 3,000 years.

    Example:
        >>> from datetime import timedelta
        >>> from langchain_agentmem.arguments.durations import seconds
        >>> seconds("ttl", timedelta(days=1)), seconds("ttl", 60), seconds("ttl", None)
        (86400.0, 60.0, None)
    """
    return None if value is None else required_seconds(what, value)


def required_seconds(what: str, value: timedelta | float) -> float:
    """Same as `seconds`, but refuse None: for methods that would delete everything without a duration."""
    return _duration(what, value, unit="seconds", in_seconds=1)


def minutes(what: str, value: timedelta | float | None) -> float | None:
    """Same as `seconds`, for LangGraph's store: a number is a number of minutes, and so is the result.

    Example:
        >>> from datetime import timedelta
        >>> from langchain_agentmem.arguments.durations import minutes
        >>> minutes("ttl", timedelta(hours=1)), minutes("ttl", 5)
        (60.0, 5.0)
    """
    return None if value is None else _duration(what, value, unit="minutes", in_seconds=60)


def _duration(what: str, value: Any, *, unit: str, in_seconds: int) -> float:
    given = value.total_seconds() / in_seconds if isinstance(value, timedelta) else value
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        msg = f"{what} must be a timedelta or a number of {unit}, got {type(given).__name__}: {shown(given)}."
        raise InvalidTypeError(msg)
    if not 0 < given < LONGEST_SECONDS / in_seconds:
        msg = f"{what} must be more than 0 {unit} and less than 3,000 years, got {shown(value)}."
        raise InvalidInputError(msg)
    return float(given)
