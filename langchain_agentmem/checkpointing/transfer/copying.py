"""Copy threads from one saver to another, checkpoint by checkpoint.

The checkpoints of a thread are copied in the order in which they were made, those of subgraphs included. Part of a copy is
therefore the thread at an earlier time, and a call after an interruption continues. At most 2 * `PAGE` checkpoints are in
memory.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.checkpointing.arguments import thread_ids_of
from langchain_agentmem.checkpointing.drafts import Adopted
from langchain_agentmem.checkpointing.migration.conversion import check_classes
from langchain_agentmem.checkpointing.models import CopiedThreads
from langchain_agentmem.checkpointing.transfer.calls import SaverCall, thread_config
from langchain_agentmem.checkpointing.transfer.sources import Found, Source, source_of
from langchain_agentmem.checkpointing.transfer.targets import Target, adopted_writes, target_of
from langchain_agentmem.checkpointing.transfer.versions import changed_versions
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, ThreadInUseError
from langchain_agentmem.programs import Call, OffLoop, Program
from langchain_agentmem.text.progress import reporting

PAGE = 16
"""The number of checkpoints that are read at once, and at least stored at once."""

_log = logging.getLogger(__name__)

_KNOWN_PARENTS = 256


def copy_threads(
    source: Any,
    target: Any,
    thread_ids: Sequence[Any] | None,
    progress: bool | Callable[[CopiedThreads], Any] = False,
    *,
    dry_run: bool = False,
    strict: bool = False,
) -> Program[CopiedThreads]:
    """Copy threads; see `AgentMemSaver.copy_from`.

    Args:
        source: The saver to read.
        target: The saver to write.
        thread_ids: The threads; None for all.
        progress: Reports the progress; see `reporting`. Default: False.
        dry_run: If true, read everything, write nothing, and count what would be copied. Default: False.
        strict: If true, refuse a value that the source's serializer reads as `MissingClass`. Default: False.

    Raises:
        MissingClassError: With `strict`, a value has a class that cannot be read. Threads before it were copied.
    """
    for saver in (source, target):
        check_saver(saver)
    if source is target:
        msg = "A checkpointer cannot be copied to itself. To copy one thread within it, use `copy_thread`."
        raise InvalidInputError(msg)
    if thread_ids is not None:
        thread_ids_of("thread_ids", thread_ids)
    with reporting(progress) as report:
        reader, writer = source_of(source), target_of(target)
        wanted = (yield from reader.threads()) if thread_ids is None else map(reader.key, thread_ids)
        done = CopiedThreads()
        for thread_id in dict.fromkeys(wanted):
            here = yield from reader.checkpoints(thread_id)
            if not here:
                if thread_ids is not None:
                    done = replace(done, missing=(*done.missing, str(thread_id)))
                continue
            there = yield from writer.checkpoints(writer.key(thread_id))
            work = _ThreadCopy(reader, writer, thread_id, here, there, dry_run=dry_run, strict=strict)
            done = yield from work.copy(done, report)
            yield from Call(report, done)
    _log.debug("checkpointer: %s", done.description)
    return done


def check_saver(saver: Any) -> None:
    """Check that an argument is a checkpointer.

    Raises:
        InvalidTypeError: It is something else, such as the context manager of `PostgresSaver.from_conn_string`.
    """
    if not isinstance(saver, BaseCheckpointSaver):
        hint = ""
        if hasattr(saver, "__enter__") or hasattr(saver, "__aenter__"):
            hint = " Enter a context manager first: `with PostgresSaver.from_conn_string(url) as saver:`."
        msg = f"saver must be a LangGraph checkpointer, got {type(saver).__name__}: {shown(saver)}.{hint}"
        raise InvalidTypeError(msg)


class _ThreadCopy:
    """The copy of one thread.

    Args:
        source: The source.
        target: The target.
        thread_id: The thread.
        here: The checkpoint IDs of the source, by namespace.
        there: The checkpoint IDs of the target, by namespace.
        dry_run: If true, write nothing.
        strict: If true, refuse values of classes that cannot be read.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        thread_id: Any,
        here: Mapping[str, Sequence[str]],
        there: Mapping[str, Sequence[str]],
        *,
        dry_run: bool,
        strict: bool,
    ) -> None:
        self._source = source
        self._target = target
        self._thread_id = thread_id
        self._copy_id = target.key(thread_id)
        self._here = here
        self._there = {namespace: set(ids) for namespace, ids in there.items()}
        self._dry_run = dry_run
        self._strict = strict
        self._versions: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()
        """The channel versions of the latest checkpoints, as the target has them."""

    def copy(self, done: CopiedThreads, report: Callable[[CopiedThreads], Any]) -> Program[CopiedThreads]:
        """Copy what the target does not have; return the result so far.

        Raises:
            ThreadInUseError: The target has a thread of this ID that is not a copy.
        """
        new = [
            (checkpoint_id, namespace)
            for namespace, ids in self._here.items()
            for checkpoint_id in ids
            if checkpoint_id not in self._there.get(namespace, ())
        ]
        new.sort()
        if new:
            self._check_line()
        before = done
        batch: list[Adopted] = []
        for namespace, ids in _runs(new):
            found = yield from self._page(namespace, ids, self._following(namespace, ids[-1]))
            for one in found:
                adopted = yield from self._adopted(namespace, one)
                batch.append(adopted)
            if len(batch) >= PAGE or (batch and (ids[-1], namespace) == new[-1]):
                if not self._dry_run:
                    yield from self._target.put(batch)
                written = sum(len(one.writes) for one in batch)
                done = replace(done, checkpoints=done.checkpoints + len(batch), writes=done.writes + written)
                batch.clear()
                yield from Call(report, done)
        for namespace in self._here:
            done = replace(done, writes=done.writes + (yield from self._add_writes(namespace)))
        if done != before and not self._dry_run:
            newest = new[-1][::-1] if new else None
            yield from self._target.finish(self._copy_id, (yield from self._source.users(self._thread_id)), newest)
        skipped = sum(len(ids) for ids in self._here.values()) - len(new)
        return replace(done, threads=done.threads + (done != before), skipped=done.skipped + skipped)

    def _page(self, namespace: str, ids: Sequence[str], following: str | None) -> Program[list[Found]]:
        """Return checkpoints of the source; see `Source.page`."""
        found = yield from self._source.page(self._thread_id, namespace, ids, following)
        if self._strict:
            yield from OffLoop(large=True)
            for one in found:
                check_classes(one.saved, convertible=False)
        return found

    def _check_line(self) -> None:
        here, there = set(self._here.get("", ())), self._there.get("", set())
        own = there - here
        if own and max(own) > max(there & here, default=""):
            msg = (
                f"Cannot copy thread {shown(str(self._thread_id))}: the target has a thread of this ID with checkpoints of "
                f"its own, such as {max(own)!r}. Delete that thread, or leave this one out of thread_ids."
            )
            raise ThreadInUseError(msg)

    def _following(self, namespace: str, checkpoint_id: str) -> str | None:
        return next((one for one in self._here[namespace] if one > checkpoint_id), None)

    def _adopted(self, namespace: str, found: Found) -> Program[Adopted]:
        checkpoint = self._target.converted(found.saved.checkpoint)
        parent = yield from self._parent_versions(namespace, found)
        versions = changed_versions(checkpoint, parent)
        self._versions[namespace, checkpoint["id"]] = checkpoint["channel_versions"]
        while len(self._versions) > _KNOWN_PARENTS:
            self._versions.popitem(last=False)
        return self._target.adopted(self._copy_id, namespace, found, checkpoint, versions)

    def _parent_versions(self, namespace: str, found: Found) -> Program[dict[str, Any] | None]:
        config = found.saved.parent_config
        parent_id = None if config is None else config["configurable"].get("checkpoint_id")
        if parent_id is None:
            return None
        if (namespace, parent_id) in self._versions:
            return self._versions[namespace, parent_id]
        if parent_id not in self._here[namespace]:
            return None
        named = thread_config(self._thread_id, namespace, parent_id)
        parent: CheckpointTuple | None = yield from SaverCall(self._source.saver, "get_tuple", named)
        return None if parent is None else self._target.converted(parent.checkpoint)["channel_versions"]

    def _add_writes(self, namespace: str) -> Program[int]:
        """Add pending writes of the newest checkpoint that were stored after an earlier copy; return their number."""
        newest = self._here[namespace][-1]
        there = self._there.get(namespace, set())
        if newest not in there or newest != max(there):
            return 0
        found = yield from self._page(namespace, [newest], None)
        stored = yield from self._target.page(self._copy_id, namespace, [newest], None)
        if not found or not stored:  # deleted concurrently
            return 0
        if found[0].saved.checkpoint["ts"] != stored[0].saved.checkpoint["ts"]:
            msg = (
                f"Cannot copy thread {shown(str(self._thread_id))}: the target has another checkpoint {newest!r}. Delete "
                f"the thread there, or leave it out of thread_ids."
            )
            raise ThreadInUseError(msg)
        known = {(write.task_id, write.write_index) for write in adopted_writes(stored[0])}
        missing = [write for write in adopted_writes(found[0]) if (write.task_id, write.write_index) not in known]
        if missing and not self._dry_run:
            yield from self._target.put_writes(self._copy_id, namespace, newest, missing)
        return len(missing)


def _runs(checkpoints: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Divide checkpoints into runs of one namespace, of at most `PAGE` checkpoints each."""
    ids: list[str] = []
    at = ""
    for checkpoint_id, namespace in checkpoints:
        if ids and (namespace != at or len(ids) == PAGE):
            yield at, ids
            ids = []
        at = namespace
        ids.append(checkpoint_id)
    if ids:
        yield at, ids
