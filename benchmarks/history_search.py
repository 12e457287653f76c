"""The time of a search in the chat history by the number of messages in the session, on each backend.

Messages are 30 words, with vectors of 384 dimensions; the time of the embedding model is not counted. Printed: median and
95th percentile in milliseconds, with embeddings and by words alone.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import postgres_server, redis_server

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
DIMENSIONS = 384


class Known(Embeddings):
    """Vectors made up beforehand, so that a model's time is none."""

    def __init__(self) -> None:
        self.rows = np.random.default_rng(1).standard_normal((1000, DIMENSIONS)).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.rows[hash(text) % 1000] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.rows[hash(text) % 1000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="searches that are counted (default 200)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 5_000])
    args = parser.parse_args()
    from rich.progress import track

    lines = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        urls = {
            "SQLite": f"sqlite:///{folder}/search.db",
            "Postgres": stack.enter_context(postgres_server()).url,
            "Redis": stack.enter_context(redis_server()).url,
        }
        for name, url in urls.items():
            for embeddings in (Known(), None):
                source = random.Random(1)
                with AgentMemory.from_url(url, tenant=str(embeddings is None), embeddings=embeddings) as memory:
                    for size in args.sizes:
                        history = memory.history(f"session {size}")
                        kinds = (HumanMessage, AIMessage)
                        texts = [" ".join(source.choices(WORDS, k=30)) for _ in range(size)]
                        for start in range(0, size, 500):
                            part = enumerate(texts[start : start + 500])
                            history.add_messages([kinds[at % 2](text) for at, text in part])
                        times = []
                        for _ in track(range(args.runs), description=f"{name}, {size} messages"):
                            query = " ".join(source.choices(WORDS, k=6))
                            begin = time.perf_counter()
                            assert history.search(query)
                            times.append(time.perf_counter() - begin)
                        what = "words alone" if embeddings is None else f"{DIMENSIONS} dimensions"
                        high = statistics.quantiles(times, n=20)[-1] * 1e3
                        lines.append(
                            f"{name:<10}{what:<16}{size:>8,}{statistics.median(times) * 1e3:>10.1f}{high:>10.1f}"
                        )
    print(f"{'':<26}{'messages':>8}{'median':>10}{'p95':>10}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
