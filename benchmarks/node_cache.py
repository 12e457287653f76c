"""The cache of nodes on each backend, beside LangGraph's InMemoryCache, SqliteCache and RedisCache.

A round stores entries of about 2 kB, reads them back, one at a time and in batches of 20, and reads keys without an entry.
Printed: microseconds for one call (median), and for reads and writes by eight threads at once the calls per second.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import redis
from langgraph.cache.memory import InMemoryCache
from langgraph.cache.redis import RedisCache
from langgraph.cache.sqlite import SqliteCache

from langchain_agentmem import AgentMemCache

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.shared import Databases, Figure, figures_of, take_turns

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import PostgresServer, redis_server

NAMESPACE = ("__pregel_ns_writes", "app.answer", "answer")
BATCH = 20


def key(number: int) -> tuple[tuple[str, ...], str]:
    return NAMESPACE, f"{number:032x}"


def value(number: int) -> list[Any]:
    return [("messages", [{"role": "assistant", "content": f"{number} " * 400}]), ("branch:to:next", None)]


def timed(calls: Any) -> float:
    """Return the median duration of calls in microseconds."""
    spent = []
    for call in calls:
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent) * 1e6


def together(cache: Any, count: int) -> float:
    """Return the calls per second of eight threads that read and write."""

    def work(worker: int) -> None:
        for number in range(count):
            name = key(worker * 1_000_000 + number)
            cache.set({name: (value(number), 600)})
            cache.get([name])

    started = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(1, 9)))
    return 16 * count / (time.perf_counter() - started)


def measured(cache: Any, count: int) -> list[float]:
    single = range(count)
    groups = [range(start, start + BATCH) for start in range(10_000, 10_000 + BATCH * (count // 10), BATCH)]
    return [
        timed(lambda at=at: cache.set({key(at): (value(at), 600)}) for at in single),
        timed(lambda at=at: cache.get([key(at)]) for at in single),
        timed(lambda at=at: cache.get([key(-at - 1)]) for at in single),
        timed(lambda some=some: cache.set({key(at): (value(at), 600) for at in some}) for some in groups),
        timed(lambda some=some: cache.get([key(at) for at in some]) for some in groups),
        together(cache, count // 10),
    ]


def figures(backend: str, databases: Databases, calls: int, rounds: int) -> list[Figure]:
    """Compare entries that are stored and read, alone and in batches of 20."""
    found: list[Figure] = []
    with ExitStack() as stack:
        ours = AgentMemCache.from_url(databases.new(backend).url)
        stack.callback(ours.close)
        caches: dict[str, Any] = {"AgentMemCache": ours}
        if backend == "sqlite":
            caches["SqliteCache"] = SqliteCache(path=databases.new(backend).url.removeprefix("sqlite:///"))
        elif backend == "redis":
            client = stack.enter_context(redis.Redis.from_url(databases.new(backend).url))
            caches["RedisCache"] = RedisCache(client)
        caches["InMemoryCache"] = InMemoryCache()
        works: dict[str, Callable[[Any, int], Any]] = {
            "store an entry": lambda cache, at: cache.set({key(at): (value(at), 600)}),
            "read an entry": lambda cache, at: cache.get([key(at % 50)]),
            "store 20 entries": lambda cache, at: cache.set({key(at + n): (value(at + n), 600) for n in range(BATCH)}),
            "read 20 entries": lambda cache, at: cache.get([key(n) for n in range(BATCH)]),
        }
        for what, work in works.items():
            numbers = {name: count() for name in caches}
            sides = {
                name: lambda name=name, work=work, numbers=numbers: work(caches[name], next(numbers[name]))
                for name in caches
            }
            take_turns(sides, 1)
            found += figures_of(f"cache of nodes: {what}", backend, take_turns(sides, rounds, calls))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500, help="calls of each kind (default 500)")
    args = parser.parse_args()
    print(f"{'':<26}{'set':>8}{'get':>8}{'miss':>8}{'set 20':>9}{'get 20':>9}{'calls/s, 8 threads':>20}")
    postgres = PostgresServer()
    with tempfile.TemporaryDirectory() as folder, redis_server() as server, redis.Redis(port=server.port) as client:
        urls = {"SQLite": f"sqlite:///{folder}/ours.db", "Postgres": postgres.url, "Redis": server.url}
        caches: dict[str, Any] = {
            "InMemoryCache": InMemoryCache(),
            "SqliteCache": SqliteCache(path=f"{folder}/theirs.db"),
            "RedisCache": RedisCache(client),
        }
        caches |= {f"AgentMemCache, {name}": AgentMemCache.from_url(url) for name, url in urls.items()}
        for name, cache in caches.items():
            cache.get([key(0)])
            *microseconds, rate = measured(cache, args.calls)
            cells = "".join(f"{one:>{8 if at < 3 else 9}.0f}" for at, one in enumerate(microseconds))
            print(f"{name:<26}{cells}{rate:>20,.0f}")
        for name in urls:
            caches[f"AgentMemCache, {name}"].close()
    postgres.close()


if __name__ == "__main__":
    main()
