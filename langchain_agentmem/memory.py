"""`AgentMemory`: one URL, and everything hangs on it."""

from __future__ import annotations

import html
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.store.base import IndexConfig, TTLConfig
from typing_extensions import Self

from langchain_agentmem.backends import adopt, connect
from langchain_agentmem.backends.contract import Backend, HistoryScope
from langchain_agentmem.checkpointer import AgentMemSaver
from langchain_agentmem.codec import Codec
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.history import AgentMemHistory
from langchain_agentmem.knowledge.profiles import Profiles
from langchain_agentmem.knowledge.schedule import Schedule
from langchain_agentmem.knowledge.schema import UserProfile
from langchain_agentmem.lifecycle.sessions import Sessions
from langchain_agentmem.models import FoundMessages, Retention, check_count, check_optional_id, check_tenant, seconds
from langchain_agentmem.program import Program, arun, run
from langchain_agentmem.searching import found_messages
from langchain_agentmem.store import AgentMemStore
from langchain_agentmem.sweeping import Sweeper

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable
    from pydantic import BaseModel

    from langchain_agentmem.knowledge.extractor import ProfileExtractor
    from langchain_agentmem.settings import AgentMemSettings


class AgentMemory:
    """The memory of an application: chat history, store and checkpointer on one database.

    Make one per process, with `from_url`, and share it: it may be used from any thread and any event loop. It is a context
    manager, sync and async. Tables are made on first use, by any number of processes at once.

    Args:
        backend: Where the memory is; see `langchain_agentmem.backends.connect`.
        embeddings: For search by meaning in the store: a LangChain `Embeddings`, a function, or `"provider:model"`.
            Default: None (search by words).
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

    def __init__(
        self,
        backend: Backend,
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
        self.backend = backend
        self.tenant = check_tenant(tenant)
        self._max_messages = None if max_messages is None else check_count("max_messages", max_messages)
        self._ttl = seconds("ttl", ttl)
        self._retention = _retention_by_agent(retention)
        self._codec = Codec()
        self._sweeper = Sweeper(backend, tenant)
        if embeddings is not None:
            index = {**(index or {}), "embed": embeddings}
        minutes: TTLConfig | None = None if self._ttl is None else {"default_ttl": self._ttl / 60}
        self.store = AgentMemStore(backend, index=index, ttl=minutes, tenant=tenant, sweeper=self._sweeper)
        self.checkpointer = AgentMemSaver(
            backend, serde=serde, ttl=ttl, tenant=tenant, compact=compact, sweeper=self._sweeper
        )
        self.sessions = Sessions(backend, tenant)
        self.profiles = Profiles(self.store)
        self._schedules: weakref.WeakSet[Schedule] = weakref.WeakSet()
        self._embedder = self.store.embedder if embed_history else None

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The memory at a URL. No connection is opened before it is used.

        Args:
            url: `sqlite:///file.db` or `sqlite:///:memory:`; see `langchain_agentmem.backends.connect`.
            **options: The keyword arguments of `AgentMemory`.

        Raises:
            ConfigurationError: The URL's scheme or one of its options is not known.
        """
        return cls(connect(url), **options)

    @classmethod
    def from_connection(
        cls, connection: Any, *, schema: str | None = None, language: str | None = None, **options: Any
    ) -> Self:
        """The memory on a connection that the application already has, which is never closed by us.

        Args:
            connection: See `langchain_agentmem.backends.adopt`.
            schema: In Postgres, where the tables are. Default: None (the first of the search path).
            language: Which language texts are searched in. Default: None (English).
            **options: The keyword arguments of `AgentMemory`.
        """
        return cls(adopt(connection, schema=schema, language=language), **options)

    @classmethod
    def from_client(cls, client: Any, *, allow_eviction: bool = False, **options: Any) -> Self:
        """The memory on a client of redis-py that the application already has, which is never closed by us.

        Args:
            client: A `redis.Redis` or `redis.RedisCluster`, or one of `redis.asyncio` (for asynchronous methods only).
            allow_eviction: Whether to accept a server that may delete what is stored. Default: False.
            **options: The keyword arguments of `AgentMemory`.
        """
        return cls(adopt(client, allow_eviction=allow_eviction), **options)

    @classmethod
    def from_settings(cls, settings: AgentMemSettings | None = None, **options: Any) -> Self:
        """The memory that the environment describes.

        Args:
            settings: The settings. Default: those of the environment (`AGENTMEM_URL` …) and `.env`.
            **options: The keyword arguments of `AgentMemory`, which win.
        """
        if settings is None:
            from langchain_agentmem.settings import AgentMemSettings

            settings = AgentMemSettings()
        described = {"tenant": settings.tenant, "ttl": settings.ttl, "max_messages": settings.max_messages}
        return cls.from_url(settings.url, **{**described, **options})

    # Chat history

    def history(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        max_messages: int | None = None,
        retention: Retention | None = None,
    ) -> AgentMemHistory:
        """The chat history of a session.

        Args:
            session_id: Which session: any string of 1 to 1,024 bytes.
            user_id: Whose session. Default: None (nobody's).
            agent: Which agent's messages; None for those of all. Default: None.
            max_messages: The most messages that `messages` gives. Default: as configured for the memory.
            retention: What is kept. Default: as configured for the agent.
        """
        return self._history(session_id, user_id, agent, max_messages, retention, turn=False)

    def get_session_history(self, session_id: str, user_id: str | None = None) -> AgentMemHistory:
        """The factory for `RunnableWithMessageHistory`: by `session_id`, or by `user_id` and `session_id`.

        What it makes serves one turn of a chain, so that turns may overlap.

        Args:
            session_id: Which session.
            user_id: Whose session. Default: None (nobody's).
        """
        return self._history(session_id, user_id, None, None, None, turn=True)

    def session_history(
        self, *, agent: str | None = None, max_messages: int | None = None, retention: Retention | None = None
    ) -> Callable[..., AgentMemHistory]:
        """A factory like `get_session_history`, with settings of its own.

        Args:
            agent: Which agent's messages; None for those of all. Default: None.
            max_messages: The most messages that a chain is given. Default: as configured for the memory.
            retention: What is kept. Default: as configured for the agent.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> memory = AgentMemory.from_url("sqlite:///:memory:")
            >>> factory = memory.session_history(max_messages=40)
            >>> factory("session-1", user_id="alice@example.com").max_messages
            40
            >>> memory.close()
        """

        def get_session_history(session_id: str, user_id: str | None = None) -> AgentMemHistory:
            return self._history(session_id, user_id, agent, max_messages, retention, turn=True)

        return get_session_history

    def _history(
        self,
        session_id: str,
        user_id: str | None,
        agent: str | None,
        max_messages: int | None,
        retention: Retention | None,
        *,
        turn: bool,
    ) -> AgentMemHistory:
        kept = retention or self._retention.get(agent) or self._retention[None]
        return AgentMemHistory(
            self.backend,
            session_id,
            user_id=user_id,
            agent=agent,
            tenant=self.tenant,
            max_messages=self._max_messages if max_messages is None else max_messages,
            retention=replace(kept, ttl=self._ttl) if kept.ttl is None else kept,
            codec=self._codec,
            embeddings=self._embedder,
            turn=turn,
            sweeper=self._sweeper,
        )

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
            role: Only messages of this type. Default: None (all).
            since: Only messages from this time on. Default: None.
            until: Only messages before this time. Default: None.
            around: How many messages before and after each to give with it. Default: 0.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("monday", user_id="alice").add_user_message("I am learning Greek")
            ...     memory.history("tuesday", user_id="alice").add_user_message("I went swimming")
            ...     memory.search_history("What does she learn?", user_id="alice")[0].session_id
            'monday'
        """
        return run(self._search_history(query, k, user_id, session_id, agent, role, since, until, around))

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
        return await arun(self._search_history(query, k, user_id, session_id, agent, role, since, until, around))

    def _search_history(
        self, query: str, k: int, user_id: str | None, session_id: str | None, agent: str | None, *more: Any
    ) -> Program[FoundMessages]:
        ids = {"user_id": user_id, "session_id": session_id, "agent": agent}
        scope = HistoryScope(self.tenant, **{name: check_optional_id(name, value) for name, value in ids.items()})
        return (yield from found_messages(self.backend, self._codec, self._embedder, scope, query, k, *more))

    # What is known of users

    def profile_node(
        self,
        model: BaseChatModel | Runnable[Any, Any],
        schema: type[BaseModel] | Mapping[str, Any] = UserProfile,
        **options: Any,
    ) -> ProfileExtractor:
        """A node that learns about users from their conversations; also a Runnable.

        Args:
            model: A chat model.
            schema: What is looked for: a Pydantic model, or a JSON schema. Default: `UserProfile`.
            **options: The keyword arguments of `ProfileExtractor`, such as `when="background"`.
        """
        from langchain_agentmem.knowledge.extractor import ProfileExtractor

        extractor = ProfileExtractor(model, self.store, schema, **options)
        if extractor.schedule is not None:
            self._schedules.add(extractor.schedule)
        return extractor

    # Operating it

    def sweep(self) -> int:
        """Delete all that has expired, now; returns how many sessions, items and threads that were."""
        return run(self._sweeper.sweep())

    async def asweep(self) -> int:
        """Same as `sweep`, but without blocking the event loop."""
        return await arun(self._sweeper.sweep())

    def close(self) -> None:
        """Do what waits to be done after answers, and close every connection. Closing twice does no harm."""
        for schedule in list(self._schedules):
            schedule.close()
        self.backend.close()

    async def aclose(self) -> None:
        """Same as `close`, but without blocking the event loop."""
        for schedule in list(self._schedules):
            await schedule.aclose()
        await self.backend.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AgentMemory({self.backend!r}, tenant={self.tenant!r})"

    def _repr_html_(self) -> str:
        threads = self.checkpointer.threads(limit=1000)
        namespaces = self.store.list_namespaces(limit=1000)
        rows = (
            ("memory", repr(self.backend)),
            ("tenant", self.tenant),
            ("threads", str(len(threads))),
            ("checkpoints", str(sum(thread.checkpoint_count for thread in threads))),
            ("namespaces of the store", str(len(namespaces))),
            ("sessions of no user", str(len(self.sessions.list()))),
        )
        cells = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
        return f"<table>{cells}</table>"


def _retention_by_agent(
    retention: Retention | Mapping[str | None, Retention] | None,
) -> dict[str | None, Retention]:
    if retention is None:
        return {None: Retention()}
    if isinstance(retention, Retention):
        return {None: retention}
    if not isinstance(retention, Mapping) or not all(isinstance(one, Retention) for one in retention.values()):
        msg = f"retention must be a Retention, or a mapping of agents to Retention, got {retention!r:.100}."
        raise InvalidTypeError(msg)
    return {None: Retention(), **retention}
