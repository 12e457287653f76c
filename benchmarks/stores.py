"""The store: items alone and in batches of 100, beside LangGraph's stores and the same work by hand.

    python benchmarks/stores.py --backends postgres

All sides have the same items, without vectors, and take turns. `postgres_store.py` compares searches by vector, and
`bursts.py` 20,000 operations of one tick.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psycopg
import redis
from langgraph.store.base import GetOp, PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.sqlite import SqliteStore
from psycopg.rows import dict_row

from langchain_agentmem import AgentMemStore

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.shared import BACKENDS, WORDS, Databases, Figure, database_servers, figures_of, take_turns

BATCH, NAMESPACES = 100, 20


def value(number: int) -> dict[str, Any]:
    """Return the value of an item."""
    return {"text": " ".join(WORDS[(number * 7 + at) % len(WORDS)] for at in range(20)), "kind": f"kind {number % 50}"}


def place(number: int) -> tuple[str, str]:
    """Return the namespace of an item."""
    return ("items", f"n{number % NAMESPACES}")


class Side(Protocol):
    """A store."""

    def put(self, numbers: range) -> None:
        """Store items."""

    def get(self, numbers: range) -> int:
        """Read items; return how many there are."""

    def search(self) -> int:
        """Search a namespace with a filter; return the number of results."""


class Store:
    """A store with LangGraph's interface."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def put(self, numbers: range) -> None:
        if len(numbers) == 1:
            self.store.put(place(numbers[0]), str(numbers[0]), value(numbers[0]), index=False)
        else:
            self.store.batch([PutOp(place(one), str(one), value(one), index=False) for one in numbers])

    def get(self, numbers: range) -> int:
        if len(numbers) == 1:
            return int(self.store.get(place(numbers[0]), str(numbers[0])) is not None)
        return sum(one is not None for one in self.store.batch([GetOp(place(one), str(one)) for one in numbers]))

    def search(self) -> int:
        return len(self.store.search(place(7), filter={"kind": "kind 7"}, limit=10))


class SqliteByHand:
    """A table, with the same settings as this package."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self.connection = stack.enter_context(contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))))
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("CREATE TABLE items (prefix TEXT, key TEXT, value TEXT, PRIMARY KEY (prefix, key))")

    def put(self, numbers: range) -> None:
        rows = [(".".join(place(one)), str(one), json.dumps(value(one))) for one in numbers]
        with self.connection:
            self.connection.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", rows)

    def get(self, numbers: range) -> int:
        query = "SELECT value FROM items WHERE prefix = ? AND key = ?"
        rows = [self.connection.execute(query, (".".join(place(one)), str(one))).fetchone() for one in numbers]
        return len([json.loads(row[0]) for row in rows if row])

    def search(self) -> int:
        query = "SELECT value FROM items WHERE prefix = ? AND value ->> 'kind' = 'kind 7' LIMIT 10"
        return len([json.loads(row[0]) for row in self.connection.execute(query, (".".join(place(7)),)).fetchall()])


class PostgresByHand:
    """A table."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self.connection = stack.enter_context(contextlib.closing(psycopg.connect(url, autocommit=True)))
        self.connection.execute("CREATE TABLE items (prefix text, key text, value jsonb, PRIMARY KEY (prefix, key))")

    def put(self, numbers: range) -> None:
        columns = list(zip(*[(".".join(place(one)), str(one), json.dumps(value(one))) for one in numbers], strict=True))
        self.connection.execute(
            "INSERT INTO items SELECT * FROM unnest(%s::text[], %s::text[], %s::jsonb[]) "
            "ON CONFLICT (prefix, key) DO UPDATE SET value = excluded.value",
            [list(column) for column in columns],
        )

    def get(self, numbers: range) -> int:
        query = (
            "SELECT value FROM items JOIN unnest(%s::text[], %s::text[]) AS wanted (prefix, key) USING (prefix, key)"
        )
        parameters = ([".".join(place(one)) for one in numbers], [str(one) for one in numbers])
        return len(self.connection.execute(query, parameters).fetchall())

    def search(self) -> int:
        query = "SELECT value FROM items WHERE prefix = %s AND value ->> 'kind' = 'kind 7' LIMIT 10"
        return len(self.connection.execute(query, (".".join(place(7)),)).fetchall())


class RedisByHand:
    """A string for each item, and a set of the keys of each namespace."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self.client = stack.enter_context(redis.Redis.from_url(url))

    def put(self, numbers: range) -> None:
        pipeline = self.client.pipeline()
        for one in numbers:
            pipeline.set(f"{'.'.join(place(one))}:{one}", json.dumps(value(one)))
            pipeline.sadd(".".join(place(one)), one)
        pipeline.execute()

    def get(self, numbers: range) -> int:
        found = self.client.mget([f"{'.'.join(place(one))}:{one}" for one in numbers])
        return len([json.loads(one) for one in found if one])

    def search(self) -> int:
        prefix = ".".join(place(7))
        keys = [f"{prefix}:{one.decode()}" for one in self.client.smembers(prefix)]
        found = [json.loads(one) for one in self.client.mget(keys) if one]
        return len([one for one in found if one["kind"] == "kind 7"][:10])


BY_HAND: dict[str, Callable[[str, contextlib.ExitStack], Side]] = {
    "sqlite": SqliteByHand,
    "postgres": PostgresByHand,
    "redis": RedisByHand,
}


def peers(backend: str, databases: Databases, stack: contextlib.ExitStack) -> dict[str, Side]:
    """Return LangGraph's stores."""
    found: dict[str, Side] = {}
    if backend == "sqlite":
        path = databases.new(backend).url.removeprefix("sqlite:///")
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        theirs: Any = SqliteStore(stack.enter_context(contextlib.closing(connection)))
        theirs.setup()
        found = {"SqliteStore": Store(theirs), "InMemoryStore": Store(InMemoryStore())}
    elif backend == "postgres":
        options: Any = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        theirs = PostgresStore(stack.enter_context(psycopg.connect(databases.new(backend).url, **options)))
        theirs.setup()
        found = {"PostgresStore": Store(theirs)}
    return found


def figures(backend: str, databases: Databases, items: int, rounds: int) -> list[Figure]:
    """Compare the stores with a number of items.

    Args:
        backend: The backend.
        databases: Makes the databases.
        items: The number of items.
        rounds: The number of rounds.
    """
    with contextlib.ExitStack() as stack:
        ours = AgentMemStore.from_url(databases.new(backend).url)
        stack.callback(ours.close)
        sides: dict[str, Side] = {
            "AgentMemStore": Store(ours),
            "by hand": BY_HAND[backend](databases.new(backend).url, stack),
            **peers(backend, databases, stack),
        }
        for start in range(0, items, BATCH):
            for side in sides.values():
                side.put(range(start, start + BATCH))
        numbers = {name: itertools.count() for name in sides}

        def some(name: str, count: int) -> range:
            start = next(numbers[name]) * 131 % (items - count + 1)
            return range(start, start + count)

        works: dict[str, tuple[int, Callable[[str], Any]]] = {
            "put 100 items": (3, lambda name: sides[name].put(some(name, BATCH))),
            "get 100 items": (3, lambda name: sides[name].get(some(name, BATCH))),
            "put an item": (10, lambda name: sides[name].put(some(name, 1))),
            "get an item": (20, lambda name: sides[name].get(some(name, 1))),
            "search a namespace with a filter": (5, lambda name: sides[name].search()),
        }
        found: list[Figure] = []
        for what, (calls, work) in works.items():
            actions = {name: lambda name=name, work=work: work(name) for name in sides}
            take_turns(actions, 1)
            found += figures_of(f"{what}, {items:,} stored", backend, take_turns(actions, rounds, calls))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--items", type=int, default=10_000, help="items in each store (default 10000)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds (default 10)")
    args = parser.parse_args()
    with database_servers() as databases:
        for backend in args.backends.split(","):
            for one in figures(backend, databases, args.items, args.rounds):
                print(
                    f"{one.backend:<10}{one.what:<52}{one.peer:<16}{one.ours:8.2f} / {one.theirs:8.2f} ms, {one.ratio:.2f}"
                )


if __name__ == "__main__":
    main()
