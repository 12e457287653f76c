"""Making the vectors of a tenant anew, or those that are missing: `memory.reindex()`.

When the model is another one, the vectors of the former are deleted first, and whatever has no vectors is embedded. So it
needs no list of what it did already: begun again after it broke off, it goes on. What others store meanwhile has vectors of
the new model, and is left alone. The phases are written in the tenant's note, see `langchain_agentmem.indexing`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from langchain_agentmem.backends.contract import Backend, EmbeddedItem, IndexedItem, LoggedMessage
from langchain_agentmem.batches import Fields, embedded_texts, load_paths
from langchain_agentmem.codec import Codec, load_json
from langchain_agentmem.errors import ConfigurationError, EmbeddingError, EmbeddingsChangedError
from langchain_agentmem.indexing import CLEARING, COMPLETE, EMBEDDING, Fingerprint, Indexer, State
from langchain_agentmem.models import check_count
from langchain_agentmem.program import Call, Program, Read, Write
from langchain_agentmem.searching import text_of

BATCH = 100
"""How many items or messages are embedded in one call to the model."""

_PROBE = "How many dimensions?"

Report = Callable[["Reindexed"], Any]


@dataclass(frozen=True)
class Reindexed:
    """What `reindex` has embedded."""

    items: int = 0
    messages: int = 0

    def _repr_html_(self) -> str:
        heads = "<tr><th>items</th><th>messages</th></tr>"
        return f"<table>{heads}<tr><td>{self.items}</td><td>{self.messages}</td></tr></table>"


class _Work(NamedTuple):
    """An item or a message with the texts that are embedded of it."""

    stored: Any
    texts: list[str]


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

    def program(self, *, everything: bool) -> Program[Reindexed]:
        """Embed what has no vectors; everything, if the model is another one or that is asked for."""
        self._indexer.embedder.forget()  # it may answer otherwise than it did
        own = self._indexer.fingerprint((yield from self._vectors([_PROBE])).values())
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
            if state and state.fingerprint == own and (state.phase != COMPLETE or not everything):
                return
            reason = yield Read(self._backend, self._backend.items.refuses(self._tenant, own.dimensions))
            if reason is not None:
                raise ConfigurationError(reason)
            if (yield from self._indexer.swap(state, own, CLEARING)):
                return

    def _clear(self, own: Fingerprint) -> Program[None]:
        """Delete the vectors of the former model, unless that is done."""
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
                after = yield Write(self._backend, unembed(after))
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
        yield from self._each(own, items.unembedded, self._work_of_item, self._store_items)
        if self._codec is not None:
            yield from self._each(own, messages.unembedded, self._work_of_message, self._store_messages)
        return self._done.items - before.items + self._done.messages - before.messages

    def _each(
        self,
        own: Fingerprint,
        page_of: Callable[[str, int, Any, int, float], Program[tuple[list[Any], Any]]],
        work_of: Callable[[Any], _Work],
        store: Callable[[list[tuple[Any, list[bytes]]]], Program[None]],
    ) -> Program[None]:
        waiting: list[_Work] = []
        after = None
        while True:
            unembedded = page_of(self._tenant, own.dimensions, after, self._batch_size, time.time())
            page, after = yield Read(self._backend, unembedded)
            waiting += [work for work in map(work_of, page) if work.texts]
            while waiting and (len(waiting) >= self._batch_size or after is None):
                batch, waiting = waiting[: self._batch_size], waiting[self._batch_size :]
                vectors = yield from self._vectors([text for work in batch for text in work.texts])
                if self._indexer.fingerprint(vectors.values()) != own:
                    msg = f"The embedding model gave vectors of other dimensions than before ({own}): call reindex() again."
                    raise EmbeddingError(msg)
                yield from self._state(own)
                yield from store([(work.stored, [vectors[text] for text in work.texts]) for work in batch])
                yield Call(self._report, self._done)
            if after is None:
                return

    def _vectors(self, texts: Sequence[str]) -> Program[dict[str, bytes]]:
        try:
            return (yield from self._indexer.embedder.vectors(texts))
        except Exception as error:
            done = self._done
            msg = (
                f"The embedding model failed after {done.items} items and {done.messages} messages ({error}). What was "
                f"embedded stays: call reindex() again to go on."
            )
            raise EmbeddingError(msg) from error

    def _work_of_item(self, item: IndexedItem) -> _Work:
        fields = self._fields if item.paths is None else load_paths(item.paths)
        return _Work(item.row, embedded_texts(load_json(item.row.value), fields))

    def _work_of_message(self, message: LoggedMessage) -> _Work:
        if self._codec is None:
            return _Work(message, [])
        text = text_of(self._codec.load_message(message.row.body))
        return _Work(message, [text] if text.strip() else [])

    def _store_items(self, embedded: list[tuple[Any, list[bytes]]]) -> Program[None]:
        rows = [EmbeddedItem(row, vectors) for row, vectors in embedded]
        count = yield Write(self._backend, self._backend.items.embed(self._tenant, rows))
        self._done = Reindexed(self._done.items + count, self._done.messages)

    def _store_messages(self, embedded: list[tuple[Any, list[bytes]]]) -> Program[None]:
        rows = [LoggedMessage(key, row._replace(vector=vector)) for (key, row), (vector,) in embedded]
        count = yield Write(self._backend, self._backend.messages.embed(self._tenant, rows))
        self._done = Reindexed(self._done.items, self._done.messages + count)


@contextlib.contextmanager
def reporting(progress: bool | Report) -> Iterator[Report]:
    """What is called after each batch: a progress bar, a function of the caller's, or nothing."""
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
