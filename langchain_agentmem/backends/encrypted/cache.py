"""The encrypted cache table."""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence

from langchain_agentmem.backends.contract import CacheKey, CachePut, CacheTable
from langchain_agentmem.backends.contract.cache import text_of_namespace
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, as_inner
from langchain_agentmem.encoding.encryption import KeyRing, Secrets
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.encoding.sealing import UnknownDataKeyError
from langchain_agentmem.errors import TamperedDataError
from langchain_agentmem.programs import Program

_log = logging.getLogger(__name__)

_EXPIRY = struct.Struct(">d")


class EncryptedCache(EncryptedTable[CacheTable]):
    """Implements `langchain_agentmem.backends.contract.CacheTable`.

    Namespaces and keys are stored as keyed digests: a cache is never listed. The expiry time is encrypted with the value, so
    that nobody can prolong it. An entry that was altered is missing.
    """

    def __init__(self, inner: CacheTable, ring: KeyRing) -> None:
        super().__init__(inner, ring)
        self._insufficient: Secrets | None = None
        """The secrets that did not contain the data key of an entry."""

    @as_inner
    def get(self, tenant: str, keys: Sequence[CacheKey], now: float) -> Program[list[Typed | None]]:
        rows = yield from self._inner.get(tenant, [self._address(key) for key in keys], now)
        return [
            None if row is None else self._opened(tenant, key, row, now) for key, row in zip(keys, rows, strict=True)
        ]

    @as_inner
    def set(self, tenant: str, puts: Sequence[CachePut], now: float) -> Program[None]:
        sealed = []
        for put in puts:
            expiry = _EXPIRY.pack(0.0 if put.ttl is None else now + put.ttl)
            data = self._ring.sealer.seal(expiry + put.value.data, *_place(tenant, put.address, put.value.type))
            sealed.append(put._replace(address=self._address(put.address), value=Typed(put.value.type, data)))
        yield from self._inner.set(tenant, sealed, now)

    @as_inner
    def clear(self, tenant: str, namespaces: Sequence[tuple[str, ...]] | None, now: float, limit: int) -> Program[int]:
        sealed = None if namespaces is None else [self._namespace(one) for one in namespaces]
        return (yield from self._inner.clear(tenant, sealed, now, limit))

    @as_inner
    def count(self, tenant: str, before: float, now: float) -> Program[int]:
        return (yield from self._inner.count(tenant, before, now))

    @as_inner
    def prune(self, tenant: str, before: float, limit: int) -> Program[int]:
        return (yield from self._inner.prune(tenant, before, limit))

    @as_inner
    def sweep(self, tenant: str, now: float, limit: int) -> Program[int]:
        return (yield from self._inner.sweep(tenant, now, limit))

    def _namespace(self, namespace: Sequence[str]) -> tuple[str, ...]:
        return (self._ring.digest("cache", text_of_namespace(namespace)).hex(),)

    def _address(self, address: CacheKey) -> CacheKey:
        key = self._ring.digest("cache key", text_of_namespace(address.namespace), address.key)
        return CacheKey(self._namespace(address.namespace), key.hex())

    def _opened(self, tenant: str, address: CacheKey, row: Typed, now: float) -> Typed | None:
        try:
            plain = self._ring.sealer.open(row.data, *_place(tenant, address, row.type))
        except TamperedDataError as error:
            if isinstance(error, UnknownDataKeyError) and self._ring.secrets is not self._insufficient:
                self._insufficient = self._ring.secrets
                raise  # the backend reads the keys again, once
            _log.warning("A cache entry is not used: %s", error)
            return None
        (expires,) = _EXPIRY.unpack_from(plain)
        return None if 0.0 < expires <= now else Typed(row.type, plain[_EXPIRY.size :])


def _place(tenant: str, address: CacheKey, type_: str) -> list[str]:
    return ["cache", tenant, text_of_namespace(address.namespace), address.key, type_]
