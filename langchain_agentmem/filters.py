"""The filters of a store search: one meaning on every backend.

A filter is a mapping. `{"color": "red"}` asks for an equal value, `{"size": {"$gt": 3}}` for a comparison, and
`{"shape": {"corners": 4}}` for a match inside a mapping; `{"shape.corners": 4}` says the same. Numbers compare as numbers,
strings as strings, and a number is never equal to a boolean. What is missing matches `$ne`, `$nin` and `$exists: False`
only; comparing it, or values of different types, matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

_MISSING = object()
Filter = Callable[[Mapping[str, Any]], bool]


def compile_filter(condition: Mapping[str, Any] | None) -> Filter:
    """A function that says whether a value passes a filter.

    Args:
        condition: The filter, or None to pass everything.

    Raises:
        InvalidTypeError: It is not a mapping with string keys, or an operator got a value of the wrong type.
        InvalidInputError: It holds an operator that is not known.

    Example:
        >>> from langchain_agentmem.filters import compile_filter
        >>> compile_filter({"size": {"$gte": 10}})({"size": 100})
        True
    """
    if condition is None:
        condition = {}
    if not isinstance(condition, Mapping):
        msg = f"A filter must be a mapping such as {{'color': 'red'}}, got {type(condition).__name__}."
        raise InvalidTypeError(msg)
    _check(condition)
    return lambda value: all(_matches(_at(value, path), wanted) for path, wanted in condition.items())


def _check(condition: Mapping[str, Any]) -> None:
    for key, wanted in condition.items():
        if not isinstance(key, str):
            msg = f"A filter's keys must be strings, got {type(key).__name__}: {key!r:.100}."
            raise InvalidTypeError(msg)
        if key.startswith("$"):
            if key not in _OPERATORS:
                msg = f"Unsupported operator: {key}. Known are {', '.join(_OPERATORS)}."
                raise InvalidInputError(msg)
            if key in ("$in", "$nin") and not isinstance(wanted, (list, tuple, set, frozenset)):
                msg = f"The operator {key} takes a list, got {type(wanted).__name__}: {wanted!r:.100}."
                raise InvalidTypeError(msg)
            if key == "$exists" and not isinstance(wanted, bool):
                msg = f"The operator $exists takes True or False, got {wanted!r:.100}."
                raise InvalidTypeError(msg)
        elif isinstance(wanted, Mapping):
            _check(wanted)


def _at(value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        return _MISSING
    if path in value:
        return value[path]
    first, dot, rest = path.partition(".")
    return _at(value[first], rest) if dot and first in value else _MISSING


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if any(key.startswith("$") for key in wanted):
            return all(_OPERATORS[key](value, operand) for key, operand in wanted.items())
        return isinstance(value, Mapping) and all(_matches(_at(value, key), inner) for key, inner in wanted.items())
    return _equal(value, wanted)


def _equal(value: Any, wanted: Any) -> bool:
    if value is _MISSING:
        return wanted is None
    if isinstance(wanted, (list, tuple)):
        return (
            isinstance(value, (list, tuple))
            and len(value) == len(wanted)
            and all(_matches(inner, asked) for inner, asked in zip(value, wanted, strict=True))
        )
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return bool(value == wanted)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def operator(value: Any, operand: Any) -> bool:
        numbers = _is_number(value) and _is_number(operand)
        strings = isinstance(value, str) and isinstance(operand, str)
        return (numbers or strings) and compare(value, operand)

    return operator


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _contains(value: Any, operand: Any) -> bool:
    if isinstance(value, str):
        return isinstance(operand, str) and operand in value
    if isinstance(value, (list, tuple)):
        return any(_equal(inner, operand) for inner in value)
    return isinstance(value, Mapping) and isinstance(operand, str) and operand in value


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda value, operand: not _equal(value, operand),
    "$gt": _ordered(lambda value, operand: value > operand),
    "$gte": _ordered(lambda value, operand: value >= operand),
    "$lt": _ordered(lambda value, operand: value < operand),
    "$lte": _ordered(lambda value, operand: value <= operand),
    "$in": lambda value, operand: any(_equal(value, one) for one in operand),
    "$nin": lambda value, operand: not any(_equal(value, one) for one in operand),
    "$exists": lambda value, operand: (value is not _MISSING) is operand,
    "$contains": _contains,
}
