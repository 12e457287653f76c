"""The time to fill a prompt of six variables from memory, beside the same prompt filled by hand, on each backend.

By hand: one table (on Redis, one hash) with the same six values as JSON, one statement by the driver, `json.loads`, and
LangChain's `ChatPromptTemplate` with six inputs. `own` has six variables of the user. `mixed` has two of them, and user name,
preferences, recent context of four messages and session context; by hand, these are ready-made texts in the same table.

Both fill the prompt in turns. Printed: the median of each in microseconds, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import redis
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate

from langchain_agentmem import AgentMemory, UserProfile

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server, redis_server

USER = "alice@example.com"
CONFIG: Any = {"configurable": {"user_id": USER, "session_id": "session-1"}}
OWN = ["tone", "project", "city", "language", "goal", "deadline"]
MIXED = ["tone", "project", "user_name", "preferences", "recent_context", "session_context"]

Values = Callable[[list[str]], Mapping[str, str]]
"""Reads values by hand: takes names, returns JSON texts by name."""


def sqlite_by_hand(file: Path, values: Mapping[str, str]) -> Values:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE hand (user_id TEXT, name TEXT, value TEXT, PRIMARY KEY (user_id, name))")
    connection.executemany("INSERT INTO hand VALUES (?, ?, ?)", [(USER, *pair) for pair in values.items()])
    statement = "SELECT name, value FROM hand WHERE user_id = ? AND name IN (?, ?, ?, ?, ?, ?)"
    return lambda names: dict(connection.execute(statement, (USER, *names)).fetchall())


def postgres_by_hand(url: str, values: Mapping[str, str]) -> Values:
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("CREATE TABLE hand (user_id text, name text, value text, PRIMARY KEY (user_id, name))")
    connection.cursor().executemany("INSERT INTO hand VALUES (%s, %s, %s)", [(USER, *pair) for pair in values.items()])
    statement = "SELECT name, value FROM hand WHERE user_id = %s AND name = ANY(%s)"
    return lambda names: dict(connection.execute(statement, (USER, names)).fetchall())


def redis_by_hand(url: str, values: Mapping[str, str]) -> Values:
    client = redis.Redis.from_url(url, decode_responses=True)
    client.hset(f"hand:{USER}", mapping=dict(values))
    return lambda names: dict(zip(names, client.hmget(f"hand:{USER}", names), strict=True))


def fill(memory: AgentMemory) -> None:
    for name in OWN:
        memory.variables.set(name, f"the {name}", user_id=USER)
    memory.profiles.save(UserProfile(user_id=USER, name="Alice", preferences={"answers": "short", "units": "metric"}))
    history = memory.history("session-1", user_id=USER)
    for number in range(2):
        history.add_messages([HumanMessage(f"Question {number}?"), AIMessage(f"Answer {number}.")])
    memory.variables.set("topic", "sheds", user_id=USER, session_id="session-1")


def measured(by_hand: Callable[[], str], ours: Callable[[], str], rounds: int) -> tuple[float, float, float]:
    """Return the medians in microseconds, and the median ratio of a round; both must give the same text."""
    if by_hand() != ours():
        raise SystemExit(f"The prompts differ:\n{by_hand()}\n{ours()}")
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for action, own in zip((by_hand, ours), times, strict=True):
            start = time.perf_counter()
            for _ in range(50):
                action()
            own.append((time.perf_counter() - start) / 50 * 1e6)
    ratios = [our / hand for hand, our in zip(*times, strict=True)]
    return statistics.median(times[0]), statistics.median(times[1]), statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of 50 prompts each (default 40)")
    args = parser.parse_args()
    print(f"{'':<20}{'by hand (µs)':>14}{'ours (µs)':>12}{'ratio':>8}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres, server = stack.enter_context(postgres_server()).url, stack.enter_context(redis_server()).url
        backends: dict[str, tuple[str, Callable[[Mapping[str, str]], Values]]] = {
            "SQLite": (f"sqlite:///{folder}/ours.db", lambda values: sqlite_by_hand(folder / "hand.db", values)),
            "Postgres": (postgres, lambda values: postgres_by_hand(postgres, values)),
            "Redis": (server, lambda values: redis_by_hand(server, values)),
        }
        for name, (url, by_hand) in backends.items():
            memory = stack.enter_context(AgentMemory.from_url(url))
            fill(memory)
            reference = memory.prompt([("human", f"{{{{{one}}}}}") for one in [*OWN, *MIXED]]).invoke({}, CONFIG)
            texts = dict(zip([*OWN, *MIXED], (str(one.content) for one in reference.to_messages()), strict=True))
            read = by_hand({one: json.dumps(text) for one, text in texts.items()})
            for what, names in (("own", OWN), ("mixed", MIXED)):
                theirs = ChatPromptTemplate([("system", " ".join(f"{{{one}}}" for one in names)), ("human", "{input}")])
                prompt = memory.prompt([("system", " ".join(f"{{{{{one}}}}}" for one in names)), ("human", "{input}")])

                def hand(names: list[str] = names, theirs: ChatPromptTemplate = theirs, read: Values = read) -> str:
                    values = {one: json.loads(text) for one, text in read(names).items()}
                    return theirs.invoke({"input": "Hello", **values}, CONFIG).to_string()

                def ours(prompt: Any = prompt) -> str:
                    return str(prompt.invoke({"input": "Hello"}, CONFIG).to_string())

                result = measured(hand, ours, args.rounds)
                print(f"{name:<10}{what:<10}{result[0]:>14.0f}{result[1]:>12.0f}{result[2]:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
