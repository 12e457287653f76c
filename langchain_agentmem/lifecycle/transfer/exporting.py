"""The rows of a memory as lines, in a deterministic order: sorted by kind and ID.

Rows are read in pages, so an export needs memory for some pages only. Rows that are written during an export may be missing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from langchain_agentmem.arguments.ids import TENANT_OF_NOTES
from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import (
    Backend,
    ItemState,
    Page,
    RecordQuery,
    SessionKey,
    SessionState,
    ThreadKey,
    ThreadState,
)
from langchain_agentmem.backends.notes import Notes, notes_of_thread
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import UnknownSelectionError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.knowledge.extraction.speakers import speakers_of
from langchain_agentmem.knowledge.namespaces import USER
from langchain_agentmem.lifecycle.transfer.lines import (
    Line,
    checkpoint_line,
    element_line,
    item_line,
    message_line,
    record_line,
    session_line,
    thread_line,
    value_line,
    variable_line,
    write_line,
)
from langchain_agentmem.programs import Call, Compute, Program, Read, together
from langchain_agentmem.search.fingerprint import COMPLETE, stored_state
from langchain_agentmem.store.engine import StoreEngine

T = TypeVar("T")
Sink = Callable[[list[Line]], Program[None]]
"""Takes the lines of a batch."""

ROWS = 100
"""The number of rows in a page."""

_SESSIONS = 20
"""The number of sessions whose messages are read in one round trip."""

_THREADS = 500

_THREAD_IDS = 10_000
"""The number of thread IDs that are read at once: a page of them examines all threads in Postgres."""

ABOUT = ("thread", "speakers")
"""The subjects of notes about a thread."""


class Engines(NamedTuple):
    """The engines of a memory."""

    history: HistoryEngine
    store: StoreEngine
    checkpoints: CheckpointEngine

    @property
    def backend(self) -> Backend:
        """The backend."""
        return self.history.backend

    @property
    def tenant(self) -> str:
        """The tenant."""
        return self.history.tenant

    def notes(self, thread_id: str, about: str) -> Notes:
        """Return the notes about a thread, by their subject: see `ABOUT`."""
        if about == "speakers":
            return speakers_of(self.backend, self.tenant, thread_id)
        return notes_of_thread(self.backend, ThreadKey(self.tenant, thread_id))


class Selection(NamedTuple):
    """The rows to export."""

    session_id: str | None = None
    """Only this session, and with `thread_id` that thread."""
    user_id: str | Omitted | None = OMITTED
    """Only the rows of this user; None for rows that belong to nobody."""
    thread_id: str | None = None
    """Only this thread, and with `session_id` that session."""

    @property
    def is_whole(self) -> bool:
        """True unless sessions or threads are selected by ID."""
        return self.session_id is None and self.thread_id is None


class Exporter:
    """Reads the rows of a memory, and passes their lines to a sink.

    Args:
        engines: The engines of the memory.
        selection: The rows to export.
        sink: Takes the lines.
        report: A function that is called after each batch. Default: None.
    """

    def __init__(
        self, engines: Engines, selection: Selection, sink: Sink, report: Callable[[], Any] | None = None
    ) -> None:
        self._engines = engines
        self._backend, self._tenant = engines.backend, engines.tenant
        self._transfer = engines.backend.transfer
        self._selection = selection
        self._sink = sink
        self._report = report
        self.counts: Counter[str] = Counter()
        """The number of exported rows by kind."""
        self.shared: list[str] = []
        """The threads that were left out because other users have turns in them."""

    def program(self) -> Program[None]:
        """Export the selected rows.

        Raises:
            UnknownSelectionError: A session, user or thread that is selected by ID does not exist.
        """
        selection = self._selection
        yield from self.embeddings()
        if selection.is_whole or selection.session_id is not None:
            yield from self._sessions()
            yield from self.records(selection.user_id, selection.session_id)
            self._check_found("session", selection.session_id, "sessions", "records")
        if selection.is_whole:
            yield from self._variables()
            yield from self._items()
        if selection.is_whole or selection.thread_id is not None:
            yield from self._threads()
            self._check_found("thread", selection.thread_id, "threads")
        if isinstance(selection.user_id, str) and not (self.counts.total() or self.shared):
            msg = f"Nothing is stored about user {shown(selection.user_id)}. Check the user's ID."
            raise UnknownSelectionError(msg)

    def embeddings(self) -> Program[None]:
        """Export the fingerprint of the embedding model."""
        state = yield from stored_state(self._backend, self._tenant)
        if state is not None and state.phase == COMPLETE:
            yield from self._sink([{"kind": "embeddings", **state.fingerprint._asdict()}])

    def _check_found(self, kind: str, id_: str | None, *counted: str) -> None:
        """Check that the object that was selected by ID was exported, or left out because of its other users."""
        if id_ is None or any(self.counts[one] for one in counted) or id_ in self.shared:
            return
        user_id = self._selection.user_id
        whose = "" if user_id is OMITTED else " of no user" if user_id is None else f" of user {shown(user_id)}"
        msg = f"There is no {kind} {shown(id_)}{whose}. Check the {kind}'s ID and its user."
        raise UnknownSelectionError(msg)

    # Sessions

    def _sessions(self) -> Program[None]:
        users = yield from self._users(self._backend.messages.users)
        named = self._selection.session_id
        if named is not None:
            keys = [SessionKey(self._tenant, user, named) for user in users]
            for start in range(0, len(keys), _SESSIONS):
                yield from self.sessions(keys[start : start + _SESSIONS])
            return
        for user in users:
            after: str | None = None
            while True:
                program = self._backend.messages.session_ids(self._tenant, user, after, _SESSIONS)
                ids = yield from Read(self._backend, program)
                yield from self.sessions([SessionKey(self._tenant, user, one) for one in ids])
                if len(ids) < _SESSIONS:
                    break
                after = ids[-1]

    def sessions(self, keys: Sequence[SessionKey]) -> Program[None]:
        """Export sessions with their messages."""
        if not keys:
            return
        now = time.time()
        states, *firsts = yield from Read(
            self._backend,
            together(
                [
                    self._transfer.sessions(keys, now),
                    *(self._transfer.messages(key, -1, ROWS, now) for key in keys),
                ]
            ),
        )
        for key, state, rows in zip(keys, states, firsts, strict=True):
            if state is not None:
                yield from self._session(key, state, rows)

    def _session(self, key: SessionKey, state: SessionState, page: Sequence[Any]) -> Program[None]:
        with reading(f"Session {key.session_id!r}"):
            line = session_line(state)
        counts = {"sessions": 1, "summaries": len(state.summaries), "variables": len(state.variables)}
        yield from self._add([line], **counts)
        codec = self._engines.history.codec
        while page:
            yield from self._add_rows(page, lambda row: message_line(key, row, codec), "messages")
            if len(page) < ROWS:
                return
            program = self._transfer.messages(key, page[-1].position, ROWS, time.time())
            page = yield from Read(self._backend, program)

    def records(self, user_id: str | Omitted | None, session_id: str | None) -> Program[None]:
        """Export the records of a user (`OMITTED`: all), or those of a session."""
        query = RecordQuery(self._tenant, user_id, session_id, newest_first=False, limit=ROWS)
        while True:
            rows = yield from Read(self._backend, self._backend.records.query(query, time.time()))
            yield from self._add_rows(rows, record_line, "records")
            if len(rows) < ROWS:
                return
            query = query._replace(above=rows[-1].id)

    def _variables(self) -> Program[None]:
        for user in (yield from self._users(self._backend.variables.users)):
            rows = yield from Read(self._backend, self._transfer.variables(self._tenant, user, time.time()))
            for start in range(0, len(rows), ROWS):
                yield from self._add_rows(rows[start : start + ROWS], variable_line, "variables")

    # Items

    def _items(self) -> Program[None]:
        user_id = self._selection.user_id
        if user_id is OMITTED or user_id is None:
            roots = sorted((yield from Read(self._backend, self._backend.items.roots(self._tenant, time.time()))))
            roots = [root for root in roots if user_id is OMITTED or not root.startswith(USER)]
        else:
            roots = [f"{USER}{user_id}"]
        for root in roots:
            after: Any = None
            while True:
                program = self._transfer.item_keys(self._tenant, root, after, ROWS, time.time())
                keys, after = yield from Read(self._backend, program)
                if keys:
                    found = yield from Read(self._backend, self._transfer.items(self._tenant, keys, time.time()))
                    yield from self.items([item for item in found if item is not None])
                if after is None:
                    break

    def items(self, items: Sequence[ItemState]) -> Program[None]:
        """Export items that were read."""
        yield from self._add_rows(items, item_line, "items")

    # Threads

    def _threads(self) -> Program[None]:
        _, user_id, thread_id = self._selection
        if thread_id is not None:
            yield from self.threads([thread_id])
            return
        if isinstance(user_id, str):
            ids = sorted((yield from self._threads_of(user_id)))
            for start in range(0, len(ids), ROWS):
                yield from self.threads(ids[start : start + ROWS])
            return
        after: Any = None
        while True:
            program = self._transfer.thread_ids(self._tenant, after, _THREAD_IDS, time.time())
            ids, after = yield from Read(self._backend, program)
            for start in range(0, len(ids), ROWS):
                yield from self.threads(ids[start : start + ROWS])
            if after is None:
                return

    def _threads_of(self, user_id: str) -> Program[list[str]]:
        found: list[str] = []
        while True:
            program = self._backend.checkpoints.threads(self._tenant, user_id, _THREADS, len(found), time.time())
            rows = yield from Read(self._backend, program)
            found += [row.thread_id for row in rows]
            if len(rows) < _THREADS:
                return list(dict.fromkeys(found))

    def threads(self, thread_ids: Sequence[str]) -> Program[None]:
        """Export threads with all their rows, except for those that are not selected by the user."""
        if not thread_ids:
            return
        program = self._transfer.threads(self._tenant, thread_ids, time.time())
        for state in (yield from Read(self._backend, program)):
            if state is not None and self._is_selected(state):
                yield from self.thread(state)

    def _is_selected(self, state: ThreadState) -> bool:
        user_id = self._selection.user_id
        users = {*state.users, *([state.user_id] if state.user_id else [])}
        if user_id is OMITTED:
            return True
        if user_id is None:
            return not users
        if len(users) > 1 and user_id in users:
            self.shared.append(state.key.thread_id)
        return users == {user_id}

    def thread(self, state: ThreadState) -> Program[None]:
        """Export a thread with all its rows."""
        key, codec = state.key, self._engines.checkpoints.codec
        with reading(f"Thread {key.thread_id!r}"):
            yield from self._add([thread_line(state, codec)], threads=1)
        for about in ABOUT:
            yield from self._notes(key.thread_id, about)
        table = self._transfer
        yield from self._rows(
            key, lambda after: table.elements(key, after, ROWS), lambda one: element_line(key.thread_id, one, codec)
        )
        yield from self._rows(
            key, lambda after: table.values(key, after, ROWS), lambda one: value_line(key.thread_id, one, codec)
        )
        yield from self._rows(
            key,
            lambda after: table.checkpoints(key, after, ROWS, codec),
            lambda one: checkpoint_line(one, codec),
            "checkpoints",
        )
        yield from self._rows(
            key,
            lambda after: table.writes(key, after, ROWS),
            lambda one: write_line(key.thread_id, one, codec),
            "pending_writes",
        )

    def _rows(
        self,
        thread: ThreadKey,
        page_of: Callable[[Any], Program[Page[T]]],
        line_of: Callable[[T], Line],
        kind: str | None = None,
    ) -> Program[None]:
        after: Any = None
        while True:
            with reading(f"Thread {thread.thread_id!r}"):
                rows, after = yield from Read(self._backend, page_of(after))
                lines = yield from _lines_of(rows, line_of)
            yield from self._add(lines, **({kind: len(lines)} if kind else {}))
            if after is None:
                return

    def _notes(self, thread_id: str, about: str) -> Program[None]:
        (root,) = self._engines.notes(thread_id, about).namespace
        tenant, now = TENANT_OF_NOTES + self._tenant, time.time()
        keys, _ = yield from Read(self._backend, self._transfer.item_keys(tenant, root, None, ROWS, now))
        if keys:
            found = yield from Read(self._backend, self._transfer.items(tenant, keys, now))
            items = [item for item in found if item is not None]
            yield from self._add((yield from _lines_of(items, lambda item: note_line(thread_id, about, item))))

    # Parts

    def _users(self, users_of: Callable[[str, float], Program[list[str]]]) -> Program[list[str | None]]:
        """Return the selected users, and None for nobody, sorted."""
        user_id = self._selection.user_id
        if user_id is not OMITTED:
            return [user_id]
        return [None, *sorted((yield from Read(self._backend, users_of(self._tenant, time.time()))))]

    def _add_rows(self, rows: Sequence[T], line_of: Callable[[T], Line], kind: str) -> Program[None]:
        lines = yield from _lines_of(rows, line_of)
        yield from self._add(lines, **{kind: len(lines)})

    def _add(self, lines: list[Line], **counts: int) -> Program[None]:
        if lines:
            yield from self._sink(lines)
            self.counts.update(counts)
            if self._report is not None:
                yield from Call(self._report)


def _lines_of(rows: Sequence[T], line_of: Callable[[T], Line]) -> Program[list[Line]]:
    """Return the lines of rows. Under `arun`, a worker thread computes them."""
    return (yield from Compute(True, lambda: [line_of(row) for row in rows]))


def note_line(thread_id: str, about: str, item: ItemState) -> Line:
    """Return the line of a note about a thread."""
    line = item_line(item)
    del line["namespace"], line["index"]
    return {**line, "kind": "note", "thread_id": thread_id, "about": about}
