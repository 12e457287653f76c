"""Worker threads for heavy computation."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_WORKERS = 4
"""Number of threads. More would gain nothing, because all of them need the interpreter's lock."""


def in_worker(function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
    """Call a function in one of the package's worker threads, with the caller's context.

    The event loop's own executor does not run it: all of its threads may be waiting for this result.

    Args:
        function: A function that only computes. It must not wait for anything.
        *arguments: Its positional arguments.

    Returns:
        A future of the running event loop.
    """
    work = functools.partial(contextvars.copy_context().run, function, *arguments)
    loop = asyncio.get_running_loop()
    try:
        return loop.run_in_executor(_workers(os.getpid()), work)
    except RuntimeError:  # the interpreter is shutting down and starts no threads
        done = loop.create_future()
        try:
            done.set_result(work())
        except Exception as error:
            done.set_exception(error)
        return done


@functools.lru_cache(maxsize=1)
def _workers(process: int) -> ThreadPoolExecutor:  # noqa: ARG001 (a forked process inherits no threads)
    return ThreadPoolExecutor(_WORKERS, thread_name_prefix="agentmem-compute")


async def finished(working: asyncio.Future[T]) -> T:
    """Return the result of a thread. If the waiting task is cancelled, wait for the thread first: it cannot be stopped."""
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await settled(working)
        raise


async def settled(working: asyncio.Future[Any]) -> None:
    """Wait until a future is done, even if the waiting task is cancelled."""
    while not working.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({working})
    if not working.cancelled():
        working.exception()
