"""The rows of messages as somebody with write access to the database sees them, who has no key."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ormsgpack
import psycopg
import redis

COLUMNS = ("role", "agent", "ends_with_session", "created_at", "metadata", "type", "body")
Rows = dict[int, dict[str, Any]]
"""The columns of messages, by position."""


class RawMessages:
    """The messages of the sessions of a database, in the order in which the sessions were created.

    Args:
        url: The URL of the database.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._streams: list[bytes] = []

    def note_session(self) -> None:
        """Call this after each session was created, so that its rows are found in Redis."""
        if self._url.startswith("redis"):
            with closing(redis.Redis.from_url(self._url)) as client:
                found = sorted(client.keys("agentmem:*:messages"))
                self._streams += [one for one in found if one not in self._streams]

    def rows(self, session: int = 0) -> Rows:
        """The rows of a session."""
        if self._url.startswith("redis"):
            with closing(redis.Redis.from_url(self._url)) as client:
                entries = client.xrange(self._streams[session])
                return {
                    int(id_.split(b"-")[0]) - 1: dict(zip(COLUMNS, ormsgpack.unpackb(fields[b"m"]), strict=True))
                    for id_, fields in entries
                }
        with self._connection() as connection:
            id_ = self._sessions(connection)[session]
            mark = self._mark
            statement = f"SELECT position, {', '.join(COLUMNS)} FROM agentmem_messages WHERE session = {mark}"
            found = connection.execute(statement, (id_,)).fetchall()
            return {position: dict(zip(COLUMNS, row, strict=True)) for position, *row in found}

    def write(self, rows: Rows, session: int = 0, *, counted: bool = False) -> None:
        """Replace all rows of a session; with `counted`, make the numbers of the session fit."""
        following = max(rows, default=-1) + 1
        if self._url.startswith("redis"):
            with closing(redis.Redis.from_url(self._url)) as client:
                stream = self._streams[session]
                client.delete(stream)
                for position in sorted(rows):
                    row = rows[position]
                    fields = {"m": ormsgpack.packb([row[name] for name in COLUMNS])}
                    if row["agent"] is not None:
                        fields["a"] = row["agent"]
                    client.xadd(stream, fields, id=f"{position + 1}-0")
                if counted:
                    head = stream.removesuffix(b"messages") + b"session"
                    client.hset(head, mapping={"next": following, "count": len(rows)})
            return
        with self._connection() as connection:
            id_, mark = self._sessions(connection)[session], self._mark
            connection.execute(f"DELETE FROM agentmem_messages WHERE session = {mark}", (id_,))
            names = ("session", "position", *COLUMNS, *(() if mark == "?" else ("token",)))
            statement = f"INSERT INTO agentmem_messages ({', '.join(names)}) VALUES ({', '.join([mark] * len(names))})"
            for position, row in rows.items():
                connection.execute(statement, (id_, position, *(row[one] for one in COLUMNS), 1)[: len(names)])
            if counted:
                connection.execute(
                    f"UPDATE agentmem_sessions SET next_position = {mark}, message_count = {mark} WHERE id = {mark}",
                    (following, len(rows), id_),
                )
            connection.commit()

    @property
    def _mark(self) -> str:
        return "?" if self._url.startswith("sqlite") else "%s"

    def _connection(self) -> Any:
        if self._url.startswith("sqlite"):
            return closing(sqlite3.connect(Path(self._url.removeprefix("sqlite:///"))))
        parts = urlsplit(self._url)
        (schema,) = parse_qs(parts.query)["schema"]
        return psycopg.connect(parts._replace(query="").geturl(), options=f"-c search_path={schema}")

    @staticmethod
    def _sessions(connection: Any) -> list[int]:
        return [id_ for (id_,) in connection.execute("SELECT id FROM agentmem_sessions ORDER BY id").fetchall()]
