"""Copies of threads from PostgresSaver and SqliteSaver, with the rate beside a plain SQL copy of their tables, in one run.

A graph with one node answers each turn with about 400 characters of words. The threads of each source are copied with
`memory.checkpointer.copy_from` to each target. Beside it, SQL copies the source's own tables within its database
(`INSERT … SELECT`): the same rows without reading a value, which is the least that any copy can cost. A second call of
`copy_from` finds that all is copied.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemSaver

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
POSTGRES_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
SQLITE_TABLES = ("checkpoints", "writes")


def text(source: random.Random, characters: int = 400) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(source.choice(WORDS))
    return " ".join(words)


def fill(saver: Any, threads: int, turns: int) -> int:
    """Play the threads, and return the number of checkpoints."""
    source = random.Random(7)
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(text(source))]})
    graph = builder.add_edge(START, "reply").compile(checkpointer=saver)
    for number in range(threads):
        config: Any = {"configurable": {"thread_id": f"thread {number}", "user_id": f"user {number % 100}"}}
        for _ in range(turns):
            graph.invoke({"messages": [HumanMessage(text(source))]}, config)
    return 3 * threads * turns


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def copy_with_sqlite(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ATTACH ? AS copy", (f"{path}.copy",))
        for table in SQLITE_TABLES:
            ((made,),) = connection.execute("SELECT sql FROM main.sqlite_master WHERE name = ?", (table,)).fetchall()
            connection.execute(made.replace("CREATE TABLE ", "CREATE TABLE copy.", 1))
            connection.execute(f"INSERT INTO copy.{table} SELECT * FROM main.{table}")
        connection.commit()


def copy_with_postgres(url: str) -> None:
    with psycopg.connect(url) as connection:
        for table in POSTGRES_TABLES:
            connection.execute(f"CREATE TABLE copy_of_{table} (LIKE {table} INCLUDING ALL)")
            connection.execute(f"INSERT INTO copy_of_{table} SELECT * FROM {table}")


@contextlib.contextmanager
def databases() -> Iterator[Callable[[str], str]]:
    """A function that makes a database on a Postgres server, and returns its URL."""
    with postgres_server() as server, psycopg.connect(server.url, autocommit=True) as connection:

        def make(name: str) -> str:
            connection.execute(f"CREATE DATABASE {name}")
            return server.url.rpartition("/")[0] + f"/{name}"

        yield make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1000, help="threads of each source (default 1000)")
    parser.add_argument("--turns", type=int, default=10, help="turns of each thread (default 10)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, databases() as make:
        files = Path(folder)
        their_url = make("theirs")
        with (
            PostgresSaver.from_conn_string(their_url) as postgres,
            SqliteSaver.from_conn_string(str(files / "theirs.db")) as sqlite,
        ):
            postgres.setup()
            sqlite.setup()
            sources = {
                "PostgresSaver": (postgres, lambda: copy_with_postgres(their_url)),
                "SqliteSaver": (sqlite, lambda: copy_with_sqlite(files / "theirs.db")),
            }
            print(f"{arguments.threads} threads of {arguments.turns} turns")
            print(f"{'source':14} {'target':22} {'seconds':>8} {'threads/s':>10} {'checkpoints/s':>14}")
            for name, (saver, plain) in sources.items():
                checkpoints = fill(saver, arguments.threads, arguments.turns)

                def show(target: str, seconds: float, name: str = name, checkpoints: int = checkpoints) -> None:
                    rates = (arguments.threads / seconds, checkpoints / seconds)
                    print(f"{name:14} {target:22} {seconds:8.2f} {rates[0]:10.1f} {rates[1]:14.0f}")

                targets = {
                    "ours on SQLite": f"sqlite:///{files / f'{name}.db'}",
                    "ours on Postgres": make(f"from_{name.lower()}"),
                }
                for target, url in targets.items():
                    with AgentMemSaver.from_url(url) as ours:
                        show(target, timed(lambda ours=ours, saver=saver: ours.copy_from(saver)))
                        show(f"{target}, again", timed(lambda ours=ours, saver=saver: ours.copy_from(saver)))
                show("its tables with SQL", timed(plain))


if __name__ == "__main__":
    main()
