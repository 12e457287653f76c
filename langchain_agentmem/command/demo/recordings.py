"""The sessions of a conversation file as its reader returns them, and the checks that all readers share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.command.demo.turns import Utterance
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

DEFAULT_USER = "alice@example.com"
"""The user of sessions whose file names none."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recording:
    """One session of a file. Its ID may be the same as that of another session of the file."""

    session_id: str
    user_id: str
    title: str
    utterances: list[Utterance]
    ask: tuple[str, ...] = ()
    """Questions about the session, for the search in the report."""


def expect(value: Any, kind: type[T] | tuple[type[T], ...], what: str, where: str) -> T:
    """Return a value if it has the right type.

    Args:
        value: The value.
        kind: The type, or several.
        what: The requirement, for the error, such as `"content must be a string"`.
        where: The value's location in the file, for the error.

    Raises:
        InvalidTypeError: It has another type.
    """
    if not isinstance(value, kind):
        msg = f"{where}: {what}, got {type(value).__name__}: {shown(value, 80)}."
        raise InvalidTypeError(msg)
    return value


def texts(data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """Return an optional list of strings in an object.

    Raises:
        InvalidTypeError: It is not a list of strings.
        InvalidInputError: A string cannot be stored.
    """
    found = expect(data.get(key, []), list, f"{key} must be a list of strings", where)
    for at, text in enumerate(found):
        place = f"{where}.{key}[{at}]"
        check_storable(expect(text, str, "it must be a string", place), place)
    return tuple(found)


def check_storable(value: Any, where: str) -> None:
    """Refuse a JSON value that no database can store.

    Raises:
        InvalidInputError: A string in it contains half of a surrogate pair.
    """
    try:
        check_text("It", json.dumps(value, ensure_ascii=False))
    except InvalidInputError as error:
        msg = f"{where}: {error}"
        raise InvalidInputError(msg) from None
