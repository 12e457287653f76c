"""Reads tables in Postgres through psycopg: a connection or a pool, synchronous or not, or a URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from langchain_agentmem.errors import missing_extra

Row = tuple[Any, ...]


def is_asynchronous(connection: Any) -> bool:
    """Return true for a connection or pool of psycopg that is asynchronous."""
    return any(one.__name__.startswith("Async") for one in type(connection).__mro__)


def opened(url: str) -> AbstractContextManager[Any]:
    """Connect to a database whose URL is given. The connection is closed at the end.

    Raises:
        ConfigurationError: psycopg is not installed.
    """
    try:
        import psycopg
    except ImportError:
        raise missing_extra(what="Postgres", extra="postgres") from None
    return closing(psycopg.connect(url))


def fetched(connection: Any, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """Run a statement that reads, on a synchronous connection or pool, and return its rows.

    A connection on which no transaction was open has none afterwards.
    """
    with _connection(connection) as used:
        from psycopg.pq import TransactionStatus
        from psycopg.rows import tuple_row

        idle = used.info.transaction_status == TransactionStatus.IDLE
        try:
            with used.cursor(row_factory=tuple_row) as cursor:
                return list(cursor.execute(statement, parameters).fetchall())
        finally:
            if idle:
                used.rollback()


async def afetched(connection: Any, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """Same as `fetched`, on an asynchronous connection or pool."""
    if hasattr(connection, "getconn"):  # a pool
        async with connection.connection() as used:
            return await afetched(used, statement, parameters)
    from psycopg.pq import TransactionStatus
    from psycopg.rows import tuple_row

    idle = connection.info.transaction_status == TransactionStatus.IDLE
    try:
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(statement, parameters)
            return list(await cursor.fetchall())
    finally:
        if idle:
            await connection.rollback()


def identifier(name: str) -> str:
    """Return the name of a table, which may have a schema before a dot, as SQL.

    Example:
        >>> from langchain_agentmem.lifecycle.importers.postgres import identifier
        >>> identifier("mine.My_chats")
        '"mine"."My_chats"'
    """
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


@contextmanager
def _connection(given: Any) -> Iterator[Any]:
    if hasattr(given, "getconn"):  # a pool
        with given.connection() as used:
            yield used
    else:
        yield given
