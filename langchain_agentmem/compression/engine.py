"""The operations of a compressor, as programs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.compression.claims import Progress, is_claimed, summarise_claimed
from langchain_agentmem.compression.conversations import Conversation, Coverage, MessageList
from langchain_agentmem.compression.events import CompressionEvent, CompressionEvents
from langchain_agentmem.compression.inputs import messages_in
from langchain_agentmem.compression.records import NotAMessageError, RecordStorage
from langchain_agentmem.compression.request import Plan, Request
from langchain_agentmem.compression.sessions import SessionMessages
from langchain_agentmem.compression.storage import FallbackRecords, ProcessRecords, SessionRecords
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.compression.writer import SummaryWriter
from langchain_agentmem.encoding.repairs import repaired
from langchain_agentmem.errors import BudgetError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.messages.budgets import Budget
from langchain_agentmem.messages.conversion import as_messages
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import OffLoop, Program, Sleep, off_loop
from langchain_agentmem.programs.signals import came_by_signal
from langchain_agentmem.programs.sizes import LONG, is_large

_log = logging.getLogger(__name__)

_EVENTS = 1_000
_POLL_SECONDS = 0.05
_WAIT_SECONDS = 15.0
"""How long a turn waits while another one summarises. Then it goes on with the newest messages that fit."""


@dataclass
class CompressionEngine:
    """Fits conversations into a budget.

    Args:
        budget: The budget of a request.
        keep: The budget of the newest messages that stay unchanged.
        writer: Writes summaries.
        tools: Tools whose schemas are part of each request.
        role: The role of the message with the summary: `"human"` or `"system"`.
        style: Digest of the instructions; see `langchain_agentmem.compression.records.Entry`.
        on_event: Called with each event. Default: None.
        storage_of: Returns the storage for a run's config, or None. Default: None (in this process).
    """

    budget: Budget
    keep: Budget
    writer: SummaryWriter
    tools: list[Any]
    role: str
    style: str
    on_event: Callable[[CompressionEvent], None] | None = None
    storage_of: Callable[[RunnableConfig], RecordStorage | None] | None = None
    events: CompressionEvents = field(default_factory=lambda: CompressionEvents(maxlen=_EVENTS))
    in_process: ProcessRecords = field(default_factory=ProcessRecords)
    coverage: Coverage = field(default_factory=Coverage)

    @property
    def counter(self) -> TokenCounter:
        """Counts tokens."""
        return self.budget.counter

    def compress(
        self, given: Any, config: RunnableConfig, tokens: int = 0, *, is_private: bool = False
    ) -> Program[list[BaseMessage]]:
        """Return an input's messages within the budget.

        Args:
            given: Messages, a prompt, or a state with messages.
            config: The config of the run.
            tokens: Other tokens of the request. Default: 0.
            is_private: If true, nothing is written to a database. Default: False.

        Raises:
            BudgetError: A message does not fit, and cannot be truncated far enough.
        """
        messages = messages_in(given)
        large = is_large(messages, LONG)
        try:
            return (yield from off_loop(self._compressed(messages, config, tokens, is_private=is_private), large))
        except NotAMessageError:
            converted = as_messages(messages)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # A message of the thread may be malformed. Checking all of them first would slow down every turn.
            converted = [repaired(message) for message in as_messages(messages)]
            if came_by_signal(error) or all(one is given for one, given in zip(converted, messages, strict=True)):
                raise
        return (yield from off_loop(self._compressed(converted, config, tokens, is_private=is_private), large))

    def compress_session(
        self, history: HistoryEngine, key: SessionKey, agent: str | None, config: RunnableConfig
    ) -> Program[list[BaseMessage]]:
        """Return a session's messages within the budget.

        Args:
            history: The engine of the history.
            key: The session.
            agent: Only this agent's messages; None for those of all agents.
            config: The config of the run.

        Raises:
            BudgetError: A message does not fit, and cannot be truncated far enough.
        """
        return (yield from self._fit(SessionMessages(history, key, agent, self.style), config, 0))

    def summarise(self, conversation: Conversation, config: RunnableConfig) -> Program[SessionSummary | None]:
        """Return a summary of a whole conversation; None if it has no messages.

        The model receives only the messages that the stored summary does not cover. The new summary is stored.

        Args:
            conversation: The conversation.
            config: The config of the run.

        Raises:
            SummaryError: The model returned no summary, or the conversation was deleted.
            TimeoutError: A call exceeded the time limit. The parts that are done are stored.
            Exception: The model raised it. The parts that are done are stored.
        """
        yield from self.counter.prepare()
        progress = Progress(float("inf"))
        nothing = Budget(self.counter, max_messages=0)  # the record is loaded, however short the conversation is
        while True:
            snapshot = yield from conversation.load(nothing)
            if not snapshot.tail:
                return snapshot.summary
            large = is_large(snapshot.tail, LONG)
            yield from OffLoop(large)
            request = Request(snapshot, nothing, self.role, self.writer)
            yield from off_loop(self._summarised(conversation, request, request.everything(), config, progress), large)

    def _compressed(
        self, messages: Sequence[BaseMessage], config: RunnableConfig, tokens: int, *, is_private: bool
    ) -> Program[list[BaseMessage]]:
        if not messages:
            return []
        conversation = MessageList(messages, self.coverage, self.style)
        in_process = self.in_process.of(conversation.beginning)
        storage = None if is_private or self.storage_of is None else self.storage_of(config)
        if isinstance(storage, SessionRecords):
            storage = FallbackRecords(storage, in_process)
        conversation.storage = storage or in_process
        return (yield from self._fit(conversation, config, tokens))

    def _fit(self, conversation: Conversation, config: RunnableConfig, tokens: int) -> Program[list[BaseMessage]]:
        """Summarise the oldest messages until the request fits, and return the request."""
        yield from self.counter.prepare()
        began = time.monotonic()
        progress = Progress(self.writer.seconds)
        first: Request | None = None
        error: str | None = None
        spare = 0
        while True:
            room = self._room(tokens + spare)
            snapshot = yield from conversation.load(room)
            large = is_large(snapshot.tail, LONG)
            yield from OffLoop(large)
            request = Request(snapshot, room, self.role, self.writer)
            first = first or request
            plan = None if request.fits or error is not None else request.plan(self.keep)
            if plan is not None:
                try:
                    yield from off_loop(self._summarised(conversation, request, plan, config, progress), large)
                except Exception as problem:  # each provider raises its own
                    if came_by_signal(problem):
                        raise
                    error = f"{type(problem).__name__}: {problem}"
                    _log.warning(
                        "The oldest messages are left out of this request; the next turn tries again. %s", error
                    )
                continue
            messages = request.messages()
            excess = self._excess(messages, tokens)
            if excess <= 0 or spare > (self.budget.max_tokens or 0):
                break
            # An application's function may count more for all messages than for each of them.
            spare += excess + excess // 8
        if progress.folded or not request.fits:
            yield from OffLoop(large=False)  # `on_event` is called on the application's thread
            self._report(first, messages, progress, time.monotonic() - began, error)
        return messages

    def _summarised(
        self, conversation: Conversation, request: Request, plan: Plan, config: RunnableConfig, progress: Progress
    ) -> Program[None]:
        """Summarise messages, or wait for the turn or process that does.

        Raises:
            TimeoutError: The other turn or process took too long.
            Exception: The model raised it.
        """
        if not is_claimed(request.snapshot.record) and (
            yield from summarise_claimed(conversation, request, plan, self.writer, config, progress)
        ):
            return
        limit = time.monotonic() + min(_WAIT_SECONDS, self.writer.seconds)
        while True:
            yield from Sleep(_POLL_SECONDS)
            record, _ = yield from conversation.storage.load(time.time())
            if not is_claimed(record):
                return
            if time.monotonic() > limit:
                msg = "Another turn or process is still summarising the conversation."
                raise TimeoutError(msg)

    def _room(self, tokens: int) -> Budget:
        """Return the budget of the messages, without tools and other tokens."""
        if self.budget.max_tokens is None:
            return self.budget
        tokens += self.counter.tools(self.tools)
        room = self.budget.minus((), self.counter.base + tokens)
        if room.max_tokens is not None and room.max_tokens <= 0:
            msg = (
                f"The tools and what else stands in the request count {tokens:,} tokens, which leaves no room in "
                f"max_tokens={self.budget.max_tokens:,}. Raise it, or pass fewer tools."
            )
            raise BudgetError(msg)
        return room

    def _excess(self, messages: list[BaseMessage], tokens: int) -> int:
        """Return by how many tokens a request exceeds the budget if it is counted as a whole."""
        if self.budget.max_tokens is None:
            return 0
        return self.counter.whole(messages) + self.counter.tools(self.tools) + tokens - self.budget.max_tokens

    def _report(
        self, first: Request, messages: list[BaseMessage], progress: Progress, seconds: float, error: str | None
    ) -> None:
        before = [*first.head, *first.snapshot.tail]
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
        if self.on_event is not None:
            try:
                self.on_event(event)
            except Exception as problem:  # the application's function may raise any error
                if came_by_signal(problem):
                    raise
                _log.exception("on_event failed")
