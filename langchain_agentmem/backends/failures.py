"""Translation of a database driver's errors into errors of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NamedTuple

from langchain_agentmem.errors import AgentMemError


class Rule(NamedTuple):
    """A rule for errors of a driver. The first rule of a table that matches an error applies."""

    kinds: type[Exception] | tuple[type[Exception], ...]
    """The classes of the errors."""
    error: type[AgentMemError]
    """The class of the error that replaces them."""
    text: str
    """The text of that error, a format string."""
    sign: str = ""
    """A part of the driver's message."""


def error_for(rules: Iterable[Rule], error: Exception, **values: str) -> AgentMemError | None:
    """Return the error of this package for an error of the driver; None if no rule matches.

    Args:
        rules: The rules.
        error: The driver's error.
        **values: The values for the texts of the rules.

    Example:
        >>> from langchain_agentmem.backends.failures import Rule, error_for
        >>> from langchain_agentmem.errors import StorageBusyError
        >>> rules = [Rule(OSError, StorageBusyError, "The file is busy: {text}.", sign="busy")]
        >>> error_for(rules, OSError("busy"), text="busy")
        StorageBusyError('The file is busy: busy.')
    """
    message: str | None = None
    for rule in rules:
        if isinstance(error, rule.kinds):
            if rule.sign and message is None:
                message = str(error)
            if not rule.sign or rule.sign in (message or ""):
                return rule.error(rule.text.format(**values))
    return None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message without its final period, for a sentence that quotes it."""
    return str(error).strip().partition("\n")[0].rstrip(".")


class Translated:
    """Context manager that replaces a driver's errors.

    Args:
        kinds: The classes of the driver's errors. Other exceptions pass unchanged, such as those of a signal handler.
        translate: Function that returns the error to raise.

    Example:
        >>> from langchain_agentmem.backends.failures import Translated
        >>> from langchain_agentmem.errors import StorageError
        >>> with Translated(OSError, lambda error: StorageError(f"Cannot read: {error}.")):
        ...     raise OSError("disk failure")
        Traceback (most recent call last):
        langchain_agentmem.errors.StorageError: Cannot read: disk failure.
    """

    __slots__ = ("_kinds", "_translate")

    def __init__(
        self, kinds: type[Exception] | tuple[type[Exception], ...], translate: Callable[[Exception], Exception]
    ) -> None:
        self._kinds = kinds
        self._translate = translate

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, self._kinds):
            raise self._translate(error) from error
