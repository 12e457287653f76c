"""Callbacks of calls to a model whose answer no user sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import BaseCallbackManager

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_MODULES = ("langgraph", "langchain_core.tracers.event_stream", "langchain_core.tracers.log_stream")
_METHOD = "tap_output_iter"
_MARKER = "_V2StreamingCallbackHandler"


def is_streaming(handler: Any) -> bool:
    """Return true if a callback handler makes LangChain stream the answers of models."""
    kind = type(handler)
    of_langchain = kind.__module__.startswith(_MODULES) or any(one.__name__ == _MARKER for one in kind.__mro__)
    return of_langchain or hasattr(handler, _METHOD)


def without_streaming(config: RunnableConfig | None) -> RunnableConfig:
    """Return a config without the callback handlers that stream.

    With such a handler, LangChain calls a model as a stream, and completes the JSON of a tool call if the stream ends early.

    Args:
        config: The config of the run; it stays unchanged.
    """
    given: dict[str, Any] = {**(config or {})}
    callbacks = given.get("callbacks")
    if isinstance(callbacks, BaseCallbackManager):
        kept = callbacks.copy()
        for handler in {id(one): one for one in (*callbacks.handlers, *callbacks.inheritable_handlers)}.values():
            if is_streaming(handler):
                kept.remove_handler(handler)
        given["callbacks"] = kept
    else:
        given["callbacks"] = [one for one in callbacks or () if not is_streaming(one)]
    return cast("RunnableConfig", given)
