"""The exceptions of this package. All of them derive from `AgentMemError`.

    AgentMemError
    ├── InvalidInputError (ValueError)          an argument has a wrong value
    │   ├── BudgetError                         messages do not fit a budget
    │   ├── SecretFoundError                    a text contains a credential
    │   ├── UnknownCollectionError              no such collection of shared knowledge
    │   ├── UnknownMessageError                 no message of the history has this ID
    │   └── UnknownSelectionError               nothing to export has this ID
    ├── InvalidTypeError (TypeError)            an argument has a wrong type
    │   └── UnsupportedValueError (ValueError)  a value would not come back equal
    ├── ConfigurationError (ValueError)         a URL, a setting or an installed package is wrong
    │   ├── WrongKeyError                       the key does not fit the database
    │   ├── EmbeddingsChangedError              stored vectors belong to another embedding model
    │   └── InvalidVectorsError                 the embedding model returns no usable vectors
    │       └── EmbeddingDimensionsError        the embedding model returns other dimensions
    ├── EmbeddingError                          the embedding model failed
    ├── MigrationError                          a function `migrate` failed
    ├── ThreadInUseError (ValueError)           checkpoints of a thread are still needed
    └── StorageError                            the database failed
        ├── StorageBusyError                    another writer held a lock for too long
        ├── StorageClosedError                  the memory is closed
        ├── MissingClassError                       a value's class does not exist any more
        ├── ConflictError                       concurrent writers kept changing an item
        └── DamagedDataError                    stored data cannot be read
            └── TamperedDataError               encrypted data was altered

Errors about arguments also derive from `ValueError` or `TypeError`, so that code which catches those keeps working. They are
raised before anything is written.
"""

from __future__ import annotations


class AgentMemError(Exception):
    """Base class of all errors that this package raises."""


class InvalidInputError(AgentMemError, ValueError):
    """An argument has a value that is not accepted. Nothing was written."""


class SecretFoundError(InvalidInputError):
    """A text contains a credential, and the memory's guard refuses it. Nothing was written. The error shows no part of it."""


class UnknownCollectionError(InvalidInputError):
    """No collection of shared knowledge has this name. Nothing was written."""


class UnknownMessageError(InvalidInputError):
    """No message of the history has this ID. Nothing was changed."""


class UnknownSelectionError(InvalidInputError):
    """No session, user or thread to export or copy has this ID. An existing file is unchanged."""


class InvalidTypeError(AgentMemError, TypeError):
    """An argument has a type that is not accepted. Nothing was written."""


class UnsupportedValueError(InvalidTypeError, ValueError):
    """A value cannot be stored, because it would not come back equal. Nothing was written.

    It is a `TypeError` and a `ValueError`, because serializers raise either of them for a value that they refuse.
    """


class ConfigurationError(AgentMemError, ValueError):
    """A URL or a setting is wrong, or an optional package is not installed."""


class WrongKeyError(ConfigurationError):
    """A memory's key does not fit its database: it is another one, missing, or the data is not encrypted.

    Nothing was read or written.
    """


class EmbeddingsChangedError(ConfigurationError):
    """The stored vectors belong to another embedding model. Nothing was written; `AgentMemory.reindex` replaces them."""


class InvalidVectorsError(ConfigurationError):
    """The embedding model does not return one vector of finite numbers for each text. Nothing was written."""


class EmbeddingDimensionsError(InvalidVectorsError):
    """The embedding model returns vectors of other dimensions than `index["dims"]`. Nothing was written."""


class EmbeddingError(AgentMemError):
    """The embedding model failed in an operation that only computes vectors, such as `AgentMemory.reindex`."""


class StorageError(AgentMemError):
    """The database could not perform an operation.

    Nothing was stored, unless the message says that the outcome is unknown.
    """


class StorageBusyError(StorageError):
    """Another connection or process held the database for longer than the busy timeout. Try again."""


class StorageClosedError(StorageError):
    """The memory, or one of its surfaces, was closed before this call."""


class DamagedDataError(StorageError):
    """Stored data cannot be read: it was damaged or altered, or another program wrote it."""

    is_named = False
    """True if the message names the item, message or checkpoint that the data belongs to."""


class TamperedDataError(DamagedDataError):
    """Encrypted data was altered, moved, replaced by older data, or written without the key."""


class MissingClassError(StorageError):
    """A stored value has a class that does not exist any more. A function `migrate=` of `AgentMemSaver` can convert it."""


class MigrationError(AgentMemError):
    """The application's `migrate` function failed, or its result cannot be used. The stored data is unchanged."""


class ConflictError(StorageError):
    """Concurrent writers changed the same data at every attempt. Nothing was stored; try again later."""


class ThreadInUseError(AgentMemError, ValueError):
    """A thread cannot be changed without losing checkpoints that are still needed. Nothing was changed."""


class BudgetError(InvalidInputError):
    """A message does not fit a budget of tokens or messages. The error names the message and the budget."""


class IgnoredKeyWarning(UserWarning):
    """`AGENTMEM_KEY` is set, but a URL was passed without `key=`, so nothing is encrypted."""


class ExistingDataWarning(UserWarning):
    """A new memory starts empty, although its database contains data of another package."""


def missing_extra(*, what: str, extra: str) -> ConfigurationError:
    """Return the error for an optional package that is not installed.

    Args:
        what: The feature that needs the package, as the subject of a sentence.
        extra: The name of the extra in `pyproject.toml`.

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
