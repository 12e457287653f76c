"""The operations of the cache, as programs.

The state of the database does not fail a run: an entry that cannot be read, or a database that cannot be reached, is a miss.
The node then runs again. Both are logged as warnings.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langchain_agentmem.arguments.ids import check_name
from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.backends.contract import Backend, CacheKey, CachePut
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.encoding.missing import count_created, with_placeholders
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.encoding.refusals import UNREADABLE, unsupported
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, StorageClosedError, StorageError
from langchain_agentmem.messages.guarding import guarded_value
from langchain_agentmem.programs import OffLoop, Program, Read, Write
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.programs.sizes import LARGE, is_large
from langchain_agentmem.text.guard import Guard

_log = logging.getLogger(__name__)

BATCH = 1_000
"""The number of entries that one transaction deletes."""

_LONGEST_SECONDS = 1e11


@dataclass(eq=False)
class CacheEngine:
    """The cache of one tenant.

    Args:
        backend: The backend.
        tenant: The tenant.
        sweeper: The sweeper that runs after writes.
        ttl: The TTL in seconds of entries whose policy has none. Default: None (they never expire).
        guard: An entry with a text that the guard refuses is not stored. Default: None (any entry is).
    """

    backend: Backend
    tenant: str
    sweeper: Sweeper
    ttl: float | None = None
    guard: Guard | None = None

    def get(self, keys: Any, serde: SerializerProtocol) -> Program[dict[CacheKey, Any]]:
        """Return the values of the keys that have a living entry."""
        wanted = list(dict.fromkeys(address_of(key) for key in listed(keys)))
        if not wanted:
            return {}
        try:
            rows = yield from Read(self.backend, self.backend.cache.get(self.tenant, wanted, time.time()))
        except StorageClosedError:
            raise
        except StorageError as error:
            _log.warning("The cache cannot be read, so nodes run again: %s", error)
            return {}
        yield from OffLoop(sum(len(row.data) for row in rows if row is not None) > LARGE)
        reader = with_placeholders(serde) if isinstance(serde, JsonPlusSerializer) else serde
        found = {}
        for address, row in zip(wanted, rows, strict=True):
            if row is not None:
                created = count_created()
                try:
                    value = reader.loads_typed(row)
                except UNREADABLE as error:
                    if came_by_signal(error):
                        raise
                    _log.warning("The cache entry %s cannot be read: %s", shown(address.key), reason_of(error))
                    continue
                if count_created() == created:
                    found[address] = value
                else:
                    _log.warning("The cache entry %s has a class that does not exist any more.", shown(address.key))
        return found

    def set(self, pairs: Any, serde: SerializerProtocol) -> Program[None]:
        """Store values with their TTLs."""
        checked = self._checked(pairs)
        yield from OffLoop(is_large([value for value, _ in checked.values()]))
        puts = []
        for address, (value, ttl) in checked.items():
            if self.guard is None or self._is_accepted(self.guard, value):
                try:
                    typed = Typed(*serde.dumps_typed(value))
                except (TypeError, ValueError) as error:
                    raise unsupported(value, error) from error
                puts.append(CachePut(address, typed, ttl))
        if not puts:
            return
        try:
            yield from Write(self.backend, self.backend.cache.set(self.tenant, puts, time.time()))
            yield from self.sweeper.after_write()
        except StorageClosedError:
            raise
        except StorageError as error:
            _log.warning("The cache cannot be written: %s", error)

    def clear(self, namespaces: Any) -> Program[int]:
        """Delete the entries of some namespaces, or all of them; return their number."""
        wanted = None if namespaces is None else [labels_of(one) for one in listed(namespaces, "namespaces")]
        return (yield from cleared(self.backend, self.tenant, wanted))

    def _checked(self, pairs: Any) -> dict[CacheKey, tuple[Any, float | None]]:
        """Return entries by address, with their TTLs in seconds."""
        if not isinstance(pairs, Mapping):
            msg = f"The entries must be a mapping of keys to pairs of a value and a TTL, got {shown(pairs)}."
            raise InvalidTypeError(msg)
        checked = {}
        for key, pair in pairs.items():
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                msg = f"A cache entry must be a pair of a value and a TTL (None for none), got {shown(pair)}."
                raise InvalidTypeError(msg)
            value, ttl = pair
            checked[address_of(key)] = value, self.ttl if ttl is None else seconds_of(ttl)
        return checked

    @staticmethod
    def _is_accepted(guard: Guard, value: Any) -> bool:
        """Return false if a value has a text that a guard refuses or changes."""
        read = list(value) if isinstance(value, deque) else value  # LangGraph's writes of a task
        try:
            is_same = guarded_value(read, lambda text: guard.text(text, "A cached value")) is read
        except InvalidInputError:
            is_same = False
        if not is_same:
            _log.info("A result is not cached: the guard found a text in it that must not be stored.")
        return is_same


def cleared(backend: Backend, tenant: str, namespaces: Sequence[tuple[str, ...]] | None = None) -> Program[int]:
    """Delete cache entries in bounded transactions, and return their number.

    Args:
        backend: The backend.
        tenant: The tenant.
        namespaces: The namespaces. Default: None (all).
    """
    total, deleted = 0, 1
    while deleted:
        deleted = yield from Write(backend, backend.cache.clear(tenant, namespaces, time.time(), BATCH))
        total += deleted
    return total


def listed(given: Any, what: str = "keys") -> Sequence[Any]:
    """Return a sequence as it is.

    Raises:
        InvalidTypeError: It is not a list or a tuple.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
        msg = f"{what} must be a list, got {type(given).__name__}: {shown(given)}."
        raise InvalidTypeError(msg)
    return given


def labels_of(namespace: Any) -> tuple[str, ...]:
    """Return the labels of a namespace.

    Raises:
        InvalidTypeError: It is not a tuple of strings.
        InvalidInputError: A label contains a NUL character or half of a surrogate pair.
    """
    if isinstance(namespace, (str, bytes)) or not isinstance(namespace, Sequence):
        msg = f"A cache namespace must be a tuple of strings, got {type(namespace).__name__}: {shown(namespace)}."
        raise InvalidTypeError(msg)
    return tuple(check_name("A label of a cache namespace", label) for label in namespace)


def address_of(key: Any) -> CacheKey:
    """Return a key of LangGraph's cache as the address of an entry.

    Raises:
        InvalidTypeError: It is not a pair of a namespace and a string.
        InvalidInputError: A part contains a NUL character or half of a surrogate pair.
    """
    if not isinstance(key, (tuple, list)) or len(key) != 2:
        msg = f"A cache key must be a pair of a namespace and a string, got {shown(key)}."
        raise InvalidTypeError(msg)
    return CacheKey(labels_of(key[0]), check_name("A cache key", key[1]))


def seconds_of(ttl: Any) -> float:
    """Return a TTL in seconds. An entry with a TTL of 0 or less expires at once, as in LangGraph's caches.

    Raises:
        InvalidTypeError: It is neither a number nor a `timedelta`.
        InvalidInputError: It is not finite, or longer than 3,000 years.
    """
    given = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        msg = f"The TTL of a cache entry must be a number of seconds, a timedelta or None, got {shown(ttl)}."
        raise InvalidTypeError(msg)
    if not -_LONGEST_SECONDS < given < _LONGEST_SECONDS:
        msg = f"The TTL of a cache entry must be less than 3,000 years, got {shown(ttl)}."
        raise InvalidInputError(msg)
    return float(given)
