"""Whole rows of a backend, as export reads them and import restores them: with all times, positions, IDs and vectors.

Export enumerates what it reads with the methods of this table and of others: `MessageLog.users` and `session_ids`,
`ItemTable.roots`, `RecordTable.query`, `VariableTable.users`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from langchain_agentmem.backends.contract.checkpoints import CheckpointKey, CheckpointRow, StoredWrite, ThreadKey
from langchain_agentmem.backends.contract.items import ItemRow, Namespace
from langchain_agentmem.backends.contract.messages import MessageRow, SessionKey, StoredSummary
from langchain_agentmem.backends.contract.records import RecordRow
from langchain_agentmem.backends.contract.stale import Page
from langchain_agentmem.backends.contract.variables import ScopeHead, VariableRow
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import StoredValue
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Program

ItemKey = tuple[Namespace, str]
"""The namespace and the key of an item."""


class SessionState(NamedTuple):
    """A session with everything that is stored about it, except for its messages, its records and its openings."""

    key: SessionKey
    title: str | None
    title_position: int | None
    """The position of the message that the title was taken from; None for a title that was set by `rename`."""
    next_position: int
    """The position of the next message."""
    created_at: float
    updated_at: float
    expires_at: float | None
    metadata: str | None
    """JSON text; None if the session has no metadata."""
    summaries: Mapping[str, StoredSummary] = MappingProxyType({})
    """The running summaries that are not empty, by agent: the empty string is the summary of the history, and `LIST_SUMMARY`
    that of messages passed as a list."""
    variables: Sequence[VariableRow] = ()
    """The variables of all agents. `expires_at` is the variable's own, even if the session expires earlier."""
    head: bytes | None = None
    """The head of the session; see `LogHead`."""


class ItemState(NamedTuple):
    """An item with its expiry and its vectors."""

    row: ItemRow
    """The item, with its `paths`. `revision` has no meaning when an item is restored."""
    expires_at: float | None
    text: str | None = None
    """To restore: the words for full-text search, as in `ItemPut.text`. None in items that were read."""
    vectors: Sequence[bytes] = ()
    """The embeddings, as little-endian float32 of length 1, sorted as bytes."""


class ThreadState(NamedTuple):
    """A thread without its rows."""

    key: ThreadKey
    user_id: str | None
    """The user of the last write that named a user."""
    users: Mapping[str, float]
    """All users of the thread, each with the time of the last write that named the user."""
    created_at: float
    updated_at: float
    ttl: float | None
    expires_at: float | None
    secret: Typed | None
    """The secret that keys the references of elements, as it is stored."""


class StoredElement(NamedTuple):
    """An element of values of a thread."""

    reference: bytes
    typed: Typed


class StoredCheckpoint(NamedTuple):
    """A checkpoint with its run and the time at which it was stored."""

    row: CheckpointRow
    run_id: str | None
    created_at: float


class ThreadWrite(NamedTuple):
    """A pending write with its checkpoint."""

    checkpoint: CheckpointKey
    write: StoredWrite


class ThreadRows(NamedTuple):
    """Rows of a thread to restore."""

    elements: Sequence[StoredElement] = ()
    values: Sequence[StoredValue] = ()
    checkpoints: Sequence[StoredCheckpoint] = ()
    writes: Sequence[ThreadWrite] = ()


class TransferTable(Protocol):
    """Reads and restores whole rows.

    Listings are sorted by Unicode code points, which is the order of UTF-8 bytes, so all backends return the same order.
    Methods that return a `Page` take None as `after` for the first page, then the continuation of the page before. Rows that
    are written during a listing may be missing in it. Expired sessions, items, variables and threads are omitted.

    A `restore` method stores rows exactly as they are. It never changes a row that is stored already, so restoring twice has
    the same effect as restoring once. Restoring is not a use of a session or thread: its times stay. The caller omits rows
    that have expired.
    """

    # Sessions

    def sessions(self, keys: Sequence[SessionKey], now: float) -> Program[list[SessionState | None]]:
        """Return sessions of a tenant, in the same order; None for a session that does not exist."""

    def messages(
        self, key: SessionKey, after: int, limit: int, now: float, *, complete: bool = True
    ) -> Program[list[MessageRow]]:
        """Return at most `limit` messages after a position, oldest first, with `vector`.

        Args:
            key: The session.
            after: The position.
            limit: The maximum number of messages.
            now: The current time.
            complete: If false, the restoration of the session may have been interrupted, so messages may be missing. A
                backend that encrypts refuses it otherwise. Default: True.
        """

    def restore_sessions(self, states: Sequence[SessionState], now: float) -> Program[list[bool]]:
        """Store sessions of a tenant without messages, with their summaries and variables.

        For each session, return true if it was stored. A session that exists is not stored. One that has expired is replaced.
        The summaries get new revisions.
        """

    def restore_messages(self, rows: Mapping[SessionKey, Sequence[MessageRow]], now: float) -> Program[int]:
        """Store messages at their positions in sessions of a tenant, and return the number of stored messages.

        A message is not stored if its position is taken, or if its session does not exist. The number of messages of each
        session is updated, and its next position is after the last message.
        """

    def restore_records(self, tenant: str, rows: Sequence[RecordRow], now: float) -> Program[int]:
        """Store records unless their IDs are stored; return the number of stored records.

        A record of a session that does not exist is not stored.
        """

    # Variables outside of sessions

    def variables(self, tenant: str, user_id: str | None, now: float) -> Program[list[VariableRow]]:
        """Return the variables of a user outside of sessions, of all agents; with None, those for all users.

        They are sorted by agent (none first) and name.
        """

    def restore_variables(
        self, tenant: str, rows: Sequence[VariableRow], now: float, head: ScopeHead | None = None
    ) -> Program[int]:
        """Store variables outside of sessions, unless they exist; return the number of stored variables.

        A variable that has expired is replaced.

        Args:
            tenant: The tenant.
            rows: The variables.
            now: The current time.
            head: A change of the head of the scope, which all variables have then. Default: None.

        Raises:
            HeadChangedError: The head is not `ScopeHead.expected`. No variable was stored.
        """

    # Items

    def item_keys(self, tenant: str, root: str, after: Any, limit: int, now: float) -> Program[Page[ItemKey]]:
        """Return a page of the keys of items whose first label is `root`, sorted by namespace and key.

        Namespaces are compared label by label.
        """

    def items(self, tenant: str, keys: Sequence[ItemKey], now: float) -> Program[list[ItemState | None]]:
        """Return items, in the same order; None for an item that does not exist. All have the same first label."""

    def restore_items(
        self, tenant: str, items: Sequence[ItemState], now: float, replaced: Sequence[ItemKey] = ()
    ) -> Program[int]:
        """Store items, unless they exist; return the number of stored items. All have the same first label.

        An item that has expired is replaced.

        Args:
            tenant: The tenant.
            items: The items.
            now: The current time.
            replaced: The keys of items that are replaced if they exist. No reader finds one of them missing. Default: none.
        """

    # Threads

    def thread_ids(self, tenant: str, after: Any, limit: int, now: float) -> Program[Page[str]]:
        """Return a page of the IDs of all threads. Threads that have expired may be among them."""

    def threads(self, tenant: str, thread_ids: Sequence[str], now: float) -> Program[list[ThreadState | None]]:
        """Return threads, in the same order; None for a thread that does not exist."""

    def elements(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[StoredElement]]:
        """Return a page of the elements of a thread, sorted by reference."""

    def values(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[StoredValue]]:
        """Return a page of the values of a thread, sorted by key."""

    def checkpoints(self, thread: ThreadKey, after: Any, limit: int, codec: Codec) -> Program[Page[StoredCheckpoint]]:
        """Return a page of the checkpoints of a thread, sorted by namespace and ID."""

    def writes(self, thread: ThreadKey, after: Any, limit: int) -> Program[Page[ThreadWrite]]:
        """Return a page of the pending writes of a thread, sorted by checkpoint, task ID and index."""

    def restore_threads(self, states: Sequence[ThreadState], now: float) -> Program[list[bool]]:
        """Store threads of a tenant without rows.

        For each thread, return true if it was stored. A thread that exists is not stored. One that has expired is replaced.
        """

    def restore_rows(self, rows: Mapping[ThreadKey, ThreadRows], codec: Codec) -> Program[None]:
        """Store rows of threads of a tenant that exist, unless the rows are stored."""
