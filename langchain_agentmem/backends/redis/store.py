"""The item table on Redis: one key for each item, and search entries for each namespace, which the client ranks."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
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
    StatisticsQuery,
    Swap,
    Tally,
)
from langchain_agentmem.backends.contract.statistics import ALIASES, OTHER, SHARED
from langchain_agentmem.backends.namespaces import decode_namespace, encode_namespace
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.item_rows import (
    ItemId,
    ItemKey,
    ScanRecord,
    SearchIndex,
    flat_keys,
    item_row,
    item_texts,
    parts_of_member,
    put_arguments,
    scan_records,
    search_entries,
    similarities,
    unstamped,
)
from langchain_agentmem.backends.redis.scripts import Changed, Invoke, InvokeAll, framed, load_scripts, optional, slot
from langchain_agentmem.backends.requirements import required_texts
from langchain_agentmem.programs import OffLoop, Program, storage_program
from langchain_agentmem.programs.sizes import is_large, is_long
from langchain_agentmem.text.vectors import different_dimensions, width_of
from langchain_agentmem.text.words import pack_words, scores

LUA = load_scripts("store.lua", "the store's items")

SEARCHED_AT_ONCE = 10_000
"""Maximum number of items of one root that a search reads in one round trip."""

BYTES_AT_ONCE = 32_000_000
"""Maximum number of bytes of vectors that a search reads in one round trip."""

_NAMESPACES_AT_ONCE = 1_000
_COUNTED_AT_ONCE = 1_000
_SKIPPED_AT_ONCE = 5_000
_WITH_ALL_KEYS, _READ_ALL = 1, 2
"""States of the answer of the script `changes`."""
_READ_AT_ONCE = 100
_ROOTS_AT_ONCE = 50
_MANY_ITEMS = 500

_Page = tuple[list[ItemRow], tuple[Any, ...] | None]


class _Changes(NamedTuple):
    """The changes of the items of one root."""

    puts: list[ItemPut]
    deletes: list[ItemKey]
    touches: list[ItemKey]


class RedisItems:
    """Items on Redis. See `langchain_agentmem.backends.contract.ItemTable`."""

    reads_changes = True

    @storage_program
    def get(
        self, tenant: str, keys: Sequence[ItemKey], now: float, *, paths: bool = False
    ) -> Program[list[ItemRow | None]]:
        by_root: dict[str, list[int]] = {}
        for at, (namespace, _) in enumerate(keys):
            by_root.setdefault(namespace[0], []).append(at)
        answers = yield from InvokeAll(
            [
                _invoke("get", tenant, root, (optional(now), int(paths), *flat_keys(keys[at] for at in group)))
                for root, group in by_root.items()
            ]
        )
        found: list[ItemRow | None] = [None] * len(keys)
        for group, items in zip(by_root.values(), answers, strict=True):
            named = items[len(group) :] or [None] * len(group)
            for at, item, fields in zip(group, items, named, strict=False):
                row = None if item is None else item_row(*keys[at], item)
                found[at] = row if row is None or fields is None else row._replace(paths=fields.decode())
        return found

    @storage_program
    def put(self, tenant: str, puts: Sequence[ItemPut], now: float) -> Program[None]:
        yield from self.change(tenant, puts, (), (), now)

    @storage_program
    def delete(self, tenant: str, keys: Sequence[ItemKey]) -> Program[None]:
        yield from self.change(tenant, (), keys, (), 0.0)

    @storage_program
    def touch(self, tenant: str, keys: Sequence[ItemKey], now: float) -> Program[None]:
        yield from self.change(tenant, (), (), keys, now)

    @storage_program
    def change(
        self, tenant: str, puts: Sequence[ItemPut], deletes: Sequence[ItemKey], touches: Sequence[ItemKey], now: float
    ) -> Program[None]:
        by_root: dict[str, _Changes] = {}
        for put in puts:
            by_root.setdefault(put.namespace[0], _Changes([], [], [])).puts.append(put)
        for key in deletes:
            by_root.setdefault(key[0][0], _Changes([], [], [])).deletes.append(key)
        for key in touches:
            by_root.setdefault(key[0][0], _Changes([], [], [])).touches.append(key)
        steps = [step for root, own in by_root.items() if own.puts for step in _enlist(tenant, root, own.puts, now)]
        for root, (own_puts, deleted, touched) in by_root.items():
            counts = (len(touched), len(deleted), len(own_puts))
            yield from OffLoop(is_long(put.text for put in own_puts))
            items = [one for put in own_puts for one in put_arguments(put)]
            arguments = (optional(now), *counts, *flat_keys(touched), *flat_keys(deleted), *items)
            steps.append(_invoke("change", tenant, root, arguments))
        yield from InvokeAll(steps, together=len(by_root) > 1)

    @storage_program
    def swap(self, tenant: str, swaps: Sequence[Swap], now: float, token: int) -> Program[bool]:
        root = swaps[0].namespace[0]
        puts = [swap.put for swap in swaps if swap.put]
        yield from OffLoop(is_long(put.text for put in puts))
        changes = [
            one
            for swap in swaps
            for one in (
                encode_namespace(swap.namespace),
                swap.key,
                optional(swap.expected),
                2 if swap.touch else int(swap.put is None and not swap.keep),
            )
        ]
        arguments = (
            optional(now),
            token,
            len(swaps),
            *changes,
            *(one for put in puts for one in put_arguments(put)),
        )
        steps = _enlist(tenant, root, puts, now) if puts else []
        (*_, swapped) = yield from InvokeAll([*steps, _invoke("swap", tenant, root, arguments)])
        if steps and not swapped:
            yield from self.purge(tenant, root, now)  # the root is listed although nothing was stored
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
        *,
        offset: int = 0,
    ) -> Program[_Page]:
        stamp, last_root = before or ("", "")
        texts = required_texts(condition)
        roots = yield from self._roots(tenant, prefix)
        is_single = len(roots) == 1

        def page_of(root: str, namespace: bytes) -> Invoke:
            base, after_bound = encode_namespace(prefix or (root,)), int(root < last_root)
            skip = offset if is_single else 0
            bounds = (limit, stamp, after_bound, namespace, _NAMESPACES_AT_ONCE, int(is_single), skip)
            return _invoke("scan", tenant, root, (optional(now), base, *bounds, *texts))

        if offset and not is_single:
            return (yield from self._scan_after(tenant, prefix, offset, limit, now))
        newest: list[tuple[int, str, ScanRecord]] = []
        for start in range(0, len(roots), _ROOTS_AT_ONCE):
            following = dict.fromkeys(roots[start : start + _ROOTS_AT_ONCE], b"")
            while following:
                answers = yield from InvokeAll([page_of(*one) for one in following.items()])
                if is_single and not any(following.values()) and answers[0][0] is None:
                    return _whole_page(roots[0], answers[0])
                if offset:  # too many namespaces for one call
                    return (yield from self._scan_after(tenant, prefix, offset, limit, now))
                for root, (_, _, _, *parts) in zip(following, answers, strict=True):
                    newest += [(record.stamp, root, record) for part in parts for record in scan_records(part)]
                following = {
                    root: answer[0] for root, answer in zip(following, answers, strict=True) if answer[0] is not None
                }
                newest = sorted(newest, reverse=True)[:limit]
        last = newest[-1][:2] if newest and len(newest) == limit else None
        return [_row(record) for *_, record in newest if record.item], last

    def _scan_after(self, tenant: str, prefix: Namespace, offset: int, limit: int, now: float) -> Program[_Page]:
        """Return the page after `offset` items of several roots, or of many namespaces: the client merges and skips them."""
        following: tuple[Any, ...] | None = None
        while offset:
            page, following = yield from self.scan(tenant, prefix, None, min(offset, _SKIPPED_AT_ONCE), following, now)
            offset -= len(page)
            if following is None:
                return [], None
        return (yield from self.scan(tenant, prefix, None, limit, following, now))

    def skips(self, condition: Mapping[str, Any] | None) -> bool:
        return not condition

    @storage_program
    def find(self, tenant: str, query: Query, now: float) -> Program[Found]:
        words: dict[ItemId, bytes] = {}
        dense: dict[ItemId, float] = {}
        for root in (yield from self._roots(tenant, query.prefix)):
            yield from self._read(tenant, root, query, now, words, dense)
        yield from OffLoop(len(words) > _MANY_ITEMS)
        found = scores(list(words.values()), query.words)
        lexical = {id_: score for id_, score in zip(words, found, strict=True) if score > 0}
        return Found([Candidate(id_, lexical.get(id_), dense.get(id_)) for id_ in lexical.keys() | dense.keys()])

    @storage_program
    def changes(
        self, tenant: str, prefix: Namespace, width: int | None, cursor: Any, now: float
    ) -> Program[ItemChanges]:
        known: Mapping[str, Any] = cursor or {}
        roots = yield from self._roots(tenant, prefix)
        found = {}
        for root in roots:
            found[root] = yield from self._changes(tenant, root, width, known.get(root), now)
        if len(roots) == 1 and known.keys() <= found.keys():
            return found[roots[0]]._replace(cursor={roots[0]: found[roots[0]].cursor})
        if known and not _are_additions(known, found):
            return (yield from self.changes(tenant, prefix, width, None, now))
        return ItemChanges(
            {root: one.cursor for root, one in found.items()},
            [text for one in found.values() for text in one.texts],
            [id_ for one in found.values() for id_ in one.gone],
            is_whole=not known,
            expired=[id_ for one in found.values() for id_ in one.expired],
        )

    def _changes(self, tenant: str, root: str, width: int | None, cursor: Any, now: float) -> Program[ItemChanges]:
        known = cursor or (b"", b"", b"")
        arguments = (optional(now), encode_namespace((root,)), optional(width), *known)
        clock, gone, kept, expired, state, *flat = yield from _invoke("changes", tenant, root, arguments)
        ids = [unstamped(tenant, *parts) for parts in map(parts_of_member, expired)]
        if state == _READ_ALL:
            whole = yield from self._entries(tenant, root, (root,), width, now)
            every = [one for name, (index, log) in whole.items() for one in item_texts(tenant, name, index, log, width)]
            return ItemChanges((clock, gone, kept), every, [], is_whole=True, expired=ids)
        yield from OffLoop(is_large(flat))
        texts: list[ItemText] = []
        dropped: list[ItemId] = []
        remaining: set[ItemId] | None = set() if state == _WITH_ALL_KEYS else None
        for name, keys, columns, log in zip(*(flat[at::4] for at in range(4)), strict=True):
            index = SearchIndex.of(columns)
            texts += item_texts(tenant, name, index, log, width)
            dropped += [unstamped(tenant, name, key) for key in index.missing]
            if remaining is not None:
                remaining.update(unstamped(tenant, name, key) for key in keys)
        return ItemChanges((clock, gone, kept), texts, dropped, remaining=remaining, expired=ids)

    @storage_program
    def rows(self, ids: Sequence[Any]) -> Program[dict[Any, ItemRow]]:
        by_root: dict[tuple[str, str], list[ItemId]] = {}
        for id_ in ids:
            by_root.setdefault((id_.tenant, decode_namespace(id_.namespace)[0]), []).append(id_)
        answers = yield from InvokeAll(
            [
                _invoke("rows", *root, [one for id_ in group for one in (id_.namespace, id_.key)])
                for root, group in by_root.items()
            ]
        )
        return {
            id_: item_row(decode_namespace(id_.namespace), id_.key.decode(), item)
            for group, items in zip(by_root.values(), answers, strict=True)
            for id_, item in zip(group, items, strict=True)
            if item is not None
        }

    @storage_program
    def namespaces(self, tenant: str, prefix: Namespace, now: float) -> Program[list[Namespace]]:
        found: list[Namespace] = []
        empty: list[str] = []
        roots = yield from self._roots(tenant, prefix)
        for root, following, some in (yield from self._first_pages(tenant, roots, prefix, now)):
            if not prefix and not some and following is None:
                empty.append(root)
            found += map(decode_namespace, some)
            rest = following
            while rest is not None:
                arguments = (optional(now), encode_namespace(prefix or (root,)), rest, _NAMESPACES_AT_ONCE)
                rest, *more = yield from _invoke("namespaces", tenant, root, arguments)
                found += map(decode_namespace, more)
        if empty:
            yield from indexes.heal(root_index(tenant), [(root, now - indexes.GRACE_SECONDS) for root in empty])
        return sorted(found)

    @storage_program
    def roots(self, tenant: str, now: float) -> Program[list[str]]:
        found: list[str] = []
        roots = yield from self._roots(tenant, ())
        for root, following, some in (yield from self._first_pages(tenant, roots, (), now)):
            if some or (following is not None and (yield from self.namespaces(tenant, (root,), now))):
                found.append(root)
        return found

    def _first_pages(
        self, tenant: str, roots: Sequence[str], prefix: Namespace, now: float
    ) -> Program[list[tuple[str, bytes | None, list[bytes]]]]:
        """Return each root with the position of its second page, and the first page of its namespaces (below a prefix)."""
        found: list[tuple[str, bytes | None, list[bytes]]] = []
        for start in range(0, len(roots), _ROOTS_AT_ONCE):
            some = roots[start : start + _ROOTS_AT_ONCE]
            arguments = [
                (optional(now), encode_namespace(prefix or (root,)), b"", _NAMESPACES_AT_ONCE) for root in some
            ]
            answers = yield from InvokeAll(
                [_invoke("namespaces", tenant, root, own) for root, own in zip(some, arguments, strict=True)]
            )
            found += [(root, following, own) for root, (following, *own) in zip(some, answers, strict=True)]
        return found

    @storage_program
    def purge(self, tenant: str, root: str, now: float) -> Program[None]:
        """Remove a root without items from the indexes."""
        if not (yield from _invoke("purge", tenant, root, ())):
            yield from InvokeAll(
                [indexes.heal(root_index(tenant), [(root, now)]), indexes.reschedule(_expiring(tenant), [(root, "")])]
            )

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
        yield from InvokeAll([indexes.reschedule(index, times), indexes.heal(root_index(tenant), empty)])
        return deleted

    @storage_program
    def fits(self, tenant: str, dimensions: int) -> Program[str | None]:  # noqa: ARG002 (logs of several widths may exist)
        yield from ()
        return None

    @storage_program
    def refuses(self, tenant: str, dimensions: int) -> Program[str | None]:  # noqa: ARG002
        yield from ()
        return None

    @storage_program
    def unembed(self, tenant: str, dimensions: int, after: Any) -> Program[Any]:  # noqa: ARG002
        roots, at, namespace, cursor = after or ((yield from self._roots(tenant, ())), 0, b"", b"0")
        if at < len(roots):
            namespace, cursor = yield from _invoke("unembed", tenant, roots[at], (namespace, cursor))
        return _following(roots, at, namespace, cursor)

    @storage_program
    def unembedded(
        self, tenant: str, dimensions: int | None, after: Any, limit: int, now: float
    ) -> Program[tuple[list[IndexedItem], Any]]:
        roots, at, namespace, cursor = after or ((yield from self._roots(tenant, ())), 0, b"", b"0")
        flat: list[Any] = []
        if at < len(roots):
            arguments = (optional(now), namespace, cursor, limit, width_of(dimensions))
            namespace, cursor, *flat = yield from _invoke("unembedded", tenant, roots[at], arguments)
        found = [
            IndexedItem(item_row(decode_namespace(name), key.decode(), item), None if paths is None else paths.decode())
            for name, key, item, paths in zip(*(flat[start::4] for start in range(4)), strict=True)
        ]
        return found, _following(roots, at, namespace, cursor)

    @storage_program
    def set_words(self, tenant: str, items: Sequence[tuple[ItemRow, str]]) -> Program[None]:
        by_root: dict[str, list[Any]] = {}
        for row, text in items:
            group = (encode_namespace(row.namespace), row.key, row.revision, pack_words(text.split()))
            by_root.setdefault(row.namespace[0], []).extend(group)
        yield from InvokeAll([_invoke("set_words", tenant, root, groups) for root, groups in by_root.items()])

    @storage_program
    def embed(self, tenant: str, items: Sequence[EmbeddedItem]) -> Program[int]:
        by_root: dict[str, list[Any]] = {}
        for row, vectors in items:
            width = len(vectors[0]) if vectors else 0
            group = (encode_namespace(row.namespace), row.key, row.revision, b"".join(vectors), width)
            by_root.setdefault(row.namespace[0], []).extend(group)
        embedded = yield from InvokeAll([_invoke("embed", tenant, root, groups) for root, groups in by_root.items()])
        return sum(embedded)

    def tally(self, query: StatisticsQuery, tally: Tally) -> Program[None]:
        """Count the items."""
        yield from indexes.each(root_index(query.tenant), lambda roots: self._tally(query, tally, roots))

    @staticmethod
    def _tally(query: StatisticsQuery, tally: Tally, roots: Sequence[str]) -> Program[None]:
        times, kinds = [optional(query.now), *map(optional, query.ends)], [query.omitted or OTHER, *query.kinds]
        stored = {root: [0] * (len(kinds) + 1) for root in roots}
        names: dict[str, bytes] = dict.fromkeys(roots, b"")
        ranks = dict.fromkeys(roots, 0)
        while names or ranks:
            counted = [
                _invoke("tally", query.tenant, *(root, (name, _COUNTED_AT_ONCE, *kinds)))
                for root, name in names.items()
            ]
            ended = [
                _invoke("tally_expiring", query.tenant, root, (*times, rank, _COUNTED_AT_ONCE, *kinds))
                for root, rank in ranks.items()
            ]
            answers = yield from InvokeAll([*counted, *ended])
            following = dict(zip(names, answers, strict=False))
            for root, (_, *numbers) in following.items():
                stored[root] = [known + added for known, added in zip(stored[root], numbers, strict=True)]
            expiring = dict(zip(ranks, answers[len(names) :], strict=True))
            for root, (_, *numbers) in expiring.items():
                periods = [numbers[at : at + 5] for at in range(0, len(numbers), 5)]
                stored[root] = [known - gone for known, (gone, *_) in zip(stored[root], periods, strict=True)]
                for _, *ahead in periods[1:]:
                    # These items are among the stored ones, which all count as never expiring at first.
                    tally.expire("items", [*ahead, -sum(ahead)])
            names = {root: name for root, (name, *_) in following.items() if name}
            ranks = {
                root: ranks[root] + _COUNTED_AT_ONCE for root, (n, *_) in expiring.items() if n == _COUNTED_AT_ONCE
            }
        for root, (_, *numbers) in stored.items():
            tally.expire("items", [0, 0, 0, 0, sum(numbers)])
            if not root.startswith(query.user_root):
                tally.items[SHARED if root == query.shared_root else OTHER] += sum(numbers)
                continue
            own = dict(zip([*query.kinds, OTHER], numbers, strict=True))
            tally.use(users=[root.removeprefix(query.user_root)] if any(numbers) else [])
            if own.get(query.alias[0]):
                own[ALIASES], _ = yield from _values(query, root, query.alias[0], query.alias[1], "")
                own[query.alias[0]] -= own[ALIASES]
            if own.get(query.nested[0]):
                _, own[query.nested[0]] = yield from _values(query, root, query.nested[0], "", query.nested[1])
            tally.items.update(own)

    def _roots(self, tenant: str, prefix: Namespace) -> Program[list[str]]:
        """Return the roots of the namespaces below a prefix."""
        if prefix:
            return [prefix[0]]
        found = yield from indexes.members(root_index(tenant))
        return sorted(root.decode() for root in found)

    def _read(
        self,
        tenant: str,
        root: str,
        query: Query,
        now: float,
        words: dict[ItemId, bytes],
        dense: dict[ItemId, float],
    ) -> Program[None]:
        """Read the search entries of a root: add the words of its items, and the similarities of their vectors."""
        width = None if query.vector is None else len(query.vector)
        for name, (index, log) in (yield from self._entries(tenant, root, query.prefix or (root,), width, now)).items():
            items: dict[float, ItemId] = {}
            for id_, width_of_item, text in search_entries(tenant, name, index):
                words[id_] = text
                if width and width_of_item not in (0, width):
                    raise different_dimensions(width, width_of_item)
                items[float(id_.stamp)] = id_
            if query.vector is not None:
                for stamp, score in similarities(log, query.vector):
                    if stamp in items:
                        dense[items[stamp]] = max(score, dense.get(items[stamp], -1.0))

    def _entries(
        self, tenant: str, root: str, prefix: Namespace, width: int | None, now: float
    ) -> Program[dict[bytes, tuple[SearchIndex, bytes]]]:
        """Read the search entries below a prefix, without those of expired items.

        Returns:
            For each namespace, the entries and the log of vectors.

        Raises:
            Changed: A log of vectors was compacted during the search.
        """
        namespace: bytes | None = b""
        cursor, rounds = b"0", 0
        compacted: dict[bytes, bytes] = {}
        parts: dict[bytes, list[tuple[SearchIndex, bytes]]] = {}
        fixed = (optional(now), encode_namespace(prefix), optional(width))
        while namespace is not None:
            limits = (SEARCHED_AT_ONCE, BYTES_AT_ONCE)
            answer = yield from _invoke("find", tenant, root, (*fixed, namespace, cursor, *limits))
            namespace, cursor, expired, *flat = answer
            rounds += 1
            yield from OffLoop(is_large(flat))
            for name, index, log, compactions in zip(*(flat[at::4] for at in range(4)), strict=True):
                if compacted.setdefault(name, compactions) != compactions:
                    raise Changed
                parts.setdefault(name, []).append((SearchIndex.of(index, _keys_in(name, expired)), log))
        if rounds > 1:
            _warn_of_rounds(prefix, rounds)
        return {
            name: (SearchIndex.joined([index for index, _ in some]), b"".join(log for _, log in some))
            for name, some in parts.items()
        }


def _are_additions(known: Mapping[str, Any], found: Mapping[str, ItemChanges]) -> bool:
    """Return true if the changes of several roots name all items that are gone."""
    return known.keys() <= found.keys() and not any(
        one.remaining is not None or (one.is_whole and root in known) for root, one in found.items()
    )


def _values(query: StatisticsQuery, root: str, kind: str, beginning: str, nested: str) -> Program[tuple[int, int]]:
    """Return the number of values of a kind that begin with a field, and the number of different keys in another field."""
    matching, names, rank = 0, set[bytes](), 0
    while True:
        arguments = (optional(query.now), encode_namespace((root, kind)), rank, _READ_AT_ONCE, beginning, nested)
        examined, number, found = yield from _invoke("tally_values", query.tenant, root, arguments)
        matching, rank = matching + number, rank + examined
        names.update(found)
        if examined < _READ_AT_ONCE:
            return matching, len(names)


def _warn_of_rounds(prefix: Namespace, rounds: int) -> None:
    msg = (
        f"A search below {prefix or '()'} took {rounds} round trips. On Redis, a search reads every item: at most "
        f"{SEARCHED_AT_ONCE:,} items or {BYTES_AT_ONCE // 1_000_000} MB of vectors in one round trip. Search below a longer "
        f"namespace, or use Postgres."
    )
    warnings.warn(msg, RuntimeWarning, stacklevel=3)


def _keys_in(namespace: bytes, members: Iterable[bytes]) -> set[bytes]:
    """Return the keys of those members of `expiring` that are in a namespace."""
    start = framed(namespace)
    return {member[len(start) :] for member in members if member.startswith(start)}


def _whole_page(root: str, answer: Sequence[Any]) -> _Page:
    """Return the page of one call that examined all namespaces."""
    _, has_more, last, *parts = answer
    items = [_row(record) for part in parts for record in scan_records(part)]
    return items, (int(last), root) if has_more else None


def _row(record: ScanRecord) -> ItemRow:
    return item_row(decode_namespace(record.namespace), record.key.decode(), record.item)


def _invoke(name: str, tenant: str, root: str, arguments: Iterable[Any]) -> Invoke:
    return Invoke(LUA[name], (slot("root", tenant, root) + "namespaces",), tuple(arguments))


def _enlist(tenant: str, root: str, puts: Collection[ItemPut], now: float) -> list[Invoke]:
    """Add a root to the indexes, before items are stored below it."""
    ttls = [put.ttl for put in puts if put.ttl is not None]
    return enlisted_root(tenant, root, now, now + min(ttls) if ttls else None)


def enlisted_root(tenant: str, root: str, used: float, expires_at: float | None) -> list[Invoke]:
    """Return the steps that add a root to the indexes.

    Args:
        tenant: The tenant.
        root: The root.
        used: The time of its use.
        expires_at: The earliest expiry of the items that are stored below it; None for none.
    """
    steps = [indexes.enlist(root_index(tenant), root, used)]
    if expires_at is not None:
        steps.append(indexes.schedule(_expiring(tenant), root, expires_at, earliest=True))
    return steps


def root_index(tenant: str) -> str:
    """Return the index of the roots of a tenant."""
    return slot("tenant", tenant) + "roots"


def _expiring(tenant: str) -> str:
    """Return the schedule of the roots that contain items with a TTL."""
    return slot("tenant", tenant) + "expiring-roots"


def _following(roots: list[str], at: int, namespace: bytes | None, cursor: bytes) -> tuple[Any, ...] | None:
    """Return where the next call continues, or None after the last root."""
    if namespace:
        return roots, at, namespace, cursor
    return (roots, at + 1, b"", b"0") if at + 1 < len(roots) else None
