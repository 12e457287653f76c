"""Chat history: LangChain's `BaseChatMessageHistory` on any backend, sync and async on one object."""

from __future__ import annotations

import html
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables.config import ensure_config
from typing_extensions import Self, Unpack

from langchain_agentmem.arguments.durations import seconds
from langchain_agentmem.arguments.ids import check_id, check_optional_id, check_tenant
from langchain_agentmem.arguments.options import HistoryOptions
from langchain_agentmem.arguments.retention import Retention, check_retention
from langchain_agentmem.arguments.urls import shown_url
from langchain_agentmem.arguments.values import check_count, check_flag, shown
from langchain_agentmem.backends.contract import (
    Append,
    Backend,
    HistoryScope,
    LoggedMessage,
    MessageRow,
    SessionKey,
    Title,
)
from langchain_agentmem.backends.surface import Surface, backend_of, is_url
from langchain_agentmem.backends.sweeper import Sweeper
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import dump_json
from langchain_agentmem.errors import AgentMemError, InvalidInputError, InvalidTypeError, InvalidVectorsError
from langchain_agentmem.history.chains import Windows, chain_read, chain_stores
from langchain_agentmem.history.packing import storable, turn_of
from langchain_agentmem.messages.models import FoundMessages, StoredMessage
from langchain_agentmem.messages.properties import text_of, time_of
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.messages.windows import newest, newest_within
from langchain_agentmem.programs import OffLoop, Program, Read, Write, arun, run
from langchain_agentmem.programs.sizes import LONG, is_large
from langchain_agentmem.search.embeddings import Embedder
from langchain_agentmem.search.fingerprint import Embedded, Indexer
from langchain_agentmem.search.indexing import embed_messages, settle_messages
from langchain_agentmem.search.messages import MessageQuery, search_messages
from langchain_agentmem.search.ranking import stop_words
from langchain_agentmem.search.rows import are_large, message_of, stored_message
from langchain_agentmem.text.words import analyze

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from langchain_agentmem.compression.compressor import MemoryCompressor

TITLE_LENGTH = 80
_FIRST, _TOKENS_OF_SHORT = 20, 20
"""How many messages are read at first for a window of tokens: so many, or as if all were so short."""
_SHOWN = 20


class AgentMemHistory(Surface, BaseChatMessageHistory):
    """The messages of one session.

    It is usually made by `AgentMemory.history` or `AgentMemory.get_session_history`, and stands alone too, through
    `from_url`. Every method has an async twin with the prefix `a`; both may be used on the same object, from any thread
    and any event loop.

    Args:
        backend: Where the messages are: a URL, see `langchain_agentmem.backends.connect`; or a pool, connection or client of
            the application, see `langchain_agentmem.backends.adopt`.
        session_id: Which session: any string of 1 to 1,024 bytes.
        user_id: Whose session; the same `session_id` of two users is two sessions. Default: None (nobody's).
        agent: Which agent's messages are read, and whose name new ones carry. Default: None (all are read; new ones
            carry no name).
        tenant: Which of several applications on one database. Default: `"default"`.
        max_messages: The most messages that `messages` gives; all stay stored. Default: None (all).
        max_tokens: The most tokens of what `messages` gives. A message that is larger by itself is left out. Default: None
            (any number).
        token_counter: What counts tokens; see `TokenCounter.of`. Default: None (approximately).
        compressor: Fits what `messages` gives into its own budget, instead of `max_messages` and `max_tokens`: what is older
            becomes a summary, which is stored with the session. Default: None.
        retention: What is kept, and for how long. Default: everything, forever.
        codec: How messages become bytes. Default: `Codec()`.
        embeddings: A model, a function, or a name such as `"openai:text-embedding-3-small"`. Messages are embedded when they
            are added, so that `search` finds them by meaning as well. When the model fails they are stored all the same, and
            found by their words. Default: None (by words alone).
        turn: Whether the object serves one turn of a chain: what `messages` gave stays the same until `add_messages`, as
            `RunnableWithMessageHistory` needs when turns overlap. Default: False.

    Raises:
        InvalidInputError: An id is empty, too long, or not text; `max_messages` is less than 1.
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

    def __init__(
        self,
        backend: Backend | str | Any,
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
        sweeper: Sweeper | None = None,
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
        self._counter = TokenCounter.of(token_counter)
        if compressor is not None and not hasattr(compressor, "compressing_session"):
            msg = f"compressor must be a MemoryCompressor, such as memory.compressor(model), got {shown(compressor)}."
            raise InvalidTypeError(msg)
        self._compressor = compressor
        self.retention = check_retention(retention) or Retention()
        self._key = SessionKey(check_tenant(tenant), self.user_id, self.session_id)
        self._codec = codec or Codec()
        backend, self._stands_alone = backend_of(backend, 'AgentMemHistory("sqlite:///agentmem.db", "session-1")')
        self._backend: Backend = backend
        self._sweeper = sweeper or Sweeper(backend, tenant)
        self._indexer = Indexer.of(embeddings, backend, tenant)
        stop_words(backend.language)  # read from a file now, and not on an event loop later
        self._turn = check_flag("turn", turn)
        self._handed_out: list[BaseMessage] | None = None
        self._windows = Windows()
        self._run: list[MessageRow] = []

    if TYPE_CHECKING:  # `Surface` implements the constructors

        @classmethod
        def from_url(cls, url: str, session_id: str, **options: Unpack[HistoryOptions]) -> Self: ...

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

    # LangChain's methods

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # the base class declares a plain attribute
        """The window: the newest messages, oldest first, at most `max_messages`.

        The newest system message is always among them, and no tool result without its call.
        """
        return run(self._window())

    async def aget_messages(self) -> list[BaseMessage]:
        """Same as `messages`, but without blocking the event loop."""
        return await arun(self._window())

    def add_messages(self, messages: Sequence[BaseMessage], *, metadata: Mapping[str, Any] | None = None) -> None:
        """Add messages at the end: all of them, next to each other, or none.

        Args:
            messages: The messages. All types of langchain-core come back equal.
            metadata: What to keep with each of them, a mapping that JSON knows. Default: None.

        Raises:
            InvalidTypeError: One is not a message.
            UnsupportedValueError: One would not come back equal, such as one with an artifact of an unknown class.
            InvalidInputError: One is not text throughout (half of a surrogate pair), or too large.
            StorageError: The database could not store them. Whatever is raised, nothing was stored.
        """
        run(self._add(messages, metadata))

    async def aadd_messages(
        self, messages: Sequence[BaseMessage], *, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Same as `add_messages`, but without blocking the event loop."""
        await arun(self._add(messages, metadata))

    def clear(self) -> None:
        """Delete the messages (of this agent only, if the history is an agent's)."""
        run(self._clear())

    async def aclear(self) -> None:
        """Same as `clear`, but without blocking the event loop."""
        await arun(self._clear())

    # Ours

    def get_recent(self, n: int = 10) -> list[BaseMessage]:
        """The newest messages as they were added, oldest first.

        Args:
            n: The most messages. Default: 10.
        """
        return [entry.message for entry in run(self._stored(check_count("n", n)))]

    async def aget_recent(self, n: int = 10) -> list[BaseMessage]:
        """Same as `get_recent`, but without blocking the event loop."""
        return [entry.message for entry in await arun(self._stored(check_count("n", n)))]

    def stored(self, limit: int | None = None) -> list[StoredMessage]:
        """The newest messages with their agent, user, time, position and metadata, oldest first.

        Args:
            limit: The most messages. Default: None (all).
        """
        return run(self._stored(limit))

    async def astored(self, limit: int | None = None) -> list[StoredMessage]:
        """Same as `stored`, but without blocking the event loop."""
        return await arun(self._stored(limit))

    def count(self) -> int:
        """How many messages are stored."""
        return run(self._count())

    async def acount(self) -> int:
        """Same as `count`, but without blocking the event loop."""
        return await arun(self._count())

    def pages(self, size: int = 100) -> Iterator[list[BaseMessage]]:
        """All messages, oldest first, a page at a time, so that a long history need not fit in memory.

        Args:
            size: The most messages of a page. Default: 100.
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
        around: int = 0,
    ) -> FoundMessages:
        """The messages of the session that answer a query best: by their words and, with embeddings, by meaning.

        A message is also found by what was said in the two before it, and by its date in words (8 May 2023). Its date is
        when it was added, or `additional_kwargs["created_at"]` when that is a date in ISO 8601.

        Args:
            query: What is looked for. Nothing in it is interpreted as an operator.
            k: The most messages. Default: 10.
            role: Only messages of this type: `"human"`, `"ai"`, `"system"`, `"tool"` … Default: None (all).
            since: Only messages from this time on; without a time zone it is UTC. Default: None.
            until: Only messages before this time. Default: None.
            around: How many messages before and after each to give with it, of those that are searched. Default: 0.

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
        return run(self._search(query, k, role, since, until, around))

    async def asearch(
        self,
        query: str,
        k: int = 10,
        *,
        role: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        around: int = 0,
    ) -> FoundMessages:
        """Same as `search`, but without blocking the event loop."""
        return await arun(self._search(query, k, role, since, until, around))

    def __repr__(self) -> str:
        return f"AgentMemHistory({self.session_id!r}, user_id={self.user_id!r}, agent={self.agent!r})"

    def _repr_html_(self) -> str:
        try:
            count, entries = self.count(), self.stored(_SHOWN)
        except AgentMemError as error:  # it is shown all the same, closed or without a server
            return f"<table><caption>{html.escape(self.session_id)}: {html.escape(str(error))}</caption></table>"
        rows = "".join(
            f"<tr><td>{entry.position}</td><td>{html.escape(entry.message.type)}</td>"
            f"<td>{html.escape(entry.agent or '')}</td>"
            f"<td style='text-align:left'>{html.escape(str(entry.message.text)[:300])}</td></tr>"
            for entry in entries
        )
        caption = f"{html.escape(self.session_id)}: the newest {len(entries)} of {count} messages"
        return f"<table><caption>{caption}</caption><tr><th></th><th>type</th><th>agent</th><th>text</th></tr>{rows}</table>"

    # Programs

    def _pages(self, size: int) -> Iterator[list[BaseMessage]]:
        after: int | None = -1
        while after is not None:
            page, after = run(self._page(after, size))
            if page:
                yield page

    async def _apages(self, size: int) -> AsyncIterator[list[BaseMessage]]:
        after: int | None = -1
        while after is not None:
            page, after = await arun(self._page(after, size))
            if page:
                yield page

    @property
    def _forgetful(self) -> bool:
        return self.retention.policy == "single_run"

    def _window(self) -> Program[list[BaseMessage]]:
        read = chain_read()
        if read is not None and read.input is not None:
            given = self._windows.take(read.input)
            if given is not None:
                return list(read.input[:given])
        if self._handed_out is not None and (read is None or read.input is not None):
            return list(self._handed_out)
        if self._compressor is not None:
            window = yield from self._compressed(self._compressor)
        elif self.max_tokens is not None:
            window = yield from self._within(self.max_tokens)
        else:
            rows = yield from self._newest(self.max_messages)
            yield from OffLoop(are_large(rows))
            window = newest(self._loaded(rows), self.max_messages)
        if self._turn:
            self._handed_out = window
        if read is not None and read.input is None and read.cuts:
            self._windows.add(window)
        return list(window)

    def _compressed(self, compressor: MemoryCompressor) -> Program[list[BaseMessage]]:
        config = ensure_config()
        if self._forgetful:
            return (yield from compressor.compressing(self._loaded(self._run), config, is_private=True))
        return (yield from compressor.compressing_session(self._backend, self._codec, self._key, self.agent, config))

    def _within(self, max_tokens: int) -> Program[list[BaseMessage]]:
        limit = max(_FIRST, max_tokens // _TOKENS_OF_SHORT)
        while True:
            most = limit if self.max_messages is None else min(limit, self.max_messages)
            rows = yield from self._newest(most)
            yield from self._counter.prepare()
            yield from OffLoop(are_large(rows))
            messages = self._loaded(rows)
            window, complete = newest_within(messages, self.max_messages, max_tokens, self._counter)
            if complete or len(messages) < most or most == self.max_messages:
                return window
            limit *= 4

    def _loaded(self, rows: Sequence[MessageRow]) -> list[BaseMessage]:
        return [message_of(self._codec, row, self.session_id) for row in rows]

    def _add(self, messages: Sequence[BaseMessage], metadata: Mapping[str, Any] | None) -> Program[None]:
        messages = turn_of(messages)
        now = time.time()
        notes = None if metadata is None else dump_json(metadata, "metadata")
        repairing = chain_stores()
        yield from OffLoop(is_large(messages, LONG))
        messages, bodies = storable(self._codec, messages, self.session_id, repairing=repairing)
        self._handed_out = None
        if not bodies:
            return
        ends_with_session = self.retention.policy == "session"
        try:
            embedded = yield from embed_messages(None if self._forgetful else self._indexer, messages)
        except InvalidVectorsError as error:
            if not repairing:
                raise
            _log.warning(
                "A turn in session %r is stored without vectors, since the chain would lose it: %s",
                self.session_id,
                error,
            )
            embedded = Embedded()
        yield from OffLoop(is_large(messages, LONG))
        rows = [
            MessageRow(
                at,
                message.type,
                self.agent,
                ends_with_session,
                time_of(message, now),
                notes,
                body,
                analyze(text_of(message), self._backend.language),
                embedded.vectors.get(text_of(message)),
            )
            for at, (message, body) in enumerate(zip(messages, bodies, strict=True))
        ]
        if self._forgetful:
            self._add_to_run(rows)
            return
        ttl = seconds("Retention.ttl", self.retention.ttl)
        addition = Append(
            rows,
            _titles(messages, self.retention.max_messages),
            now,
            self.agent,
            self.retention.max_messages,
            ttl,
            self.retention.sliding,
            secrets.randbits(62),
        )
        with reading(f"What is stored of session {self.session_id!r}"):
            first = yield from Write(self._backend, self._backend.messages.append(self._key, addition))
        stored = [LoggedMessage(self._key, row._replace(position=first + row.position)) for row in rows]
        yield from settle_messages(self._backend, self._indexer, stored, messages, embedded)
        yield from self._sweeper.after_write()

    def _add_to_run(self, rows: Sequence[MessageRow]) -> None:
        first = self._run[-1].position + 1 if self._run else 0
        self._run += [row._replace(position=first + row.position) for row in rows]
        keep = self.retention.max_messages
        if keep is not None and len(self._run) > keep:
            system = [row for row in self._run if row.role == "system"][-1:]
            spared = [row for row in system if row not in self._run[-keep:]]
            self._run = [*spared, *self._run[len(self._run) - keep + len(spared) :]]

    def _clear(self) -> Program[None]:
        self._handed_out = None
        if self._forgetful:
            self._run.clear()
        else:
            yield from Write(self._backend, self._backend.messages.clear(self._key, self.agent))

    def _newest(self, limit: int | None) -> Program[list[MessageRow]]:
        """The newest rows, oldest first, with the newest system message before them when that is older."""
        if self._forgetful:
            start = 0 if limit is None else max(0, len(self._run) - limit)
            system = [row for row in self._run if row.role == "system"][-1:]
            return [*(row for row in system if row.position < self._run[start].position), *self._run[start:]]
        window = self._backend.messages.window(self._key, self.agent, limit, time.time())
        with reading(f"A message of session {self.session_id!r}"):
            rows: list[MessageRow] = yield from Read(self._backend, window)
        return rows

    def _stored(self, limit: int | None) -> Program[list[StoredMessage]]:
        if limit is not None:
            limit = check_count("limit", limit)
        rows = yield from self._newest(limit)
        return [self._entry(row) for row in (rows if limit is None else rows[-limit:])]

    def _search(
        self,
        query: str,
        k: int,
        role: str | None,
        since: datetime | None,
        until: datetime | None,
        around: int,
    ) -> Program[FoundMessages]:
        if self._forgetful:
            msg = "A history of the policy single_run is not stored, so it cannot be searched."
            raise InvalidInputError(msg)
        scope = HistoryScope(self._key.tenant, self.user_id, self.session_id, self.agent)
        asked = MessageQuery.of(query, k, role, since, until, around)
        return (yield from search_messages(self._backend, self._codec, self._indexer, scope, asked))

    def _count(self) -> Program[int]:
        if self._forgetful:
            return len(self._run)
        counted: int = yield from Read(self._backend, self._backend.messages.count(self._key, self.agent, time.time()))
        return counted

    def _page(self, after: int, size: int) -> Program[tuple[list[BaseMessage], int | None]]:
        if self._forgetful:
            rows = [row for row in self._run if row.position > after][:size]
        else:
            page = self._backend.messages.page(self._key, self.agent, after, size, time.time())
            with reading(f"A message of session {self.session_id!r}"):
                rows = yield from Read(self._backend, page)
        yield from OffLoop(are_large(rows))
        messages = self._loaded(rows)
        return messages, rows[-1].position if len(rows) == size else None

    def _entry(self, row: MessageRow) -> StoredMessage:
        return stored_message(self._codec, row, self.session_id, self.user_id)


def _titles(messages: Sequence[BaseMessage], keep: int | None) -> list[Title]:
    """The titles that a session may take: from the first human message of those that retention leaves.

    One message fewer is left where an older system message is spared, so there may be a second title.
    """
    if keep is None:
        return _title(messages, 0)
    titles = [_title(messages, max(0, len(messages) - left)) for left in (keep, keep - 1)]
    return list(dict.fromkeys(title for found in titles for title in found))


def _title(messages: Sequence[BaseMessage], start: int) -> list[Title]:
    for place in range(start, len(messages)):
        if isinstance(messages[place], HumanMessage):
            words = " ".join(str(messages[place].text).replace("\x00", " ").split())
            if words:
                return [Title(place, words if len(words) <= TITLE_LENGTH else words[: TITLE_LENGTH - 1] + "…")]
    return []
