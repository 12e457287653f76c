"""Items of LangGraph's stores: `PostgresStore`, `SqliteStore`, `InMemoryStore`, and any other `BaseStore`.

The tables of `PostgresStore` and `SqliteStore` are read directly, in the order of their primary keys: their `search` does not
return TTLs, and its order of items of one moment may differ between two pages.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from langchain_agentmem.arguments.urls import shown_location
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.lifecycle.importers.arguments import Options
from langchain_agentmem.lifecycle.importers.postgres import afetched, fetched, opened
from langchain_agentmem.lifecycle.importers.rows import PAGE_ROWS, Source, SourceItem, document_of, importing

FORMAT = "store"

Prefix = tuple[str, ...]


def source_of(given: Any, options: Options) -> Source:
    """Return the source of all items of a store, or of those below a namespace.

    Args:
        given: A store; or the URL or the path of the database of a `PostgresStore` or `SqliteStore`.
        options: With `namespace`, to import only the items at or below it.
    """
    prefix = options.namespace or ()
    if isinstance(given, (str, Path)):
        return Source(f"the store at {shown_location(str(given))}", FORMAT, rows_of(given, prefix))
    return Source(f"the {type(given).__name__}", FORMAT, rows_of(given, prefix))


def rows_of(given: Any, prefix: Prefix) -> Callable[[], Any]:
    """Return the function that reads the items of a store at or below a namespace."""
    if isinstance(given, (str, Path)):
        if str(given).startswith(("postgresql://", "postgres://")):
            return partial(_rows_at_url, str(given), prefix)
        return partial(_rows_at_path, sqlite_path(str(given)), prefix)
    readers: dict[str, Callable[[], Any]] = {
        "PostgresStore": lambda: _rows(partial(fetched, given.conn), "%s", prefix),
        "AsyncPostgresStore": lambda: _arows(partial(afetched, given.conn), "%s", prefix),
        "SqliteStore": lambda: _rows(partial(_sqlite_fetched, given.conn, given.lock), "?", prefix),
        "AsyncSqliteStore": lambda: _arows(partial(_asqlite_fetched, given.conn), "?", prefix),
        "AsyncBatchedBaseStore": lambda: _afound(given, prefix),
    }
    classes = [one.__name__ for one in type(given).__mro__]
    return next((readers[name] for name in classes if name in readers), partial(_found, given, prefix))


# Tables


def _statement(mark: str, prefix: Prefix, after: tuple[str, str] | None) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    parameters: list[Any] = []
    if prefix:
        path = ".".join(prefix)
        # No pattern: labels may contain the wildcards of LIKE.
        conditions.append(f"(prefix = {mark} OR substr(prefix, 1, {len(path) + 1}) = {mark})")
        parameters += [path, f"{path}."]
    if after is not None:
        conditions.append(f"(prefix, key) > ({mark}, {mark})")
        parameters += after
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    value = "value" if mark == "?" else "value::text"
    statement = (
        f"SELECT prefix, key, {value}, created_at, updated_at, expires_at, ttl_minutes FROM store {where} "
        f"ORDER BY prefix, key LIMIT {PAGE_ROWS}"
    )
    return statement, parameters


def _rows(fetch: Callable[..., list[Any]], mark: str, prefix: Prefix) -> Iterator[SourceItem]:
    after: tuple[str, str] | None = None
    while page := fetch(*_statement(mark, prefix, after)):
        yield from map(_item, page)
        after = page[-1][:2]


async def _arows(fetch: Callable[..., Any], mark: str, prefix: Prefix) -> AsyncIterator[SourceItem]:
    after: tuple[str, str] | None = None
    while page := await fetch(*_statement(mark, prefix, after)):
        for row in page:
            yield _item(row)
        after = tuple(page[-1][:2])


def _rows_at_url(url: str, prefix: Prefix) -> Iterator[SourceItem]:
    with opened(url) as connection:
        yield from _rows(partial(fetched, connection), "%s", prefix)


def _rows_at_path(path: str, prefix: Prefix) -> Iterator[SourceItem]:
    import sqlite3

    if not Path(path).is_file():
        msg = f"Could not read the store at {shown(path)}: there is no such file. Check the path."
        raise InvalidInputError(msg)
    uri = f"file:{quote(str(Path(path).resolve()))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, check_same_thread=False)) as connection:
        yield from _rows(partial(_sqlite_fetched, connection, nullcontext()), "?", prefix)


def sqlite_path(given: str) -> str:
    """Return the path of a SQLite database whose path or URL is given."""
    return given.removeprefix("sqlite:///").partition("?")[0] if given.startswith("sqlite:///") else given


def _sqlite_fetched(connection: Any, lock: Any, statement: str, parameters: Sequence[Any]) -> list[Any]:
    with lock, closing(connection.cursor()) as cursor:
        cursor.row_factory = None
        return list(cursor.execute(statement, parameters).fetchall())


async def _asqlite_fetched(connection: Any, statement: str, parameters: Sequence[Any]) -> list[Any]:
    async with connection.execute(statement, parameters) as cursor:
        return [tuple(row) for row in await cursor.fetchall()]


def _item(row: Sequence[Any]) -> SourceItem:
    path, key, text, created_at, updated_at, expires_at, minutes = row
    namespace = tuple(path.split("."))
    with importing(f"item {shown(key)} of namespace {namespace}"):
        ttl = None if minutes is None else float(minutes) * 60
        until = None if expires_at is None else _seconds(expires_at)
        return SourceItem(namespace, key, document_of(text), _seconds(created_at), _seconds(updated_at), ttl, until)


def _seconds(value: Any) -> float:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# Any store


def _found(store: Any, prefix: Prefix) -> Iterator[SourceItem]:
    offset = 0
    while namespaces := store.list_namespaces(prefix=prefix or None, limit=PAGE_ROWS, offset=offset):
        for namespace in namespaces:
            collected = Collected(namespace)
            while (question := collected.question) is not None:
                yield from collected.new(store.search(namespace, **question))
        offset += len(namespaces)


async def _afound(store: Any, prefix: Prefix) -> AsyncIterator[SourceItem]:
    offset = 0
    while namespaces := await store.alist_namespaces(prefix=prefix or None, limit=PAGE_ROWS, offset=offset):
        for namespace in namespaces:
            collected = Collected(namespace)
            while (question := collected.question) is not None:
                for item in collected.new(await store.asearch(namespace, **question)):
                    yield item
        offset += len(namespaces)


class Collected:
    """The items of one namespace that a store returned page by page.

    A store may order items of one moment differently in two pages, so that one appears twice and another one never. If an
    item appears twice, all items are requested at once.

    Args:
        namespace: The namespace.
    """

    def __init__(self, namespace: Prefix) -> None:
        self._namespace = tuple(namespace)
        self._keys: set[tuple[Prefix, str]] = set()
        self._read = 0
        self.question: dict[str, Any] | None = {"limit": PAGE_ROWS, "offset": 0, "refresh_ttl": False}
        """The arguments of the next search; None after the last one."""

    def new(self, items: Sequence[Any]) -> list[SourceItem]:
        """Return the items of a page that are in this namespace itself, and were not in another page."""
        found: list[SourceItem] = []
        repeated = False
        for item in items:
            key = (tuple(item.namespace), item.key)
            repeated = repeated or key in self._keys
            if key not in self._keys and key[0] == self._namespace:
                times = item.created_at.timestamp(), item.updated_at.timestamp()
                found.append(SourceItem(*key, item.value, *times))
            self._keys.add(key)
        limit = self.question["limit"] if self.question else 0
        self._read += len(items)
        if len(items) < limit and (limit > PAGE_ROWS or not repeated):
            self.question = None
        elif limit > PAGE_ROWS or repeated:
            self.question = {"limit": 2 * max(limit, self._read), "offset": 0, "refresh_ttl": False}
        else:
            self.question = {"limit": PAGE_ROWS, "offset": self._read, "refresh_ttl": False}
        return found


def has_expired(item: SourceItem) -> bool:
    """Return true if an item has expired."""
    return item.expires_at is not None and item.expires_at <= time.time()
