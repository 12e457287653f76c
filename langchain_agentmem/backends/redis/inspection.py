"""The inspection of a database before its first use: the server's version and eviction policy, and the layout of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.existing import (
    COPY_THREADS,
    Existing,
    imported_from,
    refuse_without_memory,
    warn_of_existing,
)
from langchain_agentmem.backends.redis.dispatcher import Command, Dispatcher
from langchain_agentmem.backends.redis.indexes import LUA
from langchain_agentmem.backends.redis.limits import TimeLimit
from langchain_agentmem.backends.redis.scripts import Invoke, slot
from langchain_agentmem.backends.redis.settings import Settings
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.programs import Program

SCHEMA_VERSION = 1
OLDEST_SERVER = (6, 2)

_DATABASE = "The Redis database"

_SCANNED_KEYS = 1_000
"""Approximate number of keys of each server that are checked, once, for data of other packages."""

_OTHER_PACKAGES = (
    ("langchain-community's RedisChatMessageHistory", b"message_store:", imported_from("redis://…", "redis-history")),
    ("langgraph-checkpoint-aws' ValkeySaver", b"thread:{", imported_from("redis://…", "saver")),
    ("langgraph-checkpoint-aws' ValkeySaver", b"checkpoint:{", imported_from("redis://…", "saver")),
    ("langgraph-checkpoint-redis' RedisSaver", b"checkpoint:", COPY_THREADS),
    ("langgraph-checkpoint-redis' RedisSaver", b"checkpoint_write:", COPY_THREADS),
    ("langgraph-checkpoint-redis' RedisStore", b"store_vectors:", "import it with memory.import_from(RedisStore(…))"),
)
"""Packages that store data in Redis, the prefixes of their keys (the first that fits counts), and how the data is used."""


def inspect(dispatcher: Dispatcher, settings: Settings, limit: TimeLimit, *, creates: bool = True) -> Program[None]:
    """Check that the servers keep stored data, and that this version of the package supports its layout.

    The first inspection of a database warns if it holds data of other packages.

    Args:
        dispatcher: Sends the commands.
        settings: The settings.
        limit: The time limit.
        creates: If false, an empty database is refused. Default: True.

    Raises:
        ConfigurationError: The database cannot be used.
        NoMemoryError: The database has no memory, and must not get one.
    """
    servers = yield from dispatcher.route.every(limit)
    questions = [Command(("INFO",), server=server) for server in servers]
    for answer in (yield from dispatcher.send(questions, limit, writes=False)):
        _check_server(info_of(answer), allow_eviction=settings.allow_eviction)
    prefix = slot("schema")
    keys = (f"{prefix}schema", f"{prefix}language")
    if not creates:
        (there,) = yield from dispatcher.send([Command(("EXISTS", keys[0]), key=keys[0])], limit, writes=False)
        if isinstance(there, Exception):
            raise there
        if not there:
            refuse_without_memory(_DATABASE, (yield from _scanned(dispatcher, limit)))
    step = Invoke(LUA["schema"], keys, (SCHEMA_VERSION, settings.language))
    version, language, created = yield from dispatcher.invoke(step, limit, writes=False)
    _check_layout(int(version), language.decode(), settings.language)
    if created:
        warn_of_existing(_DATABASE, (yield from _scanned(dispatcher, limit)))


def _scanned(dispatcher: Dispatcher, limit: TimeLimit) -> Program[list[Existing]]:
    """Return the data of other packages among some keys of each server."""
    servers = yield from dispatcher.route.every(limit)
    scans = [Command(("SCAN", 0, "COUNT", _SCANNED_KEYS), server=server) for server in servers]
    return _others((yield from dispatcher.send(scans, limit, writes=False)))


def _check_server(info: dict[str, str], *, allow_eviction: bool) -> None:
    version = info.get("redis_version", "")
    if version and tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        msg = f"This server runs Redis {version}; langchain-agentmem needs Redis {oldest} or later. Upgrade the server."
        raise ConfigurationError(msg)
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and int(info.get("maxmemory", 0)) and not allow_eviction:
        msg = (
            f"This Redis server may evict stored data: its maxmemory-policy is {shown(policy)}. Set the policy to "
            f"noeviction, or pass allow_eviction=true if data may be lost."
        )
        raise ConfigurationError(msg)


def _check_layout(version: int, language: str, expected_language: str) -> None:
    if version > SCHEMA_VERSION:
        msg = (
            f"The data in this Redis database has layout version {version}; this langchain-agentmem supports versions up "
            f"to {SCHEMA_VERSION}. Upgrade the package."
        )
        raise ConfigurationError(msg)
    if language != expected_language:
        msg = (
            f"The texts in this Redis database are indexed in {shown(language)}, not {shown(expected_language)}. Write "
            f"?language={language} in the URL."
        )
        raise ConfigurationError(msg)


def info_of(answer: Any) -> dict[str, str]:
    """Return the fields of an answer to `INFO`; none if the user may not run the command."""
    if isinstance(answer, (NoPermissionError, ResponseError)):
        return {}
    if isinstance(answer, Exception):
        raise answer
    lines = bytes(answer).decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _others(answers: Sequence[Any]) -> list[Existing]:
    """Return the data of other packages among the scanned keys; none if the user may not scan."""
    keys = [key for answer in answers if not isinstance(answer, Exception) for key in answer[1]]
    found = {next((one for one in _OTHER_PACKAGES if key.startswith(one[1])), None) for key in keys}
    return [
        Existing(f"{name} (keys {prefix.decode()}…)", remedy)
        for name, prefix, remedy in _OTHER_PACKAGES
        if (name, prefix, remedy) in found
    ]
