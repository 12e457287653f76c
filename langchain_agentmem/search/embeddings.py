"""Embedding models: called once a batch, asked only for what they have not said lately, and allowed to fail.

When a model fails nothing is lost: what was to be stored is stored without vectors, and what was to be found is looked for by
its words. A warning is logged.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from langchain_core.embeddings import Embeddings

from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.errors import (
    ConfigurationError,
    EmbeddingDimensionsError,
    InvalidTypeError,
    InvalidVectorsError,
)
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.search.inference import EmbedDocuments, EmbedQuery
from langchain_agentmem.text.vectors import unit

_log = logging.getLogger(__name__)

REMEMBERED = 2_000
"""How many vectors are kept in the process: those of texts that were embedded last."""

_PROBE = "How many dimensions?"


class Embedder:
    """An embedding model, and what it said lately.

    Args:
        model: The model.
        name: What tells it from others. Default: as `name_of` says.
        dimensions: How many its vectors must have. Default: None (all as many as the first).

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_agentmem.search.embeddings import Embedder
        >>> from langchain_agentmem.programs import run
        >>> sorted(run(Embedder(DeterministicFakeEmbedding(size=8)).documents(["a", "b", "a"])))
        ['a', 'b']
    """

    def __init__(self, model: Embeddings, name: str | None = None, dimensions: int | None = None) -> None:
        self.model = model
        self.dimensions = None if dimensions is None else check_count('index["dims"]', dimensions)
        self.name = name_of(model) if name is None else name
        self._known: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes: int | None = None
        """The length of the vectors it gave so far."""
        self._lock = forkable_lock()

    @classmethod
    def of(
        cls, model: Embedder | Embeddings | Callable[..., Any] | str | None, dimensions: int | None = None
    ) -> Embedder | None:
        """The embedder for a model, a function, or a name such as `"openai:text-embedding-3-small"`.

        Raises:
            ConfigurationError: There is no model of that name, or the package that it needs is not installed.
            InvalidTypeError: It is none of these.
        """
        if model is None or isinstance(model, Embedder):
            return model
        if not isinstance(model, (str, Embeddings)) and (isinstance(model, type) or not callable(model)):
            msg = (
                f"embeddings must be a LangChain Embeddings, a function from texts to vectors, or a name such as "
                f"'openai:text-embedding-3-small', got {shown(model)}."
            )
            raise InvalidTypeError(msg)
        own = model if isinstance(model, Embeddings) else _named(model) if isinstance(model, str) else _Function(model)
        return cls(own, name_of(model), dimensions)

    def documents(self, texts: Sequence[str]) -> Program[dict[str, bytes]]:
        """The vectors of texts, by text; of none when the model fails."""
        try:
            return (yield from self.vectors(texts))
        except InvalidVectorsError:
            raise
        except Exception as error:  # each provider raises its own
            if came_by_signal(error):
                raise
            count = len(set(texts))
            _log.warning("The embedding model failed, so %d texts are found by their words alone: %s", count, error)
            return {}

    def vectors(self, texts: Sequence[str]) -> Program[dict[str, bytes]]:
        """Same as `documents`, but raises what the model raises, or `ValueError` when its vectors are too few or no good."""
        wanted = list(dict.fromkeys(texts))
        found = {text: vector for text in wanted if (vector := self._recall("document", text)) is not None}
        missing = [text for text in wanted if text not in found]
        if not missing:
            return found
        given = yield from EmbedDocuments(self.model, missing)
        vectors = self._checked(given, len(missing))
        self._check(*found.values(), *vectors)
        for text, vector in zip(missing, vectors, strict=True):
            found[text] = vector
            self._remember("document", text, vector)
        return found

    def forget(self) -> None:
        """Forget what the model said: it is asked anew."""
        with self._lock:
            self._known.clear()
            self._bytes = None

    def probe(self) -> Program[bytes]:
        """Any vector, asked for anew; raises as `vectors` does."""
        given = yield from EmbedDocuments(self.model, [_PROBE])
        (vector,) = self._checked(given, 1)
        self._check(vector)
        return vector

    def query(self, text: str) -> Program[bytes | None]:
        """The vector of a query; None when the model fails."""
        known = self._recall("query", text)
        if known is not None:
            return known
        try:
            if isinstance(self.model, _Function):  # its vectors are counted
                (vector,) = self._checked((yield from EmbedDocuments(self.model, [text])), 1)
            else:
                (vector,) = self._checked([(yield from EmbedQuery(self.model, text))], 1)
            self._check(vector)
        except InvalidVectorsError:
            raise
        except Exception as error:  # each provider raises its own
            if came_by_signal(error):
                raise
            _log.warning("The embedding model failed, so a search goes by words alone: %s", error)
            return None
        self._remember("query", text, vector)
        return vector

    def _checked(self, given: Any, count: int) -> list[bytes]:
        """Return the vectors that the model returned for a number of texts, in the stored form."""
        model = f"The embedding model {shown(self.name)}"
        if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
            msg = f"{model} must return a list of vectors, one for each text, got {shown(given)}. Nothing was stored."
            raise InvalidVectorsError(msg)
        vectors = list(given)
        if len(vectors) != count:
            msg = (
                f"{model} must return one vector for each text: it gave {len(vectors)} for {count}. Nothing was stored."
            )
            raise InvalidVectorsError(msg)
        try:
            return [unit(vector) for vector in vectors]
        except (ValueError, TypeError) as error:
            msg = f"{model} must return vectors of finite numbers: {error}. Nothing was stored."
            raise InvalidVectorsError(msg) from error

    def _check(self, *vectors: bytes) -> None:
        """Refuse vectors that differ in length: from what is configured, from each other, or from those before."""
        if self.dimensions is not None:
            for vector in vectors:
                if len(vector) != 4 * self.dimensions:
                    msg = (
                        f"The embedding model {shown(self.name)} gives vectors of {len(vector) // 4} dimensions, and "
                        f'index["dims"] is {self.dimensions}; nothing was written. Set index["dims"] to '
                        f"{len(vector) // 4}, or use a model of {self.dimensions} dimensions."
                    )
                    raise EmbeddingDimensionsError(msg)
        with self._lock:
            sizes = {len(vector) for vector in vectors} | ({self._bytes} if self._bytes else set())
            if len(sizes) > 1:
                dimensions = sorted(size // 4 for size in sizes)
                msg = (
                    f"The embedding model {shown(self.name)} must return vectors of equal dimensions, got {dimensions}. "
                    f"Nothing was stored."
                )
                raise InvalidVectorsError(msg)
            self._bytes = sizes.pop()

    def _recall(self, kind: str, text: str) -> bytes | None:
        with self._lock:
            if (kind, text) in self._known:
                self._known.move_to_end((kind, text))
            return self._known.get((kind, text))

    def _remember(self, kind: str, text: str, vector: bytes) -> None:
        with self._lock:
            self._known[kind, text] = vector
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)


class _Function(Embeddings):
    """A function from texts to vectors as an embedding model; it may be a coroutine function."""

    def __init__(self, func: Callable[[list[str]], Any]) -> None:
        self.func = func

    def embed_documents(self, texts: list[str]) -> Any:
        """What the function gives; the steps `EmbedDocuments` and `EmbedQuery` wait for it where it is awaitable."""
        return self.func(texts)

    def embed_query(self, text: str) -> Any:
        given = self.func([text])
        return _first_of(given) if inspect.isawaitable(given) else given[0]

    async def aembed_documents(self, texts: list[str]) -> Any:
        if inspect.iscoroutinefunction(self.func) or inspect.iscoroutinefunction(type(self.func).__call__):
            return await self.func(texts)
        given = await asyncio.to_thread(self.func, texts)
        return await given if inspect.isawaitable(given) else given

    async def aembed_query(self, text: str) -> Any:
        return (await self.aembed_documents([text]))[0]


async def _first_of(given: Awaitable[Any]) -> Any:
    return (await given)[0]


def _named(name: str) -> Embeddings:
    """The model of a name such as `"openai:text-embedding-3-small"`, which LangChain makes."""
    from langgraph.store.base import ensure_embeddings

    try:
        return ensure_embeddings(name)
    except Exception as error:  # each provider raises its own
        provider = name.partition(":")[0]
        msg = (
            f"Cannot make the embedding model {shown(name)}: {error!s:.300}. Check the name, which is 'provider:model' "
            f"such as 'openai:text-embedding-3-small'; install langchain and the provider's package, such as "
            f"langchain-openai; and set the key that the provider {shown(provider)} needs. Or pass a LangChain Embeddings "
            f"or a function."
        )
        raise ConfigurationError(msg) from error


def name_of(model: Any) -> str:
    """What tells an embedding model from others.

    A `"provider:model"` string tells itself, a function by its qualified name, an object by its class and what it says in
    `model`, `model_name` or `model_id`. A cache (LangChain's `CacheBackedEmbeddings`) is what it caches.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_agentmem.search.embeddings import name_of
        >>> name_of("openai:text-embedding-3-small"), name_of(DeterministicFakeEmbedding(size=8))
        ('openai:text-embedding-3-small', 'DeterministicFakeEmbedding')
    """
    if isinstance(model, str):
        return model
    inner = getattr(model, "underlying_embeddings", None) or getattr(model, "func", None)
    if inner is not None:
        return name_of(inner)
    if not isinstance(model, Embeddings) and hasattr(model, "__qualname__"):
        return str(model.__qualname__)
    said = (getattr(model, attribute, None) for attribute in ("model", "model_name", "model_id"))
    which = next((one for one in said if isinstance(one, str) and one), None)
    kind = type(model).__qualname__
    return kind if which is None else f"{kind}:{which}"
