"""Whether searches of the chat history find the turns that answer a question: adapters for a retrieval harness.

The harness (`locomo_bench.py`, with conversations of LoCoMo, which are not part of this package: Maharana et al., 2024) makes
one object of a class per conversation, adds all turns, and asks all questions. It is given one of the classes below; each
session of a conversation becomes a session of one user, each turn a message with its date:

    python locomo_bench.py --system benchmarks/retrieval.py:SqliteMemory
    python locomo_bench.py --system benchmarks/retrieval.py:RedisWords      # without embeddings

Classes: `SqliteMemory`, `PostgresMemory`, `RedisMemory`; `SqliteWords`, `PostgresWords`, `RedisWords`, without them; and
`CosineAlone`, LangGraph's `InMemoryStore` with the same embeddings. The servers are those of the tests.
"""

from __future__ import annotations

import atexit
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage
from langgraph.store.memory import InMemoryStore

from langchain_agentmem import AgentMemory

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

Turn = tuple[str, str, dict[str, Any]]


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
        self.memory = AgentMemory.from_url(type(self).url(), embeddings=Given(embed) if self.embedded else None)

    def add(self, turns: Sequence[Turn]) -> None:
        for session, group in groupby(turns, key=lambda turn: turn[2]["session"]):
            messages = [
                HumanMessage(text, id=id_, additional_kwargs={"created_at": moment(meta)}) for id_, text, meta in group
            ]
            self.memory.history(f"session {session}", user_id=self.user_id).add_messages(messages)

    def search(self, query: str, k: int) -> list[str]:
        return [str(found.message.id) for found in self.memory.search_history(query, k, user_id=self.user_id)]

    def close(self) -> None:
        self.memory.close()


class SqliteMemory(Memory):
    """On SQLite."""

    url = staticmethod(sqlite_url)


class PostgresMemory(Memory):
    """On Postgres."""

    url = staticmethod(postgres_url)


class RedisMemory(Memory):
    """On Redis."""

    url = staticmethod(redis_url)


class SqliteWords(SqliteMemory):
    """On SQLite, by words alone."""

    embedded = False


class PostgresWords(PostgresMemory):
    """On Postgres, by words alone."""

    embedded = False


class RedisWords(RedisMemory):
    """On Redis, by words alone."""

    embedded = False


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
