"""The cache table."""

from __future__ import annotations

from typing import Any, NamedTuple

from dict_backend.programs import alive, program


class Entry(NamedTuple):
    value: Any
    stored_at: float
    expires_at: float | None


class Cache:
    def __init__(self) -> None:
        self._entries: dict[tuple[str, Any], Entry] = {}

    def living(self, tenant: str, now: float) -> list[Entry]:
        return [row for (own, _), row in self._entries.items() if own == tenant and alive(row, now)]

    @program
    def get(self, tenant, keys, now):
        rows = [self._entries.get((tenant, key)) for key in keys]
        return [row.value if alive(row, now) else None for row in rows]

    @program
    def set(self, tenant, puts, now):
        for address, value, ttl in puts:
            self._entries[tenant, address] = Entry(value, now, None if ttl is None else now + ttl)

    @program
    def clear(self, tenant, namespaces, now, limit):
        doomed = [key for own, key in self._entries if own == tenant]
        return self._drop(tenant, [key for key in doomed if namespaces is None or key.namespace in namespaces], limit)

    @program
    def count(self, tenant, before, now):
        return sum(
            own == tenant and row.stored_at < before and alive(row, now) for (own, _), row in self._entries.items()
        )

    @program
    def prune(self, tenant, before, limit):
        return self._drop(
            tenant,
            [key for (own, key), row in self._entries.items() if own == tenant and row.stored_at < before],
            limit,
        )

    @program
    def sweep(self, tenant, now, limit):
        return self._drop(
            tenant, [key for (own, key), row in self._entries.items() if own == tenant and not alive(row, now)], limit
        )

    def _drop(self, tenant: str, keys: list[Any], limit: int) -> int:
        for key in keys[:limit]:
            del self._entries[tenant, key]
        return len(keys[:limit])
