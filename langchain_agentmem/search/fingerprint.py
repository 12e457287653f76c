"""Which embedding model the vectors of a tenant are of: no two models are ever compared with each other.

A note of the tenant says the model's name and the number of dimensions. It is written before the first vectors are stored,
by one process alone, and looked at when a process first stores or searches vectors, and once a minute after that. While
`memory.reindex()` is at work the note says so: searches go by words alone until it is done.

Vectors may be stored long after the note was looked at, while the model was asked. So whoever has stored some looks again,
unless it looked a moment ago, and gives what it stored other vectors, or none, if another generation of vectors has begun.
`reindex` in turn lets that moment pass before it deletes the first: what was stored within it is there by then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from langchain_core.embeddings import Embeddings
from typing_extensions import Self

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.errors import ConfigurationError, EmbeddingsChangedError
from langchain_agentmem.programs import Program, Read, Write
from langchain_agentmem.search.embeddings import Embedder

_log = logging.getLogger(__name__)

LOOKED_AT_SECONDS = 60.0
"""After what time a process looks again whether the model is still the same."""

MOMENT_SECONDS = 0.2
"""How long nobody needs to look again, and `reindex` waits before it deletes vectors."""

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
    generation: int = 0
    """How often all were made anew."""
    revision: int | None = None
    """That of the note; None before it is written."""


class Look(NamedTuple):
    """What the note said."""

    state: State | None
    at: float
    """When it was read, on the clock that never goes back."""

    @property
    def phase(self) -> str | None:
        """How far the vectors are; None when there are none."""
        return None if self.state is None else self.state.phase


class Embedded(NamedTuple):
    """The vectors of texts that are to be stored, by text; and what was known when they were made."""

    vectors: Mapping[str, bytes] = MappingProxyType({})
    look: Look | None = None


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
        self._tenant = tenant
        self._notes = Notes(backend, tenant, "embeddings")
        self._seen: Look | None = None
        self._generation: int | None = None

    @classmethod
    def of(
        cls,
        model: Self | Embedder | Embeddings | Callable[..., Any] | str | None,
        backend: Backend,
        tenant: str,
        dimensions: int | None = None,
    ) -> Self | None:
        """The indexer for a model, a function, or a name such as `"openai:text-embedding-3-small"`.

        Args:
            model: The model.
            backend: Where the vectors are stored.
            tenant: Whose they are.
            dimensions: How many each vector must have. Default: None (as many as the stored ones).
        """
        if isinstance(model, cls):
            return model
        embedder = Embedder.of(model, dimensions)  # type: ignore[arg-type]  # it is no indexer
        return None if embedder is None else cls(backend, tenant, embedder)

    def documents(self, texts: Sequence[str], *, strict: bool = False) -> Program[Embedded]:
        """The vectors of texts that are about to be stored; none when the model fails, unless `strict`: then that is raised.

        Raises:
            EmbeddingsChangedError: The stored vectors are of another model.
            ConfigurationError: The database cannot store vectors of so many dimensions.
        """
        look = yield from self.ready()
        if look.phase == CLEARING:
            return Embedded({}, look)  # what is stored now is embedded later, with all the rest
        vectors = yield from (self.embedder.vectors if strict else self.embedder.documents)(texts)
        if vectors:
            own = self.fingerprint(vectors.values())
            if look.state is None:
                look = yield from self._claim(own)
            if look.state is not None:
                self._refuse(look.state, own)
        return Embedded({} if look.phase == CLEARING else vectors, look)

    def renewed(self, texts: Sequence[str], stored: Embedded) -> Program[Embedded | None]:
        """What is to take the place of vectors that were just stored; None when they may stay.

        Args:
            texts: The texts.
            stored: What was stored of them.
        """
        look = stored.look
        if look is None or look.state is None or not (stored.vectors or look.phase == CLEARING):
            return None
        if look.phase == COMPLETE and time.monotonic() - look.at <= MOMENT_SECONDS:
            return None
        now = yield from self.look()
        if now.state is None or (now.state.generation == look.state.generation and stored.vectors):
            return None
        if now.phase == CLEARING or not self._is_own(now.state, stored.vectors):
            return Embedded({}, now) if stored.vectors else None
        return Embedded((yield from self.embedder.documents(texts)), now)

    def query(self, text: str) -> Program[bytes | None]:
        """The vector of a query; None when the model fails, or vectors are being made anew.

        Raises:
            EmbeddingsChangedError: The stored vectors are of another model.
        """
        state = (yield from self.ready()).state
        if state is not None and state.phase != COMPLETE:
            _log.warning("The embeddings are being made anew by reindex(), so a search goes by words alone.")
            return None
        vector = yield from self.embedder.query(text)
        if state is not None and vector is not None:
            self._refuse(state, self.fingerprint([vector]))
        return vector

    def ready(self) -> Program[Look]:
        """What is known of the stored vectors.

        Raises:
            EmbeddingsChangedError: They are of another model.
        """
        look = self._seen
        if look is None or time.monotonic() >= look.at + LOOKED_AT_SECONDS:
            look = yield from self.look()
        if look.state is not None:
            self._refuse(look.state, None)
        return look

    def look(self) -> Program[Look]:
        """Look at the note."""
        at = time.monotonic()
        look = Look((yield from self.state()), at)
        settled = look.phase == COMPLETE and look.state is not None and self._is_own(look.state, {})
        self._seen = look if settled else None
        if look.state is not None and look.state.generation != self._generation:
            if self._generation is not None:
                self.embedder.forget()  # it may answer otherwise than it did
            self._generation = look.state.generation
        return look

    def state(self) -> Program[State | None]:
        """What the note says; None when there is none."""
        note = yield from Read(self._backend, self._notes.get(_NAME, time.time()))
        if note is None:
            return None
        said = note.value
        fingerprint = Fingerprint(said["model"], said["dimensions"])
        return State(fingerprint, said["phase"], said.get("generation", 0), note.revision)

    def swap(self, state: State | None, fingerprint: Fingerprint, phase: str) -> Program[bool]:
        """Write the note, if it still is as it was read; returns whether. With `CLEARING` begins another generation."""
        generation = (state.generation if state else 0) + (phase == CLEARING)
        value = {**fingerprint._asdict(), "phase": phase, "generation": generation}
        expected = None if state is None else state.revision
        swapped: bool = yield from Write(self._backend, self._notes.swap(_NAME, value, expected, time.time()))
        self._seen = None
        if swapped:
            self._generation = generation
        return swapped

    def fingerprint(self, vectors: Any) -> Fingerprint:
        """That of this model, known by vectors it gave."""
        return Fingerprint(self.embedder.name, len(next(iter(vectors))) // _BYTES)

    def _claim(self, own: Fingerprint) -> Program[Look]:
        """Write down that the vectors are of this model, unless another process was faster; returns what holds now."""
        reason = yield from Read(self._backend, self._backend.items.fits(self._tenant, own.dimensions))
        if reason is not None:
            raise ConfigurationError(reason)
        yield from self.swap(None, own, COMPLETE)
        return (yield from self.ready())

    def _is_own(self, state: State, vectors: Mapping[str, bytes]) -> bool:
        return state.fingerprint.model == self.embedder.name and (
            not vectors or state.fingerprint == self.fingerprint(vectors.values())
        )

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
