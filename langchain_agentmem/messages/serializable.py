"""Forms of messages that are sent or stored as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import UnsupportedValueError


def check_serializable(form: Any, where: str, refused: str) -> None:
    """Check that a form of a message consists of JSON values.

    Args:
        form: The form.
        where: The name of the message, for the error.
        refused: The end of "the message cannot …" in the error, such as "be sent to OpenAI".

    Raises:
        UnsupportedValueError: A value in it is none of JSON's, such as bytes, a set, a date or infinity.

    Example:
        >>> from langchain_agentmem.messages.serializable import check_serializable
        >>> check_serializable({"content": [{"data": b"x"}]}, "messages[0]", "be sent to OpenAI")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        langchain_agentmem.errors.UnsupportedValueError: messages[0] cannot be sent to OpenAI: its content[0].data is bytes...
    """
    found = _first_other(form, "")
    if found is not None:
        path, value = found
        msg = (
            f"{where} cannot {refused}: its {path.lstrip('.')} is {type(value).__name__} instead of a JSON value, got "
            f"{shown(value)}. Replace the message."
        )
        raise UnsupportedValueError(msg)


def _first_other(value: Any, path: str) -> tuple[str, Any] | None:
    """Return the path of the first value that is none of JSON's, and the value."""
    parts: Iterable[tuple[str, Any]] = ()
    if type(value) is dict:
        key = next((key for key in value if not isinstance(key, str)), None)
        if key is not None:
            return f"{path} key", key
        parts = ((f"{path}.{key}", inner) for key, inner in value.items())
    elif isinstance(value, (list, tuple)):
        parts = ((f"{path}[{at}]", inner) for at, inner in enumerate(value))
    elif not (value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))):
        return path, value
    return next((found for at, inner in parts if (found := _first_other(inner, at)) is not None), None)
