"""HTML tables for notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

LONGEST_CELL = 300
"""The number of characters of a text that a cell shows."""


class Struck(NamedTuple):
    """A cell whose text is struck through, with an optional note below it."""

    text: str
    note: str = ""


def html_table(
    rows: Iterable[Sequence[object]],
    *,
    header: Sequence[str] = (),
    caption: str | None = None,
    row_headers: bool = False,
    longest: int | None = LONGEST_CELL,
) -> str:
    """Return an HTML table. All texts are escaped.

    Args:
        rows: The cells of each row: texts, numbers, datetimes, `Struck` or None (an empty cell). Floats have two decimals,
            and long texts are shortened.
        header: The titles of the columns. Default: none.
        caption: The table's caption. Default: None.
        row_headers: If true, the first cell of each row is the row's title. Default: False.
        longest: The maximum number of characters of a text; None for any number. Default: `LONGEST_CELL`.

    Example:
        >>> from langchain_agentmem.text.tables import html_table
        >>> html_table([("trip", 3)], header=("session", "messages"))
        "<table><tr><th>session</th><th>messages</th></tr><tr><td style='text-align:left'>trip</td><td>3</td></tr></table>"
    """
    parts = [] if caption is None else [f"<caption>{html.escape(caption)}</caption>"]
    if header:
        parts.append(f"<tr>{''.join(map(_title, header))}</tr>")
    for row in rows:
        titles, cells = (row[:1], row[1:]) if row_headers else ((), row)
        parts.append(f"<tr>{''.join(map(_title, titles))}{''.join(_cell(cell, longest) for cell in cells)}</tr>")
    return f"<table>{''.join(parts)}</table>"


class FieldTable:
    """Base of dataclasses and Pydantic models. A notebook shows such an object as a table of its fields.

    Example:
        >>> from dataclasses import dataclass
        >>> from langchain_agentmem.text.tables import FieldTable
        >>> @dataclass
        ... class Count(FieldTable):
        ...     items: int
        >>> Count(3)._repr_html_()
        '<table><caption>Count</caption><tr><th>items</th><td>3</td></tr></table>'
    """

    def _repr_html_(self) -> str:
        names: Iterable[str] = getattr(self, "__dataclass_fields__", None) or type(self).model_fields  # type: ignore[attr-defined]
        rows = [(name, getattr(self, name)) for name in names]
        return html_table(rows, caption=type(self).__name__, row_headers=True)


def _title(title: object) -> str:
    return f"<th>{html.escape(str(title))}</th>"


def _cell(value: object, longest: int | None) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, float):
        return f"<td>{value:.2f}</td>"
    if isinstance(value, int):
        return f"<td>{value}</td>"
    if isinstance(value, datetime):
        return f"<td>{value:%Y-%m-%d %H:%M}</td>"
    if isinstance(value, Struck):
        note = f"<br><small>{html.escape(value.note)}</small>" if value.note else ""
        return f"<td style='text-align:left'><s>{html.escape(_shortened(value.text, longest))}</s>{note}</td>"
    return f"<td style='text-align:left'>{html.escape(_shortened(str(value), longest))}</td>"


def _shortened(text: str, longest: int | None) -> str:
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"
