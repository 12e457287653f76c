"""Embedding models: called once a batch, asked only for what they have not said lately, and allowed to fail.

When a model fails nothing is lost: what was to be stored is stored without vectors, and what was to be found is looked for by
its words. A warning is logged.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.embeddings import Embeddings

from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.program import EmbedDocuments, EmbedQuery, Program
from langchain_agentmem.signals import came_by_signal
from langchain_agentmem.vectors import unit

_log = logging.getLogger(__name__)

REMEMBERED = 2_000
"""How many vectors are kept in the process: those of texts that were embedded last."""

_PROBE = "How many dimensions?"


class Embedder:
    """An embedding model, and what it said lately.

    Args:
        model: The model.
        name: What tells it from others. Default: as `name_of` says.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_agentmem.embedding import Embedder
        >>> from langchain_agentmem.program import run
        >>> sorted(run(Embedder(DeterministicFakeEmbedding(size=8)).documents(["a", "b", "a"])))
        ['a', 'b']
    """

    def __init__(self, model: Embeddings, name: str | None = None) -> None:
        self.model = model
        self.name = name_of(model) if name is None else name
        self._known: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes: int | None = None
        """The length of the vectors it gave so far."""
        self._lock = threading.Lock()

    @classmethod
    def of(cls, model: Embedder | Embeddings | Callable[..., Any] | str | None) -> Embedder | None:
        """The embedder for a model, a function, or a name such as `"openai:text-embedding-3-small"`."""
        if model is None or isinstance(model, Embedder):
            return model
        if not isinstance(model, (str, Embeddings)) and (isinstance(model, type) or not callable(model)):
            msg = (
                f"embeddings must be a LangChain Embeddings, a function from texts to vectors, or a name such as "
                f"'openai:text-embedding-3-small', got {model!r:.100}."
            )
            raise InvalidTypeError(msg)
        from langgraph.store.base import ensure_embeddings

        return cls(ensure_embeddings(model), name_of(model))

    def documents(self, texts: Sequence[str]) -> Program[dict[str, bytes]]:
        """The vectors of texts, by text; of none when the model fails."""
        try:
            return (yield from self.vectors(texts))
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
        given = yield EmbedDocuments(self.model, missing)
        if len(given) != len(missing):
            msg = f"it gave {len(given)} vectors for {len(missing)} texts"
            raise ValueError(msg)
        vectors = [unit(vector) for vector in given]
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
        given = yield EmbedDocuments(self.model, [_PROBE])
        vector = unit(given[0])
        self._check(vector)
        return vector

    def query(self, text: str) -> Program[bytes | None]:
        """The vector of a query; None when the model fails."""
        known = self._recall("query", text)
        if known is not None:
            return known
        try:
            vector = unit((yield EmbedQuery(self.model, text)))
            self._check(vector)
        except Exception as error:  # each provider raises its own
            if came_by_signal(error):
                raise
            _log.warning("The embedding model failed, so a search goes by words alone: %s", error)
            return None
        self._remember("query", text, vector)
        return vector

    def _check(self, *vectors: bytes) -> None:
        """Refuse vectors that differ in length, from each other or from those before."""
        with self._lock:
            sizes = {len(vector) for vector in vectors} | ({self._bytes} if self._bytes else set())
            if len(sizes) > 1:
                msg = f"it gave vectors of different dimensions: {sorted(size // 4 for size in sizes)}"
                raise ValueError(msg)
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


def name_of(model: Any) -> str:
    """What tells an embedding model from others.

    A `"provider:model"` string tells itself, a function by its qualified name, an object by its class and what it says in
    `model`, `model_name` or `model_id`. A cache (LangChain's `CacheBackedEmbeddings`) is what it caches.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_agentmem.embedding import name_of
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
