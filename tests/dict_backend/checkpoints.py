"""The checkpoint table."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

from dict_backend.programs import alive, program
from langchain_agentmem.arguments.omitted import OMITTED
from langchain_agentmem.backends.contract import (
    CheckpointEntry,
    CheckpointKey,
    CheckpointRow,
    LoadedCheckpoint,
    Parts,
    ThreadKey,
    ThreadRow,
)
from langchain_agentmem.encoding.layout import PLAIN, VALUE
from langchain_agentmem.encoding.references import each_reference


@dataclass
class Thread:
    created_at: float
    updated_at: float
    expires_at: float | None = None
    ttl: float | None = None
    secret: Any = None
    user_id: str | None = None
    users: dict[str, float] = field(default_factory=dict)
    checkpoints: dict[CheckpointKey, Any] = field(default_factory=dict)
    writes: dict[CheckpointKey, dict[tuple[str, int], Any]] = field(default_factory=dict)
    values: dict[Any, Any] = field(default_factory=dict)
    elements: dict[bytes, Any] = field(default_factory=dict)


class Checkpoints:
    def __init__(self) -> None:
        self._threads: dict[ThreadKey, Thread] = {}

    def _use(self, key: ThreadKey, use: Any) -> Thread:
        thread = self._threads.get(key)
        if not alive(thread, use.now):
            thread = self._threads[key] = Thread(use.now, use.now, ttl=use.ttl)
        thread.updated_at = max(thread.updated_at, use.now)
        if thread.ttl is not None:
            thread.expires_at = max(use.now + thread.ttl, thread.expires_at or 0.0)
        if use.user_id is not None:
            thread.user_id = use.user_id
            thread.users[use.user_id] = max(use.now, thread.users.get(use.user_id, 0.0))
        return thread

    @program
    def secret(self, thread, proposal, use):
        used = self._use(thread, use)
        used.secret = used.secret or proposal
        return used.secret

    @program
    def stored_secret(self, thread, now, *, lock=False):
        found = self._alive(thread, now)
        return found.secret if found else None

    @staticmethod
    def _accepts(thread: Thread, put: Any, use: Any) -> bool:
        if use.secret is not None:
            if use.next_secret is None:
                thread.secret = thread.secret or use.secret
            if thread.secret != use.secret:
                return False
        return all(
            key in thread.values and digest in ("", thread.values[key].digest) for key, digest in put.requires.items()
        )

    @staticmethod
    def _add(thread: Thread, put: Any, use: Any) -> None:
        thread.secret = use.next_secret or thread.secret
        thread.values.update({value.key: value for value in put.values if value.key not in thread.values})
        thread.elements.update(put.elements)

    @program
    def put(self, thread, put, codec, use):
        used = self._use(thread, use)
        if not self._accepts(used, put, use) or any(value.key in used.values for value in put.values):
            return False
        document = codec.dump_document(put.row._asdict() | {"thread_id": "", "key": None})
        used.checkpoints[put.row.key] = (put.row.parent_id, put.run_id, use.now, document)
        self._add(used, put, use)
        return True

    @program
    def replace(self, thread, put, changes, codec, use):
        used = self._threads.get(thread)
        if used is None or put.row.key not in used.checkpoints or not self._accepts(used, put, use):
            return False
        document = codec.dump_document(put.row._asdict() | {"thread_id": "", "key": None})
        used.checkpoints[put.row.key] = (put.row.parent_id, put.run_id, use.now, document)
        writes = used.writes.get(put.row.key, {})
        for before, after in changes:
            place = before.task_id, before.write_index
            if writes.get(place) == before:
                if after is None:
                    del writes[place]
                else:
                    writes[place] = after
        self._add(used, put, use)
        return True

    @program
    def put_writes(self, thread, put, use):
        used = self._use(thread, use)
        if not self._accepts(used, put, use):
            return False
        writes = used.writes.setdefault(put.checkpoint, {})
        for write in put.writes:
            if write.write_index < 0 or (write.task_id, write.write_index) not in writes:
                writes[write.task_id, write.write_index] = write
        self._add(used, put, use)
        return True

    def _row(self, thread_id: str, thread: Thread, key: CheckpointKey, codec: Any) -> Any:
        parent_id, *_, document = thread.checkpoints[key]
        known = codec.load_document(document)
        return checkpoint_row(thread_id, key, parent_id, known)

    def _alive(self, key: ThreadKey, now: float = -math.inf) -> Thread | None:
        thread = self._threads.get(key)
        return thread if alive(thread, now) else None

    def living(self, tenant: str, now: float) -> list[Thread]:
        return [one for key, one in self._threads.items() if key.tenant == tenant and alive(one, now)]

    @program
    def get(self, thread, namespace, checkpoint_id, codec, now, known=None):
        found = self._alive(thread, now)
        keys = [
            key
            for key in (found.checkpoints if found else ())
            if key.namespace == namespace and checkpoint_id in (None, key.checkpoint_id)
        ]
        if not keys:
            return None
        return self._load(found, [self._row(thread.thread_id, found, max(keys), codec)])[0]

    @program
    def page(self, tenant, thread_id, namespace, checkpoint_id, before, after, limit, codec, now):
        rows = [
            (key.checkpoint_id, own.thread_id, key.namespace)
            for own, thread in self._threads.items()
            if own.tenant == tenant and thread_id in (None, own.thread_id) and alive(thread, now)
            for key in thread.checkpoints
            if namespace in (None, key.namespace)
            and checkpoint_id in (None, key.checkpoint_id)
            and (before is None or key.checkpoint_id < before)
        ]
        page = [row for row in sorted(rows, reverse=True) if after is None or row < after][:limit]
        return [
            self._row(own, self._threads[ThreadKey(tenant, own)], CheckpointKey(space, id_), codec)
            for id_, own, space in page
        ]

    @program
    def load(self, tenant, rows):
        return [self._load(self._threads[ThreadKey(tenant, row.thread_id)], [row])[0] for row in rows]

    def _writes(self, thread: Thread | None, key: CheckpointKey) -> list[Any]:
        writes = thread.writes.get(key, {}) if thread else {}
        return sorted(writes.values(), key=lambda one: (one.task_path, one.task_id, one.write_index))

    def _load(self, thread: Thread, rows: list[Any]) -> list[LoadedCheckpoint]:
        pending = {row.key: self._writes(thread, row.key) for row in rows}
        parts = Parts.of(rows, pending, thread.values, thread.elements, thread.secret)
        return [LoadedCheckpoint(row, pending[row.key], parts) for row in rows]

    @program
    def ancestors(self, thread, checkpoint, limit, codec, now=0.0):
        found, line = self._alive(thread, now), []
        while found and checkpoint in found.checkpoints and len(line) < limit:
            line.append(self._row(thread.thread_id, found, checkpoint, codec))
            if line[-1].parent_id is None:
                break
            checkpoint = CheckpointKey(checkpoint.namespace, line[-1].parent_id)
        return line

    @program
    def writes(self, thread, checkpoints, channels):
        found = self._alive(thread)
        pending = {key: [one for one in self._writes(found, key) if one.channel in channels] for key in checkpoints}
        parts = found or Thread(0.0, 0.0)
        return pending, Parts.of([], pending, parts.values, parts.elements, parts.secret)

    @program
    def entries(self, thread, *, lock=True):
        found = self._alive(thread)
        every = sorted((found.checkpoints if found else {}).items(), key=lambda one: one[0].checkpoint_id)
        return [CheckpointEntry(key, parent, run_id, created) for key, (parent, run_id, created, _) in every]

    @program
    def threads_of_runs(self, tenant, run_ids):
        return [
            key.thread_id
            for key, thread in self._threads.items()
            if key.tenant == tenant and any(run_id in run_ids for _, run_id, *_ in thread.checkpoints.values())
        ]

    @program
    def delete(self, thread, checkpoints, codec, known, secrets=None):
        found = self._threads[thread]
        found.secret = secrets.new if secrets else found.secret
        for key in checkpoints:
            found.checkpoints.pop(key, None)
            found.writes.pop(key, None)
        for key, (parent, *rest) in list(found.checkpoints.items()):
            if parent is not None and CheckpointKey(key.namespace, parent) not in found.checkpoints:
                found.checkpoints[key] = (None, *rest)
        rows = [self._row(thread.thread_id, found, key, codec) for key in found.checkpoints]
        needed = {key for row in rows for key in row.value_keys()}
        pending = [(key, one) for key, writes in found.writes.items() for one in writes.values()]
        needed |= {value for key, one in pending if (value := one.value_key(key.namespace))}
        for key in list(needed):
            while key in found.values and (base := found.values[key].base) is not None and base not in needed:
                needed.add(base)
                key = base
        found.values = {key: value for key, value in found.values.items() if key in needed}
        runs = [value.data for value in found.values.values() if value.kind != PLAIN]
        runs += [one.data for _, one in pending if one.kind not in (PLAIN, VALUE)]
        held = {reference for one in runs for reference in each_reference(one)}
        found.elements = {key: element for key, element in found.elements.items() if key in held}

    @program
    def delete_thread(self, thread):
        self._threads.pop(thread, None)

    @program
    def copy_thread(self, source, target, now, secrets=None):
        found, taken = self._alive(source, now), self._alive(target, now)
        if found is None:
            return True
        if taken is not None and (taken.checkpoints or taken.writes):
            return False
        twin = self._threads[target] = copy.deepcopy(found)
        twin.created_at = twin.updated_at = now
        twin.secret = secrets.new if secrets else twin.secret
        return True

    @program
    def threads(self, tenant, user_id, limit, offset, now):
        listed = [
            ThreadRow(
                key.thread_id,
                thread.user_id,
                len(thread.checkpoints),
                thread.created_at,
                thread.updated_at,
                thread.expires_at,
                dict(sorted(thread.users.items(), key=lambda one: one[1])),
            )
            for key, thread in self._threads.items()
            if key.tenant == tenant
            and alive(thread, now)
            and (user_id is OMITTED or (not thread.users if user_id is None else user_id in thread.users))
        ]
        listed.sort(key=lambda row: row.updated_at, reverse=True)
        return listed[offset : None if limit is None else offset + limit]

    @program
    def users(self, tenant, now):
        return list(
            {
                user
                for key, one in self._threads.items()
                if key.tenant == tenant and alive(one, now)
                for user in one.users
            }
        )

    @program
    def forget_user(self, thread, user_id, *, shared):
        found = self._threads.get(thread)
        if found is None or user_id not in found.users:
            return None
        if shared or len(found.users) == 1:
            del self._threads[thread]
            return True
        del found.users[user_id]
        if found.user_id == user_id:
            found.user_id = max(found.users, key=lambda user: (found.users[user], user))
        return False

    @program
    def set_ttl(self, thread, ttl, now):
        found = self._alive(thread, now)
        if found is not None:
            found.ttl, found.expires_at = ttl, None if ttl is None else max(now, found.updated_at) + ttl
        return found is not None

    @program
    def sweep(self, tenant, now, limit):
        expired = [key for key, one in self._threads.items() if key.tenant == tenant and not alive(one, now)][:limit]
        for key in expired:
            del self._threads[key]
        return len(expired)


def checkpoint_row(thread_id: str, key: CheckpointKey, parent_id: str | None, known: dict[str, Any]) -> CheckpointRow:
    return CheckpointRow(
        thread_id, key, parent_id, known["checkpoint"], known["metadata"], known["inline"], known["stored"]
    )
