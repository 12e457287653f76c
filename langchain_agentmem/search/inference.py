"""Steps that call an embedding model."""

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
    """Outer step: embed texts in one call to the model, and return its result unchecked."""

    embeddings: Embeddings
    texts: list[str]

    def perform(self) -> Any:
        return _call(self.embeddings, "embed_documents", self.texts)

    async def aperform(self) -> Any:
        return await _acall(self.embeddings, "embed_documents", self.texts)


@dataclass(slots=True)
class EmbedQuery(OuterStep[Any]):
    """Outer step: embed a query, and return the model's result unchecked."""

    embeddings: Embeddings
    text: str

    def perform(self) -> Any:
        return _call(self.embeddings, "embed_query", self.text)

    async def aperform(self) -> Any:
        return await _acall(self.embeddings, "embed_query", self.text)


def _call(model: Embeddings, method: str, argument: Any) -> Any:
    """Call a model. The coroutines of an asynchronous model run on an event loop of their own, in another thread."""
    if getattr(model, "afunc", None) is not None and getattr(model, "func", None) is None:
        # LangGraph's EmbeddingsLambda with a coroutine function
        return _run_in_thread(getattr(model, f"a{method}")(argument))
    try:
        vectors = getattr(model, method)(argument)
    except NotImplementedError:
        if getattr(type(model), f"a{method}") is getattr(Embeddings, f"a{method}"):
            raise
        vectors = getattr(model, f"a{method}")(argument)
    return _run_in_thread(vectors) if inspect.isawaitable(vectors) else vectors


async def _acall(model: Embeddings, method: str, argument: Any) -> Any:
    try:
        vectors = await getattr(model, f"a{method}")(argument)
    except NotImplementedError:
        vectors = await asyncio.to_thread(getattr(model, method), argument)
    return await vectors if inspect.isawaitable(vectors) else vectors


def _run_in_thread(awaitable: Awaitable[T]) -> T:
    """Run an awaitable in another thread, because the calling thread may have a running event loop."""

    async def wait() -> T:
        return await awaitable

    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="agentmem-embedding") as thread:
        return thread.submit(context.run, asyncio.run, wait()).result()
