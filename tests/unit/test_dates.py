"""Times in words as spans of time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from langchain_agentmem import InvalidInputError, InvalidTypeError
from langchain_agentmem.text.dates import span_of

NOW = datetime(2024, 3, 13, 15, 30, tzinfo=UTC)
"""A Wednesday."""

DAYS = [
    ("today", "2024-03-13", "2024-03-14"),
    ("Yesterday", "2024-03-12", "2024-03-13"),
    ("the day before yesterday", "2024-03-11", "2024-03-12"),
    ("tomorrow", "2024-03-14", "2024-03-15"),
    ("last May", "2023-05-01", "2023-06-01"),
    ("last March", "2023-03-01", "2023-04-01"),
    ("in March", "2024-03-01", "2024-04-01"),
    ("this March", "2024-03-01", "2024-04-01"),
    ("December", "2023-12-01", "2024-01-01"),
    ("in March 2024", "2024-03-01", "2024-04-01"),
    ("Sept. 2022", "2022-09-01", "2022-10-01"),
    ("May of 2023", "2023-05-01", "2023-06-01"),
    ("8 May 2023", "2023-05-08", "2023-05-09"),
    ("on the 8th of May, 2023", "2023-05-08", "2023-05-09"),
    ("May 8th, 2023", "2023-05-08", "2023-05-09"),
    ("1 April", "2023-04-01", "2023-04-02"),
    ("March 13", "2024-03-13", "2024-03-14"),
    ("29 February 2024", "2024-02-29", "2024-03-01"),
    ("2023-05-08", "2023-05-08", "2023-05-09"),
    ("2023-12", "2023-12-01", "2024-01-01"),
    ("in 2023", "2023-01-01", "2024-01-01"),
    ("two weeks ago", "2024-02-26", "2024-03-04"),
    ("a day ago", "2024-03-12", "2024-03-13"),
    ("3 months ago", "2023-12-01", "2024-01-01"),
    ("a couple of years ago", "2022-01-01", "2023-01-01"),
    ("last week", "2024-03-04", "2024-03-11"),
    ("this week", "2024-03-11", "2024-03-18"),
    ("last month", "2024-02-01", "2024-03-01"),
    ("last year", "2023-01-01", "2024-01-01"),
    ("last Monday", "2024-03-11", "2024-03-12"),
    ("last Wednesday", "2024-03-06", "2024-03-07"),
    ("on Wednesday", "2024-03-13", "2024-03-14"),
    ("Thursday", "2024-03-07", "2024-03-08"),
    ("last weekend", "2024-03-09", "2024-03-11"),
    ("between 1 May 2023 and 3 June 2023", "2023-05-01", "2023-06-04"),
    ("from January to February", "2024-01-01", "2024-03-01"),
]


def day(seconds: float, zone: str = "UTC") -> str:
    return datetime.fromtimestamp(seconds, ZoneInfo(zone)).strftime("%Y-%m-%d")


@pytest.mark.parametrize(("text", "since", "until"), DAYS)
def test_an_expression_is_a_span_of_whole_days(text, since, until):
    span = span_of(text, NOW)
    assert (day(span.since), day(span.until)) == (since, until)
    assert span.since % 86400 == span.until % 86400 == 0


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("since May 2023", "2023-05-01", None),
        ("after May 2023", "2023-06-01", None),
        ("before May 2023", None, "2023-05-01"),
        ("until May 2023", None, "2023-06-01"),
        ("since yesterday", "2024-03-12", None),
    ],
)
def test_one_bound_leaves_the_other_open(text, since, until):
    span = span_of(text, NOW)
    assert (None if span.since == -math.inf else day(span.since)) == since
    assert (None if span.until == math.inf else day(span.until)) == until


@pytest.mark.parametrize(
    ("text", "since"),
    [("the last two weeks", "2024-02-28"), ("in the past 3 days", "2024-03-10"), ("last 1 month", "2024-02-13")],
)
def test_the_last_days_end_now(text, since):
    span = span_of(text, NOW)
    assert (day(span.since), span.until) == (since, NOW.timestamp())


def test_a_month_that_is_too_short_ends_with_its_last_day():
    assert day(span_of("the last 1 month", datetime(2024, 3, 31, tzinfo=UTC)).since) == "2024-02-29"


def test_days_begin_at_midnight_in_the_time_zone_of_now():
    zone = ZoneInfo("America/New_York")
    now = datetime(2024, 3, 11, 1, 0, tzinfo=zone)  # clocks went forward on 10 March
    span = span_of("yesterday", now)
    assert span.until - span.since == 23 * 3600
    assert datetime.fromtimestamp(span.since, zone).hour == 0
    assert span_of("yesterday", now.astimezone(UTC)).since != span.since


def test_a_now_without_time_zone_is_in_utc():
    assert span_of("today", NOW.replace(tzinfo=None)) == span_of("today", NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "31 June 2023",
        "30 February",
        "last",
        "ago",
        "0000-01-01",
        "9999 years ago",
        "the May flowers",
        "since soon",
        "1/2/2023",
    ],
)
def test_what_is_not_understood_is_refused(text):
    with pytest.raises(InvalidInputError, match="when is not understood"):
        span_of(text, NOW)


def test_other_types_are_refused():
    with pytest.raises(InvalidTypeError, match="when must be a string"):
        span_of(7)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="now must be a datetime"):
        span_of("today", 7.0)  # type: ignore[arg-type]
