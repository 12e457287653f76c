"""Programs of plain functions, and the one rule for rows that are alive."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def program(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a program of a plain function: it runs in the transaction, and yields no steps."""

    @wraps(function)
    def make(*args: Any, **kwargs: Any) -> Any:
        yield from ()
        return function(*args, **kwargs)

    return make


def alive(row: Any, now: float) -> bool:
    return row is not None and (row.expires_at is None or row.expires_at > now)
