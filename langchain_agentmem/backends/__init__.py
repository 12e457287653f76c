"""The backends, and the one function that loads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError, InvalidTypeError, missing_extra
from langchain_agentmem.programs.imports import load

if TYPE_CHECKING:
    from langchain_agentmem.backends.contract import Backend
    from langchain_agentmem.backends.postgres import PostgresBackend
    from langchain_agentmem.backends.redis import RedisBackend
    from langchain_agentmem.backends.sqlite import SqliteBackend


def connect(url: str) -> Backend:
    """The backend for a URL. It opens no connection yet.

    Args:
        url: `sqlite:///file.db` (three slashes and a path relative to the working directory, four and an absolute one) or
            `sqlite:///:memory:`. Options follow a question mark: `timeout` (seconds to wait for other callers while none of
            them finishes, default 30), `synchronous` (`full`, the default, survives a power cut; `normal` survives a crash
            of the program), and `language` (which texts are searched in: one of Snowball's, settled when the tables are
            made; default `english`).
            Or `postgresql://user:password@host/database`, with the options of libpq, and `schema` (where the tables are;
            default: the first of the search path), `language` (as above, one of the server's), `pool_size` (default 10),
            `timeout` (the most seconds that an operation takes, with connecting and all attempts, default 30; waiting for
            a connection counts only while no other call gets an answer), and `prepare` (`true` for prepared statements, which
            PgBouncer must know of; default `false`).
            Or `redis://user:password@host:6379/0`, `rediss://…` (with TLS), `unix:///path/of/the/socket`,
            `redis+cluster://host:7000`, or `redis+sentinel://host:26379,other:26379/service/0`, with `timeout` (the
            most seconds that an operation takes, with connecting and all attempts, default 30), `pool_size` (default 10),
            `retries` (how often to try again after a lost connection, default 5), `language` (as for SQLite),
            `allow_eviction` (`true` to accept a server that may delete what is stored; default `false`), and options of
            redis-py such as `ssl_ca_certs`.
            Or a connection string of libpq, such as `"host=localhost dbname=app"`.

    Returns:
        The backend. Whoever made it closes it.

    Raises:
        InvalidTypeError: The URL is not a string.
        ConfigurationError: The URL's scheme or one of its options is not known.

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
        return _sqlite().from_url(url)
    if separator and scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return _postgres().from_url(url)
    if separator and scheme in _REDIS_SCHEMES:
        return _redis().from_url(url)
    # Anything but a scheme may hold a password, such as libpq's "host=… password=…".
    is_scheme = separator and _SCHEME.fullmatch(scheme)
    unknown = f"Unknown URL scheme {shown(scheme, 60)}" if is_scheme else "A URL begins with a scheme and a colon"
    msg = (
        f"{unknown}: use sqlite:///file.db, sqlite:///:memory:, postgresql://user@host/database or redis://host:6379/0."
    )
    raise ConfigurationError(msg)


def connect_string(conn_string: str, *, pool_size: int | None = None) -> Backend:
    """The backend for a connection string, as the `from_conn_string` of LangGraph's classes takes them.

    Args:
        conn_string: A URL, see `connect`; a connection string of libpq such as `"host=localhost dbname=app"`; or the path
            of a SQLite file with an extension, such as `"memory.db"`, or `":memory:"`.
        pool_size: The most connections to Postgres or Redis. Default: None (as the URL says).

    Raises:
        InvalidTypeError: It is not a string.
        ConfigurationError: It is none of these, or one of its options is not known.

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
                "Cannot tell which database the connection string names. Write a URL such as "
                "postgresql://user@host/database or redis://host:6379/0, or the path of a SQLite file with an extension, "
                "such as memory.db."
            )
            raise ConfigurationError(msg)
    if pool_size is not None:
        if url.startswith("sqlite:"):
            msg = "pool_config is for Postgres and Redis: leave it out for SQLite."
            raise ConfigurationError(msg)
        url += f"{'&' if '?' in url else '?'}pool_size={pool_size}"
    return connect(url)


def adopt(
    connection: Any, *, schema: str | None = None, language: str | None = None, allow_eviction: bool = False
) -> Backend:
    """The backend on a pool, connection or client that the application already has; it is never closed by us.

    Args:
        connection: A `sqlite3.Connection` made with `check_same_thread=False`; a psycopg `ConnectionPool`,
            `AsyncConnectionPool` (for asynchronous methods only), `Connection` or `AsyncConnection`; a `redis.Redis` or
            `redis.RedisCluster`, or one of `redis.asyncio` (for asynchronous methods only).
        schema: In Postgres, where the tables are. Default: None (the first of the search path).
        language: Which language texts are searched in. Default: None (English).
        allow_eviction: Whether to accept a Redis that may delete what is stored. Default: False.

    Returns:
        The backend.

    Raises:
        InvalidTypeError: It is no connection that we know.
    """
    bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in type(connection).__mro__}
    spoken = {} if language is None else {"language": language}
    if "sqlite3.Connection" in bases:
        return _sqlite().from_connection(connection, **spoken)
    if bases & _POSTGRES_CONNECTIONS:
        placed = {} if schema is None else {"schema": schema}
        return _postgres().from_connection(connection, **placed, **spoken)
    if bases & _REDIS_PIPELINES:
        msg = (
            f"Cannot use a {type(connection).__module__}.{type(connection).__qualname__} as a connection: a pipeline returns "
            f"no answers before execute(). Pass the client that made it, as in AgentMemory.from_connection(client)."
        )
        raise InvalidTypeError(msg)
    if bases & _REDIS_CLIENTS:
        return _redis().from_connection(connection, allow_eviction=allow_eviction, **spoken)
    kind = "None" if connection is None else f"a {type(connection).__module__}.{type(connection).__qualname__}"
    msg = (
        f"Cannot use {kind} as a connection: pass one of sqlite3 or psycopg, a pool of psycopg, a client of redis, or a "
        f"URL to from_url."
    )
    raise InvalidTypeError(msg)


_POSTGRES_CONNECTIONS = {
    "psycopg.Connection",
    "psycopg.AsyncConnection",
    "psycopg_pool.ConnectionPool",
    "psycopg_pool.AsyncConnectionPool",
}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//|$)")
_CONNINFO = re.compile(r"\s*[a-z_]+\s*=")
_FILE = re.compile(r"[^/\\:]\.[A-Za-z][A-Za-z0-9_-]*$")
"""What ends the path of a SQLite file."""

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
