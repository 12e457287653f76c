"""A look behind the public methods: the rows that a backend stored, with the same words on each database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Database:
    """The database of a URL. Statements are written with `?` for parameters and fit both SQLite and Postgres."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            path = url.removeprefix("sqlite:///").partition("?")[0]
            self._connection: Any = sqlite3.connect(path, isolation_level=None)
        else:
            import psycopg

            self.schema = parse_qs(urlsplit(url).query)["schema"][0]
            self._connection = psycopg.connect(url.partition("?")[0], autocommit=True)
            self._connection.execute(f'SET search_path = "{self.schema}", public')

    def execute(self, statement: str, *parameters: Any) -> list[Any]:
        """Run a statement; the rows that it gives."""
        if not self.is_sqlite:
            statement = statement.replace("%", "%%").replace("?", "%s")
        done = self._connection.execute(statement, parameters)
        return list(done.fetchall()) if done.description else []

    def tables(self) -> list[str]:
        """The tables that hold what users and graphs stored."""
        if self.is_sqlite:
            found = self.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'agentmem_%' AND sql NOT LIKE '%VIRTUAL%'"
            )
        else:
            found = self.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = ? AND tablename NOT LIKE '%migrations'", self.schema
            )
        return sorted(name for (name,) in found)

    def payload(self) -> int:
        """The bytes of all columns of all tables."""
        total = 0
        for table in self.tables():
            if self.is_sqlite:
                columns = [row[1] for row in self.execute(f"PRAGMA table_info({table})")]
                lengths = " + ".join(f"coalesce(length(CAST({column} AS BLOB)), 0)" for column in columns)
            else:
                lengths = f"octet_length({table}::text)"
            total += self.execute(f"SELECT coalesce(sum({lengths}), 0) FROM {table}")[0][0]
        return int(total)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def database(url: str) -> Iterator[Database]:
    """The database of a URL for as long as the block runs."""
    opened = Database(url)
    try:
        yield opened
    finally:
        opened.close()
