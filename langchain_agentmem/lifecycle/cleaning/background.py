"""Regular cleanups in a daemon thread.

A note of the tenant says when the last cleanup ended, and which thread cleans up: its claim. The claim expires, so that it
does not outlive a process that was killed.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from langchain_agentmem.arguments.cleaning import CleanupPolicy
from langchain_agentmem.arguments.durations import required_seconds
from langchain_agentmem.backends.notes import Note, Notes
from langchain_agentmem.errors import StorageClosedError
from langchain_agentmem.lifecycle.cleaning.results import Cleanup
from langchain_agentmem.programs import Program, Read, Write, run
from langchain_agentmem.programs.workers import in_worker

if TYPE_CHECKING:
    from langchain_agentmem.lifecycle.cleaning.methods import CleaningMethods

_log = logging.getLogger(__name__)

FIRST_SECONDS = 10.0
"""Seconds from the creation of the memory to the first check, unless the interval is shorter."""

RETRY_SECONDS = 300.0
"""Seconds to the next check after a failure, or while another process cleans up, unless the interval is shorter."""

_CLAIM_SECONDS = 600.0
_NOTE = "cleanup"


class BackgroundCleanup:
    """Cleans up a memory regularly, until `close`, or until the memory is garbage.

    Args:
        memory: The memory.
        policy: The data to clean up, and the interval.
    """

    def __init__(self, memory: CleaningMethods, policy: CleanupPolicy) -> None:
        self._memory = weakref.ref(memory)
        self._policy = policy
        self._interval = required_seconds("interval", policy.interval)
        self._stop = threading.Event()
        self._process = os.getpid()
        weakref.finalize(memory, self._stop.set).atexit = False
        self._thread = threading.Thread(target=self._loop, name="agentmem-cleanup", daemon=True)
        self._thread.start()

    def close(self, time_limit: float | None) -> None:
        """Stop after the current batch, and wait for that.

        Args:
            time_limit: The maximum number of seconds to wait; None for no limit.
        """
        if os.getpid() != self._process:  # a forked child has no such thread
            return
        self._stop.set()
        if threading.current_thread() is not self._thread:  # `on_cleanup` may close the memory
            self._thread.join(time_limit)

    async def aclose(self, time_limit: float | None) -> None:
        """Same as `close`, but without blocking the event loop."""
        await in_worker(self.close, time_limit)

    def _loop(self) -> None:
        delay = min(FIRST_SECONDS, self._interval)
        while not self._stop.wait(min(delay, threading.TIMEOUT_MAX)):
            memory = self._memory()
            if memory is None:
                return
            try:
                delay = self._attempt(memory)
            except StorageClosedError:
                return
            except Exception:  # the application must not notice it
                if self._stop.is_set():
                    return
                _log.warning("The cleanup in the background failed. It will be tried again.", exc_info=True)
                delay = min(RETRY_SECONDS, self._interval)
            del memory

    def _attempt(self, memory: CleaningMethods) -> float:
        """Clean up if it is time, and no other thread does; return the seconds to the next attempt."""
        claim = _Claim(memory)
        left = run(claim.take(self._interval))
        if left:
            return left
        done = False
        try:
            policy = self._policy
            result = memory.cleanup(
                policy.older_than, archive=policy.archive, kinds=policy.kinds, progress=self._progress(claim)
            )
            done = True
        except _StoppedError:
            return 0.0
        finally:
            run(claim.release(done=done))
        if policy.on_cleanup is not None:
            policy.on_cleanup(result)
        return self._interval

    def _progress(self, claim: _Claim) -> Any:
        def report(_: Cleanup) -> None:
            if self._stop.is_set():
                raise _StoppedError
            run(claim.extend())

        return report


class _StoppedError(Exception):
    """The memory is being closed, or another thread has taken the claim."""


class _Claim:
    """The claim of a tenant's cleanup.

    Args:
        memory: The memory.
    """

    def __init__(self, memory: CleaningMethods) -> None:
        self._backend = memory.backend
        self._notes = Notes(memory.backend, memory.tenant, _NOTE)
        self._owner = secrets.token_hex(8)
        self._until = 0.0

    def take(self, interval: float) -> Program[float]:
        """Take the claim; return zero, or the seconds until it may be taken."""
        note = yield from self._note()
        now = time.time()
        if note is not None:
            following = max(note.value["done_at"] + interval, note.value["until"])
            if following > now:
                return float(min(following - now, interval))  # clocks differ
        taken = yield from self._write(note, now + _CLAIM_SECONDS, 0.0 if note is None else note.value["done_at"])
        return 0.0 if taken else min(RETRY_SECONDS, interval)

    def extend(self) -> Program[None]:
        """Extend the claim when half of its time is over.

        Raises:
            _StoppedError: Another thread has taken it.
        """
        now = time.time()
        if self._until - now > _CLAIM_SECONDS / 2:
            return
        note = yield from self._note()
        if note is None or note.value["owner"] != self._owner:
            raise _StoppedError
        yield from self._write(note, now + _CLAIM_SECONDS, note.value["done_at"])

    def release(self, *, done: bool) -> Program[None]:
        """Release the claim. With `done`, the next cleanup begins after the interval."""
        note = yield from self._note()
        if note is not None and note.value["owner"] == self._owner:
            yield from self._write(note, 0.0, time.time() if done else note.value["done_at"])

    def _note(self) -> Program[Note | None]:
        return (yield from Read(self._backend, self._notes.get(_NOTE, time.time())))

    def _write(self, note: Note | None, until: float, done_at: float) -> Program[bool]:
        self._until = until
        value = {"owner": self._owner, "until": until, "done_at": done_at}
        expected = None if note is None else note.revision
        return (yield from Write(self._backend, self._notes.swap(_NOTE, value, expected, time.time())))
