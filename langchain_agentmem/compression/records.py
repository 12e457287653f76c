"""Records: the stored summaries of one conversation, and the claim of the process that extends them.

An entry of a record contains the digest of the messages that its summary covers. A summary is used only for a conversation
that begins with these messages. An edited history, or a fork of a thread, is summarised from its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.programs import Program

MAX_ENTRIES = 3
"""The number of summaries of one conversation: those of its newest forks."""


class Entry(NamedTuple):
    """A summary, and the messages that it covers."""

    summary: SessionSummary
    covered: int
    """The number of messages that the summary covers. For a session, the position after the last of them."""
    chain: str
    """The digest of these messages. Empty for a session, whose positions never change."""
    kept: tuple[int, ...] = ()
    """Covered messages that requests still contain: the newest system message, and a human message whose turn is not over."""
    style: str = ""
    """Digest of the instructions for the model. A compressor extends only summaries of its own style."""

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the entry in its record."""
        return self.chain, self.style


class Record(NamedTuple):
    """The summaries of a conversation, and the claim on extending them."""

    entries: tuple[Entry, ...] = ()
    claim: int | None = None
    """A random number: one process extends the summary. None if no process does."""
    until: float = 0.0
    """When the claim expires (Unix seconds)."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON-serialisable dict."""
        return {
            "entries": [{**entry._asdict(), "summary": entry.summary.to_json()} for entry in self.entries],
            "claim": self.claim,
            "until": self.until,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Record:
        """Return the record that `to_json` wrote."""
        entries = (
            Entry(
                SessionSummary.from_json(entry["summary"]),
                entry["covered"],
                entry["chain"],
                tuple(entry["kept"]),
                entry["style"],
            )
            for entry in stored["entries"]
        )
        return cls(tuple(entries), stored["claim"], stored["until"])

    def of(self, style: str) -> list[Entry]:
        """Return the entries of one style, the newest first."""
        return [entry for entry in self.entries if entry.style == style]

    def with_entry(self, entry: Entry, replaced: Entry | None) -> Record:
        """Return the record with another entry, instead of the entry that it extends."""
        gone = {entry.key, None if replaced is None else replaced.key}
        others = [one for one in self.entries if one.key not in gone]
        return self._replace(entries=(entry, *others)[:MAX_ENTRIES])


class RecordStorage(Protocol):
    """Stores the record of one conversation. Its methods are outer programs."""

    def load(self, now: float) -> Program[tuple[Record, int | None]]:
        """Return the record and its revision; an empty record and None if none is stored."""

    def swap(self, record: Record, revision: int | None, now: float) -> Program[bool]:
        """Store the record if the stored revision is still `revision`; return true if it was stored."""


class NotAMessageError(InvalidTypeError):
    """A list of messages contains another object, which may have to be converted."""


def checked(message: Any) -> BaseMessage:
    """Return a message unchanged.

    Raises:
        NotAMessageError: The object is not a message.
    """
    if not isinstance(message, BaseMessage):
        msg = f"A conversation is a list of messages; it contains a {type(message).__name__}: {shown(message)}."
        raise NotAMessageError(msg)
    return message


def chained(chain: str, messages: Sequence[BaseMessage]) -> str:
    """Return the digest of messages that follow others with a known digest.

    The digest does not depend on message IDs, because some messages get theirs later.

    Args:
        chain: The digest of the preceding messages; `""` if there are none.
        messages: The messages.

    Raises:
        NotAMessageError: The list contains another object.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from langchain_agentmem.compression.records import chained
        >>> first, second = HumanMessage("Hi"), AIMessage("Hello")
        >>> chained(chained("", [first]), [second]) == chained("", [first, second])
        True
    """
    for message in messages:
        checked(message)
        digest = blake2b(chain.encode(), digest_size=16)
        parts: list[Any] = [message.type, vars(message).get("role"), message.name, message.content]
        if isinstance(message, AIMessage) and (message.tool_calls or message.invalid_tool_calls):
            parts += [message.tool_calls, message.invalid_tool_calls]
        elif isinstance(message, ToolMessage):
            parts.append(message.tool_call_id)
        text = "\x1f".join(part if isinstance(part, str) else repr(part) for part in parts)
        digest.update(text.encode(errors="surrogatepass"))
        chain = digest.hexdigest()
    return chain
