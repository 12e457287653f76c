"""Summaries of sessions and threads: those that compressors wrote, and those that a model makes on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.ids import check_id, check_optional_id
from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.backends.contract import ThreadKey
from langchain_agentmem.checkpointing.models import ThreadInfo
from langchain_agentmem.compression.places import session_place, thread_place
from langchain_agentmem.compression.sessions import SessionMessages, newest_of, summary_of
from langchain_agentmem.compression.sources import Coverage, MessageList
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.models import SessionInfo
from langchain_agentmem.lifecycle.sessions import listed_sessions
from langchain_agentmem.programs import Program, Twin
from langchain_agentmem.text.tables import html_table

if TYPE_CHECKING:
    from langchain_agentmem.checkpointing.face import AgentMemSaver
    from langchain_agentmem.compression.compressor import MemoryCompressor


@dataclass(frozen=True)
class ConversationSummary:
    """A session or a thread of a user, with its summary."""

    summary: SessionSummary | None
    """None for a thread that no compressor summarised, and for a conversation without messages."""
    session_id: str | None
    """Which session; None for a thread."""
    thread_id: str | None
    """Which thread; None for a session."""
    user_id: str | None
    updated_at: datetime
    """When it was last used, in UTC."""
    title: str | None = None
    """A session's title."""


class ConversationSummaries(list[ConversationSummary]):
    """A list of summaries. A notebook shows it as a table."""

    def _repr_html_(self) -> str:
        rows = [
            (
                one.session_id or one.thread_id,
                one.updated_at,
                ", ".join(one.summary.topics) if one.summary else None,
                one.summary.text if one.summary else None,
            )
            for one in self
        ]
        return html_table(rows, header=("session or thread", "last used", "topics", "summary"))


@dataclass(frozen=True)
class Summaries:
    """Reads and makes the summaries of sessions and threads. Its methods are programs.

    Args:
        history: The engine of the history.
        checkpointer: Reads threads.
        ttl: Seconds without use after which a thread's summary expires; None for never.
        compressor: Makes summaries on demand; None to return stored summaries.
    """

    history: HistoryEngine
    checkpointer: AgentMemSaver
    ttl: float | None
    compressor: MemoryCompressor | None

    def of(
        self, session_id: str | None, user_id: str | None, agent: str | None, thread_id: str | None
    ) -> Program[SessionSummary | None]:
        """Return the summary of a session or a thread; see `AgentMemory.summary`."""
        if (session_id is None) == (thread_id is None):
            msg = "Name a session or a thread: memory.summary('session-1'), or memory.summary(thread_id='thread-1')."
            raise InvalidInputError(msg)
        user_id, agent = check_optional_id("user_id", user_id), check_optional_id("agent", agent)
        if thread_id is not None:
            return (yield from self._of_thread(check_id("thread_id", thread_id)))
        return (yield from self._of_session(check_id("session_id", session_id), user_id, agent))

    def listed(self, user_id: str | Omitted | None, limit: int, offset: int) -> Program[ConversationSummaries]:
        """List the summaries of sessions and threads; see `AgentMemory.summaries`."""
        last = check_count("limit", limit) + check_count("offset", offset, least=0)
        sessions = yield from listed_sessions(self.history, user_id, last, 0)
        threads = yield from self._threads(user_id, last)
        used: Sequence[SessionInfo | ThreadInfo] = sorted(
            [*sessions, *threads], key=lambda one: one.updated_at, reverse=True
        )
        found = ConversationSummaries()
        for one in used[offset:last]:
            owner = one.user_id if user_id is OMITTED else user_id
            if isinstance(one, SessionInfo):
                summary = yield from self.of(one.session_id, owner, None, None)
                found.append(ConversationSummary(summary, one.session_id, None, owner, one.updated_at, one.title))
            else:
                summary = yield from self.of(None, None, None, one.thread_id)
                found.append(ConversationSummary(summary, None, one.thread_id, owner, one.updated_at))
        return found

    def _threads(self, user_id: str | Omitted | None, limit: int) -> Program[Sequence[ThreadInfo]]:
        if user_id is None:
            return []
        whose = {} if user_id is OMITTED else {"user_id": user_id}
        threads: Sequence[ThreadInfo] = yield from Twin(self.checkpointer.threads, limit=limit, **whose)
        return threads

    def _of_session(self, session_id: str, user_id: str | None, agent: str | None) -> Program[SessionSummary | None]:
        key = self.history.key(session_id, user_id)
        if self.compressor is not None:
            source = SessionMessages(self.history.backend, self.history.codec, key, agent, self.compressor.style)
            return (yield from self.compressor.summarising(source, {}))
        messages = SessionMessages(self.history.backend, self.history.codec, key, agent)
        for place in (messages.place, *([session_place(self.history.backend, key)] if agent is None else [])):
            stored = yield from newest_of(place)
            if stored is not None:
                return stored
        return (yield from summary_of(messages, self.history.backend.language))

    def _of_thread(self, thread_id: str) -> Program[SessionSummary | None]:
        thread = ThreadKey(self.history.tenant, thread_id)
        place = thread_place(self.history.backend, thread, self.ttl, self.checkpointer.serde)
        if self.compressor is None:
            return (yield from newest_of(place))
        found = yield from Twin(
            self.checkpointer.get_tuple, {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        )
        values = {} if found is None else found.checkpoint["channel_values"]
        messages = values.get("messages")
        if not isinstance(messages, list) or not all(isinstance(one, BaseMessage) for one in messages):
            return (yield from newest_of(place))  # a graph without messages
        source = MessageList(messages, Coverage(), self.compressor.style)
        source.place = place
        return (yield from self.compressor.summarising(source, {"configurable": {"thread_id": thread_id}}))
