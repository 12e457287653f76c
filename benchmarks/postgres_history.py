"""A history turn on Postgres: read a window of 40 and write two messages, in a session of 10,000 messages.

Beside it in one run: `langchain_postgres.PostgresChatMessageHistory`, which reads the whole session, and the same done with
SQL written by hand (one table with an index; one SELECT with LIMIT; one INSERT), messages as JSON. Medians.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, message_to_dict, messages_from_dict
from langchain_postgres import PostgresChatMessageHistory

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
WINDOW = 40


def turn_messages(source: random.Random) -> list[BaseMessage]:
    return [kind(" ".join(source.choices(WORDS, k=65))) for kind in (HumanMessage, AIMessage)]


class ByHand:
    """The same with SQL written for it."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        self.connection.execute(
            "CREATE TABLE by_hand (id bigint GENERATED ALWAYS AS IDENTITY, session text NOT NULL, message jsonb NOT NULL)"
        )
        self.connection.execute("CREATE INDEX ON by_hand (session, id)")

    def read(self, session: str) -> list[BaseMessage]:
        query = "SELECT message FROM by_hand WHERE session = %s ORDER BY id DESC LIMIT %s"
        rows = self.connection.execute(query, (session, WINDOW)).fetchall()
        return messages_from_dict([row[0] for row in reversed(rows)])

    def add(self, session: str, messages: list[BaseMessage]) -> None:
        texts = [json.dumps(message_to_dict(message)) for message in messages]
        insert = "INSERT INTO by_hand (session, message) SELECT %s, unnest(%s::jsonb[])"
        self.connection.execute(insert, (session, texts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000, help="messages in the session (default 10000)")
    parser.add_argument("--runs", type=int, default=200, help="turns that are counted (default 200)")
    args = parser.parse_args()
    source = random.Random(3)
    filling = [message for _ in range(args.messages // 2) for message in turn_messages(source)]
    with postgres_server() as server:
        memory = AgentMemory.from_url(server.url, max_messages=WINDOW)
        memory.history("session").add_messages(filling)
        by_hand = ByHand(server.url)
        by_hand.add("session", filling)
        theirs = psycopg.connect(server.url)
        PostgresChatMessageHistory.create_tables(theirs, "their_history")
        peer = PostgresChatMessageHistory("their_history", str(uuid.uuid4()), sync_connection=theirs)
        peer.add_messages(filling)
        by_hand.connection.execute("ANALYZE")

        def ours_turn() -> None:
            history = memory.get_session_history("session")
            assert len(history.messages) == WINDOW
            history.add_messages(turn_messages(source))

        def hand_turn() -> None:
            assert len(by_hand.read("session")) == WINDOW
            by_hand.add("session", turn_messages(source))

        def peer_turn() -> None:
            assert len(peer.messages[-WINDOW:]) == WINDOW
            peer.add_messages(turn_messages(source))

        turns: dict[str, tuple[Callable[[], None], int]] = {
            "AgentMemHistory": (ours_turn, args.runs),
            "SQL by hand": (hand_turn, args.runs),
            "PostgresChatMessageHistory": (peer_turn, max(3, args.runs // 20)),
        }
        times: dict[str, list[float]] = {name: [] for name in turns}
        for run in range(args.runs):
            for name, (turn, runs) in turns.items():
                if run < runs:
                    start = time.perf_counter()
                    turn()
                    times[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(one) * 1e3 for name, one in times.items()}
        for name, median in medians.items():
            print(f"{name:<28}{median:>9.2f} ms, {median / medians['AgentMemHistory']:>8.2f} times ours")
        print(f"ours beside SQL by hand: {medians['AgentMemHistory'] / medians['SQL by hand']:.2f}")
        memory.close()
        by_hand.connection.close()
        theirs.close()


if __name__ == "__main__":
    main()
