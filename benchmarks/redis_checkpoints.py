"""Checkpoints on Redis: memory and time of a turn, ours beside the Valkey saver of langgraph-checkpoint-aws, in one run.

A graph with one node answers each turn with about 400 characters of words; both checkpointers run the same turns, in turn,
each on a server of its own. Memory is what `INFO` calls `used_memory`, less that of the empty server. Round trips are the
times that a client sends something and waits for the answer. The peer is an extra package:

    pip install 'langgraph-checkpoint-aws[valkey]'
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import redis
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemSaver

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import RedisServer

WORDS = (Path(__file__).parent / "words.txt").read_text().split()


def text(source: random.Random, characters: int = 400) -> str:
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(source.choice(WORDS))
    return " ".join(words)


class Side:
    """One checkpointer with its server, its graph and its measurements."""

    def __init__(self, name: str, server: RedisServer, saver: Any) -> None:
        self.name, self.server = name, server
        self.admin = redis.Redis(port=server.port)
        source = random.Random(7)
        builder = StateGraph(MessagesState)
        builder.add_node("reply", lambda state: {"messages": [AIMessage(text(source))]})
        builder.add_edge(START, "reply")
        self.graph = builder.compile(checkpointer=saver)
        self.config: Any = {"configurable": {"thread_id": "warm"}}
        self.turn("warm")
        self.config = {"configurable": {"thread_id": "thread"}}
        self.times: list[float] = []
        self.sizes: dict[int, int] = {0: self.memory()}

    def turn(self, question: str) -> float:
        start = time.perf_counter()
        self.graph.invoke({"messages": [HumanMessage(question)]}, self.config, durability="sync")
        return time.perf_counter() - start

    def memory(self) -> int:
        return int(self.admin.info("memory")["used_memory"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=400, help="turns on each side (default 400)")
    args = parser.parse_args()
    from rich.progress import track

    sides = []
    ours = RedisServer()
    saver = AgentMemSaver.from_url(ours.url)
    sides.append(Side("AgentMemSaver", ours, saver))
    try:
        from langgraph_checkpoint_aws import ValkeySaver
        from valkey import Valkey
    except ImportError:
        print("langgraph-checkpoint-aws[valkey] is not installed: ours alone.")
    else:
        theirs = RedisServer()
        sides.append(Side("ValkeySaver", theirs, ValkeySaver(Valkey(port=theirs.port))))

    source = random.Random(11)
    marks = {*range(0, args.turns + 1, max(1, args.turns // 8)), args.turns}
    for turn in track(range(1, args.turns + 1), description="turns"):
        question = text(source)
        for side in sides if turn % 2 else sides[::-1]:
            side.times.append(side.turn(question))
            if turn in marks:
                side.sizes[turn] = side.memory()

    print(f"{'':<36}" + "".join(f"{side.name:>16}" for side in sides) + ("" if len(sides) < 2 else f"{'ratio':>9}"))
    half = sorted(marks)[len(marks) // 2]
    measured = {
        "memory of all turns (kB)": [(side.sizes[args.turns] - side.sizes[0]) / 1e3 for side in sides],
        f"a turn, turns 1-{half} (kB)": [(side.sizes[half] - side.sizes[0]) / half / 1e3 for side in sides],
        f"a turn, turns {half}-{args.turns} (kB)": [
            (side.sizes[args.turns] - side.sizes[half]) / (args.turns - half) / 1e3 for side in sides
        ],
        "a turn, median of the last 40 (ms)": [statistics.median(side.times[-40:]) * 1e3 for side in sides],
    }
    for label, values in measured.items():
        ratio = f"{values[0] / values[1]:>9.3f}" if len(values) > 1 else ""
        print(f"{label:<36}" + "".join(f"{value:>16,.2f}" for value in values) + ratio)
    saver.close()
    for side in sides:
        side.admin.close()
        side.server.close()


if __name__ == "__main__":
    main()
