"""The rows of variables as somebody with write access to the database sees them, who has no key."""

from __future__ import annotations

import struct
from typing import Any

from raw_checkpoints import RawDatabase

_TIMES = struct.Struct(">ddd")
_COLUMNS = "name, value, created_at, updated_at, expires_at"


class RawVariables(RawDatabase):
    """The variables of a database by (scope, name): value, time of the creation, of the last update, of the expiry (0: never).

    The scope and the name are those of the database. Those of heads have the name `~heads`.
    """

    def rows(self) -> dict[tuple[Any, str], tuple[Any, ...]]:
        """All variables."""
        with self.connection() as connection:
            if self.is_redis:
                found = {}
                for key in connection.keys("agentmem:*variables*"):
                    if connection.type(key) != b"hash":
                        continue
                    for field, stored in connection.hgetall(key).items():
                        agent, _, name = field.decode().partition("\0")
                        found[(key, agent), name] = (stored[_TIMES.size :].decode(), *_TIMES.unpack_from(stored))
                return found
            scope = "place" if self.is_postgres else "user_id || '/' || session || '/' || agent"
            rows = connection.execute(f"SELECT {scope}, {_COLUMNS} FROM agentmem_variables").fetchall()
            return {(one, name): (*row, expires or 0.0) for one, name, *row, expires in rows}

    def write(self, scope: Any, name: str, row: tuple[Any, ...] | None) -> None:
        """Replace or add a variable; None deletes it. A scope of SQLite and Postgres has variables already."""
        with self.connection() as connection:
            if self.is_redis:
                key, agent = scope
                connection.hdel(key, f"{agent}\0{name}")
                if row is not None:
                    connection.hset(key, f"{agent}\0{name}", _TIMES.pack(*row[1:]) + row[0].encode())
                return
            is_of = f"{'place' if self.is_postgres else chr(32).join(_SCOPE)} = ?"
            own = ["place", "owner"] if self.is_postgres else []
            columns = ", ".join([*own, "tenant", "user_id", "session", "agent"])
            others = connection.execute(f"SELECT {columns} FROM agentmem_variables WHERE {is_of} LIMIT 1", (scope,))
            known = others.fetchone()
            connection.execute(f"DELETE FROM agentmem_variables WHERE {is_of} AND name = ?", (scope, name))
            if row is not None:
                marks = ", ".join("?" * (len(known) + 5))
                values = (*known, name, *row[:-1], row[-1] or None)
                connection.execute(f"INSERT INTO agentmem_variables ({columns}, {_COLUMNS}) VALUES ({marks})", values)


_SCOPE = ("user_id", "||", "'/'", "||", "session", "||", "'/'", "||", "agent")
