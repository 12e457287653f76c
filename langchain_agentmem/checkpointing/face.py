"""`AgentMemSaver`: LangGraph's checkpointer on any backend, synchronous and asynchronous on one object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from typing_extensions import Unpack

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_tenant
from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.options import SaverOptions
from langchain_agentmem.arguments.serializers import serializer_of
from langchain_agentmem.arguments.values import check_flag
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.credentials import CredentialsFunction
from langchain_agentmem.backends.surface import Surface, backend_of, check_one_of_key_and_serde, protected_backend
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.checkpointing.arguments import next_version
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.checkpointing.methods import ThreadMethods
from langchain_agentmem.checkpointing.migration.conversion import Conversion
from langchain_agentmem.checkpointing.migration.values import Migrate, check_migrate
from langchain_agentmem.checkpointing.models import ThreadList
from langchain_agentmem.checkpointing.scan import Scan
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.encryption import Key
from langchain_agentmem.errors import AgentMemError, ConfigurationError
from langchain_agentmem.programs import arun, run
from langchain_agentmem.text.guard import Guard, check_guard
from langchain_agentmem.text.tables import html_table

_COUNTED_THREADS = 1_000


class AgentMemSaver(Surface, ThreadMethods, BaseCheckpointSaver[str]):
    """LangGraph's checkpointer.

    Use it as `AgentMemory.checkpointer`, or alone with `from_url`. Every method has an async twin with the prefix `a`. One
    object serves all threads and event loops. Calling `setup()` is optional.

    Args:
        backend: The database: a URL, see `langchain_agentmem.backends.connect`; or a pool, connection or client of the
            application, see `langchain_agentmem.backends.adopt`.
        serde: The serializer. An `EncryptedSerializer` encrypts values and metadata, but not the IDs of threads, users,
            runs, channels and tasks. Rows that are not encrypted, or were altered, are then refused. Default: None
            (LangGraph's `JsonPlusSerializer`).
        ttl: The time without a new checkpoint after which a thread expires, as a `timedelta` or in seconds. Default: None
            (never).
        tenant: The name of the application, if several share the database. Default: `"default"`.
        compact: If true, a checkpoint takes space in proportion to what changed since the one before. If false, it is
            stored in full; on Postgres, LangGraph's `PostgresSaver` can then read it. Default: True.
        migrate: A function that converts stored checkpoints to today's shape of your state when they are read. It is given
            the values by channel and the metadata, and returns both as a tuple; see `docs/checkpointer.md`. Default: None.
        key: The key of an encrypted memory; see `AgentMemory`. Default: None (nothing is encrypted).
        searchable: See `AgentMemory`; checkpoints are never searched. Default: None.

    Raises:
        ConfigurationError: `compact=False` with a serializer that encrypts; that layout stores metadata in plain text.

    Example:
        >>> from langgraph.graph import START, MessagesState, StateGraph
        >>> from langchain_agentmem import AgentMemSaver
        >>> saver = AgentMemSaver.from_url("sqlite:///:memory:")
        >>> builder = StateGraph(MessagesState)
        >>> _ = builder.add_node("reply", lambda state: {"messages": [("ai", "Hello")]}).add_edge(START, "reply")
        >>> graph = builder.compile(checkpointer=saver)
        >>> config = {"configurable": {"thread_id": "1"}}
        >>> _ = graph.invoke({"messages": [("user", "Hi")]}, config)
        >>> len(graph.get_state(config).values["messages"])
        2
        >>> saver.close()
    """

    _options = SaverOptions

    def __init__(
        self,
        backend: Backend | str | Any,
        *,
        serde: SerializerProtocol | None = None,
        ttl: timedelta | float | None = None,
        tenant: str = "default",
        compact: bool = True,
        migrate: Migrate | None = None,
        sweeper: Sweeper | None = None,
        guard: Guard | None = None,
        key: Key | None = None,
        searchable: bool | None = None,
    ) -> None:
        check_one_of_key_and_serde(key, serde)
        super().__init__(serde=serializer_of(serde))
        plain = not check_flag("compact", compact)
        tenant = check_tenant(tenant)
        given, self._stands_alone = backend_of(backend, 'AgentMemSaver("sqlite:///agentmem.db")', key)
        self._backend = protected_backend(given, tenant, key, searchable)
        self._reported: set[type] = set()
        self._engine = CheckpointEngine(
            self._backend,
            tenant,
            self._codec(),
            sweeper or Sweeper(self._backend, tenant),
            seconds("ttl", ttl),
            plain,
            guard=check_guard(guard),
            conversion=None if check_migrate(migrate) is None else Conversion(cast("Migrate", migrate)),
        )
        if plain and self._engine.codec.secret:
            msg = (
                "compact=False stores metadata in plain text, so it cannot be combined with a key or with a serializer that "
                "encrypts. Omit compact=False: PostgresSaver cannot read an encrypted thread."
            )
            raise ConfigurationError(msg)

    @property
    def engine(self) -> CheckpointEngine:
        """The operations as programs, for other parts of this package."""
        engine = self._engine
        if engine.codec.serde is not self.serde:  # `with_allowlist` gives a copy of this object another serializer
            engine = self._engine = replace(engine, codec=self._codec())
        return engine

    def _codec(self) -> Codec:
        keyed = self._backend.encrypts
        return Codec(self.serde, verify=False, reported=self._reported, keyed=keyed, placeholders=True)

    if TYPE_CHECKING:  # `Surface` implements the constructors

        @classmethod
        def from_url(
            cls,
            url: str,
            *,
            credentials: CredentialsFunction | None = None,
            **options: Unpack[SaverOptions],
        ) -> Self: ...

        @classmethod
        def from_conn_string(
            cls,
            conn_string: str,
            *,
            pipeline: bool = False,
            pool_config: Mapping[str, Any] | None = None,
            **options: Unpack[SaverOptions],
        ) -> Self: ...

        @classmethod
        def from_connection(
            cls,
            connection: Any,
            *,
            schema: str | None = None,
            language: str | None = None,
            **options: Unpack[SaverOptions],
        ) -> Self: ...

        @classmethod
        def from_client(cls, client: Any, *, allow_eviction: bool = False, **options: Unpack[SaverOptions]) -> Self: ...

    # LangGraph's methods

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that a config names, or the latest of its thread and namespace; None if there is none.

        Raises:
            StorageError: The database could not be read.
            DamagedDataError: The stored checkpoint was damaged or altered.
        """
        return run(self.engine.get(config))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Same as `get_tuple`, but without blocking the event loop."""
        return await arun(self.engine.get(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List checkpoints, newest first. They are read page by page, each in a transaction of its own.

        Args:
            config: The thread, namespace and checkpoint; a missing part is not restricted. None for all threads.
            filter: Metadata that a checkpoint must contain, as for `PostgresSaver`: at any depth, a mapping may have more
                keys and a list more elements. Default: None.
            before: Only checkpoints older than this one. Default: None.
            limit: The maximum number of checkpoints. Default: None (all).
        """
        scan: Scan | None = Scan.of(config, filter, before, limit)
        while scan is not None:
            page, scan = run(self.engine.page(scan))
            yield from page

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Same as `list`, but without blocking the event loop."""
        scan: Scan | None = Scan.of(config, filter, before, limit)
        while scan is not None:
            page, scan = await arun(self.engine.page(scan))
            for found in page:
                yield found

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint in one transaction.

        Args:
            config: The thread and namespace; its `checkpoint_id` is the parent's.
            checkpoint: The checkpoint.
            metadata: The metadata to store with it.
            new_versions: The versions of the channels that changed.

        Returns:
            The config of the stored checkpoint.
        """
        return run(self.engine.put(config, checkpoint, metadata, new_versions))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Same as `put`, but without blocking the event loop."""
        return await arun(self.engine.put(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the pending writes of a task, before or after their checkpoint.

        Args:
            config: The checkpoint.
            writes: Pairs of a channel and a value. A repeated write is ignored, except to LangGraph's own channels.
            task_id: The task.
            task_path: The path of the task. Default: `""`.
        """
        run(self.engine.put_writes(config, writes, task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Same as `put_writes`, but without blocking the event loop."""
        await arun(self.engine.put_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread with its checkpoints and pending writes. A missing thread is not an error."""
        run(self.engine.delete_thread(thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """Same as `delete_thread`, but without blocking the event loop."""
        await arun(self.engine.delete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of some runs, with their pending writes. Each thread is changed in its own transaction.

        Raises:
            ThreadInUseError: A later checkpoint rebuilds a `DeltaChannel` from them. Nothing of its thread was deleted;
                other threads may have been changed.
        """
        run(self.engine.delete_for_runs(run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Same as `delete_for_runs`, but without blocking the event loop."""
        await arun(self.engine.delete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with all of its checkpoints and pending writes.

        Raises:
            ThreadInUseError: The target thread has checkpoints already. Nothing was copied.
        """
        run(self.engine.copy_thread(source_thread_id, target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Same as `copy_thread`, but without blocking the event loop."""
        await arun(self.engine.copy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete old checkpoints of threads.

        Args:
            thread_ids: The threads.
            strategy: `"keep_latest"` keeps the latest checkpoint of each namespace, its pending writes, and the ancestors
                from which a `DeltaChannel` is rebuilt. `"delete"` deletes the threads. Default: `"keep_latest"`.
        """
        run(self.engine.prune(thread_ids, strategy))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Same as `prune`, but without blocking the event loop."""
        await arun(self.engine.prune(thread_ids, strategy))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return the writes of a checkpoint's ancestors to delta channels since each one's latest value, oldest first."""
        return run(self.engine.delta_history(config, channels))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Same as `get_delta_channel_history`, but without blocking the event loop."""
        return await arun(self.engine.delta_history(config, channels))

    def get_next_version(self, current: str | int | None, channel: None) -> str:  # noqa: ARG002 (LangGraph passes it)
        """Return the version after `current`: a number that sorts as text, and a random part that differs between forks."""
        return next_version(current)

    # Methods that LangGraph does not have

    def threads(
        self, *, user_id: str | Omitted | None = OMITTED, limit: int | None = None, offset: int = 0
    ) -> ThreadList:
        """List threads, most recently used first.

        A run names its user in `config["configurable"]["user_id"]`, else in the runtime's context, else in the state's
        channel `user_id`.

        Args:
            user_id: Only threads with a turn of this user; None for threads without any user. Default: all threads.
            limit: The maximum number of threads. Default: None (all).
            offset: The number of threads to skip. Default: 0.
        """
        return run(self.engine.threads(user_id=user_id, limit=limit, offset=offset))

    async def athreads(
        self, *, user_id: str | Omitted | None = OMITTED, limit: int | None = None, offset: int = 0
    ) -> ThreadList:
        """Same as `threads`, but without blocking the event loop."""
        return await arun(self.engine.threads(user_id=user_id, limit=limit, offset=offset))

    def set_ttl(self, thread_id: str, ttl: timedelta | float | None) -> bool:
        """Set the time without a new checkpoint after which a thread expires.

        Args:
            thread_id: The thread.
            ttl: A `timedelta` or seconds; None for never.

        Returns:
            True if the thread exists.
        """
        return run(self.engine.set_ttl(thread_id, ttl))

    async def aset_ttl(self, thread_id: str, ttl: timedelta | float | None) -> bool:
        """Same as `set_ttl`, but without blocking the event loop."""
        return await arun(self.engine.set_ttl(thread_id, ttl))

    def expire_checkpoints(self, older_than: timedelta | float, *, thread_ids: Sequence[str] | None = None) -> int:
        """Delete old checkpoints, but never the latest one of a namespace nor one that a remaining one depends on.

        Args:
            older_than: The age of the checkpoints to delete, as a `timedelta` or in seconds.
            thread_ids: The threads. Default: None (all).

        Returns:
            The number of deleted checkpoints.
        """
        return run(self.engine.expire_checkpoints(older_than, thread_ids))

    async def aexpire_checkpoints(
        self, older_than: timedelta | float, *, thread_ids: Sequence[str] | None = None
    ) -> int:
        """Same as `expire_checkpoints`, but without blocking the event loop."""
        return await arun(self.engine.expire_checkpoints(older_than, thread_ids))

    def __repr__(self) -> str:
        engine = self.engine
        more = "" if engine.ttl is None else f", ttl={engine.ttl:g}"
        return f"AgentMemSaver({self._backend!r}, tenant={engine.tenant!r}{more}, compact={not engine.plain})"

    def _repr_html_(self) -> str:
        return html_table(saver_rows(self), caption="AgentMemSaver", row_headers=True)


def saver_rows(saver: AgentMemSaver) -> Sequence[tuple[str, object]]:
    """Return the HTML table of a checkpointer for a notebook."""
    engine = saver.engine
    rows: list[tuple[str, object]] = [
        ("backend", repr(engine.backend)),
        ("tenant", engine.tenant),
        ("TTL in seconds", engine.ttl),
        ("compact", not engine.plain),
        ("encrypted", bool(engine.codec.secret)),
    ]
    try:
        threads = saver.threads(limit=_COUNTED_THREADS)
    except AgentMemError as error:
        return [*rows, ("state", str(error))]
    return [*rows, ("threads", len(threads)), ("checkpoints", sum(one.checkpoint_count for one in threads))]
