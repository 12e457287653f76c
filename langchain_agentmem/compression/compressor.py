"""`MemoryCompressor`: fits conversations into a budget. Each message is sent to the summarising model once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import patch_config

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_content
from langchain_agentmem.arguments.values import check_flag, check_function, shown
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.compression.arguments import (
    checked_budget,
    checked_tools,
    checked_trigger,
    input_bound,
    kept_budget,
    summary_bound,
    summary_model,
)
from langchain_agentmem.compression.engine import CompressionEngine
from langchain_agentmem.compression.events import CompressionEvent, CompressionEvents
from langchain_agentmem.compression.prompts import INSTRUCTIONS
from langchain_agentmem.compression.records import RecordStorage
from langchain_agentmem.compression.writer import SummaryWriter
from langchain_agentmem.errors import InvalidInputError, missing_extra
from langchain_agentmem.messages.budgets import Budget
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import arun, run
from langchain_agentmem.text.tables import html_table
from langchain_agentmem.text.words import check_language

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware


class MemoryCompressor(Runnable[Any, list[BaseMessage]]):
    """Fits a conversation into a budget: the oldest messages become a running summary, the newest stay unchanged.

    Its input is messages, a prompt, or a state with messages; its output is messages. A conversation that fits is returned
    unchanged. Each message is sent to the summarising model once, when it leaves the window. Stored messages are never
    changed. If the model fails or exceeds its time limit, the request contains the newest messages that fit, and the next
    turn tries again.

    Args:
        model: The model that writes summaries: a chat model, its name such as `"openai:gpt-4o-mini"` (requires the extra
            `agents`), or a runnable that takes messages. Default: None (a summary quotes sentences of the conversation,
            without any call).
        max_tokens: The maximum number of tokens of the result.
        max_messages: The maximum number of messages of the result. Pass `max_tokens`, `max_messages` or both.
        keep_recent: How many of the newest tokens stay unchanged when the rest is summarised; messages if only
            `max_messages` is given. Default: a quarter of the budget.
        summary_tokens: The maximum number of tokens of the summary. Default: an eighth of `max_tokens`, at least 64; 400
            without `max_tokens`.
        token_counter: Counts tokens; see `TokenCounter.of`. Default: by the model's name, or approximately.
        tools: Tools whose schemas are part of the request; their tokens count. Default: none.
        instructions: Instructions for the model, instead of `langchain_agentmem.compression.prompts.INSTRUCTIONS`.
        structured: If true, the summary lists topics, decisions and open questions. Default: False.
        summary_role: `"human"` puts the summary into a message of its own after the system messages; `"system"` appends it
            to the system message, for models that require human and AI messages in turn. Default: `"human"`.
        input_tokens: The maximum number of tokens of messages in one call to the model. Longer parts need several calls.
            Default: three quarters of the limit in the model's profile, or the budget, at least 3,000.
        time_limit: The time limit of a call to the model, in seconds or as a `timedelta`. A turn starts no further call
            after it; the next turn continues. Default: 60.
        on_event: Called with a `CompressionEvent` after each compression that changed something. Default: None.
        language: The language of the conversation, without a model. Default: `"english"`.
        trigger: When compaction begins, if that is before the budget is exceeded: `("tokens", 3_000)`, `("messages", 50)`,
            `("fraction", 0.5)` of the limit in the model's profile, or a list of these, of which one suffices. Without
            `max_tokens` and `max_messages`, it is the budget too. Default: None (when the budget is exceeded).
        shrink: If true, old tool results and long arguments of tool calls are shortened before anything is summarised; a
            summary is written only if that does not suffice. Default: True.
        place_of: Internal: returns the storage of summaries for a run's config. `AgentMemory.compressor` sets it. Default:
            None (summaries are kept in this process).

    Raises:
        InvalidInputError: There is no budget, or a value is not accepted.
        InvalidTypeError: An argument has the wrong type.

    Example:
        >>> from langchain_core.messages import AIMessage, HumanMessage
        >>> from langchain_agentmem import MemoryCompressor
        >>> from langchain_agentmem.testing import ScriptedChatModel
        >>> compressor = MemoryCompressor(ScriptedChatModel(["They spoke about pizza."]), max_messages=4)
        >>> talk = [one for _ in range(5) for one in (HumanMessage("I like pizza."), AIMessage("Noted."))]
        >>> [message.type for message in compressor.invoke(talk)]
        ['human', 'human', 'ai']
    """

    def __init__(
        self,
        model: Runnable[Any, Any] | str | None = None,
        *,
        max_tokens: int | None = None,
        max_messages: int | None = None,
        keep_recent: int | None = None,
        summary_tokens: int | None = None,
        token_counter: Any = None,
        tools: Sequence[Any] = (),
        instructions: str = INSTRUCTIONS,
        structured: bool = False,
        summary_role: str = "human",
        input_tokens: int | None = None,
        time_limit: timedelta | float = 60.0,
        on_event: Callable[[CompressionEvent], None] | None = None,
        language: str = "english",
        trigger: tuple[str, float] | list[tuple[str, float]] | None = None,
        shrink: bool = True,
        place_of: Callable[[RunnableConfig], RecordStorage | None] | None = None,
    ) -> None:
        if summary_role not in ("human", "system"):
            msg = f"summary_role must be 'human' or 'system', got {shown(summary_role)}."
            raise InvalidInputError(msg)
        runnable = summary_model(model)
        counter = TokenCounter.of(token_counter, runnable)
        started = checked_trigger(counter, trigger, runnable)
        budget = checked_budget(counter, max_tokens, max_messages, started)
        writer = SummaryWriter(
            runnable,
            budget.counter,
            summary_bound(budget.max_tokens, summary_tokens),
            input_bound(runnable, budget.max_tokens, input_tokens),
            instructions,
            check_flag("structured", structured),
            seconds("time_limit", time_limit) or 60.0,
            check_language(language),
        )
        check_function("on_event", on_event)
        self.engine = CompressionEngine(
            budget,
            kept_budget(started or budget, keep_recent),
            writer,
            checked_tools(tools),
            summary_role,
            digest_of_ids(check_content("instructions", instructions), str(structured), size=8).hex(),
            on_event,
            place_of,
            started,
            check_flag("shrink", shrink),
        )

    @property
    def counter(self) -> TokenCounter:
        """Counts tokens."""
        return self.engine.counter

    @property
    def budget(self) -> Budget:
        """The budget of a request."""
        return self.engine.budget

    @property
    def events(self) -> CompressionEvents:
        """The reports of the most recent compressions that changed something."""
        return self.engine.events

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> list[BaseMessage]:  # noqa: ARG002
        """Return the conversation within the budget.

        Args:
            input: Messages, a prompt, or a state with messages.
            config: The config of the run. `session_id` and `user_id`, or `thread_id`, name where the summary is stored.
            **kwargs: Not used.

        Raises:
            BudgetError: A message does not fit, and cannot be truncated far enough.
        """

        def work(given: Any, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> list[BaseMessage]:
            return run(self.engine.compress(given, patch_config(config, callbacks=run_manager.get_child())))

        return self._call_with_config(work, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> list[BaseMessage]:  # noqa: ARG002
        """Same as `invoke`, but without blocking the event loop."""

        async def work(
            given: Any, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
        ) -> list[BaseMessage]:
            return await arun(self.engine.compress(given, patch_config(config, callbacks=run_manager.get_child())))

        return await self._acall_with_config(work, input, config)

    def as_node(self, output_key: str = "llm_input_messages") -> Runnable[Any, dict[str, Any]]:
        """Return a LangGraph node that writes the result to a key of the state. The state's messages stay unchanged.

        Args:
            output_key: The key. It must have no reducer. Default: `"llm_input_messages"`.

        Raises:
            InvalidInputError: The key is `"messages"`, which contains the transcript.
        """
        if check_content("output_key", output_key) == "messages":
            msg = "output_key must not be 'messages': that key contains the transcript, which a compressor does not change."
            raise InvalidInputError(msg)
        from langgraph.constants import TAG_HIDDEN

        return (self | (lambda messages: {output_key: messages})).with_config(tags=[TAG_HIDDEN])

    def as_pre_model_hook(self) -> Runnable[Any, dict[str, Any]]:
        """Return the `pre_model_hook` for LangGraph's `create_react_agent`."""
        return self.as_node()

    def as_middleware(self, *, tools: bool = False) -> AgentMiddleware[Any, Any]:
        """Return a middleware for LangChain's `create_agent` that compresses each request. Requires the extra `agents`.

        If the provider refuses a request because of its size, the middleware compacts it and sends it once more.

        Args:
            tools: If true, the agent gets the tools `read_stored_result`, which returns a shortened tool result in full, and
                `compact_conversation`. Default: False.
        """
        try:
            from langchain_agentmem.compression.middleware import CompressionMiddleware
        except ImportError:
            raise missing_extra(what="A middleware for create_agent", extra="agents") from None
        return CompressionMiddleware(self.engine, tools=check_flag("tools", tools))

    def __repr__(self) -> str:
        writer = self.engine.writer
        model = "None" if writer.model is None else type(writer.model).__name__
        bounds = {"max_tokens": self.budget.max_tokens, "max_messages": self.budget.max_messages}
        given = ", ".join(f"{name}={bound}" for name, bound in bounds.items() if bound is not None)
        return f"MemoryCompressor({model}, {given}, events={len(self.events)})"

    def _repr_html_(self) -> str:
        writer = self.engine.writer
        rows = [
            ("model", None if writer.model is None else type(writer.model).__name__),
            ("max tokens", self.budget.max_tokens),
            ("max messages", self.budget.max_messages),
            ("summary tokens", writer.summary_tokens),
            ("events", len(self.events)),
            ("calls", sum(event.calls for event in self.events)),
        ]
        return html_table(rows, caption="MemoryCompressor", row_headers=True)
