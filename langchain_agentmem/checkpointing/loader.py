"""Rebuilding checkpoints from their stored rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn

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
from langchain_agentmem.checkpointing.histories import Link
from langchain_agentmem.checkpointing.known import KnownValues
from langchain_agentmem.checkpointing.migration.conversion import Conversion, check_classes, check_value, described
from langchain_agentmem.checkpointing.models import ThreadInfo
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.elements import Element, copies
from langchain_agentmem.encoding.layout import NOTHING_KNOWN, PLAIN, Known, ValueKey, digest_of, join
from langchain_agentmem.encoding.missing import count_created
from langchain_agentmem.encoding.references import each_reference, reference
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.programs import Program, storage_program

_MOST_ANCESTORS = 5000
ANCESTORS_AT_ONCE = 256
"""The number of ancestors that `Loader.delta_history` reads with one statement, if it does not know how many it needs."""
_NO_PARTS = Parts({}, {}, None)


class _Rebuilt(NamedTuple):
    """The elements of a value: new copies for the caller, and the elements to keep."""

    values: list[Any]
    elements: Sequence[Element]


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

    def tuple(
        self, loaded: LoadedCheckpoint, thread_id: Any, known: Mapping[ValueKey, Known] = NOTHING_KNOWN
    ) -> CheckpointTuple:
        """Return LangGraph's form of a checkpoint, converted to today's shape.

        Args:
            loaded: The checkpoint's rows.
            thread_id: The thread ID in the config that names it, as the caller wrote it.
            known: The values that were not read, because the cache has them. Default: none.

        Raises:
            MissingClassError: A value has a class that does not exist.
            MigrationError: The application's function failed.
        """
        created = count_created()
        saved = self.stored_tuple(loaded, thread_id, known)
        if self._conversion is not None:
            saved = self._conversion.convert(saved)
        if count_created() != created or _holds_objects(loaded.row):
            check_classes(saved, convertible=self._conversion is not None)
        return saved

    def stored_tuple(
        self, loaded: LoadedCheckpoint, thread_id: Any, known: Mapping[ValueKey, Known] = NOTHING_KNOWN
    ) -> CheckpointTuple:
        """Return LangGraph's form of a checkpoint as it is stored: values of missing classes are `MissingClass`."""
        row = loaded.row
        namespace, checkpoint_id = row.key
        checkpoint: Any = {**row.checkpoint, "channel_values": self._values(loaded, known)}
        metadata: Any = with_lists(row.metadata)  # version 0.1 stored tuples
        return CheckpointTuple(
            checkpoint_config(thread_id, namespace, checkpoint_id),
            checkpoint,
            metadata,
            None if row.parent_id is None else checkpoint_config(thread_id, namespace, row.parent_id),
            [self._write(write, namespace, loaded.parts, row.thread_id, known) for write in loaded.writes],
        )

    def _values(self, loaded: LoadedCheckpoint, known: Mapping[ValueKey, Known]) -> dict[str, Any]:
        values = dict(loaded.row.inline)
        for key in loaded.row.value_keys():
            values[key.channel] = self._value(key, loaded.parts, loaded.row.thread_id, known)
        return values

    def _write(
        self,
        write: StoredWrite,
        namespace: str,
        parts: Parts,
        thread_id: str,
        known: Mapping[ValueKey, Known] = NOTHING_KNOWN,
        kept: dict[bytes, Element] | None = None,
    ) -> PendingWrite:
        key = write.value_key(namespace)
        if key is not None:
            value = self._value(key, parts, thread_id, known)
        elif write.kind == PLAIN:
            value = self._codec.load((write.type, write.data))
        else:
            values, elements = self._elements(write.data, parts, None, kept)
            if kept is not None:
                kept.update(zip(each_reference(write.data), elements, strict=True))
            value = self._join(write.kind, write.type, values)
        return write.task_id, write.channel, value

    def _value(self, key: ValueKey, parts: Parts, thread_id: str, versions: Mapping[ValueKey, Known]) -> Any:
        if key not in parts.values:
            _refuse(f"version {key.version!r} of channel {key.channel!r} is missing")
        value, known = parts.values[key]
        if value.kind == PLAIN:
            return self._codec.load((value.type, value.data))
        if known.digest != digest_of(value.type, known.references, self._secret(parts)):
            _refuse(f"version {key.version!r} of channel {key.channel!r} does not match its digest")
        latest = next((one for one in versions.values() if one.elements and one.key.channel == key.channel), None)
        values, elements = self._elements(known.references, parts, latest)
        if self._codec.verifiable:
            known = known._replace(elements=elements, size=sum([element.size for element in elements]))
        self._known.learn(ThreadKey(self._tenant, thread_id), known)
        return self._join(value.kind, value.type, values)

    def _elements(
        self, references: bytes, parts: Parts, latest: Known | None, others: Mapping[bytes, Element] | None = None
    ) -> _Rebuilt:
        """Return new copies of the elements of a value, and the elements as they are kept.

        An element that was read is checked against its reference.

        Args:
            references: The references.
            parts: The parts that were read.
            latest: The known version of the value, whose elements may not have been read; or None.
            others: Further elements that may not have been read. Default: none.
        """
        codec = self._codec
        if latest is not None and latest.references == references:
            return _Rebuilt(copies(latest.elements, codec), latest.elements)
        kept = dict(others or {})
        if latest is not None:
            kept.update(zip(each_reference(latest.references), latest.elements, strict=True))
        secret = self._secret(parts) if parts.elements else b""
        values: list[Any] = []
        elements: list[Element] = []
        for one in each_reference(references):
            element = kept.get(one)
            if element is None:
                if one not in parts.elements:
                    _refuse("an element of a stored value is missing")
                opened = codec.open(parts.elements[one])
                if codec.verifiable and reference(opened, secret) != one:
                    _refuse("an element of a stored value was replaced")
                value = codec.load_opened(opened)
                element = Element(None, opened)
            else:
                value = element.copy(codec)
            values.append(value)
            elements.append(element)
        return _Rebuilt(values, elements)

    def _join(self, kind: str, shape: str, elements: list[Any]) -> Any:
        try:
            return join(kind, shape, elements)
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
        last_reading = self._known.histories.reading(thread)
        if checkpoint_id is None:
            latest = yield from table.get(thread, namespace, None, self._codec, time.time())
            if latest is None:
                return {channel: {"writes": []} for channel in channels}
            checkpoint_id = latest.row.key.checkpoint_id
        target = CheckpointKey(namespace, checkpoint_id)
        collected: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        links: dict[CheckpointKey, Link] = {}
        line = first = yield from table.ancestors(thread, target, 1, self._codec, time.time())
        while line and line[-1].parent_id is not None and len(seeds) < len(channels):
            parent = CheckpointKey(namespace, line[-1].parent_id)
            count = ANCESTORS_AT_ONCE if links else _supersteps(first[0], channels)
            line = yield from table.ancestors(thread, parent, count, self._codec)
            if not line or not {target, *links}.isdisjoint(row.key for row in line):
                break
            found = yield from self._writes_of(table, thread, line if links else [*first, *line], channels, links)
            for row in line:
                open_channels = [channel for channel in channels if channel not in seeds]
                if not open_channels:
                    break
                for write in reversed(found[row.key]):
                    if write[1] in open_channels:
                        collected[write[1]].append(write)
                seeds.update((yield from self._seeds(table, thread, row, open_channels, links[row.key])))
        if first and self._conversion is None and self._codec.verifiable:
            self._known.histories.learn(thread, target, channels, links, last_reading)
        return _histories(channels, collected, seeds)

    def known_history(
        self, thread: ThreadKey, key: CheckpointKey, channels: Sequence[str]
    ) -> dict[str, DeltaChannelHistory] | None:
        """Return the same as `delta_history` without the database, if the cache has it; else None."""
        line = self._known.histories.find(thread, key, channels)
        if line is None:
            return None
        collected: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        for (namespace, _), link in line:
            open_channels = [channel for channel in channels if channel not in seeds]
            for write in reversed(link.ordered_writes()):
                if write.channel in open_channels:
                    read = self._write(write, namespace, _NO_PARTS, thread.thread_id, kept=link.elements)
                    collected[write.channel].append(read)
            for channel in open_channels:
                if channel in link.inline:
                    seeds[channel] = link.inline[channel]
                elif channel in link.stored:
                    known = self._known.recall(thread, namespace, channel)
                    row = link.values.get(channel)
                    if row is None or known is None or known.key != row.key or not known.elements or not known.is_whole:
                        return None
                    seeds[channel] = self._join(row.kind, row.type, copies(known.elements, self._codec))
        return _histories(channels, collected, seeds)

    def _seeds(
        self, table: CheckpointTable, thread: ThreadKey, row: CheckpointRow, channels: list[str], link: Link
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
            seeds.update(self._values(loaded, NOTHING_KNOWN))
            link.values = {key.channel: value for key, (value, _) in loaded.parts.values.items()}
        where = described(thread.thread_id, *row.key)
        if conversion is not None:
            pairs = [conversion.convert_value(name, value, row.metadata, where) for name, value in seeds.items()]
            seeds = {name: value for name, value in filter(None, pairs) if name in channels}
        if count_created() != created:
            for name, value in seeds.items():
                check_value(name, value, where, convertible=conversion is not None)
        return seeds

    def _writes_of(
        self,
        table: CheckpointTable,
        thread: ThreadKey,
        line: Sequence[CheckpointRow],
        channels: Sequence[str],
        links: dict[CheckpointKey, Link],
    ) -> Program[dict[CheckpointKey, list[PendingWrite]]]:
        """Return the pending writes of checkpoints: those to some channels, or all if they must be converted.

        Args:
            table: The checkpoints.
            thread: The thread.
            line: The checkpoints.
            channels: The channels.
            links: The checkpoints with these writes are added to it.
        """
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
            link = links[row.key] = Link.of(row, stored)
            read = [
                self._write(write, row.key.namespace, parts, thread.thread_id, kept=link.elements) for write in stored
            ]
            where = described(thread.thread_id, *row.key)
            if conversion is not None:
                read = conversion.convert_writes(read, row.metadata, where)
            if count_created() != created:
                for _, name, value in read:
                    check_value(name, value, where, convertible=conversion is not None)
            found[row.key] = read
        return found


def _supersteps(row: CheckpointRow, channels: Sequence[str]) -> int:
    """Return the number of ancestors that the history of some channels probably has: LangGraph counts them."""
    counters = row.metadata.get("counters_since_delta_snapshot")
    counts = [counters.get(channel) for channel in channels] if isinstance(counters, dict) else []
    steps = [one[1] for one in counts if isinstance(one, (list, tuple)) and len(one) > 1 and type(one[1]) is int]
    return min(max(steps) + 2, _MOST_ANCESTORS) if steps else ANCESTORS_AT_ONCE


def _histories(
    channels: Sequence[str], collected: Mapping[str, list[PendingWrite]], seeds: Mapping[str, Any]
) -> dict[str, DeltaChannelHistory]:
    """Return LangGraph's form of the histories of channels.

    Args:
        channels: The channels.
        collected: Their writes, newest first.
        seeds: The values that they apply to.
    """
    histories: dict[str, DeltaChannelHistory] = {}
    for channel in channels:
        histories[channel] = {"writes": collected[channel][::-1]}
        if channel in seeds:
            histories[channel]["seed"] = seeds[channel]
    return histories


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
