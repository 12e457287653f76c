"""The options of Redis URLs: ours, and those of redis-py."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from pydantic import AfterValidator, Field

from langchain_agentmem.arguments.urls import shown_url
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends.redis.settings import Settings
from langchain_agentmem.backends.urls import Count, Flag, PooledOptions, option_names, parse_options
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.text.words import ENGLISH, check_language

_SENTINEL_PORT = 26379
_MASTER = "master"
"""The host in the URL of a master whose address the sentinels know."""

Text = Annotated[str, Field(pattern=r"^.+\Z")]
PythonFlag = Annotated[str, Field(pattern=r"^(?i:true|false|yes|no|[tfyn10])\Z")]
Number = Annotated[str, Field(pattern=r"^[0-9]{1,9}\Z")]


class RedisOptions(PooledOptions):
    """Our own options of a Redis URL."""

    retries: Count | None = Field(default=None, ge=0, le=100, description="a whole number from 0 to 100")
    """The maximum number of further attempts after a lost connection. None: `timeout` is the only limit."""
    allow_eviction: Flag = False
    """If true, accept a server that may evict stored data."""
    language: Annotated[str, AfterValidator(check_language)] = ENGLISH


class ConnectionOptions(RedisOptions):
    """All options of a Redis URL. The options of redis-py are passed on as they are written."""

    client_name: Text | None = Field(default=None, description="a text")
    db: Number | None = Field(default=None, description="the number of a database")
    health_check_interval: Number | None = Field(default=None, description="a whole number of seconds")
    protocol: str | None = Field(default=None, pattern=r"^[23]\Z", description="2 or 3")
    socket_connect_timeout: str | None = Field(
        default=None, pattern=r"^(?=.*[1-9])[0-9]{1,9}(\.[0-9]+)?\Z", description="a number of seconds above 0"
    )
    socket_keepalive: PythonFlag | None = Field(default=None, description="true or false")
    ssl_ca_certs: Text | None = Field(default=None, description="a text")
    ssl_cert_reqs: str | None = Field(
        default=None, pattern=r"^(none|optional|required)\Z", description="none, optional or required"
    )
    ssl_certfile: Text | None = Field(default=None, description="a text")
    ssl_check_hostname: PythonFlag | None = Field(default=None, description="true or false")
    ssl_keyfile: Text | None = Field(default=None, description="a text")


class SentinelOptions(ConnectionOptions):
    """The options of a URL of sentinels: also the credentials of the sentinels."""

    sentinel_password: str | None = None
    sentinel_username: str | None = None


_OWN = frozenset(option_names(RedisOptions))
_OF_SENTINELS = frozenset(option_names(SentinelOptions)) - frozenset(option_names(ConnectionOptions))


def settings_of(url: str) -> Settings:
    """Return the settings for a URL.

    Raises:
        ConfigurationError: The URL names no server, or an option is wrong.
    """
    parts: SplitResult | None
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if not parts.scheme.endswith("+sentinel"):  # a URL of sentinels may contain several hosts
            _ = parts.port
    except ValueError:
        parts = None  # the text of the error may contain the password
    if parts is None:
        msg = (
            f"The URL {shown_url(url)!r} cannot be parsed. Write redis://user:password@host:6379/0, with the characters "
            f": / ? # @ % of a password as %3A %2F %3F %23 %40 %25."
        )
        raise ConfigurationError(msg)
    scheme, _, kind = parts.scheme.partition("+")
    model = SentinelOptions if kind == "sentinel" else ConnectionOptions
    parsed = parse_options(model, options, f"the URL {shown_url(url)!r}")
    settings = Settings(kind=kind or "single", **parsed.model_dump(include=set(_OWN)))
    passed_on = {name: value for name, value in options.items() if name not in _OWN}
    if kind == "sentinel":
        return _sentinel(settings, url, passed_on)
    if (not parts.hostname and scheme != "unix") or (scheme == "unix" and not parts.path):
        msg = f"The URL {shown_url(url)!r} names no server. Write redis://host:6379/0, or unix:///path/of/the/socket."
        raise ConfigurationError(msg)
    database = parts.path.strip("/")
    if scheme != "unix" and database and (not database.isdecimal() or (kind and int(database))):
        which = "A cluster has database 0 only" if kind else "A database is a number"
        msg = f"The URL {shown_url(url)!r} has the database {shown(database)}. {which}."
        raise ConfigurationError(msg)
    query = f"?{urlencode(passed_on)}" if passed_on else ""
    return settings._replace(url=f"{scheme}://{parts.netloc}{parts.path}{query}")


def _sentinel(settings: Settings, url: str, options: dict[str, str]) -> Settings:
    """Return the settings for `redis+sentinel://user:password@host:port,host:port/service/database`."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    sentinels = []
    for host in filter(None, hosts.split(",")):
        name, separator, port = host.rpartition(":")
        if separator and not port.isdecimal():
            msg = f"The URL {shown_url(url)!r} has the port {shown(port)}. A port is a number."
            raise ConfigurationError(msg)
        sentinels.append((name, int(port)) if separator else (host, _SENTINEL_PORT))
    if not sentinels or not service or (database and not database.isdecimal()):
        msg = (
            f"The URL {shown_url(url)!r} names no service. Write redis+sentinel://host:26379,other:26379/service, and "
            f"append /1 for database 1."
        )
        raise ConfigurationError(msg)
    of_sentinels = {
        name.removeprefix("sentinel_"): options.pop(name) for name in sorted(_OF_SENTINELS & options.keys())
    }
    number = database or options.pop("db", "0")
    query = f"?{urlencode(options)}" if options else ""
    scheme = parts.scheme.partition("+")[0]
    master = f"{scheme}://{credentials}{'@' if credentials else ''}{_MASTER}/{number}{query}"
    return settings._replace(url=master, sentinels=sentinels, service=service, sentinel_options=of_sentinels)
