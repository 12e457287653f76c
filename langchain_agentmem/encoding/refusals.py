"""Errors of decoders, and the errors for values that cannot be serialized."""

from __future__ import annotations

import pickle
import struct
import zlib
from typing import Any

from langchain_agentmem.arguments.values import reason_of
from langchain_agentmem.errors import InvalidInputError, UnsupportedValueError
from langchain_agentmem.programs.signals import came_by_signal

UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, ImportError, NotImplementedError, RecursionError),
    *(ArithmeticError, EOFError, AssertionError, zlib.error, struct.error, pickle.PickleError),
)
"""The errors that decoders raise for bytes that they cannot read.

Other errors, such as the exception of a job queue's time limit, are not caught.
"""


def unsupported(value: Any, error: BaseException) -> Exception:
    """Return the error for a value that a serializer refused.

    Args:
        value: The value.
        error: The serializer's error.
    """
    if isinstance(error, (UnsupportedValueError, InvalidInputError)):
        return error
    if "surrogate" in str(error):
        return half_surrogate(value)
    return UnsupportedValueError(f"A {type(value).__name__} cannot be stored. Cause: {reason_of(error)}.")


def half_surrogate(value: Any) -> InvalidInputError:
    """Return the error for a value whose text contains half of a surrogate pair."""
    return InvalidInputError(
        f"A {type(value).__name__} contains half of a surrogate pair, which is not text. "
        f"Replace it first, for example with text.encode(errors='replace').decode()."
    )


def text_of_error(error: BaseException) -> str:
    """Return an exception as text that can be stored."""
    try:
        text = repr(error)
    except Exception as problem:  # the exception's own code may raise any error
        if came_by_signal(problem):
            raise
        text = f"{type(error).__qualname__}(…), whose repr failed: {type(problem).__qualname__}"
    return text.encode(errors="replace").decode()
