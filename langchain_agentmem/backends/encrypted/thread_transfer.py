"""Rows of encrypted threads, as export reads them and import restores them.

References of elements are digests that are keyed with the secret of the thread. A restored thread keeps its secret, and so
its references. A thread that comes from a memory without encryption has no secret; its references stay as they are, and the
secret is empty.
"""

from __future__ import annotations

from typing import Any

from langchain_agentmem.backends.contract import (
    Backend,
    CheckpointKey,
    HeadChangedError,
    Page,
    StoredCheckpoint,
    StoredElement,
    ThreadKey,
    ThreadRows,
    ThreadState,
    ThreadUse,
    ThreadWrite,
    WritesPut,
)
from langchain_agentmem.backends.encrypted.checkpoints import EncryptedCheckpoints
from langchain_agentmem.backends.encrypted.thread_heads import TAG_BYTES, Head
from langchain_agentmem.backends.encrypted.thread_rows import SealedDocuments, ThreadSeal
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.errors import StorageError
from langchain_agentmem.programs import Program


class ThreadTransfer:
    """Encrypts and decrypts the rows of threads.

    Args:
        inner: The backend that stores the encrypted rows.
        ring: The keys.
        table: The table of encrypted checkpoints.
    """

    def __init__(self, inner: Backend, ring: KeyRing, table: EncryptedCheckpoints) -> None:
        self._inner = inner
        self._ring = ring
        self._table = table
        self._no_secret = Codec().store(b"")

    def key(self, thread: ThreadKey) -> ThreadKey:
        """Encrypt the ID of a thread."""
        return ThreadKey(thread.tenant, self._ring.id("thread", thread.thread_id))

    def seal(self, thread: ThreadKey) -> Program[ThreadSeal]:
        """Return what encrypts the rows of a thread."""
        return ThreadSeal(self._ring, (yield from self._head(thread)).origin)

    def plain_state(self, state: ThreadState) -> ThreadState:
        """Decrypt a thread."""
        thread = ThreadKey(state.key.tenant, self._ring.plain_id("thread", state.key.thread_id))
        secret = None
        if state.secret is not None:
            secret = self._table.opened_head(thread, state.secret).secret
        return state._replace(
            key=thread,
            user_id=self._ring.optional_plain_id("user", state.user_id),
            users={self._ring.plain_id("user", user): used for user, used in state.users.items()},
            secret=None if secret == self._no_secret else secret,
        )

    def sealed_state(self, state: ThreadState) -> ThreadState:
        """Encrypt a thread. It gets a head without checkpoints."""
        head = Head.new(state.secret or self._no_secret)
        return state._replace(
            key=self.key(state.key),
            user_id=self._ring.optional_id("user", state.user_id),
            users={self._ring.id("user", user): used for user, used in state.users.items()},
            secret=self._table.sealed_head(state.key, head),
        )

    def checkpoints(self, thread: ThreadKey, after: Any, limit: int, codec: Codec) -> Program[Page[StoredCheckpoint]]:
        """Decrypt a page of checkpoints."""
        head = yield from self._head(thread)
        seal, documents = ThreadSeal(self._ring, head.origin), SealedDocuments(self._ring)
        rows, following = yield from self._inner.transfer.checkpoints(self.key(thread), after, limit, documents)
        return [
            one._replace(
                row=seal.plain_checkpoint(thread.thread_id, one.row, codec, head),
                run_id=self._ring.optional_plain_id("run", one.run_id),
            )
            for one in rows
        ], following

    def restore_rows(self, thread: ThreadKey, rows: ThreadRows, codec: Codec) -> Program[None]:
        """Encrypt and store rows of a thread, then change its head."""
        sealed, head = self.key(thread), (yield from self._head(thread))
        seal, documents = ThreadSeal(self._ring, head.origin), SealedDocuments(self._ring)
        checkpoints = [
            StoredCheckpoint(
                seal.sealed_checkpoint(row, sealed.thread_id, self._tag(head, "checkpoint", *row.key), codec),
                self._ring.optional_id("run", run_id),
                created_at,
            )
            for row, run_id, created_at in rows.checkpoints
        ]
        writes = [
            ThreadWrite(one.checkpoint, seal.sealed_write(one.checkpoint, one.write, self._tag_of(head, one)))
            for one in rows.writes
        ]
        elements = [StoredElement(*one) for one in seal.sealed_elements(dict(rows.elements)).items()]
        restored = ThreadRows(elements, seal.sealed_values(rows.values), checkpoints, writes)
        yield from self._inner.transfer.restore_rows({sealed: restored}, documents)
        if checkpoints or writes:
            entries = yield from self._inner.checkpoints.entries(sealed)
            tags = {one.row.key: self._tag(head, "checkpoint", *one.row.key) for one in rows.checkpoints}
            following = head.with_restored(entries, tags)
            for one in rows.writes:
                written = (one.write.task_id, one.write.write_index, self._tag_of(head, one))
                following = following.with_writes(one.checkpoint, [written])
            yield from self._change(thread, head, following)

    def _change(self, thread: ThreadKey, head: Head, following: Head) -> Program[None]:
        """Replace the head of a thread, with a write of nothing. It is no use of the thread."""
        stored = yield from self._inner.checkpoints.stored_secret(self.key(thread), 0.0, lock=True)
        if stored is None:
            msg = f"Another writer deleted thread {thread.thread_id!r} during the import. Import it again."
            raise StorageError(msg)
        if self._table.opened_head(thread, stored) != head:
            raise HeadChangedError  # rows that are restored again stay as they are
        use = ThreadUse(0.0, secret=stored, next_secret=self._table.sealed_head(thread, following))
        nothing = WritesPut(CheckpointKey("", ""), [], [], {})
        yield from self._inner.checkpoints.put_writes(self.key(thread), nothing, use)

    def _head(self, thread: ThreadKey) -> Program[Head]:
        stored = yield from self._inner.checkpoints.stored_secret(self.key(thread), 0.0)
        return Head.new(self._no_secret) if stored is None else self._table.opened_head(thread, stored)

    def _tag_of(self, head: Head, one: ThreadWrite) -> bytes:
        write = one.write
        return self._tag(head, "write", *one.checkpoint, write.task_id, str(write.write_index), write.type, write.data)

    def _tag(self, head: Head, *names: str | bytes) -> bytes:
        """Return the tag of a restored row. It is the same when the row is restored again."""
        return self._ring.digest("restored", head.origin, *names, size=TAG_BYTES)
