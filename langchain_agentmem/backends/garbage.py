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
"""Minimum time in seconds between two collections."""

_SHARE = 20
"""After a collection, this many times its duration passes until the next: it stops all threads of the process, and in a large
process it takes seconds."""

_next = float("-inf")
"""Earliest time of the next collection (`time.monotonic`)."""


def collect_garbage(since: float) -> None:
    """Collect garbage if no caller has made progress for `PATIENCE` seconds.

    Args:
        since: Time at which the wait began or a caller last made progress (`time.monotonic`).
    """
    global _next  # noqa: PLW0603 (garbage belongs to the process)
    now = time.monotonic()
    if now - since < PATIENCE or now < _next:
        return
    _next = float("inf")  # other threads skip it
    try:
        gc.collect()
    finally:
        ended = time.monotonic()
        _next = ended + max(_INTERVAL, _SHARE * (ended - now))
