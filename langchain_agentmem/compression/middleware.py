"""The middleware for LangChain's `create_agent` that compresses each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import SystemMessage
from langgraph.config import get_config

from langchain_agentmem.compression.engine import CompressionEngine
from langchain_agentmem.programs import Program, arun, run


class CompressionMiddleware(AgentMiddleware[Any, Any]):
    """Compresses each request. The state's messages stay unchanged.

    Args:
        engine: The engine of a compressor.
    """

    def __init__(self, engine: CompressionEngine) -> None:
        super().__init__()
        self._engine = engine

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Compress the request, then call the model."""
        return handler(run(compressed_request(self._engine, request)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Same as `wrap_model_call`, but without blocking the event loop."""
        return await handler(await arun(compressed_request(self._engine, request)))


def compressed_request(engine: CompressionEngine, request: ModelRequest[Any]) -> Program[ModelRequest[Any]]:
    """Return a request to a model within the budget, tools and system message included.

    Args:
        engine: The engine of a compressor.
        request: The request.
    """
    system = [] if request.system_message is None else [request.system_message]
    yield from engine.counter.prepare()
    tokens = engine.counter.tools(request.tools)
    messages: list[Any] = yield from engine.compress([*system, *request.messages], get_config(), tokens)
    if messages and system and isinstance(messages[0], SystemMessage):
        return request.override(system_message=messages[0], messages=messages[1:])
    return request.override(messages=messages)
