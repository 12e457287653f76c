"""The search for a user's ID in all tables of a schema in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_agentmem.backends.postgres.history import owner_digest
from langchain_agentmem.backends.postgres.prefixes import decoded_prefix
from langchain_agentmem.backends.postgres.statements import qualifier
from langchain_agentmem.backends.traces import FoundTrace, TraceForms, item_shown
from langchain_agentmem.programs import Fetch, Program, storage_program

_ITEM_TABLES = ("store", "store_vectors")
_BLOCKS_AT_ONCE = 1_000
"""The number of blocks of 8 kB that one statement searches."""


class _Column(NamedTuple):
    """A column with texts or bytes."""

    name: str
    has_bytes: bool
    blocks: int
    """The number of the table's blocks."""


class _Place(NamedTuple):
    """The position of the search."""

    table: str
    block: int


@storage_program
def traces(
    schema: str | None, columns_of: str, tenant: str, user_id: str, after: _Place | None
) -> Program[tuple[list[FoundTrace], str, _Place | None]]:
    """Search a part of a table; see `Backend.traces`.

    Args:
        schema: The schema.
        columns_of: The statement `columns`.
        tenant: The tenant.
        user_id: The user.
        after: The continuation.
    """
    tables: dict[str, list[_Column]] = {}
    for table, *column in (yield from Fetch(columns_of, (schema,))):
        tables.setdefault(table, []).append(_Column(*column))
    if not tables:
        return [], "the database", None
    place = after if after is not None and after.table in tables else _Place(min(tables), 0)
    columns = tables[place.table]
    forms = TraceForms(user_id, owner_digest(tenant, user_id))
    end = place.block + _BLOCKS_AT_ONCE
    statement = _search(qualifier(schema) + _quoted(place.table), columns)
    needles = [one.encode().hex() for one in forms.texts] + [owner_digest(tenant, user_id).hex()]
    parameters = (f"({place.block},0)", f"({end},0)", forms.texts, needles)
    rows = yield from Fetch(statement, parameters)
    found = [
        FoundTrace(f"{place.table}.{column.name}", form, _example(place.table, columns, row))
        for row in rows
        for column, value in zip(columns, row[1:], strict=True)
        if value is not None and (form := forms.form_of(value)) is not None
    ]
    if end < columns[0].blocks:
        return found, place.table, _Place(place.table, end)
    following = min((table for table in tables if table > place.table), default=None)
    return found, place.table, None if following is None else _Place(following, 0)


def _example(table: str, columns: Sequence[_Column], row: Sequence[Any]) -> str:
    if table in _ITEM_TABLES:
        named = {column.name: value for column, value in zip(columns, row[1:], strict=True)}
        return item_shown(decoded_prefix(named["prefix"]), named["key"])
    return f"ctid={row[0]}"


def _search(table: str, columns: Sequence[_Column]) -> str:
    """Return the statement that reads the rows in a range of blocks with one of some texts, or of some texts in hexadecimal.

    Args:
        table: The name of the table, quoted.
        columns: The columns.
    """
    named = [(_quoted(one.name), one.has_bytes) for one in columns]
    values = [name if has_bytes else f"{name}::text" for name, has_bytes in named]
    texts = [f"encode({name}, 'hex')" if has_bytes else f"{name}::text" for name, has_bytes in named]
    return (
        f"SELECT ctid::text, {', '.join(values)} FROM {table}, "
        f"LATERAL (SELECT concat_ws(chr(31), {', '.join(texts)}) AS line OFFSET 0) AS joined "
        "WHERE ctid >= %s::tid AND ctid < %s::tid AND ("
        "EXISTS (SELECT 1 FROM unnest(%b::text[]) AS wanted WHERE strpos(line, wanted) > 0) "
        "OR EXISTS (SELECT 1 FROM unnest(%b::text[]) AS wanted WHERE strpos(line, wanted) > 0))"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'
