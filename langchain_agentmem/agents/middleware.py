"""Memory for agents in one piece: what is known goes in, the conversation stays in its budget, what is new is learned."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import BaseTool
from langgraph.config import get_config

from langchain_agentmem.agents.recall import Recall
from langchain_agentmem.compression.compressor import MemoryCompressor
from langchain_agentmem.compression.middleware import compressed_request
from langchain_agentmem.errors import BudgetError, ConfigurationError
from langchain_agentmem.knowledge.extraction.face import ProfileExtractor
from langchain_agentmem.knowledge.namespaces import user_of
from langchain_agentmem.programs import Program, arun, run

_log = logging.getLogger(__name__)

_SHARES = (1.0, 0.25)
"""How much of what is known is tried, before a request goes without it."""


class MemoryMiddleware(AgentMiddleware[Any, Any]):
    """A middleware for `create_agent`; see `AgentMemory.middleware`.

    Args:
        compressor: What keeps the request in its budget.
        recall: What gives what is known.
        extractor: What learns from the conversation; None to learn nothing.
        tools: Tools that the agent gets. Default: none.
    """

    def __init__(
        self,
        compressor: MemoryCompressor,
        recall: Recall,
        extractor: ProfileExtractor | None,
        tools: Sequence[BaseTool] = (),
    ) -> None:
        super().__init__()
        self._recall = recall
        self.compressor = compressor
        """What keeps the request in its budget; its `events` tell what it did."""
        self._extractor = extractor
        self.tools = list(tools)

    @property
    def extractor(self) -> ProfileExtractor:
        """What learns from the conversation; its `flush` reads pending conversations now.

        Raises:
            ConfigurationError: This middleware learns nothing: it was made without a model, or with `learn=False`.
        """
        if self._extractor is None:
            msg = "This middleware has no extractor: it was made without a model, or with learn=False."
            raise ConfigurationError(msg)
        return self._extractor

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Add what is known, keep the request in its budget, and call the model."""
        return handler(run(self._prepared(request)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Same as `wrap_model_call`, but without blocking the event loop."""
        return await handler(await arun(self._prepared(request)))

    def after_agent(self, state: Any, runtime: Any) -> None:  # noqa: ARG002 (the config has it)
        """Learn from what is new in the conversation."""
        if self._extractor is not None:
            self._extractor.invoke(state, get_config())

    async def aafter_agent(self, state: Any, runtime: Any) -> None:  # noqa: ARG002 (the config has it)
        """Same as `after_agent`, but without blocking the event loop."""
        if self._extractor is not None:
            await self._extractor.ainvoke(state, get_config())

    def _prepared(self, request: ModelRequest[Any]) -> Program[ModelRequest[Any]]:
        asked = next((one for one in reversed(request.messages) if isinstance(one, HumanMessage)), None)
        user_id = user_of(get_config(), request.state)
        known = yield from self._recall.known(user_id, "" if asked is None else str(asked.text))
        for share in _SHARES:
            text = self._recall.text(known, share)
            if text:
                try:
                    extended = request.override(system_message=_with(request.system_message, text))
                    return (yield from compressed_request(self.compressor.engine, extended))
                except BudgetError as error:
                    _log.warning("A request has no room for all that is known: it gets less of it. %s", error)
        return (yield from compressed_request(self.compressor.engine, request))


def _with(system: SystemMessage | None, text: str) -> SystemMessage:
    """A system message with a text after it."""
    if system is None:
        return SystemMessage(text)
    content: Any = system.content
    joined = f"{content}\n\n{text}" if isinstance(content, str) else [*content, {"type": "text", "text": text}]
    return system.model_copy(update={"content": joined})
