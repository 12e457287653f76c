"""Filters and pages of the store: 30,000 items in one namespace, ours beside LangGraph's stores, in one run.

30 of the items pass the rare filter. The page is read at offset 20,000, without a query. Medians in milliseconds, and the
ratio to LangGraph's store on the same database (Redis: to LangGraph's store on SQLite).
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from langgraph.store.base import BaseStore, PutOp

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import PostgresServer, RedisServer

NAMESPACE = ("users", "alice", "notes")
WORDS = (Path(__file__).parent / "words.txt").read_text().split()


def values(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    source = random.Random(3)
    for number in range(count):
        kind = "rare" if number % (count // 30) == 7 else f"kind {number % 5}"
        text = " ".join(source.choices(WORDS, k=25))
        yield f"note {number}", {"text": text, "kind": kind, "number": number, "place": {"row": number % 100}}


def fill(store: BaseStore, count: int) -> None:
    puts = [PutOp(NAMESPACE, key, value, index=False) for key, value in values(count)]
    for start in range(0, count, 1_000):
        store.batch(puts[start : start + 1_000])


READS: dict[str, Callable[[BaseStore], Any]] = {
    "a filter that 30 items pass": lambda store: store.search(NAMESPACE, filter={"kind": "rare"}, limit=10),
    "a number that 1 item has": lambda store: store.search(NAMESPACE, filter={"number": {"$eq": 12_345}}, limit=10),
    "a filter that a fifth passes": lambda store: store.search(NAMESPACE, filter={"kind": "kind 3"}, limit=10),
    "the first page": lambda store: store.search(NAMESPACE, limit=10),
    "a page at offset 20,000": lambda store: store.search(NAMESPACE, limit=10, offset=20_000),
    "the same below the root": lambda store: store.search(("users",), limit=10, offset=20_000),
    "the same with a filter": lambda store: store.search(NAMESPACE, filter={"kind": "kind 3"}, limit=10, offset=5_000),
}


@contextmanager
def stores() -> Iterator[dict[str, tuple[BaseStore, str | None]]]:
    """The stores, and the name of the one to compare each with."""
    from langgraph.store.postgres import PostgresStore
    from langgraph.store.sqlite import SqliteStore

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres, redis = PostgresServer(), RedisServer()
        stack.callback(postgres.close)
        stack.callback(redis.close)
        theirs_sqlite = stack.enter_context(SqliteStore.from_conn_string(str(folder / "theirs.db")))
        theirs_postgres = stack.enter_context(PostgresStore.from_conn_string(postgres.url))
        theirs_sqlite.setup()
        theirs_postgres.setup()
        ours: dict[str, AgentMemory] = {}
        for name, url in {
            "SQLite": f"sqlite:///{folder}/ours.db",
            "SQLite, indexed fields": f"sqlite:///{folder}/indexed.db",
            "Postgres": f"{postgres.url}?schema=ours",
            "Redis": redis.url,
        }.items():
            fields: dict[str, Any] = {"index_fields": ["kind", "number"]} if "indexed" in name else {}
            ours[name] = stack.enter_context(AgentMemory.from_url(url, **fields))
        yield {
            "SqliteStore": (theirs_sqlite, None),
            "PostgresStore": (theirs_postgres, None),
            **{
                name: (one.store, "PostgresStore" if name == "Postgres" else "SqliteStore")
                for name, one in ours.items()
            },
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=30_000, help="items in each store (default 30000)")
    parser.add_argument("--runs", type=int, default=15, help="runs that are counted (default 15)")
    args = parser.parse_args()
    with stores() as found:
        for name, (store, _) in found.items():
            started = time.perf_counter()
            fill(store, args.items)
            print(f"{name}: {args.items:,} puts in {time.perf_counter() - started:.1f} s")
        for what, read in READS.items():
            times: dict[str, list[float]] = {name: [] for name in found}
            for _ in range(args.runs + 1):
                for name, (store, _) in found.items():
                    started = time.perf_counter()
                    read(store)
                    times[name].append(time.perf_counter() - started)
            medians = {name: 1e3 * statistics.median(some[1:]) for name, some in times.items()}
            print(what)
            for name, (_, beside) in found.items():
                ratio = f"{medians[name] / medians[beside]:7.2f}" if beside else ""
                print(f"  {name:24}{medians[name]:9.2f} ms{ratio}")


if __name__ == "__main__":
    main()
