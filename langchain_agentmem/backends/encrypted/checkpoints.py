"""The checkpoint table of the encrypted backend.

Encrypted: the IDs of threads, users and runs; checkpoints with metadata and inline values; stored values, elements and
pending writes. Each is bound to its thread, namespace, checkpoint, channel and version. In clear: the IDs and times of
checkpoints, namespaces of subgraphs, names of channels and tasks, versions, and the references of elements, which are keyed
digests.

The head of a thread, which every write replaces, reveals missing, added and older rows; see
`langchain_agentmem.backends.encrypted.thread_heads`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_agentmem.arguments.omitted import Omitted
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import (
    Backend,
    CheckpointEntry,
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    LoadedCheckpoint,
    SecretChange,
    StoredWrite,
    ThreadKey,
    ThreadRow,
    ThreadUse,
    WritesPut,
)
from langchain_agentmem.backends.encrypted.thread_heads import Head, new_tag
from langchain_agentmem.backends.encrypted.thread_rows import SealedDocuments, ThreadSeal
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.encoding.layout import NOTHING_KNOWN, Known, ValueKey
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.errors import ConfigurationError, StorageBusyError, TamperedDataError
from langchain_agentmem.programs import Program, one_statement, storage_program, together
from langchain_agentmem.programs.caches import RecentValues

_ATTEMPTS = 100
"""Number of attempts of an operation that other writers of the thread disturb."""
_MAX_HEADS = 512
_HEAD = "head"
_NO_SECRET = Typed("", b"")

_INCOMPLETE = "checkpoints are missing, or were added or replaced"
_HEADLESS = "the head of the thread is missing"
_ORPHANED = "the parent of a checkpoint was removed from its row"


class _StoredHead(NamedTuple):
    """A head with its stored form."""

    typed: Typed
    head: Head


Change = Callable[[Head], Program[Head | None]]
"""A storage program that returns the head after a write; None if the stored checkpoints do not fit the head."""
Writer = Callable[[ThreadSeal, ThreadUse], Program[bool]]
"""A storage program of the other backend that writes rows and the head in `use`."""


class EncryptedCheckpoints:
    """Encrypts the checkpoints of one tenant. See `langchain_agentmem.backends.contract.CheckpointTable`.

    Args:
        inner: The backend that stores the encrypted rows.
        ring: The keys.
    """

    def __init__(self, inner: Backend, ring: KeyRing) -> None:
        self._table = inner.checkpoints
        self._shares_tables = inner.name == "postgres"
        self._ring = ring
        self._documents = SealedDocuments(ring)
        self._heads: RecentValues[ThreadKey, _StoredHead] = RecentValues(_MAX_HEADS)

    # Writing

    @storage_program
    def secret(self, thread: ThreadKey, proposal: Typed, use: ThreadUse) -> Program[Typed]:
        return (yield from self._first_head(thread, use._replace(secret=proposal))).head.secret

    @storage_program
    def stored_secret(self, thread: ThreadKey, now: float, *, lock: bool = False) -> Program[Typed | None]:
        stored = yield from self._read_head(thread, now, lock=lock)
        return None if stored is None else stored.head.secret

    @one_statement
    def put(self, thread: ThreadKey, put: CheckpointPut, codec: Codec, use: ThreadUse) -> Program[bool]:
        if put.plain:
            msg = "A thread under a key is stored in the compact layout only. Omit compact=False."
            raise ConfigurationError(msg)
        key, run_id = put.row.key, self._ring.optional_id("run", put.run_id)
        entry, tag = CheckpointEntry(key, None, run_id, use.now), new_tag()

        def change(head: Head) -> Program[Head | None]:
            entries: list[CheckpointEntry] | None = None
            if key.checkpoint_id <= head.newest:
                entries = yield from self._table.entries(self._thread(thread))
                if not head.fits(entries):
                    return None
            return head.with_checkpoint(entry, tag, entries)

        def write(seal: ThreadSeal, own: ThreadUse) -> Program[bool]:
            sealed = CheckpointPut(
                seal.sealed_checkpoint(put.row, self._ring.id("thread", thread.thread_id), tag, codec),
                run_id,
                seal.sealed_values(put.values),
                seal.sealed_elements(put.elements),
                seal.sealed_requirements(put.requires),
            )
            return (yield from self._table.put(self._thread(thread), sealed, self._documents, own))

        return (yield from self._store(thread, use, change, write))

    @one_statement
    def put_writes(self, thread: ThreadKey, put: WritesPut, use: ThreadUse) -> Program[bool]:
        tags = [new_tag() for _ in put.writes]
        written = [(one.task_id, one.write_index, tag) for one, tag in zip(put.writes, tags, strict=True)]

        def change(head: Head) -> Program[Head | None]:
            yield from ()
            return head.with_writes(put.checkpoint, written)

        def write(seal: ThreadSeal, own: ThreadUse) -> Program[bool]:
            writes = [seal.sealed_write(put.checkpoint, *one) for one in zip(put.writes, tags, strict=True)]
            sealed = WritesPut(
                put.checkpoint,
                writes,
                seal.sealed_values(put.values),
                seal.sealed_elements(put.elements),
                seal.sealed_requirements(put.requires),
            )
            return (yield from self._table.put_writes(self._thread(thread), sealed, own))

        return (yield from self._store(thread, use, change, write))

    @storage_program
    def replace(
        self,
        thread: ThreadKey,
        put: CheckpointPut,
        changes: Sequence[tuple[StoredWrite, StoredWrite | None]],
        codec: Codec,
        use: ThreadUse,
    ) -> Program[bool]:
        key, run_id, sealed = put.row.key, self._ring.optional_id("run", put.run_id), self._thread(thread)
        rows = yield from self._table.ancestors(sealed, key, 1, self._documents)
        if not rows:
            return False
        tag = SealedDocuments.tag_of(rows[0])
        deleted = any(after is None for _, after in changes)

        def change(head: Head) -> Program[Head | None]:
            entries = yield from self._table.entries(sealed)
            former = next((one for one in entries if one.key == key), None)
            if former is None or not head.fits(entries):
                return None
            entry = CheckpointEntry(key, None, run_id, former.created_at)
            return head.with_replacement(entry, former, deleted=deleted)

        def write(seal: ThreadSeal, own: ThreadUse) -> Program[bool]:
            found, _ = yield from self._table.writes(sealed, [key], {before.channel for before, _ in changes})
            new = CheckpointPut(
                seal.sealed_checkpoint(put.row, sealed.thread_id, tag, codec),
                run_id,
                seal.sealed_values(put.values),
                seal.sealed_elements(put.elements),
                seal.sealed_requirements(put.requires),
            )
            return (
                yield from self._table.replace(
                    sealed, new, seal.sealed_changes(key, found[key], changes), self._documents, own
                )
            )

        return (yield from self._store(thread, use, change, write))

    def _store(self, thread: ThreadKey, use: ThreadUse, change: Change, write: Writer) -> Program[bool]:
        """Write rows together with the new head. If another writer was faster, start from the head that it stored."""
        own = self._use(use)
        known = self._known(thread) or (yield from self._read_head(thread, use.now, lock=True))
        for _ in range(_ATTEMPTS):
            if known is None:  # the head is stored first, because a write that is refused must not leave a head behind
                known = yield from self._first_head(thread, use)
            head = known.head
            following = (yield from change(head)) if use.secret in (None, head.secret) else head
            if following is not None and following is not head:
                typed = self.sealed_head(thread, following)
                own = own._replace(secret=known.typed, next_secret=typed)
                if (yield from write(self._seal(following), own)):
                    self._learn(thread, _StoredHead(typed, following))
                    return True
            found = yield from self._read_head(thread, use.now, lock=True)
            if found is not None and found.typed == known.typed:
                if following is None:
                    raise _altered(_INCOMPLETE)
                return False  # the head is current, so another requirement is not met
            known = found
        msg = f"Other writers changed thread {thread.thread_id!r} during each of {_ATTEMPTS} attempts. Try again."
        raise StorageBusyError(msg)

    def _first_head(self, thread: ThreadKey, use: ThreadUse) -> Program[_StoredHead]:
        """Return the head of a thread. A thread without a head gets an empty one."""
        typed = self.sealed_head(thread, Head.new(use.secret or _NO_SECRET))
        own = self._use(use)._replace(secret=None, next_secret=None)
        return self._opened_head(thread, (yield from self._table.secret(self._thread(thread), typed, own)))

    # Reading

    @one_statement
    def get(
        self,
        thread: ThreadKey,
        namespace: str,
        checkpoint_id: str | None,
        codec: Codec,
        now: float,
        known: Mapping[ValueKey, Known] = NOTHING_KNOWN,
    ) -> Program[LoadedCheckpoint | None]:
        before: _StoredHead | None = None
        latest = self._known(thread)
        sealed = NOTHING_KNOWN if latest is None else self._seal(latest.head).sealed_known(known)
        for _ in range(_ATTEMPTS):
            loaded = yield from self._table.get(
                self._thread(thread), namespace, checkpoint_id, self._documents, now, sealed
            )
            if loaded is not None:
                stored, key = self._head_of(thread, loaded), loaded.row.key
            elif before is not None:
                stored, key = before, None
            else:
                before = yield from self._read_head(thread, now)
                if before is None:
                    yield from self._refuse_plain(thread, namespace, checkpoint_id, now)
                    return None
                continue  # another writer may have created the thread since, so the checkpoint is read after the head
            before = None
            if (yield from self._is_right(thread, stored, namespace, checkpoint_id, key, loaded, now)):
                return None if loaded is None else self._plain(thread, loaded, stored.head, codec)
        raise _busy(thread)

    def _is_right(
        self,
        thread: ThreadKey,
        stored: _StoredHead,
        namespace: str,
        checkpoint_id: str | None,
        found: CheckpointKey | None,
        loaded: LoadedCheckpoint | None,
        now: float,
    ) -> Program[bool]:
        """Check that a checkpoint is the one that was asked for. Return false to read again, because the head has changed."""
        head = stored.head
        latest = head.latest.get(namespace)
        has_parent = loaded is None or not SealedDocuments.lost_parent(loaded.row)
        if latest is not None and has_parent and found is not None and found.checkpoint_id == latest[0]:
            return True
        entries = yield from self._table.entries(self._thread(thread), lock=False)
        if not head.fits(entries):
            return (yield from self._changed(thread, stored, now))
        ids = {entry.key.checkpoint_id for entry in entries if entry.key.namespace == namespace}
        expected = max(ids, default=None) if checkpoint_id is None else checkpoint_id if checkpoint_id in ids else None
        if (found and found.checkpoint_id) != expected:
            return (yield from self._changed(thread, stored, now))
        if loaded is not None and not has_parent and SealedDocuments.parent_of(loaded.row) in ids:
            raise _altered(_ORPHANED)
        return True

    def _refuse_plain(self, thread: ThreadKey, namespace: str, checkpoint_id: str | None, now: float) -> Program[None]:
        """Refuse a thread that LangGraph's own saver wrote to the same tables.

        Raises:
            DamagedDataError: There is such a thread.
        """
        if self._shares_tables and (yield from self._table.get(thread, namespace, checkpoint_id, self._documents, now)):
            raise _not_encrypted(thread.thread_id)

    def _changed(self, thread: ThreadKey, stored: _StoredHead, now: float) -> Program[bool]:
        """Return false if another writer has changed the thread since its head was read.

        Raises:
            TamperedDataError: The head is the same, so the rows were altered.
        """
        found = yield from self._read_head(thread, now)
        if found is not None and found.typed == stored.typed:
            raise _altered(_INCOMPLETE)
        return False

    @storage_program
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
        sealed = self._ring.optional_id("thread", thread_id)
        last = None if after is None else (after[0], self._ring.id("thread", after[1]), after[2])
        if thread_id is not None and after is None:
            yield from self._check(ThreadKey(tenant, thread_id), now)
        rows = yield from self._table.page(
            tenant, sealed, namespace, checkpoint_id, before, last, limit, self._documents, now
        )
        threads = [ThreadKey(tenant, self._ring.plain_id("thread", row.thread_id)) for row in rows]
        return (yield from together([self._checked(*one, codec) for one in zip(threads, rows, strict=True)]))

    def _check(self, thread: ThreadKey, now: float) -> Program[None]:
        """Check that the checkpoints of a thread are complete."""
        for _ in range(_ATTEMPTS):
            stored = yield from self._read_head(thread, now)
            if stored is None:
                return  # a thread without a head has no checkpoints that can be read
            entries = yield from self._table.entries(self._thread(thread), lock=False)
            if stored.head.fits(entries) or (yield from self._changed(thread, stored, now)):
                return
        raise _busy(thread)

    def _checked(self, thread: ThreadKey, row: CheckpointRow, codec: Codec) -> Program[CheckpointRow]:
        """Decrypt a checkpoint, and check that it belongs to its thread."""
        known = self._known(thread)
        if known is None or not SealedDocuments.belongs(row, known.head):  # another process may have changed the thread
            known = yield from self._read_head(thread, 0.0)
        if known is None:
            raise _altered(_HEADLESS)
        return self._seal(known.head).plain_checkpoint(thread.thread_id, row, codec, known.head)

    @storage_program
    def load(self, tenant: str, rows: Sequence[CheckpointRow]) -> Program[list[LoadedCheckpoint]]:
        sealed = [
            CheckpointRow(self._ring.id("thread", row.thread_id), row.key, row.parent_id, {}, {}, {}, row.stored)
            for row in rows
        ]
        found = yield from self._table.load(tenant, sealed)
        return [self._loaded(ThreadKey(tenant, row.thread_id), row, one) for row, one in zip(rows, found, strict=True)]

    def _loaded(self, thread: ThreadKey, row: CheckpointRow, loaded: LoadedCheckpoint) -> LoadedCheckpoint:
        head = self._head_of(thread, loaded).head
        seal = self._seal(head)
        return LoadedCheckpoint(
            row,
            seal.plain_writes(row.key, loaded.writes, head),
            seal.plain_parts(loaded.parts, head),
            loaded.revision,
        )

    @one_statement
    def ancestors(
        self, thread: ThreadKey, checkpoint: CheckpointKey, limit: int, codec: Codec, now: float = 0.0
    ) -> Program[list[CheckpointRow]]:
        rows = yield from self._table.ancestors(self._thread(thread), checkpoint, limit, self._documents, now)
        return (yield from together([self._checked(thread, row, codec) for row in rows]))

    @one_statement
    def writes(
        self, thread: ThreadKey, checkpoints: Sequence[CheckpointKey], channels: Collection[str]
    ) -> Program[tuple[dict[CheckpointKey, list[StoredWrite]], Any]]:
        found, parts = yield from self._table.writes(self._thread(thread), checkpoints, channels)
        if parts.secret is None:
            return found, parts
        head = self._opened_head(thread, parts.secret).head
        seal = self._seal(head)
        plain = {key: seal.plain_writes(key, writes, None) for key, writes in found.items()}
        return plain, seal.plain_parts(parts, head)

    @storage_program
    def entries(self, thread: ThreadKey, *, lock: bool = True) -> Program[list[CheckpointEntry]]:
        entries = yield from self._table.entries(self._thread(thread), lock=lock)
        return [entry._replace(run_id=self._ring.optional_plain_id("run", entry.run_id)) for entry in entries]

    @one_statement
    def threads_of_runs(self, tenant: str, run_ids: Collection[str]) -> Program[list[str]]:
        found = yield from self._table.threads_of_runs(tenant, [self._ring.id("run", one) for one in run_ids])
        return [self._ring.plain_id("thread", one) for one in found]

    @one_statement
    def threads(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[ThreadRow]]:
        user = self._ring.id("user", user_id) if isinstance(user_id, str) else user_id
        rows = yield from self._table.threads(tenant, user, limit, offset, now)
        return [self.plain_thread(row) for row in rows]

    def plain_thread(self, row: ThreadRow) -> ThreadRow:
        """Decrypt the IDs in the row of a thread.

        Raises:
            TamperedDataError: The thread is not encrypted.
        """
        try:
            thread_id = self._ring.plain_id("thread", row.thread_id)
        except TamperedDataError as error:
            raise _not_encrypted(row.thread_id) from error
        return row._replace(
            thread_id=thread_id,
            user_id=self._ring.optional_plain_id("user", row.user_id),
            users={self._ring.plain_id("user", user): used for user, used in row.users.items()},
        )

    @one_statement
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        found = yield from self._table.users(tenant, now)
        return [self._ring.plain_id("user", user) for user in found]

    # Deleting

    @storage_program
    def delete(
        self,
        thread: ThreadKey,
        checkpoints: Collection[CheckpointKey],
        codec: Codec,  # noqa: ARG002 (the encrypted rows have a codec of their own)
        known: Collection[CheckpointEntry],
        secrets: SecretChange | None = None,  # noqa: ARG002 (the head is replaced)
    ) -> Program[None]:
        sealed = self._thread(thread)
        stored = yield from self._read_head(thread, 0.0, lock=True)
        entries = yield from self._table.entries(sealed)
        if stored is None or not stored.head.fits(entries):
            found = yield from self._read_head(thread, 0.0)
            if stored is None or (found is not None and found.typed == stored.typed):
                raise _altered(_INCOMPLETE)
            # Another writer added a checkpoint, so the other backend starts the program again.
            stored = _StoredHead(Typed("", b""), stored.head)
        typed = self.sealed_head(thread, stored.head.without(checkpoints, entries))
        change = SecretChange(stored.typed, typed)
        self._forget(thread)
        yield from self._table.delete(sealed, checkpoints, self._documents, known, change)

    @one_statement
    def delete_thread(self, thread: ThreadKey) -> Program[None]:
        self._forget(thread)
        yield from self._table.delete_thread(self._thread(thread))

    @storage_program
    def copy_thread(
        self,
        source: ThreadKey,
        target: ThreadKey,
        now: float,
        secrets: SecretChange | None = None,  # noqa: ARG002 (the head of the copy is another one)
    ) -> Program[bool]:
        stored = yield from self._read_head(source, now, lock=True)
        self._forget(target)
        change = None
        if stored is not None:
            change = SecretChange(stored.typed, self.sealed_head(target, stored.head))
        return (yield from self._table.copy_thread(self._thread(source), self._thread(target), now, change))

    @storage_program
    def forget_user(self, thread: ThreadKey, user_id: str, *, shared: bool) -> Program[bool | None]:
        self._forget(thread)
        user = self._ring.id("user", user_id)
        return (yield from self._table.forget_user(self._thread(thread), user, shared=shared))

    @one_statement
    def set_ttl(self, thread: ThreadKey, ttl: float | None, now: float) -> Program[bool]:
        return (yield from self._table.set_ttl(self._thread(thread), ttl, now))

    @one_statement
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from self._table.sweep(tenant, now, limit))

    # Rows

    def _plain(self, thread: ThreadKey, loaded: LoadedCheckpoint, head: Head, codec: Codec) -> LoadedCheckpoint:
        row = self._seal(head).plain_checkpoint(thread.thread_id, loaded.row, codec, head)
        return self._loaded(thread, row, loaded)

    def _seal(self, head: Head) -> ThreadSeal:
        return ThreadSeal(self._ring, head.origin)

    def sealed_thread(self, thread: ThreadKey) -> ThreadKey:
        """Encrypt the ID of a thread that is deleted, and forget its head."""
        self._forget(thread)
        return self._thread(thread)

    def _thread(self, thread: ThreadKey) -> ThreadKey:
        return ThreadKey(thread.tenant, self._ring.id("thread", thread.thread_id))

    def _use(self, use: ThreadUse) -> ThreadUse:
        return use._replace(user_id=self._ring.optional_id("user", use.user_id))

    # Heads

    def _read_head(self, thread: ThreadKey, now: float, *, lock: bool = False) -> Program[_StoredHead | None]:
        typed = yield from self._table.stored_secret(self._thread(thread), now, lock=lock)
        return None if typed is None else self._opened_head(thread, typed)

    def _head_of(self, thread: ThreadKey, loaded: LoadedCheckpoint) -> _StoredHead:
        if loaded.parts.secret is None:
            raise _altered(_HEADLESS)
        return self._opened_head(thread, loaded.parts.secret)

    def sealed_head(self, thread: ThreadKey, head: Head) -> Typed:
        """Encrypt the head of a thread."""
        return Typed(_HEAD, self._ring.sealer.seal(head.packed(), _HEAD, *thread))

    def opened_head(self, thread: ThreadKey, typed: Typed) -> Head:
        """Decrypt the head of a thread."""
        return self._opened_head(thread, typed).head

    def _opened_head(self, thread: ThreadKey, typed: Typed) -> _StoredHead:
        known = self._known(thread)
        if known is None or known.typed != typed:
            known = _StoredHead(typed, Head.unpacked(self._ring.sealer.open(typed.data, _HEAD, *thread)))
            self._learn(thread, known)
        return known

    def _known(self, thread: ThreadKey) -> _StoredHead | None:
        return self._heads.get(thread)

    def _learn(self, thread: ThreadKey, stored: _StoredHead) -> None:
        self._heads.put(thread, stored)

    def _forget(self, thread: ThreadKey) -> None:
        self._heads.discard(thread)


def _not_encrypted(thread_id: str) -> TamperedDataError:
    return TamperedDataError(
        f"Thread {shown(thread_id)} is not encrypted, but the memory has a key. Another program wrote it, such as "
        f"PostgresSaver. Open it without the key, delete it, or copy it from another database: "
        f"memory.checkpointer.copy_from(saver)."
    )


def _altered(what: str) -> TamperedDataError:
    return TamperedDataError(f"The database was altered: {what}.")


def _busy(thread: ThreadKey) -> StorageBusyError:
    return StorageBusyError(f"Other writers changed thread {thread.thread_id!r} during each attempt. Try again.")
