"""The encrypted record table."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence

from langchain_agentmem.arguments.omitted import Omitted
from langchain_agentmem.backends.contract import RecordQuery, RecordRow, RecordTable
from langchain_agentmem.backends.encrypted.tables import EncryptedTable, as_inner
from langchain_agentmem.encoding.encryption import KeyRing
from langchain_agentmem.programs import Program

_TIMES = struct.Struct(">ddd?")


class RecordCipher(EncryptedTable[object]):
    """Encrypts and decrypts records. The place of a record is all that is stored about it, because nothing of it changes."""

    def sealed(self, tenant: str, row: RecordRow) -> RecordRow:
        """Encrypt a record."""
        # Redis stores a record once because it compares the bytes of both.
        body = self._ring.sealer.seal_same(row.record.encode(), *_place(tenant, row))
        return self.addressed(row)._replace(record=b64encode(body).decode())

    def addressed(self, row: RecordRow) -> RecordRow:
        """Encrypt what identifies a record."""
        return row._replace(
            user_id=self._user(row.user_id),
            session_id=self._ring.optional_id("session", row.session_id),
            agent=self._ring.id("agent", row.agent),
            status=self._ring.id("status", row.status),
        )

    def plain(self, tenant: str, row: RecordRow) -> RecordRow:
        """Decrypt a record."""
        ring = self._ring
        plain = row._replace(
            user_id=ring.optional_plain_id("user", row.user_id),
            session_id=ring.optional_plain_id("session", row.session_id),
            agent=ring.plain_id("agent", row.agent),
            status=ring.plain_id("status", row.status),
        )
        return plain._replace(record=self._open(f"Record {row.id}", row.record, *_place(tenant, plain)))


class EncryptedRecords(EncryptedTable[RecordTable]):
    """Implements `langchain_agentmem.backends.contract.RecordTable`."""

    def __init__(self, inner: RecordTable, ring: KeyRing) -> None:
        super().__init__(inner, ring)
        self._cipher = RecordCipher(inner, ring)

    @as_inner
    def add(self, tenant: str, row: RecordRow, ttl: float | None, sliding: bool, now: float) -> Program[None]:
        yield from self._inner.add(tenant, self._cipher.sealed(tenant, row), ttl, sliding, now)

    @as_inner
    def query(self, query: RecordQuery, now: float) -> Program[list[RecordRow]]:
        sealed = query._replace(
            user_id=self._user(query.user_id),
            session_id=self._ring.optional_id("session", query.session_id),
            agent=self._agent(query.agent),
            status=self._ring.optional_id("status", query.status),
        )
        rows = yield from self._inner.query(sealed, now)
        return [self._cipher.plain(query.tenant, row) for row in rows]

    @as_inner
    def count(self, tenant: str, user_id: str | Omitted | None) -> Program[int]:
        return (yield from self._inner.count(tenant, self._user(user_id)))

    @as_inner
    def users(self, tenant: str, now: float) -> Program[list[str]]:
        return [self._ring.plain_id("user", one) for one in (yield from self._inner.users(tenant, now))]

    @as_inner
    def delete(self, tenant: str, rows: Sequence[RecordRow]) -> Program[int]:
        return (yield from self._inner.delete(tenant, [self._cipher.addressed(row) for row in rows]))

    @as_inner
    def prune(self, tenant: str, user_id: str | Omitted | None, below: str | None, limit: int) -> Program[int]:
        return (yield from self._inner.prune(tenant, self._user(user_id), below, limit))


def _place(tenant: str, row: RecordRow) -> list[str | bytes]:
    times = [row.started_at, row.duration, row.created_at]
    numbers = _TIMES.pack(*(float("nan") if one is None else one for one in times), row.ends_with_session)
    return ["record", tenant, row.id, row.user_id or "", row.session_id or "", row.agent, row.status, numbers]
