"""All rows of a database as somebody with write access sees them, who has no key: rows are deleted, copied, swapped, brought back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.types.json import Json
from raw_checkpoints import RawDatabase


class Address(NamedTuple):
    """The place of a row: the table and the primary key, or the key of Redis and the field, the member or the ID of an entry."""

    table: str
    key: Any


Row = dict[str, Any]
Rows = dict[Address, Row]

_NO_DATA = ("schema", "migrations", "tokens", "sqlite_", "changes", "words")
"""Parts of the names of tables without values: versions, idempotency tokens, and what a search compares."""


class RawCells(RawDatabase):
    """The rows of a database. `undone` restores all of them."""

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Restore the whole database at the end."""
        with self.connection() as connection:
            if self.is_redis:
                dumps = {key: connection.dump(key) for key in list(connection.scan_iter())}
                try:
                    yield
                finally:
                    for key in list(connection.scan_iter()):
                        connection.delete(key)
                    for key, dump in dumps.items():
                        connection.restore(key, 0, dump)
            elif self.is_postgres:
                before = self.rows()
                try:
                    yield
                finally:
                    after = self.rows()
                    for address in {*before, *after}:
                        if before.get(address) != after.get(address):
                            self.write(address, before.get(address))
            else:
                with closing(sqlite3.connect(":memory:")) as copy:
                    connection.backup(copy)
                    try:
                        yield
                    finally:
                        copy.backup(connection)

    def rows(self) -> Rows:
        """All rows with values."""
        with self.connection() as connection:
            if self.is_redis:
                return {
                    Address(key.decode("latin-1"), name): {"value": value}
                    for key in sorted(connection.scan_iter())
                    for name, value in _members(connection, key)
                }
            found: Rows = {}
            for table, (key, columns) in self._tables(connection).items():
                for row in connection.execute(f'SELECT {", ".join(map(_quoted, columns))} FROM "{table}"').fetchall():
                    values = dict(zip(columns, map(_plain, row), strict=True))
                    found[Address(table, tuple(values[name] for name in key))] = values
            return found

    def write(self, address: Address, row: Row | None) -> None:
        """Replace or add a row; None deletes it. Constraints and triggers of Postgres do not apply."""
        with self.connection() as connection:
            if self.is_redis:
                _write_member(connection, address.table.encode("latin-1"), address.key, row)
                return
            if self.is_postgres:
                connection.execute("SET session_replication_role = replica")
            key, columns = self._tables(connection)[address.table]
            where = " AND ".join(f"{_quoted(name)} = ?" for name in key)
            if row is None:
                connection.execute(f'DELETE FROM "{address.table}" WHERE {where}', address.key)
                return
            values = [_adapted(row[name]) if self.is_postgres else row[name] for name in columns]
            if connection.execute(f'SELECT 1 FROM "{address.table}" WHERE {where}', address.key).fetchall():
                changes = ", ".join(f"{_quoted(name)} = ?" for name in columns)
                connection.execute(f'UPDATE "{address.table}" SET {changes} WHERE {where}', [*values, *address.key])
            else:
                names, marks = ", ".join(map(_quoted, columns)), ", ".join("?" * len(columns))
                override = "OVERRIDING SYSTEM VALUE " if self.is_postgres else ""
                connection.execute(f'INSERT INTO "{address.table}" ({names}) {override}VALUES ({marks})', values)

    def _tables(self, connection: Any) -> dict[str, tuple[list[str], list[str]]]:
        """The primary key and the columns of each table."""
        if self.is_postgres:
            listed = connection.execute(
                "SELECT c.relname, array(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 "
                "AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum), array(SELECT a.attname::text FROM pg_index i "
                "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = c.oid "
                "AND i.indisprimary) FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace"
            ).fetchall()
            tables = {name: (key, columns) for name, columns, key in listed if key}
        else:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            tables = {}
            for (name,) in names:
                info = connection.execute(f'PRAGMA table_info("{name}")').fetchall()
                key = [one[1] for one in info if one[5]] or ["rowid"]
                tables[name] = (key, list(dict.fromkeys([*key, *(one[1] for one in info)])))
        return {name: found for name, found in tables.items() if not any(one in name for one in _NO_DATA)}


def _quoted(name: str) -> str:
    return str(sql.Identifier(name).as_string(None)) if name != "rowid" else name


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def _adapted(value: Any) -> Any:
    return Json(value) if isinstance(value, dict) else value


def _members(client: Any, key: bytes) -> list[tuple[Any, Any]]:
    kind = client.type(key)
    if kind == b"hash":
        return sorted(client.hgetall(key).items())
    if kind == b"string":
        return [(None, client.get(key))]
    if kind == b"stream":
        return [(id_, tuple(sorted(fields.items()))) for id_, fields in client.xrange(key)]
    if kind == b"zset":
        return sorted(client.zrange(key, 0, -1, withscores=True))
    return [(member, None) for member in sorted(client.smembers(key))] if kind == b"set" else []


def _write_member(client: Any, key: bytes, name: Any, row: Row | None) -> None:
    kind = client.type(key)
    if kind == b"stream":  # a stream only grows at its end, so it is written again
        entries = {id_: dict(fields) for id_, fields in _members(client, key)}
        entries.pop(name, None)
        if row is not None:
            entries[name] = dict(row["value"])
        client.delete(key)
        for id_, fields in sorted(entries.items(), key=lambda one: tuple(map(int, one[0].split(b"-")))):
            client.xadd(key, fields, id_)
    elif name is None:
        client.delete(key) if row is None else client.set(key, row["value"])
    elif kind == b"zset":
        client.zrem(key, name) if row is None else client.zadd(key, {name: row["value"]})
    elif kind == b"set":
        client.srem(key, name) if row is None else client.sadd(key, name)
    elif kind in (b"hash", b"none") and not isinstance((row or {}).get("value"), (float, tuple, type(None))):
        client.hset(key, name, row["value"])
    elif kind == b"hash":
        client.hdel(key, name)
