"""Turns in one process, for as long as you like: its memory, files, connections and threads must not grow.

    python benchmarks/long_run.py                                  # 5,000 turns on a new SQLite file
    python benchmarks/long_run.py postgresql://user@host/database  # or another database, which should be empty
    python benchmarks/long_run.py --turns 100000 --json run.json
    python benchmarks/long_run.py --session-turns 2                # short sessions and threads, so caches are full soon

A turn adds two messages to a session, reads its window, runs a graph with a checkpointer, and stores an item, a variable and
a preference. Every tenth turn stores a fact and searches. Sessions and threads end after 20 turns, and users alternate, so
a turn does the same work while the database grows. Every second turn is asynchronous, on one event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemory

USERS = 50
SAMPLES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="URL of the memory (default: a new SQLite file)")
    parser.add_argument("--turns", type=int, default=5_000)
    parser.add_argument(
        "--session-turns", type=int, default=20, help="turns of a session and of a thread (default: 20)"
    )
    parser.add_argument("--json", type=Path, help="write the samples to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="agentmem-long-run-") as folder:
        url = arguments.url or f"sqlite:///{Path(folder) / 'memory.db'}"
        samples = asyncio.run(run(url, arguments.turns, arguments.session_turns))
    if arguments.json:
        arguments.json.write_text(json.dumps(samples, indent=2) + "\n", encoding="utf-8")
    warm, last = samples[len(samples) // 4], samples[-1]
    print(f"after {warm['turns']:,} turns and after {last['turns']:,}:")
    for name in warm:
        print(f"  {name}: {warm[name]:,} and {last[name]:,}")


async def run(url: str, turns: int, session_turns: int) -> list[dict[str, float]]:
    """Take turns; return the samples."""
    samples: list[dict[str, float]] = []
    began = time.perf_counter()
    async with AgentMemory.from_url(url) as memory:
        graph = graph_of(memory)
        for number in range(1, turns + 1):
            await take_turn(memory, graph, number, number // session_turns, asynchronous=number % 2 == 0)
            if number % max(1, turns // SAMPLES) == 0:
                now = time.perf_counter()
                samples.append(
                    {"turns": number, **sample(), "ms per turn": round((now - began) * SAMPLES / turns * 1e3, 2)}
                )
                print(samples[-1], flush=True)
                began = now
    return samples


def graph_of(memory: AgentMemory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(f"answer {len(state['messages'])}")]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=memory.checkpointer)


async def take_turn(memory: AgentMemory, graph: Any, number: int, part: int, *, asynchronous: bool) -> None:
    """Use each surface, in a session and a thread of the run's part."""
    user = f"user-{part % USERS}"
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
