"""The item table on Redis: a key for each item, and for each namespace an index that searches read and rank in the client."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_agentmem.backends.contract import Candidate, Found, ItemPut, ItemRow, Namespace, Query
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, framed, frames, load_scripts, optional, slot
from langchain_agentmem.backends.redis.words import Text, analyze, scores
from langchain_agentmem.backends.similarity import similarities
from langchain_agentmem.program import Program, storage_program

LUA = load_scripts("store.lua")

SEARCHED_AT_ONCE = 10_000
"""The items of one root that a search reads in one round trip; below a prefix with more it asks again."""

_NAMESPACES_AT_ONCE = 1_000
_ROOTS_AT_ONCE = 50

_HEAD = struct.Struct(">5d")
_STAMPED = struct.Struct(">dIH")

Place = tuple[Namespace, str]


class _Id(NamedTuple):
    """What a candidate is known by."""

    stamp: int
    tenant: str
    namespace: bytes
    key: bytes


class RedisItems:
    """See `langchain_agentmem.backends.contract.ItemTable`."""

    @storage_program
    def get(self, tenant: str, keys: Sequence[Place], now: float) -> Program[list[ItemRow | None]]:
        by_root: dict[str, list[int]] = {}
        for at, (namespace, _) in enumerate(keys):
            by_root.setdefault(namespace[0], []).append(at)
        answers = yield InvokeAll(
            [
                _invoke("get", tenant, root, (optional(now), *_flat(keys[at] for at in places)))
                for root, places in by_root.items()
            ]
        )
        found: list[ItemRow | None] = [None] * len(keys)
        for places, items in zip(by_root.values(), answers, strict=True):
            for at, item in zip(places, items, strict=True):
                found[at] = None if item is None else _item(*keys[at], item)
        return found

    @storage_program
    def put(self, tenant: str, puts: Sequence[ItemPut], now: float) -> Program[None]:
        yield from self.change(tenant, puts, (), (), now)

    @storage_program
    def delete(self, tenant: str, keys: Sequence[Place]) -> Program[None]:
        yield from self.change(tenant, (), keys, (), 0.0)

    @storage_program
    def touch(self, tenant: str, keys: Sequence[Place], now: float) -> Program[None]:
        yield from self.change(tenant, (), (), keys, now)

    @storage_program
    def change(
        self, tenant: str, puts: Sequence[ItemPut], deletes: Sequence[Place], touches: Sequence[Place], now: float
    ) -> Program[None]:
        by_root: dict[str, tuple[list[ItemPut], list[Place], list[Place]]] = {}
        for at, group in enumerate((puts, deletes, touches)):
            for one in group:
                namespace: Any = one[0]
                by_root.setdefault(namespace[0], ([], [], []))[at].append(one)  # type: ignore[arg-type]
        steps = [step for root, (own, _, _) in by_root.items() if own for step in _enlist(tenant, root, own, now)]
        for root, (own, deleted, touched) in by_root.items():
            counts = (len(touched), len(deleted), len(own))
            groups = [one for put in own for one in _put(put)]
            arguments = (optional(now), *counts, *_flat(touched), *_flat(deleted), *groups)
            steps.append(_invoke("change", tenant, root, arguments))
        yield InvokeAll(steps, together=len(by_root) > 1)

    @storage_program
    def swap(self, tenant: str, key: Place, put: ItemPut | None, expected: int | None, now: float) -> Program[bool]:
        root = key[0][0]
        group = _put(put or ItemPut(*key, "", None, None))
        arguments = (optional(now), optional(expected), int(put is None), *group)
        steps = _enlist(tenant, root, [put], now) if put else []
        (*_, swapped) = yield InvokeAll([*steps, _invoke("swap", tenant, root, arguments)])
        return bool(swapped)

    @storage_program
    def scan(
        self,
        tenant: str,
        prefix: Namespace,
        condition: Mapping[str, Any] | None,  # noqa: ARG002 (the caller checks it)
        limit: int,
        before: tuple[Any, ...] | None,
        now: float,
    ) -> Program[tuple[list[ItemRow], tuple[Any, ...] | None]]:
        stamp, last_root = before or ("", "")
        roots = yield from self._roots(tenant, prefix)
        newest: list[tuple[int, str, bytes, bytes, bytes]] = []
        for start in range(0, len(roots), _ROOTS_AT_ONCE):
            following = dict.fromkeys(roots[start : start + _ROOTS_AT_ONCE], b"")
            while following:
                answers = yield InvokeAll(
                    [
                        _invoke(
                            "scan",
                            tenant,
                            root,
                            (
                                optional(now),
                                _encode(prefix or (root,)),
                                limit,
                                stamp,
                                int(root < last_root),
                                namespace,
                                _NAMESPACES_AT_ONCE,
                            ),
                        )
                        for root, namespace in following.items()
                    ]
                )
                for root, (_, *flat) in zip(following, answers, strict=True):
                    rows = zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
                    newest += [(int(one), root, namespace, key, item) for one, namespace, key, item in rows]
                following = {
                    root: answer[0] for root, answer in zip(following, answers, strict=True) if answer[0] is not None
                }
                newest = sorted(newest, reverse=True)[:limit]
        items = [_item(_decode(namespace), key.decode(), item) for *_, namespace, key, item in newest if item]
        return items, (newest[-1][0], newest[-1][1]) if newest and len(newest) == limit else None

    @storage_program
    def find(self, tenant: str, query: Query, now: float) -> Program[Found]:
        texts: dict[_Id, Text] = {}
        vectors: list[tuple[_Id, bytes]] = []
        roots = yield from self._roots(tenant, query.prefix)
        for root in roots:
            yield from self._read(tenant, root, query, now, texts, vectors)
        lexical = {
            id_: score for id_, score in zip(texts, scores(list(texts.values()), query.terms), strict=True) if score > 0
        }
        dense = {} if query.vector is None else similarities(vectors, query.vector)
        return Found([Candidate(id_, lexical.get(id_), dense.get(id_)) for id_ in lexical.keys() | dense.keys()])

    @storage_program
    def rows(self, ids: Sequence[Any]) -> Program[dict[Any, ItemRow]]:
        by_root: dict[tuple[str, str], list[_Id]] = {}
        for id_ in ids:
            by_root.setdefault((id_.tenant, _decode(id_.namespace)[0]), []).append(id_)
        answers = yield InvokeAll(
            [
                _invoke("rows", *place, [one for id_ in group for one in (id_.namespace, id_.key)])
                for place, group in by_root.items()
            ]
        )
        return {
            id_: _item(_decode(id_.namespace), id_.key.decode(), item)
            for group, items in zip(by_root.values(), answers, strict=True)
            for id_, item in zip(group, items, strict=True)
            if item is not None
        }

    @storage_program
    def namespaces(self, tenant: str, prefix: Namespace, now: float) -> Program[list[Namespace]]:
        found: list[Namespace] = []
        empty: list[str] = []
        roots = yield from self._roots(tenant, prefix)
        for root in roots:
            before = len(found)
            following: bytes | None = b""
            while following is not None:
                arguments = (optional(now), _encode(prefix or (root,)), following, _NAMESPACES_AT_ONCE)
                following, *some = yield _invoke("namespaces", tenant, root, arguments)
                found += map(_decode, some)
            if not prefix and len(found) == before:
                empty.append(root)
        if empty:
            yield indexes.heal(_root_index(tenant), [(root, now - indexes.GRACE_SECONDS) for root in empty])
        return sorted(found)

    @storage_program
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        index = _expiring(tenant)
        due = yield from indexes.due(index, now, limit)
        deleted = 0
        times: list[tuple[bytes, Any]] = []
        empty: list[tuple[bytes, float]] = []
        for root, _ in due:
            if deleted >= limit:
                break
            number, following, is_empty = yield _invoke(
                "sweep", tenant, root.decode(), (optional(now), limit - deleted)
            )
            deleted += number
            times.append((root, following))
            if is_empty:
                empty.append((root, now))
        yield InvokeAll([indexes.reschedule(index, times), indexes.heal(_root_index(tenant), empty)])
        return deleted

    def _roots(self, tenant: str, prefix: Namespace) -> Program[list[str]]:
        """The roots that a namespace prefix reaches."""
        if prefix:
            return [prefix[0]]
        found = yield from indexes.members(_root_index(tenant))
        return sorted(root.decode() for root in found)

    def _read(
        self,
        tenant: str,
        root: str,
        query: Query,
        now: float,
        texts: dict[_Id, Text],
        vectors: list[tuple[_Id, bytes]],
    ) -> Program[None]:
        """Read what searches know of the items of a root."""
        prefix, dense = _encode(query.prefix or (root,)), query.vector is not None
        following, place, rounds = b"", b"0", 0
        while following is not None:
            arguments = (optional(now), prefix, int(dense), following, place, SEARCHED_AT_ONCE)
            following, place, dead, *flat = yield _invoke("find", tenant, root, arguments)
            rounds += 1
            gone = set(dead)
            for namespace, words, numbers in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
                if query.terms:
                    texts.update((id_, Text.load(data)) for id_, data in _known(tenant, namespace, words, gone))
                for id_, data in _known(tenant, namespace, numbers, gone):
                    vectors += [(id_, vector) for vector in frames(data)]
        if rounds > 1:
            msg = (
                f"A search below {query.prefix or '()'} read more than {SEARCHED_AT_ONCE:,} items, {rounds} times over: on "
                f"Redis a search looks at each of them. Search below a longer namespace, or use Postgres."
            )
            warnings.warn(msg, RuntimeWarning, stacklevel=2)


def _invoke(name: str, tenant: str, root: str, arguments: Iterable[Any]) -> Invoke:
    return Invoke(LUA[name], (slot("root", tenant, root) + "namespaces",), tuple(arguments))


def _enlist(tenant: str, root: str, puts: Collection[ItemPut], now: float) -> list[Invoke]:
    """Write a root into the indexes."""
    lives = [put.ttl for put in puts if put.ttl is not None]
    steps = [indexes.enlist(_root_index(tenant), root, now)]
    if lives:
        steps.append(indexes.schedule(_expiring(tenant), root, now + min(lives), earliest=True))
    return steps


def _root_index(tenant: str) -> str:
    return slot("tenant", tenant) + "roots"


def _expiring(tenant: str) -> str:
    """The index of the roots below which items are to expire."""
    return slot("tenant", tenant) + "expiring-roots"


def _encode(namespace: Namespace) -> bytes:
    return b"".join(label.encode() + b"\x00" for label in namespace)


def _decode(namespace: bytes) -> Namespace:
    return tuple(label.decode() for label in namespace.split(b"\x00")[:-1])


def _flat(places: Iterable[Place]) -> list[Any]:
    return [one for namespace, key in places for one in (_encode(namespace), key)]


def _put(put: ItemPut) -> tuple[Any, ...]:
    words = b"" if put.text is None else _indexed(put.key, analyze(put.text).dump())
    vectors = b"" if not put.vectors else _indexed(put.key, b"".join(map(framed, put.vectors)))
    return (_encode(put.namespace), put.key, put.value, optional(put.ttl), words, vectors)


def _indexed(key: str, data: bytes) -> bytes:
    """What an index knows of an item, with its key; the server writes the item's stamp before it."""
    name = key.encode()
    return struct.pack(">IH", len(name) + len(data), len(name)) + name + data


def _known(tenant: str, namespace: bytes, records: bytes, gone: set[bytes]) -> Iterable[tuple[_Id, bytes]]:
    """What an index knows of the items of a namespace, but for those that have expired."""
    start = framed(namespace)
    at = 0
    while at < len(records):
        stamp, length, name = _STAMPED.unpack_from(records, at)
        at += _STAMPED.size
        key = records[at : at + name]
        if not gone or start + key not in gone:
            yield _Id(int(stamp), tenant, namespace, key), records[at + name : at + length]
        at += length


def _item(namespace: Namespace, key: str, item: bytes) -> ItemRow:
    _, created_at, updated_at, ttl, stamp = _HEAD.unpack_from(item)
    return ItemRow(namespace, key, item[_HEAD.size :].decode(), created_at, updated_at, ttl or None, int(stamp))
