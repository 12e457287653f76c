"""Targets of a copy: our own checkpointer, or a saver of any package."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.base import Checkpoint

from langchain_agentmem.backends.contract import CheckpointKey, ThreadKey
from langchain_agentmem.checkpointing.drafts import Adopted, AdoptedWrite
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.checkpointing.transfer.calls import Saver, SaverCall, is_kind, thread_config
from langchain_agentmem.checkpointing.transfer.sources import Found, Source, source_of, stored_checkpoints
from langchain_agentmem.checkpointing.transfer.versions import with_text_versions
from langchain_agentmem.programs import Program


class Target:
    """A saver of any package, to which threads are copied with its public methods.

    Args:
        saver: The saver.
    """

    def __init__(self, saver: Saver) -> None:
        self.saver = saver
        self._source: Source = source_of(saver)
        self._text = isinstance(_first_version(saver), str)
        parameters = inspect.signature(saver.put_writes).parameters
        self._takes_path = "task_path" in parameters

    def converted(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint with channel versions of the type that the saver writes."""
        return with_text_versions(checkpoint) if self._text else checkpoint

    def key(self, thread_id: Any) -> Any:
        """Return a thread ID as the saver stores it."""
        return self._source.key(thread_id)

    def checkpoints(self, thread_id: Any) -> Program[dict[str, list[str]]]:
        """Return the checkpoint IDs that the saver has of a thread, by namespace, oldest first."""
        return (yield from self._source.checkpoints(thread_id))

    def page(self, thread_id: Any, namespace: str, ids: Sequence[str], following: str | None) -> Program[list[Found]]:
        """Return checkpoints that the saver has; see `Source.page`."""
        return (yield from self._source.page(thread_id, namespace, ids, following))

    def adopted(
        self, thread_id: Any, namespace: str, found: Found, checkpoint: Checkpoint, new_versions: Mapping[str, Any]
    ) -> Adopted:
        """Return a checkpoint in the form that `put` takes.

        Args:
            thread_id: The thread.
            namespace: The namespace.
            found: The checkpoint of the source.
            checkpoint: The same, converted.
            new_versions: The versions of the channels that changed since the parent.
        """
        config = thread_config(thread_id, namespace, _parent(found))
        return Adopted(config, checkpoint, found.saved.metadata, dict(new_versions), adopted_writes(found))

    def put(self, batch: Sequence[Adopted]) -> Program[None]:
        """Store checkpoints of a thread with their pending writes.

        Args:
            batch: The checkpoints, parents before their children.
        """
        for one in batch:
            named = one.config["configurable"]
            yield from self.put_writes(named["thread_id"], named["checkpoint_ns"], one.checkpoint["id"], one.writes)
            versions = one.new_versions
            if is_kind(self.saver, "postgres"):  # the column of the version is text
                versions = {
                    name: version if isinstance(version, str) else str(version) for name, version in versions.items()
                }
            yield from SaverCall(self.saver, "put", one.config, one.checkpoint, one.metadata, versions)

    def put_writes(
        self, thread_id: Any, namespace: str, checkpoint_id: str, writes: Sequence[AdoptedWrite]
    ) -> Program[None]:
        """Store pending writes. `put_writes` numbers those of a call, so each task's ordinary writes are one call."""
        config = thread_config(thread_id, namespace, checkpoint_id)
        for task_id, path, group in _calls(writes):
            arguments: list[Any] = [config, [(write.channel, write.value) for write in group], task_id]
            if self._takes_path:
                arguments.append(path)
            yield from SaverCall(self.saver, "put_writes", *arguments)

    def finish(
        self,
        thread_id: Any,  # noqa: ARG002 (our own checkpointer reads it)
        users: Mapping[str, float],  # noqa: ARG002
        newest: tuple[str, str] | None,  # noqa: ARG002
    ) -> Program[None]:
        """Note the users of a thread that its checkpoints do not name."""
        yield from ()


class OwnTarget(Target):
    """An `AgentMemSaver`: checkpoints and their pending writes are one transaction, with the original indexes and paths.

    Args:
        saver: The saver.
        engine: Its engine.
    """

    def __init__(self, saver: Saver, engine: CheckpointEngine) -> None:
        super().__init__(saver)
        self._engine = engine

    def checkpoints(self, thread_id: Any) -> Program[dict[str, list[str]]]:
        return (yield from stored_checkpoints(self._engine, ThreadKey(self._engine.tenant, thread_id)))

    def put(self, batch: Sequence[Adopted]) -> Program[None]:
        yield from self._engine.adopt(batch)

    def put_writes(
        self, thread_id: Any, namespace: str, checkpoint_id: str, writes: Sequence[AdoptedWrite]
    ) -> Program[None]:
        config = thread_config(thread_id, namespace, checkpoint_id)
        yield from self._engine.adopt_writes(config, writes)

    def finish(self, thread_id: Any, users: Mapping[str, float], newest: tuple[str, str] | None) -> Program[None]:
        if newest is not None:
            for user, used in sorted(users.items(), key=lambda one: one[1]):
                yield from self._engine.use(thread_id, CheckpointKey(*newest), user, used)


def target_of(saver: Saver) -> Target:
    """Return the target for a saver."""
    engine = getattr(saver, "engine", None)
    return OwnTarget(saver, engine) if isinstance(engine, CheckpointEngine) else Target(saver)


def adopted_writes(found: Found) -> list[AdoptedWrite]:
    """Return the pending writes of a checkpoint with their slots."""
    pending = found.saved.pending_writes or []
    return [
        AdoptedWrite(task_id, slot.write_index, slot.path, channel, value)
        for (task_id, channel, value), slot in zip(pending, found.slots, strict=True)
    ]


def _calls(writes: Sequence[AdoptedWrite]) -> Iterator[tuple[str, str, list[AdoptedWrite]]]:
    """Divide pending writes into calls of `put_writes`, each with its task and path.

    `put_writes` numbers the writes of a call, but not those to LangGraph's own channels, so that these fill the gaps between
    the indexes of a task's ordinary writes. Where there are not enough of them, the indexes move up.
    """
    tasks: dict[str, list[AdoptedWrite]] = {}
    for write in writes:
        tasks.setdefault(write.task_id, []).append(write)
    for task_id, own in tasks.items():
        ordinary = sorted((one for one in own if one.write_index >= 0), key=lambda one: one.write_index)
        special = [one for one in own if one.write_index < 0]
        call: list[AdoptedWrite] = []
        for write in ordinary:
            while len(call) < write.write_index and special and special[0].path == write.path:
                call.append(special.pop(0))
            call.append(write)
        if call:
            yield task_id, ordinary[0].path, call
        for write in special:
            yield task_id, write.path, [write]


def _parent(found: Found) -> str | None:
    config = found.saved.parent_config
    return None if config is None else config["configurable"].get("checkpoint_id")


def _first_version(saver: Saver) -> Any:
    return saver.get_next_version(None, None)
