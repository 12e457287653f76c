"""Runs storage programs on Redis: scripts, servers that move or are lost, and Redis' errors in our words.

Every script may be run twice: so lost connections, restarts and moved slots are ridden out.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import redis
import redis.asyncio
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

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.existing import warn_of_existing
from langchain_agentmem.backends.redis.connections import Exchange, Part, Servers, Settings, Words, addresses
from langchain_agentmem.backends.redis.indexes import LUA
from langchain_agentmem.backends.redis.pools import Limit, NoTurnError
from langchain_agentmem.backends.redis.routing import (
    ClusterRoute,
    Endpoint,
    Route,
    SentinelRoute,
    UnreachableError,
    slot_of,
)
from langchain_agentmem.backends.redis.scripts import Changed, Invoke, InvokeAll, command_words, slot
from langchain_agentmem.errors import (
    AgentMemError,
    ConfigurationError,
    DamagedDataError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
)
from langchain_agentmem.programs import OuterStep, Program, Sleep, StorageProgram, arun, run
from langchain_agentmem.programs.signals import came_by_signal

T = TypeVar("T")

SCHEMA_VERSION = 1
OLDEST_SERVER = (6, 2)

_ATTEMPTS = 10
"""How often a program begins anew because what it was reading was changed meanwhile."""
_BACK_OFF = ExponentialWithJitterBackoff(1.0, 0.05)
_HOPS = 16
"""How often commands follow a slot that has moved, before that counts as a failed attempt."""

_LOOKED_AT = 1_000
"""About how many keys of each server are looked at, once, for data of other packages."""

_OTHERS = (
    ("langchain-community's RedisChatMessageHistory", b"message_store:"),
    ("langgraph-checkpoint-redis' RedisSaver", b"checkpoint:"),
    ("langgraph-checkpoint-redis' RedisSaver", b"checkpoint_write:"),
    ("langgraph-checkpoint-redis' RedisStore", b"store_vectors:"),
)
"""Whose data a Redis may hold, and what its keys begin with."""

_LOST = (LostConnection, NoAnswer, UnreachableError)
_LATER = {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "TRYAGAIN"}
"""Answers of servers that will do later what was asked."""


class RedisDriver:
    """Runs storage programs on one Redis server or cluster.

    Args:
        settings: How to connect.
        given: A client of the application, whose settings are used, and which is never used or closed itself. Default: None.
    """

    def __init__(self, settings: Settings, given: Any = None) -> None:
        self.settings = settings
        self.given = given
        self.closed = False
        self._reset()

    def _reset(self) -> None:
        self.servers = Servers(self.settings, self.given)
        self._ready = False
        self._route: Route | None = None

    # Programs

    def run(self, program: Program[T], *, writes: bool = False) -> T:
        """Run a storage program."""
        return run(self._attempts(program, writes))

    async def arun(self, program: Program[T], *, writes: bool = False) -> T:
        """Same as `run`, but without blocking the event loop."""
        if isinstance(self.given, (redis.Redis, redis.RedisCluster)):
            return await asyncio.to_thread(self.run, program, writes=writes)
        return await arun(self._attempts(program, writes))

    def _attempts(self, program: Program[T], writes: bool) -> Program[T]:
        self._check()
        limit = Limit(self.settings.timeout)
        try:
            if not self._ready:
                yield from self._prepare(limit)
            for _ in range(_ATTEMPTS):
                try:
                    return cast("T", (yield from _Drive(self, program, limit, writes)))
                except Changed:
                    if not isinstance(program, StorageProgram):
                        raise
            msg = f"Other writers changed the data during each of {_ATTEMPTS} attempts to read it. Try again."
            raise StorageBusyError(msg)
        except (RedisError, RedisClusterException, NoTurnError, UnreachableError) as error:
            if isinstance(error, _LOST):
                self._check_open(limit, writes)
            raise self._translate(error, limit, writes) from error

    def answers(self, step: Invoke | InvokeAll, limit: Limit, *, writes: bool) -> Program[Any]:
        """Do one step of a storage program; a script that the server does not know (any more) is sent to it whole."""
        invocations = step.invocations if isinstance(step, InvokeAll) else [step]
        if not invocations:
            return []
        commands = [_command("EVALSHA", one) for one in invocations]
        if isinstance(step, InvokeAll) and step.together and not self.is_cluster:
            # All scripts must be known before the first is run.
            sources = dict.fromkeys(one.script.source for one in invocations)
            loads = [_Command(("SCRIPT", "LOAD", source)) for source in sources]
            first, last = _Command(("MULTI",)), _Command(("EXEC",))
            (*queued, answers) = yield from self._send([*loads, first, *commands, last], limit, writes, whole=True)
            if isinstance(answers, Exception):
                raise next((one for one in queued if isinstance(one, Exception)), answers)
        else:
            answers = yield from self._send(commands, limit, writes)
        unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            again = yield from self._send([_command("EVAL", invocations[at]) for at in unknown], limit, writes)
            for at, answer in zip(unknown, again, strict=True):
                answers[at] = answer
        failed = [isinstance(answer, Exception) for answer in answers]
        limit.partial = limit.partial or (writes and not all(failed))
        for invocation, answer in zip(invocations, answers, strict=True):
            if isinstance(answer, Exception):
                _raise_of(invocation, answer)
        return answers if isinstance(step, InvokeAll) else answers[0]

    def _prepare(self, limit: Limit) -> Program[None]:
        """Look once whether the server is one that keeps what it is given, and has a layout that we know."""
        servers = yield from self.route.every(limit)
        questions = [_Command(("INFO",), server=server) for server in servers]
        for info in map(_info, (yield from self._send(questions, limit, writes=False))):
            version = info.get("redis_version", "")
            if version and tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
                msg = f"This server is Redis {version}: at least {'.'.join(map(str, OLDEST_SERVER))} is needed."
                raise ConfigurationError(msg)
            policy = info.get("maxmemory_policy", "noeviction")
            if policy != "noeviction" and int(info.get("maxmemory", 0)) and not self.settings.allow_eviction:
                msg = (
                    f"This Redis server may delete what is stored in it: its maxmemory-policy is {shown(policy)}. Set it to "
                    f"noeviction, or accept that memories vanish with allow_eviction=true."
                )
                raise ConfigurationError(msg)
        place, mine = slot("schema"), self.settings.language
        keys = (f"{place}schema", f"{place}language")
        step = Invoke(LUA["schema"], keys, (SCHEMA_VERSION, mine))
        found, language, made = yield from self.answers(step, limit, writes=False)
        if int(found) > SCHEMA_VERSION:
            msg = (
                f"The memory in this Redis has version {int(found)} of the layout, and this langchain-agentmem knows up to "
                f"version {SCHEMA_VERSION}: upgrade the package."
            )
            raise ConfigurationError(msg)
        if language.decode() != mine:
            msg = (
                f"The texts in this Redis are searched in {shown(language.decode())}, not {shown(mine)}: write "
                f"?language={language.decode()} in the URL."
            )
            raise ConfigurationError(msg)
        others: list[str] = []
        if made:
            servers = yield from self.route.every(limit)
            looks = [_Command(("SCAN", 0, "COUNT", _LOOKED_AT), server=server) for server in servers]
            others = _others((yield from self._send(looks, limit, writes=False)))
        self._ready = True
        warn_of_existing("The Redis database", others)

    # Servers

    def _send(
        self, commands: Sequence[_Command], limit: Limit, writes: bool, *, whole: bool = False
    ) -> Program[list[Any]]:
        """Send commands to the servers that they belong to, again if a server was lost; errors of servers are answers.

        With `whole`, all of them are sent again if one must be.
        """
        answers: list[Any] = [None] * len(commands)
        pending: dict[int, Endpoint | None] = dict.fromkeys(range(len(commands)))
        failures = hops = 0
        while True:
            self._check_open(limit, writes)
            trouble: Exception | None = None
            try:
                parts = yield from self._parts(commands, pending, limit)
                results = yield from Exchange(self.servers, parts, limit, writes)
            except UnreachableError as error:
                trouble = error
            else:
                for part, result in zip(parts, results, strict=True):
                    if isinstance(result, _LOST) and not isinstance(result, AuthenticationError):
                        trouble = result
                    elif isinstance(result, Exception):
                        raise result
                    else:
                        for at, answer in zip(part.places, result[part.skipped :], strict=True):
                            answers[at] = answer
                            trouble = self._settle(at, answer, commands[at], pending) or trouble
            if not pending:
                return answers
            if trouble is None and hops < _HOPS:
                hops += 1
                continue
            failures += 1
            pause = _BACK_OFF.compute(failures)
            if trouble is None or failures > self.settings.retries or limit.left() <= pause:
                raise trouble or answers[next(iter(pending))]
            self.route.forget()
            if whole:
                pending = dict.fromkeys(range(len(commands)))
            yield from Sleep(pause)

    def _settle(self, at: int, answer: Any, command: _Command, pending: dict[int, Endpoint | None]) -> Exception | None:
        """Whether a command is done; if not, it stays pending. Returns the error that makes its server useless now."""
        code = _code(answer)
        if code in ("MOVED", "ASK") and self.is_cluster:
            host, _, port = str(answer).split()[-1].rpartition(":")
            target = Endpoint(host, int(port))
            pending[at] = target if code == "ASK" else None
            if code == "MOVED" and command.slot is not None:
                self.route.move(command.slot, target)
            return None
        if code in _LATER or (code == "READONLY" and self.route.moves):
            return cast("Exception", answer)
        del pending[at]
        return None

    def _parts(
        self, commands: Sequence[_Command], pending: Mapping[int, Endpoint | None], limit: Limit
    ) -> Program[list[Part]]:
        """Which commands go to which server, in an order that is the same for all callers."""
        places: dict[tuple[Endpoint, bool], list[int]] = {}
        for at, asked in pending.items():
            command = commands[at]
            server = asked or command.server or (yield from self.route.locate(command.slot or 0, limit))
            places.setdefault((server, asked is not None), []).append(at)
        parts = []
        for (server, asking), group in sorted(places.items()):
            # ASKING holds for one command.
            for some in [[at] for at in group] if asking else [group]:
                words = [commands[at].words for at in some]
                parts.append(Part(server, some, [("ASKING",), *words] if asking else words, int(asking)))
        return parts

    def _ask(self, server: Endpoint, words: Words, limit: Limit) -> Program[Any]:
        """Send one command to one server, once; see `routing.Ask`."""
        (result,) = yield from Exchange(self.servers, [Part(server, [0], [words], 0)], limit, writes=False)
        if isinstance(result, _LOST) and not isinstance(result, AuthenticationError):
            return result
        if isinstance(result, Exception):
            raise result
        return result[0]

    @property
    def is_cluster(self) -> bool:
        """Whether keys of different slots may be on different servers."""
        return self.route.scattered

    @property
    def route(self) -> Route:
        """Where the data is."""
        if self._route is None:
            self._route = self._new_route()
        return self._route

    def _new_route(self) -> Route:
        settings, given = self.settings, self.given
        if settings.kind == "sentinel":
            return SentinelRoute(settings.sentinels, settings.service, self._ask)
        if settings.kind == "cluster":
            known = self.servers.source(asynchronous=False).options
            return ClusterRoute([(known["host"], known.get("port", 6379))], self._ask)
        if isinstance(given, (redis.RedisCluster, redis.asyncio.RedisCluster)):
            manager = given.nodes_manager
            nodes = [*manager.startup_nodes.values(), *manager.nodes_cache.values()]
            return ClusterRoute([(node.host, int(node.port)) for node in nodes], self._ask, manager.address_remap)
        pool = getattr(given, "connection_pool", None)
        if pool is not None and hasattr(pool, "sentinel_manager"):
            return SentinelRoute(addresses(pool.sentinel_manager.sentinels), pool.service_name, self._ask)
        return Route()

    def _check(self) -> None:
        if self.closed:
            msg = "This memory is closed: make a new one, or call close() later."
            raise StorageClosedError(msg)
        if self.servers.process != os.getpid():
            # A connection must not be used in a process that inherited it.
            _inherited.append(self.servers)
            self._reset()

    def close(self) -> None:
        """Close the connections; those of other event loops without waiting for them."""
        self.closed = True
        self.servers.close()

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        self.closed = True
        await self.servers.aclose()

    # Errors

    @staticmethod
    def _fate(limit: Limit, writes: bool) -> str:
        """What became of the writes of a call that failed."""
        if not writes:
            return ""
        return " The write may have been stored: its answer was lost." if limit.sent else " Nothing was stored."

    def _check_open(self, limit: Limit, writes: bool) -> None:
        if self.closed:
            msg = f"This memory was closed during the call.{self._fate(limit, writes)}"
            raise StorageClosedError(msg)

    def _translate(self, error: Exception, limit: Limit, writes: bool) -> AgentMemError:
        text = str(error).strip().partition("\n")[0].rstrip(".")
        fate = self._fate(limit, writes)
        if "OOM command not allowed" in text or isinstance(error, OutOfMemoryError):
            told = "a part of the call may have been stored" if limit.partial else "nothing was written"
            return StorageError(f"Redis has no memory left (maxmemory); {told}.")
        seconds = f"within {self.settings.timeout:g} seconds"
        if isinstance(error, NoTurnError):
            return StorageBusyError(
                f"No connection to Redis came free {seconds}, and no other caller progressed.{fate}"
            )
        if isinstance(error, NoAnswer):
            return StorageBusyError(f"Redis did not answer {seconds} ({text}).{fate}")
        for kinds, kind, meaning in _MEANINGS:
            if isinstance(error, kinds):
                lost = isinstance(error, (*_LOST, RedisClusterException))
                return kind(meaning.format(text=text) + (fate if lost else ""))
        if _code(error) in _LATER:
            return StorageBusyError(f"Redis is busy: {text}.{fate}")
        return StorageError(f"Redis could not do it: {text}")


_inherited: list[Any] = []
"""Connections that a forked process got from its parent: kept, because closing them could harm the parent's."""

_MEANINGS: tuple[tuple[Any, type[AgentMemError], str], ...] = (
    ((AuthenticationError, AuthorizationError, NoPermissionError), ConfigurationError, "Redis does not allow it: {text}."),
    (ReadOnlyError, StorageError, "This Redis server accepts no writes, it may be a replica: {text}."),
    (BusyLoadingError, StorageBusyError, "Redis is still loading its data: {text}."),
    ((LostConnection, RedisClusterException, UnreachableError), StorageError, "Cannot reach Redis: {text}."),
)  # fmt: skip
"""What kinds of error mean to who called us."""


class _Command(NamedTuple):
    """A command, and where it belongs."""

    words: Words
    slot: int | None = None
    server: Endpoint | None = None


def _command(name: str, invocation: Invoke) -> _Command:
    return _Command(command_words(name, invocation), slot_of(invocation.keys[0]))


def _code(answer: Any) -> str:
    """The first word of an error of a server; empty for other answers."""
    if not isinstance(answer, ResponseError):
        return ""
    known = getattr(answer, "status_code", None) or _CODES.get(type(answer).__name__)
    return known or str(answer).partition(" ")[0]


_CODES = {
    "AskError": "ASK",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}


def _raise_of(invocation: Invoke, error: Exception) -> None:
    """Raise what went wrong in a script; what it could not read was damaged."""
    text = str(error)
    if isinstance(error, ResponseError) and any(sign in text for sign in _FAULTS):
        raise _damaged(invocation, text) from error
    raise error


_FAULTS = (
    *(
        "WRONGTYPE",
        "wrong kind of value",
        "is not an integer",
        "is not a valid float",
        "smaller than the target stream",
    ),
    *("damaged: ", "index is NaN", "Invalid stream ID", "is not a float"),
    *("attempt to ", "bad argument", "data string too short", "too short", "Bad data format", "Missing bytes"),
)
"""How errors of commands and of Lua read that come of data which is not as we left it."""


def _damaged(invocation: Invoke, text: str) -> DamagedDataError:
    return DamagedDataError(
        f"What is stored of {invocation.script.kind} (key {invocation.keys[0]!r} and those that belong to it) cannot be "
        f"read: it was damaged or altered ({text})."
    )


_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)


def _readable(program: Program[T]) -> Program[T]:
    """The same storage program; an answer that it cannot make anything of was damaged."""
    inner = iter(program)
    last: Invoke | InvokeAll | None = None
    proceed: Any = inner.send
    value: Any = None
    try:
        while True:
            try:
                step = proceed(value)
            except StopIteration as done:
                return cast("T", done.value)
            except _UNREADABLE as error:
                asked = last.invocations if isinstance(last, InvokeAll) else [last] if last else []
                if not asked or error is value or isinstance(error, AgentMemError) or came_by_signal(error):
                    raise
                raise _damaged(asked[0], f"{type(error).__name__}: {error}") from error
            last = step
            try:
                value = yield step
                proceed = inner.send
            except Exception as error:
                value, proceed = error, inner.throw
    finally:
        value = None  # the traceback of an error refers to this frame
        inner.close()


def _others(answers: Sequence[Any]) -> list[str]:
    """What other packages stored, as far as some of the keys of each server tell; nothing where looking is forbidden."""
    keys = [key for answer in answers if not isinstance(answer, Exception) for key in answer[1]]
    return [
        f"{name} (keys {prefix.decode()}…)" for name, prefix in _OTHERS if any(key.startswith(prefix) for key in keys)
    ]


def _info(answer: Any) -> dict[str, str]:
    """What a server says of itself; nothing where that is forbidden."""
    if isinstance(answer, (NoPermissionError, ResponseError)):
        return {}
    if isinstance(answer, Exception):
        raise answer
    lines = bytes(answer).decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


@dataclass(slots=True)
class _Drive(OuterStep[Any]):
    """Outer step: run a storage program, each step of which is an `Invoke` or `InvokeAll`."""

    driver: RedisDriver
    program: Program[Any]
    limit: Limit
    writes: bool

    def perform(self) -> Any:
        return run(_readable(self.program), lambda step: run(self._answers(step)))

    async def aperform(self) -> Any:
        return await arun(_readable(self.program), lambda step: arun(self._answers(step)))

    def _answers(self, step: Any) -> Program[Any]:
        return self.driver.answers(step, self.limit, writes=self.writes)
