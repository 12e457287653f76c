"""Search in the store on Redis by the number of items in the namespace: without vectors, with 384 and with 1,536 dimensions.

A search reads what is known of all items below the namespace in one round trip and ranks them in the client, so its time
grows with their number; the program shows up to where that is fast. Texts are 60 words; vectors are random, which makes every
item a candidate. Printed: median and 95th percentile in milliseconds, and the bytes that a search reads.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import redis
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from servers import redis_server

WORDS = (Path(__file__).parent / "words.txt").read_text().split()


class RandomVectors(Embeddings):
    """Embeddings without a model."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.source = np.random.default_rng(1)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.source.standard_normal((len(texts), self.dimensions)).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help="searches that are counted (default 60)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 2_000, 5_000, 10_000])
    args = parser.parse_args()
    from rich.progress import track

    source = random.Random(1)
    lines = []
    with redis_server() as server, redis.Redis(port=server.port) as admin:
        for dimensions in (0, 384, 1536):
            embeddings = RandomVectors(dimensions) if dimensions else None
            with AgentMemory.from_url(server.url, tenant=str(dimensions), embeddings=embeddings) as memory:
                stored = 0
                for size in args.sizes:
                    for start in track(range(stored, size, 500), description=f"{dimensions} dimensions, {size} items"):
                        numbers = range(start, min(start + 500, size))
                        texts = [" ".join(source.choices(WORDS, k=60)) for _ in numbers]
                        memory.store.batch(
                            [PutOp(("docs",), str(n), {"text": text}) for n, text in zip(numbers, texts, strict=True)]
                        )
                    stored = size
                    times = []
                    before = admin.info("stats")["total_net_output_bytes"]
                    for _ in range(args.runs):
                        query = " ".join(source.choices(WORDS, k=5))
                        begin = time.perf_counter()
                        assert len(memory.store.search(("docs",), query=query)) == 10
                        times.append(time.perf_counter() - begin)
                    read = (admin.info("stats")["total_net_output_bytes"] - before) / args.runs
                    middle, high = statistics.median(times) * 1e3, statistics.quantiles(times, n=20)[-1] * 1e3
                    lines.append(f"{dimensions:>12,}{size:>10,}{middle:>12.1f}{high:>12.1f}{read / 1e6:>12.2f}")
    print(f"{'dimensions':>12}{'items':>10}{'median ms':>12}{'p95 ms':>12}{'MB read':>12}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
