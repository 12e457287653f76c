"""The rows of checkpoints and items as somebody with write access to the database sees them, who has no key."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import redis

from langchain_agentmem.backends.redis.checkpoint_rows import pack, row_header, row_parts, unpack
from langchain_agentmem.encoding.references import Typed

Row = dict[str, Any]


class RawDatabase:
    """The rows of a database on SQLite or Postgres, or the keys of a Redis.

    Args:
        url: The URL of the database.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_redis = url.startswith("redis")
        self.is_postgres = url.startswith("postgres")

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection that commits at the end. Statements have question marks."""
        if self.is_redis:
            with closing(redis.Redis.from_url(self.url)) as client:
                yield client
        elif self.is_postgres:
            schema = parse_qs(urlsplit(self.url).query)["schema"][0]
            with psycopg.connect(self.url.partition("?")[0], autocommit=True) as connection:
                connection.execute(f'SET search_path = "{schema}"')
                yield _QuestionMarks(connection)
        else:
            path = self.url.removeprefix("sqlite:///").partition("?")[0]
            with closing(sqlite3.connect(path)) as connection, connection:
                yield connection


class _QuestionMarks:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Any = ()) -> Any:
        return self._connection.execute(statement.replace("?", "%s"), parameters)


class RawCheckpoints(RawDatabase):
    """The checkpoints of the threads of a database, in the order in which the threads were created."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._hashes: list[bytes] = []

    def note_thread(self) -> None:
        """Call this after each thread was created, so that its rows are found in Redis."""
        if self.is_redis:
            with self.connection() as client:
                found = sorted(client.keys("agentmem:*:checkpoints"))
                self._hashes += [one for one in found if one not in self._hashes]

    def rows(self, thread: int = 0) -> list[Row]:
        """The checkpoints of a thread, oldest first."""
        with self.connection() as connection:
            if self.is_redis:
                found = []
                for field, row in sorted(connection.hgetall(self._hashes[thread]).items()):
                    (parent, values, run, created), document = row_parts(row)
                    type_, data = unpack(document)
                    id_ = field.decode().split("\0")[1]
                    found.append(_row(id_, parent or None, run or None, created, type_, data, values=values))
                return found
            if self.is_postgres:
                columns = "checkpoint_id, parent_checkpoint_id, checkpoint, metadata"
                rows = connection.execute(
                    f"SELECT {columns} FROM checkpoints WHERE thread_id = ? ORDER BY 1", (self._thread(thread),)
                )
                return [
                    _row(id_, parent, metadata.get("run_id"), stored["at"], stored["type"],
                         base64.b64decode(stored["document"]), values=stored["values"], metadata=metadata)
                    for id_, parent, stored, metadata in rows.fetchall()
                ]  # fmt: skip
            columns = "checkpoint_id, parent_id, run_id, created_at, type, document"
            rows = connection.execute(
                f"SELECT {columns} FROM agentmem_checkpoints WHERE thread = ? ORDER BY 1", (self._thread(thread),)
            )
            return [_row(*row) for row in rows.fetchall()]

    def write(self, row: Row, thread: int = 0) -> None:
        """Add or replace a checkpoint."""
        self.delete(row["id"], thread)
        with self.connection() as connection:
            if self.is_redis:
                header = [row["parent"] or False, row["values"], row["run"] or False, row["created"]]
                field = f"\0{row['id']}"
                packed = row_header(header) + pack(Typed(row["type"], row["data"]))
                connection.hset(self._hashes[thread], field, packed)
                connection.zadd(self._hashes[thread].removesuffix(b"checkpoints") + b"order", {field: 0})
            elif self.is_postgres:
                document = base64.b64encode(row["data"]).decode()
                stored = {"v": "agentmem", "at": row["created"], "type": row["type"], "document": document}
                metadata = {**row["metadata"], **({"run_id": row["run"]} if row["run"] else {})}
                connection.execute(
                    "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, "
                    "metadata) VALUES (?, '', ?, ?, 'agentmem', ?::jsonb, ?::jsonb)",
                    (self._thread(thread), row["id"], row["parent"], json.dumps({**stored, "values": row["values"]}),
                     json.dumps(metadata)),
                )  # fmt: skip
            else:
                connection.execute(
                    "INSERT INTO agentmem_checkpoints VALUES (?, '', ?, ?, ?, ?, ?, ?)",
                    (self._thread(thread), *(row[one] for one in ("id", "parent", "run", "created", "type", "data"))),
                )

    def delete(self, id_: str, thread: int = 0) -> None:
        """Delete a checkpoint."""
        with self.connection() as connection:
            if self.is_redis:
                connection.hdel(self._hashes[thread], f"\0{id_}")
                connection.zrem(self._hashes[thread].removesuffix(b"checkpoints") + b"order", f"\0{id_}")
            else:
                table, column = ("checkpoints", "thread_id") if self.is_postgres else ("agentmem_checkpoints", "thread")
                connection.execute(
                    f"DELETE FROM {table} WHERE {column} = ? AND checkpoint_id = ?", (self._thread(thread), id_)
                )

    def _thread(self, thread: int) -> Any:
        column = "name" if self.is_postgres else "id"
        with self.connection() as connection:
            return connection.execute(f"SELECT {column} FROM agentmem_threads ORDER BY id").fetchall()[thread][0]


class RawItems(RawDatabase):
    """The items of a database with one tenant, in the order of their keys."""

    def rows(self) -> list[Row]:
        """All items: key (that of the database), namespace, value and time of the last update."""
        with self.connection() as connection:
            if self.is_redis:
                found = []
                for key in sorted(connection.keys("agentmem:*:item:*")):
                    item = connection.get(key)
                    found.append({"id": key, "owner": key.rpartition(b"\0")[0], "head": item[:48], "value": item[48:]})
                return found
            if self.is_postgres:
                rows = connection.execute(
                    'SELECT key, prefix, updated_at, value::text FROM store WHERE prefix < chr(1114110) COLLATE "C" '
                    'ORDER BY prefix COLLATE "C", key COLLATE "C"'
                )
            else:
                rows = connection.execute(
                    "SELECT key, namespace, updated_at, value FROM agentmem_items WHERE tenant = 'default' "
                    "ORDER BY namespace, key"
                )
            return [dict(zip(("id", "owner", "head", "value"), row, strict=True)) for row in rows.fetchall()]

    def write(self, row: Row) -> None:
        """Replace an item, or add one."""
        with self.connection() as connection:
            if self.is_redis:
                if not connection.exists(row["id"]):  # a new item is found through the index of its namespace
                    index = row["owner"].replace(b":item:", b":items:", 1) + b"\0"
                    connection.zadd(index, {row["id"].rpartition(b"\0")[2]: 2**52})
                connection.set(row["id"], row["head"] + row["value"])
                return
            place = (row["id"], row["owner"])
            if self.is_postgres:
                connection.execute("SET agentmem.writing = 'on'")  # the item stays among those that searches find
                set_, at = "UPDATE store SET value = ?::jsonb, updated_at = ?", "key = ? AND prefix = ?"
                add = "INSERT INTO store (value, updated_at, key, prefix, created_at) VALUES (?::jsonb, ?, ?, ?, now())"
            else:
                set_, at = "UPDATE agentmem_items SET value = ?, updated_at = ?", "key = ? AND namespace = ?"
                add = (
                    "INSERT INTO agentmem_items (value, updated_at, key, namespace, tenant, created_at, revision) "
                    "VALUES (?, ?, ?, ?, 'default', 1, 2)"
                )
            parameters = (row["value"], row["head"], *place)
            if not connection.execute(f"{set_} WHERE {at}", parameters).rowcount:
                connection.execute(add, parameters)

    def delete(self, row: Row) -> None:
        """Delete an item."""
        with self.connection() as connection:
            if self.is_redis:
                connection.delete(row["id"])
            elif self.is_postgres:
                connection.execute("DELETE FROM store WHERE key = ? AND prefix = ?", (row["id"], row["owner"]))
            else:
                connection.execute(
                    "DELETE FROM agentmem_items WHERE key = ? AND namespace = ?", (row["id"], row["owner"])
                )


def _row(id_: str, parent: str | None, run: str | None, created: float, type_: str, data: bytes, **more: Any) -> Row:
    return {"id": id_, "parent": parent, "run": run, "created": created, "type": type_, "data": bytes(data), **more}
