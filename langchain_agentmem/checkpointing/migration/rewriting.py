"""Rewrite stored threads in today's shape, one checkpoint after the other.

Each checkpoint is replaced in a transaction of its own, together with its pending writes. A value that several checkpoints
share is stored once. A checkpoint that was deleted concurrently stays deleted, and a pending write that changed concurrently
is left for the next call. Checkpoints that have today's shape are left unchanged, so a call after an interruption continues.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from langchain_agentmem.arguments.values import check_flag
from langchain_agentmem.backends.contract import (
    CheckpointEntry,
    CheckpointPut,
    CheckpointTable,
    LoadedCheckpoint,
    StoredWrite,
    ThreadKey,
    ThreadUse,
)
from langchain_agentmem.checkpointing.arguments import thread_ids_of
from langchain_agentmem.checkpointing.drafts import Draft
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.checkpointing.known import KnownValues
from langchain_agentmem.checkpointing.loader import reading_thread
from langchain_agentmem.checkpointing.migration.conversion import Conversion, check_classes, described
from langchain_agentmem.checkpointing.migration.values import Migrate, check_migrate
from langchain_agentmem.checkpointing.models import MigratedThreads
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.missing import count_created, each_missing
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.errors import ConfigurationError, ConflictError, InvalidInputError, UnsupportedValueError
from langchain_agentmem.programs import Call, OffLoop, Program, Read, Write, storage_program
from langchain_agentmem.programs.sizes import is_large
from langchain_agentmem.text.progress import reporting

_log = logging.getLogger(__name__)


def migrate_threads(
    engine: CheckpointEngine,
    function: Migrate | None,
    thread_ids: Sequence[Any] | None,
    dry_run: bool,
    progress: bool | Callable[[MigratedThreads], Any],
) -> Program[MigratedThreads]:
    """Rewrite stored threads; see `AgentMemSaver.migrate`.

    Args:
        engine: The engine of the checkpointer.
        function: The function; None for that of the checkpointer.
        thread_ids: The threads; None for all.
        dry_run: If true, write nothing.
        progress: Reports the progress; see `reporting`.
    """
    check_migrate(function, "function")
    check_flag("dry_run", dry_run)
    conversion = engine.conversion if function is None else Conversion(function)
    if conversion is None:
        msg = "migrate needs a function: pass one, or create the checkpointer with AgentMemSaver(migrate=function)."
        raise ConfigurationError(msg)
    wanted = None if thread_ids is None else thread_ids_of("thread_ids", thread_ids)
    with reporting(progress) as report:
        if wanted is None:
            wanted = [info.thread_id for info in (yield from engine.threads())]
        done = MigratedThreads(dry_run=dry_run)
        for thread_id in dict.fromkeys(wanted):
            rewriting = _Rewriting(engine, conversion, ThreadKey(engine.tenant, thread_id), dry_run)
            done = yield from rewriting.program(done, report)
    _log.debug("checkpointer: %s", done.description)
    return done


@dataclass
class _Change:
    """A checkpoint in its stored and in today's shape."""

    loaded: LoadedCheckpoint
    saved: CheckpointTuple
    values: dict[str, Any]
    """The values that changed, by present channel."""
    writes: list[tuple[StoredWrite, tuple[str, Any] | None]]
    """The pending writes that changed: as stored, and the present channel and value (None: dropped)."""
    classes: list[str] = field(default_factory=list)


class _Rewriting:
    """The rewriting of one thread.

    Args:
        engine: The engine.
        conversion: Converts the checkpoints.
        thread: The thread.
        dry_run: If true, write nothing.
    """

    def __init__(self, engine: CheckpointEngine, conversion: Conversion, thread: ThreadKey, dry_run: bool) -> None:
        self._engine = engine
        self._table: CheckpointTable = engine.backend.checkpoints
        self._conversion = conversion
        self._thread = thread
        self._dry_run = dry_run
        self._known = KnownValues()
        """The values that this call has stored, from which the next ones are spliced."""
        self._moved: dict[tuple[str, str], tuple[Any, Typed, str]] = {}
        """By namespace and channel: the version and plain form of the value that was stored last, and its stored version."""

    def program(self, done: MigratedThreads, report: Callable[[MigratedThreads], Any]) -> Program[MigratedThreads]:
        """Rewrite the thread; return the result so far."""
        before = done
        table, thread, codec = self._table, self._thread, self._engine.codec
        for entry in (yield from Read(self._engine.backend, table.entries(thread, lock=False))):
            with reading_thread(thread.thread_id):
                program = table.get(thread, *entry.key, codec, time.time())
                loaded = yield from Read(self._engine.backend, program)
                if loaded is None:  # deleted concurrently, or expired
                    continue
                yield from OffLoop(is_large(loaded.parts))
                change = self._change(loaded)
            if change is None:
                done = replace(done, unchanged=done.unchanged + 1)
                continue
            if not self._dry_run:
                yield from self._replace(entry, change)
            done = self._counted(done, change)
            yield from Call(report, done)
        if (done.checkpoints, done.writes) == (before.checkpoints, before.writes):
            return done
        if not self._dry_run:
            with reading_thread(thread.thread_id):
                yield from Write(self._engine.backend, _delete_unneeded(table, thread, codec))
            self._engine.known.forget(thread)
        done = replace(done, threads=done.threads + 1)
        yield from Call(report, done)
        return done

    def _counted(self, done: MigratedThreads, change: _Change) -> MigratedThreads:
        classes = dict(done.classes)
        for name in change.classes:
            classes[name] = classes.get(name, 0) + 1
        return replace(
            done,
            checkpoints=done.checkpoints + 1,
            writes=done.writes + len(change.writes),
            renamed=self._conversion.renamed,
            classes=classes,
        )

    # Converting

    def _change(self, loaded: LoadedCheckpoint) -> _Change | None:
        """Return what changes in a checkpoint; None if it has today's shape."""
        created = count_created()
        saved = self._engine.loader.stored_tuple(loaded, self._thread.thread_id)
        classes = [one.class_name for one in each_missing(tuple(saved))] if count_created() != created else []
        # The function may change the values in place: their plain forms are taken before.
        forms = {name: self._form(value) for name, value in saved.checkpoint["channel_values"].items()}
        written = [self._form(value) for _, _, value in saved.pending_writes or ()]
        former = (saved.checkpoint["channel_versions"], saved.checkpoint.get("versions_seen"), dict(saved.metadata))
        stored_names = [(channel, value) for _, channel, value in saved.pending_writes or ()]
        new = self._conversion.convert(saved._replace(pending_writes=[]))
        where = described(self._thread.thread_id, *loaded.row.key)
        values = {
            name: value
            for name, value in new.checkpoint["channel_values"].items()
            if name not in forms or forms[name] is None or self._form(value) != forms[name]
        }
        writes: list[tuple[StoredWrite, tuple[str, Any] | None]] = []
        pending = []
        for stored, form, (channel, value) in zip(loaded.writes, written, stored_names, strict=True):
            pair = self._conversion.convert_value(channel, value, new.metadata, where)
            if pair is None or pair[0] != channel or form is None or self._form(pair[1]) != form:
                writes.append((stored, pair))
            if pair is not None:
                pending.append((stored.task_id, *pair))
        new = new._replace(pending_writes=pending)
        check_classes(new, convertible=True)
        present = (new.checkpoint["channel_versions"], new.checkpoint.get("versions_seen"), dict(new.metadata))
        gone = forms.keys() - new.checkpoint["channel_values"].keys()
        if not (values or writes or gone) and former == present:
            return None
        return _Change(loaded, new, values, writes, classes)

    def _form(self, value: Any) -> Typed | None:
        """Return the plain form of a value, by which equal values are found; None if it has none."""
        codec: Codec = self._engine.codec
        try:
            return codec.identify(value)
        except (UnsupportedValueError, InvalidInputError):
            return None

    # Storing

    def _replace(self, entry: CheckpointEntry, change: _Change) -> Program[None]:
        """Store today's shape of a checkpoint, unless it was deleted concurrently."""
        engine, thread = self._engine, self._thread
        use = ThreadUse(entry.created_at)
        for alone in (False, True):
            secret, used = yield from engine.secret_of(thread, use)
            draft = Draft(
                engine.codec,
                self._known,
                thread,
                entry.key.namespace,
                secret,
                alone=alone,
                fresh=not engine.plain,
                plain=engine.plain,
            )
            yield from OffLoop(is_large(change.saved.checkpoint["channel_values"]))
            put, moved = self._rows(draft, entry, change)
            writes = [
                (
                    stored,
                    None if pair is None else stored._replace(channel=pair[0], **_typed(draft.add_write(*pair))),
                )
                for stored, pair in change.writes
            ]
            put = put._replace(values=draft.values, elements=draft.elements, requires=draft.requires)
            program = self._table.replace(thread, put, writes, engine.codec, used)
            with reading_thread(thread.thread_id):
                if (yield from Write(engine.backend, program)):
                    self._known.learn_all(thread, draft.learned)
                    self._moved.update(moved)
                    return
                present = yield from Read(
                    engine.backend, self._table.get(thread, *entry.key, engine.codec, time.time())
                )
            if present is None:
                return
            self._known.forget(thread)
            self._moved.clear()
            engine.known.forget(thread)
        msg = (
            f"Could not rewrite {described(thread.thread_id, *entry.key)}: another writer replaced the thread "
            f"concurrently. The checkpoint is unchanged. Call migrate again."
        )
        raise ConflictError(msg)

    def _rows(
        self, draft: Draft, entry: CheckpointEntry, change: _Change
    ) -> tuple[CheckpointPut, dict[tuple[str, str], tuple[Any, Typed, str]]]:
        """Return the row of a checkpoint, and the values to remember once it is stored."""
        checkpoint, metadata = change.saved.checkpoint, dict(change.saved.metadata)
        row = change.loaded.row
        moved: dict[tuple[str, str], tuple[Any, Typed, str]] = {}
        if self._engine.plain:
            versions = checkpoint["channel_versions"]
            put = draft.put(row.key, row.parent_id, checkpoint, versions, metadata, entry.run_id)
            return put, moved
        for name, value in checkpoint["channel_values"].items():
            if name in change.values:
                self._add_value(
                    draft, entry.key.namespace, name, value, checkpoint["channel_versions"].get(name), moved
                )
            elif name in row.inline:
                draft.inline[name] = row.inline[name]
            else:
                draft.keep(name, row.stored[name])
        empty: Any = {**checkpoint, "channel_values": {}}
        return draft.put(row.key, row.parent_id, empty, {}, metadata, entry.run_id), moved

    def _add_value(
        self,
        draft: Draft,
        namespace: str,
        name: str,
        value: Any,
        version: Any,
        moved: dict[tuple[str, str], tuple[Any, Typed, str]],
    ) -> None:
        form = self._form(value)
        latest = self._moved.get((namespace, name))
        if latest is not None and form is not None and latest[:2] == (version, form) and not draft.alone:
            draft.keep(name, latest[2])
            return
        draft.add_value(name, value, version)
        if form is not None and name in draft.stored:
            moved[namespace, name] = (version, form, draft.stored[name])


def _typed(written: tuple[str, str, bytes]) -> dict[str, Any]:
    kind, type_, data = written
    return {"kind": kind, "type": type_, "data": data}


@storage_program
def _delete_unneeded(table: CheckpointTable, thread: ThreadKey, codec: Codec) -> Program[None]:
    """Delete the values that no checkpoint needs any more."""
    known = yield from table.entries(thread)
    if known:
        yield from table.delete(thread, [], codec, known)
