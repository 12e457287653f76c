"""`SharedKnowledge`: collections of texts that the application writes, and that all users and agents read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from langchain_agentmem.knowledge.collections import CollectionEngine, KnowledgeEntries
from langchain_agentmem.knowledge.face import KnowledgeFace
from langchain_agentmem.programs import arun, run
from langchain_agentmem.store.face import AgentMemStore

Texts = Iterable[str | Document]
Ids = list[str]


class SharedKnowledge(KnowledgeFace[CollectionEngine]):
    """Collections of texts for all users. Available as `AgentMemory.knowledge`.

    Only the application writes them; the tools of agents can only search. Each text is one entry, however often it is added,
    so an application may add its texts at each start. Split long texts before adding them. Entries do not expire. Each
    method has an async twin with the prefix `a`.

    Args:
        store: The store.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> _ = memory.knowledge.add("guidelines", ["Refunds take five days.", "Never promise a date."])
        >>> [entry.text for entry in memory.knowledge.search("How long does a refund take?")]
        ['Refunds take five days.']
        >>> memory.close()
    """

    def __init__(self, store: AgentMemStore) -> None:
        super().__init__(CollectionEngine(store.engine))

    def add(self, name: str, texts: Texts, metadata: Mapping[str, Any] | None = None) -> Ids:
        """Add texts to a collection in one transaction.

        Args:
            name: Name of the collection, which is created if it does not exist.
            texts: Strings, or LangChain `Document`s with metadata of their own.
            metadata: JSON-serialisable metadata of each text; a document's own metadata takes precedence. The metadata of
                a text that is stored already is replaced. Default: None.

        Returns:
            The IDs of the entries, in the order of the texts.

        Raises:
            InvalidInputError: A text is empty or cannot be stored; nothing was written.
        """
        return run(self.engine.add(name, texts, metadata))

    async def aadd(self, name: str, texts: Texts, metadata: Mapping[str, Any] | None = None) -> Ids:
        """Same as `add`, without blocking the event loop."""
        return await arun(self.engine.add(name, texts, metadata))

    def replace(self, name: str, texts: Texts, metadata: Mapping[str, Any] | None = None) -> Ids:
        """Make a collection hold exactly these texts, in one transaction.

        Args:
            name: Name of the collection.
            texts: As in `add`.
            metadata: As in `add`.

        Returns:
            The IDs of the entries, in the order of the texts.
        """
        return run(self.engine.replace(name, texts, metadata))

    async def areplace(self, name: str, texts: Texts, metadata: Mapping[str, Any] | None = None) -> Ids:
        """Same as `replace`, without blocking the event loop."""
        return await arun(self.engine.replace(name, texts, metadata))

    def delete(self, name: str, ids: Sequence[str] | None = None) -> int:
        """Delete entries of a collection.

        Args:
            name: Name of the collection.
            ids: IDs of the entries. Default: None (all entries, and with them the collection).

        Returns:
            The number of deleted entries.
        """
        return run(self.engine.delete(name, ids))

    async def adelete(self, name: str, ids: Sequence[str] | None = None) -> int:
        """Same as `delete`, without blocking the event loop."""
        return await arun(self.engine.delete(name, ids))

    def names(self) -> Ids:
        """Return the names of the collections, sorted."""
        return run(self.engine.names())

    async def anames(self) -> Ids:
        """Same as `names`, without blocking the event loop."""
        return await arun(self.engine.names())

    def list(self, name: str, *, limit: int = 100, offset: int = 0) -> KnowledgeEntries:
        """Return the entries of a collection, the last added first.

        Args:
            name: Name of the collection.
            limit: Largest number of entries. Default: 100.
            offset: Number of entries to skip. Default: 0.
        """
        return run(self.engine.list(name, limit, offset))

    async def alist(self, name: str, *, limit: int = 100, offset: int = 0) -> KnowledgeEntries:
        """Same as `list`, without blocking the event loop."""
        return await arun(self.engine.list(name, limit, offset))

    def search(
        self,
        query: str,
        *,
        names: Sequence[str] | None = None,
        k: int = 5,
        filter: Mapping[str, Any] | None = None,
    ) -> KnowledgeEntries:
        """Return the entries that answer a query best. All collections are ranked together.

        Args:
            query: Text to search for; see `AgentMemStore.search`.
            names: Names of the collections to search. Default: None (all).
            k: Largest number of entries. Default: 5.
            filter: Filter of the metadata; see `langchain_agentmem.store.filters`. Default: None.

        Returns:
            The entries, best first, with scores from 0 to 1.

        Raises:
            UnknownCollectionError: There is no collection with one of the names.
        """
        return run(self.engine.search(query, names, k, filter))

    async def asearch(
        self,
        query: str,
        *,
        names: Sequence[str] | None = None,
        k: int = 5,
        filter: Mapping[str, Any] | None = None,
    ) -> KnowledgeEntries:
        """Same as `search`, without blocking the event loop."""
        return await arun(self.engine.search(query, names, k, filter))
