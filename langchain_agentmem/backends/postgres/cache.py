"""The cache table in Postgres."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_agentmem.backends.contract import CacheKey, CachePut
from langchain_agentmem.backends.contract.cache import text_of_namespace
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.backends.postgres.statements import statements
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Execute, Fetch, Program, one_statement


class PostgresCache:
    """Implements `langchain_agentmem.backends.contract.CacheTable`."""

    def __init__(self, schema: str | None) -> None:
        self._sql = statements("cache.sql", schema)

    @one_statement
    def get(self, tenant: str, keys: Sequence[CacheKey], now: float) -> Program[list[Typed | None]]:
        places = [_place(tenant, key) for key in keys]
        rows = yield from Fetch(self._sql["get"], {"places": places, "now": now})
        found = {bytes(place): Typed(type_, bytes(data)) for place, type_, data in rows}
        return [found.get(place) for place in places]

    @one_statement
    def set(self, tenant: str, puts: Sequence[CachePut], now: float) -> Program[None]:
        parameters = {
            "tenant": tenant,
            "places": [_place(tenant, put.address) for put in puts],
            "scopes": [_scope(tenant, put.address.namespace) for put in puts],
            "namespaces": [text_of_namespace(put.address.namespace) for put in puts],
            "keys": [put.address.key for put in puts],
            "types": [put.value.type for put in puts],
            "data": [put.value.data for put in puts],
            "ttls": [put.ttl for put in puts],
            "now": now,
        }
        yield from Execute(self._sql["set"], parameters)

    @one_statement
    def clear(
        self,
        tenant: str,
        namespaces: Sequence[tuple[str, ...]] | None,
        now: float,  # noqa: ARG002
        limit: int,
    ) -> Program[int]:
        if namespaces is None:
            return (yield from Execute(self._sql["clear"], {"tenant": tenant, "limit": limit}))
        scopes = [_scope(tenant, one) for one in namespaces]
        return (yield from Execute(self._sql["clear_namespaces"], {"scopes": scopes, "limit": limit}))

    @one_statement
    def count(self, tenant: str, before: float, now: float) -> Program[int]:
        ((number,),) = yield from Fetch(self._sql["count"], {"tenant": tenant, "before": before, "now": now})
        return int(number)

    @one_statement
    def prune(self, tenant: str, before: float, limit: int) -> Program[int]:
        return (yield from Execute(self._sql["prune"], (tenant, before, limit)))

    @one_statement
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from Execute(self._sql["sweep"], (tenant, now, limit)))


def _scope(tenant: str, namespace: Sequence[str]) -> bytes:
    return digest_of_ids(tenant, text_of_namespace(namespace))


def _place(tenant: str, address: CacheKey) -> bytes:
    return digest_of_ids(tenant, text_of_namespace(address.namespace), address.key)
