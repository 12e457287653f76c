"""Paths of fields in a nested document, such as `preferences.language`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.values import check_list, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.facts.equality import same

MAX_DEPTH, MAX_NAME = 10, 200
"""Largest number of names in a path, and the longest name in characters."""

Path = tuple[str, ...]

_BRACKETS = re.compile(r"""\.?\[\s*(?:"([^"\]]*)"|'([^'\]]*)'|(\d+))\s*\]""")
"""A name in brackets and quotes, or a number in brackets: `["node.js"]`, `[7]`."""


def path_of(field: str | Sequence[str]) -> Path:
    """Return the path of a field.

    Args:
        field: Names separated by dots, or a list of names. A name with dots may be in brackets: `preferences["node.js"]`.

    Raises:
        InvalidTypeError: A name is not a string.
        InvalidInputError: The path or a name is empty or too long.
    """
    path = _names_in(field) if isinstance(field, str) else tuple(check_list("field", field, "names"))
    expected = "A field must be a string such as 'preferences.language', or a list of names"
    if not all(isinstance(name, str) for name in path):
        msg = f"{expected}; got {shown(field)}."
        raise InvalidTypeError(msg)
    if not path or not all(name.strip() for name in path):
        msg = f"{expected}; got {shown(field)}."
        raise InvalidInputError(msg)
    if len(path) > MAX_DEPTH or max(map(len, path)) > MAX_NAME:
        msg = f"A field may have at most {MAX_DEPTH} names of at most {MAX_NAME} characters; got {shown(field)}."
        raise InvalidInputError(msg)
    for name in path:
        check_text("A field's name", name)
    return path


def _names_in(field: str) -> Path:
    """Return the names in the text form of a path."""
    names: list[str] = []
    after = 0
    for found in _BRACKETS.finditer(field):
        before = field[after : found.start()]
        names += _split(before.lstrip(".")) if before else []
        names.append(found[1] or found[2] or found[3] or "")
        after = found.end()
    rest = field[after:]
    if not names:
        return tuple(_split(rest))
    return (*names, *(_split(rest.removeprefix(".")) if rest else ()))


def _split(field: str) -> list[str]:
    return [name.strip() for name in field.split(".")]


def find_field(document: Mapping[str, Any], path: Path) -> tuple[bool, Any]:
    """Return true and the value of a field if the document has the field; else false and None."""
    value: Any = document
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return False, None
        value = value[name]
    return True, value


def value_at(document: Mapping[str, Any], path: Path) -> Any:
    """Return the value of a field; None if the document does not have it."""
    return find_field(document, path)[1]


def set_field(document: dict[str, Any], path: Path, value: Any) -> None:
    """Set a field and create the objects on its path, also in place of None.

    Raises:
        InvalidInputError: A field on the path exists and is not an object.
    """
    for index, name in enumerate(path[:-1]):
        if document.get(name) is None:
            document[name] = {}
        inner = document[name]
        if not isinstance(inner, dict):
            msg = f"{'.'.join(path)} cannot be set: {'.'.join(path[: index + 1])} is not an object."
            raise InvalidInputError(msg)
        document = inner
    document[path[-1]] = value


def delete_field(document: dict[str, Any], path: Path) -> bool:
    """Delete a field; return true if the document had it."""
    if not path:
        return False
    holder = document
    for name in path[:-1]:
        inner = holder.get(name)
        if not isinstance(inner, dict):
            return False
        holder = inner
    if path[-1] not in holder:
        return False
    del holder[path[-1]]
    return True


def delete_element(document: dict[str, Any], path: Path, element: Any) -> bool:
    """Delete an element of a list field; return true if the list had it."""
    elements = value_at(document, path)
    if not isinstance(elements, list):
        return False
    others = [one for one in elements if not same(one, element)]
    if len(others) == len(elements):
        return False
    set_field(document, path, others)
    return True


def is_deeper(value: Any, levels: int) -> bool:
    """Return true if lists and objects in a value are nested deeper than a number of levels."""
    inner = [value]
    for _ in range(levels + 1):
        containers = [one for one in inner if isinstance(one, (Mapping, list))]
        inner = [each for one in containers for each in (one.values() if isinstance(one, Mapping) else one)]
    return bool(containers)
