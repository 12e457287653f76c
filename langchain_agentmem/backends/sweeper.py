"""Deleting what has expired, now and then, in small batches, after a write: nobody has to start a sweeper.

Expired data is never returned, whether it was swept or not; sweeping only gives the space back.
"""

from __future__ import annotations

import time

from langchain_agentmem.arguments.ids import TENANT_OF_NOTES
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.programs import Program, Write, storage_program
from langchain_agentmem.programs.locks import forkable_lock

BATCH = 100
"""The most sessions, items and threads that one transaction deletes, so that writers never wait long."""

INTERVAL_SECONDS = 300.0
"""The time between two sweeps that writes bring about."""


FIRST_SECONDS = 10.0
"""The time until the first of them, so that programs which run for a short time sweep too."""


class Sweeper:
    """Sweeps one tenant of one backend.

    Args:
        backend: Where.
        tenant: Whose data.
        interval: Seconds between two sweeps that writes bring about. Default: `INTERVAL_SECONDS`.
    """

    def __init__(self, backend: Backend, tenant: str, interval: float = INTERVAL_SECONDS) -> None:
        self._backend = backend
        self._tenant = tenant
        self._interval = interval
        self._last = time.monotonic() - max(0.0, interval - FIRST_SECONDS)
        self._claiming = forkable_lock()

    def sweep(self) -> Program[int]:
        """Delete all that has expired; returns how many sessions, items and threads that were."""
        total = 0
        while True:
            deleted: int = yield from Write(self._backend, self._batch(time.time()))
            total += deleted
            if not deleted:
                return total

    def after_write(self) -> Program[None]:
        """Sweep one batch if the last sweep was long ago, or left something."""
        if time.monotonic() - self._last < self._interval:
            return
        with self._claiming:
            if time.monotonic() - self._last < self._interval:
                return
            self._last = time.monotonic()
        deleted = yield from Write(self._backend, self._batch(time.time()))
        if deleted >= BATCH:  # there is more: the next write goes on
            self._last -= self._interval

    @storage_program
    def _batch(self, now: float) -> Program[int]:
        deleted = 0
        for table in (self._backend.messages, self._backend.items, self._backend.checkpoints):
            deleted += yield from table.sweep(self._tenant, now, BATCH)
        yield from self._backend.items.sweep(TENANT_OF_NOTES + self._tenant, now, BATCH)
        return deleted
