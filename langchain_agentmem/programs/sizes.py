"""How much there is to do: what takes an event loop milliseconds is done in a worker thread.

The sizes are estimates. Counting stops as soon as a value is known to be large, so that it costs little itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LARGE = 50_000
"""From so many characters or bytes on, encoding or decoding a value takes about a millisecond."""

LONG = 10_000
"""From so many characters on, analysing a text or counting its tokens may take as long: each new word is brought to its
basic form."""

_EACH = 20
"""What a value counts beside its text."""


def is_large(value: Any, bound: int = LARGE) -> bool:
    """Whether a value holds more than a number of characters or bytes.

    Args:
        value: Texts, bytes, numbers, messages, and mappings and collections of them, nested as deep as may be.
        bound: The number. Default: `LARGE`.

    Example:
        >>> from langchain_agentmem.programs.sizes import is_large
        >>> is_large({"text": "short"}), is_large({"texts": ["long " * 20_000]})
        (False, True)
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (str, bytes, bytearray)):
            bound -= len(one)
        elif isinstance(one, Mapping):
            bound -= _EACH * len(one)
            if bound > 0:
                waiting.extend(one.values())
        elif isinstance(one, (list, tuple, set, frozenset)):
            bound -= _EACH * len(one)
            if bound > 0:
                waiting.extend(one)
        elif (inner := getattr(one, "__dict__", None)) and not isinstance(one, type):
            # A message, or another object that is serialised by its fields. Most fields are empty.
            bound -= _EACH
            waiting.extend(field for field in inner.values() if isinstance(field, (str, bytes, list, dict)) and field)
        else:
            bound -= 1
        if bound < 0:
            return True
    return False


def is_long(texts: Iterable[str | None], bound: int = LONG) -> bool:
    """Whether texts have more than a number of characters together."""
    for text in texts:
        bound -= len(text or "")
        if bound < 0:
            return True
    return False
