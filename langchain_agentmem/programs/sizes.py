"""Size estimates of values: work on large values runs in a worker thread, because it would stall the event loop.

An estimate stops as soon as the value is known to be large.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LARGE = 50_000
"""The size in characters or bytes from which encoding or decoding a value takes about a millisecond."""

LONG = 10_000
"""The number of characters from which analysing a text or counting its tokens may take about a millisecond."""

_PER_VALUE = 20
"""The size of a value without its text."""


def is_large(value: Any, bound: int = LARGE) -> bool:
    """Return true if a value has more than a number of characters or bytes.

    Args:
        value: Text, bytes, a number, a message, or a collection or mapping of such values, nested to any depth.
        bound: The number of characters or bytes. Default: `LARGE`.

    Example:
        >>> from langchain_agentmem.programs.sizes import is_large
        >>> is_large({"text": "short"}), is_large({"texts": ["long " * 20_000]})
        (False, True)
    """
    pending = [value]
    while pending:
        one = pending.pop()
        kind = type(one)
        if kind is str or isinstance(one, (str, bytes, bytearray)):
            bound -= len(one)
        elif kind is list or kind is tuple or isinstance(one, (list, tuple, set, frozenset)):
            bound -= _PER_VALUE * len(one)
            if bound > 0:
                pending.extend(one)
        elif kind is dict or isinstance(one, Mapping):
            bound -= _PER_VALUE * len(one)
            if bound > 0:
                pending.extend(one.values())
        elif (inner := getattr(one, "__dict__", None)) and not isinstance(one, type):
            # A message, or another object that is serialized field by field. Most fields are empty.
            bound -= _PER_VALUE
            pending.extend([field for field in inner.values() if isinstance(field, (str, bytes, list, dict)) and field])
        else:
            bound -= 1
        if bound < 0:
            return True
    return False


def is_long(texts: Iterable[str | None], bound: int = LONG) -> bool:
    """Return true if texts have more than a number of characters in total."""
    for text in texts:
        bound -= len(text or "")
        if bound < 0:
            return True
    return False
