"""Values as JSON text, which LangGraph's store contract promises and every database can filter."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.values import reason_of, shown
from langchain_agentmem.encoding import limits
from langchain_agentmem.encoding.limits import MAX_INTEGER_BITS, MAX_JSON_DEPTH
from langchain_agentmem.errors import DamagedDataError, InvalidInputError, UnsupportedValueError

_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
"""Encodes values whose depth is checked: `is_plain_json` and `plain_json` refuse a value that contains itself."""


def dump_json(value: Mapping[str, Any], what: str = "value") -> str:
    """Return a store value as JSON text.

    Args:
        value: A mapping with string keys. It may contain mappings, lists, tuples, strings, numbers, booleans and None.
            Tuples come back as lists, as in JSON.
        what: The name of the value, for errors. Default: `"value"`.

    Raises:
        UnsupportedValueError: The mapping contains another type; the error says where.
        InvalidInputError: The value is too large, nested too deep, or contains half of a surrogate pair.

    Example:
        >>> from langchain_agentmem.encoding.json_values import dump_json
        >>> dump_json({"food": "pizza"})
        '{"food":"pizza"}'
    """
    if not isinstance(value, Mapping):
        msg = f"{what} must be a mapping such as a dict, got {type(value).__name__}: {shown(value)}."
        raise UnsupportedValueError(msg)
    return dump_json_value(value, what)


def dump_json_value(value: Any, where: str) -> str:
    """Return a JSON value of any type as JSON text; see `dump_json`.

    Args:
        value: The value.
        where: The name of the value, for errors.

    Example:
        >>> from langchain_agentmem.encoding.json_values import dump_json_value
        >>> dump_json_value(["pizza", 3], "The value")
        '["pizza",3]'
    """
    text = _encode(value if is_plain_json(value) else plain_json(value, where))
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            _check_texts(where, value)
            raise
    if len(text) > limits.MAX_VALUE_BYTES:
        msg = (
            f"A value of {len(text):,} characters is too large: at most {limits.MAX_VALUE_BYTES:,} bytes are accepted."
        )
        raise InvalidInputError(msg)
    return text


def load_json(text: str) -> dict[str, Any]:
    """Return the value that `dump_json` wrote.

    Raises:
        DamagedDataError: The text is not a JSON object.
    """
    value = load_json_value(text)
    if not isinstance(value, dict):
        msg = f"Expected a stored mapping, found a {type(value).__name__}: the row was damaged or altered."
        raise DamagedDataError(msg)
    return value


def load_json_value(text: str) -> Any:
    """Return the value that `dump_json_value` wrote.

    Raises:
        DamagedDataError: The text is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        msg = f"A stored value is not JSON: the row was damaged or altered. Cause: {reason_of(error)}."
        raise DamagedDataError(msg) from error


def is_plain_json(value: Any, depth: int = 0) -> bool:
    """Return true if a value is known to come back from JSON unchanged; false for values of unusual types."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is dict:
        if depth >= MAX_JSON_DEPTH:
            return False
        for key, inner in value.items():
            if type(key) is not str or not (type(inner) is str or is_plain_json(inner, depth + 1)):
                return False
        return True
    if kind is list:
        return depth < MAX_JSON_DEPTH and all(is_plain_json(inner, depth + 1) for inner in value)
    return (kind is int and value.bit_length() <= MAX_INTEGER_BITS) or (kind is float and math.isfinite(value))


def dump_exact_json(value: Any) -> str | None:
    """Return a value as JSON text, or None if Postgres' JSON would alter it.

    Postgres keeps neither NUL characters nor the order of keys, and stores numbers by their digits only.

    Args:
        value: Any value.
    """
    return json.dumps(value) if _is_exact(value) else None


def _is_exact(value: Any) -> bool:
    if isinstance(value, str):
        return type(value) is str and _is_exact_text(value)
    if isinstance(value, float):
        # Postgres returns 1e16 as an integer, and -0.0 without its sign.
        return type(value) is float and abs(value) < 1e16 and not (value == 0 and math.copysign(1, value) < 0)
    if type(value) is dict:
        return all(type(key) is str and _is_exact_text(key) and _is_exact(inner) for key, inner in value.items())
    if type(value) is list:
        return all(map(_is_exact, value))
    return value is None or type(value) is bool or (type(value) is int and value.bit_length() <= MAX_INTEGER_BITS)


def _is_exact_text(text: str) -> bool:
    if "\x00" in text:
        return False
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def check_json(value: Any, where: str) -> None:
    """Refuse a value that JSON cannot express; the error says where.

    Args:
        value: The value.
        where: The name of the value, for errors.

    Raises:
        UnsupportedValueError: The value contains another type, NaN or an infinity.
        InvalidInputError: The value is nested too deep, or contains an integer that is too large or half of a surrogate pair.
    """
    plain_json(value, where)
    _check_texts(where, value)


def plain_json(value: Any, where: str, depth: int = 0) -> Any:
    """Return a value with dicts and lists in place of other mappings and tuples; refuse what JSON cannot express.

    Args:
        value: The value.
        where: The name of the value, for errors.
        depth: How deep the value is nested in another. Default: 0.

    Raises:
        UnsupportedValueError: The value contains another type, NaN or an infinity.
        InvalidInputError: The value is nested too deep, or contains an integer that is too large.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)):
        return _checked_number(value, where)
    if depth >= MAX_JSON_DEPTH:
        msg = f"{where[:80]}… is nested deeper than {MAX_JSON_DEPTH} levels."
        raise InvalidInputError(msg)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                msg = f"{where} has the key {shown(key)}: keys must be strings, got {type(key).__name__}."
                raise UnsupportedValueError(msg)
        return {key: plain_json(inner, f"{where}[{shown(key)}]", depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(inner, f"{where}[{index}]", depth + 1) for index, inner in enumerate(value)]
    msg = (
        f"{where} is of type {type(value).__name__}: a stored value may contain only mappings, lists, strings, numbers, "
        f"booleans and None. Convert it first, for example a datetime with .isoformat()."
    )
    raise UnsupportedValueError(msg)


def _check_texts(where: str, value: Any) -> None:
    """Refuse half of a surrogate pair anywhere in a value that JSON can express; the error says where."""
    if isinstance(value, str):
        check_text(where, value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            check_text(f"A key of {where}", key)
            _check_texts(f"{where}[{shown(key)}]", inner)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            _check_texts(f"{where}[{index}]", inner)


def _checked_number(value: float, where: str) -> float:
    if isinstance(value, int):
        if value.bit_length() <= MAX_INTEGER_BITS:
            return value
        msg = f"{where} is an integer of {value.bit_length():,} bits; at most {MAX_INTEGER_BITS:,} are accepted."
        raise InvalidInputError(msg)
    if math.isfinite(value):
        return value
    msg = f"{where} is {shown(value)}, which JSON cannot express; use None or a string."
    raise UnsupportedValueError(msg)
