"""Which embedding model the vectors of a tenant are of: no two models are ever compared with each other.

A note of the tenant says the model's name and the number of dimensions. It is written before the first vectors are stored,
by one process alone, and looked at when a process first stores or searches vectors, and once a minute after that. While
`memory.reindex()` is at work the note says so: searches go by words alone until it is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from langchain_core.embeddings import Embeddings
from typing_extensions import Self

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.embedding import Embedder
from langchain_agentmem.errors import EmbeddingsChangedError
from langchain_agentmem.notes import Notes
from langchain_agentmem.program import Program, Read, Write

_log = logging.getLogger(__name__)

LOOKED_AT_SECONDS = 60.0
"""After what time a process looks again whether the model is still the same."""

COMPLETE, CLEARING, EMBEDDING = "complete", "clearing", "embedding"
"""How far the vectors are: all there; the former ones are being deleted; others are being made."""

_NAME = "model"
_BYTES = 4


class Fingerprint(NamedTuple):
    """What tells the vectors of one embedding model from those of another."""

    model: str
    dimensions: int

    def __str__(self) -> str:
        return f"{self.model} with {self.dimensions} dimensions"


class State(NamedTuple):
    """What is known of the vectors of a tenant."""

    fingerprint: Fingerprint
    phase: str
    revision: int | None = None
    """That of the note; None before it is written."""


class Indexer:
    """Makes the vectors of one tenant, and sees to it that they are all of one model.

    Args:
        backend: Where they are stored.
        tenant: Whose they are.
        embedder: The model.
    """

    def __init__(self, backend: Backend, tenant: str, embedder: Embedder) -> None:
        self.embedder = embedder
        self._backend = backend
        self._notes = Notes(backend, tenant, "embeddings")
        self._seen: State | None = None
        self._seen_until = 0.0

    @classmethod
    def of(
        cls, model: Self | Embedder | Embeddings | Callable[..., Any] | str | None, backend: Backend, tenant: str
    ) -> Self | None:
        """The indexer for a model, a function, or a name such as `"openai:text-embedding-3-small"`."""
        if isinstance(model, cls):
            return model
        embedder = Embedder.of(model)  # type: ignore[arg-type]  # it is no indexer
        return None if embedder is None else cls(backend, tenant, embedder)

    def documents(self, texts: Sequence[str]) -> Program[dict[str, bytes]]:
        """The vectors of texts that are about to be stored, by text; of none when the model fails.

        Raises:
            EmbeddingsChangedError: The stored vectors are of another model.
        """
        state = yield from self.ready()
        if state is not None and state.phase == CLEARING:
            return {}  # what is stored now is embedded later, with all the rest
        vectors = yield from self.embedder.documents(texts)
        if vectors:
            own = self.fingerprint(vectors.values())
            state = state or (yield from self._claim(own))
            self._refuse(state, own)
        return {} if state is not None and state.phase == CLEARING else vectors

    def query(self, text: str) -> Program[bytes | None]:
        """The vector of a query; None when the model fails, or vectors are being made anew.

        Raises:
            EmbeddingsChangedError: The stored vectors are of another model.
        """
        state = yield from self.ready()
        if state is not None and state.phase != COMPLETE:
            _log.warning("The embeddings are being made anew by reindex(), so a search goes by words alone.")
            return None
        vector = yield from self.embedder.query(text)
        if state is not None and vector is not None:
            self._refuse(state, self.fingerprint([vector]))
        return vector

    def ready(self) -> Program[State | None]:
        """What is known of the stored vectors; None when there are none.

        Raises:
            EmbeddingsChangedError: They are of another model.
        """
        state = self._seen
        if state is None or time.monotonic() >= self._seen_until:
            state = yield from self.state()
            settled = state is not None and state.phase == COMPLETE
            self._seen, self._seen_until = (state if settled else None), time.monotonic() + LOOKED_AT_SECONDS
        if state is not None:
            self._refuse(state, None)
        return state

    def state(self) -> Program[State | None]:
        """What the note says; None when there is none."""
        note = yield Read(self._backend, self._notes.get(_NAME, time.time()))
        if note is None:
            return None
        said = note.value
        return State(Fingerprint(said["model"], said["dimensions"]), said["phase"], note.revision)

    def swap(self, state: State | None, fingerprint: Fingerprint, phase: str) -> Program[bool]:
        """Write the note, if it still is as it was read; returns whether."""
        value = {**fingerprint._asdict(), "phase": phase}
        expected = None if state is None else state.revision
        swapped: bool = yield Write(self._backend, self._notes.swap(_NAME, value, expected, time.time()))
        self._seen = None
        return swapped

    def fingerprint(self, vectors: Any) -> Fingerprint:
        """That of this model, known by vectors it gave."""
        return Fingerprint(self.embedder.name, len(next(iter(vectors))) // _BYTES)

    def _claim(self, own: Fingerprint) -> Program[State]:
        """Write down that the vectors are of this model, unless another process was faster; returns what holds now."""
        yield from self.swap(None, own, COMPLETE)
        return (yield from self.ready()) or State(own, COMPLETE)

    def _refuse(self, state: State, own: Fingerprint | None) -> None:
        """Refuse a model that is not the one of the stored vectors; by its name alone as long as no more is known."""
        stored = state.fingerprint
        if stored == own or (own is None and stored.model == self.embedder.name):
            return
        self._seen = None  # it may be settled the next time
        self.embedder.forget()
        msg = (
            f"The embedding model was changed: the stored vectors are of {stored}, and this memory has "
            f"{own or self.embedder.name}. Call memory.reindex() to embed everything anew, or go back to the former model."
        )
        raise EmbeddingsChangedError(msg)
