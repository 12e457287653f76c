"""Texts that the JSON of an item must contain to pass a filter: a quick test before the exact one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MAX_COMPARABLE = 1e15
_MAX_TEXTS = 20


def required_texts(condition: Mapping[str, Any] | None) -> list[str]:
    """Return texts of which the JSON of every value that passes a filter contains one; none if that is unknown.

    Args:
        condition: The filter.

    Example:
        >>> from langchain_agentmem.backends.requirements import required_texts
        >>> required_texts({"color": {"$in": ["red", "blue"]}})
        ['"color":"red"', '"color":"blue"']
    """
    for field, wanted in (condition or {}).items():
        operators = wanted if isinstance(wanted, Mapping) else {"$eq": wanted}
        operands = [operators["$eq"]] if "$eq" in operators else list(operators.get("$in", ()))
        if 0 < len(operands) <= _MAX_TEXTS and "." not in field and all(map(_is_comparable, operands)):
            name = json.dumps(field, ensure_ascii=False)
            return [f"{name}:{json.dumps(operand, ensure_ascii=False)}" for operand in operands]
    return []


def _is_comparable(operand: Any) -> bool:
    """Return true if the JSON of equal values begins alike: 5 equals 5.0, but 0 equals -0.0, and 1e15 has an exponent."""
    return type(operand) is str or (type(operand) is int and 0 < abs(operand) < _MAX_COMPARABLE)
