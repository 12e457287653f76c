"""Rows for the contract tests of a backend, and how the tests run storage programs."""

from __future__ import annotations

import secrets
from typing import Any, TypeVar

from langchain_agentmem.backends.contract import Append, Backend, ItemPut, MessageRow, SessionKey
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

    def _titles(self, backend: Backend) -> list[str | None]:
        rows = self.read(backend, backend.messages.sessions("default", "alice", None, 0, NOW))
        return [row.title for row in rows]
