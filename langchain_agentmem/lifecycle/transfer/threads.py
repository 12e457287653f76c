"""Lines of threads as rows of a memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.backends.contract import ItemState, ThreadKey, ThreadRows, ThreadState
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.lifecycle.transfer import lines as forms
from langchain_agentmem.lifecycle.transfer.batches import ROWS_OF_THREAD, malformed, row_of
from langchain_agentmem.lifecycle.transfer.exporting import ABOUT, Engines
from langchain_agentmem.lifecycle.transfer.files import NumberedLine
from langchain_agentmem.lifecycle.transfer.lines import Line, differ
from langchain_agentmem.lifecycle.transfer.rekeying import Rekeying
from langchain_agentmem.lifecycle.transfer.tally import Tally
from langchain_agentmem.programs import Compute, OffLoop, Program, Read, Write, storage_program


class _Lines(NamedTuple):
    """The lines of a thread in a batch."""

    thread_id: str
    head: NumberedLine | None
    """None if it was in an earlier batch."""
    notes: list[NumberedLine]
    rows: list[NumberedLine]


class _Thread(NamedTuple):
    """A thread whose line was read. Its other lines follow."""

    thread_id: str
    skipped: Counter[str] | None
    """The counter of its rows if they are left out."""
    counted: Counter[str]
    """The counter of its rows if they are not left out. A thread that was stored already may be one of an import that was
    interrupted: its rows are stored unless they are."""
    rekeying: Rekeying | None
    """The change from keyed to plain references; None if the references stay as they are."""


class ThreadImporter:
    """Stores the lines of threads.

    Args:
        engines: The engines of the memory.
        tally: Counts the objects.
        restore_notes: Returns the program that stores notes about a thread: items of one namespace.
        stores: If false, only check the lines, and compare them with the stored rows.
    """

    def __init__(
        self, engines: Engines, tally: Tally, restore_notes: Callable[[list[ItemState]], Program[None]], *, stores: bool
    ) -> None:
        self._engines = engines
        self._backend, self._tenant = engines.backend, engines.tenant
        self._transfer, self._codec = engines.backend.transfer, engines.checkpoints.codec
        self._tally = tally
        self._restore_notes = restore_notes
        self._stores = stores
        self._last: _Thread | None = None

    def take(self, batch: Sequence[NumberedLine]) -> Program[None]:
        """Store the lines of a batch. Its first lines may be rows of the thread whose line came last."""
        parts = yield from Compute(True, self._parts, batch)
        states = {
            part.thread_id: row_of(part.head, lambda line: forms.thread_of(line, self._tenant, self._codec))
            for part in parts
            if part.head is not None
        }
        now = time.time()
        stored: dict[str, ThreadState | None] = {}
        if states:
            found = yield from Read(self._backend, self._transfer.threads(self._tenant, list(states), now))
            stored = dict(zip(states, found, strict=True))
        created: list[ThreadState] = []
        doomed: list[ThreadKey] = []
        rows: dict[ThreadKey, ThreadRows] = {}
        notes: list[list[ItemState]] = []
        for part in parts:
            thread = self._last
            if part.head is not None:
                state, known = states[part.thread_id], stored[part.thread_id]
                thread, is_wanted = self._decided(part.head, state, known, now)
                created += [state] if is_wanted else []
                doomed += [state.key] if is_wanted and known is not None else []
            elif thread is None or thread.thread_id != part.thread_id:
                raise malformed((part.notes + part.rows)[0], "the line of its thread is missing")
            self._last = thread
            own = yield from Compute(True, self._rows, part.rows, thread.rekeying)
            counts = {"checkpoints": len(own.checkpoints), "pending_writes": len(own.writes)}
            (thread.counted if thread.skipped is None else thread.skipped).update(counts)
            if thread.skipped is None:
                rows |= {ThreadKey(self._tenant, part.thread_id): own} if any(own) else {}
                notes += self._notes(part)
        if self._stores and (created or rows):
            for state in created:
                self._engines.checkpoints.known.forget(state.key)
            yield from Write(self._backend, self._restored(created, doomed, rows))
        for one in notes:
            yield from self._restore_notes(one)

    def _parts(self, batch: Sequence[NumberedLine]) -> list[_Lines]:
        """Return the lines by their thread."""
        parts: list[_Lines] = []
        for one in batch:
            thread_id = row_of(one, lambda line: check_id("thread_id", line["thread_id"]))
            kind = one.line["kind"]
            if kind == "thread":
                parts.append(_Lines(thread_id, one, [], []))
                continue
            if not parts or parts[-1].thread_id != thread_id:
                if parts:
                    raise malformed(one, "the line of its thread is missing")
                parts.append(_Lines(thread_id, None, [], []))
            (parts[-1].notes if kind == "note" else parts[-1].rows).append(one)
        return parts

    def _decided(
        self, head: NumberedLine, state: ThreadState, stored: ThreadState | None, now: float
    ) -> tuple[_Thread, bool]:
        """Return a thread, and true if it is to be created. Count it."""
        thread_id, codec = state.key.thread_id, self._codec
        if state.secret is not None and not codec.secret:
            msg = (
                f"Thread {thread_id!r} is encrypted in its memory, and this one has no key. Its references are of no use "
                f"here. Copy the threads with memory.checkpointer.copy_from(other.checkpointer)."
            )
            raise InvalidInputError(msg)
        skipped: Counter[str] | None = None
        counted, is_wanted = self._tally.stored, False
        if state.expires_at is not None and state.expires_at <= now:
            skipped = self._tally.expired
        elif stored is None:
            is_wanted = True
        elif not differ(forms.thread_line(stored, codec), forms.thread_line(state, codec)):
            counted = self._tally.unchanged
        elif self._tally.differs(f"Thread {thread_id!r}"):
            is_wanted = True
        else:
            skipped = self._tally.kept
        (counted if skipped is None else skipped)["threads"] += 1
        is_sealed = row_of(head, lambda line: line["secret"] is not None)
        rekeying = Rekeying() if is_sealed and not codec.secret else None
        return _Thread(thread_id, skipped, counted, rekeying), is_wanted

    def _rows(self, lines: Sequence[NumberedLine], rekeying: Rekeying | None) -> ThreadRows:
        codec = self._codec
        rows: dict[str, list[Any]] = {kind: [] for kind in ROWS_OF_THREAD}
        parse: dict[str, Callable[[Line], Any]] = {
            "element": lambda line: forms.element_of(line, codec),
            "value": lambda line: forms.value_of(line, codec),
            "checkpoint": lambda line: forms.checkpoint_of(line, codec),
            "write": lambda line: forms.write_of(line, codec),
        }
        for one in lines:
            rows[one.line["kind"]].append(row_of(one, parse[one.line["kind"]]))
        found = ThreadRows(*rows.values())
        return found if rekeying is None else rekeying.rows(found)

    def _notes(self, part: _Lines) -> list[list[ItemState]]:
        """Return the notes about a thread, by their subject."""
        notes: dict[str, list[ItemState]] = {}
        for one in part.notes:
            about = row_of(one, lambda line: ABOUT[ABOUT.index(line["about"])])
            namespace = self._engines.notes(part.thread_id, about).namespace
            item = row_of(NumberedLine(one.number, {**one.line, "namespace": namespace, "index": None}), forms.item_of)
            notes.setdefault(about, []).append(item)
        return list(notes.values())

    @storage_program
    def _restored(
        self, created: Sequence[ThreadState], doomed: Sequence[ThreadKey], rows: dict[ThreadKey, ThreadRows]
    ) -> Program[None]:
        for thread in doomed:
            yield from self._backend.checkpoints.delete_thread(thread)
        yield from self._transfer.restore_threads(created, time.time())
        if rows:
            yield from OffLoop(large=True)
            yield from self._transfer.restore_rows(rows, self._codec)
