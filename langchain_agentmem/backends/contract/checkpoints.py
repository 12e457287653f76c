"""The checkpoint table of a backend: its rows, and its operations.

A checkpoint's values are stored in the compact layout of `langchain_agentmem.encoding.layout`: as rows of references to
elements, each of which may be a splice of an earlier row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from langchain_agentmem.arguments.omitted import Omitted
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import NOTHING_KNOWN, VALUE, Known, StoredValue, ValueKey, resolve
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Program


class ThreadKey(NamedTuple):
    """The key of a thread."""

    tenant: str
    thread_id: str


class CheckpointKey(NamedTuple):
    """The key of a checkpoint within its thread."""

    namespace: str
    checkpoint_id: str


class CheckpointRow(NamedTuple):
    """A checkpoint without the values that have rows of their own."""

    thread_id: str
    key: CheckpointKey
    parent_id: str | None
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    inline: dict[str, Any]
    """The values that are stored in the checkpoint, by channel."""
    stored: dict[str, str]
    """The versions of the values that have rows of their own, by channel."""

    def value_keys(self) -> list[ValueKey]:
        """Return the keys of the values that have rows of their own."""
        return [ValueKey(self.key.namespace, channel, version) for channel, version in self.stored.items()]


class StoredWrite(NamedTuple):
    """A stored pending write."""

    task_id: str
    write_index: int
    task_path: str
    channel: str
    kind: str
    """The format of `data`, as in `StoredValue`; `VALUE` if the value has a row of its own."""
    type: str
    data: bytes

    def value_key(self, namespace: str) -> ValueKey | None:
        """Return the key of the value if it has a row of its own."""
        return ValueKey(namespace, self.channel, self.type) if self.kind == VALUE else None


class Parts(NamedTuple):
    """The rows that rebuild values."""

    values: Mapping[ValueKey, tuple[StoredValue, Known]]
    """The values that have rows of their own, each with its references."""
    elements: Mapping[bytes, Typed]
    """The elements by reference."""
    secret: Typed | None
    """The thread's secret, if it has one."""

    @classmethod
    def of(
        cls,
        rows: Sequence[CheckpointRow],
        pending: Mapping[CheckpointKey, Sequence[StoredWrite]],
        chains: Mapping[ValueKey, StoredValue],
        elements: Mapping[bytes, Typed],
        secret: Typed | None,
        known: Mapping[ValueKey, Known] = NOTHING_KNOWN,
    ) -> Parts:
        """Return the parts of checkpoints and pending writes.

        Args:
            rows: The checkpoints.
            pending: The pending writes by checkpoint.
            chains: The rows of the values, and of all values that they are spliced from.
            elements: The elements by reference.
            secret: The thread's secret.
            known: Values that need no rows but their own. Default: none.
        """
        keys = [key for row in rows for key in row.value_keys()]
        keys += [
            key
            for checkpoint, writes in pending.items()
            for write in writes
            if (key := write.value_key(checkpoint.namespace))
        ]
        values = {key: resolve(key, chains, known) for key in dict.fromkeys(keys) if key in chains}
        return cls(values, elements, secret)


class LoadedCheckpoint(NamedTuple):
    """A checkpoint with its pending writes, and the parts of its values."""

    row: CheckpointRow
    writes: Sequence[StoredWrite]
    parts: Parts
    revision: int | None = None
    """In the result of `get`: a number that every write to the thread increases by one. None if it is not known."""


class ThreadRow(NamedTuple):
    """A stored thread."""

    thread_id: str
    user_id: str | None
    """The user of the last write that named a user."""
    checkpoint_count: int
    created_at: float
    updated_at: float
    expires_at: float | None
    users: Mapping[str, float] = MappingProxyType({})
    """All users of the thread, each with the time of the last write that named the user."""


class SecretChange(NamedTuple):
    """The change of a thread's secret."""

    expected: Typed
    new: Typed


class ThreadUse(NamedTuple):
    """The attributes of a thread that a write to it sets."""

    now: float
    """The current time. A late clock (earlier than the thread's last write) never brings the expiry forward."""
    user_id: str | None = None
    ttl: float | None = None
    """The TTL of a new thread in seconds."""
    secret: Typed | None = None
    """The secret with which the written references are keyed. A thread without secret gets this one."""
    next_secret: Typed | None = None
    """The secret that replaces `secret` with the write. With it, a thread without secret is refused, too."""


class CheckpointEntry(NamedTuple):
    """A checkpoint in the list of a thread's checkpoints."""

    key: CheckpointKey
    parent_id: str | None
    run_id: str | None
    created_at: float


class CheckpointPut(NamedTuple):
    """A checkpoint to store, with the rows that are new."""

    row: CheckpointRow
    run_id: str | None
    values: Sequence[StoredValue]
    elements: Mapping[bytes, Typed]
    requires: Mapping[ValueKey, str] = MappingProxyType({})
    """Stored values that the new ones are spliced from, with their digests; an empty digest accepts any value."""
    plain: bool = False
    """If true, a backend that shares LangGraph's tables stores the checkpoint so that `PostgresSaver` can read it."""
    unchanged: Sequence[StoredValue] = ()
    """With `plain`: the values that are stored already, possibly in the compact layout."""
    snapshots: Sequence[str] = ()
    """With `plain`: the channels whose value is the snapshot of a `DeltaChannel`."""


class WritesPut(NamedTuple):
    """Pending writes to store, with the rows that are new."""

    checkpoint: CheckpointKey
    writes: Sequence[StoredWrite]
    values: Sequence[StoredValue]
    elements: Mapping[bytes, Typed]
    requires: Mapping[ValueKey, str] = MappingProxyType({})
    """Same as `CheckpointPut.requires`."""


class CheckpointTable(Protocol):
    """Checkpoints, their values, and pending writes."""

    def secret(self, thread: ThreadKey, proposal: Typed, use: ThreadUse) -> Program[Typed]:
        """Return the thread's secret. A thread without secret gets `proposal`."""

    def stored_secret(self, thread: ThreadKey, now: float, *, lock: bool = False) -> Program[Typed | None]:
        """Return the thread's secret; None if it has none, does not exist, or has expired.

        Args:
            thread: The thread.
            now: The current time.
            lock: If true, no other writer changes the thread until the transaction ends, if the database has such locks.
        """

    def put(self, thread: ThreadKey, put: CheckpointPut, codec: Codec, use: ThreadUse) -> Program[bool]:
        """Store a checkpoint; return true if it was stored.

        Nothing is stored in these cases:

        * A required value does not exist.
        * A new value exists already. Stored values never change, because others are spliced from them.
        * The thread has another secret.
        """

    def put_writes(self, thread: ThreadKey, put: WritesPut, use: ThreadUse) -> Program[bool]:
        """Store pending writes; return true if they were stored.

        A write with a negative index replaces the stored one. Any other write leaves the stored one unchanged. Nothing is
        stored if a required value does not exist, or the thread has another secret.
        """

    def replace(
        self,
        thread: ThreadKey,
        put: CheckpointPut,
        changes: Sequence[tuple[StoredWrite, StoredWrite | None]],
        codec: Codec,
        use: ThreadUse,
    ) -> Program[bool]:
        """Replace a stored checkpoint, and some of its pending writes, by another form of the same.

        Args:
            thread: The thread.
            put: The checkpoint and the rows that are new, including those of the pending writes.
            changes: Pairs of a pending write as it was read and its new form (None: it is deleted), with the same task and
                index. A pending write that another writer has changed since is left unchanged.
            codec: Encodes the checkpoint.
            use: `now` is the time at which the checkpoint was stored first.

        Returns:
            True if it was replaced. Nothing is stored if the checkpoint does not exist, or in the cases of `put`.
        """

    def get(
        self,
        thread: ThreadKey,
        namespace: str,
        checkpoint_id: str | None,
        codec: Codec,
        now: float,
        known: Mapping[ValueKey, Known] = NOTHING_KNOWN,
    ) -> Program[LoadedCheckpoint | None]:
        """Return a checkpoint.

        Args:
            thread: The thread.
            namespace: The namespace.
            checkpoint_id: The checkpoint; None for the latest of the namespace.
            codec: Decodes the checkpoint.
            now: The current time.
            known: Values that the caller has. If the stored value has the same digest, what it is spliced from and its
                elements may be missing in the result. Default: none.
        """

    def page(
        self,
        tenant: str,
        thread_id: str | None,
        namespace: str | None,
        checkpoint_id: str | None,
        before: str | None,
        after: tuple[str, str, str] | None,
        limit: int,
        codec: Codec,
        now: float,
    ) -> Program[list[CheckpointRow]]:
        """Return a page of checkpoints, in descending order of (checkpoint ID, thread ID, namespace).

        Args:
            tenant: The tenant.
            thread_id: Return checkpoints of this thread; None for all threads.
            namespace: Return checkpoints of this namespace; None for all.
            checkpoint_id: Return checkpoints with this ID; None for all.
            before: Return checkpoints with a smaller ID; None for all.
            after: The last checkpoint of the page before, as (checkpoint ID, thread ID, namespace); None for the first page.
            limit: The size of a page.
            codec: Decodes the checkpoints.
            now: The current time.
        """

    def load(self, tenant: str, rows: Sequence[CheckpointRow]) -> Program[list[LoadedCheckpoint]]:
        """Return checkpoints with their pending writes and parts, in the same order."""

    def ancestors(
        self, thread: ThreadKey, checkpoint: CheckpointKey, limit: int, codec: Codec, now: float = 0.0
    ) -> Program[list[CheckpointRow]]:
        """Return the checkpoint, its parent, the parent's parent and so on, at most `limit` checkpoints."""

    def writes(
        self, thread: ThreadKey, checkpoints: Sequence[CheckpointKey], channels: Collection[str]
    ) -> Program[tuple[dict[CheckpointKey, list[StoredWrite]], Parts]]:
        """Return the pending writes of checkpoints to some channels, in order, and the parts of their values."""

    def entries(self, thread: ThreadKey, *, lock: bool = True) -> Program[list[CheckpointEntry]]:
        """Return all checkpoints of a thread, oldest first. `delete` takes this list as `known`.

        Args:
            thread: The thread.
            lock: As in `stored_secret`. `delete` requires the lock. Default: True.
        """

    def threads_of_runs(self, tenant: str, run_ids: Collection[str]) -> Program[list[str]]:
        """Return the IDs of the threads that contain checkpoints of these runs."""

    def delete(
        self,
        thread: ThreadKey,
        checkpoints: Collection[CheckpointKey],
        codec: Codec,
        known: Collection[CheckpointEntry],
        secrets: SecretChange | None = None,
    ) -> Program[None]:
        """Delete checkpoints with their writes, and the values and elements that no other checkpoint needs.

        Args:
            thread: The thread.
            checkpoints: The checkpoints to delete.
            codec: Decodes the remaining checkpoints, where a backend must read them.
            known: The result of `entries` in the same transaction. If the database does not lock the thread, the program
                starts again when a checkpoint was added to the thread since then.
            secrets: The change of the thread's secret. If the thread has another one, the program starts again. Default:
                None (no change).
        """

    def delete_thread(self, thread: ThreadKey) -> Program[None]:
        """Delete a thread with all its rows."""

    def copy_thread(
        self, source: ThreadKey, target: ThreadKey, now: float, secrets: SecretChange | None = None
    ) -> Program[bool]:
        """Copy a thread. Return false, and copy nothing, if the target contains checkpoints or writes.

        Args:
            source: The thread.
            target: The copy.
            now: The current time.
            secrets: The secret of the source and that of the copy, which must be locked as in `stored_secret`. If the source
                has another one, the program starts again. Default: None (the copy has the secret of the source).
        """

    def threads(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[ThreadRow]]:
        """List the threads with turns of one user, of nobody (None), or all (`OMITTED`), most recently used first."""

    def users(self, tenant: str, now: float) -> Program[list[str]]:
        """Return the users of threads, in any order."""

    def forget_user(self, thread: ThreadKey, user_id: str, *, shared: bool) -> Program[bool | None]:
        """Delete a thread if it has no other user; otherwise remove the user from its users.

        Args:
            thread: The thread, which may have expired.
            user_id: The user.
            shared: If true, delete the thread although it has other users.

        Returns:
            True if the thread was deleted, and false if it was kept; None if the user is no user of it.
        """

    def set_ttl(self, thread: ThreadKey, ttl: float | None, now: float) -> Program[bool]:
        """Set the TTL of a thread, counted from its last use; return true if the thread exists."""

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        """Delete at most `limit` expired threads, and return their number."""
