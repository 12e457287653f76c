"""A cache of the results of programs that read.

Each result belongs to groups, such as one for each user. Writing to a group invalidates its results. The groups are hashed to
numbered slots, so the cache needs no more memory with more groups; groups in one slot invalidate one another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar, cast

from langchain_agentmem.arguments.caching import ReadCache
from langchain_agentmem.arguments.durations import required_seconds
from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.programs.locks import forkable_lock
from langchain_agentmem.programs.steps import Program
from langchain_agentmem.text.tables import html_table

T = TypeVar("T")
Groups = Collection[Hashable]

_SLOTS = 4_096

_EPOCH_SECONDS = 1.0
"""Seconds for which the epoch is not read again. See `langchain_agentmem.backends.epochs`."""

_UNKNOWN = object()
"""In place of an epoch that was not read yet."""

_UNCERTAIN_SECONDS = 60.0
"""Seconds for which nothing is cached after a write that failed: the database may still carry it out."""


class ReadCacheInfo(NamedTuple):
    """The use of a cache of reads."""

    hits: int
    """The number of reads that the cache answered."""
    misses: int
    """The number of reads that the database answered."""
    entries: int
    """The number of results that the cache holds, including those that are too old."""
    size: int
    """The maximum number of results."""


class _Entry(NamedTuple):
    """A result. Its validity is checked when it is used."""

    value: Any
    groups: Groups
    state: tuple[int, ...]
    """The state of the groups when the read began."""
    read_at: float
    """The time on the monotonic clock."""
    ends_at: float | None
    """The wall-clock time at which the result is no longer true: some of the data expires."""


class Lookup(NamedTuple):
    """The key of a result in the cache. See `CachedReads.through`."""

    key: Hashable
    groups: Groups
    ends_at: Callable[[Any], float | None] | None = None


class CachedReads:
    """Caches results of programs that read. Threads and event loops may share it.

    Results must be immutable, because callers share them.

    Args:
        settings: The size and the maximum age. Default: None (nothing is cached).
        epoch: Returns a program that reads a value. If it has changed, another process has deleted data of a user, and all
            results are removed. It is read before a result is returned or stored, at most once a second. An error of the
            program is raised: a result that may be deleted is not returned. Default: None (nobody else deletes).

    Example:
        >>> from langchain_agentmem.arguments.caching import ReadCache
        >>> from langchain_agentmem.programs import Call, run
        >>> from langchain_agentmem.backends.reads import CachedReads
        >>> cache = CachedReads(ReadCache(size=10))
        >>> numbers = iter(range(10))
        >>> def read():
        ...     return run(cache.through("next", ["numbers"], lambda: iter(Call(next, numbers))))
        >>> read(), read()
        (0, 0)
        >>> with cache.writing(["numbers"]):
        ...     pass
        >>> read()
        1
    """

    def __init__(self, settings: ReadCache | None = None, epoch: Callable[[], Program[Hashable]] | None = None) -> None:
        self.settings = settings
        self.clock: Callable[[], float] = time.monotonic
        """The clock of ages."""
        self._read_epoch = epoch
        self._epoch: Hashable = _UNKNOWN
        self._epoch_read_at: float | None = None
        """The start of the last complete reading of the epoch; None before the first one."""
        self._max_age = 0.0 if settings is None else required_seconds("ReadCache.max_age", settings.max_age)
        self._entries: RecentValues[Hashable, _Entry] = RecentValues(settings.size if settings else 0)
        self._lock = forkable_lock()
        self._writes = [0] * _SLOTS
        """The number of writes to the groups of each slot."""
        self._running = [0] * _SLOTS
        """The number of these writes that have not ended."""
        self._uncertain_until = [0.0] * _SLOTS
        self._cleared = 0
        self._hits = self._misses = 0

    @property
    def is_on(self) -> bool:
        """True if results are cached."""
        return self.settings is not None

    def through(
        self,
        key: Hashable,
        groups: Groups,
        read: Callable[[], Program[T]],
        ends_at: Callable[[T], float | None] | None = None,
    ) -> Program[T]:
        """Return the result of a program from the cache. Run the program if the cache does not have it.

        Args:
            key: Identifies the result.
            groups: The groups that the result belongs to.
            read: Returns the program. It only reads.
            ends_at: Returns the time (seconds since 1970) until which a result is true; None for any time. Default: None.
        """

        def alone(_: Sequence[int]) -> Program[list[Any]]:
            return [(yield from read())]

        (value,) = yield from self.several([Lookup(key, groups, ends_at)], alone)
        return cast("T", value)

    def several(
        self, lookups: Sequence[Lookup | None], read: Callable[[Sequence[int]], Program[list[Any]]]
    ) -> Program[list[Any]]:
        """Return several results, of which the cache may have some.

        Args:
            lookups: Identify the results; None for one that is not cached.
            read: Returns the program that reads results, by their indexes in `lookups`. It is not called for none.
        """
        if self.settings is None:
            return (yield from read(range(len(lookups)))) if lookups else []
        yield from self._check_epoch()
        results: dict[int, Any] = {}
        states: dict[int, tuple[int, ...]] = {}
        for at, lookup in enumerate(lookups):
            entry = None if lookup is None else self._entries.get(lookup.key)
            if entry is not None and self._is_valid(entry):
                results[at] = entry.value
            elif lookup is not None:
                states[at] = self._state(lookup.groups)
        with self._lock:
            self._hits += len(results)
            self._misses += len(states)
        missing = [at for at in range(len(lookups)) if at not in results]
        if missing:
            began = self.clock()
            results.update(zip(missing, (yield from read(missing)), strict=True))
            for at, state in states.items():
                _, groups, ends_at = cast("Lookup", lookups[at])
                if self._is_certain(groups):
                    ends = None if ends_at is None else ends_at(results[at])
                    self._entries.put(cast("Lookup", lookups[at]).key, _Entry(results[at], groups, state, began, ends))
        return [results[at] for at in range(len(lookups))]

    @contextmanager
    def writing(self, groups: Groups) -> Iterator[None]:
        """Context manager around a write to groups. What was read before its end is invalid then, also after an error."""
        if self.settings is None:
            yield
            return
        # If the exception of a signal handler interrupts the end, the write counts as running: nothing stale is cached.
        self._count_writes(groups, running=1)
        uncertain = True
        try:
            yield
            uncertain = False
        finally:
            self._count_writes(groups, running=-1, uncertain=uncertain)

    def clear(self) -> None:
        """Remove all results."""
        with self._lock:
            self._cleared += 1
        self._entries.clear()

    def info(self) -> ReadCacheInfo:
        """Return the numbers of hits, misses and entries, and the maximum number of entries."""
        return ReadCacheInfo(self._hits, self._misses, len(self._entries), self.settings.size if self.settings else 0)

    def __repr__(self) -> str:
        hits, misses, entries, size = self.info()
        return f"CachedReads({hits=}, {misses=}, {entries=}, {size=}, max_age={self._max_age:g})"

    def _repr_html_(self) -> str:
        rows = [*self.info()._asdict().items(), ("max_age", f"{self._max_age:g} seconds")]
        return html_table(rows, caption="Cache of reads", row_headers=True)

    def _check_epoch(self) -> Program[None]:
        """Remove all results if another process has deleted data of a user since the last check."""
        if self._read_epoch is None:
            return
        now = self.clock()
        # A caller does not rely on a reading that has not ended: the epoch may have changed long ago.
        if self._epoch_read_at is not None and now - self._epoch_read_at < _EPOCH_SECONDS:
            return
        epoch = yield from self._read_epoch()
        if self._epoch is not _UNKNOWN and self._epoch != epoch:
            self.clear()
        with self._lock:
            self._epoch = epoch
            self._epoch_read_at = max(now, self._epoch_read_at or now)

    def _count_writes(self, groups: Groups, *, running: int, uncertain: bool = False) -> None:
        until = self.clock() + _UNCERTAIN_SECONDS
        with self._lock:
            for slot in _slots(groups):
                if uncertain:
                    self._uncertain_until[slot] = until
                self._writes[slot] += 1
                self._running[slot] += running

    def _state(self, groups: Groups) -> tuple[int, ...]:
        with self._lock:
            return (self._cleared, *(self._writes[slot] for slot in _slots(groups)))

    def _is_certain(self, groups: Groups) -> bool:
        now = self.clock()
        return all(self._uncertain_until[slot] <= now and not self._running[slot] for slot in _slots(groups))

    def _is_valid(self, entry: _Entry) -> bool:
        return (
            self.clock() - entry.read_at < self._max_age
            and (entry.ends_at is None or time.time() < entry.ends_at)
            and entry.state == self._state(entry.groups)
        )


def session_group(key: SessionKey) -> Hashable:
    """Return the group of what is deleted with a session."""
    return "session", *key


def _slots(groups: Groups) -> list[int]:
    return [hash(group) % _SLOTS for group in groups]
