"""The search for a user's ID in all tables of a SQLite database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_agentmem.backends.namespaces import decode_namespace
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.backends.traces import FoundTrace, TraceForms, item_shown
from langchain_agentmem.programs import Fetch, Program

SQL = load_statements("langchain_agentmem.backends.sqlite", "occurrences.sql")

_ITEMS = "agentmem_items"
_ROWS_AT_ONCE = 200
_LONGEST_EXAMPLE = 200


class _Place(NamedTuple):
    """The position of the search."""

    table: str
    key: tuple[Any, ...] | None
    """The primary key of the last row with the ID; None before the first one."""


def traces(user_id: str, after: _Place | None) -> Program[tuple[list[FoundTrace], str, _Place | None]]:
    """Search a table; see `Backend.traces`."""
    tables = [name for (name,) in (yield from Fetch(SQL["tables"]))]
    if not tables:
        return [], "the database", None
    place = after or _Place(tables[0], None)
    described = yield from Fetch(SQL["columns"], (place.table,))
    columns = [name for name, _, _ in described]
    keys = [name for name, _, at in sorted(described, key=lambda row: row[2]) if at] or ["rowid"]
    forms = TraceForms(user_id)
    statement, parameters = _search(place, columns, keys, forms)
    rows = yield from Fetch(statement, parameters)
    found = [
        FoundTrace(f"{place.table}.{column}", form, _example(place.table, columns, keys, row))
        for row in rows
        for column, value in zip(columns, row[len(keys) :], strict=True)
        if isinstance(value, (str, bytes)) and (form := forms.form_of(value)) is not None
    ]
    if len(rows) == _ROWS_AT_ONCE:
        return found, place.table, _Place(place.table, tuple(rows[-1][: len(keys)]))
    following = next((name for name in tables if name > place.table), None)
    return found, place.table, None if following is None else _Place(following, None)


def _search(
    place: _Place, columns: Sequence[str], keys: Sequence[str], forms: TraceForms
) -> tuple[str, dict[str, Any]]:
    """Return the statement that reads the next rows with one of the forms, and its parameters."""
    own, key = ", ".join(map(_quoted, columns)), ", ".join(map(_quoted, keys))
    needles = {f"form{at}": needle for at, needle in enumerate(forms.needles)}
    bounds = {f"key{at}": value for at, value in enumerate(place.key or ())}
    # SQLite compares a text and a BLOB as different values, so all values are BLOBs here.
    contains = " OR ".join(
        f"instr(CAST({_quoted(column)} AS BLOB), :{name}) > 0" for column in columns for name in needles
    )
    later = f"({key}) > ({', '.join(f':{name}' for name in bounds)}) AND " if bounds else ""
    rows = f"SELECT {key}, {own} FROM {_quoted(place.table)} WHERE {later}({contains})"
    return f"{rows} ORDER BY {key} LIMIT {_ROWS_AT_ONCE}", {**needles, **bounds}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _example(table: str, columns: Sequence[str], keys: Sequence[str], row: Sequence[Any]) -> str:
    if table == _ITEMS:
        named = dict(zip(columns, row[len(keys) :], strict=True))
        return item_shown(decode_namespace(named["namespace"]), named["key"])
    shown = ", ".join(f"{name}={value!r}" for name, value in zip(keys, row, strict=False))
    return shown if len(shown) <= _LONGEST_EXAMPLE else f"{shown[:_LONGEST_EXAMPLE]}…"
