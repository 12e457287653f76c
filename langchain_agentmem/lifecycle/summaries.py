"""The summaries of sessions and threads: those that compressors stored, and those that a model makes on demand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.ids import check_id, check_optional_id
from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.checkpointing.engine import CheckpointEngine
from langchain_agentmem.checkpointing.models import ThreadInfo
from langchain_agentmem.compression.conversations import Coverage, MessageList
from langchain_agentmem.compression.sessions import SessionMessages, newest_summary, quoted_summary
from langchain_agentmem.compression.storage import session_storage, thread_storage
from langchain_agentmem.compression.summaries import SessionSummary
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.models import SessionInfo
from langchain_agentmem.lifecycle.sessions import listed_sessions
from langchain_agentmem.programs import Program
from langchain_agentmem.text.tables import FieldTable, html_table

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from langchain_agentmem.compression.compressor import MemoryCompressor


@dataclass(frozen=True)
class ConversationSummary(FieldTable):
    """The summary of a session or a thread."""

    summary: SessionSummary | None
    """None for a thread without a stored summary, and for a session or thread without messages."""
    session_id: str | None
    """The session; None for a thread."""
    thread_id: str | None
    """The thread; None for a session."""
    user_id: str | None
    updated_at: datetime
    """The time of the last use, in UTC."""
    title: str | None = None
    """The title of a session."""


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
        checkpoints: The engine of the checkpointer.
        compressor: Makes summaries on demand; None to return stored summaries.
    """

    history: HistoryEngine
    checkpoints: CheckpointEngine
    compressor: MemoryCompressor | None

    def of(
        self, session_id: str | None, user_id: str | None, agent: str | None, thread_id: str | None
    ) -> Program[SessionSummary | None]:
        """Return the summary of a session or a thread; see `AgentMemory.summary`."""
        if (session_id is None) == (thread_id is None):
            msg = (
                f"memory.summary takes either a session or a thread; got session_id={shown(session_id)}, "
                f"thread_id={shown(thread_id)}. Call memory.summary('session-1') or memory.summary(thread_id='thread-1')."
            )
            raise InvalidInputError(msg)
        user_id, agent = check_optional_id("user_id", user_id), check_optional_id("agent", agent)
        if thread_id is not None:
            return (yield from self._of_thread(check_id("thread_id", thread_id)))
        return (yield from self._of_session(check_id("session_id", session_id), user_id, agent))

    def listed(self, user_id: str | Omitted | None, limit: int, offset: int) -> Program[ConversationSummaries]:
        """List the summaries of sessions and threads; see `AgentMemory.summaries`."""
        last = check_count("limit", limit) + check_count("offset", offset, least=0)
        sessions = yield from listed_sessions(self.history, user_id, last, 0)
        threads = yield from self.checkpoints.threads(user_id=user_id, limit=last)
        used: list[SessionInfo | ThreadInfo] = sorted(
            [*sessions, *threads], key=lambda info: info.updated_at, reverse=True
        )
        found = ConversationSummaries()
        for info in used[offset:last]:
            # A thread of several users is listed for each of them.
            owner = info.user_id if user_id is OMITTED else user_id
            if isinstance(info, SessionInfo):
                summary = yield from self._of_session(info.session_id, owner, None)
                one = ConversationSummary(summary, info.session_id, None, owner, info.updated_at, info.title)
            else:
                summary = yield from self._of_thread(info.thread_id)
                one = ConversationSummary(summary, None, info.thread_id, owner, info.updated_at)
            found.append(one)
        return found

    def _of_session(self, session_id: str, user_id: str | None, agent: str | None) -> Program[SessionSummary | None]:
        backend, key = self.history.backend, self.history.key(session_id, user_id)
        if self.compressor is not None:
            compression = self.compressor.engine
            return (yield from compression.summarise(SessionMessages(self.history, key, agent, compression.style), {}))
        messages = SessionMessages(self.history, key, agent)
        for storage in (messages.storage, *([session_storage(backend, key)] if agent is None else [])):
            stored = yield from newest_summary(storage)
            if stored is not None:
                return stored
        return (yield from quoted_summary(messages, backend.language))

    def _of_thread(self, thread_id: str) -> Program[SessionSummary | None]:
        engine = self.checkpoints
        storage = thread_storage(engine, thread_id)
        if self.compressor is None:
            return (yield from newest_summary(storage))
        config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        found = yield from engine.get(config)
        values = {} if found is None else found.checkpoint["channel_values"]
        messages = values.get("messages")
        if not isinstance(messages, list) or not all(isinstance(one, BaseMessage) for one in messages):
            return (yield from newest_summary(storage))  # the state of the graph has no list of messages
        compression = self.compressor.engine
        conversation = MessageList(messages, Coverage(), compression.style)
        conversation.storage = storage
        return (yield from compression.summarise(conversation, {"configurable": {"thread_id": thread_id}}))
