"""The cache table in SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from langchain_agentmem.backends.contract import CacheKey, CachePut
from langchain_agentmem.backends.contract.cache import text_of_namespace
from langchain_agentmem.backends.statements import load_statements
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Execute, ExecuteMany, Fetch, Program

SQL = load_statements("langchain_agentmem.backends.sqlite", "cache.sql")


class SqliteCache:
    """See `langchain_agentmem.backends.contract.CacheTable`."""

    def get(self, tenant: str, keys: Sequence[CacheKey], now: float) -> Program[list[Typed | None]]:
        rows = yield from Fetch(SQL["get"], {"tenant": tenant, "keys": _listed(keys), "now": now})
        found = {number: Typed(type_, data) for number, type_, data in rows}
        return [found.get(number) for number in range(len(keys))]

    def set(self, tenant: str, puts: Sequence[CachePut], now: float) -> Program[None]:
        yield from Execute(SQL["replace"], {"tenant": tenant, "keys": _listed(put.address for put in puts)})
        rows = [
            (tenant, text_of_namespace(namespace), key, *value, now, None if ttl is None else now + ttl)
            for (namespace, key), value, ttl in puts
        ]
        yield from ExecuteMany(SQL["set"], rows)

    def clear(
        self,
        tenant: str,
        namespaces: Sequence[tuple[str, ...]] | None,
        now: float,  # noqa: ARG002
        limit: int,
    ) -> Program[int]:
        if namespaces is None:
            return (yield from Execute(SQL["clear"], (tenant, limit)))
        texts = json.dumps([text_of_namespace(one) for one in namespaces])
        return (yield from Execute(SQL["clear_namespaces"], (tenant, texts, limit)))

    def count(self, tenant: str, before: float, now: float) -> Program[int]:
        ((number,),) = yield from Fetch(SQL["count"], {"tenant": tenant, "before": before, "now": now})
        return int(number)

    def prune(self, tenant: str, before: float, limit: int) -> Program[int]:
        return (yield from Execute(SQL["prune"], (tenant, before, limit)))

    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from Execute(SQL["sweep"], (tenant, now, limit)))


def _listed(keys: Iterable[CacheKey]) -> str:
    """Return keys as a JSON list of pairs."""
    return json.dumps([(text_of_namespace(namespace), key) for namespace, key in keys])
