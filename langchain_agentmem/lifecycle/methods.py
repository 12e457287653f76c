"""The methods of `AgentMemory` that open sessions, summarise, reindex, sweep and close."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.reads import CachedReads
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.compression.methods import CompressionMethods
from langchain_agentmem.history.methods import Histories
from langchain_agentmem.lifecycle.cleaning.methods import CleaningMethods
from langchain_agentmem.lifecycle.closing import CLOSING_SECONDS, Deadline, aclose_schedules, close_schedules
from langchain_agentmem.lifecycle.handover.methods import HandoverMethods
from langchain_agentmem.lifecycle.key_methods import KeyMethods
from langchain_agentmem.lifecycle.transfer.methods import TransferMethods
from langchain_agentmem.lifecycle.user_methods import UserMethods
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.programs.snapshots import snapshot
from langchain_agentmem.prompting.methods import PromptingMethods
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    import weakref

    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

    from langchain_agentmem.compression.summaries import SessionSummary
    from langchain_agentmem.knowledge.extraction.scheduler import Schedule
    from langchain_agentmem.lifecycle.records import Records
    from langchain_agentmem.lifecycle.reindexing import Reindexed
    from langchain_agentmem.lifecycle.session import Session
    from langchain_agentmem.lifecycle.statistics import Stats
    from langchain_agentmem.lifecycle.summaries import ConversationSummaries, Summaries

_BATCH = 100
"""The number of items or messages in one call to the embedding model."""

_ON_DEMAND_MESSAGES = 2
"""The budget of a compressor that summarises on demand. It has no effect: such a summary covers all messages."""


class LifecycleMethods(
    CleaningMethods,
    CompressionMethods,
    HandoverMethods,
    KeyMethods,
    PromptingMethods,
    TransferMethods,
    UserMethods,
):
    """Open sessions, summarise, reindex, sweep and close."""

    backend: Backend
    tenant: str
    read_cache: CachedReads
    store: AgentMemStore
    checkpointer: AgentMemSaver
    records: Records
    _histories: Histories
    _session_timeout: timedelta | float | None
    _schedules: weakref.WeakSet[Schedule]

    def summary(
        self,
        session_id: str | None = None,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        thread_id: str | None = None,
        model: BaseChatModel | Runnable[Any, Any] | str | None = None,
    ) -> SessionSummary | None:
        """Return the summary of a session or of a thread.

        Args:
            session_id: The session. Default: None.
            user_id: The user of the session. Default: None (nobody).
            agent: Only the messages of this agent. Default: None (all).
            thread_id: The thread, instead of a session. Default: None.
            model: Makes and stores a summary of all messages, with topics, decisions and open questions: a chat model, or
                its name such as `"openai:gpt-4o-mini"`. Messages that an earlier summary of this kind covers are not sent
                to it again. Default: None (return the stored summary).

        Returns:
            Without a model, the summary that was stored last. A session without one gets a summary that quotes its
            newest 1,000 messages and is not stored. None if there are no messages, or the thread has no summary.

        Raises:
            InvalidInputError: Neither a session nor a thread is given, or both are.
            SummaryError: The model's answer was empty, or the session or thread was deleted during the call.
            TimeoutError: A call to the model took longer than 60 seconds.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> from langchain_agentmem.testing import ScriptedChatModel
            >>> model = ScriptedChatModel(['{"summary": "They plan a trip to Malta.", "topics": ["travel"]}'])
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("s").add_user_message("Shall we go to Malta?")
            ...     summary = memory.summary("s", model=model)
            ...     summary.text, summary.topics, summary.message_count
            ('They plan a trip to Malta.', ('travel',), 1)
        """
        return run(self._summaries(model).of(session_id, user_id, agent, thread_id))

    async def asummary(
        self,
        session_id: str | None = None,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        thread_id: str | None = None,
        model: BaseChatModel | Runnable[Any, Any] | str | None = None,
    ) -> SessionSummary | None:
        """Same as `summary`, but without blocking the event loop."""
        return await arun(self._summaries(model).of(session_id, user_id, agent, thread_id))

    def summaries(
        self,
        *,
        user_id: str | Omitted | None = OMITTED,
        limit: int = 20,
        offset: int = 0,
        model: BaseChatModel | Runnable[Any, Any] | str | None = None,
    ) -> ConversationSummaries:
        """List the summaries of sessions and threads, the most recently used first.

        Args:
            user_id: The user; None for sessions and threads without a user. Default: those of all users.
            limit: The maximum number of sessions and threads. Default: 20.
            offset: The number of sessions and threads to skip. Default: 0.
            model: Summarises each session and thread whose summary does not cover its newest message, as in `summary`.
                Default: None.
        """
        return run(self._summaries(model).listed(user_id, limit, offset))

    async def asummaries(
        self,
        *,
        user_id: str | Omitted | None = OMITTED,
        limit: int = 20,
        offset: int = 0,
        model: BaseChatModel | Runnable[Any, Any] | str | None = None,
    ) -> ConversationSummaries:
        """Same as `summaries`, but without blocking the event loop."""
        return await arun(self._summaries(model).listed(user_id, limit, offset))

    def _summaries(self, model: BaseChatModel | Runnable[Any, Any] | str | None) -> Summaries:
        from langchain_agentmem.lifecycle.summaries import Summaries

        compressor = (
            None if model is None else self.compressor(model, max_messages=_ON_DEMAND_MESSAGES, structured=True)
        )
        return Summaries(self._histories.engine, self.checkpointer.engine, compressor)

    def reindex(
        self, *, batch_size: int = _BATCH, everything: bool = False, progress: bool | Callable[[Reindexed], Any] = False
    ) -> Reindexed:
        """Bring the search index up to date: embed items and messages that lack vectors of the memory's embedding model.

        In a database of an earlier release, the words of stored texts are analysed again first, and facts of users move to
        the IDs by which equal statements find them. A memory without embeddings does nothing else.

        Run it after the embedding model was changed, or to embed data that was stored without a model or while the model
        failed. A call that was interrupted continues where it stopped when you call it again. Other processes may write
        during the call if they use the same model; stop those that use the former one. Until the call ends, searches use
        full text only. Texts that the model refuses are left without vectors.

        Args:
            batch_size: The number of items or messages in one call to the model. Default: 100.
            everything: If true, embed all items and messages, even if the model has the same name and dimensions. Default:
                False.
            progress: True shows the progress in the terminal or notebook. A function is called after each batch with the
                number of items and messages embedded so far. Default: False.

        Returns:
            The number of items and messages that were embedded, and of those that the model refused.

        Raises:
            ConfigurationError: Other tenants' vectors have other dimensions (on Postgres).
            EmbeddingError: The model failed. Vectors that were stored stay.
            EmbeddingsChangedError: Another process started to reindex with another model.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:", embeddings=DeterministicFakeEmbedding(size=8)) as memory:
            ...     memory.store.put(("facts",), "food", {"text": "pizza"})
            ...     memory.reindex(), memory.reindex(everything=True)
            (Reindexed(items=0, messages=0, failed=0), Reindexed(items=1, messages=0, failed=0))
        """
        return run(self._reindex(batch_size, everything, progress))

    async def areindex(
        self, *, batch_size: int = _BATCH, everything: bool = False, progress: bool | Callable[[Reindexed], Any] = False
    ) -> Reindexed:
        """Same as `reindex`, but without blocking the event loop; `progress` may be a coroutine function."""
        return await arun(self._reindex(batch_size, everything, progress))

    def _reindex(
        self, batch_size: int, everything: bool, progress: bool | Callable[[Reindexed], Any]
    ) -> Program[Reindexed]:
        from langchain_agentmem.lifecycle.reindexing import reindex

        history = self._histories.engine
        return reindex(self.store.engine, history, batch_size=batch_size, everything=everything, progress=progress)

    def session(
        self,
        session_id: str | None = None,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        context: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        timeout: timedelta | float | Omitted | None = OMITTED,
        retention: Retention | Mapping[str | None, Retention] | None = None,
    ) -> Session:
        """Return a session as a context manager, for `with` and `async with`.

        The session is opened at the beginning of the block. At the end of the block, also after an error, its messages,
        variables and records follow their retention; see `Session`.

        Args:
            session_id: The session. Default: None (a new ID).
            user_id: The user of the session. Default: None (nobody).
            agent: The agent whose histories and variables the session returns by default. Default: None (all agents).
            context: Variables of the session to set at the beginning, as JSON values by name. The variable `session_started`
                is set as well. Default: None.
            metadata: A JSON-serialisable mapping that replaces the session's metadata. Default: None (unchanged).
            timeout: The time without activity after which the session is ended although it is open, as a `timedelta` or in
                seconds; None for never. Default: as configured for the memory.
            retention: The retention in this session: one `Retention`, or a mapping of agents to `Retention`, in which the key
                None is for all other agents. Default: None (as configured for the memory).

        Raises:
            InvalidInputError: A value is not accepted.
            InvalidTypeError: An argument has the wrong type.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> memory = AgentMemory.from_url("sqlite:///:memory:")
            >>> with memory.session("campaign-1", context={"goal": "launch"}) as session:
            ...     session.history(agent="writer").add_ai_message("Draft headline")
            ...     session.variables.get("goal"), session.summary().agents
            ('launch', ('writer',))
            >>> memory.close()
        """
        from langchain_agentmem.lifecycle.session import Session

        return Session(
            self._histories,
            self.records.engine,
            self.variables.engine,
            session_id=session_id,
            user_id=user_id,
            agent=agent,
            context=context,
            metadata=metadata,
            timeout=self._session_timeout if timeout is OMITTED else timeout,
            retention=retention,
        )

    def stats(self) -> Stats:
        """Count what this tenant's data consists of, what expires when, and how large the database is.

        All counts are exact. They read indexes of the whole tenant, so do not call it for each request.

        Returns:
            The statistics: a mapping, which a notebook shows as tables and charts.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("session-1").add_user_message("Hello")
            ...     memory.stats().entries["messages"]
            1
        """
        return run(self._stats())

    async def astats(self) -> Stats:
        """Same as `stats`, but without blocking the event loop."""
        return await arun(self._stats())

    def _stats(self) -> Program[Stats]:
        from langchain_agentmem.lifecycle.statistics import statistics

        return statistics(self.backend, self.tenant, self.read_cache.info())

    def sweep(self) -> int:
        """Delete all expired sessions, items, threads and variables, and end open sessions whose timeout is over.

        Writes do the same regularly.

        Returns:
            The number of deleted and ended ones.
        """
        return run(self._histories.engine.sweeper.sweep())

    async def asweep(self) -> int:
        """Same as `sweep`, but without blocking the event loop."""
        return await arun(self._histories.engine.sweeper.sweep())

    def close(self, *, time_limit: timedelta | float | None = CLOSING_SECONDS) -> None:
        """Finish pending background extraction, stop the cleanup, and close every connection. A second call has no effect.

        Args:
            time_limit: The time for extraction, as a `timedelta` or in seconds; None for no limit. Messages that were not
                read by then are read in the next run of their thread, and a warning is logged. Default: 30.
        """
        deadline = Deadline(time_limit)
        try:
            if self._cleaner is not None:
                self._cleaner.close(deadline.left())
            close_schedules(snapshot(self._schedules), deadline)
        finally:
            self.backend.close()

    async def aclose(self, *, time_limit: timedelta | float | None = CLOSING_SECONDS) -> None:
        """Same as `close`, but without blocking the event loop."""
        deadline = Deadline(time_limit)
        try:
            if self._cleaner is not None:
                await self._cleaner.aclose(deadline.left())
            await aclose_schedules(snapshot(self._schedules), deadline)
        finally:
            await self.backend.aclose()
