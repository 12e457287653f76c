"""The store: LangGraph's `BaseStore` on any backend, sync and async on one object."""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

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
from typing_extensions import Self, Unpack

from langchain_agentmem.arguments.options import StoreOptions
from langchain_agentmem.arguments.values import check_callable
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.surface import Surface, Work, backend_of
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.programs import Call, arun, run
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.store.batches import Batch, Value, checked_ops, is_heavy
from langchain_agentmem.store.bursts import Burst
from langchain_agentmem.store.engine import Index, StoreEngine


class AgentMemStore(Surface, BaseStore):
    """LangGraph's store: items by namespace and key, with filters, search and time to live.

    It is usually `AgentMemory.store`, and stands alone too, through `from_url`. Every method has an async twin with the
    prefix `a`; both may be used on the same object, from any thread and any event loop. Unlike other stores it accepts
    any label, an e-mail address too.

    Args:
        backend: Where the items are: a URL, see `langchain_agentmem.backends.connect`; or a pool, connection or client of the
            application, see `langchain_agentmem.backends.adopt`.
        index: LangGraph's index configuration: `embed`, `dims` and `fields`. A model that gives vectors of other dimensions
            than `dims` is refused when it is first asked. Default: None (full-text search only, over all fields).
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
    _options = StoreOptions

    def __init__(
        self,
        backend: Backend | str | Any,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        tenant: str = "default",
        sweeper: Sweeper | None = None,
    ) -> None:
        backend, self._stands_alone = backend_of(backend, 'AgentMemStore("sqlite:///agentmem.db")')
        self._backend: Backend = backend
        self.engine = StoreEngine(backend, tenant, index=index, ttl=ttl, sweeper=sweeper)
        self.index_config = self.engine.index_config
        self.ttl_config = self.engine.ttl_config
        self.embeddings: Embeddings | None = self.engine.indexer.embedder.model if self.engine.indexer else None
        self._bursts: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Burst] = weakref.WeakKeyDictionary()
        self._starting = forkable_lock()

    if TYPE_CHECKING:  # `Surface` implements the constructors

        @classmethod
        def from_url(cls, url: str, **options: Unpack[StoreOptions]) -> Self: ...

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

    # LangGraph's methods. They are spelled out because BaseStore's own refuse labels with a dot.

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations: reads see the state before, the last put to a key counts, all is stored or nothing."""
        return run(self.engine.batch(checked_ops(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Same as `batch`, but without blocking the event loop."""
        return await self._submit(checked_ops(ops))

    def get(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """The item of a key, or None.

        Args:
            namespace: Where it is.
            key: Its key.
            refresh_ttl: Whether its time to live starts anew. Default: as configured, else True.
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
    ) -> list[SearchItem]:
        """Items at or below a namespace.

        Args:
            namespace_prefix: Where to look; `()` is everywhere.
            query: What to look for. With embeddings every indexed item is ranked by words and by meaning; without, only
                items that hold one of the words are found. Default: None (the most recently updated first).
            filter: What the values must be like; see `langchain_agentmem.store.filters`. Default: None.
            limit: The most items. Default: 10.
            offset: How many to skip. Default: 0.
            refresh_ttl: Whether the found items' time to live starts anew. Default: as configured, else True.

        Returns:
            The items; with a query, each with a score in [0, 1], best first.
        """
        return run(
            self.engine.search(
                namespace_prefix, query=query, filter=filter, limit=limit, offset=offset, refresh_ttl=refresh_ttl
            )
        )

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
        op = self.engine.search_op(
            namespace_prefix, query=query, filter=filter, limit=limit, offset=offset, refresh_ttl=refresh_ttl
        )
        found: list[SearchItem] = (await self._submit([op]))[0]
        return found

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
            InvalidVectorsError: The model returned something else than one vector for each text.
            EmbeddingDimensionsError: The model's vectors have other dimensions than `index["dims"]` says.
            ConfigurationError: The database cannot store vectors of so many dimensions; it says what to do.
        """
        run(self.engine.put(namespace, key, value, index=index, ttl=ttl))

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
        await self._submit([self.engine.put_op(namespace, key, value, index=index, ttl=ttl)])

    def delete(self, namespace: tuple[str, ...], key: str) -> None:
        """Delete an item; one that is not there is no error."""
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
        """The namespaces that hold items, sorted.

        Args:
            prefix: How they begin; `"*"` stands for any label. Default: None.
            suffix: How they end; `"*"` stands for any label. Default: None.
            max_depth: Cut longer ones to this many labels. Default: None.
            limit: The most namespaces. Default: 100.
            offset: How many to skip. Default: 0.
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
        return run(self.engine.update(namespace, key, _calling(function), index=index, ttl=ttl))

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
        return await arun(self.engine.update(namespace, key, _calling(function), index=index, ttl=ttl))

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
        return run(self.engine.update_many(keys, _calling(function), index=index, ttl=ttl))

    async def aupdate_many(
        self,
        keys: Iterable[tuple[tuple[str, ...], str]],
        function: Callable[[dict[tuple[tuple[str, ...], str], Value | None]], Any],
        *,
        index: Index | NotProvided | Mapping[tuple[str, ...], Index] = NOT_PROVIDED,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> dict[tuple[tuple[str, ...], str], Value | None]:
        """Same as `update_many`, but without blocking the event loop; `function` may be a coroutine function."""
        return await arun(self.engine.update_many(keys, _calling(function), index=index, ttl=ttl))

    def sweep_ttl(self) -> int:
        """Delete all that has expired, now; returns how many items, sessions and threads that were."""
        return run(self.engine.sweeper.sweep())

    async def asweep_ttl(self) -> int:
        """Same as `sweep_ttl`, but without blocking the event loop."""
        return await arun(self.engine.sweeper.sweep())

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Work:  # noqa: ARG002 (PostgresStore has it)
        """Do nothing: expired items are deleted after writes. It is here because `PostgresStore` has it.

        Args:
            sweep_interval_minutes: No effect.
        """
        return Work()

    def stop_ttl_sweeper(self, timeout: float | None = None) -> Work:  # noqa: ARG002
        """Do nothing, as `start_ttl_sweeper`; what it returns is true, and may be awaited.

        Args:
            timeout: No effect.
        """
        return Work()

    @property
    def language(self) -> str:
        """Which language texts are searched in."""
        return self.engine.language

    def __repr__(self) -> str:
        return f"AgentMemStore({self._backend!r})"

    # Operations

    def _submit(self, ops: Sequence[Op]) -> Awaitable[list[Any]]:
        """Do operations together with what others submit in this tick of the event loop."""
        return self._submit_heavy(ops) if is_heavy(ops) else self._add(self.engine.sorted(ops))

    async def _submit_heavy(self, ops: Sequence[Op]) -> list[Any]:
        return await self._add(await arun(self.engine.checked(ops)))

    def _add(self, work: Batch) -> Awaitable[list[Any]]:
        loop = asyncio.get_running_loop()
        burst = self._bursts.get(loop)
        if burst is None:
            with self._starting:
                burst = self._bursts.setdefault(
                    loop, Burst(self.engine.perform, embedding=self.engine.indexer is not None)
                )
        return burst.add(work, loop)


def _calling(function: Callable[..., Any]) -> Callable[..., Call[Any]]:
    """A step that calls the application's function, which may be a coroutine function under `arun`."""
    check_callable("function", function)
    return functools.partial(Call, function)
