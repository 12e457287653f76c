"""The connection pools of a database: one for each server, for threads and for each event loop."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

import redis

from langchain_agentmem.backends.lifetimes import PerLoop
from langchain_agentmem.backends.redis.connections import SyncConnection
from langchain_agentmem.backends.redis.connectors import Client, Connector, connector_of
from langchain_agentmem.backends.redis.failures import CONNECTION_ERRORS, raise_if_foreign
from langchain_agentmem.backends.redis.internals import discard, is_clean
from langchain_agentmem.backends.redis.pools import LoopPool, Pool
from langchain_agentmem.backends.redis.routing import Endpoint
from langchain_agentmem.backends.redis.settings import Settings
from langchain_agentmem.errors import ConfigurationError

LoopPools = dict[Endpoint, LoopPool]


class Servers:
    """The connections of a process to the servers of a database.

    Args:
        settings: The settings.
        client: A client of the application, whose options are used. Default: None.
    """

    def __init__(self, settings: Settings, client: Client | None = None) -> None:
        self._settings, self._client = settings, client
        self.process = os.getpid()
        self.closed = False
        self._connectors: dict[bool, Connector] = {}
        self._pools: dict[Endpoint, Pool] = {}
        self.loops: PerLoop[LoopPools] = PerLoop(_abandon)

    def connector(self, *, asynchronous: bool) -> Connector:
        """Return the connector for synchronous or asynchronous connections."""
        found = self._connectors.get(asynchronous)
        if found is None:
            made = connector_of(self._settings, self._client, asynchronous=asynchronous)
            found = self._connectors.setdefault(asynchronous, made)
        return found

    def pool(self, server: Endpoint) -> Pool:
        """Return the pool of a server for threads.

        Raises:
            ConfigurationError: The memory was created from an asynchronous client.
        """
        found = self._pools.get(server)
        if found is None:
            if self._client is not None and not isinstance(self._client, (redis.Redis, redis.RedisCluster)):
                msg = (
                    f"This memory was created from an asynchronous {type(self._client).__name__}. Await the method with "
                    f"the prefix `a`, or create the memory from a URL, which serves both."
                )
                raise ConfigurationError(msg)
            connector = self.connector(asynchronous=False)
            made = Pool(
                lambda limit: connector.open(server, limit),
                _is_clean,
                self._settings.pool_size,
                connector.longest_wait(server),
            )
            found = self._pools.setdefault(server, made)
        return found

    def loop_pool(self, server: Endpoint) -> LoopPool:
        """Return the pool of a server for tasks of the running event loop."""
        pools = self.loops.current(dict)
        found = pools.get(server)
        if found is None:
            connector = self.connector(asynchronous=True)
            found = pools[server] = LoopPool(
                lambda limit: connector.aopen(server, limit), is_clean, self._settings.pool_size
            )
        return found

    def close(self) -> None:
        """Close all connections. Connections of other event loops are closed without waiting."""
        self.closed = True
        for pool in list(self._pools.values()):
            pool.close()
        self.loops.close()

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        self.closed = True
        own = self.loops.pop_current() or {}
        for pool in own.values():
            await pool.aclose()
        _abandon(asyncio.get_running_loop(), own)  # the connections that are in use
        self.close()


def _is_clean(connection: SyncConnection) -> bool:
    """Return true if a synchronous connection is open and has no unread data."""
    handled = sys.exc_info()[1]
    try:
        return not connection.can_read()
    except CONNECTION_ERRORS as error:
        raise_if_foreign(error, handled)
        return False


def _abandon(loop: asyncio.AbstractEventLoop, pools: Mapping[Endpoint, LoopPool]) -> None:
    """Close the connections of an event loop without waiting for it."""
    connections = [one for pool in pools.values() for one in pool.closed_connections()]
    if loop.is_running() and _running_loop() is not loop:
        try:
            loop.call_soon_threadsafe(discard, loop, connections)
        except RuntimeError:  # the loop was closed concurrently
            discard(loop, connections)
    else:
        discard(loop, connections)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
