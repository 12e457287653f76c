"""Errors for damaged data, with the name of the item, message or checkpoint that the data belongs to."""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import TracebackType

from langchain_agentmem.arguments.values import reason_of
from langchain_agentmem.errors import AgentMemError, DamagedDataError

_RAISED_BY_DAMAGE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, OSError, struct.error)


class reading:  # noqa: N801 (used as a statement: `with reading(…):`)
    """Context manager: report errors as damage to stored data.

    Use it around code that decodes the results of a database, and that runs no code of the application. Errors of this
    package pass unchanged, except for a `DamagedDataError` without a name, which is raised again with the name.

    Args:
        what: The name of the data, such as `"Message 3 of session 'a'"`; or a function that returns that.

    Example:
        >>> from langchain_agentmem.encoding.damage import reading
        >>> try:
        ...     with reading("Item 'a'"):
        ...         int("damaged")
        ... except ValueError as error:
        ...     print("not reported")
        ... except Exception as error:
        ...     print(type(error).__name__)
        DamagedDataError
    """

    def __init__(self, what: str | Callable[[], str]) -> None:
        self._given = what

    @property
    def _what(self) -> str:
        return self._given if isinstance(self._given, str) else self._given()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, DamagedDataError):
            if not error.is_named:
                msg = f"{self._what}: {error}"
                raise _named(msg, type(error)) from error
        elif isinstance(error, _RAISED_BY_DAMAGE) and not isinstance(error, (AgentMemError, TimeoutError)):
            cause = f"{type(error).__name__}: {reason_of(error)}"
            msg = f"{self._what} cannot be read: it was damaged or altered. Cause: {cause}."
            raise _named(msg) from error


def _named(text: str, kind: type[DamagedDataError] = DamagedDataError) -> DamagedDataError:
    error = kind(text)
    error.is_named = True
    return error
