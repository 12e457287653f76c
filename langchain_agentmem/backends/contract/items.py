"""The item table of a backend: its rows, and its operations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from langchain_agentmem.programs import Program

Namespace = tuple[str, ...]


class ItemRow(NamedTuple):
    """A stored item."""

    namespace: Namespace
    key: str
    value: str
    """JSON text."""
    created_at: float
    updated_at: float
    ttl: float | None
    """The TTL in seconds, counted from the last use."""
    revision: int
    """A number that changes with every write."""
    paths: str | None = None
    """The `paths` of the item's `ItemPut`, if they were requested."""


class ItemPut(NamedTuple):
    """An item to store."""

    namespace: Namespace
    key: str
    value: str
    """JSON text."""
    ttl: float | None
    """The TTL in seconds, counted from the last use; None: the item never expires."""
    text: str | None
    """The words for full-text search, as `words_of` returns them, separated by spaces; None if the item is not indexed."""
    vectors: Sequence[bytes] = ()
    """The embeddings, as little-endian float32 of length 1."""
    paths: str | None = None
    """The paths of the indexed fields as a JSON list (empty: the item is not indexed); None if the put named none."""
    holds_text: bool = True
    """If false, the value holds no text, so that traces of replaced values in the files of a database need no removal."""


class IndexedItem(NamedTuple):
    """An item that searches find, with the paths of its indexed fields."""

    row: ItemRow
    paths: str | None


class EmbeddedItem(NamedTuple):
    """An item as it was read, with new vectors."""

    row: ItemRow
    vectors: Sequence[bytes]


class Swap(NamedTuple):
    """A change of an item that was read before."""

    namespace: Namespace
    key: str
    expected: int | None
    """The revision that was read; None: the item did not exist."""
    put: ItemPut | None = None
    """The new item; None: store nothing."""
    keep: bool = False
    """Leave the item unchanged. If false and `put` is None, delete it."""
    touch: bool = False
    """With `keep`: restart the TTL of the item."""


class Query(NamedTuple):
    """A search in the item table."""

    prefix: Namespace
    words: Sequence[str]
    """The words to find, as `words_of` returns them."""
    vector: bytes | None
    condition: Mapping[str, Any] | None = None
    """The filter that the caller applies to the results. A backend may omit items that do not pass it."""
    depth: int = 100
    """The number of best items, by words and by vector, that are sufficient if comparing all items would be slow."""


class Candidate(NamedTuple):
    """An item that may match a query, with its raw scores.

    A higher score is better. A score is None if that half of the search did not find the item.
    """

    id: Any
    """The backend's ID of the item. A newer item has a greater ID."""
    lexical: float | None
    dense: float | None


class Found(NamedTuple):
    """The result of a search in the item table."""

    candidates: list[Candidate]
    complete: bool = True
    """True if a greater depth would find no further items."""
    rows: Mapping[Any, ItemRow] = MappingProxyType({})
    """The items of candidates that the backend has read already, by ID."""


class ItemText(NamedTuple):
    """An item as searches see it."""

    id: Any
    """The backend's ID of the item, which `ItemTable.rows` accepts."""
    namespace: Namespace
    key: str
    updated_at: float
    expires_at: float | None
    """The time of its expiry; None for no expiry, and on a backend that lists the expired items instead."""
    words: bytes
    """The words; see `langchain_agentmem.text.words`."""
    vectors: Sequence[bytes] = ()


class ItemChanges(NamedTuple):
    """The result of `ItemTable.changes`."""

    cursor: Any
    """The state that was read. The next call returns what changed since."""
    texts: Sequence[ItemText]
    """The items that are new or changed."""
    gone: Sequence[Any]
    """The IDs of items that were deleted, and perhaps of others that are not known."""
    is_whole: bool = False
    """True if `texts` are all items."""
    remaining: Collection[Any] | None = None
    """The IDs of all items, if items were deleted and the backend does not know which; otherwise None."""
    expired: Collection[Any] = ()
    """The IDs of items that have expired, if `texts` have no times of expiry."""
    is_too_large: bool = False
    """True if there are too many items to return: the caller uses `find`."""


class ItemTable(Protocol):
    """The items of the store."""

    reads_changes: bool
    """False if each call of `changes` reads all items. The caller then names the namespace that it searches, no wider one."""

    def get(
        self, tenant: str, keys: Sequence[tuple[Namespace, str]], now: float, *, paths: bool = False
    ) -> Program[list[ItemRow | None]]:
        """Return the items with these keys, in the same order; None for an item that does not exist.

        Args:
            tenant: The tenant.
            keys: The namespaces and keys.
            now: The current time.
            paths: If true, the items have their `paths`.
        """

    def put(self, tenant: str, puts: Sequence[ItemPut], now: float) -> Program[None]:
        """Store items. An existing item keeps its `created_at`."""

    def swap(self, tenant: str, swaps: Sequence[Swap], now: float, token: int) -> Program[bool]:
        """Store and delete different items if all still have the expected revisions.

        Args:
            tenant: The tenant.
            swaps: The changes. All namespaces have the same first label.
            now: The current time.
            token: Idempotency token, a random number: a retried swap recognises its own write.

        Returns:
            True if all items had the expected revisions. If false, nothing was changed.
        """

    def delete(self, tenant: str, keys: Sequence[tuple[Namespace, str]]) -> Program[None]:
        """Delete items."""

    def touch(self, tenant: str, keys: Sequence[tuple[Namespace, str]], now: float) -> Program[None]:
        """Restart the TTL of items."""

    def change(
        self,
        tenant: str,
        puts: Sequence[ItemPut],
        deletes: Sequence[tuple[Namespace, str]],
        touches: Sequence[tuple[Namespace, str]],
        now: float,
    ) -> Program[None]:
        """Touch, delete and store different items in one transaction."""

    def scan(
        self,
        tenant: str,
        prefix: Namespace,
        condition: Mapping[str, Any] | None,
        limit: int,
        before: tuple[Any, ...] | None,
        now: float,
        *,
        offset: int = 0,
    ) -> Program[tuple[list[ItemRow], tuple[Any, ...] | None]]:
        """Return a page of the items at or below a namespace, most recently updated first.

        Args:
            tenant: The tenant.
            prefix: The namespace.
            condition: A filter that the caller applies. The backend may omit items that do not pass it.
            limit: The size of a page.
            before: None for the first page, then the continuation of the page before.
            now: The current time.
            offset: The number of items to skip before the page. Use 0 for a condition that `skips` refuses. Default: 0.

        Returns:
            The items, and the continuation; None after the last page.
        """

    def skips(self, condition: Mapping[str, Any] | None) -> bool:
        """Return true if `scan` can skip items for a filter: the backend evaluates the filter itself, without doubt."""

    def find(self, tenant: str, query: Query, now: float) -> Program[Found]:
        """Return the items at or below a namespace that contain one of the terms or, if a vector is given, have vectors."""

    def changes(
        self, tenant: str, prefix: Namespace, width: int | None, cursor: Any, now: float
    ) -> Program[ItemChanges] | None:
        """Return the program that reads what changed in the indexed items at or below a namespace since an earlier call.

        Args:
            tenant: The tenant.
            prefix: The namespace; empty for all items.
            width: The number of bytes of a vector; None to return no vectors.
            cursor: `ItemChanges.cursor` of the call before; None in the first call.
            now: The current time.

        Returns:
            The program. None: there are too many items, or the backend has none; the caller uses `find`.

        Raises:
            StorageError: A vector has another width.
        """

    def rows(self, ids: Sequence[Any]) -> Program[dict[Any, ItemRow]]:
        """Return the items of candidates by ID. Items that were deleted are omitted."""

    def namespaces(self, tenant: str, prefix: Namespace, now: float) -> Program[list[Namespace]]:
        """Return the namespaces at or below a prefix that contain items, sorted."""

    def roots(self, tenant: str, now: float) -> Program[list[str]]:
        """Return the first labels of the namespaces that contain items, in any order."""

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        """Delete at most `limit` expired items, and return their number."""

    def fits(self, tenant: str, dimensions: int) -> Program[str | None]:
        """Return None if vectors of these dimensions can be stored together with the stored ones.

        Otherwise return the reason, and what the user can do, as the text of an error.
        """

    def refuses(self, tenant: str, dimensions: int) -> Program[str | None]:
        """Return None if vectors of these dimensions can replace the tenant's vectors; otherwise the reason, as in `fits`."""

    def unembed(self, tenant: str, dimensions: int, after: Any) -> Program[Any]:
        """Delete the vectors of some items, before vectors of other dimensions are stored.

        Args:
            tenant: The tenant.
            dimensions: The dimensions of the vectors that follow.
            after: None in the first call, then the result of the call before.

        Returns:
            A continuation of the backend's own type; None when no vector is left and new ones can be stored.
        """

    def unembedded(
        self, tenant: str, dimensions: int | None, after: Any, limit: int, now: float
    ) -> Program[tuple[list[IndexedItem], Any]]:
        """Return about `limit` indexed items without a vector of these dimensions, and a continuation as in `unembed`.

        If `dimensions` is None, return all indexed items.
        The order is the same in every call. The `paths` of an item are those of its last put; None if the put named none.
        """

    def set_words(self, tenant: str, items: Sequence[tuple[ItemRow, str]]) -> Program[None]:
        """Replace the words of indexed items that still have the revision. The words have the form of `ItemPut.text`."""

    def embed(self, tenant: str, items: Sequence[EmbeddedItem]) -> Program[int]:
        """Store the vectors of items whose revision is unchanged, and return the number of these items."""
