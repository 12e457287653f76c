"""The item table of the encrypted backend.

Labels and keys are encrypted one by one, so the database finds namespaces by prefix. A value is encrypted together with the
item's paths, TTL and time, and bound to its tenant, namespace and key.

* `searchable=False`: words and vectors are a part of the encrypted value. A search decrypts the newest `MAX_RANKED` items at
  or below the namespace, and ranks them in this process.
* `searchable=True`: the database stores a keyed digest of each word, and the vectors in clear. It finds items as usual.
"""

from __future__ import annotations

import base64
import json
import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ormsgpack

from langchain_agentmem.arguments.ids import MAX_ADDRESS_BYTES
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import (
    Backend,
    Candidate,
    EmbeddedItem,
    Found,
    IndexedItem,
    ItemChanges,
    ItemPut,
    ItemRow,
    ItemState,
    Namespace,
    Query,
    Swap,
)
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.errors import InvalidInputError, TamperedDataError
from langchain_agentmem.programs import OffLoop, Program, one_statement, storage_program
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.text.vectors import similarities_to
from langchain_agentmem.text.words import pack_words, scores

_log = logging.getLogger(__name__)

MAX_RANKED = 20_000
"""The number of items that a search with `searchable=False` ranks: the newest at or below the namespace."""

_SEALED = "agentmem:sealed"
"""The key of the JSON object that contains an encrypted value."""
_PAGE = 1_000
_MAX_NAMESPACES = 1_000
_UNEMBEDDED_AT_ONCE = 100
_MANY_ITEMS = 200
"""Under `arun`, a worker thread decrypts more items than this."""
_WORD_BYTES = 6
"""The length of the digest of a word."""
_SECONDS = 0.001
"""The accuracy of the times that all backends store."""

ItemKey = tuple[Namespace, str]


class Content(NamedTuple):
    """The encrypted content of an item."""

    value: str
    """JSON text."""
    at: float
    """The time of the write, which is the row's `updated_at`."""
    ttl: float | None
    paths: str | None = None
    words: bytes | None = None
    """The result of `packed_words`; None if the item is not indexed, or the database stores the words."""
    vectors: Sequence[bytes] = ()
    updated_at: float | None = None
    """The time of the item's last update, if a later write changed only its words or vectors."""


class ItemSeal:
    """Encrypts and decrypts the names and values of items.

    Args:
        ring: The keys.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._plain_namespaces: RecentValues[Namespace, Namespace] = RecentValues(_MAX_NAMESPACES)

    def namespace(self, namespace: Namespace) -> Namespace:
        """Encrypt the labels of a namespace."""
        return tuple(map(self._ring.label, namespace))

    def plain_namespace(self, namespace: Namespace) -> Namespace:
        """Decrypt the labels of a namespace."""
        plain = self._plain_namespaces.get(namespace)
        if plain is None:
            plain = tuple(map(self._ring.plain_label, namespace))
            self._plain_namespaces.put(namespace, plain)
        return plain

    def key(self, key: ItemKey) -> ItemKey:
        """Encrypt the namespace and the key of an item."""
        return self.namespace(key[0]), self._ring.id("key", key[1])

    def checked_key(self, key: ItemKey) -> ItemKey:
        """Same as `key`, for an item to store.

        Raises:
            InvalidInputError: The encrypted names are too long.
        """
        sealed = self.key(key)
        length = sum(map(len, sealed[0])) + len(sealed[1])
        if length > MAX_ADDRESS_BYTES:
            msg = (
                f"The namespace and key of item {shown(key, 200)} take {length:,} bytes in encrypted form; at most "
                f"{MAX_ADDRESS_BYTES:,} are accepted. Use shorter labels, or fewer."
            )
            raise InvalidInputError(msg)
        return sealed

    def value(self, tenant: str, key: ItemKey, content: Content) -> str:
        """Return the encrypted value of an item as JSON text.

        Args:
            tenant: The tenant.
            key: The namespace and key, not encrypted.
            content: The value.
        """
        sealed = self._ring.sealer.seal(ormsgpack.packb(tuple(content)), *_place(tenant, key))
        return json.dumps({_SEALED: base64.b64encode(sealed).decode()})

    def content(self, tenant: str, key: ItemKey, row: ItemRow) -> Content:
        """Decrypt the value of an item.

        Raises:
            TamperedDataError: It is not encrypted, was altered, or belongs to another item, time or TTL.
        """
        try:
            sealed = base64.b64decode(json.loads(row.value)[_SEALED], validate=True)
        except (KeyError, TypeError, ValueError):
            sealed = b""
        content = Content(*ormsgpack.unpackb(self._ring.sealer.open(sealed, *_place(tenant, key))))
        ttl = content.ttl
        changed_ttl = (ttl is None) != (row.ttl is None) or abs((ttl or 0.0) - (row.ttl or 0.0)) > _SECONDS
        if changed_ttl or abs(content.at - row.updated_at) > _SECONDS:
            what = "TTL" if changed_ttl else "time"
            msg = f"The {what} of item {shown(key[1])} was altered."
            raise TamperedDataError(msg)
        return content

    def row(self, tenant: str, row: ItemRow) -> tuple[ItemRow, Content]:
        """Decrypt an item. The row has no `paths`."""
        key = (self.plain_namespace(row.namespace), self._ring.plain_id("key", row.key))
        content = self.content(tenant, key, row)
        updated_at = row.updated_at if content.updated_at is None else content.updated_at
        plain = ItemRow(*key, content.value, row.created_at, updated_at, row.ttl, row.revision)
        return plain, content

    def words(self, text: str | None) -> str | None:
        """Return the keyed digests of the words in `ItemPut.text`."""
        return None if text is None else " ".join(map(self.word, text.split()))

    def word(self, word: str) -> str:
        """Return the keyed digest of a word."""
        return "w" + self._ring.digest("word", word, size=_WORD_BYTES).hex()


class _Id(NamedTuple):
    """The ID of a candidate that was ranked in this process; its order breaks ties."""

    updated_at: float
    tenant: str
    namespace: Namespace
    key: str


class EncryptedItems:
    """Encrypts the items of one tenant. See `langchain_agentmem.backends.contract.ItemTable`.

    Args:
        inner: The backend that stores the encrypted rows.
        ring: The keys. They say whether the database searches.
    """

    def __init__(self, inner: Backend, ring: KeyRing) -> None:
        self._table = inner.items
        self._ring = ring
        self.seal = ItemSeal(ring)

    @property
    def _searchable(self) -> bool:
        return self._ring.secrets.searchable

    # Single items

    @one_statement
    def get(
        self, tenant: str, keys: Sequence[ItemKey], now: float, *, paths: bool = False
    ) -> Program[list[ItemRow | None]]:
        found = yield from self._table.get(tenant, [self.seal.key(key) for key in keys], now)
        yield from OffLoop(len(found) > _MANY_ITEMS)
        return [None if row is None else self._plain(tenant, row, paths=paths) for row in found]

    @one_statement
    def put(self, tenant: str, puts: Sequence[ItemPut], now: float) -> Program[None]:
        yield from self._table.put(tenant, [self._sealed(tenant, put, now) for put in puts], now)

    @one_statement
    def swap(self, tenant: str, swaps: Sequence[Swap], now: float, token: int) -> Program[bool]:
        sealed = [
            Swap(
                *self.seal.key((swap.namespace, swap.key)),
                swap.expected,
                None if swap.put is None else self._sealed(tenant, swap.put, now),
                swap.keep,
            )
            for swap in swaps
        ]
        return (yield from self._table.swap(tenant, sealed, now, token))

    @one_statement
    def delete(self, tenant: str, keys: Sequence[ItemKey]) -> Program[None]:
        yield from self._table.delete(tenant, [self.seal.key(key) for key in keys])

    @one_statement
    def touch(self, tenant: str, keys: Sequence[ItemKey], now: float) -> Program[None]:
        yield from self._table.touch(tenant, [self.seal.key(key) for key in keys], now)

    @storage_program
    def change(
        self,
        tenant: str,
        puts: Sequence[ItemPut],
        deletes: Sequence[ItemKey],
        touches: Sequence[ItemKey],
        now: float,
    ) -> Program[None]:
        yield from self._table.change(
            tenant,
            [self._sealed(tenant, put, now) for put in puts],
            [self.seal.key(key) for key in deletes],
            [self.seal.key(key) for key in touches],
            now,
        )

    # Listings

    @one_statement
    def scan(
        self,
        tenant: str,
        prefix: Namespace,
        condition: Mapping[str, Any] | None,  # noqa: ARG002 (the caller checks it on the decrypted values)
        limit: int,
        before: tuple[Any, ...] | None,
        now: float,
        *,
        offset: int = 0,
    ) -> Program[tuple[list[ItemRow], tuple[Any, ...] | None]]:
        sealed = self.seal.namespace(prefix)
        rows, following = yield from self._table.scan(tenant, sealed, None, limit, before, now, offset=offset)
        yield from OffLoop(len(rows) > _MANY_ITEMS)
        return [self._plain(tenant, row) for row in rows], following

    @one_statement
    def namespaces(self, tenant: str, prefix: Namespace, now: float) -> Program[list[Namespace]]:
        found = yield from self._table.namespaces(tenant, self.seal.namespace(prefix), now)
        yield from OffLoop(len(found) > _MANY_ITEMS)
        return sorted(map(self.seal.plain_namespace, found))

    @one_statement
    def roots(self, tenant: str, now: float) -> Program[list[str]]:
        found = yield from self._table.roots(tenant, now)
        return [self.seal.plain_namespace((root,))[0] for root in found]

    @one_statement
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from self._table.sweep(tenant, now, limit))

    def skips(self, condition: Mapping[str, Any] | None) -> bool:
        return not condition

    # Search

    def changes(
        self,
        tenant: str,  # noqa: ARG002 (`find` compares decrypted items, or keyed words)
        root: str,  # noqa: ARG002
        width: int | None,  # noqa: ARG002
        cursor: Any,  # noqa: ARG002
        now: float,  # noqa: ARG002
    ) -> Program[ItemChanges | None]:
        yield from ()
        return None

    @storage_program
    def find(self, tenant: str, query: Query, now: float) -> Program[Found]:
        if not self._searchable:
            return (yield from self._ranked(tenant, query, now))
        sealed = query._replace(
            prefix=self.seal.namespace(query.prefix), words=list(map(self.seal.word, query.words)), condition=None
        )
        found = yield from self._table.find(tenant, sealed, now)
        candidates = [one._replace(id=(one.id, tenant)) for one in found.candidates]
        return found._replace(candidates=candidates, rows=_PlainRows(self.seal, tenant, found.rows))

    def _ranked(self, tenant: str, query: Query, now: float) -> Program[Found]:
        """Decrypt the items at or below a namespace, and compute their scores."""
        rows: dict[_Id, ItemRow] = {}
        words: list[bytes] = []
        vectors: list[tuple[_Id, bytes]] = []
        contents = yield from self._contents(tenant, query.prefix, now)
        yield from OffLoop(len(contents) > _MANY_ITEMS)
        for row, content in contents:
            if content.words is None:
                continue
            id_ = _Id(row.updated_at, tenant, row.namespace, row.key)
            rows[id_] = row
            words.append(content.words)
            vectors += [(id_, vector) for vector in content.vectors]
        lexical = dict(zip(rows, scores(words, query.words), strict=True)) if query.words else {}
        dense: dict[_Id, float] = {}
        similar = similarities_to([vector for _, vector in vectors], query.vector)
        for (id_, _), score in zip(vectors, similar, strict=True):
            if score is not None:
                dense[id_] = max(score, dense.get(id_, -1.0))
        candidates = [Candidate(id_, lexical.get(id_) or None, dense.get(id_)) for id_ in rows]
        return Found([one for one in candidates if (one.lexical, one.dense) != (None, None)], True, rows)

    def _contents(self, tenant: str, prefix: Namespace, now: float) -> Program[list[tuple[ItemRow, Content]]]:
        sealed = self.seal.namespace(prefix)
        found: list[tuple[ItemRow, Content]] = []
        following: tuple[Any, ...] | None = None
        while len(found) < MAX_RANKED:
            rows, following = yield from self._table.scan(tenant, sealed, None, _PAGE, following, now)
            yield from OffLoop(len(rows) > _MANY_ITEMS)
            found += [self.seal.row(tenant, row) for row in rows]
            if following is None:
                return found
        _log.warning(
            "A search in namespace %s ranked only the newest %d items. Narrow the namespace, or copy the memory to a "
            "new one with searchable=True.",
            shown(prefix, 200),
            MAX_RANKED,
        )
        return found

    @storage_program
    def rows(self, ids: Sequence[Any]) -> Program[dict[Any, ItemRow]]:
        if not self._searchable:
            by_tenant: dict[str, list[_Id]] = {}
            for id_ in ids:
                by_tenant.setdefault(id_.tenant, []).append(id_)
            rows: dict[Any, ItemRow] = {}
            for tenant, some in by_tenant.items():
                found = yield from self.get(tenant, [(id_.namespace, id_.key) for id_ in some], 0.0)
                rows.update({id_: row for id_, row in zip(some, found, strict=True) if row is not None})
            return rows
        stored = yield from self._table.rows([inner for inner, _ in ids])
        return {(inner, tenant): self._plain(tenant, stored[inner]) for inner, tenant in ids if inner in stored}

    # Vectors and words

    @one_statement
    def fits(self, tenant: str, dimensions: int) -> Program[str | None]:
        if not self._searchable:
            return None
        return (yield from self._table.fits(tenant, dimensions))

    @one_statement
    def refuses(self, tenant: str, dimensions: int) -> Program[str | None]:
        if not self._searchable:
            return None
        return (yield from self._table.refuses(tenant, dimensions))

    @storage_program
    def unembed(self, tenant: str, dimensions: int, after: Any) -> Program[Any]:
        if self._searchable:
            return (yield from self._table.unembed(tenant, dimensions, after))
        rows, following = yield from self._table.scan(tenant, (), None, _UNEMBEDDED_AT_ONCE, after, time.time())
        yield from OffLoop(len(rows) > _MANY_ITEMS)
        for row in rows:
            plain, content = self.seal.row(tenant, row)
            if content.vectors:
                yield from self._rewrite(tenant, plain, vectors=())
        return following

    @one_statement
    def unembedded(
        self, tenant: str, dimensions: int | None, after: Any, limit: int, now: float
    ) -> Program[tuple[list[IndexedItem], Any]]:
        if self._searchable:
            found, following = yield from self._table.unembedded(tenant, dimensions, after, limit, now)
            plain = [self.seal.row(tenant, one.row) for one in found]
            return [IndexedItem(row, content.paths) for row, content in plain], following
        rows, following = yield from self._table.scan(tenant, (), None, limit, after, now)
        yield from OffLoop(len(rows) > _MANY_ITEMS)
        opened = [self.seal.row(tenant, row) for row in rows]
        return [
            IndexedItem(row, content.paths)
            for row, content in opened
            if content.words is not None and not _has_vectors(content, dimensions)
        ], following

    @storage_program
    def set_words(self, tenant: str, items: Sequence[tuple[ItemRow, str]]) -> Program[None]:
        if self._searchable:
            sealed = [(self._sealed_row(row), self.seal.words(words) or "") for row, words in items]
            yield from self._table.set_words(tenant, sealed)
            return
        for row, words in items:
            yield from self._rewrite(tenant, row, words=packed_words(words))

    @storage_program
    def embed(self, tenant: str, items: Sequence[EmbeddedItem]) -> Program[int]:
        if self._searchable:
            sealed = [EmbeddedItem(self._sealed_row(row), vectors) for row, vectors in items]
            return (yield from self._table.embed(tenant, sealed))
        embedded = 0
        for row, vectors in items:
            embedded += yield from self._rewrite(tenant, row, vectors=tuple(vectors))
        return embedded

    def _rewrite(self, tenant: str, row: ItemRow, **changes: Any) -> Program[bool]:
        """Change the words or the vectors of an item that still has the revision. Its `updated_at` stays for the caller."""
        key, now = (row.namespace, row.key), time.time()
        sealed = self.seal.key(key)
        (stored,) = yield from self._table.get(tenant, [sealed], now)
        if stored is None or stored.revision != row.revision:
            return False
        plain, content = self.seal.row(tenant, stored)
        content = content._replace(at=now, updated_at=plain.updated_at, **changes)
        put = ItemPut(*sealed, self.seal.value(tenant, key, content), content.ttl, None)
        return (yield from self._table.swap(tenant, [Swap(*sealed, row.revision, put)], now, secrets.randbits(53)))

    # Rows

    def _sealed(self, tenant: str, put: ItemPut, now: float) -> ItemPut:
        key = (put.namespace, put.key)
        content = Content(put.value, now, put.ttl, put.paths)
        if not self._searchable:
            content = content._replace(words=packed_words(put.text), vectors=tuple(put.vectors))
        value = self.seal.value(tenant, key, content)
        if not self._searchable:
            return ItemPut(*self.seal.checked_key(key), value, put.ttl, None)
        return ItemPut(*self.seal.checked_key(key), value, put.ttl, self.seal.words(put.text), put.vectors)

    def plain_state(self, tenant: str, state: ItemState) -> ItemState:
        """Decrypt an item with its vectors."""
        row, content = self.seal.row(tenant, state.row)
        vectors = state.vectors if self._searchable else sorted(content.vectors)
        return state._replace(row=row._replace(paths=content.paths), vectors=vectors)

    def sealed_state(self, tenant: str, state: ItemState) -> ItemState:
        """Encrypt an item to restore."""
        row = state.row
        key = (row.namespace, row.key)
        content = Content(row.value, row.updated_at, row.ttl, row.paths)
        if not self._searchable:
            content = content._replace(words=packed_words(state.text), vectors=tuple(state.vectors))
        namespace, name = self.seal.checked_key(key)
        value = self.seal.value(tenant, key, content)
        sealed = row._replace(namespace=namespace, key=name, value=value, paths=None)
        if not self._searchable:
            return ItemState(sealed, state.expires_at)
        return ItemState(sealed, state.expires_at, self.seal.words(state.text), state.vectors)

    def _plain(self, tenant: str, row: ItemRow, *, paths: bool = False) -> ItemRow:
        plain, content = self.seal.row(tenant, row)
        return plain._replace(paths=content.paths) if paths else plain

    def _sealed_row(self, row: ItemRow) -> ItemRow:
        namespace, key = self.seal.key((row.namespace, row.key))
        return row._replace(namespace=namespace, key=key)


class _PlainRows(Mapping[Any, ItemRow]):
    """The found items by ID. An item is decrypted when it is used, because the caller uses only the best."""

    def __init__(self, seal: ItemSeal, tenant: str, rows: Mapping[Any, ItemRow]) -> None:
        self._seal = seal
        self._tenant = tenant
        self._rows = rows

    def __getitem__(self, id_: Any) -> ItemRow:
        return self._seal.row(self._tenant, self._rows[id_[0]])[0]

    def __contains__(self, id_: object) -> bool:
        return isinstance(id_, tuple) and id_[0] in self._rows

    def __iter__(self) -> Iterator[Any]:
        return ((id_, self._tenant) for id_ in self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def packed_words(text: str | None) -> bytes | None:
    """Return the words of `ItemPut.text` for `Content.words`."""
    return None if text is None else pack_words(text.split())


def _place(tenant: str, key: ItemKey) -> tuple[str, ...]:
    return "item", tenant, key[1], *key[0]


def _has_vectors(content: Content, dimensions: int | None) -> bool:
    return dimensions is not None and any(len(vector) == 4 * dimensions for vector in content.vectors)
