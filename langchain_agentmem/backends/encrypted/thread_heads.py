"""The head of an encrypted thread: what its rows must be, so that missing, added and older rows are noticed.

A head is stored as the secret of the thread, encrypted. Every write replaces it in the same transaction. It contains the
sum of keyed digests of all checkpoints; the latest checkpoints of the last namespaces; and the pending writes of the last
checkpoints. Its size does not depend on the length of the thread.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, NamedTuple

import ormsgpack

from langchain_agentmem.backends.contract import CheckpointEntry, CheckpointKey
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.errors import TamperedDataError

TAG_BYTES = 6
"""The length of the random tag of a row, which tells it from an earlier row of the same key."""

_ORIGIN_BYTES = 16
_MODULUS = 1 << 128
_MAX_NAMESPACES, _MAX_CHECKPOINTS, _MAX_TASKS = 16, 32, 32
_MAX_INDEX = 48
"""The bounds of what a head contains. Older namespaces, older checkpoints, and checkpoints with more tasks are not in it."""

Tasks = Mapping[bytes, tuple[int, Mapping[int, bytes]]]
"""By digest of a task: the bits of the indexes of its pending writes, and the tags of those that may be replaced."""


class Head(NamedTuple):
    """The head of a thread."""

    secret: Typed
    """The secret of the thread in the form that the caller stored; it stays the same, also in copies of the thread."""
    origin: bytes
    """A random value that identifies the thread and its copies. It is a part of the place of each row, so that rows of other
    threads are refused, also of threads with the same secret: imported ones may have an empty one."""
    total: int = 0
    """The sum of the digests of all checkpoints."""
    size: int = 0
    """The number of checkpoints."""
    newest: str = ""
    """The greatest ID of a checkpoint."""
    latest: Mapping[str, tuple[str, bytes]] = MappingProxyType({})
    """The ID and the tag of the latest checkpoint, by namespace."""
    replaced: Mapping[str, bytes] = MappingProxyType({})
    """The tags of checkpoints that were stored again, by `name_of`."""
    writes: Mapping[bytes, Tasks | None] = MappingProxyType({})
    """The pending writes by digest of the checkpoint; None if they are not known any more."""
    seen: str = ""
    """The greatest ID of a checkpoint that was ever in `writes`."""
    forgotten: str = ""
    """The value of `seen` when a checkpoint was last removed from `writes` because there were too many. A checkpoint that is
    not in `writes` has no pending writes if its ID is greater; otherwise they are not known."""

    @classmethod
    def new(cls, secret: Typed) -> Head:
        """Return the head of a thread without checkpoints.

        Args:
            secret: The secret of the thread.
        """
        return cls(secret, os.urandom(_ORIGIN_BYTES))

    # Stored form

    def packed(self) -> bytes:
        """Return the head as bytes."""
        writes = [
            [key, None if tasks is None else [[task, mask, list(tags.items())] for task, (mask, tags) in tasks.items()]]
            for key, tasks in self.writes.items()
        ]
        latest = [[name, id_, tag] for name, (id_, tag) in self.latest.items()]
        total = self.total.to_bytes(16, "big")
        return ormsgpack.packb(
            [
                *(*self.secret, self.origin, total, self.size, self.newest, latest, list(self.replaced.items())),
                *(writes, self.seen, self.forgotten),
            ]
        )

    @classmethod
    def unpacked(cls, packed: bytes) -> Head:
        """Return the head in the result of `packed`."""
        type_, data, origin, total, count, newest, latest, replaced, writes, *ids = ormsgpack.unpackb(packed)
        return cls(
            Typed(type_, data),
            origin,
            int.from_bytes(total, "big"),
            count,
            newest,
            {name: (id_, tag) for name, id_, tag in latest},
            dict(replaced),
            {
                key: None if tasks is None else {task: (mask, dict(tags)) for task, mask, tags in tasks}
                for key, tasks in writes
            },
            *ids,
        )

    # Checkpoints

    def digest(self, entry: CheckpointEntry) -> int:
        """Return the digest of a checkpoint. Its parent is not included, because a deletion of the parent removes it."""
        digest = blake2b(digest_size=16, key=self.origin, person=b"agentmem:entry")
        for name in (*entry.key, entry.run_id or "", repr(float(entry.created_at))):
            encoded = name.encode()
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        return int.from_bytes(digest.digest(), "big")

    def fits(self, entries: Collection[CheckpointEntry]) -> bool:
        """Return true if these are all checkpoints of the thread, unchanged."""
        return self.size == len(entries) and self.total == sum(map(self.digest, entries)) % _MODULUS

    def with_checkpoint(self, entry: CheckpointEntry, tag: bytes, entries: Sequence[CheckpointEntry] | None) -> Head:
        """Return the head after a checkpoint was stored.

        Args:
            entry: The checkpoint, without its parent.
            tag: The tag of its row.
            entries: All checkpoints before; None if the ID is greater than `newest`.
        """
        key = entry.key
        former = next((one for one in entries or () if one.key == key), None)
        last = max((one.key.checkpoint_id for one in entries or () if one.key.namespace == key.namespace), default="")
        latest, replaced = dict(self.latest), dict(self.replaced)
        if key.checkpoint_id >= last:
            latest.pop(key.namespace, None)
            latest[key.namespace] = (key.checkpoint_id, tag)
        if former is not None:
            replaced[name_of(key)] = tag
        return self._listing([key])._replace(
            total=(self.total + self.digest(entry) - (self.digest(former) if former else 0)) % _MODULUS,
            size=self.size + (former is None),
            newest=max(self.newest, key.checkpoint_id),
            latest=_last(latest, _MAX_NAMESPACES),
            replaced=replaced,
        )

    def with_replacement(self, entry: CheckpointEntry, former: CheckpointEntry, *, deleted: bool) -> Head:
        """Return the head after a checkpoint was replaced by another form of the same, with the same tag.

        Args:
            entry: The checkpoint.
            former: The checkpoint before.
            deleted: Whether pending writes were deleted.
        """
        writes = dict(self.writes)
        if deleted and _digest_of(entry.key) in writes:
            writes[_digest_of(entry.key)] = None
        total = (self.total + self.digest(entry) - self.digest(former)) % _MODULUS
        return self._replace(total=total, writes=writes)

    def with_restored(self, entries: Collection[CheckpointEntry], tags: Mapping[CheckpointKey, bytes]) -> Head:
        """Return the head after checkpoints were restored.

        Args:
            entries: All checkpoints of the thread.
            tags: The tags of the restored ones.
        """
        latest, last = dict(self.latest), dict[str, str]()
        for entry in entries:
            last[entry.key.namespace] = max(entry.key.checkpoint_id, last.get(entry.key.namespace, ""))
        for key, tag in tags.items():
            if key.checkpoint_id == last.get(key.namespace):
                latest[key.namespace] = (key.checkpoint_id, tag)
        return self._listing(tags)._replace(
            total=sum(map(self.digest, entries)) % _MODULUS,
            size=len(entries),
            newest=max((entry.key.checkpoint_id for entry in entries), default=""),
            latest=_last(latest, _MAX_NAMESPACES),
        )

    def without(self, keys: Collection[CheckpointKey], entries: Sequence[CheckpointEntry]) -> Head:
        """Return the head after checkpoints were deleted.

        Args:
            keys: The checkpoints to delete.
            entries: All checkpoints before.
        """
        doomed = set(keys)
        gone = [entry for entry in entries if entry.key in doomed]
        kept = {entry.key for entry in entries} - doomed
        names, digests = {name_of(key) for key in doomed}, {_digest_of(key) for key in doomed}
        return self._replace(
            total=(self.total - sum(map(self.digest, gone))) % _MODULUS,
            size=self.size - len(gone),
            newest=max((key.checkpoint_id for key in kept), default=""),
            latest={name: one for name, one in self.latest.items() if CheckpointKey(name, one[0]) in kept},
            replaced={name: tag for name, tag in self.replaced.items() if name not in names},
            writes={key: tasks for key, tasks in self.writes.items() if key not in digests},
        )

    def accepts(self, key: CheckpointKey, tag: bytes) -> bool:
        """Return false if a checkpoint is another row of its key than the stored one."""
        known = self.replaced.get(name_of(key))
        if known is None and key.checkpoint_id == self.latest.get(key.namespace, ("",))[0]:
            known = self.latest[key.namespace][1]
        return known in (None, tag)

    def check_tag(self, key: CheckpointKey, tag: bytes) -> None:
        """Check that a checkpoint is not an earlier row of its key.

        Raises:
            TamperedDataError: It is.
        """
        if not self.accepts(key, tag):
            msg = f"Checkpoint {key.checkpoint_id!r} was replaced by an earlier one: the database was altered."
            raise TamperedDataError(msg)

    # Pending writes

    def with_writes(self, key: CheckpointKey, written: Sequence[tuple[str, int, bytes]]) -> Head:
        """Return the head after pending writes were stored.

        Args:
            key: The checkpoint.
            written: The task, the index and the tag of each write. A negative index replaces a stored write.
        """
        head, digest = self._listing([key]), _digest_of(key)
        writes = dict(head.writes)
        if digest in writes:
            tasks = writes.pop(digest)
            writes[digest] = None if tasks is None else _with_writes(tasks, written)
        return head._replace(writes=writes)

    def _listing(self, keys: Collection[CheckpointKey]) -> Head:
        """Return the head with checkpoints in `writes`. A checkpoint may have got its writes before it is stored itself."""
        writes, seen, forgotten = dict(self.writes), self.seen, self.forgotten
        for key in sorted(keys, key=lambda one: one.checkpoint_id):
            if key.checkpoint_id > forgotten:
                writes.setdefault(_digest_of(key), {})
                seen = max(seen, key.checkpoint_id)
            if len(writes) > _MAX_CHECKPOINTS:
                forgotten = seen
        return self._replace(writes=_last(writes, _MAX_CHECKPOINTS), seen=seen, forgotten=forgotten)

    def check_writes(self, key: CheckpointKey, stored: Sequence[tuple[str, int, bytes]]) -> None:
        """Check the pending writes of a checkpoint, if the head contains them.

        Args:
            key: The checkpoint.
            stored: The task, the index and the tag of each stored write.

        Raises:
            TamperedDataError: A write is missing, was added, or is an earlier one.
        """
        expected = self.writes.get(_digest_of(key))
        if expected is None:
            return
        found: dict[bytes, tuple[int, dict[int, bytes]]] = {}
        for task_id, index, tag in stored:
            mask, tags = found.setdefault(_digest_of_task(task_id), (0, {}))
            if index < 0:
                tags[index] = tag
            else:
                found[_digest_of_task(task_id)] = (mask | 1 << index, tags)
        if found != expected:
            msg = (
                f"Pending writes of checkpoint {key.checkpoint_id!r} are missing, or were added or replaced: the database "
                f"was altered."
            )
            raise TamperedDataError(msg)


def _with_writes(tasks: Tasks, written: Sequence[tuple[str, int, bytes]]) -> Tasks | None:
    """Return the tasks after writes were stored; None if they are too many."""
    changed = dict(tasks)
    for task_id, index, tag in written:
        task = _digest_of_task(task_id)
        mask, tags = changed.get(task, (0, {}))
        if index >= _MAX_INDEX:
            return None
        changed[task] = (mask, {**tags, index: tag}) if index < 0 else (mask | 1 << index, tags)
    return None if len(changed) > _MAX_TASKS else changed


def new_tag() -> bytes:
    """Return the tag of a new row."""
    return os.urandom(TAG_BYTES)


def name_of(key: CheckpointKey) -> str:
    """Return the key of a checkpoint as one string. Names contain no zero byte."""
    return "\0".join(key)


def _digest_of(key: CheckpointKey) -> bytes:
    return blake2b(name_of(key).encode(), digest_size=8).digest()


def _digest_of_task(task_id: str) -> bytes:
    return blake2b(task_id.encode(), digest_size=6).digest()


def _last(entries: dict[Any, Any], most: int) -> dict[Any, Any]:
    for key in list(entries)[: max(0, len(entries) - most)]:
        del entries[key]
    return entries
