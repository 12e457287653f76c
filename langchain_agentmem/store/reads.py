"""The reads of a batch: gets, searches and listings of namespaces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, Result, SearchItem, SearchOp

from langchain_agentmem.backends.contract import Backend, Found, ItemRow, Query
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.programs import Compute, OffLoop, Program, together
from langchain_agentmem.programs.sizes import LARGE, is_long
from langchain_agentmem.search import queries as analysis
from langchain_agentmem.search.corpora import Corpora
from langchain_agentmem.search.corpus import Corpus
from langchain_agentmem.search.ranker import Hit, Ranker
from langchain_agentmem.search.ranking import query_words, rank
from langchain_agentmem.store.arguments import ItemKey, Namespace
from langchain_agentmem.store.batches import Batch, ReadOp
from langchain_agentmem.store.corpora import ItemsKey, ItemView, KeptItems
from langchain_agentmem.store.filters import Filter, compile_filter
from langchain_agentmem.store.items import item_of, search_item_of, value_of

MANY_ROWS = 500
"""Under `arun`, a worker thread decodes and ranks more items than this, because it takes about a millisecond."""

_CHUNK = 200
"""The number of items that a filtered search reads first."""

_MOST_PASSING = 1_000
"""If at most this number of items pass a filter, a search can rank only these."""

_LEAST_DEPTH = 20
"""The minimum number of best items by words, and by vector, that are fused. It applies to smaller limits too."""


class Scored(NamedTuple):
    """An item that a search found."""

    row: ItemRow
    score: float | None = None
    """None if the search had no query."""
    similarity: float | None = None


Answer = ItemRow | list[Scored] | list[Namespace] | None
"""The rows for a get, a search or a listing."""
Transact = Callable[[Program[Any]], Program[Any]]
"""Runs a storage program: in the current transaction, or in one of its own."""


class Reader:
    """Answers the reads of batches.

    Args:
        backend: The backend that stores the items.
        tenant: The tenant.
        transact: Runs each storage program.
    """

    def __init__(self, backend: Backend, tenant: str, transact: Transact) -> None:
        self._backend = backend
        self._items = backend.items
        self._tenant = tenant
        self._transact = transact

    def answer(self, batch: Batch, now: float) -> Program[tuple[dict[int, Answer], list[ItemKey]]]:
        """Answer the reads of a batch.

        Returns:
            The answers by the index of the read in the batch, and the keys of the items whose TTL starts again.

        Raises:
            DamagedDataError: A row cannot be decoded.
        """
        with reading("One of the items"):
            return (yield from self._answer(batch, now))

    def _answer(self, batch: Batch, now: float) -> Program[tuple[dict[int, Answer], list[ItemKey]]]:
        gets, searches = batch.of_kind(GetOp), batch.of_kind(SearchOp)
        listings = batch.of_kind(ListNamespacesOp)
        vectors = {index: batch.query_vectors.get(op.query or "") for index, op in searches.items()}
        views = yield from self._views({index: op for index, op in searches.items() if op.query}, vectors, now)
        programs: list[Program[Any]] = [self._gets(gets, now)] if gets else []
        for index, search in searches.items():
            if not search.query:
                programs.append(self._newest(search, now))
            elif index in views:
                programs.append(self._ranked_here(search, views[index], vectors[index], now))
            else:
                programs.append(self._ranked(search, vectors[index], now))
        programs += [self._namespaces(listing, now) for listing in listings.values()]
        results = yield from together(programs)
        found: dict[int, ItemRow | None] = results.pop(0) if gets else {}
        listed: dict[int, list[Any]] = dict(zip([*searches, *listings], results, strict=True))
        used = [row for index, row in found.items() if row and gets[index].refresh_ttl]
        used += [row for index, op in searches.items() if op.refresh_ttl for row, *_ in listed[index]]
        answers: dict[int, Answer] = {**found, **listed}
        return answers, list(dict.fromkeys((row.namespace, row.key) for row in used if row.ttl is not None))

    def _gets(self, gets: Mapping[int, GetOp], now: float) -> Program[dict[int, ItemRow | None]]:
        keys = list(dict.fromkeys((op.namespace, op.key) for op in gets.values()))
        found = yield from self._transact(self._items.get(self._tenant, keys, now))
        rows = dict(zip(keys, found, strict=True))
        return {index: rows[op.namespace, op.key] for index, op in gets.items()}

    def _ranked(self, op: SearchOp, vector: bytes | None, now: float) -> Program[list[Scored]]:
        """Search with a query among more items than the process keeps: the best items first."""
        passes = compile_filter(op.filter) if op.filter else None
        last = op.offset + op.limit
        depth = max(_LEAST_DEPTH, 2 * last)
        words = query_words(op.query or "", self._backend.language)
        query = Query(op.namespace_prefix, words, vector, op.filter, depth)
        while True:
            found = yield from self._transact(self._items.find(self._tenant, query, now))
            best = yield from self._best(found, passes, last)
            if len(best) >= last or found.complete:
                return best[op.offset : last]
            query = query._replace(depth=8 * query.depth)

    def _views(
        self, searches: Mapping[int, SearchOp], vectors: Mapping[int, bytes | None], now: float
    ) -> Program[dict[int, ItemView]]:
        """Return the items that each search ranks, by its index; none for searches that the database answers itself.

        Searches below one root share a corpus. If it has too many items, each namespace that is searched has a corpus.
        """
        views: dict[int, ItemView] = {}
        tried = set[ItemsKey]()
        for depth in (1, None) if self._items.reads_changes else (None,):
            groups: dict[ItemsKey, list[int]] = {}
            for index, op in searches.items():
                vector = vectors[index]
                key = ItemsKey(self._tenant, op.namespace_prefix[:depth], None if vector is None else len(vector))
                if index not in views and key not in tried:
                    groups.setdefault(key, []).append(index)
            if not groups:
                break
            tried |= groups.keys()
            found = yield from together(
                [
                    self._view(key, [searches[index].namespace_prefix for index in group], now)
                    for key, group in groups.items()
                ]
            )
            for group, own in zip(groups.values(), found, strict=True):
                views.update(zip(group, own, strict=False))
        return views

    def _view(self, key: ItemsKey, prefixes: Sequence[Namespace], now: float) -> Program[list[ItemView]]:
        """Return the items at or below some namespaces, from the corpus of a wider one; nothing if it has too many items."""
        corpora = Corpora.of(self._backend)
        while True:
            kept = corpora.get(key, KeptItems)
            start = kept.cursor
            changes = self._items.changes(self._tenant, key.prefix, key.width, start, now)
            if changes is None:
                return []
            read = yield from self._transact(changes)
            if read.is_too_large:
                return []
            if len(read.texts) > MANY_ROWS:
                yield from OffLoop(large=True)
            views = kept.views(read, start, prefixes, now)
            if views is not None:
                if read.cursor is not None:
                    corpora.keep(key, kept)
                return views

    def _all_passing(self, op: SearchOp, passes: Filter, now: float) -> Program[list[ItemRow] | None]:
        """Return all items that pass a filter; None if there may be more than `_MOST_PASSING`."""
        page, following = yield from self._transact(
            self._items.scan(self._tenant, op.namespace_prefix, op.filter, _MOST_PASSING, None, now)
        )
        return None if following is not None else (yield from _passing(page, passes))

    def _ranked_here(self, op: SearchOp, view: ItemView, vector: bytes | None, now: float) -> Program[list[Scored]]:
        """Rank the items of a corpus."""
        passes = compile_filter(op.filter) if op.filter else None
        last = op.offset + op.limit
        query = analysis.Query.of(op.query or "", self._backend.language)
        ranker = Ranker(cast("Corpus", view), query, items=True)
        depth, best, start = last if passes is None else max(_CHUNK, last), list[Scored](), 0
        while True:
            hits = yield from Compute(view.size > MANY_ROWS, ranker.best, vector, depth)
            found = {id_: hit for hit in hits[start:] if (id_ := view.id_of(hit.row)) is not None}
            rows = yield from self._transact(self._items.rows(list(found)))
            existing = [
                Scored(rows[id_], hit.score, hit.similarity)
                for id_, hit in found.items()
                if id_ in rows and view.is_at(hit.row, rows[id_])
            ]
            kept = {id(row) for row in (yield from _passing([one.row for one in existing], passes))}
            best.extend(one for one in existing if id(one.row) in kept)
            if len(best) >= last or len(hits) < depth:
                return best[op.offset : last]
            if not start and passes is not None:
                # Few of the best items pass the filter. If few items pass it at all, only these are ranked.
                passing = yield from self._all_passing(op, passes, now)
                if passing is not None:
                    hits = yield from Compute(view.size > MANY_ROWS, ranker.best, vector, last, view.rows_of(passing))
                    return _scored(hits, view, passing)[op.offset :]
            start, depth = len(hits), 8 * depth

    def _best(self, found: Found, passes: Filter | None, count: int) -> Program[list[Scored]]:
        """Return the best candidates that pass a filter, at least `count` if there are that many."""
        best: list[Scored] = []
        ranked = yield from Compute(len(found.candidates) > MANY_ROWS, rank, found.candidates)
        similarities = {one.id: one.dense for one in found.candidates}
        size = count if passes is None else _CHUNK
        for start in range(0, len(ranked), size or 1):
            chunk = ranked[start : start + size]
            rows: Mapping[Any, ItemRow] = found.rows
            if not all(item_id in rows for item_id, _ in chunk):
                rows = yield from self._transact(self._items.rows([item_id for item_id, _ in chunk]))
            existing = [
                Scored(rows[item_id], score, similarities[item_id]) for item_id, score in chunk if item_id in rows
            ]
            passing = {id(row) for row in (yield from _passing([one.row for one in existing], passes))}
            best.extend(one for one in existing if id(one.row) in passing)
            if len(best) >= count:
                break
        return best

    def _newest(self, op: SearchOp, now: float) -> Program[list[Scored]]:
        """Search without a query: the most recently updated items first."""
        passes = compile_filter(op.filter) if op.filter else None
        skipped = op.offset if self._items.skips(op.filter) else 0
        first, last = op.offset - skipped, op.offset - skipped + op.limit
        size = max(_CHUNK, last) if op.filter else last
        newest: list[Scored] = []
        following: tuple[Any, ...] | None = None
        while len(newest) < last:
            page, following = yield from self._transact(
                self._items.scan(
                    self._tenant,
                    op.namespace_prefix,
                    op.filter,
                    size,
                    following,
                    now,
                    offset=0 if following else skipped,
                )
            )
            newest.extend(Scored(row) for row in (yield from _passing(page, passes)))
            if following is None:
                break
            size *= 4  # few items of this page passed the filter
        return newest[first:last]

    def _namespaces(self, op: ListNamespacesOp, now: float) -> Program[list[Namespace]]:
        prefix: Namespace = ()
        for condition in op.match_conditions or ():
            if condition.match_type == "prefix" and "*" not in condition.path:
                prefix = max(prefix, tuple(condition.path), key=len)
        found = yield from self._transact(self._items.namespaces(self._tenant, prefix, now))
        matching = yield from Compute(len(found) > 10 * MANY_ROWS, _matching, found, op)
        return matching[op.offset : op.offset + op.limit]


def _scored(hits: Iterable[Hit], view: ItemView, rows: Iterable[ItemRow]) -> list[Scored]:
    """Return the items that were found, in the order of the hits."""
    by_id = {(row.namespace, row.key): row for row in rows}
    found = []
    for hit in hits:
        row = by_id.get(view.address_of(hit.row))
        if row is not None:
            found.append(Scored(row, hit.score, hit.similarity))
    return found


def results_of(
    batch: Batch, answers: Mapping[int, Answer], callers: Sequence[int] | None, language: str
) -> Program[list[list[Result]]]:
    """Decode the answers of a batch.

    Args:
        batch: The batch.
        answers: The answers to its reads.
        callers: The number of callers of each operation; None for one each.
        language: The language of full-text search.

    Returns:
        For each operation, a result for each of its callers. No two callers share a value.
    """
    counts = callers or [1] * batch.size
    if not answers:
        return [[None] * count for count in counts]
    large = are_large(row for answer in answers.values() for row in _rows_of(answer)) or max(counts) > MANY_ROWS
    return (yield from Compute(large, _decode, batch.reads, answers, counts, language))


def _decode(
    reads: Mapping[int, ReadOp], answers: Mapping[int, Answer], counts: Sequence[int], language: str
) -> list[list[Result]]:
    return [
        [_result(reads.get(index), answers.get(index), language) for _ in range(count)]
        for index, count in enumerate(counts)
    ]


def _result(op: ReadOp | None, answer: Any, language: str) -> Result:
    """Decode an answer; `op` is None for a write."""
    if op is None or answer is None:
        return None
    if isinstance(op, GetOp):
        return item_of(answer)
    if isinstance(op, SearchOp):
        query = analysis.Query.of(op.query, language) if op.query else None
        found: list[SearchItem] = [search_item_of(one.row, one.score, one.similarity, query) for one in answer]
        return found
    return list(answer)


def _rows_of(answer: Answer) -> Iterable[ItemRow]:
    """Return the rows of an answer; none for a listing of namespaces."""
    if isinstance(answer, ItemRow):
        return [answer]
    return [one.row for one in answer or () if isinstance(one, Scored)]


def are_large(rows: Iterable[ItemRow]) -> bool:
    """Return true if decoding the rows would block an event loop noticeably."""
    texts = [row.value for row in itertools.islice(rows, MANY_ROWS + 1)]
    return len(texts) > MANY_ROWS or is_long(texts, LARGE)


def _passing(rows: Sequence[ItemRow], passes: Filter | None) -> Program[list[ItemRow]]:
    """Return the rows whose values pass a filter."""
    if passes is None:
        return list(rows)
    return (yield from Compute(are_large(rows), lambda: [row for row in rows if passes(value_of(row))]))


def _matching(namespaces: Iterable[Namespace], op: ListNamespacesOp) -> list[Namespace]:
    """Return the namespaces that meet all conditions, cut to the maximum depth."""
    conditions = op.match_conditions or ()
    matching = [one for one in namespaces if all(_matches(one, condition) for condition in conditions)]
    return matching if op.max_depth is None else sorted({one[: op.max_depth] for one in matching})


def _matches(namespace: Namespace, condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    start = 0 if condition.match_type == "prefix" else len(namespace) - len(path)
    labels = namespace[max(0, start) : start + len(path)]
    return len(labels) == len(path) and all(one in ("*", label) for label, one in zip(labels, path, strict=True))
