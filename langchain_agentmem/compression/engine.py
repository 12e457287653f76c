"""The operations of a compressor, as programs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from langchain_agentmem.backends.contract import SessionKey
from langchain_agentmem.compression.backoff import Backoff
from langchain_agentmem.compression.claims import TRIES, ClaimedError, Progress, is_claimed, summarise_claimed
from langchain_agentmem.compression.conversations import Conversation, Coverage, MessageList, Snapshot
from langchain_agentmem.compression.events import CompressionEvent, CompressionEvents
from langchain_agentmem.compression.excerpts import Excerpts
from langchain_agentmem.compression.inputs import messages_in
from langchain_agentmem.compression.records import NotAMessageError, RecordStorage, chained
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
_BEGINNING = 2
"""The number of messages that distinguish conversations of one thread in `backoff`, such as those of two nodes."""
_POLL_SECONDS = 0.05
_WAIT_SECONDS = 15.0
"""Seconds for which a turn waits while another one summarises. Then it uses the newest messages that fit."""


class Demand(NamedTuple):
    """Requirements of a request in addition to the budget.

    Args:
        tokens: Other tokens of the request, such as those of its tools.
        messages: Other messages of the request.
        limit: An upper bound of the tokens, if it is lower than the budget.
        compact: If true, summarise all turns but the last, even if the conversation fits.
        was_compacted: If true, an earlier request was compacted on demand: the stored summary is used even if the
            conversation fits.
        is_readable: If true, the agent has the tool that reads shortened tool results and summarised messages.
        opens: If true, a request without any message of the user begins with a message in its place. If false, the
            conversation is only a part of a request.
    """

    tokens: int = 0
    messages: int = 0
    limit: int | None = None
    compact: bool = False
    was_compacted: bool = False
    is_readable: bool = False
    opens: bool = True


class Limits(NamedTuple):
    """The budgets of a conversation."""

    room: Budget
    """The conversation in a request."""
    trigger: Budget | None
    """Compaction begins when the conversation exceeds it; None for `room`."""
    keep: Budget
    """The newest messages that stay unchanged."""
    excerpts: Excerpts | None
    """Shortens old tool results and arguments."""
    opens: bool
    is_readable: bool
    """See `Demand`."""

    def request(self, snapshot: Snapshot, role: str, writer: SummaryWriter) -> Request:
        """Return the request for a conversation."""
        return Request(
            snapshot,
            self.room,
            role,
            writer,
            self.trigger,
            self.excerpts,
            opens=self.opens,
            is_readable=self.is_readable,
        )


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
        trigger: Compaction begins when a request exceeds this budget. Default: None (`budget`).
        shrink: If true, shorten old tool results and arguments before anything is summarised. Default: True.
    """

    budget: Budget
    keep: Budget
    writer: SummaryWriter
    tools: list[Any]
    role: str
    style: str
    on_event: Callable[[CompressionEvent], None] | None = None
    storage_of: Callable[[RunnableConfig], RecordStorage | None] | None = None
    trigger: Budget | None = None
    shrink: bool = True
    events: CompressionEvents = field(default_factory=lambda: CompressionEvents(maxlen=_EVENTS))
    in_process: ProcessRecords = field(default_factory=ProcessRecords)
    coverage: Coverage = field(default_factory=Coverage)
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def counter(self) -> TokenCounter:
        """Counts tokens."""
        return self.budget.counter

    def compress(
        self,
        given: Any,
        config: RunnableConfig,
        demand: Demand | None = None,
        *,
        is_private: bool = False,
        opens: bool = True,
    ) -> Program[list[BaseMessage]]:
        """Return an input's messages within the budget.

        Args:
            given: Messages, a prompt, or a state with messages.
            config: The config of the run.
            demand: Requirements of the request in addition to the budget. Default: None (nothing).
            is_private: If true, nothing is written to a database. Default: False.
            opens: See `Demand`. It has no effect beside `demand`. Default: True.

        Raises:
            BudgetError: A message does not fit, and cannot be truncated far enough.
        """
        messages = messages_in(given)
        demand = demand or Demand(opens=opens)
        large = is_large(messages, LONG)
        try:
            return (yield from off_loop(self._compressed(messages, config, demand, is_private=is_private), large))
        except NotAMessageError:
            converted = as_messages(messages)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # A message of the thread may be malformed. Checking all of them first would slow down every turn.
            converted = [repaired(message) for message in as_messages(messages)]
            if came_by_signal(error) or all(one is given for one, given in zip(converted, messages, strict=True)):
                raise
        return (yield from off_loop(self._compressed(converted, config, demand, is_private=is_private), large))

    def compress_session(
        self, history: HistoryEngine, key: SessionKey, agent: str | None, config: RunnableConfig, *, opens: bool
    ) -> Program[list[BaseMessage]]:
        """Return a session's messages within the budget.

        Args:
            history: The engine of the history.
            key: The session.
            agent: Only this agent's messages; None for those of all agents.
            config: The config of the run.
            opens: See `Demand`.

        Raises:
            BudgetError: A message does not fit, and cannot be truncated far enough.
        """
        conversation = SessionMessages(history, key, agent, self.style)
        return (yield from self._fit(conversation, config, Demand(opens=opens), (self.style, key, agent)))

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
            yield from off_loop(
                self._summarised(conversation, request, request.everything(), config, progress, None), large
            )

    def _compressed(
        self, messages: Sequence[BaseMessage], config: RunnableConfig, demand: Demand, *, is_private: bool
    ) -> Program[list[BaseMessage]]:
        if not messages:
            if demand.tokens:
                self._room(self._bounds(demand), demand, 0)
            return []
        conversation = MessageList(messages, self.coverage, self.style)
        in_process = self.in_process.of(conversation.beginning)
        storage = None if is_private or self.storage_of is None else self.storage_of(config)
        if isinstance(storage, SessionRecords):
            storage = FallbackRecords(storage, in_process)
        conversation.storage = storage or in_process
        configurable = config.get("configurable") or {}
        ids = tuple(str(configurable.get(name)) for name in ("user_id", "thread_id", "checkpoint_ns", "session_id"))
        name = (self.style, *ids, chained("", conversation.beginning[:_BEGINNING]))
        return (yield from self._fit(conversation, config, demand, name))

    def _fit(
        self, conversation: Conversation, config: RunnableConfig, demand: Demand, name: Hashable
    ) -> Program[list[BaseMessage]]:
        """Shorten and summarise the oldest messages until the request fits, and return the request.

        Args:
            conversation: The conversation.
            config: The config of the run.
            demand: Requirements of the request in addition to the budget.
            name: Identifies the conversation in `backoff`.
        """
        yield from self.counter.prepare()
        began = time.monotonic()
        progress = Progress(self.writer.seconds)
        first: Request | None = None
        error: str | None = None
        spare = 0
        must_load = demand.compact or demand.was_compacted
        while True:
            limits = self._limits(demand, spare)
            nothing = Budget(self.counter, max_messages=0)
            snapshot = yield from conversation.load(nothing if must_load else limits.trigger or limits.room)
            large = is_large(snapshot.tail, LONG)
            yield from OffLoop(large)
            request = limits.request(snapshot, self.role, self.writer)
            if not (request.is_small or snapshot.is_loaded or must_load):
                must_load = True  # the request has more tokens than the messages: it repairs calls, or needs an opening
                continue
            first = first or request
            plan = None
            if demand.compact and not progress.folded and error is None:
                plan = request.plan(Budget(self.counter, max_messages=0))
            elif not request.is_small:
                plan = request.plan(limits.keep)
            if plan is not None:
                omitting, note = self._omitting(name, snapshot, limits, error)
                if omitting is not None:
                    request, plan, error = omitting, None, note
            if plan is not None and error is None:
                tried = self._tried(conversation, request, plan, config, progress, name)
                error = yield from off_loop(tried, large)
                continue
            messages = request.messages()
            excess = self._excess(messages, demand)
            if excess <= 0 or spare > (limits.room.max_tokens or 0):
                break
            # An application's function may count more for all messages than for each of them.
            spare += excess + excess // 8
        if progress.folded or error is not None or not request.is_whole:
            yield from OffLoop(large=False)  # `on_event` is called on the application's thread
            self._report(first, messages, progress, time.monotonic() - began, error)
        else:
            _log.debug("compression: gave all %d messages, folded none: they fit the budget", len(messages))
        return messages

    def _omitting(
        self, name: Hashable, snapshot: Snapshot, limits: Limits, error: str | None
    ) -> tuple[Request | None, str | None]:
        """Return a request without the messages that the model repeatedly failed to summarise, and the error.

        None if there are no such messages, or the request does not fit without them and a summary may be tried.
        """
        failures = self.backoff.of(name)
        shortened = None if failures is None else failures.shortened(snapshot)
        if failures is None or shortened is None:
            return None, error
        request = limits.request(shortened, self.role, self.writer)
        return (request, error or failures.error) if request.is_small or error is not None else (None, error)

    def _tried(
        self,
        conversation: Conversation,
        request: Request,
        plan: Plan,
        config: RunnableConfig,
        progress: Progress,
        name: Hashable,
    ) -> Program[str | None]:
        """Try to summarise messages; return the error if that fails, or if the model failed repeatedly and is not called."""
        skipped = self.backoff.skip(name, request.snapshot, plan)
        if skipped is not None:
            return skipped
        folded = progress.folded
        try:
            yield from self._summarised(conversation, request, plan, config, progress, name)
        except Exception as problem:  # each provider raises its own
            if came_by_signal(problem):
                raise
            error = f"{type(problem).__name__}: {problem}"
            if progress.folded > folded:
                self.backoff.succeed(name)
            elif not isinstance(problem, ClaimedError):
                self.backoff.fail(name, request.snapshot, plan, error)
            _log.warning("The oldest messages are left out of this request; a later turn tries again. %s", error)
            return error
        self.backoff.succeed(name)
        return None

    def _summarised(
        self,
        conversation: Conversation,
        request: Request,
        plan: Plan,
        config: RunnableConfig,
        progress: Progress,
        name: Hashable,
    ) -> Program[None]:
        """Summarise messages, or wait for the turn or process that does.

        Raises:
            ClaimedError: The other turn or process took too long.
            Exception: The model raised it.
        """
        if not is_claimed(request.snapshot.record) and (
            yield from summarise_claimed(
                conversation,
                request,
                plan,
                self.writer,
                config,
                progress,
                1 if self.backoff.has_failed(name) else TRIES,
            )
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
                raise ClaimedError(msg)

    def _bounds(self, demand: Demand) -> Budget:
        """Return the budget of the whole request."""
        limits = [one for one in (self.budget.max_tokens, demand.limit) if one is not None]
        return Budget(self.counter, min(limits, default=None), self.budget.max_messages)

    def _lower(self, demand: Demand) -> Budget:
        """Return the budget of the whole request above which compaction begins."""
        bounds = self._bounds(demand)
        assert self.trigger is not None
        tokens = [one for one in (bounds.max_tokens, self.trigger.max_tokens) if one is not None]
        messages = [one for one in (bounds.max_messages, self.trigger.max_messages) if one is not None]
        return Budget(self.counter, min(tokens, default=None), min(messages, default=None))

    def _room(self, budget: Budget, demand: Demand, spare: int) -> Budget:
        """Return the budget of the conversation: without tools, other tokens and other messages.

        Raises:
            BudgetError: They leave no room.
        """
        left = self._left(budget, demand, spare)
        if left.max_tokens is not None and left.max_tokens <= 0:
            msg = (
                f"Tools and other parts of the request have {self._others(demand):,} tokens, which leaves no room in "
                f"max_tokens={budget.max_tokens:,}. Raise it, or pass fewer tools."
            )
            raise BudgetError(msg)
        return left

    def _left(self, budget: Budget, demand: Demand, spare: int) -> Budget:
        tokens = 0 if budget.max_tokens is None else self.counter.base + self._others(demand) + spare
        return budget.reduced(tokens, demand.messages)

    def _others(self, demand: Demand) -> int:
        return self.counter.tools(self.tools) + demand.tokens

    def _limits(self, demand: Demand, spare: int) -> Limits:
        """Return the budgets of a conversation.

        Args:
            demand: Requirements of the request in addition to the budget.
            spare: The number of tokens to leave free.
        """
        room = self._room(self._bounds(demand), demand, spare)
        # The tools alone may exceed the trigger: then every request is compacted.
        trigger = None if self.trigger is None else self._left(self._lower(demand), demand, spare)
        keep = self.keep
        if demand.limit is not None and room.max_tokens is not None:
            tokens = [one for one in (keep.max_tokens, room.max_tokens // 4) if one is not None]
            keep = Budget(self.counter, min(tokens), keep.max_messages)
        excerpts = Excerpts(keep, demand.is_readable) if self.shrink else None
        return Limits(room, trigger, keep, excerpts, demand.opens, demand.is_readable)

    def _excess(self, messages: list[BaseMessage], demand: Demand) -> int:
        """Return by how many tokens a request exceeds the budget if it is counted as a whole."""
        max_tokens = self._bounds(demand).max_tokens
        if max_tokens is None:
            return 0
        return self.counter.whole(messages) + self._others(demand) - max_tokens

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
        _log.debug(
            "compression: gave %d of %d messages, folded %d into the summary, %d calls of the model",
            *(event.messages_after, event.messages_before, progress.folded, progress.calls),
        )
        self.events.append(event)
        if self.on_event is not None:
            try:
                self.on_event(event)
            except Exception as problem:  # the application's function may raise any error
                if came_by_signal(problem):
                    raise
                _log.exception("on_event failed")
