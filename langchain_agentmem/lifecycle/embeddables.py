"""Items and messages as `memory.reindex()` sees them: read those without vectors, and store or delete vectors."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from langchain_agentmem.backends.contract import EmbeddedItem, LoggedMessage
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.messages.properties import text_of
from langchain_agentmem.programs import Program, Read, Write
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.store.fields import embedded_texts, load_paths


class Embeddable(NamedTuple):
    """An item or a message, and the texts of which it needs vectors."""

    stored: Any
    """The row, as its kind stores it."""
    identity: Hashable
    texts: list[str]


class Embeddables(ABC):
    """All items, or all messages, of a tenant. Its methods are programs."""

    @abstractmethod
    def without_vectors(self, dimensions: int, after: Any, limit: int) -> Program[tuple[list[Embeddable], Any]]:
        """Read about `limit` rows that have no vectors of this length; return them and where to continue (None: the end).

        Args:
            dimensions: The length of the vectors.
            after: The end of the preceding page; None for the first page.
            limit: The approximate number of rows in a page.
        """

    @abstractmethod
    def store(self, embedded: Sequence[tuple[Embeddable, list[bytes]]]) -> Program[int]:
        """Store the vectors of rows that have not changed; return their number. An empty list deletes vectors."""

    @abstractmethod
    def clear(self, dimensions: int, after: Any) -> Program[Any]:
        """Delete the vectors of some rows; return where to continue (None: the end).

        Args:
            dimensions: The length of the vectors that will be stored instead.
            after: The position that the preceding call returned; None for the first call.
        """


class EmbeddableItems(Embeddables):
    """The items of a store.

    Args:
        engine: The engine of the store.
    """

    def __init__(self, engine: StoreEngine) -> None:
        self._engine = engine
        self._backend, self._items = engine.backend, engine.backend.items

    def without_vectors(self, dimensions: int, after: Any, limit: int) -> Program[tuple[list[Embeddable], Any]]:
        program = self._items.unembedded(self._engine.tenant, dimensions, after, limit, time.time())
        page, after = yield from Read(self._backend, program)
        found = []
        for row, paths in page:
            fields = self._engine.fields if paths is None else load_paths(paths)
            found.append(Embeddable(row, (row.namespace, row.key), embedded_texts(load_json(row.value), fields)))
        return found, after

    def store(self, embedded: Sequence[tuple[Embeddable, list[bytes]]]) -> Program[int]:
        items = [EmbeddedItem(item.stored, vectors) for item, vectors in embedded]
        return (yield from Write(self._backend, self._items.embed(self._engine.tenant, items)))

    def clear(self, dimensions: int, after: Any) -> Program[Any]:
        return (yield from Write(self._backend, self._items.unembed(self._engine.tenant, dimensions, after)))


class EmbeddableMessages(Embeddables):
    """The messages of all sessions.

    Args:
        engine: The engine of the history.
    """

    def __init__(self, engine: HistoryEngine) -> None:
        self._engine = engine
        self._backend, self._messages = engine.backend, engine.backend.messages

    def without_vectors(self, dimensions: int, after: Any, limit: int) -> Program[tuple[list[Embeddable], Any]]:
        program = self._messages.unembedded(self._engine.tenant, dimensions, after, limit, time.time())
        page, after = yield from Read(self._backend, program)
        found = []
        for message in page:
            text = text_of(self._engine.codec.load_message(message.row.body))
            identity = message.key, message.row.position
            found.append(Embeddable(message, identity, [text] if text.strip() else []))
        return found, after

    def store(self, embedded: Sequence[tuple[Embeddable, list[bytes]]]) -> Program[int]:
        messages = []
        for message, vectors in embedded:
            key, row = message.stored
            messages.append(LoggedMessage(key, row._replace(vector=vectors[0] if vectors else None)))
        return (yield from Write(self._backend, self._messages.embed(self._engine.tenant, messages)))

    def clear(self, dimensions: int, after: Any) -> Program[Any]:  # noqa: ARG002 (messages accept vectors of any length)
        return (yield from Write(self._backend, self._messages.unembed(self._engine.tenant, after)))
