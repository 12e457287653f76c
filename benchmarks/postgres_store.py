"""The store on Postgres with 100,000 items: put, get and search, ours beside LangGraph's PostgresStore, in one run.

Both have the same items in ten namespaces, the same embeddings (384 dimensions, made up: a text's vector is the middle of
its topic with some noise, as texts on one topic lie close to each other) and the default index (HNSW). Medians; and how much
of exact search the vector search finds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp
from langgraph.store.postgres import PostgresStore
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from langchain_agentmem import AgentMemStore

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
DIMENSIONS, TOPICS, NAMESPACES, LIMIT = 384, 500, 10, 10


class Topics(Embeddings):
    """Embeddings without a model: a text begins with the number of its topic."""

    def __init__(self) -> None:
        self.middles = np.random.default_rng(1).normal(size=(TOPICS, DIMENSIONS))

    def embed_query(self, text: str) -> list[float]:
        noise = np.random.default_rng(zlib.crc32(text.encode())).normal(size=DIMENSIONS)
        vector = self.middles[int(text.split(maxsplit=1)[0])] + 0.6 * noise
        return (vector / np.linalg.norm(vector)).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def value(source: random.Random, number: int) -> dict[str, Any]:
    text = f"{source.randrange(TOPICS)} " + " ".join(source.choices(WORDS, k=20))
    return {"text": text, "number": number, "kind": f"kind {number % 50}"}


def median_ms(actions: dict[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """The median time of each action; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for run in range(runs):
        for name in actions if run % 2 else reversed(actions):
            start = time.perf_counter()
            actions[name]()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(one) * 1e3 for name, one in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000, help="items in each store (default 100000)")
    parser.add_argument("--runs", type=int, default=100, help="runs that are counted (default 100)")
    args = parser.parse_args()
    from rich.progress import track

    source = random.Random(5)
    embeddings = Topics()
    with postgres_server("maintenance_work_mem=256MB", "shared_buffers=2GB") as server:
        urls = []
        with psycopg.connect(server.url, autocommit=True) as admin:
            for name in ("ours", "theirs"):
                admin.execute(f"CREATE DATABASE {name}")
                urls.append(f"{server.url.removesuffix('/postgres')}/{name}")
        index: Any = {"dims": DIMENSIONS, "embed": embeddings, "fields": ["text"]}
        kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        with ConnectionPool(urls[1], kwargs=kwargs, open=True) as pool:
            stores: dict[str, Any] = {
                "AgentMemStore": AgentMemStore.from_url(urls[0], index=index),
                "PostgresStore": PostgresStore(pool, index=index),
            }
            stores["PostgresStore"].setup()
            batches: dict[str, list[float]] = {name: [] for name in stores}
            embedding: list[float] = []
            values: list[dict[str, Any]] = []
            for start in track(range(0, args.items, 100), description="putting"):
                batch = [value(source, number) for number in range(start, start + 100)]
                values += batch
                ops = [PutOp(("items", f"n{one['number'] % NAMESPACES}"), str(one["number"]), one) for one in batch]
                at = time.perf_counter()
                embeddings.embed_documents([one["text"] for one in batch])
                embedding.append(time.perf_counter() - at)
                for name in stores if start % 200 else reversed(stores):
                    at = time.perf_counter()
                    stores[name].batch(ops)
                    batches[name].append(time.perf_counter() - at)
            rows: list[tuple[str, dict[str, float]]] = []
            embed = statistics.median(embedding)
            rows.append(
                ("put 100 (less embedding)", {n: (statistics.median(t) - embed) * 1e3 for n, t in batches.items()})
            )
            for url in urls:
                with psycopg.connect(url, autocommit=True) as admin:
                    admin.execute("VACUUM ANALYZE")

            def measure(label: str, action: Callable[[Any], Any]) -> None:
                rows.append((label, median_ms({n: lambda s=s: action(s) for n, s in stores.items()}, args.runs)))

            def namespace() -> tuple[str, str]:
                return ("items", f"n{source.randrange(NAMESPACES)}")

            plain_index = stores["AgentMemStore"].embeddings
            queries = [f"{source.randrange(TOPICS)} {' '.join(source.choices(WORDS, k=4))}" for _ in range(50)]
            measure("get", lambda s: s.get(("items", "n7"), str(10 * source.randrange(args.items // 10) + 7)))
            measure(
                "search, filter, one namespace", lambda s: s.search(namespace(), filter={"kind": "kind 7"}, limit=LIMIT)
            )
            measure("search, filter, all", lambda s: s.search(("items",), filter={"kind": "kind 7"}, limit=LIMIT))
            measure(
                "search, by vector, one namespace",
                lambda s: s.search(namespace(), query=source.choice(queries), limit=LIMIT),
            )
            measure("search, by vector, all", lambda s: s.search(("items",), query=source.choice(queries), limit=LIMIT))
            words = {"AgentMemStore": AgentMemStore.from_url(urls[0]), "PostgresStore": PostgresStore(pool)}
            for scope, label in ((("items",), "all"), (("items", "n3"), "one namespace")):
                texts = [" ".join(source.choices(WORDS, k=2)) for _ in range(50)]
                pair = {
                    n: lambda s=s, p=scope, t=texts: s.search(p, query=source.choice(t), limit=LIMIT)
                    for n, s in words.items()
                }
                rows.append((f"search, by words, {label}", median_ms(pair, args.runs)))

            print(f"{'':<36}{'AgentMemStore':>15}{'PostgresStore':>15}{'ratio':>9}")
            for label, pair in rows:
                ours, theirs = pair["AgentMemStore"], pair["PostgresStore"]
                print(f"{label:<36}{ours:>12.2f} ms{theirs:>12.2f} ms{ours / theirs:>9.2f}")
            embedded = median_ms({"query": lambda: plain_index.embed_query(queries[0])}, 50)["query"]
            print(f"(embedding of a query, within the times by vector: {embedded:.2f} ms)")

            # Vectors alone, since the ranking of a whole search takes words into account too.
            matrix = np.array(embeddings.embed_documents([one["text"] for one in values]), dtype=np.float32)
            backend = stores["AgentMemStore"].engine.backend
            from langchain_agentmem.backends.contract import Query

            for scope in (None, 3):
                overlap = dict.fromkeys(stores, 0.0)
                short = 0
                for query in queries:
                    wanted = np.array(embeddings.embed_query(query), dtype=np.float32)
                    scores = matrix @ wanted
                    if scope is not None:
                        scores = np.where(np.arange(len(values)) % NAMESPACES == scope, scores, -2)
                    exact = {str(at) for at in np.argsort(-scores)[:LIMIT]}
                    prefix = ("items",) if scope is None else ("items", f"n{scope}")
                    found = backend.read(
                        backend.items.find("default", Query(prefix, [], wanted.tobytes()), time.time())
                    )
                    best = sorted(found.candidates, key=lambda one: -one.dense)[:LIMIT]
                    overlap["AgentMemStore"] += len(exact & {one.id[2] for one in best}) / LIMIT
                    theirs = stores["PostgresStore"].search(prefix, query=query, limit=LIMIT)
                    overlap["PostgresStore"] += len(exact & {item.key for item in theirs}) / LIMIT
                    short += len(theirs) < LIMIT
                where = "all" if scope is None else "one namespace"
                shares = ", ".join(f"{name} {share / len(queries):.3f}" for name, share in overlap.items())
                print(f"overlap with exact search, {where}: {shares} (too few rows in {short} of {len(queries)})")
            for one in (stores["AgentMemStore"], words["AgentMemStore"]):
                one.close()


if __name__ == "__main__":
    main()
