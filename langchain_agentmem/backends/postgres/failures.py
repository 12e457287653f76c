"""Errors of psycopg: which ones allow a retry, and the errors of this package that replace them."""

from __future__ import annotations

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from langchain_agentmem.backends.failures import Rule, error_for, first_line
from langchain_agentmem.backends.postgres.leases import Operation
from langchain_agentmem.backends.postgres.slots import SlotTimeoutError
from langchain_agentmem.backends.postgres.waits import NoAnswerError
from langchain_agentmem.errors import (
    AgentMemError,
    ConfigurationError,
    DamagedDataError,
    InvalidInputError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
)

DRIVER_ERRORS = (psycopg.Error, NoAnswerError, SlotTimeoutError)
"""Errors that `translated` replaces."""

CREATED_BY_OTHERS = (pg.UniqueViolation, pg.DuplicateTable, pg.DuplicateObject, pg.DuplicateSchema)
"""Errors of a migration during which another process created the same object."""

_LASTING = ("authentication", "pg_hba.conf", "does not exist", "permission denied", "not permitted")
_LOST = (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow, pg.IdleInTransactionSessionTimeout)
_INTERRUPTED_BY_OTHERS = (pg.DeadlockDetected, pg.SerializationFailure)


def is_lasting(error: psycopg.Error) -> bool:
    """Return true if a server refuses connections for a permanent reason."""
    return any(sign in str(error) for sign in _LASTING)


def is_lost(error: psycopg.Error) -> bool:
    """Return true if an error that `may_try_again` accepts means a lost connection."""
    return not isinstance(error, _INTERRUPTED_BY_OTHERS)


def may_try_again(error: psycopg.Error) -> bool:
    """Return true if the same transaction may succeed now: its connection was lost, or Postgres resolved a deadlock."""
    if isinstance(error, (PoolTimeout, PoolClosed, TooManyRequests)) or not isinstance(error, psycopg.OperationalError):
        return False
    if isinstance(error, _INTERRUPTED_BY_OTHERS):
        return True
    code = error.sqlstate
    return isinstance(error, _LOST) or code is None or code.startswith("08")


def translated(error: Exception, operation: Operation, *, closed: bool) -> AgentMemError:
    """Return the error of this package that replaces one of `DRIVER_ERRORS`.

    Args:
        error: The error.
        operation: The operation that failed.
        closed: True if the memory was closed during the operation.
    """
    outcome, limit = operation.outcome, f"within {operation.limit.seconds:g} seconds"
    if isinstance(error, (SlotTimeoutError, PoolTimeout, TooManyRequests)):
        return StorageBusyError(f"No connection to Postgres became free {limit}.{outcome}")
    if isinstance(error, NoAnswerError):
        failure = "Could not connect to Postgres" if operation.connecting else "Postgres did not answer"
        return StorageBusyError(f"{failure} {limit}.{outcome} The URL option timeout sets this limit.")
    text = first_line(error)
    return error_for(_RULES, error, text=text, outcome=outcome) or _translated(error, text, operation, closed=closed)


def _translated(error: Exception, text: str, operation: Operation, *, closed: bool) -> AgentMemError:
    outcome = operation.outcome
    if isinstance(error, (pg.InvalidParameterValue, pg.InvalidTextRepresentation)) and not operation.writes:
        return DamagedDataError(f"A stored row cannot be read. It was damaged or altered: {text}.")
    if isinstance(error, pg.DataException) and "dimensions" in text:
        return StorageError(
            f"The embedding model was changed: {text}.{outcome} Call memory.reindex(), which computes all vectors again, or "
            f"use the model of the stored vectors."
        )
    if closed:
        return StorageClosedError(f"This memory was closed during the call.{outcome}")
    if operation.connecting:
        return StorageError(f"Could not connect to Postgres: {text}. Check the URL, and that the server is running.")
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return StorageError(f"The connection to Postgres was lost: {text}.{outcome}")
    return StorageError(f"Postgres refused the operation: {text}.{outcome}")


_RULES = (
    Rule(PoolClosed, StorageClosedError, "The application's pool is closed: {text}."),
    Rule(
        (pg.ProgramLimitExceeded, pg.StringDataRightTruncation),
        InvalidInputError,
        "IDs, labels or names are too long for Postgres: {text}.{outcome} Use shorter ones.",
    ),
    Rule(
        (pg.LockNotAvailable, pg.QueryCanceled, *_INTERRUPTED_BY_OTHERS),
        StorageBusyError,
        "Postgres stopped waiting for other transactions: {text}.{outcome} Try again.",
    ),
    Rule(
        pg.ConnectionTimeout,
        StorageBusyError,
        "Could not connect to Postgres: {text}.{outcome} Check the URL, and that the server is running.",
    ),
    Rule(
        (pg.InvalidPassword, pg.InvalidAuthorizationSpecification, pg.InvalidCatalogName),
        ConfigurationError,
        "Cannot connect to Postgres: {text}.",
    ),
    Rule(
        pg.InsufficientPrivilege,
        ConfigurationError,
        "Postgres denied permission: {text}. Open the memory once as a user who may create tables.",
    ),
    Rule(
        (pg.FeatureNotSupported, pg.UndefinedFile),
        ConfigurationError,
        "Postgres lacks a feature: {text}. Embeddings need pgvector on the server: https://github.com/pgvector/pgvector",
    ),
    Rule(pg.ReadOnlySqlTransaction, StorageError, "This Postgres server accepts no writes: {text}.{outcome}"),
)
