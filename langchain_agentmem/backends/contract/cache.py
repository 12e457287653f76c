"""The cache table of a backend: the results of graph nodes and tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Program


class CacheKey(NamedTuple):
    """The address of a cache entry. Labels and keys are opaque strings without NUL characters; they may be empty."""

    namespace: tuple[str, ...]
    key: str


class CachePut(NamedTuple):
    """A cache entry to store."""

    address: CacheKey
    value: Typed
    ttl: float | None = None
    """Seconds until the entry expires; None for never. An entry with a TTL of 0 or less has expired at once."""


class CacheTable(Protocol):
    """The entries of LangGraph's cache.

    A namespace contains exactly the entries that were stored under it: `("a",)` contains none of `("a", "b")`.
    """

    def get(self, tenant: str, keys: Sequence[CacheKey], now: float) -> Program[list[Typed | None]]:
        """Return the value of each key, in one round trip; None for a key without an entry."""

    def set(self, tenant: str, puts: Sequence[CachePut], now: float) -> Program[None]:
        """Store entries in one round trip, and replace those with the same keys. The keys differ."""

    def clear(self, tenant: str, namespaces: Sequence[tuple[str, ...]] | None, now: float, limit: int) -> Program[int]:
        """Delete entries, and return their number; 0 if none was left.

        Args:
            tenant: The tenant.
            namespaces: The namespaces; None for all.
            now: The current time.
            limit: The approximate maximum number of entries. A backend that deletes a namespace at once may delete more.
        """

    def count(self, tenant: str, before: float, now: float) -> Program[int]:
        """Return the number of entries that were stored before a time and have not expired."""

    def prune(self, tenant: str, before: float, limit: int) -> Program[int]:
        """Delete about `limit` entries that were stored before a time, and return their number."""

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        """Delete about `limit` expired entries, and return their number."""


def text_of_namespace(namespace: Sequence[str]) -> str:
    """Return a namespace as text, which no other namespace has.

    Example:
        >>> from langchain_agentmem.backends.contract.cache import text_of_namespace
        >>> text_of_namespace(("writes", "node"))
        '["writes", "node"]'
    """
    return json.dumps(list(namespace), ensure_ascii=False)
