"""The item table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dict_backend.programs import alive, program
from langchain_agentmem.backends.contract import (
    Candidate,
    Found,
    IndexedItem,
    ItemRow,
)
from langchain_agentmem.text.vectors import similarities, width_of
from langchain_agentmem.text.words import pack_words, scores


@dataclass
class StoredItem:
    row: ItemRow
    text: bytes | None
    vectors: list[bytes]
    paths: str | None
    expires_at: float | None
    order: int


class Items:
    reads_changes = True

    def __init__(self) -> None:
        self._items: dict[tuple[str, tuple[str, ...], str], StoredItem] = {}
        self._numbers = 0

    def _below(self, tenant: str, prefix: tuple[str, ...], now: float) -> list[StoredItem]:
        return [
            item
            for (own, namespace, _), item in self._items.items()
            if own == tenant and namespace[: len(prefix)] == prefix and alive(item, now)
        ]

    def living(self, tenant: str, now: float) -> list[StoredItem]:
        return self._below(tenant, (), now)

    def _get(self, tenant: str, namespace: tuple[str, ...], key: str, now: float) -> StoredItem | None:
        item = self._items.get((tenant, namespace, key))
        return item if alive(item, now) else None

    @program
    def get(self, tenant, keys, now, *, paths=False):
        found = [self._get(tenant, *key, now) for key in keys]
        return [item and item.row._replace(paths=item.paths if paths else None) for item in found]

    def _put(self, tenant: str, put: Any, now: float) -> None:
        before = self._get(tenant, put.namespace, put.key, now)
        self._numbers += 1
        number = self._numbers
        row = ItemRow(put.namespace, put.key, put.value, before.row.created_at if before else now, now, put.ttl, number)
        used = max(now, before.row.updated_at, (before.expires_at or now) - (before.row.ttl or 0)) if before else now
        expires_at = None if put.ttl is None else used + put.ttl
        text = None if put.text is None else pack_words(put.text.split())
        self._items[tenant, put.namespace, put.key] = StoredItem(
            row, text, list(put.vectors), put.paths, expires_at, number
        )

    @program
    def put(self, tenant, puts, now):
        for put in puts:
            self._put(tenant, put, now)

    @program
    def swap(self, tenant, swaps, now, token):
        for swap in swaps:
            item = self._get(tenant, swap.namespace, swap.key, now)
            if (item.row.revision if item else None) != swap.expected:
                return False
        for swap in swaps:
            if swap.put is not None:
                self._put(tenant, swap.put, now)
            elif not swap.keep:
                self._items.pop((tenant, swap.namespace, swap.key), None)
        return True

    def _delete(self, tenant: str, keys: Iterable[tuple[tuple[str, ...], str]]) -> None:
        for namespace, key in keys:
            self._items.pop((tenant, namespace, key), None)

    @program
    def delete(self, tenant, keys):
        self._delete(tenant, keys)

    def _touch(self, tenant: str, keys: Iterable[tuple[tuple[str, ...], str]], now: float) -> None:
        for namespace, key in keys:
            item = self._get(tenant, namespace, key, now)
            if item is not None and item.row.ttl is not None and item.expires_at is not None:
                item.expires_at = max(item.expires_at, now + item.row.ttl)

    @program
    def touch(self, tenant, keys, now):
        self._touch(tenant, keys, now)

    @program
    def change(self, tenant, puts, deletes, touches, now):
        self._touch(tenant, touches, now)
        self._delete(tenant, deletes)
        for put in puts:
            self._put(tenant, put, now)

    @program
    def scan(self, tenant, prefix, condition, limit, before, now, *, offset=0):
        last = before or (math.inf, 0)
        items = sorted(self._below(tenant, prefix, now), key=lambda item: (item.row.updated_at, item.order))[::-1]
        page = [item for item in items if (item.row.updated_at, item.order) < last][offset : offset + limit]
        following = (page[-1].row.updated_at, page[-1].order) if len(page) == limit else None
        return [item.row for item in page], following

    def changes(self, tenant, prefix, width, cursor, now):
        return None

    def skips(self, condition):
        return not condition

    @program
    def find(self, tenant, query, now):
        items = {
            (item.row.updated_at, item.order, item.row[:2]): item for item in self._below(tenant, query.prefix, now)
        }
        indexed = {id_: item.text for id_, item in items.items() if item.text is not None}
        lexical = {
            id_: score
            for id_, score in zip(indexed, scores(list(indexed.values()), query.words), strict=True)
            if score > 0
        }
        dense: dict[Any, float] = {}
        if query.vector is not None:
            vectors = [(id_, vector) for id_, item in items.items() for vector in item.vectors]
            dense = similarities(vectors, query.vector)
        self._found = {id_: items[id_].row for id_ in lexical.keys() | dense.keys()}
        return Found([Candidate(id_, lexical.get(id_), dense.get(id_)) for id_ in self._found], rows=self._found)

    @program
    def rows(self, ids):
        return {id_: self._found[id_] for id_ in ids if id_ in self._found}

    @program
    def namespaces(self, tenant, prefix, now):
        return sorted({item.row.namespace for item in self._below(tenant, prefix, now)})

    @program
    def roots(self, tenant, now):
        return list({item.row.namespace[0] for item in self._below(tenant, (), now)})

    @program
    def sweep(self, tenant, now, limit):
        expired = [key for key, item in self._items.items() if key[0] == tenant and not alive(item, now)][:limit]
        for key in expired:
            del self._items[key]
        return len(expired)

    @program
    def fits(self, tenant, dimensions):
        return None

    @program
    def refuses(self, tenant, dimensions):
        return None

    @program
    def unembed(self, tenant, dimensions, after):
        for item in self._below(tenant, (), -math.inf):
            item.vectors = []

    @program
    def unembedded(self, tenant, dimensions, after, limit, now):
        found = [
            IndexedItem(item.row, item.paths)
            for item in self._below(tenant, (), now)
            if item.text is not None and not any(len(vector) == width_of(dimensions) for vector in item.vectors)
        ]
        return found[:limit], None

    @program
    def set_words(self, tenant, items):
        for row, words in items:
            item = self._items.get((tenant, row.namespace, row.key))
            if item is not None and item.text is not None and item.row.revision == row.revision:
                item.text = pack_words(words.split())

    @program
    def embed(self, tenant, items):
        done = 0
        for row, vectors in items:
            item = self._items.get((tenant, row.namespace, row.key))
            if item is not None and item.row.revision == row.revision:
                item.vectors = list(vectors)
                done += 1
        return done
