"""The checkpointer's operations, as programs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)

from langchain_agentmem.arguments.durations import required_seconds, seconds
from langchain_agentmem.arguments.ids import MAX_CHECKPOINT_BYTES, check_length, check_name, check_together
from langchain_agentmem.arguments.omitted import OMITTED, Omitted, check_id_or_omitted
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.backends.contract import (
    Backend,
    CheckpointKey,
    CheckpointPut,
    LoadedCheckpoint,
    StoredWrite,
    ThreadKey,
    ThreadUse,
    WritesPut,
)
from langchain_agentmem.backends.notes import TTL, and_cleared, and_noted, notes_of_thread
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.checkpointing.arguments import (
    channels_of,
    checkpoint_id_of,
    checkpoint_of,
    thread_id_of,
    thread_ids_of,
    user_of,
)
from langchain_agentmem.checkpointing.containment import with_lists
from langchain_agentmem.checkpointing.drafts import Adopted, AdoptedWrite, Draft, store_whole
from langchain_agentmem.checkpointing.known import KnownValues
from langchain_agentmem.checkpointing.loader import Loader, checkpoint_config, reading_thread, thread_info
from langchain_agentmem.checkpointing.migration.conversion import Conversion
from langchain_agentmem.checkpointing.models import ThreadList
from langchain_agentmem.checkpointing.pruning import delete_runs, keep_latest
from langchain_agentmem.checkpointing.scan import Scan, read_page
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.errors import ConflictError, InvalidInputError, ThreadInUseError
from langchain_agentmem.messages.guarding import guarded_value
from langchain_agentmem.programs import OffLoop, Program, Read, Write, in_own_transaction
from langchain_agentmem.programs.sizes import is_large
from langchain_agentmem.text.guard import Guard

_log = logging.getLogger(__name__)

_GUARDED = 1_000
"""The number of characters from which a guard reads values in a worker thread."""

_NO_STATE: Mapping[str, Any] = {}


@dataclass(eq=False)
class CheckpointEngine:
    """The checkpoints of one tenant. Each operation checks its arguments, and is a program.

    Args:
        backend: The backend.
        tenant: The tenant.
        codec: The codec of values and metadata.
        sweeper: The sweeper that runs after writes.
        ttl: Seconds without a new checkpoint after which a thread expires. Default: None (never).
        plain: If true, store checkpoints in full, as LangGraph's savers do. Default: False.
        known: The cache of stored values. Default: an empty one.
        conversion: Converts checkpoints to today's shape when they are read. Default: None.
        guard: The rules for messages and texts, which apply if `guard.checkpoints` is true. Default: None (any value).
    """

    backend: Backend
    tenant: str
    codec: Codec
    sweeper: Sweeper
    ttl: float | None = None
    plain: bool = False
    known: KnownValues = field(default_factory=KnownValues)
    guard: Guard | None = None
    conversion: Conversion | None = None

    def __post_init__(self) -> None:
        self.loader = Loader(self.codec, self.known, self.tenant, self.conversion)

    # Reading

    def get(self, config: RunnableConfig) -> Program[CheckpointTuple | None]:
        """Return the checkpoint that a config names, or the latest one; None if there is none."""
        thread, namespace, checkpoint_id = self._checkpoint(config)
        known = self.known.versions(thread, namespace) if self.codec.verifiable else {}
        program = self.backend.checkpoints.get(thread, namespace, checkpoint_id, self.codec, time.time(), known)
        with reading_thread(thread.thread_id):
            loaded = yield from Read(self.backend, program)
            if loaded is None:
                _log.debug("checkpointer: no checkpoint %r in thread %r", checkpoint_id or "latest", thread.thread_id)
                return None
            self.known.histories.note_read(thread, loaded.row.key, loaded.revision)
            _log.debug("checkpointer: read checkpoint %r of thread %r", loaded.row.key.checkpoint_id, thread.thread_id)
            yield from OffLoop(is_large(loaded.parts))
            return self.loader.tuple(loaded, config["configurable"]["thread_id"], known)

    def page(self, scan: Scan) -> Program[tuple[list[CheckpointTuple], Scan | None]]:
        """Return one page of a listing, and the scan of the next page (None after the last one)."""
        if scan.limit == 0:
            return [], None
        with reading_thread(scan.thread_id):
            page = yield from Read(self.backend, read_page(self.backend.checkpoints, self.tenant, scan, self.codec))
            loaded, following = page
            yield from OffLoop(is_large([checkpoint.parts for checkpoint in loaded]))
            return [self._tuple(checkpoint) for checkpoint in loaded], following

    def _tuple(self, checkpoint: LoadedCheckpoint) -> CheckpointTuple:
        with reading_thread(checkpoint.row.thread_id):
            return self.loader.tuple(checkpoint, checkpoint.row.thread_id)

    def delta_history(
        self, config: RunnableConfig, channels: Sequence[str]
    ) -> Program[Mapping[str, DeltaChannelHistory]]:
        """Return the writes to delta channels by the ancestors of the checkpoint that a config names."""
        if not channels:
            return {}
        thread, namespace, checkpoint_id = self._checkpoint(config)
        if checkpoint_id is not None:
            found = self.loader.known_history(thread, CheckpointKey(namespace, checkpoint_id), channels)
            if found is not None:
                return found
        table = self.backend.checkpoints
        program = self.loader.delta_history(table, thread, namespace, checkpoint_id, list(channels))
        with reading_thread(thread.thread_id):
            return (yield from Read(self.backend, program))

    def threads(
        self, *, user_id: str | Omitted | None = OMITTED, limit: int | None = None, offset: int = 0
    ) -> Program[ThreadList]:
        """Return the threads of all users, of one user, or of no user (None), most recently used first."""
        user = check_id_or_omitted("user_id", user_id)
        if limit is not None:
            limit = check_count("limit", limit)
        offset = check_count("offset", offset, least=0)
        program = self.backend.checkpoints.threads(self.tenant, user, limit, offset, time.time())
        with reading_thread():
            return ThreadList(thread_info(row) for row in (yield from Read(self.backend, program)))

    # Writing

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Program[RunnableConfig]:
        """Store a checkpoint and return its config."""
        checkpoint = yield from self._guarded_checkpoint(checkpoint)
        thread, namespace, parent_id = self._checkpoint(config)
        checkpoint_id = checkpoint_id_of(checkpoint, metadata, new_versions)
        ids = (thread.thread_id, checkpoint_id)
        check_together("The IDs of a thread and checkpoint", thread.tenant, ids, MAX_CHECKPOINT_BYTES)
        use = self._use(config, checkpoint["channel_values"])
        details, run_id = _details(config, metadata)

        def store(draft: Draft, use: ThreadUse) -> tuple[CheckpointPut, Program[bool]]:
            key = CheckpointKey(namespace, checkpoint_id)
            put = draft.put(key, parent_id, checkpoint, new_versions, details, run_id)
            return put, self.backend.checkpoints.put(thread, put, self.codec, use)

        large = is_large(self._unknown_part(thread, namespace, checkpoint, new_versions))
        yield from self._store(f"checkpoint {checkpoint_id!r}", thread, namespace, use, large, store)
        yield from self.sweeper.after_write()
        return checkpoint_config(config["configurable"]["thread_id"], namespace, checkpoint_id)

    def _unknown_part(
        self, thread: ThreadKey, namespace: str, checkpoint: Checkpoint, new_versions: ChannelVersions
    ) -> list[Any]:
        """Return the values that must be encoded, without the elements that are probably known."""
        values = checkpoint["channel_values"]
        if self.plain:
            return [values]
        parts = []
        for channel, value in values.items():
            if channel in new_versions:
                known = self.known.recall(thread, namespace, channel) if type(value) is list else None
                parts.append(value if known is None else value[len(known.elements) :])
        return parts

    def adopt(self, batch: Sequence[Adopted]) -> Program[None]:
        """Store checkpoints of a thread of another saver with their pending writes, in one transaction.

        The time of the thread's use is that of the newest checkpoint, unless threads have a TTL.

        Args:
            batch: The checkpoints, parents before their children. Pending writes that are stored already are left unchanged.

        Raises:
            ConflictError: The database refused them.
        """
        prepared = []
        for one in batch:
            checkpoint = yield from self._guarded_checkpoint(one.checkpoint)
            writes = yield from self._guarded_adopted(one.writes)
            prepared.append((one._replace(checkpoint=checkpoint, writes=writes), self._adopted_use(one)))
        thread, *_ = self._checkpoint(batch[0].config)
        large = is_large([(one.checkpoint["channel_values"], one.writes) for one, _ in prepared])
        for alone in (False, True):
            secret, keyed = yield from self.secret_of(thread, prepared[0][1])
            yield from OffLoop(large)
            parts = []
            for one, use in prepared:
                _, namespace, parent_id = self._checkpoint(one.config)
                key = CheckpointKey(namespace, one.checkpoint["id"])
                details, run_id = _details(one.config, one.metadata)
                draft = Draft(self.codec, self.known, thread, namespace, secret, alone=alone, plain=self.plain)
                puts = draft.write_puts(key, one.writes)
                put = draft.put(key, parent_id, one.checkpoint, one.new_versions, details, run_id, after=puts)
                parts.append((puts, put, use._replace(secret=keyed.secret)))
                self.known.learn_all(thread, draft.learned)  # the next checkpoint is spliced from this one
            stored = False
            try:
                with reading_thread(thread.thread_id):
                    stored = yield from Write(
                        self.backend, store_whole(self.backend.checkpoints, thread, parts, self.codec)
                    )
            finally:
                if not stored:
                    self.known.forget(thread)
            self.known.histories.forget(thread)
            if stored:
                return
        msg = (
            f"Could not store checkpoints of thread {thread.thread_id!r}: another writer replaced the thread concurrently. "
            f"Copy it again."
        )
        raise ConflictError(msg)

    def _adopted_use(self, adopted: Adopted) -> ThreadUse:
        """Check the IDs of a checkpoint of another saver, and return the use of its thread."""
        thread, *_ = self._checkpoint(adopted.config)
        metadata, writes = adopted.metadata, adopted.writes
        checkpoint_id = checkpoint_id_of(adopted.checkpoint, metadata, adopted.new_versions)
        for task_id in {"", *(write.task_id for write in writes)}:
            ids = (thread.thread_id, checkpoint_id, task_id)
            check_together("The IDs of a thread, checkpoint and task", thread.tenant, ids, MAX_CHECKPOINT_BYTES)
        for write in writes:
            for name in (write.task_id, write.path, write.channel):
                check_name("The name of a channel or task", name)
        user = user_of({"user_id": metadata.get("user_id")}, adopted.checkpoint["channel_values"])
        return ThreadUse(self._time_of(adopted.checkpoint), user, self.ttl)

    def _guarded_adopted(self, writes: Sequence[AdoptedWrite]) -> Program[Sequence[AdoptedWrite]]:
        guarded = yield from self._guarded_writes([(write.channel, write.value) for write in writes])
        return [write._replace(value=value) for write, (_, value) in zip(writes, guarded, strict=True)]

    def adopt_writes(self, config: RunnableConfig, writes: Sequence[AdoptedWrite]) -> Program[None]:
        """Store pending writes of another saver for a checkpoint that is stored already."""
        writes = yield from self._guarded_adopted(writes)
        thread, namespace, checkpoint_id = self._checkpoint(config)
        key = CheckpointKey(namespace, checkpoint_id or "")

        def store(draft: Draft, use: ThreadUse) -> tuple[None, Program[bool]]:
            parts = [(draft.write_puts(key, writes), None, use)]
            return None, store_whole(self.backend.checkpoints, thread, parts, self.codec)

        large = is_large([write.value for write in writes])
        use = ThreadUse(time.time(), None, self.ttl)
        yield from self._store(f"writes of checkpoint {checkpoint_id!r}", thread, namespace, use, large, store)

    def use(self, thread_id: str, key: CheckpointKey, user_id: str, now: float) -> Program[None]:
        """Note that a user used a thread."""
        thread = self._thread("thread_id", thread_id)
        use = ThreadUse(now, user_id, self.ttl)
        yield from Write(self.backend, self.backend.checkpoints.put_writes(thread, WritesPut(key, [], [], {}), use))

    def _time_of(self, checkpoint: Checkpoint) -> float:
        """Return when a checkpoint was made; the current time if a TTL counts from it."""
        try:
            return time.time() if self.ttl is not None else datetime.fromisoformat(checkpoint["ts"]).timestamp()
        except (KeyError, TypeError, ValueError):
            return time.time()

    def _guarded_checkpoint(self, checkpoint: Checkpoint) -> Program[Checkpoint]:
        if self.guard is None or not self.guard.checkpoints:
            return checkpoint
        yield from OffLoop(is_large(checkpoint["channel_values"], _GUARDED))
        values = {
            name: guarded_value(value, self._rule(f"The channel {name!r}"))
            for name, value in checkpoint["channel_values"].items()
        }
        return cast("Checkpoint", {**checkpoint, "channel_values": values})

    def _guarded_writes(self, writes: Sequence[tuple[str, Any]]) -> Program[Sequence[tuple[str, Any]]]:
        if self.guard is None or not self.guard.checkpoints:
            return writes
        yield from OffLoop(is_large([value for _, value in writes], _GUARDED))
        return [
            (channel, guarded_value(value, self._rule(f"A write to the channel {channel!r}")))
            for channel, value in writes
        ]

    def _rule(self, where: str) -> Callable[[str], str]:
        guard = cast("Guard", self.guard)
        return lambda text: guard.text(text, where)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Program[None]:
        """Store a task's pending writes for the checkpoint that a config names."""
        writes = yield from self._guarded_writes(writes)
        thread, namespace, checkpoint_id = self._checkpoint(config)
        if checkpoint_id is None:
            msg = "put_writes needs the checkpoint_id of the checkpoint that the writes belong to."
            raise InvalidInputError(msg)
        for name in (task_id, task_path, *channels_of(writes)):
            check_name("The name of a channel or task", name)
        ids = (thread.thread_id, checkpoint_id, task_id)
        check_together("The IDs of a thread, checkpoint and task", thread.tenant, ids, MAX_CHECKPOINT_BYTES)

        def store(draft: Draft, use: ThreadUse) -> tuple[WritesPut, Program[bool]]:
            rows = [
                StoredWrite(
                    task_id, WRITES_IDX_MAP.get(channel, at), task_path, channel, *draft.add_write(channel, value)
                )
                for at, (channel, value) in enumerate(writes)
            ]
            put = WritesPut(CheckpointKey(namespace, checkpoint_id), rows, draft.values, draft.elements, draft.requires)
            return put, self.backend.checkpoints.put_writes(thread, put, use)

        large = is_large([value for _, value in writes])
        what = f"the writes of task {task_id!r}"
        yield from self._store(what, thread, namespace, self._use(config), large, store)

    def _store(
        self,
        what: str,
        thread: ThreadKey,
        namespace: str,
        use: ThreadUse,
        large: bool,
        store: Callable[[Draft, ThreadUse], tuple[CheckpointPut | WritesPut | None, Program[bool]]],
    ) -> Program[None]:
        """Store rows that may refer to stored values; if the database refuses, store them with all values in full.

        Args:
            what: The name of the rows, for the error.
            thread: The thread.
            namespace: The checkpoint's namespace.
            use: The use of the thread.
            large: If true, encode the values outside of the event loop.
            store: Fills a draft and returns the rows, if the cache should know them, and the storage program, whose result is
                false if the database refuses it.

        Raises:
            ConflictError: The database refused each time; nothing was written.
        """
        # A write whose answer was lost is refused when it is repeated: its values are stored. The next draft has other keys.
        # It runs in its own transaction: callers of a shared one may be interrupted again and again.
        for alone in (False, True, True):
            secret, use = yield from self.secret_of(thread, use)
            draft = Draft(self.codec, self.known, thread, namespace, secret, alone=alone, plain=self.plain)
            yield from OffLoop(large)
            put, program = store(draft, use)
            self.known.histories.begin(thread)
            try:
                with reading_thread(thread.thread_id):
                    stored = yield from Write(self.backend, in_own_transaction(program) if alone else program)
                if stored and isinstance(put, CheckpointPut):
                    self.known.histories.add(thread, put, draft.values)
                elif stored and isinstance(put, WritesPut):
                    self.known.histories.add_writes(thread, put, draft.kept)
            finally:
                self.known.histories.end(thread)
            if stored:
                new = (len(draft.values), len(draft.elements))
                _log.debug("checkpointer: stored %s of thread %r, %d values, %d elements", what, thread.thread_id, *new)
                self.known.learn_all(thread, draft.learned)
                return
            _log.debug("checkpointer: refused %s of thread %r: other values are stored", what, thread.thread_id)
            self.known.forget(thread)
        msg = (
            f"Could not store {what}: another writer replaced thread {thread.thread_id!r} concurrently. Nothing was "
            f"written. Run the graph again."
        )
        raise ConflictError(msg)

    def secret_of(self, thread: ThreadKey, use: ThreadUse) -> Program[tuple[bytes, ThreadUse]]:
        """Return the key of the thread's references: empty unless values are encrypted.

        A thread without a secret gets the proposal together with the first rows, so a refused write leaves nothing behind.
        """
        if not self.codec.secret:
            return b"", use
        stored = self.known.secret(thread)
        if stored is None:
            found = yield from Read(self.backend, self.backend.checkpoints.stored_secret(thread, use.now))
            stored = found or self.codec.store(os.urandom(32))
            self.known.learn_secret(thread, stored)
        return bytes(self.codec.load(stored)), use._replace(secret=stored)

    def set_ttl(self, thread_id: str, ttl: timedelta | float | None) -> Program[bool]:
        """Set a thread's TTL and that of the notes about it; return true if the thread exists."""
        thread = self._thread("thread_id", thread_id)
        duration = seconds("ttl", ttl)
        program = self.backend.checkpoints.set_ttl(thread, duration, time.time())
        noted = and_noted(program, notes_of_thread(self.backend, thread), TTL, {"seconds": duration})
        return (yield from Write(self.backend, noted))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> Program[None]:
        """Copy a thread with its checkpoints and pending writes."""
        source = self._thread("source_thread_id", source_thread_id)
        target = self._thread("target_thread_id", target_thread_id)
        program = self.backend.checkpoints.copy_thread(source, target, time.time())
        with reading_thread(source.thread_id):
            copied = yield from Write(self.backend, program)
        if not copied:
            msg = (
                f"Thread {target.thread_id!r} already has checkpoints. Delete the thread first, or copy to another ID."
            )
            raise ThreadInUseError(msg)
        self.known.forget(target)

    # Deleting

    def delete_thread(self, thread_id: str) -> Program[None]:
        """Delete a thread and the notes about it."""
        yield from self._delete(self._thread("thread_id", thread_id))

    def _delete(self, thread: ThreadKey) -> Program[None]:
        deletion = self.backend.checkpoints.delete_thread(thread)
        yield from Write(self.backend, and_cleared(deletion, notes_of_thread(self.backend, thread)))
        self.known.forget(thread)
        _log.debug("checkpointer: deleted thread %r", thread.thread_id)

    def delete_for_runs(self, run_ids: Sequence[str]) -> Program[None]:
        """Delete the checkpoints of some runs."""
        wanted = thread_ids_of("run_ids", run_ids)
        if not wanted:
            return
        table = self.backend.checkpoints
        for thread_id in (yield from Read(self.backend, table.threads_of_runs(self.tenant, wanted))):
            thread = ThreadKey(self.tenant, thread_id)
            deletion = delete_runs(table, thread, wanted, self.codec)
            with reading_thread(thread_id):
                yield from Write(self.backend, and_cleared(deletion, notes_of_thread(self.backend, thread)))
            self.known.forget(thread)

    def prune(self, thread_ids: Sequence[str], strategy: str) -> Program[None]:
        """Delete threads, or all their checkpoints except the latest ones."""
        threads = [ThreadKey(self.tenant, thread_id) for thread_id in thread_ids_of("thread_ids", thread_ids)]
        if strategy not in ("keep_latest", "delete"):
            msg = f"strategy must be 'keep_latest' or 'delete'; got {shown(strategy)}."
            raise InvalidInputError(msg)
        for thread in threads:
            if strategy == "delete":
                yield from self._delete(thread)
            else:
                yield from self._keep_latest(thread)

    def expire_checkpoints(self, older_than: timedelta | float, thread_ids: Sequence[str] | None) -> Program[int]:
        """Delete old checkpoints of some threads, or of all (None), except the latest ones; return their number."""
        cutoff = time.time() - required_seconds("older_than", older_than)
        if thread_ids is None:
            thread_ids = [info.thread_id for info in (yield from self.threads())]
        deleted = 0
        for thread_id in thread_ids_of("thread_ids", thread_ids):
            deleted += yield from self._keep_latest(ThreadKey(self.tenant, thread_id), cutoff)
        return deleted

    def _keep_latest(self, thread: ThreadKey, older_than: float | None = None) -> Program[int]:
        with reading_thread(thread.thread_id):
            program = keep_latest(self.backend.checkpoints, thread, self.codec, older_than)
            deleted = yield from Write(self.backend, program)
        self.known.forget(thread)
        return deleted

    # Arguments

    def _thread(self, argument: str, thread_id: Any) -> ThreadKey:
        return ThreadKey(self.tenant, thread_id_of(argument, thread_id))

    def _checkpoint(self, config: RunnableConfig) -> tuple[ThreadKey, str, str | None]:
        thread_id, namespace, checkpoint_id = checkpoint_of(config)
        return ThreadKey(self.tenant, thread_id), namespace, checkpoint_id

    def _use(self, config: RunnableConfig, state: Mapping[str, Any] = _NO_STATE) -> ThreadUse:
        return ThreadUse(time.time(), user_of(config["configurable"], state), self.ttl)


def _details(config: RunnableConfig, metadata: CheckpointMetadata) -> tuple[dict[str, Any], str | None]:
    """Return the metadata to store with a checkpoint, and the run ID in it."""
    details: dict[str, Any] = with_lists({**get_checkpoint_metadata(config, metadata), **metadata})
    run_id = details.get("run_id")
    if not isinstance(run_id, str):
        return details, None
    check_length("run_id", run_id, MAX_CHECKPOINT_BYTES)
    return details, run_id
