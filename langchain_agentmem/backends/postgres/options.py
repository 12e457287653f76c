"""The options of a `postgresql://` URL: ours, and those of libpq."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_plus

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError

OPTIONS = ("language", "pool_size", "prepare", "schema", "timeout")
"""Our own."""

MAX_SECONDS = 86_400
_INTEGERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
_ESCAPE = "Write the characters : / ? # @ % of a user name or password as %3A %2F %3F %23 %40 %25."


class Settings(NamedTuple):
    """How a driver connects, and where its tables are."""

    conninfo: str = ""
    schema: str | None = None
    language: str = "english"
    pool_size: int = 10
    timeout: float = 30.0
    """Seconds that one operation may take, its retries included."""
    prepare: bool = False
    connecting: Mapping[str, str] = {}
    """What `conninfo` says, by libpq's keywords."""

    def __repr__(self) -> str:
        # The connection string may hold a password.
        return f"Settings(schema={self.schema!r}, language={self.language!r}, timeout={self.timeout!r})"

    @property
    def arguments(self) -> dict[str, Any]:
        """How a connection is opened."""
        defaults = {
            "keepalives": 1,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            # Unacknowledged data: after this the kernel gives up the connection (Linux only).
            "tcp_user_timeout": max(1000, int(1000 * self.timeout)),
            "connect_timeout": max(2, int(self.timeout)),
        }
        own = {name: value for name, value in defaults.items() if name not in self.connecting}
        return {**own, "autocommit": True, "prepare_threshold": 5 if self.prepare else None}

    @property
    def place(self) -> str:
        """The host and the database, as a representation shows them."""
        host = self.connecting.get("host") or self.connecting.get("hostaddr", "")
        return f"{host}/{self.connecting.get('dbname', '')}"


def split_url(url: str) -> tuple[Settings, dict[str, str]]:
    """Split a URL into our settings, and the options that are left: those of libpq, which stay as they are written.

    Raises:
        ConfigurationError: The URL cannot be split, or a value of one of our options is wrong.
    """
    rest = url.partition("://")[2]
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    if ":" in authority and "@" not in authority and ("@" in path or any("@" in one for one in query.split("&"))):
        names = {one.partition("=")[0] for one in query.split("&") if one}
        if "@" in path or not names & {"user", "password"}:  # what stands before the @ is a password
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
    conninfo = f"postgresql://{place}{'?' if others else ''}{'&'.join(pair for _, pair in others)}"
    return own_settings(ours)._replace(conninfo=conninfo), dict(others)


def own_settings(options: dict[str, str]) -> Settings:
    """Take our own options out of those of a URL.

    Raises:
        ConfigurationError: A value is wrong.
    """
    schema = options.pop("schema", None)
    language = options.pop("language", "english")
    size = options.pop("pool_size", "10")
    timeout = options.pop("timeout", "30")
    prepare = options.pop("prepare", "false")
    if schema is not None and (not schema or "\x00" in schema or len(schema.encode()) > 63):
        msg = f"The option schema must be a name of 1 to 63 bytes, got {shown(schema)}."
        raise ConfigurationError(msg)
    if not language or "\x00" in language or len(language.encode()) > 63:
        msg = f"The option language must name a text search configuration of the server, got {shown(language)}."
        raise ConfigurationError(msg)
    if not _is_number(size) or not 1 <= int(size) <= 1000:
        msg = f"The option pool_size must be a number of connections from 1 to 1000, got {shown(size)}."
        raise ConfigurationError(msg)
    try:
        seconds = float(timeout)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= MAX_SECONDS:
        msg = f"The option timeout must be a number of seconds up to {MAX_SECONDS}, got {shown(timeout)}."
        raise ConfigurationError(msg)
    if prepare not in ("true", "false"):
        msg = f"The option prepare must be true or false, got {shown(prepare)}."
        raise ConfigurationError(msg)
    return Settings("", schema, language, int(size), seconds, prepare == "true")


def check_names(options: Mapping[str, str], of_libpq: Collection[str]) -> None:
    """Refuse options that neither we nor libpq know.

    Raises:
        ConfigurationError: One is not known.
    """
    unknown = sorted(set(options) - {*of_libpq, "ssl"})  # which libpq takes in URLs, for JDBC's sake
    if unknown:
        msg = (
            f"Unknown option {shown(unknown[0])} in the Postgres URL. Known options are {', '.join(OPTIONS)}; and those of "
            f"libpq: {', '.join(sorted(of_libpq))}."
        )
        raise ConfigurationError(msg)


def check_values(connecting: Mapping[str, str]) -> None:
    """Refuse values that libpq would refuse only when it connects.

    Raises:
        ConfigurationError: One is wrong.
    """
    for port in connecting.get("port", "").split(","):
        if port and not (_is_number(port) and 1 <= int(port) <= 65_535):
            # The port that is found may be a part of a password.
            msg = f"The port in the Postgres URL must be a number from 1 to 65535. {_ESCAPE}"
            raise ConfigurationError(msg)
    for name in _INTEGERS:
        value = connecting.get(name)
        if value is not None and not _is_number(value.removeprefix("-")):
            msg = f"The option {name} must be a whole number, got {shown(value)}."
            raise ConfigurationError(msg)
    hosts = len((connecting.get("host") or connecting.get("hostaddr") or "").split(","))
    ports = len(connecting.get("port", "").split(","))
    if ports not in (1, hosts):
        msg = f"The Postgres URL names {ports} ports for {hosts} hosts: name one for all hosts, or one for each."
        raise ConfigurationError(msg)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def wrong_url(reason: str = "") -> ConfigurationError:
    """The error for a URL that libpq cannot parse; it never shows the URL."""
    return ConfigurationError(f"The Postgres URL cannot be parsed{reason}. {_ESCAPE}")
