"""`memory.forget()`: delete everything that is stored about a user.

The deletion is a sequence of bounded transactions. Each of them finds what is left, so a call after an interruption continues
where the former one stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import Backend, SessionKey, ThreadKey, ThreadRow
from langchain_agentmem.backends.notes import notes_of_thread
from langchain_agentmem.caching.engine import cleared
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.knowledge.extraction.speakers import speakers_of
from langchain_agentmem.knowledge.forgetting import count_knowledge, forget_knowledge, write_tombstone
from langchain_agentmem.knowledge.namespaces import (
    ENTITIES,
    FACTS,
    FORGOTTEN,
    LABELS,
    MEMORIES,
    PROFILE,
    RELATIONS,
    SEEN,
    Namespace,
    user_namespace,
)
from langchain_agentmem.programs import Program, Read, Write, storage_program, together
from langchain_agentmem.programs.caches import clear_caches
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.text.tables import html_table

if TYPE_CHECKING:
    from langchain_agentmem.knowledge.extraction.scheduler import Schedule

Shared = Literal["keep", "delete"]

_IDS_AT_ONCE = 500
_SESSIONS_AT_ONCE = 20
_MESSAGES_AT_ONCE = 2_000
_RECORDS_AT_ONCE = 500
_MAX_ROUNDS = 10
"""Upper bound of the rounds of deletion beyond those that the stored records need: another process may add records."""

_KINDS = {
    PROFILE: "profiles",
    FACTS: "facts",
    MEMORIES: "memories",
    ENTITIES: "entities",
    RELATIONS: "relations",
    FORGOTTEN: "tombstones",
    SEEN: "markers",
}
"""The kinds of items in a receipt, by the second label of the namespace."""


_POINTER = "memory.find_traces(user_id) names other places that hold the ID, such as items of the application."


class Kept(NamedTuple):
    """Data that `forget` kept."""

    kind: str
    """`"thread"` or `"namespace"`."""
    name: str
    """The ID of the thread, or the labels of the namespace, joined by slashes."""
    reason: str


class _Sessions(NamedTuple):
    """The numbers of deleted sessions, and of their messages and variables."""

    sessions: int = 0
    messages: int = 0
    variables: int = 0

    def plus(self, other: _Sessions) -> _Sessions:
        """Return the sums."""
        return _Sessions(*map(sum, zip(self, other, strict=True)))


@dataclass(frozen=True, repr=False)
class Forgotten:
    """The receipt of `forget`. It is not stored anywhere."""

    deleted: Mapping[str, int]
    """The number of deleted objects by kind; of a dry run, the number of objects that would be deleted."""
    forgotten_at: datetime
    """The time at which the call began, in UTC."""
    kept: tuple[Kept, ...] = ()
    """Threads of several users, and namespaces of the application with the user's root label or ID as a label. `find_traces`
    names other places that contain the ID, such as values of items."""
    user_id: str = ""
    """The user."""
    dry_run: bool = False
    """True for the result of a dry run, which deleted nothing."""

    def __repr__(self) -> str:
        fields = f"user_id={self.user_id!r}, dry_run={self.dry_run}, deleted={dict(self.deleted)!r}"
        return f"Forgotten({fields}, forgotten_at={self.forgotten_at!r}, kept={self.kept!r}). {_POINTER}"

    def _repr_html_(self) -> str:
        deleted = [(kind, number, None) for kind, number in self.deleted.items()]
        kept = [(f"{one.kind} {one.name}", None, one.reason) for one in self.kept]
        moment = f"{self.forgotten_at:%Y-%m-%d %H:%M} UTC"
        done = (
            f"Dry run for {self.user_id} at {moment}: nothing was deleted."
            if self.dry_run
            else f"Forgotten at {moment}."
        )
        header = ("what", "would delete" if self.dry_run else "deleted", "kept because")
        return html_table([*deleted, *kept], header=header, caption=f"{done} {_POINTER}")


class Forgetting:
    """One call of `forget`.

    Args:
        history: The engine of the history.
        store: The engine of the store.
        checkpoints: The engine of the checkpointer.
        schedules: The schedules of background extraction of this process.
        user_id: The user.
        shared: `"delete"` deletes threads with other users too; `"keep"` keeps them.

    Raises:
        InvalidInputError: The user's ID or `shared` is not accepted.
    """

    def __init__(
        self,
        history: HistoryEngine,
        store: StoreEngine,
        checkpoints: CheckpointEngine,
        schedules: Iterable[Schedule],
        user_id: str,
        shared: Shared,
    ) -> None:
        if shared not in ("keep", "delete"):
            msg = f"shared must be 'keep' or 'delete', got {shown(shared)}."
            raise InvalidInputError(msg)
        self._history = history
        self._store = store
        self._checkpoints = checkpoints
        self._schedules = schedules
        self._user_id = check_id("user_id", user_id)
        self._shared = shared == "delete"
        self._backend: Backend = store.backend
        self._tenant = store.tenant
        self._began = time.time()
        self._deleted: dict[str, int] = {}
        self._kept: list[Kept] = []

    def program(self) -> Program[Forgotten]:
        """Delete everything that is stored about the user, and return the receipt."""
        yield from write_tombstone(self._store, self._user_id)
        try:
            self._deleted["jobs"] = sum(one.forget(self._user_id) for one in self._schedules)
            yield from self._forget_records()
            yield from self._forget_sessions()
            variables = self._backend.variables.forget(self._tenant, self._user_id, self._began)
            self._deleted["variables"] += yield from Write(self._backend, variables)
            yield from self._forget_threads()
            self._deleted["cache_entries"] = yield from cleared(self._backend, self._tenant)
            counts = yield from forget_knowledge(self._store, self._user_id)
            self._deleted.update({kind: counts[label] for label, kind in _KINDS.items()})
            yield from self._name_namespaces()
            (root,) = user_namespace(self._user_id)
            yield from Write(self._backend, self._backend.purge(self._tenant, self._user_id, root, self._began))
        finally:
            self._clear_caches()
        return self._receipt(dry_run=False)

    def preview(self) -> Program[Forgotten]:
        """Count what `program` would delete, and return the receipt that it would return. Nothing is changed."""
        self._deleted["jobs"] = sum(one.waiting_of(self._user_id) for one in self._schedules)
        self._deleted["records"] = yield from Read(
            self._backend, self._backend.records.count(self._tenant, self._user_id)
        )
        total = _Sessions()
        after: str | None = None
        while True:
            page = self._backend.messages.session_ids(self._tenant, self._user_id, after, _IDS_AT_ONCE)
            ids = yield from Read(self._backend, page)
            for one in ids:
                key = SessionKey(self._tenant, self._user_id, one)
                messages, variables = yield from Read(self._backend, _contents(self._backend, key))
                total = total.plus(_Sessions(1, messages, variables))
            if len(ids) < _IDS_AT_ONCE:
                break
            after = ids[-1]
        own = self._backend.transfer.variables(self._tenant, self._user_id, self._began)
        variables = len((yield from Read(self._backend, own)))
        threads = 0
        for row in (yield from self._threads()):
            if self._shared or row.users.keys() == {self._user_id}:
                threads += 1
            else:
                self._keep_thread(row)
        counts = yield from count_knowledge(self._store, self._user_id)
        self._deleted.update(total._asdict())
        self._deleted["variables"] += variables
        self._deleted["threads"] = threads
        entries = self._backend.cache.count(self._tenant, math.inf, self._began)
        self._deleted["cache_entries"] = yield from Read(self._backend, entries)
        self._deleted.update({kind: counts[label] for label, kind in _KINDS.items()})
        yield from self._name_namespaces({user_namespace(self._user_id, label) for label in LABELS})
        return self._receipt(dry_run=True)

    def _receipt(self, *, dry_run: bool) -> Forgotten:
        began = datetime.fromtimestamp(self._began, UTC)
        return Forgotten(self._deleted, began, tuple(self._kept), self._user_id, dry_run)

    def _forget_records(self) -> Program[None]:
        records, user = self._backend.records, self._user_id
        stored = yield from Read(self._backend, records.count(self._tenant, user))
        deleted = 0
        for _ in range(stored // _RECORDS_AT_ONCE + _MAX_ROUNDS):
            pruned = yield from Write(self._backend, records.prune(self._tenant, user, None, _RECORDS_AT_ONCE))
            deleted += pruned
            if not pruned:
                break
        self._deleted["records"] = deleted

    def _forget_sessions(self) -> Program[None]:
        total = _Sessions()
        after: str | None = None
        while True:
            page = self._backend.messages.session_ids(self._tenant, self._user_id, after, _IDS_AT_ONCE)
            ids = yield from Read(self._backend, page)
            keys = [SessionKey(self._tenant, self._user_id, one) for one in ids]
            while keys:
                deletion = _delete_sessions(self._backend, keys[:_SESSIONS_AT_ONCE])
                done, deleted = yield from Write(self._backend, deletion)
                keys, total = keys[done:], total.plus(deleted)
            if len(ids) < _IDS_AT_ONCE:
                break
            after = ids[-1]
        self._deleted.update(total._asdict())

    def _forget_threads(self) -> Program[None]:
        self._deleted["threads"] = 0
        for row in (yield from self._threads()):
            thread = ThreadKey(self._tenant, row.thread_id)
            is_alone = row.users.keys() == {self._user_id}
            deletion = _forget_thread(self._backend, thread, self._user_id, shared=self._shared, is_alone=is_alone)
            deleted = yield from Write(self._backend, deletion)
            self._checkpoints.known.forget(thread)
            if deleted:
                self._deleted["threads"] += 1
            elif deleted is False:
                self._keep_thread(row)

    def _keep_thread(self, row: ThreadRow) -> None:
        self._kept.append(Kept("thread", row.thread_id, "It has other users. Pass shared='delete' to delete it."))

    def _threads(self) -> Program[list[ThreadRow]]:
        """Return all threads of the user, including those that have expired."""
        found: list[ThreadRow] = []
        while True:
            threads = self._backend.checkpoints.threads(self._tenant, self._user_id, _IDS_AT_ONCE, len(found), 0.0)
            page = yield from Read(self._backend, threads)
            found += page
            if len(page) < _IDS_AT_ONCE:
                return found

    def _name_namespaces(self, besides: Container[Namespace] = ()) -> Program[None]:
        """Add the namespaces of the application with the user's root label or ID as a label to those that were kept.

        Args:
            besides: Namespaces of the user's knowledge that were not deleted yet. Default: none.
        """
        labels = {*user_namespace(self._user_id), self._user_id}
        found = yield from Read(self._backend, self._backend.items.namespaces(self._tenant, (), self._began))
        reason = "The application stored these items. Delete them with memory.store.delete."
        own = [one for one in found if not labels.isdisjoint(one) and one not in besides]
        self._kept += [Kept("namespace", "/".join(one), reason) for one in own]

    def _clear_caches(self) -> None:
        self._store.cache.clear()
        clear_caches()
        run_rows = self._history.run_rows
        for key in [key for key in run_rows or () if key.user_id == self._user_id]:
            (run_rows or {}).pop(key, None)


@storage_program
def _delete_sessions(backend: Backend, keys: Sequence[SessionKey]) -> Program[tuple[int, _Sessions]]:
    """Delete sessions until many messages were deleted. Return the number of sessions read, and what was deleted."""
    total = _Sessions()
    for done, key in enumerate(keys, 1):
        messages, variables = yield from _contents(backend, key)
        deleted = yield from backend.messages.delete(key)
        total = total.plus(_Sessions(int(deleted), messages, variables))
        if total.messages >= _MESSAGES_AT_ONCE:
            return done, total
    return len(keys), total


@storage_program
def _contents(backend: Backend, key: SessionKey) -> Program[tuple[int, int]]:
    """Return the numbers of messages and variables of a session."""
    contents = (backend.messages.count(key, None, 0.0), backend.stale.session_variables(key, 0.0))
    messages, variables = yield from together(contents)
    return messages, len(variables)


@storage_program
def _forget_thread(
    backend: Backend, thread: ThreadKey, user_id: str, *, shared: bool, is_alone: bool
) -> Program[bool | None]:
    """Delete a thread with the notes about it, or remove the user from it; see `CheckpointTable.forget_user`."""
    # The notes come first where a backend stores each step at once: after an interruption, the thread is still listed.
    if shared or is_alone:
        yield from clear_notes(backend, thread)
    deleted = yield from backend.checkpoints.forget_user(thread, user_id, shared=shared)
    if deleted:
        yield from clear_notes(backend, thread)
    return deleted


def clear_notes(backend: Backend, thread: ThreadKey) -> Program[None]:
    """Delete the notes about a thread, and those about the users of its messages."""
    now = time.time()
    yield from notes_of_thread(backend, thread).clear(now)
    yield from speakers_of(backend, thread.tenant, thread.thread_id).clear(now)
