"""The filters of a store search: one meaning on every backend.

A filter is a mapping. `{"color": "red"}` asks for an equal value, `{"size": {"$gt": 3}}` for a comparison, and
`{"shape": {"corners": 4}}` for a match inside a mapping; `{"shape.corners": 4}` says the same. Numbers compare as numbers,
strings as strings, and a number is never equal to a boolean. What is missing counts as None where equality is asked for;
comparing it, or values of different types, matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_agentmem.arguments.nesting import check_depth
from langchain_agentmem.arguments.values import shown
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
        >>> from langchain_agentmem.store.filters import compile_filter
        >>> compile_filter({"size": {"$gte": 10}})({"size": 100})
        True
    """
    if condition is None:
        condition = {}
    if not isinstance(condition, Mapping):
        msg = f"A filter must be a mapping such as {{'color': 'red'}}, got {type(condition).__name__}."
        raise InvalidTypeError(msg)
    for key in condition:
        if isinstance(key, str) and key.startswith("$") and key in _OPERATORS:
            msg = f"The operator {key} needs a field: write {{'field': {{'{key}': …}}}}."
            raise InvalidInputError(msg)
    check_depth("A filter", condition)
    _check(condition)
    return lambda value: all(_matches(_at(value, path), wanted) for path, wanted in condition.items())


def _check(condition: Any) -> None:
    if isinstance(condition, (list, tuple)):
        for one in condition:
            _check(one)
    if not isinstance(condition, Mapping):
        return
    for key, wanted in condition.items():
        if not isinstance(key, str):
            msg = f"A filter's keys must be strings, got {type(key).__name__}: {shown(key)}."
            raise InvalidTypeError(msg)
        if key.startswith("$"):
            _check_operator(key, wanted)
        else:
            _check(wanted)
    operators = [key for key in condition if key.startswith("$")]
    if operators and len(operators) < len(condition):
        msg = f"A filter cannot mix the operator {operators[0]} with fields: {sorted(condition)}."
        raise InvalidInputError(msg)


def _check_operator(operator: str, operand: Any) -> None:
    if operator not in _OPERATORS:
        msg = f"Unsupported operator: {operator}. Known are {', '.join(_OPERATORS)}."
        raise InvalidInputError(msg)
    if operator in ("$in", "$nin") and not isinstance(operand, (list, tuple, set, frozenset)):
        msg = f"The operator {operator} takes a list, got {type(operand).__name__}: {shown(operand)}."
        raise InvalidTypeError(msg)
    if operator == "$exists" and not isinstance(operand, bool):
        msg = f"The operator $exists takes True or False, got {shown(operand)}."
        raise InvalidTypeError(msg)


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
    if isinstance(wanted, (list, tuple)):
        return (
            isinstance(value, (list, tuple))
            and len(value) == len(wanted)
            and all(_matches(inner, asked) for inner, asked in zip(value, wanted, strict=True))
        )
    return _equal(value, wanted)


def _equal(value: Any, wanted: Any) -> bool:
    """Whether two JSON values are equal: a number is no boolean, at any depth."""
    if value is _MISSING:
        return wanted is None
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(value) == len(wanted) and all(map(_equal, value, wanted))
    if isinstance(value, Mapping) and isinstance(wanted, Mapping):
        return value.keys() == wanted.keys() and all(_equal(value[key], wanted[key]) for key in value)
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
