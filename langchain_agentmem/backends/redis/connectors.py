"""Connectors: redis-py's connection class and options, as a URL or a client of the application specifies them.

redis-py's own clients only supply the class and the options. When a signal interrupts a call, they put the connection back
with the answer unread, and each of their attempts has a time limit of its own. A memory on a client of the application opens
connections of its own with the client's options, so neither can harm the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import SentinelManagedConnection as AsyncSentinelManagedConnection
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as NoAnswerError
from redis.retry import Retry
from redis.sentinel import SentinelManagedConnection

from langchain_agentmem.backends.credentials import Credentials, Login
from langchain_agentmem.backends.redis.connections import AsyncConnection, SyncConnection
from langchain_agentmem.backends.redis.internals import abort
from langchain_agentmem.backends.redis.limits import TimeLimit
from langchain_agentmem.backends.redis.routing import HOME, Endpoint
from langchain_agentmem.backends.redis.settings import Settings

Client = redis.Redis | redis.RedisCluster | redis.asyncio.Redis | redis.asyncio.RedisCluster
"""A client of the application."""

_DRIVER_INFO = redis.DriverInfo() if hasattr(redis, "DriverInfo") else None
"""Name and version of redis-py, which connections send to the server. Created once, because redis-py reads files for it."""

_OWN_OPTIONS = {
    *("connection_pool", "retry", "retry_on_timeout", "retry_on_error"),
    *("decode_responses", "encoding", "encoding_errors", "lib_name", "lib_version"),
    *("socket_timeout", "socket_connect_timeout"),
    *("maint_notifications_config", "maint_notifications_pool_handler", "oss_cluster_maint_notifications_handler"),
    *("maintenance_state", "maintenance_notification_hash"),
    *("orig_host_address", "orig_socket_timeout", "orig_socket_connect_timeout"),
}
"""Options of a client that our connections do not inherit: they belong to the client's pool, or this module sets them."""


class Opening(NamedTuple):
    """redis-py's connection class and its options."""

    kind: Any
    options: dict[str, Any]


class _Provider(redis.CredentialProvider):
    """redis-py's form of a function that returns credentials.

    Args:
        credentials: The function.
        user: The user name in the URL; None if there is none.
    """

    def __init__(self, credentials: Credentials, user: str | None) -> None:
        self._credentials = credentials
        self._user = user

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        return self._words(self._credentials.perform())

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self._words(await self._credentials.aperform())

    def _words(self, login: Login) -> tuple[str] | tuple[str, str]:
        user = self._user if login.user is None else login.user
        return (login.password,) if user is None else (user, login.password)


class Connector(NamedTuple):
    """Opens connections, either all synchronous or all asynchronous."""

    servers: Opening
    sentinels: Mapping[tuple[str, int], Opening]
    """The connections to each sentinel, by host and port."""

    def open(self, server: Endpoint, limit: TimeLimit) -> SyncConnection:
        """Open a synchronous connection."""
        connection: SyncConnection = self._new(server, limit, Retry(NoBackoff(), 0))
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    async def aopen(self, server: Endpoint, limit: TimeLimit) -> AsyncConnection:
        """Open an asynchronous connection."""
        connection: AsyncConnection = self._new(server, limit, AsyncRetry(NoBackoff(), 0))
        try:
            await connection.connect()
        except BaseException:
            abort(connection)
            raise
        connection.socket_timeout = None  # the exchange has a time limit
        return connection

    def longest_wait(self, server: Endpoint) -> float:
        """Return the maximum number of seconds that the options allow a connection to wait for data."""
        return float(self._opening(server).options.get("socket_timeout") or "inf")

    def _opening(self, server: Endpoint) -> Opening:
        return self.sentinels[server.host, server.port] if server.sentinel else self.servers

    def _new(self, server: Endpoint, limit: TimeLimit, retry: Retry | AsyncRetry) -> Any:
        left = limit.left()
        if left <= 0:
            msg = "Timeout connecting to server"
            raise NoAnswerError(msg)
        kind, given = self._opening(server)
        options = {name: value for name, value in given.items() if name not in _OWN_OPTIONS}
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
        if _DRIVER_INFO is not None and not {"driver_info", "lib_name", "lib_version"} & options.keys():
            options["driver_info"] = _DRIVER_INFO
        return kind(**options)


def connector_of(settings: Settings, client: Client | None, *, asynchronous: bool) -> Connector:
    """Return the connector for a URL, or for a client of the application.

    Args:
        settings: The settings, with the URL.
        client: The client. None to use the URL.
        asynchronous: If true, the connector opens asynchronous connections.
    """
    module: Any = redis.asyncio if asynchronous else redis
    if client is None:
        pool = module.ConnectionPool.from_url(settings.url)
        if settings.credentials is not None:
            user = pool.connection_kwargs.pop("username", None)
            pool.connection_kwargs["credential_provider"] = _Provider(
                settings.credentials.within(settings.timeout), user
            )
        sentinels = {
            (host, port): Opening(module.Connection, {"host": host, "port": port, **settings.sentinel_options})
            for host, port in settings.sentinels
        }
        return Connector(Opening(pool.connection_class, pool.connection_kwargs), sentinels)
    if isinstance(client, redis.asyncio.RedisCluster):
        node: Any = next(iter(client.nodes_manager.startup_nodes.values()))
        return Connector(Opening(node.connection_class, node.connection_kwargs), {})
    if isinstance(client, redis.RedisCluster):
        manager: Any = client.nodes_manager
        first = next(iter(manager.startup_nodes.values()))
        # The new client opens no connection. It only supplies the options for one.
        client = manager.create_redis_node(first.host, first.port, **manager.connection_kwargs)
    pool = cast("redis.Redis | redis.asyncio.Redis", client).connection_pool
    return _connector_of_pool(pool, asynchronous=asynchronous)


def _connector_of_pool(pool: Any, *, asynchronous: bool) -> Connector:
    managed = AsyncSentinelManagedConnection if asynchronous else SentinelManagedConnection
    # redis-py's class asks the sentinels for the master; `SentinelRoute` does so here. Its base class does not.
    kind = next(one for one in pool.connection_class.__mro__ if not issubclass(one, managed))
    manager = getattr(pool, "sentinel_manager", None)
    clients = manager.sentinels if manager is not None else []
    openings = [Opening(one.connection_pool.connection_class, one.connection_pool.connection_kwargs) for one in clients]
    return Connector(Opening(kind, pool.connection_kwargs), dict(zip(addresses_of(clients), openings, strict=True)))


def addresses_of(clients: Sequence[Any]) -> list[tuple[str, int]]:
    """Return the host and port of each client's server."""
    options = [one.connection_pool.connection_kwargs for one in clients]
    return [(one.get("host", "localhost"), int(one.get("port", 6379))) for one in options]
