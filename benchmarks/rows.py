"""Whether a search gives as many rows as it is asked for: 50 namespaces of 2,000 items, on each backend.

Indexes that give the best of a whole table and filter them afterwards lose the rows of a namespace that has few of the
best. Searched are single namespaces and the one above all, by words alone and with vectors (384 dimensions, made up): the
best 10, the best 20 of those that pass a filter (one item in ten does), and the best 50. Each text holds a word of the query,
so all items of a namespace answer it. Printed: the searches, how many were short of rows or gave one twice or one that does
not belong there, and the median and 95th percentile of their time in milliseconds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server, redis_server

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
DIMENSIONS = 384
ASKED: tuple[tuple[int, dict[str, Any] | None], ...] = ((10, None), (20, {"tenth": True}), (50, None))


class Known(Embeddings):
    """Vectors made up beforehand, so that a model's time is none."""

    def __init__(self) -> None:
        self.rows = np.random.default_rng(1).standard_normal((5000, DIMENSIONS)).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.rows[hash(text) % 5000] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.rows[hash(text) % 5000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespaces", type=int, default=50, help="namespaces (default 50)")
    parser.add_argument("--items", type=int, default=2_000, help="items in each (default 2000)")
    args = parser.parse_args()
    from rich.progress import track

    print(f"{'':<26}{'searches':>9}{'short':>7}{'wrong':>7}{'median':>10}{'p95':>10}")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        urls = {
            "SQLite": f"sqlite:///{folder}/rows.db?synchronous=normal",
            "Postgres": stack.enter_context(postgres_server("shared_buffers=1GB", "maintenance_work_mem=256MB")).url,
            "Redis": stack.enter_context(redis_server()).url,
        }
        warnings.filterwarnings(
            "ignore", "A search below", RuntimeWarning
        )  # all items are more than one round trip has
        for name, url in urls.items():
            for embeddings in (None, Known()):
                what = "words alone" if embeddings is None else f"{DIMENSIONS} dimensions"
                index: Any = None if embeddings is None else {"fields": ["text"], "dims": DIMENSIONS}
                tenant = str(embeddings is None)
                with AgentMemory.from_url(url, tenant=tenant, embeddings=embeddings, index=index) as memory:
                    fill(memory, args.namespaces, args.items, track, f"{name}, {what}")
                    print(f"{name:<10}{what:<16}" + measured(memory, args.namespaces))


def fill(memory: AgentMemory, namespaces: int, items: int, track: Any, description: str) -> None:
    source = random.Random(1)
    for namespace in track(range(namespaces), description=description):
        for start in range(0, items, 500):
            numbers = range(start, min(items, start + 500))
            ops = [PutOp(("all", f"n{namespace}"), str(number), value(source, number), ["text"]) for number in numbers]
            memory.store.batch(ops)


def value(source: random.Random, number: int) -> dict[str, Any]:
    return {"text": " ".join(["lighthouse", *source.choices(WORDS, k=12)]), "tenth": number % 10 == 0}


def measured(memory: AgentMemory, namespaces: int) -> str:
    source = random.Random(2)
    searches = short = wrong = 0
    times = []
    places: list[tuple[str, ...]] = [("all", f"n{namespace}") for namespace in range(namespaces)]
    for place in [*places, ("all",)]:
        for limit, condition in ASKED:
            query = " ".join(["lighthouse", *source.choices(WORDS, k=3)])
            start = time.perf_counter()
            found = memory.store.search(place, query=query, limit=limit, filter=condition)
            times.append(time.perf_counter() - start)
            searches += 1
            short += len({(item.namespace, item.key) for item in found}) < limit
            wrong += any(
                item.namespace[: len(place)] != place or (condition is not None and not item.value["tenth"])
                for item in found
            )
    median, high = statistics.median(times) * 1e3, statistics.quantiles(times, n=20)[-1] * 1e3
    return f"{searches:>9}{short:>7}{wrong:>7}{median:>10.1f}{high:>10.1f}"


if __name__ == "__main__":
    main()
