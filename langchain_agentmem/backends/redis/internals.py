"""The private attributes of redis-py and asyncio that this package uses; no other module may use any.

redis-py closes a connection of an event loop only by waiting on that loop. A cancelled task cannot wait, and a loop that
has ended runs nothing more. The functions here inspect and close such connections without waiting.

Private attributes change without notice. `TESTED_VERSIONS` is the range of redis-py that `pyproject.toml` requires, and
`tests/redis/test_redis_internals.py` tests each function on a server. Run these tests before you change the range.
"""

from __future__ import annotations

import select
from asyncio import AbstractEventLoop
from collections.abc import Sequence
from typing import Any, cast

from langchain_agentmem.backends.redis.connections import AsyncConnection, SyncConnection

TESTED_VERSIONS = ">=7.2,!=8.0.0"
"""Version specifier of redis-py, as in `pyproject.toml`."""

_HAS_POLL = hasattr(select, "poll")


def set_timeout(connection: SyncConnection, seconds: float) -> None:
    """Set how long a synchronous connection waits for data.

    A timeout that differs by less than 5 % stays, because setting it costs a system call.
    """
    socket = cast("Any", connection)._sock
    if socket is None:  # the next use of the connection reports that it is closed
        return
    known = socket.gettimeout()
    if known is None or not 0.95 * seconds <= known <= 1.05 * seconds:
        socket.settimeout(seconds)


def is_clean(connection: AsyncConnection) -> bool:
    """Return true if an asynchronous connection is open and has no unread data."""
    parts: Any = connection
    reader, writer = parts._reader, parts._writer
    if reader is None or writer is None or writer.transport.is_closing():
        return False
    if reader._buffer or reader.at_eof() or reader.exception():
        return False
    # Data, or the end of the connection, may have arrived since the loop last polled.
    socket = writer.transport.get_extra_info("socket")
    return not (_HAS_POLL and socket is not None and _is_readable(socket.fileno()))


def _is_readable(file: int) -> bool:
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))


def interrupt(connection: AsyncConnection) -> None:
    """Abort the transport of an asynchronous connection: tasks that wait for an answer get an error."""
    writer = cast("Any", connection)._writer
    if writer is not None:
        writer.transport.abort()


def abort(connection: AsyncConnection) -> None:
    """Close an asynchronous connection of a running loop without waiting."""
    parts: Any = connection
    writer = getattr(parts, "_writer", None)  # the attribute is missing if the connection's constructor was interrupted
    parts._reader = parts._writer = None
    if writer is not None:
        writer.transport.abort()


def discard(loop: AbstractEventLoop, connections: Sequence[AsyncConnection]) -> None:
    """Close connections of an event loop that may have ended.

    The sockets are closed directly. Closing a transport takes another iteration of the loop, which may never come.
    """
    parts: Any
    for parts in connections:
        reader, writer = getattr(parts, "_reader", None), getattr(parts, "_writer", None)
        if reader is not None and loop.is_running():
            reader.set_exception(ConnectionAbortedError("closed"))  # a task that waits for an answer gets this error
        parts._reader = parts._writer = None
        _close_socket(loop, getattr(writer, "transport", None))


def _close_socket(loop: AbstractEventLoop, transport: Any) -> None:
    if hasattr(transport, "_ssl_protocol"):
        transport._closed = True
        transport = transport._ssl_protocol._transport
    socket = getattr(transport, "_sock", None)
    if socket is not None:
        transport._closing = True
        if not loop.is_closed():
            loop.remove_reader(socket.fileno())
        socket.close()
        transport._sock = None
