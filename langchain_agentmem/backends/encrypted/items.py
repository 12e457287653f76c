"""The item table of the encrypted backend.

Labels and keys are encrypted one by one, so the database finds namespaces by prefix. A value is encrypted together with the
item's paths, TTL and time, and bound to its tenant, namespace and key.

* `searchable=False`: words and vectors are a part of the encrypted value. A search decrypts the newest `MAX_RANKED` items at
  or below the namespace, and ranks them in this process.
* `searchable=True`: the database stores a keyed digest of each word, and the vectors in clear. It finds items as usual.

Each namespace has a head, which reveals missing, added and older items; see
`langchain_agentmem.backends.encrypted.item_heads`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import (
    Backend,
    EmbeddedItem,
    Found,
    HeadChangedError,
    IndexedItem,
    ItemChanges,
    ItemPut,
    ItemRow,
    ItemState,
    ItemText,
    Namespace,
    Query,
    Swap,
)
from langchain_agentmem.backends.encrypted.item_guard import ItemGuard, States, by_root, new_token
from langchain_agentmem.backends.encrypted.item_heads import MARGIN, MAX_LISTED, NEVER, Entry, new_tag
from langchain_agentmem.backends.encrypted.item_rows import Content, ItemKey, ItemSeal, packed_words
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.programs import OffLoop, Program, StorageProgram, one_statement, storage_program

_log = logging.getLogger(__name__)

MAX_RANKED = 20_000
"""The number of items that a search with `searchable=False` ranks: the newest at or below the namespace."""

_PAGE = 1_000
_UNEMBEDDED_AT_ONCE = 100
_MANY_ITEMS = 200
"""Under `arun`, a worker thread decrypts more items than this."""


class _Sealed(NamedTuple):
    """An item to store."""

    put: ItemPut
    """The encrypted item."""
    tag: bytes


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

    reads_changes = False

    def __init__(self, inner: Backend, ring: KeyRing) -> None:
        self._table = inner.items
        self._transfer = inner.transfer
        self._ring = ring
        self.seal = ItemSeal(ring)
        self.guard = ItemGuard(inner.items, self.seal, ordered=inner.name != "redis")

    @property
    def _searchable(self) -> bool:
        return self._ring.secrets.searchable

    # Single items

    @one_statement
    def get(
        self, tenant: str, keys: Sequence[ItemKey], now: float, *, paths: bool = False
    ) -> Program[list[ItemRow | None]]:
        checked = yield from self._checked(tenant, keys, now)
        return [one and (one[0]._replace(paths=one[1].paths) if paths else one[0]) for one in checked]

    def _checked(
        self, tenant: str, keys: Sequence[ItemKey], now: float, *, restoring: bool = False
    ) -> Program[list[tuple[ItemRow, Content] | None]]:
        """Read and decrypt items, and check them against the heads of their namespaces.

        Args:
            tenant: The tenant.
            keys: The namespaces and keys.
            now: The current time.
            restoring: If true, items may be missing, because their import was interrupted. Default: False.
        """
        states: States = {}
        if not self.guard.guards(tenant):
            found = yield from self._table.get(tenant, [self.seal.key(key) for key in keys], now)
        else:
            found, states = yield from self.guard.load(tenant, keys, now)
        yield from OffLoop(len(found) > _MANY_ITEMS)
        checked = [None if row is None else self.seal.row(tenant, row) for row in found]
        for key, one in zip(keys, checked, strict=True):
            if states and not (restoring and one is None):
                self.guard.check(key, None if one is None else one[1], states[key[0]], now)
        return checked

    def put(self, tenant: str, puts: Sequence[ItemPut], now: float) -> Program[None]:
        return self.change(tenant, puts, (), (), now)

    def delete(self, tenant: str, keys: Sequence[ItemKey]) -> Program[None]:
        return self.change(tenant, (), keys, (), 0.0)

    def touch(self, tenant: str, keys: Sequence[ItemKey], now: float) -> Program[None]:
        return self.change(tenant, (), (), keys, now)

    def change(
        self,
        tenant: str,
        puts: Sequence[ItemPut],
        deletes: Sequence[ItemKey],
        touches: Sequence[ItemKey],
        now: float,
    ) -> Program[None]:
        every = by_root([*((put.namespace, put.key) for put in puts), *deletes, *touches])

        def begin() -> Program[None]:
            sealed = {(put.namespace, put.key): self._sealed(tenant, put, now) for put in puts}
            if not self.guard.guards(tenant):
                yield from self._table.change(
                    tenant,
                    [one.put for one in sealed.values()],
                    [self.seal.key(key) for key in deletes],
                    [self.seal.key(key) for key in touches],
                    now,
                )
                return
            touched = set(touches)
            for keys in every.values():
                yield from self._change(tenant, keys, sealed, touched, now)

        # A change of one root is a read and one swap, which needs no transaction.
        single = len(every) == 1 and self.guard.guards(tenant)
        return cast("Program[None]", StorageProgram("change", begin, single=single))

    def _change(
        self, tenant: str, keys: Sequence[ItemKey], puts: Mapping[ItemKey, _Sealed], touched: set[ItemKey], now: float
    ) -> Program[None]:
        """Store the items in `puts`, restart the TTL of those in `touched`, and delete the others. All have one root."""
        rows, states = yield from self.guard.load(tenant, keys, now)
        swaps: list[Swap] = []
        edits: dict[Namespace, dict[bytes, Entry | None]] = {}
        for key, row in zip(keys, rows, strict=True):
            digest, revision, put = self.seal.digest(key[1]), None if row is None else row.revision, puts.get(key)
            entry = states[key[0]].entry(digest)
            edit: Entry | None = None
            if put is not None:
                edit = Entry.after(entry if entry and entry.is_alive(now) else None, put.tag, now, put.put.ttl)
                swaps.append(Swap(*self.seal.key(key), revision, put.put))
            elif key not in touched:
                swaps.append(Swap(*self.seal.key(key), revision))
            elif row is not None and row.ttl is not None and entry is not None:
                edit = entry.touched(now)
                swaps.append(Swap(*self.seal.key(key), revision, keep=True, touch=True))
            else:
                continue
            edits.setdefault(key[0], {})[digest] = edit
        if not (yield from self.guard.write(tenant, swaps, states, edits, now, new_token())):
            raise HeadChangedError

    @one_statement
    def swap(self, tenant: str, swaps: Sequence[Swap], now: float, token: int) -> Program[bool]:
        keys = [(swap.namespace, swap.key) for swap in swaps]
        puts = [None if swap.put is None else self._sealed(tenant, swap.put, now) for swap in swaps]
        sealed = [
            Swap(*self.seal.key(key), swap.expected, put and put.put, swap.keep, swap.touch)
            for key, swap, put in zip(keys, swaps, puts, strict=True)
        ]
        if not self.guard.guards(tenant):
            return (yield from self._table.swap(tenant, sealed, now, token))
        rows, states = yield from self.guard.load(tenant, keys, now)
        edits: dict[Namespace, dict[bytes, Entry | None]] = {}
        for key, swap, put in zip(keys, swaps, puts, strict=True):
            digest = self.seal.digest(key[1])
            entry = states[key[0]].entry(digest)
            if swap.keep and not (swap.touch and entry):
                continue
            edit = entry.touched(now) if swap.keep and entry else None
            if put is not None:
                edit = Entry.after(entry if entry and entry.is_alive(now) else None, put.tag, now, put.put.ttl)
            edits.setdefault(key[0], {})[digest] = edit
        if (yield from self.guard.write(tenant, sealed, states, edits, now, token)):
            return True
        if all((row.revision if row else None) == swap.expected for row, swap in zip(rows, swaps, strict=True)):
            raise HeadChangedError
        return False

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
        newest, start = before or (NEVER, None)
        guarded = self.guard.guards(tenant)
        heads = (yield from self.guard.rows_below(tenant, prefix, now, MAX_LISTED)) if prefix and guarded else None
        opened, following = yield from self._page(tenant, prefix, limit, start, now, offset)
        oldest = -NEVER if following is None or not opened else opened[-1][1].at
        if offset:
            newest = opened[0][1].at if opened else -NEVER
        if guarded:
            yield from self.guard.check_listing(tenant, prefix, now, heads, opened, newest=newest, oldest=oldest)
        return [row for row, _ in opened], None if following is None else (oldest, following)

    def _page(
        self, tenant: str, prefix: Namespace, limit: int, after: Any, now: float, offset: int = 0
    ) -> Program[tuple[list[tuple[ItemRow, Content]], Any]]:
        """Read and decrypt a page of items. Rows of heads, which are among those of a tenant or a root, do not count."""
        rows: list[ItemRow] = []
        sealed, following = self.seal.namespace(prefix), after
        skipped = offset if len(prefix) > 1 else 0  # otherwise the database would count heads
        unwanted = offset - skipped
        while True:
            left = limit + unwanted - len(rows)
            page, following = yield from self._table.scan(tenant, sealed, None, left, following, now, offset=skipped)
            rows += self.guard.items(page)
            skipped = 0
            if following is None or len(rows) >= limit + unwanted:
                break
        rows = rows[unwanted:]
        yield from OffLoop(len(rows) > _MANY_ITEMS)
        return [self.seal.row(tenant, row) for row in rows], following

    @one_statement
    def namespaces(self, tenant: str, prefix: Namespace, now: float) -> Program[list[Namespace]]:
        found = yield from self._table.namespaces(tenant, self.seal.namespace(prefix), now)
        yield from OffLoop(len(found) > _MANY_ITEMS)
        return sorted(self.seal.plain_namespace(one) for one in found if not self.guard.is_head(one))

    @one_statement
    def roots(self, tenant: str, now: float) -> Program[list[str]]:
        # A head outlives the last item of its namespace by `MARGIN`.
        found = yield from self._table.roots(tenant, now + MARGIN if self.guard.guards(tenant) else now)
        return [self.seal.plain_namespace((root,))[0] for root in found]

    @one_statement
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from self._table.sweep(tenant, now, limit))

    def skips(self, condition: Mapping[str, Any] | None) -> bool:
        return not condition

    # Search

    def changes(
        self,
        tenant: str,
        prefix: Namespace,
        width: int | None,
        cursor: Any,  # noqa: ARG002 (nothing is kept: each search decrypts the items, and checks them)
        now: float,
    ) -> Program[ItemChanges] | None:
        if self._ring.is_loaded and self._searchable:
            return None
        return self._decrypted(tenant, prefix, width, now)

    @storage_program
    def _decrypted(self, tenant: str, prefix: Namespace, width: int | None, now: float) -> Program[ItemChanges]:
        """Decrypt the items at or below a namespace. The keys are loaded when a program runs."""
        if self._searchable:
            return ItemChanges(None, [], [], is_too_large=True)
        contents = yield from self._contents(tenant, prefix, now)
        if len(contents) > _MANY_ITEMS:
            yield from OffLoop(large=True)
        texts = [
            ItemText(
                _Id(row.updated_at, tenant, row.namespace, row.key),
                row.namespace,
                row.key,
                row.updated_at,
                None,
                content.words,
                [vector for vector in content.vectors if len(vector) == width],
            )
            for row, content in contents
            if content.words is not None
        ]
        return ItemChanges(None, texts, [], is_whole=True)

    @storage_program
    def find(self, tenant: str, query: Query, now: float) -> Program[Found]:
        sealed = query._replace(
            prefix=self.seal.namespace(query.prefix), words=list(map(self.seal.word, query.words)), condition=None
        )
        found = yield from self._table.find(tenant, sealed, now)
        # `rows` reads the best of them again, and checks them.
        return found._replace(candidates=[one._replace(id=(one.id, tenant)) for one in found.candidates], rows={})

    def _contents(self, tenant: str, prefix: Namespace, now: float) -> Program[list[tuple[ItemRow, Content]]]:
        guarded = self.guard.guards(tenant) and bool(prefix)
        heads = (yield from self.guard.rows_below(tenant, prefix, now)) if guarded else None
        found: list[tuple[ItemRow, Content]] = []
        following: Any = None
        while len(found) < MAX_RANKED:
            page, following = yield from self._page(tenant, prefix, _PAGE, following, now)
            found += page
            if following is None:
                break
        oldest = -NEVER if following is None else found[-1][1].at
        if self.guard.guards(tenant):
            yield from self.guard.check_listing(tenant, prefix, now, heads, found, oldest=oldest)
        if following is not None:
            _log.warning(
                "A search in namespace %s ranked only the newest %d items. Narrow the namespace, or copy the memory to a "
                "new one with searchable=True.",
                shown(prefix, 200),
                MAX_RANKED,
            )
        return found

    @storage_program
    def rows(self, ids: Sequence[Any]) -> Program[dict[Any, ItemRow]]:
        addresses: dict[Any, tuple[str, ItemKey]] = {}
        if not self._searchable:
            addresses = {id_: (id_.tenant, (id_.namespace, id_.key)) for id_ in ids}
        else:
            stored = yield from self._table.rows([inner for inner, _ in ids])
            for inner, tenant in ids:
                if inner in stored:
                    row = stored[inner]
                    key = (self.seal.plain_namespace(row.namespace), self._ring.plain_id("key", row.key))
                    addresses[inner, tenant] = (tenant, key)
        by_tenant: dict[str, dict[Any, ItemKey]] = {}
        for id_, (tenant, key) in addresses.items():
            by_tenant.setdefault(tenant, {})[id_] = key
        rows: dict[Any, ItemRow] = {}
        for tenant, some in by_tenant.items():
            found = yield from self.get(tenant, list(some.values()), 0.0)
            rows.update({id_: row for id_, row in zip(some, found, strict=True) if row is not None})
        return rows

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
        page, following = yield from self._page(tenant, (), _UNEMBEDDED_AT_ONCE, after, time.time())
        for plain, content in page:
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
        opened, following = yield from self._page(tenant, (), limit, after, now)
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
        (found,) = yield from self._checked(tenant, [key], now)
        if found is None or found[0].revision != row.revision:
            return False
        plain, content = found
        content = content._replace(at=now, updated_at=plain.updated_at, tag=new_tag(), **changes)
        sealed = self.seal.key(key)
        put = ItemPut(*sealed, self.seal.value(tenant, key, content), content.ttl, None)
        _, states = yield from self.guard.load(tenant, [key], now)
        digest = self.seal.digest(key[1])
        edits = {key[0]: {digest: Entry.after(states[key[0]].entry(digest), content.tag, now, content.ttl)}}
        if not (
            yield from self.guard.write(tenant, [Swap(*sealed, row.revision, put)], states, edits, now, new_token())
        ):
            raise HeadChangedError
        return True

    # Rows

    def _sealed(self, tenant: str, put: ItemPut, now: float) -> _Sealed:
        key = (put.namespace, put.key)
        content = Content(put.value, now, put.ttl, put.paths, tag=new_tag())
        if not self._searchable:
            content = content._replace(words=packed_words(put.text), vectors=tuple(put.vectors))
        value = self.seal.value(tenant, key, content)
        if not self._searchable:
            return _Sealed(ItemPut(*self.seal.checked_key(key), value, put.ttl, None), content.tag)
        sealed = ItemPut(*self.seal.checked_key(key), value, put.ttl, self.seal.words(put.text), put.vectors)
        return _Sealed(sealed, content.tag)

    def _sealed_row(self, row: ItemRow) -> ItemRow:
        namespace, key = self.seal.key((row.namespace, row.key))
        return row._replace(namespace=namespace, key=key)

    # Whole rows, for export and import

    def states(self, tenant: str, keys: Sequence[ItemKey], now: float) -> Program[list[ItemState | None]]:
        """Read and decrypt items with their vectors; see `TransferTable.items`."""
        found = yield from self._transfer.items(tenant, [self.seal.key(key) for key in keys], now)
        checked = yield from self._checked(tenant, keys, now, restoring=True)
        states: list[ItemState | None] = []
        for state, one in zip(found, checked, strict=True):
            if state is None or one is None or state.row.revision != one[0].revision:
                if state is None and one is None:
                    states.append(None)
                    continue
                raise HeadChangedError
            row, content = one
            vectors = state.vectors if self._searchable else sorted(content.vectors)
            states.append(state._replace(row=row._replace(paths=content.paths), vectors=vectors))
        return states

    def restore(self, tenant: str, items: Sequence[ItemState], now: float, replaced: Sequence[ItemKey]) -> Program[int]:
        """Encrypt and store items, unless they exist; see `TransferTable.restore_items`."""
        keys = [(state.row.namespace, state.row.key) for state in items]
        edits: dict[Namespace, dict[bytes, Entry | None]] = {}
        guarded = self.guard.guards(tenant)
        rows, states = (yield from self.guard.load(tenant, keys, now)) if guarded else ([None] * len(keys), {})
        sealed = []
        for key, row, state in zip(keys, rows, items, strict=True):
            content = Content(state.row.value, state.row.updated_at, state.row.ttl, state.row.paths)
            if not self._searchable:
                content = content._replace(words=packed_words(state.text), vectors=tuple(state.vectors))
            content = content._replace(tag=self.seal.restored_tag(tenant, key, content))
            sealed.append(self._sealed_state(tenant, state, content))
            if guarded and (row is None or key in replaced):
                expires = NEVER if state.expires_at is None else state.expires_at
                entry = Entry(content.tag, content.at, expires, content.ttl or 0.0)
                if states[key[0]].entry(self.seal.digest(key[1])) != entry:
                    edits.setdefault(key[0], {})[self.seal.digest(key[1])] = entry
        if not (yield from self.guard.write(tenant, (), states, edits, now, new_token())):
            raise HeadChangedError
        doomed = [self.seal.key(key) for key in replaced]
        return (yield from self._transfer.restore_items(tenant, sealed, now, doomed))

    def _sealed_state(self, tenant: str, state: ItemState, content: Content) -> ItemState:
        key = (state.row.namespace, state.row.key)
        namespace, name = self.seal.checked_key(key)
        value = self.seal.value(tenant, key, content)
        sealed = state.row._replace(namespace=namespace, key=name, value=value, paths=None)
        if not self._searchable:
            return ItemState(sealed, state.expires_at)
        return ItemState(sealed, state.expires_at, self.seal.words(state.text), state.vectors)


def _has_vectors(content: Content, dimensions: int | None) -> bool:
    return dimensions is not None and any(len(vector) == 4 * dimensions for vector in content.vectors)
