"""Rows for the contract tests of a backend, and how the tests run storage programs."""

from __future__ import annotations

import secrets
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from langchain_agentmem.backends.contract import (
    Append,
    Backend,
    Changes,
    ItemPut,
    MessageRow,
    SessionKey,
)
from langchain_agentmem.backends.contract.changes import unpacked
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Program
from langchain_agentmem.text.words import analyze

T = TypeVar("T")

NOW = 1_800_000_000.0
"""The time of the tests, in seconds since 1970."""

NOTES = ("users", "alice")
KEY = SessionKey("default", "alice", "session-1")

HOSTILE_IDS = (
    "a",
    "a:b",
    "a%",
    "a_",
    "*",
    "a*",
    "{a}",
    "[a]",
    "a.b",
    "a/b",
    "../a",
    "a'b",
    'a"b',
    "a\\b",
    "A",
    " a",
    "ä",
    "\U0001f600",
)
"""IDs that a backend must keep apart: patterns, separators, quotes, and names that begin alike."""


def message(
    position: int, text: str, *, role: str = "human", agent: str | None = None, ends: bool = False
) -> MessageRow:
    """Return a message to append, with its search index."""
    body = Typed("json", text.encode())
    return MessageRow(position, role, agent, ends, NOW, None, body, analyze(text), id_digest=digest(text))


def digest(text: str) -> bytes:
    """Return the digest of the ID of the message with a text."""
    return digest_of_ids("id", text)


def turn(*texts: str, **options: Any) -> Append:
    """Return an addition of several human messages."""
    now = options.pop("now", NOW)
    rows = [message(position, text, agent=options.get("agent")) for position, text in enumerate(texts)]
    return Append(rows, options.pop("titles", None), now, token=secrets.randbits(62), **options)


def item(key: str, value: str = "{}", *, namespace: tuple[str, ...] = NOTES, **options: Any) -> ItemPut:
    """Return an item to store."""
    return ItemPut(namespace, key, value, options.pop("ttl", None), options.pop("text", None), **options)


class SearchEntry(NamedTuple):
    """A message as searches see it."""

    session_id: str
    position: int
    role: str
    agent: str | None
    created_at: float
    words: bytes | None
    vector: bytes | None


def entries_in(changes: Changes, now: float = NOW) -> list[SearchEntry]:
    """Return the messages in changes since nothing, without those of expired sessions.

    Args:
        changes: The result of `MessageLog.changes` without a cursor.
        now: The time in Unix seconds. Default: `NOW`.
    """
    rows = unpacked(changes.entries)
    found = []
    for one in changes.sessions:
        expires_at = one.version.expires_at
        own = [SearchEntry(one.session_id, *row[:6]) for row in islice(rows, one.size)]
        found += own if expires_at is None or expires_at > now else []
    return sorted(found, key=lambda entry: entry[:2])


class ContractCase:
    """Runs storage programs with the synchronous methods of a backend."""

    def read(self, backend: Backend, program: Program[T]) -> T:
        """Run a program that only reads."""
        return backend.read(program)

    def write(self, backend: Backend, program: Program[T]) -> T:
        """Run a program that writes."""
        return backend.write(program)

    def _texts(self, backend: Backend, key: SessionKey = KEY, agent: str | None = None, now: float = NOW) -> list[str]:
        rows = self.read(backend, backend.messages.window(key, agent, None, now))
        return [row.body.data.decode() for row in rows]

    def _entries(self, backend: Backend) -> list[SearchEntry]:
        return entries_in(self.read(backend, backend.messages.changes("default", "alice", None, None, vectors=True)))

    def _titles(self, backend: Backend) -> list[str | None]:
        rows = self.read(backend, backend.messages.sessions("default", "alice", None, 0, NOW))
        return [row.title for row in rows]
