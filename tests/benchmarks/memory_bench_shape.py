"""The shape of `vectorize-io/agent-memory-benchmark` that the adapter uses: modules with the same names, classes and methods."""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any


@dataclass
class Document:
    """A document that a memory stores, or that it returns."""

    id: str
    content: str
    user_id: str | None = None
    messages: list[dict[str, Any]] | None = None
    timestamp: str | None = None
    context: str | None = None


@dataclass
class Query:
    """A question, with the IDs of the documents that answer it."""

    id: str
    query: str
    gold_ids: list[str]
    gold_answers: list[str]
    user_id: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


class MemoryProvider(ABC):
    """The interface of a memory."""

    name: str
    concurrency = 4

    def initialize(self) -> None:  # noqa: B027
        """Called before all others."""

    def cleanup(self) -> None:  # noqa: B027
        """Called after the run."""

    def prepare(self, store_dir: Path, unit_ids: set[str] | None = None) -> None:  # noqa: B027
        """Called before documents are stored."""

    @abstractmethod
    def ingest(self, documents: list[Document]) -> None: ...

    async def async_ingest(self, documents: list[Document]) -> None:
        return await asyncio.to_thread(self.ingest, documents)

    @abstractmethod
    def retrieve(
        self, query: str, k: int = 10, user_id: str | None = None, query_timestamp: str | None = None
    ) -> tuple[list[Document], dict[str, Any] | None]: ...

    async def async_retrieve(
        self, query: str, k: int = 10, user_id: str | None = None, query_timestamp: str | None = None
    ) -> tuple[list[Document], dict[str, Any] | None]:
        return await asyncio.to_thread(self.retrieve, query, k, user_id, query_timestamp)


class TinyDataset:
    """Two users; the first has talks as JSON, as LoCoMo's, the second chats as messages and plain text."""

    name = "tiny"

    def load_documents(self, split: str) -> list[Document]:
        first = '[{"speaker": "Mia", "dia_id": "D1:1", "text": "I sold the old piano.", "blip_caption": "a piano"}, ""]'
        second = (
            '[{"speaker": "Tom", "text": "My sister moved to Bern."}, {"speaker": "Mia", "text": "Do you miss her?"}]'
        )
        chat = [
            {"role": "user", "content": "Which tyres fit my bicycle?"},
            {"role": "assistant", "content": "28 inches."},
        ]
        return [
            Document("talk_1", first, "talk", timestamp="2023-05-08T13:56:00+00:00"),
            Document("talk_2", second, "talk", timestamp="sometime"),
            Document("chat_1", "the messages as text", "chat", chat),
            Document(
                "chat_2", "The user waters the tomatoes.\n\n" + "The user sleeps. " * 80 + "\nThe user eats rye bread."
            ),
        ]

    def load_queries(self, split: str, limit: int | None = None) -> list[Query]:
        return [
            Query("1", "Who sold a piano?", ["talk_1"], ["Mia"], "talk"),
            Query("2", "Which tyres?", ["chat_1"], ["28 inches"], "chat"),
            Query("3", "an option of several", ["chat_2"], ["bread"], meta={"retrieval_query": "What bread is eaten?"}),
            Query("4", "Who moved to Bern?", ["talk_2"], ["Tom's sister"], "talk"),
            Query("5", "A question without evidence", [], ["none"], "talk"),
        ][:limit]


def install(monkeypatch: Any, provider: type[MemoryProvider] | None = None) -> dict[str, type[MemoryProvider]]:
    """Let `import memory_bench` find these classes, and return the registry of memories."""
    registry: dict[str, type[MemoryProvider]] = {} if provider is None else {provider.name: provider}
    contents = {
        "memory_bench": {},
        "memory_bench.memory": {"REGISTRY": registry},
        "memory_bench.memory.base": {"MemoryProvider": MemoryProvider},
        "memory_bench.models": {"Document": Document, "Query": Query},
        "memory_bench.dataset": {"get_dataset": lambda name: {"tiny": TinyDataset}[name]()},
        "memory_bench.cli": {"app": lambda arguments: sys.stdout.write(f"the harness ran {' '.join(arguments)}\n")},
    }
    for name, members in contents.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return registry
