"""`memory.reindex()`: replace the vectors of a tenant, or add missing ones, after its words are analysed.

If the embedding model was changed, `reindex` first deletes the vectors of the former model. Then it embeds every item and
message that has no vectors, so it needs no list of what is done: a call after an interruption continues. Concurrent writers
store vectors of the new model, which are left unchanged. The phases are stored with the tenant's fingerprint; see
`langchain_agentmem.search.fingerprint`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_agentmem.arguments.values import check_count, check_flag
from langchain_agentmem.errors import (
    ConfigurationError,
    EmbeddingDimensionsError,
    EmbeddingError,
    EmbeddingsChangedError,
)
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.lifecycle.analysis import StoredWords
from langchain_agentmem.lifecycle.digests import update_digests
from langchain_agentmem.lifecycle.embeddables import Embeddable, EmbeddableItems, EmbeddableMessages, Embeddables
from langchain_agentmem.programs import Call, Program, Read, Sleep
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
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.text.progress import Report, reporting
from langchain_agentmem.text.tables import html_table

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reindexed:
    """The result of `reindex`."""

    items: int = 0
    """The number of items that were embedded."""
    messages: int = 0
    """The number of messages that were embedded."""
    failed: int = 0
    """The number of items and messages that remain without vectors, because the model refuses all their texts."""

    @property
    def description(self) -> str:
        """The text beside the progress bar."""
        return f"Embedded {self.items} items, {self.messages} messages"

    def _repr_html_(self) -> str:
        return html_table([(self.items, self.messages, self.failed)], header=("items", "messages", "failed"))


def reindex(
    store: StoreEngine,
    history: HistoryEngine,
    *,
    batch_size: int,
    everything: bool = False,
    progress: bool | Callable[[Reindexed], Any] = False,
) -> Program[Reindexed]:
    """Analyse the words of stored texts and embed the texts without vectors; see `AgentMemory.reindex`.

    Args:
        store: The engine of the store.
        history: The engine of the history. Its messages are embedded if it has an indexer.
        batch_size: The number of items or messages that one call to the model embeds.
        everything: If true, replace all vectors even if the model's fingerprint is unchanged. Default: False.
        progress: Reports the progress; see `reporting`. Default: False.
    """
    batch_size, everything = check_count("batch_size", batch_size), check_flag("everything", everything)
    with reporting(progress) as report:
        yield from StoredWords(store, history, batch_size).analyze(everything=everything)
        yield from update_digests(store, everything=everything)
        if store.indexer is None:
            return Reindexed()
        work = Reindexing(store, history, store.indexer, batch_size, report)
        return (yield from work.program(everything=everything))


class Reindexing:
    """One call of `reindex`.

    Args:
        store: The engine of the store.
        history: The engine of the history. Its messages are embedded if it has an indexer.
        indexer: Embeds the texts.
        batch_size: The number of items or messages that one call to the model embeds.
        report: Called after each batch with the result so far.
    """

    def __init__(
        self, store: StoreEngine, history: HistoryEngine, indexer: Indexer, batch_size: int, report: Report
    ) -> None:
        self._store = store
        self._indexer = indexer
        self._batch_size = batch_size
        self._report = report
        items, messages = EmbeddableItems(store), EmbeddableMessages(history)
        self._cleared: tuple[Embeddables, ...] = (messages, items)
        self._embedded: dict[str, Embeddables] = {"items": items}
        if history.indexer is not None:
            self._embedded["messages"] = messages
        self._done = Reindexed()
        self._refused: set[str] = set()
        """The texts that the model refuses."""
        self._failed: set[Hashable] = set()
        """The identities of the items and messages whose texts are all refused."""

    def program(self, *, everything: bool) -> Program[Reindexed]:
        """Embed rows without vectors. If the fingerprint was changed, or with `everything`, delete all vectors first."""
        self._indexer.embedder.forget()  # another version of the model may answer differently
        own = self._indexer.fingerprint([(yield from self._probe())])
        yield from self._begin(own, everything=everything)
        yield from self._clear(own)
        # Another round embeds the rows that were stored or changed during this one and have no vectors.
        while (yield from self._round(own)):
            pass
        yield from self._finish(own)
        return self._done

    def _begin(self, own: Fingerprint, *, everything: bool) -> Program[None]:
        """Store the fingerprint with the phase `CLEARING`, unless the stored vectors may stay."""
        backend, tenant = self._store.backend, self._store.tenant
        while True:
            state = yield from self._indexer.state()
            if state and state.fingerprint == own:
                if state.phase == CLEARING:
                    return
                misfit = yield from Read(backend, backend.items.fits(tenant, own.dimensions))
                if misfit is None and (state.phase == EMBEDDING or not everything):
                    return
            reason = yield from Read(backend, backend.items.refuses(tenant, own.dimensions))
            if reason is not None:
                raise ConfigurationError(reason)
            if (yield from self._indexer.swap(state, own, CLEARING)):
                return

    def _clear(self, own: Fingerprint) -> Program[None]:
        """Delete the vectors of the former model in the phase `CLEARING`, then begin the phase `EMBEDDING`."""
        if (yield from self._state(own)).phase == CLEARING:
            # Writers that checked the fingerprint before this phase began have stored their vectors after this time.
            yield from Sleep(GRACE_SECONDS)
        for rows in self._cleared:
            after = None
            while True:
                if (yield from self._state(own)).phase != CLEARING:
                    return
                after = yield from rows.clear(own.dimensions, after)
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
        """Return the stored state.

        Raises:
            EmbeddingsChangedError: Another process began to reindex with another model.
        """
        state = yield from self._indexer.state()
        if state is None or state.fingerprint != own:
            msg = (
                f"Another process began to reindex with {state.fingerprint if state else 'another model'} while this one "
                f"embedded with {own}. The vectors of this call are not used. Configure the same model in all processes."
            )
            raise EmbeddingsChangedError(msg)
        return state

    def _round(self, own: Fingerprint) -> Program[int]:
        """Embed all rows without vectors; return their number."""
        before = self._done
        for name, rows in self._embedded.items():
            yield from self._embed_all(own, name, rows)
        return self._done.items - before.items + self._done.messages - before.messages

    def _embed_all(self, own: Fingerprint, name: str, rows: Embeddables) -> Program[None]:
        pending: list[Embeddable] = []
        after = None
        while True:
            page, after = yield from rows.without_vectors(own.dimensions, after, self._batch_size)
            pending += [row for row in page if row.texts]
            while pending and (len(pending) >= self._batch_size or after is None):
                batch, pending = pending[: self._batch_size], pending[self._batch_size :]
                yield from self._embed(own, name, rows, batch)
                yield from Call(self._report, self._done)
            if after is None:
                return

    def _embed(self, own: Fingerprint, name: str, rows: Embeddables, batch: Sequence[Embeddable]) -> Program[None]:
        texts = dict.fromkeys(text for row in batch for text in row.texts if text not in self._refused)
        vectors = yield from self._vectors(list(texts))
        found = [(row, [vectors[text] for text in row.texts if text in vectors]) for row in batch]
        embedded = [(row, own_vectors) for row, own_vectors in found if own_vectors]
        self._failed.difference_update(row.identity for row, _ in embedded)
        self._failed.update(row.identity for row, own_vectors in found if not own_vectors)
        self._done = replace(self._done, failed=len(self._failed))
        if not embedded:
            return
        yield from self._state(own)
        count = yield from rows.store(embedded)
        try:
            yield from self._state(own)
        except EmbeddingsChangedError:
            # The other process may have read these rows before, so it would not delete these vectors.
            yield from rows.store([(row, []) for row, _ in embedded])
            raise
        self._done = replace(self._done, **{name: getattr(self._done, name) + count})

    def _vectors(self, texts: Sequence[str]) -> Program[dict[str, bytes]]:
        """Embed texts. A batch that the model refuses is divided, until the single texts that it refuses are known."""
        if not texts:
            return {}
        try:
            return (yield from self._indexer.embedder.vectors(texts))
        except EmbeddingDimensionsError:
            raise
        except Exception as error:  # each provider raises errors of its own
            if came_by_signal(error):
                raise
            if len(texts) == 1:
                yield from self._probe()
                self._refused.update(texts)
                _log.warning("The embedding model refused a text. Searches find this text by its words only: %s", error)
                return {}
        middle = len(texts) // 2
        return {**(yield from self._vectors(texts[:middle])), **(yield from self._vectors(texts[middle:]))}

    def _probe(self) -> Program[bytes]:
        """Return any vector of the model.

        Raises:
            EmbeddingError: The model does not work.
        """
        try:
            return (yield from self._indexer.embedder.probe())
        except EmbeddingDimensionsError:
            raise
        except Exception as error:  # each provider raises errors of its own
            if came_by_signal(error):
                raise
            done = self._done
            msg = (
                f"The embedding model failed after {done.items} items and {done.messages} messages: {error}. Their vectors "
                f"are stored. Call reindex() again to continue."
            )
            raise EmbeddingError(msg) from error
