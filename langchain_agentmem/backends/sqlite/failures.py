"""Errors of SQLite, and the errors of this package that replace them."""

from __future__ import annotations

import sqlite3

from langchain_agentmem.backends.failures import Rule
from langchain_agentmem.errors import (
    ConfigurationError,
    DamagedDataError,
    InvalidInputError,
    StorageClosedError,
    StorageError,
)

DRIVER_ERRORS = (sqlite3.Error, OverflowError)
"""The errors of a driver that are replaced."""

RULES = (
    Rule(OverflowError, InvalidInputError, "A value is too large for SQLite: {text}. Nothing was written."),
    Rule(
        sqlite3.Error,
        ConfigurationError,
        "Cannot open {path}: {reason}. Check the path.",
        "unable to open database file",
    ),
    Rule(sqlite3.Error, DamagedDataError, "{path} is not a SQLite database, or is damaged: {text}.", "not a database"),
    Rule(sqlite3.Error, DamagedDataError, "{path} is damaged: {text}. Restore a backup.", "malformed"),
    Rule(sqlite3.Error, DamagedDataError, "{path} is damaged: {text}. Restore a backup.", "Could not decode"),
    Rule(
        sqlite3.Error,
        StorageClosedError,
        "The application closed the connection of this memory.",
        "closed database",
    ),
    Rule(
        sqlite3.Error,
        ConfigurationError,
        "The connection can only be used by the thread that created it. Open it with check_same_thread=False.",
        "created in a thread",
    ),
    Rule(sqlite3.Error, StorageError, "Cannot write to {path}: {text}. Check its permissions.", "readonly"),
    Rule(sqlite3.Error, StorageError, "Cannot write to {path}: {text}. Free some space.", "is full"),
    Rule(
        sqlite3.Error,
        StorageError,
        "Cannot use {path}: {text}. Check its disk and the free space.",
        "disk I/O error",
    ),
    Rule(
        sqlite3.Error,
        ConfigurationError,
        "{path} was written by an earlier version of langchain-agentmem, with full-text search (FTS5), which Python's SQLite "
        "does not have: {text}. Open it once with another Python.",
        "fts5",
    ),
    Rule(sqlite3.Error, InvalidInputError, "A value is too large for SQLite: {text}. Nothing was written.", "too big"),
)
"""The errors that replace them; the first rule that fits counts."""


def is_busy(error: sqlite3.Error) -> bool:
    """Return true if another connection holds the file."""
    text = str(error)
    return "locked" in text or "busy" in text
