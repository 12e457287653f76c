"""Putting together what a checkpoint or a pending write stores, and what this process knows of what is stored already."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from langgraph.checkpoint.base import ChannelVersions, Checkpoint
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from langchain_agentmem.backends.contract import ThreadKey
from langchain_agentmem.encoding.codec import Codec
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
from langchain_agentmem.encoding.references import REFERENCE_BYTES, Typed
from langchain_agentmem.programs.locks import forkable_lock

_INLINE_CHARACTERS = 64
_REMEMBERED = 256
_REMEMBERED_BYTES = 64 * 1024 * 1024
_RENAMED = "~"
"""Follows a version under which a value is already stored; a random part comes after it."""
_WRITTEN = "write~"
"""Begins the version of a value that was written but is not yet part of a checkpoint; a random part comes after it."""


class Draft:
    """The rows of a checkpoint or of pending writes, while they are put together.

    With `alone`, nothing that is stored already is built upon: all values are stored in full, under keys of their own.
    With `plain`, values are stored as LangGraph's own savers store them.
    """

    def __init__(
        self,
        codec: Codec,
        memory: KnownValues,
        thread: ThreadKey,
        namespace: str,
        secret: bytes,
        *,
        alone: bool = False,
        plain: bool = False,
    ) -> None:
        self._codec = codec
        self._memory = memory
        self._thread = thread
        self._namespace = namespace
        self._secret = secret
        self._alone = alone
        self._plain = plain
        self.inline: dict[str, Any] = {}
        self.stored: dict[str, str] = {}
        self.values: list[StoredValue] = []
        self.unchanged: list[StoredValue] = []
        """With `plain`: the values that did not change, for where they may be stored in another way so far."""
        self.snapshots: list[str] = []
        self.elements: dict[bytes, Typed] = {}
        self.requires: dict[ValueKey, str] = {}
        self.learned: list[Known] = []

    def add_values(self, checkpoint: Checkpoint, new_versions: ChannelVersions) -> None:
        """Add the values of a checkpoint: those that changed as rows, the others as references to the rows they have."""
        if self._plain:
            self._add_plain_values(checkpoint, new_versions)
            return
        for channel, value in checkpoint["channel_values"].items():
            version = checkpoint["channel_versions"].get(channel)
            if version is None or _is_small(value):
                self.inline[channel] = value
                continue
            known = None if self._alone else self._memory.recall(self._thread, self._namespace, channel)
            key = ValueKey(self._namespace, channel, str(version))
            if self._alone:
                key = key._replace(version=f"{version}{_RENAMED}{secrets.token_hex(8)}")
            elif channel not in new_versions:
                if known is not None and known.key.version.partition(_RENAMED)[0] == key.version:
                    key = known.key
                self.requires[key] = ""
                self.stored[channel] = key.version
                continue
            self.stored[channel] = key.version
            parts = split(value, self._codec, self._secret, known)
            if parts is None:
                self.values.append(StoredValue(key, PLAIN, *self._codec.store(value)))
                continue
            self._add_splice(key, parts, known)

    def _add_plain_values(self, checkpoint: Checkpoint, new_versions: ChannelVersions) -> None:
        for channel, value in checkpoint["channel_values"].items():
            version = checkpoint["channel_versions"].get(channel)
            if version is None or _is_primitive(value):
                self.inline[channel] = value
                continue
            key = ValueKey(self._namespace, channel, str(version))
            if self._alone:
                key = key._replace(version=f"{version}{_RENAMED}{secrets.token_hex(8)}")
            changed = self._alone or channel in new_versions
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
        known = None if self._alone else self._memory.recall(self._thread, self._namespace, channel)
        parts = split(value, self._codec, self._secret, known)
        if parts is None:
            return (PLAIN, *self._codec.store(value))
        if known is not None and known.kind == parts.kind and len(parts.elements) > LONG_REFERENCES:
            key = ValueKey(self._namespace, channel, f"{_WRITTEN}{secrets.token_hex(8)}")
            self._add_splice(key, parts, known)
            return VALUE, key.version, b""
        self._add_elements(parts, range(len(parts.elements)))
        return parts.kind, parts.shape, parts.references

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
                self.elements[reference] = self._codec.store(parts.elements[at], parts.identities[at])


class KnownValues:
    """What this process knows of stored values, so that the next version can be stored as a splice without reading.

    It is a cache: forgetting something costs space in the database, never correctness, since a backend stores a splice only
    where what it builds on is there.
    """

    def __init__(self) -> None:
        self.secrets: OrderedDict[ThreadKey, Typed] = OrderedDict()
        """The secrets of threads, as they are stored."""
        self._known: OrderedDict[tuple[ThreadKey, str | None, str], Known] = OrderedDict()
        self._bytes = 0
        self._lock = forkable_lock()

    def recall(self, thread: ThreadKey, namespace: str, channel: str) -> Known | None:
        """The latest known value of a channel; else the same channel of another namespace, as of a parent graph."""
        with self._lock:
            return self._known.get((thread, namespace, channel)) or self._known.get((thread, None, channel))

    def remember_secret(self, thread: ThreadKey, stored: Typed) -> None:
        """Remember a thread's secret."""
        with self._lock:
            self.secrets[thread] = stored
            while len(self.secrets) > _REMEMBERED:
                self.secrets.popitem(last=False)

    def learn(self, thread: ThreadKey, known: Known) -> None:
        """Remember a stored value."""
        with self._lock:
            for namespace in (known.key.namespace, None):
                self._drop((thread, namespace, known.key.channel))
                self._known[thread, namespace, known.key.channel] = known
                self._bytes += _size(known)
            while len(self._known) > 2 * _REMEMBERED or self._bytes > 2 * _REMEMBERED_BYTES:
                self._drop(next(iter(self._known)))

    def learn_all(self, thread: ThreadKey, values: Iterable[Known]) -> None:
        """Remember several stored values."""
        for known in values:
            self.learn(thread, known)

    def forget(self, thread: ThreadKey) -> None:
        """Forget all about a thread."""
        with self._lock:
            self.secrets.pop(thread, None)
            for key in [key for key in self._known if key[0] == thread]:
                self._drop(key)

    def _drop(self, key: tuple[ThreadKey, str | None, str]) -> None:
        known = self._known.pop(key, None)
        if known is not None:
            self._bytes -= _size(known)


def _size(known: Known) -> int:
    return len(known.references) + sum(len(identity.data) for identity in known.identities)


def _is_primitive(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))


def _is_small(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _INLINE_CHARACTERS
    return _is_primitive(value)
