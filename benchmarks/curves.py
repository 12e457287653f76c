"""The time of calls by the amount of stored data: 10 to 100,000 messages and items, 10 to 10,000 threads and users.

    python benchmarks/curves.py --backends sqlite --largest 10000

A session, a database of threads, a namespace and a database of users grow, and at each size the same calls are timed. The
bytes that are stored, divided by their number, are measured too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import statistics
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.shared import BACKENDS, WORDS, Database, Databases, Point, database_servers, seconds_of

SIZES = (10, 100, 1_000, 10_000, 100_000)
CALLS = 15
AT_ONCE = 256
"""The number of calls that fill a database concurrently."""


def words(number: int, count: int = 30) -> str:
    """Return a text of 30 words."""
    source = random.Random(number)
    return " ".join(source.choices(WORDS, k=count))


def turn(number: int) -> list[BaseMessage]:
    """Return a question and an answer."""
    return [HumanMessage(words(2 * number)), AIMessage(words(2 * number + 1))]


def thread(number: object) -> Any:
    """Return the config of a thread."""
    return {"configurable": {"thread_id": f"thread-{number}", "checkpoint_ns": ""}}


def checkpoint(number: int) -> tuple[Any, Any, Any]:
    """Return a checkpoint of a thread with one turn, its metadata and its versions."""
    version = f"{number:032}.0"
    values = {"messages": turn(number)}
    made = {
        "v": 4,
        "id": f"1f0{number:020}",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": values,
        "channel_versions": {"messages": version},
        "versions_seen": {},
    }
    return made, {"step": 1, "source": "loop", "parents": {}}, {"messages": version}


class Kind:
    """A kind of data that grows.

    Args:
        memory: The memory.
    """

    axis = ""
    bulk = False
    """True if many are stored with one call."""

    def __init__(self, memory: AgentMemory) -> None:
        self.memory = memory
        self.numbers = itertools.count(10_000_000)

    async def fill(self, start: int, end: int) -> None:
        """Store more."""
        for first in range(start, end, AT_ONCE):
            await asyncio.gather(*[self.store(one) for one in range(first, min(end, first + AT_ONCE))])

    def store(self, number: int) -> Awaitable[Any]:
        """Store one."""
        raise NotImplementedError

    def calls(self, size: int) -> dict[str, Callable[[], Any]]:
        """Return the calls that are timed at a size, by the title of their curve."""
        raise NotImplementedError


class Messages(Kind):
    """Messages of one session."""

    axis = "messages of a session"
    bulk = True

    async def fill(self, start: int, end: int) -> None:
        for first in range(start, end, 1_000):
            numbers = range(first // 2, min(end, first + 1_000) // 2)
            await self.memory.history("long", user_id="alice").aadd_messages([one for n in numbers for one in turn(n)])

    def calls(self, size: int) -> dict[str, Callable[[], Any]]:  # noqa: ARG002
        history = self.memory.history("long", user_id="alice", max_messages=40)

        def take_turn() -> None:
            assert history.messages
            history.add_messages(turn(next(self.numbers)))

        return {
            "history turn, window 40": take_turn,
            "history search": lambda: self.memory.search_history(words(next(self.numbers), 3), user_id="alice"),
        }


class Threads(Kind):
    """Threads of one turn."""

    axis = "threads"

    def store(self, number: int) -> Awaitable[Any]:
        return self.memory.checkpointer.aput(thread(number), *checkpoint(number))

    def calls(self, size: int) -> dict[str, Callable[[], Any]]:
        saver = self.memory.checkpointer

        def turn_of_a_thread() -> None:
            assert saver.get_tuple(thread(next(self.numbers) % size)) is not None
            saver.put(thread("new"), *checkpoint(next(self.numbers)))

        return {
            "read a checkpoint and write one": turn_of_a_thread,
            "list 10 threads": lambda: saver.threads(limit=10),
        }


class Items(Kind):
    """Items of one namespace."""

    axis = "items of a namespace"
    bulk = True

    async def fill(self, start: int, end: int) -> None:
        for first in range(start, end, 500):
            ops = [
                PutOp(("docs",), str(one), {"text": words(one), "kind": f"kind {one % 100}"})
                for one in range(first, min(end, first + 500))
            ]
            await self.memory.store.abatch(ops)

    def calls(self, size: int) -> dict[str, Callable[[], Any]]:
        store = self.memory.store
        return {
            "get an item": lambda: store.get(("docs",), str(next(self.numbers) % size)),
            "put an item": lambda: store.put(("docs",), str(next(self.numbers) % size), {"text": words(7)}),
            "search items with a filter": lambda: store.search(("docs",), filter={"kind": "kind 7"}),
            "search items by words": lambda: store.search(("docs",), query=words(next(self.numbers), 3)),
        }


class Users(Kind):
    """Users with a session of one turn and a variable."""

    axis = "users"

    def store(self, number: int) -> Awaitable[Any]:
        async def one() -> None:
            user = f"user-{number}"
            await self.memory.history(f"session-{number}", user_id=user).aadd_messages(turn(number))
            await self.memory.variables.aset("language", "French", user_id=user)

        return one()

    def calls(self, size: int) -> dict[str, Callable[[], Any]]:
        def turn_of_a_user() -> None:
            number = next(self.numbers) % size
            history = self.memory.history(f"session-{number}", user_id=f"user-{number}", max_messages=40)
            assert history.messages
            history.add_messages(turn(number))

        return {
            "turn of a user": turn_of_a_user,
            "variables of a user": lambda: self.memory.variables.all(user_id=f"user-{next(self.numbers) % size}"),
            "list 100 users": lambda: self.memory.users(limit=100),
            "sessions of a user": lambda: self.memory.sessions.list(user_id=f"user-{next(self.numbers) % size}"),
        }


KINDS: dict[str, type[Kind]] = {"messages": Messages, "threads": Threads, "items": Items, "users": Users}


def points(backend: str, databases: Databases, largest: int, kinds: list[str] | None = None) -> Iterator[Point]:
    """Measure a backend at each size up to the largest one; kinds that are stored one by one, up to a tenth of it."""
    for name in kinds or list(KINDS):
        database = databases.new(backend)
        with AgentMemory.from_url(database.url) as memory:
            kind = KINDS[name](memory)
            most = largest if kind.bulk else max(SIZES[0], largest // 10)
            yield from _points_of(kind, backend, database, [size for size in SIZES if size <= most])


def _points_of(kind: Kind, backend: str, database: Database, sizes: list[int]) -> Iterator[Point]:
    kind.memory.history("first").add_user_message("The first use makes the tables.")
    empty, filled = database.size(), 0
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        for size in sizes:
            loop.run_until_complete(kind.fill(filled, size))
            filled = size
            stored = database.size() - empty
            for what, call in kind.calls(size).items():
                call()
                median = statistics.median(seconds_of(call) for _ in range(CALLS))
                yield Point(what, kind.axis, backend, size, 1e3 * median, "ms")
            yield Point("stored bytes", kind.axis, backend, size, stored / size, "bytes each")
        loop.run_until_complete(kind.memory.aclose())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument(
        "--largest",
        type=int,
        default=10_000,
        help="messages and items, and ten times the threads and users",
    )
    args = parser.parse_args()
    with database_servers() as databases:
        for backend in args.backends.split(","):
            for one in points(backend, databases, args.largest, args.kinds.split(",")):
                print(
                    f"{one.side:<10}{one.size:>8,} {one.axis:<24}{one.curve:<36}{one.value:>10,.2f} {one.unit}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
