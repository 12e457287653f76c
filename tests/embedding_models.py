"""A model whose vectors can be recognised, and memories that are embedded with it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_agentmem import (
    AgentMemory,
)
from langchain_agentmem.testing.cases import entries_in

NS = ("facts",)


class Model(Embeddings):
    """A vector of its own for every text, and others than another model's; it may fail after some calls."""

    def __init__(self, model: str = "old", dimensions: int = 16, calls: int | None = None) -> None:
        self.model, self.dimensions, self.calls = model, dimensions, calls
        self.asked: list[list[str]] = []
        self.salt = ""
        self.meanwhile: Callable[[list[str]], Any] = lambda _: None

    def embed_query(self, text: str) -> list[float]:
        seed = zlib.crc32(f"{self.model}{self.salt} {text}".encode())
        return np.random.default_rng(seed).normal(size=self.dimensions).tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.calls is not None and len(self.asked) >= self.calls:
            raise TimeoutError("the model is away")
        self.asked.append(texts)
        vectors = [self.embed_query(text) for text in texts]
        self.meanwhile(texts)
        return vectors

    @property
    def texts(self) -> list[str]:
        """What it embedded, but for what `reindex` asks to know its dimensions."""
        return [text for texts in self.asked for text in texts if text != "How many dimensions?"]


def having(memory: AgentMemory, model: Model, **options: Any) -> AgentMemory:
    """Another memory on the same database, as another process has it."""
    return AgentMemory(memory.backend, embeddings=model, **options)


def message_vectors(memory: AgentMemory, user_id: str | None) -> dict[tuple[str, int], bytes | None]:
    changes = memory.backend.read(memory.backend.messages.changes(memory.tenant, user_id, None, None, vectors=True))
    return {(entry.session_id, entry.position): entry.vector for entry in entries_in(changes, time.time())}
