"""Chat histories in tables of langchain-community's `SQLChatMessageHistory`, in any database that SQLAlchemy reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.urls import shown_location
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.lifecycle.importers.arguments import Options
from langchain_agentmem.lifecycle.importers.rows import (
    PAGE_ROWS,
    Source,
    SourceMessage,
    missing_package,
    scope_of_table,
)
from langchain_agentmem.programs.workers import finished, in_worker

FORMAT = "sql-history"
TABLE = "message_store"
"""The table that `SQLChatMessageHistory` uses by default."""


def source_of(given: Any, options: Options) -> Source:
    """Return the source of one history, or of all histories in a table.

    Args:
        given: A history, an engine of SQLAlchemy, a URL, or the path of a SQLite file.
        options: With `table`, unless it is `message_store` or a history is given.
    """
    if hasattr(given, "session_maker"):
        options.refuse("table", "the history has its table")
        model, field = given.sql_model_class, given.session_id_field_name
        reading = _Reading(model, getattr(model, field), given.session_id, entities=True)
        rows, on_loop = _rows_of(_engine_of(given), reading)
        table = getattr(model, "__tablename__", TABLE)
        message: Callable[[Any], BaseMessage] = given.converter.from_sql_model
        scope, name = scope_of_table(table), f"SQLChatMessageHistory (table {table})"
        return Source(name, scope, rows, message, single=True, session=given.session_id, on_loop=on_loop)
    table = options.table or TABLE
    scope = scope_of_table(table)
    if isinstance(given, (str, Path)):
        return Source(f"the table {table} at {shown_location(str(given))}", scope, partial(_rows_at, str(given), table))
    rows, on_loop = _rows_of(given, _table_reading(table))
    return Source(f"the table {table}", scope, rows, on_loop=on_loop)


class _Reading:
    """Reads one table, page by page in the order of its primary key.

    Args:
        model: The mapped class or the table.
        session: The column with the session.
        session_id: Only this session; None for all.
        entities: True if `model` is a mapped class, whose objects the converter of the history reads.
    """

    def __init__(self, model: Any, session: Any, session_id: str | None, *, entities: bool) -> None:
        columns = model if entities else model.c
        self._model = model
        self._id = columns.id
        self._session = session
        self._session_id = session_id
        self._entities = entities

    def statement(self, after: Any) -> Any:
        from sqlalchemy import select

        statement = select(self._model).order_by(self._id).limit(PAGE_ROWS)
        if self._session_id is not None:
            statement = statement.where(self._session == self._session_id)
        return statement if after is None else statement.where(self._id > after)

    def message(self, row: Any) -> SourceMessage:
        if self._entities:
            entity = row[0]
            session = getattr(entity, self._session.key)
            return SourceMessage(str(session), entity.id, entity, _time_of(getattr(entity, "created_at", None)))
        return SourceMessage(str(row.session_id), row.id, row.message)


def _table_reading(table: str) -> _Reading:
    from sqlalchemy import column
    from sqlalchemy import table as table_of

    schema, _, name = table.rpartition(".")
    columns: list[Any] = [column(one) for one in ("id", "session_id", "message")]
    found = table_of(name, *columns, schema=schema or None)
    return _Reading(found, found.c.session_id, None, entities=False)


def _engine_of(history: Any) -> Any:
    return history.async_engine if history.async_mode else history.engine


def _rows_of(engine: Any, reading: _Reading) -> tuple[Callable[[], Any], bool]:
    """Return the function that reads the rows, and whether only the caller's thread may call it."""
    if hasattr(engine, "sync_engine"):
        return partial(_arows, engine, reading), False
    # Each thread has a database of its own in this pool, which SQLAlchemy uses for databases in memory.
    return partial(_rows, engine, reading), type(engine.pool).__name__ == "SingletonThreadPool"


def _check_file(engine: Any) -> None:
    """Refuse a SQLite file that does not exist, before SQLite creates it."""
    path = engine.url.database
    in_file = engine.dialect.name == "sqlite" and path and path != ":memory:" and not path.startswith("file:")
    if in_file and not Path(path).is_file():
        msg = f"there is no file {shown(path)}"
        raise FileNotFoundError(msg)


def _rows_at(url: str, table: str) -> Iterator[SourceMessage]:
    try:
        from sqlalchemy import create_engine
    except ImportError:
        raise missing_package(source="SQLChatMessageHistory", package="sqlalchemy") from None
    if "://" not in url:
        url = f"sqlite:///{url}"
    scheme, _, rest = url.partition("://")
    if scheme in ("postgresql", "postgres") and find_spec("psycopg"):  # SQLAlchemy's default driver is psycopg2
        url = f"postgresql+psycopg://{rest}"
    engine = create_engine(url)
    if engine.dialect.is_async:
        driver = f"{engine.dialect.name}+{engine.dialect.driver}"
        msg = f"The URL names the asynchronous driver {driver}. Name a synchronous one, or pass an AsyncEngine."
        raise InvalidInputError(msg)
    try:
        yield from _rows(engine, _table_reading(table))
    finally:
        engine.dispose()


def _rows(engine: Any, reading: _Reading) -> Iterator[SourceMessage]:
    from sqlalchemy.orm import Session

    _check_file(engine)
    after: Any = None
    while True:
        with Session(engine) as session:
            page = [reading.message(row) for row in session.execute(reading.statement(after))]
            session.expunge_all()
        yield from page
        if len(page) < PAGE_ROWS:
            return
        after = page[-1].row


async def _arows(engine: Any, reading: _Reading) -> AsyncIterator[SourceMessage]:
    from sqlalchemy.ext.asyncio import AsyncSession

    await finished(in_worker(_check_file, engine))
    after: Any = None
    while True:
        async with AsyncSession(engine) as session:
            page = [reading.message(row) for row in await session.execute(reading.statement(after))]
            session.expunge_all()
        for one in page:
            yield one
        if len(page) < PAGE_ROWS:
            return
        after = page[-1].row


def _time_of(value: Any) -> float | None:
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
