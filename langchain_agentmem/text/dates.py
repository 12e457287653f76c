"""Times in words, such as "last May" or "two weeks ago", as spans of time. English only.

The parser reads whole expressions and refuses all others, because a search in the wrong span finds nothing. A day begins at
midnight in the time zone of `now`; a week begins on Monday.

dateparser 1.5.0 was tried: it returns one moment, not a span ("in March 2024" is 12 March for a `now` of 12 June), nothing
for "last May" and "the last two weeks", and finds dates in "We may march on".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import NamedTuple

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_COUNTS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAY = r"(?P<weekday>(?:mon|tue|wed|thu|fri|sat|sun)|(?:mon|tues|wednes|thurs|fri|satur|sun)day)"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_COUNT = rf"(?P<count>\d{{1,4}}|an?|{'|'.join(_COUNTS)}|a couple of)"
_UNIT = r"(?P<unit>day|week|month|year)s?"
_WHICH = r"(?P<which>last|this|past|previous|the)"

_EXAMPLES = (
    "'today', 'yesterday', 'last May', 'in March 2024', '8 May 2023', '2023-05-08', 'two weeks ago', 'last week', "
    "'the last 3 days', 'on Monday', 'since June', 'before 2024', 'between 1 May and 3 June'"
)


class Span(NamedTuple):
    """A span of time, in Unix seconds."""

    since: float
    """The first moment; minus infinity if there is none."""
    until: float
    """The first moment after the span; infinity if there is none."""


class _Days(NamedTuple):
    """A span of days: from the first up to, but without, the second."""

    first: date
    after: date


def span_of(text: str, now: datetime | None = None) -> Span:
    """Return the span of time that an English expression means.

    A month or a weekday without a year is the last one that has begun. "two weeks ago" is the week that contains that day, as
    "two months ago" is a month; "the last two weeks" end now.

    Args:
        text: The expression.
        now: The current time; UTC if it has no time zone. Default: None (the clock, in UTC).

    Raises:
        InvalidTypeError: An argument has the wrong type.
        InvalidInputError: The expression is not understood.

    Example:
        >>> from datetime import UTC, datetime
        >>> from langchain_agentmem.text.dates import span_of
        >>> span = span_of("last May", datetime(2024, 3, 1, tzinfo=UTC))
        >>> f"{datetime.fromtimestamp(span.since, UTC):%Y-%m-%d} {datetime.fromtimestamp(span.until, UTC):%Y-%m-%d}"
        '2023-05-01 2023-06-01'
    """
    if not isinstance(text, str):
        msg = f"when must be a string such as 'last May', got {type(text).__name__}: {shown(text)}."
        raise InvalidTypeError(msg)
    if now is not None and not isinstance(now, datetime):
        msg = f"now must be a datetime, got {type(now).__name__}: {shown(now)}."
        raise InvalidTypeError(msg)
    moment = datetime.now(UTC) if now is None else now if now.tzinfo else now.replace(tzinfo=UTC)
    words = " ".join(text.casefold().replace(",", " ").split()).strip(" .?!")
    try:
        found = _span(words, moment)
    except (ValueError, OverflowError):  # a date such as 31 June, or one beyond the calendar
        found = None
    if found is None:
        msg = f"when is not understood: {shown(text)}. Use an English expression such as {_EXAMPLES}, or since= and until=."
        raise InvalidInputError(msg)
    return found


def _span(words: str, now: datetime) -> Span | None:
    zone = now.tzinfo or UTC
    for pattern, make in _BOUNDS:
        match = re.fullmatch(pattern, words)
        parts = [_part(one, now) for one in match.groups()] if match else []
        if parts and all(part is not None for part in parts):
            return make(*(_seconds(part, zone) for part in parts if part is not None))
    recent = re.fullmatch(rf"(?:in |over |during |within )?(?:the )?(?:last|past) {_COUNT} {_UNIT}", words)
    if recent:
        return Span(_start(_shifted(now.date(), recent["unit"], -_number(recent["count"])), zone), now.timestamp())
    days = _part(words, now)
    return None if days is None else _seconds(days, zone)


_BOUNDS: list[tuple[str, Callable[..., Span]]] = [
    (r"(?:since|from) (.+)", lambda one: Span(one.since, math.inf)),
    (r"after (.+)", lambda one: Span(one.until, math.inf)),
    (r"before (.+)", lambda one: Span(-math.inf, one.since)),
    (r"(?:until|till|up to) (.+)", lambda one: Span(-math.inf, one.until)),
    (r"(?:between|from) (.+) (?:and|to|until) (.+)", lambda one, other: Span(one.since, other.until)),
]
"""Expressions that contain others. "until" includes the day or month that it names, "before" does not."""


def _part(words: str, now: datetime) -> _Days | None:
    """Return the days that an expression means: a day, a week, a month, a year."""
    words = re.sub(r"^(?:in|on|during|from) ", "", words)
    for pattern, read in _PARTS:
        match = re.fullmatch(pattern, words)
        if match:
            return read(match, now.date())
    return None


def _relative_day(match: re.Match[str], today: date) -> _Days:
    ago = {"today": 0, "yesterday": 1, "the day before yesterday": 2, "day before yesterday": 2, "tomorrow": -1}[
        match[0]
    ]
    return _one_day(today - timedelta(ago))


def _exact_day(match: re.Match[str], today: date) -> _Days:
    month, day = _month_in(match), int(match["day"])
    if match["year"]:
        return _one_day(date(int(match["year"]), month, day))
    this_year = date(today.year, month, day)
    return _one_day(this_year if this_year <= today else date(today.year - 1, month, day))


def _month_of(match: re.Match[str], today: date) -> _Days:
    month, which = _month_in(match), match["which"]
    if match["year"]:
        return _whole_month(int(match["year"]), month)
    if which == "this":
        return _whole_month(today.year, month)
    has_begun = month <= today.month if which in (None, "the") else month < today.month
    return _whole_month(today.year if has_begun else today.year - 1, month)


def _weekday(match: re.Match[str], today: date) -> _Days:
    back = (today.weekday() - _DAYS.index(match["weekday"][:3])) % 7
    if match["which"] == "this":
        return _one_day(today - timedelta(today.weekday()) + timedelta(_DAYS.index(match["weekday"][:3])))
    return _one_day(today - timedelta(back or (7 if match["which"] else 0)))


def _weekend(match: re.Match[str], today: date) -> _Days:
    saturday = today - timedelta(today.weekday()) + timedelta(5)
    return _Days(first := saturday - timedelta(0 if match["which"] in ("this", "the") else 7), first + timedelta(2))


def _unit_of(match: re.Match[str], today: date) -> _Days:
    back = 0 if match["which"] in ("this", "the") else 1
    return _whole(_shifted(today, match["unit"], -back), match["unit"])


def _ago(match: re.Match[str], today: date) -> _Days:
    return _whole(_shifted(today, match["unit"], -_number(match["count"])), match["unit"])


_PARTS: list[tuple[str, Callable[[re.Match[str], date], _Days]]] = [
    (r"today|yesterday|tomorrow|(?:the )?day before yesterday", _relative_day),
    (r"(\d{4})-(\d\d)-(\d\d)", lambda match, _: _one_day(date(*map(int, match.groups())))),
    (r"(\d{4})-(\d\d)", lambda match, _: _whole_month(*map(int, match.groups()))),
    (rf"(?:the )?{_DAY}(?: of)? {_MONTH}(?: {_YEAR})?", _exact_day),
    (rf"{_MONTH} (?:the )?{_DAY}(?: {_YEAR})?", _exact_day),
    (rf"(?:{_WHICH} )?{_MONTH}(?:(?: of)? {_YEAR})?", _month_of),
    (_YEAR, lambda match, _: _whole(date(int(match["year"]), 1, 1), "year")),
    (rf"(?:{_WHICH} )?{_WEEKDAY}", _weekday),
    (rf"{_WHICH} weekend", _weekend),
    (rf"{_WHICH} {_UNIT}", _unit_of),
    (rf"{_COUNT} {_UNIT} ago", _ago),
]


def _month_in(match: re.Match[str]) -> int:
    return _MONTHS.index(match["month"][:3]) + 1


def _number(count: str) -> int:
    if count.isdecimal():
        return int(count)
    return {"a": 1, "an": 1, "a couple of": 2}.get(count) or _COUNTS.index(count) + 1


def _one_day(day: date) -> _Days:
    return _Days(day, day + timedelta(1))


def _whole_month(year: int, month: int) -> _Days:
    return _whole(date(year, month, 1), "month")


def _whole(day: date, unit: str) -> _Days:
    """Return the day, the week, the month or the year that contains a day."""
    first = {
        "day": day,
        "week": day - timedelta(day.weekday()),
        "month": day.replace(day=1),
        "year": day.replace(month=1, day=1),
    }[unit]
    return _Days(first, _shifted(first, unit, 1))


def _shifted(day: date, unit: str, count: int) -> date:
    """Return the day a number of days, weeks, months or years later; the last of the month if the month has no such day."""
    if unit in ("day", "week"):
        return day + timedelta(count * (7 if unit == "week" else 1))
    months = day.year * 12 + day.month - 1 + count * (12 if unit == "year" else 1)
    first = date(months // 12, months % 12 + 1, 1)
    following = date((months + 1) // 12, (months + 1) % 12 + 1, 1)
    return first + timedelta(min(day.day, (following - first).days) - 1)


def _seconds(days: _Days, zone: tzinfo) -> Span:
    return Span(_start(days.first, zone), _start(days.after, zone))


def _start(day: date, zone: tzinfo) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
