"""The checkpointer: LangGraph's `BaseCheckpointSaver` on any backend, sync and async on one object.

What a step writes is proportional to what is new in it; see `langchain_agentmem.encoding.layout` for the layout.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from typing_extensions import Self, Unpack

from langchain_agentmem.arguments.durations import required_seconds, seconds
from langchain_agentmem.arguments.ids import (
    MAX_CHECKPOINT_BYTES,
    check_length,
    check_name,
    check_optional_id,
    check_tenant,
    check_together,
)
from langchain_agentmem.arguments.options import SaverOptions
from langchain_agentmem.arguments.runs import context_of, user_named_by
from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.backends.contract import (
    Backend,
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    LoadedCheckpoint,
    StoredWrite,
    ThreadKey,
    ThreadUse,
    WritesPut,
)
from langchain_agentmem.backends.notes import TTL, and_cleared, and_noted, notes_of_thread
from langchain_agentmem.backends.surface import Surface, backend_of
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.checkpointing.arguments import (
    Scan,
    channels_of,
    checkpoint_id_of,
    number_of_version,
    place_of,
    serializer_of,
    thread_id_of,
    thread_ids_of,
)
from langchain_agentmem.checkpointing.containment import contains, with_lists
from langchain_agentmem.checkpointing.drafts import Draft, KnownValues
from langchain_agentmem.checkpointing.loader import Loader, checkpoint_config, thread_info
from langchain_agentmem.checkpointing.models import ThreadInfo
from langchain_agentmem.checkpointing.pruning import delete_runs, keep_latest
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import (
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    InvalidTypeError,
    ThreadInUseError,
)
from langchain_agentmem.programs import OffLoop, Program, Read, Write, arun, run, storage_program
from langchain_agentmem.programs.sizes import is_large

_list = list  # the name that the method `list` hides inside the class

_PAGE = 50
_GENERATIONS = 256
_NO_STATE: Mapping[str, Any] = {}


class AgentMemSaver(Surface, BaseCheckpointSaver[str]):
    """LangGraph's checkpointer.

    It is usually `AgentMemory.checkpointer`, and stands alone too, through `from_url`. Every method has an async twin with
    the prefix `a`; both may be used on the same object, from any thread and any event loop. `setup()` need not be called.

    Args:
        backend: Where the checkpoints are: a URL, see `langchain_agentmem.backends.connect`; or a pool, connection or
            client of the application, see `langchain_agentmem.backends.adopt`.
        serde: The serializer. With an `EncryptedSerializer` values and metadata are stored encrypted (the ids of
            threads, users, runs, channels and tasks stay readable), and rows
            that are not encrypted, or were altered, are refused. Default: LangGraph's `JsonPlusSerializer`.
        ttl: After what time without a new checkpoint a thread expires, as a `timedelta` or in seconds. Default: None
            (never).
        tenant: Which of several applications on one database. Default: `"default"`.
        compact: Whether what a step stores is proportional to what is new in it. With False, checkpoints are stored in
            full; on Postgres then in such a way that LangGraph's own `PostgresSaver` reads them. Default: True.

    Raises:
        ConfigurationError: `compact=False` with a serializer that encrypts, since that layout shows metadata.

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
        sweeper: Sweeper | None = None,
    ) -> None:
        super().__init__(serde=serializer_of(serde))
        self._plain = not check_flag("compact", compact)
        self._tenant = check_tenant(tenant)
        backend, self._stands_alone = backend_of(backend, 'AgentMemSaver("sqlite:///agentmem.db")')
        self._backend: Backend = backend
        self._ttl = seconds("ttl", ttl)
        self._sweeper = sweeper or Sweeper(backend, tenant)
        self._memory = KnownValues()
        self._cached_codec: Codec | None = None
        self._reported: set[type] = set()
        if self._plain and self._codec.secret:
            msg = "compact=False stores metadata in plain text: leave it out, or use LangGraph's JsonPlusSerializer."
            raise ConfigurationError(msg)

    if TYPE_CHECKING:  # `Surface` implements the constructors

        @classmethod
        def from_url(cls, url: str, **options: Unpack[SaverOptions]) -> Self: ...

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
        """The checkpoint that a config names, or the latest of its thread and namespace; None if there is none.

        Raises:
            StorageError: The database could not be read: an outage never looks like a new conversation.
            DamagedDataError: What is stored was damaged or altered.
        """
        return run(self._get(config))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Same as `get_tuple`, but without blocking the event loop."""
        return await arun(self._get(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, newest first; read a page at a time, so that nobody is blocked meanwhile.

        Args:
            config: Which thread, namespace and checkpoint; what it leaves out is not restricted. None for all threads.
            filter: Metadata that a checkpoint must contain, as with `PostgresSaver`: keys of mappings and elements of lists
                may be left out, at any depth. Default: None.
            before: Only checkpoints older than this one. Default: None.
            limit: The most checkpoints. Default: None (all).
        """
        scan: Scan | None = Scan.of(config, filter, before, limit)
        while scan is not None:
            page, scan = run(self._page(scan))
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
            page, scan = await arun(self._page(scan))
            for found in page:
                yield found

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, all of it or nothing.

        Args:
            config: Which thread and namespace; its `checkpoint_id` is the parent's.
            checkpoint: What to store.
            metadata: What to keep with it.
            new_versions: The versions of the channels that changed.

        Returns:
            The config of the stored checkpoint.
        """
        return run(self._put(config, checkpoint, metadata, new_versions))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Same as `put`, but without blocking the event loop."""
        return await arun(self._put(config, checkpoint, metadata, new_versions))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task wrote, before or after the checkpoint it belongs to.

        Args:
            config: Which checkpoint.
            writes: Channels and values. A repeated write is ignored, except to LangGraph's own channels.
            task_id: Which task.
            task_path: The task's path. Default: `""`.
        """
        run(self._put_writes(config, writes, task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Same as `put_writes`, but without blocking the event loop."""
        await arun(self._put_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread with all that belongs to it; one that is not there is no error."""
        run(self._delete_thread(thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """Same as `delete_thread`, but without blocking the event loop."""
        await arun(self._delete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints of some runs, with their writes.

        Raises:
            ThreadInUseError: A later checkpoint rebuilds a `DeltaChannel` from them; its thread was left as it is, while
                threads before it may have been dealt with.
        """
        run(self._delete_for_runs(run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Same as `delete_for_runs`, but without blocking the event loop."""
        await arun(self._delete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread whole, with its history and pending writes.

        Raises:
            ThreadInUseError: The target holds checkpoints already; nothing was copied.
        """
        run(self._copy_thread(source_thread_id, target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Same as `copy_thread`, but without blocking the event loop."""
        await arun(self._copy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete old checkpoints of threads.

        Args:
            thread_ids: Which threads.
            strategy: `"keep_latest"` keeps the latest checkpoint of each namespace and what it needs (its writes, and
                the ancestors that a `DeltaChannel` is rebuilt from); `"delete"` keeps nothing. Default: `"keep_latest"`.
        """
        run(self._prune(thread_ids, strategy))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Same as `prune`, but without blocking the event loop."""
        await arun(self._prune(thread_ids, strategy))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What the ancestors of a checkpoint wrote to delta channels, oldest first, since each one's latest value."""
        return run(self._delta_history(config, channels))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Same as `get_delta_channel_history`, but without blocking the event loop."""
        return await arun(self._delta_history(config, channels))

    def get_next_version(self, current: str | int | None, channel: None) -> str:  # noqa: ARG002 (LangGraph passes it)
        """The version after `current`: a number that sorts as text, and a random part, so that forks never share one."""
        return f"{number_of_version(current) + 1:032}.{secrets.randbits(48):012x}"

    # Ours

    def threads(self, *, user_id: str | None = None, limit: int | None = None, offset: int = 0) -> _list[ThreadInfo]:
        """The threads, most recently used first.

        Args:
            user_id: Only those that this user took a turn in. A run names its user in `config["configurable"]["user_id"]`,
                else in the runtime's context, else in the state's channel `user_id`. Default: None (all).
            limit: The most threads. Default: None (all).
            offset: How many to skip. Default: 0.
        """
        return run(self._threads(user_id, limit, offset))

    async def athreads(
        self, *, user_id: str | None = None, limit: int | None = None, offset: int = 0
    ) -> _list[ThreadInfo]:
        """Same as `threads`, but without blocking the event loop."""
        return await arun(self._threads(user_id, limit, offset))

    def set_ttl(self, thread_id: str, ttl: timedelta | float | None) -> bool:
        """Set after what time without a new checkpoint a thread expires.

        Args:
            thread_id: Which thread.
            ttl: A `timedelta` or seconds; None for never.

        Returns:
            Whether there is such a thread.
        """
        return run(self._set_ttl(thread_id, ttl))

    async def aset_ttl(self, thread_id: str, ttl: timedelta | float | None) -> bool:
        """Same as `set_ttl`, but without blocking the event loop."""
        return await arun(self._set_ttl(thread_id, ttl))

    def expire_checkpoints(self, older_than: timedelta | float, *, thread_ids: Sequence[str] | None = None) -> int:
        """Delete checkpoints older than some time, but never the latest of a namespace nor what a kept one needs.

        Args:
            older_than: A `timedelta` or seconds, more than 0.
            thread_ids: Which threads. Default: None (all).

        Returns:
            How many were deleted.
        """
        return run(self._expire_checkpoints(older_than, thread_ids))

    async def aexpire_checkpoints(
        self, older_than: timedelta | float, *, thread_ids: Sequence[str] | None = None
    ) -> int:
        """Same as `expire_checkpoints`, but without blocking the event loop."""
        return await arun(self._expire_checkpoints(older_than, thread_ids))

    def __repr__(self) -> str:
        return f"AgentMemSaver({self._backend!r})"

    # Programs

    @property
    def _codec(self) -> Codec:
        # `with_allowlist` gives copies of this object another serializer, so the codec belongs to the serializer.
        codec = self._cached_codec
        if codec is None or codec.serde is not self.serde:
            codec = self._cached_codec = Codec(self.serde, verify=False, reported=self._reported)
        return codec

    @property
    def _loader(self) -> Loader:
        return Loader(self._codec, self._memory, self._tenant)

    def _get(self, config: RunnableConfig) -> Program[CheckpointTuple | None]:
        thread, namespace, checkpoint_id = self._place(config)
        with _reading(thread.thread_id):
            loaded = yield from Read(
                self._backend,
                self._backend.checkpoints.get(thread, namespace, checkpoint_id, self._codec, time.time()),
            )
            if loaded is None:
                return None
            yield from OffLoop(is_large(loaded.parts))
            return self._loader.tuple(loaded, config["configurable"]["thread_id"])

    def _page(self, scan: Scan) -> Program[tuple[_list[CheckpointTuple], Scan | None]]:
        if scan.limit == 0:
            return [], None
        with _reading(scan.thread_id):
            loaded, following = yield from Read(self._backend, self._read_page(scan))
            yield from OffLoop(is_large([checkpoint.parts for checkpoint in loaded]))
            return [self._loaded(checkpoint) for checkpoint in loaded], following

    def _loaded(self, checkpoint: LoadedCheckpoint) -> CheckpointTuple:
        with _reading(checkpoint.row.thread_id):
            return self._loader.tuple(checkpoint, checkpoint.row.thread_id)

    @storage_program
    def _read_page(self, scan: Scan) -> Program[tuple[_list[LoadedCheckpoint], Scan | None]]:
        table = self._backend.checkpoints
        size = _PAGE if scan.limit is None or scan.filter else min(_PAGE, scan.limit)
        rows = yield from table.page(
            self._tenant,
            scan.thread_id,
            scan.namespace,
            scan.checkpoint_id,
            scan.before,
            scan.after,
            size,
            self._codec,
            time.time(),
        )
        wanted = [row for row in rows if contains(row.metadata, scan.filter)]
        loaded = yield from table.load(self._tenant, wanted[: scan.limit])
        if len(rows) < size:
            return loaded, None
        last = rows[-1]
        after = (last.key.checkpoint_id, last.thread_id, last.key.namespace)
        left = None if scan.limit is None else scan.limit - len(loaded)
        return loaded, None if left == 0 else scan._replace(after=after, limit=left)

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Program[RunnableConfig]:
        thread, namespace, parent_id = self._place(config)
        checkpoint_id = checkpoint_id_of(checkpoint, metadata, new_versions)
        check_together(
            "The IDs of a thread and checkpoint", thread.tenant, (thread.thread_id, checkpoint_id), MAX_CHECKPOINT_BYTES
        )
        use = self._use(config, checkpoint["channel_values"])
        described = with_lists({**get_checkpoint_metadata(config, metadata), **metadata})
        run_id = described.get("run_id")
        if isinstance(run_id, str):
            check_length("run_id", run_id, MAX_CHECKPOINT_BYTES)
        for is_alone in (False, True):
            secret, use = yield from self._secret(thread, use)
            draft = Draft(self._codec, self._memory, thread, namespace, secret, alone=is_alone, plain=self._plain)
            yield from OffLoop(is_large(checkpoint["channel_values"]))
            draft.add_values(checkpoint, new_versions)
            row = CheckpointRow(
                thread.thread_id,
                CheckpointKey(namespace, checkpoint_id),
                parent_id,
                {key: value for key, value in checkpoint.items() if key != "channel_values"},
                described,
                draft.inline,
                draft.stored,
            )
            put = CheckpointPut(
                row,
                run_id if isinstance(run_id, str) else None,
                draft.values,
                draft.elements,
                draft.requires,
                self._plain,
                draft.unchanged,
                draft.snapshots,
            )
            with _reading(thread.thread_id):
                is_stored = yield from Write(
                    self._backend, self._backend.checkpoints.put(thread, put, self._codec, use)
                )
            if is_stored:
                break
            self._memory.forget(thread)
        else:
            msg = f"Checkpoint {checkpoint_id!r} of thread {thread.thread_id!r} met another one; nothing was written."
            raise ConflictError(msg)
        self._memory.learn_all(thread, draft.learned)
        yield from self._sweeper.after_write()
        return checkpoint_config(config["configurable"]["thread_id"], namespace, checkpoint_id)

    def _put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Program[None]:
        thread, namespace, checkpoint_id = self._place(config)
        if checkpoint_id is None:
            msg = "put_writes needs the checkpoint_id of the checkpoint that the writes belong to."
            raise InvalidInputError(msg)
        for name in (task_id, task_path, *channels_of(writes)):
            check_name("The name of a channel or task", name)
        ids = (thread.thread_id, checkpoint_id, task_id)
        check_together("The IDs of a thread, checkpoint and task", thread.tenant, ids, MAX_CHECKPOINT_BYTES)
        use = self._use(config)
        for is_alone in (False, True):
            secret, use = yield from self._secret(thread, use)
            draft = Draft(self._codec, self._memory, thread, namespace, secret, alone=is_alone, plain=self._plain)
            yield from OffLoop(is_large([value for _, value in writes]))
            rows = [
                StoredWrite(
                    task_id, WRITES_IDX_MAP.get(channel, at), task_path, channel, *draft.add_write(channel, value)
                )
                for at, (channel, value) in enumerate(writes)
            ]
            put = WritesPut(CheckpointKey(namespace, checkpoint_id), rows, draft.values, draft.elements, draft.requires)
            with _reading(thread.thread_id):
                is_stored = yield from Write(self._backend, self._backend.checkpoints.put_writes(thread, put, use))
            if is_stored:
                break
            self._memory.forget(thread)
        else:
            msg = (
                f"Others keep making thread {thread.thread_id!r} anew; the writes of task {task_id!r} were not stored."
            )
            raise ConflictError(msg)
        self._memory.learn_all(thread, draft.learned)

    def _delete_thread(self, thread_id: str) -> Program[None]:
        thread = self._thread(thread_id)
        yield from Write(self._backend, self._deleting(thread))
        self._memory.forget(thread)

    def _deleting(self, thread: ThreadKey) -> Program[None]:
        """The storage program that deletes a thread."""
        return and_cleared(self._backend.checkpoints.delete_thread(thread), notes_of_thread(self._backend, thread))

    def _delete_for_runs(self, run_ids: Sequence[str]) -> Program[None]:
        wanted = thread_ids_of("run_ids", run_ids)
        if not wanted:
            return
        table = self._backend.checkpoints
        for thread_id in (yield from Read(self._backend, table.threads_of_runs(self._tenant, wanted))):
            thread = ThreadKey(self._tenant, thread_id)
            deleted = delete_runs(table, thread, wanted, self._codec)
            with _reading(thread_id):
                yield from Write(self._backend, and_cleared(deleted, notes_of_thread(self._backend, thread)))
            self._memory.forget(thread)

    def _copy_thread(self, source_thread_id: str, target_thread_id: str) -> Program[None]:
        source = self._thread(source_thread_id, "source_thread_id")
        target = self._thread(target_thread_id, "target_thread_id")
        with _reading(source.thread_id):
            copied = yield from Write(self._backend, self._backend.checkpoints.copy_thread(source, target, time.time()))
        if not copied:
            msg = f"Thread {target.thread_id!r} holds checkpoints already: delete it first, or copy to another id."
            raise ThreadInUseError(msg)
        self._memory.forget(target)

    def _prune(self, thread_ids: Sequence[str], strategy: str) -> Program[None]:
        threads = [self._thread(thread_id) for thread_id in thread_ids_of("thread_ids", thread_ids)]
        table = self._backend.checkpoints
        if strategy not in ("keep_latest", "delete"):
            msg = f"Unknown prune strategy {shown(strategy)}: use 'keep_latest' or 'delete'."
            raise InvalidInputError(msg)
        for thread in threads:
            if strategy == "delete":
                yield from Write(self._backend, self._deleting(thread))
            else:
                with _reading(thread.thread_id):
                    yield from Write(self._backend, keep_latest(table, thread, self._codec))
            self._memory.forget(thread)

    def _expire_checkpoints(self, older_than: timedelta | float, thread_ids: Sequence[str] | None) -> Program[int]:
        cutoff = time.time() - required_seconds("older_than", older_than)
        if thread_ids is None:
            thread_ids = [info.thread_id for info in (yield from self._threads(None, None, 0))]
        deleted = 0
        for thread_id in thread_ids_of("thread_ids", thread_ids):
            thread = self._thread(thread_id)
            program = keep_latest(self._backend.checkpoints, thread, self._codec, older_than=cutoff)
            with _reading(thread.thread_id):
                deleted += yield from Write(self._backend, program)
            self._memory.forget(thread)
        return deleted

    def _delta_history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> Program[Mapping[str, DeltaChannelHistory]]:
        if not channels:
            return {}
        thread, namespace, checkpoint_id = self._place(config)
        program = self._loader.delta_history(
            self._backend.checkpoints, thread, namespace, checkpoint_id, _list(channels)
        )
        with _reading(thread.thread_id):
            histories: Mapping[str, DeltaChannelHistory] = yield from Read(self._backend, program)
        return histories

    def _threads(self, user_id: str | None, limit: int | None, offset: int) -> Program[_list[ThreadInfo]]:
        check_optional_id("user_id", user_id)
        if limit is not None:
            limit = check_count("limit", limit)
        offset = check_count("offset", offset, least=0)
        with _reading(None):
            rows = yield from Read(
                self._backend, self._backend.checkpoints.threads(self._tenant, user_id, limit, offset, time.time())
            )
            return [thread_info(row) for row in rows]

    def _set_ttl(self, thread_id: str, ttl: timedelta | float | None) -> Program[bool]:
        thread = self._thread(thread_id)
        lives = seconds("ttl", ttl)
        program = self._backend.checkpoints.set_ttl(thread, lives, time.time())
        # What was written down of the thread expires with it.
        noted = and_noted(program, notes_of_thread(self._backend, thread), TTL, {"seconds": lives})
        known: bool = yield from Write(self._backend, noted)
        return known

    # Parts

    def _thread(self, thread_id: Any, what: str = "thread_id") -> ThreadKey:
        return ThreadKey(self._tenant, thread_id_of(what, thread_id))

    def _place(self, config: RunnableConfig) -> tuple[ThreadKey, str, str | None]:
        thread_id, namespace, checkpoint_id = place_of(config)
        return ThreadKey(self._tenant, thread_id), namespace, checkpoint_id

    def _use(self, config: RunnableConfig, state: Mapping[str, Any] = _NO_STATE) -> ThreadUse:
        """The use of a thread by the user that the config names, else the runtime's context, else the state."""
        configurable = config["configurable"]
        named = user_named_by(configurable)
        if named is None:
            named = user_named_by(context_of(configurable))
        if named is not None:
            user_id: str | None = thread_id_of("user_id", named)
        else:
            # A channel of this name may hold anything. What is no ID names no user.
            named = user_named_by(state)
            try:
                user_id = None if named is None else thread_id_of("user_id", named)
            except (InvalidInputError, InvalidTypeError):
                user_id = None
        return ThreadUse(time.time(), user_id, self._ttl)

    def _secret(self, thread: ThreadKey, use: ThreadUse) -> Program[tuple[bytes, ThreadUse]]:
        """What the thread's references are keyed with: nothing, unless its values are encrypted."""
        if not self._codec.secret:
            return b"", use
        stored = self._memory.secrets.get(thread)
        if stored is None:
            proposal = self._codec.store(os.urandom(32))
            stored = yield from Write(self._backend, self._backend.checkpoints.secret(thread, proposal, use))
            self._memory.remember_secret(thread, stored)
        return bytes(self._codec.load(stored)), use._replace(secret=stored)


def _reading(thread_id: str | None) -> reading:
    """Context manager: report damage to what is stored of a thread, or of some thread."""
    return reading(
        "What is stored of a thread" if thread_id is None else f"What is stored of thread {shown(thread_id)}"
    )
