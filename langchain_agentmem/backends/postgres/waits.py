"""Waiting for the server, and for worker threads, with a time limit.

A signal handler may raise an exception at any instruction, and a task may be cancelled at any `await`.
"""

from __future__ import annotations

import _thread
import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from langchain_agentmem.backends.postgres.slots import TimeLimit

INTERVAL = 0.1
"""Seconds between two checks of the time limit while a connection waits for the server."""


class NoAnswerError(Exception):
    """The server did not answer within the time limit."""


def limited(generator: Any, limit: TimeLimit) -> Any:
    """Wrap a generator of psycopg that waits for the server: it raises `NoAnswerError` when the time limit ends."""
    try:
        wanted = generator.send(None)
        while True:
            ready = yield wanted
            wanted = generator.send(ready)
            if limit.left <= 0:
                raise NoAnswerError
    except StopIteration as done:
        return done.value


def move(source: deque[Any], target: deque[Any]) -> None:
    """Move the last element of a deque to the end of another. It is one call of C code, which no signal handler interrupts.

    Raises:
        IndexError: The source is empty.
    """
    target.extend(map(deque.pop, (source,)))


def aside(function: Callable[[], None], *, always: bool = False, seconds: float | None = None) -> None:
    """Call a function in a new thread, where no signal handler interrupts it, and wait for the thread.

    Args:
        function: The function.
        always: If false, a caller outside of the main thread calls the function itself: signal handlers run in the main
            thread only.
        seconds: How long to wait. Default: None (no limit).

    Raises:
        NoAnswerError: The function still runs after `seconds`. It continues in its thread.
    """
    if not always and threading.current_thread() is not threading.main_thread():
        function()
        return
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            function()
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)

    try:
        # A signal handler that raises an exception within `threading.Thread.start` would leave a half-started thread.
        _thread.start_new_thread(work, ())
    except RuntimeError:  # the interpreter is shutting down
        work()
    try:
        error = done.get(timeout=seconds)
    except queue.Empty:
        raise NoAnswerError from None
    if error is not None:
        raise error


async def await_within(coroutine: Any, seconds: float, dispose: Callable[[Any], None] | None = None) -> Any:
    """Await a coroutine, and cancel it after some seconds.

    Args:
        coroutine: The coroutine.
        seconds: The time limit.
        dispose: Called with a result that arrives after the caller stopped waiting. Default: None.

    Raises:
        NoAnswerError: The time limit ended.
    """
    task = asyncio.ensure_future(coroutine)
    try:
        # Until Python 3.12, `asyncio.wait_for` can lose a result that arrives together with a cancellation.
        await asyncio.wait({task}, timeout=max(0.0, seconds))
    except BaseException:
        _cancel(task, dispose)
        raise
    if not task.done():
        _cancel(task, dispose)
        raise NoAnswerError
    return task.result()


def _cancel(task: asyncio.Future[Any], dispose: Callable[[Any], None] | None) -> None:
    def forget(done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is None and dispose is not None:
            dispose(done.result())

    task.cancel()
    task.add_done_callback(forget)
