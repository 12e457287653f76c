"""The middleware for LangChain's `create_agent` that compresses each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse

from langchain_agentmem.compression.context_tools import context_tools
from langchain_agentmem.compression.engine import CompressionEngine
from langchain_agentmem.compression.model_calls import ModelCalls, Texts
from langchain_agentmem.programs import Program, arun, run


class CompressionMiddleware(AgentMiddleware[Any, Any]):
    """Compresses each request. The state's messages stay unchanged.

    Args:
        engine: The engine of a compressor.
        tools: If true, the agent gets the tools `read_stored_result` and `compact_conversation`. Default: False.
    """

    def __init__(self, engine: CompressionEngine, *, tools: bool = False) -> None:
        super().__init__()
        self.tools = context_tools() if tools else []
        self._calls = ModelCalls(engine, is_readable=tools)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Compress the request, then call the model."""
        return run(self._calls.answered(request, handler, _nothing))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Same as `wrap_model_call`, but without blocking the event loop."""
        return await arun(self._calls.answered(request, handler, _nothing))


def _nothing() -> Program[list[Texts]]:
    yield from ()
    return []
