"""Creates and migrates the tables, and finds data of other packages."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.existing import (
    Existing,
    imported_from,
    refuse_without_memory,
    warn_of_existing,
)
from langchain_agentmem.backends.sqlite.conditions import field_expression
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.text.words import ENGLISH, pack_words, words_of

SCHEMA_VERSION = 4
_FORMER_WORDS = "agentmem_item_texts"
"""The full-text index of former versions."""
_SCHEMA = load_statements("langchain_agentmem.backends.sqlite", "schema.sql")
_MIGRATIONS = load_statements("langchain_agentmem.backends.sqlite", "migrations.sql")

_HISTORY = "langchain-community's SQLChatMessageHistory"

_OTHERS = (
    ("langgraph-checkpoint-sqlite's SqliteSaver", "checkpoints", {"thread_id", "checkpoint_ns", "checkpoint_id"}),
    ("langgraph-checkpoint-sqlite's SqliteStore", "store", {"prefix", "key", "value"}),
    (_HISTORY, "message_store", {"session_id", "message"}),
)
"""Other packages: name, table, and columns that distinguish it from a table of the application."""

_FIND_HISTORIES = """
SELECT tables.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns
WHERE tables.type = 'table' AND tables.name <> 'message_store' GROUP BY tables.name
HAVING count(*) = 3 AND sum(columns.name IN ('id', 'session_id', 'message')) = 3 ORDER BY tables.name
"""
# Applications choose the names of these tables, so their columns identify them.


def make_tables(cursor: Any, path: str, language: str) -> None:
    """Create the tables, or migrate them to `SCHEMA_VERSION`.

    Args:
        cursor: A cursor on a connection without a transaction.
        path: The name of the database in errors.
        language: The language whose words are stemmed.

    Raises:
        ConfigurationError: The tables have a newer version or another language.
    """
    others: list[Existing] = []
    if (schema_version(cursor) or 0) < SCHEMA_VERSION:
        with _transaction(cursor):
            found = schema_version(cursor)
            if found is None:
                others = _others(cursor, path)
                for statement in _SCHEMA.values():
                    cursor.execute(statement)
                cursor.execute("INSERT INTO agentmem_schema VALUES (?, ?)", (SCHEMA_VERSION, language))
            elif found < SCHEMA_VERSION:
                for name, statement in _MIGRATIONS.items():
                    if int(name.removeprefix("v").partition("_")[0]) > found:
                        cursor.execute(statement)
                _analyze_words(cursor)
                cursor.execute("UPDATE agentmem_schema SET version = ?", (SCHEMA_VERSION,))
    _check_types(cursor)
    version = schema_version(cursor)
    if version != SCHEMA_VERSION:
        msg = (
            f"The tables in {path} have version {version}, but this package supports version {SCHEMA_VERSION}. "
            f"Upgrade langchain-agentmem to the release that wrote them."
        )
        raise ConfigurationError(msg)
    ((found_language,),) = cursor.execute("SELECT language FROM agentmem_schema").fetchall()
    if found_language != language:
        msg = (
            f"The texts in {path} are indexed in {shown(found_language)}, not {shown(language)}. "
            f"Use ?language={found_language} in the URL."
        )
        raise ConfigurationError(msg)
    warn_of_existing(path, others)


def index_fields(cursor: Any, fields: Iterable[str]) -> None:
    """Create the indexes of fields of items that do not exist yet.

    Args:
        cursor: A cursor on a connection without a transaction.
        fields: The fields, which `is_simple_field` accepts.
    """
    # Names of indexes are not case-sensitive, but names of fields are.
    names = {f"agentmem_items_by_field_{field}_{zlib.crc32(field.encode()):08x}": field for field in fields}
    existing = {name for (name,) in cursor.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()}
    for name in names.keys() - existing:
        cursor.execute(
            f'CREATE INDEX IF NOT EXISTS "{name}" ON agentmem_items (tenant, {field_expression(names[name])}, namespace)'
        )


def require_tables(cursor: Any, path: str) -> None:
    """Refuse a database without our tables. Nothing is written.

    Args:
        cursor: A cursor on a connection without a transaction.
        path: The name of the database in errors.

    Raises:
        NoMemoryError: The tables do not exist.
    """
    if schema_version(cursor) is None:
        refuse_without_memory(path, _others(cursor, path))


def schema_version(cursor: Any) -> int | None:
    """Return the version of the tables; None if they do not exist."""
    if not _has_table(cursor, "agentmem_schema"):
        return None
    # An expression has no declared type, so no converter of the application changes it.
    rows = cursor.execute("SELECT version + 0 FROM agentmem_schema").fetchall()
    return int(rows[0][0]) if rows else None


def _analyze_words(cursor: Any) -> None:
    """Replace the full-text index of a former version by the words of the texts in it.

    In English, it holds whole texts, because FTS5 stemmed them itself. In other languages, it holds stems.
    """
    if not _has_table(cursor, _FORMER_WORDS):
        return
    ((language,),) = cursor.execute("SELECT language FROM agentmem_schema").fetchall()
    last = -1
    while page := cursor.execute(
        f"SELECT id, c0 FROM {_FORMER_WORDS}_content WHERE id > ? ORDER BY id LIMIT 1000", (last,)
    ).fetchall():
        words = [
            (item, pack_words(words_of(text, characters=True) if language == ENGLISH else text.split()))
            for item, text in page
        ]
        cursor.executemany("INSERT INTO agentmem_item_words (item, words) VALUES (?, ?)", words)
        last = page[-1][0]
    # SQLite refuses to drop an index that a newer version changed.
    cursor.execute(f"UPDATE {_FORMER_WORDS}_config SET v = 4 WHERE k = 'version'")
    cursor.execute(f"DROP TABLE {_FORMER_WORDS}")


@contextmanager
def _transaction(cursor: Any) -> Iterator[None]:
    cursor.execute("BEGIN IMMEDIATE")
    try:
        yield
        cursor.execute("COMMIT")
    finally:
        if cursor.connection.in_transaction:
            cursor.execute("ROLLBACK")


def _check_types(cursor: Any) -> None:
    """Raise an error if the converters of the application's connection change the types of our columns."""
    probe = (1, "a", 1.5, b"\x00")
    statement = (
        "SELECT session, role, created_at, body FROM agentmem_messages WHERE false UNION ALL SELECT 1, 'a', 1.5, x'00'"
    )
    try:
        (row,) = cursor.execute(statement).fetchall()
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # raised by the converter
        row = error
    if repr(row) != repr(probe):  # 1 == 1.0, so compare representations
        msg = (
            f"This connection converts columns of the type INTEGER, TEXT, REAL or BLOB "
            f"(sqlite3.register_converter): {probe} became {shown(row, 200)}. Open the connection without detect_types."
        )
        raise ConfigurationError(msg)


def _others(cursor: Any, path: str) -> list[Existing]:
    url = f"sqlite:///{path}"
    found = []
    for name, table, columns in _OTHERS:
        if _has_table(cursor, table):
            there = {
                column for (column,) in cursor.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
            }
            if columns <= there and cursor.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall():
                format_ = {"checkpoints": "saver", "store": "store"}.get(table, "sql-history")
                found.append(Existing(f"{name} (table {table})", imported_from(url, format_)))
    for (table,) in cursor.execute(_FIND_HISTORIES).fetchall():
        quoted = '"' + table.replace('"', '""') + '"'
        if cursor.execute(f"SELECT 1 FROM {quoted} LIMIT 1").fetchall():
            found.append(Existing(f"{_HISTORY} (table {table})", imported_from(url, "sql-history", table=table)))
    return found


def _has_table(cursor: Any, name: str) -> bool:
    statement = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return bool(cursor.execute(statement, (name,)).fetchall())
