"""The backends, and the one function that loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_agentmem.errors import ConfigurationError, InvalidTypeError

if TYPE_CHECKING:
    from langchain_agentmem.backends.contract import Backend
    from langchain_agentmem.backends.postgres import PostgresBackend


def connect(url: str) -> Backend:
    """The backend for a URL. It opens no connection yet.

    Args:
        url: `sqlite:///file.db` (three slashes and a path relative to the working directory, four and an absolute one) or
            `sqlite:///:memory:`. Options follow a question mark: `timeout` (seconds to wait for other writers, default
            30) and `synchronous` (`full`, the default, survives a power cut; `normal` survives a crash of the program).
            Or `postgresql://user:password@host/database`, with the options of libpq, and `schema` (where the tables are;
            default: the first of the search path), `language` (which texts are searched in; default `english`),
            `pool_size` (default 10), `timeout` (seconds to wait for a connection, default 30), and `prepare` (`true` for
            prepared statements, which PgBouncer must know of; default `false`).

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
    scheme, separator, _ = url.partition(":")
    if separator and scheme == "sqlite":
        from langchain_agentmem.backends.sqlite import SqliteBackend

        return SqliteBackend.from_url(url)
    if separator and scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return _postgres().from_url(url)
    shown = scheme if separator else url
    msg = f"Unknown URL scheme {shown!r:.60}: use sqlite:///file.db, sqlite:///:memory: or postgresql://user@host/database."
    raise ConfigurationError(msg)


def adopt(connection: Any, *, schema: str | None = None, language: str | None = None) -> Backend:
    """The backend on a pool or connection that the application already has; it is never closed by us.

    Args:
        connection: A `sqlite3.Connection` made with `check_same_thread=False`; a psycopg `ConnectionPool`,
            `AsyncConnectionPool` (for asynchronous methods only), `Connection` or `AsyncConnection`.
        schema: In Postgres, where the tables are. Default: None (the first of the search path).
        language: In Postgres, which language texts are searched in. Default: None (English).

    Returns:
        The backend.

    Raises:
        InvalidTypeError: It is no connection that we know.
    """
    package = type(connection).__module__.partition(".")[0]
    bases = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in type(connection).__mro__}
    if package == "sqlite3":
        from langchain_agentmem.backends.sqlite import SqliteBackend

        return SqliteBackend.from_connection(connection)
    if bases & _POSTGRES_CONNECTIONS:
        given = {"schema": schema, "language": language}
        return _postgres().from_connection(connection, **{name: one for name, one in given.items() if one is not None})
    kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
    msg = (
        f"Cannot use a {kind} as a connection: pass one of sqlite3 or psycopg, a pool of psycopg, or a URL to from_url."
    )
    raise InvalidTypeError(msg)


_POSTGRES_CONNECTIONS = {
    "psycopg.Connection",
    "psycopg.AsyncConnection",
    "psycopg_pool.ConnectionPool",
    "psycopg_pool.AsyncConnectionPool",
}


def _postgres() -> type[PostgresBackend]:
    try:
        from langchain_agentmem.backends.postgres import PostgresBackend
    except ImportError as error:
        msg = f"Postgres needs more packages ({error}): pip install 'langchain-agentmem[postgres]'."
        raise ConfigurationError(msg) from error
    return PostgresBackend
