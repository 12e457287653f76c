"""The store's operations as programs: reading, searching, writing and changing items."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, TypeVar, cast

from langgraph.store.base import (
    NOT_PROVIDED,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from langchain_agentmem.arguments.models import check_callable, check_list
from langchain_agentmem.backends.contract import Backend, EmbeddedItem, Found, ItemPut, ItemRow, Query
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.encoding.codec import load_json
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import InvalidTypeError, StorageBusyError
from langchain_agentmem.programs import Call, Compute, Program, Read, Write, storage_program
from langchain_agentmem.programs.sizes import LARGE, is_long
from langchain_agentmem.search.fingerprint import Indexer
from langchain_agentmem.search.ranking import rank, stop_words, terms
from langchain_agentmem.store.batches import (
    Batch,
    Fields,
    Place,
    Value,
    index_of,
    is_heavy,
    name_of_item,
    value_of,
)
from langchain_agentmem.store.filters import Filter, compile_filter
from langchain_agentmem.store.updates import Decide, Rows, Values, checked_places, updated

T = TypeVar("T")
Index = Literal[False] | list[str] | None
"""What search finds an item by: paths of fields, False for nothing, None for what is configured."""
Ask = Callable[[Program[Any]], Program[Any]]
"""Runs a storage program: in the transaction that is going on, or in one of its own."""
Ranked = list[tuple[ItemRow, float | None]]
"""Items that were found, with their scores."""
PutOf = Callable[..., PutOp]
"""Makes a put of a namespace, a key, a value, an index and a time to live."""

MANY_ROWS = 500
"""From so many items on they are decoded and ranked in a worker thread under `arun`: it takes a millisecond."""

_CHUNK = 200

_DEPTH = 20
"""At least so many of the best by words and of the best by meaning are fused, however few are asked for."""


class ItemEngine:
    """The operations of one tenant's store.

    Args:
        backend: Where the items are.
        tenant: Whose they are.
        fields: What is indexed of an item that does not say so itself.
        indexer: What embeds them; None without an embedding model.
        sweeper: What deletes expired items now and then.
    """

    def __init__(
        self, backend: Backend, tenant: str, fields: Fields, indexer: Indexer | None, sweeper: Sweeper
    ) -> None:
        self._backend = backend
        self._tenant = tenant
        self._fields = fields
        self._indexer = indexer
        self._sweeper = sweeper
        stop_words(backend.language)  # read from a file now, and not on an event loop later

    def one(self, op: Op) -> Program[Any]:
        """Do one operation."""
        results: list[Any] = yield from self.batch([op])
        return results[0]

    def batch(self, ops: Sequence[Op]) -> Program[list[Result]]:
        """Do several operations in one transaction: reads see the state before, the last put to a key counts."""
        work = yield from self.checked(ops)
        return [result for (result,) in (yield from self.perform(work))]

    def checked(self, ops: Sequence[Op]) -> Program[Batch]:
        """Operations that are checked and analysed, ready for `perform`.

        Raises:
            InvalidInputError: One of them is not accepted.
        """
        work: Batch = yield from Compute(is_heavy(ops), self.sorted, ops)
        return work

    def sorted(self, ops: Sequence[Op]) -> Batch:
        """Same as `checked`, for few operations with small values."""
        return Batch.of(ops, self._fields, embedding=self._indexer is not None, tenant=self._tenant)

    def perform(self, work: Batch, callers: Sequence[int] | None = None) -> Program[list[list[Result]]]:
        """Do a batch.

        Args:
            work: The batch.
            callers: How many callers want the result of each operation. Default: None (one each).

        Returns:
            Of each operation the results, one for each caller. No two callers share a value.
        """
        yield from self._embed(work)
        now = time.time()
        items, tenant = self._backend.items, self._tenant
        found: dict[int, Any] = {}
        used: list[Place] = []
        if work.is_gets or (work.size == 1 and work.reads):
            # One question, or one kind that is asked together, needs no transaction around what answers it.
            found, used = yield from self._answers(work, now, self._read)
        elif not work.puts and not work.deletes:
            found, used = yield from Read(self._backend, self._perform(work, now))
        elif not work.deletes and not work.reads:
            yield from Write(self._backend, items.put(tenant, work.item_puts(), now))
        elif not work.puts and not work.reads:
            yield from Write(self._backend, items.delete(tenant, work.deletes))
        else:
            found, used = yield from Write(self._backend, self._perform(work, now))
        if work.puts or work.deletes:
            yield from self._renew(work)
            yield from self._sweeper.after_write()
        elif used:
            # What was read is not withheld because another writer holds the database: the time to live goes on as it was.
            with contextlib.suppress(StorageBusyError):
                yield from Write(self._backend, items.touch(tenant, used, now))
        if not found:
            return [[None] * (callers[at] if callers else 1) for at in range(work.size)]
        large = _is_large(row for one in found.values() for row in _rows_of(one))
        large = large or (callers is not None and max(callers) > MANY_ROWS)
        results: list[list[Result]] = yield from Compute(large, _results, work, found, callers)
        return results

    def _read(self, program: Program[T]) -> Program[T]:
        result: T = yield from Read(self._backend, program)
        return result

    def _embed(self, work: Batch) -> Program[None]:
        if self._indexer is None:
            return
        texts = work.all_texts()
        if texts:
            work.embedded = yield from self._indexer.documents(texts, strict=work.merged_from > 1)
        searches = work.of_kind(SearchOp).values()
        queries: dict[str, bytes] = {}
        for query in {op.query for op in searches if op.query and op.query.strip()}:
            vector = yield from self._indexer.query(query)
            if vector is not None:
                queries[query] = vector
        work.queries = queries

    def _renew(self, work: Batch) -> Program[None]:
        """Give what was stored other vectors, or none, when `reindex` did not wait for it."""
        items, tenant = self._backend.items, self._tenant
        while self._indexer is not None and (texts := work.all_texts()):
            renewed = yield from self._indexer.renewed(texts, work.embedded)
            if renewed is None:
                return
            work.embedded = renewed
            embedded_places = [place for place, put in work.puts.items() if put.pieces]
            read = yield from Read(self._backend, items.get(tenant, embedded_places, time.time()))
            rows = dict(zip(embedded_places, read, strict=True))
            own = [
                (row, work.vectors(place))
                for place, row in rows.items()
                if row and load_json(row.value) == load_json(work.puts[place].text)
            ]
            yield from Write(self._backend, items.embed(tenant, [EmbeddedItem(row, ()) for row, _ in own]))
            embedded = [EmbeddedItem(row, vectors) for row, vectors in own if vectors]
            if embedded:
                yield from Write(self._backend, items.embed(tenant, embedded))

    @storage_program
    def _perform(self, work: Batch, now: float) -> Program[tuple[dict[int, Any], list[Place]]]:
        """The storage program of a batch: what answers it, and the items whose time to live is to start anew."""
        items, tenant = self._backend.items, self._tenant
        found, touch = yield from self._answers(work, now, lambda program: program)
        if work.puts or work.deletes:
            yield from items.change(tenant, work.item_puts(), work.deletes, touch, now)
        return found, touch

    def _answers(self, work: Batch, now: float, ask: Ask) -> Program[tuple[dict[int, Any], list[Place]]]:
        """What answers a batch's questions, by their places among the results; `ask` runs a storage program."""
        with reading("One of the items"):
            return (yield from self._answered(work, now, ask))

    def _answered(self, work: Batch, now: float, ask: Ask) -> Program[tuple[dict[int, Any], list[Place]]]:
        found: dict[int, Any] = {}
        used: list[ItemRow] = []
        gets = work.of_kind(GetOp)
        if gets:
            places = list(dict.fromkeys((op.namespace, op.key) for op in gets.values()))
            rows = dict(zip(places, (yield from ask(self._backend.items.get(self._tenant, places, now))), strict=True))
            for at, op in gets.items():
                row = found[at] = rows[op.namespace, op.key]
                if row and op.refresh_ttl:
                    used.append(row)
        for at, search in work.of_kind(SearchOp).items():
            ranked = found[at] = yield from self._search(search, work.queries.get(search.query or ""), now, ask)
            used.extend(row for row, _ in ranked if search.refresh_ttl)
        for at, listing in work.of_kind(ListNamespacesOp).items():
            found[at] = yield from self._list(listing, now, ask)
        return found, list(dict.fromkeys((row.namespace, row.key) for row in used if row.ttl is not None))

    def _search(self, op: SearchOp, vector: bytes | None, now: float, ask: Ask) -> Program[Ranked]:
        passes = compile_filter(op.filter)
        last = op.offset + op.limit
        kept: Ranked = []
        if op.query:
            words = terms(op.query, self._backend.language)
            query = Query(op.namespace_prefix, words, vector, op.filter, max(_DEPTH, 2 * last))
            while True:
                found = yield from ask(self._backend.items.find(self._tenant, query, now))
                kept = yield from self._first(found, passes if op.filter else None, last, ask)
                if len(kept) >= last or found.complete:
                    return kept[op.offset : last]
                query = query._replace(depth=8 * query.depth)
        size = max(_CHUNK, last) if op.filter else last
        following: tuple[Any, ...] | None = None
        while len(kept) < last:
            page, following = yield from ask(
                self._backend.items.scan(self._tenant, op.namespace_prefix, op.filter, size, following, now)
            )
            kept.extend((row, None) for row in (yield from _passing(page, passes if op.filter else None)))
            if following is None:
                break
            size *= 4  # the backend leaves few of those out that do not pass
        return kept[op.offset : last]

    def _first(self, found: Found, passes: Filter | None, last: int, ask: Ask) -> Program[Ranked]:
        """The best of what was found that pass, and their scores."""
        kept: Ranked = []
        ranked = yield from Compute(len(found.candidates) > MANY_ROWS, rank, found.candidates)
        size = last if passes is None else _CHUNK
        for at in range(0, len(ranked), size or 1):
            chunk = ranked[at : at + size]
            rows: Mapping[Any, ItemRow] = found.rows
            if not all(item in rows for item, _ in chunk):
                rows = yield from ask(self._backend.items.rows([item for item, _ in chunk]))
            there = [(rows[item], score) for item, score in chunk if item in rows]
            passing = {id(row) for row in (yield from _passing([row for row, _ in there], passes))}
            kept.extend(pair for pair in there if id(pair[0]) in passing)
            if len(kept) >= last:
                break
        return kept

    def _list(self, op: ListNamespacesOp, now: float, ask: Ask) -> Program[list[tuple[str, ...]]]:
        conditions = op.match_conditions or ()
        literal: tuple[str, ...] = ()
        for condition in conditions:
            if condition.match_type == "prefix" and "*" not in condition.path:
                literal = max(literal, tuple(condition.path), key=len)
        every = yield from ask(self._backend.items.namespaces(self._tenant, literal, now))
        found: list[tuple[str, ...]] = yield from Compute(len(every) > 10 * MANY_ROWS, _matching, every, op)
        return found[op.offset : op.offset + op.limit]

    def update(
        self,
        place: Place,
        function: Callable[[Value | None], Any],
        index: Index | NotProvided,
        ttl: float | NotProvided | None,
        put_of: PutOf,
    ) -> Program[Value]:
        """Change an item; see `AgentMemStore.update`. `put_of` makes a put of what is stored."""
        check_callable("function", function)
        (checked,) = checked_places([place])

        def decide(values: Values) -> Program[Values]:
            value = yield from Call(function, values[checked])
            if value is None:
                msg = f"The function given to update returned None for {checked}: return the new value, or use delete."
                raise InvalidTypeError(msg)
            return {checked: value}

        stored = yield from self._updated([checked], decide, index, ttl, put_of)
        return cast("Value", stored[checked])

    def update_many(
        self,
        keys: Iterable[Place],
        function: Callable[[Values], Any],
        index: Index | NotProvided | Mapping[tuple[str, ...], Index],
        ttl: float | NotProvided | None,
        put_of: PutOf,
    ) -> Program[Values]:
        """Change several items together; see `AgentMemStore.update_many`. `put_of` makes a put of what is stored."""
        check_callable("function", function)
        keys = check_list("keys", keys, "pairs of a namespace and a key")

        def decide(values: Values) -> Program[Mapping[Any, Any]]:
            changes: Mapping[Any, Any] = yield from Call(function, values)
            return changes

        return (yield from self._updated(keys, decide, index, ttl, put_of))

    def _updated(
        self,
        keys: Iterable[Place],
        decide: Decide,
        index: Index | NotProvided | Mapping[tuple[str, ...], Index],
        ttl: float | NotProvided | None,
        put_of: PutOf,
    ) -> Program[Values]:
        work = Batch(0)

        def prepare(values: Mapping[Place, Any], rows: Rows) -> Program[list[ItemPut]]:
            nonlocal work
            ops = []
            for place, value in values.items():
                row = rows.get(place)
                keep = ttl
                how = index.get(place[0], NOT_PROVIDED) if isinstance(index, Mapping) else index
                with reading(name_of_item(*place)):
                    if row and isinstance(ttl, NotProvided):
                        keep = None if row.ttl is None else row.ttl / 60
                    if isinstance(how, NotProvided):
                        how = None if row is None else index_of(row)
                ops.append(put_of(*place, value, how, keep))
            work = yield from self.checked(ops)
            yield from self._embed(work)
            return work.item_puts()

        values = yield from updated(self._backend, self._tenant, keys, decide, prepare)
        yield from self._renew(work)
        yield from self._sweeper.after_write()
        return values


def _is_large(rows: Iterable[ItemRow]) -> bool:
    texts = [row.value for row in itertools.islice(rows, MANY_ROWS + 1)]
    return len(texts) > MANY_ROWS or is_long(texts, LARGE)


def _rows_of(found: Any) -> Iterator[ItemRow]:
    """The items that answer one question; none for a listing of namespaces."""
    if isinstance(found, ItemRow):
        yield found
    elif isinstance(found, list):
        yield from (pair[0] for pair in found if isinstance(pair[0], ItemRow))


def _passing(rows: Sequence[ItemRow], passes: Filter | None) -> Program[list[ItemRow]]:
    """The items that pass a filter."""
    if passes is None:
        return list(rows)
    kept: list[ItemRow] = yield from Compute(_is_large(rows), lambda: [row for row in rows if passes(value_of(row))])
    return kept


def _results(work: Batch, found: Mapping[int, Any], callers: Sequence[int] | None) -> list[list[Result]]:
    """Of each operation the results, one for each caller: nobody gets a value that somebody else may change."""
    reads = work.reads
    return [
        [_result(reads.get(at), found.get(at)) for _ in range(callers[at] if callers else 1)] for at in range(work.size)
    ]


def _result(op: Op | None, found: Any) -> Result:
    """The result of an operation; `op` is None for one that writes."""
    if op is None or found is None:
        return None
    if isinstance(op, GetOp):
        return _item(found)
    if isinstance(op, SearchOp):
        return [search_item(row, score) for row, score in found]
    return list(found)


def _matching(every: Iterable[tuple[str, ...]], op: ListNamespacesOp) -> list[tuple[str, ...]]:
    conditions = op.match_conditions or ()
    found = [namespace for namespace in every if all(_fits(namespace, condition) for condition in conditions)]
    return found if op.max_depth is None else sorted({namespace[: op.max_depth] for namespace in found})


def _fits(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    start = 0 if condition.match_type == "prefix" else len(namespace) - len(path)
    part = namespace[max(0, start) : start + len(path)]
    return len(part) == len(path) and all(asked in ("*", label) for label, asked in zip(part, path, strict=True))


def _item(row: ItemRow) -> Item:
    with reading(name_of_item(row.namespace, row.key)):
        return Item(
            value=load_json(row.value),
            key=row.key,
            namespace=row.namespace,
            created_at=datetime.fromtimestamp(row.created_at, timezone.utc),
            updated_at=datetime.fromtimestamp(row.updated_at, timezone.utc),
        )


def search_item(row: ItemRow, score: float | None) -> SearchItem:
    """What a search returns of an item."""
    item = _item(row)
    return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)
