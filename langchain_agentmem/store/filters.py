"""Filters of a store search, with one meaning on every backend.

A filter is a mapping from fields to conditions:

* `{"color": "red"}` matches an equal value.
* `{"size": {"$gt": 3}}` compares.
* `{"shape": {"corners": 4}}` matches inside a mapping. `{"shape.corners": 4}` means the same.

Numbers compare with numbers, and strings with strings. A number never equals a boolean. A missing field equals None. Missing
fields and values of different types match no comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.nesting import check_depth
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

_MISSING = object()
Filter = Callable[[Mapping[str, Any]], bool]


def compile_filter(condition: Mapping[str, Any] | None) -> Filter:
    """Return a function that is true for the values that pass a filter.

    Args:
        condition: The filter. None passes all values.

    Raises:
        InvalidTypeError: The filter is not a mapping with string keys, or an operand has the wrong type.
        InvalidInputError: The filter has an unknown operator, an operator in the wrong place, or half of a surrogate pair.

    Example:
        >>> from langchain_agentmem.store.filters import compile_filter
        >>> compile_filter({"size": {"$gte": 10}})({"size": 100})
        True
    """
    if condition is None:
        condition = {}
    if not isinstance(condition, Mapping):
        msg = f"A filter must be a mapping such as {{'color': 'red'}}, got {shown(condition)}."
        raise InvalidTypeError(msg)
    for key in condition:
        if isinstance(key, str) and key.startswith("$") and key in _OPERATORS:
            msg = f"The operator {key} needs a field. Write {{'field': {{'{key}': …}}}}."
            raise InvalidInputError(msg)
    check_depth("A filter", condition)
    _check(condition)
    _check_texts(condition)
    return lambda value: all(_matches(_at(value, path), expected) for path, expected in condition.items())


def _check(condition: Any) -> None:
    if isinstance(condition, (list, tuple)):
        for inner in condition:
            _check(inner)
    if not isinstance(condition, Mapping):
        return
    for key, expected in condition.items():
        if not isinstance(key, str):
            msg = f"A filter's keys must be strings, got {type(key).__name__}: {shown(key)}."
            raise InvalidTypeError(msg)
        if key.startswith("$"):
            _check_operator(key, expected)
        else:
            _check(expected)
    operators = [key for key in condition if key.startswith("$")]
    if operators and len(operators) < len(condition):
        msg = f"A filter cannot mix the operator {operators[0]} with fields, got {shown(sorted(condition))}."
        raise InvalidInputError(msg)


def _check_texts(condition: Any) -> None:
    if isinstance(condition, str):
        check_text("A filter", condition)
    elif isinstance(condition, Mapping):
        for pair in condition.items():
            _check_texts(pair)
    elif isinstance(condition, (list, tuple, set, frozenset)):
        for inner in condition:
            _check_texts(inner)


def _check_operator(operator: str, operand: Any) -> None:
    if operator not in _OPERATORS:
        msg = f"Unsupported operator {shown(operator)}. Use one of {', '.join(_OPERATORS)}."
        raise InvalidInputError(msg)
    if operator in ("$in", "$nin") and not isinstance(operand, (list, tuple, set, frozenset)):
        msg = f"The operand of {operator} must be a list, got {type(operand).__name__}: {shown(operand)}."
        raise InvalidTypeError(msg)
    if operator == "$exists" and not isinstance(operand, bool):
        msg = f"The operand of $exists must be True or False, got {shown(operand)}."
        raise InvalidTypeError(msg)


def _at(value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        return _MISSING
    if path in value:
        return value[path]
    first, dot, rest = path.partition(".")
    return _at(value[first], rest) if dot and first in value else _MISSING


def _matches(value: Any, expected: Any) -> bool:
    if isinstance(expected, Mapping):
        if any(key.startswith("$") for key in expected):
            return all(_OPERATORS[key](value, operand) for key, operand in expected.items())
        return isinstance(value, Mapping) and all(_matches(_at(value, key), inner) for key, inner in expected.items())
    if isinstance(expected, (list, tuple)):
        return (
            isinstance(value, (list, tuple))
            and len(value) == len(expected)
            and all(_matches(inner, one) for inner, one in zip(value, expected, strict=True))
        )
    return _equal(value, expected)


def _equal(value: Any, expected: Any) -> bool:
    """Return true if two JSON values are equal. At any depth, a number does not equal a boolean."""
    if value is _MISSING:
        return expected is None
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(value) == len(expected) and all(map(_equal, value, expected))
    if isinstance(value, Mapping) and isinstance(expected, Mapping):
        return value.keys() == expected.keys() and all(_equal(value[key], expected[key]) for key in value)
    return bool(value == expected)


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
