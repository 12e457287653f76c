"""Notes about threads that do not exist: a thread expires without them.

Other orphans do not arise: backends delete dependent rows in the same transaction, and heal their indexes.
"""

from __future__ import annotations

import math
import secrets
import time
from typing import Any

from langchain_agentmem.arguments.ids import TENANT_OF_NOTES
from langchain_agentmem.backends.contract import Backend, ItemRow, Namespace, StaleScan, Swap, ThreadKey
from langchain_agentmem.backends.notes import TTL, namespace_of_thread
from langchain_agentmem.compression.storage import SUMMARY
from langchain_agentmem.programs import Program, Read, Write

_AT_ONCE = 5_000
"""The maximum number of notes that are compared with all threads at once."""


class Orphans:
    """The notes of a tenant that are about threads, but whose threads do not exist.

    Args:
        backend: The backend.
        tenant: The tenant.
        before: Only notes that were last updated earlier, in seconds since 1970.
    """

    def __init__(self, backend: Backend, tenant: str, before: float) -> None:
        self._backend = backend
        self._tenant = tenant
        self._before = before
        self._after: Any = None
        self._complete = False

    def next(self) -> Program[list[ItemRow] | None]:
        """Return some orphans; None after the last ones."""
        if self._complete:
            return None
        found: dict[Namespace, list[ItemRow]] = {}
        number = 0
        while number < _AT_ONCE and not self._complete:
            scan = StaleScan(TENANT_OF_NOTES + self._tenant, self._before, time.time(), self._after)
            rows, self._after = yield from Read(self._backend, self._backend.stale.items(scan))
            self._complete = self._after is None
            for row in rows:
                if row.key == TTL or row.key.startswith(SUMMARY):
                    found.setdefault(row.namespace, []).append(row._replace(value=""))
                    number += 1
        after: Any = None
        while found:
            # Every thread, however recently it was used.
            scan = StaleScan(self._tenant, math.inf, time.time(), after)
            threads, after = yield from Read(self._backend, self._backend.stale.threads(scan))
            for thread in threads:
                found.pop(namespace_of_thread(ThreadKey(self._tenant, thread.thread_id)), None)
            if after is None:
                break
        return [row for rows in found.values() for row in rows]

    def delete(self, row: ItemRow) -> Program[bool]:
        """Delete a note unless it was updated; return true if it was deleted."""
        swap = Swap(row.namespace, row.key, row.revision)
        token = secrets.randbits(53)
        program = self._backend.items.swap(TENANT_OF_NOTES + self._tenant, [swap], time.time(), token)
        return (yield from Write(self._backend, program))
