"""Lines as rows of a memory: checked, compared with the stored rows, and stored.

An import never changes a stored row, unless the caller asks for that. Equal rows are skipped, so an import that was
interrupted continues when it is run again.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from langchain_agentmem.arguments.ids import TENANT_OF_NOTES
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import (
    ItemKey,
    ItemState,
    MessageRow,
    RecordQuery,
    RecordRow,
    Replacement,
    SessionKey,
    SessionState,
    VariableRow,
)
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.lifecycle.transfer import lines as forms
from langchain_agentmem.lifecycle.transfer.batches import LINES, OF_THREADS, malformed, row_of
from langchain_agentmem.lifecycle.transfer.exporting import Engines
from langchain_agentmem.lifecycle.transfer.files import NumberedLine
from langchain_agentmem.lifecycle.transfer.lines import Line, differ
from langchain_agentmem.lifecycle.transfer.results import Imported
from langchain_agentmem.lifecycle.transfer.tally import Tally
from langchain_agentmem.lifecycle.transfer.threads import ThreadImporter
from langchain_agentmem.programs import Compute, OffLoop, Program, Read, Write, storage_program
from langchain_agentmem.search.fingerprint import COMPLETE, Fingerprint, stored_state, swap_state
from langchain_agentmem.store.fields import field_paths, indexed_words
from langchain_agentmem.text.vectors import width_of

_log = logging.getLogger(__name__)

T = TypeVar("T")


class _Session(NamedTuple):
    """The lines of a session in a batch."""

    state: SessionState | None
    """None if its line was in an earlier batch."""
    messages: list[NumberedLine]


class Importer:
    """Stores the lines of an export.

    Args:
        engines: The engines of the memory.
        existing: See `Tally`.
        stores: If false, only check the lines, and compare them with the stored rows.
    """

    def __init__(self, engines: Engines, existing: str, *, stores: bool) -> None:
        self._engines = engines
        self._backend, self._tenant = engines.backend, engines.tenant
        self._transfer = engines.backend.transfer
        self._stores = stores
        self._tally = Tally(existing)
        self._takes_vectors = False
        self._refused: set[Fingerprint] = set()
        """The models whose vectors are left out, with a warning for each."""
        self._width: int | None = None
        """The bytes of each vector; None as long as no line says which model they belong to: they are left out."""
        self._skipped: dict[SessionKey, Counter[str]] = {}
        """The sessions whose messages are left out, with the counter for them."""
        self._fresh: SessionKey | None = None
        """The session that this import created last."""
        self._threads = ThreadImporter(engines, self._tally, self._restore_notes, stores=stores)

    @property
    def done(self) -> Imported:
        """The result so far."""
        return self._tally.result()

    def take(self, batch: Sequence[NumberedLine]) -> Program[None]:
        """Store a batch of lines: all of them, or none.

        Raises:
            DamagedDataError: A line does not have the form of its kind.
            InvalidInputError: A different object is stored.
        """
        kind = batch[0].line.get("kind")
        yield from OffLoop(large=True)
        if kind in ("session", "message"):
            yield from self._sessions(batch)
        elif isinstance(kind, str) and kind in OF_THREADS:
            yield from self._threads.take(batch)
        else:
            handlers = {
                "embeddings": self._embeddings,
                "record": self._records,
                "variable": self._variables,
                "item": self._items,
            }
            if not isinstance(kind, str) or kind not in handlers:
                raise malformed(batch[0], f"the kind {shown(kind)} is unknown")
            yield from handlers[kind](batch)

    # Embeddings

    def _embeddings(self, batch: Sequence[NumberedLine]) -> Program[None]:
        """Decide whether vectors are stored: they are if the memory has the same embedding model, or none."""
        for one in batch:
            fingerprint = row_of(one, forms.fingerprint_of)
            state = yield from stored_state(self._backend, self._tenant)
            indexer = self._engines.store.indexer
            fits = None
            if state is None:
                program = self._backend.items.fits(self._tenant, fingerprint.dimensions)
                fits = yield from Read(self._backend, program)
            own = indexer is None or indexer.embedder.name == fingerprint.model
            same = state is None or (state.fingerprint == fingerprint and state.phase == COMPLETE)
            self._takes_vectors = own and same and fits is None
            self._width = width_of(fingerprint.dimensions)
            if not self._takes_vectors and self._stores and fingerprint not in self._refused:
                self._refused.add(fingerprint)
                used = state.fingerprint if state is not None else indexer.embedder.name if indexer else None
                _log.warning(
                    "The vectors of the export belong to %s, but this memory uses %s. Messages and items are stored "
                    "without vectors. Call memory.reindex() to embed them.",
                    fingerprint,
                    used or fits,
                )
            elif state is None and self._stores:
                yield from swap_state(self._backend, self._tenant, None, fingerprint, COMPLETE)

    def _check_vectors(self, one: NumberedLine, vectors: Sequence[bytes]) -> None:
        """Check the vectors of a line. Count the line if they are left out."""
        if not self._takes_vectors:
            self._tally.without_vectors += bool(vectors)
        for vector in vectors:
            if self._width is not None and len(vector) != self._width:
                raise malformed(one, f"it has a vector of {len(vector):,} bytes instead of {self._width:,}")

    # Sessions

    def _sessions(self, batch: Sequence[NumberedLine]) -> Program[None]:
        sessions = self._parsed(batch)
        now = time.time()
        states = yield from Read(self._backend, self._transfer.sessions(list(sessions), now))
        stored = dict(zip(sessions, states, strict=True))
        created: list[SessionState] = []
        doomed: list[SessionKey] = []
        for key, (state, _) in sessions.items():
            if state is not None and self._is_wanted_session(state, stored[key], now):
                created.append(state)
                if stored[key] is not None:
                    doomed.append(key)
        rows: dict[SessionKey, list[MessageRow]] = {}
        edits: list[tuple[SessionKey, Replacement]] = []
        fresh = {state.key for state in created}
        for key, session in sessions.items():
            counter = self._skipped.get(key)
            if counter is not None:
                counter["messages"] += len(session.messages)
            elif session.messages:
                found = yield from Compute(True, self._message_rows, session.messages)
                if stored[key] is None and key not in fresh and self._stores:
                    created.append(_missing_session(key, found))
                known = stored[key]
                if key in fresh or key == self._fresh or known is None:
                    rows[key] = found
                else:
                    rows[key], edited = yield from self._wanted_messages(known, found)
                    edits += [(key, one) for one in edited]
        messages = new = sum(map(len, rows.values()))
        if self._stores and (created or edits or messages):
            messages = yield from Write(self._backend, self._restored(created, doomed, rows, edits))
        # A concurrent import has stored the other messages.
        self._tally.unchanged["messages"] += new - messages
        self._fresh = created[-1].key if created else self._fresh
        for state in created:
            if state.key in fresh:
                self._tally.stored.update(sessions=1, summaries=len(state.summaries), variables=len(state.variables))
        self._tally.stored["messages"] += messages + len(edits)

    def _parsed(self, batch: Sequence[NumberedLine]) -> dict[SessionKey, _Session]:
        sessions: dict[SessionKey, _Session] = {}
        for one in batch:
            if one.line["kind"] == "session":
                state = row_of(one, lambda line: forms.session_of(line, self._tenant))
                if state.key in sessions:
                    raise malformed(one, "the session is repeated")
                sessions[state.key] = _Session(state, [])
            else:
                key = row_of(one, lambda line: forms.session_key(line, self._tenant))
                sessions.setdefault(key, _Session(None, [])).messages.append(one)
        return sessions

    def _is_wanted_session(self, state: SessionState, stored: SessionState | None, now: float) -> bool:
        """Return true if a session is to be created."""
        counts = {"sessions": 1, "summaries": len(state.summaries), "variables": len(state.variables)}
        if state.expires_at is not None and state.expires_at <= now:
            self._tally.expired.update(counts)
            self._skipped[state.key] = self._tally.expired
            return False
        self._skipped.pop(state.key, None)
        if stored is None:
            return True
        if not differ(forms.session_line(stored), forms.session_line(state)):
            self._tally.unchanged.update(counts)
            return False
        if self._tally.differs(f"Session {state.key.session_id!r} of {_owner(state.key.user_id)}"):
            return True
        self._tally.kept.update(counts)
        self._skipped[state.key] = self._tally.kept
        return False

    def _message_rows(self, numbered: Sequence[NumberedLine]) -> list[MessageRow]:
        codec, language = self._engines.history.codec, self._backend.language if self._stores else None
        rows = []
        for one in numbered:
            row = row_of(one, lambda line: forms.message_row(line, self._tenant, codec, language))
            self._check_vectors(one, () if row.vector is None else (row.vector,))
            rows.append(row if self._takes_vectors else row._replace(vector=None))
        return rows

    def _wanted_messages(
        self, state: SessionState, rows: Sequence[MessageRow]
    ) -> Program[tuple[list[MessageRow], list[Replacement]]]:
        """Return the messages of an existing session that are to be stored, and those that are to be replaced."""
        key, first, last = state.key, rows[0].position, rows[-1].position
        program = self._transfer.messages(key, first - 1, last - first + 1, time.time(), complete=False)
        found = {row.position: row for row in (yield from Read(self._backend, program))}
        return (yield from Compute(True, self._compared_messages, state, rows, found))

    def _compared_messages(
        self, state: SessionState, rows: Sequence[MessageRow], found: Mapping[int, MessageRow]
    ) -> tuple[list[MessageRow], list[Replacement]]:
        key, codec = state.key, self._engines.history.codec
        wanted: list[MessageRow] = []
        edits: list[Replacement] = []
        for row in rows:
            stored = found.get(row.position)
            if stored is None:
                wanted.append(row)
                continue
            before, after = forms.message_line(key, stored, codec), forms.message_line(key, row, codec)
            what = f"Message {row.position} of session {key.session_id!r} of {_owner(key.user_id)}"
            if self._tally.replaces("messages", what, equal=not differ(before, after)):
                if not _is_edit(before, after):
                    raise _another_message(key, row.position)
                title = state.title if state.title_position == row.position else None
                times = {"keeps_time": False, "keeps_metadata": False}
                edits.append(Replacement(row.id_digest or b"", row, row.agent, **times, title=title))
        return wanted, edits

    @storage_program
    def _restored(
        self,
        created: Sequence[SessionState],
        doomed: Sequence[SessionKey],
        rows: dict[SessionKey, list[MessageRow]],
        edits: Sequence[tuple[SessionKey, Replacement]],
    ) -> Program[int]:
        """Store sessions with their messages, and return the number of added messages."""
        now, added = time.time(), 0
        for key in doomed:
            yield from self._backend.messages.delete(key)
        restored = yield from self._transfer.restore_sessions(created, now)
        others = [state for state, is_restored in zip(created, restored, strict=True) if not is_restored]
        if others:
            found = yield from self._transfer.sessions([state.key for state in others], now)
            for state, stored in zip(others, found, strict=True):
                if stored is None or differ(forms.session_line(stored), forms.session_line(state)):
                    msg = f"Session {state.key.session_id!r} was created by another writer during the import."
                    raise InvalidInputError(msg)
        if any(rows.values()):
            yield from OffLoop(large=True)
            added = yield from self._transfer.restore_messages({key: own for key, own in rows.items() if own}, now)
        for key, edit in edits:
            replaced = yield from self._backend.messages.replace(key, edit._replace(token=secrets.randbits(62)), now)
            if replaced is None or [row.position for row in replaced] != [edit.row.position]:
                raise _another_message(key, edit.row.position)
        return added

    # Records and variables

    def _records(self, batch: Sequence[NumberedLine]) -> Program[None]:
        rows = [row_of(one, forms.record_of) for one in batch]
        stored: dict[str, RecordRow] = {}
        query = RecordQuery(self._tenant, lowest=min(row.id for row in rows), newest_first=False, limit=LINES)
        last = max(row.id for row in rows)
        while True:
            page = yield from Read(self._backend, self._backend.records.query(query, time.time()))
            stored.update({row.id: row for row in page})
            if len(page) < LINES or page[-1].id >= last:
                break
            query = query._replace(above=page[-1].id)
        yield from OffLoop(large=True)
        wanted, doomed = [], []
        for row in rows:
            key = None if row.session_id is None else SessionKey(self._tenant, row.user_id, row.session_id)
            if key is not None and key in self._skipped:
                self._skipped[key]["records"] += 1
                continue
            known = stored.get(row.id)
            if known is None:
                wanted.append(row)
            elif self._tally.replaces(
                "records", f"Record {row.id!r}", equal=forms.record_line(known) == forms.record_line(row)
            ):
                wanted.append(row)
                doomed.append(known)
        if self._stores and wanted:
            yield from Write(self._backend, self._restored_records(wanted, doomed))
        self._tally.stored["records"] += len(wanted)

    @storage_program
    def _restored_records(self, rows: Sequence[RecordRow], doomed: Sequence[RecordRow]) -> Program[None]:
        now = time.time()
        if doomed:
            yield from self._backend.records.delete(self._tenant, doomed)
        sessions = {
            SessionKey(self._tenant, row.user_id, row.session_id): row for row in rows if row.session_id is not None
        }
        found = yield from self._transfer.sessions(list(sessions), now)
        missing: list[SessionState] = []
        for (key, row), state in zip(sessions.items(), found, strict=True):
            if state is None:  # an archive of records, whose session was deleted later
                times = (row.created_at, row.created_at, None)
                missing.append(SessionState(key, None, None, 0, *times, None))
        yield from self._transfer.restore_sessions(missing, now)
        yield from self._transfer.restore_records(self._tenant, rows, now)

    def _variables(self, batch: Sequence[NumberedLine]) -> Program[None]:
        rows = [row_of(one, lambda line: forms.variable_of(line, self._tenant)) for one in batch]
        now = time.time()
        program = self._transfer.variables(self._tenant, rows[0].scope.user_id, now)
        stored = {(row.scope, row.name): row for row in (yield from Read(self._backend, program))}
        yield from OffLoop(large=True)
        wanted: list[VariableRow] = []
        doomed: list[VariableRow] = []
        for row in rows:
            known = stored.get((row.scope, row.name))
            if row.expires_at is not None and row.expires_at <= now:
                self._tally.expired["variables"] += 1
            elif known is None:
                wanted.append(row)
            elif self._tally.replaces(
                "variables",
                f"Variable {row.name!r} of {_owner(row.scope.user_id)}",
                equal=forms.variable_line(known) == forms.variable_line(row),
            ):
                wanted.append(row)
                doomed.append(known)
        if self._stores and wanted:
            yield from Write(self._backend, self._restored_variables(wanted, doomed))
        self._tally.stored["variables"] += len(wanted)

    @storage_program
    def _restored_variables(self, rows: Sequence[VariableRow], doomed: Sequence[VariableRow]) -> Program[None]:
        now = time.time()
        for row in doomed:
            yield from self._backend.variables.remove(row.scope, [row.name], now)
        yield from self._transfer.restore_variables(self._tenant, rows, now)

    # Items

    def _items(self, batch: Sequence[NumberedLine]) -> Program[None]:
        items = yield from Compute(True, self._analyzed, batch)
        yield from self._restore_items(self._tenant, items, "items")

    def _analyzed(self, batch: Sequence[NumberedLine]) -> list[ItemState]:
        store = self._engines.store
        items = []
        for one in batch:
            item = row_of(one, forms.item_of)
            fields = store.fields
            if item.row.paths is not None:
                fields = row_of(one, lambda line: field_paths(line["index"]))
            text = None
            if fields and self._stores:
                text = indexed_words(load_json(item.row.value), fields, self._backend.language)
            self._check_vectors(one, item.vectors)
            items.append(item._replace(text=text, vectors=item.vectors if self._takes_vectors else ()))
        return items

    def _restore_notes(self, notes: Sequence[ItemState]) -> Program[None]:
        yield from self._restore_items(TENANT_OF_NOTES + self._tenant, notes, None)

    def _restore_items(self, tenant: str, items: Sequence[ItemState], kind: str | None) -> Program[None]:
        now = time.time()
        keys: list[ItemKey] = [(item.row.namespace, item.row.key) for item in items]
        stored = yield from Read(self._backend, self._transfer.items(tenant, keys, now))
        wanted, doomed = yield from Compute(True, self._compared_items, items, stored, kind, now)
        if self._stores and wanted:
            yield from Write(self._backend, self._transfer.restore_items(tenant, wanted, time.time(), doomed))
        if kind:
            self._tally.stored[kind] += len(wanted)

    def _compared_items(
        self, items: Sequence[ItemState], stored: Sequence[ItemState | None], kind: str | None, now: float
    ) -> tuple[list[ItemState], list[ItemKey]]:
        """Return the items that are to be stored, and the keys of those that they replace."""
        wanted: list[ItemState] = []
        doomed: list[ItemKey] = []
        for item, known in zip(items, stored, strict=True):
            if item.expires_at is not None and item.expires_at <= now:
                self._tally.expired.update([kind] if kind else [])
            elif known is None:
                wanted.append(item)
            elif self._tally.replaces(
                kind,
                f"Item {item.row.key!r} in {item.row.namespace!r}" if kind else "A note of a thread",
                equal=not differ(forms.item_line(known), forms.item_line(item)),
            ):
                wanted.append(item)
                doomed.append((item.row.namespace, item.row.key))
        return wanted, doomed


def _missing_session(key: SessionKey, rows: Sequence[MessageRow]) -> SessionState:
    """Return a session for messages of an archive whose session was deleted."""
    times = [row.created_at for row in rows]
    return SessionState(key, None, None, rows[-1].position + 1, min(times), max(times), None, None)


def _is_edit(before: Line, after: Line) -> bool:
    """Return true if a message may replace another one in place: both have one ID, one agent and one retention."""
    same = all(before[name] == after[name] for name in ("agent", "ends_with_session"))
    ids = [line["message"]["data"].get("id") if "message" in line else None for line in (before, after)]
    return same and ids[0] == ids[1] is not None


def _another_message(key: SessionKey, position: int) -> InvalidInputError:
    msg = (
        f"Message {position} of session {key.session_id!r} of {_owner(key.user_id)} cannot be replaced: the stored one has "
        f"another ID, or several messages of the session have its ID. Delete the session, and import again."
    )
    return InvalidInputError(msg)


def _owner(user_id: str | None) -> str:
    return "nobody" if user_id is None else f"user {user_id!r}"
