"""Charts for notebooks: HTML bars, without scripts. They are readable on dark and light backgrounds."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

_COLOURS = ("#c0392b", "#d68910", "#7d8f1e", "#2e86c1", "#7f8c8d")
"""Colours of medium brightness, which stand out from both backgrounds."""

_BAR = "display:inline-block;height:0.8em;vertical-align:middle;background:{colour};width:{width:.2f}em"
_WIDTH = 20.0
"""The width of the longest bar, in units of the font size."""
_NARROWEST = 0.15


def bar_chart(rows: Sequence[tuple[str, int]], *, caption: str, label: Callable[[int], str] = "{:,}".format) -> str:
    """Return a chart with one horizontal bar for each row. All texts are escaped.

    Args:
        rows: The name and the number of each row.
        caption: The caption of the chart.
        label: Returns the text beside a bar. Default: the number with separators.

    Example:
        >>> from langchain_agentmem.text.charts import bar_chart
        >>> "<th>a &amp; b</th>" in bar_chart([("a & b", 3)], caption="Entries")
        True
    """
    largest = max((number for _, number in rows), default=0)
    lines = [
        _line(name, _bar(number, largest, _COLOURS[3], f"{name}: {label(number)}"), label(number))
        for name, number in rows
    ]
    return _table(caption, lines)


def stacked_chart(rows: Sequence[tuple[str, Sequence[int]]], *, series: Sequence[str], caption: str) -> str:
    """Return a chart with one horizontal bar for each row, divided into the numbers of several series.

    Args:
        rows: The name and the numbers of each row. Each bar has the same length, because it shows shares.
        series: The names of the numbers, at most five.
        caption: The caption of the chart.

    Example:
        >>> from langchain_agentmem.text.charts import stacked_chart
        >>> chart = stacked_chart([("sessions", [1, 3])], series=["within an hour", "never"], caption="Expiry")
        >>> 'title="within an hour: 1"' in chart, "script" in chart
        (True, False)
    """
    lines = []
    for name, numbers in rows:
        named = list(zip(numbers, series, _COLOURS, strict=False))
        bars = "".join(_bar(number, sum(numbers), colour, f"{one}: {number:,}") for number, one, colour in named)
        lines.append(_line(name, bars, ", ".join(f"{one}: {number:,}" for number, one, _ in named if number) or "0"))
    return _table(caption, lines)


def _bar(number: int, whole: int, colour: str, title: str) -> str:
    if number <= 0:
        return ""
    style = _BAR.format(colour=colour, width=max(_NARROWEST, _WIDTH * number / whole))
    return f'<span style="{style}" title="{html.escape(title)}"></span>'


def _line(name: str, bars: str, label: str) -> str:
    return (
        f"<tr><th>{html.escape(name)}</th><td style='text-align:left;white-space:nowrap'>{bars}</td>"
        f"<td style='text-align:left'>{html.escape(label)}</td></tr>"
    )


def _table(caption: str, lines: Sequence[str]) -> str:
    return f"<table><caption>{html.escape(caption)}</caption>{''.join(lines)}</table>"
