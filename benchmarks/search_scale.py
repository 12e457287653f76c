"""Search in the chat histories of one user by the number of messages, on each backend, beside LangGraph's stores.

Messages are 30 words in sessions of 100 messages, with vectors of 384 dimensions; the time of the embedding model is not
counted. Printed for each size, in milliseconds: the first search of a process; the median and the 95th percentile of later
searches, and of searches that each follow an addition by another process; the cost of adding a turn with and without words
and vectors; the megabytes of the corpus; and the share of the first ten results that a ranking of all messages has, too. At
last: the memory of searches of many users.
"""

from __future__ import annotations

import argparse
import gc
import random
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.store.base import BaseStore, PutOp

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.contract import Append, MessageRow, SessionKey
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.programs import run
from langchain_agentmem.search.corpora import Corpora
from langchain_agentmem.search.queries import Query
from langchain_agentmem.search.ranker import Ranker
from langchain_agentmem.text.marks import analyze_message
from langchain_agentmem.text.vectors import unit

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import exhaustive
from servers import postgres_server, redis_server

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
DIMENSIONS, PER_SESSION, TEXTS, USER = 384, 100, 5_000, "alice"
CODEC = Codec()


class Known(Embeddings):
    """Vectors made up beforehand, so that a model's time is none."""

    def __init__(self) -> None:
        self.rows = np.random.default_rng(1).standard_normal((TEXTS, DIMENSIONS)).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.rows[hash(text) % TEXTS] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.rows[hash(text) % TEXTS]


def texts() -> list[str]:
    """Texts whose words are as common as in a language: few often, most seldom."""
    source = random.Random(1)
    weights = [1 / (20 + rank) for rank in range(len(WORDS))]  # searches ignore the commonest words of a language
    return [" ".join(source.choices(WORDS, weights, k=30)) for _ in range(TEXTS)]


def rows_of(pool: list[str], model: Known) -> list[MessageRow]:
    """The rows of messages, which are added to the log as they are: encoding 100,000 messages takes long."""
    kinds = (HumanMessage, AIMessage)
    found = []
    for at, text in enumerate(pool):
        message = kinds[at % 2](text, id=str(at))
        body, words = CODEC.dump_message(message), analyze_message(text)
        vector = unit(model.embed_query(text))
        found.append(
            MessageRow(
                0, message.type, None, False, 1.7e9 + at * 60, None, body, words, vector, secrets.token_bytes(16)
            )
        )
    return found


def added(memory: AgentMemory, session: str, rows: list[MessageRow]) -> None:
    """Add rows to a session."""
    numbered = [row._replace(position=at) for at, row in enumerate(rows)]
    addition = Append(numbered, None, time.time(), token=secrets.randbits(62))
    memory.backend.write(memory.backend.messages.append(SessionKey("default", USER, session), addition))


def milliseconds(action: Callable[..., Any], *arguments: Any, **options: Any) -> float:
    begin = time.perf_counter()
    action(*arguments, **options)
    return (time.perf_counter() - begin) * 1e3


def quantiles(times: list[float]) -> str:
    return f"{statistics.median(times):8.1f}{statistics.quantiles(times, n=20)[-1]:8.1f}"


def agreement(memory: AgentMemory, queries: list[str]) -> float:
    """The share of the first ten results that a ranking of all messages has, too."""
    backend = memory.backend
    corpus, same = exhaustive.corpus_of(backend, USER), 0
    for text in queries:
        query = Query.of(text, backend.language)
        vector = run(memory.store.engine.indexer.query(Ranker(corpus, query).text_to_embed()))
        best = exhaustive.best(corpus, query, vector, 10)
        expected = {(corpus.session_ids[corpus.session[row]], int(corpus.position[row])) for row, _ in best}
        found = memory.search_history(text, user_id=USER, k=10)
        same += len(expected & {(one.session_id, one.position) for one in found})
    return same / (10 * len(queries))


def measured(name: str, url: str, sizes: list[int], runs: int, pool: list[str], model: Known) -> Iterator[str]:
    source = random.Random(2)
    rows = rows_of(pool, model)

    def queries(count: int) -> list[str]:
        return [" ".join(source.choices(source.choice(pool).split(), k=6)) for _ in range(count)]

    stored = 0
    with AgentMemory.from_url(url, embeddings=model) as writer:
        for size in sizes:
            while stored < size:
                part = [rows[(stored + at) % TEXTS] for at in range(min(PER_SESSION, size - stored))]
                added(writer, f"session {stored}", part)
                stored += len(part)
            with AgentMemory.from_url(url, embeddings=model, search_cache=1024) as memory:
                memory.search_history("begin", user_id="nobody")  # connections are open
                first = milliseconds(memory.search_history, queries(1)[0], user_id=USER)
                warm = [milliseconds(memory.search_history, query, user_id=USER) for query in queries(runs)]
                after = []
                for query in queries(runs):
                    added(writer, f"more {source.randrange(5)}", source.choices(rows, k=2))
                    after.append(milliseconds(memory.search_history, query, user_id=USER))
                plain = [row._replace(words=b"", vector=None) for row in rows]
                cost = []
                for kind in (rows, plain):
                    turns = [source.choices(kind, k=2) for _ in range(runs)]
                    cost.append(statistics.median(milliseconds(added, writer, "turns", turn) for turn in turns))
                taken = Corpora.of(memory.backend).nbytes / 2**20
                alike = agreement(memory, queries(20))
                yield (
                    f"{name:<10}{size:>8,}{first:>8.0f}{quantiles(warm)}{quantiles(after)}{cost[0]:>8.2f}{cost[1]:>8.2f}"
                    f"{taken:>8.0f}{alike:>8.3f}"
                )
                gc.collect()


@contextmanager
def peer(name: str, folder: str, url: str, model: Known) -> Iterator[BaseStore]:
    """A store of LangGraph with an index of vectors."""
    index: Any = {"dims": DIMENSIONS, "embed": model, "fields": ["text"]}
    if name == "SqliteStore":
        from langgraph.store.sqlite import SqliteStore

        with SqliteStore.from_conn_string(f"{folder}/peer.db", index=index) as store:
            store.setup()
            yield store
        return
    from langgraph.store.postgres import PostgresStore

    with PostgresStore.from_conn_string(url, index=index) as store:
        store.setup()
        yield store


def measured_peer(name: str, store: BaseStore, sizes: list[int], runs: int, pool: list[str]) -> Iterator[str]:
    source, stored = random.Random(2), 0
    for size in sizes:
        for start in range(stored, size, 500):
            store.batch(
                [PutOp((USER,), str(at), {"text": pool[at % TEXTS]}) for at in range(start, min(start + 500, size))]
            )
        stored = size
        asked = [" ".join(source.choices(source.choice(pool).split(), k=6)) for _ in range(runs + 1)]
        first = milliseconds(store.search, (USER,), query=asked[0])
        warm = [milliseconds(store.search, (USER,), query=query) for query in asked[1:]]
        yield f"{name:<14}{size:>8,}{first:>8.0f}{quantiles(warm)}"


def of_many_users(url: str, users: int, pool: list[str], model: Known) -> str:
    rows = rows_of(pool[:50], model)
    largest = 0
    with AgentMemory.from_url(url, embeddings=model, search_cache=16) as memory:
        for number in range(users):
            numbered = [row._replace(position=at) for at, row in enumerate(rows)]
            addition = Append(numbered, None, time.time(), token=secrets.randbits(62))
            memory.backend.write(memory.backend.messages.append(SessionKey("default", f"user {number}", "s"), addition))
            memory.search_history(pool[number], user_id=f"user {number}")
            largest = max(largest, Corpora.of(memory.backend).nbytes)
    return f"{users:,} users of 50 messages, search_cache=16: at most {largest / 2**20:.1f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="searches that are counted (default 100)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--backends", nargs="*", default=["SQLite", "Postgres", "Redis"])
    parser.add_argument("--peers", nargs="*", default=["PostgresStore", "SqliteStore"])
    parser.add_argument("--users", type=int, default=1_000)
    args = parser.parse_args()
    pool, model = texts(), Known()
    print(
        f"{'':<10}{'messages':>8}{'first':>8}{'median':>8}{'p95':>8}{'after':>8}{'p95':>8}{'add':>8}{'plain':>8}{'MB':>8}{'same':>8}"
    )
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for name in args.backends:
            with ExitStack() as servers:
                url = f"sqlite:///{folder}/search.db"
                if name != "SQLite":
                    url = servers.enter_context(postgres_server() if name == "Postgres" else redis_server()).url
                for line in measured(name, url, args.sizes, args.runs, pool, model):
                    print(line, flush=True)
        for name in args.peers:
            if name == "SqliteStore" and not hasattr(sqlite3.Connection, "enable_load_extension"):
                print("SqliteStore is left out: this Python's sqlite3 loads no extensions.")
                continue
            with ExitStack() as servers:
                url = "" if name == "SqliteStore" else servers.enter_context(postgres_server()).url
                store = servers.enter_context(peer(name, folder, url, model))
                for line in measured_peer(name, store, args.sizes, args.runs, pool):
                    print(line, flush=True)
        if args.users:
            print(of_many_users(f"sqlite:///{folder}/users.db", args.users, pool, model))


if __name__ == "__main__":
    main()
