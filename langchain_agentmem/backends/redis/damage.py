"""Damaged data: errors of scripts and programs that show that stored data was altered."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeVar, cast

from redis.exceptions import ResponseError

from langchain_agentmem.backends.redis.scripts import AskServers, Invoke, InvokeAll, InvokeEach, ScanKeys
from langchain_agentmem.errors import AgentMemError, DamagedDataError
from langchain_agentmem.programs import All, Program, Step
from langchain_agentmem.programs.signals import came_by_signal

T = TypeVar("T")

_SCRIPT_ERRORS = (
    # Errors of Redis commands
    *("WRONGTYPE", "wrong kind of value", "is not an integer", "is not a valid float", "is not a float"),
    *("smaller than the target stream", "index is NaN", "Invalid stream ID"),
    # Errors of Lua
    *("attempt to ", "bad argument", "data string too short", "too short", "Bad data format", "Missing bytes"),
    # Errors of the scripts' own function `damaged`
    "damaged: ",
)
"""Parts of the texts of errors that only damaged data causes."""

_READ_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)
"""Errors that a program raises when it decodes damaged data."""


def raise_script_error(invocation: Invoke, error: Exception) -> None:
    """Raise the error of a script, or a `DamagedDataError` if damaged data caused it."""
    text = str(error)
    if isinstance(error, ResponseError) and any(part in text for part in _SCRIPT_ERRORS):
        raise _damaged(invocation, text) from error
    raise error


def checked(
    program: Program[T],
    perform: Callable[[AskServers | ScanKeys | Invoke | InvokeEach | InvokeAll | All], Program[Any]],
) -> Program[T]:
    """Run a storage program, and raise a `DamagedDataError` if it cannot decode an answer.

    Args:
        program: The program.
        perform: Performs the steps that run scripts.
    """
    inner = iter(program)
    last: Invoke | InvokeEach | InvokeAll | All | None = None
    proceed: Callable[[Any], Step[Any]] = inner.send
    value: Any = None
    try:
        while True:
            try:
                step = proceed(value)
            except StopIteration as done:
                return cast("T", done.value)
            except _READ_ERRORS as error:
                invocation = _first_invocation(last)
                if invocation is None or error is value or isinstance(error, AgentMemError) or came_by_signal(error):
                    raise
                raise _damaged(invocation, f"{type(error).__name__}: {error}") from error
            try:
                if isinstance(step, (AskServers, ScanKeys, Invoke, InvokeEach, InvokeAll, All)):
                    last = None if isinstance(step, (AskServers, ScanKeys)) else step
                    value = yield from perform(step)
                else:
                    value = yield step
                proceed = inner.send
            except Exception as error:
                value, proceed = error, inner.throw
    finally:
        value = None  # the traceback of an error refers to this frame
        inner.close()


def _first_invocation(step: Any) -> Invoke | InvokeEach | None:
    if isinstance(step, All):
        step = next(iter(step.steps), None)
    return next(iter(step.invocations), None) if isinstance(step, InvokeAll) else step


def _damaged(invocation: Invoke | InvokeEach, text: str) -> DamagedDataError:
    return DamagedDataError(
        f"The stored data of {invocation.script.kind} (key {invocation.keys[0]!r} and related keys) cannot be read: it was "
        f"damaged or altered ({text})."
    )
