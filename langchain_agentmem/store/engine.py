"""The store's operations as programs: reading, searching, writing and changing items."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, TypeVar, cast

from langgraph.store.base import (
    NOT_PROVIDED,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    MatchCondition,
    NamespacePath,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from langchain_agentmem.arguments.ids import check_tenant
from langchain_agentmem.arguments.values import check_flag, check_list
from langchain_agentmem.backends.contract import Backend, EmbeddedItem, Found, ItemPut, ItemRow, Query
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.errors import InvalidTypeError, StorageBusyError
from langchain_agentmem.programs import Compute, Program, Read, Step, Write, storage_program
from langchain_agentmem.programs.sizes import LARGE, is_long
from langchain_agentmem.search.fingerprint import Embedded, Indexer
from langchain_agentmem.search.ranking import rank, stop_words, terms
from langchain_agentmem.store.batches import (
    Batch,
    Place,
    Value,
    checked_index,
    checked_ttl,
    field_paths,
    index_of,
    is_heavy,
    name_of_item,
    own_namespace,
    text_key,
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
Change = Callable[[Value | None], Any]
"""Returns the new value of an item, or a program or step that returns it."""
ChangeMany = Callable[[Values], Any]
"""Returns the new values of items by key, or a program or step that returns them."""

MANY_ROWS = 500
"""From so many items on they are decoded and ranked in a worker thread under `arun`: it takes a millisecond."""

_CHUNK = 200

_DEPTH = 20
"""At least so many of the best by words and of the best by meaning are fused, however few are asked for."""


class StoreEngine:
    """The store's operations as programs, for one tenant. Configured defaults apply as in `AgentMemStore`.

    Args:
        backend: The backend that stores the items.
        tenant: The tenant. Default: `"default"`.
        index: LangGraph's index configuration. Default: None (full-text search over all fields).
        ttl: LangGraph's TTL configuration. Default: None (items do not expire).
        sweeper: Deletes expired rows after writes. Default: None (a sweeper for this tenant).

    Example:
        >>> from langchain_agentmem.backends import connect
        >>> from langchain_agentmem.programs import run
        >>> from langchain_agentmem.store.engine import StoreEngine
        >>> engine = StoreEngine(connect("sqlite:///:memory:"))
        >>> def copy():
        ...     yield from engine.put(("notes",), "a", {"text": "pizza"})
        ...     item = yield from engine.get(("notes",), "a")
        ...     yield from engine.put(("notes",), "b", item.value)
        ...     return (yield from engine.search(("notes",), query="pizza"))
        >>> sorted(item.key for item in run(copy()))
        ['a', 'b']
        >>> engine.backend.close()
    """

    def __init__(
        self,
        backend: Backend,
        tenant: str = "default",
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        sweeper: Sweeper | None = None,
    ) -> None:
        self.backend = backend
        self.tenant = check_tenant(tenant)
        self.index_config = checked_index(index)
        self.ttl_config = checked_ttl(ttl)
        self.sweeper = sweeper or Sweeper(backend, tenant)
        self.indexer = Indexer.of(index.get("embed"), backend, tenant, index.get("dims")) if index else None
        self.fields = field_paths((index or {}).get("fields") or ["$"])
        """The indexed fields of items whose put does not name any."""
        self._default_ttl = (self.ttl_config or {}).get("default_ttl")
        self._refresh_on_read = (self.ttl_config or {}).get("refresh_on_read", True)
        if index:
            backend.use_vectors(cast("Mapping[str, Any]", index).get("ann_index_config") or {})
        stop_words(backend.language)  # reads a file, which must not happen on an event loop later

    @property
    def language(self) -> str:
        """The language of full-text search."""
        return self.backend.language

    def get(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Program[Item | None]:
        """Return an item, or None; see `AgentMemStore.get`."""
        return self.one(self.get_op(namespace, key, refresh_ttl=refresh_ttl))

    def search(
        self,
        namespace_prefix: tuple[str, ...],
        *,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> Program[list[SearchItem]]:
        """Search at or below a namespace; see `AgentMemStore.search`."""
        op = self.search_op(
            namespace_prefix, query=query, filter=filter, limit=limit, offset=offset, refresh_ttl=refresh_ttl
        )
        return self.one(op)

    def list_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Program[list[tuple[str, ...]]]:
        """List the namespaces that hold items; see `AgentMemStore.list_namespaces`."""
        op = self.list_op(prefix=prefix, suffix=suffix, max_depth=max_depth, limit=limit, offset=offset)
        return self.one(op)

    def put(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        *,
        index: Index = None,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> Program[None]:
        """Store an item; see `AgentMemStore.put`."""
        return self.one(self.put_op(namespace, key, value, index=index, ttl=ttl))

    def delete(self, namespace: tuple[str, ...], key: str) -> Program[None]:
        """Delete an item, if there is one."""
        return self.one(self.delete_op(namespace, key))

    def update(
        self,
        namespace: tuple[str, ...],
        key: str,
        function: Change,
        *,
        index: Index | NotProvided = NOT_PROVIDED,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> Program[Value]:
        """Change an item without losing a concurrent change; see `AgentMemStore.update`.

        Args:
            namespace: The namespace of the item.
            key: The key of the item.
            function: Gets the item's value (None: there is no item) and returns the new one, or a program or step that
                returns it. It is called again when another writer was faster.
            index: As in `put`. Default: that of the item if there is one.
            ttl: As in `put`. Default: that of the item if there is one.

        Returns:
            The value that was stored.
        """
        (checked,) = checked_places([(namespace, key)])

        def decide(values: Values) -> Program[Values]:
            value = yield from _result_of(function(values[checked]))
            if value is None:
                msg = f"The function given to update returned None for {checked}: return the new value, or use delete."
                raise InvalidTypeError(msg)
            return {checked: value}

        stored = yield from self._updated([checked], decide, index, ttl)
        return cast("Value", stored[checked])

    def update_many(
        self,
        keys: Iterable[Place],
        function: ChangeMany,
        *,
        index: Index | NotProvided | Mapping[tuple[str, ...], Index] = NOT_PROVIDED,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> Program[Values]:
        """Change several items together; see `AgentMemStore.update_many`.

        Args:
            keys: The items, each as a pair of a namespace and a key; all below one root label.
            function: Gets the items' values by key and returns the changed ones, or a program or step that returns them.
                It is called again when another writer was faster.
            index: As in `put`, or a dict of it by namespace. Default: that of each item if there is one.
            ttl: As in `put`. Default: that of each item if there is one.

        Returns:
            The values of all items afterwards, by key; None where there is no item.
        """
        keys = check_list("keys", keys, "pairs of a namespace and a key")
        return (yield from self._updated(keys, lambda values: _result_of(function(values)), index, ttl))

    def batch(self, ops: Sequence[Op]) -> Program[list[Result]]:
        """Do several operations in one transaction: reads see the state before, the last put to a key counts."""
        work = yield from self.checked(ops)
        return [result for (result,) in (yield from self.perform(work))]

    def one(self, op: Op) -> Program[Any]:
        """Do one operation."""
        (result,) = yield from self.batch([op])
        return result

    # Operations with the configured defaults

    def get_op(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> GetOp:
        """The operation of `get`."""
        return GetOp(namespace, text_key(key), self._refreshes(refresh_ttl))

    def search_op(
        self,
        namespace_prefix: tuple[str, ...],
        *,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> SearchOp:
        """The operation of `search`."""
        condition = cast("dict[str, Any] | None", filter)
        return SearchOp(namespace_prefix, condition, limit, offset, query, self._refreshes(refresh_ttl))

    def list_op(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> ListNamespacesOp:
        """The operation of `list_namespaces`."""
        conditions = []
        if prefix:
            conditions.append(MatchCondition("prefix", tuple(prefix) if isinstance(prefix, list) else prefix))
        if suffix:
            conditions.append(MatchCondition("suffix", tuple(suffix) if isinstance(suffix, list) else suffix))
        return ListNamespacesOp(tuple(conditions), max_depth, limit, offset)

    def put_op(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        *,
        index: Index = None,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> PutOp:
        """The operation of `put`."""
        if value is None:
            msg = "A store value must be a mapping such as a dict, got None; use delete to remove an item."
            raise InvalidTypeError(msg)
        minutes = self._default_ttl if isinstance(ttl, NotProvided) else ttl
        return PutOp(own_namespace(namespace), text_key(key), cast("dict[str, Any]", value), index, minutes)

    def delete_op(self, namespace: tuple[str, ...], key: str) -> PutOp:
        """The operation of `delete`."""
        return PutOp(namespace, text_key(key), None)

    def _refreshes(self, refresh_ttl: bool | None) -> bool:
        return self._refresh_on_read if refresh_ttl is None else check_flag("refresh_ttl", refresh_ttl)

    # Batches

    def checked(self, ops: Sequence[Op]) -> Program[Batch]:
        """Operations that are checked and analysed, ready for `perform`.

        Raises:
            InvalidInputError: One of them is not accepted.
        """
        work: Batch = yield from Compute(is_heavy(ops), self.sorted, ops)
        return work

    def sorted(self, ops: Sequence[Op]) -> Batch:
        """Same as `checked`, for few operations with small values."""
        return Batch.of(ops, self.fields, embedding=self.indexer is not None, tenant=self.tenant)

    def perform(self, work: Batch, callers: Sequence[int] | None = None) -> Program[list[list[Result]]]:
        """Do a batch.

        Args:
            work: The batch.
            callers: How many callers want the result of each operation. Default: None (one each).

        Returns:
            Of each operation the results, one for each caller. No two callers share a value.
        """
        yield from self._embed(work)
        puts = yield from work.analysed_puts()
        now = time.time()
        items, tenant = self.backend.items, self.tenant
        found: dict[int, Any] = {}
        used: list[Place] = []
        if work.is_gets or (work.size == 1 and work.reads):
            # One question, or one kind that is asked together, needs no transaction around what answers it.
            found, used = yield from self._answers(work, now, self._read)
        elif not work.puts and not work.deletes:
            found, used = yield from Read(self.backend, self._perform(work, puts, now))
        elif not work.deletes and not work.reads:
            yield from Write(self.backend, items.put(tenant, puts, now))
        elif not work.puts and not work.reads:
            yield from Write(self.backend, items.delete(tenant, work.deletes))
        else:
            found, used = yield from Write(self.backend, self._perform(work, puts, now))
        if work.puts or work.deletes:
            yield from self._settle(work)
            yield from self.sweeper.after_write()
        elif used:
            # What was read is not withheld because another writer holds the database: the time to live goes on as it was.
            with contextlib.suppress(StorageBusyError):
                yield from Write(self.backend, items.touch(tenant, used, now))
        if not found:
            return [[None] * (callers[at] if callers else 1) for at in range(work.size)]
        large = _is_large(row for one in found.values() for row in _rows_of(one))
        large = large or (callers is not None and max(callers) > MANY_ROWS)
        results = yield from Compute(large, _results, work, found, callers)
        return results

    def _read(self, program: Program[T]) -> Program[T]:
        result: T = yield from Read(self.backend, program)
        return result

    def _embed(self, work: Batch) -> Program[None]:
        if self.indexer is None:
            return
        texts = work.all_texts()
        if texts:
            work.embedded = yield from self.indexer.documents(texts, strict=work.merged_from > 1)
        searches = work.of_kind(SearchOp).values()
        queries: dict[str, bytes] = {}
        for query in {op.query for op in searches if op.query and op.query.strip()}:
            vector = yield from self.indexer.query(query)
            if vector is not None:
                queries[query] = vector
        work.queries = queries

    def _settle(self, work: Batch) -> Program[None]:
        """Recheck the fingerprint after a batch was stored; see `Indexer.settle`."""
        if self.indexer is None or not (texts := work.all_texts()):
            return
        items, tenant = self.backend.items, self.tenant
        embedded_places = [place for place, put in work.puts.items() if put.pieces]

        def replace(renewed: Embedded) -> Program[None]:
            work.embedded = renewed
            read = yield from Read(self.backend, items.get(tenant, embedded_places, time.time()))
            own = [
                (row, work.vectors(place))
                for place, row in zip(embedded_places, read, strict=True)
                if row and load_json(row.value) == load_json(work.puts[place].text)
            ]
            yield from Write(self.backend, items.embed(tenant, [EmbeddedItem(row, ()) for row, _ in own]))
            embedded = [EmbeddedItem(row, vectors) for row, vectors in own if vectors]
            if embedded:
                yield from Write(self.backend, items.embed(tenant, embedded))

        yield from self.indexer.settle(texts, work.embedded, replace)

    @storage_program
    def _perform(self, work: Batch, puts: Sequence[ItemPut], now: float) -> Program[tuple[dict[int, Any], list[Place]]]:
        """The storage program of a batch: what answers it, and the items whose time to live is to start anew."""
        items, tenant = self.backend.items, self.tenant
        found, touch = yield from self._answers(work, now, lambda program: program)
        if work.puts or work.deletes:
            yield from items.change(tenant, puts, work.deletes, touch, now)
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
            rows = dict(zip(places, (yield from ask(self.backend.items.get(self.tenant, places, now))), strict=True))
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
            words = terms(op.query, self.backend.language)
            query = Query(op.namespace_prefix, words, vector, op.filter, max(_DEPTH, 2 * last))
            while True:
                found = yield from ask(self.backend.items.find(self.tenant, query, now))
                kept = yield from self._first(found, passes if op.filter else None, last, ask)
                if len(kept) >= last or found.complete:
                    return kept[op.offset : last]
                query = query._replace(depth=8 * query.depth)
        size = max(_CHUNK, last) if op.filter else last
        following: tuple[Any, ...] | None = None
        while len(kept) < last:
            page, following = yield from ask(
                self.backend.items.scan(self.tenant, op.namespace_prefix, op.filter, size, following, now)
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
                rows = yield from ask(self.backend.items.rows([item for item, _ in chunk]))
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
        every = yield from ask(self.backend.items.namespaces(self.tenant, literal, now))
        found: list[tuple[str, ...]] = yield from Compute(len(every) > 10 * MANY_ROWS, _matching, every, op)
        return found[op.offset : op.offset + op.limit]

    def _updated(
        self,
        keys: Iterable[Place],
        decide: Decide,
        index: Index | NotProvided | Mapping[tuple[str, ...], Index],
        ttl: float | NotProvided | None,
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
                ops.append(self.put_op(*place, value, index=how, ttl=keep))
            work = yield from self.checked(ops)
            yield from self._embed(work)
            return (yield from work.analysed_puts())

        values = yield from updated(self.backend, self.tenant, keys, decide, prepare)
        yield from self._settle(work)
        yield from self.sweeper.after_write()
        return values


def _result_of(changed: Any) -> Program[Any]:
    """What a function returned, or what the program or step that it returned comes to."""
    if isinstance(changed, (Generator, Step)):
        changed = yield from changed
    return changed


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
