"""The time to fill a prompt of six variables from memory, beside the same prompt filled by hand, on each backend.

`own` has six variables of the user. `mixed` has two of them, and user name, preferences, recent context of four messages and
session context.

By hand: tables of variables, profiles and messages (on Redis, hashes, a text and a list) with values as JSON. One statement
of the driver (on Redis, one pipeline) reads what the prompt reads. Variables come from the same scopes: the session, the
user and all users, and the most specific value wins. Then `json.loads`, code that makes the same texts, and LangChain's
`ChatPromptTemplate` with six inputs. The tables have no agents, no expiry and no index of words, and no value is checked.

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

SPEAKERS = {"human": "User", "ai": "Assistant"}
PROFILE = {"name": "Alice", "preferences": {"answers": "short", "units": "metric"}}
MESSAGES = [
    (role, f"{text} {number}.") for number in range(2) for role, text in (("human", "Question"), ("ai", "Answer"))
]

VARIABLE, KNOWN, MESSAGE = range(3)
OF_SESSION = 2
"""The rank of the variables of a session."""

Row = tuple[int, int, str, str]
"""A row that the hand-written statement returns: kind, rank or position, name or role, JSON text."""


class ByHand(NamedTuple):
    """Reads by hand."""

    own: Callable[[], Mapping[str, str]]
    """Returns JSON texts of variables by name."""
    mixed: Callable[[], list[Row]]
    """Returns rows, the least specific variables first, and messages in order."""


_SCOPED = "FROM hand WHERE (user_id, session_id) IN ({scopes}) AND "
_OWN = f"SELECT name, value {_SCOPED}name {{names}} ORDER BY user_id, session_id"
_MIXED = f"""
SELECT 0 AS kind, CASE WHEN session_id <> '' THEN 2 WHEN user_id <> '' THEN 1 ELSE 0 END AS ranked, name, value {_SCOPED}
    (name {{names}} OR session_id <> '')
UNION ALL SELECT 1, 0, '', document FROM hand_profiles WHERE user_id = {{mark}}
UNION ALL SELECT * FROM (
    SELECT 2, position, role, content FROM hand_messages WHERE user_id = {{mark}} AND session_id = {{mark}}
    ORDER BY position DESC LIMIT 6
) AS newest
ORDER BY 1, 2
"""


def tables_by_hand(connection: Any, mark: str) -> None:
    """Create and fill the tables."""
    own, profiles, messages = "user_id text, session_id text, name text, value text", "user_id text", "position integer"
    connection.execute(f"CREATE TABLE hand ({own}, PRIMARY KEY (user_id, session_id, name))")
    connection.execute(f"CREATE TABLE hand_profiles ({profiles} PRIMARY KEY, document text)")
    key = "PRIMARY KEY (user_id, session_id, position)"
    connection.execute(
        f"CREATE TABLE hand_messages (user_id text, session_id text, {messages}, role text, content text, {key})"
    )
    insert = connection.cursor().executemany
    rows = [(USER, "", name, json.dumps(f"the {name}")) for name in OWN]
    insert(f"INSERT INTO hand VALUES ({', '.join([mark] * 4)})", [*rows, (USER, SESSION, "topic", json.dumps("sheds"))])
    insert(f"INSERT INTO hand_profiles VALUES ({mark}, {mark})", [(USER, json.dumps(PROFILE))])
    said = [(USER, SESSION, at, role, json.dumps(text)) for at, (role, text) in enumerate(MESSAGES)]
    insert(f"INSERT INTO hand_messages VALUES ({', '.join([mark] * 5)})", said)


def sqlite_by_hand(file: Path) -> ByHand:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    tables_by_hand(connection, "?")
    scopes, names = "VALUES (?, ?), (?, ''), ('', '')", "IN (?, ?, ?, ?, ?, ?)"
    own, mixed = (one.format(scopes=scopes, names=names, mark="?") for one in (_OWN, _MIXED))
    scoped = (USER, SESSION, USER)
    return ByHand(
        lambda: dict(connection.execute(own, (*scoped, *OWN)).fetchall()),
        lambda: connection.execute(mixed, (*scoped, *MIXED, USER, USER, SESSION)).fetchall(),
    )


def postgres_by_hand(url: str) -> ByHand:
    connection = psycopg.connect(url, autocommit=True)
    tables_by_hand(connection, "%s")
    scopes, names = "(%s, %s), (%s, ''), ('', '')", "= ANY (%s)"
    own, mixed = (one.format(scopes=scopes, names=names, mark="%s") for one in (_OWN, _MIXED))
    scoped = (USER, SESSION, USER)
    return ByHand(
        lambda: dict(connection.execute(own, (*scoped, OWN)).fetchall()),
        lambda: connection.execute(mixed, (*scoped, MIXED, USER, USER, SESSION)).fetchall(),
    )


def redis_by_hand(url: str) -> ByHand:
    client = redis.Redis.from_url(url, decode_responses=True)
    scopes = ("hand", f"hand:{USER}", f"hand:{USER}:{SESSION}")
    client.hset(scopes[1], mapping={name: json.dumps(f"the {name}") for name in OWN})
    client.hset(scopes[2], "topic", json.dumps("sheds"))
    client.set(f"profile:{USER}", json.dumps(PROFILE))
    client.rpush(f"messages:{USER}:{SESSION}", *(f"{role} {json.dumps(text)}" for role, text in MESSAGES))

    def own() -> Mapping[str, str]:
        with client.pipeline(transaction=False) as pipeline:
            for key in scopes:
                pipeline.hmget(key, OWN)
            found = pipeline.execute()
        return {name: value for some in found for name, value in zip(OWN, some, strict=True) if value is not None}

    def mixed() -> list[Row]:
        with client.pipeline(transaction=False) as pipeline:
            for key in scopes[:2]:
                pipeline.hmget(key, MIXED)
            pipeline.hgetall(scopes[2])
            pipeline.get(f"profile:{USER}")
            pipeline.lrange(f"messages:{USER}:{SESSION}", -6, -1)
            *named, of_session, profile, messages = pipeline.execute()
        rows = [
            (VARIABLE, rank, name, value)
            for rank, some in enumerate(named)
            for name, value in zip(MIXED, some, strict=True)
            if value is not None
        ]
        rows += [(VARIABLE, OF_SESSION, *pair) for pair in of_session.items()]
        said = [(MESSAGE, at, *text.split(" ", 1)) for at, text in enumerate(messages)]
        return [*rows, (KNOWN, 0, "", profile), *said]

    return ByHand(own, mixed)


def lines_of(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in sorted(values.items()))


def texts_by_hand(rows: list[Row]) -> dict[str, Any]:
    """Return the texts of the mixed prompt."""
    values: dict[str, Any] = {}
    of_session: dict[str, Any] = {}
    said = []
    for kind, rank, name, text in rows:
        value = json.loads(text)
        if kind == VARIABLE:
            values[name] = value
            if rank == OF_SESSION:
                of_session[name] = value
        elif kind == KNOWN:
            values = {"user_name": value["name"], "preferences": lines_of(value["preferences"])} | values
        else:
            said.append(f"{SPEAKERS[name]}: {' '.join(value.split())[:300]}")
    return {"recent_context": "\n".join(said), "session_context": lines_of(of_session)} | values


def fill(memory: AgentMemory) -> None:
    for name in OWN:
        memory.variables.set(name, f"the {name}", user_id=USER)
    memory.profiles.save(UserProfile(user_id=USER, **PROFILE))
    classes = {"human": HumanMessage, "ai": AIMessage}
    memory.history(SESSION, user_id=USER).add_messages([classes[role](text) for role, text in MESSAGES])
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
        backends: dict[str, tuple[str, Callable[[], ByHand]]] = {
            "SQLite": (f"sqlite:///{folder}/ours.db", lambda: sqlite_by_hand(folder / "hand.db")),
            "Postgres": (postgres, lambda: postgres_by_hand(postgres)),
            "Redis": (server, lambda: redis_by_hand(server)),
        }
        for name, (url, connect) in backends.items():
            memory = stack.enter_context(AgentMemory.from_url(url))
            fill(memory)
            by_hand = connect()
            reads: dict[str, Callable[[], Mapping[str, Any]]] = {
                "own": lambda by_hand=by_hand: {one: json.loads(text) for one, text in by_hand.own().items()},
                "mixed": lambda by_hand=by_hand: texts_by_hand(by_hand.mixed()),
            }
            for what, names in (("own", OWN), ("mixed", MIXED)):
                theirs = ChatPromptTemplate([("system", " ".join(f"{{{one}}}" for one in names)), ("human", "{input}")])
                prompt = memory.prompt([("system", " ".join(f"{{{{{one}}}}}" for one in names)), ("human", "{input}")])

                def hand(theirs: ChatPromptTemplate = theirs, read: Any = reads[what]) -> PromptValue:
                    return theirs.invoke({"input": "Hello", **read()}, CONFIG)

                def ours(prompt: Any = prompt) -> PromptValue:
                    filled: PromptValue = prompt.invoke({"input": "Hello"}, CONFIG)
                    return filled

                found = measured(hand, ours, args.rounds)
                numbers = f"{found.by_hand:>14.0f}{found.ours:>12.0f}{found.ratio:>8.2f}{found.cpu:>8.2f}"
                print(f"{name:<10}{what:<10}{numbers}", flush=True)


if __name__ == "__main__":
    main()
