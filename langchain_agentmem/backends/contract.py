"""What a backend offers: a message log, an item table, a checkpoint table, and transactions.

Each method of a table is a storage program: it yields the statements of its own backend, and is run by that backend's
`read` or `write` in one transaction. The surfaces (`history`, `store`, `checkpointer`) know these contracts and nothing of
any backend. Times are seconds since 1970 in UTC, always passed in, so that all rows of an operation carry one time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar

from langchain_agentmem.arguments.omitted import Omitted
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.layout import VALUE, Known, StoredValue, ValueKey, resolve
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Program

T = TypeVar("T")


class SessionKey(NamedTuple):
    """Which session. A user's sessions are apart from those of others and from those of no user."""

    tenant: str
    user_id: str | None
    session_id: str


class MessageRow(NamedTuple):
    """A message as it is stored."""

    position: int
    role: str
    agent: str | None
    ends_with_session: bool
    created_at: float
    metadata: str | None
    body: Typed
    words: bytes | None = None
    """What searches find it by; see `langchain_agentmem.text.words`. None in what is read."""
    vector: bytes | None = None
    """Little-endian float32 of length 1, when it was embedded. None in what is read."""


class HistoryScope(NamedTuple):
    """Which messages a search looks at."""

    tenant: str
    user_id: str | None
    session_id: str | None = None
    """One session; None for all of the user."""
    agent: str | None = None
    """One agent's messages; None for those of all."""


class IndexEntry(NamedTuple):
    """What searches know of a message."""

    session_id: str
    position: int
    role: str
    created_at: float
    words: bytes | None
    """None for a message from before there were searches, which has its `body` here."""
    vector: bytes | None = None
    body: Typed | None = None


class SessionRow(NamedTuple):
    """A session as it is stored."""

    key: SessionKey
    title: str | None
    message_count: int
    created_at: float
    updated_at: float
    expires_at: float | None
    summaries: Sequence[str] = ()
    """The records of the running summary of all its messages, as `StoredSummary.value` holds them: that of its history, then
    that of messages handed over as a list. Those that are empty are left out."""


LIST_SUMMARY = "\x1flist"
"""In place of an agent's name: the summary of messages that were handed over as a list, of whatever agents."""


class StoredSummary(NamedTuple):
    """What is written down of a session's messages beside them: their running summary."""

    value: str
    """JSON text, or nothing."""
    revision: int
    """Another random number after every change."""


class Title(NamedTuple):
    """A title that a message suggests. It goes with the message."""

    place: int
    """The message's place among those that are added."""
    text: str


class Append(NamedTuple):
    """Messages to add to a session, all or none."""

    rows: Sequence[MessageRow]
    """Their `position` is their place among themselves: 0, 1, 2, …"""
    titles: Sequence[Title] | None
    """Titles for a session that has none: the first whose message is stored in the end counts. None for none."""
    now: float
    """The time of the addition. A clock that is behind the session's last addition is late: the session's time to live then
    counts from that addition."""
    agent: str | None = None
    """Whose messages they are."""
    keep: int | None = None
    """The most messages of the agent that stay."""
    ttl: float | None = None
    """Seconds after which the session expires, or None to leave its expiry as it is."""
    sliding: bool = True
    token: int = 0
    """A random number: an addition whose token is among the newest messages already is not made again."""


class LoggedMessage(NamedTuple):
    """A message and where it is."""

    key: SessionKey
    row: MessageRow


class MessageLog(Protocol):
    """The messages of sessions, in order."""

    def append(self, key: SessionKey, addition: Append) -> Program[int]:
        """Add messages at the end; returns the position of the first."""

    def window(self, key: SessionKey, agent: str | None, limit: int | None, now: float) -> Program[list[MessageRow]]:
        """The newest `limit` messages, oldest first, preceded by the newest system message when that lies before them."""

    def page(self, key: SessionKey, agent: str | None, after: int, limit: int, now: float) -> Program[list[MessageRow]]:
        """At most `limit` messages with a position greater than `after`, oldest first."""

    def count(self, key: SessionKey, agent: str | None, now: float) -> Program[int]:
        """How many messages there are."""

    def index(self, scope: HistoryScope, now: float, *, vectors: bool) -> Program[list[IndexEntry]]:
        """What searches know of messages, those of a session one after the other in their order."""

    def rows(
        self, scope: HistoryScope, places: Sequence[tuple[str, int]], now: float
    ) -> Program[dict[tuple[str, int], MessageRow]]:
        """The messages at places (session and position); those that are there no more are left out."""

    def summary(self, key: SessionKey, agent: str | None, now: float) -> Program[StoredSummary | None]:
        """The summary of the session's messages (of one agent, or all).

        It becomes empty, with another revision, when messages of the session are cleared or ended: so none that was begun
        before is written after.
        """

    def swap_summary(
        self, key: SessionKey, agent: str | None, summary: StoredSummary, expected: int | None, now: float
    ) -> Program[bool]:
        """Write the summary if its revision is still `expected` (None: if there is none) and the session exists."""

    def clear(self, key: SessionKey, agent: str | None) -> Program[None]:
        """Delete the messages (of one agent, or all); the session stays listed.

        Its title goes with the message that it was taken from, and any title goes with the last message.
        """

    def end(self, key: SessionKey) -> Program[int]:
        """Delete the messages that are kept for the length of the session only; returns how many. Titles go as in `clear`."""

    def sessions(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[SessionRow]]:
        """List the sessions of one user, of nobody (None), or of all users (`OMITTED`), the most recently used first."""

    def rename(self, key: SessionKey, title: str, now: float) -> Program[bool]:
        """Set a session's title; returns whether there is such a session."""

    def delete(self, key: SessionKey) -> Program[bool]:
        """Delete a session with its messages; returns whether there was one."""

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        """Delete at most `limit` expired sessions; returns how many."""

    def unembed(self, tenant: str, after: Any) -> Program[Any]:
        """Forget the vectors of some messages, of all users; returns where to go on (None: these were the last).

        Begun with `after` as None; what it is else is the backend's own.
        """

    def unembedded(
        self, tenant: str, dimensions: int, after: Any, limit: int, now: float
    ) -> Program[tuple[list[LoggedMessage], Any]]:
        """About `limit` messages without vectors of so many dimensions, of all users; and where to go on.

        They come in an order that stays.
        """

    def embed(self, tenant: str, messages: Sequence[LoggedMessage]) -> Program[int]:
        """Give these messages the vectors of their rows, those that are there still; returns how many."""


Namespace = tuple[str, ...]


class ItemRow(NamedTuple):
    """An item as it is stored."""

    namespace: Namespace
    key: str
    value: str
    created_at: float
    updated_at: float
    ttl: float | None
    """Seconds from the last use after which it expires."""
    revision: int
    """Another number after every change."""
    paths: str | None = None
    """That of its `ItemPut`, where it was asked for."""


class ItemPut(NamedTuple):
    """An item to store."""

    namespace: Namespace
    key: str
    value: str
    ttl: float | None
    text: str | None
    """What full-text search finds it by, or None when it is not indexed."""
    vectors: Sequence[bytes] = ()
    """What vector search finds it by: little-endian float32, unit length."""
    paths: str | None = None
    """Which fields those are, when the put said so: a JSON list of paths, empty for none."""


class IndexedItem(NamedTuple):
    """An item that is searched, with what says what of it is embedded."""

    row: ItemRow
    paths: str | None


class EmbeddedItem(NamedTuple):
    """An item as it was read, with the vectors it is to have."""

    row: ItemRow
    vectors: Sequence[bytes]


class Swap(NamedTuple):
    """An item as it was read, and what becomes of it."""

    namespace: Namespace
    key: str
    expected: int | None
    """The revision that it had; None: there was no item."""
    put: ItemPut | None = None
    """What is stored in its place; None: nothing."""
    keep: bool = False
    """Whether it stays as it is; where not, and nothing is stored, it is deleted."""


class Query(NamedTuple):
    """What is looked for in the item table."""

    prefix: Namespace
    terms: Sequence[str]
    vector: bytes | None
    condition: Mapping[str, Any] | None = None
    """The filter that the items will have to pass: a backend may leave out what does not, and need not."""
    depth: int = 100
    """How many of the best by words and of the best by vector are enough, where looking at all would be slow."""


class Candidate(NamedTuple):
    """An item that may answer a query, with its raw scores: higher is better, None where one half did not find it."""

    id: Any
    """What the backend knows the item by; a newer item has a greater one."""
    lexical: float | None
    dense: float | None


class Found(NamedTuple):
    """What a backend found for a query."""

    candidates: list[Candidate]
    complete: bool = True
    """Whether a greater depth would find no more."""
    rows: Mapping[Any, ItemRow] = MappingProxyType({})
    """The items of candidates, as far as the backend has read them already."""


class ItemTable(Protocol):
    """The items of the store."""

    def get(
        self, tenant: str, keys: Sequence[tuple[Namespace, str]], now: float, *, paths: bool = False
    ) -> Program[list[ItemRow | None]]:
        """The items of these keys, in the same order, and their `paths` if wanted; None where there is none."""

    def put(self, tenant: str, puts: Sequence[ItemPut], now: float) -> Program[None]:
        """Store items; one that exists keeps its `created_at`."""

    def swap(self, tenant: str, swaps: Sequence[Swap], now: float, token: int) -> Program[bool]:
        """Store and delete different items, if all have still the revisions expected; returns whether.

        All lie below one root label. `token` is a random number, by which it knows itself again when it is done twice and
        stored something.
        """

    def delete(self, tenant: str, keys: Sequence[tuple[Namespace, str]]) -> Program[None]:
        """Delete items."""

    def touch(self, tenant: str, keys: Sequence[tuple[Namespace, str]], now: float) -> Program[None]:
        """Start the time to live of items anew."""

    def change(
        self,
        tenant: str,
        puts: Sequence[ItemPut],
        deletes: Sequence[tuple[Namespace, str]],
        touches: Sequence[tuple[Namespace, str]],
        now: float,
    ) -> Program[None]:
        """Touch, delete and put different items at once."""

    def scan(
        self,
        tenant: str,
        prefix: Namespace,
        condition: Mapping[str, Any] | None,
        limit: int,
        before: tuple[Any, ...] | None,
        now: float,
    ) -> Program[tuple[list[ItemRow], tuple[Any, ...] | None]]:
        """Items below a namespace, most recently updated first, and where the next page starts (None: this was the last).

        A backend may leave out what does not pass the filter `condition`, and need not.
        """

    def find(self, tenant: str, query: Query, now: float) -> Program[Found]:
        """The items below a namespace that hold one of the terms or, with a vector, have vectors."""

    def rows(self, ids: Sequence[Any]) -> Program[dict[Any, ItemRow]]:
        """The items of candidates; those that are there no more are left out."""

    def namespaces(self, tenant: str, prefix: Namespace, now: float) -> Program[list[Namespace]]:
        """The namespaces at or below a prefix that hold items, sorted."""

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        """Delete at most `limit` expired items; returns how many."""

    def fits(self, tenant: str, dimensions: int) -> Program[str | None]:
        """Why vectors of so many dimensions cannot lie beside those that there are, and what to do; None if they can."""

    def refuses(self, tenant: str, dimensions: int) -> Program[str | None]:
        """Why vectors of so many dimensions cannot take the place of the tenant's; None if they can."""

    def unembed(self, tenant: str, dimensions: int, after: Any) -> Program[Any]:
        """Forget the vectors of some items, to make place for others of so many dimensions.

        Begun with `after` as None; returns where to go on, None when the last are gone and the place is ready.
        """

    def unembedded(
        self, tenant: str, dimensions: int, after: Any, limit: int, now: float
    ) -> Program[tuple[list[IndexedItem], Any]]:
        """About `limit` items that are searched and have no vectors of so many dimensions; and where to go on.

        They come in an order that stays. What the put of an item said of its fields counts as long as nobody has changed
        the item.
        """

    def embed(self, tenant: str, items: Sequence[EmbeddedItem]) -> Program[int]:
        """Give items vectors, those that are as they were read; returns how many."""


class ThreadKey(NamedTuple):
    """Which thread."""

    tenant: str
    thread_id: str


class CheckpointKey(NamedTuple):
    """Which checkpoint of a thread."""

    namespace: str
    checkpoint_id: str


class CheckpointRow(NamedTuple):
    """A checkpoint without the values that are stored apart from it."""

    thread_id: str
    key: CheckpointKey
    parent_id: str | None
    checkpoint: dict[str, Any]
    metadata: dict[str, Any]
    inline: dict[str, Any]
    """The values stored within the checkpoint, by channel."""
    stored: dict[str, str]
    """The versions of the channels whose values are stored apart from it."""

    def value_keys(self) -> list[ValueKey]:
        """The keys of the values that are stored apart."""
        return [ValueKey(self.key.namespace, channel, version) for channel, version in self.stored.items()]


class StoredWrite(NamedTuple):
    """A pending write as it is stored."""

    task_id: str
    write_index: int
    task_path: str
    channel: str
    kind: str
    """How `data` is to be read, as in `StoredValue`; `VALUE` when the value is stored apart from the write."""
    type: str
    data: bytes

    def value_key(self, namespace: str) -> ValueKey | None:
        """The key of the value, when it is stored apart."""
        return ValueKey(namespace, self.channel, self.type) if self.kind == VALUE else None


class Parts(NamedTuple):
    """What it takes to rebuild values: those that are stored apart with their references, and the elements behind them."""

    values: Mapping[ValueKey, tuple[StoredValue, Known]]
    elements: Mapping[bytes, Typed]
    secret: Typed | None
    """The thread's secret, if it has one."""

    @classmethod
    def of(
        cls,
        rows: Sequence[CheckpointRow],
        pending: Mapping[CheckpointKey, Sequence[StoredWrite]],
        chains: Mapping[ValueKey, StoredValue],
        elements: Mapping[bytes, Typed],
        secret: Typed | None,
    ) -> Parts:
        """What it takes to rebuild the values of checkpoints and of pending writes, from all rows of values behind them."""
        keys = [key for row in rows for key in row.value_keys()]
        keys += [
            key
            for checkpoint, writes in pending.items()
            for write in writes
            if (key := write.value_key(checkpoint.namespace))
        ]
        values = {key: resolve(key, chains) for key in dict.fromkeys(keys) if key in chains}
        return cls(values, elements, secret)


class LoadedCheckpoint(NamedTuple):
    """A checkpoint with all that it takes to rebuild it."""

    row: CheckpointRow
    writes: Sequence[StoredWrite]
    parts: Parts


class ThreadRow(NamedTuple):
    """A thread as it is stored."""

    thread_id: str
    user_id: str | None
    """The user who wrote to it last, of writes that named one."""
    checkpoint_count: int
    created_at: float
    updated_at: float
    expires_at: float | None
    users: Mapping[str, float] = MappingProxyType({})
    """All its users, each with the time of the last write that named the user."""


class ThreadUse(NamedTuple):
    """What a write to a thread says of the thread itself."""

    now: float
    """The time. A late clock, one that is behind the thread's last write, never brings its expiry forward."""
    user_id: str | None = None
    ttl: float | None = None
    secret: Typed | None = None
    """The secret that the thread has, or is to have: what is written is keyed with it."""


class CheckpointEntry(NamedTuple):
    """One line of a thread's list of checkpoints."""

    key: CheckpointKey
    parent_id: str | None
    run_id: str | None
    created_at: float


class CheckpointPut(NamedTuple):
    """A checkpoint to store, with what is new in it."""

    row: CheckpointRow
    run_id: str | None
    values: Sequence[StoredValue]
    elements: Mapping[bytes, Typed]
    requires: Mapping[ValueKey, str] = MappingProxyType({})
    """Values that must be stored already, because this one builds on them, with their digests (empty: any)."""
    plain: bool = False
    """Whether LangGraph's own saver is to read it, where a backend shares its tables."""
    unchanged: Sequence[StoredValue] = ()
    """With `plain`: its other values, which are stored already, but maybe in another way."""
    snapshots: Sequence[str] = ()
    """With `plain`: the channels whose value is a delta channel's snapshot."""


class WritesPut(NamedTuple):
    """Pending writes to store, with what is new in them."""

    checkpoint: CheckpointKey
    writes: Sequence[StoredWrite]
    values: Sequence[StoredValue]
    elements: Mapping[bytes, Typed]
    requires: Mapping[ValueKey, str] = MappingProxyType({})


class CheckpointTable(Protocol):
    """Checkpoints, their values, and pending writes."""

    def secret(self, thread: ThreadKey, proposal: Typed, use: ThreadUse) -> Program[Typed]:
        """The thread's secret; `proposal` becomes it when the thread has none."""

    def put(self, thread: ThreadKey, put: CheckpointPut, codec: Codec, use: ThreadUse) -> Program[bool]:
        """Store a checkpoint.

        Returns False, and stores nothing, when a value that it requires is not there, or a new one is there already (a
        stored value never changes, since others may be spliced from it), or the thread has another secret.
        """

    def put_writes(self, thread: ThreadKey, put: WritesPut, use: ThreadUse) -> Program[bool]:
        """Store pending writes: one with a negative index replaces what is there, another leaves it.

        Returns False, and stores nothing, when a value that they require is not there or the thread has another secret.
        """

    def get(
        self, thread: ThreadKey, namespace: str, checkpoint_id: str | None, codec: Codec, now: float
    ) -> Program[LoadedCheckpoint | None]:
        """A checkpoint, or the latest of the namespace."""

    def page(
        self,
        tenant: str,
        thread_id: str | None,
        namespace: str | None,
        checkpoint_id: str | None,
        before: str | None,
        after: tuple[str, str, str] | None,
        limit: int,
        codec: Codec,
        now: float,
    ) -> Program[list[CheckpointRow]]:
        """Checkpoints by descending id, then thread and namespace, from the one after `after` on."""

    def load(self, tenant: str, rows: Sequence[CheckpointRow]) -> Program[list[LoadedCheckpoint]]:
        """What it takes to rebuild these checkpoints."""

    def ancestors(
        self, thread: ThreadKey, checkpoint: CheckpointKey, limit: int, codec: Codec, now: float = 0.0
    ) -> Program[list[CheckpointRow]]:
        """The checkpoint, its parent, its parent's parent …, at most `limit`."""

    def writes(
        self, thread: ThreadKey, checkpoints: Sequence[CheckpointKey], channels: Collection[str]
    ) -> Program[tuple[dict[CheckpointKey, list[StoredWrite]], Parts]]:
        """The pending writes of checkpoints to some channels, in order, and what it takes to rebuild their values."""

    def entries(self, thread: ThreadKey) -> Program[list[CheckpointEntry]]:
        """All checkpoints of a thread, oldest first."""

    def threads_of_runs(self, tenant: str, run_ids: Collection[str]) -> Program[list[str]]:
        """The threads that hold checkpoints of these runs."""

    def delete(
        self,
        thread: ThreadKey,
        checkpoints: Collection[CheckpointKey],
        codec: Codec,
        known: Collection[CheckpointEntry],
    ) -> Program[None]:
        """Delete checkpoints with their writes, and the values and elements that no other needs.

        `known` are the entries that the choice was made from. Where the database keeps nobody from writing meanwhile, the
        program begins anew when another checkpoint follows one of these by now.
        """

    def delete_thread(self, thread: ThreadKey) -> Program[None]:
        """Delete a thread with all that belongs to it."""

    def copy_thread(self, source: ThreadKey, target: ThreadKey, now: float) -> Program[bool]:
        """Copy a thread; returns False, and copies nothing, when the target holds checkpoints or writes."""

    def threads(
        self, tenant: str, user_id: str | Omitted | None, limit: int | None, offset: int, now: float
    ) -> Program[list[ThreadRow]]:
        """List the threads with turns of one user, of nobody (None), or all (`OMITTED`), the most recently used first."""

    def set_ttl(self, thread: ThreadKey, ttl: float | None, now: float) -> Program[bool]:
        """Set after how many seconds without use a thread expires; returns whether there is such a thread."""

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        """Delete at most `limit` expired threads; returns how many."""


class Backend(ABC):
    """A database that holds the memory."""

    name: str
    language: str = "english"
    """Which language texts are searched in."""
    messages: MessageLog
    items: ItemTable
    checkpoints: CheckpointTable

    def use_vectors(self, config: Mapping[str, Any]) -> None:  # noqa: B027 (most backends have nothing to choose)
        """Say how vectors are to be indexed, before the first is stored: LangGraph's `ann_index_config`."""

    @abstractmethod
    def read(self, program: Program[T]) -> T:
        """Run a storage program on one consistent view of the database."""

    @abstractmethod
    async def aread(self, program: Program[T]) -> T:
        """Same as `read`, but without blocking the event loop."""

    @abstractmethod
    def write(self, program: Program[T]) -> T:
        """Run a storage program as one transaction: all of it is stored, or none of it."""

    @abstractmethod
    async def awrite(self, program: Program[T]) -> T:
        """Same as `write`, but without blocking the event loop."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """True once the backend was closed."""

    @property
    def closed_mark(self) -> str:
        """The end of the `repr` of a closed backend."""
        return ", closed" if self.closed else ""

    @abstractmethod
    def close(self) -> None:
        """Close every connection that this object opened. Closing twice does no harm."""

    @abstractmethod
    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
