"""`AgentMemStore`: LangGraph's `BaseStore` on every backend, for synchronous and asynchronous callers."""

from __future__ import annotations

import asyncio
import functools
import sys
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self

from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    NOT_PROVIDED,
    BaseStore,
    IndexConfig,
    Item,
    NamespacePath,
    NotProvided,
    Op,
    Result,
    SearchItem,
    TTLConfig,
)
from typing_extensions import Unpack

from langchain_agentmem.arguments.fields import check_index_fields
from langchain_agentmem.arguments.ids import check_tenant
from langchain_agentmem.arguments.options import StoreOptions
from langchain_agentmem.arguments.values import check_callable
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.credentials import CredentialsFunction
from langchain_agentmem.backends.reads import CachedReads
from langchain_agentmem.backends.surface import Surface, Work, backend_of, protected_backend
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.encoding.encryption import Key
from langchain_agentmem.programs import Call, arun, is_traced, run, traced
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.search.thresholds import check_similarity, is_similar
from langchain_agentmem.store.arguments import check_ops
from langchain_agentmem.store.batches import Batch, is_heavy
from langchain_agentmem.store.bursts import Burst
from langchain_agentmem.store.engine import TTL, StoreEngine
from langchain_agentmem.store.fields import Index
from langchain_agentmem.store.items import FoundItem, Value
from langchain_agentmem.store.jobs import Caller
from langchain_agentmem.text.guard import Guard, check_guard
from langchain_agentmem.text.tables import html_table


class AgentMemStore(Surface, BaseStore):
    """LangGraph's store of items by namespace and key, with filters, search and TTLs.

    Use it as `AgentMemory.store`, or create one alone with `from_url`. Every method has an async twin
    with the prefix `a`. One object serves both kinds of caller, on any thread and any event loop. In contrast to other
    stores, it accepts any label, such as an e-mail address.

    Args:
        backend: A URL, see `langchain_agentmem.backends.connect`; or a pool, connection or client of the application, see
            `langchain_agentmem.backends.adopt`.
        index: LangGraph's index configuration: `embed` (the model), `dims` and `fields`. A model whose vectors do not have
            `dims` dimensions is refused at its first call. Default: None (full-text search over all fields).
        ttl: LangGraph's TTL configuration: `default_ttl` (minutes or a `timedelta`) and `refresh_on_read`. Expired items are
            never returned. Default: None (no expiry).
        tenant: The application, if several share the database. Default: `"default"`.
        guard: The rules for values; see `Guard`. Default: None (any value).
        key: The key of an encrypted memory; see `AgentMemory`. Default: None (nothing is encrypted).
        searchable: See `AgentMemory`. Default: None.
        index_fields: See `AgentMemory`. Default: None (none).

    Example:
        >>> from langchain_agentmem import AgentMemStore
        >>> store = AgentMemStore.from_url("sqlite:///:memory:")
        >>> store.put(("users", "alice@example.com"), "food", {"likes": "She loves pizza"})
        >>> [item.key for item in store.search(("users",), query="Who is loving pizzas?")]
        ['food']
        >>> store.close()
    """

    supports_ttl = True
    _options = StoreOptions

    def __init__(
        self,
        backend: Backend | str | Any,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        tenant: str = "default",
        sweeper: Sweeper | None = None,
        cache: CachedReads | None = None,
        guard: Guard | None = None,
        key: Key | None = None,
        searchable: bool | None = None,
        index_fields: Sequence[str] | None = None,
    ) -> None:
        given, self._stands_alone = backend_of(backend, 'AgentMemStore("sqlite:///agentmem.db")', key)
        tenant = check_tenant(tenant)
        backend = protected_backend(given, tenant, key, searchable)
        if fields := check_index_fields(index_fields):
            backend.index_fields(fields)
        self._backend: Backend = backend
        self.engine = StoreEngine(
            backend, tenant, index=index, ttl=ttl, sweeper=sweeper, cache=cache, guard=check_guard(guard)
        )
        self.index_config = self.engine.index_config
        self.ttl_config = self.engine.ttl_config
        self.embeddings: Embeddings | None = self.engine.indexer.embedder.model if self.engine.indexer else None
        self._bursts: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Burst] = weakref.WeakKeyDictionary()
        self._bursts_lock = forkable_lock()
        self._latest: tuple[weakref.ref[asyncio.AbstractEventLoop], Burst] | None = None
        """The event loop of the latest call, and its burst. Looking there is faster than in the dictionary."""

    if TYPE_CHECKING:  # `Surface` implements the constructors

        @classmethod
        def from_url(
            cls,
            url: str,
            *,
            credentials: CredentialsFunction | None = None,
            **options: Unpack[StoreOptions],
        ) -> Self: ...

        @classmethod
        def from_conn_string(
            cls,
            conn_string: str,
            *,
            pipeline: bool = False,
            pool_config: Mapping[str, Any] | None = None,
            **options: Unpack[StoreOptions],
        ) -> Self: ...

        @classmethod
        def from_connection(
            cls,
            connection: Any,
            *,
            schema: str | None = None,
            language: str | None = None,
            **options: Unpack[StoreOptions],
        ) -> Self: ...

        @classmethod
        def from_client(cls, client: Any, *, allow_eviction: bool = False, **options: Unpack[StoreOptions]) -> Self: ...

    # LangGraph's methods. Those of `BaseStore` itself refuse labels with a dot.

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations in one transaction: all changes are stored, or none.

        Reads see the state before the batch. Of several puts and deletes of a key, the last counts.

        Args:
            ops: LangGraph's operations: `GetOp`, `SearchOp`, `ListNamespacesOp` and `PutOp`. The configured defaults do not
                apply to them.

        Returns:
            The results in the order of the operations.
        """
        return run(self.engine.batch(check_ops(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Same as `batch`, but without blocking the event loop."""
        return await self._submit(check_ops(ops))

    def get(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """Return an item, or None.

        Args:
            namespace: The namespace of the item.
            key: The key of the item.
            refresh_ttl: If true, the item's TTL starts again. Default: None (as configured, else true).
        """
        return run(self.engine.get(namespace, key, refresh_ttl=refresh_ttl))

    async def aget(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """Same as `get`, but without blocking the event loop."""
        item: Item | None = (await self._submit([self.engine.get_op(namespace, key, refresh_ttl=refresh_ttl)]))[0]
        return item

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
        min_similarity: float | None = None,
    ) -> list[SearchItem]:
        """Search for items at or below a namespace.

        Args:
            namespace_prefix: The namespace, or the first labels of it; `()` for all items.
            query: The query. With an embedding model, every indexed item is ranked by words and by meaning; without one, only
                items that contain a word of the query match. Default: None (the most recently updated items first).
            filter: Conditions on the values; see `langchain_agentmem.store.filters`. Default: None.
            limit: The maximum number of items. Default: 10.
            offset: The number of items to skip. Default: 0.
            refresh_ttl: If true, the TTLs of the found items start again. Default: None (as configured, else true).
            min_similarity: Leave out items among the best `limit` whose cosine similarity to the query is lower, from -1 to
                1. It needs embeddings. Default: None (none).

        Returns:
            The items, each a `FoundItem`. With a query, the best come first, and each has a score in [0, 1].
        """
        least = check_similarity(min_similarity, with_vectors=self.engine.indexer is not None)
        found = run(
            self.engine.search(
                namespace_prefix, query=query, filter=filter, limit=limit, offset=offset, refresh_ttl=refresh_ttl
            )
        )
        return _similar(found, least)

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
        min_similarity: float | None = None,
    ) -> list[SearchItem]:
        """Same as `search`, but without blocking the event loop."""
        op = self.engine.search_op(
            namespace_prefix, query=query, filter=filter, limit=limit, offset=offset, refresh_ttl=refresh_ttl
        )
        least = check_similarity(min_similarity, with_vectors=self.engine.indexer is not None)
        found: list[SearchItem] = (await self._submit([op]))[0]
        return _similar(found, least)

    def put(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Index = None,
        *,
        ttl: TTL = NOT_PROVIDED,
    ) -> None:
        """Store an item. An existing item is replaced and keeps its `created_at`. If an error is raised, nothing is stored.

        Args:
            namespace: The namespace: a tuple of any strings. The first label must not be `"langgraph"`.
            key: The key of the item.
            value: A JSON-serialisable mapping.
            index: The fields that search finds: a list of paths, or False for none. Default: None (as configured, else all).
            ttl: The time after the last use at which the item expires: minutes or a `timedelta`; None for no expiry.
                Default: as configured, else no expiry.

        Raises:
            InvalidNamespaceError: The namespace is empty, or a label is not accepted.
            InvalidInputError: Another argument is not accepted.
            EmbeddingsChangedError: The stored vectors belong to another embedding model.
            InvalidVectorsError: The model returned something else than one vector for each text.
            EmbeddingDimensionsError: The model's vectors do not have `index["dims"]` dimensions.
            ConfigurationError: The database cannot store vectors of this length. The error says what to do.

        Example:
            >>> from datetime import timedelta
            >>> from langchain_agentmem import AgentMemStore
            >>> with AgentMemStore.from_url("sqlite:///:memory:") as store:
            ...     store.put(("codes",), "login", {"code": 1234}, ttl=timedelta(minutes=5))
            ...     store.get(("codes",), "login").value
            {'code': 1234}
        """
        run(self.engine.put(namespace, key, value, index=index, ttl=ttl))

    async def aput(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Index = None,
        *,
        ttl: TTL = NOT_PROVIDED,
    ) -> None:
        """Same as `put`, but without blocking the event loop."""
        await self._submit([self.engine.put_op(namespace, key, value, index=index, ttl=ttl)])

    def delete(self, namespace: tuple[str, ...], key: str) -> None:
        """Delete an item, if it exists."""
        run(self.engine.delete(namespace, key))

    async def adelete(self, namespace: tuple[str, ...], key: str) -> None:
        """Same as `delete`, but without blocking the event loop."""
        await self._submit([self.engine.delete_op(namespace, key)])

    def list_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[tuple[str, ...]]:
        """List the namespaces that contain items, sorted.

        Args:
            prefix: The first labels; `"*"` matches any label. Default: None (any).
            suffix: The last labels; `"*"` matches any label. Default: None (any).
            max_depth: The number of labels to which namespaces are cut. Default: None (not cut).
            limit: The maximum number of namespaces. Default: 100.
            offset: The number of namespaces to skip. Default: 0.
        """
        return run(
            self.engine.list_namespaces(prefix=prefix, suffix=suffix, max_depth=max_depth, limit=limit, offset=offset)
        )

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
        op = self.engine.list_op(prefix=prefix, suffix=suffix, max_depth=max_depth, limit=limit, offset=offset)
        found: list[tuple[str, ...]] = (await self._submit([op]))[0]
        return found

    # Methods that LangGraph's stores do not have

    def update(
        self,
        namespace: tuple[str, ...],
        key: str,
        function: Callable[[Value | None], Value | None],
        *,
        index: Index | NotProvided = NOT_PROVIDED,
        ttl: TTL = NOT_PROVIDED,
    ) -> Value | None:
        """Change an item without losing a concurrent change.

        Args:
            namespace: The namespace of the item.
            key: The key of the item.
            function: Gets a copy of the item's value (None if there is no item) and returns the new value. It is called again
                if another writer was faster, so it must have no side effects.
            index: As in `put`. Default: that of the item if there is one.
            ttl: As in `put`. Default: that of the item if there is one.

        Returns:
            The stored value.

        Raises:
            ConflictError: Other writers kept changing the item for 30 seconds.
            InvalidTypeError: The function returned None or another value that is not a mapping. Nothing was written.

        Example:
            >>> from langchain_agentmem import AgentMemStore
            >>> store = AgentMemStore.from_url("sqlite:///:memory:")
            >>> store.update(("counters",), "visits", lambda value: {"n": (value or {"n": 0})["n"] + 1})
            {'n': 1}
            >>> store.close()
        """
        return run(self.engine.update(namespace, key, _calling(function), index=index, ttl=ttl))

    async def aupdate(
        self,
        namespace: tuple[str, ...],
        key: str,
        function: Callable[[Value | None], Any],
        *,
        index: Index | NotProvided = NOT_PROVIDED,
        ttl: TTL = NOT_PROVIDED,
    ) -> Value | None:
        """Same as `update`, but without blocking the event loop; `function` may be a coroutine function."""
        return await arun(self.engine.update(namespace, key, _calling(function), index=index, ttl=ttl))

    def update_many(
        self,
        keys: Iterable[tuple[tuple[str, ...], str]],
        function: Callable[[dict[tuple[tuple[str, ...], str], Value | None]], Mapping[Any, Any]],
        *,
        index: Index | NotProvided | Mapping[tuple[str, ...], Index] = NOT_PROVIDED,
        ttl: TTL = NOT_PROVIDED,
    ) -> dict[tuple[tuple[str, ...], str], Value | None]:
        """Change several items together without losing a concurrent change: all changes are stored, or none.

        Args:
            keys: The items, each as a pair of a namespace and a key. All must have one root label.
            function: Gets a dict with copies of the items' values by key (None where there is no item) and returns a dict of
                the changed values (None deletes the item). The other items are not written, and must not change before the
                changes are stored. The function may add keys with the same root label; if an item exists there, it is called
                again with its value. It is also called again if another writer was faster, so it must have no side effects.
            index: As in `put`, or a dict of it by namespace. Default: that of each item if there is one.
            ttl: As in `put`. Default: that of each item if there is one.

        Returns:
            The values of all items afterwards, with those that the function added; None where there is no item.

        Raises:
            ConflictError: Other writers kept changing the items for 30 seconds.
            InvalidInputError: The root labels differ.
            InvalidTypeError: The function returned no dict, or a value that is not a mapping. Nothing was written.

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
        return run(self.engine.update_many(keys, _calling(function), index=index, ttl=ttl))

    async def aupdate_many(
        self,
        keys: Iterable[tuple[tuple[str, ...], str]],
        function: Callable[[dict[tuple[tuple[str, ...], str], Value | None]], Any],
        *,
        index: Index | NotProvided | Mapping[tuple[str, ...], Index] = NOT_PROVIDED,
        ttl: TTL = NOT_PROVIDED,
    ) -> dict[tuple[tuple[str, ...], str], Value | None]:
        """Same as `update_many`, but without blocking the event loop; `function` may be a coroutine function."""
        return await arun(self.engine.update_many(keys, _calling(function), index=index, ttl=ttl))

    def sweep_ttl(self) -> int:
        """Delete all expired items, sessions and threads of the tenant, and return their number.

        Calling it is optional: expired data is never returned, and is deleted after writes.
        """
        return run(self.engine.sweeper.sweep())

    async def asweep_ttl(self) -> int:
        """Same as `sweep_ttl`, but without blocking the event loop."""
        return await arun(self.engine.sweeper.sweep())

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Work:  # noqa: ARG002
        """Do nothing. The method exists for compatibility with `PostgresStore`; expired items are deleted after writes.

        Args:
            sweep_interval_minutes: Has no effect.
        """
        return Work()

    def stop_ttl_sweeper(self, timeout: float | None = None) -> Work:  # noqa: ARG002
        """Do nothing, like `start_ttl_sweeper`. The result is true and can be awaited.

        Args:
            timeout: Has no effect.
        """
        return Work()

    @property
    def language(self) -> str:
        """The language of full-text search."""
        return self.engine.language

    def __repr__(self) -> str:
        state = "".join(f", {name}={value!r}" for name, value in self._state().items())
        return f"AgentMemStore({self.engine.backend!r}{state})"

    def _repr_html_(self) -> str:
        rows = {"backend": self.engine.backend, **self._state()}
        return html_table(
            ((name, str(value)) for name, value in rows.items()), caption="AgentMemStore", row_headers=True
        )

    def _state(self) -> dict[str, Any]:
        engine = self.engine
        state: dict[str, Any] = {"tenant": engine.tenant}
        if engine.indexer is not None:
            state["embeddings"] = engine.indexer.embedder.name
        if engine.fields != [("$", "$")]:
            state["fields"] = [path for path, _ in engine.fields]
        default_ttl = (engine.ttl_config or {}).get("default_ttl")
        if default_ttl is not None:
            state["default_ttl"] = default_ttl
        return state

    # Bursts

    def _submit(self, ops: Sequence[Op]) -> Awaitable[list[Any]]:
        """Run operations together with others that are submitted in this tick of the event loop."""
        if is_traced():
            return traced(sys._getframe(1), self._submit_later(ops))
        return self._submit_heavy(ops) if is_heavy(ops) else self._add(self.engine.batch_of(ops))

    async def _submit_later(self, ops: Sequence[Op]) -> list[Any]:
        caller = self._add((await arun(self.engine.prepare(ops))) if is_heavy(ops) else self.engine.batch_of(ops))
        caller.context = copy_context()
        return await caller

    async def _submit_heavy(self, ops: Sequence[Op]) -> list[Any]:
        return await self._add(await arun(self.engine.prepare(ops)))

    def _add(self, batch: Batch) -> Caller:
        loop = asyncio.get_running_loop()
        latest = self._latest
        if latest is not None and latest[0]() is loop:
            return latest[1].add(batch, loop)
        burst = self._bursts.get(loop)
        if burst is None:
            created = Burst(self.engine.perform, embedding=self.engine.indexer is not None)
            with self._bursts_lock:
                burst = self._bursts.setdefault(loop, created)
        self._latest = weakref.ref(loop), burst
        return burst.add(batch, loop)


def _calling(function: Callable[..., Any]) -> Callable[..., Call[Any]]:
    """Return a function that returns the step of a call: under `arun`, `function` may be a coroutine function."""
    check_callable("function", function)
    return functools.partial(Call, function)


def _similar(found: list[SearchItem], least: float | None) -> list[SearchItem]:
    """Return the items whose similarity reaches a threshold; all if it is None."""
    return (
        found
        if least is None
        else [one for one in found if isinstance(one, FoundItem) and is_similar(one.similarity, least)]
    )
