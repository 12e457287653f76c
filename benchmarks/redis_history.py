"""A history turn on Redis: read a window of 40 and write two messages, in a session of 10,000 messages.

Beside it in one run, on one server: a history that keeps one JSON string a session (read, append, rewrite), one that pushes
messages to a list and reads all of it (`RPUSH`, `LRANGE 0 -1`), and a pipeline by hand for exactly this (`LRANGE` of the
window; `RPUSH`, count, time and index of sessions). Medians; the sides take turns.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import redis
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    message_to_dict,
    messages_from_dict,
    messages_to_dict,
)

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import redis_server

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
WINDOW = 40


def turn_messages(source: random.Random) -> list[BaseMessage]:
    return [kind(" ".join(source.choices(WORDS, k=65))) for kind in (HumanMessage, AIMessage)]


class JsonString:
    """One JSON string a session."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def read(self) -> list[BaseMessage]:
        return messages_from_dict(json.loads(self.client.get("json:session") or "[]"))

    def add(self, messages: list[BaseMessage]) -> None:
        self.client.set("json:session", json.dumps(messages_to_dict([*self.read(), *messages])))


class WholeList:
    """A list of JSON strings, read whole."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def read(self) -> list[BaseMessage]:
        return messages_from_dict([json.loads(one) for one in self.client.lrange("list:session", 0, -1)])

    def add(self, messages: list[BaseMessage]) -> None:
        self.client.rpush("list:session", *(json.dumps(message_to_dict(message)) for message in messages))


class ByHand:
    """What one would write for a window, a count and a list of sessions."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def read(self) -> list[BaseMessage]:
        return messages_from_dict([json.loads(one) for one in self.client.lrange("hand:session", -WINDOW, -1)])

    def add(self, messages: list[BaseMessage]) -> None:
        pipeline = self.client.pipeline()
        pipeline.rpush("hand:session", *(json.dumps(message_to_dict(message)) for message in messages))
        pipeline.hincrby("hand:state", "count", len(messages))
        pipeline.hset("hand:state", "updated", time.time())
        pipeline.zadd("hand:sessions", {"session": time.time()})
        pipeline.execute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000, help="messages in the session (default 10000)")
    parser.add_argument("--runs", type=int, default=400, help="turns that are counted (default 400)")
    args = parser.parse_args()
    from rich.progress import track

    source = random.Random(3)
    filling = [message for _ in range(args.messages // 2) for message in turn_messages(source)]
    with redis_server() as server, redis.Redis(port=server.port, db=1) as client:
        memory = AgentMemory.from_url(server.url, max_messages=WINDOW)
        memory.history("session").add_messages(filling)
        sides = {
            "one JSON string": JsonString(client),
            "RPUSH, LRANGE of all": WholeList(client),
            "by hand": ByHand(client),
        }
        for side in sides.values():
            side.add(filling)

        def ours() -> None:
            history = memory.get_session_history("session")
            assert len(history.messages) == WINDOW
            history.add_messages(turn_messages(source))

        def turn_of(side: JsonString | WholeList | ByHand) -> Callable[[], None]:
            def turn() -> None:
                assert len(side.read()[-WINDOW:]) == WINDOW
                side.add(turn_messages(source))

            return turn

        few = max(3, args.runs // 40)
        turns = {"AgentMemHistory": (ours, args.runs)}
        turns |= {name: (turn_of(side), args.runs if name == "by hand" else few) for name, side in sides.items()}
        times: dict[str, list[float]] = {name: [] for name in turns}
        for run in track(range(args.runs), description="turns"):
            for name, (turn, runs) in turns.items():
                if run < runs:
                    start = time.perf_counter()
                    turn()
                    times[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(one) * 1e3 for name, one in times.items()}
        for name, median in medians.items():
            print(f"{name:<24}{median:>9.2f} ms, {median / medians['AgentMemHistory']:>8.2f} times ours")
        print(f"ours beside the pipeline by hand: {medians['AgentMemHistory'] / medians['by hand']:.2f}")
        memory.close()


if __name__ == "__main__":
    main()
