"""Turns in one process, for as long as you like: its memory, files, connections and threads must not grow.

    python benchmarks/long_run.py                                  # 5,000 turns on a new SQLite file
    python benchmarks/long_run.py postgresql://user@host/database  # or another database, which should be empty
    python benchmarks/long_run.py postgres                         # or a server that the program starts: postgres, redis
    python benchmarks/long_run.py --turns 100000 --json run.json
    python benchmarks/long_run.py --session-turns 2                # short sessions and threads, so caches are full soon
    python benchmarks/long_run.py --allocations                    # where the memory was allocated that the second half added

A turn adds two messages to a session, reads its window, runs a graph with a checkpointer, and stores an item, a variable and
a preference. Every tenth turn stores a fact and searches. A session and a thread end after 10 turns, and a user after 10
sessions, so a turn does the same work while the database grows. Half of the workers are tasks of one event loop, the others
are threads.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server, redis_server

SESSIONS = 10
"""The number of sessions and threads of a user."""
SEARCH_CACHE = 8
"""Megabytes that searches may keep: less than the default of 256, so that this cache is full soon, too."""
SAMPLES = 20
STARTED = ("sqlite", "postgres", "redis")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="sqlite", help="URL of the memory, sqlite, postgres or redis")
    parser.add_argument("--turns", type=int, default=5_000)
    parser.add_argument(
        "--session-turns", type=int, default=10, help="turns of a session and of a thread (default: 10)"
    )
    parser.add_argument("--workers", type=int, default=2, help="tasks and threads that take turns (default: 2)")
    parser.add_argument("--allocations", action="store_true", help="trace allocations, which takes twice the time")
    parser.add_argument("--json", type=Path, help="write the samples to this file")
    arguments = parser.parse_args()
    if arguments.allocations:
        tracemalloc.start(8)
    with started(arguments.url) as url:
        samples = take_turns(url, arguments.turns, arguments.session_turns, arguments.workers)
    if arguments.json:
        arguments.json.write_text(json.dumps(samples, indent=2) + "\n", encoding="utf-8")
    half, last = samples[len(samples) // 2], samples[-1]
    print(f"after {half['turns']:,} turns and after {last['turns']:,}:")
    for name in half:
        print(f"  {name}: {half[name]:,} and {last[name]:,}")


@contextmanager
def started(url: str) -> Iterator[str]:
    """The URL of an empty database, if `url` is the name of a backend; else `url`."""
    if url == "sqlite":
        with tempfile.TemporaryDirectory(prefix="agentmem-long-run-") as folder:
            yield f"sqlite:///{Path(folder) / 'memory.db'}"
    elif url in STARTED:
        with postgres_server() if url == "postgres" else redis_server() as server:
            yield server.url
    else:
        yield url


class Progress:
    """The next turn of a run, and samples of the process.

    Args:
        turns: The number of turns of the run.
    """

    def __init__(self, turns: int) -> None:
        self._turns = turns
        self._every = max(1, turns // SAMPLES)
        self._lock = threading.Lock()
        self._next = 0
        self._done = 0
        self._began = (time.perf_counter(), time.process_time())
        self._snapshot: tracemalloc.Snapshot | None = None
        self.samples: list[dict[str, float]] = []

    def next(self) -> int | None:
        """Return the number of the next turn, or None at the end of the run."""
        with self._lock:
            if self._next == self._turns:
                return None
            self._next += 1
            return self._next

    def is_sample(self) -> bool:
        """Count a turn that was taken. Return true if the process is to be sampled."""
        with self._lock:
            self._done += 1
            return self._done % self._every == 0

    def sample(self) -> None:
        """Sample the process, and print the sample."""
        with self._lock:
            wall, processor = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
            times = {"ms a turn": wall / self._every * 1e3, "ms of the processor": processor / self._every * 1e3}
            turns = (len(self.samples) + 1) * self._every
            self.samples.append({"turns": turns, **sample(), **{name: round(one, 2) for name, one in times.items()}})
            print(self.samples[-1], flush=True)
            if tracemalloc.is_tracing():
                self._compare()
            self._began = time.perf_counter(), time.process_time()

    def _compare(self) -> None:
        if len(self.samples) == SAMPLES // 2:
            self._snapshot = tracemalloc.take_snapshot()
        elif len(self.samples) == SAMPLES and self._snapshot is not None:
            for one in tracemalloc.take_snapshot().compare_to(self._snapshot, "lineno")[:25]:
                print(one)


def take_turns(url: str, turns: int, session_turns: int, workers: int = 2) -> list[dict[str, float]]:
    """Take turns with tasks and threads; return the samples.

    Args:
        url: URL of an empty database.
        turns: The number of turns.
        session_turns: The number of turns of a session and of a thread.
        workers: The number of tasks and threads.
    """
    progress = Progress(turns)
    with AgentMemory.from_url(url, search_cache=SEARCH_CACHE) as memory:
        graph = graph_of(memory)
        asyncio.run(work(memory, graph, progress, session_turns, workers))
    return progress.samples


async def work(memory: AgentMemory, graph: Any, progress: Progress, session_turns: int, workers: int) -> None:
    """Take turns with every second worker on this event loop, and the others in threads."""

    async def take(worker: int, *, asynchronous: bool) -> None:
        turn = 0
        while (number := progress.next()) is not None:
            part = turn // session_turns * workers + worker
            await take_turn(memory, graph, number, part, asynchronous=asynchronous)
            turn += 1
            if progress.is_sample():
                progress.sample()

    def in_thread(worker: int) -> None:
        # Without tasks, a coroutine is done at its first step.
        finish(take(worker, asynchronous=False))

    threads = ThreadPoolExecutor(max(1, workers // 2))
    loop = asyncio.get_running_loop()
    jobs: list[Awaitable[None]] = [take(worker, asynchronous=True) for worker in range(0, workers, 2)]
    await asyncio.gather(*jobs, *[loop.run_in_executor(threads, in_thread, one) for one in range(1, workers, 2)])
    await memory.aclose()


def finish(coroutine: Any) -> None:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    msg = "The coroutine waits for an event loop."
    raise RuntimeError(msg)


def graph_of(memory: AgentMemory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(f"answer {len(state['messages'])}")]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=memory.checkpointer)


async def take_turn(memory: AgentMemory, graph: Any, number: int, part: int, *, asynchronous: bool) -> None:
    """Use each surface, in a session and a thread of the run's part."""
    user = f"user-{part // SESSIONS}"
    history = memory.history(f"session-{part}", user_id=user)
    config = {"configurable": {"thread_id": f"thread-{part}", "user_id": user}}
    text = f"Turn {number}: what is the weather in town {number % 97}?"

    async def call(method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if not asynchronous:
            return method(*args, **options)
        return await getattr(method.__self__, f"a{method.__name__}")(*args, **options)  # type: ignore[attr-defined]

    await call(history.add_messages, [HumanMessage(text), AIMessage(f"Rain, {number}.")])
    await call(history.get_recent, 10)
    await call(graph.invoke, {"messages": [HumanMessage(text)]}, config)
    await call(memory.store.put, ("notes", user), str(number % 100), {"text": text})
    await call(memory.variables.set, "town", number % 97, user_id=user)
    await call(memory.profiles.update_preference, user, "town", number % 97)
    if number % 10 == 0:
        await call(memory.profiles.add_fact, user, f"Asked about town {number % 50}")
        await call(memory.search_history, "weather in town", user_id=user)
        await call(memory.store.search, ("notes", user), query="weather")


def sample() -> dict[str, float]:
    """The resources of this process, on Linux."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    # The folder's own descriptor is closed when its link is read.
    files = [str(file.readlink()) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    return {
        "resident MB": round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1),
        "files": len(files),
        "sockets": sum(name.startswith("socket:") for name in files),
        "threads": threading.active_count(),
        "objects": len(gc.get_objects()),
    }


if __name__ == "__main__":
    main()
