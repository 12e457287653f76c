"""Rewriting the cells of a Postgres schema; see `Backend.rewrite`."""

from __future__ import annotations

from typing import Any, NamedTuple

from langchain_agentmem.backends.postgres.statements import qualifier, statements
from langchain_agentmem.backends.rewriting import CellChange, Rewritten, is_own_table
from langchain_agentmem.programs import Execute, Fetch, Program, storage_program

_COLUMNS = statements("rewriting.sql", None)["columns"]
_BLOCKS_AT_ONCE = 16


class _Column(NamedTuple):
    """A column with texts or bytes."""

    name: str
    type: str
    blocks: int
    """The number of the table's blocks."""

    @property
    def selected(self) -> str:
        """The expression that returns the cell as a text or bytes."""
        return self.name if self.type == "bytea" else f"{self.name}::text"


class _Place(NamedTuple):
    """The position in the database."""

    table: str
    block: int


@storage_program
def rewrite(schema: str | None, change: CellChange, after: Any) -> Program[Rewritten]:
    """Rewrite the cells in some blocks of a table. A row that another writer changes meanwhile is left to it."""
    tables: dict[str, list[_Column]] = {}
    for table, name, type_, blocks in (yield from Fetch(_COLUMNS, (schema,))):
        if is_own_table(table):
            tables.setdefault(table, []).append(_Column(_quoted(name), type_, blocks))
    if not tables:
        return Rewritten(0, 0, None)
    place: _Place = after if after is not None and after.table in tables else _Place(min(tables), 0)
    columns, name = tables[place.table], qualifier(schema) + _quoted(place.table)
    end = place.block + _BLOCKS_AT_ONCE
    rows = yield from Fetch(_search(name, columns), (f"({place.block},0)", f"({end},0)", list(change.needles)))
    changed = missed = 0
    for at, *cells in rows:
        new = {one: (change.of(old), old) for one, old in zip(columns, cells, strict=True)}
        new = {one: pair for one, pair in new.items() if pair[0] is not None}
        if new:
            done = yield from Execute(*_update(name, at, new))
            changed += done * len(new)
            missed += 0 if done else len(new)
    if end < columns[0].blocks:
        return Rewritten(changed, missed, _Place(place.table, end))
    following = min((table for table in tables if table > place.table), default=None)
    return Rewritten(changed, missed, None if following is None else _Place(following, 0))


def _search(table: str, columns: list[_Column]) -> str:
    """Return the statement that reads the rows in a range of blocks with one of some needles."""
    found = [
        f"position(needle IN {one.name}) > 0"
        if one.type == "bytea"
        else f"position(needle IN convert_to({one.selected}, 'UTF8')) > 0"
        for one in columns
    ]
    return (
        f"SELECT ctid::text, {', '.join(one.selected for one in columns)} FROM {table} "
        "WHERE ctid >= %s::tid AND ctid < %s::tid "
        f"AND EXISTS (SELECT 1 FROM unnest(%s::bytea[]) AS wanted (needle) WHERE {' OR '.join(found)})"
    )


def _update(table: str, at: str, new: dict[_Column, tuple[Any, Any]]) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that replaces the cells of an unchanged row, and its parameters."""
    assigned = [f"{one.name} = %s::{'bytea' if one.type == 'bytea' else f'text::{one.type}'}" for one in new]
    same = [f"{one.selected} = %s" for one in new]
    statement = f"UPDATE {table} SET {', '.join(assigned)} WHERE ctid = %s::tid AND {' AND '.join(same)}"
    return statement, (*(cell for cell, _ in new.values()), at, *(old for _, old in new.values()))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'
