"""The middleware that gives an agent its memory: recall, compression and extraction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.tools import BaseTool
from langgraph.config import get_config

from langchain_agentmem.agents.prefix import ThreadPrefixes
from langchain_agentmem.agents.turns import CurrentTurns
from langchain_agentmem.compression.compressor import MemoryCompressor
from langchain_agentmem.compression.context_tools import context_tools
from langchain_agentmem.compression.model_calls import ModelCalls, Texts
from langchain_agentmem.errors import ConfigurationError
from langchain_agentmem.knowledge.extraction.face import ProfileExtractor
from langchain_agentmem.knowledge.namespaces import user_of
from langchain_agentmem.programs import Nested, Program, arun, run
from langchain_agentmem.prompting.recall.user_knowledge import UserKnowledge

_SHARES = (1.0, 0.25)
"""Shares of the recalled text to try in this order. The last one is for requests that have little room."""


class MemoryMiddleware(AgentMiddleware[Any, Any]):
    """A middleware for `create_agent`; see `AgentMemory.middleware`.

    Args:
        compressor: Keeps requests within its budget.
        recall: Reads what is stored about the user.
        extractor: Extracts from the conversation; None to extract nothing.
        tools: Tools for the agent. Default: none.
        manages_context: If true, the agent also gets `read_stored_result` and `compact_conversation`. Default: False.
    """

    def __init__(
        self,
        compressor: MemoryCompressor,
        recall: UserKnowledge,
        extractor: ProfileExtractor | None,
        tools: Sequence[BaseTool] = (),
        *,
        manages_context: bool = False,
    ) -> None:
        super().__init__()
        self._prefixes = ThreadPrefixes(recall)
        self.compressor = compressor
        """Keeps requests within its budget. Its `events` report each compression."""
        self._calls = ModelCalls(compressor.engine, is_readable=manages_context)
        self._extractor = extractor
        self._turns = CurrentTurns()
        self.tools = [*tools, *(context_tools() if manages_context else ())]

    @property
    def name(self) -> str:
        """The name in an agent. Deep Agents replaces its own middleware of the same name, and it has a `MemoryMiddleware`."""
        return "AgentMemMiddleware"

    @property
    def extractor(self) -> ProfileExtractor:
        """Extracts from the conversation; its `flush` runs pending extraction now.

        Raises:
            ConfigurationError: This middleware extracts nothing: it was created without a model, or with `learn=False`.
        """
        if self._extractor is None:
            msg = "This middleware has no extractor: it was created without a model, or with learn=False."
            raise ConfigurationError(msg)
        return self._extractor

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Add the recalled text to the request, fit the request into its budget, and call the model."""
        return run(self._calls.answered(request, handler, lambda: self._texts(request)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Same as `wrap_model_call`, but without blocking the event loop."""
        return await arun(self._calls.answered(request, handler, lambda: self._texts(request)))

    def after_agent(self, state: Any, runtime: Any) -> None:  # noqa: ARG002 (the config has it)
        """Extract profile, facts and entities from the new messages."""
        if self._extractor is not None:
            self._extractor.invoke(self._restored(state), get_config())

    async def aafter_agent(self, state: Any, runtime: Any) -> None:  # noqa: ARG002 (the config has it)
        """Same as `after_agent`, but without blocking the event loop."""
        if self._extractor is not None:
            await self._extractor.ainvoke(self._restored(state), get_config())

    def _restored(self, state: Any) -> dict[str, Any]:
        """Return a state with the user's messages that another middleware removed from it in this turn."""
        config = get_config()
        return {**state, "messages": self._turns.restored(user_of(config, state), state["messages"], config)}

    def _texts(self, request: ModelRequest[Any]) -> Program[list[Texts]]:
        config = get_config()
        user_id = user_of(config, request.state)
        if self._extractor is not None:
            self._turns.record(user_id, request.messages, config)
        told = yield from Nested("memory.recall", self._prefixes.told(user_id, request.messages, config))
        texts = [Texts(*self._prefixes.texts(told, share)) for share in _SHARES]
        return [one for one in texts if any(one)]

    def __repr__(self) -> str:
        extractor = "None" if self._extractor is None else repr(self._extractor)
        return f"MemoryMiddleware(compressor={self.compressor!r}, extractor={extractor}, tools={len(self.tools)})"
