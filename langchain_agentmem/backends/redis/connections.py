"""How Redis servers are talked to: connections that redis-py opens and reads, in pools of ours.

redis-py's own clients give a connection back with the answer unread when a signal breaks them off, and each of their attempts
has a time limit of its own. So they are used only to learn how connections are opened. A memory on a client of the
application opens connections of its own with the client's settings, and neither can harm the other.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import SentinelManagedConnection as AsyncSentinelManagedConnection
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as NoAnswer
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection

from langchain_agentmem.arguments.urls import shown_url
from langchain_agentmem.backends.redis.pools import Lease, Limit, LoopPool, Pool, close_now
from langchain_agentmem.backends.redis.routing import HOME, Endpoint
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.programs import OuterStep

Words = Sequence[Any]
"""A command and its arguments."""

_DRIVER = redis.DriverInfo() if hasattr(redis, "DriverInfo") else None
"""What connections tell the server of redis-py. It is found out once: each time redis-py would look for files."""

_FAILURES = (RedisError, OSError, EOFError)


class Settings(NamedTuple):
    """How a driver connects."""

    url: str = ""
    """As redis-py takes it; with sentinels, that of any master."""
    kind: str = "single"
    """`"single"`, `"cluster"` or `"sentinel"`."""
    sentinels: Sequence[tuple[str, int]] = ()
    service: str = ""
    timeout: float = 30.0
    """Seconds that an operation may take, with connecting and all attempts."""
    pool_size: int = 10
    retries: int = 5
    allow_eviction: bool = False
    language: str = "english"
    sentinel_options: Mapping[str, Any] = MappingProxyType({})
    """How to connect to sentinels, as redis-py takes it."""

    def __repr__(self) -> str:
        # The URL and the options may hold passwords.
        return f"Settings(url={shown_url(self.url)!r}, kind={self.kind!r}, service={self.service!r})"


class Servers:
    """The connections to the servers of a database, in this process.

    Args:
        settings: How to connect.
        given: A client of the application, whose settings are used. Default: None.
    """

    def __init__(self, settings: Settings, given: Any = None) -> None:
        self._settings, self._given = settings, given
        self.process = os.getpid()
        self._lock = threading.Lock()
        self._sources: dict[bool, _Source] = {}
        self._pools: dict[Endpoint, Pool] = {}
        self.loops: dict[asyncio.AbstractEventLoop, dict[Endpoint, LoopPool]] = {}
        weakref.finalize(self, _abandon_all, self.loops, self.process)

    def source(self, *, asynchronous: bool) -> _Source:
        """How connections are opened."""
        found = self._sources.get(asynchronous)
        if found is None:
            made = _source_of(self._settings, self._given, asynchronous=asynchronous)
            found = self._sources.setdefault(asynchronous, made)
        return found

    def pool(self, server: Endpoint) -> Pool:
        """The connections to a server, for synchronous callers."""
        found = self._pools.get(server)
        if found is None:
            if self._given is not None and not isinstance(self._given, (redis.Redis, redis.RedisCluster)):
                msg = (
                    f"This memory was made from an asynchronous {type(self._given).__name__}: call the method with the "
                    f"prefix `a` and await it, or pass a URL, which serves both."
                )
                raise ConfigurationError(msg)
            source = self.source(asynchronous=False)
            made = Pool(lambda limit: source.open(server, limit), _is_quiet, self._settings.pool_size)
            found = self._pools.setdefault(server, made)
        return found

    def loop_pool(self, server: Endpoint) -> LoopPool:
        """The connections to a server, for callers of the event loop that is running."""
        loop = asyncio.get_running_loop()
        pools = self.loops.get(loop)
        if pools is None:
            with self._lock:
                for gone in [one for one in self.loops if one.is_closed()]:
                    _abandon(gone, self.loops.pop(gone))
                pools = self.loops.setdefault(loop, {})
        found = pools.get(server)
        if found is None:
            source = self.source(asynchronous=True)
            found = pools[server] = LoopPool(
                lambda limit: source.aopen(server, limit), _is_quiet_async, self._settings.pool_size
            )
        return found

    def close(self) -> None:
        """Close the connections; those of other event loops without waiting for them."""
        for pool in list(self._pools.values()):
            pool.close()
        with self._lock:
            _abandon_all(self.loops, self.process)

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        loop = asyncio.get_running_loop()
        own = self.loops.pop(loop, {})
        for pool in own.values():
            await pool.aclose()
        _abandon(loop, own)  # what is used now
        self.close()


class Part(NamedTuple):
    """Commands for one server."""

    server: Endpoint
    places: list[int]
    """Their places among all commands of the call."""
    commands: list[Words]
    skipped: int
    """How many of the first answers are to none of them."""


class _Leases(dict[int, Lease]):
    """The connections of an exchange, by the places of its parts."""


@dataclass(slots=True)
class Exchange(OuterStep[list[Any]]):
    """Outer step: send commands to several servers at once. The result has for each the answers, or why they are missing.

    Answers may be errors of the server. A connection is used by others only after all of its answers were read.
    """

    servers: Servers
    parts: list[Part]
    limit: Limit
    writes: bool

    def perform(self) -> list[Any]:
        results: list[Any] = [None] * len(self.parts)
        while missing := [at for at, result in enumerate(results) if result is None]:
            self._round(missing, results)
        return results

    async def aperform(self) -> list[Any]:
        results: list[Any] = [None] * len(self.parts)
        while missing := [at for at, result in enumerate(results) if result is None]:
            await self._around(missing, results)
        return results

    def _round(self, missing: list[int], results: list[Any]) -> None:
        """Do the parts for which connections are free; a caller that has one does not wait for others."""
        handled = sys.exc_info()[1]
        leases = _Leases()
        try:
            for at in missing:
                pool = self.servers.pool(self.parts[at].server)
                leases[at] = Lease(pool)
                if not pool.take(leases[at], self.limit, wait=len(leases) == 1):
                    del leases[at]
                    continue
                try:
                    connection = pool.connect(leases[at], self.limit)
                    packed = connection.pack_commands(self.parts[at].commands)
                    _bound(connection, self.limit)
                    self.limit.sent = self.limit.sent or self.writes
                    connection.send_packed_command(packed)
                except _FAILURES as error:
                    results[at] = _own(error, handled)
            for at, lease in leases.items():
                if results[at] is None:
                    try:
                        results[at] = [_read(lease, self.limit) for _ in self.parts[at].commands]
                        lease.clean = True
                    except _FAILURES as error:
                        results[at] = _own(error, handled)
        finally:
            try:
                _end(leases, None)
            finally:  # that may have been broken off too
                _end(leases, None)

    async def _around(self, missing: list[int], results: list[Any]) -> None:
        """Same as `_round`, but without blocking the event loop."""
        handled = sys.exc_info()[1]
        leases = _Leases()
        timer: asyncio.TimerHandle | None = None
        try:
            for at in missing:
                pool = self.servers.loop_pool(self.parts[at].server)
                leases[at] = Lease(pool)
                if not await pool.take(leases[at], self.limit, wait=len(leases) == 1):
                    del leases[at]
                    continue
                try:
                    connection = await pool.connect(leases[at], self.limit)
                    timer = timer or self._timer(leases)
                    self.limit.sent = self.limit.sent or self.writes
                    await connection.send_packed_command(connection.pack_commands(self.parts[at].commands))
                except _FAILURES as error:
                    results[at] = self._late(_own(error, handled))
            for at, lease in leases.items():
                if results[at] is None:
                    try:
                        results[at] = [await _aread(lease) for _ in self.parts[at].commands]
                        lease.clean = True
                    except _FAILURES as error:
                        results[at] = self._late(_own(error, handled))
        finally:
            try:
                _end(leases, timer)
            finally:
                _end(leases, timer)

    def _timer(self, leases: _Leases) -> asyncio.TimerHandle:
        """Close the connections when the time is over, which ends every wait for them."""
        known = weakref.ref(leases)  # a timer that is left over keeps no permit

        def close() -> None:
            for lease in (known() or {}).values():
                writer = lease.link.connection._writer if lease.link else None
                if writer is not None:
                    writer.transport.abort()

        return asyncio.get_running_loop().call_later(max(0.0, self.limit.left()), close)

    def _late(self, error: Exception) -> Exception:
        return NoAnswer("Timeout reading from server") if self.limit.left() <= 0 else error


def _end(leases: _Leases, timer: asyncio.TimerHandle | None) -> None:
    """Give connections back; a repetition does nothing."""
    for lease in leases.values():
        lease.end()
    if timer is not None:
        timer.cancel()


def _read(lease: Lease, limit: Limit) -> Any:
    connection: Any = lease.link.connection if lease.link else None
    _bound(connection, limit)
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


async def _aread(lease: Lease) -> Any:
    connection: Any = lease.link.connection if lease.link else None
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


def _bound(connection: Any, limit: Limit) -> None:
    """Let a synchronous connection wait as long as the operation may; setting it costs a system call, so not each time."""
    left = limit.left()
    if left <= 0:
        msg = "Timeout reading from server"
        raise NoAnswer(msg)
    wanted, socket = min(left, connection.agentmem_longest), connection._sock
    known = socket.gettimeout() if socket is not None else wanted
    if known is None or not 0.95 * wanted <= known <= 1.05 * wanted:
        socket.settimeout(wanted)


def _own(error: Exception, handled: BaseException | None) -> Exception:
    """An error of a connection; but what redis-py made it from is raised, if it is a signal handler's own exception.

    `handled` is the exception that the caller was handling before: it has nothing to do with the connection.
    """
    seen: BaseException | None = error
    while seen is not None and seen is not handled:
        if not isinstance(seen, (RedisError, EOFError)) and _is_foreign(seen):
            raise seen
        seen = seen.__cause__ or seen.__context__
    return error if isinstance(error, RedisError) else LostConnection(str(error))


def _is_foreign(error: BaseException) -> bool:
    """Whether an exception was raised by code that a connection does not call."""
    frames = list(_frames(error))
    return bool(frames) and not frames[-1].startswith(_CALLED)


def _frames(error: BaseException) -> Iterator[str]:
    """The modules that an exception came through, the one that raised it last."""
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame.f_globals.get("__name__", "")
        at = at.tb_next


_CALLED = (
    "redis",
    "async_timeout",
    "blockbuster",
    "asyncio",
    "contextlib",
    "encodings",
    "selectors",
    "socket",
    "ssl",
    __name__,
    "uvloop",
)


# How connections are opened


class _Source(NamedTuple):
    """How connections are opened."""

    kind: Any
    """redis-py's class."""
    options: dict[str, Any]
    sentinels: dict[tuple[str, int], tuple[Any, dict[str, Any]]]
    """Class and options for each sentinel."""

    def open(self, server: Endpoint, limit: Limit) -> Any:
        """Open a connection for synchronous callers."""
        connection = self._new(server, limit, Retry(NoBackoff(), 0))
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    async def aopen(self, server: Endpoint, limit: Limit) -> Any:
        """Open a connection for callers of an event loop."""
        connection = self._new(server, limit, AsyncRetry(NoBackoff(), 0))
        try:
            await connection.connect()
        except BaseException:
            close_now(connection)
            raise
        connection.socket_timeout = None  # the exchange has a limit
        return connection

    def _new(self, server: Endpoint, limit: Limit, retry: Any) -> Any:
        left = limit.left()
        if left <= 0:
            msg = "Timeout connecting to server"
            raise NoAnswer(msg)
        kind, given = self.sentinels[server.host, server.port] if server.sentinel else (self.kind, self.options)
        options = {name: value for name, value in given.items() if name not in _DECIDED_HERE}
        if server != HOME:
            options.update(host=server.host, port=server.port)
        longest = float(given.get("socket_timeout") or left)
        connecting = float(given.get("socket_connect_timeout") or longest)
        options.update(
            socket_timeout=min(left, longest),
            socket_connect_timeout=min(left, connecting),
            retry=retry,
            encoding="utf-8",
        )
        if _DRIVER is not None and not {"driver_info", "lib_name", "lib_version"} & options.keys():
            options["driver_info"] = _DRIVER
        connection = kind(**options)
        connection.agentmem_longest = float(given.get("socket_timeout") or float("inf"))
        return connection


_DECIDED_HERE = {
    *("connection_pool", "retry", "retry_on_timeout", "retry_on_error"),
    *("decode_responses", "encoding", "encoding_errors", "lib_name", "lib_version"),
    *("socket_timeout", "socket_connect_timeout"),
    *("maint_notifications_config", "maint_notifications_pool_handler", "oss_cluster_maint_notifications_handler"),
    *("maintenance_state", "maintenance_notification_hash"),
    *("orig_host_address", "orig_socket_timeout", "orig_socket_connect_timeout"),
}
"""Options of a client's connections that ours do not take over: they belong to its pool, or are decided here."""


def _source_of(settings: Settings, given: Any, *, asynchronous: bool) -> _Source:
    module: Any = redis.asyncio if asynchronous else redis
    if given is None:
        pool = module.ConnectionPool.from_url(settings.url)
        sentinels = {place: _sentinel(module, place, settings.sentinel_options) for place in settings.sentinels}
        return _Source(pool.connection_class, pool.connection_kwargs, sentinels)
    if isinstance(given, redis.asyncio.RedisCluster):
        node: Any = next(iter(given.nodes_manager.startup_nodes.values()))
        return _Source(node.connection_class, node.connection_kwargs, {})
    if isinstance(given, redis.RedisCluster):
        manager: Any = given.nodes_manager
        first = next(iter(manager.startup_nodes.values()))
        # It opens no connection: it says how the client's connections are opened.
        given = manager.create_redis_node(first.host, first.port, **manager.connection_kwargs)
    pool = given.connection_pool
    managed = AsyncSentinelManagedConnection if asynchronous else SentinelManagedConnection
    # The class below: where the master is, is asked here.
    kind = next(one for one in pool.connection_class.__mro__ if not issubclass(one, managed))
    manager = getattr(pool, "sentinel_manager", None)
    pools = [one.connection_pool for one in manager.sentinels] if manager is not None else []
    known = zip(addresses(manager.sentinels if manager else ()), pools, strict=True)
    return _Source(
        kind, pool.connection_kwargs, {at: (one.connection_class, one.connection_kwargs) for at, one in known}
    )


def _sentinel(module: Any, place: tuple[str, int], options: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    host, port = place
    return module.Connection, {"host": host, "port": port, **options}


def addresses(clients: Sequence[Any]) -> list[tuple[str, int]]:
    """Where the servers of clients are."""
    options = [one.connection_pool.connection_kwargs for one in clients]
    return [(one.get("host", "localhost"), int(one.get("port", 6379))) for one in options]


def _is_quiet(connection: Any) -> bool:
    """Whether a synchronous connection is open and nothing unread is in it."""
    handled = sys.exc_info()[1]
    try:
        return not connection.can_read()
    except _FAILURES as error:
        _own(error, handled)
        return False


def _is_quiet_async(connection: Any) -> bool:
    reader, writer = connection._reader, connection._writer
    if reader is None or writer is None or writer.transport.is_closing():
        return False
    if reader._buffer or reader.at_eof() or reader.exception():
        return False
    # What has come since the loop last looked, the end of the connection for one, it does not know yet.
    socket = writer.transport.get_extra_info("socket")
    return not (_HAS_POLL and socket is not None and _has_come(socket.fileno()))


def _has_come(file: int) -> bool:
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))


_HAS_POLL = hasattr(select, "poll")


# Closing


def _abandon_all(loops: dict[asyncio.AbstractEventLoop, dict[Endpoint, LoopPool]], process: int) -> None:
    while loops:
        loop, pools = loops.popitem()
        if process == os.getpid():
            _abandon(loop, pools)


def _abandon(loop: asyncio.AbstractEventLoop, pools: Mapping[Endpoint, LoopPool]) -> None:
    """Close the connections of an event loop without waiting for it; redis-py could do that only on the loop."""
    connections = [one for pool in pools.values() for one in pool.connections()]
    if loop.is_running() and asyncio._get_running_loop() is not loop:
        try:
            loop.call_soon_threadsafe(drop, loop, connections)
        except RuntimeError:  # it was closed in between
            drop(loop, connections)
    else:
        drop(loop, connections)


def drop(loop: asyncio.AbstractEventLoop, connections: Sequence[Any]) -> None:
    """Close connections of an event loop that may be over."""
    for connection in connections:
        reader, writer = getattr(connection, "_reader", None), getattr(connection, "_writer", None)
        if reader is not None and loop.is_running():
            reader.set_exception(ConnectionAbortedError("closed"))  # a call that waits for an answer ends
        connection._reader = connection._writer = None
        transport: Any = getattr(writer, "transport", None)
        if hasattr(transport, "_ssl_protocol"):
            transport._closed = True
            transport = transport._ssl_protocol._transport
        socket = getattr(transport, "_sock", None)
        if socket is not None:
            # Closing the transport would take another turn of the loop, which may never come.
            transport._closing = True
            if not loop.is_closed():
                loop.remove_reader(socket.fileno())
            socket.close()
            transport._sock = None
