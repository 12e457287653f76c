"""`MemoryCompressor`: fits conversations into a budget, and pays for each message once."""

from __future__ import annotations

import html
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.config import patch_config

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_content
from langchain_agentmem.arguments.values import check_count, check_flag, check_function, check_list, shown
from langchain_agentmem.backends.contract import Backend, SessionKey
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.compression.budgets import Budget
from langchain_agentmem.compression.chat_models import chat_model
from langchain_agentmem.compression.folding import Progress, fold, is_at_work
from langchain_agentmem.compression.sessions import SessionMessages, SessionPlace
from langchain_agentmem.compression.sources import Coverage, MessageList, Source
from langchain_agentmem.compression.summaries import (
    EitherPlace,
    NotAMessageError,
    Place,
    ProcessPlaces,
    SessionSummary,
)
from langchain_agentmem.compression.summarizing import INSTRUCTIONS, Summarizer
from langchain_agentmem.compression.views import Plan, View
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.repairs import repaired
from langchain_agentmem.errors import (
    BudgetError,
    InvalidInputError,
    InvalidTypeError,
    missing_extra,
)
from langchain_agentmem.messages.conversion import as_messages
from langchain_agentmem.messages.limits import input_limit
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import OffLoop, Program, Sleep, arun, off_loop, run
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.programs.sizes import LONG, is_large
from langchain_agentmem.text.tables import FieldTable
from langchain_agentmem.text.words import check_language

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware

_log = logging.getLogger(__name__)

LEAST_PART = 3_000
"""Tokens: a summariser is taken to have room for at least so many of new messages."""

_EVENTS = 1_000
_PAUSE_SECONDS = 0.05

WAIT_SECONDS = 15.0
"""How long a turn waits, at most, while another one summarises; then it goes on with the newest messages that fit."""


@dataclass(frozen=True)
class CompressionEvent(FieldTable):
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
        input_tokens: Tokens that the model was sent to summarise: what its answers say (`usage_metadata`), else as counted. A
            call that failed counts nothing.
        output_tokens: Tokens that the model answered, likewise.
    """

    tokens_before: int
    tokens_after: int
    messages_before: int
    messages_after: int
    folded: int
    calls: int
    seconds: float
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0


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
        token_counter: What counts tokens; see `TokenCounter.of`. Default: by the model's name, else
            approximately.
        tools: Tools whose schemas the request will hold: they count. Default: none.
        instructions: What the model is told to do, instead of `langchain_agentmem.compression.summarizing.INSTRUCTIONS`.
        structured: Whether the summary lists topics, decisions and open questions apart. Default: False.
        summary_role: `"human"` gives the summary a message of its own after the system messages; `"system"` adds it to the
            system message, for models that want human and AI messages in turn. Default: `"human"`.
        input_tokens: The most tokens of messages that one call to the model is shown; more go in several calls.
            Default: three quarters of what the model's profile says that it takes, else the budget, and at least 3,000.
        time_limit: Seconds that a call to the model may take, as a number or a `timedelta`. After so long a turn begins no
            further call either, and the next turn goes on. Default: 60.
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
        time_limit: timedelta | float = 60.0,
        on_event: Callable[[CompressionEvent], None] | None = None,
        language: str = "english",
        place_of: Callable[[RunnableConfig], Place | None] | None = None,
    ) -> None:
        if max_tokens is None and max_messages is None:
            msg = "A compressor needs a budget: give max_tokens, max_messages, or both."
            raise InvalidInputError(msg)
        if summary_role not in ("human", "system"):
            msg = f"summary_role must be 'human' or 'system', got {shown(summary_role)}."
            raise InvalidInputError(msg)
        check_flag("structured", structured)
        check_function("on_event", on_event)
        runnable = _runnable(model)
        self.counter = TokenCounter.of(token_counter, runnable)
        self.budget = Budget(
            self.counter,
            None if max_tokens is None else check_count("max_tokens", max_tokens, least=32),
            None if max_messages is None else check_count("max_messages", max_messages, least=2),
        )
        self._keep = _kept(self.budget, keep_recent)
        self._checked_tools = _checked_tools(tools)
        self._role = summary_role
        self._on_event = on_event
        self._place_of = place_of
        self._processes = ProcessPlaces()
        self._coverage = Coverage()
        self.events = CompressionEvents(maxlen=_EVENTS)
        """The newest compressions that did something."""
        self.style = digest_of_ids(check_content("instructions", instructions), str(structured), size=8).hex()
        """What the model is told to do: summaries that were made by something else are not continued."""
        self._summarizer = Summarizer(
            runnable,
            self.counter,
            _summary_tokens(max_tokens, summary_tokens),
            _input_tokens(runnable, max_tokens) if input_tokens is None else check_count("input_tokens", input_tokens),
            instructions,
            structured,
            seconds("time_limit", time_limit) or 60.0,
            check_language(language),
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
        if check_content("output_key", output_key) == "messages":
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
            raise missing_extra(what="A middleware for create_agent", extra="agents") from None
        return CompressionMiddleware(self)

    # Programs

    def compressing(
        self, given: Any, config: RunnableConfig, tokens: int = 0, *, is_private: bool = False
    ) -> Program[list[BaseMessage]]:
        """The outer program of a compression.

        Args:
            given: Messages, a prompt, or a state with messages.
            config: The config of the run.
            tokens: What else counts in the request. Default: 0.
            is_private: Whether nothing may be written to a database. Default: False.
        """
        messages = messages_in(given)
        large = is_large(messages, LONG)
        try:
            return (yield from off_loop(self._compressing(messages, config, tokens, is_private=is_private), large))
        except NotAMessageError:
            # Only the ends were looked at, since a long conversation comes again at every turn.
            converted = as_messages(messages)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # A message of the thread may be malformed. Looking for one first would cost every turn of a long thread.
            converted = [repaired(message) for message in as_messages(messages)]
            if came_by_signal(error) or all(one is given for one, given in zip(converted, messages, strict=True)):
                raise
        return (yield from off_loop(self._compressing(converted, config, tokens, is_private=is_private), large))

    def _compressing(
        self, messages: Sequence[BaseMessage], config: RunnableConfig, tokens: int, *, is_private: bool
    ) -> Program[list[BaseMessage]]:
        if not messages:
            return []
        source = MessageList(messages, self._coverage, self.style)
        in_process = self._processes.of(source.beginning)
        place = None if is_private or self._place_of is None else self._place_of(config)
        source.place = EitherPlace(place, in_process) if isinstance(place, SessionPlace) else place or in_process
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
        source = SessionMessages(backend, codec, key, agent, self.style)
        return (yield from self.fitting(source, config))

    def summarising(self, source: Source, config: RunnableConfig) -> Program[SessionSummary | None]:
        """The outer program that makes a summary of all of a conversation; None if it has no messages.

        The model is shown only what its summary does not cover yet, and the new summary is stored where `source` says.

        Args:
            source: The conversation.
            config: The config of the run.

        Raises:
            SummaryError: The model's answer was empty, or the conversation was deleted.
            TimeoutError: A call to the model took longer than the time limit. What was summarised before is kept.
            Exception: What the model raised; likewise.
        """
        yield from self.counter.prepare()
        progress = Progress(float("inf"))
        nothing = Budget(self.counter, max_messages=0)  # all of the record is needed, however short the conversation is
        while True:
            past = yield from source.load(nothing)
            if not past.tail:
                return past.summary
            large = is_large(past.tail, LONG)
            yield from OffLoop(large)
            view = View(past, nothing, self._role, self._summarizer)
            yield from off_loop(self._folded(source, view, view.whole(), config, progress), large)

    def fitting(self, source: Source, config: RunnableConfig, tokens: int = 0) -> Program[list[BaseMessage]]:
        """The outer program that fits a conversation into the budget.

        Args:
            source: The conversation.
            config: The config of the run.
            tokens: What else counts in the request. Default: 0.

        Raises:
            BudgetError: A message cannot be made to fit.
        """
        yield from self.counter.prepare()
        began = time.monotonic()
        progress = Progress(self._summarizer.seconds)
        first: View | None = None
        error: str | None = None
        spare = 0
        while True:
            room = self._room(tokens + spare)
            past = yield from source.load(room)
            large = is_large(past.tail, LONG)
            yield from OffLoop(large)
            view = View(past, room, self._role, self._summarizer)
            first = first or view
            plan = None if view.fits or error is not None else view.plan(self._keep)
            if plan is not None:
                try:
                    yield from off_loop(self._folded(source, view, plan, config, progress), large)
                except Exception as problem:  # each provider raises its own
                    if came_by_signal(problem):
                        raise
                    error = f"{type(problem).__name__}: {problem}"
                    _log.warning(
                        "The oldest messages are left out of this request; the next turn tries again. %s", error
                    )
                continue
            messages = view.messages()
            over = self._over(messages, tokens)
            if over <= 0 or spare > (self.budget.max_tokens or 0):
                break
            # A function may count more for all messages than for each of them.
            spare += over + over // 8
        if progress.folded or not view.fits:
            yield from OffLoop(large=False)  # the application's function is called where the application is
            self._tell(first, messages, progress, time.monotonic() - began, error)
        return messages

    def _folded(
        self, source: Source, view: View, plan: Plan, config: RunnableConfig, progress: Progress
    ) -> Program[None]:
        """Summarise, or wait for who does.

        Raises:
            TimeoutError: Others were at work for too long.
            Exception: What the model raised.
        """
        record = view.past.record
        if not is_at_work(record) and (yield from fold(source, view, plan, self._summarizer, config, progress)):
            return
        limit = time.monotonic() + min(WAIT_SECONDS, self._summarizer.seconds)
        while True:
            yield from Sleep(_PAUSE_SECONDS)
            record, _ = yield from source.place.load(time.time())
            if not is_at_work(record):
                return
            if time.monotonic() > limit:
                msg = "Another turn, or another process, is still at work on the summary."
                raise TimeoutError(msg)

    @property
    def _tools(self) -> int:
        """What the schemas of the tools count in each request."""
        return self.counter.tools(self._checked_tools)

    def _room(self, tokens: int) -> Budget:
        if self.budget.max_tokens is None:
            return self.budget
        room = self.budget.less((), self.counter.base + self._tools + tokens)
        if room.max_tokens is not None and room.max_tokens <= 0:
            msg = (
                f"The tools and what else stands in the request count {self._tools + tokens:,} tokens, which leaves no room "
                f"in max_tokens={self.budget.max_tokens:,}: raise it, or give fewer tools."
            )
            raise BudgetError(msg)
        return room

    def _over(self, messages: list[BaseMessage], tokens: int) -> int:
        """By how many tokens a request is over the budget, as its function counts it as a whole."""
        if self.budget.max_tokens is None:
            return 0
        return self.counter.whole(messages) + self._tools + tokens - self.budget.max_tokens

    def _tell(
        self, first: View, messages: list[BaseMessage], progress: Progress, seconds: float, error: str | None
    ) -> None:
        before = [*first.head, *first.past.tail]
        event = CompressionEvent(
            self.counter.messages(before),
            self.counter.messages(messages),
            len(before),
            len(messages),
            progress.folded,
            progress.calls,
            seconds,
            error,
            progress.input_tokens,
            progress.output_tokens,
        )
        self.events.append(event)
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception as problem:  # the application's own function may raise any error
                if came_by_signal(problem):
                    raise
                _log.exception("on_event failed")


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
        return as_messages(given)
    if isinstance(given, str):
        return [HumanMessage(given)]
    msg = (
        f"A compressor takes messages, a prompt, or a state with messages, got {type(given).__name__}: {shown(given)}."
    )
    raise InvalidTypeError(msg)


def _runnable(model: Any) -> Runnable[Any, Any] | None:
    """What writes summaries."""
    if model is None or isinstance(model, Runnable):
        return model
    if isinstance(model, str):
        named: Runnable[Any, Any] = chat_model(model)
        return named
    if callable(model):
        return RunnableLambda(model)
    found = f"{type(model).__name__}: {shown(model)}"
    msg = f"model must be a chat model, its name, a function of messages, or None, got {found}."
    raise InvalidTypeError(msg)


def _checked_tools(tools: Any) -> list[Any]:
    given = check_list("tools", tools, "tools")
    for one in given:
        if not isinstance(one, Mapping) and not callable(one) and not hasattr(one, "args_schema"):
            msg = f"tools must hold tools, functions or schemas, got {type(one).__name__}: {shown(one)}."
            raise InvalidTypeError(msg)
    return given


def _kept(budget: Budget, keep_recent: int | None) -> Budget:
    """No more than does not fit in this is kept as it is when the rest is summarised."""
    most = budget.max_messages if budget.max_tokens is None else budget.max_tokens
    assert most is not None
    kept = most // 4 if keep_recent is None else check_count("keep_recent", keep_recent, least=0)
    if kept >= most:
        msg = f"keep_recent={kept:,} leaves no room for a summary in a budget of {most:,}: give less."
        raise InvalidInputError(msg)
    return Budget(budget.counter, *((None, kept) if budget.max_tokens is None else (kept, None)))


def _summary_tokens(max_tokens: int | None, summary_tokens: int | None) -> int:
    if summary_tokens is None:
        return 400 if max_tokens is None else min(max(64, max_tokens // 8), max_tokens // 2)
    check_count("summary_tokens", summary_tokens, least=16)
    if max_tokens is not None and summary_tokens > max_tokens // 2:
        msg = f"summary_tokens={summary_tokens:,} is more than half of max_tokens={max_tokens:,}: give less."
        raise InvalidInputError(msg)
    return summary_tokens


def _input_tokens(model: Any, max_tokens: int | None) -> int:
    """How many tokens of messages a call may be shown."""
    limit = input_limit(model)
    return max(LEAST_PART, max_tokens or 0) if limit is None else int(limit * 0.75)


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
