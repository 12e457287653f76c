"""The errors of this package: one small hierarchy under `AgentMemError`.

Errors about input also derive from `ValueError` or `TypeError`, so that code which catches those keeps working.
"""

from __future__ import annotations


class AgentMemError(Exception):
    """Any error that this package raises on purpose."""


class InvalidInputError(AgentMemError, ValueError):
    """An argument cannot be accepted; nothing was written."""


class UnknownCollectionError(InvalidInputError):
    """There is no collection of shared knowledge of this name."""


class InvalidTypeError(AgentMemError, TypeError):
    """An argument has the wrong type; nothing was written."""


class UnsupportedValueError(InvalidTypeError, ValueError):
    """A value cannot be stored so that it comes back equal; nothing was written.

    It is a `TypeError` and a `ValueError`: serializers raise either for a value that they refuse.
    """


class ConfigurationError(AgentMemError, ValueError):
    """A URL or a setting is wrong, or an optional package is missing."""


class EmbeddingsChangedError(ConfigurationError):
    """The stored vectors are of another embedding model; nothing was written."""


class InvalidVectorsError(ConfigurationError):
    """The embedding model gave something else than one vector of finite numbers for each text; nothing was written."""


class EmbeddingDimensionsError(InvalidVectorsError):
    """The embedding model gives vectors of other dimensions than `index["dims"]` says; nothing was written."""


class EmbeddingError(AgentMemError):
    """The embedding model failed where vectors were all that was asked for."""


class StorageError(AgentMemError):
    """The database could not do what was asked. Nothing was stored, unless the text says that this is not known."""


class StorageBusyError(StorageError):
    """Another process held the database for longer than the busy timeout."""


class StorageClosedError(StorageError):
    """The memory was closed before this call."""


class DamagedDataError(StorageError):
    """Stored data cannot be read: it was damaged, altered, or written by something else."""

    is_named = False
    """Whether the message names the thing that the data belong to."""


class ConflictError(StorageError):
    """Other writers kept changing the item for longer than this one was ready to try."""


class ThreadInUseError(AgentMemError, ValueError):
    """A thread cannot be changed as asked without losing what another part of it needs."""


class BudgetError(InvalidInputError):
    """A message cannot be made to fit the budget of tokens or messages; the error says which."""


class ExistingDataWarning(UserWarning):
    """A database in which a memory begins empty holds what another package stored there."""


def missing_extra(*, what: str, extra: str) -> ConfigurationError:
    """Return the error for packages of an extra that are not installed.

    Args:
        what: What needs them, as the subject of a sentence.
        extra: The extra's name in `pyproject.toml`.

    Example:
        >>> from langchain_agentmem.errors import missing_extra
        >>> missing_extra(what="Postgres", extra="postgres").args[0].partition(". ")[0]
        'Postgres needs the extra [postgres]'
    """
    msg = (
        f"{what} needs the extra [{extra}]. Run pip install 'langchain-agentmem[{extra}]', "
        f"or in a clone pip install -e '.[{extra}]'."
    )
    return ConfigurationError(msg)
