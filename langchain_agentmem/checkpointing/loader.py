"""Rebuilding checkpoints from their stored rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory, PendingWrite

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import (
    CheckpointKey,
    CheckpointRow,
    CheckpointTable,
    LoadedCheckpoint,
    Parts,
    StoredWrite,
    ThreadKey,
    ThreadRow,
)
from langchain_agentmem.checkpointing.containment import with_lists
from langchain_agentmem.checkpointing.known import KnownValues
from langchain_agentmem.checkpointing.migration.conversion import Conversion, check_classes, check_value, described
from langchain_agentmem.checkpointing.models import ThreadInfo
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.layout import PLAIN, Known, ValueKey, digest_of, join, references_of
from langchain_agentmem.encoding.missing import count_created
from langchain_agentmem.encoding.references import Typed, each_reference
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.programs import Program, storage_program

ANCESTORS_AT_ONCE = 256
"""The number of ancestors that `Loader.delta_history` reads with one statement."""


class Loader:
    """Rebuilds the checkpoints of one tenant, and remembers the values that it reads.

    Args:
        codec: The codec of the values.
        known: The cache of stored values.
        tenant: The tenant.
        conversion: Converts what is read to today's shape. Default: None (nothing is converted).
    """

    def __init__(self, codec: Codec, known: KnownValues, tenant: str, conversion: Conversion | None = None) -> None:
        self._conversion = conversion
        self._codec = codec
        self._known = known
        self._tenant = tenant

    def tuple(self, loaded: LoadedCheckpoint, thread_id: Any) -> CheckpointTuple:
        """Return LangGraph's form of a checkpoint, converted to today's shape.

        Args:
            loaded: The checkpoint's rows.
            thread_id: The thread ID in the config that names it, as the caller wrote it.

        Raises:
            MissingClassError: A value has a class that does not exist.
            MigrationError: The application's function failed.
        """
        created = count_created()
        saved = self.stored_tuple(loaded, thread_id)
        if self._conversion is not None:
            saved = self._conversion.convert(saved)
        if count_created() != created or _holds_objects(loaded.row):
            check_classes(saved, convertible=self._conversion is not None)
        return saved

    def stored_tuple(self, loaded: LoadedCheckpoint, thread_id: Any) -> CheckpointTuple:
        """Return LangGraph's form of a checkpoint as it is stored: values of missing classes are `MissingClass`."""
        row = loaded.row
        namespace, checkpoint_id = row.key
        checkpoint: Any = {**row.checkpoint, "channel_values": self._values(loaded)}
        metadata: Any = with_lists(row.metadata)  # version 0.1 stored tuples
        return CheckpointTuple(
            checkpoint_config(thread_id, namespace, checkpoint_id),
            checkpoint,
            metadata,
            None if row.parent_id is None else checkpoint_config(thread_id, namespace, row.parent_id),
            [self._write(write, namespace, loaded.parts, row.thread_id) for write in loaded.writes],
        )

    def _values(self, loaded: LoadedCheckpoint) -> dict[str, Any]:
        values = dict(loaded.row.inline)
        for key in loaded.row.value_keys():
            values[key.channel] = self._value(key, loaded.parts, loaded.row.thread_id)
        return values

    def _write(self, write: StoredWrite, namespace: str, parts: Parts, thread_id: str) -> PendingWrite:
        key = write.value_key(namespace)
        if key is not None:
            value = self._value(key, parts, thread_id)
        elif write.kind == PLAIN:
            value = self._codec.load((write.type, write.data))
        else:
            value = self._join(write.kind, write.type, self._elements(write.data, parts, None))
        return write.task_id, write.channel, value

    def _value(self, key: ValueKey, parts: Parts, thread_id: str) -> Any:
        if key not in parts.values:
            _refuse(f"version {key.version!r} of channel {key.channel!r} is missing")
        value, known = parts.values[key]
        if value.kind == PLAIN:
            return self._codec.load((value.type, value.data))
        if known.digest != digest_of(value.type, known.references, self._secret(parts)):
            _refuse(f"version {key.version!r} of channel {key.channel!r} does not match its digest")
        thread = ThreadKey(self._tenant, thread_id)
        elements = self._elements(known.references, parts, self._known.recall(thread, key.namespace, key.channel))
        if self._codec.verifiable:
            known = known._replace(identities=elements)
        self._known.learn(thread, known)
        return self._join(value.kind, value.type, elements)

    def _elements(self, references: bytes, parts: Parts, recalled: Known | None) -> list[Typed]:
        """Return the elements of a value, decrypted, after checking that they match its references."""
        try:
            elements = [self._codec.open(parts.elements[one]) for one in each_reference(references)]
        except KeyError:
            _refuse("an element of a stored value is missing")
        if self._codec.verifiable and references_of(elements, self._secret(parts), recalled) != references:
            _refuse("an element of a stored value was replaced")
        return elements

    def _join(self, kind: str, shape: str, elements: list[Typed]) -> Any:
        load = self._codec.load_opened
        try:
            return join(kind, shape, [load(element) for element in elements])
        except (ValueError, TypeError, LookupError) as error:
            _refuse(f"the elements of a stored value do not fit together ({error})", error)

    def _secret(self, parts: Parts) -> bytes:
        if not self._codec.secret:
            return b""
        if parts.secret is None:
            _refuse("the secret of the encrypted thread is missing")
        return bytes(self._codec.load(parts.secret))

    @storage_program
    def delta_history(
        self, table: CheckpointTable, thread: ThreadKey, namespace: str, checkpoint_id: str | None, channels: list[str]
    ) -> Program[Mapping[str, DeltaChannelHistory]]:
        """Return the writes to delta channels by a checkpoint's ancestors, and the value that they apply to.

        Args:
            table: The checkpoints.
            thread: The thread.
            namespace: The checkpoint's namespace.
            checkpoint_id: The checkpoint; None for the latest.
            channels: The channels.
        """
        if checkpoint_id is None:
            latest = yield from table.get(thread, namespace, None, self._codec, time.time())
            if latest is None:
                return {channel: {"writes": []} for channel in channels}
            checkpoint_id = latest.row.key.checkpoint_id
        target = CheckpointKey(namespace, checkpoint_id)
        collected: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        seen = {target}
        line = yield from table.ancestors(thread, target, 1, self._codec, time.time())
        while line and line[-1].parent_id is not None and len(seeds) < len(channels):
            parent = CheckpointKey(namespace, line[-1].parent_id)
            line = yield from table.ancestors(thread, parent, ANCESTORS_AT_ONCE, self._codec)
            if not line or not seen.isdisjoint(row.key for row in line):
                break
            seen.update(row.key for row in line)
            found = yield from self._writes_of(table, thread, line, channels)
            for row in line:
                open_channels = [channel for channel in channels if channel not in seeds]
                for write in reversed(found[row.key]):
                    if write[1] in open_channels:
                        collected[write[1]].append(write)
                seeds.update((yield from self._seeds(table, thread, row, open_channels)))
        histories: dict[str, DeltaChannelHistory] = {}
        for channel in channels:
            histories[channel] = {"writes": collected[channel][::-1]}
            if channel in seeds:
                histories[channel]["seed"] = seeds[channel]
        return histories

    def _seeds(
        self, table: CheckpointTable, thread: ThreadKey, row: CheckpointRow, channels: list[str]
    ) -> Program[dict[str, Any]]:
        """Return the values that a checkpoint stores for some of the channels."""
        conversion = self._conversion
        wanted = set(channels)
        if conversion is not None:  # channels that are not known yet may have one of these names today
            wanted = {name for name in (*row.inline, *row.stored) if conversion.may_be(name, channels)}
        seeds = {channel: row.inline[channel] for channel in wanted if channel in row.inline}
        stored = {channel: row.stored[channel] for channel in wanted if channel in row.stored}
        found = []
        if stored:
            found = yield from table.load(thread.tenant, [row._replace(inline={}, stored=stored)])
        created = count_created()
        for loaded in found:
            seeds.update(self._values(loaded))
        where = described(thread.thread_id, *row.key)
        if conversion is not None:
            pairs = [conversion.convert_value(name, value, row.metadata, where) for name, value in seeds.items()]
            seeds = {name: value for name, value in filter(None, pairs) if name in channels}
        if count_created() != created:
            for name, value in seeds.items():
                check_value(name, value, where, convertible=conversion is not None)
        return seeds

    def _writes_of(
        self, table: CheckpointTable, thread: ThreadKey, line: Sequence[CheckpointRow], channels: Sequence[str]
    ) -> Program[dict[CheckpointKey, list[PendingWrite]]]:
        """Return the pending writes of checkpoints: those to some channels, or all if they must be converted."""
        conversion = self._conversion
        found: dict[CheckpointKey, list[PendingWrite]] = {}
        if conversion is None:
            writes, parts = yield from table.writes(thread, [row.key for row in line], channels)
            every = [(row, writes[row.key], parts) for row in line]
        else:
            bare = [row._replace(inline={}, stored={}) for row in line]
            loaded = yield from table.load(thread.tenant, bare)
            every = [(row, list(one.writes), one.parts) for row, one in zip(line, loaded, strict=True)]
        for row, stored, parts in every:
            created = count_created()
            read = [self._write(write, row.key.namespace, parts, thread.thread_id) for write in stored]
            where = described(thread.thread_id, *row.key)
            if conversion is not None:
                read = conversion.convert_writes(read, row.metadata, where)
            if count_created() != created:
                for _, name, value in read:
                    check_value(name, value, where, convertible=conversion is not None)
            found[row.key] = read
        return found


def _holds_objects(row: CheckpointRow) -> bool:
    """Return true if a checkpoint's own document, which another step decoded, has values that may be objects."""
    plain = (str, bool, int, float, type(None))
    return any(not isinstance(value, plain) for value in row.inline.values()) or any(
        not isinstance(value, (*plain, list, dict)) for value in row.metadata.values()
    )


def thread_info(row: ThreadRow) -> ThreadInfo:
    """Return the public form of a thread's row."""
    with reading_thread(row.thread_id):
        return ThreadInfo(
            row.thread_id,
            row.user_id,
            row.checkpoint_count,
            datetime.fromtimestamp(row.created_at, UTC),
            datetime.fromtimestamp(row.updated_at, UTC),
            None if row.expires_at is None else datetime.fromtimestamp(row.expires_at, UTC),
            {user: datetime.fromtimestamp(used, UTC) for user, used in row.users.items()},
        )


def checkpoint_config(thread_id: Any, namespace: str, checkpoint_id: str) -> RunnableConfig:
    """Return the config that names a checkpoint."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}


def reading_thread(thread_id: str | None = None) -> reading:
    """Context manager: raise errors as `DamagedDataError` of a thread.

    Args:
        thread_id: The thread. Default: None (any thread).
    """
    return reading("A thread" if thread_id is None else f"Thread {shown(thread_id)}")


def _refuse(what: str, cause: Exception | None = None) -> NoReturn:
    msg = f"Cannot rebuild a checkpoint: {what}. The database was damaged or altered."
    raise DamagedDataError(msg) from cause
