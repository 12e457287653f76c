"""Filters of items as SQL: the part of a filter that SQLite evaluates with our semantics.

SQLite has one type for numbers and booleans, cuts texts at a zero byte, and may read a float inexactly. So a value is
compared as its JSON text where that is unambiguous: `json_extract` with two paths returns the JSON of both values. Numbers
are compared roughly, and the caller checks them again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from langchain_agentmem.arguments.fields import is_simple_field
from langchain_agentmem.backends.requirements import required_texts

_MOST_OPERANDS = 50
_LARGEST = 2.0**53
"""Floats represent integers up to this one exactly."""
_TOLERANCE = 1e-12
_COMPARISONS = {"$gt": ">=", "$gte": ">=", "$lt": "<=", "$lte": "<="}


class Condition(NamedTuple):
    """A condition of a statement on items."""

    sql: str
    """SQL that begins with `AND`; empty if SQLite evaluates nothing of the filter."""
    parameters: dict[str, Any]
    is_exact: bool
    """True if a value that meets the condition passes the filter. If false, the caller checks it."""


def condition_of(filter_: Mapping[str, Any] | None, indexed: Collection[str] = ()) -> Condition:
    """Return the condition for a filter. Every value that passes the filter meets it.

    Args:
        filter_: The filter, which `compile_filter` accepts.
        indexed: The fields with an index. Default: none.

    Example:
        >>> from langchain_agentmem.backends.sqlite.conditions import condition_of
        >>> condition_of({"color": "red"}).is_exact, condition_of({"size": {"$gt": 3}}).is_exact
        (True, False)
    """
    if not filter_:
        return Condition("", {}, True)
    terms = _Terms()
    is_exact = True
    for field, wanted in filter_.items():
        operators = wanted if isinstance(wanted, Mapping) else {"$eq": wanted}
        if not operators or not is_simple_field(field):  # an empty operand means any dict
            is_exact = False
            continue
        for operator, operand in operators.items():
            is_exact = terms.compare(field, operator, operand, is_indexed=field in indexed) and is_exact
    texts = [f"instr(value, {terms.name(text)})" for text in required_texts(filter_)]
    sql = f" AND ({' OR '.join(texts)})" if texts else ""
    if terms.tests:
        # A damaged value, which is no JSON, stays in the result: decoding it raises an error that names the item.
        sql += f" AND CASE WHEN json_valid(value) THEN {' AND '.join(terms.tests)} ELSE 1 END"
    return Condition("".join(terms.of_indexes) + sql, terms.parameters, is_exact)


def field_expression(field: str) -> str:
    """Return the indexed expression of a field. It is a zero byte for a damaged value.

    Args:
        field: A field that `is_simple_field` accepts.
    """
    return f"""CASE WHEN json_valid(value) THEN json_extract(value, '$."{field}"') ELSE x'00' END"""


class _Terms:
    """The terms of a condition, and their parameters."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.of_indexes: list[str] = []
        self.parameters: dict[str, Any] = {}

    def name(self, value: Any) -> str:
        """Return the name of a new parameter."""
        name = f"condition_{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def compare(self, field: str, operator: str, operand: Any, *, is_indexed: bool) -> bool:
        """Add the terms of a comparison; return true if they are exact."""
        path = self.name(f'$."{field}"')
        if operator == "$exists":
            self.tests.append(f"json_type(value, {path}) IS {'NOT ' if operand else ''}NULL")
            return True
        if operator in ("$eq", "$in", "$ne", "$nin"):
            operands = [operand] if operator in ("$eq", "$ne") else list(operand)
            return self._equal(path, operands, is_indexed and field, is_negative=operator in ("$ne", "$nin"))
        if operator in _COMPARISONS and _is_number(operand):
            slack = abs(operand) * _TOLERANCE * (1 if operator in ("$lt", "$lte") else -1)
            self.tests.append(f"json_extract(value, {path}) {_COMPARISONS[operator]} {self.name(operand + slack)}")
        return False

    def _equal(self, path: str, operands: list[Any], indexed: str | bool, *, is_negative: bool) -> bool:
        are_exact = all(one is None or isinstance(one, (str, bool)) for one in operands)
        if len(operands) > _MOST_OPERANDS or (is_negative and not are_exact):
            return False
        tests = [test for one in operands for test in self._equal_tests(path, one)]
        if len(tests) < len(operands):
            return False
        joined = f"({' OR '.join(tests) or '0'})"
        self.tests.append(f"NOT {joined}" if is_negative else joined)
        if indexed and operands and not is_negative and not any(one is None for one in operands):
            values = [self.name(bound) for one in operands for bound in _bounds(one)]
            if len(values) == len(operands):
                self.of_indexes.append(f" AND {field_expression(str(indexed))} IN ({', '.join(values)}, x'00')")
        return are_exact

    def _equal_tests(self, path: str, operand: Any) -> Iterator[str]:
        if operand is None or isinstance(operand, (str, bool)):
            text = json.dumps(operand, ensure_ascii=False)
            yield f"json_extract(value, {path}, {path}) = {self.name(f'[{text},{text}]')}"
        elif _is_number(operand):
            slack = abs(operand) * _TOLERANCE
            low, high = self.name(operand - slack), self.name(operand + slack)
            yield f"json_extract(value, {path}) BETWEEN {low} AND {high}"


def _bounds(operand: Any) -> Iterator[Any]:
    """Yield the value of an indexed field that equals an operand, if there is exactly one."""
    is_text = isinstance(operand, str) and "\x00" not in operand
    if is_text or (isinstance(operand, int) and abs(operand) <= _LARGEST):
        yield operand


def _is_number(operand: Any) -> bool:
    """Return true for a number that SQLite compares well enough. This is false for NaN, which equals nothing."""
    return isinstance(operand, (int, float)) and not isinstance(operand, bool) and abs(operand) <= _LARGEST
