"""The items of a root as a corpus that the process keeps between searches.

Each search reads what changed since the last one, so other processes' writes are found, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_agentmem.backends.contract import ItemChanges, ItemRow, ItemText, SessionChange, SessionVersion
from langchain_agentmem.backends.contract.changes import packed
from langchain_agentmem.backends.namespaces import encode_namespace
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.search.corpus import BuiltCorpus, Corpus, Text
from langchain_agentmem.search.growing import GrowingCorpus
from langchain_agentmem.store.arguments import Namespace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_VIEWS = 4
"""The number of views that a corpus keeps until the next change."""

_BYTES_OF_TEXT = 600
"""The bytes that an item takes beside its words and vectors, about."""


class RootKey(NamedTuple):
    """The items of a corpus."""

    tenant: str
    root: str
    """The first label of their namespaces."""
    width: int | None
    """The number of bytes of a vector; None for a corpus without vectors."""


class KeptItems:
    """The items of a root, brought up to date by each search. Threads may share the object."""

    def __init__(self) -> None:
        self._lock = forkable_lock()
        self._process = os.getpid()
        self._is_changing = False
        self.cursor: Any = None
        """The state of the backend that the corpus has; None for nothing."""
        self._corpus = GrowingCorpus()
        self._items: dict[Any, ItemText] | None = None
        """All items, if some item has several vectors: then the corpus is built again after each change."""
        self._built: _BuiltItems | None = None
        self._names: dict[Any, str] = {}
        """The name of each item by ID. Names give the same order on every backend."""
        self._ids: dict[str, Any] = {}
        """The ID of each item by name."""
        self._views: dict[tuple[Namespace, frozenset[str]], ItemView] = {}
        """The views of the corpus as it is, by namespace and expired items. They keep what searches compute."""
        self.nbytes = 0
        """The bytes that the corpus takes, about."""

    @property
    def is_usable(self) -> bool:
        """False if an exception or a fork interrupted a change, or if the corpus must be read again."""
        return self._process == os.getpid() and not self._is_changing and not self._corpus.is_stale

    def view(self, changes: ItemChanges, start: Any, prefix: Namespace, now: float) -> ItemView | None:
        """Apply changes, and return what a search reads; None if the changes must be read again.

        Args:
            changes: What changed.
            start: The cursor from which the changes were read. Another search may have changed the corpus since.
            prefix: The namespace to search, and all below it.
            now: The time in Unix seconds.
        """
        with self._lock:
            if self._is_changing or self.cursor != start:
                return None
            if changes.is_whole or changes.texts or changes.gone or changes.remaining is not None:
                self._is_changing = True
                self._apply(changes)
                self._is_changing = False
            if self._corpus.is_stale:
                return None
            self.cursor = changes.cursor
            corpus = self._corpus.view(now) if self._items is None else self._built_again()
            return self._viewed(corpus, prefix, self._expired(changes, now))

    def _viewed(self, corpus: Corpus, prefix: Namespace, expired: frozenset[str]) -> ItemView:
        found = self._views.get((prefix, expired))
        if found is None or not found.is_of(corpus):
            found = ItemView(corpus, prefix, expired, self._ids)
            self._views = {**dict(list(self._views.items())[1 - _MOST_VIEWS :]), (prefix, expired): found}
        return found

    def _apply(self, changes: ItemChanges) -> None:
        if changes.is_whole:
            self._corpus, self._items, self._names, self._ids = GrowingCorpus(), None, {}, {}
        gone = {id_ for id_ in changes.gone if id_ in self._names}
        if changes.remaining is not None:
            gone |= self._names.keys() - set(changes.remaining) - {one.id for one in changes.texts}
        former = [self._names.pop(id_) for id_ in gone]
        # An ID may be that of another item now.
        former += [self._names[one.id] for one in changes.texts if self._names.get(one.id, name := _name(one)) != name]
        for name in former:
            self._ids.pop(name, None)
        self._names.update((one.id, _name(one)) for one in changes.texts)
        self._ids.update((_name(one), one.id) for one in changes.texts)
        if self._items is None and any(len(one.vectors) > 1 for one in changes.texts):
            if not changes.is_whole:
                # The items that are known are in the growing corpus only.
                self._corpus.is_stale = True
                return
            self._items = {}
        if self._items is None:
            self._grow(changes.texts, former)
            self.nbytes = self._corpus.nbytes + len(self._names) * _BYTES_OF_TEXT
            return
        for id_ in gone:
            self._items.pop(id_, None)
        self._items.update((one.id, one) for one in changes.texts)
        self._built = None
        self.nbytes = sum(
            _BYTES_OF_TEXT + 3 * len(one.words) + 2 * sum(map(len, one.vectors)) for one in self._items.values()
        )

    def _grow(self, texts: Sequence[ItemText], gone: Sequence[str]) -> None:
        changed = [SessionChange(_name(one), SessionVersion(None, 1, one.expires_at), 0, 1) for one in texts]
        rows = [
            (0, "", _start(one.namespace), one.updated_at, one.words, one.vectors[0] if one.vectors else None, None)
            for one in texts
        ]
        self._corpus.apply(changed, gone, packed(rows))

    def _built_again(self) -> BuiltCorpus:
        if self._built is None:
            self._built = _BuiltItems(list((self._items or {}).values()))
        return self._built

    def _expired(self, changes: ItemChanges, now: float) -> frozenset[str]:
        """Return the names of expired items, except those that the corpus itself omits."""
        expired = {self._names[id_] for id_ in changes.expired if id_ in self._names}
        if self._items is not None:
            items = self._items.values()
            expired.update(_name(one) for one in items if one.expires_at is not None and one.expires_at <= now)
        return frozenset(expired)


class _BuiltItems(BuiltCorpus):
    def __init__(self, items: Sequence[ItemText]) -> None:
        texts = (
            Text(_name(one), 0, one.words, one.updated_at, agent=_start(one.namespace), vectors=one.vectors)
            for one in items
        )
        super().__init__(texts, neighbours=False)


class ItemView:
    """The items of a corpus at or below a namespace, as the ranker reads them. It does not change.

    Args:
        corpus: The items of the root. Their agents are the namespaces.
        prefix: The namespace.
        expired: The names of items to leave out.
        ids: The IDs of items by name.
    """

    agents: Sequence[str | None] = (None,)
    agent: NDArray[np.int32]

    def __init__(self, corpus: Corpus, prefix: Namespace, expired: frozenset[str], ids: Mapping[str, Any]) -> None:
        import numpy as np

        self._corpus, self._ids = corpus, ids
        self.kept: dict[str, Any] = {}
        self.size, self.agent = corpus.size, np.zeros(corpus.size, dtype=np.int32)
        self.alive = corpus.alive
        if len(prefix) > 1:
            start = _start(prefix)
            inside = np.array([(name or "").startswith(start) for name in corpus.agents], dtype=np.bool_)
            self.alive = self.alive & inside[corpus.agent] if corpus.size else self.alive
        if expired:
            outside = np.array([name not in expired for name in corpus.session_ids], dtype=np.bool_)
            self.alive = self.alive & outside[corpus.session] if corpus.size else self.alive

    def is_of(self, corpus: Corpus) -> bool:
        """Return true if the view shows a corpus as it is: a corpus that changes is another object."""
        return self._corpus is corpus

    def __getattr__(self, name: str) -> Any:
        return getattr(self._corpus, name)

    def id_of(self, row: int) -> Any:
        """Return the ID of the item of a row; None if another search has learned that it is gone."""
        return self._ids.get(self._name_of(row))

    def is_at(self, row: int, item: ItemRow) -> bool:
        """Return true if a row is that of an item: the ID of a deleted item may be that of another one now."""
        return self._name_of(row) == _name(item)

    def _name_of(self, row: int) -> str:
        name: str = self._corpus.session_ids[self._corpus.session[row]]
        return name


def _name(item: ItemText | ItemRow) -> str:
    """Return the name of an item: no two items of a tenant have the same."""
    return f"{_start(item.namespace)}\x00{item.key}"


def _start(namespace: Namespace) -> str:
    """Return a namespace as text: the labels, each followed by a zero character."""
    return encode_namespace(namespace).decode()
