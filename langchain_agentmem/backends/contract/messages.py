"""The message log of a backend: its rows, and its operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from langchain_agentmem.arguments.omitted import Omitted
from langchain_agentmem.backends.contract.changes import Changes
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Program


class SessionKey(NamedTuple):
    """The key of a session. Two users, or a user and nobody, may each have a session of the same ID."""

    tenant: str
    user_id: str | None
    session_id: str


class MessageRow(NamedTuple):
    """A stored message."""

    position: int
    role: str
    agent: str | None
    ends_with_session: bool
    """If true, `MessageLog.end` deletes the message."""
    created_at: float
    metadata: str | None
    body: Typed
    words: bytes | None = None
    """The word numbers that full-text search compares; see `langchain_agentmem.text.words`. None in rows that were read."""
    vector: bytes | None = None
    """The embedding, as little-endian float32 of length 1; None without embeddings, and in rows that were read."""
    id_digest: bytes | None = None
    """The digest of the message's ID, 16 bytes; None in rows that were read. Earlier versions stored none."""


class HistoryScope(NamedTuple):
    """The messages that a search considers."""

    tenant: str
    user_id: str | None
    session_id: str | None = None
    """The session; None for all sessions of the user."""
    agent: str | None = None
    """The agent whose messages are searched; None for all messages."""


class SessionRow(NamedTuple):
    """A stored session."""

    key: SessionKey
    title: str | None
    message_count: int
    created_at: float
    updated_at: float
    expires_at: float | None
    summaries: Sequence[str] = ()
    """The running summaries of all agents' messages, as in `StoredSummary.value`: first the summary of the session's
    history, then that of messages passed as a list (`LIST_SUMMARY`). Empty summaries are omitted."""
    metadata: str | None = None
    """JSON text; None if the session has no metadata."""
    head: bytes | None = None
    """The head of the session; see `LogHead`."""


LIST_SUMMARY = "\x1flist"
"""In place of an agent's name: the key of the summary of messages that were passed as a list."""


class StoredSummary(NamedTuple):
    """A stored running summary of a session's messages."""

    value: str
    """JSON text, or an empty string."""
    revision: int
    """A random number that changes with every write."""
    covers: int | None = None
    """The summary says nothing about messages at this position and after it. None: it may tell any message."""


class Title(NamedTuple):
    """A title that one of the added messages suggests. It is deleted together with that message."""

    position: int
    """The position of the message among the added messages."""
    text: str


class Seal(NamedTuple):
    """A change of a session's head together with an addition of messages."""

    first: int
    """The position that the first message must get."""
    expected: bytes | None
    """The head that must be stored; None if none is."""
    head: bytes
    """The new head."""


class LogHead(NamedTuple):
    """The head of a session: bytes by which an encrypted backend notices changes that it did not make."""

    next_position: int
    """The position of the next message."""
    value: bytes | None
    """The head; None if none is stored."""


class HeadSwap(NamedTuple):
    """A change of a session's head together with a change of its title or metadata."""

    expected: bytes | None
    """The head that must be stored; None if none is."""
    head: bytes
    """The new head."""


class HeadChangedError(Exception):
    """Another writer changed the messages or the head of a session. The program must be run again."""


class PositionTakenError(Exception):
    """The next message of a session would not get the position `Append.first`. Nothing was stored."""


class Append(NamedTuple):
    """Messages to add to a session: all of them, or none."""

    rows: Sequence[MessageRow]
    """The messages. Their `position` counts from 0 within this list."""
    titles: Sequence[Title] | None
    """Titles for a session without title. The backend uses the first whose message is still stored after trimming."""
    now: float
    """The time of the addition. If it is earlier than the session's last addition (a late clock), the TTL counts from that
    addition."""
    agent: str | None = None
    """The agent that the messages belong to."""
    keep: int | None = None
    """The maximum number of the agent's messages. Older ones are deleted."""
    ttl: float | None = None
    """The session's TTL in seconds; None leaves its expiry unchanged."""
    sliding: bool = True
    """If false, a session that has an expiry keeps it."""
    token: int = 0
    """Idempotency token: a retried addition recognises its own messages among the newest, and adds nothing."""
    seal: Seal | None = None
    """A change of the session's head. A repeated addition does not change it."""
    first: int | None = None
    """The position that the first message must get; None for any."""


class Restoration(NamedTuple):
    """A session to store with its messages: all of it, or nothing."""

    addition: Append
    """The messages. None of them is trimmed: `keep` is None."""
    created_at: float
    """The time of the creation of a session that does not exist yet."""
    title: str | None = None
    """The title that the user set; None: the session has one of `addition.titles`."""
    metadata: str | None = None
    """JSON text that replaces the session's metadata; None leaves it unchanged."""


HAS_MESSAGES = -1
"""The result of `MessageLog.restore` if the session has messages. Nothing was stored."""


class Removal(NamedTuple):
    """Messages to delete from a session: those that meet all conditions."""

    agent: str | None = None
    """Only this agent's messages; None for those of all agents."""
    ids: Sequence[bytes] | None = None
    """Only messages whose ID has one of these digests."""
    before: float | None = None
    """Only messages whose `created_at` is earlier."""
    after: bytes | None = None
    """Only messages after the last one whose ID has this digest, among those of the agent."""
    token: int = 0
    """Idempotency token: a retried deletion deletes nothing more, and returns the same number."""


UNKNOWN_MESSAGE = -1
"""The result of `MessageLog.remove` if no message has the ID `Removal.after`."""


class Replacement(NamedTuple):
    """A message to store in place of another one. Position, agent, `ends_with_session` and ID stay."""

    id_digest: bytes
    """The digest of the ID of the replaced message. If several messages have this ID, each of them is replaced."""
    row: MessageRow
    """The new message."""
    agent: str | None = None
    """Only messages of this agent are replaced; None for those of all agents."""
    keeps_time: bool = True
    """If true, `created_at` stays."""
    keeps_metadata: bool = True
    """If true, `metadata` stays."""
    title: str | None = None
    """The title that the new message suggests. It replaces a title that was taken from the replaced message, or none."""
    token: int = 0
    """Idempotency token: a retried replacement replaces nothing."""


class LoggedMessage(NamedTuple):
    """A message with the key of its session."""

    key: SessionKey
    row: MessageRow


class MessageLog(Protocol):
    """The messages of sessions, in order."""

    def append(self, key: SessionKey, addition: Append) -> Program[int]:
        """Add messages at the end, and return the position of the first.

        Raises:
            HeadChangedError: The position or the head are not those of `Append.seal`. Nothing was stored.
            PositionTakenError: The position is not `Append.first`. Nothing was stored.
        """

    def head(self, key: SessionKey, now: float) -> Program[LogHead]:
        """Return the head of a session: position 0 and no value if there is no such session.

        The value is deleted with the session, and when an expired session begins again.
        """

    def swap_head(self, key: SessionKey, expected: bytes | None, head: bytes, now: float) -> Program[bool]:
        """Replace the head of a session if it is `expected`. Return true if the session has the new head."""

    def restore(self, key: SessionKey, restoration: Restoration) -> Program[int]:
        """Add messages to a session that has none, set its properties, and return the position of the first message.

        Returns `HAS_MESSAGES`, and stores nothing, if the session has messages of another addition.
        """

    def window(self, key: SessionKey, agent: str | None, limit: int | None, now: float) -> Program[list[MessageRow]]:
        """Return the newest `limit` messages, oldest first, after the newest system message if that is older."""

    def page(self, key: SessionKey, agent: str | None, after: int, limit: int, now: float) -> Program[list[MessageRow]]:
        """Return at most `limit` messages with a position greater than `after`, oldest first."""

    def count(self, key: SessionKey, agent: str | None, now: float) -> Program[int]:
        """Return the number of messages."""

    def changes(
        self, tenant: str, user_id: str | None, session_id: str | None, cursor: Any, *, vectors: bool
    ) -> Program[Changes]:
        """Return the sessions that changed since the last call, with the messages that the caller does not know.

        Sessions that have expired may be among them, with their expiry. Every change that is stored before the call begins
        is returned by it or was returned by an earlier one.

        Args:
            tenant: The tenant.
            user_id: The user; None for the sessions without a user.
            session_id: The only session to read; None for all sessions of the user.
            cursor: `Changes.cursor` of the call before, with the same other arguments; None to read everything.
            vectors: If true, read the vectors as well.
        """

    def rows(
        self, scope: HistoryScope, positions: Sequence[tuple[str, int]], now: float
    ) -> Program[dict[tuple[str, int], MessageRow]]:
        """Return messages by (session ID, position). Messages that were deleted are omitted."""

    def summary(self, key: SessionKey, agent: str | None, now: float) -> Program[StoredSummary | None]:
        """Return the summary of a session's messages (of one agent, or all).

        Clearing or ending messages of the session empties the summary and changes its revision. So a concurrent process
        never writes a summary of deleted messages. `remove` and `replace` keep a summary that covers none of the changed
        messages, and change its revision.
        """

    def swap_summary(
        self, key: SessionKey, agent: str | None, summary: StoredSummary, expected: int | None, now: float
    ) -> Program[bool]:
        """Write a summary if the session exists and the stored revision is `expected` (None: no summary is stored).

        Returns true if the summary was written.
        """

    def clear(self, key: SessionKey, agent: str | None) -> Program[None]:
        """Delete the messages (of one agent, or all). The session stays in the list of sessions.

        A title is deleted together with the message that it was taken from. Any title is deleted with the last message.
        """

    def end(self, key: SessionKey) -> Program[int]:
        """Delete the messages and records with `ends_with_session`, and return the number of messages.

        Titles are handled as in `clear`.
        """

    def remove(self, key: SessionKey, removal: Removal, now: float) -> Program[int | None]:
        """Delete messages and return their number, or `UNKNOWN_MESSAGE`. Titles are handled as in `clear`.

        None: IDs were given, and some messages of the session have no digest. Nothing was deleted. Call `identify`.
        """

    def replace(self, key: SessionKey, replacement: Replacement, now: float) -> Program[list[MessageRow] | None]:
        """Replace messages and return their new rows, oldest first; none if no message has the ID.

        None: some messages of the session have no digest. Nothing was replaced. Call `identify`.
        """

    def identify(self, key: SessionKey, rows: Sequence[MessageRow]) -> Program[None]:
        """Store the digests of IDs of messages that have none and did not change."""

    def sessions(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[SessionRow]]:
        """List the sessions of one user, of nobody (None), or of all users (`OMITTED`), most recently used first."""

    def users(self, tenant: str, now: float) -> Program[list[str]]:
        """Return the users that have sessions, in any order."""

    def session_ids(self, tenant: str, user_id: str | None, after: str | None, limit: int) -> Program[list[str]]:
        """Return the IDs of a user's sessions in order, including sessions that have expired.

        Args:
            tenant: The tenant.
            user_id: The user; None for the sessions without a user.
            after: Only greater IDs; None for the first page.
            limit: The maximum number of IDs.
        """

    def rename(self, key: SessionKey, title: str, now: float, head: HeadSwap | None = None) -> Program[bool]:
        """Set a session's title; return true if the session exists, and has the expected head.

        Args:
            key: The session.
            title: The title.
            now: The current time.
            head: A change of the session's head. Default: None.
        """

    def delete(self, key: SessionKey) -> Program[bool]:
        """Delete a session with its messages and records; return true if it existed."""

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        """Delete at most `limit` expired sessions, and return their number."""

    def unembed(self, tenant: str, after: Any) -> Program[Any]:
        """Delete the vectors of some messages of all users.

        Args:
            tenant: The tenant.
            after: None in the first call, then the result of the call before.

        Returns:
            A continuation of the backend's own type; None when no vector is left.
        """

    def unembedded(
        self, tenant: str, dimensions: int | None, after: Any, limit: int, now: float
    ) -> Program[tuple[list[LoggedMessage], Any]]:
        """Return about `limit` messages of all users without a vector of these dimensions, and a continuation.

        If `dimensions` is None, return all messages.
        The order is the same in every call. The continuation works as in `unembed`.
        """

    def set_words(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[None]:
        """Replace the words of messages that still exist."""

    def embed(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[int]:
        """Store the vectors of messages that still exist, and return their number."""
