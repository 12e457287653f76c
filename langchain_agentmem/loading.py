"""Rebuilding checkpoints from what is stored of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, DeltaChannelHistory, PendingWrite

from langchain_agentmem.backends.contract import (
    CheckpointKey,
    CheckpointRow,
    CheckpointTable,
    LoadedCheckpoint,
    Parts,
    StoredWrite,
    ThreadKey,
)
from langchain_agentmem.codec import Codec
from langchain_agentmem.compact import PLAIN, ValueKey, each_reference, join
from langchain_agentmem.drafts import KnownValues
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.program import Program

_GENERATIONS = 256


class Loader:
    """Rebuilds the checkpoints of one tenant, and remembers what it learns of stored values."""

    def __init__(self, codec: Codec, memory: KnownValues, tenant: str) -> None:
        self._codec = codec
        self._memory = memory
        self._tenant = tenant

    def tuple(self, loaded: LoadedCheckpoint, thread_id: Any) -> CheckpointTuple:
        row = loaded.row
        namespace, checkpoint_id = row.key
        checkpoint: Any = {**row.checkpoint, "channel_values": self._values(loaded)}
        metadata: Any = row.metadata
        return CheckpointTuple(
            checkpoint_config(thread_id, namespace, checkpoint_id),
            checkpoint,
            metadata,
            None if row.parent_id is None else checkpoint_config(thread_id, namespace, row.parent_id),
            [self._write(write, namespace, loaded.parts) for write in loaded.writes],
        )

    def _values(self, loaded: LoadedCheckpoint) -> dict[str, Any]:
        values = dict(loaded.row.inline)
        thread = ThreadKey(self._tenant, loaded.row.thread_id)
        for key in loaded.row.value_keys():
            values[key.channel] = self._value(key, loaded.parts)
            value, known = loaded.parts.values[key]
            if value.kind != PLAIN:
                if not self._codec.secret:  # then an element is stored as its plain form
                    elements = [loaded.parts.elements[one] for one in each_reference(known.references)]
                    known = known._replace(identities=elements)
                self._memory.learn(thread, known)
        return values

    def _write(self, write: StoredWrite, namespace: str, parts: Parts) -> PendingWrite:
        key = write.value_key(namespace)
        if key is not None:
            return write.task_id, write.channel, self._value(key, parts)
        return write.task_id, write.channel, self._join(write.kind, write.type, write.data, parts)

    def _value(self, key: ValueKey, parts: Parts) -> Any:
        if key not in parts.values:
            msg = (
                f"Version {key.version!r} of channel {key.channel!r} is missing, which a checkpoint needs: the database "
                f"was damaged or altered."
            )
            raise DamagedDataError(msg)
        value, known = parts.values[key]
        return self._join(value.kind, value.type, value.data if value.kind == PLAIN else known.references, parts)

    def _join(self, kind: str, type_: str, data: bytes, parts: Parts) -> Any:
        load, elements = self._codec.load, parts.elements
        if kind == PLAIN:
            return load((type_, data))
        try:
            return join(kind, type_, [load(elements[reference]) for reference in each_reference(data)])
        except KeyError:
            msg = "An element that a stored value refers to is missing: the database was damaged or altered."
            raise DamagedDataError(msg) from None

    def delta_history(
        self, table: CheckpointTable, thread: ThreadKey, namespace: str, checkpoint_id: str | None, channels: list[str]
    ) -> Program[Mapping[str, DeltaChannelHistory]]:
        if checkpoint_id is None:
            latest = yield from table.get(thread, namespace, None, self._codec, time.time())
            if latest is None:
                return {channel: {"writes": []} for channel in channels}
            checkpoint_id = latest.row.key.checkpoint_id
        target = CheckpointKey(namespace, checkpoint_id)
        collected: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        seen = {target}
        line = yield from table.ancestors(thread, target, 1, self._codec)
        while line and line[-1].parent_id is not None and len(seeds) < len(channels):
            parent = CheckpointKey(namespace, line[-1].parent_id)
            line = yield from table.ancestors(thread, parent, _GENERATIONS, self._codec)
            if not line or not seen.isdisjoint(row.key for row in line):
                break
            seen.update(row.key for row in line)
            writes, parts = yield from table.writes(thread, [row.key for row in line], channels)
            for row in line:
                open_channels = [channel for channel in channels if channel not in seeds]
                for write in reversed(writes[row.key]):
                    if write.channel in open_channels:
                        collected[write.channel].append(self._write(write, namespace, parts))
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
        """The values that a checkpoint holds of some channels."""
        seeds = {channel: row.inline[channel] for channel in channels if channel in row.inline}
        stored = {channel: row.stored[channel] for channel in channels if channel in row.stored}
        if stored:
            (loaded,) = yield from table.load(thread.tenant, [row._replace(inline={}, stored=stored)])
            seeds.update(self._values(loaded))
        return seeds


def checkpoint_config(thread_id: Any, namespace: str, checkpoint_id: str) -> RunnableConfig:
    """The config that names a checkpoint."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}
