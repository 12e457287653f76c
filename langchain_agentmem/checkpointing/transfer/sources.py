"""Sources of a copy: which threads and checkpoints a saver has, and the checkpoints themselves, oldest first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple, writes_sort_key

from langchain_agentmem.backends.contract import StoredWrite, ThreadKey
from langchain_agentmem.checkpointing.arguments import thread_id_of
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.checkpointing.loader import reading_thread
from langchain_agentmem.checkpointing.scan import Scan, read_page
from langchain_agentmem.checkpointing.transfer.calls import (
    Ids,
    Saver,
    SaverCall,
    SaverIds,
    SaverPage,
    SaverRows,
    ValkeyNamespaces,
    is_kind,
    thread_config,
)
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.programs import OffLoop, Program, Read
from langchain_agentmem.programs.sizes import is_large

_COMPACT = "agentmem"
"""The type of our own checkpoints in LangGraph's tables."""


class Slot(NamedTuple):
    """The index of a pending write within its task, and the path of the task."""

    write_index: int
    path: str


class Found(NamedTuple):
    """A checkpoint of a source, with the slots of its pending writes in the same order."""

    saved: CheckpointTuple
    slots: Sequence[Slot]


class Source:
    """The threads of a saver of any package.

    Args:
        saver: The saver.
    """

    def __init__(self, saver: Saver) -> None:
        self.saver = saver
        self._listed: Ids | None = None

    def key(self, thread_id: Any) -> Any:
        """Return a thread ID as the saver stores it."""
        return thread_id

    def threads(self) -> Program[list[Any]]:
        """Return the IDs of all threads.

        Raises:
            InvalidInputError: The saver cannot list its threads.
        """
        try:
            self._listed = yield from SaverIds(self.saver, None)
        except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError) as error:
            msg = (
                f"{type(self.saver).__name__} cannot list its threads. Pass their IDs, for example thread_ids=['1']. "
                f"Cause: {type(error).__name__}: {error}."
            )
            raise InvalidInputError(msg) from error
        return list(self._listed)

    def checkpoints(self, thread_id: Any) -> Program[dict[str, list[str]]]:
        """Return the checkpoint IDs of a thread by namespace, oldest first."""
        if self._listed is None:
            listed = yield from SaverIds(self.saver, thread_config(thread_id))
            found = next(iter(listed.values()), {})
        else:
            found = self._listed.get(thread_id, {})
        return {namespace: sorted(ids) for namespace, ids in found.items()}

    def page(self, thread_id: Any, namespace: str, ids: Sequence[str], following: str | None) -> Program[list[Found]]:
        """Return checkpoints, oldest first. A checkpoint that was deleted concurrently is missing in the result.

        Args:
            thread_id: The thread.
            namespace: The namespace.
            ids: The checkpoint IDs, oldest first, without gaps.
            following: The next checkpoint; None if the last ID is that of the newest.
        """
        listed = yield from SaverPage(self.saver, thread_id, namespace, following, len(ids))
        by_id = {one.checkpoint["id"]: one for one in listed}
        saved: list[CheckpointTuple] = []
        for checkpoint_id in ids:
            one = by_id.get(checkpoint_id)
            if one is None:  # newer checkpoints were added concurrently
                one = yield from SaverCall(self.saver, "get_tuple", thread_config(thread_id, namespace, checkpoint_id))
            if one is not None:
                saved.append(one)
        slots = yield from self.slots(thread_id, namespace, saved)
        return [Found(one, slots.get(one.checkpoint["id"]) or inferred_slots(one)) for one in saved]

    def slots(
        self,
        thread_id: Any,  # noqa: ARG002 (derived classes read it)
        namespace: str,  # noqa: ARG002
        saved: Sequence[CheckpointTuple],  # noqa: ARG002
    ) -> Program[dict[str, list[Slot]]]:
        """Return the slots of the pending writes of checkpoints, where the saver's storage is known."""
        yield from ()
        return {}

    def users(self, thread_id: Any) -> Program[dict[str, float]]:  # noqa: ARG002 (the metadata names them)
        """Return the users of a thread that its checkpoints do not name, with the time of each user's last turn."""
        yield from ()
        return {}


class TableSource(Source):
    """The threads of a `PostgresSaver` or `SqliteSaver`: SQL finds the IDs without reading any value."""

    def key(self, thread_id: Any) -> Any:
        return str(thread_id)

    def threads(self) -> Program[list[Any]]:
        rows = yield from SaverRows(self.saver, "SELECT DISTINCT thread_id FROM checkpoints")
        return sorted(thread_id for (thread_id,) in rows)

    def checkpoints(self, thread_id: Any) -> Program[dict[str, list[str]]]:
        statement = "SELECT checkpoint_ns, checkpoint_id, type FROM checkpoints WHERE thread_id = {}"
        found: dict[str, list[str]] = {}
        for namespace, checkpoint_id, type_ in (yield from SaverRows(self.saver, statement, (thread_id,))):
            if type_ == _COMPACT:
                msg = (
                    f"AgentMemSaver has written to the thread {thread_id!r}, in a layout that "
                    f"{type(self.saver).__name__} cannot read. Pass an AgentMemSaver of the same database as the source."
                )
                raise InvalidInputError(msg)
            found.setdefault(namespace, []).append(checkpoint_id)
        return {namespace: sorted(ids) for namespace, ids in found.items()}

    def slots(self, thread_id: Any, namespace: str, saved: Sequence[CheckpointTuple]) -> Program[dict[str, list[Slot]]]:
        wanted = [one.checkpoint["id"] for one in saved if one.pending_writes]
        if not wanted:
            return {}
        table = "checkpoint_writes" if is_kind(self.saver, "postgres") else "writes"
        path = "task_path" if getattr(self.saver, "_has_task_path", True) else "''"
        marks = ", ".join(["{}"] * len(wanted))
        statement = (
            f"SELECT checkpoint_id, {path}, task_id, idx FROM {table} "
            f"WHERE thread_id = {{}} AND checkpoint_ns = {{}} AND checkpoint_id IN ({marks})"
        )
        rows = yield from SaverRows(self.saver, statement, (thread_id, namespace, *wanted))
        return _matching(saved, rows)


class InMemorySource(Source):
    """The threads of an `InMemorySaver`, which stores IDs as they are given; a graph gives it strings."""

    def key(self, thread_id: Any) -> Any:
        return thread_id if thread_id in self.saver.storage else str(thread_id)  # type: ignore[attr-defined]

    def threads(self) -> Program[list[Any]]:
        yield from ()
        storage = self.saver.storage  # type: ignore[attr-defined]
        return [thread_id for thread_id, namespaces in list(storage.items()) if any(namespaces.values())]

    def checkpoints(self, thread_id: Any) -> Program[dict[str, list[str]]]:
        yield from ()
        found = self.saver.storage.get(thread_id, {})  # type: ignore[attr-defined]
        return {namespace: sorted(ids) for namespace, ids in list(found.items()) if ids}

    def slots(self, thread_id: Any, namespace: str, saved: Sequence[CheckpointTuple]) -> Program[dict[str, list[Slot]]]:
        yield from ()
        rows = []
        for one in saved:
            checkpoint_id = one.checkpoint["id"]
            writes = self.saver.writes.get((thread_id, namespace, checkpoint_id), {})  # type: ignore[attr-defined]
            rows += [(checkpoint_id, path, task_id, index) for (task_id, index), (*_, path) in writes.items()]
        return _matching(saved, rows)


class ValkeySource(Source):
    """The threads of a `ValkeySaver`, which lists the checkpoints of one namespace only."""

    def __init__(self, saver: Saver) -> None:
        super().__init__(saver)
        self._namespaces: dict[str, list[str]] | None = None

    def key(self, thread_id: Any) -> Any:
        return str(thread_id)

    def threads(self) -> Program[list[Any]]:
        self._namespaces = yield from ValkeyNamespaces(self.saver)
        return sorted(self._namespaces)

    def checkpoints(self, thread_id: Any) -> Program[dict[str, list[str]]]:
        if self._namespaces is None:
            yield from self.threads()
        found = {}
        for namespace in (self._namespaces or {}).get(thread_id, []):
            ids = yield from SaverIds(self.saver, thread_config(thread_id, namespace))
            found[namespace] = sorted({one for by_name in ids.values() for own in by_name.values() for one in own})
        return found


class OwnSource(Source):
    """The threads of an `AgentMemSaver`."""

    def __init__(self, saver: Saver, engine: CheckpointEngine) -> None:
        super().__init__(saver)
        self._engine = engine
        self._users: dict[str, dict[str, float]] = {}

    def key(self, thread_id: Any) -> Any:
        return thread_id_of("thread_id", thread_id)

    def threads(self) -> Program[list[Any]]:
        listed = yield from self._engine.threads()
        for one in listed:
            self._users[one.thread_id] = {user: used.timestamp() for user, used in one.users.items()}
        return [one.thread_id for one in listed]

    def checkpoints(self, thread_id: Any) -> Program[dict[str, list[str]]]:
        return (yield from stored_checkpoints(self._engine, ThreadKey(self._engine.tenant, thread_id)))

    def page(self, thread_id: Any, namespace: str, ids: Sequence[str], following: str | None) -> Program[list[Found]]:
        engine = self._engine
        found: list[Found] = []
        before = None if following is None else thread_config(thread_id, namespace, following)
        scan: Scan | None = Scan.of(thread_config(thread_id, namespace), None, before, None)
        wanted = set(ids)
        with reading_thread(thread_id):
            while scan is not None and len(found) < len(ids):
                page = yield from Read(
                    engine.backend,
                    read_page(engine.backend.checkpoints, engine.tenant, scan, engine.codec, len(ids)),
                )
                loaded, scan = page
                yield from OffLoop(is_large([one.parts for one in loaded]))
                found += [
                    _own_found(engine.loader.tuple(one, one.row.thread_id), one.writes)
                    for one in loaded
                    if one.row.key.checkpoint_id in wanted
                ]
                if loaded and loaded[-1].row.key.checkpoint_id < ids[0]:
                    break
        return found[::-1]

    def users(self, thread_id: Any) -> Program[dict[str, float]]:
        if thread_id not in self._users:
            yield from self.threads()
        return self._users.get(thread_id, {})


def stored_checkpoints(engine: CheckpointEngine, thread: ThreadKey) -> Program[dict[str, list[str]]]:
    """Return the checkpoint IDs of one of our threads by namespace, oldest first; empty if the thread has expired."""
    table = engine.backend.checkpoints
    found: dict[str, list[str]] = {}
    with reading_thread(thread.thread_id):
        # `entries` does not look at the expiry.
        alive = yield from Read(
            engine.backend,
            table.page(thread.tenant, thread.thread_id, None, None, None, None, 1, engine.codec, time.time()),
        )
        if alive:
            for entry in (yield from Read(engine.backend, table.entries(thread, lock=False))):
                found.setdefault(entry.key.namespace, []).append(entry.key.checkpoint_id)
    return {namespace: sorted(ids) for namespace, ids in found.items()}


def source_of(saver: Saver) -> Source:
    """Return the source for a saver."""
    engine = getattr(saver, "engine", None)
    if isinstance(engine, CheckpointEngine):
        return OwnSource(saver, engine)
    if is_kind(saver, "postgres") or is_kind(saver, "sqlite"):
        return TableSource(saver)
    if is_kind(saver, "memory"):
        return InMemorySource(saver)
    return ValkeySource(saver) if is_kind(saver, "valkey") else Source(saver)


def _own_found(saved: CheckpointTuple, writes: Sequence[StoredWrite]) -> Found:
    slots = [Slot(write.write_index, write.task_path) for write in writes]
    dropped = len(slots) != len(saved.pending_writes or ())  # by the saver's function `migrate`
    return Found(saved, inferred_slots(saved) if dropped else slots)


def inferred_slots(saved: CheckpointTuple) -> list[Slot]:
    """Return slots that keep the order of a checkpoint's pending writes, for a saver that does not reveal task paths."""
    writes = saved.pending_writes or []
    counts: dict[str, int] = {}
    indexes: list[int] = []
    for task_id, channel, _ in writes:
        special = WRITES_IDX_MAP.get(channel)
        if special is None:
            special = counts.get(task_id, 0)
            counts[task_id] = special + 1
        indexes.append(special)
    keys = [writes_sort_key("", task_id, index) for (task_id, *_), index in zip(writes, indexes, strict=True)]
    if keys == sorted(keys):
        return [Slot(index, "") for index in indexes]
    # Digits sort before the `~` with which LangGraph's task paths begin: writes that follow later stay behind these.
    return [Slot(index, f"{at:08}") for at, index in enumerate(indexes)]


def _matching(saved: Sequence[CheckpointTuple], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Slot]]:
    """Return the slots of each checkpoint whose rows fit its pending writes; others had writes added concurrently."""
    by_id: dict[str, list[tuple[str, str, int]]] = {}
    for checkpoint_id, path, task_id, index in rows:
        by_id.setdefault(checkpoint_id, []).append(writes_sort_key(path, str(task_id), index))
    slots = {}
    for one in saved:
        keys = sorted(by_id.get(one.checkpoint["id"], []))
        if [task_id for _, task_id, _ in keys] == [task_id for task_id, *_ in one.pending_writes or ()]:
            slots[one.checkpoint["id"]] = [Slot(index, path) for path, _, index in keys]
    return slots
