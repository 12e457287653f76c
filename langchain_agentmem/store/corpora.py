"""The items below a namespace as a corpus that the process keeps between searches.

Each search reads what changed since the last one, so other processes' writes are found, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from langchain_agentmem.backends.contract import ItemChanges, ItemRow, ItemText, SessionChange, SessionVersion
from langchain_agentmem.backends.contract.changes import EntryRow, packed
from langchain_agentmem.backends.namespaces import decode_namespace, encode_namespace
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.search.corpus import Corpus
from langchain_agentmem.search.growing import GrowingCorpus
from langchain_agentmem.store.arguments import Namespace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_VIEWS = 4
"""The number of views that a corpus keeps until the next change."""

_BYTES_OF_TEXT = 600
"""The bytes that an item takes beside its words and vectors, about."""


class ItemsKey(NamedTuple):
    """The items of a corpus."""

    tenant: str
    prefix: Namespace
    """The namespace of the items, and all below it."""
    width: int | None
    """The number of bytes of a vector; None for a corpus without vectors."""


class KeptItems:
    """The items below a namespace, brought up to date by each search. Threads may share the object."""

    def __init__(self) -> None:
        self._lock = forkable_lock()
        self._process = os.getpid()
        self._is_changing = False
        self.cursor: Any = None
        """The state of the backend that the corpus has; None for nothing."""
        self._corpus = GrowingCorpus()
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

    def views(
        self, changes: ItemChanges, start: Any, prefixes: Sequence[Namespace], now: float
    ) -> list[ItemView] | None:
        """Apply changes, and return what searches read; None if the changes must be read again.

        Args:
            changes: What changed.
            start: The cursor from which the changes were read. Another search may have changed the corpus since.
            prefixes: The namespaces to search, each with all below it.
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
            corpus = self._corpus.view(now)
            expired = frozenset(self._names[id_] for id_ in changes.expired if id_ in self._names)
            return [self._viewed(corpus, prefix, expired) for prefix in prefixes]

    def _viewed(self, corpus: Corpus, prefix: Namespace, expired: frozenset[str]) -> ItemView:
        found = self._views.get((prefix, expired))
        if found is None or not found.is_of(corpus):
            found = ItemView(corpus, prefix, expired, self._ids)
            self._views = {**dict(list(self._views.items())[1 - _MOST_VIEWS :]), (prefix, expired): found}
        return found

    def _apply(self, changes: ItemChanges) -> None:
        if changes.is_whole:
            self._corpus, self._names, self._ids = GrowingCorpus(), {}, {}
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
        self._grow(changes.texts, former)
        self.nbytes = self._corpus.nbytes + len(self._names) * _BYTES_OF_TEXT

    def _grow(self, texts: Sequence[ItemText], gone: Sequence[str]) -> None:
        """Add items. An item with several vectors has a row for each; only the first of them has words."""
        changed, rows = [], list[EntryRow]()
        for one in texts:
            count = max(1, len(one.vectors))
            changed.append(SessionChange(_name(one), SessionVersion(None, count, one.expires_at), 0, count))
            for at in range(count):
                words, vector = (b"" if at else one.words), (one.vectors[at] if one.vectors else None)
                rows.append((at, "", _start(one.namespace), one.updated_at, words, vector, None))
        self._corpus.apply(changed, gone, packed(rows))


class ItemView:
    """The items of a corpus at or below a namespace, as the ranker reads them. It does not change.

    Args:
        corpus: The items of a wider namespace, or of the same. Their agents are the namespaces.
        prefix: The namespace.
        expired: The names of items to leave out.
        ids: The IDs of items by name.
    """

    agents: Sequence[str | None] = (None,)
    agent: NDArray[np.int32]
    owner: NDArray[np.int32] | None

    def __init__(self, corpus: Corpus, prefix: Namespace, expired: frozenset[str], ids: Mapping[str, Any]) -> None:
        import numpy as np

        self._corpus, self._ids = corpus, ids
        self.size, self.agent = corpus.size, np.zeros(corpus.size, dtype=np.int32)
        self.alive = corpus.alive
        self.previous = self.following = np.full(
            corpus.size, -1, dtype=np.int32
        )  # items are no neighbours of each other
        self.has_vector, self.owner = corpus.has_vector, None
        self.kept: dict[str, Any] = {}
        if not corpus.size:
            return
        if prefix:
            start = _start(prefix)
            inside = np.array([(name or "").startswith(start) for name in corpus.agents], dtype=np.bool_)
            self.alive = self.alive & inside[corpus.agent]
        if expired:
            outside = np.array([name not in expired for name in corpus.session_ids], dtype=np.bool_)
            self.alive = self.alive & outside[corpus.session]
        is_first = corpus.position == 0
        if not is_first.all():
            self._own(is_first)

    def _own(self, is_first: NDArray[np.bool_]) -> None:
        """Let the first row of each item own the vectors of its other rows, which are no texts."""
        import numpy as np

        session, rows = self._corpus.session, np.arange(self.size, dtype=np.int32)
        firsts = np.flatnonzero(is_first & self.alive)
        first = np.full(len(self._corpus.session_ids), -1, dtype=np.int32)
        first[session[firsts]] = firsts
        self.owner = np.where(self.alive, first[session], rows)
        self.alive = self.alive & is_first
        has_vector = np.zeros(self.size, dtype=np.bool_)
        has_vector[self.owner[self.has_vector]] = True
        self.has_vector = has_vector

    def is_of(self, corpus: Corpus) -> bool:
        """Return true if the view shows a corpus as it is: a corpus that changes is another object."""
        return self._corpus is corpus

    def __getattr__(self, name: str) -> Any:
        return getattr(self._corpus, name)

    def id_of(self, row: int) -> Any:
        """Return the ID of the item of a row; None if another search has learned that it is gone."""
        return self._ids.get(self._name_of(row))

    def rows_of(self, items: Iterable[ItemRow]) -> NDArray[np.bool_]:
        """Return true for the rows of some items."""
        import numpy as np

        names = set(map(_name, items))
        wanted = np.array([name in names for name in self._corpus.session_ids], dtype=np.bool_)
        found: NDArray[np.bool_] = wanted[self._corpus.session] if self.size else wanted[:0]
        return found

    def is_at(self, row: int, item: ItemRow) -> bool:
        """Return true if a row is that of an item: the ID of a deleted item may be that of another one now."""
        return self._name_of(row) == _name(item)

    def address_of(self, row: int) -> tuple[Namespace, str]:
        """Return the namespace and the key of the item of a row."""
        start, _, key = self._name_of(row).partition("\x00\x00")  # no label is empty
        return decode_namespace(f"{start}\x00".encode()), key

    def trust(self, measure: Callable[[Corpus], float]) -> float:
        """See `Corpus`. It is that of all items of the corpus."""
        return self._corpus.trust(lambda corpus: measure(cast("Corpus", ItemView(corpus, (), frozenset(), {}))))

    def _name_of(self, row: int) -> str:
        name: str = self._corpus.session_ids[self._corpus.session[row]]
        return name


def _name(item: ItemText | ItemRow) -> str:
    """Return the name of an item: no two items of a tenant have the same."""
    return f"{_start(item.namespace)}\x00{item.key}"


def _start(namespace: Namespace) -> str:
    """Return a namespace as text: the labels, each followed by a zero character."""
    return encode_namespace(namespace).decode()
