"""Checks of serializers."""

from __future__ import annotations

from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidTypeError


def serializer_of(serde: Any) -> Any:
    """Return the serializer, or None for LangGraph's default.

    Raises:
        InvalidTypeError: It lacks the methods of a serializer.
    """
    pairs = (("dumps_typed", "loads_typed"), ("dumps", "loads"))  # LangGraph wraps serializers of the second kind
    if serde is not None and not any(all(callable(getattr(serde, name, None)) for name in pair) for pair in pairs):
        msg = f"serde must have the methods dumps_typed and loads_typed, as JsonPlusSerializer has; got {shown(serde)}."
        raise InvalidTypeError(msg)
    return serde
