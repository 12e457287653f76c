"""Shared knowledge: collections of texts that the application writes, and that all users and agents read."""

from __future__ import annotations

import html
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.documents import Document
from langgraph.store.base import Op, PutOp, SearchItem, SearchOp

from langchain_agentmem.arguments.ids import check_id, check_name
from langchain_agentmem.arguments.values import check_count, check_list, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, UnknownCollectionError
from langchain_agentmem.knowledge.names import text_id
from langchain_agentmem.knowledge.namespaces import shared_namespace
from langchain_agentmem.knowledge.reading import PAGE, answers, readable, reading, rows_in
from langchain_agentmem.programs import Program, Twin, arun, run
from langchain_agentmem.store.face import AgentMemStore

_INDEX = ["text"]
_VERSION = "version"
"""What the item says that changes whenever a collection is replaced."""
_ROOT = shared_namespace("any")[:1]

Texts = Iterable[str | Document]
Value = dict[str, Any]
Ids = list[str]


@dataclass(frozen=True)
class KnowledgeEntry:
    """One text of a collection."""

    id: str
    name: str
    """The collection's name."""
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    """How well it answers the query, from 0 to 1; None where nothing was asked."""

    def to_document(self) -> Document:
        """The text as LangChain's `Document`."""
        return Document(self.text, id=self.id, metadata=dict(self.metadata))


class KnowledgeEntries(list[KnowledgeEntry]):
    """Texts of collections; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{'' if one.score is None else f'{one.score:.2f}'}</td><td>{html.escape(one.name)}</td>"
            f"<td style='text-align:left'>{html.escape(one.text[:300])}</td>"
            f"<td style='text-align:left'>{html.escape(', '.join(f'{key}: {value}' for key, value in one.metadata.items()))}"
            "</td></tr>"
            for one in self
        )
        heads = "".join(f"<th>{head}</th>" for head in ("score", "collection", "text", "metadata"))
        return f"<table><tr>{heads}</tr>{rows}</table>"


class SharedKnowledge:
    """Collections of texts that all users read and none writes. It hangs on `AgentMemory.knowledge`.

    Only the application writes here: the tools of an agent can search and nothing else. A text is one entry of a collection,
    however often it is added, so an application may load its texts at every start. Texts are stored as they are given; split
    long ones before. Entries do not expire. Every method has an async twin with the prefix `a`.

    Args:
        store: Where the collections are.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> _ = memory.knowledge.add("guidelines", ["Refunds take five days.", "Never promise a date."])
        >>> [entry.text for entry in memory.knowledge.search("How long does a refund take?")]
        ['Refunds take five days.']
        >>> memory.close()
    """

    def __init__(self, store: AgentMemStore) -> None:
        self._store = store

    def add(self, name: str, texts: Texts, metadata: Mapping[str, Any] | None = None) -> Ids:
        """Add texts to a collection; all of them, or none when one is not accepted.

        Args:
            name: The collection; it is made when there is none.
            texts: Strings, or LangChain `Document`s with metadata of their own.
            metadata: What is noted with each text, as JSON; a document's own comes before. A text that is there already gets
                the metadata given last. Default: None.

        Returns:
            The ids of the entries, in the order of the texts.

        Raises:
            InvalidInputError: A text is empty, or cannot be stored; nothing was written.
        """
        return run(self._add(name, texts, metadata))

    async def aadd(self, name: str, texts: Texts, metadata: Mapping[str, Any] | None = None) -> Ids:
        """Same as `add`, but without blocking the event loop."""
        return await arun(self._add(name, texts, metadata))

    def replace(self, name: str, texts: Texts, metadata: Mapping[str, Any] | None = None) -> Ids:
        """Make a collection hold exactly these texts, all at once: nobody sees a part of it.

        Args:
            name: The collection.
            texts: As in `add`.
            metadata: As in `add`.

        Returns:
            The ids of the entries, in the order of the texts.
        """
        return run(self._replace(name, texts, metadata))

    async def areplace(self, name: str, texts: Texts, metadata: Mapping[str, Any] | None = None) -> Ids:
        """Same as `replace`, but without blocking the event loop."""
        return await arun(self._replace(name, texts, metadata))

    def delete(self, name: str, ids: Sequence[str] | None = None) -> int:
        """Delete entries of a collection.

        Args:
            name: The collection.
            ids: Which entries. Default: None (all, and so the collection).

        Returns:
            How many there were.
        """
        return run(self._delete(name, ids))

    async def adelete(self, name: str, ids: Sequence[str] | None = None) -> int:
        """Same as `delete`, but without blocking the event loop."""
        return await arun(self._delete(name, ids))

    def names(self) -> Ids:
        """The names of the collections, sorted."""
        return run(self._names())

    async def anames(self) -> Ids:
        """Same as `names`, but without blocking the event loop."""
        return await arun(self._names())

    def list(self, name: str, *, limit: int = 100, offset: int = 0) -> KnowledgeEntries:
        """The entries of a collection, the last added first.

        Args:
            name: The collection.
            limit: The most entries. Default: 100.
            offset: How many to skip. Default: 0.
        """
        return run(self._list(name, limit, offset))

    async def alist(self, name: str, *, limit: int = 100, offset: int = 0) -> KnowledgeEntries:
        """Same as `list`, but without blocking the event loop."""
        return await arun(self._list(name, limit, offset))

    def search(
        self,
        query: str,
        *,
        names: Sequence[str] | None = None,
        k: int = 5,
        filter: Mapping[str, Any] | None = None,
    ) -> KnowledgeEntries:
        """The entries that answer a query best, ranked together.

        Args:
            query: What to look for; see `AgentMemStore.search`.
            names: In which collections. Default: None (all).
            k: The most entries. Default: 5.
            filter: What their metadata must be like; see `langchain_agentmem.store.filters`. Default: None.

        Returns:
            The entries, best first, with scores in [0, 1].

        Raises:
            UnknownCollectionError: There is no collection of one of the names.
        """
        return run(self.searching(query, names, k, filter))

    async def asearch(
        self,
        query: str,
        *,
        names: Sequence[str] | None = None,
        k: int = 5,
        filter: Mapping[str, Any] | None = None,
    ) -> KnowledgeEntries:
        """Same as `search`, but without blocking the event loop."""
        return await arun(self.searching(query, names, k, filter))

    # Programs

    def searching(
        self, query: str, names: Sequence[str] | None, k: int, condition: Mapping[str, Any] | None
    ) -> Program[KnowledgeEntries]:
        """The program of `search`."""
        check_name("query", query)
        k = check_count("k", k)
        where: Value = {"collection": {"$exists": True}}
        if condition is not None:
            if not isinstance(condition, Mapping):
                msg = f"filter must be a mapping, got {type(condition).__name__}: {shown(condition)}."
                raise InvalidTypeError(msg)
            where["metadata"] = condition
        space = _ROOT
        chosen = None if names is None else collection_names("names", names)
        if chosen is not None:
            where["collection"] = {"$in": chosen}
            if len(chosen) == 1:
                space = shared_namespace(chosen[0])
        items = yield from Twin(self._store.search, space, query=query, filter=where, limit=k)
        found = KnowledgeEntries(readable((item for item in items if len(item.namespace) == len(_ROOT) + 1), _entry))
        yield from self.known(name for name in chosen or () if all(one.name != name for one in found))
        return found

    def known(self, names: Iterable[str]) -> Program[None]:
        """The program that refuses names of which there is no collection.

        Args:
            names: The names.

        Raises:
            UnknownCollectionError: There is no collection of one of these names.
        """
        for name in names:
            marker = yield from Twin(self._store.get, _ROOT, name)
            found = yield from Twin(self._store.list_namespaces, prefix=shared_namespace(name), limit=1)
            if marker is None and shared_namespace(name) not in found:
                known = ", ".join(map(repr, (yield from self._names())[:20])) or "none"
                msg = f"There is no collection {shown(name)} of shared knowledge: known are {known}. Add texts to it first."
                raise UnknownCollectionError(msg)

    def _add(self, name: str, texts: Texts, metadata: Mapping[str, Any] | None) -> Program[Ids]:
        space = shared_namespace(name)
        ids, values = _values(name, texts, metadata)
        known = yield from self._values(space)
        # What is there already is neither written nor embedded again.
        ops = [PutOp(space, key, value, _INDEX) for key, value in values.items() if known.get(key) != value]
        if ops:
            yield from Twin(self._store.batch, ops)
        return ids

    def _replace(self, name: str, texts: Texts, metadata: Mapping[str, Any] | None) -> Program[Ids]:
        space = shared_namespace(name)
        ids, values = _values(name, texts, metadata)
        marker = (_ROOT, name)
        while True:
            mark = yield from Twin(self._store.get, *marker)
            before = None if mark is None else mark.value
            if before is not None and before.keys() != {_VERSION}:
                msg = (
                    f"The application stores an item of its own under {marker}: choose another name for the collection."
                )
                raise InvalidInputError(msg)
            known = yield from self._values(space)
            changes: dict[Any, Any] = {(space, key): None for key in known if key not in values}
            changes |= {(space, key): value for key, value in values.items() if known.get(key) != value}
            changes[marker] = {_VERSION: secrets.token_hex(8)}
            swap = _Swap(marker, before, changes)
            yield from Twin(self._store.update_many, list(changes), swap, index={space: _INDEX, _ROOT: False}, ttl=None)
            if swap.done:
                return ids

    def _delete(self, name: str, ids: Sequence[str] | None) -> Program[int]:
        space = shared_namespace(name)
        wanted = None if ids is None else {check_id("id", one) for one in check_list("ids", ids)}
        rows = yield from rows_in(self._store, space)
        gone = [row.key for row in rows if wanted is None or row.key in wanted]
        ops: list[Op] = [PutOp(space, key, None) for key in gone]
        if wanted is None:
            marker = yield from Twin(self._store.get, _ROOT, name)
            ops += [PutOp(_ROOT, name, None)] if marker is not None and marker.value.keys() == {_VERSION} else []
        if ops:
            yield from Twin(self._store.batch, ops)
        return len(gone)

    def _names(self) -> Program[Ids]:
        found: Ids = []
        for offset in range(0, 10**9, PAGE):
            page = yield from Twin(self._store.list_namespaces, prefix=_ROOT, limit=PAGE, offset=offset)
            found += [namespace[1] for namespace in page if len(namespace) == 2]
            if len(page) < PAGE:
                break
        return found

    def _list(self, name: str, limit: int, offset: int) -> Program[KnowledgeEntries]:
        search = SearchOp(
            shared_namespace(name), None, check_count("limit", limit), check_count("offset", offset, least=0)
        )
        (items,) = yield from answers(self._store, [search])
        return KnowledgeEntries(readable(items, _entry))

    def _values(self, space: tuple[str, ...]) -> Program[dict[str, Value]]:
        """All entries of a collection that can be read, by id."""
        found: dict[str, Value] = {}
        for offset in range(0, 10**9, PAGE):
            (page,) = yield from answers(self._store, [SearchOp(space, None, PAGE, offset)])
            found |= {item.key: item.value for item in page}
            if len(page) < PAGE:
                break
        return found


class _Swap:
    """Changes a collection if nobody else replaced it meanwhile."""

    def __init__(self, marker: Any, before: Value | None, changes: dict[Any, Any]) -> None:
        self._marker = marker
        self._before = before
        self._changes = changes
        self.done = False

    def __call__(self, values: Mapping[Any, Any]) -> dict[Any, Any]:
        self.done = values[self._marker] == self._before
        return self._changes if self.done else {}


def _values(name: str, texts: Any, metadata: Any) -> tuple[Ids, dict[str, Value]]:
    """The ids of texts, in order, and what is stored of each."""
    if metadata is not None and not isinstance(metadata, Mapping):
        msg = f"metadata must be a mapping, got {type(metadata).__name__}: {shown(metadata)}."
        raise InvalidTypeError(msg)
    ids = []
    values: dict[str, Value] = {}
    for at, one in enumerate(check_list("texts", texts, "strings or Documents")):
        document = one if isinstance(one, Document) else Document(check_name(f"texts[{at}]", one))
        text = check_name(f"texts[{at}]", document.page_content)
        if not text.strip():
            msg = f"texts[{at}] is empty; nothing was written."
            raise InvalidInputError(msg)
        ids.append(text_id(text))
        own = {**(metadata or {}), **document.metadata}
        values[ids[-1]] = {"text": text, "collection": name, "metadata": own}
    return ids, values


def collection_names(what: str, names: Any) -> Ids:
    """The names of several collections.

    Args:
        what: How the argument is called in a message.
        names: The names.

    Raises:
        InvalidTypeError: They are not a list of strings.
        InvalidInputError: One of them cannot be the name of a collection.
    """
    return [check_id("The name of a collection", name) for name in check_list(what, names, "names of collections")]


def _entry(item: SearchItem) -> KnowledgeEntry:
    with reading(f"The entry {shown(item.key)}"):
        name, text, metadata = item.value["collection"], item.value["text"], item.value["metadata"]
        if not isinstance(name, str) or not isinstance(text, str) or not isinstance(metadata, dict):
            msg = f"its text is {shown(text, 60)}"
            raise TypeError(msg)
    return KnowledgeEntry(item.key, name, text, metadata, item.score)
