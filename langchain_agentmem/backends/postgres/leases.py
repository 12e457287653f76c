"""Leases: the use of one connection for one transaction.

A lease always ends, and its connection is reused only if it is known to be clean: it has no unread answer and no transaction
of ours. This holds even if a signal handler raises an exception at any instruction, or a task is cancelled at any `await`.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Any, Self

from langchain_agentmem.backends.postgres.slots import Slot, Slots, TimeLimit
from langchain_agentmem.backends.postgres.waits import INTERVAL, limited
from langchain_agentmem.programs import Program

Connection = Any
"""A connection of psycopg, synchronous or asynchronous: a step calls the methods that both have."""


class Operation:
    """One call: its time limit, and the outcome of its writes."""

    def __init__(self, limit: TimeLimit, *, writes: bool) -> None:
        self.limit = limit
        self.restarts = False
        """If true, each answer restarts the time limit: tables are being created or migrated."""
        self.connecting = False
        """True while a connection is being opened."""
        self.lost = False
        """True if the last attempt lost its connection. The server may have closed others as well."""
        self.writes = writes
        self._effect = self._NOTHING
        self._doubtful = False

    _NOTHING, _UNKNOWN, _STORED = (
        " Nothing was stored.",
        " It is unknown whether the write was stored: read it back.",
        " The write was stored.",
    )

    def may_store(self) -> None:
        """Record that the next statement stores the writes."""
        self._effect = self._UNKNOWN

    def settle(self, *, stored: bool) -> None:
        """Record the server's answer to the statement that stores the writes."""
        if self._effect == self._UNKNOWN:
            self._effect = self._STORED if stored else self._NOTHING

    def begin_again(self, *, lost: bool) -> None:
        """Begin another attempt.

        Args:
            lost: If true, the last attempt lost its connection.
        """
        self.lost = lost
        self._doubtful = self._doubtful or self._effect != self._NOTHING
        self._effect = self._NOTHING

    @property
    def outcome(self) -> str:
        """A sentence, after a space, about the outcome of a failed call's writes; empty for a call that only reads."""
        if not self.writes:
            return ""
        return self._UNKNOWN if self._doubtful and self._effect == self._NOTHING else self._effect


class Source:
    """A supply of connections.

    Args:
        count: The maximum number of connections in use.
    """

    own = False
    """True if the connections are ours, not the application's."""

    def __init__(self, count: int) -> None:
        self.slots = Slots(count)

    def take(self, lease: Lease) -> Program[None]:
        """Wait for a slot, and give the lease a connection."""
        raise NotImplementedError

    def give_back(self, lease: Lease) -> None:
        """Take back the connection of a lease. Calling it twice has no effect."""
        raise NotImplementedError

    async def agive_back(self, lease: Lease) -> None:
        """Same as `give_back`, for asynchronous callers."""
        self.give_back(lease)

    def renew(self, operation: Operation) -> Program[None]:  # noqa: ARG002 (subclasses use it)
        """Replace connections that may have been lost together with another one."""
        yield from ()

    def close(self, *, abandon: bool = False) -> None:  # noqa: ARG002 (subclasses use it)
        """Close our own connections, and refuse callers that wait for one.

        Args:
            abandon: If true, also close the connections that are in use: their event loop has ended.
        """
        self.slots.close()


class Lease:
    """The use of one connection for one transaction.

    A lease is a context manager that gives the connection and the slot back. Enter it twice, as in `with lease, lease:`: if
    an exception of a signal handler interrupts the first exit, the second one completes it.
    """

    def __init__(self, source: Source, operation: Operation) -> None:
        self.source = source
        self.operation = operation
        self.slot = Slot(source.slots)
        self.held: deque[Connection] = deque()
        """The connection, or nothing. It is added in one step, and removed in one step."""
        self.over = False
        """True after the end of the lease."""
        self.clean = True
        """If true, the connection can be reused."""
        self.answered = False
        """True if the server answered."""

    @property
    def connection(self) -> Connection:
        """The connection."""
        return self.held[0]

    def adopt(self, connection: Connection) -> None:
        """Take a connection that another thread opened. If the lease has ended, give it back."""
        self.held.append(connection)
        if self.over:
            self.source.give_back(self)

    def limit(self) -> None:
        """Apply the operation's time limit to the connection, until the lease ends."""
        connection, limit = self.connection, self.operation.limit
        kind: Any = type(connection)
        attributes: dict[str, Any] = connection.__dict__

        def wait(generator: Any, interval: float = INTERVAL, **options: Any) -> Any:
            if not self.over:
                generator, interval = limited(generator, limit), max(0.001, min(interval, limit.left))
            return kind.wait(connection, generator, interval=interval, **options)

        def cancel_safe(*, timeout: float = 30.0) -> Any:
            # psycopg cancels the statement of an interrupted call, and would wait 30 seconds for a silent server.
            if not self.over:
                limit.use_reserve()
                timeout = max(0.001, min(timeout, limit.left))
            return kind.cancel_safe(connection, timeout=timeout)

        attributes.update(wait=wait, cancel_safe=cancel_safe)

    def discard(self) -> None:
        """Close the connection, and remove it from the lease."""
        self.close_connection()
        self.held.clear()

    def close_connection(self) -> None:
        """Close the connection."""
        for connection in list(self.held):
            connection.pgconn.finish()

    def _remove_limit(self) -> None:
        self.over = True
        for connection in list(self.held):
            for name in ("wait", "cancel_safe"):
                connection.__dict__.pop(name, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._remove_limit()
        self.source.give_back(self)
        self.slot.leave(answered=self.answered)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._remove_limit()
        try:
            await self.source.agive_back(self)
        finally:
            self.slot.leave(answered=self.answered)
