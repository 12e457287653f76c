"""The share of the messages that answer a question which searches find, beside plain BM25 and plain cosine.

The data are conversations of LoCoMo (Maharana et al., 2024) and BEAM (Tavakoli et al., 2025), which are not part of this
package. The folder of the harness (`locomo_bench.py`) contains them as `locomo_dev.json` and `beam_dev.json`:

    python benchmarks/retrieval.py --harness FOLDER
    python benchmarks/retrieval.py --harness FOLDER --data beam_dev.json --systems SqliteMemory CosineAlone

Each session of a conversation is a session of one user, each turn a message with its date and role. Printed: the recall in
the first 5 and 10 results, and the time of a search without the embedding model. The harness also takes one of the classes:

    python locomo_bench.py --system benchmarks/retrieval.py:SqliteMemory

Classes: `SqliteMemory`, `PostgresMemory`, `RedisMemory`; `SqliteWords`, `PostgresWords`, `RedisWords`, without embeddings;
`SqliteItems`, `PostgresItems`, `RedisItems` and `SqliteItemWords`, `PostgresItemWords`, `RedisItemWords`, where each turn is
an item of the store; `Bm25Alone`; and `CosineAlone`, LangGraph's `InMemoryStore` with the same embeddings. The servers are
those of the tests.
"""

from __future__ import annotations

import argparse
import atexit
import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore

from langchain_agentmem import AgentMemory
from langchain_agentmem.search.ranking import query_words
from langchain_agentmem.text.words import analyze, scores

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

Turn = tuple[str, str, dict[str, Any]]

ADVERSARIAL = 5
"""The category of LoCoMo's questions without an answer."""

KINDS = {"user": HumanMessage, "assistant": AIMessage}
"""The messages of the speakers of chats with an assistant. Other speakers are human."""


class Given(Embeddings):
    """The harness' embeddings."""

    def __init__(self, embed: Callable[[list[str]], Any]) -> None:
        self.embed = embed

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embed(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed([text])[0].tolist()


@cache
def sqlite_url() -> str:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return f"sqlite:///{folder.name}/retrieval.db?synchronous=normal"


@cache
def postgres_url() -> str:
    from servers import PostgresServer

    server = PostgresServer()
    atexit.register(server.close)
    return server.url


@cache
def redis_url() -> str:
    from servers import RedisServer

    server = RedisServer()
    atexit.register(server.close)
    return server.url


class Memory:
    """A conversation in the chat history: a user with sessions."""

    url: Callable[[], str]
    embedded = True

    def __init__(self, conv_id: str, embed: Callable[[list[str]], Any]) -> None:
        self.user_id = conv_id
        embeddings = Given(embed) if self.embedded else None
        self.memory = AgentMemory.from_url(type(self).url(), tenant=type(self).__name__, embeddings=embeddings)

    def add(self, turns: Sequence[Turn]) -> None:
        for session, group in groupby(turns, key=lambda turn: turn[2]["session"]):
            messages = [
                KINDS.get(meta["speaker"], HumanMessage)(text, id=id_, additional_kwargs={"created_at": moment(meta)})
                for id_, text, meta in group
            ]
            self.memory.history(f"session {session}", user_id=self.user_id).add_messages(messages)

    def search(self, query: str, k: int) -> list[str]:
        return [str(found.message.id) for found in self.memory.search_history(query, k, user_id=self.user_id)]

    def close(self) -> None:
        self.memory.close()


class Items(Memory):
    """A conversation in the store: each turn is an item."""

    def add(self, turns: Sequence[Turn]) -> None:
        ops = [PutOp(("turns", self.user_id), id_, {"text": text}, index=["text"]) for id_, text, _ in turns]
        self.memory.store.batch(ops)

    def search(self, query: str, k: int) -> list[str]:
        return [item.key for item in self.memory.store.search(("turns", self.user_id), query=query, limit=k)]


class Bm25Alone:
    """BM25 (k1 = 1.2, b = 0.75) of the words of each message."""

    def __init__(self, _: str, __: Callable[[list[str]], Any]) -> None:
        self.ids: list[str] = []
        self.texts: list[bytes] = []

    def add(self, turns: Sequence[Turn]) -> None:
        self.ids += [id_ for id_, _, _ in turns]
        self.texts += [analyze(text) for _, text, _ in turns]

    def search(self, query: str, k: int) -> list[str]:
        ranked = zip(scores(self.texts, query_words(query)), range(len(self.ids)), strict=True)
        return [self.ids[at] for score, at in sorted(ranked, reverse=True)[:k] if score > 0]


class CosineAlone:
    """LangGraph's own store in memory, which ranks by cosine similarity."""

    def __init__(self, _: str, embed: Callable[[list[str]], Any]) -> None:
        self.store = InMemoryStore(index={"dims": 384, "embed": Given(embed), "fields": ["text"]})

    def add(self, turns: Sequence[Turn]) -> None:
        for id_, text, _ in turns:
            self.store.put(("turns",), id_, {"text": text})

    def search(self, query: str, k: int) -> list[str]:
        return [item.key for item in self.store.search(("turns",), query=query, limit=k)]


def moment(meta: dict[str, Any]) -> str:
    """A date such as `1:56 pm on 8 May, 2023` in ISO 8601."""
    return datetime.strptime(meta["date_time"], "%I:%M %p on %d %B, %Y").isoformat()


def variants(kind: type[Memory], name: str, *, embedded: bool) -> list[type[Memory]]:
    """Return a class for each backend."""
    backends = {"Sqlite": sqlite_url, "Postgres": postgres_url, "Redis": redis_url}
    return [
        type(f"{backend}{name}", (kind,), {"url": staticmethod(url), "embedded": embedded})
        for backend, url in backends.items()
    ]


SYSTEMS = [
    *(Bm25Alone, CosineAlone),
    *variants(Memory, "Words", embedded=False),
    *variants(Memory, "Memory", embedded=True),
    *variants(Items, "ItemWords", embedded=False),
    *variants(Items, "Items", embedded=True),
]


def measure(harness: Any, system: type, conversations: Sequence[Any], embed: Callable[[list[str]], Any]) -> str:
    """Return a line of the table: the recall in the first 5 and 10 results, and the time of a search."""
    found, times, running = [], [], []
    for conv_id, turns, _ in conversations:
        running.append(system(conv_id, embed))
        running[-1].add(turns)
    for one, (_, _, questions) in zip(running, conversations, strict=True):
        for query, category, gold in questions:
            embed([query])
            start = time.perf_counter()
            ranked = one.search(query, 10)
            times.append(time.perf_counter() - start)
            if category != ADVERSARIAL:
                found.append(harness.score(ranked, gold))
    for one in running:
        getattr(one, "close", lambda: None)()
    five, ten = (statistics.mean(one[name] for one in found) for name in ("recall@5", "recall@10"))
    return f"{system.__name__:<18}{five:>10.4f}{ten:>11.4f}{statistics.median(times) * 1e3:>9.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", type=Path, required=True, help="the folder of locomo_bench.py")
    parser.add_argument("--data", nargs="+", default=["locomo_dev.json", "beam_dev.json"], help="files in this folder")
    names = [system.__name__ for system in SYSTEMS]
    parser.add_argument("--systems", nargs="+", choices=names, default=names)
    args = parser.parse_args()
    sys.path.insert(0, str(args.harness))
    harness = importlib.import_module("locomo_bench")
    embed = harness.Embedder()
    for name in args.data:
        conversations = harness.load(args.harness / name)
        print(f"{name:<18}{'recall@5':>10}{'recall@10':>11}{'ms':>9}")
        for system in SYSTEMS:
            if system.__name__ in args.systems:
                print(measure(harness, system, conversations, embed), flush=True)
        embed.save()


if __name__ == "__main__":
    main()
