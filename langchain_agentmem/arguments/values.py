"""Checks of counts, flags, functions and lists."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from langchain_agentmem.errors import InvalidInputError, InvalidTypeError

LARGEST_COUNT = 2**40
"""The largest count that backends receive: more than any database holds, and small enough for their arithmetic."""
_LARGEST_ACCEPTED = 2**63 - 1


def check_count(what: str, value: Any, *, least: int = 1) -> int:
    """Return a count that backends can calculate with.

    Args:
        what: The name of the argument, for the error.
        value: The count.
        least: The smallest accepted count. Default: 1.

    Returns:
        The count, but at most `LARGEST_COUNT`: callers pass `sys.maxsize` for "all".

    Raises:
        InvalidTypeError: The count is not an `int`.
        InvalidInputError: The count is smaller than `least`, or larger than 2**63 - 1.
    """
    if type(value) is int and least <= value <= LARGEST_COUNT:
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{what} must be a whole number, got {type(value).__name__}: {shown(value)}."
        raise InvalidTypeError(msg)
    if value < least:
        msg = f"{what} must be at least {least}, got {shown(value)}."
        raise InvalidInputError(msg)
    if value > _LARGEST_ACCEPTED:
        msg = f"{what} must be at most {_LARGEST_ACCEPTED:,}, got {shown(value)}."
        raise InvalidInputError(msg)
    return min(value, LARGEST_COUNT)


def check_flag(what: str, value: Any) -> bool:
    """Return a flag.

    Args:
        what: The name of the argument, for the error.
        value: The flag.

    Raises:
        InvalidTypeError: The value is neither True nor False.
    """
    if not isinstance(value, bool):
        msg = f"{what} must be True or False, got {type(value).__name__}: {shown(value)}."
        raise InvalidTypeError(msg)
    return value


def check_callable(what: str, value: Any) -> None:
    """Check that a value can be called.

    Args:
        what: The name of the argument, for the error.
        value: The value.

    Raises:
        InvalidTypeError: The value is not callable.
    """
    if not callable(value):
        msg = f"{what} must be a function, got {type(value).__name__}: {shown(value)}."
        raise InvalidTypeError(msg)


def check_function(what: str, value: Any) -> None:
    """Check an optional callback. Coroutine functions are refused, because the package does not await its callbacks.

    Args:
        what: The name of the argument, for the error.
        value: A plain function or None.

    Raises:
        InvalidTypeError: The value is neither a plain function nor None.
    """
    if value is None:
        return
    coroutine = any(map(inspect.iscoroutinefunction, (value, getattr(value, "__call__", None))))  # noqa: B004 (its own)
    if coroutine or not callable(value):
        kind = "a coroutine function, which nobody would await" if coroutine else type(value).__name__
        msg = f"{what} must be a plain function, got {kind}: {shown(value)}."
        raise InvalidTypeError(msg)


def check_list(what: str, value: Any, of: str = "strings") -> list[Any]:
    """Return the values of an iterable, and refuse a single value in its place, such as a string or a mapping.

    Args:
        what: The name of the argument, for the error.
        value: The iterable.
        of: The plural name of its values, for the error. Default: `"strings"`.

    Raises:
        InvalidTypeError: The value is not an iterable of values.
    """
    if isinstance(value, (str, bytes, bytearray, Mapping, BaseModel)) or not isinstance(value, Iterable):
        msg = f"{what} must be a list of {of}, got {type(value).__name__}: {shown(value)}. Put a single value in brackets."
        raise InvalidTypeError(msg)
    return list(value)


def shown(value: Any, most: int = 100) -> str:
    """Return the first characters of a value's `repr`, for an error.

    Args:
        value: The value.
        most: The maximum number of characters. Default: 100.

    Example:
        >>> from langchain_agentmem.arguments.values import shown
        >>> shown("alice"), shown("alice", 3)
        ("'alice'", "'ali'…")
    """
    if isinstance(value, (str, bytes)) and len(value) > most:
        return f"{shown(value[:most])}…"
    try:
        text = repr(value)
        return text if len(text) <= most else f"{text[:most]}…"
    except (ValueError, RecursionError):  # an integer of more than 4,300 digits; endless nesting
        return f"a value of type {type(value).__name__} that is too long to show"
    except Exception:  # of the value's own `__repr__`, which must not replace the error that shows it
        return f"a value of type {type(value).__name__} whose repr failed"


def reason_of(error: BaseException, most: int = 300) -> str:
    """Return the first line of another library's error for the sentence "Cause: …": shortened, without a final period.

    Args:
        error: The error.
        most: The maximum number of characters. Default: 300.

    Example:
        >>> from langchain_agentmem.arguments.values import reason_of
        >>> reason_of(ValueError("Input should be a number."))
        'Input should be a number'
        >>> reason_of(KeyError())
        'KeyError'
    """
    lines = str(error).strip().splitlines()
    return lines[0][:most].rstrip(" .") if lines else type(error).__name__
