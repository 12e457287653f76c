"""50 clients of the HTTP API, beside the same calls made directly: errors, latency and memory.

The server is a process of its own, with uvicorn on an empty database. Each client repeats five requests: a turn of an agent
without a model, two messages, a page of them, a search, and the list of sessions. The same calls are then made on the memory
itself, by 50 tasks of one event loop. The memory of the server is measured after each sixth of the time.

A process keeps what it read last, up to fixed bounds: `search_cache` megabytes of words, and the values of 2,048 threads.
With `--turns 1 --search-cache 1`, the load reaches these bounds within a minute. After that, the memory must stay the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState, StateGraph

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers import PostgresServer, redis_server

SERVER = """
import sys
import uvicorn
from serving import echo
from langchain_agentmem import AgentMemory
from langchain_agentmem.serving import ServingLimits, create_app

memory = AgentMemory.from_url(sys.argv[1], search_cache=float(sys.argv[2]))
app = create_app(memory, agents={"echo": echo}, limits=ServingLimits(rate=None))
uvicorn.run(app, port=0, log_level="info", access_log=False, proxy_headers=False, timeout_keep_alive=75)
"""

Call = Callable[[str, str], Awaitable[Any]]


def echo(memory: AgentMemory) -> Any:
    """Return a graph that repeats the message."""
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(state["messages"][-1].text)]})
    builder.set_entry_point("answer")
    return builder.compile(checkpointer=memory.checkpointer)


def over_http(client: httpx.AsyncClient) -> dict[str, Call]:
    """Return the calls as requests."""

    async def send(method: str, path: str, **given: Any) -> Any:
        answer = await client.request(method, path, **given)
        answer.raise_for_status()
        return answer.json()

    said = [{"role": "user", "content": "Where is Malta?"}, {"role": "assistant", "content": "In the sea."}]
    return {
        "run": lambda user, session: send(
            "POST", "/v1/agents/echo/run", json={"message": "Hello", "user_id": user, "session_id": session}
        ),
        "add": lambda user, session: send(
            "POST", "/v1/messages", json={"messages": said, "user_id": user, "session_id": session}
        ),
        "page": lambda user, session: send(
            "GET", "/v1/messages", params={"user_id": user, "session_id": session, "limit": 20}
        ),
        "search": lambda user, _: send("GET", "/v1/search", params={"user_id": user, "query": "Malta"}),
        "list": lambda user, _: send("GET", "/v1/sessions", params={"user_id": user, "limit": 20}),
    }


def directly(memory: AgentMemory) -> dict[str, Call]:
    """Return the calls on the memory itself."""
    graph = echo(memory)
    said: list[Any] = [("user", "Where is Malta?"), ("ai", "In the sea.")]

    def run(user: str, session: str) -> Awaitable[Any]:
        configurable = {"thread_id": f"{user}/{session}/echo", "user_id": user, "session_id": session}
        return graph.ainvoke({"messages": [("user", "Hello")]}, {"configurable": configurable})

    return {
        "run": run,
        "add": lambda user, session: memory.history(session, user_id=user).aadd_messages(said),
        "page": lambda user, session: memory.history(session, user_id=user).apage(limit=20),
        "search": lambda user, _: memory.asearch_history("Malta", user_id=user),
        "list": lambda user, _: memory.sessions.alist(user_id=user, limit=20),
    }


async def load(calls: dict[str, Call], clients: int, seconds: float, turns: int) -> tuple[dict[str, list[float]], int]:
    """Make the calls for a time. Return their times in milliseconds, and the number of errors."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    errors = 0
    ends = time.monotonic() + seconds

    async def one(number: int) -> None:
        nonlocal errors
        turn = 0
        while time.monotonic() < ends:
            session = f"session-{turn // turns}"
            turn += 1
            for name, call in calls.items():
                started = time.perf_counter()
                try:
                    await call(f"user-{number}", session)
                except Exception as error:
                    errors += 1
                    print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                times[name].append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*map(one, range(clients)))
    return times, errors


def megabytes(process: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def report(name: str, times: dict[str, list[float]], seconds: float, errors: int) -> None:
    """Print the times of a load."""
    count = sum(map(len, times.values()))
    print(f"{name}: {count:,} calls, {count / seconds:,.0f} a second, {errors} errors")
    for call, taken in times.items():
        p99 = float(np.percentile(taken, 99))
        print(f"  {call:8} median {statistics.median(taken):7.1f} ms   p99 {p99:7.1f} ms")


async def measured(url: str, direct_url: str, clients: int, seconds: float, turns: int, search_cache: float) -> None:
    """Print the times of the clients of a server, and of direct calls, on two empty databases."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, url, str(search_cache)],
        cwd=Path(__file__).parent,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stderr is not None
        address = next(word for line in server.stderr for word in line.split() if word.startswith("http://"))
        limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            measure = asyncio.create_task(_sixths(seconds, lambda: megabytes(server.pid)))
            times, errors = await load(over_http(client), clients, seconds, turns)
            report(f"HTTP, {clients} clients", times, seconds, errors)
            memory_used = ", ".join(f"{one:.0f}" for one in await measure)
            print(f"  memory of the server after each sixth of the time: {memory_used} MB")
    finally:
        server.terminate()
        await asyncio.to_thread(server.communicate)
    async with AgentMemory.from_url(direct_url, search_cache=search_cache) as memory:
        times, errors = await load(directly(memory), clients, seconds, turns)
        report(f"Directly, {clients} tasks", times, seconds, errors)


def main(backends: list[str], clients: int, seconds: float, turns: int, search_cache: float) -> None:
    """Run the benchmark."""
    for backend in backends:
        print(f"# {backend}")
        with contextlib.ExitStack() as opened:
            if backend == "sqlite":
                folder = opened.enter_context(tempfile.TemporaryDirectory())
                urls = [f"sqlite:///{folder}/{name}.db" for name in ("served", "direct")]
            elif backend == "postgres":
                server = PostgresServer()
                opened.callback(server.close)
                for name in ("served", "direct"):
                    with psycopg.connect(server.url, autocommit=True) as connection:
                        connection.execute(f"CREATE SCHEMA {name}")
                urls = [
                    f"{server.url}{'&' if '?' in server.url else '?'}schema={name}" for name in ("served", "direct")
                ]
            else:
                urls = [opened.enter_context(redis_server()).url for _ in range(2)]
            asyncio.run(measured(*urls, clients, seconds, turns, search_cache))


async def _sixths(seconds: float, measure: Callable[[], float]) -> list[float]:
    """Measure after each sixth of a time."""
    measured = []
    for _ in range(6):
        await asyncio.sleep(seconds / 6)
        measured.append(measure())
    return measured


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "backends", nargs="*", default=["sqlite"], help="sqlite, postgres, redis; the default is sqlite"
    )
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10.0, help="the time of each of the two loads")
    parser.add_argument("--turns", type=int, default=10, help="the turns of each session")
    parser.add_argument("--search-cache", type=float, default=256.0, help="`search_cache` in megabytes")
    chosen = parser.parse_args()
    main(chosen.backends, chosen.clients, chosen.seconds, chosen.turns, chosen.search_cache)
