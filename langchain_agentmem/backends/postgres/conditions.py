"""Filters of items as conditions of Postgres: a JSON path, and conditions on indexed fields."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from typing import Any

from langchain_agentmem.backends.postgres.statements import qualifier
from langchain_agentmem.programs import Execute, Fetch, Program, storage_program

_COMPARISONS = {"$eq": "==", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

_FIND_INDEXES = """
SELECT class.relname FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS schema
    ON schema.oid = class.relnamespace
WHERE class.relkind = 'i' AND class.relname = ANY (%s::name[]) AND schema.nspname = coalesce(%s::name, current_schema())
"""


def path_of(condition: Mapping[str, Any] | None) -> str | None:
    """Return the part of a filter that Postgres evaluates with our semantics, as a JSON path; None if there is none."""
    parts = []
    for field, wanted in (condition or {}).items():
        operators = wanted if isinstance(wanted, Mapping) else {"$eq": wanted}
        for operator, operand in operators.items():
            if operator not in _COMPARISONS or "." in field or "\x00" in field or not _is_comparable(operator, operand):
                continue
            parts.append(f"$.{json.dumps(field)} {_COMPARISONS[operator]} {json.dumps(operand)}")
    return " && ".join(f"({part})" for part in parts) or None


def indexed_condition(
    condition: Mapping[str, Any] | None, indexed: Collection[str]
) -> tuple[str, dict[str, list[str]]]:
    """Return the conditions on indexed fields as SQL, and its parameters.

    Args:
        condition: The filter.
        indexed: The fields with an index.
    """
    sql = ""
    parameters: dict[str, list[str]] = {}
    for field, wanted in (condition or {}).items():
        operators = wanted if isinstance(wanted, Mapping) else {"$eq": wanted}
        operands = [operators["$eq"]] if "$eq" in operators else list(operators.get("$in", ()))
        if field in indexed and operands and all(_is_comparable("$eq", operand) for operand in operands):
            name = f"field_{len(parameters)}"
            parameters[name] = [json.dumps(operand) for operand in operands] + ['"agentmem:json"']
            sql += f" AND {_expression(field, 'item.')} = ANY (%({name})s::jsonb[])"
    return sql, parameters


@storage_program
def make_indexes(schema: str | None, fields: Collection[str]) -> Program[None]:
    """Create the indexes of fields that do not exist yet.

    An index by hash accepts values of any length. It also contains the values whose JSON text Postgres would alter.

    Args:
        schema: The schema of the tables; None for the first schema of the search path.
        fields: The fields, which `is_simple_field` accepts.
    """
    names = {_index_name(field): field for field in fields}
    existing = {name for (name,) in (yield from Fetch(_FIND_INDEXES, (list(names), schema)))}
    for name in names.keys() - existing:
        yield from Execute(
            f'CREATE INDEX IF NOT EXISTS "{name}" ON {qualifier(schema)}store USING hash ({_expression(names[name])})'
        )


def _index_name(field: str) -> str:
    """Return the name of the index of a field; Postgres cuts names after 63 bytes."""
    return f"agentmem_{zlib.crc32(field.encode()):08x}_{field}"[:63]


def _expression(field: str, table: str = "") -> str:
    return (
        f"(CASE WHEN {table}value ? 'agentmem:json' THEN '\"agentmem:json\"'::jsonb ELSE {table}value -> '{field}' END)"
    )


def _is_comparable(operator: str, operand: Any) -> bool:
    if isinstance(operand, str):
        return operator == "$eq" and "\x00" not in operand
    return isinstance(operand, (bool, int, float)) and abs(operand) < 1e15
