"""Collections of shared knowledge: their entries, and the programs that read and change them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.documents import Document
from langgraph.store.base import Op, PutOp, SearchItem, SearchOp

from langchain_agentmem.arguments.ids import check_id, check_name
from langchain_agentmem.arguments.values import check_count, check_list, shown
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, UnknownCollectionError
from langchain_agentmem.knowledge.items import PAGE, items_in, read_batch, readable, rows_in
from langchain_agentmem.knowledge.names import text_id
from langchain_agentmem.knowledge.namespaces import SHARED, ItemKey, Namespace, shared_namespace
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.store.fields import Index
from langchain_agentmem.text.tables import FieldTable, html_table

_INDEX = ["text"]
_ROOT: Namespace = (SHARED,)
_VERSION = "version"
"""The only field of a collection's marker, an item in the root namespace. It changes whenever the collection is replaced."""

Value = dict[str, Any]
Values = dict[ItemKey, Value | None]
Ids = list[str]


@dataclass(frozen=True)
class KnowledgeEntry(FieldTable):
    """One text of a collection."""

    id: str
    name: str
    """Name of the collection."""
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    """Relevance to the query of a search, from 0 to 1; None if there was no query."""

    def to_document(self) -> Document:
        """Return the entry as LangChain's `Document`."""
        return Document(self.text, id=self.id, metadata=dict(self.metadata))


class KnowledgeEntries(list[KnowledgeEntry]):
    """Entries of collections in order. A notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = []
        for one in self:
            metadata = ", ".join(f"{key}: {value}" for key, value in one.metadata.items())
            rows.append((one.score, one.name, one.text, metadata))
        return html_table(rows, header=("score", "collection", "text", "metadata"))


class CollectionEngine:
    """The operations of `SharedKnowledge` as programs. See there for arguments, results and errors.

    Args:
        store: The store.
    """

    def __init__(self, store: StoreEngine) -> None:
        self.store = store
        self._existing: set[str] = set()
        """Names of collections that `require_unfound` has seen."""

    def add(self, name: str, texts: Any, metadata: Any) -> Program[Ids]:
        """Add texts to a collection. Entries that are stored already are neither written nor embedded again."""
        namespace = shared_namespace(name)
        ids, values = _values(name, texts, metadata)
        known = yield from self._stored(namespace)
        ops = [PutOp(namespace, key, value, _INDEX) for key, value in values.items() if known.get(key) != value]
        if ops:
            yield from self.store.batch(ops)
        return ids

    def replace(self, name: str, texts: Any, metadata: Any) -> Program[Ids]:
        """Make a collection hold exactly these texts.

        The marker's version detects a concurrent replacement: then everything is read again.
        """
        namespace = shared_namespace(name)
        ids, values = _values(name, texts, metadata)
        marker = (_ROOT, name)
        while True:
            version = yield from self._version(name)
            known = yield from self._stored(namespace)
            changes: Values = {(namespace, key): None for key in known if key not in values}
            changes |= {(namespace, key): value for key, value in values.items() if known.get(key) != value}
            new_version = {_VERSION: secrets.token_hex(8)}
            changes[marker] = new_version
            change = _if_unchanged(marker, version, changes)
            index: dict[Namespace, Index] = {namespace: _INDEX, _ROOT: False}
            stored = yield from self.store.update_many(list(changes), change, index=index, ttl=None)
            if stored[marker] == new_version:
                return ids

    def delete(self, name: str, ids: Sequence[str] | None) -> Program[int]:
        """Delete entries of a collection, even damaged ones, or the collection; return the number of entries."""
        namespace = shared_namespace(name)
        wanted = None if ids is None else {check_id("id", one) for one in check_list("ids", ids)}
        rows = yield from rows_in(self.store, namespace)
        keys = [row.key for row in rows if wanted is None or row.key in wanted]
        ops: list[Op] = [PutOp(namespace, key, None) for key in keys]
        if wanted is None:
            marker = yield from self.store.get(_ROOT, name)
            if marker is not None and marker.value.keys() == {_VERSION}:
                ops.append(PutOp(_ROOT, name, None))
        if ops:
            yield from self.store.batch(ops)
        return len(keys)

    def names(self) -> Program[Ids]:
        """Return the names of all collections, sorted."""
        limit = PAGE
        while True:
            found = yield from self.store.list_namespaces(prefix=_ROOT, limit=limit)
            if len(found) < limit:
                return [namespace[1] for namespace in found if len(namespace) == 2]
            limit *= 4

    def list(self, name: str, limit: int, offset: int) -> Program[KnowledgeEntries]:
        """Return the entries of a collection, the last added first."""
        search = SearchOp(
            shared_namespace(name), None, check_count("limit", limit), check_count("offset", offset, least=0)
        )
        (items,) = yield from read_batch(self.store, [search])
        return KnowledgeEntries(readable(items, entry_of))

    def search(
        self, query: str, names: Sequence[str] | None, k: int, condition: Mapping[str, Any] | None
    ) -> Program[KnowledgeEntries]:
        """Return the entries of collections that answer a query best; names None searches all collections."""
        check_name("query", query)
        k = check_count("k", k)
        where: Value = {"collection": {"$exists": True}}
        if condition is not None:
            if not isinstance(condition, Mapping):
                msg = f"filter must be a mapping; got {type(condition).__name__}: {shown(condition)}."
                raise InvalidTypeError(msg)
            where["metadata"] = condition
        namespace = _ROOT
        chosen = None if names is None else collection_names("names", names)
        if chosen is not None:
            where["collection"] = {"$in": chosen}
            if len(chosen) == 1:
                namespace = shared_namespace(chosen[0])
        items = yield from self.store.search(namespace, query=query, filter=where, limit=k)
        found = KnowledgeEntries(readable((item for item in items if len(item.namespace) == len(_ROOT) + 1), entry_of))
        yield from self.require(name for name in chosen or () if all(one.name != name for one in found))
        return found

    def require(self, names: Iterable[str]) -> Program[None]:
        """Refuse names of unknown collections.

        Raises:
            UnknownCollectionError: There is no collection with one of these names.
        """
        for name in names:
            marker = yield from self.store.get(_ROOT, name)
            found = yield from self.store.list_namespaces(prefix=shared_namespace(name), limit=1)
            if marker is None and shared_namespace(name) not in found:
                known = ", ".join(map(repr, (yield from self.names())[:20])) or "none"
                msg = (
                    f"There is no collection {shown(name)} of shared knowledge; existing collections: {known}. "
                    f"Add texts to the collection first."
                )
                raise UnknownCollectionError(msg)

    def require_unfound(self, names: Sequence[str], found: Iterable[str]) -> Program[None]:
        """Same as `require`, after a search in the collections: only names without a result are looked up, each once.

        Args:
            names: The names.
            found: Names of collections in which the search found entries.
        """
        self._existing.update(found)
        yield from self.require(name for name in names if name not in self._existing)
        self._existing.update(names)

    def _version(self, name: str) -> Program[Value | None]:
        """Return the value of a collection's marker; None if it was never replaced."""
        marker = yield from self.store.get(_ROOT, name)
        if marker is not None and marker.value.keys() != {_VERSION}:
            msg = (
                f"The collection cannot be named {shown(name)}: the application stores an item of its own under "
                f"{(_ROOT, name)}. Choose another name."
            )
            raise InvalidInputError(msg)
        return None if marker is None else marker.value

    def _stored(self, namespace: Namespace) -> Program[dict[str, Value]]:
        """Return the readable entries of a collection by ID."""
        items = yield from items_in(self.store, namespace)
        return {item.key: item.value for item in items}


def _if_unchanged(key: ItemKey, value: Value | None, changes: Values) -> Callable[[Values], Values]:
    """Return a change for `update_many` that makes changes only if an item still has a value."""
    return lambda stored: changes if stored[key] == value else {}


def collection_names(what: str, names: Any) -> Ids:
    """Return validated names of collections.

    Args:
        what: Name of the argument, for error messages.
        names: The names.

    Raises:
        InvalidTypeError: The argument is not a list of strings.
        InvalidInputError: A name is empty or too long.
    """
    return [check_id("The name of a collection", name) for name in check_list(what, names, "names of collections")]


def _values(name: str, texts: Any, metadata: Any) -> tuple[Ids, dict[str, Value]]:
    """Return the IDs of texts in order, and the values to store by ID."""
    if metadata is not None and not isinstance(metadata, Mapping):
        msg = f"metadata must be a mapping; got {type(metadata).__name__}: {shown(metadata)}."
        raise InvalidTypeError(msg)
    ids = []
    values: dict[str, Value] = {}
    for index, one in enumerate(check_list("texts", texts, "strings or Documents")):
        document = one if isinstance(one, Document) else Document(check_name(f"texts[{index}]", one))
        text = check_name(f"texts[{index}]", document.page_content)
        if not text.strip():
            msg = f"texts[{index}] is empty. Nothing was written."
            raise InvalidInputError(msg)
        ids.append(text_id(text))
        own = {**(metadata or {}), **document.metadata}
        values[ids[-1]] = {"text": text, "collection": name, "metadata": own}
    return ids, values


def entry_of(item: SearchItem) -> KnowledgeEntry:
    """Return the entry in an item of the store.

    Raises:
        DamagedDataError: The item does not hold an entry.
    """
    with reading(f"The entry {shown(item.key)}"):
        name, text, metadata = item.value["collection"], item.value["text"], item.value["metadata"]
        if not isinstance(name, str) or not isinstance(text, str) or not isinstance(metadata, dict):
            msg = f"text is {shown(text, 60)}"
            raise TypeError(msg)
    return KnowledgeEntry(item.key, name, text, metadata, item.score)
