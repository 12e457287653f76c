"""Errors of Redis servers and of connections, and the errors of this package that replace them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import TimeoutError as NoAnswerError

from langchain_agentmem.backends.failures import Rule, error_for, first_line
from langchain_agentmem.backends.redis.limits import TimeLimit
from langchain_agentmem.backends.redis.pools import PoolTimeoutError
from langchain_agentmem.backends.redis.routing import UnreachableError
from langchain_agentmem.errors import (
    AgentMemError,
    ConfigurationError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
)

CONNECTION_ERRORS = (RedisError, OSError, EOFError)
"""Errors that a connection of redis-py raises."""

DRIVER_ERRORS = (RedisError, RedisClusterException, PoolTimeoutError, UnreachableError)
"""Errors that `translated` turns into errors of this package."""

_LOST = (LostConnectionError, NoAnswerError, UnreachableError)

RETRY_CODES = {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "TRYAGAIN"}
"""Error codes of a server that is temporarily unable to execute commands."""

_CODES = {
    "AskError": "ASK",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
"""Codes that redis-py removes from the messages of its exceptions, by the name of the class."""

_CONNECTION_MODULES = (
    "redis",
    "async_timeout",
    "blockbuster",
    "asyncio",
    "contextlib",
    "encodings",
    "selectors",
    "socket",
    "ssl",
    __name__.rpartition(".")[0],
    "uvloop",
)
"""Prefixes of the modules whose code a connection runs."""


# Errors of connections


def connection_error(error: Exception, handled: BaseException | None) -> Exception:
    """Return an error of a connection as an error of redis-py; raise the exception of a signal handler unchanged.

    redis-py may wrap an exception that a signal handler raised.

    Args:
        error: One of `CONNECTION_ERRORS`.
        handled: The exception that the caller was already handling. It has nothing to do with the connection.
    """
    raise_if_foreign(error, handled)
    return error if isinstance(error, RedisError) else LostConnectionError(str(error))


def raise_if_foreign(error: BaseException, handled: BaseException | None) -> None:
    """Raise the signal handler's exception if an error is one, or wraps one. See `connection_error`."""
    seen: BaseException | None = error
    while seen is not None and seen is not handled:
        if not isinstance(seen, (RedisError, EOFError)) and _is_foreign(seen):
            raise seen
        seen = seen.__cause__ or seen.__context__


def _is_foreign(error: BaseException) -> bool:
    """Return true if code that a connection does not call raised an exception."""
    modules = list(_modules(error))
    return bool(modules) and not modules[-1].startswith(_CONNECTION_MODULES)


def _modules(error: BaseException) -> Iterator[str]:
    """Yield the modules in the traceback of an exception, the one that raised it last."""
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame.f_globals.get("__name__", "")
        at = at.tb_next


# Errors of servers


def code_of(answer: Any) -> str:
    """Return the first word of a server's error; an empty string for any other answer."""
    if not isinstance(answer, ResponseError):
        return ""
    known = getattr(answer, "status_code", None) or _CODES.get(type(answer).__name__)
    return known or str(answer).partition(" ")[0]


def is_lost(error: object) -> bool:
    """Return true if an error means that the connection to a server was lost or could not be opened."""
    return isinstance(error, _LOST)


# Errors for the caller


def outcome(limit: TimeLimit, *, writes: bool) -> str:
    """Return a sentence, after a space, about the outcome of a failed call's writes."""
    if not writes:
        return ""
    return " The write may have been stored: its answer was lost." if limit.sent else " Nothing was stored."


def check_open(closed: bool, limit: TimeLimit, *, writes: bool) -> None:
    """Check that the memory was not closed during a call.

    Raises:
        StorageClosedError: The memory was closed.
    """
    if closed:
        msg = f"This memory was closed during the call.{outcome(limit, writes=writes)}"
        raise StorageClosedError(msg)


def translated(error: Exception, limit: TimeLimit, timeout: float, *, writes: bool) -> AgentMemError:
    """Return the error of this package that replaces one of `DRIVER_ERRORS`.

    Args:
        error: The error.
        limit: The time limit of the operation.
        timeout: The seconds that an operation may take.
        writes: True if the operation writes.
    """
    text = first_line(error)
    end = outcome(limit, writes=writes)
    if "OOM command not allowed" in text or isinstance(error, OutOfMemoryError):
        stored = "A part of the call may have been stored" if limit.partial else "Nothing was stored"
        return StorageError(f"Redis has no memory left (maxmemory). {stored}. Delete data or raise maxmemory.")
    if isinstance(error, PoolTimeoutError):
        return StorageBusyError(
            f"No connection to Redis became free within {timeout:g} seconds, and no other caller made progress.{end}"
        )
    if isinstance(error, NoAnswerError):
        return StorageBusyError(f"Redis did not answer within {timeout:g} seconds: {text}.{end}")
    known = error_for(_RULES, error, text=text, outcome=end)
    if known is not None:
        return known
    if code_of(error) in RETRY_CODES:
        return StorageBusyError(f"Redis is busy: {text}.{end}")
    return StorageError(f"Redis refused the operation: {text}.")


_UNREACHABLE = (*_LOST, RedisClusterException)

_RULES = (
    Rule(
        (AuthenticationError, AuthorizationError),
        ConfigurationError,
        "Redis denied access: {text}. Check the user, the password and the permissions.{outcome}",
    ),
    Rule(
        NoPermissionError,
        ConfigurationError,
        "Redis denied access: {text}. Check the user, the password and the permissions.",
    ),
    Rule(ReadOnlyError, StorageError, "This Redis server accepts no writes: {text}. It may be a replica."),
    Rule(BusyLoadingError, StorageBusyError, "Redis is still loading its data: {text}. Try again later.{outcome}"),
    Rule(_UNREACHABLE, StorageError, "Cannot reach Redis: {text}.{outcome}"),
)
