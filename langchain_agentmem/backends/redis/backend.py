"""The Redis backend: its tables on one driver."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from langchain_agentmem.arguments.urls import shown_url
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.redis.checkpoints import RedisCheckpoints
from langchain_agentmem.backends.redis.connections import Settings
from langchain_agentmem.backends.redis.driver import RedisDriver
from langchain_agentmem.backends.redis.history import RedisMessages
from langchain_agentmem.backends.redis.store import RedisItems
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.programs import Program
from langchain_agentmem.text.words import ENGLISH, check_language

T = TypeVar("T")

_SENTINEL_PORT = 26379
_MASTER = "master"
"""Stands for the master's address in a URL."""
_FLAG = (r"(?i:true|false|yes|no|[tfyn10])", "true or false")
_ANYTHING = (r".+", "a text")
_PASSED_ON = {
    "client_name": _ANYTHING,
    "db": (r"\d{1,9}", "the number of a database"),
    "health_check_interval": (r"\d{1,9}", "a whole number of seconds"),
    "protocol": (r"[23]", "2 or 3"),
    "socket_connect_timeout": (r"(?=.*[1-9])\d{1,9}(\.\d+)?", "a number of seconds above 0"),
    "socket_keepalive": _FLAG,
    "ssl_ca_certs": _ANYTHING,
    "ssl_cert_reqs": (r"none|optional|required", "none, optional or required"),
    "ssl_certfile": _ANYTHING,
    "ssl_check_hostname": _FLAG,
    "ssl_keyfile": _ANYTHING,
}
"""The options of redis-py that a URL may have; which values, as a regular expression and in words."""
_OF_SENTINELS = {"sentinel_password", "sentinel_username"}
"""Those that a URL of sentinels may have besides."""


class RedisBackend(Backend):
    """Memory in Redis, Valkey or a Redis Cluster, shared by any number of processes."""

    name = "redis"

    def __init__(self, driver: RedisDriver) -> None:
        self.driver = driver
        self.messages = RedisMessages()
        self.language = driver.settings.language
        self.items = RedisItems(self.language)
        self.checkpoints = RedisCheckpoints()

    @classmethod
    def from_url(cls, url: str) -> RedisBackend:
        """The backend for a URL; see `langchain_agentmem.backends.connect`."""
        return cls(RedisDriver(settings_of(url)))

    @classmethod
    def from_connection(cls, client: Any, *, allow_eviction: bool = False, language: str = ENGLISH) -> RedisBackend:
        """The backend on the application's own client, which stays open on `close`."""
        settings = Settings(allow_eviction=allow_eviction, language=check_language(language))
        return cls(RedisDriver(settings, client))

    def __repr__(self) -> str:
        if self.driver.given is not None:
            return f"RedisBackend({type(self.driver.given).__name__}{self.closed_mark})"
        settings = self.driver.settings
        if settings.kind == "sentinel":
            return f"RedisBackend({settings.service!r}{self.closed_mark})"
        parts = urlsplit(settings.url)
        return f"RedisBackend({parts.netloc.rpartition('@')[2] + parts.path!r}{self.closed_mark})"

    @property
    def closed(self) -> bool:
        return self.driver.closed

    def read(self, program: Program[T]) -> T:
        return self.driver.run(program)

    async def aread(self, program: Program[T]) -> T:
        return await self.driver.arun(program)

    def write(self, program: Program[T]) -> T:
        return self.driver.run(program, writes=True)

    async def awrite(self, program: Program[T]) -> T:
        return await self.driver.arun(program, writes=True)

    def close(self) -> None:
        self.driver.close()

    async def aclose(self) -> None:
        await self.driver.aclose()


def settings_of(url: str) -> Settings:
    """The settings that a URL describes.

    Raises:
        ConfigurationError: One of its options is not known, or it names no server.
    """
    parts: SplitResult | None
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if not parts.scheme.endswith("+sentinel"):  # which may name several hosts
            _ = parts.port
    except ValueError:
        parts = None  # what the error says may show the password
    if parts is None:
        msg = (
            f"The URL {shown_url(url)!r} cannot be parsed. Write redis://user:password@host:6379/0, with the characters "
            f": / ? # @ % of a password as %3A %2F %3F %23 %40 %25."
        )
        raise ConfigurationError(msg)
    scheme, _, kind = parts.scheme.partition("+")
    settings = Settings(
        kind=kind or "single",
        timeout=_number(options, "timeout", 30.0, float, lambda n: 0 < n <= 86_400, "a number of seconds up to 86400"),
        pool_size=_number(options, "pool_size", 10, int, lambda n: 1 <= n <= 1000, "a whole number from 1 to 1000"),
        retries=_number(options, "retries", 5, int, lambda n: 0 <= n <= 100, "a whole number from 0 to 100"),
        allow_eviction=_flag(options, "allow_eviction"),
        language=check_language(options.pop("language", ENGLISH)),
    )
    passed_on = _PASSED_ON.keys() | (_OF_SENTINELS if kind == "sentinel" else set())
    unknown = sorted(options.keys() - passed_on)
    if unknown:
        known = ", ".join(sorted({"timeout", "pool_size", "retries", "allow_eviction", "language"} | passed_on))
        msg = f"Unknown option {shown(unknown[0])} in the URL {shown_url(url)!r}: known are {known}."
        raise ConfigurationError(msg)
    for name, (pattern, wanted) in _PASSED_ON.items():
        if name in options and not re.fullmatch(pattern, options[name], re.ASCII):
            msg = f"The option {name} must be {wanted}, got {shown(options[name])}."
            raise ConfigurationError(msg)
    if kind == "sentinel":
        return _sentinel(settings, url, options)
    if (not parts.hostname and scheme != "unix") or (scheme == "unix" and not parts.path):
        msg = f"The URL {shown_url(url)!r} names no server: write redis://host:6379/0, or unix:///path/of/the/socket."
        raise ConfigurationError(msg)
    database = parts.path.strip("/")
    if scheme != "unix" and database and (not database.isdecimal() or (kind and int(database))):
        which = "a cluster has the database 0 alone" if kind else "a database is a number"
        msg = f"The URL {shown_url(url)!r} has the database {shown(database)}: {which}."
        raise ConfigurationError(msg)
    query = f"?{urlencode(options)}" if options else ""
    return settings._replace(url=f"{scheme}://{parts.netloc}{parts.path}{query}")


def _sentinel(settings: Settings, url: str, options: dict[str, Any]) -> Settings:
    """`redis+sentinel://user:password@host:port,host:port/service/database`."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    sentinels = []
    for host in filter(None, hosts.split(",")):
        name, separator, port = host.rpartition(":")
        if separator and not port.isdecimal():
            msg = f"The URL {shown_url(url)!r} has the port {shown(port)}, which is no number."
            raise ConfigurationError(msg)
        sentinels.append((name, int(port)) if separator else (host, _SENTINEL_PORT))
    if not sentinels or not service or (database and not database.isdecimal()):
        msg = (
            f"The URL {shown_url(url)!r} names no service: write redis+sentinel://host:26379,other:26379/service, with "
            f"/number after it for another database than 0."
        )
        raise ConfigurationError(msg)
    own = {name.removeprefix("sentinel_"): options.pop(name) for name in _OF_SENTINELS & options.keys()}
    number = database or options.pop("db", "0")
    query = f"?{urlencode(options)}" if options else ""
    scheme = parts.scheme.partition("+")[0]
    # Where the master is, sentinels say.
    master = f"{scheme}://{credentials}{'@' if credentials else ''}{_MASTER}/{number}{query}"
    return settings._replace(url=master, sentinels=sentinels, service=service, sentinel_options=own)


def _number(
    options: dict[str, str], name: str, default: Any, kind: type, fits: Callable[[Any], bool], wanted: str
) -> Any:
    text = options.pop(name, None)
    if text is None:
        return default
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not fits(number):
        msg = f"The option {name} must be {wanted}, got {shown(text)}."
        raise ConfigurationError(msg)
    return number


def _flag(options: dict[str, str], name: str) -> bool:
    text = options.pop(name, "false")
    if text not in ("true", "false"):
        msg = f"The option {name} must be true or false, got {shown(text)}."
        raise ConfigurationError(msg)
    return text == "true"
