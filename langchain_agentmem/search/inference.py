"""Steps that ask an embedding model."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.embeddings import Embeddings

from langchain_agentmem.programs import OuterStep

T = TypeVar("T")


@dataclass(slots=True)
class EmbedDocuments(OuterStep[Any]):
    """Outer step: embed texts in one call to the model, and return what the model gives."""

    embeddings: Embeddings
    texts: list[str]

    def perform(self) -> Any:
        return _embedded(self.embeddings, "embed_documents", self.texts)

    async def aperform(self) -> Any:
        return await _aembedded(self.embeddings, "embed_documents", self.texts)


@dataclass(slots=True)
class EmbedQuery(OuterStep[Any]):
    """Outer step: embed a query, and return what the model gives."""

    embeddings: Embeddings
    text: str

    def perform(self) -> Any:
        return _embedded(self.embeddings, "embed_query", self.text)

    async def aperform(self) -> Any:
        return await _aembedded(self.embeddings, "embed_query", self.text)


def _embedded(model: Embeddings, method: str, given: Any) -> Any:
    """Call a model. An asynchronous one runs in its own event loop, in its own thread."""
    if (
        getattr(model, "afunc", None) is not None and getattr(model, "func", None) is None
    ):  # LangGraph's EmbeddingsLambda
        return _waited_for(getattr(model, f"a{method}")(given))
    try:
        vectors = getattr(model, method)(given)
    except NotImplementedError:
        if getattr(type(model), f"a{method}") is getattr(Embeddings, f"a{method}"):
            raise
        vectors = getattr(model, f"a{method}")(given)
    return _waited_for(vectors) if inspect.isawaitable(vectors) else vectors


async def _aembedded(model: Embeddings, method: str, given: Any) -> Any:
    try:
        vectors = await getattr(model, f"a{method}")(given)
    except NotImplementedError:
        vectors = await asyncio.to_thread(getattr(model, method), given)
    return await vectors if inspect.isawaitable(vectors) else vectors


def _waited_for(awaitable: Awaitable[T]) -> T:
    """Wait for an awaitable in another thread: the calling thread may have a running event loop."""

    async def wait() -> T:
        return await awaitable

    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="agentmem-embedding") as thread:
        return thread.submit(context.run, asyncio.run, wait()).result()
