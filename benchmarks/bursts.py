"""20,000 store operations submitted in one tick of an event loop: ours on each backend, beside AsyncPostgresStore.

Two mixes. `distinct`: half puts and gets on keys of their own, with searches by filter, deletions and listings between them.
`repeated`: the mix of LangGraph's own test of large batches, in which many operations are the same. Each is run several times
on the same store; the fastest counts. In parentheses: the time as a multiple of
AsyncPostgresStore's, which cannot do 20,000 puts in one tick (`puts`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
from langgraph.store.postgres import AsyncPostgresStore
from langgraph.store.sqlite import AsyncSqliteStore

from langchain_agentmem import AgentMemStore

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.shared import Databases, Figure, figures_of

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server, redis_server

Mix = Callable[[Any, int], list[Awaitable[Any]]]


def distinct(store: Any, count: int) -> list[Awaitable[Any]]:
    """Of 20 operations: 8 puts, 8 gets, 2 searches, 1 deletion, 1 listing."""
    every: list[Awaitable[Any]] = []
    for at in range(count // 20):
        namespace = ("burst", str(at % 50))
        for one in range(8):
            every.append(store.aput(namespace, f"{at}-{one}", {"text": f"Alice likes number {at}", "number": at}))
            every.append(store.aget(namespace, f"{at}-{one}"))
        every.append(store.asearch(namespace, limit=5))
        every.append(store.asearch(namespace, filter={"number": at}, limit=3))
        every.append(store.adelete(namespace, f"{at - 100}-0"))
        every.append(store.alist_namespaces(prefix=("burst",), max_depth=2))
    return every


def repeated(store: Any, count: int) -> list[Awaitable[Any]]:
    """Of 6 operations: 2 puts, a get, a deletion, a listing, a search; on 2,000 keys."""
    every: list[Awaitable[Any]] = []
    for at in range(count // 6):
        namespace, key = ("test", "foo", "bar", "baz", str(at // 1000 % 2)), f"key{at % 1000}"
        every.append(store.aput(namespace, key, {"foo": f"bar{at % 1000}"}))
        every.append(store.aget(namespace, key))
        every.append(store.alist_namespaces(prefix=None, max_depth=at // 1000 + 1))
        every.append(store.asearch(("test",)))
        every.append(store.aput(namespace, key, {"foo": f"bar{at % 1000}"}))
        every.append(store.adelete(namespace, key))
    return every


def puts(store: Any, count: int) -> list[Awaitable[Any]]:
    """Puts alone."""
    return [store.aput(("puts", str(at % 50)), str(at), {"text": f"Alice likes number {at}"}) for at in range(count)]


MIXES: dict[str, Mix] = {"distinct": distinct, "repeated": repeated, "puts": puts}


async def measure(store: Any, mix: Mix, count: int) -> float:
    """The seconds that a burst takes."""
    begin = time.perf_counter()
    await asyncio.gather(*mix(store, count))
    return time.perf_counter() - begin


@contextlib.asynccontextmanager
async def ours(url: str) -> AsyncIterator[Any]:
    """Our store on a database."""
    store = AgentMemStore.from_url(url)
    try:
        yield store
    finally:
        await store.aclose()


@contextlib.asynccontextmanager
async def theirs(url: str) -> AsyncIterator[Any]:
    """LangGraph's store, with a pool of as many connections as ours has."""
    async with AsyncPostgresStore.from_conn_string(url, pool_config={"min_size": 1, "max_size": 10}) as store:
        await store.setup()
        yield store


@contextlib.asynccontextmanager
async def theirs_on_sqlite(url: str) -> AsyncIterator[Any]:
    """LangGraph's store on SQLite."""
    async with AsyncSqliteStore.from_conn_string(url.removeprefix("sqlite:///")) as store:
        await store.setup()
        yield store


PEERS = {"sqlite": ("AsyncSqliteStore", theirs_on_sqlite), "postgres": ("AsyncPostgresStore", theirs)}


async def figures(backend: str, databases: Databases, count: int, rounds: int) -> list[Figure]:
    """Compare bursts on a backend that has a peer, which is not measured with a mix that it cannot do."""
    peer, opening = PEERS[backend]
    found: list[Figure] = []
    async with ours(databases.new(backend).url) as mine, opening(databases.new(backend).url) as other:
        for label in ("distinct", "repeated"):
            times: dict[str, list[float]] = {"AgentMemStore": [], peer: []}
            for number in range(rounds):
                sides = [("AgentMemStore", mine), (peer, other)]
                for name, store in sides if number % 2 else sides[::-1]:
                    times[name].append(count / await measure(store, MIXES[label], count))
            what = f"{count:,} operations in one tick, {label}"
            found += figures_of(what, backend, times, "operations/s", higher=True)
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="operations in a burst (default 20000)")
    parser.add_argument("--runs", type=int, default=3, help="bursts that are counted (default 3)")
    parser.add_argument("--only", default="", help="the stores to measure, by the beginning of their names")
    parser.add_argument("--mix", choices=MIXES, help="the only mix to measure")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, postgres_server() as postgres, redis_server() as redis:
        base = postgres.url.removesuffix("/postgres")
        with psycopg.connect(postgres.url, autocommit=True) as admin:
            admin.execute("CREATE DATABASE ours")
            admin.execute("CREATE DATABASE theirs")
        stores = {
            "AsyncPostgresStore": theirs(f"{base}/theirs"),
            "ours, postgres": ours(f"{base}/ours"),
            "ours, redis": ours(redis.url),
            "ours, sqlite": ours(f"sqlite:///{folder}/burst.db"),
        }
        async with contextlib.AsyncExitStack() as stack:
            opened = {
                name: await stack.enter_async_context(opening)
                for name, opening in stores.items()
                if not args.only or name.startswith((*args.only.split(";"), "Async"))
            }
            print(f"{'':<12}" + "".join(f"{name:>22}" for name in opened))
            for label, mix in MIXES.items():
                times: dict[str, list[float]] = {name: [] for name in opened}
                for _ in range(args.runs if args.mix in (None, label) else 0):
                    for name, store in opened.items():  # they take turns
                        with contextlib.suppress(psycopg.OperationalError):
                            times[name].append(await measure(store, mix, args.count))
                fastest = {name: min(each, default=float("nan")) for name, each in times.items()}
                base = fastest["AsyncPostgresStore"]
                print(
                    f"{label:<12}" + "".join(f"{each:>10.2f} s ({each / base:>6.2f})" for each in fastest.values()),
                    flush=True,
                )


if __name__ == "__main__":
    asyncio.run(main())
