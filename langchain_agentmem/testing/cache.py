"""Tests of the cache table of a backend; a part of `langchain_agentmem.testing.contract`."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from langchain_agentmem.backends.contract import Backend, CacheKey, CachePut, StatisticsQuery
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.testing.cases import HOSTILE_IDS, NOW, ContractCase

_WRITES = ("__pregel_ns_writes", "module.node", "node")
_A, _B, _OTHER = CacheKey(_WRITES, "a"), CacheKey(_WRITES, "b"), CacheKey(("other",), "a")
_ALL = 1_000


def _put(address: CacheKey, text: str = "value", ttl: float | None = None) -> CachePut:
    return CachePut(address, Typed("msgpack", text.encode()), ttl)


class CacheContract(ContractCase):
    """The contract of the cache table as tests."""

    def _store(self, backend: Backend, *puts: CachePut, tenant: str = "default", now: float = NOW) -> None:
        self.write(backend, backend.cache.set(tenant, puts, now))

    def _cached(
        self, backend: Backend, keys: Sequence[CacheKey], *, tenant: str = "default", now: float = NOW
    ) -> list[str | None]:
        rows = self.read(backend, backend.cache.get(tenant, keys, now))
        return [None if row is None else row.data.decode() for row in rows]

    def test_cache_entries_are_stored_and_replaced_together(self, backend: Backend) -> None:
        assert self._cached(backend, [_A, _OTHER]) == [None, None]
        self._store(backend, _put(_A, "1"), _put(_OTHER, "2"))
        self._store(backend, _put(_B, "3"), _put(_OTHER, "4"))
        assert self._cached(backend, [_OTHER, CacheKey(_WRITES, "c"), _A, _B]) == ["4", None, "1", "3"]

    def test_cache_entries_of_any_type_come_back(self, backend: Backend) -> None:
        values = [Typed("null", b""), Typed("bytes", bytes(range(256))), Typed("msgpack+aes", b"x" * 300_000)]
        keys = [CacheKey(("types",), str(number)) for number in range(len(values))]
        puts = [CachePut(*pair) for pair in zip(keys, values, strict=True)]
        self.write(backend, backend.cache.set("default", puts, NOW))
        assert self.read(backend, backend.cache.get("default", keys, NOW)) == values

    def test_hostile_cache_keys_stay_apart(self, backend: Backend) -> None:
        keys = [CacheKey(namespace, one) for one in HOSTILE_IDS for namespace in ((one,), (one, one), ())]
        keys += [CacheKey(("a", "b"), "c"), CacheKey(("a",), "b"), CacheKey(("",), ""), CacheKey((), "")]
        keys += [CacheKey(("x" * 5_000,), "y" * 5_000), CacheKey(("x" * 5_000,), "y" * 4_999)]
        self._store(backend, *(_put(key, str(number)) for number, key in enumerate(keys)))
        assert self._cached(backend, keys) == [str(number) for number in range(len(keys))]
        self.write(backend, backend.cache.clear("default", [("a",)], NOW, _ALL))
        left = [None if key.namespace == ("a",) else str(number) for number, key in enumerate(keys)]
        assert self._cached(backend, keys) == left

    def test_cache_entries_expire(self, backend: Backend) -> None:
        self._store(backend, _put(_A, "short", 10.0), _put(_B, "long"), _put(_OTHER, "none", 0.0))
        assert self._cached(backend, [_A, _B, _OTHER], now=NOW + 9) == ["short", "long", None]
        assert self._cached(backend, [_A, _B], now=NOW + 10) == [None, "long"]
        self._store(backend, _put(_A, "again"), _put(_B, "short", 5.0), now=NOW + 11)
        assert self._cached(backend, [_A, _B], now=NOW + 15) == ["again", "short"]
        assert self._cached(backend, [_A, _B], now=NOW + 16) == ["again", None]

    def test_expired_cache_entries_are_swept(self, backend: Backend) -> None:
        keys = [CacheKey(("swept", str(number % 3)), str(number)) for number in range(9)]
        self._store(backend, *(_put(key, ttl=10.0 + number) for number, key in enumerate(keys)), _put(_A))
        self._store(backend, _put(_A, ttl=1.0), tenant="other")
        assert self.write(backend, backend.cache.sweep("default", NOW + 9, _ALL)) == 0
        assert self.write(backend, backend.cache.sweep("default", NOW + 13, _ALL)) == 4
        assert self.read(backend, backend.cache.count("default", NOW + 1, NOW)) == 6
        assert self.write(backend, backend.cache.sweep("default", NOW + 100, _ALL)) == 5
        assert self.write(backend, backend.cache.sweep("default", NOW + 100, _ALL)) == 0
        assert self._cached(backend, [_A], now=NOW + 100) == ["value"]

    def test_cache_entries_are_counted_by_expiry(self, backend: Backend) -> None:
        ttls = (60.0, 7_200.0, 3 * 86_400.0, 30 * 86_400.0, None, 1.0)
        keys = [CacheKey((str(number % 2),), str(number)) for number in range(len(ttls))]
        self._store(backend, *(_put(key, ttl=ttl) for key, ttl in zip(keys, ttls, strict=True)))
        self._store(backend, _put(_A), tenant="other")
        query = StatisticsQuery(
            "default", NOW + 1, "user:", "shared", (), ("entities", "same_as"), ("relations", "links")
        )
        found = self.read(backend, backend.statistics.count(query))
        assert (found.counts["cache_entries"], [*found.expiries["cache_entries"]]) == (5, [1, 1, 1, 1, 1])

    def test_cache_namespaces_are_cleared(self, backend: Backend) -> None:
        keys = [_A, _B, _OTHER, CacheKey(_WRITES[:2], "a"), CacheKey((*_WRITES, "more"), "a")]
        self._store(backend, *map(_put, keys))
        self._store(backend, *map(_put, keys), tenant="other")
        assert self.write(backend, backend.cache.clear("default", [_WRITES, ("missing",)], NOW, _ALL)) == 2
        assert self.write(backend, backend.cache.clear("default", [], NOW, _ALL)) == 0
        assert self._cached(backend, keys) == [None, None, "value", "value", "value"]
        assert self.write(backend, backend.cache.clear("default", None, NOW, _ALL)) == 3
        assert self._cached(backend, keys) == [None] * 5
        assert self._cached(backend, keys, tenant="other") == ["value"] * 5

    def test_a_large_cache_is_cleared_in_parts(self, backend: Backend) -> None:
        keys = [CacheKey(("part", str(number % 4)), str(number)) for number in range(40)]
        self._store(backend, *map(_put, keys))
        deleted: list[int] = []
        while not deleted or deleted[-1]:
            deleted.append(self.write(backend, backend.cache.clear("default", None, NOW, 15)))
        assert sum(deleted) == 40
        assert self._cached(backend, keys) == [None] * 40

    def test_old_cache_entries_are_counted_and_pruned(self, backend: Backend) -> None:
        self._store(backend, _put(_A), _put(_OTHER), _put(CacheKey(("other",), "short"), ttl=30.0))
        self._store(backend, _put(_B), _put(_OTHER), now=NOW + 50)
        assert self.read(backend, backend.cache.count("default", NOW + 50, NOW)) == 2
        assert self.read(backend, backend.cache.count("default", NOW + 50, NOW + 30)) == 1
        assert self.read(backend, backend.cache.count("default", NOW, NOW)) == 0
        assert self.read(backend, backend.cache.count("other", NOW + 60, NOW)) == 0
        assert self.write(backend, backend.cache.prune("other", NOW + 60, _ALL)) == 0
        assert self.write(backend, backend.cache.prune("default", NOW + 50, _ALL)) == 2
        assert self.write(backend, backend.cache.prune("default", NOW + 50, _ALL)) == 0
        assert self._cached(backend, [_A, _B, _OTHER], now=NOW + 50) == [None, "value", "value"]

    def test_many_cache_entries_are_stored_at_once(self, backend: Backend) -> None:
        keys = [CacheKey(("many",), str(number)) for number in range(5_100)]
        self._store(backend, *(_put(key, key.key) for key in keys))
        assert self._cached(backend, keys[::-1]) == [key.key for key in keys[::-1]]

    def test_concurrent_writers_of_a_cache_store_all_their_entries(self, backend: Backend) -> None:
        keys = [CacheKey(("shared",), str(number)) for number in range(8)]

        def fill(order: list[CacheKey]) -> None:
            for number in range(10):
                self._store(backend, *(_put(key, str(number)) for key in order))

        writers = [threading.Thread(target=fill, args=(keys[:: 1 if turn % 2 else -1],)) for turn in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert self._cached(backend, keys) == ["9"] * 8
