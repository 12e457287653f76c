"""Summaries of sessions and threads: those that compressors wrote, and those that a model makes on demand."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.ids import check_id, check_optional_id
from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.backends.contract import SessionKey, ThreadKey
from langchain_agentmem.compression.places import session_place, thread_place
from langchain_agentmem.compression.sessions import SessionMessages, newest_of, summary_of
from langchain_agentmem.compression.sources import Coverage, MessageList
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.programs import Program, Twin

if TYPE_CHECKING:
    from langchain_agentmem.backends.contract import Backend
    from langchain_agentmem.checkpointing.face import AgentMemSaver
    from langchain_agentmem.compression.compressor import MemoryCompressor
    from langchain_agentmem.encoding.codec import Codec
    from langchain_agentmem.lifecycle.sessions import Sessions


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
    """Summaries of conversations; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(one.session_id or one.thread_id or '')}</td><td>{one.updated_at:%Y-%m-%d %H:%M}</td>"
            f"<td style='text-align:left'>{html.escape(', '.join(one.summary.topics) if one.summary else '')}</td>"
            f"<td style='text-align:left'>{html.escape(one.summary.text[:300] if one.summary else '')}</td></tr>"
            for one in self
        )
        heads = "".join(f"<th>{head}</th>" for head in ("session or thread", "last used", "topics", "summary"))
        return f"<table><tr>{heads}</tr>{rows}</table>"


@dataclass(frozen=True)
class Summaries:
    """Gives the summaries of sessions and threads. Its methods are programs.

    Args:
        backend: Where they are.
        tenant: Whose.
        ttl: Seconds without use after which a thread's summary expires; None for never.
        codec: What reads messages of sessions.
        checkpointer: What reads threads.
        sessions: What lists sessions.
        compressor: What makes a summary on demand; None to take those that there are.
    """

    backend: Backend
    tenant: str
    ttl: float | None
    codec: Codec
    checkpointer: AgentMemSaver
    sessions: Sessions
    compressor: MemoryCompressor | None

    def of(
        self, session_id: str | None, user_id: str | None, agent: str | None, thread_id: str | None
    ) -> Program[SessionSummary | None]:
        """The summary of a session or a thread."""
        if (session_id is None) == (thread_id is None):
            msg = "Name a session or a thread: memory.summary('session-1'), or memory.summary(thread_id='thread-1')."
            raise InvalidInputError(msg)
        user_id, agent = check_optional_id("user_id", user_id), check_optional_id("agent", agent)
        if thread_id is not None:
            return (yield from self._of_thread(check_id("thread_id", thread_id)))
        return (yield from self._of_session(check_id("session_id", session_id), user_id, agent))

    def of_user(self, user_id: str | None, limit: int, offset: int) -> Program[ConversationSummaries]:
        """The summaries of a user's sessions and threads, the most recently used first."""
        check_optional_id("user_id", user_id)
        most = check_count("limit", limit) + check_count("offset", offset, least=0)
        sessions = yield from Twin(self.sessions.list, user_id=user_id, limit=most)
        threads = [] if user_id is None else (yield from Twin(self.checkpointer.threads, user_id=user_id, limit=most))
        used: Sequence[Any] = sorted([*sessions, *threads], key=lambda one: one.updated_at, reverse=True)
        found = ConversationSummaries()
        for one in used[offset:most]:
            session_id, thread_id = getattr(one, "session_id", None), getattr(one, "thread_id", None)
            summary = yield from self.of(session_id, user_id, None, thread_id)
            title = getattr(one, "title", None)
            found.append(ConversationSummary(summary, session_id, thread_id, user_id, one.updated_at, title))
        return found

    def _of_session(self, session_id: str, user_id: str | None, agent: str | None) -> Program[SessionSummary | None]:
        key = SessionKey(self.tenant, user_id, session_id)
        if self.compressor is not None:
            source = SessionMessages(self.backend, self.codec, key, agent, self.compressor.style)
            return (yield from self.compressor.summarising(source, {}))
        messages = SessionMessages(self.backend, self.codec, key, agent)
        for place in (messages.place, *([session_place(self.backend, key)] if agent is None else [])):
            stored = yield from newest_of(place)
            if stored is not None:
                return stored
        return (yield from summary_of(messages, self.backend.language))

    def _of_thread(self, thread_id: str) -> Program[SessionSummary | None]:
        thread = ThreadKey(self.tenant, thread_id)
        place = thread_place(self.backend, thread, self.ttl, self.checkpointer.serde)
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
