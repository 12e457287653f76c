"""The time of a history turn (read a window of 40, write two messages), on sessions of 100 and of 10,000 messages.

Both sessions lie in one database file and take turns. Printed: medians, their ratio, and the transactions of a turn. For
scale, the same turn on a history that keeps one JSON string a session (read, append, rewrite).
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, messages_from_dict, messages_to_dict

from langchain_agentmem import AgentMemory

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
WINDOW = 40


def turn_messages(source: random.Random) -> list[BaseMessage]:
    return [kind(" ".join(source.choices(WORDS, k=65))) for kind in (HumanMessage, AIMessage)]


class JsonString:
    """A history as one JSON string a session, as hand-written ones often are."""

    def __init__(self, file: Path) -> None:
        self.connection = sqlite3.connect(file)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE history (session TEXT PRIMARY KEY, messages TEXT)")

    def read(self, session: str) -> list[BaseMessage]:
        row = self.connection.execute("SELECT messages FROM history WHERE session = ?", (session,)).fetchone()
        return messages_from_dict(json.loads(row[0])) if row else []

    def add(self, session: str, messages: list[BaseMessage]) -> None:
        text = json.dumps(messages_to_dict([*self.read(session), *messages]))
        self.connection.execute("INSERT OR REPLACE INTO history VALUES (?, ?)", (session, text))
        self.connection.commit()


def median_ms(action: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="counted turns on each session (default 200)")
    args = parser.parse_args()
    source = random.Random(3)
    sizes = (100, 10_000)
    with tempfile.TemporaryDirectory() as folder:
        memory = AgentMemory.from_url(f"sqlite:///{folder}/ours.db", max_messages=WINDOW)
        plain = JsonString(Path(folder, "plain.db"))
        for size in sizes:
            filling = [message for _ in range(size // 2) for message in turn_messages(source)]
            memory.history(f"session-{size}").add_messages(filling)
            plain.add(f"session-{size}", filling)

        def turn(session: str) -> None:
            history = memory.get_session_history(session)
            assert len(history.messages) == WINDOW
            history.add_messages(turn_messages(source))

        def plain_turn(session: str) -> None:
            assert plain.read(session)[-WINDOW:]
            plain.add(session, turn_messages(source))

        times: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(args.runs // 20):
            for size in sizes:
                times[size].append(median_ms(lambda size=size: turn(f"session-{size}"), 20))
        ours = {size: statistics.median(times[size]) for size in sizes}
        other = {size: median_ms(lambda size=size: plain_turn(f"session-{size}"), 5) for size in sizes}
        print(f"{'stored messages':<18}{'ours (ms)':>12}{'one JSON string (ms)':>24}{'times faster':>14}")
        for size in sizes:
            print(f"{size:<18,}{ours[size]:>12.2f}{other[size]:>24.2f}{other[size] / ours[size]:>14.1f}")
        print(f"ours, {sizes[1]:,} / {sizes[0]}: {ours[sizes[1]] / ours[sizes[0]]:.3f}")
        memory.close()
        plain.connection.close()


if __name__ == "__main__":
    main()
