"""How a thread grows: bytes and time per turn, ours beside SqliteSaver, in one run.

A graph with one node answers each turn with about 400 characters of words; both checkpointers run the same turns, in
turn. Bytes per turn are the growth of the database file (write-ahead log included, after it was folded in), by windows of
turns. The figure `file / messages` compares the file with the messages as LangGraph's own serializer writes them, once
each. Results go to the terminal, and a plot to the file that `--plot` names.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemSaver

WORDS = (Path(__file__).parent / "words.txt").read_text().split()


def text(source: random.Random, characters: int = 400) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(source.choice(WORDS))
    return " ".join(words)


class Side:
    """One checkpointer with its graph and its measurements."""

    def __init__(self, name: str, saver: Any, file: Path) -> None:
        self.name, self.file = name, file
        source = random.Random(7)
        builder = StateGraph(MessagesState)
        builder.add_node("reply", lambda state: {"messages": [AIMessage(text(source))]})
        builder.add_edge(START, "reply")
        self.graph = builder.compile(checkpointer=saver)
        self.config: Any = {"configurable": {"thread_id": "thread"}}
        self.times: list[float] = []
        self.sizes: list[int] = []

    def turn(self, question: str) -> None:
        start = time.perf_counter()
        self.graph.invoke({"messages": [HumanMessage(question)]}, self.config, durability="sync")
        self.times.append(time.perf_counter() - start)

    def measure(self) -> None:
        with sqlite3.connect(self.file) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        connection.close()
        self.sizes.append(self.file.stat().st_size)

    def messages_bytes(self) -> int:
        serde = JsonPlusSerializer()
        return sum(len(serde.dumps_typed(m)[1]) for m in self.graph.get_state(self.config).values["messages"])


def run(sides: list[Side], turns: int, every: int, progress: Callable[[int], None]) -> None:
    source = random.Random(11)
    for turn in range(turns):
        question = text(source)
        for side in sides if turn % 2 else sides[::-1]:
            side.turn(question)
        if turn % every == every - 1:
            for side in sides:
                side.measure()
        progress(turn + 1)


def per_turn(side: Side, every: int, first: int, last: int) -> float:
    """Bytes per turn between two turns."""
    sizes = [0, *side.sizes]
    return (sizes[last // every] - sizes[first // every]) / (last - first)


def plot(sides: list[Side], every: int, target: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for side in sides:
        at = [every * (n + 1) for n in range(len(side.sizes))]
        left.plot(at, [size / 1e6 for size in side.sizes], label=side.name)
        smooth = [statistics.median(side.times[max(0, n - 10) : n + 10]) * 1e3 for n in range(len(side.times))]
        right.plot(range(1, len(smooth) + 1), smooth, label=side.name)
    left.set(title="Size of the database file", xlabel="turns", ylabel="MB", yscale="log")
    right.set(title="Time of a turn (median of 20)", xlabel="turns", ylabel="ms")
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    plt.tight_layout()
    plt.savefig(target, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=400, help="turns beside SqliteSaver (default 400)")
    parser.add_argument("--long", type=int, default=1000, help="turns of ours alone (default 1000)")
    parser.add_argument("--plot", type=Path, default=Path(__file__).parent / "checkpoint_growth.png")
    args = parser.parse_args()
    from rich.progress import Progress

    every = 10
    with tempfile.TemporaryDirectory() as folder, Progress() as bar:
        ours_file, peer_file, long_file = (Path(folder, name) for name in ("ours.db", "peer.db", "long.db"))
        connection = sqlite3.connect(peer_file, check_same_thread=False)
        ours = AgentMemSaver.from_url(f"sqlite:///{ours_file}")
        alone = AgentMemSaver.from_url(f"sqlite:///{long_file}")
        sides = [Side("AgentMemSaver", ours, ours_file), Side("SqliteSaver", SqliteSaver(connection), peer_file)]
        task = bar.add_task("beside SqliteSaver", total=args.turns)
        run(sides, args.turns, every, lambda done: bar.update(task, completed=done))
        far = Side("AgentMemSaver", alone, long_file)
        long_task = bar.add_task("ours alone", total=args.long)
        run([far], args.long, every, lambda done: bar.update(long_task, completed=done))
        bar.stop()

        mine, peer = sides
        print(f"{'':<34}{mine.name:>15}{peer.name:>15}{'ratio':>9}")
        last = args.turns
        for label, low, high in (("first 50", 0, 50), ("last 50", last - 50, last)):
            pair = [per_turn(side, every, low, high) for side in sides]
            print(f"file growth a turn, {label:<9} (B) {pair[0]:>15,.0f}{pair[1]:>15,.0f}{pair[0] / pair[1]:>9.3f}")
        pair = [statistics.median(side.times[-40:]) * 1e3 for side in sides]
        print(f"a turn, median of the last 40 (ms) {pair[0]:>14.2f}{pair[1]:>15.2f}{pair[0] / pair[1]:>9.3f}")
        sizes = [side.sizes[-1] for side in sides]
        print(f"file after {last} turns (B)       {sizes[0]:>15,}{sizes[1]:>15,}{sizes[0] / sizes[1]:>9.3f}")

        near_bytes, far_bytes = per_turn(far, every, 10, 60), per_turn(far, every, args.long - 50, args.long)
        total = far.messages_bytes()
        print(
            f"\n{far.name} alone, {args.long} turns: file {far.sizes[-1]:,} B, messages {total:,} B, "
            f"file / messages {far.sizes[-1] / total:.2f}"
        )
        print(
            f"file growth a turn, turns 10-60: {near_bytes:,.0f} B; last 50: {far_bytes:,.0f} B; "
            f"ratio {far_bytes / near_bytes:.3f}"
        )
        print(
            f"a turn, median of turns 10-60: {statistics.median(far.times[10:60]) * 1e3:.2f} ms; "
            f"last 50: {statistics.median(far.times[-50:]) * 1e3:.2f} ms"
        )
        plot(sides, every, args.plot)
        print(f"plot: {args.plot.name}")
        for saver in (ours, alone):
            saver.close()
        connection.close()


if __name__ == "__main__":
    main()
