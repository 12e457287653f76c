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
    moment = local_time_of(message)
    return now if moment is None else moment.timestamp()


def local_time_of(message: BaseMessage) -> datetime | None:
    """Return the time of a message in its own offset, as `time_of` reads it; None if it has none.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from langchain_agentmem.messages.properties import local_time_of
        >>> message = HumanMessage("Hello", additional_kwargs={"created_at": "2026-03-02T20:30:00-08:00"})
        >>> f"{local_time_of(message):%Y-%m-%d}"
        '2026-03-02'
    """
    given = message.additional_kwargs.get("created_at")
    if not isinstance(given, (str, datetime)):
        return None
    try:
        moment = given if isinstance(given, datetime) else datetime.fromisoformat(given)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        # The conversion to UTC fails for dates at either end of the calendar (years 1 and 9999).
        moment.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None
    return moment


def datetime_of(seconds: float) -> datetime:
    """Return a stored time, in Unix seconds, as a datetime in UTC, clamped to the calendar (years 1 to 9999)."""
    return datetime.fromtimestamp(min(max(seconds, _FIRST), _LAST), UTC)
