"""The item table in SQLite. The client compares words and vectors."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from langchain_agentmem.backends.contract import (
    Candidate,
    EmbeddedItem,
    Found,
    IndexedItem,
    ItemChanges,
    ItemPut,
    ItemRow,
    ItemText,
    Namespace,
    Query,
    Swap,
)
from langchain_agentmem.backends.namespaces import decode_namespace, encode_namespace
from langchain_agentmem.backends.sqlite.conditions import condition_of
from langchain_agentmem.backends.sqlite.traces import Replaced
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.programs import Execute, ExecuteMany, Fetch, Program
from langchain_agentmem.text.vectors import different_dimensions, similarities, width_of
from langchain_agentmem.text.words import checked_words, pack_words, scores

SQL = load_statements("langchain_agentmem.backends.sqlite", "store.sql")

_UNEMBEDDED_AT_ONCE = 1_000

_END = b"\xff"
"""A suffix that sorts after every text: no UTF-8 text contains this byte."""


class _Id(NamedTuple):
    """The ID of a candidate; its order breaks ties."""

    updated_at: float
    namespace: bytes
    key: str
    item: int
    tenant: str


class _TextId(NamedTuple):
    """The ID of an item in a corpus. The number may be that of another item now."""

    tenant: str
    item: int


class _Cursor(NamedTuple):
    """The newest change that a reader knows."""

    change: int
    mark: int | None
    """See the table `agentmem_item_changes`; None if no change was noted."""


class SqliteItems:
    """See `langchain_agentmem.backends.contract.ItemTable`.

    Args:
        indexed: The fields of values that have an index. Default: none.
    """

    reads_changes = True

    def __init__(self, indexed: Sequence[str] = ()) -> None:
        self._indexed = indexed

    def get(
        self,
        tenant: str,
        keys: Sequence[tuple[Namespace, str]],
        now: float,
        *,
        paths: bool = False,  # noqa: ARG002 (a column of the item)
    ) -> Program[list[ItemRow | None]]:
        found: list[ItemRow | None] = []
        for namespace, key in keys:
            parameters = {"tenant": tenant, "namespace": encode_namespace(namespace), "key": key, "now": now}
            rows = yield from Fetch(SQL["get"], parameters)
            found.append(item_row(rows[0]) if rows else None)
        return found

    def put(self, tenant: str, puts: Sequence[ItemPut], now: float) -> Program[None]:
        ids: list[tuple[int]] = []
        replaced = False
        for put in puts:
            parameters = {
                "tenant": tenant,
                "namespace": encode_namespace(put.namespace),
                "key": put.key,
                "value": put.value,
                "now": now,
                "ttl": put.ttl,
                "expires_at": None if put.ttl is None else now + put.ttl,
                "revision": secrets.randbits(61) << 1,
                "paths": put.paths,
            }
            ((item, odd),) = yield from Fetch(SQL["put"], parameters)
            ids.append((item,))
            replaced = replaced or (bool(odd) and put.holds_text)
        if replaced:
            yield from Replaced()
        yield from self._unindex(ids)
        numbered = list(zip((item for (item,) in ids), puts, strict=True))
        yield from self.index(
            [(item, put.text) for item, put in numbered if put.text is not None],
            [(item, vector) for item, put in numbered for vector in put.vectors],
        )

    def index(self, texts: Sequence[tuple[int, str]], vectors: Sequence[tuple[int, bytes]]) -> Program[None]:
        """Add words and vectors of items, each after the ID of its item."""
        yield from ExecuteMany(SQL["set_words"], [(item, pack_words(text.split())) for item, text in texts])
        yield from ExecuteMany(SQL["add_vector"], vectors)

    def swap(
        self,
        tenant: str,
        swaps: Sequence[Swap],
        now: float,
        token: int,  # noqa: ARG002 (no connection is lost, so no swap is retried)
    ) -> Program[bool]:
        rows = yield from self.get(tenant, [(swap.namespace, swap.key) for swap in swaps], now)
        if any((row.revision if row else None) != swap.expected for row, swap in zip(rows, swaps, strict=True)):
            return False
        gone = [(swap.namespace, swap.key) for swap in swaps if swap.put is None and not swap.keep]
        yield from self.delete(tenant, gone)
        yield from self.put(tenant, [swap.put for swap in swaps if swap.put], now)
        yield from self.touch(tenant, [(swap.namespace, swap.key) for swap in swaps if swap.touch], now)
        return True

    def delete(self, tenant: str, keys: Sequence[tuple[Namespace, str]]) -> Program[None]:
        for namespace, key in keys:
            yield from self._delete((yield from Fetch(SQL["find"], (tenant, encode_namespace(namespace), key))))

    def touch(self, tenant: str, keys: Sequence[tuple[Namespace, str]], now: float) -> Program[None]:
        yield from ExecuteMany(
            SQL["touch"], [(now, tenant, encode_namespace(namespace), key) for namespace, key in keys]
        )

    def change(
        self,
        tenant: str,
        puts: Sequence[ItemPut],
        deletes: Sequence[tuple[Namespace, str]],
        touches: Sequence[tuple[Namespace, str]],
        now: float,
    ) -> Program[None]:
        yield from self.touch(tenant, touches, now)
        yield from self.delete(tenant, deletes)
        yield from self.put(tenant, puts, now)

    def scan(
        self,
        tenant: str,
        prefix: Namespace,
        condition: Mapping[str, Any] | None,
        limit: int,
        before: tuple[Any, ...] | None,
        now: float,
        *,
        offset: int = 0,
    ) -> Program[tuple[list[ItemRow], tuple[Any, ...] | None]]:
        updated_at, item = before or (math.inf, 0)
        found = condition_of(condition, self._indexed)
        place = {"updated_at": updated_at, "id": item, "limit": limit, "offset": offset}
        statement = SQL["scan_below" if prefix else "scan"].replace("{condition}", found.sql)
        rows = yield from Fetch(statement, {**below(tenant, prefix, now), **place, **found.parameters})
        following = (rows[-1][5], rows[-1][0]) if len(rows) == limit else None
        return [item_row(row) for row in rows], following

    def skips(self, condition: Mapping[str, Any] | None) -> bool:
        return condition_of(condition).is_exact

    def find(self, tenant: str, query: Query, now: float) -> Program[Found]:
        parameters, own = below(tenant, query.prefix, now), [tenant]
        lexical: dict[_Id, float] = {}
        dense: dict[_Id, float] = {}
        if query.words:
            rows = yield from Fetch(SQL["words"], parameters)
            found = scores([checked_words(words) for *_, words in rows], query.words)
            lexical = {_Id(*row[:4], *own): score for row, score in zip(rows, found, strict=True) if score > 0}
        if query.vector is not None:
            rows = yield from Fetch(SQL["vectors"], parameters)
            dense = similarities([(_Id(*found, *own), vector) for *found, vector in rows], query.vector)
        return Found([Candidate(item, lexical.get(item), dense.get(item)) for item in lexical.keys() | dense.keys()])

    def changes(
        self, tenant: str, prefix: Namespace, width: int | None, cursor: Any, now: float
    ) -> Program[ItemChanges]:
        known, mark = cursor or (None, None)
        rows = yield from Fetch(SQL["newest_change"], (known,))
        *last, oldest, stored_mark = rows[0] if rows else (0, None, 1, None)
        newest = _Cursor(*last)
        if cursor == newest:
            return ItemChanges(newest, [], [])
        parameters = below(tenant, prefix, now)
        if cursor is None or mark != stored_mark or (mark is None and oldest != 1):
            texts = yield from Fetch(SQL["texts"], parameters)
            vectors = (yield from Fetch(SQL["vectors_of_texts"], parameters)) if width else []
            return ItemChanges(newest, _texts(tenant, texts, vectors, width), [], is_whole=True)
        ids = [item for (item,) in (yield from Fetch(SQL["changed"], (known,)))]
        wanted = {"ids": json.dumps(ids)}
        texts = yield from Fetch(SQL["changed_texts"], {**parameters, **wanted})
        wanted = {"ids": json.dumps([text[0] for text in texts])}
        vectors = (yield from Fetch(SQL["vectors_of_changed_texts"], wanted)) if width else []
        gone = set(ids).difference(text[0] for text in texts)
        return ItemChanges(
            newest, _texts(tenant, texts, vectors, width), [_TextId(tenant, item) for item in sorted(gone)]
        )

    def rows(self, ids: Sequence[Any]) -> Program[dict[Any, ItemRow]]:
        rows = yield from Fetch(SQL["rows"], (json.dumps([id_.item for id_ in ids]),))
        found = {_TextId(row[-1], row[0]): item_row(row[:-1]) for row in rows}
        return {id_: row for id_ in ids if (row := found.get(_TextId(id_.tenant, id_.item))) and _is_of(id_, row)}

    def namespaces(self, tenant: str, prefix: Namespace, now: float) -> Program[list[Namespace]]:
        rows = yield from Fetch(SQL["namespaces"], below(tenant, prefix, now))
        return sorted(decode_namespace(namespace) for (namespace,) in rows)

    def roots(self, tenant: str, now: float) -> Program[list[str]]:
        rows = yield from Fetch(SQL["roots"], {"tenant": tenant, "now": now})
        return [root.decode() for (root,) in rows]

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        expired = yield from Fetch(SQL["expired"], (tenant, now, limit))
        yield from self._delete(expired)
        return len(expired)

    def fits(self, tenant: str, dimensions: int) -> Program[str | None]:  # noqa: ARG002 (vectors may have any dimensions)
        yield from ()
        return None

    def refuses(self, tenant: str, dimensions: int) -> Program[str | None]:  # noqa: ARG002
        yield from ()
        return None

    def unembed(self, tenant: str, dimensions: int, after: Any) -> Program[Any]:  # noqa: ARG002
        ids = yield from Fetch(SQL["next_items"], (tenant, after or 0, _UNEMBEDDED_AT_ONCE))
        yield from ExecuteMany(SQL["delete_vectors"], ids)
        yield from ExecuteMany(SQL["note_change"], ids)
        return ids[-1][0] if len(ids) == _UNEMBEDDED_AT_ONCE else None

    def unembedded(
        self, tenant: str, dimensions: int | None, after: Any, limit: int, now: float
    ) -> Program[tuple[list[IndexedItem], Any]]:
        parameters = {"tenant": tenant, "bytes": width_of(dimensions), "after": after or 0, "limit": limit, "now": now}
        rows = yield from Fetch(SQL["unembedded"], parameters)
        following = rows[-1][0] if len(rows) == limit else None
        return [IndexedItem(item_row(row[:-1]), row[-1]) for row in rows], following

    def set_words(self, tenant: str, items: Sequence[tuple[ItemRow, str]]) -> Program[None]:
        for row, words in items:
            unchanged = (tenant, encode_namespace(row.namespace), row.key, row.revision)
            for (item,) in (yield from Fetch(SQL["find_unchanged"], unchanged)):
                yield from Execute(SQL["replace_words"], (pack_words(words.split()), item))
                yield from Execute(SQL["note_change"], (item,))

    def embed(self, tenant: str, items: Sequence[EmbeddedItem]) -> Program[int]:
        embedded = 0
        for row, vectors in items:
            unchanged = (tenant, encode_namespace(row.namespace), row.key, row.revision)
            for (item,) in (yield from Fetch(SQL["find_unchanged"], unchanged)):
                yield from ExecuteMany(SQL["delete_vectors"], [(item,)])
                yield from ExecuteMany(SQL["add_vector"], [(item, vector) for vector in vectors])
                yield from Execute(SQL["note_change"], (item,))
                embedded += 1
        return embedded

    def _delete(self, ids: Sequence[tuple[int]]) -> Program[None]:
        if ids:
            yield from self._unindex(ids)
            yield from ExecuteMany(SQL["delete"], ids)

    def _unindex(self, ids: Sequence[tuple[int]]) -> Program[None]:
        yield from ExecuteMany(SQL["delete_words"], ids)
        yield from ExecuteMany(SQL["delete_vectors"], ids)


def below(tenant: str, prefix: Namespace, now: float) -> dict[str, Any]:
    """Return the parameters of statements about the items at or below a namespace."""
    first = encode_namespace(prefix)
    return {"tenant": tenant, "first": first, "last": first + _END, "now": now}


def _is_of(id_: _Id | _TextId, row: ItemRow) -> bool:
    """Return false if the number of a candidate is that of another item now."""
    return isinstance(id_, _TextId) or (id_.namespace, id_.key) == (encode_namespace(row.namespace), row.key)


def _texts(
    tenant: str, rows: Sequence[tuple[Any, ...]], vectors: Sequence[tuple[int, bytes]], width: int | None
) -> list[ItemText]:
    """Return the search entries of items.

    Args:
        tenant: The tenant.
        rows: The columns of the fragment `text`.
        vectors: The ID of an item and a vector, for each vector. Those of an item follow each other.
        width: The number of bytes of a vector.

    Raises:
        StorageError: A vector has another width.
    """
    wrong = next((len(vector) for _, vector in vectors if len(vector) != width), None)
    if wrong is not None:
        raise different_dimensions(wrong, width or 0)
    by_item = {item: [vector for _, vector in group] for item, group in groupby(vectors, itemgetter(0))}
    return [
        ItemText(
            _TextId(tenant, item),
            decode_namespace(name),
            key,
            updated_at,
            expires_at,
            checked_words(words),
            by_item.get(item, ()),
        )
        for item, name, key, updated_at, expires_at, words in rows
    ]


def item_row(row: tuple[Any, ...]) -> ItemRow:
    """Return an item, from the columns of the fragment `item`, which `paths` may follow."""
    _, namespace, *rest = row
    return ItemRow(decode_namespace(namespace), *rest)
