"""Rewriting the cells of a SQLite database; see `Backend.rewrite`."""

from __future__ import annotations

from typing import Any, NamedTuple

from langchain_agentmem.backends.rewriting import CellChange, Rewritten, is_own_table
from langchain_agentmem.backends.sqlite.traces import Replaced
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.programs import Execute, Fetch, Program

SQL = load_statements("langchain_agentmem.backends.sqlite", "occurrences.sql")

_ROWS_AT_ONCE = 200


class _Place(NamedTuple):
    """The table, and the key of the last row."""

    table: str
    key: tuple[Any, ...] | None


def rewrite(change: CellChange, after: Any) -> Program[Rewritten]:
    """Rewrite the cells of some rows."""
    tables = [name for (name,) in (yield from Fetch(SQL["tables"])) if is_own_table(name)]
    if not tables:
        return Rewritten(0, 0, None)
    place: _Place = after or _Place(tables[0], None)
    described = yield from Fetch(SQL["columns"], (place.table,))
    keys = [_quoted(name) for name, _, at in sorted(described, key=lambda row: row[2]) if at] or ["rowid"]
    columns = [_quoted(name) for name, _, at in described if not at]
    rows = yield from _rows(place, keys, columns)
    changed = 0
    for row in rows:
        new = {name: cell for name, old in zip(columns, row[len(keys) :], strict=True) if (cell := change.of(old))}
        if new:
            changed += len(new)
            assigned = ", ".join(f"{name} = ?" for name in new)
            where = " AND ".join(f"{name} = ?" for name in keys)
            statement = f"UPDATE {_quoted(place.table)} SET {assigned} WHERE {where}"
            yield from Execute(statement, (*new.values(), *row[: len(keys)]))
    if changed:
        yield from Replaced()
    if len(rows) == _ROWS_AT_ONCE:
        return Rewritten(changed, 0, _Place(place.table, tuple(rows[-1][: len(keys)])))
    following = next((name for name in tables if name > place.table), None)
    return Rewritten(changed, 0, None if following is None else _Place(following, None))


def _rows(place: _Place, keys: list[str], columns: list[str]) -> Program[list[Any]]:
    key = ", ".join(keys)
    later = f" WHERE ({key}) > ({', '.join('?' for _ in place.key)})" if place.key else ""
    selected = ", ".join([*keys, *columns])
    statement = f"SELECT {selected} FROM {_quoted(place.table)}{later} ORDER BY {key} LIMIT {_ROWS_AT_ONCE}"
    return (yield from Fetch(statement, place.key or ()))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
