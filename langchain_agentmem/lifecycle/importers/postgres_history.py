"""Chat histories in tables of langchain-postgres' `PostgresChatMessageHistory`, and of that of langchain-community."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from langchain_agentmem.arguments.urls import shown_location
from langchain_agentmem.lifecycle.importers.arguments import Options
from langchain_agentmem.lifecycle.importers.postgres import (
    afetched,
    fetched,
    identifier,
    is_asynchronous,
    opened,
)
from langchain_agentmem.lifecycle.importers.rows import PAGE_ROWS, Source, SourceMessage, scope_of_table

FORMAT = "postgres-history"


def source_of(given: Any, options: Options) -> Source:
    """Return the source of one history, or of all histories in a table.

    Args:
        given: A history, or a connection, pool or URL.
        options: With `table`, unless a history is given.
    """
    if hasattr(given, "get_messages") or hasattr(given, "add_message"):
        return _one(given, options)
    table = options.required("table", f'format="{FORMAT}" reads one table')
    name = f"the table {table}"
    if isinstance(given, str):
        rows: Callable[[], Any] = partial(_rows_at, given, table)
        name = f"the table {table} at {shown_location(given)}"
    elif is_asynchronous(given):
        rows = partial(_arows, given, table, None)
    else:
        rows = partial(_rows, given, table, None)
    return Source(name, scope_of_table(table), rows)


def _one(history: Any, options: Options) -> Source:
    options.refuse("table", "the history has its table")
    connection = getattr(history, "_connection", None) or getattr(history, "connection", None)
    if hasattr(history, "_session_id"):
        table, session = history._table_name, history._session_id
    else:  # the class in langchain-community
        table, session = history.table_name, history.session_id
    rows: Callable[[], Any] = (
        partial(_arows, history._aconnection, table, session)
        if connection is None
        else partial(_rows, connection, table, session)
    )
    name = f"PostgresChatMessageHistory (table {table})"
    return Source(name, scope_of_table(table), rows, single=True, session=session)


def _rows_at(url: str, table: str) -> Iterator[SourceMessage]:
    with opened(url) as connection:
        yield from _rows(connection, table, None)


def _rows(connection: Any, table: str, session: str | None) -> Iterator[SourceMessage]:
    query = _Query(table, session)
    with_time = bool(fetched(connection, query.has_time, (identifier(table),)))
    after: Any = None
    while page := fetched(connection, *query.page(after, with_time=with_time)):
        yield from map(_message, page)
        after = page[-1][0]


async def _arows(connection: Any, table: str, session: str | None) -> AsyncIterator[SourceMessage]:
    query = _Query(table, session)
    with_time = bool(await afetched(connection, query.has_time, (identifier(table),)))
    after: Any = None
    while page := await afetched(connection, *query.page(after, with_time=with_time)):
        for row in page:
            yield _message(row)
        after = page[-1][0]


class _Query:
    has_time = "SELECT 1 FROM pg_catalog.pg_attribute WHERE attrelid = %s::regclass AND attname = 'created_at'"
    """Tables of langchain-community have no times."""

    def __init__(self, table: str, session: str | None) -> None:
        self._table = identifier(table)
        self._session = session

    def page(self, after: Any, *, with_time: bool) -> tuple[str, Sequence[Any]]:
        conditions: dict[str, Any] = {}
        if after is not None:
            conditions["id > %s"] = after
        if self._session is not None:
            conditions["session_id::text = %s"] = self._session
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        time = "created_at" if with_time else "NULL"
        statement = (
            f"SELECT id, session_id::text, message::text, {time} FROM {self._table} {where} ORDER BY id LIMIT %s"
        )
        return statement, [*conditions.values(), PAGE_ROWS]


def _message(row: Sequence[Any]) -> SourceMessage:
    number, session, text, time = row
    return SourceMessage(session, number, text, time.timestamp() if isinstance(time, datetime) else None)
