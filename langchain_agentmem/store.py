"""The store: LangGraph's `BaseStore` on any backend, sync and async on one object."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, TypeVar, cast

from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    NOT_PROVIDED,
    BaseStore,
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
from typing_extensions import Self, Unpack

from langchain_agentmem.backends import adopt, connect
from langchain_agentmem.backends.contract import Backend, EmbeddedItem, Found, ItemPut, ItemRow, Query
from langchain_agentmem.batches import Batch, Place, Value, field_paths, index_of, text_key
from langchain_agentmem.codec import load_json
from langchain_agentmem.errors import InvalidTypeError, StorageBusyError
from langchain_agentmem.filters import Filter, compile_filter
from langchain_agentmem.indexing import Indexer
from langchain_agentmem.models import check_tenant
from langchain_agentmem.options import StoreOptions, check_options
from langchain_agentmem.program import (
    Call,
    Program,
    Read,
    Write,
    arun,
    run,
    storage_program,
)
from langchain_agentmem.ranking import rank, terms
from langchain_agentmem.sweeping import Sweeper
from langchain_agentmem.updating import Decide, Rows, Values, checked_places, updated

T = TypeVar("T")
Index = Literal[False] | list[str] | None
"""What search finds an item by: paths of fields, False for nothing, None for what is configured."""
Ask = Callable[[Program[Any]], Program[Any]]
"""Runs a storage program: in the transaction that is going on, or in one of its own."""

_CHUNK = 200

_DEPTH = 20
"""At least so many of the best by words and of the best by meaning are fused, however few are asked for."""


class AgentMemStore(BaseStore):
    """LangGraph's store: items by namespace and key, with filters, search and time to live.

    It is usually `AgentMemory.store`, and stands alone too, through `from_url`. Every method has an async twin with the
    prefix `a`; both may be used on the same object, from any thread and any event loop. Unlike other stores it accepts
    any label, an e-mail address too.

    Args:
        backend: Where the items are; see `langchain_agentmem.backends.connect`.
        index: LangGraph's index configuration: `embed`, `dims` and `fields`. Default: None (full-text search only, over
            all fields).
        ttl: LangGraph's configuration of the time to live: `default_ttl` in minutes, `refresh_on_read`. Expired items are
            never returned. Default: None (items stay).
        tenant: Which of several applications on one database. Default: `"default"`.

    Example:
        >>> from langchain_agentmem import AgentMemStore
        >>> store = AgentMemStore.from_url("sqlite:///:memory:")
        >>> store.put(("users", "alice@example.com"), "food", {"likes": "She loves pizza"})
        >>> [item.key for item in store.search(("users",), query="Who is loving pizzas?")]
        ['food']
        >>> store.close()
    """

    supports_ttl = True

    def __init__(
        self,
        backend: Backend,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        tenant: str = "default",
        sweeper: Sweeper | None = None,
    ) -> None:
        self._backend = backend
        self._tenant = check_tenant(tenant)
        self._sweeper = sweeper or Sweeper(backend, tenant)
        self.ttl_config = ttl
        self.index_config = index
        self.indexer = Indexer.of(index.get("embed"), backend, tenant) if index else None
        self.embedder = self.indexer.embedder if self.indexer else None
        self.embeddings: Embeddings | None = self.embedder.model if self.embedder else None
        self.fields = field_paths(((index or {}).get("fields")) or ["$"])
        if index:
            backend.use_vectors(cast("Mapping[str, Any]", index).get("ann_index_config") or {})

    @classmethod
    def from_url(cls, url: str, **options: Unpack[StoreOptions]) -> Self:
        """A store that stands alone.

        Args:
            url: Which database; see `langchain_agentmem.backends.connect`.
            **options: The keyword arguments of `AgentMemStore`.
        """
        check_options("AgentMemStore.from_url", options, StoreOptions)
        return cls(connect(url), **options)

    @classmethod
    def from_connection(
        cls, connection: Any, *, schema: str | None = None, language: str | None = None, **options: Unpack[StoreOptions]
    ) -> Self:
        """A store on a connection that the application already has, which is never closed by us.

        Args:
            connection: See `langchain_agentmem.backends.adopt`.
            schema: In Postgres, where the tables are. Default: None (the first of the search path).
            language: Which language texts are searched in. Default: None (English).
            **options: The keyword arguments of `AgentMemStore`.
        """
        check_options("AgentMemStore.from_connection", options, StoreOptions)
        return cls(adopt(connection, schema=schema, language=language), **options)

    @classmethod
    def from_client(cls, client: Any, *, allow_eviction: bool = False, **options: Unpack[StoreOptions]) -> Self:
        """A store on a client of redis-py that the application already has, which is never closed by us.

        Args:
            client: A `redis.Redis` or `redis.RedisCluster`, or one of `redis.asyncio` (for asynchronous methods only).
            allow_eviction: Whether to accept a server that may delete what is stored. Default: False.
            **options: The keyword arguments of `AgentMemStore`.
        """
        check_options("AgentMemStore.from_client", options, StoreOptions)
        return cls(adopt(client, allow_eviction=allow_eviction), **options)

    # LangGraph's methods. They are spelled out because BaseStore's own refuse labels with a dot.

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations: reads see the state before, the last put to a key counts, all is stored or nothing."""
        return run(self._batch(list(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Same as `batch`, but without blocking the event loop."""
        return await arun(self._batch(list(ops)))

    def get(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """The item of a key, or None.

        Args:
            namespace: Where it is.
            key: Its key.
            refresh_ttl: Whether its time to live starts anew. Default: as configured, else True.
        """
        item: Item | None = run(self._one(self._get_op(namespace, key, refresh_ttl)))
        return item

    async def aget(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """Same as `get`, but without blocking the event loop."""
        return await arun(self._one(self._get_op(namespace, key, refresh_ttl)))

    def search(
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """Items at or below a namespace.

        Args:
            namespace_prefix: Where to look; `()` is everywhere.
            query: What to look for. With embeddings every indexed item is ranked by words and by meaning; without, only
                items that hold one of the words are found. Default: None (the most recently updated first).
            filter: What the values must be like; see `langchain_agentmem.filters`. Default: None.
            limit: The most items. Default: 10.
            offset: How many to skip. Default: 0.
            refresh_ttl: Whether the found items' time to live starts anew. Default: as configured, else True.

        Returns:
            The items; with a query, each with a score in [0, 1], best first.
        """
        return run(self._one(self._search_op(namespace_prefix, query, filter, limit, offset, refresh_ttl)))

    async def asearch(
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """Same as `search`, but without blocking the event loop."""
        return await arun(self._one(self._search_op(namespace_prefix, query, filter, limit, offset, refresh_ttl)))

    def put(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        """Store an item; one that is there is replaced and keeps its `created_at`.

        Args:
            namespace: Where: a tuple of labels, any strings; the first must not be `"langgraph"`.
            key: Its key.
            value: A mapping that JSON knows.
            index: What search finds it by: paths of fields, or False for nothing. Default: as configured, else all.
            ttl: Minutes after the last use at which it expires; None for never. Default: as configured, else never.

        Raises:
            InvalidNamespaceError: The namespace is empty or one of its labels is not accepted.
            InvalidInputError: An argument cannot be stored. Whatever is raised, nothing was stored.
            EmbeddingsChangedError: The stored vectors are of another embedding model.
            ConfigurationError: The database cannot store vectors of so many dimensions; it says what to do.
        """
        run(self._one(self._put_op(namespace, key, value, index, ttl)))

    async def aput(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        """Same as `put`, but without blocking the event loop."""
        await arun(self._one(self._put_op(namespace, key, value, index, ttl)))

    def delete(self, namespace: tuple[str, ...], key: str) -> None:
        """Delete an item; one that is not there is no error."""
        run(self._one(PutOp(namespace, text_key(key), None)))

    async def adelete(self, namespace: tuple[str, ...], key: str) -> None:
        """Same as `delete`, but without blocking the event loop."""
        await arun(self._one(PutOp(namespace, text_key(key), None)))

    def list_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[tuple[str, ...]]:
        """The namespaces that hold items, sorted.

        Args:
            prefix: How they begin; `"*"` stands for any label. Default: None.
            suffix: How they end; `"*"` stands for any label. Default: None.
            max_depth: Cut longer ones to this many labels. Default: None.
            limit: The most namespaces. Default: 100.
            offset: How many to skip. Default: 0.
        """
        return run(self._one(_list_op(prefix, suffix, max_depth, limit, offset)))

    async def alist_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[tuple[str, ...]]:
        """Same as `list_namespaces`, but without blocking the event loop."""
        return await arun(self._one(_list_op(prefix, suffix, max_depth, limit, offset)))

    # Ours

    def update(
        self,
        namespace: tuple[str, ...],
        key: str,
        function: Callable[[Value | None], Value | None],
        *,
        index: Index | NotProvided = NOT_PROVIDED,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> Value | None:
        """Change an item so that no concurrent change is lost.

        Args:
            namespace: Where it is.
            key: Its key.
            function: Gets the item's value (a copy; None if there is no item) and returns the new one.
                It is called again when another writer was faster, so it should do nothing else.
            index: As in `put`. Default: that of the item if there is one.
            ttl: As in `put`. Default: that of the item if there is one.

        Returns:
            The value that was stored.

        Raises:
            ConflictError: Others kept changing the item for 30 seconds.
            InvalidTypeError: The function returned None, or anything else that is no mapping; nothing was written.

        Example:
            >>> from langchain_agentmem import AgentMemStore
            >>> store = AgentMemStore.from_url("sqlite:///:memory:")
            >>> store.update(("counters",), "visits", lambda value: {"n": (value or {"n": 0})["n"] + 1})
            {'n': 1}
            >>> store.close()
        """
        return run(self._update((namespace, key), function, index, ttl))

    async def aupdate(
        self,
        namespace: tuple[str, ...],
        key: str,
        function: Callable[[Value | None], Any],
        *,
        index: Index | NotProvided = NOT_PROVIDED,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> Value | None:
        """Same as `update`, but without blocking the event loop; `function` may be a coroutine function."""
        return await arun(self._update((namespace, key), function, index, ttl))

    def update_many(
        self,
        keys: Iterable[tuple[tuple[str, ...], str]],
        function: Callable[[dict[tuple[tuple[str, ...], str], Value | None]], Mapping[Any, Any]],
        *,
        index: Index | NotProvided | Mapping[tuple[str, ...], Index] = NOT_PROVIDED,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> dict[tuple[tuple[str, ...], str], Value | None]:
        """Change several items together, so that no concurrent change is lost: all is stored, or nothing.

        Args:
            keys: Which items, each a pair of a namespace and a key; all below one root label.
            function: Gets a dict of the items' values by key (copies; None where there is no item) and returns one of the
                new values (None deletes). Items that it leaves out stay as they are, and are still as it saw them when the
                others are stored. It may add keys below the same root: those must be new; if there is an item, it is
                called again with that one too. It is also called again when another writer was faster, so it should do
                nothing else.
            index: As in `put`; where it differs, a dict of it by namespace. Default: that of each item if there is one.
            ttl: As in `put`. Default: that of each item if there is one.

        Returns:
            The values afterwards, of the keys that were asked for and of those added; None where there is no item.

        Raises:
            ConflictError: Others kept changing the items for 30 seconds.
            InvalidInputError: The keys lie below different root labels.
            InvalidTypeError: The function returned no dict, or a value that is no mapping; nothing was written.

        Example:
            >>> from langchain_agentmem import AgentMemStore
            >>> store = AgentMemStore.from_url("sqlite:///:memory:")
            >>> alice, bob = (("accounts", "alice"), "balance"), (("accounts", "bob"), "balance")
            >>> store.put(*alice, {"amount": 5})
            >>> moved = store.update_many([alice, bob], lambda values: {alice: None, bob: values[alice]})
            >>> store.get(*alice), store.get(*bob).value
            (None, {'amount': 5})
            >>> store.close()
        """
        return run(self._update_many(keys, function, index, ttl))

    async def aupdate_many(
        self,
        keys: Iterable[tuple[tuple[str, ...], str]],
        function: Callable[[dict[tuple[tuple[str, ...], str], Value | None]], Any],
        *,
        index: Index | NotProvided | Mapping[tuple[str, ...], Index] = NOT_PROVIDED,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> dict[tuple[tuple[str, ...], str], Value | None]:
        """Same as `update_many`, but without blocking the event loop; `function` may be a coroutine function."""
        return await arun(self._update_many(keys, function, index, ttl))

    def sweep_ttl(self) -> int:
        """Delete all that has expired, now; returns how many items, sessions and threads that were."""
        return run(self._sweeper.sweep())

    async def asweep_ttl(self) -> int:
        """Same as `sweep_ttl`, but without blocking the event loop."""
        return await arun(self._sweeper.sweep())

    @property
    def language(self) -> str:
        """Which language texts are searched in."""
        return self._backend.language

    def close(self) -> None:
        """Close the database of a store that stands alone."""
        self._backend.close()

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        await self._backend.aclose()

    def __repr__(self) -> str:
        return f"AgentMemStore({self._backend!r})"

    # Operations

    def _get_op(self, namespace: tuple[str, ...], key: str, refresh: bool | None) -> GetOp:
        return GetOp(namespace, text_key(key), self._refresh(refresh))

    def _search_op(
        self,
        prefix: tuple[str, ...],
        query: str | None,
        condition: dict[str, Any] | None,
        limit: int,
        offset: int,
        refresh: bool | None,
    ) -> SearchOp:
        return SearchOp(prefix, condition, limit, offset, query, self._refresh(refresh))

    def _put_op(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None,
        ttl: float | NotProvided | None,
    ) -> PutOp:
        if value is None:
            msg = "A store value must be a mapping such as a dict, got None; use delete to remove an item."
            raise InvalidTypeError(msg)
        minutes = (self.ttl_config or {}).get("default_ttl") if isinstance(ttl, NotProvided) else ttl
        return PutOp(namespace, text_key(key), value, index, minutes)

    def _refresh(self, asked: bool | None) -> bool:
        return (self.ttl_config or {}).get("refresh_on_read", True) if asked is None else asked

    # Programs

    def _sorted(self, ops: Sequence[Op]) -> Batch:
        return Batch.of(ops, self.fields, embedding=self.embeddings is not None)

    def _one(self, op: Op) -> Program[Any]:
        results = yield from self._batch([op])
        return results[0]

    def _batch(self, ops: list[Op]) -> Program[list[Result]]:
        work = self._sorted(ops)
        yield from self._embed(work)
        now = time.time()
        items, tenant = self._backend.items, self._tenant
        if len(work.gets) == len(ops) or (len(ops) == 1 and not work.puts and not work.deletes):
            # One question, or one kind that is asked together, needs no transaction around what answers it.
            results, used = yield from self._answers(work, now, self._read)
        elif not work.puts and not work.deletes:
            results, used = yield Read(self._backend, self._perform(work, now))
        elif len(work.puts) == len(ops):
            yield Write(self._backend, items.put(tenant, work.item_puts(), now))
            results, used = [None] * work.size, []
        elif len(work.deletes) == len(ops):
            yield Write(self._backend, items.delete(tenant, work.deletes))
            results, used = [None] * work.size, []
        else:
            results, used = yield Write(self._backend, self._perform(work, now))
        if work.puts or work.deletes:
            yield from self._renew(work)
            yield from self._sweeper.after_write()
        elif used:
            # What was read is not withheld because another writer holds the database: the time to live goes on as it was.
            with contextlib.suppress(StorageBusyError):
                yield Write(self._backend, items.touch(tenant, used, now))
        return results

    def _read(self, program: Program[T]) -> Program[T]:
        result: T = yield Read(self._backend, program)
        return result

    def _embed(self, work: Batch) -> Program[None]:
        if self.indexer is None:
            return
        texts = work.all_texts()
        if texts:
            work.embedded = yield from self.indexer.documents(texts)
        for query in {op.query for op in work.searches.values() if op.query and op.query.strip()}:
            vector = yield from self.indexer.query(query)
            if vector is not None:
                work.queries[query] = vector

    def _renew(self, work: Batch) -> Program[None]:
        """Give what was stored other vectors, or none, when `reindex` did not wait for it."""
        items, tenant = self._backend.items, self._tenant
        while self.indexer is not None and work.texts:
            renewed = yield from self.indexer.renewed(work.all_texts(), work.embedded)
            if renewed is None:
                return
            work.embedded = renewed
            read = yield Read(self._backend, items.get(tenant, list(work.texts), time.time()))
            rows = dict(zip(work.texts, read, strict=True))
            own = [
                (row, work.vectors(place))
                for place, row in rows.items()
                if row and load_json(row.value) == load_json(work.puts[place][0])
            ]
            yield Write(self._backend, items.embed(tenant, [EmbeddedItem(row, ()) for row, _ in own]))
            embedded = [EmbeddedItem(row, vectors) for row, vectors in own if vectors]
            if embedded:
                yield Write(self._backend, items.embed(tenant, embedded))

    @storage_program
    def _perform(self, work: Batch, now: float) -> Program[tuple[list[Result], list[Place]]]:
        """The storage program of a batch: its results, and the items whose time to live is to start anew."""
        items, tenant = self._backend.items, self._tenant
        results, touch = yield from self._answers(work, now, lambda program: program)
        if work.puts or work.deletes:
            yield from items.change(tenant, work.item_puts(), work.deletes, touch, now)
        return results, touch

    def _answers(self, work: Batch, now: float, ask: Ask) -> Program[tuple[list[Result], list[Place]]]:
        """The results of a batch's questions; `ask` runs a storage program."""
        results: list[Result] = [None] * work.size
        used: list[ItemRow] = []
        if work.gets:
            places = [(op.namespace, op.key) for op in work.gets.values()]
            found = yield from ask(self._backend.items.get(self._tenant, places, now))
            for (at, op), row in zip(work.gets.items(), found, strict=True):
                results[at] = _item(row) if row else None
                used.extend([row] if row and op.refresh_ttl else [])
        for at, search in work.searches.items():
            ranked = yield from self._search(search, work.queries.get(search.query or ""), now, ask)
            results[at] = [_search_item(row, score) for row, score in ranked]
            used.extend(row for row, _ in ranked if search.refresh_ttl)
        for at, listing in work.listings.items():
            results[at] = yield from self._list(listing, now, ask)
        return results, [(row.namespace, row.key) for row in used if row.ttl is not None]

    def _search(
        self, op: SearchOp, vector: bytes | None, now: float, ask: Ask
    ) -> Program[list[tuple[ItemRow, float | None]]]:
        passes = compile_filter(op.filter)
        last = op.offset + op.limit
        kept: list[tuple[ItemRow, float | None]] = []
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
            kept.extend((row, None) for row in page if not op.filter or passes(load_json(row.value)))
            if following is None:
                break
            size *= 4  # the backend leaves few of those out that do not pass
        return kept[op.offset : last]

    def _first(
        self, found: Found, passes: Filter | None, last: int, ask: Ask
    ) -> Program[list[tuple[ItemRow, float | None]]]:
        """The best of what was found that pass, and their scores."""
        kept: list[tuple[ItemRow, float | None]] = []
        ranked = rank(found.candidates)
        size = last if passes is None else _CHUNK
        for at in range(0, len(ranked), size or 1):
            chunk = ranked[at : at + size]
            rows: Mapping[Any, ItemRow] = found.rows
            if not all(item in rows for item, _ in chunk):
                rows = yield from ask(self._backend.items.rows([item for item, _ in chunk]))
            for item, score in chunk:
                row = rows.get(item)
                if row is not None and (passes is None or passes(load_json(row.value))):
                    kept.append((row, score))
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
        found = [namespace for namespace in every if all(_fits(namespace, condition) for condition in conditions)]
        if op.max_depth is not None:
            found = sorted({namespace[: op.max_depth] for namespace in found})
        return found[op.offset : op.offset + op.limit]

    def _update(
        self,
        place: Place,
        function: Callable[[Value | None], Any],
        index: Index | NotProvided,
        ttl: float | NotProvided | None,
    ) -> Program[Value]:
        (checked,) = checked_places([place])

        def decide(values: Values) -> Program[Values]:
            value = yield Call(function, values[checked])
            if value is None:
                msg = f"The function given to update returned None for {checked}: return the new value, or use delete."
                raise InvalidTypeError(msg)
            return {checked: value}

        stored = yield from self._updated([checked], decide, index, ttl)
        return cast("Value", stored[checked])

    def _update_many(
        self,
        keys: Iterable[Place],
        function: Callable[[Values], Any],
        index: Index | NotProvided | Mapping[tuple[str, ...], Index],
        ttl: float | NotProvided | None,
    ) -> Program[Values]:
        def decide(values: Values) -> Program[Mapping[Any, Any]]:
            changes: Mapping[Any, Any] = yield Call(function, values)
            return changes

        return (yield from self._updated(keys, decide, index, ttl))

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
                if row and isinstance(ttl, NotProvided):
                    keep = None if row.ttl is None else row.ttl / 60
                how = index.get(place[0], NOT_PROVIDED) if isinstance(index, Mapping) else index
                if isinstance(how, NotProvided):
                    how = None if row is None else index_of(row)
                ops.append(self._put_op(*place, value, how, keep))
            work = self._sorted(ops)
            yield from self._embed(work)
            return work.item_puts()

        values = yield from updated(self._backend, self._tenant, keys, decide, prepare)
        yield from self._renew(work)
        yield from self._sweeper.after_write()
        return values


def _list_op(
    prefix: NamespacePath | None, suffix: NamespacePath | None, max_depth: int | None, limit: int, offset: int
) -> ListNamespacesOp:
    conditions = []
    if prefix:
        conditions.append(MatchCondition("prefix", tuple(prefix) if isinstance(prefix, list) else prefix))
    if suffix:
        conditions.append(MatchCondition("suffix", tuple(suffix) if isinstance(suffix, list) else suffix))
    return ListNamespacesOp(tuple(conditions), max_depth, limit, offset)


def _fits(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    start = 0 if condition.match_type == "prefix" else len(namespace) - len(path)
    part = namespace[max(0, start) : start + len(path)]
    return len(part) == len(path) and all(asked in ("*", label) for label, asked in zip(part, path, strict=True))


def _item(row: ItemRow) -> Item:
    return Item(
        value=load_json(row.value),
        key=row.key,
        namespace=row.namespace,
        created_at=datetime.fromtimestamp(row.created_at, timezone.utc),
        updated_at=datetime.fromtimestamp(row.updated_at, timezone.utc),
    )


def _search_item(row: ItemRow, score: float | None) -> SearchItem:
    item = _item(row)
    return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)
