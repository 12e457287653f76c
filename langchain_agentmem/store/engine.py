"""The operations of the store as programs."""

from __future__ import annotations

import contextlib
import copy
import logging
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

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
from langchain_agentmem.arguments.values import check_flag, check_list, shown
from langchain_agentmem.backends.contract import Backend, EmbeddedItem, ItemPut, ItemRow
from langchain_agentmem.backends.contract.transfer import ItemState
from langchain_agentmem.backends.reads import CachedReads
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.errors import InvalidTypeError, StorageBusyError
from langchain_agentmem.programs import Compute, Program, Read, Step, Write, storage_program, together
from langchain_agentmem.search.fingerprint import Embedded, Indexer
from langchain_agentmem.search.ranking import stop_words
from langchain_agentmem.store.arguments import (
    ItemKey,
    check_index_config,
    check_item_key,
    check_item_namespace,
    check_ttl_config,
    text_key,
)
from langchain_agentmem.store.batches import Batch, is_heavy
from langchain_agentmem.store.fields import Index, field_paths, index_of
from langchain_agentmem.store.items import Value, item_groups, item_name
from langchain_agentmem.store.reads import Answer, Reader, results_of
from langchain_agentmem.store.updates import Decide, Rows, Values, updated
from langchain_agentmem.text.guard import Guard

_log = logging.getLogger(__name__)

T = TypeVar("T")
TTL = float | timedelta | NotProvided | None
"""The `ttl` argument of a put: minutes or a `timedelta`, None for no expiry."""
Change = Callable[[Value | None], Any]
"""Returns the new value of an item, or a program or step whose result is the new value."""
ChangeMany = Callable[[Values], Any]
"""Returns the changed values of items by key, or a program or step whose result they are."""


class ItemImport(NamedTuple):
    """An item of another package."""

    op: PutOp
    created_at: float
    """The time in Unix seconds, as in `updated_at` and `expires_at`."""
    updated_at: float
    expires_at: float | None


class StoreEngine:
    """The operations of the store as programs, for one tenant. The configured defaults apply as in `AgentMemStore`.

    Args:
        backend: The backend that stores the items.
        tenant: The tenant. Default: `"default"`.
        index: LangGraph's index configuration. Default: None (full-text search over all fields).
        ttl: LangGraph's TTL configuration. Default: None (no expiry).
        sweeper: Deletes expired rows after writes. Default: None (a sweeper for this tenant).
        cache: The cache of reads, which writes invalidate and `cached` uses. Default: None (nothing is cached).
        guard: The rules for values. Default: None (any value).

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
        cache: CachedReads | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.guard = guard
        self.backend = backend
        self.tenant = check_tenant(tenant)
        self.index_config = check_index_config(index)
        self.ttl_config = check_ttl_config(ttl)
        self.sweeper = sweeper or Sweeper(backend, tenant)
        self.cache = cache or CachedReads()
        self.indexer = Indexer.of(index.get("embed"), backend, tenant, index.get("dims")) if index else None
        self.fields = field_paths((index or {}).get("fields") or ["$"])
        """The indexed fields of items whose put names none."""
        self._default_ttl = (self.ttl_config or {}).get("default_ttl")
        self._refresh_on_read = (self.ttl_config or {}).get("refresh_on_read", True)
        self._reader = Reader(backend, tenant, _transactions(backend))
        """Runs each storage program in a transaction of its own."""
        self._reader_within = Reader(backend, tenant, lambda program: program)
        """Runs all storage programs in the current transaction."""
        if index:
            backend.use_vectors(cast("Mapping[str, Any]", index).get("ann_index_config") or {})
        stop_words(backend.language)  # reads a file, which must not happen on an event loop later

    @property
    def language(self) -> str:
        """The language of full-text search."""
        return self.backend.language

    def __repr__(self) -> str:
        return f"StoreEngine({self.backend!r}, tenant={self.tenant!r})"

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
        ttl: TTL = NOT_PROVIDED,
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
        ttl: TTL = NOT_PROVIDED,
    ) -> Program[Value]:
        """Change an item without losing a concurrent change; see `AgentMemStore.update`.

        Args:
            namespace: The namespace of the item.
            key: The key of the item.
            function: Gets the item's value (None if there is no item) and returns the new one, or a program or step whose
                result is the new value. It is called again if another writer was faster.
            index: As in `put`. Default: that of the item if there is one.
            ttl: As in `put`. Default: that of the item if there is one.

        Returns:
            The stored value.
        """
        item_key = check_item_key((namespace, key))

        def decide(values: Values) -> Program[Values]:
            value = yield from _result_of(function(values[item_key]))
            if value is None:
                msg = f"The function of update returned None for {shown(item_key, 200)}. Return the new value, or use delete."
                raise InvalidTypeError(msg)
            return {item_key: value}

        stored = yield from self._update([item_key], decide, index, ttl)
        return cast("Value", stored[item_key])

    def update_many(
        self,
        keys: Iterable[ItemKey],
        function: ChangeMany,
        *,
        index: Index | NotProvided | Mapping[tuple[str, ...], Index] = NOT_PROVIDED,
        ttl: TTL = NOT_PROVIDED,
    ) -> Program[Values]:
        """Change several items together; see `AgentMemStore.update_many`.

        Args:
            keys: The items, each as a pair of a namespace and a key. All have one root label.
            function: Gets the items' values by key and returns the changed ones, or a program or step whose result they
                are. It is called again if another writer was faster.
            index: As in `put`, or a dict of it by namespace. Default: that of each item if there is one.
            ttl: As in `put`. Default: that of each item if there is one.

        Returns:
            The values of all items afterwards, by key; None where there is no item.
        """
        keys = check_list("keys", keys, "pairs of a namespace and a key")
        return (yield from self._update(keys, lambda values: _result_of(function(values)), index, ttl))

    def _update(
        self,
        keys: Iterable[ItemKey],
        decide: Decide,
        index: Index | NotProvided | Mapping[tuple[str, ...], Index],
        ttl: TTL,
    ) -> Program[Values]:
        batch = Batch(0)

        def guarded(values: Values) -> Program[Values]:
            changes = yield from decide(values)
            guard = self.guard
            if guard is None or not isinstance(changes, Mapping):
                return cast("Values", changes)
            return {key: self._guarded(key, value, guard) for key, value in changes.items()}

        def prepare(values: Mapping[ItemKey, Any], rows: Rows) -> Program[list[ItemPut]]:
            nonlocal batch
            ops = []
            for key, value in values.items():
                row = rows.get(key)
                own_ttl = ttl
                own_index = index.get(key[0], NOT_PROVIDED) if isinstance(index, Mapping) else index
                with reading(item_name(*key)):
                    if row and isinstance(ttl, NotProvided):
                        own_ttl = None if row.ttl is None else row.ttl / 60
                    if isinstance(own_index, NotProvided):
                        own_index = None if row is None else index_of(row)
                ops.append(self.put_op(*key, value, index=own_index, ttl=own_ttl))
            batch = yield from self.prepare(ops)
            if self.indexer is not None:
                yield from self._embed(batch, self.indexer)
            return (yield from batch.analysed_puts(self.backend.language))

        values = yield from updated(self.backend, self.tenant, keys, guarded, prepare, self.cache)
        yield from self._settle(batch)
        yield from self.sweeper.after_write()
        return values

    def batch(self, ops: Sequence[Op]) -> Program[list[Result]]:
        """Do several operations in one transaction; see `AgentMemStore.batch`."""
        batch = yield from self.prepare(ops)
        return [result for (result,) in (yield from self.perform(batch))]

    def cached(self, ops: Sequence[GetOp | SearchOp]) -> Program[list[Result]]:
        """Do several reads through the cache of reads. A read that the cache answers does not restart TTLs."""
        if not self.cache.is_on:
            return (yield from self.batch(ops))
        groups = item_groups(op.namespace if isinstance(op, GetOp) else op.namespace_prefix for op in ops)
        read = partial(self._answers, ops)
        batch, answers = yield from self.cache.through(("items", *map(repr, ops)), groups, read)
        return [result for (result,) in (yield from results_of(batch, answers, None, self.backend.language))]

    def _answers(self, ops: Sequence[GetOp | SearchOp]) -> Program[tuple[Batch, dict[int, Answer]]]:
        batch = yield from self.prepare(ops)
        if self.indexer is not None:
            yield from self._embed(batch, self.indexer)
        now = time.time()
        answers, used = yield from self._execute(batch, (), now)
        yield from self._touch(used, now)
        return batch, answers

    def one(self, op: Op) -> Program[Any]:
        """Do one operation."""
        (result,) = yield from self.batch([op])
        return result

    # Operations with the configured defaults

    def get_op(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> GetOp:
        """Return the operation of `get`."""
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
        """Return the operation of `search`."""
        condition: Any = filter
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
        """Return the operation of `list_namespaces`."""
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
        ttl: TTL = NOT_PROVIDED,
    ) -> PutOp:
        """Return the operation of `put`."""
        if value is None:
            msg = "A store value must be a mapping such as a dict, got None. Use delete to remove an item."
            raise InvalidTypeError(msg)
        own_ttl: Any = self._default_ttl if isinstance(ttl, NotProvided) else ttl
        stored: Any = value
        return PutOp(check_item_namespace(namespace), text_key(key), stored, index, own_ttl)

    def delete_op(self, namespace: tuple[str, ...], key: str) -> PutOp:
        """Return the operation of `delete`."""
        return PutOp(namespace, text_key(key), None)

    def _refreshes(self, refresh_ttl: bool | None) -> bool:
        return self._refresh_on_read if refresh_ttl is None else check_flag("refresh_ttl", refresh_ttl)

    # Batches

    def prepare(self, ops: Sequence[Op]) -> Program[Batch]:
        """Check, encode and analyse operations, in a worker thread if they are many or large.

        Raises:
            InvalidInputError: An argument of an operation is not accepted.
        """
        return (yield from Compute(is_heavy(ops), self.batch_of, ops))

    def batch_of(self, ops: Sequence[Op]) -> Batch:
        """Same as `prepare`, for few and small operations."""
        if self.guard is not None:
            guard = self.guard
            ops = [
                op._replace(value=self._guarded((op.namespace, op.key), op.value, guard))
                if isinstance(op, PutOp)
                else op
                for op in ops
            ]
        return Batch.of(ops, self.fields, embedding=self.indexer is not None, tenant=self.tenant)

    @staticmethod
    def _guarded(key: Any, value: Any, guard: Guard) -> Any:
        if value is None:
            return None
        return guard.value(value, f"The value of item {shown(key[-1] if isinstance(key, tuple) else key)}")

    def redacting(self) -> StoreEngine:
        """Return an engine that redacts what the guard of this one refuses: for values that a model made."""
        if self.guard is None:
            return self
        engine = copy.copy(self)
        engine.guard = self.guard.redacting
        return engine

    def perform(self, batch: Batch, callers: Sequence[int] | None = None) -> Program[list[list[Result]]]:
        """Do a batch.

        Args:
            batch: The batch.
            callers: The number of callers of each operation. Default: None (one each).

        Returns:
            For each operation, a result for each of its callers. No two callers share a value.
        """
        if self.indexer is not None:
            yield from self._embed(batch, self.indexer)
        puts = (yield from batch.analysed_puts(self.backend.language)) if batch.puts else []
        now = time.time()
        answers, used = yield from self._execute(batch, puts, now)
        _log.debug(
            "store: stored %d and deleted %d items, %d operations", len(batch.puts), len(batch.deletes), batch.size
        )
        if batch.writes:
            yield from self._settle(batch)
            yield from self.sweeper.after_write()
        else:
            yield from self._touch(used, now)
        return (yield from results_of(batch, answers, callers, self.backend.language))

    def import_items(self, imports: Sequence[ItemImport], replaced: Collection[ItemKey] = ()) -> Program[int]:
        """Store items of another package with their times, unless they exist.

        Args:
            imports: The items, with different keys.
            replaced: The keys of items that are replaced if they exist. Default: none.

        Returns:
            The number of stored items.

        Raises:
            InvalidInputError: An item is not accepted. Nothing was stored.
        """
        batch = yield from self.prepare([one.op for one in imports])
        if self.indexer is not None:
            yield from self._embed(batch, self.indexer)
        puts = yield from batch.analysed_puts(self.backend.language)
        times = {(one.op.namespace, one.op.key): one for one in imports}
        by_root: dict[str, list[ItemState]] = {}
        for put in puts:
            own = times[put.namespace, put.key]
            row = ItemRow(put.namespace, put.key, put.value, own.created_at, own.updated_at, put.ttl, 0, put.paths)
            state = ItemState(row, own.expires_at, put.text, put.vectors)
            by_root.setdefault(put.namespace[0], []).append(state)
        stored, now = 0, time.time()
        with self.cache.writing(item_groups(namespace for namespace, _ in batch.written_keys())):
            for states in by_root.values():
                doomed = [key for one in states if (key := (one.row.namespace, one.row.key)) in replaced]
                program = self.backend.transfer.restore_items(self.tenant, states, now, doomed)
                stored += yield from Write(self.backend, program)
        yield from self._settle(batch)
        yield from self.sweeper.after_write()
        return stored

    def read_beside(
        self, ops: Sequence[GetOp | SearchOp], programs: Sequence[Program[Any]]
    ) -> Program[tuple[list[Any], list[Any]]]:
        """Do several reads, and run storage programs that read, in the same round trips and one transaction.

        Args:
            ops: The reads.
            programs: The storage programs.

        Returns:
            The results of the reads, and those of the programs.

        Raises:
            DamagedDataError: An item cannot be decoded, or a program raised it.
        """
        batch = yield from self.prepare(ops)
        if self.indexer is not None:
            yield from self._embed(batch, self.indexer)
        now = time.time()
        transaction = self._transaction(batch, (), now)
        (answers, used), *others = yield from Read(self.backend, together([transaction, *programs]))
        yield from self._touch(used, now)
        return [result for (result,) in (yield from results_of(batch, answers, None, self.backend.language))], others

    def _touch(self, used: Sequence[ItemKey], now: float) -> Program[None]:
        """Restart the TTLs of items that were read.

        If another writer holds the database, the results are returned and the TTLs do not start again.
        """
        if used:
            with contextlib.suppress(StorageBusyError):
                yield from Write(self.backend, self.backend.items.touch(self.tenant, used, now))

    def _execute(
        self, batch: Batch, puts: Sequence[ItemPut], now: float
    ) -> Program[tuple[dict[int, Answer], list[ItemKey]]]:
        """Execute a batch in the fewest statements; returns as `Reader.answer`."""
        items = self.backend.items
        if batch.is_gets or batch.single_read is not None:
            return (yield from self._reader.answer(batch, now))
        if not batch.writes:
            return (yield from Read(self.backend, self._transaction(batch, puts, now)))
        with self.cache.writing(item_groups(namespace for namespace, _ in batch.written_keys())):
            if batch.reads or (batch.puts and batch.deletes):
                return (yield from Write(self.backend, self._transaction(batch, puts, now)))
            if batch.puts:
                yield from Write(self.backend, items.put(self.tenant, puts, now))
            else:
                yield from Write(self.backend, items.delete(self.tenant, batch.deletes))
            return {}, []

    @storage_program
    def _transaction(
        self, batch: Batch, puts: Sequence[ItemPut], now: float
    ) -> Program[tuple[dict[int, Answer], list[ItemKey]]]:
        """Storage program of a whole batch."""
        answers, used = yield from self._reader_within.answer(batch, now)
        if batch.writes:
            yield from self.backend.items.change(self.tenant, puts, batch.deletes, used, now)
        return answers, used

    def _embed(self, batch: Batch, indexer: Indexer) -> Program[None]:
        """Embed the texts and the queries of a batch."""
        texts = batch.texts_to_embed()
        if texts:
            batch.embedded = yield from indexer.documents(texts, strict=batch.merged_from > 1)
        searches = batch.of_kind(SearchOp).values()
        vectors: dict[str, bytes] = {}
        for query in {op.query for op in searches if op.query and op.query.strip()}:
            vector = yield from indexer.query(query)
            if vector is not None:
                vectors[query] = vector
        batch.query_vectors = vectors

    def _settle(self, batch: Batch) -> Program[None]:
        """Recheck the fingerprint after a batch was stored; see `Indexer.settle`."""
        if self.indexer is None or not (texts := batch.texts_to_embed()):
            return
        items, tenant = self.backend.items, self.tenant
        keys = [key for key, put in batch.puts.items() if put.pieces]

        def replace(renewed: Embedded) -> Program[None]:
            batch.embedded = renewed
            rows = yield from Read(self.backend, items.get(tenant, keys, time.time()))
            unchanged = [
                (row, batch.vectors(key))
                for key, row in zip(keys, rows, strict=True)
                if row and load_json(row.value) == load_json(batch.puts[key].text)
            ]
            yield from Write(self.backend, items.embed(tenant, [EmbeddedItem(row, ()) for row, _ in unchanged]))
            embedded = [EmbeddedItem(row, vectors) for row, vectors in unchanged if vectors]
            if embedded:
                yield from Write(self.backend, items.embed(tenant, embedded))

        yield from self.indexer.settle(texts, batch.embedded, replace)


def _result_of(changed: Any) -> Program[Any]:
    """Return what a function returned; if it is a program or a step, run it and return its result."""
    if isinstance(changed, (Generator, Step)):
        changed = yield from changed
    return changed


def _transactions(backend: Backend) -> Callable[[Program[Any]], Program[Any]]:
    """Return a function that runs each storage program in a transaction of its own.

    It is no method: that would be a reference cycle, which keeps the connections of a dropped memory open.
    """

    def read(program: Program[T]) -> Program[T]:
        return (yield from Read(backend, program))

    return read
