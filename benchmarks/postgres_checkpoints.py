"""Checkpoints on Postgres: bytes, time and round trips of a turn, ours beside PostgresSaver, in one run.

A graph with one node answers each turn with about 400 characters of words; both checkpointers run the same turns, in turn,
each on a connection pool of its own to one server. Bytes are those of all columns of the tables that a saver writes to.
Round trips are the times that psycopg sends something and waits for the answer.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import START, MessagesState, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from langchain_agentmem import AgentMemSaver

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from counting import RoundTrips
from servers import postgres_server

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
THEIRS = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
OURS = (*THEIRS, "agentmem_threads", "agentmem_channel_values", "agentmem_elements")


def text(source: random.Random, characters: int = 400) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(source.choice(WORDS))
    return " ".join(words)


class Side:
    """One checkpointer with its graph and its measurements."""

    def __init__(self, name: str, saver: Any, url: str, tables: tuple[str, ...], trips: RoundTrips) -> None:
        self.name, self.tables, self.waits = name, tables, trips
        self.connection = psycopg.connect(url, autocommit=True)
        source = random.Random(7)
        builder = StateGraph(MessagesState)
        builder.add_node("reply", lambda state: {"messages": [AIMessage(text(source))]})
        builder.add_edge(START, "reply")
        self.graph = builder.compile(checkpointer=saver)
        self.config: Any = {"configurable": {"thread_id": "thread"}}
        self.times: list[float] = []
        self.trips: list[int] = []
        self.sizes: dict[int, int] = {}

    def turn(self, question: str) -> None:
        before = self.waits.count
        start = time.perf_counter()
        self.graph.invoke({"messages": [HumanMessage(question)]}, self.config, durability="sync")
        self.times.append(time.perf_counter() - start)
        self.trips.append(self.waits.count - before)

    def measure(self, turn: int) -> None:
        self.sizes[turn] = sum(
            self.connection.execute(f"SELECT coalesce(sum(pg_column_size(t)), 0) FROM {table} AS t").fetchone()[0]
            for table in self.tables
        )

    def value_bytes(self) -> int:
        """The bytes of channel values: LangGraph's blobs, and our rows and elements."""
        blobs = "SELECT coalesce(sum(length(blob)), 0) FROM checkpoint_blobs"
        total = self.connection.execute(blobs).fetchone()[0]
        for table in self.tables[4:]:
            total += self.connection.execute(f"SELECT coalesce(sum(length(data)), 0) FROM {table}").fetchone()[0]
        return int(total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=400, help="turns beside PostgresSaver (default 400)")
    args = parser.parse_args()
    from rich.progress import track

    trips = RoundTrips(pytest.MonkeyPatch())
    with postgres_server() as server:
        urls = []
        with psycopg.connect(server.url, autocommit=True) as admin:
            for name in ("ours", "theirs"):
                admin.execute(f"CREATE DATABASE {name}")
                urls.append(f"{server.url.removesuffix('/postgres')}/{name}")
        kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        with ConnectionPool(urls[1], kwargs=kwargs, open=True) as pool:
            peer = PostgresSaver(pool)
            peer.setup()
            ours = AgentMemSaver.from_url(urls[0])
            list(ours.list({"configurable": {"thread_id": "warm"}}))
            sides = [
                Side("AgentMemSaver", ours, urls[0], OURS, trips),
                Side("PostgresSaver", peer, urls[1], THEIRS, trips),
            ]
            source = random.Random(11)
            marks = {10, 60, args.turns - 50, args.turns}
            for turn in track(range(1, args.turns + 1), description="turns"):
                question = text(source)
                for side in sides if turn % 2 else sides[::-1]:
                    side.turn(question)
                    if turn in marks:
                        side.measure(turn)
            print(f"{'':<40}{sides[0].name:>15}{sides[1].name:>15}{'ratio':>9}")
            rows: list[tuple[str, list[float]]] = []
            for label, low, high in (("10-60", 10, 60), ("last 50", args.turns - 50, args.turns)):
                rows.append(
                    (f"bytes a turn, turns {label}", [(s.sizes[high] - s.sizes[low]) / (high - low) for s in sides])
                )
            rows += [
                ("bytes of channel values in all", [side.value_bytes() for side in sides]),
                ("a turn, median of the last 40 (ms)", [statistics.median(s.times[-40:]) * 1e3 for s in sides]),
                ("round trips a turn, median", [statistics.median(side.trips) for side in sides]),
            ]
            for label, pair in rows:
                print(f"{label:<40}{pair[0]:>15,.2f}{pair[1]:>15,.2f}{pair[0] / pair[1]:>9.3f}")
            near, far = rows[0][1][0], rows[1][1][0]
            print(f"ours, bytes a turn at the end beside the beginning: {far / near:.3f}")
            for side in sides:
                side.connection.close()
            ours.close()


if __name__ == "__main__":
    main()
