"""Deletion of expired data in small batches, after some of the writes. No background task is needed.

Expired data is never returned, even before it is deleted. Sweeping frees its space.
"""

from __future__ import annotations

import logging
import time

from langchain_agentmem.arguments.ids import TENANT_OF_NOTES
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.errors import AgentMemError
from langchain_agentmem.programs import Program, Write, storage_program
from langchain_agentmem.programs.locks import forkable_lock

BATCH = 100
"""The maximum number of rows of each kind that one transaction deletes, so that writers wait briefly."""

INTERVAL_SECONDS = 300.0
"""Seconds between two sweeps after writes."""

FIRST_SECONDS = 10.0
"""Seconds until the first sweep, so that short-lived processes sweep as well, and until one that failed is repeated."""

_log = logging.getLogger(__name__)


class Sweeper:
    """Sweeps one tenant of one backend.

    Args:
        backend: The backend.
        tenant: The tenant.
        interval: Seconds between two sweeps after writes. Default: `INTERVAL_SECONDS`.
    """

    def __init__(self, backend: Backend, tenant: str, interval: float = INTERVAL_SECONDS) -> None:
        self._backend = backend
        self._tenant = tenant
        self._interval = interval
        self._last = time.monotonic() - max(0.0, interval - FIRST_SECONDS)
        self._claiming = forkable_lock()

    def sweep(self) -> Program[int]:
        """Delete all expired sessions, items, threads, variables and cache entries, and end abandoned sessions.

        Return the number of deleted rows and ended sessions.
        """
        total = 0
        while True:
            deleted = yield from Write(self._backend, self._batch(time.time()))
            total += deleted
            if not deleted:
                return total

    def after_write(self) -> Program[None]:
        """Sweep one batch if the interval has passed, or the last batch was full.

        The caller's write is stored, so an error of the sweep is logged, not raised: its text would deny the write.
        """
        if time.monotonic() - self._last < self._interval:
            return
        with self._claiming:
            if time.monotonic() - self._last < self._interval:
                return
            self._last = time.monotonic()
        try:
            deleted = yield from Write(self._backend, self._batch(time.time()))
        except AgentMemError as error:
            _log.warning("Expired data was not deleted after a write, and will be later: %s", error)
            self._last -= max(0.0, self._interval - FIRST_SECONDS)
            return
        if deleted >= BATCH:  # more data has expired: the next write sweeps again
            self._last -= self._interval

    @storage_program
    def _batch(self, now: float) -> Program[int]:
        deleted = 0
        backend = self._backend
        for table in (backend.messages, backend.items, backend.checkpoints, backend.variables, backend.cache):
            deleted += yield from table.sweep(self._tenant, now, BATCH)
        deleted += yield from backend.openings.end_abandoned(self._tenant, now, BATCH)
        yield from backend.items.sweep(TENANT_OF_NOTES + self._tenant, now, BATCH)
        return deleted
