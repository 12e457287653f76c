"""The item table on Redis: a key for each item, and for each namespace an index that searches read and rank in the client."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from langchain_agentmem.backends.contract import (
    Candidate,
    EmbeddedItem,
    Found,
    IndexedItem,
    ItemPut,
    ItemRow,
    Namespace,
    Query,
    Swap,
)
from langchain_agentmem.backends.namespaces import decode_namespace, encode_namespace
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.scripts import Changed, Invoke, InvokeAll, framed, load_scripts, optional, slot
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.programs import OffLoop, Program, storage_program
from langchain_agentmem.programs.sizes import is_large, is_long
from langchain_agentmem.text.vectors import different_dimensions
from langchain_agentmem.text.words import analyze, scores

LUA = load_scripts("store.lua", "the store's items")

SEARCHED_AT_ONCE = 10_000
"""The items of one root that a search reads in one round trip; below a prefix with more it asks again."""

BYTES_AT_ONCE = 32_000_000
"""The bytes of vectors that it reads in one round trip."""

_NAMESPACES_AT_ONCE = 1_000
_ROOTS_AT_ONCE = 50
_MANY_ITEMS = 500

_HEAD = struct.Struct(">6d")
_STAMP, _LENGTH = struct.Struct(">d"), struct.Struct(">I")
_KNOWN = struct.Struct("<dI")

Place = tuple[Namespace, str]


class _Id(NamedTuple):
    """What a candidate is known by."""

    stamp: int
    tenant: str
    namespace: bytes
    key: bytes


class RedisItems:
    """See `langchain_agentmem.backends.contract.ItemTable`."""

    def __init__(self, language: str) -> None:
        self._language = language

    @storage_program
    def get(
        self, tenant: str, keys: Sequence[Place], now: float, *, paths: bool = False
    ) -> Program[list[ItemRow | None]]:
        by_root: dict[str, list[int]] = {}
        for at, (namespace, _) in enumerate(keys):
            by_root.setdefault(namespace[0], []).append(at)
        answers = yield from InvokeAll(
            [
                _invoke("get", tenant, root, (optional(now), int(paths), *_flat(keys[at] for at in places)))
                for root, places in by_root.items()
            ]
        )
        found: list[ItemRow | None] = [None] * len(keys)
        for places, items in zip(by_root.values(), answers, strict=True):
            known = items[len(places) :] or [None] * len(places)
            for at, item, own in zip(places, items, known, strict=False):
                row = None if item is None else _item(*keys[at], item)
                found[at] = row if row is None or own is None else row._replace(paths=own.decode())
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
            yield from OffLoop(is_long(put.text for put in own))
            groups = [one for put in own for one in _put(put, self._language)]
            arguments = (optional(now), *counts, *_flat(touched), *_flat(deleted), *groups)
            steps.append(_invoke("change", tenant, root, arguments))
        yield from InvokeAll(steps, together=len(by_root) > 1)

    @storage_program
    def swap(self, tenant: str, swaps: Sequence[Swap], now: float, token: int) -> Program[bool]:
        root = swaps[0].namespace[0]
        puts = [swap.put for swap in swaps if swap.put]
        yield from OffLoop(is_long(put.text for put in puts))
        fates = [
            one
            for swap in swaps
            for one in (
                encode_namespace(swap.namespace),
                swap.key,
                optional(swap.expected),
                int(swap.put is None and not swap.keep),
            )
        ]
        arguments = (
            optional(now),
            token,
            len(swaps),
            *fates,
            *(one for put in puts for one in _put(put, self._language)),
        )
        steps = _enlist(tenant, root, puts, now) if puts else []
        (*_, swapped) = yield from InvokeAll([*steps, _invoke("swap", tenant, root, arguments)])
        return bool(swapped)

    @storage_program
    def scan(
        self,
        tenant: str,
        prefix: Namespace,
        condition: Mapping[str, Any] | None,
        limit: int,
        before: tuple[Any, ...] | None,
        now: float,
    ) -> Program[tuple[list[ItemRow], tuple[Any, ...] | None]]:
        stamp, last_root = before or ("", "")
        texts = _texts_of(condition)
        roots = yield from self._roots(tenant, prefix)
        newest: list[tuple[int, str, bytes, bytes, bytes]] = []
        for start in range(0, len(roots), _ROOTS_AT_ONCE):
            following = dict.fromkeys(roots[start : start + _ROOTS_AT_ONCE], b"")
            while following:
                answers = yield from InvokeAll(
                    [
                        _invoke(
                            "scan",
                            tenant,
                            root,
                            (
                                optional(now),
                                encode_namespace(prefix or (root,)),
                                limit,
                                stamp,
                                int(root < last_root),
                                namespace,
                                _NAMESPACES_AT_ONCE,
                                int(len(roots) == 1),
                                *texts,
                            ),
                        )
                        for root, namespace in following.items()
                    ]
                )
                if len(roots) == 1 and not any(following.values()) and answers[0][0] is None:
                    # Nothing else is asked: those that were left out have no records.
                    ((_, count, last, *parts),) = answers
                    found = [record for part in parts for record in _records(part)]
                    items = [
                        _item(decode_namespace(namespace), key.decode(), item) for _, namespace, key, item in found
                    ]
                    return items, (int(last), roots[0]) if count == limit else None
                for root, (_, _, _, *parts) in zip(following, answers, strict=True):
                    for part in parts:
                        newest += [(one, root, namespace, key, item) for one, namespace, key, item in _records(part)]
                following = {
                    root: answer[0] for root, answer in zip(following, answers, strict=True) if answer[0] is not None
                }
                newest = sorted(newest, reverse=True)[:limit]
        items = [_item(decode_namespace(namespace), key.decode(), item) for *_, namespace, key, item in newest if item]
        return items, (newest[-1][0], newest[-1][1]) if newest and len(newest) == limit else None

    @storage_program
    def find(self, tenant: str, query: Query, now: float) -> Program[Found]:
        words: dict[_Id, bytes] = {}
        dense: dict[_Id, float] = {}
        for root in (yield from self._roots(tenant, query.prefix)):
            yield from self._read(tenant, root, query, now, words, dense)
        yield from OffLoop(len(words) > _MANY_ITEMS)
        found = scores(list(words.values()), query.terms, self._language)
        lexical = {id_: score for id_, score in zip(words, found, strict=True) if score > 0}
        return Found([Candidate(id_, lexical.get(id_), dense.get(id_)) for id_ in lexical.keys() | dense.keys()])

    @storage_program
    def rows(self, ids: Sequence[Any]) -> Program[dict[Any, ItemRow]]:
        by_root: dict[tuple[str, str], list[_Id]] = {}
        for id_ in ids:
            by_root.setdefault((id_.tenant, decode_namespace(id_.namespace)[0]), []).append(id_)
        answers = yield from InvokeAll(
            [
                _invoke("rows", *place, [one for id_ in group for one in (id_.namespace, id_.key)])
                for place, group in by_root.items()
            ]
        )
        return {
            id_: _item(decode_namespace(id_.namespace), id_.key.decode(), item)
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
                arguments = (optional(now), encode_namespace(prefix or (root,)), following, _NAMESPACES_AT_ONCE)
                following, *some = yield from _invoke("namespaces", tenant, root, arguments)
                found += map(decode_namespace, some)
            if not prefix and len(found) == before:
                empty.append(root)
        if empty:
            yield from indexes.heal(_root_index(tenant), [(root, now - indexes.GRACE_SECONDS) for root in empty])
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
            number, following, is_empty = yield from _invoke(
                "sweep", tenant, root.decode(), (optional(now), limit - deleted)
            )
            deleted += number
            times.append((root, following))
            if is_empty:
                empty.append((root, now))
        yield from InvokeAll([indexes.reschedule(index, times), indexes.heal(_root_index(tenant), empty)])
        return deleted

    @storage_program
    def fits(self, tenant: str, dimensions: int) -> Program[str | None]:  # noqa: ARG002 (any vectors may lie here)
        yield from ()
        return None

    @storage_program
    def refuses(self, tenant: str, dimensions: int) -> Program[str | None]:  # noqa: ARG002
        yield from ()
        return None

    @storage_program
    def unembed(self, tenant: str, dimensions: int, after: Any) -> Program[Any]:  # noqa: ARG002
        roots, at, namespace, place = after or ((yield from self._roots(tenant, ())), 0, b"", b"0")
        if at < len(roots):
            namespace, place = yield from _invoke("unembed", tenant, roots[at], (namespace, place))
        return _following(roots, at, namespace, place)

    @storage_program
    def unembedded(
        self, tenant: str, dimensions: int, after: Any, limit: int, now: float
    ) -> Program[tuple[list[IndexedItem], Any]]:
        roots, at, namespace, place = after or ((yield from self._roots(tenant, ())), 0, b"", b"0")
        flat: list[Any] = []
        if at < len(roots):
            arguments = (optional(now), namespace, place, limit, 4 * dimensions)
            namespace, place, *flat = yield from _invoke("unembedded", tenant, roots[at], arguments)
        found = [
            IndexedItem(_item(decode_namespace(where), key.decode(), item), None if paths is None else paths.decode())
            for where, key, item, paths in zip(*(flat[start::4] for start in range(4)), strict=True)
        ]
        return found, _following(roots, at, namespace, place)

    @storage_program
    def embed(self, tenant: str, items: Sequence[EmbeddedItem]) -> Program[int]:
        by_root: dict[str, list[Any]] = {}
        for row, vectors in items:
            width = len(vectors[0]) if vectors else 0
            group = (encode_namespace(row.namespace), row.key, row.revision, b"".join(vectors), width)
            by_root.setdefault(row.namespace[0], []).extend(group)
        embedded = yield from InvokeAll([_invoke("embed", tenant, root, groups) for root, groups in by_root.items()])
        return sum(embedded)

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
        words: dict[_Id, bytes],
        dense: dict[_Id, float],
    ) -> Program[None]:
        """Read what searches know of the items of a root: their words, and how alike their vectors are."""
        prefix, vector = encode_namespace(query.prefix or (root,)), query.vector
        width = None if vector is None else len(vector)
        following, place, rounds = b"", b"0", 0
        read: dict[bytes, tuple[bytes, dict[float, _Id]]] = {}
        while following is not None:
            limits = (SEARCHED_AT_ONCE, BYTES_AT_ONCE)
            answer = yield from _invoke(
                "find", tenant, root, (optional(now), prefix, optional(width), following, place, *limits)
            )
            following, place, expired, *flat = answer
            rounds += 1
            yield from OffLoop(is_large(flat))
            for namespace, index, log, compacted in zip(*(flat[at::4] for at in range(4)), strict=True):
                began, items = read.setdefault(namespace, (compacted, {}))
                if began != compacted:
                    raise Changed
                gone = {member[4 + len(namespace) :] for member in expired if member.startswith(framed(namespace))}
                for id_, bytes_of_vector, text in _entries(tenant, namespace, index, gone):
                    words[id_] = text
                    if width and bytes_of_vector not in (0, width):
                        raise different_dimensions(width, bytes_of_vector)
                    items[float(id_.stamp)] = id_
                if vector is not None:
                    for stamp, score in similarities(log, vector):
                        if stamp in items:
                            dense[items[stamp]] = max(score, dense.get(items[stamp], -1.0))
        if rounds > 1:
            msg = (
                f"A search below {query.prefix or '()'} had to ask {rounds} times: on Redis it looks at each item, "
                f"{SEARCHED_AT_ONCE:,} items or {BYTES_AT_ONCE // 1_000_000} MB of vectors at a time. Search below a longer "
                f"namespace, or use Postgres."
            )
            warnings.warn(msg, RuntimeWarning, stacklevel=2)


_COMPARABLE = 1e15
_MOST_TEXTS = 20


def _texts_of(condition: Mapping[str, Any] | None) -> list[str]:
    """Texts of which the JSON of each value that passes a filter holds one; none where that cannot be said."""
    for field, wanted in (condition or {}).items():
        operators = wanted if isinstance(wanted, Mapping) else {"$eq": wanted}
        operands = [operators["$eq"]] if "$eq" in operators else list(operators.get("$in", ()))
        if 0 < len(operands) <= _MOST_TEXTS and "." not in field and all(map(_is_comparable, operands)):
            name = json.dumps(field, ensure_ascii=False)
            return [f"{name}:{json.dumps(operand, ensure_ascii=False)}" for operand in operands]
    return []


def _is_comparable(operand: Any) -> bool:
    """Whether equal values begin with the same JSON: 5 is 5.0 too, but 0 is -0.0, and large numbers have exponents."""
    return type(operand) is str or (type(operand) is int and 0 < abs(operand) < _COMPARABLE)


def _records(part: bytes) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """The stamps, namespaces, keys and items in a part of what a scan found."""
    at = 0
    while at < len(part):
        (stamp,) = _STAMP.unpack_from(part, at)
        at += _STAMP.size
        texts = []
        for _ in range(3):
            (length,) = _LENGTH.unpack_from(part, at)
            texts.append(part[at + _LENGTH.size : at + _LENGTH.size + length])
            at += _LENGTH.size + length
        namespace, key, item = texts
        yield int(stamp), namespace, key, item


def similarities(log: bytes, query: bytes) -> Iterable[tuple[float, float]]:
    """The stamps and cosine similarities of the vectors in a log, which all have the length of the query's and length 1."""
    import numpy as np

    records = np.frombuffer(log, dtype="<f4").reshape(-1, 2 + len(query) // 4)
    stamps = np.ascontiguousarray(records[:, :2]).view("<f8").ravel()
    return zip(stamps.tolist(), (records[:, 2:] @ np.frombuffer(query, dtype="<f4")).tolist(), strict=True)


def _entries(
    tenant: str, namespace: bytes, index: Sequence[bytes], gone: Collection[bytes]
) -> Iterable[tuple[_Id, int, bytes]]:
    """The items of a namespace but for those that are gone: with the bytes of a vector, and words."""
    keys, heads, lengths, words = index
    ends = list(accumulate(map(int, lengths.split())))
    every = zip(keys.split(b"\x00"), _KNOWN.iter_unpack(heads), [0, *ends], ends, strict=False)
    return (
        (_Id(int(stamp), tenant, namespace, key), width, words[start:end])
        for key, (stamp, width), start, end in every
        if key not in gone
    )


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


def _flat(places: Iterable[Place]) -> list[Any]:
    return [one for namespace, key in places for one in (encode_namespace(namespace), key)]


def _following(roots: list[str], at: int, namespace: bytes | None, place: bytes) -> tuple[Any, ...] | None:
    """Where to go on among roots after a part of one; None when it was the last."""
    if namespace:
        return roots, at, namespace, place
    return (roots, at + 1, b"", b"0") if at + 1 < len(roots) else None


def _put(put: ItemPut, language: str) -> tuple[Any, ...]:
    words = "" if put.text is None else analyze(put.text, language, characters=False)
    width = len(put.vectors[0]) if put.vectors else 0 if put.text is not None else -1
    where = (encode_namespace(put.namespace), put.key)
    return (*where, put.value, optional(put.ttl), words, b"".join(put.vectors), width, put.paths or "")


def _item(namespace: Namespace, key: str, item: bytes) -> ItemRow:
    try:
        _, created_at, updated_at, ttl, stamp, _ = _HEAD.unpack_from(item)
        value = item[_HEAD.size :].decode()
    except (struct.error, UnicodeDecodeError) as error:
        msg = f"The item {key!r} in {namespace!r} cannot be read: it was damaged or altered ({error})."
        raise DamagedDataError(msg) from error
    return ItemRow(namespace, key, value, created_at, updated_at, ttl or None, int(stamp))
