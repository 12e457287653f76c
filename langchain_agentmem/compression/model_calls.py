"""Calls of an agent's model within a budget, repeated once with a smaller request if the model refuses the size."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain.agents.structured_output import OutputToolBinding, ProviderStrategy, ToolStrategy
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.config import get_config

from langchain_agentmem.compression.context_tools import COMPACT_TOOL
from langchain_agentmem.compression.engine import CompressionEngine, Demand
from langchain_agentmem.errors import BudgetError
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import Call, Program
from langchain_agentmem.programs.caches import RecentValues
from langchain_agentmem.search.embeddings import name_of

_log = logging.getLogger(__name__)

_SCHEMA_SETTINGS = ("tools", "functions", "response_format")
"""The model settings that contain schemas."""
_MARKING_MODELS = ("ChatAnthropic", "ChatAnthropicVertex", "ChatAnthropicBedrock", "ChatBedrock", "ChatBedrockConverse")
"""Models whose middleware may mark the last block of the system message."""
_SHARE_AFTER_OVERFLOW = 0.5
_THREADS = 1_000
"""The number of smaller limits that are remembered, one for each thread and model."""
_REFUSALS = (
    "context_length_exceeded",
    "contextwindowexceedederror",
    "maximum context length",
    "context window",
    "context limit exceeded",
    "prompt is too long",
    "input is too long",
    "input token count",
    "input tokens exceed",
    "exceeds the available context",
)
"""Texts in the errors of providers that refuse a request because of its size."""
_REFUSAL_CODES = {400, 413, 422}


class Texts(NamedTuple):
    """Texts that a middleware adds to a request.

    Args:
        prefix: After the system message. It should stay the same within a thread.
        turn: After the question of the current turn. Default: none.
    """

    prefix: str
    turn: str = ""


class ModelCalls:
    """Calls a model with compressed requests.

    Args:
        engine: The engine of a compressor.
        is_readable: If true, the agent has the tool `read_stored_result`.
    """

    def __init__(self, engine: CompressionEngine, *, is_readable: bool) -> None:
        self._engine = engine
        self._is_readable = is_readable
        self._limits: RecentValues[tuple[str, str], int] = RecentValues(_THREADS)

    def answered(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any] | Awaitable[ModelResponse[Any]]],
        texts: Callable[[], Program[list[Texts]]],
    ) -> Program[ModelResponse[Any]]:
        """Call the model with a request within the budget.

        If the provider refuses the request because of its size, it is compacted to half of its tokens and sent once more.
        Later requests of the thread to the same model keep the smaller limit. A run without a thread keeps no limit.

        Args:
            request: The request.
            handler: Calls the model.
            texts: Returns the texts to add, the best first. The next ones are used if a request has no room for the best.
        """
        config = get_config()
        key = _limit_key(request, config)
        limit = None if key is None else self._limits.get(key)
        added = yield from texts()
        prepared, tokens = yield from self._prepared(request, added, config, limit)
        try:
            return (yield from Call(handler, prepared))
        except Exception as error:  # each provider raises its own
            if not is_context_overflow(error):
                raise
            limit = int(tokens * _SHARE_AFTER_OVERFLOW)
            _log.warning("The model refused a request of %d tokens: it is compacted to %d. %s", tokens, limit, error)
            try:
                prepared, _ = yield from self._prepared(request, added, config, limit)
            except BudgetError:
                raise error from None
            if key is not None:
                self._limits.put(key, limit)
        return (yield from Call(handler, prepared))

    def _prepared(
        self, request: ModelRequest[Any], added: Sequence[Texts], config: RunnableConfig, limit: int | None
    ) -> Program[tuple[ModelRequest[Any], int]]:
        """Return the request within the budget, and its tokens."""
        yield from self._engine.counter.prepare()
        for texts in added:
            try:
                return (yield from self._compressed(request, texts, config, limit))
            except BudgetError as error:
                _log.warning("A request has no room for all known data about the user and gets less of it. %s", error)
        return (yield from self._compressed(request, Texts(""), config, limit))

    def _compressed(
        self, request: ModelRequest[Any], texts: Texts, config: RunnableConfig, limit: int | None
    ) -> Program[tuple[ModelRequest[Any], int]]:
        counter = self._engine.counter
        extended, apart = _with_prefix(request, texts.prefix)
        tokens = self.schema_tokens(request)
        tokens += sum(map(counter.message, apart)) + (counter.text(f"\n\n{texts.turn}") if texts.turn else 0)
        names = [one.name for one in request.messages if isinstance(one, ToolMessage)]
        demand = Demand(
            tokens,
            len(apart),
            limit,
            compact=COMPACT_TOOL in _newest_results(request.messages),
            was_compacted=COMPACT_TOOL in names,
            is_readable=self._is_readable,
        )
        system = [] if extended.system_message is None else [extended.system_message]
        messages: list[Any] = yield from self._engine.compress([*system, *request.messages], config, demand)
        sent = counter.messages(messages) + tokens
        if messages and system and isinstance(messages[0], SystemMessage):
            extended, messages = extended.override(system_message=messages[0]), messages[1:]
        return extended.override(messages=[*apart, *_with_turn(messages, texts.turn)]), sent

    def schema_tokens(self, request: ModelRequest[Any]) -> int:
        """Return the tokens of a request's tools, of the schemas of its response format, and of tools in its model settings.

        Args:
            request: The request.
        """
        settings = [request.model_settings[name] for name in _SCHEMA_SETTINGS if name in request.model_settings]
        further = [one for given in settings for one in (given if isinstance(given, list) else [given])]
        return self._engine.counter.tools(
            [*request.tools, *_response_schemas(request.response_format, self._engine.counter), *further]
        )


def _limit_key(request: ModelRequest[Any], config: RunnableConfig) -> tuple[str, str] | None:
    """Return the thread and the model that a smaller limit applies to; None without a thread."""
    thread_id = (config.get("configurable") or {}).get("thread_id")
    return None if thread_id is None else (str(thread_id), name_of(request.model))


def is_context_overflow(error: Exception) -> bool:
    """Return true if a provider refused a request because of its size."""
    if isinstance(error, ContextOverflowError):
        return True
    code = getattr(error, "status_code", None) or getattr(error, "code", None)
    text = str(error).lower()
    return code in _REFUSAL_CODES and any(one in text for one in _REFUSALS)


def _newest_results(messages: Sequence[BaseMessage]) -> set[str | None]:
    """Return the names of the tools whose results are the newest messages."""
    names: set[str | None] = set()
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        names.add(message.name)
    return names


def _response_schemas(response_format: Any, counter: TokenCounter) -> list[Any]:
    """Return the schemas of a response format as the model receives them: as tools, or as the JSON schema of a setting.

    If the model decides which of the two it receives, the larger one is returned.
    """
    if response_format is None:
        return []
    if isinstance(response_format, ProviderStrategy):
        return [response_format.to_model_kwargs()["response_format"]]
    if isinstance(response_format, ToolStrategy):
        return [
            convert_to_openai_tool(OutputToolBinding.from_schema_spec(spec).tool)
            for spec in response_format.schema_specs
        ]
    schema = getattr(response_format, "schema", response_format)
    forms = [_response_schemas(ToolStrategy(schema), counter)]
    with suppress(ValueError):  # a union of schemas, for which models always receive tools
        forms += [_response_schemas(ProviderStrategy(schema), counter)]
    return max(forms, key=counter.tools)


def _with_prefix(request: ModelRequest[Any], text: str) -> tuple[ModelRequest[Any], list[SystemMessage]]:
    """Return a request with a text after its system message, and system messages to send beside it.

    The text is a message of its own if another middleware may mark the last block of the system message for a provider's
    cache: the marked part must be the same for all users and questions.
    """
    if not text:
        return request, []
    system = request.system_message
    if system is None or any(kind.__name__ in _MARKING_MODELS for kind in type(request.model).__mro__):
        return request, [SystemMessage(text)]
    content: Any = system.content
    if isinstance(content, str):
        joined: Any = f"{content}\n\n{text}"
    else:
        joined = [*content, {"type": "text", "text": f"\n\n{text}"}]
    return request.override(system_message=system.model_copy(update={"content": joined})), []


def _with_turn(messages: list[Any], text: str) -> list[Any]:
    """Return messages with a text after the newest human message."""
    at = next((at for at in range(len(messages) - 1, -1, -1) if isinstance(messages[at], HumanMessage)), None)
    if not text or at is None:
        return messages
    content: Any = messages[at].content
    joined = f"{content}\n\n{text}" if isinstance(content, str) else [*content, {"type": "text", "text": text}]
    return [*messages[:at], messages[at].model_copy(update={"content": joined}), *messages[at + 1 :]]
