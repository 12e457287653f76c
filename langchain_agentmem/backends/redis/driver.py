"""Connections to Redis, scripts, and Redis' errors in our words: the only module that imports redis-py.

A driver has a client of its own for synchronous callers and one for each event loop, opened on first use; or it uses the
client that the application has. Lost connections and restarts are ridden out by redis-py's own retries: every script may be
run twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import TimeoutError as NoAnswer
from redis.retry import Retry

from langchain_agentmem.backends.redis.indexes import LUA
from langchain_agentmem.backends.redis.scripts import Changed, Invoke, InvokeAll, slot
from langchain_agentmem.errors import (
    AgentMemError,
    ConfigurationError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
)
from langchain_agentmem.program import Program, StorageProgram, arun, run

T = TypeVar("T")

SCHEMA_VERSION = 1
OLDEST_SERVER = (6, 2)

_ATTEMPTS = 10
"""How often a program begins anew because what it was reading was changed meanwhile."""
_BACK_OFF_BASE, _BACK_OFF_CAP = 0.05, 1.0


class Settings(NamedTuple):
    """How a driver connects."""

    url: str = ""
    """As redis-py takes it, but for sentinels."""
    kind: str = "single"
    """`"single"`, `"cluster"` or `"sentinel"`."""
    sentinels: Sequence[tuple[str, int]] = ()
    service: str = ""
    timeout: float = 10.0
    """Seconds to wait for an answer, or for a connection to come free."""
    pool_size: int = 10
    retries: int = 5
    allow_eviction: bool = False
    language: str = "english"
    arguments: Mapping[str, Any] = MappingProxyType({})
    """Others, as redis-py takes them."""


class RedisDriver:
    """Runs storage programs on one Redis server or cluster.

    Args:
        settings: How to connect.
        given: A client that the application has, which is never closed by us. Default: None (own clients).
    """

    def __init__(self, settings: Settings, given: Any = None) -> None:
        self.settings = settings
        self.given = given
        self._closed = False
        self._ready = False
        self._lock = threading.Lock()
        self._client: Any = None
        self._loops: dict[asyncio.AbstractEventLoop, Any] = {}
        weakref.finalize(self, _abandon_all, self._loops, os.getpid())

    # Programs

    def run(self, program: Program[T]) -> T:
        """Run a storage program."""
        return run(self._attempts(program))

    async def arun(self, program: Program[T]) -> T:
        """Same as `run`, but without blocking the event loop."""
        if isinstance(self.given, (redis.Redis, redis.RedisCluster)):
            return await asyncio.to_thread(self.run, program)
        return await arun(self._attempts(program))

    def _attempts(self, program: Program[T]) -> Program[T]:
        if self._closed:
            msg = "This memory is closed: make a new one, or call close() later."
            raise StorageClosedError(msg)
        try:
            if not self._ready:
                yield from self._prepare()
            for _ in range(_ATTEMPTS):
                try:
                    return cast("T", (yield _Drive(self, program)))
                except Changed:
                    if not isinstance(program, StorageProgram):
                        raise
            msg = f"Others kept changing what was to be read, {_ATTEMPTS} times over: try again."
            raise StorageBusyError(msg)
        except (RedisError, RedisClusterException) as error:
            raise self._translate(error) from error

    def answers(self, step: Invoke | InvokeAll) -> Program[Any]:
        """Do one step of a storage program; a script that the server does not know (any more) is sent to it whole."""
        invocations = step.invocations if isinstance(step, InvokeAll) else [step]
        if not invocations:
            return []
        commands = [_command("EVALSHA", one) for one in invocations]
        if isinstance(step, InvokeAll) and step.together and not self.is_cluster:
            # All scripts must be known before the first is run. redis-py's own transactions would decode the answers.
            sources = dict.fromkeys(one.script.source for one in invocations)
            loads = [["SCRIPT", "LOAD", source] for source in sources]
            (*queued, answers) = yield _Send(self, [*loads, ["MULTI"], *commands, ["EXEC"]])
            if isinstance(answers, Exception):
                raise next((one for one in queued if isinstance(one, Exception)), answers)
        else:
            answers = yield _Send(self, commands)
        unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            again = yield _Send(self, [_command("EVAL", invocations[at]) for at in unknown])
            for at, answer in zip(unknown, again, strict=True):
                answers[at] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers if isinstance(step, InvokeAll) else answers[0]

    def _prepare(self) -> Program[None]:
        """Look once whether the server is one that keeps what it is given, and has a layout that we know."""
        for info in (yield _Inspect(self)):
            version = str(info.get("redis_version", ""))
            if version and tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
                msg = f"This server is Redis {version}: at least {'.'.join(map(str, OLDEST_SERVER))} is needed."
                raise ConfigurationError(msg)
            policy = info.get("maxmemory_policy", "noeviction")
            if policy != "noeviction" and int(info.get("maxmemory", 0)) and not self.settings.allow_eviction:
                msg = (
                    f"This Redis server may delete what is stored in it: its maxmemory-policy is {policy!r}. Set it to "
                    f"noeviction, or accept that memories vanish with allow_eviction=true."
                )
                raise ConfigurationError(msg)
        place, mine = slot("schema"), self.settings.language
        keys = (f"{place}schema", f"{place}language")
        found, language = yield from self.answers(Invoke(LUA["schema"], keys, (SCHEMA_VERSION, mine)))
        if int(found) > SCHEMA_VERSION:
            msg = (
                f"The memory in this Redis has version {int(found)} of the layout, and this langchain-agentmem knows up to "
                f"version {SCHEMA_VERSION}: upgrade the package."
            )
            raise ConfigurationError(msg)
        if language.decode() != mine:
            msg = (
                f"The texts in this Redis are searched in {language.decode()!r}, not {mine!r}: write "
                f"?language={language.decode()} in the URL."
            )
            raise ConfigurationError(msg)
        self._ready = True

    # Clients

    @property
    def is_cluster(self) -> bool:
        """Whether keys of different slots may lie on different servers."""
        return self.settings.kind == "cluster" or isinstance(
            self.given, (redis.RedisCluster, redis.asyncio.RedisCluster)
        )

    def client(self) -> Any:
        """The client for synchronous callers."""
        if self.given is not None:
            if isinstance(self.given, (redis.Redis, redis.RedisCluster)):
                return self.given
            msg = (
                f"This memory was made from an asynchronous {type(self.given).__name__}: call the method with the prefix "
                f"`a` and await it, or pass a URL, which serves both."
            )
            raise ConfigurationError(msg)
        with self._lock:
            if self._client is None:
                self._client = _connect(self.settings)
            return self._client

    async def loop_client(self) -> Any:
        """The client for asynchronous callers of the event loop that is running."""
        client = self._of_this_loop()
        if self.is_cluster:
            # redis-py would do it with the first command; several first ones at once get in each other's way there.
            await client.initialize()
        return client

    def _of_this_loop(self) -> Any:
        if self.given is not None:
            return self.given
        loop = asyncio.get_running_loop()
        with self._lock:
            known = self._loops.get(loop)
            if known is None:
                for gone in [one for one in self._loops if one.is_closed()]:
                    _abandon(gone, self._loops.pop(gone))
                known = self._loops[loop] = _aconnect(self.settings)
            return known

    def close(self) -> None:
        """Close the own connections; those of other event loops without waiting for them."""
        self._closed = True
        with self._lock:
            client, self._client = self._client, None
            if client is not None:
                for one in _with_sentinels(client):
                    one.close()
            _abandon_all(self._loops, os.getpid())

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        loop = asyncio.get_running_loop()
        own = self._loops.pop(loop, None)
        if own is not None:
            for one in _with_sentinels(own):
                await one.aclose()
            _drop(loop, own)  # what redis-py leaves behind
        self.close()

    # Errors

    def _translate(self, error: Exception) -> AgentMemError:
        text = str(error).strip().partition("\n")[0]
        if "OOM command not allowed" in text or isinstance(error, OutOfMemoryError):
            return StorageError("Redis has no memory left (maxmemory); nothing was written.")
        if isinstance(error, NoAnswer):
            return StorageBusyError(f"Redis did not answer within {self.settings.timeout:g} seconds ({text}).")
        if isinstance(error, LostConnection) and "No connection available" in text:
            return StorageBusyError(
                f"No connection to Redis came free within {self.settings.timeout:g} seconds; nothing was done."
            )
        for kinds, kind, meaning in _MEANINGS:
            if isinstance(error, kinds):
                return kind(meaning.format(text=text))
        return StorageError(f"Redis could not do it: {text}")


_MEANINGS: tuple[tuple[Any, type[AgentMemError], str], ...] = (
    ((AuthenticationError, AuthorizationError, NoPermissionError), ConfigurationError, "Redis does not allow it: {text}."),
    (ReadOnlyError, StorageError, "This Redis server accepts no writes, it may be a replica: {text}."),
    (BusyLoadingError, StorageBusyError, "Redis is still loading its data: {text}."),
    ((LostConnection, RedisClusterException), StorageError, "Cannot reach Redis: {text}"),
)  # fmt: skip
"""What kinds of error mean to who called us."""


def _command(name: str, invocation: Invoke) -> list[Any]:
    script, keys, arguments = invocation
    return [name, script.digest if name == "EVALSHA" else script.source, len(keys), *keys, *arguments]


class _Drive(NamedTuple):
    """Outer step: run a storage program, each step of which is an `Invoke` or `InvokeAll`."""

    driver: RedisDriver
    program: Program[Any]

    def perform(self) -> Any:
        return run(self.program, lambda step: run(self.driver.answers(step)))

    async def aperform(self) -> Any:
        return await arun(self.program, lambda step: arun(self.driver.answers(step)))


class _Send(NamedTuple):
    """Outer step: send commands in one round trip; the answers, errors of the server among them."""

    driver: RedisDriver
    commands: list[list[Any]]

    def perform(self) -> list[Any]:
        client = self.driver.client()
        if len(self.commands) == 1:
            try:
                return [client.execute_command(*self.commands[0], NEVER_DECODE=True)]
            except ResponseError as error:
                return [error]
        answers: list[Any] = self._filled(client).execute(raise_on_error=False)
        return answers

    async def aperform(self) -> list[Any]:
        client = await self.driver.loop_client()
        if len(self.commands) == 1:
            try:
                return [await client.execute_command(*self.commands[0], NEVER_DECODE=True)]
            except ResponseError as error:
                return [error]
        answers: list[Any] = await self._filled(client).execute(raise_on_error=False)
        return answers

    def _filled(self, client: Any) -> Any:
        pipeline = client.pipeline(transaction=False)
        for command in self.commands:
            pipeline.execute_command(*command, NEVER_DECODE=True)
        return pipeline


class _Inspect(NamedTuple):
    """Outer step: what the servers that are written to say of themselves; nothing where that is forbidden."""

    driver: RedisDriver

    def perform(self) -> list[dict[str, Any]]:
        client = self.driver.client()
        try:
            if self.driver.is_cluster:
                return list(client.info(target_nodes=redis.RedisCluster.PRIMARIES).values())
            return [client.info()]
        except (NoPermissionError, ResponseError):
            return []

    async def aperform(self) -> list[dict[str, Any]]:
        client = await self.driver.loop_client()
        try:
            if self.driver.is_cluster:
                found = await client.info(target_nodes=redis.asyncio.RedisCluster.PRIMARIES)
                return list(found.values())
            return [await client.info()]
        except (NoPermissionError, ResponseError):
            return []


def _connect(settings: Settings) -> Any:
    """A client for synchronous callers."""
    retry = Retry(ExponentialWithJitterBackoff(_BACK_OFF_CAP, _BACK_OFF_BASE), settings.retries)
    options = {**settings.arguments, "socket_timeout": settings.timeout, "retry": retry}
    if settings.kind == "cluster":
        return redis.RedisCluster.from_url(settings.url, **options)
    if settings.kind == "sentinel":
        own = {"socket_timeout": settings.timeout, **_of_sentinels(options)}
        sentinel: Any = redis.Sentinel(settings.sentinels, sentinel_kwargs=own)  # type: ignore[no-untyped-call]
        return sentinel.master_for(settings.service, max_connections=1000, **options)
    pool = redis.BlockingConnectionPool.from_url(
        settings.url, max_connections=settings.pool_size, timeout=settings.timeout, **options
    )
    return redis.Redis.from_pool(pool)


def _aconnect(settings: Settings) -> Any:
    """A client for asynchronous callers of one event loop."""
    retry = AsyncRetry(ExponentialWithJitterBackoff(_BACK_OFF_CAP, _BACK_OFF_BASE), settings.retries)
    options = {**settings.arguments, "socket_timeout": settings.timeout, "retry": retry}
    if settings.kind == "cluster":
        return redis.asyncio.RedisCluster.from_url(settings.url, **options)
    if settings.kind == "sentinel":
        own = {"socket_timeout": settings.timeout, **_of_sentinels(options)}
        sentinel: Any = redis.asyncio.Sentinel(settings.sentinels, sentinel_kwargs=own)  # type: ignore[no-untyped-call]
        return sentinel.master_for(settings.service, max_connections=1000, **options)
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        settings.url, max_connections=settings.pool_size, timeout=settings.timeout, **options
    )
    return redis.asyncio.Redis.from_pool(pool)


def _with_sentinels(client: Any) -> list[Any]:
    """A client, and those of the sentinels that it asks for the master."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [client, *(manager.sentinels if manager is not None else ())]


def _of_sentinels(options: dict[str, Any]) -> dict[str, Any]:
    """Take out the options that are meant for the sentinels."""
    own = [name for name in options if name.startswith("sentinel_")]
    return {name.removeprefix("sentinel_"): options.pop(name) for name in own}


def _abandon_all(loops: dict[asyncio.AbstractEventLoop, Any], process: int) -> None:
    while loops:
        loop, client = loops.popitem()
        if process == os.getpid():
            _abandon(loop, client)


def _abandon(loop: asyncio.AbstractEventLoop, client: Any) -> None:
    """Close the connections of an event loop without waiting for it; redis-py could do that only on the loop."""
    if loop.is_running() and asyncio._get_running_loop() is not loop:
        with contextlib.suppress(RuntimeError):  # it was closed meanwhile
            loop.call_soon_threadsafe(_drop, loop, client)
    else:
        _drop(loop, client)


def _drop(loop: asyncio.AbstractEventLoop, client: Any) -> None:
    if hasattr(client, "nodes_manager"):
        client._initialize = True  # or it would complain when it is collected
        manager = client.nodes_manager
        first = getattr(client, "startup_nodes", ())
        nodes = [*manager.nodes_cache.values(), *manager.startup_nodes.values(), *first]
        connections = [one for node in nodes for one in node._connections]
    else:
        pools = [one.connection_pool for one in _with_sentinels(client)]
        connections = [one for pool in pools for one in (*pool._available_connections, *pool._in_use_connections)]
    for connection in connections:
        writer = getattr(connection, "_writer", None)
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
