"""The rows of a checkpoint or of pending writes, before they are stored."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langchain_agentmem.backends.contract import (
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    CheckpointTable,
    StoredWrite,
    ThreadKey,
    ThreadUse,
    WritesPut,
)
from langchain_agentmem.checkpointing.known import KnownValues
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.elements import Element
from langchain_agentmem.encoding.layout import (
    LONG_REFERENCES,
    PLAIN,
    VALUE,
    Known,
    Split,
    StoredValue,
    ValueKey,
    splice,
    split,
)
from langchain_agentmem.encoding.references import REFERENCE_BYTES, Typed, each_reference
from langchain_agentmem.programs import Program, storage_program

_INLINE_CHARACTERS = 64
"""The longest text that is stored within its checkpoint."""
_RENAMED = "~"
"""Separates a version that is stored already from a random suffix."""
_WRITTEN = "write~"
"""Prefix of the random version of a pending write's value, before a checkpoint includes it."""


class AdoptedWrite(NamedTuple):
    """A pending write of another saver, to be stored with its index and the path of its task."""

    task_id: str
    write_index: int
    path: str
    channel: str
    value: Any


class Adopted(NamedTuple):
    """A checkpoint of another saver, to be stored with its pending writes."""

    config: RunnableConfig
    """The thread, namespace and parent."""
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    """The metadata. Its `user_id` names the user of the turn."""
    new_versions: ChannelVersions
    """The versions of the channels that changed since the parent."""
    writes: Sequence[AdoptedWrite]


@storage_program
def store_whole(
    table: CheckpointTable,
    thread: ThreadKey,
    parts: Sequence[tuple[Sequence[WritesPut], CheckpointPut | None, ThreadUse]],
    codec: Codec,
) -> Program[bool]:
    """Store pending writes and then their checkpoint, if given, so that a stored checkpoint has its writes.

    Args:
        table: The checkpoints.
        thread: The thread.
        parts: The pending writes, the checkpoint, and the use of the thread.
        codec: The codec of the checkpoints.

    Returns:
        False if the database refused one of them. Those before it are stored.
    """
    for writes, put, use in parts:
        for one in writes:
            if not (yield from table.put_writes(thread, one, use)):
                return False
        if put is not None and not (yield from table.put(thread, put, codec, use)):
            return False
    return True


class Draft:
    """The rows of one checkpoint, or of the pending writes of one task.

    Args:
        codec: The codec of the values.
        known: The values that may be spliced.
        thread: The thread.
        namespace: The checkpoint's namespace.
        secret: The key of the references; empty unless values are encrypted.
        alone: If true, store each value in full, under a new key, and refer to no stored value. Default: False.
        fresh: If true, store each value under a new key, because other values may be stored. Default: False.
        plain: If true, store values as LangGraph's savers do. Default: False.
    """

    def __init__(
        self,
        codec: Codec,
        known: KnownValues,
        thread: ThreadKey,
        namespace: str,
        secret: bytes,
        *,
        alone: bool = False,
        fresh: bool = False,
        plain: bool = False,
    ) -> None:
        self._codec = codec
        self._known = known
        self._thread = thread
        self._namespace = namespace
        self._secret = secret
        self.alone = alone
        self._fresh = fresh
        self._plain = plain
        self.inline: dict[str, Any] = {}
        """The values stored within the checkpoint, by channel."""
        self.stored: dict[str, str] = {}
        """The versions of the values stored apart from it, by channel."""
        self.values: list[StoredValue] = []
        """The new values."""
        self.unchanged: list[StoredValue] = []
        """With `plain`: values that did not change. They are stored too if their rows have another layout."""
        self.snapshots: list[str] = []
        """With `plain`: the channels whose value is the snapshot of a delta channel."""
        self.elements: dict[bytes, Typed] = {}
        """The new elements, by reference."""
        self.requires: dict[ValueKey, str] = {}
        """The stored values that the rows refer to, with their digests (empty: any)."""
        self.kept: dict[bytes, Element] = {}
        """The elements of pending writes, by reference."""
        self.learned: list[Known] = []
        """Values to add to the cache after the rows are stored."""

    def put(
        self,
        key: CheckpointKey,
        parent_id: str | None,
        checkpoint: Checkpoint,
        new_versions: ChannelVersions,
        metadata: dict[str, Any],
        run_id: str | None,
        *,
        after: Sequence[WritesPut] = (),
    ) -> CheckpointPut:
        """Add the values of a checkpoint and return its rows.

        Args:
            key: The key of the checkpoint.
            parent_id: The ID of its parent, or None.
            checkpoint: The checkpoint.
            new_versions: The versions of the channels that changed.
            metadata: The metadata.
            run_id: The run, or None.
            after: The pending writes of this draft, which are stored before the checkpoint. Default: none.
        """
        self.add_values(checkpoint, new_versions)
        rest = {name: value for name, value in checkpoint.items() if name != "channel_values"}
        row = CheckpointRow(self._thread.thread_id, key, parent_id, rest, metadata, self.inline, self.stored)
        stored = {value.key for put in after for value in put.values}
        known = {reference for put in after for reference in put.elements}
        return CheckpointPut(
            row,
            run_id,
            [value for value in self.values if value.key not in stored],
            {reference: typed for reference, typed in self.elements.items() if reference not in known},
            self.requires,
            self._plain,
            self.unchanged,
            self.snapshots,
        )

    def write_puts(self, key: CheckpointKey, writes: Sequence[AdoptedWrite]) -> list[WritesPut]:
        """Add the values of pending writes and return their rows, one group for each task and path."""
        groups: dict[tuple[str, str], list[StoredWrite]] = {}
        for write in writes:
            row = StoredWrite(
                write.task_id, write.write_index, write.path, write.channel, *self.add_write(write.channel, write.value)
            )
            groups.setdefault((write.task_id, write.path), []).append(row)
        puts = [WritesPut(key, rows, [], {}, {}) for rows in groups.values()]
        # The values and elements of all groups are stored with the first one.
        if puts:
            new = WritesPut(key, puts[0].writes, list(self.values), dict(self.elements), dict(self.requires))
            puts[0] = new
        return puts

    def add_values(self, checkpoint: Checkpoint, new_versions: ChannelVersions) -> None:
        """Add the values of a checkpoint: rows for those that changed, references to the rows of the others."""
        if self._plain:
            self._add_plain_values(checkpoint, new_versions)
            return
        for channel, value in checkpoint["channel_values"].items():
            version = checkpoint["channel_versions"].get(channel)
            if version is None or _is_small(value):
                self.inline[channel] = value
                continue
            known = self._recall(channel)
            key = self._key(channel, version)
            if not self.alone and channel not in new_versions:
                if known is not None and known.key.version.partition(_RENAMED)[0] == key.version:
                    key = known.key
                self.requires[key] = ""
                self.stored[channel] = key.version
                continue
            self._add_new(key, value, known)

    def add_value(self, channel: str, value: Any, version: Any) -> None:
        """Add the value of a channel as a new one.

        Args:
            channel: The channel.
            value: The value.
            version: Its version; None if it has none.
        """
        if version is None or _is_small(value):
            self.inline[channel] = value
        else:
            self._add_new(self._key(channel, version), value, self._recall(channel))

    def keep(self, channel: str, version: str) -> None:
        """Refer to a value that is stored already.

        Args:
            channel: The channel.
            version: The version under which it is stored.
        """
        self.stored[channel] = version
        self.requires[ValueKey(self._namespace, channel, version)] = ""

    def _add_new(self, key: ValueKey, value: Any, known: Known | None) -> None:
        self.stored[key.channel] = key.version
        parts = split(value, self._codec, self._secret, known)
        if parts is None:
            self.values.append(StoredValue(key, PLAIN, *self._codec.store(value)))
        else:
            self._add_splice(key, parts, known)

    def _add_plain_values(self, checkpoint: Checkpoint, new_versions: ChannelVersions) -> None:
        for channel, value in checkpoint["channel_values"].items():
            version = checkpoint["channel_versions"].get(channel)
            if version is None or _is_primitive(value):
                self.inline[channel] = value
                continue
            key = self._key(channel, version)
            changed = self.alone or channel in new_versions
            row = StoredValue(key, PLAIN, *self._codec.dump_plain(value))
            self.stored[channel] = key.version
            (self.values if changed else self.unchanged).append(row)
            if isinstance(value, _DeltaSnapshot):
                self.snapshots.append(channel)
            if not changed:
                self.requires[key] = ""

    def add_write(self, channel: str, value: Any) -> tuple[str, str, bytes]:
        """Add the value of a pending write; returns its kind, type and data."""
        if self._plain:
            return (PLAIN, *self._codec.dump_plain(value))
        known = self._recall(channel)
        parts = split(value, self._codec, self._secret, known)
        if parts is None:
            return (PLAIN, *self._codec.store(value))
        if known is not None and known.kind == parts.kind and len(parts.elements) > LONG_REFERENCES:
            key = ValueKey(self._namespace, channel, f"{_WRITTEN}{secrets.token_hex(8)}")
            self._add_splice(key, parts, known)
            return VALUE, key.version, b""
        self._add_elements(parts, range(len(parts.elements)))
        self.kept.update(zip(each_reference(parts.references), parts.kept, strict=True))
        return parts.kind, parts.shape, parts.references

    def _recall(self, channel: str) -> Known | None:
        return None if self.alone else self._known.recall(self._thread, self._namespace, channel)

    def _key(self, channel: str, version: Any) -> ValueKey:
        suffix = f"{_RENAMED}{secrets.token_hex(8)}" if self.alone or self._fresh else ""
        return ValueKey(self._namespace, channel, f"{version}{suffix}")

    def _add_splice(self, key: ValueKey, parts: Split, known: Known | None) -> None:
        row, learned, fresh = splice(key, parts, known)
        self.values.append(row)
        self.learned.append(learned)
        if known is not None and known.kind == parts.kind:
            self.requires[known.key] = known.digest
            self.requires.update({ancestor.key: ancestor.digest for ancestor in learned.ancestors[:1]})
        self._add_elements(parts, fresh)

    def _add_elements(self, parts: Split, indexes: range) -> None:
        for at in indexes:
            reference = parts.references[at * REFERENCE_BYTES : (at + 1) * REFERENCE_BYTES]
            if reference not in self.elements:
                self.elements[reference] = self._codec.store(parts.elements[at], parts.identities.get(at))


def _is_primitive(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))


def _is_small(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _INLINE_CHARACTERS
    return _is_primitive(value)
