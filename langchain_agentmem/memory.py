"""`AgentMemory`: chat history, store, checkpointer, cache and knowledge on one database."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property, partial
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, Self

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.store.base import IndexConfig, TTLConfig
from typing_extensions import Unpack

from langchain_agentmem.agents.methods import AgentMethods
from langchain_agentmem.arguments.caching import ReadCache, check_read_cache
from langchain_agentmem.arguments.cleaning import CleanupPolicy, check_cleanup_policy
from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_tenant
from langchain_agentmem.arguments.omitted import OMITTED, Omitted
from langchain_agentmem.arguments.options import MemoryOptions, check_options
from langchain_agentmem.arguments.retention import Retention
from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.backends import connect
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.epochs import epoch_of
from langchain_agentmem.backends.reads import CachedReads
from langchain_agentmem.backends.surface import (
    Surface,
    backend_of,
    check_one_of_key_and_serde,
    protected_backend,
    warn_of_ignored_key,
)
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.caching.face import AgentMemCache
from langchain_agentmem.checkpointing.face import AgentMemSaver
from langchain_agentmem.checkpointing.migration.values import Migrate
from langchain_agentmem.errors import AgentMemError, ConfigurationError, InvalidTypeError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.methods import Histories, HistoryMethods, retention_by_agent
from langchain_agentmem.lifecycle.cleaning.methods import cleaner_of
from langchain_agentmem.lifecycle.methods import LifecycleMethods
from langchain_agentmem.lifecycle.overview import overview
from langchain_agentmem.lifecycle.records import RecordEngine, Records
from langchain_agentmem.lifecycle.sessions import Sessions
from langchain_agentmem.lifecycle.tenants import TenantMethods, Tenants
from langchain_agentmem.programs import run
from langchain_agentmem.prompting.methods import PromptingMethods
from langchain_agentmem.prompting.recall.methods import RecallMethods
from langchain_agentmem.store.face import AgentMemStore
from langchain_agentmem.text.guard import Guard, check_guard
from langchain_agentmem.text.tables import html_table

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from langchain_agentmem.backends.credentials import CredentialsFunction
    from langchain_agentmem.encoding.encryption import Key
    from langchain_agentmem.knowledge.entities.face import Entities
    from langchain_agentmem.knowledge.extraction.scheduler import Schedule
    from langchain_agentmem.knowledge.facts.face import Profiles
    from langchain_agentmem.knowledge.memories import Memories
    from langchain_agentmem.knowledge.shared import SharedKnowledge
    from langchain_agentmem.settings import AgentMemSettings


SESSION_TIMEOUT = 3600.0
"""The default timeout of an open session, in seconds."""


class AgentMemory(
    TenantMethods, HistoryMethods, AgentMethods, LifecycleMethods, PromptingMethods, RecallMethods, Surface
):
    """The memory of an application: chat history, store, checkpointer and knowledge about users on one database.

    Create one object per process, with `from_url`, and share it between threads and event loops. It is a context manager,
    synchronous and asynchronous. The first operation creates the tables.

    Args:
        backend: The database: a URL, see `langchain_agentmem.backends.connect`; or a pool, connection or client of the
            application, see `langchain_agentmem.backends.adopt`. Default: None (the environment describes the database and
            the arguments that are None, as in `from_settings`).
        embeddings: The embedding model for vector search: a LangChain `Embeddings`, a function from a list of texts to a list
            of vectors, or `"provider:model"`. Default: None (full-text search only).
        index: LangGraph's index configuration of the store, with options beside `embeddings`. Default: None.
        tenant: The name of the application, if several share the database. Default: None (`"default"`).
        ttl: The time without use after which sessions, items and threads expire, as a `timedelta` or in seconds. Cache
            entries expire this time after they were stored, unless their `CachePolicy` has a TTL. Default: None (never).
        max_messages: The maximum number of messages that a history gives to a chain. All messages stay stored. Default: None
            (all).
        max_tokens: The maximum number of tokens that a history gives to a chain. Default: None (any number).
        retention: Which messages are kept, and for how long: one `Retention`, or a mapping of agents to `Retention`, in which
            the key None is for all other agents. Default: all messages, forever.
        serde: The serializer of the checkpointer and the cache. Default: None (LangGraph's `JsonPlusSerializer`).
        compact: If true, a checkpoint takes space in proportion to what changed; see `AgentMemSaver`. Default: True.
        migrate: Converts stored checkpoints to today's shape of your state; see `AgentMemSaver`. Default: None.
        embed_history: If true, `embeddings` also embeds messages, with one call for each turn. Default: True.
        read_cache: Keeps variables and profiles that were read in the process. Default: None (every read asks the database).
        cleanup: Deletes old data regularly, in the background. Default: None (never).
        guard: The rules for what must not be stored, such as credentials; see `Guard`. Default: None (anything is stored).
        session_timeout: The time without activity after which an open session is ended; see `session`. It is
            a `timedelta` or in seconds, or None for never. Default: 3600.
        credentials: As in `from_url`, if the database is a URL. Default: None (those of the URL).
        key: Encrypts everything that is stored: 32 bytes or their base64 text, as `new_key` returns; a function that returns
            them, which may be a coroutine function for asynchronous callers; or a list, of which the first is the current one
            and the others are tried as well. Default: None (nothing is encrypted).
        searchable: If true, words and vectors are stored in a form that the database can search; see docs/encryption.md. If
            false, a search under a key decrypts and ranks the user's messages and items in this process. The first memory
            of a tenant sets it for good. Default: None (as it was set; false for a new tenant).
        search_cache: The megabytes that searches of chat histories may keep in memory between them, for all users
            together. With 0, each search reads all messages. Default: 256.
        index_fields: Top-level fields of items that filters of the store often name, such as `["kind"]`. They get an index on
            SQLite and Postgres. An index that exists stays until you drop it. Default: None (none).

    Raises:
        InvalidInputError: A value is not accepted.
        InvalidTypeError: An argument has the wrong type.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     memory.history("session-1").add_user_message("Hello")
        ...     memory.history("session-1").count()
        1
    """

    tenant: str
    """The name of the application."""
    store: AgentMemStore
    """LangGraph's store, for `store=`."""
    checkpointer: AgentMemSaver
    """LangGraph's checkpointer, for `checkpointer=`."""
    cache: AgentMemCache[Any]
    """LangGraph's cache of nodes and tasks, for `cache=`."""
    sessions: Sessions
    """The sessions of chat histories: `list`, `get`, `rename`, `end`, `delete`."""
    records: Records
    """The records of what agents did: `save`, `query`."""
    read_cache: CachedReads
    """The variables and profiles that are kept in the process: `info`, `clear`."""

    _options = MemoryOptions
    _stands_alone = True

    def __init__(  # noqa: PLR0915 (one statement for each argument)
        self,
        backend: Backend | str | Any = None,
        *,
        embeddings: Embeddings | Callable[..., Any] | str | None = None,
        index: IndexConfig | None = None,
        tenant: str | None = None,
        ttl: timedelta | float | None = None,
        max_messages: int | None = None,
        max_tokens: int | None = None,
        retention: Retention | Mapping[str | None, Retention] | None = None,
        serde: SerializerProtocol | None = None,
        compact: bool = True,
        migrate: Migrate | None = None,
        embed_history: bool = True,
        read_cache: ReadCache | None = None,
        cleanup: CleanupPolicy | None = None,
        guard: Guard | None = None,
        session_timeout: timedelta | float | Omitted | None = OMITTED,
        credentials: CredentialsFunction | None = None,
        key: Key | None = None,
        searchable: bool | None = None,
        index_fields: Sequence[str] | None = None,
        search_cache: float | None = None,
    ) -> None:
        model_of_environment: str | None = None
        if backend is None:
            settings = _settings_of_environment()
            backend, described = _connected(settings, credentials), settings.options
            model_of_environment = settings.embeddings if embeddings is None else None
            tenant = described.get("tenant") if tenant is None else tenant
            ttl = described.get("ttl") if ttl is None else ttl
            max_messages = described.get("max_messages") if max_messages is None else max_messages
            max_tokens = described.get("max_tokens") if max_tokens is None else max_tokens
            embeddings = described.get("embeddings") if embeddings is None else embeddings
            retention = described.get("retention") if retention is None else retention
            read_cache = described.get("read_cache") if read_cache is None else read_cache
            cleanup = described.get("cleanup") if cleanup is None else cleanup
            key = described.get("key") if key is None else key
            searchable = described.get("searchable") if searchable is None else searchable
            index_fields = described.get("index_fields") if index_fields is None else index_fields
            search_cache = described.get("search_cache") if search_cache is None else search_cache
            if session_timeout is OMITTED:
                session_timeout = described.get("session_timeout", SESSION_TIMEOUT)
        elif credentials is not None:
            if not isinstance(backend, str):
                msg = (
                    f"credentials needs a URL as the first argument of AgentMemory, got {type(backend).__name__}. "
                    f"Leave it out: a pool, connection or client has its own."
                )
                raise InvalidTypeError(msg)
            warn_of_ignored_key(key)
            backend = connect(backend, credentials=credentials)
        check_one_of_key_and_serde(key, serde)
        found, _ = backend_of(backend, 'AgentMemory("sqlite:///agentmem.db")', key)
        self.tenant = tenant = check_tenant("default" if tenant is None else tenant)
        self._backend = self.backend = protected_backend(found, tenant, key, searchable)
        limit, budget = (
            None if number is None else check_count(what, number)
            for what, number in (("max_messages", max_messages), ("max_tokens", max_tokens))
        )
        duration = seconds("ttl", ttl)
        kept = retention_by_agent(retention)
        sweeper = Sweeper(self.backend, tenant)
        self.read_cache = CachedReads(check_read_cache(read_cache), partial(epoch_of, self.backend, tenant))
        if embeddings is not None:
            index = {**(index or {}), "embed": embeddings}
        minutes: TTLConfig | None = None if duration is None else {"default_ttl": duration / 60}
        with _embeddings_named(model_of_environment):
            self.store = AgentMemStore(
                self.backend,
                index=index,
                ttl=minutes,
                tenant=tenant,
                sweeper=sweeper,
                cache=self.read_cache,
                guard=check_guard(guard),
                index_fields=index_fields,
            )
        self.checkpointer = AgentMemSaver(
            self.backend,
            serde=serde,
            ttl=ttl,
            tenant=tenant,
            compact=compact,
            migrate=migrate,
            sweeper=sweeper,
            guard=guard,
        )
        self.cache = AgentMemCache(self.backend, serde=serde, ttl=ttl, tenant=tenant, sweeper=sweeper, guard=guard)
        indexer = self.store.engine.indexer if check_flag("embed_history", embed_history) else None
        engine = HistoryEngine(
            self.backend,
            tenant,
            indexer=indexer,
            sweeper=sweeper,
            cache=self.read_cache,
            guard=guard,
            search_cache=search_cache,
        )
        self._histories = Histories(engine, kept, duration, limit, budget)
        self.sessions = Sessions(engine)
        self._session_timeout = (
            SESSION_TIMEOUT if session_timeout is OMITTED else seconds("session_timeout", session_timeout)
        )
        self.records = Records(RecordEngine(self._histories))
        self._schedules: weakref.WeakSet[Schedule] = weakref.WeakSet()
        options = {
            "index": index,
            "ttl": ttl,
            "max_messages": max_messages,
            "max_tokens": max_tokens,
            "retention": retention,
            "serde": serde,
            "compact": compact,
            "migrate": migrate,
            "embed_history": embed_history,
            "read_cache": read_cache,
            "guard": guard,
            "session_timeout": session_timeout,
            "key": key,
            "searchable": searchable,
            "search_cache": search_cache,
        }
        self._tenants = Tenants(type(self), found, options)
        self._cleaner = cleaner_of(self, check_cleanup_policy(cleanup))

    if TYPE_CHECKING:  # `Surface` implements the constructors

        @classmethod
        def from_url(
            cls,
            url: str,
            *,
            credentials: CredentialsFunction | None = None,
            **options: Unpack[MemoryOptions],
        ) -> Self: ...

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
    def from_settings(
        cls,
        settings: AgentMemSettings | None = None,
        *,
        credentials: CredentialsFunction | None = None,
        **options: Unpack[MemoryOptions],
    ) -> Self:
        """Create the memory that the environment describes.

        Args:
            settings: The settings. Default: those of the environment (`AGENTMEM_URL` …) and `.env`.
            credentials: As in `from_url`. Default: None (those of the URL).
            **options: The keyword arguments of `AgentMemory`. They take precedence over the settings.

        Raises:
            ConfigurationError: A variable of the environment is empty or has a wrong value.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> from langchain_agentmem.settings import AgentMemSettings
            >>> AgentMemory.from_settings(AgentMemSettings(url="sqlite:///:memory:", max_messages=40))
            AgentMemory(SqliteBackend(':memory:'), tenant='default', max_messages=40)
        """
        is_of_environment = settings is None
        if settings is None:
            settings = _settings_of_environment()
        elif not hasattr(settings, "url"):
            msg = f"settings must be an AgentMemSettings, got {shown(settings)}. For a URL, call AgentMemory.from_url."
            raise InvalidTypeError(msg)
        check_options("AgentMemory.from_settings", options, MemoryOptions)
        described = settings.options
        described.update(options)
        if is_of_environment:
            model = None if "embeddings" in options else settings.embeddings
            with _embeddings_named(model):
                return cls._alone(_connected(settings, credentials), (), described)
        described.setdefault("key", None)
        return cls.from_url(settings.full_url, credentials=credentials, **described)

    @cached_property
    def profiles(self) -> Profiles:
        """The profiles of users and the facts about them: `get`, `save`, `add_fact`, `search`, `timeline`, `forget_fact`."""
        from langchain_agentmem.knowledge.facts.face import Profiles

        return Profiles(self.store)

    @cached_property
    def entities(self) -> Entities:
        """The knowledge graphs of users: `upsert`, `relate`, `neighbours`, `context`, `to_networkx`."""
        from langchain_agentmem.knowledge.entities.face import Entities

        return Entities(self.store)

    @cached_property
    def memories(self) -> Memories:
        """The texts that users and agents asked to keep: `save`, `search`, `list`, `forget`."""
        from langchain_agentmem.knowledge.memories import Memories

        return Memories(self.store)

    @cached_property
    def knowledge(self) -> SharedKnowledge:
        """Collections of texts for all users: `add`, `replace`, `delete`, `list`, `search`."""
        from langchain_agentmem.knowledge.shared import SharedKnowledge

        return SharedKnowledge(self.store)

    def __dir__(self) -> list[str]:
        """List the public attributes and methods, without the constructors."""
        public = (name for name in super().__dir__() if not name.startswith("_"))
        return sorted(name for name in public if not isinstance(getattr_static(type(self), name, None), classmethod))

    def __repr__(self) -> str:
        engine = self._histories.engine
        settings = {
            "tenant": self.tenant,
            "ttl": self._histories.ttl,
            "max_messages": self._histories.max_messages,
            "embeddings": self.store.engine.indexer and self.store.engine.indexer.embedder.name,
        }
        given = "".join(f", {name}={value!r}" for name, value in settings.items() if value is not None)
        return f"AgentMemory({engine.backend!r}{given})"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, object]] = [("backend", repr(self.backend)), ("tenant", self.tenant)]
        try:
            rows += run(overview(self._histories.engine, self.store.engine, self.checkpointer.engine))
        except AgentMemError as error:  # the table shows the state of a closed memory, too
            rows.append(("state", str(error)))
        return html_table(rows, caption="AgentMemory", row_headers=True)


def _connected(settings: AgentMemSettings, credentials: CredentialsFunction | None) -> Backend:
    """Return the backend of settings of the environment."""
    from langchain_agentmem.settings import wrong_value

    try:
        return connect(settings.full_url, credentials=credentials)
    except ConfigurationError as error:
        raise wrong_value(field="url", cause=error) from error


@contextmanager
def _embeddings_named(model: str | None) -> Iterator[None]:
    """Name the variable of the environment in an error about its embedding model; None if it does not set one."""
    try:
        yield
    except ConfigurationError as error:
        if model is None or shown(model) not in str(error) or "AGENTMEM_" in str(error):
            raise
        from langchain_agentmem.settings import wrong_value

        raise wrong_value(field="embeddings", cause=error) from error


def _settings_of_environment() -> AgentMemSettings:
    from langchain_agentmem.settings import settings_of_environment

    return settings_of_environment()
