"""Making the vectors of a tenant anew, or those that are missing: `memory.reindex()`.

When the model is another one, the vectors of the former are deleted first, and whatever has no vectors is embedded. So it
needs no list of what it did already: begun again after it broke off, it goes on. What others store meanwhile has vectors of
the new model, and is left alone. The phases are written in the tenant's note, see `langchain_agentmem.search.fingerprint`.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.backends.contract import Backend, EmbeddedItem, IndexedItem, LoggedMessage
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.errors import (
    ConfigurationError,
    EmbeddingDimensionsError,
    EmbeddingError,
    EmbeddingsChangedError,
    InvalidTypeError,
)
from langchain_agentmem.messages.properties import text_of
from langchain_agentmem.programs import Call, Program, Read, Sleep, Write
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.search.fingerprint import (
    CLEARING,
    COMPLETE,
    EMBEDDING,
    GRACE_SECONDS,
    Fingerprint,
    Indexer,
    State,
)
from langchain_agentmem.store.batches import Fields, embedded_texts, load_paths

BATCH = 100
"""How many items or messages are embedded in one call to the model."""

_log = logging.getLogger(__name__)

Report = Callable[["Reindexed"], Any]


@dataclass(frozen=True)
class Reindexed:
    """What `reindex` has embedded."""

    items: int = 0
    messages: int = 0
    failed: int = 0
    """How many items and messages are left without vectors, because the model takes no text of theirs."""

    def _repr_html_(self) -> str:
        heads = "<tr><th>items</th><th>messages</th><th>failed</th></tr>"
        cells = f"<tr><td>{self.items}</td><td>{self.messages}</td><td>{self.failed}</td></tr>"
        return f"<table>{heads}{cells}</table>"


class _Work(NamedTuple):
    """An item or a message with the texts that are embedded of it."""

    stored: Any
    name: Any
    """What it is known by."""
    texts: list[str]


class _Kind(NamedTuple):
    """Items or messages: where they are read, and how they are given vectors."""

    name: str
    unembedded: Callable[[str, int, Any, int, float], Program[tuple[list[Any], Any]]]
    work_of: Callable[[Any], _Work]
    embed: Callable[[Sequence[tuple[Any, list[bytes]]]], Program[int]]
    """The storage program that gives some vectors; returns how many there were still."""


class Reindexing:
    """Embeds what a tenant has stored.

    Args:
        backend: Where it is.
        tenant: Whose it is.
        indexer: What embeds.
        fields: What is embedded of items that do not say so themselves.
        codec: What reads messages; None when messages are not embedded.
        batch_size: How many items or messages are embedded in one call to the model.
        report: Is called after each batch with what was embedded so far.
    """

    def __init__(
        self,
        backend: Backend,
        tenant: str,
        indexer: Indexer,
        fields: Fields,
        codec: Codec | None,
        batch_size: int,
        report: Report,
    ) -> None:
        self._backend = backend
        self._tenant = tenant
        self._indexer = indexer
        self._fields = fields
        self._codec = codec
        self._batch_size = check_count("batch_size", batch_size)
        self._report = report
        self._done = Reindexed()
        self._refused: set[str] = set()
        """The texts that the model does not take."""
        self._failed: set[Any] = set()
        """The items and messages that have no others."""

    def program(self, *, everything: bool) -> Program[Reindexed]:
        """Embed what has no vectors; everything, if the model is another one or that is asked for."""
        self._indexer.embedder.forget()  # it may answer otherwise than it did
        own = self._indexer.fingerprint([(yield from self._probe())])
        yield from self._begin(own, everything=everything)
        yield from self._clear(own)
        # What others stored while their model failed, or changed while it was embedded, comes in the next round.
        while (yield from self._round(own)):
            pass
        yield from self._finish(own)
        return self._done

    def _begin(self, own: Fingerprint, *, everything: bool) -> Program[None]:
        while True:
            state = yield from self._indexer.state()
            if state and state.fingerprint == own:
                if state.phase == CLEARING:
                    return
                misfit = yield from Read(self._backend, self._backend.items.fits(self._tenant, own.dimensions))
                if misfit is None and (state.phase == EMBEDDING or not everything):
                    return
            reason = yield from Read(self._backend, self._backend.items.refuses(self._tenant, own.dimensions))
            if reason is not None:
                raise ConfigurationError(reason)
            if (yield from self._indexer.swap(state, own, CLEARING)):
                return

    def _clear(self, own: Fingerprint) -> Program[None]:
        """Delete the vectors of the former model, unless that is done."""
        if (yield from self._state(own)).phase == CLEARING:
            # Whoever looked at the note before it said so has stored its vectors by then.
            yield from Sleep(GRACE_SECONDS)
        items, messages = self._backend.items, self._backend.messages
        forget: tuple[Callable[[Any], Program[Any]], ...] = (
            lambda after: messages.unembed(self._tenant, after),
            lambda after: items.unembed(self._tenant, own.dimensions, after),
        )
        for unembed in forget:
            after = None
            while True:
                if (yield from self._state(own)).phase != CLEARING:
                    return
                after = yield from Write(self._backend, unembed(after))
                if after is None:
                    break
        state = yield from self._state(own)
        if state.phase == CLEARING:
            yield from self._indexer.swap(state, own, EMBEDDING)

    def _finish(self, own: Fingerprint) -> Program[None]:
        state = yield from self._state(own)
        if state.phase == EMBEDDING:
            yield from self._indexer.swap(state, own, COMPLETE)

    def _state(self, own: Fingerprint) -> Program[State]:
        """What the note says; raises when somebody has begun with another model meanwhile."""
        state = yield from self._indexer.state()
        if state is None or state.fingerprint != own:
            msg = (
                f"Another process has begun to reindex with {state.fingerprint if state else 'another model'} while this one "
                f"embedded with {own}: what this one did is of no use. Let all processes have one model."
            )
            raise EmbeddingsChangedError(msg)
        return state

    def _round(self, own: Fingerprint) -> Program[int]:
        """Embed all that has no vectors; returns how much that was."""
        before = self._done
        items, messages = self._backend.items, self._backend.messages
        yield from self._each(own, _Kind("items", items.unembedded, self._work_of_item, self._embedded_items))
        if self._codec is not None:
            kind = _Kind("messages", messages.unembedded, self._work_of_message, self._embedded_messages)
            yield from self._each(own, kind)
        return self._done.items - before.items + self._done.messages - before.messages

    def _each(self, own: Fingerprint, kind: _Kind) -> Program[None]:
        waiting: list[_Work] = []
        after = None
        while True:
            unembedded = kind.unembedded(self._tenant, own.dimensions, after, self._batch_size, time.time())
            page, after = yield from Read(self._backend, unembedded)
            waiting += [work for work in map(kind.work_of, page) if work.texts]
            while waiting and (len(waiting) >= self._batch_size or after is None):
                batch, waiting = waiting[: self._batch_size], waiting[self._batch_size :]
                yield from self._embed(own, batch, kind)
                yield from Call(self._report, self._done)
            if after is None:
                return

    def _embed(self, own: Fingerprint, batch: Sequence[_Work], kind: _Kind) -> Program[None]:
        texts = dict.fromkeys(text for work in batch for text in work.texts if text not in self._refused)
        vectors = yield from self._vectors(list(texts))
        found = [(work, [vectors[text] for text in work.texts if text in vectors]) for work in batch]
        embedded = [(work.stored, own_vectors) for work, own_vectors in found if own_vectors]
        self._failed.difference_update(work.name for work, own_vectors in found if own_vectors)
        self._failed.update(work.name for work, own_vectors in found if not own_vectors)
        self._done = replace(self._done, failed=len(self._failed))
        if not embedded:
            return
        yield from self._state(own)
        count = yield from Write(self._backend, kind.embed(embedded))
        try:
            yield from self._state(own)
        except EmbeddingsChangedError:
            # The other process may have gone past them before.
            yield from Write(self._backend, kind.embed([(stored, []) for stored, _ in embedded]))
            raise
        self._done = replace(self._done, **{kind.name: getattr(self._done, kind.name) + count})

    def _vectors(self, texts: Sequence[str]) -> Program[dict[str, bytes]]:
        """The vectors of texts, but for those that the model does not take, not even alone."""
        if not texts:
            return {}
        try:
            return (yield from self._indexer.embedder.vectors(texts))
        except EmbeddingDimensionsError:
            raise
        except Exception as error:  # each provider raises its own
            if came_by_signal(error):
                raise
            if len(texts) == 1:
                yield from self._probe()
                self._refused.update(texts)
                _log.warning("The embedding model does not take a text, which is found by its words alone: %s", error)
                return {}
        middle = len(texts) // 2
        return {**(yield from self._vectors(texts[:middle])), **(yield from self._vectors(texts[middle:]))}

    def _probe(self) -> Program[bytes]:
        """Any vector of the model; raises when it does not work at all."""
        try:
            return (yield from self._indexer.embedder.probe())
        except EmbeddingDimensionsError:
            raise
        except Exception as error:  # each provider raises its own
            if came_by_signal(error):
                raise
            done = self._done
            msg = (
                f"The embedding model failed after {done.items} items and {done.messages} messages ({error}). What was "
                f"embedded stays: call reindex() again to go on."
            )
            raise EmbeddingError(msg) from error

    def _work_of_item(self, item: IndexedItem) -> _Work:
        fields = self._fields if item.paths is None else load_paths(item.paths)
        row = item.row
        return _Work(row, (row.namespace, row.key), embedded_texts(load_json(row.value), fields))

    def _work_of_message(self, message: LoggedMessage) -> _Work:
        text = "" if self._codec is None else text_of(self._codec.load_message(message.row.body))
        return _Work(message, (message.key, message.row.position), [text] if text.strip() else [])

    def _embedded_items(self, embedded: Sequence[tuple[Any, list[bytes]]]) -> Program[int]:
        return self._backend.items.embed(self._tenant, [EmbeddedItem(row, vectors) for row, vectors in embedded])

    def _embedded_messages(self, embedded: Sequence[tuple[Any, list[bytes]]]) -> Program[int]:
        rows = [
            LoggedMessage(key, row._replace(vector=vectors[0] if vectors else None)) for (key, row), vectors in embedded
        ]
        return self._backend.messages.embed(self._tenant, rows)


@contextlib.contextmanager
def reporting(progress: bool | Report) -> Iterator[Report]:
    """What is called after each batch: a progress bar, a function of the caller's, or nothing.

    Raises:
        InvalidTypeError: It is neither a bool nor a function.
    """
    if not callable(progress) and not isinstance(progress, bool):
        msg = f"progress must be True, False or a function, got {type(progress).__name__}: {shown(progress)}."
        raise InvalidTypeError(msg)
    if not isinstance(progress, bool):
        yield progress
    elif not progress:
        yield lambda _: None
    else:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns) as bar:
            task = bar.add_task("Embedding")
            yield lambda done: bar.update(task, description=f"Embedded {done.items} items, {done.messages} messages")
