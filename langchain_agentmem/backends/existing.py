"""The warning that a database contains data of other packages, with the calls and commands that import it."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from langchain_agentmem.errors import ExistingDataWarning, StorageError

COPY_THREADS = "copy them with memory.checkpointer.copy_from(saver)"
"""How threads of another checkpointer are imported."""

SEARCH_VECTORS = "search them with memory.recall(…, knowledge=[vector_store])"
"""How vectors of another package are searched where they are."""


class NoMemoryError(StorageError):
    """A database without a memory was opened after `Backend.never_create`."""


class Existing(NamedTuple):
    """Data of another package."""

    description: str
    """The package and the place, such as `langchain-community's SQLChatMessageHistory (table message_store)`."""
    remedy: str
    """The call that imports the data or reads it, and the command if there is one: `import it with memory.…`."""


def imported_from(url: str, format: str, **options: str) -> str:
    """Return the remedy for data at a URL: the call and the command that import it.

    Args:
        url: The URL, without a password.
        format: The format; see `docs/importing.md`.
        **options: Further options of the call and of the command.

    Example:
        >>> from langchain_agentmem.backends.existing import imported_from
        >>> print(imported_from("redis://…", "store").partition(" or ")[2])
        the command `agentmem import redis://… --format store --url redis://…`
    """
    named = {"format": format, **options}
    arguments = ", ".join([repr(url), *(f"{name}={value!r}" for name, value in named.items())])
    words = [url, *(word for name, value in {**named, "url": url}.items() for word in (f"--{name}", value))]
    return f"import it with memory.import_from({arguments}) or the command `agentmem import {' '.join(map(_quoted, words))}`"


def warn_of_existing(database: str, found: Sequence[Existing]) -> None:
    """Warn that a database contains data of other packages. A driver calls this after it created the tables.

    Args:
        database: The name of the database, without its password.
        found: The data. If there is none, no warning is issued.
    """
    if found:
        names = "; ".join(f"{one.description}: {one.remedy}" for one in found)
        msg = (
            f"{database} contains data that langchain-agentmem does not read: {names}. The memory begins empty, and this "
            f"data stays unchanged."
        )
        warnings.warn(msg, ExistingDataWarning, stacklevel=2)


def refuse_without_memory(database: str, found: Sequence[Existing]) -> NoReturn:
    """Warn that a database contains data of other packages, and refuse it, because it has no memory.

    Args:
        database: The name of the database, without its password.
        found: The data of other packages.

    Raises:
        NoMemoryError: Always.
    """
    warn_of_existing(database, found)
    msg = f"{database} contains no memory yet."
    raise NoMemoryError(msg)


def _quoted(word: str) -> str:
    return word if "…" in word else shlex.quote(word)
