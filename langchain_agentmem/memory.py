"""`AgentMemory`: one URL, and everything hangs on it."""

from __future__ import annotations

import html
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.store.base import IndexConfig, TTLConfig
from typing_extensions import Self, Unpack

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_optional_id, check_tenant
from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.options import CompressorOptions, ExtractorOptions, MemoryOptions, check_options
from langchain_agentmem.arguments.retention import Retention, check_retention
from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.surface import Surface, backend_of
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.compression.places import summary_place
from langchain_agentmem.compression.summaries import Place, SessionSummary
from langchain_agentmem.errors import (
    AgentMemError,
    InvalidInputError,
    InvalidTypeError,
    missing_extra,
)
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.face import AgentMemHistory
from langchain_agentmem.knowledge.facts.schema import Schema, UserProfile
from langchain_agentmem.lifecycle.reindexing import BATCH, Reindexed, reindex
from langchain_agentmem.lifecycle.sessions import Sessions
from langchain_agentmem.lifecycle.summaries import ConversationSummaries, Summaries
from langchain_agentmem.messages.limits import input_limit
from langchain_agentmem.messages.models import FoundMessages
from langchain_agentmem.programs import arun, run
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable, RunnableConfig
    from langchain_core.tools import BaseTool
    from pydantic import BaseModel

    from langchain_agentmem.agents.middleware import MemoryMiddleware
    from langchain_agentmem.compression.compressor import MemoryCompressor
    from langchain_agentmem.knowledge.entities.face import Entities
    from langchain_agentmem.knowledge.extraction.face import ProfileExtractor
    from langchain_agentmem.knowledge.extraction.scheduler import Schedule
    from langchain_agentmem.knowledge.facts.face import Profiles
    from langchain_agentmem.knowledge.memories import Memories
    from langchain_agentmem.knowledge.shared import SharedKnowledge
    from langchain_agentmem.settings import AgentMemSettings


_MIDDLEWARE_TOKENS = 16_000
_CLOSING_SECONDS = 30.0
_MIDDLEWARE_ENTITIES = 8
_ON_DEMAND_MESSAGES = 2
"""A compressor needs a budget; a summary on demand covers all messages, whatever it is."""


class AgentMemory(Surface):
    """The memory of an application: chat history, store and checkpointer on one database.

    Make one per process, with `from_url`, and share it: it may be used from any thread and any event loop. It is a context
    manager, sync and async. Tables are made on first use, by any number of processes at once.

    Args:
        backend: Where the memory is: a URL, see `langchain_agentmem.backends.connect`; or a pool, connection or client of the
            application, see `langchain_agentmem.backends.adopt`.
        embeddings: For search by meaning: a LangChain `Embeddings`, a function from a list of texts to a list of vectors, or
            `"provider:model"`. Default: None (search by words).
        index: LangGraph's index configuration of the store, when `embeddings` is not enough. Default: None.
        tenant: Which of several applications on one database. Default: `"default"`.
        ttl: After what time without use sessions, items and threads expire, as a `timedelta` or in seconds. Default:
            None (never).
        max_messages: The most messages that a history gives a chain; all stay stored. Default: None (all).
        retention: What is kept of sessions: one `Retention`, or one for each agent by name, where None is for all
            others. Default: everything.
        serde: The serializer of the checkpointer. Default: LangGraph's.
        compact: Whether what a step stores is proportional to what is new in it; see `AgentMemSaver`. Default: True.
        embed_history: Whether `embeddings` embed messages too, one call for each turn, so that they are found by meaning
            and not by words alone. Default: True.

    Raises:
        InvalidInputError: An argument is not accepted.
        InvalidTypeError: An argument has the wrong type.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     memory.history("session-1").add_user_message("Hello")
        ...     memory.history("session-1").count()
        1
    """

    _options = MemoryOptions
    _stands_alone = True

    def __init__(
        self,
        backend: Backend | str | Any,
        *,
        embeddings: Embeddings | Callable[..., Any] | str | None = None,
        index: IndexConfig | None = None,
        tenant: str = "default",
        ttl: timedelta | float | None = None,
        max_messages: int | None = None,
        retention: Retention | Mapping[str | None, Retention] | None = None,
        serde: SerializerProtocol | None = None,
        compact: bool = True,
        embed_history: bool = True,
    ) -> None:
        backend, _ = backend_of(backend, 'AgentMemory("sqlite:///agentmem.db")')
        self.backend: Backend = backend
        self._backend = self.backend
        self.tenant = check_tenant(tenant)
        self._max_messages = None if max_messages is None else check_count("max_messages", max_messages)
        self._ttl = seconds("ttl", ttl)
        self._retention = _retention_by_agent(retention)
        self._sweeper = Sweeper(backend, tenant)
        if embeddings is not None:
            index = {**(index or {}), "embed": embeddings}
        minutes: TTLConfig | None = None if self._ttl is None else {"default_ttl": self._ttl / 60}
        self.store = AgentMemStore(backend, index=index, ttl=minutes, tenant=tenant, sweeper=self._sweeper)
        self.checkpointer = AgentMemSaver(
            backend, serde=serde, ttl=ttl, tenant=tenant, compact=compact, sweeper=self._sweeper
        )
        indexer = self.store.engine.indexer if check_flag("embed_history", embed_history) else None
        self._history_engine = HistoryEngine(backend, tenant, indexer=indexer, sweeper=self._sweeper)
        self.sessions = Sessions(self._history_engine)
        self._schedules: weakref.WeakSet[Schedule] = weakref.WeakSet()

    if TYPE_CHECKING:  # `Surface` implements the constructors

        @classmethod
        def from_url(cls, url: str, **options: Unpack[MemoryOptions]) -> Self: ...

        @classmethod
        def from_conn_string(
            cls,
            conn_string: str,
            *,
            pipeline: bool = False,
            pool_config: Mapping[str, Any] | None = None,
            **options: Unpack[MemoryOptions],
        ) -> Self: ...

        @classmethod
        def from_connection(
            cls,
            connection: Any,
            *,
            schema: str | None = None,
            language: str | None = None,
            **options: Unpack[MemoryOptions],
        ) -> Self: ...

        @classmethod
        def from_client(
            cls, client: Any, *, allow_eviction: bool = False, **options: Unpack[MemoryOptions]
        ) -> Self: ...

    @classmethod
    def from_settings(cls, settings: AgentMemSettings | None = None, **options: Unpack[MemoryOptions]) -> Self:
        """The memory that the environment describes.

        Args:
            settings: The settings. Default: those of the environment (`AGENTMEM_URL` …) and `.env`.
            **options: The keyword arguments of `AgentMemory`, which win.
        """
        if settings is None:
            from langchain_agentmem.settings import settings_of_environment

            settings = settings_of_environment()
        described: MemoryOptions = {
            "tenant": settings.tenant,
            "ttl": settings.ttl,
            "max_messages": settings.max_messages,
        }
        check_options("AgentMemory.from_settings", options, MemoryOptions)
        described.update(options)
        return cls.from_url(settings.url, **described)

    # Chat history

    def history(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        max_messages: int | None = None,
        max_tokens: int | None = None,
        token_counter: Any = None,
        compressor: MemoryCompressor | None = None,
        retention: Retention | None = None,
    ) -> AgentMemHistory:
        """The chat history of a session.

        Args:
            session_id: Which session: any string of 1 to 1,024 bytes.
            user_id: Whose session. Default: None (nobody's).
            agent: Which agent's messages; None for those of all. Default: None.
            max_messages: The most messages that `messages` gives. Default: as configured for the memory.
            max_tokens: The most tokens of what `messages` gives. Default: None (any number).
            token_counter: What counts them: a model's name, a model, or a function. Default: None (approximately).
            compressor: Makes a summary of what is older, within its own budget; see `compressor`. It takes the place of
                `max_messages`, `max_tokens` and `token_counter`. Default: None.
            retention: What is kept. Default: as configured for the agent.

        Raises:
            InvalidInputError: An argument is not accepted, or a window is given beside a compressor.
            InvalidTypeError: An argument has the wrong type.
        """
        window = _Window(max_messages, max_tokens, token_counter, compressor).checked()
        return self._history(session_id, user_id, agent, window, retention, turn=False)

    def get_session_history(self, session_id: str, user_id: str | None = None) -> AgentMemHistory:
        """The factory for `RunnableWithMessageHistory`: by `session_id`, or by `user_id` and `session_id`.

        What it makes serves one turn of a chain, so that turns may overlap.

        Args:
            session_id: Which session.
            user_id: Whose session. An empty ID, as in a config's default, names no user. Default: None (nobody's).
        """
        return self._history(session_id, user_id, None, _Window(), None, turn=True)

    def session_history(
        self,
        *,
        agent: str | None = None,
        max_messages: int | None = None,
        max_tokens: int | None = None,
        token_counter: Any = None,
        compressor: MemoryCompressor | None = None,
        retention: Retention | None = None,
    ) -> Callable[..., AgentMemHistory]:
        """A factory like `get_session_history`, with settings of its own.

        Args:
            agent: Which agent's messages; None for those of all. Default: None.
            max_messages: The most messages that a chain is given. Default: as configured for the memory.
            max_tokens: The most tokens that a chain is given. Default: None (any number).
            token_counter: What counts them: a model's name, a model, or a function. Default: None (approximately).
            compressor: Makes a summary of what is older, within its own budget; see `compressor`. Default: None.
            retention: What is kept. Default: as configured for the agent.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> memory = AgentMemory.from_url("sqlite:///:memory:")
            >>> factory = memory.session_history(max_messages=40)
            >>> factory("session-1", user_id="alice@example.com").max_messages
            40
            >>> memory.close()
        """
        window = _Window(max_messages, max_tokens, token_counter, compressor).checked()
        self._history("any", None, agent, window, retention, turn=True)  # refuses what is wrong before the first turn

        def get_session_history(session_id: str, user_id: str | None = None) -> AgentMemHistory:
            return self._history(session_id, user_id, agent, window, retention, turn=True)

        return get_session_history

    def _history(
        self,
        session_id: str,
        user_id: str | None,
        agent: str | None,
        window: _Window,
        retention: Retention | None,
        *,
        turn: bool,
    ) -> AgentMemHistory:
        check_optional_id("agent", agent)
        kept = check_retention(retention) or self._retention.get(agent) or self._retention[None]
        return AgentMemHistory(
            self._history_engine,
            session_id,
            user_id=None if turn and user_id == "" else user_id,  # a turn's user is the config's
            agent=agent,
            max_messages=self._max_messages if window.max_messages is None else window.max_messages,
            max_tokens=window.max_tokens,
            token_counter=window.token_counter,
            compressor=window.compressor,
            retention=replace(kept, ttl=self._ttl) if kept.ttl is None else kept,
            turn=turn,
        )

    # Compression

    def compressor(
        self, model: Runnable[Any, Any] | str | None = None, **options: Unpack[CompressorOptions]
    ) -> MemoryCompressor:
        """A compressor that keeps its summaries here: with the thread, or the session, that a run's config names.

        Args:
            model: What writes summaries. Default: None (the conversation's own sentences are chosen).
            **options: The keyword arguments of `MemoryCompressor`, such as `max_tokens`.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     history = memory.history("session-1", compressor=memory.compressor(max_messages=4))
            ...     for number in range(10):
            ...         history.add_user_message(f"The budget of project {number} is {number} euros.")
            ...     len(history.messages), history.count()
            (3, 10)
        """
        from langchain_agentmem.compression.compressor import MemoryCompressor

        check_options("memory.compressor", options, CompressorOptions)
        return MemoryCompressor(model, place_of=self._summary_place, **options)

    def _summary_place(self, config: RunnableConfig) -> Place | None:
        return summary_place(self.backend, self.tenant, self._ttl, self.checkpointer.serde, config)

    def summary(
        self,
        session_id: str | None = None,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        thread_id: str | None = None,
        model: BaseChatModel | Runnable[Any, Any] | str | None = None,
    ) -> SessionSummary | None:
        """What was said in a session, or in a thread, in short.

        Args:
            session_id: Which session. Default: None.
            user_id: Whose session. Default: None (nobody's).
            agent: Which agent's messages. Default: None (those of all).
            thread_id: Which thread, instead of a session. Default: None.
            model: Makes a summary of all messages, with topics, decisions and open questions: a chat model, or its name such
                as `"openai:gpt-4o-mini"`. It is shown only what no earlier summary of this kind covers. The summary is
                stored. Default: None (the stored summary is given).

        Returns:
            Without a model, the summary that was stored last. For a session that has none, one of all messages, made of their
            own sentences, which is not stored. None if there are no messages, or the thread has no summary.

        Raises:
            InvalidInputError: Neither a session nor a thread was named, or both.
            SummaryError: The model's answer was empty, or the conversation was deleted meanwhile.
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
            limit: The most sessions and threads. Default: 20.
            offset: How many to skip. Default: 0.
            model: As in `summary`: makes a summary of each that is not summarised up to its newest message. Default: None.
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
        compressor = (
            None if model is None else self.compressor(model, max_messages=_ON_DEMAND_MESSAGES, structured=True)
        )
        return Summaries(self._history_engine, self.checkpointer.engine, compressor)

    # Finding

    def search_history(
        self,
        query: str,
        k: int = 10,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        agent: str | None = None,
        role: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        around: int = 0,
    ) -> FoundMessages:
        """The messages in all sessions of a user that answer a query best; see `AgentMemHistory.search`.

        Args:
            query: What is looked for.
            k: The most messages. Default: 10.
            user_id: Whose sessions. Default: None (those of no user).
            session_id: One session. Default: None (all).
            agent: Which agent's messages. Default: None (those of all).
            role: Only messages of this type, such as `"human"` or `"ai"`. Default: None (all).
            since: Only messages from this time on; in UTC if it names no time zone. Default: None.
            until: Only messages before this time; likewise. Default: None.
            around: How many messages before and after each to give with it, of those that are searched. Default: 0.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("monday", user_id="alice").add_user_message("I am learning Greek")
            ...     memory.history("tuesday", user_id="alice").add_user_message("I went swimming")
            ...     memory.search_history("What does she learn?", user_id="alice")[0].session_id
            'monday'
        """
        return run(
            self._history_engine.search(
                query,
                k,
                user_id=user_id,
                session_id=session_id,
                agent=agent,
                role=role,
                since=since,
                until=until,
                around=around,
            )
        )

    async def asearch_history(
        self,
        query: str,
        k: int = 10,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        agent: str | None = None,
        role: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        around: int = 0,
    ) -> FoundMessages:
        """Same as `search_history`, but without blocking the event loop."""
        return await arun(
            self._history_engine.search(
                query,
                k,
                user_id=user_id,
                session_id=session_id,
                agent=agent,
                role=role,
                since=since,
                until=until,
                around=around,
            )
        )

    # What is known

    @cached_property
    def profiles(self) -> Profiles:
        """What is known of users: `get`, `save`, `update_preference`, `add_fact`, `search`, `timeline`, `forget_fact`, …."""
        from langchain_agentmem.knowledge.facts.face import Profiles

        return Profiles(self.store)

    @cached_property
    def entities(self) -> Entities:
        """The people and things that users speak of, and how they relate: `upsert`, `relate`, `neighbours`, `context`."""
        from langchain_agentmem.knowledge.entities.face import Entities

        return Entities(self.store)

    @cached_property
    def memories(self) -> Memories:
        """What users, or agents for them, asked to remember: `save`, `search`, `list`, `forget`."""
        from langchain_agentmem.knowledge.memories import Memories

        return Memories(self.store)

    @cached_property
    def knowledge(self) -> SharedKnowledge:
        """Texts that all users read and none writes: `add`, `replace`, `delete`, `list`, `search`."""
        from langchain_agentmem.knowledge.shared import SharedKnowledge

        return SharedKnowledge(self.store)

    def tools(
        self,
        *,
        user_id: str | None = None,
        include: Collection[str] | None = None,
        k: int = 5,
        max_length: int = 2_000,
        read_only: bool = False,
        knowledge: Sequence[str] = (),
    ) -> list[BaseTool]:
        """Tools by which an agent remembers: for `create_agent`, `ToolNode`, and `model.bind_tools`.

        They act for the user of the run, as the config, the runtime's context or the state says (`user_id`), whatever the
        model passes; where nobody says it, they raise. What a model does wrong it is told, and nothing is changed. What
        they give a model is quoted as data.

        Args:
            user_id: For whom they act. Default: None (the user of the run).
            include: Which of `save_memory`, `search_memory` and `forget_memory`. Default: None (all).
            k: The most results of a search. Default: 5.
            max_length: The most characters of a memory. Default: 2,000.
            read_only: Whether to leave out those that change something. Default: False.
            knowledge: Collections of shared knowledge; with any there is a tool `search_knowledge`, which searches these
                and no others. Default: none.

        Raises:
            InvalidInputError: An argument is not accepted.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> memory = AgentMemory.from_url("sqlite:///:memory:")
            >>> [tool.name for tool in memory.tools(user_id="alice@example.com")]
            ['save_memory', 'search_memory', 'forget_memory']
            >>> memory.close()
        """
        from langchain_agentmem.agents.tools import memory_tools

        return memory_tools(
            self.memories,
            self.knowledge,
            user_id=user_id,
            include=include,
            k=k,
            max_length=max_length,
            read_only=read_only,
            knowledge=knowledge,
        )

    # What is known of users

    def profile_node(
        self,
        model: BaseChatModel | Runnable[Any, Any] | str,
        schema: type[BaseModel] | Mapping[str, Any] = UserProfile,
        **options: Unpack[ExtractorOptions],
    ) -> ProfileExtractor:
        """A node that learns about users from their conversations; also a Runnable.

        Args:
            model: A chat model, or its name such as `"openai:gpt-4o-mini"` (needs the extra `agents`).
            schema: What is looked for: a Pydantic model, or a JSON schema. Default: `UserProfile`.
            **options: The keyword arguments of `ProfileExtractor`, such as `when="background"`.

        Raises:
            InvalidTypeError: `on_extraction` is a coroutine function, or another argument has the wrong type.
            InvalidInputError: Another argument is not accepted.
            ConfigurationError: The model has a name, and LangChain is not installed.
        """
        from langchain_agentmem.knowledge.extraction.face import ProfileExtractor

        check_options("memory.profile_node", options, ExtractorOptions)
        extractor = ProfileExtractor(_model(model), self.store, schema, **options)
        if extractor.schedule is not None:
            self._schedules.add(extractor.schedule)
        return extractor

    def middleware(
        self,
        model: BaseChatModel | str | None = None,
        *,
        max_tokens: int | None = None,
        facts: int = 8,
        memories: int = 5,
        knowledge: Sequence[str] = (),
        max_characters: int = 4_000,
        schema: type[BaseModel] | Mapping[str, Any] = UserProfile,
        entities: bool = False,
        when: Literal["turn", "background", "debounce"] = "background",
        learn: bool = True,
        tools: bool = False,
        compressor: MemoryCompressor | None = None,
        extractor: ProfileExtractor | None = None,
    ) -> MemoryMiddleware:
        """Memory in one piece for LangChain's `create_agent`. Needs the extra `agents`.

        Before each call to the model it adds to the system message what is known of the user (quoted as data): the profile,
        and of facts and memories half by what was asked, the others by what was noted last. It keeps the request in its
        budget, if need be with less of what is known; the state's messages stay as they are. After the answer it
        learns from what is new in the conversation. The user is who the config, the runtime's context or the state names
        (`user_id`); where nobody does, it raises.

        Args:
            model: What writes summaries, and says what is to be learned: a chat model, or its name such as
                `"openai:gpt-4o-mini"`. Default: None (summaries are made of the conversation's own sentences, and nothing
                is learned).
            max_tokens: The most tokens of a request, tools included; not beside `compressor`. Default: three quarters of
                what the model's profile says that it takes, else 16,000.
            facts: The most facts that are added; 0 for none. Default: 8.
            memories: The most memories that are added, of those that agents saved with `tools`. Default: 5.
            knowledge: Collections of shared knowledge that are searched as well. Default: none.
            max_characters: The most characters of what is added. Default: 4,000.
            schema: The form of the profile. Default: `UserProfile`.
            entities: Whether the people, places and things that the user speaks of, and how they relate, are learned as
                well, in the same call to the model, and those that may help are added. Default: False.
            when: When it is learned: `"turn"` (before the agent returns), `"background"`, or `"debounce"`. Default:
                `"background"`.
            learn: Whether anything is learned. Default: True.
            tools: Whether the agent gets the tools of `tools()`. Default: False.
            compressor: A compressor of one's own, instead of one with `max_tokens`. Default: None.
            extractor: A node of `profile_node` with options of its own, instead of one with `schema`, `entities` and
                `when`. Default: None.

        Raises:
            InvalidInputError: An argument is not accepted, or two contradict each other.
            InvalidTypeError: An argument has the wrong type.
            ConfigurationError: LangChain is not installed, or the model cannot be made from its name.

        Example:
            >>> from langchain.agents import create_agent
            >>> from langchain_agentmem import AgentMemory
            >>> from langchain_agentmem.testing import ScriptedChatModel
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     fact = memory.profiles.add_fact("alice@example.com", "Allergic to peanuts")
            ...     model = ScriptedChatModel(["Try the pasta."])
            ...     agent = create_agent(model, [], middleware=[memory.middleware()])
            ...     asked = {"messages": [("user", "What can I eat? I am allergic.")]}
            ...     answer = agent.invoke(asked, {"configurable": {"user_id": "alice@example.com"}})
            ...     "Allergic to peanuts" in model.requests[0][0].text
            True
        """
        try:
            from langchain_agentmem.agents.middleware import MemoryMiddleware
        except ImportError:
            raise missing_extra(what="A middleware for create_agent", extra="agents") from None
        from langchain_agentmem.agents.recall import Recall

        _check_middleware(max_tokens, compressor, extractor, when)
        for name, flag in (("entities", entities), ("learn", learn), ("tools", tools)):
            check_flag(name, flag)
        if extractor is not None and not learn:
            msg = "An extractor learns, and learn=False says that nothing is learned: leave one of them out."
            raise InvalidInputError(msg)
        model = _model(model)
        if compressor is None:
            limit = input_limit(model)
            compressor = self.compressor(
                model,
                max_tokens=(_MIDDLEWARE_TOKENS if limit is None else int(limit * 0.75))
                if max_tokens is None
                else max_tokens,
            )
        if extractor is None and learn and model is not None:
            extractor = self.profile_node(model, schema, entities=entities, when=when)
        counts = (
            check_count("facts", facts, least=0),
            check_count("memories", memories, least=0),
            _MIDDLEWARE_ENTITIES if entities else 0,
        )
        recall = Recall(
            self.store.engine, Schema(schema), *counts, knowledge, check_count("max_characters", max_characters)
        )
        return MemoryMiddleware(compressor, recall, extractor, self.tools() if tools else ())

    # Operating it

    def reindex(
        self, *, batch_size: int = BATCH, everything: bool = False, progress: bool | Callable[[Reindexed], Any] = False
    ) -> Reindexed:
        """Embed what has no vectors of the memory's embedding model: all items and messages, of all users.

        It is for when the model was changed, which makes all vectors anew, and for what was stored without vectors, because
        there was no model or it failed. It may break off at any time: called again it goes on. Others may write meanwhile,
        with the same model; until it is done searches go by words. Stop processes with the former model before. A text that
        the model does not take, not even alone, is left out.

        Args:
            batch_size: How many items or messages are embedded in one call to the model. Default: 100.
            everything: Whether to make all vectors anew although the model has the same name and dimensions. Default: False.
            progress: True shows how far it is, in the terminal or notebook; a function is called after each batch with what
                was embedded so far. Default: False.

        Returns:
            How many items and messages were embedded, and how many the model did not take.

        Raises:
            ConfigurationError: The memory has no embeddings, or other tenants' vectors are in the way (on Postgres).
            EmbeddingError: The model failed. What was embedded stays.
            EmbeddingsChangedError: Another process began to reindex with another model.

        Example:
            >>> from langchain_core.embeddings import DeterministicFakeEmbedding
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:", embeddings=DeterministicFakeEmbedding(size=8)) as memory:
            ...     memory.store.put(("facts",), "food", {"text": "pizza"})
            ...     memory.reindex(), memory.reindex(everything=True)
            (Reindexed(items=0, messages=0, failed=0), Reindexed(items=1, messages=0, failed=0))
        """
        return run(
            reindex(
                self.store.engine,
                self._history_engine,
                batch_size=batch_size,
                everything=everything,
                progress=progress,
            )
        )

    async def areindex(
        self, *, batch_size: int = BATCH, everything: bool = False, progress: bool | Callable[[Reindexed], Any] = False
    ) -> Reindexed:
        """Same as `reindex`, but without blocking the event loop; `progress` may be a coroutine function."""
        return await arun(
            reindex(
                self.store.engine,
                self._history_engine,
                batch_size=batch_size,
                everything=everything,
                progress=progress,
            )
        )

    def sweep(self) -> int:
        """Delete all that has expired, now; returns how many sessions, items and threads that were."""
        return run(self._sweeper.sweep())

    async def asweep(self) -> int:
        """Same as `sweep`, but without blocking the event loop."""
        return await arun(self._sweeper.sweep())

    def close(self, *, time_limit: timedelta | float | None = _CLOSING_SECONDS) -> None:
        """Do what waits to be done after answers, and close every connection. Closing twice does no harm.

        Args:
            time_limit: Seconds, or a `timedelta`, after which conversations that are not read are left to the next runs of
                their threads, with a warning in the log. Default: 30; None for as long as it takes.
        """
        ends = _ending(time_limit)
        try:
            for schedule in list(self._schedules):
                schedule.close(_left(ends))
        finally:
            self.backend.close()

    async def aclose(self, *, time_limit: timedelta | float | None = _CLOSING_SECONDS) -> None:
        """Same as `close`, but without blocking the event loop."""
        ends = _ending(time_limit)
        try:
            for schedule in list(self._schedules):
                await schedule.aclose(_left(ends))
        finally:
            await self.backend.aclose()

    def __repr__(self) -> str:
        return f"AgentMemory({self.backend!r}, tenant={self.tenant!r})"

    def _repr_html_(self) -> str:
        rows = [("memory", repr(self.backend)), ("tenant", self.tenant)]
        try:
            threads = self.checkpointer.threads(limit=1000)
            rows += [
                ("threads", str(len(threads))),
                ("checkpoints", str(sum(thread.checkpoint_count for thread in threads))),
                ("namespaces of the store", str(len(self.store.list_namespaces(limit=1000)))),
                ("sessions of no user", str(len(self.sessions.list()))),
            ]
        except AgentMemError as error:  # it is shown all the same, closed or without a server
            rows.append(("state", str(error)))
        cells = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
        return f"<table>{cells}</table>"


def _check_middleware(max_tokens: Any, compressor: Any, extractor: Any, when: Any) -> None:
    from langchain_agentmem.compression.compressor import MemoryCompressor
    from langchain_agentmem.knowledge.extraction.face import ProfileExtractor, check_when

    check_when(when)
    for name, given, kind in (("compressor", compressor, MemoryCompressor), ("extractor", extractor, ProfileExtractor)):
        if given is not None and not isinstance(given, kind):
            msg = f"{name} must be a {kind.__name__}, got {type(given).__name__}: {shown(given)}."
            raise InvalidTypeError(msg)
    if max_tokens is not None and compressor is not None:
        msg = f"max_tokens={shown(max_tokens, 40)} does nothing beside compressor, which has its own budget: give one."
        raise InvalidInputError(msg)
    if extractor is not None and when != "background":
        msg = f"when={shown(when, 40)} does nothing beside extractor, which has its own: give one of them."
        raise InvalidInputError(msg)


def _model(model: Any) -> Any:
    """A model, given itself or by its name."""
    if not isinstance(model, str):
        return model
    from langchain_agentmem.compression.compressor import _model_named

    return _model_named(model)


class _Window(NamedTuple):
    """What a history gives a chain."""

    max_messages: int | None = None
    max_tokens: int | None = None
    token_counter: Any = None
    compressor: MemoryCompressor | None = None

    def checked(self) -> _Window:
        """Refuse what a compressor takes the place of.

        Raises:
            InvalidInputError: It is given beside a compressor.
        """
        if self.compressor is not None:
            for name in ("max_messages", "max_tokens", "token_counter"):
                if getattr(self, name) is not None:
                    msg = f"{name}={shown(getattr(self, name), 60)} does nothing beside compressor, which has its own."
                    raise InvalidInputError(msg)
        return self


def _ending(time_limit: timedelta | float | None) -> float | None:
    """When a time limit ends, by the monotonic clock."""
    limit = seconds("time_limit", time_limit)
    return None if limit is None else time.monotonic() + limit


def _left(ends: float | None) -> float | None:
    return None if ends is None else max(0.0, ends - time.monotonic())


def _retention_by_agent(
    retention: Retention | Mapping[str | None, Retention] | None,
) -> dict[str | None, Retention]:
    if retention is None:
        return {None: Retention()}
    if isinstance(retention, Retention):
        return {None: retention}
    if not isinstance(retention, Mapping) or not all(isinstance(one, Retention) for one in retention.values()):
        msg = f"retention must be a Retention, or a mapping of agents to Retention, got {shown(retention)}."
        raise InvalidTypeError(msg)
    for agent in retention:
        check_optional_id("An agent in retention", agent)
    return {None: Retention(), **retention}
