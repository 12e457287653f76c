"""The settings of the cache of reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from langchain_agentmem.arguments.durations import required_seconds
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.errors import InvalidTypeError


@dataclass(frozen=True)
class ReadCache:
    """Keep variables and profiles that were read in the process, so that reading them again needs no database.

    A memory always reads its own writes. Writes of other processes, and of other memories in this process, are seen after at
    most `max_age`. What they have forgotten is returned for at most a second. For that, the cache reads one small value from
    the database at most once a second, when it is used.

    Args:
        size: The maximum number of results that are kept. Default: 1,000.
        max_age: The time for which a result is kept, as a `timedelta` or in seconds. Default: 30.

    Raises:
        InvalidInputError: A value is not positive.
        InvalidTypeError: A value has the wrong type.

    Example:
        >>> from langchain_agentmem import AgentMemory, ReadCache
        >>> memory = AgentMemory.from_url("sqlite:///:memory:", read_cache=ReadCache(size=500, max_age=10))
        >>> memory.variables.set("tone", "formal")
        >>> memory.variables.get("tone"), memory.variables.get("tone")
        ('formal', 'formal')
        >>> memory.read_cache.info()
        ReadCacheInfo(hits=1, misses=1, entries=1, size=500)
        >>> memory.close()
    """

    size: int = 1_000
    max_age: timedelta | float = 30.0

    def __post_init__(self) -> None:
        check_count("ReadCache.size", self.size)
        required_seconds("ReadCache.max_age", self.max_age)


def check_read_cache(given: object) -> ReadCache | None:
    """Return optional settings of the cache.

    Raises:
        InvalidTypeError: The value is neither a `ReadCache` nor None.
    """
    if given is not None and not isinstance(given, ReadCache):
        msg = f"read_cache must be a ReadCache, such as ReadCache(max_age=30), got {shown(given)}."
        raise InvalidTypeError(msg)
    return given
