"""What importers read from other packages: messages, items, memories and profiles, in a stream."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from langchain_core.messages import BaseMessage, messages_from_dict

from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.errors import AgentMemError, ConfigurationError, InvalidInputError, InvalidTypeError
from langchain_agentmem.programs import Program
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.programs.steps import OuterStep
from langchain_agentmem.programs.workers import finished, in_worker

T = TypeVar("T")

PAGE_ROWS = 500
"""The number of rows that are read and stored together."""


class SourceMessage(NamedTuple):
    """One message of a chat history."""

    session: str
    row: Any
    """Identifies the message in its session: its primary key, or its index. Later messages have greater ones."""
    value: Any
    """The message, in the form that `Source.message` reads."""
    time: float | None = None
    """The time at which the source stored the message, in Unix seconds; None if it is unknown."""
    expires_at: float | None = None
    """The expiry of the session, in Unix seconds; None if it has none."""


class SourceItem(NamedTuple):
    """One item of a LangGraph store."""

    namespace: tuple[str, ...]
    key: str
    value: Any
    created_at: float
    updated_at: float
    ttl: float | None = None
    """The TTL in seconds."""
    expires_at: float | None = None


class SourceMemory(NamedTuple):
    """One text that was kept about a user."""

    row: str
    """Names the memory in errors."""
    user: Any
    text: Any
    created_at: Any
    """The time as ISO 8601 text or in Unix seconds; None if it is unknown."""
    updated_at: Any
    metadata: dict[str, Any]
    agent: str | None = None
    expired: bool = False


class SourceProfile(NamedTuple):
    """The profile of a user, with facts as texts."""

    row: str
    user: Any
    name: Any = None
    preferences: Any = None
    facts: Any = None


SourceRow = SourceMessage | SourceItem | SourceMemory | SourceProfile


def message_of_document(value: Any) -> BaseMessage:
    """Return the message in LangChain's dictionary, as `message_to_dict` makes it, or in its JSON text.

    Raises:
        ValueError: It is no such dictionary.
    """
    if isinstance(value, (str, bytes)):
        value = document_of(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("data"), Mapping) or "type" not in value:
        msg = f'LangChain\'s dictionary has "type" and "data"; got {shown(value)}'
        raise ValueError(msg)
    (message,) = messages_from_dict([dict(value)])
    return message


def document_of(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is not JSON in UTF-8.
    """
    try:
        return json.loads(text)
    except RecursionError:
        msg = "the JSON text is nested too deeply"
        raise ValueError(msg) from None


@dataclass
class Source:
    """A source of rows.

    Args:
        name: The name of the source in errors, such as `SQLChatMessageHistory (table message_store)`.
        scope: Distinguishes the source in the IDs of messages that have none: the format, and the table or the prefix.
        rows: Returns the rows, from the first one. It is called once for each pass.
        message: Returns the message in `SourceMessage.value`.
        single: True if all messages are those of one session.
        session: The ID of that session, if the source knows it.
        on_loop: True if the rows may be read in the caller's thread only.
    """

    name: str
    scope: str
    rows: Callable[[], Iterator[SourceRow] | AsyncIterator[SourceRow]]
    message: Callable[[Any], BaseMessage] = message_of_document
    single: bool = False
    session: str | None = None
    on_loop: bool = False


class Pages:
    """The rows of a source, page by page.

    Args:
        source: The source.
    """

    def __init__(self, source: Source) -> None:
        self._rows = source.rows()
        self._source = source

    def next(self) -> Program[list[SourceRow]]:
        """Read the next rows; none after the last ones.

        Raises:
            InvalidInputError: The source cannot be read.
            InvalidTypeError: The source is asynchronous, and the caller is not.
        """
        try:
            return (yield from _Use(self._source, self._rows, _taken, _ataken))
        except (AgentMemError, ImportError):
            raise
        except Exception as error:  # each driver raises errors of its own
            if came_by_signal(error):
                raise
            msg = f"Could not read {self._source.name}: {reason_of(error)}. Check the source, and import again."
            raise InvalidInputError(msg) from error

    def close(self) -> Program[None]:
        """Close the connection that the source opened, if it did."""
        yield from _Use(self._source, self._rows, _closed, _aclosed)


class _Use(OuterStep[T]):
    """Outer step: call a function with the iterator of a source. Under `arun`, a worker thread calls it."""

    __slots__ = ("_asynchronous", "_rows", "_source", "_synchronous")

    def __init__(
        self, source: Source, rows: Any, synchronous: Callable[[Any], T], asynchronous: Callable[[Any], Awaitable[T]]
    ) -> None:
        self._source = source
        self._rows = rows
        self._synchronous = synchronous
        self._asynchronous = asynchronous

    def perform(self) -> T:
        if isinstance(self._rows, AsyncIterator) and self._synchronous is not _closed:
            msg = f"{self._source.name} is asynchronous. Await memory.aimport_from(…), or pass a synchronous object."
            raise InvalidTypeError(msg)
        return self._synchronous(self._rows)

    async def aperform(self) -> T:
        if isinstance(self._rows, AsyncIterator):
            return await self._asynchronous(self._rows)
        if self._source.on_loop:
            return self._in_place()
        return await finished(in_worker(self._synchronous, self._rows))

    def _in_place(self) -> T:
        """Call the function in this thread: a database in memory belongs to it."""
        return self._synchronous(self._rows)


def _taken(rows: Iterator[SourceRow]) -> list[SourceRow]:
    return list(islice(rows, PAGE_ROWS))


async def _ataken(rows: AsyncIterator[SourceRow]) -> list[SourceRow]:
    taken: list[SourceRow] = []
    async for row in rows:
        taken.append(row)
        if len(taken) == PAGE_ROWS:
            break
    return taken


def _closed(rows: Any) -> None:
    close = getattr(rows, "close", None)  # an asynchronous iterator that never started has none
    if close is not None:
        close()


async def _aclosed(rows: Any) -> None:
    await rows.aclose()


@contextmanager
def importing(name: str) -> Iterator[None]:
    """Let errors that a row of a source causes name the row.

    Args:
        name: The name of the row and the source.

    Raises:
        InvalidInputError: The row cannot be imported.

    Example:
        >>> from langchain_agentmem.lifecycle.importers.rows import importing
        >>> with importing("row 3 of session 'a'"):
        ...     raise ValueError("it is empty")
        Traceback (most recent call last):
        ...
        langchain_agentmem.errors.InvalidInputError: Could not import row 3 of session 'a': it is empty.
    """
    try:
        yield
    except ConfigurationError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, RecursionError) as error:
        msg = f"Could not import {name}: {reason_of(error, 500).removeprefix('messages[0]: ').removesuffix('.')}."
        raise InvalidInputError(msg) from error


def scope_of_table(table: str) -> str:
    """Return the `Source.scope` of a table of messages, whose schema may be named. All formats that read it have the same."""
    return f"table {table.rpartition('.')[2]}"


def missing_package(*, source: str, package: str) -> ConfigurationError:
    """Return the error that reading a source needs a package that is not installed."""
    return ConfigurationError(f"Reading {source} needs the package {package}. Run pip install {package}.")
