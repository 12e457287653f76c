"""Cache of the recent checkpoints of threads with delta channels, from which their history is read without the database.

The history of a `DeltaChannel` is the writes of all checkpoints since its last snapshot. LangGraph reads it once a run, after
the checkpoint itself. The cache holds these checkpoints with their writes, and adds what this process writes. It is valid as
long as the writes of this process explain the revision of the thread, which is read with every checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.base import writes_sort_key

from langchain_agentmem.backends.contract import (
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    StoredWrite,
    ThreadKey,
    WritesPut,
)
from langchain_agentmem.encoding.elements import Element
from langchain_agentmem.encoding.layout import VALUE, StoredValue
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.programs.locks import forkable_lock

_MAX_THREADS = 512
_MAX_BYTES = 64 * 1024 * 1024
_WRITE_BYTES = 1024
"""The size of a write without its content."""
_MAX_EARLY = 64
_FRESH_SECONDS = 2.0
"""The time within which the history of a checkpoint may be read without the database after the checkpoint itself."""


@dataclass(eq=False)
class Link:
    """A checkpoint in the history of delta channels."""

    parent_id: str | None
    inline: Mapping[str, Any]
    stored: Mapping[str, str]
    """The versions of the values that have rows of their own, by channel."""
    values: Mapping[str, StoredValue] = field(default_factory=dict)
    """The rows of these values, as far as they are known."""
    writes: dict[tuple[str, int], StoredWrite] = field(default_factory=dict)
    """The writes to the delta channels, by task and index."""
    elements: dict[bytes, Element] = field(default_factory=dict)
    """The elements of the writes."""
    whole: bool = True
    """False if there may be other writes, or a write cannot be read without the database."""

    @classmethod
    def of(cls, row: CheckpointRow, writes: Iterable[StoredWrite]) -> Link:
        """Return a checkpoint that was read, without the elements of its writes."""
        by_index = {(write.task_id, write.write_index): write for write in writes}
        whole = all(write.kind != VALUE for write in by_index.values())
        return cls(row.parent_id, row.inline, row.stored, writes=by_index, whole=whole)

    def ordered_writes(self) -> list[StoredWrite]:
        """Return the writes in LangGraph's order."""
        return sorted(
            self.writes.values(), key=lambda one: writes_sort_key(one.task_path, one.task_id, one.write_index)
        )

    @property
    def size(self) -> int:
        """The size of the writes in bytes."""
        sizes = [element.size for element in self.elements.values()] + [len(one.data) for one in self.writes.values()]
        return sum(sizes) + _WRITE_BYTES * (1 + len(self.writes))


@dataclass(eq=False)
class _History:
    """The recent checkpoints of a thread."""

    channels: frozenset[str]
    revision: int
    """The expected revision of the thread."""
    links: dict[CheckpointKey, Link]
    early: dict[CheckpointKey, Link] = field(default_factory=dict)
    """The writes that were stored before their checkpoint."""
    read: CheckpointKey | None = None
    """The checkpoint that was read last, which confirmed the revision."""
    read_at: float = 0.0
    size: int = 0


@dataclass(frozen=True, eq=False)
class Reading:
    """The last checkpoint of a thread that was read, while this process wrote nothing to the thread."""

    key: CheckpointKey
    revision: int


class Histories:
    """The recent checkpoints of threads whose delta channels were read."""

    def __init__(self) -> None:
        self._lock = forkable_lock()
        self._threads: RecentValues[ThreadKey, _History] = RecentValues(_MAX_THREADS, _size, _MAX_BYTES)
        self._readings: RecentValues[ThreadKey, Reading] = RecentValues(_MAX_THREADS)
        self._running: dict[ThreadKey, int] = {}
        """The number of running writes, by thread."""
        self._early: RecentValues[tuple[ThreadKey, CheckpointKey], bool] = RecentValues(8 * _MAX_THREADS)
        """Checkpoints to which pending writes were stored."""

    # Reading

    def note_read(self, thread: ThreadKey, key: CheckpointKey, revision: int | None) -> None:
        """Note that a checkpoint was read. What is known of the thread is dropped if others have written to it."""
        with self._lock:
            history = self._threads.get(thread)
            if history is not None and history.revision != revision:
                self._drop(thread, history)
                history = None
            if history is not None:
                history.read, history.read_at = key, time.monotonic()
            if revision is not None and not self._running.get(thread):
                self._readings.put(thread, Reading(key, revision))

    def reading(self, thread: ThreadKey) -> Reading | None:
        """Return the last reading of a thread, for `learn`. Call it before the history is read."""
        return self._readings.get(thread)

    def find(
        self, thread: ThreadKey, key: CheckpointKey, channels: Collection[str]
    ) -> list[tuple[CheckpointKey, Link]] | None:
        """Return the ancestors of a checkpoint back to the last values of some channels, newest first; None if not known."""
        with self._lock:
            history = self._threads.get(thread)
            if history is None or not history.channels.issuperset(channels) or history.read != key:
                return None
            if time.monotonic() - history.read_at > _FRESH_SECONDS or key not in history.links:
                return None
            line: list[tuple[CheckpointKey, Link]] = []
            missing = set(channels)
            at = CheckpointKey(key.namespace, history.links[key].parent_id or "")
            while missing and at.checkpoint_id:
                link = history.links.get(at)
                if link is None or not link.whole or len(line) > len(history.links):
                    return None
                line.append((at, link))
                missing -= {*link.inline, *link.stored}
                at = CheckpointKey(key.namespace, link.parent_id or "")
            # Older checkpoints are not needed again, and those of other branches rarely.
            history.links = {key: history.links[key], **dict(line)}
            if len(history.early) > _MAX_EARLY:  # their checkpoints are missing
                self._drop(thread, history)
                return None
            self._keep(thread, history)
            return line

    def learn(
        self,
        thread: ThreadKey,
        key: CheckpointKey,
        channels: Iterable[str],
        links: Mapping[CheckpointKey, Link],
        reading: Reading | None,
    ) -> None:
        """Remember a checkpoint and its ancestors, which were read.

        Args:
            thread: The thread.
            key: The checkpoint.
            channels: The delta channels.
            links: The checkpoint and its ancestors, with their writes to these channels.
            reading: The result of `reading` before they were read. The revision of a later one may be that of more writes.
        """
        with self._lock:
            if reading is None or reading is not self._readings.get(thread):
                return  # this process has written since: the writes that were read may not be all
            if reading.key != key or self._running.get(thread):
                return
            self._keep(thread, _History(frozenset(channels), reading.revision, dict(links)))

    # Writing

    def begin(self, thread: ThreadKey) -> None:
        """Note that a write of this process begins."""
        with self._lock:
            self._running[thread] = self._running.get(thread, 0) + 1
            self._readings.discard(thread)

    def end(self, thread: ThreadKey) -> None:
        """Note that a write of this process has ended in any way."""
        with self._lock:
            left = self._running.get(thread, 1) - 1
            if left > 0:
                self._running[thread] = left
            else:
                self._running.pop(thread, None)
            self._readings.discard(thread)

    def add(self, thread: ThreadKey, put: CheckpointPut, values: Iterable[StoredValue]) -> None:
        """Remember a checkpoint that was stored."""
        row = put.row
        with self._lock:
            history = self._threads.get(thread)
            if history is None:
                return
            known = self._early.get((thread, row.key)) is not None
            own = {value.key.channel: value for value in values}
            link = Link(row.parent_id, row.inline, row.stored, own, whole=not known)
            early = history.early.pop(row.key, None)
            if early is not None:
                link.writes, link.elements, link.whole = early.writes, early.elements, early.whole and not known
            history.links[row.key] = link
            history.revision += 1  # last, because an exception may interrupt this method

    def add_writes(self, thread: ThreadKey, put: WritesPut, elements: Mapping[bytes, Element]) -> None:
        """Remember pending writes that were stored."""
        with self._lock:
            history = self._threads.get(thread)
            if history is None:
                self._early.put((thread, put.checkpoint), True)
                return
            link = history.links.get(put.checkpoint)
            if link is None:
                link = history.early.setdefault(put.checkpoint, Link(None, {}, {}))
            for write in put.writes:
                if write.channel not in history.channels:
                    continue
                link.whole = link.whole and write.kind != VALUE
                if write.write_index < 0 or (write.task_id, write.write_index) not in link.writes:
                    link.writes[write.task_id, write.write_index] = write
            link.elements.update(elements)
            history.revision += 1

    def forget(self, thread: ThreadKey) -> None:
        """Forget a thread."""
        with self._lock:
            self._threads.discard(thread)
            self._readings.discard(thread)

    def _drop(self, thread: ThreadKey, history: _History) -> None:
        for key in history.early:
            self._early.put((thread, key), True)
        self._threads.discard(thread)

    def _keep(self, thread: ThreadKey, history: _History) -> None:
        history.size = sum([link.size for link in history.links.values()])
        self._threads.put(thread, history)


def _size(history: _History) -> int:
    return history.size
