"""The words of stored items and messages, which `memory.reindex()` analyses again after the analysis was changed.

A note of the tenant states the version of the analysis of all its words. A call that is interrupted starts again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from langchain_agentmem.backends.contract import IndexedItem, ItemRow, LoggedMessage
from langchain_agentmem.backends.notes import Notes
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.messages.properties import text_of
from langchain_agentmem.programs import Compute, Program, Read, Write
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.store.fields import indexed_words, load_paths
from langchain_agentmem.text.marks import analyze_message
from langchain_agentmem.text.words import ANALYSIS_VERSION

_NOTE = "analysis"


class StoredWords:
    """The words of all items and messages of a tenant.

    Args:
        store: The engine of the store.
        history: The engine of the history.
        batch_size: The number of items or messages that are read and written at once.
    """

    def __init__(self, store: StoreEngine, history: HistoryEngine, batch_size: int) -> None:
        self._store = store
        self._history = history
        self._backend, self._tenant = store.backend, store.tenant
        self._batch_size = batch_size
        self._notes = Notes(self._backend, self._tenant, "words")

    def analyze(self, *, everything: bool) -> Program[None]:
        """Analyse all words again, unless the note states this version. With `everything`, ignore the note."""
        note = yield from Read(self._backend, self._notes.get(_NOTE, time.time()))
        if note is not None and note.value.get("version") == ANALYSIS_VERSION and not everything:
            return
        yield from self._analyze_items()
        yield from self._analyze_messages()
        value = {"version": ANALYSIS_VERSION}
        yield from Write(self._backend, self._notes.put(_NOTE, value, time.time()))

    def _analyze_items(self) -> Program[None]:
        table = self._backend.items
        after: Any = None
        while True:
            program = table.unembedded(self._tenant, None, after, self._batch_size, time.time())
            page, after = yield from Read(self._backend, program)
            words = yield from Compute(True, self._words_of_items, page)
            yield from Write(self._backend, table.set_words(self._tenant, words))
            if after is None:
                return

    def _analyze_messages(self) -> Program[None]:
        log = self._backend.messages
        after: Any = None
        while True:
            program = log.unembedded(self._tenant, None, after, self._batch_size, time.time())
            page, after = yield from Read(self._backend, program)
            analyzed = yield from Compute(True, self._analyzed_messages, page)
            yield from Write(self._backend, log.set_words(self._tenant, analyzed))
            if after is None:
                return

    def _words_of_items(self, page: Sequence[IndexedItem]) -> list[tuple[ItemRow, str]]:
        found = []
        for row, paths in page:
            fields = self._store.fields if paths is None else load_paths(paths)
            found.append((row, indexed_words(load_json(row.value), fields, self._backend.language)))
        return found

    def _analyzed_messages(self, page: Sequence[LoggedMessage]) -> list[LoggedMessage]:
        found = []
        for key, row in page:
            text = text_of(self._history.codec.load_message(row.body))
            found.append(LoggedMessage(key, row._replace(words=analyze_message(text, self._backend.language))))
        return found
