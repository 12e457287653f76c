"""Deprecated alias: use `from langchain_agentmem import TokenCounter`."""

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    if name != "TokenCounter":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from langchain_agentmem.messages.tokens import TokenCounter

    warnings.warn(
        "langchain_agentmem.tokens is deprecated. Use `from langchain_agentmem import TokenCounter`.",
        DeprecationWarning,
        stacklevel=2,
    )
    return TokenCounter
