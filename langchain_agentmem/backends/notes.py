"""Notes: small documents of the package itself, such as the running summary of a session.

A note describes a subject: a session, a thread or a user. It is stored in the item table, under a reserved tenant that no
store reads and no application can choose, so it needs no table of its own. Its namespace is a digest of the subject's IDs.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from langchain_agentmem.arguments.ids import TENANT_OF_NOTES
from langchain_agentmem.backends.contract import Backend, ItemPut, ItemRow, Namespace, Swap, ThreadKey
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.encoding.json_values import dump_json, load_json
from langchain_agentmem.programs import Program, storage_program

T = TypeVar("T")

_AT_ONCE = 100

TTL = "ttl"
"""The name of the note that holds a thread's own TTL in seconds."""


class Note(NamedTuple):
    """A note as it was read."""

    value: dict[str, Any]
    revision: int
    """A number that changes with every write."""
    updated_at: float
    """Seconds since 1970 in UTC."""


class Notes:
    """The notes about one subject. The methods return storage programs, which may be part of a larger transaction.

    Args:
        backend: The backend.
        tenant: The tenant of the subject.
        about: The kind of the subject and its IDs: `"session", user_id, session_id`.

    Example:
        >>> from langchain_agentmem.backends import connect
        >>> from langchain_agentmem.backends.notes import Notes
        >>> from langchain_agentmem.programs import Read, Write, run
        >>> backend = connect("sqlite:///:memory:")
        >>> notes = Notes(backend, "default", "session", None, "session-1")
        >>> def remember():
        ...     yield from Write(backend, notes.put("summary", {"text": "They said hello."}, now=1.0))
        ...     return (yield from Read(backend, notes.get("summary", now=2.0)))
        >>> run(remember()).value
        {'text': 'They said hello.'}
        >>> backend.close()
    """

    def __init__(self, backend: Backend, tenant: str, *about: str | None) -> None:
        self._items = backend.items
        self._tenant = TENANT_OF_NOTES + tenant
        self.namespace = _namespace(*about)
        """The namespace of the notes, under the tenant `TENANT_OF_NOTES` followed by the tenant of the subject."""

    @storage_program
    def get(self, name: str, now: float) -> Program[Note | None]:
        """Return a note, or None.

        Args:
            name: The name of the note.
            now: The current time, in seconds since 1970.
        """
        (row,) = yield from self._items.get(self._tenant, [(self.namespace, name)], now)
        return None if row is None else _note(row)

    @storage_program
    def several(self, names: Sequence[str], now: float) -> Program[list[Note | None]]:
        """Same as `get`, for several notes."""
        rows = yield from self._items.get(self._tenant, [(self.namespace, name) for name in names], now)
        return [None if row is None else _note(row) for row in rows]

    @storage_program
    def touch(self, name: str, now: float) -> Program[None]:
        """Restart the TTL of a note."""
        yield from self._items.touch(self._tenant, [(self.namespace, name)], now)

    @storage_program
    def put(self, name: str, value: Mapping[str, Any], now: float, ttl: float | None = None) -> Program[None]:
        """Write a note, and replace any earlier one.

        Args:
            name: The name of the note.
            value: A JSON-serialisable mapping.
            now: The current time, in seconds since 1970.
            ttl: Seconds until it expires. Default: None (never).
        """
        yield from self._items.put(self._tenant, [self._put(name, value, ttl)], now)

    def swap(
        self, name: str, value: Mapping[str, Any] | None, expected: int | None, now: float, ttl: float | None = None
    ) -> Program[bool]:
        """Write or delete a note if no other writer has changed it.

        Args:
            name: The name of the note.
            value: A JSON-serialisable mapping; None to delete the note.
            expected: The revision that was read; None: the note did not exist.
            now: The current time, in seconds since 1970.
            ttl: Seconds until it expires. Default: None (never).

        Returns:
            True if the note was written or deleted.
        """
        put = None if value is None else self._put(name, value, ttl)
        # The token is chosen outside of the program, so that a retry has the same one.
        return self._items.swap(self._tenant, [Swap(self.namespace, name, expected, put)], now, secrets.randbits(53))

    @storage_program
    def clear(self, now: float) -> Program[None]:
        """Delete all notes about the subject."""
        following: tuple[Any, ...] | None = None
        while True:
            rows, following = yield from self._items.scan(self._tenant, self.namespace, None, _AT_ONCE, following, now)
            yield from self._items.delete(self._tenant, [(row.namespace, row.key) for row in rows])
            if following is None:
                return

    def _put(self, name: str, value: Mapping[str, Any], ttl: float | None) -> ItemPut:
        return ItemPut(self.namespace, name, dump_json(value), ttl, None)


def notes_of_thread(backend: Backend, thread: ThreadKey) -> Notes:
    """Return the notes about a thread."""
    return Notes(backend, thread.tenant, *_about(thread))


def namespace_of_thread(thread: ThreadKey) -> Namespace:
    """Return the namespace of the notes about a thread."""
    return _namespace(*_about(thread))


def _about(thread: ThreadKey) -> tuple[str, str]:
    return "thread", thread.thread_id


def _namespace(*about: str | None) -> Namespace:
    return (digest_of_ids(*(one or "" for one in about)).hex(),)


@storage_program
def and_noted(program: Program[T], notes: Notes, name: str, value: Mapping[str, Any]) -> Program[T]:
    """Return a storage program that runs another one, then replaces all notes about a subject by one note."""
    result = yield from program
    now = time.time()
    yield from notes.clear(now)
    yield from notes.put(name, value, now)
    return result


@storage_program
def and_cleared(program: Program[T], notes: Notes) -> Program[T]:
    """Return a storage program that runs another one, then deletes all notes about a subject."""
    result = yield from program
    yield from notes.clear(time.time())
    return result


def _note(row: ItemRow) -> Note:
    return Note(load_json(row.value), row.revision, row.updated_at)
