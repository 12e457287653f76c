"""`MemoryCompressor`: fits conversations into a budget, and pays for each message once."""

from __future__ import annotations

import html
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import patch_config

from langchain_agentmem.backends.contract import Backend, SessionKey
from langchain_agentmem.codec import Codec
from langchain_agentmem.compression.budgets import Budget
from langchain_agentmem.compression.folding import fold, is_at_work
from langchain_agentmem.compression.sessions import SessionMessages
from langchain_agentmem.compression.sources import Coverage, MessageList, Source
from langchain_agentmem.compression.summaries import Place, ProcessPlaces, SessionSummary
from langchain_agentmem.compression.summarizing import INSTRUCTIONS, Summarizer
from langchain_agentmem.compression.views import View, summary_message
from langchain_agentmem.errors import ConfigurationError, InvalidInputError, InvalidTypeError
from langchain_agentmem.models import check_count
from langchain_agentmem.program import Program, Sleep, arun, run
from langchain_agentmem.tokens import TokenCounter

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.language_models import BaseChatModel

_log = logging.getLogger(__name__)

LEAST_PART = 4_000
"""Tokens: a summariser is taken to have room for at least so many of new messages."""

_EVENTS = 1_000
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class CompressionEvent:
    """What a compression did.

    Args:
        tokens_before: Tokens of the summary so far and the messages after it.
        tokens_after: Tokens of what came out.
        messages_before: How many messages there were after the summary.
        messages_after: How many came out.
        folded: How many messages the summary covers that it did not before.
        calls: How often the model was asked.
        seconds: How long it took.
        error: Why no summary was made, so that the oldest messages were left out of the request. None if all went well.
    """

    tokens_before: int
    tokens_after: int
    messages_before: int
    messages_after: int
    folded: int
    calls: int
    seconds: float
    error: str | None = None


class CompressionEvents(deque[CompressionEvent]):
    """The newest compressions, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        names = CompressionEvent.__dataclass_fields__
        head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in names)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_shown(getattr(event, name)))}</td>" for name in names) + "</tr>"
            for event in self
        )
        return f"<table><tr>{head}</tr>{rows}</table>"


class MemoryCompressor(Runnable[Any, list[BaseMessage]]):
    """Fits a conversation into a budget: the oldest messages become a running summary, the newest stay as they are.

    It takes messages, a prompt, or a state with messages, and gives messages. What fits is left as it is. Each message
    is shown to the model once, when it leaves the window. Nothing that is stored is changed. When the model fails or is
    late, the chain goes on with the newest messages that fit, and the next turn tries again.

    Args:
        model: What writes summaries: a chat model, its name such as `"openai:gpt-4o-mini"` (needs the extra `agents`), or a
            runnable that takes messages. Default: None (the conversation's own sentences are chosen; no network).
        max_tokens: The most tokens of what comes out.
        max_messages: The most messages of what comes out. One of the two must be given; with both, both hold.
        keep_recent: How much of the newest stays as it is when the rest is summarised: tokens, or messages if only
            `max_messages` is given. Default: a quarter of the budget.
        summary_tokens: The most tokens of the summary. Default: an eighth of `max_tokens`, at least 64; 400 without.
        token_counter: What counts tokens; see `langchain_agentmem.tokens.TokenCounter.of`. Default: by the model's name, else
            approximately.
        tools: Tools whose schemas the request will hold: they count. Default: none.
        instructions: What the model is told to do, instead of `langchain_agentmem.compression.summarizing.INSTRUCTIONS`.
        structured: Whether the summary lists topics, decisions and open questions apart. Default: False.
        summary_role: `"human"` gives the summary a message of its own after the system messages; `"system"` adds it to the
            system message, for models that want human and AI messages in turn. Default: `"human"`.
        input_tokens: The most tokens of messages that one call to the model is shown; more go in several calls.
            Default: three quarters of what the model's profile says that it takes, else the budget.
        time_limit: Seconds that a call to the model may take. Default: 60.
        on_event: Is given a `CompressionEvent` after each compression that did something. Default: None.
        language: The language of the conversation, where there is no model. Default: `"english"`.
        place_of: Where the summary of a run is kept, by its config; None for in the process. `AgentMemory.compressor`
            sets it.

    Raises:
        InvalidInputError: There is no budget, or one that cannot be kept.
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
        time_limit: float = 60.0,
        on_event: Callable[[CompressionEvent], None] | None = None,
        language: str = "english",
        place_of: Callable[[RunnableConfig], Place | None] | None = None,
    ) -> None:
        if max_tokens is None and max_messages is None:
            msg = "A compressor needs a budget: give max_tokens, max_messages, or both."
            raise InvalidInputError(msg)
        if summary_role not in ("human", "system"):
            msg = f"summary_role must be 'human' or 'system', got {summary_role!r:.100}."
            raise InvalidInputError(msg)
        if isinstance(model, str):
            model = _model_named(model)
        self.counter = TokenCounter.of(token_counter, model)
        self.budget = Budget(
            self.counter,
            None if max_tokens is None else check_count("max_tokens", max_tokens, least=32),
            None if max_messages is None else check_count("max_messages", max_messages, least=2),
        )
        kept = None if keep_recent is None else check_count("keep_recent", keep_recent, least=0)
        self._keep = Budget(
            self.counter,
            None if max_tokens is None else (max_tokens // 4 if kept is None else kept),
            None if max_messages is None or max_tokens is not None else (max_messages // 4 if kept is None else kept),
        )
        most = max(64, (max_tokens or 3_200) // 8) if summary_tokens is None else summary_tokens
        if max_tokens is not None and check_count("summary_tokens", most, least=8) > max_tokens // 2:
            most = max_tokens // 2
        self._tools = self.counter.tools(tools)
        self._role = summary_role
        self._on_event = on_event
        self._place_of = place_of
        self._processes = ProcessPlaces()
        self._coverage = Coverage()
        self.events = CompressionEvents(maxlen=_EVENTS)
        """The newest compressions that did something."""
        self._summarizer = Summarizer(
            model,
            self.counter,
            most,
            _input_tokens(model, max_tokens) if input_tokens is None else check_count("input_tokens", input_tokens),
            instructions,
            structured,
            time_limit,
            language,
        )

    # A runnable

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> list[BaseMessage]:  # noqa: ARG002
        """The conversation, in the budget.

        Args:
            input: Messages, a prompt, or a state with messages.
            config: The config of the run: `session_id` and `user_id`, or `thread_id`, say where its summary is kept.
            **kwargs: Nothing.

        Raises:
            BudgetError: A message cannot be made to fit.
        """

        def work(given: Any, run_manager: CallbackManagerForChainRun, config: RunnableConfig) -> list[BaseMessage]:
            return run(self.compressing(given, patch_config(config, callbacks=run_manager.get_child())))

        return self._call_with_config(work, input, config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> list[BaseMessage]:  # noqa: ARG002
        """Same as `invoke`, but without blocking the event loop."""

        async def work(
            given: Any, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig
        ) -> list[BaseMessage]:
            return await arun(self.compressing(given, patch_config(config, callbacks=run_manager.get_child())))

        return await self._acall_with_config(work, input, config)

    def as_node(self, output_key: str = "llm_input_messages") -> Runnable[Any, dict[str, Any]]:
        """A LangGraph node: it writes what comes out under a key of its own, and leaves the state's messages as they are.

        Args:
            output_key: The key of the state, which must be a plain one, without a reducer. Default: `"llm_input_messages"`.

        Raises:
            InvalidInputError: The key is `"messages"`, so that the transcript would be changed.
        """
        if output_key == "messages":
            msg = (
                "A compressor does not write to the state's 'messages', which are the transcript: use a key of its own."
            )
            raise InvalidInputError(msg)
        from langgraph.constants import TAG_HIDDEN

        return (self | (lambda messages: {output_key: messages})).with_config(tags=[TAG_HIDDEN])

    def as_pre_model_hook(self) -> Runnable[Any, dict[str, Any]]:
        """The `pre_model_hook` of LangGraph's `create_react_agent`."""
        return self.as_node()

    def as_middleware(self) -> AgentMiddleware[Any, Any]:
        """A middleware for LangChain's `create_agent`, which compresses what the model is sent. Needs the extra `agents`."""
        try:
            from langchain_agentmem.compression.middleware import CompressionMiddleware
        except ImportError:
            msg = "A middleware for create_agent needs LangChain: install langchain-agentmem[agents]."
            raise ConfigurationError(msg) from None
        return CompressionMiddleware(self)

    # Programs

    def compressing(self, given: Any, config: RunnableConfig, tokens: int = 0) -> Program[list[BaseMessage]]:
        """The outer program of a compression.

        Args:
            given: Messages, a prompt, or a state with messages.
            config: The config of the run.
            tokens: What else counts in the request. Default: 0.
        """
        messages = messages_in(given)
        if not messages:
            return []
        place = self._place_of(config) if self._place_of is not None else None
        if place is None:
            place = self._processes.of(
                next((one for one in messages if not isinstance(one, SystemMessage)), messages[0])
            )
        source = MessageList(messages, place, self._coverage, self._room(tokens))
        return (yield from self.fitting(source, config, tokens))

    def compressing_session(
        self, backend: Backend, codec: Codec, key: SessionKey, agent: str | None, config: RunnableConfig
    ) -> Program[list[BaseMessage]]:
        """The outer program that gives a session's history in the budget.

        Args:
            backend: Where the session is.
            codec: What reads messages.
            key: Which session.
            agent: Whose messages; None for all.
            config: The config of the run.
        """
        return (yield from self.fitting(SessionMessages(backend, codec, key, agent), config))

    def fitting(self, source: Source, config: RunnableConfig, tokens: int = 0) -> Program[list[BaseMessage]]:
        """The outer program that fits a conversation into the budget.

        Args:
            source: The conversation.
            config: The config of the run.
            tokens: What else counts in the request. Default: 0.
        """
        began = time.monotonic()
        first: View | None = None
        folded = calls = 0
        error: str | None = None
        while True:
            view = View((yield from source.load()), self._room(tokens), self._role)
            first = first or view
            plan = None if view.fits or error is not None else view.plan(self._summary_size, self._keep)
            if plan is None:
                break
            if is_at_work(view.past.record):
                if time.monotonic() - began > self._summarizer.seconds:
                    error = "Somebody else was at work on the summary all the time."
                yield Sleep(_PAUSE_SECONDS)
                continue
            try:
                added, asked = yield from fold(source, view, plan, self._summarizer, config)
            except Exception as problem:
                error = f"{type(problem).__name__}: {problem}"
                _log.warning(
                    "No summary was made, so the oldest messages are left out of this request; the next turn tries again. %s",
                    error,
                )
            else:
                folded, calls = folded + added, calls + asked
        messages = view.messages()
        if folded or not view.fits:
            self._tell(first, messages, folded, calls, time.monotonic() - began, error)
        return messages

    @property
    def _summary_size(self) -> int:
        return self._summarizer.summary_tokens + self.counter.message(summary_message(SessionSummary("")))

    def _room(self, tokens: int) -> Budget:
        spent = 0 if self.budget.max_tokens is None else self.counter.base + self._tools + tokens
        return self.budget.less((), spent)

    def _tell(
        self, first: View, messages: list[BaseMessage], folded: int, calls: int, seconds: float, error: str | None
    ) -> None:
        before = [*first.head, *first.past.tail]
        event = CompressionEvent(
            self.counter.messages(before),
            self.counter.messages(messages),
            len(before),
            len(messages),
            folded,
            calls,
            seconds,
            error,
        )
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)


def messages_in(given: Any) -> Sequence[BaseMessage]:
    """The messages that a runnable was given.

    Args:
        given: Messages or what langchain-core makes messages of, a prompt, or a state with messages.

    Raises:
        InvalidTypeError: There are none in it.
    """
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, Mapping) and "messages" in given:
        given = given["messages"]
    elif not isinstance(given, (str, Sequence)) and hasattr(given, "messages"):
        given = given.messages
    if isinstance(given, (list, tuple)):
        # Only ends are looked at, since a long conversation comes again at every turn.
        if all(isinstance(one, BaseMessage) for one in (*given[:1], *given[-1:])):
            return given
        return convert_to_messages(given)
    if isinstance(given, str):
        return [HumanMessage(given)]
    msg = (
        f"A compressor takes messages, a prompt, or a state with messages, got {type(given).__name__}: {given!r:.100}."
    )
    raise InvalidTypeError(msg)


def _model_named(name: str) -> BaseChatModel:
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        msg = f"To make the model {name!r} from its name, install langchain-agentmem[agents], or give a chat model."
        raise ConfigurationError(msg) from None
    model: BaseChatModel = init_chat_model(name)
    return model


def _input_tokens(model: Any, max_tokens: int | None) -> int:
    """How many tokens of messages a call may be shown."""
    profile = getattr(model, "profile", None)
    known = profile.get("max_input_tokens") if isinstance(profile, Mapping) else None
    return int(known * 0.75) if isinstance(known, int) and known > 0 else max(LEAST_PART, max_tokens or 0)


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
