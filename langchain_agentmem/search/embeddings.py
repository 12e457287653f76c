"""Embedding models: one call for each batch of texts, a cache of recent vectors, and a fallback to full-text search.

If the model fails, items and messages are stored without vectors, and searches rank by words. A warning is logged.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from langchain_core.embeddings import Embeddings

from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.errors import (
    ConfigurationError,
    EmbeddingDimensionsError,
    InvalidTypeError,
    InvalidVectorsError,
)
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.search.inference import EmbedDocuments, EmbedQuery
from langchain_agentmem.text.vectors import unit

_log = logging.getLogger(__name__)

CACHED_VECTORS = 2_000
"""The number of vectors that the cache holds: those of the most recently used texts."""

_FLOAT_BYTES = 4
_PROBE = "How many dimensions?"

Kind = Literal["document", "query"]


class Embedder:
    """An embedding model with a cache of recent vectors.

    Args:
        model: The model.
        name: The name of the model, as in its fingerprint. Default: None (see `name_of`).
        dimensions: The required number of dimensions. Default: None (that of the first vector).

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
        self._cache: RecentValues[tuple[Kind, str], bytes] = RecentValues(CACHED_VECTORS)
        self._bytes: int | None = None
        """The length of the vectors so far."""
        self._lock = forkable_lock()

    @classmethod
    def of(
        cls, model: Embedder | Embeddings | Callable[..., Any] | str | None, dimensions: int | None = None
    ) -> Embedder | None:
        """Return the embedder for a model, a function or a name such as `"openai:text-embedding-3-small"`.

        Raises:
            ConfigurationError: LangChain cannot create a model of this name.
            InvalidTypeError: The argument has another type.
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

    def __repr__(self) -> str:
        return f"Embedder({self.name!r})"

    def documents(self, texts: Sequence[str]) -> Program[dict[str, bytes]]:
        """Return the vectors of texts, by text. If the model fails, log a warning and return no vectors.

        Raises:
            InvalidVectorsError: The model returned something else than one vector for each text.
            EmbeddingDimensionsError: The vectors have another number of dimensions than configured.
        """
        found, missing = self._found(texts)
        if not missing:
            return found
        try:
            embedded = yield from self._embedded(found, missing)
        except InvalidVectorsError:
            raise
        except Exception as error:  # each provider has errors of its own
            if came_by_signal(error):
                raise
            count = len(found) + len(missing)
            _log.warning("The embedding model failed; %d texts are stored without vectors: %s", count, error)
            return {}
        self._keep("document", embedded)
        return {**found, **embedded}

    def vectors(self, texts: Sequence[str]) -> Program[dict[str, bytes]]:
        """Same as `documents`, but raise the error of the model."""
        found, missing = self._found(texts)
        if not missing:
            return found
        embedded = yield from self._embedded(found, missing)
        self._keep("document", embedded)
        return {**found, **embedded}

    def _found(self, texts: Sequence[str]) -> tuple[dict[str, bytes], list[str]]:
        """Return the cached vectors of texts, by text, and the other texts."""
        wanted = list(dict.fromkeys(texts))
        found = {text: vector for text in wanted if (vector := self._cached("document", text)) is not None}
        return found, [text for text in wanted if text not in found]

    def _embedded(self, found: Mapping[str, bytes], missing: list[str]) -> Program[dict[str, bytes]]:
        """Return the model's vectors of the missing texts, by text. They must fit the vectors that were found."""
        vectors = self._units((yield from EmbedDocuments(self.model, missing)), len(missing))
        self._check(*found.values(), *vectors)
        return dict(zip(missing, vectors, strict=True))

    def forget(self) -> None:
        """Empty the cache."""
        self._cache.clear()
        with self._lock:
            self._bytes = None

    def probe(self) -> Program[bytes]:
        """Return the vector of a text, without the cache. Raises the same errors as `vectors`."""
        (vector,) = self._units((yield from EmbedDocuments(self.model, [_PROBE])), 1)
        self._check(vector)
        return vector

    def query(self, text: str) -> Program[bytes | None]:
        """Return the vector of a query. If the model fails, log a warning and return None."""
        cached = self._cached("query", text)
        if cached is not None:
            return cached
        try:
            if isinstance(self.model, _Function):  # it returns a list, whose length is checked
                (vector,) = self._units((yield from EmbedDocuments(self.model, [text])), 1)
            else:
                (vector,) = self._units([(yield from EmbedQuery(self.model, text))], 1)
            self._check(vector)
        except InvalidVectorsError:
            raise
        except Exception as error:  # each provider has errors of its own
            if came_by_signal(error):
                raise
            _log.warning("The embedding model failed; this search ranks by words only: %s", error)
            return None
        self._keep("query", {text: vector})
        return vector

    def _units(self, returned: Any, count: int) -> list[bytes]:
        """Return the vectors that the model returned for a number of texts, in the stored form."""
        model = f"The embedding model {shown(self.name)}"
        if isinstance(returned, (str, bytes, Mapping)) or not isinstance(returned, Iterable):
            msg = (
                f"{model} must return a list of vectors, one for each text, got {shown(returned)}. Nothing was stored."
            )
            raise InvalidVectorsError(msg)
        vectors = list(returned)
        if len(vectors) != count:
            msg = f"{model} must return one vector for each text, got {len(vectors)} for {count}. Nothing was stored."
            raise InvalidVectorsError(msg)
        try:
            return [unit(vector) for vector in vectors]
        except (ValueError, TypeError) as error:
            msg = f"{model} must return vectors of finite numbers: {error}. Nothing was stored."
            raise InvalidVectorsError(msg) from error

    def _check(self, *vectors: bytes) -> None:
        """Refuse vectors whose length differs from the configured one, from each other or from earlier vectors."""
        if self.dimensions is not None:
            for vector in vectors:
                if len(vector) != _FLOAT_BYTES * self.dimensions:
                    returned = len(vector) // _FLOAT_BYTES
                    msg = (
                        f"The embedding model {shown(self.name)} returns vectors with {returned} dimensions, but "
                        f'index["dims"] is {self.dimensions}. Nothing was stored. Set index["dims"] to {returned}, or use '
                        f"a model with {self.dimensions} dimensions."
                    )
                    raise EmbeddingDimensionsError(msg)
        with self._lock:
            lengths = {len(vector) for vector in vectors} | ({self._bytes} if self._bytes else set())
            if len(lengths) > 1:
                dimensions = sorted(length // _FLOAT_BYTES for length in lengths)
                msg = (
                    f"The embedding model {shown(self.name)} must return vectors of equal dimensions, got {dimensions}. "
                    f"Nothing was stored."
                )
                raise InvalidVectorsError(msg)
            self._bytes = lengths.pop()

    def _cached(self, kind: Kind, text: str) -> bytes | None:
        return self._cache.get((kind, text))

    def _keep(self, kind: Kind, vectors: dict[str, bytes]) -> None:
        for text, vector in vectors.items():
            self._cache.put((kind, text), vector)


class _Function(Embeddings):
    """Adapter from a function, or a coroutine function, to LangChain's `Embeddings`."""

    def __init__(self, func: Callable[[list[str]], Any]) -> None:
        self.func = func

    def embed_documents(self, texts: list[str]) -> Any:
        """Return the function's result. If it is awaitable, the steps `EmbedDocuments` and `EmbedQuery` await it."""
        return self.func(texts)

    def embed_query(self, text: str) -> Any:
        returned = self.func([text])
        return _first_of(returned) if inspect.isawaitable(returned) else returned[0]

    async def aembed_documents(self, texts: list[str]) -> Any:
        if inspect.iscoroutinefunction(self.func) or inspect.iscoroutinefunction(type(self.func).__call__):
            return await self.func(texts)
        returned = await asyncio.to_thread(self.func, texts)
        return await returned if inspect.isawaitable(returned) else returned

    async def aembed_query(self, text: str) -> Any:
        return (await self.aembed_documents([text]))[0]


async def _first_of(vectors: Awaitable[Any]) -> Any:
    return (await vectors)[0]


def _named(name: str) -> Embeddings:
    """Create the model of a name such as `"openai:text-embedding-3-small"` with LangChain."""
    from langgraph.store.base import ensure_embeddings

    try:
        return ensure_embeddings(name)
    except Exception as error:  # each provider has errors of its own
        provider = name.partition(":")[0]
        msg = (
            f"Cannot create the embedding model {shown(name)}: {error!s:.300}. Check the name ('provider:model', such as "
            f"'openai:text-embedding-3-small'), install langchain and the provider's package (such as langchain-openai), and "
            f"set the API key of {shown(provider)}. Or pass a LangChain Embeddings or a function."
        )
        raise ConfigurationError(msg) from error


def name_of(model: Any) -> str:
    """Return the name of an embedding model, which is part of the fingerprint.

    It is the `"provider:model"` string, the qualified name of a function, or the class of an object with its attribute
    `model`, `model_name` or `model_id`. LangChain's `CacheBackedEmbeddings` has the name of the model that it caches.

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
    attributes = (getattr(model, attribute, None) for attribute in ("model", "model_name", "model_id"))
    model_name = next((value for value in attributes if isinstance(value, str) and value), None)
    kind = type(model).__qualname__
    return kind if model_name is None else f"{kind}:{model_name}"
