"""The cache table on Redis: a hash for each namespace, with an index of the namespaces in the slot of the tenant."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import ormsgpack

from langchain_agentmem.backends.contract import CacheKey, CachePut, StatisticsQuery, Tally
from langchain_agentmem.backends.redis import indexes
from langchain_agentmem.backends.redis.scripts import Invoke, InvokeAll, load_scripts, optional, slot
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Program, storage_program

LUA = load_scripts("cache.lua", "a cache")

_EXPIRY_BYTES = 8
_LENGTH = struct.Struct(">I")
_AT_ONCE = 200
"""The number of namespaces in one round trip."""

_Labels = tuple[str, ...]


class RedisCache:
    """The cache on Redis. See `langchain_agentmem.backends.contract.CacheTable`."""

    @storage_program
    def get(self, tenant: str, keys: Sequence[CacheKey], now: float) -> Program[list[Typed | None]]:
        groups: dict[_Labels, list[int]] = {}
        for number, (namespace, _) in enumerate(keys):
            groups.setdefault(namespace, []).append(number)
        answers = yield from InvokeAll(
            [
                Invoke(LUA["get"], _keys(tenant, namespace), (optional(now), *(keys[one].key for one in numbers)))
                for namespace, numbers in groups.items()
            ]
        )
        found: list[Typed | None] = [None] * len(keys)
        for numbers, entries in zip(groups.values(), answers, strict=True):
            for number, entry in zip(numbers, entries, strict=True):
                found[number] = None if entry is None else _value(entry)
        return found

    @storage_program
    def set(self, tenant: str, puts: Sequence[CachePut], now: float) -> Program[None]:
        groups: dict[_Labels, list[CachePut]] = {}
        for put in puts:
            groups.setdefault(put.address.namespace, []).append(put)
        steps: list[Invoke] = []
        for namespace, own in groups.items():
            steps.append(indexes.enlist(_index(tenant), _member(namespace), now))
            ttls = [put.ttl for put in own if put.ttl is not None]
            if ttls:
                schedule = _schedule(tenant)
                steps.append(indexes.schedule(schedule, _member(namespace), now + min(ttls), earliest=True))
            written = [one for put in own for one in (put.address.key, optional(put.ttl), *put.value)]
            steps.append(Invoke(LUA["set"], _keys(tenant, namespace), (optional(now), *written)))
        yield from InvokeAll(steps)

    @storage_program
    def clear(self, tenant: str, namespaces: Sequence[_Labels] | None, now: float, limit: int) -> Program[int]:
        members = (yield from indexes.members(_index(tenant))) if namespaces is None else map(_member, namespaces)
        wanted, deleted = list(dict.fromkeys(members)), 0
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            deleted += sum((yield from InvokeAll([Invoke(LUA["clear"], _keys(tenant, _labels(one))) for one in some])))
            yield from InvokeAll(_delisted(tenant, some, now))
            if deleted >= limit:
                break
        return deleted

    @storage_program
    def count(self, tenant: str, before: float, now: float) -> Program[int]:
        times = (optional(before), optional(now))
        members = yield from indexes.members(_index(tenant))
        total = 0
        for start in range(0, len(members), _AT_ONCE):
            some = members[start : start + _AT_ONCE]
            calls = [Invoke(LUA["count"], _keys(tenant, _labels(one)), times) for one in some]
            total += sum((yield from InvokeAll(calls)))
        return total

    @storage_program
    def prune(self, tenant: str, before: float, limit: int) -> Program[int]:
        members = yield from indexes.members(_index(tenant))
        deleted = 0
        for start in range(0, len(members), _AT_ONCE):
            some = members[start : start + _AT_ONCE]
            calls = [Invoke(LUA["prune"], _keys(tenant, _labels(one)), (optional(before), limit)) for one in some]
            answers = yield from InvokeAll(calls)
            deleted += sum(number for number, _ in answers)
            empty = [one for one, (_, left) in zip(some, answers, strict=True) if not left]
            yield from InvokeAll(_delisted(tenant, empty, before))
            if deleted >= limit:
                break
        return deleted

    def tally(self, query: StatisticsQuery, tally: Tally) -> Program[None]:
        """Count the entries."""
        members, times = (yield from indexes.members(_index(query.tenant))), [optional(query.now), *query.ends]
        for start in range(0, len(members), _AT_ONCE):
            some = members[start : start + _AT_ONCE]
            calls = [
                Invoke(LUA["tally"], _keys(query.tenant, _labels(one)), list(map(optional, times))) for one in some
            ]
            for numbers in (yield from InvokeAll(calls)):
                tally.add("cache_entries", sum(numbers))
                tally.expire("cache_entries", numbers)

    @storage_program
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        schedule = _schedule(tenant)
        members = [member for member, _ in (yield from indexes.due(schedule, now, limit))]
        if not members:
            return 0
        answers = yield from InvokeAll(
            [Invoke(LUA["sweep"], _keys(tenant, _labels(one)), (optional(now), limit)) for one in members]
        )
        later = [(member, following) for member, (_, following) in zip(members, answers, strict=True)]
        yield from InvokeAll([indexes.reschedule(schedule, later)])
        return sum(number for number, _ in answers)


def _keys(tenant: str, namespace: Sequence[str]) -> list[str]:
    """Return the keys of a namespace."""
    prefix = slot("cache", tenant, *namespace)
    return [prefix + "cache", prefix + "cache:stored", prefix + "cache:expiring"]


def _index(tenant: str) -> str:
    """Return the index of the namespaces with entries."""
    return slot("tenant", tenant) + "caches"


def _schedule(tenant: str) -> str:
    """Return the schedule of the namespaces with entries that expire."""
    return slot("tenant", tenant) + "expiring-caches"


def _member(namespace: Sequence[str]) -> bytes:
    return ormsgpack.packb(list(namespace))


def _labels(member: bytes) -> _Labels:
    return tuple(ormsgpack.unpackb(member))


def _delisted(tenant: str, members: Sequence[bytes], now: float) -> list[Invoke]:
    """Return the calls that remove empty namespaces from the index, except those that were used recently."""
    if not members:
        return []
    return [indexes.heal(_index(tenant), [(one, now - indexes.GRACE_SECONDS) for one in members])]


def _value(entry: bytes) -> Typed:
    start = _EXPIRY_BYTES + _LENGTH.size
    (length,) = _LENGTH.unpack_from(entry, _EXPIRY_BYTES)
    return Typed(entry[start : start + length].decode(), entry[start + length :])
