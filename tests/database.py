"""A look behind the public methods: what a backend stored, with the same words on each database."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

import redis

from langchain_agentmem.backends.contract import StoredWrite
from langchain_agentmem.backends.redis import checkpoint_rows as rows
from langchain_agentmem.backends.redis.scripts import slot
from langchain_agentmem.encoding.references import Typed


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


class Database(Protocol):
    """What tests ask of any database. Keys begin with the thread's."""

    def stored(self, place: str) -> list[Stored]:
        """What is stored in a place."""

    def replace(self, place: str, row: Stored) -> None:
        """Store something else in a place."""

    def add_write(self, channel: str, type_: str, data: bytes) -> None:
        """Add a pending write to the latest checkpoint, as somebody would who knows the tables."""

    def digests(self) -> list[tuple[Any, str, str]]:
        """The thread, the channel and the digest of each value that has one."""

    def count(self, what: str) -> int:
        """How many there are of threads, checkpoints, channel_values, elements, writes, messages."""

    def referring(self) -> Iterable[tuple[Any, bytes]]:
        """The threads and references of all values and pending writes."""

    def orphans(self) -> int:
        """How many pending writes have no checkpoint."""

    def version(self) -> int:
        """The version of the layout."""

    def set_version(self, version: int) -> None:
        """Say that the layout is another."""

    def everything(self) -> dict[str, bytes]:
        """All that lies in the database, in parts."""

    def payload(self) -> int:
        """The bytes of all that is stored."""

    def refuse(self) -> None:
        """Make the database refuse to store an item with the key `bad`, or any."""

    def accept(self) -> None:
        """The opposite of `refuse`."""

    def close(self) -> None:
        """Close the connection."""


class SqlDatabase:
    """SQLite and Postgres. Statements are written with `?` for parameters and fit both."""

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
        table, key, type_, data = (_SQLITE_PLACES if self.is_sqlite else _POSTGRES_PLACES)[place]
        rows = self.execute(f"SELECT {type_}, {data}, {', '.join(key)} FROM {table} WHERE {type_} IS NOT NULL")
        return [Stored(tuple(key), type_, self._bytes(data)) for type_, data, *key in rows]

    def replace(self, place: str, row: Stored) -> None:
        table, key, type_, data = (_SQLITE_PLACES if self.is_sqlite else _POSTGRES_PLACES)[place]
        where = " AND ".join(f"{column} = ?" for column in key)
        if place == "documents" and not self.is_sqlite:
            patch = json.dumps({"type": row.type, "document": base64.b64encode(row.data).decode()})
            self.execute(f"UPDATE {table} SET checkpoint = checkpoint || ?::jsonb WHERE {where}", patch, *row.key)
        else:
            self.execute(f"UPDATE {table} SET {type_} = ?, {data} = ? WHERE {where}", row.type, row.data, *row.key)

    def add_write(self, channel: str, type_: str, data: bytes) -> None:
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

    def digests(self) -> list[tuple[Any, str, str]]:
        return self.execute("SELECT thread, channel, digest FROM agentmem_channel_values WHERE digest <> ''")

    def count(self, what: str) -> int:
        table = f"agentmem_{what}"
        if not self.is_sqlite:
            table = {"checkpoints": "checkpoints", "writes": "checkpoint_writes"}.get(what, table)
        return int(self.execute(f"SELECT count(*) FROM {table}")[0][0])

    def referring(self) -> Iterable[tuple[Any, bytes]]:
        yield from self.execute("SELECT thread, data FROM agentmem_channel_values WHERE kind <> 'plain'")
        if self.is_sqlite:
            yield from self.execute("SELECT thread, data FROM agentmem_writes WHERE kind NOT IN ('plain', 'value')")
        else:
            yield from self.execute(
                "SELECT t.id, w.blob FROM checkpoint_writes AS w JOIN agentmem_threads AS t ON t.name = w.thread_id "
                "WHERE w.type LIKE 'agentmem:%' AND w.type NOT LIKE 'agentmem:value:%'"
            )

    def orphans(self) -> int:
        names = ("agentmem_writes", "agentmem_checkpoints", "thread", "namespace")
        if not self.is_sqlite:
            names = ("checkpoint_writes", "checkpoints", "thread_id", "checkpoint_ns")
        writes, checkpoints, thread, namespace = names
        without = self.execute(
            f"SELECT count(*) FROM {writes} AS w WHERE NOT EXISTS (SELECT 1 FROM {checkpoints} AS c WHERE "
            f"c.{thread} = w.{thread} AND c.{namespace} = w.{namespace} AND c.checkpoint_id = w.checkpoint_id)"
        )
        for table in ("channel_values", "elements"):
            without += self.execute(
                f"SELECT count(*) FROM agentmem_{table} WHERE thread NOT IN (SELECT id FROM agentmem_threads)"
            )
        return sum(count for (count,) in without)

    def version(self) -> int:
        return int(self.execute("SELECT version FROM agentmem_schema")[0][0])

    def set_version(self, version: int) -> None:
        self.execute("UPDATE agentmem_schema SET version = ?", version)

    def refuse(self) -> None:
        if self.is_sqlite:
            self.execute(
                "CREATE TRIGGER no BEFORE INSERT ON agentmem_items WHEN new.key = 'bad' BEGIN SELECT raise(ABORT, 'no'); END"
            )
        else:
            self.execute("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
            self.execute(
                "CREATE TRIGGER no BEFORE INSERT ON store FOR EACH ROW WHEN (new.key = 'bad') EXECUTE FUNCTION no()"
            )

    def accept(self) -> None:
        self.execute("DROP TRIGGER no" if self.is_sqlite else "DROP FUNCTION no CASCADE")

    def everything(self) -> dict[str, bytes]:
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


class RedisDatabase:
    """Redis, on one server or on three. Threads are known by what their keys begin with."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self._client: Any = (
            redis.RedisCluster.from_url(f"redis://{rest}") if "cluster" in scheme else redis.Redis.from_url(url)
        )

    def _threads(self) -> list[str]:
        return sorted(key.decode().removesuffix("thread") for key in self._client.scan_iter("agentmem:*:thread"))

    def _rows(self, name: str) -> Iterator[tuple[str, bytes, bytes]]:
        """The rows of a hash of threads."""
        for thread in self._threads():
            for field, row in self._client.hgetall(thread + name).items():
                yield thread, field, row

    def _writes(self) -> Iterator[tuple[str, bytes, list[Any]]]:
        for thread, field, records in self._rows("writes"):
            yield thread, field, list(rows.each_write(records))

    def stored(self, place: str) -> list[Stored]:
        if place == "elements":
            return [Stored((thread, field), *rows.unpack(row)) for thread, field, row in self._rows(place)]
        if place == "secrets":
            found = [(thread, self._client.hget(thread + "thread", "secret")) for thread in self._threads()]
            return [Stored((thread,), *rows.unpack(secret)) for thread, secret in found if secret is not None]
        if place == "values":
            values = [
                (thread, header, data, field.decode().split("\x00"))
                for thread, field, row in self._rows(place)
                for header, data in [rows.row_parts(row)]
            ]
            return [Stored((thread, *key), header[5], data) for thread, header, data, key in values]
        if place == "writes":
            return [
                Stored((thread, field, at), write.type, write.data)
                for thread, field, writes in self._writes()
                for at, write in enumerate(writes)
            ]
        return [
            Stored((thread, field), *rows.unpack(rows.row_parts(row)[1]))
            for thread, field, row in self._rows("checkpoints")
        ]

    def replace(self, place: str, row: Stored) -> None:
        thread, *key = row.key
        packed = rows.pack(Typed(row.type, row.data))
        if place == "secrets":
            self._client.hset(f"{thread}thread", "secret", packed)
        elif place == "elements":
            self._client.hset(f"{thread}elements", key[0], packed)
        elif place == "values":
            field = "\x00".join(key)
            header, _ = rows.row_parts(self._client.hget(f"{thread}values", field))
            header[5] = row.type
            self._client.hset(f"{thread}values", field, rows.row_header(header) + row.data)
        elif place == "writes":
            field, at = key
            writes = list(rows.each_write(self._client.hget(f"{thread}writes", field)))
            writes[at] = writes[at]._replace(type=row.type, data=row.data)
            self._client.hset(f"{thread}writes", field, b"".join(map(rows.pack_write, writes)))
        else:
            header, _ = rows.row_parts(self._client.hget(f"{thread}checkpoints", key[0]))
            self._client.hset(f"{thread}checkpoints", key[0], rows.row_header(header) + packed)

    def add_write(self, channel: str, type_: str, data: bytes) -> None:
        (thread,) = self._threads()
        latest = max(self._client.hkeys(f"{thread}checkpoints"), key=lambda field: field.split(b"\x00")[1])
        known = self._client.hget(f"{thread}writes", latest) or b""
        write = rows.pack_write(StoredWrite("forged", 0, "", channel, "plain", type_, data))
        self._client.hset(f"{thread}writes", latest, known + write)

    def digests(self) -> list[tuple[Any, str, str]]:
        return [
            (thread, field.decode().split("\x00")[1], digest)
            for thread, field, row in self._rows("values")
            if (digest := rows.row_parts(row)[0][1])
        ]

    def count(self, what: str) -> int:
        if what == "threads":
            return len(self._threads())
        if what == "messages":
            return sum(self._client.xlen(key) for key in self._client.scan_iter("agentmem:*:messages"))
        if what == "writes":
            return len(self.stored(what))
        return len(list(self._rows(what.removeprefix("channel_"))))

    def referring(self) -> Iterable[tuple[Any, bytes]]:
        for thread, _, row in self._rows("values"):
            header, data = rows.row_parts(row)
            if header[0] != "plain":
                yield thread, data
        for thread, _, writes in self._writes():
            yield from ((thread, write.data) for write in writes if write.kind not in ("plain", "value"))

    def orphans(self) -> int:
        threads = self._threads()
        named = {
            key.decode().removesuffix(name)
            for name in ("checkpoints", "order", "values", "elements", "writes", "runs")
            for key in self._client.scan_iter(f"agentmem:*:{name}")
        }
        writes = [
            field
            for thread, field, _ in self._rows("writes")
            if not self._client.hexists(f"{thread}checkpoints", field)
        ]
        return len(writes) + len(named - set(threads))

    def version(self) -> int:
        return int(self._client.get(slot("schema") + "schema"))

    def set_version(self, version: int) -> None:
        self._client.set(slot("schema") + "schema", version)

    def refuse(self) -> None:
        self._configure("maxmemory", 1)

    def accept(self) -> None:
        self._configure("maxmemory", 0)

    def _configure(self, name: str, value: Any) -> None:
        if isinstance(self._client, redis.RedisCluster):
            self._client.config_set(name, value, target_nodes=redis.RedisCluster.PRIMARIES)
        else:
            self._client.config_set(name, value)

    def everything(self) -> dict[str, bytes]:
        return {key.decode(): b"\n".join(self._contents(key)) for key in self._client.scan_iter("agentmem:*")}

    def payload(self) -> int:
        return sum(len(key) + sum(map(len, self._contents(key))) for key in self._client.scan_iter("agentmem:*"))

    def _contents(self, key: bytes) -> list[bytes]:
        kind = self._client.type(key)
        if kind == b"hash":
            return [one for pair in self._client.hgetall(key).items() for one in pair]
        if kind == b"zset":
            return [
                one
                for member, score in self._client.zrange(key, 0, -1, withscores=True)
                for one in (member, b"%f" % score)
            ]
        if kind == b"set":
            return list(self._client.smembers(key))
        if kind == b"stream":
            return [one for _, fields in self._client.xrange(key) for pair in fields.items() for one in pair]
        return [self._client.get(key)]

    def close(self) -> None:
        self._client.close()


@contextmanager
def database(url: str) -> Iterator[Any]:
    """The database of a URL for as long as the block runs."""
    opened: Database = RedisDatabase(url) if url.startswith("redis") else SqlDatabase(url)
    try:
        yield opened
    finally:
        opened.close()
