"""Threads of an agent: many short ones at once, and a long one, beside LangGraph's own savers, in one run.

    python benchmarks/threads.py chats             # 64 concurrent chats of 20 turns, with tasks and with threads
    python benchmarks/threads.py long --turns 1025 # one long thread, plain and with a `DeltaChannel`

A graph with one node answers each turn of 400 characters with 400 characters. All sides take turns, each on a database of
its own, with the same number of connections. Times are the CPU time of this process and of the database server, because the
machine may be busy, and the elapsed time. The figures in parentheses are ratios to the peer: medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sqlite3
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from typing_extensions import TypedDict

from langchain_agentmem import AgentMemSaver

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.shared import BACKENDS, WORDS, Clock, Database, Databases, Figure, Point, database_servers

PEERS = {"sqlite": "SqliteSaver", "postgres": "PostgresSaver", "redis": "ValkeySaver"}


class Deltas(TypedDict):
    """The state of Deep Agents."""

    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer)]


def text(source: random.Random, characters: int = 400) -> str:
    """Return words of about this length."""
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(source.choice(WORDS))
    return " ".join(words)


ANSWERS = [text(random.Random(number)) for number in range(200)]


def graph_of(saver: Any, state: type = MessagesState) -> Any:
    """Return a graph whose one node answers."""

    def reply(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage(ANSWERS[len(state["messages"]) * 7 % len(ANSWERS)])]}

    builder = StateGraph(state)
    builder.add_node("reply", reply)
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=saver)


# Savers


def ours(backend: str, url: str, connections: int, stack: Any) -> Any:
    """Return our saver."""
    options = "" if backend == "sqlite" else f"?pool_size={connections}"
    saver = AgentMemSaver.from_url(url + options)
    stack.callback(saver.close)
    return saver


def theirs(backend: str, url: str, connections: int, stack: Any) -> Any:
    """Return the saver of LangGraph or AWS."""
    if backend == "sqlite":
        saver: Any = SqliteSaver(sqlite3.connect(url.removeprefix("sqlite:///"), check_same_thread=False))
        saver.setup()
    elif backend == "postgres":
        options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        pool = stack.enter_context(
            ConnectionPool(url, min_size=connections, max_size=connections, kwargs=options, timeout=300)
        )
        saver = PostgresSaver(pool)
        saver.setup()
    else:
        from langgraph_checkpoint_aws import ValkeySaver
        from valkey import BlockingConnectionPool, Valkey

        pool = BlockingConnectionPool.from_url(url, max_connections=connections, timeout=300)
        saver = ValkeySaver(Valkey(connection_pool=pool))
    return saver


async def theirs_async(backend: str, url: str, connections: int, stack: contextlib.AsyncExitStack) -> Any:
    """Same as `theirs`, for a running event loop."""
    if backend == "sqlite":
        saver: Any = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(url.removeprefix("sqlite:///")))
        await saver.setup()
    elif backend == "postgres":
        options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        pool = AsyncConnectionPool(
            url, min_size=connections, max_size=connections, kwargs=options, timeout=300, open=False
        )
        await stack.enter_async_context(pool)
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
    else:
        from langgraph_checkpoint_aws import AsyncValkeySaver
        from valkey.asyncio import BlockingConnectionPool, Valkey

        pool = BlockingConnectionPool.from_url(url, max_connections=connections, timeout=300)
        saver = AsyncValkeySaver(Valkey(connection_pool=pool))
    return saver


# Many chats


class Round(NamedTuple):
    """The times of a round of chats."""

    seconds: float
    client: float
    server: float
    latencies: list[float]


def config_of(round_: int, chat: int) -> Any:
    """Return the config of a chat."""
    return {"configurable": {"thread_id": f"chat-{round_}-{chat}"}}


async def async_round(graph: Any, pid: int | None, number: int, chats: int, turns: int) -> Round:
    """Run concurrent chats in tasks."""
    latencies: list[float] = []

    async def chat(which: int) -> None:
        for turn in range(turns):
            begun = time.perf_counter()
            await graph.ainvoke({"messages": [HumanMessage(ANSWERS[turn])]}, config_of(number, which))
            latencies.append(time.perf_counter() - begun)

    with Clock(pid) as clock:
        await asyncio.gather(*map(chat, range(chats)))
    return Round(clock.seconds, clock.client, clock.server, latencies)


def sync_round(graph: Any, pid: int | None, number: int, chats: int, turns: int) -> Round:
    """Run concurrent chats in threads."""
    latencies: list[float] = []
    lock = threading.Lock()

    def chat(which: int) -> None:
        for turn in range(turns):
            begun = time.perf_counter()
            graph.invoke({"messages": [HumanMessage(ANSWERS[turn])]}, config_of(number, which))
            with lock:
                latencies.append(time.perf_counter() - begun)

    with Clock(pid) as clock, ThreadPoolExecutor(chats) as pool:
        list(pool.map(chat, range(chats)))
    return Round(clock.seconds, clock.client, clock.server, latencies)


def percentile(one: Round, at: float) -> float:
    """Return a percentile of the latencies of a round, in seconds."""
    ordered = sorted(one.latencies)
    return ordered[min(len(ordered) - 1, int(at * len(ordered)))]


def show_chats(label: str, found: list[list[Round]], turns: int) -> None:
    """Print the rounds of two sides, ours first."""
    mine, peer = found

    def ratio(value: Callable[[Round], float]) -> float:
        return statistics.median(value(one) / value(other) for one, other in zip(mine, peer, strict=True))

    columns = [
        ("turns/s", lambda one: turns / one.seconds, ".0f"),
        ("turns/CPU s", lambda one: turns / (one.client + one.server), ".0f"),
        ("client ms", lambda one: 1e3 * one.client / turns, ".2f"),
        ("server ms", lambda one: 1e3 * one.server / turns, ".2f"),
        ("p50 ms", lambda one: 1e3 * percentile(one, 0.5), ".0f"),
        ("p99 ms", lambda one: 1e3 * percentile(one, 0.99), ".0f"),
    ]
    cells = []
    for name, value, form in columns:
        middle = statistics.median(map(value, mine))
        other = statistics.median(map(value, peer))
        times = f"{ratio(value):.2f}" if all(map(value, peer)) else "-"
        cells.append(f"{name} {middle:{form}} / {other:{form}} ({times})")
    print(f"{label:<16}" + "   ".join(cells), flush=True)


async def async_chats(backend: str, databases: Databases, args: Any) -> list[list[Round]]:
    """Return the rounds of tasks, ours first."""
    mine, peer = databases.new(backend), databases.new(backend)
    async with contextlib.AsyncExitStack() as stack:
        saver = ours(backend, mine.url, args.connections, stack)
        other = await theirs_async(backend, peer.url, args.connections, stack)
        sides = [(graph_of(saver), mine.pid), (graph_of(other), peer.pid)]
        found: list[list[Round]] = [[], []]
        for number in range(-1, args.rounds):
            for which in (0, 1) if number % 2 else (1, 0):
                count = args.turns if number >= 0 else 2
                done = await async_round(*sides[which], number, args.chats, count)
                if number >= 0:
                    found[which].append(done)
        await saver.aclose()
    return found


def sync_chats(backend: str, databases: Databases, args: Any) -> list[list[Round]]:
    """Return the rounds of threads, ours first."""
    mine, peer = databases.new(backend), databases.new(backend)
    with contextlib.ExitStack() as stack:
        sides = [
            (graph_of(ours(backend, mine.url, args.connections, stack)), mine.pid),
            (graph_of(theirs(backend, peer.url, args.connections, stack)), peer.pid),
        ]
        found: list[list[Round]] = [[], []]
        for number in range(-1, args.rounds):
            for which in (0, 1) if number % 2 else (1, 0):
                count = args.turns if number >= 0 else 2
                done = sync_round(*sides[which], number, args.chats, count)
                if number >= 0:
                    found[which].append(done)
    return found


def chat_figures(backend: str, databases: Databases, chats: int, turns: int, rounds: int) -> list[Figure]:
    """Compare concurrent chats, in tasks and in threads."""
    args = argparse.Namespace(chats=chats, turns=turns, rounds=rounds, connections=10)
    figures = []
    for kind, found in (
        ("tasks", asyncio.run(async_chats(backend, databases, args))),
        ("threads", sync_chats(backend, databases, args)),
    ):
        what = f"{chats} chats of {turns} turns at once, {kind}"
        rates = [[chats * turns / one.seconds for one in side] for side in found]
        work = [[1e3 * (one.client + one.server) / (chats * turns) for one in side] for side in found]
        slowest = [[1e3 * percentile(one, 0.99) for one in side] for side in found]
        peer = PEERS[backend]
        figures.append(Figure.of(what, backend, peer, "turns/s", *rates, higher=True))
        figures.append(Figure.of(f"{what}: CPU time a turn", backend, peer, "ms", *work))
        figures.append(Figure.of(f"{what}: 99th percentile", backend, peer, "ms", *slowest))
    return figures


# A long thread


class Side:
    """One saver with a long thread."""

    def __init__(
        self, name: str, open_: Callable[[Any], Any], database: Database, state: type, stack: contextlib.ExitStack
    ) -> None:
        self.name, self.database = name, database
        self._open, self._state = open_, state
        self.graph = graph_of(open_(stack), state)
        self.config: Any = {"configurable": {"thread_id": "thread"}}
        self.graph.invoke({"messages": [HumanMessage("warm")]}, {"configurable": {"thread_id": "warm"}})
        self.empty = database.size()
        self.last: list[tuple[float, float]] = []
        self.early: list[float] = []

    def turn(self, question: str) -> None:
        """Run a turn."""
        with Clock(self.database.pid) as clock:
            self.graph.invoke({"messages": [HumanMessage(question)]}, self.config, durability="sync")
        self.last.append((clock.client, clock.server))

    def cold(self) -> tuple[float, float]:
        """Load the thread with a new saver."""
        with contextlib.ExitStack() as stack:
            graph = graph_of(self._open(stack), self._state)
            graph.get_state({"configurable": {"thread_id": "warm"}})
            with Clock(self.database.pid) as clock:
                messages = graph.get_state(self.config).values["messages"]
        assert len(messages) > 10
        return clock.client, clock.server

    def bytes_of_messages(self) -> int:
        """Return the bytes of the messages, serialised once each."""
        serde = JsonPlusSerializer()
        return sum(len(serde.dumps_typed(one)[1]) for one in self.graph.get_state(self.config).values["messages"])


PLAIN, DELTAS, PEER_PLAIN, PEER_DELTAS = "ours, plain", "ours, deltas", "peer, plain", "peer, deltas"


def long_sides(backend: str, databases: Databases, stack: contextlib.ExitStack, *, plain: bool) -> list[Side]:
    """Return the sides of a long thread, the peer with deltas first."""

    def side(name: str, make: Callable[..., Any], state: type) -> Side:
        database = databases.new(backend)
        return Side(name, lambda own: make(backend, database.url, 1, own), database, state, stack)

    sides = [
        side(PEER_DELTAS, theirs, Deltas),
        side(PLAIN, ours, MessagesState),
        side(DELTAS, ours, Deltas),
    ]
    return [*sides, side(PEER_PLAIN, theirs, MessagesState)] if plain else sides


def long_figures(
    backend: str, databases: Databases, turns: int, plain: int, colds: int = 5
) -> tuple[list[Figure], list[Point]]:
    """Compare a long thread after a number of turns; the peer without deltas after `plain` turns."""
    figures: list[Figure] = []
    points: list[Point] = []
    with contextlib.ExitStack() as stack:
        sides = long_sides(backend, databases, stack, plain=True)
        source = random.Random(11)
        for turn in range(1, turns + 1):
            question = text(source)
            taking = [one for one in sides if one.name != PEER_PLAIN or turn <= plain]
            for one in taking if turn % 2 else taking[::-1]:
                one.turn(question)
            if turn % max(1, turns // 10) == 0:
                for one in taking:
                    times = [1e3 * sum(both) for both in one.last[-10:]]
                    curve = f"CPU time of a turn, {backend}"
                    points.append(Point(curve, "turns", one.name, turn, statistics.median(times), "ms"))
            if turn in {plain, turns}:
                figures += _long_figures(backend, turn, taking, colds)
    return figures, points


def _long_figures(backend: str, turn: int, sides: list[Side], colds: int) -> list[Figure]:
    """Compare the sides after a turn."""
    window = min(20, turn)
    values: dict[str, dict[str, list[float]]] = {"CPU time of a turn": {}, "loading it cold": {}, "stored bytes": {}}
    for one in sides:
        # The CPU time of a server has steps of 10 ms, so it is averaged over several turns.
        server = statistics.mean([of_server for _, of_server in one.last[-window:]])
        values["CPU time of a turn"][one.name] = [1e3 * (client + server) for client, _ in one.last[-window:]]
    loads: dict[str, list[tuple[float, float]]] = {one.name: [] for one in sides}
    for _ in range(colds):
        for one in sides:
            loads[one.name].append(one.cold())
    for one in sides:
        server = statistics.mean([of_server for _, of_server in loads[one.name]])
        values["loading it cold"][one.name] = [1e3 * (client + server) for client, _ in loads[one.name]]
        values["stored bytes"][one.name] = [float(one.database.size() - one.empty)]
    figures = []
    for what, by_side in values.items():
        unit = "bytes" if what == "stored bytes" else "ms"
        for mine, peer in ((PLAIN, PEER_PLAIN), (PLAIN, PEER_DELTAS), (DELTAS, PEER_DELTAS)):
            if peer in by_side:
                other = f"{PEERS[backend]}{' with DeltaChannel' if peer == PEER_DELTAS else ''}"
                label = f"thread of {turn} turns{' with DeltaChannel' if mine == DELTAS else ''}: {what}"
                figures.append(Figure.of(label, backend, other, unit, by_side[mine], by_side[peer]))
    return figures


def long_thread(backend: str, databases: Databases, args: argparse.Namespace) -> None:
    """Compare a long thread."""
    with contextlib.ExitStack() as stack:
        sides = long_sides(backend, databases, stack, plain=bool(args.plain))
        source = random.Random(11)
        # The peer writes a snapshot each 50 turns: after 25 turns more, it has half of the writes to read that it ever has.
        marks = {10, 225, 425, args.turns}
        sizes: dict[str, dict[int, int]] = {one.name: {} for one in sides}
        for turn in range(1, args.turns + 1):
            question = text(source)
            for one in sides if turn % 2 else sides[::-1]:
                if one.name != PEER_PLAIN or turn <= args.plain:
                    one.turn(question)
            if turn % 100 == 0:
                for one in sides:
                    sizes[one.name][turn] = one.database.size() - one.empty
            if turn in marks:
                report(backend, turn, [one for one in sides if one.name != PEER_PLAIN or turn <= args.plain], args)
        last = args.turns // 100 * 100
        for one in sides:
            known = sizes[one.name]
            if last >= 300 and one.name != PEER_PLAIN:
                late, early = known[last] - known[last - 100], known[200] - known[100]
                print(
                    f"{backend:<9}bytes a turn, {one.name:<13}"
                    f"{early / 100:>8.0f} (turns 100 to 200) {late / 100:>8.0f} (the last 100) {late / early:>6.2f}"
                )


def report(backend: str, turn: int, sides: list[Side], args: argparse.Namespace) -> None:
    """Print the state of the sides after a turn."""
    stored = sides[0].bytes_of_messages()
    base: list[float] = []
    for one in sides:
        window = one.last[-min(args.window, turn) :]
        clients, servers = zip(*window, strict=True)
        took = statistics.median(clients) + statistics.mean(servers)
        colds = [one.cold() for _ in range(args.colds)]
        cold = statistics.median(client for client, _ in colds) + statistics.mean(server for _, server in colds)
        values = [1e3 * took, 1e3 * cold, one.database.size() - one.empty]
        base = base or values
        ratios = [value / other if other else 0 for value, other in zip(values, base, strict=True)]
        print(
            f"{backend:<9}turn {turn:<5}{one.name:<14}"
            f"turn {values[0]:7.2f} ms ({ratios[0]:.2f}), of it server {1e3 * statistics.mean(servers):5.2f}   "
            f"cold {values[1]:7.2f} ms ({ratios[1]:.2f})   "
            f"bytes {values[2]:>9,} ({ratios[2]:.2f}), {values[2] / stored:.2f} times the messages",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("chats", "long"))
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--chats", type=int, default=64, help="concurrent chats (default 64)")
    parser.add_argument("--turns", type=int, help="turns of a chat (default 20), of the long thread (default 425)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of chats (default 3)")
    parser.add_argument("--connections", type=int, default=10, help="connections of each side (default 10)")
    parser.add_argument("--only", choices=("tasks", "threads"), help="only tasks, or only threads")
    parser.add_argument("--plain", type=int, default=0, help="turns of the peer without deltas (default 0)")
    parser.add_argument("--window", type=int, default=20, help="turns of which the median is taken (default 20)")
    parser.add_argument("--colds", type=int, default=7, help="cold loads of which the median is taken (default 7)")
    args = parser.parse_args()
    args.turns = args.turns or (20 if args.what == "chats" else 425)
    with database_servers() as databases:
        for backend in args.backends.split(","):
            if args.what == "long":
                long_thread(backend, databases, args)
                continue
            turns = args.chats * args.turns
            if args.only != "threads":
                show_chats(f"{backend}, tasks", asyncio.run(async_chats(backend, databases, args)), turns)
            if args.only != "tasks":
                show_chats(f"{backend}, threads", sync_chats(backend, databases, args), turns)


if __name__ == "__main__":
    main()
