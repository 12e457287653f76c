"""Comparison of JSON values: exact, as text, and as models write values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from langchain_agentmem.knowledge.names import folded_sentence


def same(one: Any, other: Any) -> bool:
    """Return true if two JSON values are equal. `True` and 1 differ.

    Example:
        >>> from langchain_agentmem.knowledge.facts.equality import same
        >>> same({"a": [1]}, {"a": [1.0]}), same(True, 1)
        (True, False)
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def same_scalar(one: Any, other: Any) -> bool:
    """Return true if two JSON values are the same, or the same number or truth value, once written as text.

    Example:
        >>> from langchain_agentmem.knowledge.facts.equality import same_scalar
        >>> same_scalar("7", 7), same_scalar("true", True), same_scalar("7", "07")
        (True, True, False)
    """
    if same(one, other):
        return True
    text, value = (one, other) if isinstance(one, str) else (other, one)
    return isinstance(text, str) and isinstance(value, (bool, int, float)) and same(_scalar_in(text), value)


def matches(given: Any, stored: Any) -> bool:
    """Return true if a value that a model wrote refers to a stored value. Case, spaces and a final full stop are ignored.

    Example:
        >>> from langchain_agentmem.knowledge.facts.equality import matches
        >>> matches("greek ", "Greek"), matches("vegan", "vegetarian")
        (True, False)
    """
    if isinstance(given, str) and isinstance(stored, str):
        return given == stored or folded_sentence(given) == folded_sentence(stored)
    return same_scalar(given, stored)


def _scalar_in(text: str) -> Any:
    """Return the JSON number, boolean or string in a text; None if it holds none."""
    text = text.strip().lower()
    try:
        return None if text.startswith(("[", "{")) else json.loads(text)
    except ValueError:
        return None
