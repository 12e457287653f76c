"""`AgentMemCache`: LangGraph's cache of node and task results on any backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from langgraph.cache.base import BaseCache, FullKey, Namespace, ValueT
from langgraph.checkpoint.serde.base import SerializerProtocol, maybe_add_typed_methods
from typing_extensions import Unpack

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_tenant
from langchain_agentmem.arguments.options import CacheOptions
from langchain_agentmem.arguments.serializers import serializer_of
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.credentials import CredentialsFunction
from langchain_agentmem.backends.surface import Surface, backend_of, check_one_of_key_and_serde, protected_backend
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.caching.engine import CacheEngine
from langchain_agentmem.encoding.encryption import Key
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.text.guard import Guard, check_guard
from langchain_agentmem.text.tables import html_table


class AgentMemCache(Surface, BaseCache[ValueT]):
    """LangGraph's cache of the results of nodes and tasks.

    Use it as `AgentMemory.cache`, or alone with `from_url`. Every method has an async twin with the prefix `a`. One object
    serves all threads and event loops. All processes with the same database share the entries.

    An entry that cannot be read is a miss, and so is a database that cannot be reached: the node runs again, and a warning is
    logged.

    Args:
        backend: The database: a URL, see `langchain_agentmem.backends.connect`; or a pool, connection or client of the
            application, see `langchain_agentmem.backends.adopt`.
        serde: The serializer of the values. Default: None (that of LangGraph's `BaseCache`).
        ttl: The TTL of entries whose `CachePolicy` has none, as a `timedelta` or in seconds. It counts from the time at which
            an entry is stored. Default: None (they never expire).
        tenant: The name of the application, if several share the database. Default: `"default"`.
        guard: The rules for what must not be stored; see `Guard`. A result with such a text is not cached. Default: None.
        key: The key of an encrypted memory; see `AgentMemory`. Default: None (nothing is encrypted).
        searchable: See `AgentMemory`; a cache is never searched. Default: None.

    Raises:
        InvalidInputError: A value is not accepted.
        InvalidTypeError: An argument has the wrong type.

    Example:
        >>> from langgraph.graph import START, StateGraph
        >>> from langgraph.types import CachePolicy
        >>> from langchain_agentmem import AgentMemCache
        >>> def double(number):
        ...     print("computing")
        ...     return 2 * number
        >>> builder = StateGraph(int)
        >>> _ = builder.add_node("double", double, cache_policy=CachePolicy(ttl=3600)).add_edge(START, "double")
        >>> with AgentMemCache.from_url("sqlite:///:memory:") as cache:
        ...     graph = builder.compile(cache=cache)
        ...     graph.invoke(21), graph.invoke(21)
        computing
        (42, 42)
    """

    _options = CacheOptions

    def __init__(
        self,
        backend: Backend | str | Any,
        *,
        serde: SerializerProtocol | None = None,
        ttl: timedelta | float | None = None,
        tenant: str = "default",
        sweeper: Sweeper | None = None,
        guard: Guard | None = None,
        key: Key | None = None,
        searchable: bool | None = None,
    ) -> None:
        check_one_of_key_and_serde(key, serde)
        super().__init__(serde=None if serde is None else maybe_add_typed_methods(serializer_of(serde)))
        tenant = check_tenant(tenant)
        given, self._stands_alone = backend_of(backend, 'AgentMemCache("sqlite:///agentmem.db")', key)
        self._backend = protected_backend(given, tenant, key, searchable)
        self.engine = CacheEngine(
            self._backend,
            tenant,
            sweeper or Sweeper(self._backend, tenant),
            seconds("ttl", ttl),
            check_guard(guard),
        )
        """The operations as programs, for other parts of this package."""

    if TYPE_CHECKING:  # `Surface` implements the constructors

        @classmethod
        def from_url(
            cls,
            url: str,
            *,
            credentials: CredentialsFunction | None = None,
            **options: Unpack[CacheOptions],
        ) -> Self: ...

        @classmethod
        def from_conn_string(
            cls,
            conn_string: str,
            *,
            pipeline: bool = False,
            pool_config: Mapping[str, Any] | None = None,
            **options: Unpack[CacheOptions],
        ) -> Self: ...

        @classmethod
        def from_connection(
            cls,
            connection: Any,
            *,
            schema: str | None = None,
            language: str | None = None,
            **options: Unpack[CacheOptions],
        ) -> Self: ...

        @classmethod
        def from_client(cls, client: Any, *, allow_eviction: bool = False, **options: Unpack[CacheOptions]) -> Self: ...

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """Return the values of those keys that have an entry, with one call of the database.

        Args:
            keys: Pairs of a namespace (a tuple of strings) and a key.

        Raises:
            InvalidTypeError: A key has another form.
        """
        return run(self._get(keys))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, ValueT]:
        """Same as `get`, but without blocking the event loop."""
        return await arun(self._get(keys))

    def set(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """Store values, with one call of the database. An existing entry is replaced.

        Args:
            pairs: For each key its value, and its TTL in seconds or as a `timedelta`. A TTL of None is that of the cache. An
                entry with a TTL of 0 or less expires at once.

        Raises:
            InvalidTypeError: An entry has another form, or its value cannot be serialized.
        """
        run(self._set(pairs))

    async def aset(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> None:
        """Same as `set`, but without blocking the event loop."""
        await arun(self._set(pairs))

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Delete entries.

        Args:
            namespaces: The namespaces; those below them are not cleared. Default: None (all entries of the tenant).

        Raises:
            StorageError: The database could not perform the operation. Some entries may remain.
        """
        run(self._clear(namespaces))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Same as `clear`, but without blocking the event loop."""
        await arun(self._clear(namespaces))

    def _get(self, keys: Sequence[FullKey]) -> Program[Any]:
        return self.engine.get(keys, self.serde)

    def _set(self, pairs: Mapping[FullKey, tuple[ValueT, int | None]]) -> Program[None]:
        return self.engine.set(pairs, self.serde)

    def _clear(self, namespaces: Sequence[Namespace] | None) -> Program[int]:
        return self.engine.clear(namespaces)

    def __repr__(self) -> str:
        ttl = "" if self.engine.ttl is None else f", ttl={self.engine.ttl:g}"
        return f"AgentMemCache({self._backend!r}, tenant={self.engine.tenant!r}{ttl})"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, object]] = [
            ("backend", repr(self._backend)),
            ("tenant", self.engine.tenant),
            ("TTL in seconds", self.engine.ttl),
        ]
        return html_table(rows, caption="AgentMemCache", row_headers=True)
