"""`memory.cleanup()`: archive and delete data that was not used for a long time.

Each transaction deletes a bounded number of rows, and checks that they have not changed. Listings are read page by page.
After an interruption, another cleanup continues: deleted data is not found again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar

from langchain_agentmem.arguments.cleaning import Target, check_kinds, cutoff_of
from langchain_agentmem.arguments.values import check_flag
from langchain_agentmem.backends.contract import (
    DoomedSession,
    ItemRow,
    ItemState,
    LoggedMessage,
    Page,
    RecordRow,
    SessionRow,
    StaleScan,
    Swap,
    ThreadKey,
    ThreadRow,
    VariableRow,
)
from langchain_agentmem.backends.reads import session_group
from langchain_agentmem.knowledge.namespaces import USER, is_knowledge
from langchain_agentmem.lifecycle.cleaning.archive import Archive
from langchain_agentmem.lifecycle.cleaning.orphans import Orphans
from langchain_agentmem.lifecycle.cleaning.results import Cleanup
from langchain_agentmem.lifecycle.forgetting import clear_notes
from langchain_agentmem.lifecycle.progress import Report, reporting
from langchain_agentmem.lifecycle.transfer.exporting import Engines, Exporter, Selection
from langchain_agentmem.lifecycle.transfer.lines import (
    ARCHIVE,
    Line,
    header_line,
    item_line,
    message_line,
    record_line,
    variable_line,
)
from langchain_agentmem.programs import Call, Compute, Program, Read, Write, storage_program, together

T = TypeVar("T")

BATCH = 100
"""The maximum number of sessions, messages or items that one transaction deletes."""

_MESSAGES = 1_000
"""Sessions with more messages than this are not deleted in one transaction, except a single session."""

_CHECKPOINTS = 200
"""Same as `_MESSAGES`, for threads and checkpoints."""


def cleanup(
    engines: Engines,
    older_than: Any,
    *,
    dry_run: bool,
    archive: Target | None,
    kinds: Sequence[str],
    progress: bool | Report,
) -> Program[Cleanup]:
    """Delete old data; see `AgentMemory.cleanup`."""
    started = time.monotonic()
    before, wanted = cutoff_of(older_than), check_kinds(kinds)
    dry_run = check_flag("dry_run", dry_run)
    with ExitStack() as stack:
        report = stack.enter_context(reporting(progress))
        lines: Archive | None = None
        if archive is not None and not dry_run:
            lines = yield from Compute(True, Archive.open, archive)
            stack.callback(lines.close)
            yield from lines.write([header_line(ARCHIVE, tenant=engines.tenant, created_at=time.time())])
            yield from Exporter(engines, Selection(), lines.write).embeddings()
        work = Cleaning(engines, before, wanted, lines, report, dry_run=dry_run)
        for kind in wanted:
            yield from work.parts[kind]()
        if not dry_run:
            yield from engines.history.sweeper.sweep()
        if lines is not None:
            yield from lines.commit()
    return replace(work.done, duration=time.monotonic() - started)


class Cleaning:
    """One cleanup.

    Args:
        engines: The engines of the memory.
        before: Data that was last used earlier is deleted, in seconds since 1970.
        kinds: The kinds of data that this cleanup deletes.
        archive: The archive; None for none.
        report: Called after each batch with the result so far.
        dry_run: If true, nothing is deleted.
    """

    def __init__(
        self,
        engines: Engines,
        before: float,
        kinds: Sequence[str],
        archive: Archive | None,
        report: Report,
        *,
        dry_run: bool,
    ) -> None:
        self._history, self._store, self._checkpoints = engines
        self._backend, self._tenant = self._history.backend, self._history.tenant
        self._before = before
        self._kinds = kinds
        self._archive = archive
        self._report = report
        self._dry_run = dry_run
        self.done = Cleanup(dry_run=dry_run, archived=None if archive is None else archive.name)
        # Records go before their sessions: a record of an unused session is old too, and so it is counted as a record.
        self.parts: dict[str, Callable[[], Program[None]]] = {
            "records": self._delete_records,
            "sessions": self._delete_sessions,
            "messages": self._delete_messages,
            "threads": self._delete_threads,
            "items": self._delete_items,
            "variables": self._delete_variables,
            "cache": self._delete_cache_entries,
            "orphans": self._delete_orphans,
        }

    # Sessions

    def _delete_sessions(self) -> Program[None]:
        yield from self._each_batch(
            self._backend.stale.sessions, self._delete_some_sessions, lambda row: row.message_count, _MESSAGES
        )

    def _delete_some_sessions(self, rows: Sequence[SessionRow]) -> Program[None]:
        doomed = [DoomedSession(row) for row in rows]
        if self._archive is not None:
            doomed = []
            for some in _batches(rows, lambda row: row.message_count, BATCH):
                doomed += yield from self._archived_sessions(self._archive, some)
            yield from self._archive.commit()
        deleted = [True] * len(doomed)
        if not self._dry_run:
            with self._history.cache.writing([session_group(row.key) for row in rows]):
                program = self._backend.stale.delete_sessions(doomed, time.time())
                deleted = yield from Write(self._backend, program)
        gone = [row for row, is_gone in zip(rows, deleted, strict=True) if is_gone]
        self._count(sessions=len(gone), messages=sum(row.message_count for row in gone))

    def _archived_sessions(self, archive: Archive, rows: Sequence[SessionRow]) -> Program[list[DoomedSession]]:
        """Write the lines of sessions. Their deletion then requires that they have not changed since."""
        log, now = self._backend.messages, time.time()
        # Before the messages: each change of a message changes the revision of the summary.
        summaries = yield from Read(self._backend, together([log.summary(row.key, None, now) for row in rows]))
        exporter = self._exporter(archive)
        yield from exporter.sessions([row.key for row in rows])
        if "records" not in self._kinds:  # otherwise they are gone
            for row in rows:
                yield from exporter.records(row.key.user_id, row.key.session_id)
        return [
            DoomedSession(row, None if summary is None else summary.revision)
            for row, summary in zip(rows, summaries, strict=True)
        ]

    # Messages and records

    def _delete_messages(self) -> Program[None]:
        # Without the kind "sessions", unused sessions stay, and their older messages are deleted.
        every = "sessions" not in self._kinds
        yield from self._each_batch(
            lambda scan: self._backend.stale.messages(scan, every=every), self._delete_some_messages
        )

    def _delete_some_messages(self, logged: Sequence[LoggedMessage]) -> Program[None]:
        if self._archive is not None:
            yield from self._archive.write(message_line(*one, self._history.codec) for one in logged)
            yield from self._archive.commit()
        number = len(logged)
        if not self._dry_run:
            number = yield from Write(self._backend, self._messages_deleted(logged))
        self._count(messages=number)

    @storage_program
    def _messages_deleted(self, logged: Sequence[LoggedMessage]) -> Program[int]:
        number = 0
        for key in sorted({key for key, _ in logged}, key=lambda key: (key.user_id or "", key.session_id)):
            rows = [row for own, row in logged if own == key]
            number += yield from self._backend.stale.delete_messages(key, rows, time.time())
        return number

    def _delete_records(self) -> Program[None]:
        yield from self._each_batch(self._backend.stale.records, self._delete_some_records)

    def _delete_some_records(self, rows: Sequence[RecordRow]) -> Program[None]:
        yield from self._archived(record_line(row) for row in rows)
        number = len(rows)
        if not self._dry_run:
            number = yield from Write(self._backend, self._backend.records.delete(self._tenant, rows))
        self._count(records=number)

    # Threads

    def _delete_threads(self) -> Program[None]:
        yield from self._each_batch(
            self._backend.stale.threads, self._delete_some_threads, lambda row: row.checkpoint_count, _CHECKPOINTS
        )

    def _delete_some_threads(self, rows: Sequence[ThreadRow]) -> Program[None]:
        if self._archive is not None:
            yield from self._exporter(self._archive).threads([row.thread_id for row in rows])
            yield from self._archive.commit()
        gone = rows
        if not self._dry_run:
            gone = yield from Write(self._backend, self._threads_deleted(rows))
            for row in gone:
                self._checkpoints.known.forget(ThreadKey(self._tenant, row.thread_id))
        self._count(threads=len(gone), checkpoints=sum(row.checkpoint_count for row in gone))

    @storage_program
    def _threads_deleted(self, rows: Sequence[ThreadRow]) -> Program[list[ThreadRow]]:
        gone = []
        now = time.time()
        for row in rows:
            thread = ThreadKey(self._tenant, row.thread_id)
            if (yield from self._backend.stale.delete_thread(thread, row.updated_at, now)):
                yield from clear_notes(self._backend, thread)
                gone.append(row)
        return gone

    # Items and variables

    def _delete_items(self) -> Program[None]:
        yield from self._each_batch(lambda scan: self._backend.stale.items(scan, (USER,)), self._delete_some_items)

    def _delete_some_items(self, found: Sequence[ItemRow]) -> Program[None]:
        rows = [row for row in found if not is_knowledge(row.namespace)]
        if self._archive is not None and rows:
            read: list[ItemState] = []
            for root in dict.fromkeys(row.namespace[0] for row in rows):
                keys = [(row.namespace, row.key) for row in rows if row.namespace[0] == root]
                states = yield from Read(self._backend, self._backend.transfer.items(self._tenant, keys, time.time()))
                read += [item for item in states if item is not None]
            revisions = {(row.namespace, row.key): row.revision for row in rows}
            read = [item for item in read if item.row.revision == revisions[item.row.namespace, item.row.key]]
            rows = [item.row for item in read]
            yield from self._archived(item_line(item) for item in read)
        if self._dry_run:
            self._count(items=len(rows))
            return
        by_root: dict[str, list[ItemRow]] = {}
        for row in rows:
            by_root.setdefault(row.namespace[0], []).append(row)
        for own in by_root.values():
            number = len(own)
            if not (yield from self._items_deleted(own)):
                # Some of them were updated.
                number = 0
                for row in own:
                    number += yield from self._items_deleted([row])
            self._count(items=number)

    def _items_deleted(self, rows: Sequence[ItemRow]) -> Program[bool]:
        swaps = [Swap(row.namespace, row.key, row.revision) for row in rows]
        program = self._backend.items.swap(self._tenant, swaps, time.time(), secrets.randbits(53))
        return (yield from Write(self._backend, program))

    def _delete_variables(self) -> Program[None]:
        yield from self._each_batch(self._backend.stale.variables, self._delete_some_variables)

    def _delete_some_variables(self, rows: Sequence[VariableRow]) -> Program[None]:
        yield from self._archived(variable_line(row) for row in rows)
        number = len(rows)
        if not self._dry_run:
            number = yield from Write(self._backend, self._backend.stale.delete_variables(rows, time.time()))
        self._count(variables=number)

    def _delete_cache_entries(self) -> Program[None]:
        cache = self._backend.cache
        if self._dry_run:
            number = yield from Read(self._backend, cache.count(self._tenant, self._before, time.time()))
            self._count(cache_entries=number)
            return
        deleted = 1
        while deleted:
            deleted = yield from Write(self._backend, cache.prune(self._tenant, self._before, BATCH))
            self._count(cache_entries=deleted)
            yield from Call(self._report, self.done)

    def _delete_orphans(self) -> Program[None]:
        orphans = Orphans(self._backend, self._tenant, self._before)
        while (rows := (yield from orphans.next())) is not None:
            for batch in _batches(rows, lambda _: 1, BATCH):
                number = len(batch)
                if not self._dry_run:
                    number = 0
                    for row in batch:
                        number += yield from orphans.delete(row)
                self._count(orphans=number)
                yield from Call(self._report, self.done)

    def _exporter(self, archive: Archive) -> Exporter:
        """Return an exporter of rows to the archive."""
        return Exporter(Engines(self._history, self._store, self._checkpoints), Selection(), archive.write)

    # Batches

    def _each_batch(
        self,
        page_of: Callable[[StaleScan], Program[Page[T]]],
        handle: Callable[[Sequence[T]], Program[None]],
        size: Callable[[T], int] = lambda _: 1,
        most: int = BATCH,
    ) -> Program[None]:
        """Read all pages of a listing, and handle their rows in batches.

        Args:
            page_of: Returns the program that reads a page.
            handle: Deletes some rows.
            size: Returns the size of a row. Default: 1.
            most: The maximum total size of a batch with several rows. Default: `BATCH`.
        """
        after: Any = None
        while True:
            scan = StaleScan(self._tenant, self._before, time.time(), after, BATCH)
            rows, after = yield from Read(self._backend, page_of(scan))
            for batch in _batches(rows, size, most):
                yield from handle(batch)
                yield from Call(self._report, self.done)
            if after is None:
                return

    def _archived(self, lines: Iterable[Line]) -> Program[None]:
        if self._archive is not None:
            yield from self._archive.write(lines)
            yield from self._archive.commit()

    def _count(self, **added: int) -> None:
        sums: dict[str, Any] = {name: getattr(self.done, name) + number for name, number in added.items()}
        self.done = replace(self.done, **sums)


def _batches(rows: Sequence[T], size: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Yield rows in batches of at most `BATCH` rows, whose total size is at most `most` unless it is a single row."""
    batch: list[T] = []
    total = 0
    for row in rows:
        if batch and (len(batch) == BATCH or total + size(row) > most):
            yield batch
            batch, total = [], 0
        batch.append(row)
        total += size(row)
    if batch:
        yield batch
