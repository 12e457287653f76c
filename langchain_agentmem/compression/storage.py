"""Storage of the records of summaries: with a thread, with a session, or in this process."""

from __future__ import annotations

import json
import logging
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from itertools import count
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import RunnableConfig
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from langchain_agentmem.arguments.ids import check_id, check_optional_id
from langchain_agentmem.arguments.runs import user_named_by
from langchain_agentmem.backends.contract import LIST_SUMMARY, Backend, SessionKey, StoredSummary, ThreadKey
from langchain_agentmem.backends.notes import TTL, Notes, notes_of_thread
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.compression.records import Entry, Record, RecordStorage, chained
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.programs import Program, Read, Write
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.text.guard import Guard

_log = logging.getLogger(__name__)

_CONVERSATIONS = 1_000
"""The number of conversations in `ProcessRecords`."""
_BEGINNING = 4
"""The number of messages that identify a conversation in `ProcessRecords`."""
_ALIKE = 64
"""The number of summaries that `ProcessRecords` keeps of conversations with the same beginning."""


class SessionRecords:
    """Stores the record of a session with the session.

    Args:
        backend: The backend that stores the session.
        key: The session.
        agent: Only this agent's messages; None for those of all agents.
        guard: Redacts the record. Default: None (nothing is redacted).
    """

    def __init__(self, backend: Backend, key: SessionKey, agent: str | None, guard: Guard | None = None) -> None:
        self._guard = guard
        self._backend = backend
        self._key = key
        self._agent = agent

    def load(self, now: float) -> Program[tuple[Record, int | None]]:
        """See `RecordStorage`."""
        stored = yield from Read(self._backend, self._backend.messages.summary(self._key, self._agent, now))
        if stored is None:
            return Record(), None
        return record_of(stored.value), stored.revision

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:
        """See `RecordStorage`. Nothing is stored if the session does not exist."""
        # A summary that is being written may tell any message. So may one of messages that were passed as a list.
        covers = None
        if record.claim is None and self._agent != LIST_SUMMARY:
            covers = max((entry.covered for entry in record.entries), default=0)
        summary = StoredSummary(json.dumps(_guarded(record, self._guard)), secrets.randbits(53), covers)
        return (
            yield from Write(
                self._backend, self._backend.messages.swap_summary(self._key, self._agent, summary, revision, now)
            )
        )


SUMMARY = "summary "
"""The beginning of the name of a thread's note with a summary. The namespace of the subgraph follows."""


class ThreadRecords:
    """Stores the record of a thread among the notes about it.

    Args:
        backend: The backend that stores the notes.
        notes: The notes.
        name: The name of the note.
        ttl: Seconds without use after which the record expires; None for never. A TTL of the thread itself takes precedence.
        serde: Encrypts the record. Default: None (no encryption).
        guard: Redacts the record. Default: None (nothing is redacted).
    """

    def __init__(
        self,
        backend: Backend,
        notes: Notes,
        name: str,
        ttl: float | None,
        serde: SerializerProtocol | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self._backend = backend
        self._notes = notes
        self._name = name
        self._ttl = ttl
        self._serde = serde

    def load(self, now: float) -> Program[tuple[Record, int | None]]:
        """See `RecordStorage`. A record that is in use does not expire."""
        note, ttl = yield from Read(self._backend, self._notes.several([self._name, TTL], now))
        if ttl is not None:
            self._ttl = ttl.value["seconds"]
        if note is None:
            return Record(), None
        if self._ttl is not None and now - note.updated_at > self._ttl / 4:
            yield from Write(self._backend, self._notes.touch(self._name, now))
        return Record.from_json(self._decrypted(note.value)), note.revision

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:
        """See `RecordStorage`."""
        ttl = self._ttl
        if ttl is not None and record.claim is not None:
            ttl = max(ttl, record.until - now)  # the record must not expire before the claim
        value = self._encrypted(_guarded(record, self._guard))
        return (yield from Write(self._backend, self._notes.swap(self._name, value, revision, now, ttl)))

    def _encrypted(self, value: dict[str, Any]) -> dict[str, Any]:
        if self._serde is None:
            return value
        kind, data = self._serde.dumps_typed(value)
        return {"type": kind, "data": b64encode(data).decode()}

    def _decrypted(self, value: dict[str, Any]) -> dict[str, Any]:
        is_encrypted = "data" in value
        if is_encrypted != (self._serde is not None):
            # Without the key, an encrypted record is unreadable. With a key, a plain record cannot be trusted.
            return Record().to_json()
        if self._serde is None:
            return value
        found: dict[str, Any] = self._serde.loads_typed((value["type"], b64decode(value["data"])))
        return found


class ProcessRecords:
    """The records of conversations without a thread or a session, for the lifetime of the process.

    Such a conversation has no ID. Its record is found by the digest of its first messages; the digest of all covered messages
    distinguishes conversations with the same beginning.
    """

    def __init__(self) -> None:
        self._entries: RecentValues[str, tuple[Entry, ...]] = RecentValues(_CONVERSATIONS)
        self._claims: dict[str, tuple[int, float, int]] = {}
        self._revisions = count()
        self._lock = forkable_lock()

    def of(self, messages: Sequence[BaseMessage]) -> RecordStorage:
        """Return the storage of a conversation's record."""
        beginning = chained("", messages[:_BEGINNING])
        return _ProcessRecord(self, beginning, chained(f"{beginning} {len(messages)}", messages[-1:]))

    def load(self, beginning: str, whole: str) -> tuple[Record, int | None]:
        """Return a record and its revision.

        Args:
            beginning: The digest of the first messages, which is the key of the summaries.
            whole: The digest of the whole conversation, which is the key of the claim.
        """
        with self._lock:
            claim, until, revision = self._claims.get(whole, (None, 0.0, None))
            return Record(self._entries.get(beginning) or (), claim, until), revision

    def swap(self, beginning: str, whole: str, record: Record, revision: int | None) -> bool:
        """Store a record if its revision is still `revision`; return true if it was stored."""
        with self._lock:
            if self._claims.get(whole, (None, 0.0, None))[2] != revision:
                return False
            self._claims.pop(whole, None)
            if record.claim is not None:
                self._claims[whole] = record.claim, record.until, next(self._revisions)
            keys = {entry.key for entry in record.entries}
            others = [entry for entry in self._entries.get(beginning) or () if entry.key not in keys]
            self._entries.put(beginning, (*record.entries, *others)[:_ALIKE])
            return True


class _ProcessRecord:
    def __init__(self, records: ProcessRecords, beginning: str, whole: str) -> None:
        self._records = records
        self._key = beginning, whole

    def load(self, now: float) -> Program[tuple[Record, int | None]]:  # noqa: ARG002 (of the protocol)
        yield from ()
        return self._records.load(*self._key)

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:  # noqa: ARG002
        yield from ()
        return self._records.swap(*self._key, record, revision)


class FallbackRecords:
    """Uses a second storage until the first one can store the record: a session without messages does not exist yet.

    Args:
        first: The storage that is tried first.
        second: The other storage.
    """

    def __init__(self, first: RecordStorage, second: RecordStorage) -> None:
        self._first = first
        self._second = second
        self._is_in_first = False

    def load(self, now: float) -> Program[tuple[Record, int | None]]:
        """See `RecordStorage`."""
        record, revision = yield from self._first.load(now)
        if self._is_in_first or revision is not None:
            self._is_in_first = True
            return record, revision
        return (yield from self._second.load(now))

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:
        """See `RecordStorage`."""
        if self._is_in_first:
            return (yield from self._first.swap(record, revision, now))
        if (yield from self._first.swap(record, None, now)):
            self._is_in_first = True
            return True
        return (yield from self._second.swap(record, revision, now))


def storage_of_run(engine: CheckpointEngine, config: RunnableConfig) -> RecordStorage | None:
    """Return the storage for the thread or the session that a run's config names; None if it names neither.

    Args:
        engine: The engine of the checkpointer: its tenant, TTL and serializer apply to the summaries of threads.
        config: The config of the run.
    """
    configurable = config.get("configurable") or {}
    if configurable.get("thread_id") is not None:
        thread_id = check_id("thread_id", str(configurable["thread_id"]))
        # A subgraph's namespace contains task IDs, which differ in each run.
        namespace = "|".join(
            part.partition(":")[0] for part in (configurable.get("checkpoint_ns") or "").split("|")[:-1]
        )
        return thread_storage(engine, thread_id, namespace)
    if configurable.get("session_id") is not None:
        user_id = check_optional_id("user_id", user_named_by(configurable))
        key = SessionKey(engine.tenant, user_id, check_id("session_id", configurable["session_id"]))
        return session_storage(engine.backend, key, engine.guard)
    return None


def thread_storage(engine: CheckpointEngine, thread_id: str, namespace: str = "") -> RecordStorage:
    """Return the storage for the summaries of a thread, or of a subgraph in it."""
    serde = engine.codec.serde
    notes = notes_of_thread(engine.backend, ThreadKey(engine.tenant, thread_id))
    return ThreadRecords(
        engine.backend,
        notes,
        f"{SUMMARY}{namespace}",
        engine.ttl,
        serde if isinstance(serde, EncryptedSerializer) else None,
        engine.guard,
    )


def session_storage(backend: Backend, key: SessionKey, guard: Guard | None = None) -> RecordStorage:
    """Return the storage for the summaries of a session whose messages a compressor receives as a list."""
    return SessionRecords(backend, key, LIST_SUMMARY, guard)


def _guarded(record: Record, guard: Guard | None) -> Any:
    """Return a record as JSON, with redacted texts: a summary is made from messages that the guard may not have seen."""
    stored = record.to_json()
    return stored if guard is None else guard.redacting.value(stored, "The summary")


def record_of(stored: str) -> Record:
    """Return the record in `StoredSummary.value`; an empty record if it is damaged, so that a new summary is written."""
    try:
        with reading("The summary of a session"):
            return Record.from_json(json.loads(stored)) if stored else Record()
    except DamagedDataError as error:
        _log.warning("%s A new summary will be written.", error)
        return Record()
