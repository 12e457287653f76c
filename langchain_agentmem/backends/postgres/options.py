"""The options of a `postgresql://` URL: ours, and those of libpq."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, NamedTuple
from urllib.parse import unquote, unquote_plus

from pydantic import AfterValidator, Field

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.backends import urls
from langchain_agentmem.backends.credentials import Credentials
from langchain_agentmem.backends.urls import Flag, PooledOptions, is_whole_number, option_names, parse_options
from langchain_agentmem.errors import ConfigurationError

WHERE = "the Postgres URL"
"""Errors say this instead of the URL, because any part of a malformed URL may belong to a password."""

_LONGEST_NAME = 63
_INTEGERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
_ESCAPE = "Write the characters : / ? # @ % of a user name or password as %3A %2F %3F %23 %40 %25."


def _checked_name(value: str) -> str:
    if not value or "\x00" in value or len(value.encode()) > _LONGEST_NAME:
        msg = "not a name that Postgres accepts"
        raise ValueError(msg)
    return value


Name = Annotated[str, AfterValidator(_checked_name)]
"""The type of an option that names something in the database."""


class PostgresOptions(PooledOptions):
    """Our own options of a `postgresql://` URL."""

    schema_: Name | None = Field(default=None, alias="schema", description="a name of 1 to 63 bytes")
    """The schema of the tables; None for the first schema of the search path."""
    language: Name = Field(default="english", description="a language of Snowball, or simple")
    prepare: Flag = False
    """If true, psycopg prepares statements on the server. A PgBouncer in between must support them."""


OPTIONS = option_names(PostgresOptions)
"""The names of our own options."""


class Settings(NamedTuple):
    """How a driver connects, and where its tables are."""

    conninfo: str = ""
    schema: str | None = None
    language: str = "english"
    pool_size: int = 10
    timeout: float = 30.0
    """The time limit of an operation in seconds, including its retries."""
    prepare: bool = False
    connecting: Mapping[str, str] = {}
    """The options in `conninfo` by libpq's keywords."""
    credentials: Credentials | None = None
    """Returns the credentials of each new connection; None for those in `conninfo`."""

    def __repr__(self) -> str:
        # The connection string may contain a password.
        return f"Settings(schema={self.schema!r}, language={self.language!r}, timeout={self.timeout!r})"

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments with which a connection is opened."""
        defaults = {
            "keepalives": 1,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            # The kernel closes a connection whose data is unacknowledged for this number of milliseconds (Linux only).
            "tcp_user_timeout": max(1000, int(1000 * self.timeout)),
            "connect_timeout": max(2, int(self.timeout)),
        }
        own = {name: value for name, value in defaults.items() if name not in self.connecting}
        return {**own, "autocommit": True, "prepare_threshold": 5 if self.prepare else None}

    @property
    def database(self) -> str:
        """The host, the port if the URL names one, and the database, for a `repr`."""
        host = self.connecting.get("host") or self.connecting.get("hostaddr", "")
        port = self.connecting.get("port")
        return f"{host}{f':{port}' if port else ''}/{self.connecting.get('dbname', '')}"


def split_url(url: str) -> tuple[Settings, dict[str, str]]:
    """Split a URL into our settings and libpq's options, whose values are not decoded.

    Raises:
        ConfigurationError: The URL cannot be parsed, or the value of one of our options is wrong.
    """
    rest = url.partition("://")[2]
    location, _, query = rest.partition("?")
    if any(character.isspace() for character in location):  # older versions of libpq accept spaces
        reason = ": it contains a space. Write it as %20"
        raise wrong_url(reason)
    authority, _, path = location.partition("/")
    if authority.count("@") > 1:  # libpq would take a part of the password for the host
        raise wrong_url()
    if ":" in authority and "@" not in authority and ("@" in path or any("@" in one for one in query.split("&"))):
        names = {one.partition("=")[0] for one in query.split("&") if one}
        if "@" in path or not names & {"user", "password"}:  # the text before the @ is a password
            raise wrong_url()
    ours, others = {}, []
    for pair in query.split("&") if query else []:
        name, separator, value = pair.partition("=")
        if not separator:
            reason = ": an option has no value"
            raise wrong_url(reason)
        if name in OPTIONS:
            ours[name] = unquote_plus(value)
        else:
            others.append((unquote(name), pair))
    conninfo = f"postgresql://{location}{'?' if others else ''}{'&'.join(pair for _, pair in others)}"
    return settings_of(ours)._replace(conninfo=conninfo), dict(others)


def settings_of(options: Mapping[str, Any]) -> Settings:
    """Return the settings for our own options.

    Raises:
        ConfigurationError: A value is wrong.
    """
    return Settings(**parse_options(PostgresOptions, options, WHERE).model_dump(by_alias=True))


def check_names(options: Mapping[str, str], of_libpq: Collection[str]) -> None:
    """Raise an error for options that neither this package nor libpq knows.

    Raises:
        ConfigurationError: An option is unknown.
    """
    # libpq accepts `ssl` in URLs, for compatibility with JDBC.
    others = [name for name in options if name not in of_libpq and name != "ssl"]
    urls.check_names(others, OPTIONS, WHERE, hint=f" Options of libpq are {', '.join(sorted(of_libpq))}.")


def check_values(connecting: Mapping[str, str]) -> None:
    """Check values that libpq would check only when it connects.

    Raises:
        ConfigurationError: A value is wrong.
    """
    for port in connecting.get("port", "").split(","):
        if port and not (is_whole_number(port) and 1 <= int(port) <= 65_535):
            # The error does not show the port: it may be a part of a password.
            msg = f"The port in {WHERE} must be a number from 1 to 65535. {_ESCAPE}"
            raise ConfigurationError(msg)
    for name in _INTEGERS:
        value = connecting.get(name)
        if value is not None and not is_whole_number(value.removeprefix("-")):
            msg = f"The option {name} must be a whole number, got {shown(value)}."
            raise ConfigurationError(msg)
    hosts = len((connecting.get("host") or connecting.get("hostaddr") or "").split(","))
    ports = len(connecting.get("port", "").split(","))
    if ports not in (1, hosts):
        msg = f"The Postgres URL has {ports} ports for {hosts} hosts. Write one port for all hosts, or one for each."
        raise ConfigurationError(msg)


def wrong_url(reason: str = "") -> ConfigurationError:
    """Return the error for a URL that libpq cannot parse. It never contains the URL."""
    return ConfigurationError(f"The Postgres URL cannot be parsed{reason}. {_ESCAPE}")
