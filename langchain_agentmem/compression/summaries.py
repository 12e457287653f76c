"""The running summary: what it is, what it covers, and where it is kept.

A summary covers the beginning of a conversation. So that it is never taken for that of another one, it carries a digest
of the messages that it covers; a history that was edited, or a fork of a thread, does not fit it, and is summarised
anew.
"""

from __future__ import annotations

import html
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import count
from typing import Any, NamedTuple, Protocol

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.checkpoint.serde.base import SerializerProtocol

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.notes import TTL, Notes
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.programs import Program, Read, Write
from langchain_agentmem.programs.locks import forkable_lock

KEPT = 3
"""How many summaries are kept of one conversation: those of its newest forks."""

_BEGINNING = datetime.fromtimestamp(0, UTC)

_CONVERSATIONS = 1_000
"""Of how many conversations that have no place in a database the summaries are kept in the process."""

_BEGINNING_LENGTH, _ALIKE = 4, 64
"""By how many of their first messages they are found, and how many summaries are kept of those that begin alike."""


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
        updated_at = datetime.fromtimestamp(stored["updated_at"], UTC)
        return cls(**{**stored, **lists, "updated_at": updated_at})


class Entry(NamedTuple):
    """A summary with what says which messages it covers."""

    summary: SessionSummary
    covered: int
    """How many messages, from the first on."""
    chain: str
    """Their digest; where messages have positions that never change, that of none."""
    kept: tuple[int, ...] = ()
    style: str = ""
    """What it was made by: a digest of what the model was told to do. Another compressor does not go on from it."""
    """Which of the covered messages are kept in the request all the same: the newest system message, and a human
    message whose turn goes on after what is covered."""

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others of the same conversation."""
        return self.chain, self.style


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
            Entry(
                SessionSummary.loaded(entry["summary"]),
                entry["covered"],
                entry["chain"],
                tuple(entry["kept"]),
                entry["style"],
            )
            for entry in stored["entries"]
        )
        return cls(tuple(entries), stored["claim"], stored["until"])

    def of(self, style: str) -> list[Entry]:
        """The summaries that were made in a way, the newest first."""
        return [entry for entry in self.entries if entry.style == style]

    def with_entry(self, entry: Entry, instead: Entry | None) -> Record:
        """With another summary, in the place of the one that it extends."""
        gone = {entry.key, None if instead is None else instead.key}
        others = [one for one in self.entries if one.key not in gone]
        return self._replace(entries=(entry, *others)[:KEPT])


class Place(Protocol):
    """Where the record of a conversation is kept. Its methods are outer programs."""

    def load(self, now: float) -> Program[tuple[Record, int | None]]:
        """The record and its revision (None: there is none yet)."""

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:
        """Write the record if its revision is still this one; returns whether."""


class ProcessPlaces:
    """Records of conversations that have no place in a database: they last as long as the process.

    Nothing names such a conversation, so its summaries are found by the messages that it begins with, and told from those of
    others by the digest of all that they cover.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[Entry, ...]] = OrderedDict()
        self._claims: dict[str, tuple[int, float, int]] = {}
        self._numbers = count()
        self._lock = forkable_lock()

    def of(self, messages: Sequence[BaseMessage]) -> Place:
        """The place of a conversation."""
        beginning = chained("", messages[:_BEGINNING_LENGTH])
        return _ProcessPlace(self, beginning, chained(f"{beginning} {len(messages)}", messages[-1:]))

    def load(self, beginning: str, whole: str) -> tuple[Record, int | None]:
        """The record of a conversation and its revision."""
        with self._lock:
            if beginning in self._entries:
                self._entries.move_to_end(beginning)
            claim, until, revision = self._claims.get(whole, (None, 0.0, None))
            return Record(self._entries.get(beginning, ()), claim, until), revision

    def swap(self, beginning: str, whole: str, record: Record, revision: int | None) -> bool:
        """Write the record if its revision is still this one; returns whether."""
        with self._lock:
            known = self._entries.pop(beginning, ())
            if self._claims.get(whole, (None, 0.0, None))[2] != revision:
                self._entries[beginning] = known
                return False
            self._claims.pop(whole, None)
            if record.claim is not None:
                self._claims[whole] = record.claim, record.until, next(self._numbers)
            keys = {entry.key for entry in record.entries}
            others = [entry for entry in known if entry.key not in keys]
            self._entries[beginning] = (*record.entries, *others)[:_ALIKE]
            while len(self._entries) > _CONVERSATIONS:
                self._entries.popitem(last=False)
            return True


class _ProcessPlace:
    def __init__(self, places: ProcessPlaces, beginning: str, whole: str) -> None:
        self._places = places
        self._key = beginning, whole

    def load(self, now: float) -> Program[tuple[Record, int | None]]:  # noqa: ARG002
        return self._places.load(*self._key)
        yield

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:  # noqa: ARG002
        return self._places.swap(*self._key, record, revision)
        yield


class NotesPlace:
    """The record of a thread, among the notes about it.

    Args:
        backend: Where it is.
        notes: The notes.
        name: Which of them.
        ttl: Seconds without use after which it expires; None for never. The thread's own goes first.
        serde: What encrypts it. Default: None (it is stored as it is).
    """

    def __init__(
        self, backend: Backend, notes: Notes, name: str, ttl: float | None, serde: SerializerProtocol | None = None
    ) -> None:
        self._backend = backend
        self._notes = notes
        self._name = name
        self._ttl = ttl
        self._serde = serde

    def load(self, now: float) -> Program[tuple[Record, int | None]]:
        """See `Place`. An expiry that has come near is put off, as that of a thread in use is."""
        found = yield from Read(self._backend, self._notes.several([self._name, TTL], now))
        note, ttl = found
        if ttl is not None:
            self._ttl = ttl.value["seconds"]
        if note is None:
            return Record(), None
        if self._ttl is not None and now - note.updated_at > self._ttl / 4:
            yield from Write(self._backend, self._notes.touch(self._name, now))
        return Record.loaded(self._opened(note.value)), note.revision

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:
        """See `Place`."""
        ttl = self._ttl
        if ttl is not None and record.claim is not None:
            ttl = max(ttl, record.until - now)  # a claim is needed as long as it holds
        value = self._sealed(record.stored())
        swapped: bool = yield from Write(self._backend, self._notes.swap(self._name, value, revision, now, ttl))
        return swapped

    def _sealed(self, value: dict[str, Any]) -> dict[str, Any]:
        if self._serde is None:
            return value
        kind, data = self._serde.dumps_typed(value)
        return {"type": kind, "data": b64encode(data).decode()}

    def _opened(self, value: dict[str, Any]) -> dict[str, Any]:
        is_sealed = "data" in value
        if is_sealed != (self._serde is not None):
            # One that was written with a key cannot be read without, nor is one without to be trusted under a key.
            return Record().stored()
        if self._serde is None:
            return value
        opened: dict[str, Any] = self._serde.loads_typed((value["type"], b64decode(value["data"])))
        return opened


class EitherPlace:
    """A place that may not be there yet, such as a session without messages, and another until it is.

    Args:
        first: The place.
        second: The other.
    """

    def __init__(self, first: Place, second: Place) -> None:
        self._places = first, second

    def load(self, now: float) -> Program[tuple[Record, int | None]]:
        """See `Place`."""
        first, second = self._places
        record, revision = yield from first.load(now)
        if revision is not None:
            self._places = first, first
            return record, revision
        return (yield from second.load(now))

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:
        """See `Place`."""
        first, second = self._places
        if first is not second and (yield from first.swap(record, None, now)):
            self._places = first, first
            return True
        return (yield from second.swap(record, revision, now))


class NotAMessageError(InvalidTypeError):
    """Something in a list of messages is none, and may have to be converted."""


def checked(message: Any) -> BaseMessage:
    """Refuse what is no message.

    Raises:
        NotAMessageError: It is none.
    """
    if not isinstance(message, BaseMessage):
        msg = f"A conversation is a list of messages, got a {type(message).__name__} in it: {shown(message)}."
        raise NotAMessageError(msg)
    return message


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
        checked(message)
        digest = blake2b(chain.encode(), digest_size=16)
        parts: list[Any] = [message.type, getattr(message, "role", None), message.name, message.content]
        if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
            parts += [message.tool_calls, message.invalid_tool_calls]
        elif isinstance(message, ToolMessage):
            parts.append(message.tool_call_id)
        said = "\x1f".join(part if isinstance(part, str) else repr(part) for part in parts)
        digest.update(said.encode(errors="surrogatepass"))
        chain = digest.hexdigest()
    return chain
