"""The running summary: what it is, what it covers, and where it is kept.

A summary covers the beginning of a conversation. So that it is never taken for that of another one, it carries a digest
of the messages that it covers; a history that was edited, or a fork of a thread, does not fit it, and is summarised
anew.
"""

from __future__ import annotations

import html
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.notes import Notes
from langchain_agentmem.program import Program, Read, Write

KEPT = 3
"""How many summaries are kept of one conversation: those of its newest forks."""

_BEGINNING = datetime.fromtimestamp(0, timezone.utc)

_CONVERSATIONS = 1_000
"""Of how many conversations that have no place in a database the summaries are kept in the process."""


@dataclass(frozen=True)
class SessionSummary:
    """What was said, in short.

    Args:
        text: The summary.
        topics: What it was about.
        decisions: What was decided.
        open_questions: What is still to be answered or done.
        message_count: How many messages it covers.
        updated_at: When it was last extended.
    """

    text: str
    topics: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    open_questions: tuple[str, ...] = ()
    message_count: int = 0
    updated_at: datetime = _BEGINNING

    def _repr_html_(self) -> str:
        lists = "".join(
            f"<p><b>{name}</b></p><ul>{''.join(f'<li>{html.escape(one)}</li>' for one in found)}</ul>"
            for name, found in (
                ("Topics", self.topics),
                ("Decisions", self.decisions),
                ("Open questions", self.open_questions),
            )
            if found
        )
        caption = f"{self.message_count} messages, {self.updated_at:%Y-%m-%d %H:%M}"
        return f"<div><p>{html.escape(self.text)}</p>{lists}<p><small>{caption}</small></p></div>"

    def stored(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {**asdict(self), "updated_at": self.updated_at.timestamp()}

    @classmethod
    def loaded(cls, stored: dict[str, Any]) -> SessionSummary:
        """From what `stored` gave."""
        lists = {name: tuple(stored[name]) for name in ("topics", "decisions", "open_questions")}
        updated_at = datetime.fromtimestamp(stored["updated_at"], timezone.utc)
        return cls(**{**stored, **lists, "updated_at": updated_at})


class Entry(NamedTuple):
    """A summary with what says which messages it covers."""

    summary: SessionSummary
    covered: int
    """How many messages, from the first on."""
    chain: str
    """Their digest; where messages have positions that never change, that of none."""
    kept: tuple[int, ...] = ()
    """Which of the covered messages are kept in the request all the same: the newest system message, and a human
    message whose turn goes on after what is covered."""


class Record(NamedTuple):
    """The summaries of a conversation, and who is at work on another."""

    entries: tuple[Entry, ...] = ()
    claim: int | None = None
    """The random number of who is summarising."""
    until: float = 0.0
    """Until when that is to be believed, in seconds since 1970."""

    def stored(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "entries": [{**entry._asdict(), "summary": entry.summary.stored()} for entry in self.entries],
            "claim": self.claim,
            "until": self.until,
        }

    @classmethod
    def loaded(cls, stored: dict[str, Any]) -> Record:
        """From what `stored` gave."""
        entries = (
            Entry(SessionSummary.loaded(entry["summary"]), entry["covered"], entry["chain"], tuple(entry["kept"]))
            for entry in stored["entries"]
        )
        return cls(tuple(entries), stored["claim"], stored["until"])

    def with_entry(self, entry: Entry, instead: Entry | None) -> Record:
        """With another summary, in the place of the one that it extends."""
        others = [one for one in self.entries if one is not instead and one.chain != entry.chain]
        return self._replace(entries=(entry, *others)[:KEPT])


class Place(Protocol):
    """Where the record of a conversation is kept. Its methods are outer programs."""

    def load(self, now: float) -> Program[tuple[Record, int | None]]:
        """The record and its revision (None: there is none yet)."""

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:
        """Write the record if its revision is still this one; returns whether."""


class ProcessPlaces:
    """Records of conversations that have no place in a database: they last as long as the process."""

    def __init__(self) -> None:
        self._records: OrderedDict[bytes, tuple[Record, int]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, first: BaseMessage) -> Place:
        """The place of conversations that begin with a message."""
        return _ProcessPlace(self, chained("", [first]).encode())

    def load(self, key: bytes) -> tuple[Record, int | None]:
        """The record of a conversation and its revision."""
        with self._lock:
            if key not in self._records:
                return Record(), None
            self._records.move_to_end(key)
            return self._records[key]

    def swap(self, key: bytes, record: Record, revision: int | None) -> bool:
        """Write the record if its revision is still this one; returns whether."""
        with self._lock:
            _, found = self._records.get(key, (None, None))
            if found != revision:
                return False
            self._records[key] = record, (revision or 0) + 1
            while len(self._records) > _CONVERSATIONS:
                self._records.popitem(last=False)
            return True


class _ProcessPlace:
    def __init__(self, places: ProcessPlaces, key: bytes) -> None:
        self._places = places
        self._key = key

    def load(self, now: float) -> Program[tuple[Record, int | None]]:  # noqa: ARG002
        return self._places.load(self._key)
        yield

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:  # noqa: ARG002
        return self._places.swap(self._key, record, revision)
        yield


class NotesPlace:
    """The record of a thread, among the notes about it."""

    def __init__(self, backend: Backend, notes: Notes, name: str, ttl: float | None) -> None:
        self._backend = backend
        self._notes = notes
        self._name = name
        self._ttl = ttl

    def load(self, now: float) -> Program[tuple[Record, int | None]]:
        note = yield Read(self._backend, self._notes.get(self._name, now))
        return (Record(), None) if note is None else (Record.loaded(note.value), note.revision)

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:
        swapped: bool = yield Write(
            self._backend, self._notes.swap(self._name, record.stored(), revision, now, self._ttl)
        )
        return swapped


def chained(chain: str, messages: Sequence[BaseMessage]) -> str:
    """The digest of messages that follow others, whose digest is known.

    Ids do not count: a message may get one later.

    Args:
        chain: The digest of the messages before them; `""` if there are none.
        messages: The messages.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from langchain_agentmem.compression.summaries import chained
        >>> first, second = HumanMessage("Hi"), AIMessage("Hello")
        >>> chained(chained("", [first]), [second]) == chained("", [first, second])
        True
    """
    for message in messages:
        digest = blake2b(chain.encode(), digest_size=16)
        content = message.content
        said = content if isinstance(content, str) else json.dumps(content, sort_keys=True, default=str)
        digest.update(f"{message.type}\x1f{message.name}\x1f{said}".encode(errors="surrogatepass"))
        if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
            calls = json.dumps([message.tool_calls, message.invalid_tool_calls], sort_keys=True, default=str)
            digest.update(b"\x1f" + calls.encode(errors="surrogatepass"))
        elif isinstance(message, ToolMessage):
            digest.update(b"\x1f" + message.tool_call_id.encode(errors="surrogatepass"))
        chain = digest.hexdigest()
    return chain
