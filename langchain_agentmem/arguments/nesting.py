"""The maximum nesting depth of values: readers, filters and JSON encoding are recursive."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langchain_agentmem.errors import InvalidInputError

MAX_DEPTH = 200
"""The deepest nesting of content blocks, arguments, store values and filters."""

MAX_ANSWER_DEPTH = 100
"""The deepest nesting of JSON in a model's answer."""

_TOKEN = re.compile(r'[\[{]|[\]}]|"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""A bracket, or a string of JSON, which may contain brackets."""


class NestingError(ValueError):
    """A value in JSON text is nested too deep.

    Args:
        most: The maximum number of levels.
    """

    def __init__(self, most: int) -> None:
        super().__init__(f"lists and objects are nested deeper than {most} levels")


def check_depth(what: str, value: Any) -> None:
    """Check the nesting depth of a value.

    Args:
        what: The name of the value, for the error.
        value: The value. Mappings, lists and tuples count as levels.

    Raises:
        InvalidInputError: The value is nested deeper than `MAX_DEPTH` levels, or contains itself.
    """
    if is_deeper(value, MAX_DEPTH):
        msg = f"{what} is nested deeper than {MAX_DEPTH} levels, or contains itself."
        raise InvalidInputError(msg)


def is_deeper(value: Any, most: int) -> bool:
    """Return true if mappings, lists and tuples are nested deeper than a number of levels, or one contains itself.

    Example:
        >>> from langchain_agentmem.arguments.nesting import is_deeper
        >>> is_deeper({"a": [1]}, 2), is_deeper({"a": [1]}, 1)
        (False, True)
    """
    levels: list[Iterator[Any]] = [iter((value,))]
    while levels:
        inner = next(filter(_is_level, levels[-1]), None)
        if inner is None:
            levels.pop()
        elif len(levels) > most:
            return True
        else:
            levels.append(iter(_values_of(inner)))
    return False


def _is_level(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _values_of(level: Any) -> Iterable[Any]:
    values: Iterable[Any] = level.values() if isinstance(level, Mapping) else level
    return values


def check_json_depth(text: str, most: int = MAX_DEPTH, start: int = 0) -> None:
    """Check the nesting depth of the value that begins at a position of a JSON text, before it is decoded.

    Args:
        text: The text. Brackets in strings do not count.
        most: The maximum number of levels. Default: `MAX_DEPTH`.
        start: The position. Default: 0.

    Raises:
        NestingError: The value is nested deeper.

    Example:
        >>> from langchain_agentmem.arguments.nesting import check_json_depth
        >>> check_json_depth('{"a": "[["}', 1)
        >>> check_json_depth('{"a": [1]}', 1)
        Traceback (most recent call last):
        ...
        langchain_agentmem.arguments.nesting.NestingError: lists and objects are nested deeper than 1 levels
    """
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] in "[{":
            depth += 1
            if depth > most:
                raise NestingError(most)
        elif token[0] in "]}":
            depth -= 1
        if depth <= 0:
            return


def load_bounded_json(text: str, most: int = MAX_DEPTH, *, strict: bool = True) -> Any:
    """Return the value of a JSON text that others wrote, such as a model's tool arguments.

    Args:
        text: The text.
        most: The maximum number of nested levels. Default: `MAX_DEPTH`.
        strict: As in `json.loads`. Default: True.

    Raises:
        ValueError: The text is not JSON, or nested too deep (`NestingError`).

    Example:
        >>> from langchain_agentmem.arguments.nesting import load_bounded_json
        >>> load_bounded_json('{"city": "Lima"}')
        {'city': 'Lima'}
    """
    check_json_depth(text, most)
    return json.loads(text, strict=strict)
