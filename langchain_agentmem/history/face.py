"""`AgentMemHistory`: LangChain's `BaseChatMessageHistory` on any backend, sync and async on one object."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage, MessageLikeRepresentation
from langchain_core.runnables.config import ensure_config
from typing_extensions import Unpack

from langchain_agentmem.arguments.ids import check_id, check_optional_id, check_tenant
from langchain_agentmem.arguments.options import HistoryOptions
from langchain_agentmem.arguments.retention import Retention, check_retention
from langchain_agentmem.arguments.urls import shown_url
from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.backends.contract import Backend
from langchain_agentmem.backends.surface import Surface, backend_of, is_url, protected_backend
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.errors import AgentMemError, InvalidInputError, InvalidTypeError
from langchain_agentmem.history.chains import TurnWindows, chain_read, is_chain_storing
from langchain_agentmem.history.edit_methods import EditMethods
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.form_methods import FormMethods
from langchain_agentmem.history.logs import log_of
from langchain_agentmem.history.turns import turn_of
from langchain_agentmem.history.window import WindowBudget, window_of
from langchain_agentmem.messages.models import FoundMessages, StoredMessage
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.search.embeddings import Embedder
from langchain_agentmem.search.fingerprint import Indexer
from langchain_agentmem.search.messages import MessageQuery
from langchain_agentmem.search.reranking import Reranker
from langchain_agentmem.text.tables import html_table

if TYPE_CHECKING:
    from langchain_agentmem.backends.credentials import CredentialsFunction
    from langchain_agentmem.compression.compressor import MemoryCompressor
    from langchain_agentmem.encoding.encryption import Key

_ROWS_SHOWN = 20

_SETTINGS = frozenset({"session_id", "codec", *HistoryOptions.__annotations__})
"""The arguments of `AgentMemHistory`. To assign one as an attribute would have no effect."""


class AgentMemHistory(Surface, EditMethods, FormMethods, BaseChatMessageHistory):
    """The messages of one session.

    `AgentMemory.history` and `AgentMemory.get_session_history` create histories on the database of the memory; `from_url`
    creates one with a database of its own. Every method has an async twin with the prefix `a`. Both may be used on one
    object, from any thread and any event loop.

    Args:
        backend: The database: a URL, see `langchain_agentmem.backends.connect`; or a pool, connection or client of the
            application, see `langchain_agentmem.backends.adopt`.
        session_id: The session: any string of 1 to 1,024 bytes.
        user_id: The user of the session. Two users may have sessions with the same `session_id`. Default: None (nobody).
        agent: Read only the messages of this agent, and store its name with new messages. Default: None (read the messages
            of all agents, store no name).
        tenant: The application, if several share the database. Default: `"default"`.
        max_messages: The maximum number of messages in the window that `messages` returns. All messages stay stored.
            Default: None (all).
        max_tokens: The maximum number of tokens in that window. A message that exceeds it alone is left out. Default: None
            (any number).
        token_counter: Counts tokens; see `TokenCounter.of`. Default: None (approximately).
        compressor: Fits the window into the compressor's budget, instead of `max_messages` and `max_tokens`. Older messages
            become a summary that is stored with the session. Default: None.
        retention: The messages that are kept, and their TTL. Default: all messages, forever.
        codec: Encodes and decodes messages. Default: `Codec()`.
        embeddings: An embedding model, a function, or a name such as `"openai:text-embedding-3-small"`. Messages are embedded
            when they are added, so that `search` also finds them by meaning. If the model fails, messages are stored
            without vectors and found by full-text search. Default: None (full-text search only).
        turn: If true, the object serves one turn of a chain: `messages` returns the same window until `add_messages`, as
            `RunnableWithMessageHistory` requires for concurrent turns. Default: False.
        key: The key of an encrypted memory; see `AgentMemory`. Default: None (nothing is encrypted).
        searchable: See `AgentMemory`. Default: None.

    Raises:
        InvalidInputError: An ID is empty or too long; `max_messages` or `max_tokens` is less than 1.
        InvalidTypeError: An argument has the wrong type.

    Example:
        >>> from langchain_agentmem import AgentMemHistory
        >>> history = AgentMemHistory.from_url("sqlite:///:memory:", "session-1", user_id="alice@example.com")
        >>> history.add_user_message("Hello")
        >>> [message.content for message in history.messages]
        ['Hello']
        >>> history.close()
    """

    _options = HistoryOptions
    _required = ("session_id",)

    def __init__(
        self,
        backend: HistoryEngine | Backend | str | Any,
        session_id: str,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        tenant: str = "default",
        max_messages: int | None = None,
        max_tokens: int | None = None,
        token_counter: Any = None,
        compressor: MemoryCompressor | None = None,
        retention: Retention | None = None,
        codec: Codec | None = None,
        embeddings: Indexer | Embedder | Embeddings | Callable[..., Any] | str | None = None,
        turn: bool = False,
        key: Key | None = None,
        searchable: bool | None = None,
    ) -> None:
        super().__init__()
        if not is_url(backend) and is_url(session_id):
            msg = f"AgentMemHistory takes the database first: AgentMemHistory({shown_url(session_id)!r}, {shown(backend)})."
            raise InvalidInputError(msg)
        self.session_id = check_id("session_id", session_id)
        self.user_id = check_optional_id("user_id", user_id)
        self.agent = check_optional_id("agent", agent)
        self.max_messages = None if max_messages is None else check_count("max_messages", max_messages)
        self.max_tokens = None if max_tokens is None else check_count("max_tokens", max_tokens)
        self._budget = WindowBudget(self.max_messages, self.max_tokens, TokenCounter.of(token_counter))
        if compressor is not None and not hasattr(getattr(compressor, "engine", None), "compress_session"):
            msg = f"compressor must be a MemoryCompressor, such as memory.compressor(model), got {shown(compressor)}."
            raise InvalidTypeError(msg)
        self._compressor = compressor
        self.retention = check_retention(retention) or Retention()
        self._windows = TurnWindows(one_turn=check_flag("turn", turn))
        if isinstance(backend, HistoryEngine):
            self.engine, self._stands_alone = backend, False
        else:
            check_tenant(tenant)
            given, self._stands_alone = backend_of(
                backend, 'AgentMemHistory("sqlite:///agentmem.db", "session-1")', key
            )
            found = protected_backend(given, tenant, key, searchable)
            self.engine = HistoryEngine(found, tenant, codec=codec, indexer=Indexer.of(embeddings, found, tenant))
        self._backend = self.engine.backend
        self._log = log_of(self.engine, self.engine.key(session_id, user_id), agent, self.retention)

    if TYPE_CHECKING:  # `Surface` implements the constructors

        @classmethod
        def from_url(
            cls,
            url: str,
            session_id: str,
            *,
            credentials: CredentialsFunction | None = None,
            **options: Unpack[HistoryOptions],
        ) -> Self: ...

        @classmethod
        def from_conn_string(
            cls,
            conn_string: str,
            session_id: str,
            *,
            pipeline: bool = False,
            pool_config: Mapping[str, Any] | None = None,
            **options: Unpack[HistoryOptions],
        ) -> Self: ...

        @classmethod
        def from_connection(
            cls,
            connection: Any,
            session_id: str,
            *,
            schema: str | None = None,
            language: str | None = None,
            **options: Unpack[HistoryOptions],
        ) -> Self: ...

        @classmethod
        def from_client(
            cls, client: Any, session_id: str, *, allow_eviction: bool = False, **options: Unpack[HistoryOptions]
        ) -> Self: ...

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _SETTINGS and "_log" in self.__dict__:
            msg = (
                f"{name} of a history cannot be changed. Create another history, such as "
                f"memory.history({self.session_id!r}, {name}=…)."
            )
            raise AttributeError(msg)
        super().__setattr__(name, value)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # the base class declares a plain attribute
        """The window: the newest messages within the budget, oldest first.

        It includes the newest system message, and no tool result without its call.
        """
        return run(self._window())

    async def aget_messages(self) -> list[BaseMessage]:
        """Same as `messages`, but without blocking the event loop."""
        return await arun(self._window())

    def add_messages(
        self, messages: Sequence[MessageLikeRepresentation], *, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Add messages at the end, in one transaction: all of them, next to each other, or none.

        A message without an ID gets one. The given object is not changed: `messages` returns another object, with the ID.

        Args:
            messages: The messages: objects, or what `langchain_core.messages.convert_to_messages` accepts, such as
                `("human", "hi")` and `{"role": "user", "content": "hi"}`. All message types of langchain-core round-trip.
                Also accepted are role dictionaries as `to_role_dicts` returns them, and requests to OpenAI's or Anthropic's
                API: the list of messages, or a mapping with `messages` and `system`.
            metadata: A JSON-serialisable mapping that is stored with each message. Default: None.

        Raises:
            InvalidTypeError: A value in `messages` is not a message, and cannot be converted.
            UnsupportedValueError: A message would not round-trip, such as one with an artifact of an unknown class.
            InvalidInputError: A message is too large, its text is invalid (half of a surrogate pair), or its role is unknown.
            StorageError: The database could not store the messages. Nothing was stored.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     history = memory.history("session-1")
            ...     history.add_messages([("human", "Hi"), {"role": "assistant", "content": "Hello"}])
            ...     [(message.type, message.text) for message in history.messages]
            [('human', 'Hi'), ('ai', 'Hello')]
        """
        run(self.adding(messages, metadata))

    async def aadd_messages(
        self, messages: Sequence[MessageLikeRepresentation], *, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Same as `add_messages`, but without blocking the event loop."""
        await arun(self.adding(messages, metadata))

    def clear(self) -> None:
        """Delete the messages of the session; with `agent`, only those of this agent."""
        run(self._clear())

    async def aclear(self) -> None:
        """Same as `clear`, but without blocking the event loop."""
        await arun(self._clear())

    def get_recent(self, n: int = 10) -> list[BaseMessage]:
        """Return the newest messages unchanged, oldest first.

        Args:
            n: The maximum number of messages. Default: 10.
        """
        return [entry.message for entry in run(self._log.stored(check_count("n", n)))]

    async def aget_recent(self, n: int = 10) -> list[BaseMessage]:
        """Same as `get_recent`, but without blocking the event loop."""
        return [entry.message for entry in await arun(self._log.stored(check_count("n", n)))]

    def stored(self, limit: int | None = None) -> list[StoredMessage]:
        """Return the newest messages with their agent, user, time, position and metadata, oldest first.

        Args:
            limit: The maximum number of messages. Default: None (all).
        """
        return run(self._log.stored(None if limit is None else check_count("limit", limit)))

    async def astored(self, limit: int | None = None) -> list[StoredMessage]:
        """Same as `stored`, but without blocking the event loop."""
        return await arun(self._log.stored(None if limit is None else check_count("limit", limit)))

    def page(self, after: int = -1, limit: int = 100) -> list[StoredMessage]:
        """Return the messages that follow a position, with their properties, oldest first.

        Args:
            after: The position of the last message of the page before. Default: -1 (the first page).
            limit: The maximum number of messages. Default: 100.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     history = memory.history("session-1")
            ...     history.add_messages([("user", "Hello"), ("ai", "Hi!"), ("user", "Where to?")])
            ...     [(one.position, one.message.text) for one in history.page(after=0, limit=2)]
            [(1, 'Hi!'), (2, 'Where to?')]
        """
        return run(self._log.stored_page(check_count("after", after, least=-1), check_count("limit", limit)))

    async def apage(self, after: int = -1, limit: int = 100) -> list[StoredMessage]:
        """Same as `page`, but without blocking the event loop."""
        return await arun(self._log.stored_page(check_count("after", after, least=-1), check_count("limit", limit)))

    def count(self) -> int:
        """Return the number of stored messages."""
        return run(self._log.count())

    async def acount(self) -> int:
        """Same as `count`, but without blocking the event loop."""
        return await arun(self._log.count())

    def pages(self, size: int = 100) -> Iterator[list[BaseMessage]]:
        """Iterate over all messages, oldest first, one page at a time.

        Args:
            size: The maximum number of messages in a page. Default: 100.
        """
        return self._pages(check_count("size", size))

    def apages(self, size: int = 100) -> AsyncIterator[list[BaseMessage]]:
        """Same as `pages`, but without blocking the event loop."""
        return self._apages(check_count("size", size))

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        role: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        when: str | None = None,
        now: datetime | None = None,
        around: int = 0,
        min_similarity: float | None = None,
        reranker: Reranker | None = None,
    ) -> FoundMessages:
        """Find the messages of the session that match a query best: by words and, with embeddings, by meaning.

        A message also matches words of the two messages before it and the two after it, and its date in words (8 May 2023).
        Its date is `additional_kwargs["created_at"]` if that is an ISO 8601 date, or else the time when it was added.
        The guide on search describes the ranking.

        Args:
            query: The query. It has no operators: every character is text.
            k: The maximum number of messages. Default: 10.
            role: Only messages with this role: `"human"`, `"ai"`, `"system"`, `"tool"` … Default: None (all).
            since: Only messages from this time on; UTC if it has no time zone. Default: None.
            until: Only messages before this time; UTC if it has no time zone. Default: None.
            when: Only messages of this time, in English: `"last May"`, `"yesterday"`, `"in March 2024"`, `"two weeks ago"`,
                `"since June"`. Default: None (all).
            now: The current time for `when`, whose time zone counts. Default: None (the clock, in UTC).
            around: The number of messages before and after each result that are returned with it. Default: 0.
            min_similarity: Only messages whose cosine similarity to the query is at least this, from -1 to 1. It needs
                embeddings. Default: None (all).
            reranker: Orders the best 50 messages again: a function from the query and a list of texts to one score for each
                text, or a `BaseDocumentCompressor` of LangChain. Default: None.

        Returns:
            The messages, best first, each with its score between 0 and 1.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     history = memory.history("session-1")
            ...     history.add_user_message("My dog is called Rex")
            ...     history.add_ai_message("I will remember that")
            ...     history.search("What is the dog called?", 1)[0].message.text
            'My dog is called Rex'
        """
        asked = MessageQuery.of(
            query,
            k,
            role=role,
            since=since,
            until=until,
            when=when,
            now=now,
            around=around,
            min_similarity=min_similarity,
            reranker=reranker,
        )
        return run(self._log.search(asked))

    async def asearch(
        self,
        query: str,
        k: int = 10,
        *,
        role: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        when: str | None = None,
        now: datetime | None = None,
        around: int = 0,
        min_similarity: float | None = None,
        reranker: Reranker | None = None,
    ) -> FoundMessages:
        """Same as `search`, but without blocking the event loop."""
        asked = MessageQuery.of(
            query,
            k,
            role=role,
            since=since,
            until=until,
            when=when,
            now=now,
            around=around,
            min_similarity=min_similarity,
            reranker=reranker,
        )
        return await arun(self._log.search(asked))

    def __repr__(self) -> str:
        settings = {
            "max_messages": self.max_messages,
            "max_tokens": self.max_tokens,
            "compressor": self._compressor,
            "retention": None if self.retention == Retention() else self.retention,
        }
        given = "".join(f", {name}={value!r}" for name, value in settings.items() if value is not None)
        whose = f"user_id={self.user_id!r}, agent={self.agent!r}"
        return f"AgentMemHistory({self.session_id!r}, {whose}{given}{self._backend.closed_mark})"

    def _repr_html_(self) -> str:
        try:
            count, entries = self.count(), self.stored(_ROWS_SHOWN)
        except AgentMemError as error:  # a closed history, or one without a server, is shown with the error
            return html_table([], caption=f"{self.session_id}: {error}")
        return html_table(
            ((entry.position, entry.role, entry.agent, str(entry.message.text)) for entry in entries),
            header=("position", "role", "agent", "text"),
            caption=f"{self.session_id}: the newest {len(entries)} of {count} messages",
        )

    def _window(self) -> Program[list[BaseMessage]]:
        read = chain_read()
        window = self._windows.repeated(read)
        if window is None:
            window = yield from self._current_window(opens=read is not None)  # the chain's question comes next
            self._windows.begin(read, window)
        return window

    def _current_window(self, *, opens: bool) -> Program[list[BaseMessage]]:
        if self._compressor is None:
            return (yield from window_of(self._log, self._budget, opens=opens))
        return (yield from self._log.compressed(self._compressor, ensure_config(), opens=opens))

    def adding(
        self, messages: Sequence[MessageLikeRepresentation], metadata: Mapping[str, Any] | None
    ) -> Program[int | None]:
        """Same as `add_messages`, as a program for other parts of this package.

        Returns:
            The position of the first message; None if there are no messages.
        """
        self._windows.end()
        return (yield from self._log.append(turn_of(messages), metadata, repair=is_chain_storing()))

    def _clear(self) -> Program[None]:
        self._windows.end()
        yield from self._log.clear()

    def _pages(self, size: int) -> Iterator[list[BaseMessage]]:
        after: int | None = -1
        while after is not None:
            page, after = run(self._log.page(after, size))
            if page:
                yield page

    async def _apages(self, size: int) -> AsyncIterator[list[BaseMessage]]:
        after: int | None = -1
        while after is not None:
            page, after = await arun(self._log.page(after, size))
            if page:
                yield page
