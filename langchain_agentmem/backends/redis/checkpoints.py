"""The checkpoint table on Redis: seven keys for each thread, in one slot."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import ormsgpack

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.backends.contract import (
    CheckpointEntry,
    CheckpointKey,
    CheckpointPut,
    CheckpointRow,
    LoadedCheckpoint,
    Parts,
    SecretChange,
    StatisticsQuery,
    StoredWrite,
    Tally,
    ThreadKey,
    ThreadRow,
    ThreadUse,
    WritesPut,
)
from langchain_agentmem.backends.contract.statistics import one_in
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.checkpoint_rows import (
    Answer,
    checkpoints_in,
    entries_in,
    field_of,
    pack,
    pack_additions,
    pack_checkpoint,
    pack_write,
    reading,
    thread_row,
    unpack,
)
from langchain_agentmem.backends.redis.scripts import Changed, Invoke, InvokeAll, load_scripts, optional, slot
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import NOTHING_KNOWN, Known, ValueKey
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Program, storage_program

LUA = load_scripts("checkpoints.lua", "a thread")

KEYS = ("thread", "checkpoints", "order", "values", "elements", "writes", "runs")
_THREADS_AT_ONCE = 500
_AFTER_ALL = b"\xff"
"""A value that sorts after every namespace."""


class RedisCheckpoints:
    """Checkpoints on Redis. See `langchain_agentmem.backends.contract.CheckpointTable`."""

    # Writing

    @storage_program
    def secret(self, thread: ThreadKey, proposal: Typed, use: ThreadUse) -> Program[Typed]:
        return unpack(
            (yield from _write("secret", thread, use._replace(secret=None, next_secret=None), [pack(proposal)]))
        )

    @storage_program
    def stored_secret(
        self,
        thread: ThreadKey,
        now: float,
        *,
        lock: bool = False,  # noqa: ARG002 (a script with another secret changes nothing)
    ) -> Program[Typed | None]:
        secret = yield from invoke_thread("stored_secret", thread, (optional(now),))
        with reading(thread):
            return None if secret is None else unpack(secret)

    @storage_program
    def put(self, thread: ThreadKey, put: CheckpointPut, codec: Codec, use: ThreadUse) -> Program[bool]:
        row = pack_checkpoint(put, codec, use.now)
        additions = pack_additions(put.requires, put.values, put.elements)
        arguments = [field_of(put.row.key), row, optional(put.run_id), *additions]
        return bool((yield from _write("put", thread, use, arguments)))

    @storage_program
    def put_writes(self, thread: ThreadKey, put: WritesPut, use: ThreadUse) -> Program[bool]:
        additions = pack_additions(put.requires, put.values, put.elements)
        arguments = [field_of(put.checkpoint), len(put.writes), *map(pack_write, put.writes), *additions]
        return bool((yield from _write("put_writes", thread, use, arguments)))

    @storage_program
    def replace(
        self,
        thread: ThreadKey,
        put: CheckpointPut,
        changes: Sequence[tuple[StoredWrite, StoredWrite | None]],
        codec: Codec,
        use: ThreadUse,
    ) -> Program[bool]:
        row = pack_checkpoint(put, codec, use.now)
        records = [(pack_write(before), b"" if after is None else pack_write(after)) for before, after in changes]
        additions = pack_additions(put.requires, put.values, put.elements)
        arguments = [field_of(put.row.key), row, len(records), *(one for pair in records for one in pair), *additions]
        return bool((yield from _write("replace", thread, use, arguments)))

    # Reading

    @storage_program
    def get(
        self,
        thread: ThreadKey,
        namespace: str,
        checkpoint_id: str | None,
        codec: Codec,
        now: float,
        known: Mapping[ValueKey, Known] = NOTHING_KNOWN,
    ) -> Program[LoadedCheckpoint | None]:
        ends = [one for key, value in known.items() for one in (field_of(key), value.digest)]
        found = yield from invoke_thread("get", thread, (optional(now), namespace, checkpoint_id or "", *ends))
        if found is None:
            return None
        record, revision, *parts = found
        with reading(thread):
            (row,) = checkpoints_in(thread.thread_id, record, codec)
            answer = Answer.of([row], parts, known)
            number = None if revision is None else int(revision)
            return LoadedCheckpoint(row, answer.writes(row.key), answer.parts, number)

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
        wanted = (optional(now), "*" if namespace is None else f"={namespace}", checkpoint_id or "", before or "")

        def page_of(one: str, most: int) -> Invoke:
            return invoke_thread("page", ThreadKey(tenant, one), (*wanted, *_after(one, after), most))

        def read(threads: Sequence[str], most: int) -> Program[list[CheckpointRow]]:
            rows: list[CheckpointRow] = []
            for start in range(0, len(threads), _THREADS_AT_ONCE):
                some = threads[start : start + _THREADS_AT_ONCE]
                answers = yield from InvokeAll([page_of(one, most) for one in some])
                for one, records in zip(some, answers, strict=True):
                    with reading(ThreadKey(tenant, one)):
                        rows += checkpoints_in(one, records, codec)
                rows = sorted(rows, key=_order, reverse=True)[:limit]
            return rows

        if thread_id is not None:
            return (yield from read([thread_id], limit))
        # The page contains checkpoints only of those threads whose newest checkpoint is among the newest of all.
        every = yield from indexes.members(threads_index(tenant))
        heads = yield from read([member.decode() for member in every], 1)
        return (yield from read([row.thread_id for row in heads], limit))

    @storage_program
    def load(self, tenant: str, rows: Sequence[CheckpointRow]) -> Program[list[LoadedCheckpoint]]:
        by_thread: dict[str, list[CheckpointRow]] = {}
        for row in rows:
            by_thread.setdefault(row.thread_id, []).append(row)
        threads = [ThreadKey(tenant, thread_id) for thread_id in by_thread]
        answers = yield from InvokeAll(
            [
                _parts(thread, [row.key for row in group], None, [key for row in group for key in row.value_keys()])
                for thread, group in zip(threads, by_thread.values(), strict=True)
            ]
        )
        loaded: dict[tuple[str, CheckpointKey], LoadedCheckpoint] = {}
        for thread, group, found in zip(threads, by_thread.values(), answers, strict=True):
            with reading(thread):
                answer = Answer.of(group, _unchanged(found))
            for row in group:
                loaded[thread.thread_id, row.key] = LoadedCheckpoint(row, answer.writes(row.key), answer.parts)
        return [loaded[row.thread_id, row.key] for row in rows]

    @storage_program
    def ancestors(
        self, thread: ThreadKey, checkpoint: CheckpointKey, limit: int, codec: Codec, now: float = 0.0
    ) -> Program[list[CheckpointRow]]:
        records = yield from invoke_thread("ancestors", thread, (optional(now), *checkpoint, limit))
        with reading(thread):
            return checkpoints_in(thread.thread_id, records, codec)

    @storage_program
    def writes(
        self, thread: ThreadKey, checkpoints: Sequence[CheckpointKey], channels: Collection[str]
    ) -> Program[tuple[dict[CheckpointKey, list[StoredWrite]], Parts]]:
        found = yield from _parts(thread, checkpoints, channels, ())
        with reading(thread):
            answer = Answer.of([], _unchanged(found))
            return {checkpoint: answer.writes(checkpoint) for checkpoint in checkpoints}, answer.parts

    @storage_program
    def entries(
        self,
        thread: ThreadKey,
        *,
        lock: bool = True,  # noqa: ARG002 (`delete` compares)
    ) -> Program[list[CheckpointEntry]]:
        records = yield from invoke_thread("entries", thread)
        with reading(thread):
            return sorted(entries_in(records), key=lambda entry: entry.key.checkpoint_id)

    @storage_program
    def threads_of_runs(self, tenant: str, run_ids: Collection[str]) -> Program[list[str]]:
        threads = [member.decode() for member in (yield from indexes.members(threads_index(tenant)))]
        found: list[str] = []
        for start in range(0, len(threads), _THREADS_AT_ONCE):
            some = threads[start : start + _THREADS_AT_ONCE]
            answers = yield from InvokeAll(
                [invoke_thread("has_run", ThreadKey(tenant, one), tuple(run_ids)) for one in some]
            )
            found += [one for one, has_run in zip(some, answers, strict=True) if has_run]
        return found

    @storage_program
    def threads(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[ThreadRow]]:
        def describe(member: bytes) -> Invoke:
            return invoke_thread("describe", ThreadKey(tenant, member.decode()))

        def is_listed(found: Sequence[Any]) -> bool:
            _, _, created_at, _, expires_at, users, _ = found
            belongs = not isinstance(user_id, str) or user_id.encode() in users
            return created_at is not None and belongs and indexes.is_alive(expires_at, now)

        def has_no_user(found: Sequence[Any]) -> bool:
            last_user, _, _, _, _, users, _ = found
            return not last_user and not users

        index = _threads_of(tenant, user_id) if isinstance(user_id, str) else threads_index(tenant)
        entries = yield from indexes.listing(
            index, describe, is_listed, limit, offset, now, has_no_user if user_id is None else None
        )
        return [thread_row(member.decode(), *found) for member, found in entries]

    # Deleting

    @storage_program
    def delete(
        self,
        thread: ThreadKey,
        checkpoints: Collection[CheckpointKey],
        codec: Codec,  # noqa: ARG002 (the headers are not encrypted)
        known: Collection[CheckpointEntry],
        secrets: SecretChange | None = None,
    ) -> Program[None]:
        before = [field_of(entry.key) for entry in known]
        arguments = (*_secrets(secrets), len(before), *before, *map(field_of, checkpoints))
        if not (yield from invoke_thread("delete", thread, arguments)):
            raise Changed

    @storage_program
    def delete_thread(self, thread: ThreadKey) -> Program[None]:
        _, used, _, users = yield from invoke_thread("delete_thread", thread, ("",))
        if used is not None:
            yield from InvokeAll(unlist_steps(thread, users, float(used)))

    @storage_program
    def copy_thread(
        self, source: ThreadKey, target: ThreadKey, now: float, secrets: SecretChange | None = None
    ) -> Program[bool]:
        found = yield from invoke_thread("dump", source, (optional(now),))
        if found is None:
            return True
        users, ttl, *dumps = found
        use = ThreadUse(now, ttl=None if ttl is None else float(ttl))
        arguments = (identity_of_thread(target), optional(now), identity_of_thread(source), *_secrets(secrets), *dumps)
        steps = enlisted_thread(target, use, _users_in(users))
        (*_, copied) = yield from InvokeAll([*steps, invoke_thread("restore", target, arguments)])
        if copied < 0:
            raise Changed
        return bool(copied)

    @storage_program
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        found: set[str] = set()
        offset = 0
        while True:
            rows = yield from self.threads(tenant, OMITTED, _THREADS_AT_ONCE, offset, now)
            found.update(user for row in rows for user in row.users)
            if len(rows) < _THREADS_AT_ONCE:
                return list(found)
            offset += _THREADS_AT_ONCE

    @storage_program
    def forget_user(self, thread: ThreadKey, user_id: str, *, shared: bool) -> Program[bool | None]:
        deleted, used, users = yield from invoke_thread("forget_user", thread, (user_id, int(shared)))
        if deleted:
            yield from InvokeAll(unlist_steps(thread, users, float(used)))
        elif used is not None:
            tenant, name = thread
            listed = indexes.heal(_threads_of(tenant, user_id), [(name, float(used))])
            yield from InvokeAll([listed, indexes.remove_note(_expiring(tenant), name, user_id)])
        return None if used is None else bool(deleted)

    @storage_program
    def purge(self, tenant: str, user_id: str, now: float) -> Program[None]:
        """Remove threads that do not exist, or do not belong to a user, from the index of the user's threads."""
        members = yield from indexes.members(_threads_of(tenant, user_id))
        for start in range(0, len(members), _THREADS_AT_ONCE):
            some = members[start : start + _THREADS_AT_ONCE]
            found = yield from InvokeAll([invoke_thread("describe", ThreadKey(tenant, one.decode())) for one in some])
            gone = [one for one, (*_, users, _) in zip(some, found, strict=True) if user_id.encode() not in users]
            yield from indexes.heal(_threads_of(tenant, user_id), [(one, now) for one in gone])

    @storage_program
    def set_ttl(self, thread: ThreadKey, ttl: float | None, now: float) -> Program[bool]:
        found = yield from invoke_thread("set_ttl", thread, (optional(now), optional(ttl)))
        if found is None:
            return False
        expires, users = found
        index, name = _expiring(thread.tenant), thread.thread_id
        if ttl is None:
            yield from indexes.reschedule(index, [(name, "")])
        else:
            yield from indexes.schedule(index, name, float(expires), notes=_users_in(users))
        return True

    @storage_program
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        due = yield from indexes.due(_expiring(tenant), now, limit)
        threads = [ThreadKey(tenant, member.decode()) for member, _ in due]
        states = yield from InvokeAll([invoke_thread("delete_thread", thread, (optional(now),)) for thread in threads])
        steps: list[Invoke] = []
        deleted = 0
        for thread, (_, noted), (gone, _, expires, users) in zip(threads, due, states, strict=True):
            deleted += gone
            if gone:
                steps += unlist_steps(thread, b"\x00".join((noted, users)), now)
            else:
                steps.append(indexes.reschedule(_expiring(tenant), [(thread.thread_id, optional(expires))]))
        yield from InvokeAll(steps)
        return deleted

    def tally(self, query: StatisticsQuery, tally: Tally) -> Program[None]:
        """Count the threads, and what they contain."""
        times = [optional(query.now), *map(optional, query.ends)]

        def visit(threads: Sequence[str]) -> Program[None]:
            steps = [invoke_thread("tally", ThreadKey(query.tenant, one), times) for one in threads]
            for period, checkpoints, writes, users in filter(None, (yield from InvokeAll(steps))):
                tally.add("threads")
                tally.add("checkpoints", checkpoints)
                tally.add("pending_writes", writes)
                tally.expire("threads", one_in(period))
                tally.use(users=_users_in(users))

        yield from indexes.each(threads_index(query.tenant), visit)


def invoke_thread(name: str, thread: ThreadKey, arguments: Sequence[Any] = ()) -> Invoke:
    """Run a script on the keys of a thread."""
    return Invoke(LUA[name], _keys_of(thread), arguments)


@lru_cache(4096)
def _keys_of(thread: ThreadKey) -> tuple[str, ...]:
    prefix = slot("thread", *thread)
    return tuple(prefix + key for key in KEYS)


def _write(name: str, thread: ThreadKey, use: ThreadUse, arguments: Sequence[Any]) -> Program[Any]:
    """Run a script that writes to a thread, and return the first value of its answer."""
    secret = b"" if use.secret is None else pack(use.secret)
    following = b"" if use.next_secret is None else pack(use.next_secret)
    used = (identity_of_thread(thread), optional(use.now), use.user_id or "", optional(use.ttl), secret, following)
    named = [] if use.user_id is None else [use.user_id]
    (*_, (result, *users)) = yield from InvokeAll(
        [*enlisted_thread(thread, use, named), invoke_thread(name, thread, (*used, *arguments))]
    )
    others = [user for user in _users_in(*users) if user != use.user_id] if result else []
    if others:
        # The thread also belongs to these users, whom this write does not name.
        yield from InvokeAll(enlisted_thread(thread, use, others))
    return result


def _secrets(change: SecretChange | None) -> tuple[bytes, bytes]:
    """Return the expected and the new secret as arguments of scripts."""
    return (b"", b"") if change is None else (pack(change.expected), pack(change.new))


def _parts(
    thread: ThreadKey,
    checkpoints: Collection[CheckpointKey],
    channels: Collection[str] | None,
    values: Collection[ValueKey],
) -> Invoke:
    members = [field_of(key) for key in checkpoints]
    filter_ = (-1,) if channels is None else (len(channels), *channels)
    return invoke_thread("parts", thread, (len(members), *members, *filter_, *map(field_of, dict.fromkeys(values))))


def _unchanged(found: list[Any] | None) -> list[Any]:
    """Check that no checkpoint was deleted after the program read it.

    Raises:
        Changed: A checkpoint was deleted.
    """
    if found is None:
        raise Changed
    return found


def _users_in(users: bytes = b"") -> list[str]:
    """Return the users in an answer of a script."""
    return [user.decode() for user in users.split(b"\x00") if user]


def enlisted_thread(thread: ThreadKey, use: ThreadUse, users: Sequence[str]) -> list[Invoke]:
    """Return the steps that add a thread to the indexes, including those of some users."""
    tenant, name = thread
    steps = [indexes.enlist(threads_index(tenant), name, use.now)]
    steps += [indexes.enlist(_threads_of(tenant, user), name, use.now) for user in users]
    if use.ttl is not None:
        steps.append(indexes.schedule(_expiring(tenant), name, use.now + use.ttl, notes=users))
    return steps


def unlist_steps(thread: ThreadKey, users: bytes, used: float) -> list[Invoke]:
    """Return the steps that remove a thread from the indexes, unless it was used after a time."""
    tenant, name = thread
    gone = [(name, used)]
    steps = [indexes.heal(threads_index(tenant), gone), indexes.reschedule(_expiring(tenant), [(name, "")])]
    steps += [indexes.heal(_threads_of(tenant, user), gone) for user in dict.fromkeys(_users_in(users))]
    return steps


def threads_index(tenant: str) -> str:
    """Return the index of a tenant's threads."""
    return slot("tenant", tenant) + "threads"


def _threads_of(tenant: str, user_id: str) -> str:
    """Return the index of a user's threads."""
    return slot("threads", tenant, user_id) + "threads"


def _expiring(tenant: str) -> str:
    """Return the schedule of the threads that have a TTL. The notes are their users."""
    return slot("tenant", tenant) + "expiring-threads"


def identity_of_thread(thread: ThreadKey) -> bytes:
    """Return a thread's key as one byte string."""
    return ormsgpack.packb(tuple(thread))


def _after(thread_id: str, after: tuple[str, str, str] | None) -> tuple[str, str | bytes]:
    """Return the ID and the namespace after which the next page of a thread begins."""
    if after is None:
        return "", ""
    last_id, last_thread, last_namespace = after
    if thread_id == last_thread:
        return last_id, last_namespace
    return last_id, _AFTER_ALL if thread_id < last_thread else ""


def _order(row: CheckpointRow) -> tuple[str, str, str]:
    """Return the sort key of a checkpoint in a page."""
    return row.key.checkpoint_id, row.thread_id, row.key.namespace
