"""A look behind the public methods: the rows that a backend stored, with the same words on each database."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit


class Stored(NamedTuple):
    """Something that a serializer made, as it is stored."""

    key: tuple[Any, ...]
    type: str
    data: bytes


_PLACES = {
    "elements": ("agentmem_elements", ("thread", "reference"), "type", "data"),
    "values": ("agentmem_channel_values", ("thread", "namespace", "channel", "version"), "type", "data"),
    "secrets": ("agentmem_threads", ("id",), "secret_type", "secret"),
}
_SQLITE_PLACES = {
    **_PLACES,
    "writes": (
        "agentmem_writes",
        ("thread", "namespace", "checkpoint_id", "task_id", "write_index"),
        "type",
        "data",
    ),
    "documents": ("agentmem_checkpoints", ("thread", "namespace", "checkpoint_id"), "type", "document"),
}
_POSTGRES_PLACES = {
    **_PLACES,
    "writes": (
        "checkpoint_writes",
        ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
        "type",
        "blob",
    ),
    "documents": (
        "checkpoints",
        ("thread_id", "checkpoint_ns", "checkpoint_id"),
        "checkpoint ->> 'type'",
        "checkpoint",
    ),
}
PLACES = tuple(_SQLITE_PLACES)
"""Where a checkpointer stores what a serializer made."""


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

    def stored(self, place: str) -> list[Stored]:
        """What is stored in a place."""
        table, key, type_, data = (_SQLITE_PLACES if self.is_sqlite else _POSTGRES_PLACES)[place]
        rows = self.execute(f"SELECT {type_}, {data}, {', '.join(key)} FROM {table} WHERE {type_} IS NOT NULL")
        return [Stored(tuple(key), type_, self._bytes(data)) for type_, data, *key in rows]

    def replace(self, place: str, row: Stored) -> None:
        """Store something else in a place."""
        table, key, type_, data = (_SQLITE_PLACES if self.is_sqlite else _POSTGRES_PLACES)[place]
        where = " AND ".join(f"{column} = ?" for column in key)
        if place == "documents" and not self.is_sqlite:
            patch = json.dumps({"type": row.type, "document": base64.b64encode(row.data).decode()})
            self.execute(f"UPDATE {table} SET checkpoint = checkpoint || ?::jsonb WHERE {where}", patch, *row.key)
        else:
            self.execute(f"UPDATE {table} SET {type_} = ?, {data} = ? WHERE {where}", row.type, row.data, *row.key)

    def add_write(self, channel: str, type_: str, data: bytes) -> None:
        """Add a pending write to the latest checkpoint, as somebody would who knows the tables."""
        if self.is_sqlite:
            (place,) = self.execute(
                "SELECT thread, namespace, checkpoint_id FROM agentmem_checkpoints ORDER BY checkpoint_id DESC LIMIT 1"
            )
            statement = "INSERT INTO agentmem_writes VALUES (?, ?, ?, 'forged', 0, '', ?, 'plain', ?, ?)"
            self.execute(statement, *place, channel, type_, data)
        else:
            (place,) = self.execute(
                "SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints ORDER BY checkpoint_id DESC LIMIT 1"
            )
            columns = "thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob"
            statement = f"INSERT INTO checkpoint_writes ({columns}) VALUES (?, ?, ?, 'forged', 0, ?, ?, ?)"
            self.execute(statement, *place, channel, type_, data)

    def everything(self) -> dict[str, bytes]:
        """All that lies in the database, by file or by table."""
        if self.is_sqlite:
            path = Path(self.execute("PRAGMA database_list")[0][2])
            return {file.name: file.read_bytes() for file in path.parent.glob(f"{path.name}*")}
        found = {}
        for table in self.tables():
            columns = [
                name
                for (name,) in self.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ?",
                    self.schema,
                    table,
                )
            ]
            rows = self.execute(f"SELECT {', '.join(columns)} FROM {table}")
            found[table] = b"\n".join(self._bytes(one) for row in rows for one in row)
        return found

    @staticmethod
    def _bytes(value: Any) -> bytes:
        if isinstance(value, dict) and "document" in value:
            return base64.b64decode(value["document"])
        if isinstance(value, (bytes, memoryview)):
            return bytes(value)
        return (json.dumps(value) if isinstance(value, (dict, list)) else str(value)).encode()

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
                lengths = f"pg_column_size({table})"
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
