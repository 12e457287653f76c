"""The fingerprint of a tenant's embedding model. Vectors of two models are never compared with each other.

The database stores the fingerprint (the model's name and its number of dimensions) before the first vectors. Each process
checks it when it first stores or searches vectors, and then once a minute. `memory.reindex()` begins a new generation of
vectors and stores its phase with the fingerprint. Until it ends, searches rank by words only.

A writer may store vectors long after its last check, because the model takes time. It therefore rechecks the fingerprint
after it stored them, unless its last check is more recent than `GRACE_SECONDS`, and replaces or deletes vectors of a former
generation. `reindex()` in turn waits for `GRACE_SECONDS` before it deletes vectors.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from langchain_core.embeddings import Embeddings

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.errors import ConfigurationError, EmbeddingsChangedError
from langchain_agentmem.programs import Program, Read, Write
from langchain_agentmem.search.embeddings import Embedder

_log = logging.getLogger(__name__)

RECHECK_SECONDS = 60.0
"""The time after which a process checks the fingerprint again."""

GRACE_SECONDS = 0.2
"""Seconds for which a check is valid for a writer. `reindex()` waits that time before it deletes vectors."""

COMPLETE, CLEARING, EMBEDDING = "complete", "clearing", "embedding"
"""The phases of a generation: all vectors are stored; the former vectors are being deleted; new ones are being added."""

_NOTE = "model"
_FLOAT_BYTES = 4


class Fingerprint(NamedTuple):
    """The name of an embedding model and its number of dimensions."""

    model: str
    dimensions: int

    def __str__(self) -> str:
        return f"{self.model} with {self.dimensions} dimensions"


class State(NamedTuple):
    """The stored fingerprint, with the state of the tenant's vectors."""

    fingerprint: Fingerprint
    phase: str
    generation: int = 0
    """The number of times that all vectors were replaced."""
    revision: int | None = None
    """The revision of the stored fingerprint; None before it is stored."""


class Check(NamedTuple):
    """The result of a check of the stored fingerprint."""

    state: State | None
    """None if no fingerprint is stored."""
    at: float
    """The time of the check, on the monotonic clock."""

    @property
    def phase(self) -> str | None:
        """The phase of the vectors; None if there are none."""
        return None if self.state is None else self.state.phase


class Embedded(NamedTuple):
    """The vectors of texts that are about to be stored, by text, and the last check before they were computed."""

    vectors: Mapping[str, bytes] = MappingProxyType({})
    check: Check | None = None


def stored_state(backend: Backend, tenant: str) -> Program[State | None]:
    """Read the stored fingerprint of a tenant; None if there is none."""
    note = yield from Read(backend, _notes(backend, tenant).get(_NOTE, time.time()))
    if note is None:
        return None
    stored = note.value
    fingerprint = Fingerprint(stored["model"], stored["dimensions"])
    return State(fingerprint, stored["phase"], stored.get("generation", 0), note.revision)


def swap_state(
    backend: Backend, tenant: str, state: State | None, fingerprint: Fingerprint, phase: str
) -> Program[bool]:
    """Store a fingerprint, if the stored one did not change since it was read; return true if it was stored.

    Args:
        backend: The backend that stores the vectors.
        tenant: The tenant.
        state: The stored fingerprint as it was read; None if there was none.
        fingerprint: The fingerprint to store.
        phase: The phase to store. `CLEARING` begins a new generation.
    """
    generation = (state.generation if state else 0) + (phase == CLEARING)
    value = {**fingerprint._asdict(), "phase": phase, "generation": generation}
    expected = None if state is None else state.revision
    return (yield from Write(backend, _notes(backend, tenant).swap(_NOTE, value, expected, time.time())))


def _notes(backend: Backend, tenant: str) -> Notes:
    return Notes(backend, tenant, "embeddings")


class Indexer:
    """Embeds the texts of one tenant, and refuses a model that is not the one of the stored vectors.

    Args:
        backend: The backend that stores the vectors.
        tenant: The tenant.
        embedder: The embedding model.
    """

    def __init__(self, backend: Backend, tenant: str, embedder: Embedder) -> None:
        self.embedder = embedder
        self._backend = backend
        self._tenant = tenant
        self._checked: Check | None = None
        """The last check, if the stored fingerprint was that of this model and its vectors were complete."""
        self._generation: int | None = None

    @classmethod
    def of(
        cls,
        model: Self | Embedder | Embeddings | Callable[..., Any] | str | None,
        backend: Backend,
        tenant: str,
        dimensions: int | None = None,
    ) -> Self | None:
        """Return the indexer for a model, a function or a name such as `"openai:text-embedding-3-small"`.

        Args:
            model: The model. None: no indexer.
            backend: The backend that stores the vectors.
            tenant: The tenant.
            dimensions: The required number of dimensions. Default: None (that of the stored vectors).
        """
        if isinstance(model, cls):
            return model
        embedder = Embedder.of(model, dimensions)  # type: ignore[arg-type]  # it is no indexer
        return None if embedder is None else cls(backend, tenant, embedder)

    def __repr__(self) -> str:
        return f"Indexer({self.embedder.name!r})"

    def documents(self, texts: Sequence[str], *, strict: bool = False) -> Program[Embedded]:
        """Embed texts that are about to be stored.

        Args:
            texts: The texts.
            strict: If true and the model fails, raise its error. If false, log a warning and return no vectors.

        Raises:
            EmbeddingsChangedError: The stored vectors belong to another model.
            ConfigurationError: The database cannot store vectors of this length.
        """
        check = yield from self.ready()
        if check.phase == CLEARING:
            return Embedded({}, check)  # reindex() embeds all texts later
        vectors = yield from (self.embedder.vectors if strict else self.embedder.documents)(texts)
        if vectors:
            own = self.fingerprint(vectors.values())
            if check.state is None:
                check = yield from self._store(own)
            if check.state is not None:
                self._refuse_other(check.state, own)
        return Embedded({} if check.phase == CLEARING else vectors, check)

    def settle(
        self, texts: Sequence[str], stored: Embedded, replace: Callable[[Embedded], Program[None]]
    ) -> Program[None]:
        """Recheck the fingerprint after vectors were stored, and replace vectors of a former generation.

        Args:
            texts: The texts whose vectors were stored.
            stored: The vectors that were stored.
            replace: Stores other vectors, or deletes them, while the items or messages still have these texts.
        """
        while texts:
            renewed = yield from self._renewed(texts, stored)
            if renewed is None:
                return
            stored = renewed
            yield from replace(stored)

    def _renewed(self, texts: Sequence[str], stored: Embedded) -> Program[Embedded | None]:
        """Return the vectors that must replace those that were stored; None if they are right."""
        check = stored.check
        if check is None or check.state is None or not (stored.vectors or check.phase == CLEARING):
            return None
        if check.phase == COMPLETE and time.monotonic() - check.at <= GRACE_SECONDS:
            return None
        now = yield from self.check()
        if now.state is None or (now.state.generation == check.state.generation and stored.vectors):
            return None
        if now.phase == CLEARING or not self._is_own(now.state, stored.vectors):
            return Embedded({}, now) if stored.vectors else None
        return Embedded((yield from self.embedder.documents(texts)), now)

    def query(self, text: str) -> Program[bytes | None]:
        """Embed a query; None if the model fails or `reindex()` is running.

        Raises:
            EmbeddingsChangedError: The stored vectors belong to another model.
        """
        state = (yield from self.ready()).state
        if state is not None and state.phase != COMPLETE:
            _log.warning("reindex() is running; this search ranks by words only.")
            return None
        vector = yield from self.embedder.query(text)
        if state is not None and vector is not None:
            self._refuse_other(state, self.fingerprint([vector]))
        return vector

    def ready(self) -> Program[Check]:
        """Check the stored fingerprint, unless the last check is recent enough.

        Raises:
            EmbeddingsChangedError: The stored vectors belong to another model.
        """
        check = self._checked
        if check is None or time.monotonic() >= check.at + RECHECK_SECONDS:
            check = yield from self.check()
        if check.state is not None:
            self._refuse_other(check.state, None)
        return check

    def check(self) -> Program[Check]:
        """Check the stored fingerprint."""
        at = time.monotonic()
        check = Check((yield from self.state()), at)
        settled = check.phase == COMPLETE and check.state is not None and self._is_own(check.state, {})
        self._checked = check if settled else None
        if check.state is not None and check.state.generation != self._generation:
            if self._generation is not None:
                self.embedder.forget()  # the model may have changed without a new name
            self._generation = check.state.generation
        return check

    def state(self) -> Program[State | None]:
        """Read the stored fingerprint; None if there is none."""
        return (yield from stored_state(self._backend, self._tenant))

    def swap(self, state: State | None, fingerprint: Fingerprint, phase: str) -> Program[bool]:
        """Store a fingerprint, if the stored one did not change since it was read.

        Args:
            state: The stored fingerprint as it was read; None if there was none.
            fingerprint: The fingerprint to store.
            phase: The phase to store. `CLEARING` begins a new generation.

        Returns:
            True if it was stored.
        """
        generation = (state.generation if state else 0) + (phase == CLEARING)
        swapped = yield from swap_state(self._backend, self._tenant, state, fingerprint, phase)
        self._checked = None
        if swapped:
            self._generation = generation
        return swapped

    def fingerprint(self, vectors: Iterable[bytes]) -> Fingerprint:
        """Return the fingerprint of this model, given some of its vectors."""
        return Fingerprint(self.embedder.name, len(next(iter(vectors))) // _FLOAT_BYTES)

    def _store(self, own: Fingerprint) -> Program[Check]:
        """Store the fingerprint of this model, unless another process stored one, and return the check after that."""
        reason = yield from Read(self._backend, self._backend.items.fits(self._tenant, own.dimensions))
        if reason is not None:
            raise ConfigurationError(reason)
        yield from self.swap(None, own, COMPLETE)
        return (yield from self.ready())

    def _is_own(self, state: State, vectors: Mapping[str, bytes]) -> bool:
        return state.fingerprint.model == self.embedder.name and (
            not vectors or state.fingerprint == self.fingerprint(vectors.values())
        )

    def _refuse_other(self, state: State, own: Fingerprint | None) -> None:
        """Raise an error if the model is not the one of the stored vectors. If `own` is None, compare the names only."""
        stored = state.fingerprint
        if stored == own or (own is None and stored.model == self.embedder.name):
            return
        self._checked = None
        self.embedder.forget()
        msg = (
            f"The embedding model was changed: the stored vectors belong to {stored}, and this memory uses "
            f"{own or self.embedder.name}. Call memory.reindex() to embed everything again, or use the former model."
        )
        raise EmbeddingsChangedError(msg)
