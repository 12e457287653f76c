"""Walking a graph of entities and relations, on each backend.

A user has 1,000 entities and 3,000 relations: the more relations an entity has, the more likely the next one is its own too.
Counted for neighbours up to depth 2 of entities of all degrees: round trips (what is sent to the server, and waited for; on
SQLite statements), milliseconds, entities found. Beside it, in the same run, by hand: relations as items of the store, names
compared as they are, all read in one go and walked in the process. Then the milliseconds of one new relation, of the entity
with the fewest relations and of that with the most; and the size of a context block, and the tokens in it (approximately), by
how much may be said.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.messages.utils import count_tokens_approximately
from langgraph.store.base import PutOp

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from counting import Costs, RoundTrips
from servers import RedisCluster, postgres_server, redis_server

USER = "alice@example.com"
PLAIN = ("plain",)
PREDICATES = ("knows", "works at", "lives in", "owns", "likes", "is part of")


def made_up(entities: int, relations: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    source = random.Random(1)
    words = (Path(__file__).parent / "words.txt").read_text().split()
    names = [f"{source.choice(words).title()} {source.choice(words).title()} {number}" for number in range(entities)]
    described = [
        {
            "name": name,
            "kind": source.choice(["person", "place", "company"]),
            "description": " ".join(source.choices(words, k=12)),
        }
        for name in names
    ]
    ends = list(range(entities))
    pairs = set()
    while len(pairs) < relations:
        one, other = source.choice(ends), source.choice(ends)
        if one != other and (one, other) not in pairs:
            pairs.add((one, other))
            ends += [one, other]
    related = [
        {
            "subject": names[one],
            "predicate": source.choice(PREDICATES),
            "object": names[other],
            "valid_from": "2024-05-17",
        }
        for one, other in sorted(pairs)
    ]
    return described, related


def by_hand(memory: AgentMemory, name: str) -> set[str]:
    """Neighbours to depth 2, from relations that are items of a store: all are read, and walked here."""
    pairs = [(item.value["subject"], item.value["object"]) for item in memory.store.search(PLAIN, limit=100_000)]
    seen = {name}
    for _ in range(2):
        seen |= {other for one, other in pairs if one in seen} | {one for one, other in pairs if other in seen}
    return seen


def timed(function: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    function()
    return (time.perf_counter() - begin) * 1e3


def new_relations(memory: AgentMemory, name: str) -> float:
    """The median time of a new relation of an entity, in milliseconds."""
    return statistics.median(
        timed(lambda number=number: memory.entities.relate(USER, name, "has", f"thing {number}"))
        for number in range(30)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_000)
    parser.add_argument("--relations", type=int, default=3_000)
    parser.add_argument("--runs", type=int, default=100, help="walks that are counted (default 100)")
    args = parser.parse_args()
    from rich.progress import track

    described, related = made_up(args.entities, args.relations)
    degrees: dict[str, int] = {}
    for one in related:
        for end in (one["subject"], one["object"]):
            degrees[end] = degrees.get(end, 0) + 1
    ranked = sorted(degrees, key=lambda name: degrees[name])
    starts = random.Random(2).choices(ranked, k=args.runs)
    lines, sizes = [], []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        cluster = RedisCluster()
        stack.callback(cluster.close)
        urls = {
            "SQLite": f"sqlite:///{folder}/entities.db",
            "Postgres": stack.enter_context(postgres_server()).url,
            "Redis": stack.enter_context(redis_server()).url,
            "Redis cluster": cluster.url,
        }
        for name, url in urls.items():
            with AgentMemory.from_url(url) as memory, pytest.MonkeyPatch.context() as patch:
                entities = memory.entities
                for start in track(range(0, len(described), 100), description=f"{name}: entities"):
                    entities.apply(USER, {"entities": described[start : start + 100]})
                for start in track(range(0, len(related), 100), description=f"{name}: relations"):
                    entities.apply(USER, {"relations": related[start : start + 100]})
                    plain = enumerate(related[start : start + 100], start)
                    memory.store.batch([PutOp(PLAIN, str(number), one, False) for number, one in plain])
                costs, sent = Costs(memory, patch), RoundTrips(patch)
                walks, found, trips = [], [], []
                for start in starts:
                    costs.reset()
                    sent.reset()
                    begin = time.perf_counter()
                    graph = entities.neighbours(USER, start, 2, limit=args.entities)
                    walks.append((time.perf_counter() - begin) * 1e3)
                    trips.append(sent.reset() or sum(size for _, size in costs.reset()))
                    found.append(len(graph.entities))
                whole = [timed(lambda start=start: by_hand(memory, start)) for start in starts[:10]]
                assert {one.name for one in graph.entities} == by_hand(memory, starts[-1])
                hub, leaf = ranked[-1], ranked[0]
                few, many = (new_relations(memory, end) for end in (leaf, hub))
                p95 = statistics.quantiles(walks, n=20)[-1]
                lines.append(
                    f"{name:<14}{statistics.median(trips):>8.0f}{max(trips):>4}{statistics.median(walks):>11.1f}{p95:>9.1f}{statistics.median(found):>10.0f}"
                    f"{max(found):>7}{statistics.median(whole):>15.1f}{few:>13.1f}{many:>12.1f}"
                )
                if not sizes:
                    for most in (500, 1_000, 2_000, 4_000, 8_000):
                        block = entities.context(USER, starts, max_characters=most)
                        tokens = count_tokens_approximately([HumanMessage(block)])
                        sizes.append(f"{most:>12,}{len(block):>12,}{tokens:>10,}")
    counts = f"{args.entities:,} entities, {args.relations:,} relations"
    print(f"{counts}, at most {degrees[ranked[-1]]} of one entity; depth 2")
    print(
        f"{'':<14}{'round trips':>12}{'median ms':>11}{'p95 ms':>9}{'entities':>10}{'most':>7}{'by hand ms':>15}"
        f"{'relate, few':>13}{'relate, hub':>12}"
    )
    print("\n".join(lines))
    print(f"\n{'at most':>12}{'characters':>12}{'tokens':>10}   of a context block")
    print("\n".join(sizes))


if __name__ == "__main__":
    main()
