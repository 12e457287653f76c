"""Processes of their own: several that begin a job at the same moment, and one that is killed in the middle of its job.

They are forked from a server process that has imported the packages and used nothing, so that each starts in milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from patience import PATIENCE

COUNT = 8
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "pytest",
        "langgraph.graph",
        "langgraph.checkpoint.postgres",
        "langgraph.store.postgres",
        "langchain_agentmem.memory",
        "langchain_agentmem.backends.sqlite",
        "langchain_agentmem.backends.postgres",
        "langchain_agentmem.backends.redis",
    ]
)

_meeting: Any = None
"""In a worker process: the barrier that all of them share."""


class Team:
    """Several processes.

    Args:
        count: Their number.
    """

    def __init__(self, count: int = COUNT) -> None:
        self.count = count
        barrier = CONTEXT.Barrier(count, timeout=PATIENCE)
        self._pool = ProcessPoolExecutor(count, mp_context=CONTEXT, initializer=_start, initargs=(barrier,))

    def together(self, job: Callable[[str, str], Any], url: str) -> list[Any]:
        """Run a job in all processes at once, with a name for each; raises what one of them raised."""
        futures = [self._pool.submit(_at_once, job, url, str(name)) for name in range(self.count)]
        return [future.result(timeout=2 * PATIENCE) for future in futures]

    def close(self) -> None:
        self._pool.shutdown()


def _start(barrier: Any) -> None:
    global _meeting
    _meeting = barrier


def _at_once(job: Callable[[str, str], Any], url: str, name: str) -> Any:
    _meeting.wait()
    return job(url, name)


def killed(job: Callable[[str, Connection], None], url: str, acknowledged: int) -> int:
    """Run a job in a process and kill it.

    Args:
        job: Writes for ever, and sends 0, 1, 2, … when each write is acknowledged.
        url: Where it writes.
        acknowledged: How many writes it does before it is killed.

    Returns:
        How many writes were acknowledged when it died.
    """
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=job, args=(url, sender))
    process.start()
    sender.close()
    with receiver:
        for number in range(acknowledged):
            assert receiver.recv() == number
        os.kill(process.pid, signal.SIGKILL)
        while True:
            try:
                receiver.recv()
            except (EOFError, OSError):  # an answer may be cut off
                break
            acknowledged += 1
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return acknowledged


def elsewhere(job: Callable[..., Any], *arguments: Any) -> Any:
    """Run a job in another process; returns its result, or raises its error."""
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        return pool.submit(job, *arguments).result(timeout=2 * PATIENCE)
