"""Properties of a message that search and extraction read: its text and its time."""

from __future__ import annotations

from datetime import UTC, datetime

from langchain_core.messages import BaseMessage

_FIRST = datetime.min.replace(tzinfo=UTC).timestamp()
_LAST = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


def text_of(message: BaseMessage) -> str:
    """Return the text by which search finds a message: its text, after the name of its speaker if it has one.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.messages.properties import text_of
        >>> text_of(HumanMessage("Hello", name="Ann"))
        'Ann: Hello'
    """
    text = str(message.text)
    return f"{message.name}: {text}" if message.name and text else text


def time_of(message: BaseMessage, now: float) -> float:
    """Return the time of a message, in Unix seconds: the date (ISO 8601) in `additional_kwargs["created_at"]`.

    Args:
        message: The message.
        now: The time of a message without such a date, in Unix seconds.
    """
    given = message.additional_kwargs.get("created_at")
    if not isinstance(given, str):
        return now
    try:
        moment = datetime.fromisoformat(given)
        # The conversion to UTC fails for dates at either end of the calendar (years 1 and 9999).
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return now


def datetime_of(seconds: float) -> datetime:
    """Return a stored time, in Unix seconds, as a datetime in UTC, clamped to the calendar (years 1 to 9999)."""
    return datetime.fromtimestamp(min(max(seconds, _FIRST), _LAST), UTC)
