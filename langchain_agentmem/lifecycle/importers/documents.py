"""Conversations in JSON: LangChain's dictionaries of messages, dictionaries with role and content, and chat histories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.lifecycle.importers.arguments import Options
from langchain_agentmem.lifecycle.importers.rows import (
    Source,
    SourceMessage,
    document_of,
    importing,
    message_of_document,
)
from langchain_agentmem.messages.conversion import as_message

MESSAGES, ROLES = "messages", "roles"
"""The formats."""


def messages_of(given: Any, options: Options) -> Source:
    """Return the source of a file or list of LangChain's dictionaries, as `messages_to_dict` makes them.

    Args:
        given: A `FileChatMessageHistory`, the path of a JSON file, or a list of dictionaries or messages.
        options: With `session_id`, unless a file is given: the name of the file is the session.
    """
    return _conversation(given, options, MESSAGES, _message)


def roles_of(given: Any, options: Options) -> Source:
    """Return the source of a file or list of dictionaries with `role` and `content`.

    Args:
        given: The path of a JSON file, a list of dictionaries, or a dictionary with the list in `messages`.
        options: With `session_id`, unless a file is given: the name of the file is the session.
    """
    return _conversation(given, options, ROLES, lambda value: as_message("the value", value))


def history_of(given: Any, options: Options) -> Source:
    """Return the source of any other chat history of LangChain, whose messages it returns itself.

    Args:
        given: A `BaseChatMessageHistory`.
        options: With `session_id`, unless the history has one.
    """
    session = options.session_id or getattr(given, "session_id", None)
    if not isinstance(session, str) or not session:
        session = options.required("session_id", f"a {type(given).__name__} has none")
    rows = partial(_rows_of_history, given, session)
    name = f"the {type(given).__name__} of session {shown(session)}"
    return Source(name, "history", rows, _message, single=True, session=session)


def json_of(given: Any, encoding: str | None = None) -> Any:
    """Return a JSON value, or the content of the JSON file whose path is given.

    Args:
        given: The value or the path.
        encoding: The encoding of the file. Default: None (UTF-8, UTF-16 or UTF-32).

    Raises:
        InvalidInputError: The file does not exist or is not JSON.
    """
    if not isinstance(given, (str, os.PathLike)):
        return given
    try:
        content = Path(given).read_bytes()
    except OSError as error:
        msg = f"Could not read {shown(str(given))}: {error.strerror or error}. Check the path."
        raise InvalidInputError(msg) from error
    with importing(f"{shown(str(given))}, which must be a JSON file"):
        return document_of(content if encoding is None else content.decode(encoding))


def _conversation(given: Any, options: Options, format_: str, message: Callable[[Any], BaseMessage]) -> Source:
    path, encoding = getattr(given, "file_path", given), getattr(given, "encoding", None)
    if isinstance(path, (str, os.PathLike)):
        session, name = Path(path).stem, f"{shown(str(path))}"
    else:
        session, name = options.required("session_id", f'format="{format_}" has no session'), f"the list of {format_}"
    return Source(
        name, f"{format_}", partial(_rows, path, session, name, encoding), message, single=True, session=session
    )


def _rows(given: Any, session: str, name: str, encoding: str | None) -> Iterator[SourceMessage]:
    document = json_of(given, encoding)
    if isinstance(document, Mapping) and "messages" in document:
        document = document["messages"]
    if not isinstance(document, Sequence) or isinstance(document, (str, bytes)):
        msg = f"{name} must hold a list of messages, got {shown(document)}. Check the format."
        raise InvalidInputError(msg)
    for index, value in enumerate(document):
        yield SourceMessage(session, index, value)


def _rows_of_history(history: Any, session: str) -> Iterator[SourceMessage]:
    for index, message in enumerate(history.messages):
        yield SourceMessage(session, index, message)


def _message(value: Any) -> BaseMessage:
    return value if isinstance(value, BaseMessage) else message_of_document(value)
