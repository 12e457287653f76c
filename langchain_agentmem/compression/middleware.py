"""The middleware for LangChain's `create_agent` that compresses each request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.structured_output import OutputToolBinding, ProviderStrategy, ToolStrategy
from langchain_core.messages import SystemMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.config import get_config

from langchain_agentmem.compression.engine import CompressionEngine
from langchain_agentmem.programs import Program, arun, run

_SCHEMA_SETTINGS = ("tools", "functions", "response_format")
"""The model settings that contain schemas."""


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
    tokens = schema_tokens(engine, request)
    messages: list[Any] = yield from engine.compress([*system, *request.messages], get_config(), tokens)
    if messages and system and isinstance(messages[0], SystemMessage):
        return request.override(system_message=messages[0], messages=messages[1:])
    return request.override(messages=messages)


def schema_tokens(engine: CompressionEngine, request: ModelRequest[Any]) -> int:
    """Return the tokens of a request's tools, of the schemas of its response format, and of tools in its model settings.

    Args:
        engine: Counts tokens.
        request: The request.
    """
    settings = [request.model_settings[name] for name in _SCHEMA_SETTINGS if name in request.model_settings]
    further = [one for given in settings for one in (given if isinstance(given, list) else [given])]
    return engine.counter.tools([*request.tools, *_response_schemas(request.response_format), *further])


def _response_schemas(response_format: Any) -> list[dict[str, Any]]:
    """Return the schemas of a response format as tools. A provider that takes a JSON schema receives the same texts."""
    if response_format is None:
        return []
    if isinstance(response_format, ProviderStrategy):
        specs = [response_format.schema_spec]
    elif isinstance(response_format, ToolStrategy):
        specs = response_format.schema_specs
    else:
        specs = ToolStrategy(getattr(response_format, "schema", response_format)).schema_specs
    return [convert_to_openai_tool(OutputToolBinding.from_schema_spec(spec).tool) for spec in specs]
