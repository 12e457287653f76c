"""A turn of a chat history: read a window of 40 messages and write two, in a session of 10,000 messages.

    python benchmarks/histories.py --backends redis

Beside it on the same server: the chat history classes that applications wire today, which read the whole session, and the
same work by hand, written for exactly this (one table with an index, or one list). The sides take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sqlite3
import sys
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psycopg
import redis
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, message_to_dict, messages_from_dict

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.shared import BACKENDS, WORDS, Databases, Figure, database_servers, figures_of, take_turns

WINDOW = 40


def turn_messages(source: random.Random) -> list[BaseMessage]:
    """Return a question and an answer of 65 words each."""
    return [kind(" ".join(source.choices(WORDS, k=65))) for kind in (HumanMessage, AIMessage)]


class History(Protocol):
    """One side: a session."""

    def read(self) -> list[BaseMessage]:
        """Return the window, or all messages."""

    def add(self, messages: list[BaseMessage]) -> None:
        """Store messages."""


class Ours:
    """A session of this package."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self.memory = stack.enter_context(AgentMemory.from_url(url, max_messages=WINDOW))

    def read(self) -> list[BaseMessage]:
        return self.memory.get_session_history("session").messages

    def add(self, messages: list[BaseMessage]) -> None:
        self.memory.get_session_history("session").add_messages(messages)


class Theirs:
    """A chat history class of another package, which has no window."""

    def __init__(self, history: Any) -> None:
        self.history = history

    def read(self) -> list[BaseMessage]:
        return list(self.history.messages)

    def add(self, messages: list[BaseMessage]) -> None:
        self.history.add_messages(messages)


class SqliteByHand:
    """SQL for SQLite, with the same settings as this package: a write-ahead log and a full wait for the disk."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self.connection = stack.enter_context(contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))))
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("CREATE TABLE by_hand (id INTEGER PRIMARY KEY, session TEXT, message TEXT)")
        self.connection.execute("CREATE INDEX by_session ON by_hand (session, id)")

    def read(self) -> list[BaseMessage]:
        query = "SELECT message FROM by_hand WHERE session = ? ORDER BY id DESC LIMIT ?"
        rows = self.connection.execute(query, ("session", WINDOW)).fetchall()
        return messages_from_dict([json.loads(row[0]) for row in reversed(rows)])

    def add(self, messages: list[BaseMessage]) -> None:
        rows = [("session", json.dumps(message_to_dict(message))) for message in messages]
        with self.connection:
            self.connection.executemany("INSERT INTO by_hand (session, message) VALUES (?, ?)", rows)


class PostgresByHand:
    """SQL for Postgres."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self.connection = stack.enter_context(
            contextlib.closing(psycopg.connect(url, autocommit=True, prepare_threshold=None))
        )
        self.connection.execute(
            "CREATE TABLE by_hand (id bigint GENERATED ALWAYS AS IDENTITY, session text NOT NULL, message jsonb NOT NULL)"
        )
        self.connection.execute("CREATE INDEX ON by_hand (session, id)")

    def read(self) -> list[BaseMessage]:
        query = "SELECT message FROM by_hand WHERE session = %s ORDER BY id DESC LIMIT %s"
        rows = self.connection.execute(query, ("session", WINDOW)).fetchall()
        return messages_from_dict([row[0] for row in reversed(rows)])

    def add(self, messages: list[BaseMessage]) -> None:
        texts = [json.dumps(message_to_dict(message)) for message in messages]
        insert = "INSERT INTO by_hand (session, message) SELECT %s, unnest(%s::jsonb[])"
        self.connection.execute(insert, ("session", texts))


class RedisByHand:
    """A list, a count, a time and an index of sessions, in one pipeline."""

    def __init__(self, url: str, stack: contextlib.ExitStack) -> None:
        self.client = stack.enter_context(redis.Redis.from_url(url))

    def read(self) -> list[BaseMessage]:
        return messages_from_dict([json.loads(one) for one in self.client.lrange("hand:session", -WINDOW, -1)])

    def add(self, messages: list[BaseMessage]) -> None:
        pipeline = self.client.pipeline()
        pipeline.rpush("hand:session", *(json.dumps(message_to_dict(message)) for message in messages))
        pipeline.hincrby("hand:state", "count", len(messages))
        pipeline.hset("hand:state", "updated", time.time())
        pipeline.zadd("hand:sessions", {"session": time.time()})
        pipeline.execute()


def peer_of(backend: str, url: str, stack: contextlib.ExitStack) -> tuple[str, Theirs]:
    """Return the class that applications wire today, and its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from langchain_community.chat_message_histories import RedisChatMessageHistory, SQLChatMessageHistory
    if backend == "sqlite":
        return "SQLChatMessageHistory", Theirs(SQLChatMessageHistory("session", connection=url))
    if backend == "redis":
        return "RedisChatMessageHistory", Theirs(RedisChatMessageHistory("session", url=url))
    from langchain_postgres import PostgresChatMessageHistory

    connection = stack.enter_context(contextlib.closing(psycopg.connect(url)))
    PostgresChatMessageHistory.create_tables(connection, "their_history")
    history = PostgresChatMessageHistory("their_history", str(uuid.uuid4()), sync_connection=connection)
    return "PostgresChatMessageHistory", Theirs(history)


BY_HAND: dict[str, Callable[[str, contextlib.ExitStack], History]] = {
    "sqlite": SqliteByHand,
    "postgres": PostgresByHand,
    "redis": RedisByHand,
}


def figures(backend: str, databases: Databases, messages: int, rounds: int, calls: int) -> list[Figure]:
    """Compare a turn in a session.

    Args:
        backend: The backend.
        databases: Makes the databases.
        messages: The number of messages that the session has.
        rounds: The number of rounds.
        calls: The turns of each side in a round.
    """
    source = random.Random(3)
    filling = [message for _ in range(messages // 2) for message in turn_messages(source)]
    with contextlib.ExitStack() as stack:
        peer, theirs = peer_of(backend, databases.new(backend).url, stack)
        sides: dict[str, History] = {
            "AgentMemHistory": Ours(databases.new(backend).url, stack),
            "by hand": BY_HAND[backend](databases.new(backend).url, stack),
            peer: theirs,
        }
        for side in sides.values():
            side.add(filling)

        def turn_of(side: History) -> Callable[[], None]:
            def turn() -> None:
                assert len(side.read()[-WINDOW:]) == min(WINDOW, len(filling))
                side.add(turn_messages(source))

            return turn

        turns = {name: turn_of(side) for name, side in sides.items()}
        take_turns(turns, 1)
        times = take_turns(turns, rounds, calls, {peer: max(1, calls // 20)})
    return figures_of(f"history turn, {messages:,} messages, window {WINDOW}", backend, times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--messages", type=int, default=10_000, help="messages in the session (default 10000)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of 20 turns (default 10)")
    args = parser.parse_args()
    with database_servers() as databases:
        for backend in args.backends.split(","):
            for one in figures(backend, databases, args.messages, args.rounds, 20):
                print(f"{one.backend:<10}{one.peer:<28}{one.ours:8.2f} / {one.theirs:8.2f} ms, ratio {one.ratio:.3f}")


if __name__ == "__main__":
    main()
