"""The time to fill a prompt of six variables from memory, beside the same prompt filled by hand, on each backend.

By hand: one table (on Redis, hashes) with the same six values as JSON. One statement of the driver (on Redis, one pipeline)
reads them from the same three scopes as the prompt: the session, the user and all users. The most specific value wins. Then
`json.loads`, and LangChain's `ChatPromptTemplate` with six inputs. The table has no agents, no expiry and no index of words.

`own` has six variables of the user. `mixed` has two of them, and user name, preferences, recent context of four messages and
session context; by hand, these are ready-made texts in the same table.

Both fill the prompt in turns, and must give equal messages. Printed: the median time of each in microseconds, and the medians
of the ratios of the rounds, for the time and for the CPU time of this process, which other processes disturb less.
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
from typing import Any, NamedTuple

import psycopg
import redis
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate

from langchain_agentmem import AgentMemory, UserProfile

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server, redis_server

USER = "alice@example.com"
SESSION = "session-1"
CONFIG: Any = {"configurable": {"user_id": USER, "session_id": SESSION}}
OWN = ["tone", "project", "city", "language", "goal", "deadline"]
MIXED = ["tone", "project", "user_name", "preferences", "recent_context", "session_context"]

Values = Callable[[list[str]], Mapping[str, str]]
"""Reads values by hand: takes names, returns JSON texts by name."""


def sqlite_by_hand(file: Path, values: Mapping[str, str]) -> Values:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "CREATE TABLE hand (user_id TEXT, session_id TEXT, name TEXT, value TEXT, PRIMARY KEY (user_id, session_id, name))"
    )
    connection.executemany("INSERT INTO hand VALUES (?, '', ?, ?)", [(USER, *pair) for pair in values.items()])
    statement = (
        "SELECT name, value FROM hand WHERE (user_id, session_id) IN (VALUES (?, ?), (?, ''), ('', '')) "
        "AND name IN (?, ?, ?, ?, ?, ?) ORDER BY user_id, session_id"
    )
    return lambda names: dict(connection.execute(statement, (USER, SESSION, USER, *names)).fetchall())


def postgres_by_hand(url: str, values: Mapping[str, str]) -> Values:
    connection = psycopg.connect(url, autocommit=True)
    connection.execute(
        "CREATE TABLE hand (user_id text, session_id text, name text, value text, PRIMARY KEY (user_id, session_id, name))"
    )
    connection.cursor().executemany(
        "INSERT INTO hand VALUES (%s, '', %s, %s)", [(USER, *pair) for pair in values.items()]
    )
    statement = (
        "SELECT name, value FROM hand WHERE (user_id, session_id) IN ((%s, %s), (%s, ''), ('', '')) AND name = ANY(%s) "
        "ORDER BY user_id, session_id"
    )
    return lambda names: dict(connection.execute(statement, (USER, SESSION, USER, names)).fetchall())


def redis_by_hand(url: str, values: Mapping[str, str]) -> Values:
    client = redis.Redis.from_url(url, decode_responses=True)
    client.hset(f"hand:{USER}", mapping=dict(values))

    def read(names: list[str]) -> Mapping[str, str]:
        with client.pipeline(transaction=False) as pipeline:
            for key in ("hand", f"hand:{USER}", f"hand:{USER}:{SESSION}"):
                pipeline.hmget(key, names)
            found = pipeline.execute()
        return {name: value for some in found for name, value in zip(names, some, strict=True) if value is not None}

    return read


def fill(memory: AgentMemory) -> None:
    for name in OWN:
        memory.variables.set(name, f"the {name}", user_id=USER)
    memory.profiles.save(UserProfile(user_id=USER, name="Alice", preferences={"answers": "short", "units": "metric"}))
    history = memory.history(SESSION, user_id=USER)
    for number in range(2):
        history.add_messages([HumanMessage(f"Question {number}?"), AIMessage(f"Answer {number}.")])
    memory.variables.set("topic", "sheds", user_id=USER, session_id=SESSION)


class Measured(NamedTuple):
    """Medians: times in microseconds, and ratios."""

    by_hand: float
    ours: float
    ratio: float
    cpu: float


def measured(by_hand: Callable[[], PromptValue], ours: Callable[[], PromptValue], rounds: int) -> Measured:
    """Return the medians; see the module's description."""
    if by_hand() != ours():
        raise SystemExit(f"The prompts differ:\n{by_hand()}\n{ours()}")
    times: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for _ in range(rounds):
        for action, own in zip((by_hand, ours), times, strict=True):
            start, cpu = time.perf_counter(), time.process_time()
            for _ in range(50):
                action()
            own.append(((time.perf_counter() - start) * 2e4, time.process_time() - cpu))
    ratios = [(our[0] / hand[0], our[1] / hand[1]) for hand, our in zip(*times, strict=True)]
    medians = [statistics.median(one for one, _ in own) for own in times]
    return Measured(*medians, *map(statistics.median, zip(*ratios, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of 50 prompts each (default 40)")
    args = parser.parse_args()
    print(f"{'':<20}{'by hand (µs)':>14}{'ours (µs)':>12}{'ratio':>8}{'CPU':>8}")
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

                def hand(
                    names: list[str] = names, theirs: ChatPromptTemplate = theirs, read: Values = read
                ) -> PromptValue:
                    values = {one: json.loads(text) for one, text in read(names).items()}
                    return theirs.invoke({"input": "Hello", **values}, CONFIG)

                def ours(prompt: Any = prompt) -> PromptValue:
                    filled: PromptValue = prompt.invoke({"input": "Hello"}, CONFIG)
                    return filled

                found = measured(hand, ours, args.rounds)
                numbers = f"{found.by_hand:>14.0f}{found.ours:>12.0f}{found.ratio:>8.2f}{found.cpu:>8.2f}"
                print(f"{name:<10}{what:<10}{numbers}", flush=True)


if __name__ == "__main__":
    main()
