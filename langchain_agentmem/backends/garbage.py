"""Garbage collection for callers that wait for a connection.

An exception that a signal handler raises can leave the right to use a connection in a reference cycle. From Python 3.12
on, an exception that a `@contextmanager` suppresses is in such a cycle. The connection is available again after a garbage
collection, which Python may not run while all callers wait.
"""

from __future__ import annotations

import gc
import time

PATIENCE = 0.2
"""Seconds without progress after which garbage is collected."""

_INTERVAL = 1.0
"""Seconds between two collections: each stops all threads of the process."""

_last = float("-inf")
"""When this module last collected garbage (`time.monotonic`)."""


def collect_garbage(since: float) -> None:
    """Collect garbage if no caller has made progress for `PATIENCE` seconds.

    Args:
        since: When the wait began or a caller last made progress (`time.monotonic`).
    """
    global _last  # noqa: PLW0603 (garbage belongs to the process)
    now = time.monotonic()
    if now - since >= PATIENCE and now - _last >= _INTERVAL:
        _last = now
        gc.collect()
