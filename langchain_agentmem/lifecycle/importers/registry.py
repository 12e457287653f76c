"""The sources that `import_from` reads, by the name of their format and by the class of the original object.

A class is recognised by its name and its package, so that no package is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from langchain_agentmem.arguments.urls import shown_location
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.lifecycle.importers import (
    documents,
    langmem,
    mem0,
    postgres_history,
    redis_history,
    sql_history,
    stores,
    threads,
)
from langchain_agentmem.lifecycle.importers.arguments import Options
from langchain_agentmem.lifecycle.importers.rows import Source

SourceOf = Callable[[Any, Options], Source]

FORMATS: Mapping[str, SourceOf] = {
    postgres_history.FORMAT: postgres_history.source_of,
    sql_history.FORMAT: sql_history.source_of,
    redis_history.LISTS: redis_history.lists_of,
    redis_history.STRINGS: redis_history.strings_of,
    documents.MESSAGES: documents.messages_of,
    documents.ROLES: documents.roles_of,
    stores.FORMAT: stores.source_of,
    langmem.FORMAT: langmem.source_of,
    mem0.FORMAT: mem0.source_of,
}
"""The formats by name."""

FORMAT_NAMES = (*FORMATS, threads.FORMAT)
"""The names of all formats. Threads are no rows: `threads.import_threads` copies them."""


class _Kind(NamedTuple):
    package: str
    class_name: str
    source_of: SourceOf | None
    """None: the class does not say which format it holds."""
    hint: str = ""


_KINDS = (
    _Kind("langchain_postgres", "PostgresChatMessageHistory", postgres_history.source_of),
    _Kind("langchain_community", "PostgresChatMessageHistory", postgres_history.source_of),
    _Kind("langchain_community", "SQLChatMessageHistory", sql_history.source_of),
    _Kind("langchain_community", "RedisChatMessageHistory", redis_history.lists_of),
    _Kind("langchain_community", "FileChatMessageHistory", documents.messages_of),
    _Kind("langchain_agentmem", "AgentMemHistory", None, "Call other.copy_to(memory, session_id=…)."),
    _Kind("langchain_core", "BaseChatMessageHistory", documents.history_of),
    _Kind("langgraph", "BaseStore", stores.source_of),
    _Kind("langchain_agentmem", "AgentMemory", None, "Call other.copy_to(memory)."),
    _Kind("mem0", "MemoryBase", mem0.source_of),
    _Kind("psycopg", "BaseConnection", None, f'Pass format="{postgres_history.FORMAT}" and table=…'),
    _Kind("psycopg_pool", "BasePool", None, f'Pass format="{postgres_history.FORMAT}" and table=…'),
    _Kind("sqlalchemy", "Engine", sql_history.source_of),
    _Kind("sqlalchemy", "AsyncEngine", sql_history.source_of),
    _Kind("redis", "RedisCluster", None, f'Pass format="{redis_history.LISTS}" or format="{redis_history.STRINGS}".'),
    _Kind("redis", "Redis", None, f'Pass format="{redis_history.LISTS}" or format="{redis_history.STRINGS}".'),
)
"""The classes of original objects, the more special ones first."""


def kind_of(source: Any) -> _Kind | None:
    """Return the kind of an original object; None for a path, a file or any other object."""
    if isinstance(source, (str, bytes, os.PathLike, list, dict)):
        return None
    classes = [(one.__module__.partition(".")[0], one.__name__) for one in type(source).__mro__]
    return next((kind for kind in _KINDS if (kind.package, kind.class_name) in classes), None)


def is_foreign(source: Any, format: str | None = None) -> bool:
    """Return true if a source is not a file that `export` wrote, as far as its type and `format=` say.

    Example:
        >>> from langgraph.store.memory import InMemoryStore
        >>> from langchain_agentmem.lifecycle.importers.registry import is_foreign
        >>> is_foreign(InMemoryStore()), is_foreign("redis://localhost"), is_foreign("export.jsonl")
        (True, True, False)
    """
    is_path = isinstance(source, os.PathLike) or (isinstance(source, str) and "://" not in source)
    return format is not None or not (is_path or hasattr(source, "readline"))


def source_for(given: Any, format: str | None, options: Options) -> Source:
    """Return the source of data of another package.

    Raises:
        InvalidInputError: The format is unknown or missing, or an option is not accepted.
        InvalidTypeError: The source has a type that cannot be imported.
    """
    if format is not None:
        if format not in FORMATS:
            msg = f"import_from has no format {shown(format)}. The formats are {', '.join(FORMAT_NAMES)}."
            raise InvalidInputError(msg)
        return FORMATS[format](given, options)
    kind = kind_of(given)
    if kind is None:
        formats = ", ".join(FORMAT_NAMES)
        if isinstance(given, str):
            msg = f"Could not recognise {shown(shown_location(given))}. Pass format=…: {formats}."
            raise InvalidInputError(msg)
        msg = (
            f"source must be a path or a file, or an object of another package, got {type(given).__name__}: {shown(given)}. "
            f"For data in another format, pass format=…: {formats}."
        )
        raise InvalidTypeError(msg)
    if kind.source_of is None:
        msg = f"import_from cannot import a {type(given).__name__} as it is. {kind.hint}"
        raise InvalidTypeError(msg)
    return kind.source_of(given, options)
