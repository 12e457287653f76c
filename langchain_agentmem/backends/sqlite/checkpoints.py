"""The checkpoint table in SQLite."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract import (
    CheckpointEntry,
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    LoadedCheckpoint,
    Parts,
    SecretChange,
    StoredWrite,
    ThreadKey,
    ThreadRow,
    ThreadUse,
    WritesPut,
)
from langchain_agentmem.backends.sqlite.traces import Replaced
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import (
    NOTHING_KNOWN,
    PLAIN,
    VALUE,
    Known,
    StoredValue,
    ValueKey,
    is_known,
    resolve,
)
from langchain_agentmem.encoding.references import Typed, each_reference
from langchain_agentmem.programs import Execute, ExecuteMany, Fetch, Program, storage_program

SQL = load_statements("langchain_agentmem.backends.sqlite", "checkpoints.sql")
_DIGESTS_AT_ONCE = 100
"""The number of digests that one statement reads. SQLite allows a statement 500 parts."""


class SqliteCheckpoints:
    """See `langchain_agentmem.backends.contract.CheckpointTable`."""

    # Writing

    def secret(self, thread: ThreadKey, proposal: Typed, use: ThreadUse) -> Program[Typed]:
        number, secret = yield from self._use(thread, use)
        if secret is None:
            yield from Execute(SQL["set_secret"], (*proposal, number))
            return proposal
        return secret

    def stored_secret(
        self,
        thread: ThreadKey,
        now: float,
        *,
        lock: bool = False,  # noqa: ARG002 (a transaction that writes is the only one)
    ) -> Program[Typed | None]:
        for row in (yield from Fetch(SQL["thread"], thread)):
            *_, type_, secret = row
            return None if secret is None or _expired(row, now) else Typed(type_, secret)
        return None

    @storage_program
    def put(self, thread: ThreadKey, put: CheckpointPut, codec: Codec, use: ThreadUse) -> Program[bool]:
        number, secret = yield from self._use(thread, use)
        if not (yield from self._shares_secret(number, secret, use)):
            return False
        return (yield from self._put(number, put, codec, use))

    def replace(
        self,
        thread: ThreadKey,
        put: CheckpointPut,
        changes: Sequence[tuple[StoredWrite, StoredWrite | None]],
        codec: Codec,
        use: ThreadUse,
    ) -> Program[bool]:
        number = yield from self._find(thread, 0.0)
        if number is None or not (yield from Fetch(SQL["checkpoint"], (number, *put.row.key))):
            return False
        ((type_, data),) = (yield from Fetch(SQL["secret"], (number,))) or [(None, None)]
        secret = None if data is None else Typed(type_, data)
        if not (yield from self._shares_secret(number, secret, use)):
            return False
        if not (yield from self._put(number, put, codec, use)):
            return False
        yield from Execute(SQL["count_write"], (number,))
        for before, after in changes:
            stored = (number, *put.row.key, before.task_id, before.write_index, *before[3:])
            if after is None:
                yield from Execute(SQL["delete_write"], stored)
            else:
                yield from Execute(SQL["replace_write"], (*after[3:], *stored))
        return True

    def _put(self, number: int, put: CheckpointPut, codec: Codec, use: ThreadUse) -> Program[bool]:
        if not (yield from self._fits(number, put.requires, put.values)):
            return False
        row = put.row
        document = codec.dump_document(
            {"checkpoint": row.checkpoint, "metadata": row.metadata, "inline": row.inline, "stored": row.stored}
        )
        yield from Execute(SQL["add_checkpoint"], (number, *row.key, row.parent_id, put.run_id, use.now, *document))
        yield from add_values(number, put.values, put.elements)
        yield from self._replace_secret(number, use.next_secret)
        return True

    @storage_program
    def put_writes(self, thread: ThreadKey, put: WritesPut, use: ThreadUse) -> Program[bool]:
        number, secret = yield from self._use(thread, use)
        if not (yield from self._shares_secret(number, secret, use)):
            return False
        if not (yield from self._fits(number, put.requires)):
            return False
        yield from ExecuteMany(
            SQL["add_write"],
            [
                (
                    *(number, *put.checkpoint, write.task_id, write.write_index, write.task_path),
                    *(write.channel, write.kind, write.type, write.data),
                )
                for write in put.writes
            ],
        )
        yield from add_values(number, put.values, put.elements)
        yield from self._replace_secret(number, use.next_secret)
        return True

    # Reading

    def get(
        self,
        thread: ThreadKey,
        namespace: str,
        checkpoint_id: str | None,
        codec: Codec,
        now: float,
        known: Mapping[ValueKey, Known] = NOTHING_KNOWN,
    ) -> Program[LoadedCheckpoint | None]:
        found = yield from Fetch(SQL["thread"], thread)
        if not found or _expired(found[0], now):
            return None
        ((number, revision, _, type_, secret),) = found
        if checkpoint_id is None:
            rows = yield from Fetch(SQL["latest"], (number, namespace))
        else:
            rows = yield from Fetch(SQL["checkpoint"], (number, namespace, checkpoint_id))
        if not rows:
            return None
        row = checkpoint_row(thread.thread_id, rows[0], codec)
        writes = yield from self._writes(number, row.key)
        parts = yield from self._values_of(number, [row], {row.key: writes}, known)
        secrets = None if secret is None else Typed(type_, secret)
        return LoadedCheckpoint(row, writes, parts._replace(secret=secrets), revision)

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
        parameters: dict[str, Any] = {
            "tenant": tenant,
            "thread_id": thread_id,
            "namespace": namespace,
            "now": now,
            "limit": limit,
        }
        if thread_id is not None and namespace is not None and checkpoint_id is None:
            bounds = [bound for bound in (before, after and after[0]) if bound is not None]
            below = min(bounds) if bounds else "\U0010ffff"
            rows = yield from Fetch(SQL["page_of_namespace"], {**parameters, "below": below})
        else:
            after_id, after_thread, after_namespace = after or (None, None, None)
            rows = yield from Fetch(
                SQL["page"],
                {
                    **parameters,
                    "checkpoint_id": checkpoint_id,
                    "before": before,
                    "after_id": after_id,
                    "after_thread": after_thread,
                    "after_namespace": after_namespace,
                },
            )
        return [checkpoint_row(thread_id, row, codec) for thread_id, *row in rows]

    def load(self, tenant: str, rows: Sequence[CheckpointRow]) -> Program[list[LoadedCheckpoint]]:
        by_thread: dict[str, list[CheckpointRow]] = {}
        for row in rows:
            by_thread.setdefault(row.thread_id, []).append(row)
        loaded: dict[tuple[str, CheckpointKey], LoadedCheckpoint] = {}
        for thread_id, group in by_thread.items():
            number = yield from self._find(ThreadKey(tenant, thread_id), 0.0)
            for checkpoint in (yield from self._load(number, group)):
                loaded[thread_id, checkpoint.row.key] = checkpoint
        return [loaded[row.thread_id, row.key] for row in rows]

    def ancestors(
        self, thread: ThreadKey, checkpoint: CheckpointKey, limit: int, codec: Codec, now: float = 0.0
    ) -> Program[list[CheckpointRow]]:
        number = yield from self._find(thread, now)
        namespace, checkpoint_id = checkpoint
        parameters = {"thread": number, "namespace": namespace, "checkpoint_id": checkpoint_id, "limit": limit}
        rows = yield from Fetch(SQL["ancestors"], parameters)
        return [checkpoint_row(thread.thread_id, row, codec) for row in rows]

    def writes(
        self, thread: ThreadKey, checkpoints: Sequence[CheckpointKey], channels: Collection[str]
    ) -> Program[tuple[dict[CheckpointKey, list[StoredWrite]], Parts]]:
        number = yield from self._find(thread, 0.0)
        found: dict[CheckpointKey, list[StoredWrite]] = {}
        for checkpoint in checkpoints:
            writes = yield from self._writes(number, checkpoint)
            found[checkpoint] = [write for write in writes if write.channel in channels]
        return found, (yield from self._parts(number, [], found))

    def entries(
        self,
        thread: ThreadKey,
        *,
        lock: bool = True,  # noqa: ARG002 (a transaction that writes is the only one)
    ) -> Program[list[CheckpointEntry]]:
        number = yield from self._find(thread, 0.0)
        rows = yield from Fetch(SQL["entries"], (number,))
        return [CheckpointEntry(CheckpointKey(namespace, id_), *rest) for namespace, id_, *rest in rows]

    def threads_of_runs(self, tenant: str, run_ids: Collection[str]) -> Program[list[str]]:
        rows = yield from Fetch(SQL["threads_of_runs"], (json.dumps(list(run_ids)), tenant))
        return [thread_id for (thread_id,) in rows]

    def threads(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[ThreadRow]]:
        statement = "threads" if user_id is OMITTED else "threads_of_nobody" if user_id is None else "threads_of_user"
        parameters = {
            "tenant": tenant,
            "user_id": None if user_id is OMITTED else user_id,
            "now": now,
            "limit": -1 if limit is None else limit,
            "offset": offset,
        }
        return (yield from self.listed((yield from Fetch(SQL[statement], parameters))))

    def listed(self, rows: Sequence[Sequence[Any]]) -> Program[list[ThreadRow]]:
        """Return threads, from the columns of the fragment `listed_thread`."""
        listed = []
        for number, thread_id, user, *known in rows:
            users: dict[str, float] = dict((yield from Fetch(SQL["users"], (number,))))
            listed.append(ThreadRow(thread_id, user or None, *known)._replace(users=users))
        return listed

    # Deleting

    def delete(
        self,
        thread: ThreadKey,
        checkpoints: Collection[CheckpointKey],
        codec: Codec,
        known: Collection[CheckpointEntry],  # noqa: ARG002 (nobody writes meanwhile)
        secrets: SecretChange | None = None,
    ) -> Program[None]:
        number = yield from self._find(thread, 0.0)
        doomed = [(number, *checkpoint) for checkpoint in checkpoints]
        yield from ExecuteMany(SQL["delete_checkpoint"], doomed)
        yield from ExecuteMany(SQL["delete_writes"], doomed)
        yield from Execute(SQL["orphan"], {"thread": number})
        yield from Execute(SQL["count_write"], (number,))
        yield from self._delete_unneeded(number, codec)
        if number is not None and secrets is not None:
            yield from self._replace_secret(number, secrets.new)

    def delete_thread(self, thread: ThreadKey) -> Program[None]:
        for number, *_ in (yield from Fetch(SQL["thread"], thread)):
            yield from self._empty(number)
            yield from Execute(SQL["delete_thread"], (number,))

    def copy_thread(
        self, source: ThreadKey, target: ThreadKey, now: float, secrets: SecretChange | None = None
    ) -> Program[bool]:
        number = yield from self._find(source, now)
        if number is None:
            return True
        for taken in (yield from Fetch(SQL["thread"], target)):
            ((in_use,),) = yield from Fetch(SQL["in_use"], {"thread": taken[0]})
            if in_use and not _expired(taken, now):
                return False
            yield from self.delete_thread(target)
        parameters = {"source": number, "tenant": target.tenant, "thread_id": target.thread_id, "now": now}
        ((copy,),) = yield from Fetch(SQL["copy_thread"], parameters)
        for statement in ("copy_users", "copy_checkpoints", "copy_values", "copy_elements", "copy_writes"):
            yield from Execute(SQL[statement], {"source": number, "target": copy})
        if secrets is not None:
            yield from self._replace_secret(copy, secrets.new)
        return True

    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [user for (user,) in (yield from Fetch(SQL["all_users"], {"tenant": tenant, "now": now}))]

    def forget_user(self, thread: ThreadKey, user_id: str, *, shared: bool) -> Program[bool | None]:
        for number, *_ in (yield from Fetch(SQL["thread"], thread)):
            users = [user for user, _ in (yield from Fetch(SQL["users"], (number,)))]
            if user_id not in users:
                return None
            if shared or users == [user_id]:
                yield from self.delete_thread(thread)
                return True
            yield from Execute(SQL["delete_user"], (number, user_id))
            yield from Execute(SQL["set_last_user"], {"thread": number, "user_id": user_id})
            yield from Replaced()
            return False
        return None

    def set_ttl(self, thread: ThreadKey, ttl: float | None, now: float) -> Program[bool]:
        parameters = {"tenant": thread.tenant, "thread_id": thread.thread_id, "ttl": ttl, "now": now}
        return bool((yield from Execute(SQL["set_ttl"], parameters)))

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        expired = yield from Fetch(SQL["expired"], (tenant, now, limit))
        for (number,) in expired:
            yield from self._empty(number)
            yield from Execute(SQL["delete_thread"], (number,))
        return len(expired)

    # Parts

    def _use(self, thread: ThreadKey, use: ThreadUse) -> Program[tuple[int, Typed | None]]:
        """Return the ID and the secret of a thread row; create it if the thread is missing or expired."""
        parameters = {
            "tenant": thread.tenant,
            "thread_id": thread.thread_id,
            "user_id": use.user_id or "",
            "now": use.now,
        }
        found = yield from Fetch(SQL["use_thread"], parameters)
        if not found:
            yield from self.delete_thread(thread)  # it has expired, if it exists
            found = yield from Fetch(SQL["new_thread"], {**parameters, "ttl": use.ttl})
        ((number, type_, secret),) = found
        if use.user_id is not None:
            yield from Execute(SQL["use_by_user"], {"thread": number, "user_id": use.user_id, "now": use.now})
        return number, None if secret is None else Typed(type_, secret)

    def _shares_secret(self, number: int, secret: Typed | None, use: ThreadUse) -> Program[bool]:
        """Return true if the thread has the writer's secret; a new thread takes it over."""
        if use.secret is None:
            return True
        if secret is None:
            if use.next_secret is None:
                yield from Execute(SQL["set_secret"], (*use.secret, number))
            return use.next_secret is None
        return secret == use.secret

    def _replace_secret(self, number: int, secret: Typed | None) -> Program[None]:
        if secret is not None:
            yield from Execute(SQL["set_secret"], (*secret, number))

    def _find(self, thread: ThreadKey, now: float) -> Program[int | None]:
        """Return the ID of a thread row; None if the thread is missing or expired."""
        found = yield from Fetch(SQL["thread"], thread)
        return found[0][0] if found and not _expired(found[0], now) else None

    def _fits(self, number: int, digests: Mapping[ValueKey, str], new: Sequence[StoredValue] = ()) -> Program[bool]:
        """Return true if some values are stored, with the given digests (empty: any), and new ones are not."""
        keys = [*digests, *(value.key for value in new)]
        if not keys:
            return True
        stored: dict[ValueKey, str] = {}
        for start in range(0, len(keys), _DIGESTS_AT_ONCE):
            some = keys[start : start + _DIGESTS_AT_ONCE]
            found = yield from Fetch(_digests(len(some)), [one for key in some for one in (number, *key)])
            stored.update((ValueKey(*key), digest) for *key, digest in found)
        return all(key in stored and digest in ("", stored[key]) for key, digest in digests.items()) and not any(
            value.key in stored for value in new
        )

    def _load(self, number: int | None, rows: Sequence[CheckpointRow]) -> Program[list[LoadedCheckpoint]]:
        writes = {}
        for row in rows:
            writes[row.key] = yield from self._writes(number, row.key)
        parts = yield from self._parts(number, rows, writes)
        return [LoadedCheckpoint(row, writes[row.key], parts) for row in rows]

    def _parts(
        self,
        number: int | None,
        rows: Sequence[CheckpointRow],
        writes: Mapping[CheckpointKey, Sequence[StoredWrite]],
    ) -> Program[Parts]:
        parts = yield from self._values_of(number, rows, writes)
        for secret in (yield from Fetch(SQL["secret"], (number,))):
            return parts._replace(secret=Typed(*secret))
        return parts

    def _values_of(
        self,
        number: int | None,
        rows: Sequence[CheckpointRow],
        writes: Mapping[CheckpointKey, Sequence[StoredWrite]],
        known: Mapping[ValueKey, Known] = NOTHING_KNOWN,
    ) -> Program[Parts]:
        """Return the values of checkpoints and their writes, without the secret of the thread."""
        every = [(checkpoint.namespace, write) for checkpoint, group in writes.items() for write in group]
        keys = dict.fromkeys(key for row in rows for key in row.value_keys())
        keys.update(dict.fromkeys(key for namespace, write in every if (key := write.value_key(namespace))))
        values: dict[ValueKey, tuple[StoredValue, Known]] = {}
        runs = [write.data for _, write in every if write.kind not in (PLAIN, VALUE)]
        chains: dict[ValueKey, StoredValue] = {}
        for key in keys:
            at: ValueKey | None = key
            while at is not None and at not in chains:
                found = yield from Fetch(SQL["value"], (number, *at))
                if not found:
                    break
                row = chains[at] = value_row(found[0])
                at = row.base
                if is_known(row, known):
                    break
                if row.kind != PLAIN:
                    runs.append(row.data)
            if key in chains:
                values[key] = resolve(key, chains, known)
        wanted = dict.fromkeys(reference for run in runs for reference in each_reference(run))
        elements = {}
        if wanted:
            stored = yield from Fetch(SQL["elements"], {"thread": number, "references": b"".join(wanted)})
            elements = {reference: Typed(type_, data) for reference, type_, data in stored}
        return Parts(values, elements, None)

    def _writes(self, number: int | None, checkpoint: CheckpointKey) -> Program[list[StoredWrite]]:
        rows = yield from Fetch(SQL["writes"], (number, *checkpoint))
        return [StoredWrite(*row) for row in rows]

    def _delete_unneeded(self, number: int | None, codec: Codec) -> Program[None]:
        """Delete values that no checkpoint needs, then elements that no value or write refers to."""
        documents = yield from Fetch(SQL["documents"], (number,))
        needed = {key for row in documents for key in checkpoint_row("", row, codec).value_keys()}
        needed.update(ValueKey(*row) for row in (yield from Fetch(SQL["values_of_writes"], (number,))))
        links = {}
        for row in (yield from Fetch(SQL["value_links"], (number,))):
            links[ValueKey(*row[:3])] = ValueKey(*row[3:]) if row[3] is not None else None
        for key in list(needed):
            base = links.get(key)
            while base is not None and base not in needed:
                needed.add(base)
                base = links.get(base)
        yield from ExecuteMany(SQL["delete_value"], [(number, *key) for key in links.keys() - needed])
        held: set[bytes] = set()
        for (run,) in (yield from Fetch(SQL["runs_of_references"], {"thread": number})):
            held.update(each_reference(run))
        stored = yield from Fetch(SQL["references"], (number,))
        yield from ExecuteMany(SQL["delete_element"], [(number, key) for (key,) in stored if key not in held])

    def _empty(self, number: int) -> Program[None]:
        for what in ("checkpoints", "values", "elements", "writes"):
            yield from Execute(SQL[f"delete_{what}_of_thread"], (number,))


@lru_cache
def _digests(count: int) -> str:
    """Return the statement that reads several digests."""
    return " UNION ALL ".join([SQL["digest"]] * count)


def add_values(number: int, values: Sequence[StoredValue], elements: Mapping[bytes, Typed]) -> Program[None]:
    """Add values and elements to a thread, unless they are stored."""
    rows = [
        (
            *(number, *value.key, value.kind, value.type, value.data, value.number),
            *(value.base or (None, None, None)),
            *(value.head, value.tail, value.digest),
        )
        for value in values
    ]
    if rows:
        yield from ExecuteMany(SQL["add_value"], rows)
    if elements:
        yield from ExecuteMany(SQL["add_element"], [(number, key, *typed) for key, typed in elements.items()])


def _expired(thread: Sequence[Any], now: float) -> bool:
    expires_at = thread[2]
    return expires_at is not None and expires_at <= now


def checkpoint_row(thread_id: str, row: Sequence[Any], codec: Codec) -> CheckpointRow:
    """Return a checkpoint, from the columns of the fragment `checkpoint`."""
    namespace, checkpoint_id, parent_id, type_, document = row
    parts = codec.load_document((type_, document))
    return CheckpointRow(thread_id, CheckpointKey(namespace, checkpoint_id), parent_id, **parts)


def value_row(row: Sequence[Any]) -> StoredValue:
    """Return a value, from the columns of its row."""
    kind, type_, data, number = row[3:7]
    head, tail, digest = row[10:]
    base = ValueKey(*row[7:10]) if row[7] is not None else None
    return StoredValue(ValueKey(*row[:3]), kind, type_, data, number, base, head, tail, digest)
