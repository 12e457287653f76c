"""Compression for agents: a middleware for LangChain's `create_agent`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import SystemMessage
from langgraph.config import get_config

from langchain_agentmem.programs import Program, arun, run

if TYPE_CHECKING:
    from langchain_agentmem.compression.compressor import MemoryCompressor


class CompressionMiddleware(AgentMiddleware[Any, Any]):
    """Compresses what the model is sent; the state's messages stay as they are.

    Args:
        compressor: What compresses.
    """

    def __init__(self, compressor: MemoryCompressor) -> None:
        super().__init__()
        self._compressor = compressor

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Compress, then call the model."""
        return handler(run(self.compressed(request)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Same as `wrap_model_call`, but without blocking the event loop."""
        return await handler(await arun(self.compressed(request)))

    def compressed(self, request: ModelRequest[Any]) -> Program[ModelRequest[Any]]:
        """The request, in the budget."""
        system = [] if request.system_message is None else [request.system_message]
        yield from self._compressor.counter.prepare()
        tokens = self._compressor.counter.tools(request.tools)
        messages: list[Any] = yield from self._compressor.compressing(
            [*system, *request.messages], get_config(), tokens
        )
        if messages and system and isinstance(messages[0], SystemMessage):
            return request.override(system_message=messages[0], messages=messages[1:])
        return request.override(messages=messages)
