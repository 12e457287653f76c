"""The backends, and the functions that create them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from langchain_agentmem.arguments.values import check_flag, shown
from langchain_agentmem.backends.credentials import CredentialsFunction, credentials_of
from langchain_agentmem.errors import ConfigurationError, InvalidInputError, InvalidTypeError, missing_extra
from langchain_agentmem.programs.imports import load

if TYPE_CHECKING:
    from langchain_agentmem.backends.contract import Backend
    from langchain_agentmem.backends.postgres import PostgresBackend
    from langchain_agentmem.backends.redis import RedisBackend
    from langchain_agentmem.backends.sqlite import SqliteBackend


def connect(url: str, *, credentials: CredentialsFunction | None = None) -> Backend:
    """Create the backend for a URL. No connection is opened until it is used.

    Args:
        url: A URL of one of these forms, or a connection string of libpq such as `"host=localhost dbname=app"`. Options
            follow a question mark.

            * `sqlite:///file.db` (relative to the working directory), `sqlite:////folder/file.db` or `sqlite:///:memory:`.
              Options: `timeout` (seconds to wait for other writers while none of them finishes; default 30), `synchronous`
              (`full`, the default, survives a power failure; `normal` survives a crash of the process), `language` (the
              language of full-text search, fixed when the tables are created: one of Snowball's; default `english`).
            * `postgresql://user:password@host/database`. Options: those of libpq, and `schema` (of the tables; default: the
              first of the search path), `language` (as for SQLite, or `simple`; default `english`),
              `pool_size` (default 10), `timeout` (the time limit of an operation in seconds, including retries; default 30;
              waiting for a connection counts only while no other call gets an answer), `prepare` (`true` for prepared
              statements, which a PgBouncer must support; default `false`).
            * `redis://user:password@host:6379/0`, `rediss://…` (with TLS), `unix:///path/of/the/socket`,
              `redis+cluster://host:7000` or `redis+sentinel://host:26379,other:26379/service/0`. Options: `timeout` (as for
              Postgres), `pool_size` (default 10), `retries` (after a lost connection; default: until `timeout` is over),
              `language` (as for SQLite), `allow_eviction` (`true` to accept a server that may evict stored data; default
              `false`), and options of redis-py such as `ssl_ca_certs`.
        credentials: For Postgres and Redis, a function that is called for each new connection, for tokens that expire. It
            returns a password, or a tuple of user name and password. For asynchronous callers, it may be a coroutine
            function. Default: None (those of the URL).

    Returns:
        The backend. The caller closes it.

    Raises:
        InvalidTypeError: The URL is not a string.
        ConfigurationError: The URL's scheme or one of its options is unknown, or it contains a password beside `credentials`.

    Example:
        >>> from langchain_agentmem.backends import connect
        >>> connect("sqlite:///:memory:").name
        'sqlite'
    """
    if not isinstance(url, str):
        msg = f"A URL must be a string such as 'sqlite:///agentmem.db', got {type(url).__name__}."
        raise InvalidTypeError(msg)
    if _CONNINFO.match(url):
        url = _postgres().url_of(url)
    scheme, separator, _ = url.partition(":")
    if separator and scheme == "sqlite":
        if credentials is not None:
            msg = "credentials is for Postgres and Redis only. Leave it out for SQLite."
            raise ConfigurationError(msg)
        return _sqlite().from_url(url)
    if separator and scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return _postgres().from_url(url, credentials_of(credentials, url))
    if separator and scheme in _REDIS_SCHEMES:
        return _redis().from_url(url, credentials_of(credentials, url))
    msg = f"{_fault_of(url)} Use sqlite:///file.db, sqlite:///:memory:, postgresql://user@host/database or redis://host:6379/0."
    raise ConfigurationError(msg)


def _fault_of(url: str) -> str:
    """Return what is wrong with a URL of no known scheme. A text that may contain a password is not shown."""
    scheme, separator, _ = url.partition(":")
    if separator and _SCHEME.fullmatch(scheme):
        return f"Unknown URL scheme {shown(scheme, 60)} in the database URL."
    got = f"; got {shown(url)}" if _PATH.fullmatch(url) else ""
    file = f" For this file, pass {f'sqlite:///{url}'!r}." if got and _FILE.search(url) else ""
    return f"A database URL begins with a scheme and a colon{got}.{file}"


def connect_string(conn_string: str, *, pool_size: int | None = None) -> Backend:
    """Create the backend for a connection string, as `from_conn_string` of LangGraph's classes does.

    Args:
        conn_string: A URL, see `connect`; a connection string of libpq such as `"host=localhost dbname=app"`; or the path
            of a SQLite file with an extension, such as `"memory.db"`, or `":memory:"`.
        pool_size: The maximum number of connections to Postgres or Redis. Default: None (as the URL says).

    Raises:
        InvalidTypeError: `conn_string` is not a string.
        ConfigurationError: `conn_string` has another form, or one of its options is unknown.

    Example:
        >>> from langchain_agentmem.backends import connect_string
        >>> connect_string(":memory:").name
        'sqlite'
    """
    if not isinstance(conn_string, str):
        msg = f"A connection string must be a string such as 'sqlite:///agentmem.db', got {type(conn_string).__name__}."
        raise InvalidTypeError(msg)
    url = conn_string
    if not _URL.match(conn_string):
        if _CONNINFO.match(conn_string):
            url = _postgres().url_of(conn_string)
        elif conn_string == ":memory:" or _FILE.search(conn_string):
            url = f"sqlite:///{quote(conn_string, safe='/:')}"
        else:
            msg = (
                "The connection string cannot be parsed. Write a URL such as "
                "postgresql://user@host/database or redis://host:6379/0, or the path of a SQLite file with an extension, "
                "such as memory.db."
            )
            raise ConfigurationError(msg)
    if pool_size is not None:
        if url.startswith("sqlite:"):
            msg = "pool_config is for Postgres and Redis only. Omit it for SQLite."
            raise ConfigurationError(msg)
        url += f"{'&' if '?' in url else '?'}pool_size={pool_size}"
    return connect(url)


def adopt(
    connection: Any, *, schema: str | None = None, language: str | None = None, allow_eviction: bool = False
) -> Backend:
    """Create the backend on a pool, connection or client of the application, which stays open when the backend is closed.

    Args:
        connection: A `sqlite3.Connection` made with `check_same_thread=False`; a psycopg `ConnectionPool`,
            `AsyncConnectionPool` (for asynchronous methods only), `Connection` or `AsyncConnection`; a `redis.Redis` or
            `redis.RedisCluster`, or one of `redis.asyncio` (for asynchronous methods only).
        schema: The Postgres schema of the tables. Default: None (the first of the search path).
        language: The language of full-text search. Default: None (English).
        allow_eviction: If true, accept a Redis server that may evict stored data. Default: False.

    Returns:
        The backend.

    Raises:
        InvalidInputError: `schema` is passed for another database than Postgres, or `allow_eviction` for another than Redis.
        InvalidTypeError: The type of the connection is not supported.
    """
    bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in type(connection).__mro__}
    texts = {} if language is None else {"language": language}
    check_flag("allow_eviction", allow_eviction)
    if schema is not None and not bases & _POSTGRES_CONNECTIONS:
        msg = f"schema={shown(schema)} needs a connection of Postgres, got {_shown_type(connection)}. Leave schema out."
        raise InvalidInputError(msg)
    if allow_eviction and not bases & _REDIS_CLIENTS:
        msg = f"allow_eviction=True needs a client of Redis, got {_shown_type(connection)}. Leave allow_eviction out."
        raise InvalidInputError(msg)
    if "sqlite3.Connection" in bases:
        return _sqlite().from_connection(connection, **texts)
    if bases & _POSTGRES_CONNECTIONS:
        tables = {} if schema is None else {"schema": schema}
        return _postgres().from_connection(connection, **tables, **texts)
    if bases & _REDIS_PIPELINES:
        msg = (
            f"Cannot use a {type(connection).__module__}.{type(connection).__qualname__} as a connection: a pipeline returns "
            f"no answers before execute(). Pass the client that created it, as in AgentMemory.from_connection(client)."
        )
        raise InvalidTypeError(msg)
    if bases & _REDIS_CLIENTS:
        return _redis().from_connection(connection, allow_eviction=allow_eviction, **texts)
    msg = (
        f"Cannot use {_shown_type(connection)} as a connection. Pass a connection of sqlite3 or psycopg, a pool of psycopg "
        f"or a client of redis; or pass a URL to from_url."
    )
    raise InvalidTypeError(msg)


def _shown_type(value: object) -> str:
    """Return the type of a value for an error, with its module."""
    return "None" if value is None else f"a {type(value).__module__}.{type(value).__qualname__}"


_POSTGRES_CONNECTIONS = {
    "psycopg.Connection",
    "psycopg.AsyncConnection",
    "psycopg_pool.ConnectionPool",
    "psycopg_pool.AsyncConnectionPool",
}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//|$)")
_CONNINFO = re.compile(r"\s*[a-z_]+\s*=")
_PATH = re.compile(r"[\w./\\~ -]*")
"""A path, which contains no password: libpq's `host=… password=…` and `user:password@host` have other characters."""
_FILE = re.compile(r"[^/\\:]\.[A-Za-z][A-Za-z0-9_-]*$")
"""The end of the path of a SQLite file: a name and an extension."""

_REDIS_SCHEMES = {"redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"}
_REDIS_CLIENTS = {"redis.Redis", "redis.RedisCluster"}
_REDIS_PIPELINES = {"redis.Pipeline", "redis.ClusterPipeline"}


def _sqlite() -> type[SqliteBackend]:
    load("numpy", "langchain_agentmem.backends.sqlite")
    from langchain_agentmem.backends.sqlite import SqliteBackend

    return SqliteBackend


def _postgres() -> type[PostgresBackend]:
    try:
        load("numpy", "langchain_agentmem.backends.postgres")
        from langchain_agentmem.backends.postgres import PostgresBackend
    except ImportError as error:
        raise missing_extra(what="Postgres", extra="postgres") from error
    return PostgresBackend


def _redis() -> type[RedisBackend]:
    try:
        load("numpy", "langchain_agentmem.backends.redis")
        from langchain_agentmem.backends.redis import RedisBackend
    except ImportError as error:
        raise missing_extra(what="Redis", extra="redis") from error
    return RedisBackend
