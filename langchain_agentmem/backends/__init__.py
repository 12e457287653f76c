"""The backends, and the one function that loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_agentmem.errors import ConfigurationError, InvalidTypeError

if TYPE_CHECKING:
    from langchain_agentmem.backends.contract import Backend


def connect(url: str) -> Backend:
    """The backend for a URL. It opens no connection yet.

    Args:
        url: `sqlite:///file.db` (three slashes and a path relative to the working directory, four and an absolute one) or
            `sqlite:///:memory:`. Options follow a question mark: `timeout` (seconds to wait for other writers, default
            30) and `synchronous` (`full`, the default, survives a power cut; `normal` survives a crash of the program).

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
    shown = scheme if separator else url
    msg = f"Unknown URL scheme {shown!r:.60}: use sqlite:///file.db or sqlite:///:memory:."
    raise ConfigurationError(msg)


def adopt(connection: Any) -> Backend:
    """The backend on a connection that the application already has; it is never closed by us.

    Args:
        connection: A `sqlite3.Connection` made with `check_same_thread=False`.

    Returns:
        The backend.

    Raises:
        InvalidTypeError: It is no connection that we know.
    """
    if type(connection).__module__ == "sqlite3":
        from langchain_agentmem.backends.sqlite import SqliteBackend

        return SqliteBackend.from_connection(connection)
    kind = f"{type(connection).__module__}.{type(connection).__qualname__}"
    msg = f"Cannot use a {kind} as a connection: pass a sqlite3.Connection, or a URL to from_url."
    raise InvalidTypeError(msg)
