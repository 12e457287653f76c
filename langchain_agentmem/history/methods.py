"""The methods of `AgentMemory` that create and search chat histories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_agentmem.arguments.ids import check_optional_id
from langchain_agentmem.arguments.retention import Retention, check_retention
from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.history.face import AgentMemHistory
from langchain_agentmem.messages.models import FoundMessages
from langchain_agentmem.programs import arun, run

if TYPE_CHECKING:
    from langchain_core.runnables import ConfigurableFieldSpec

    from langchain_agentmem.compression.compressor import MemoryCompressor
    from langchain_agentmem.search.reranking import Reranker


DEFAULT_SESSION = "default"
"""The session of a history without a session ID."""


class Window(NamedTuple):
    """The settings of the window that a history gives to a chain."""

    max_messages: int | None = None
    max_tokens: int | None = None
    token_counter: Any = None
    compressor: MemoryCompressor | None = None

    def checked(self) -> Window:
        """Raise an error if a budget is given together with a compressor, which has its own.

        Raises:
            InvalidInputError: Both are given.
        """
        if self.compressor is not None:
            for name in ("max_messages", "max_tokens", "token_counter"):
                value = getattr(self, name)
                if value is not None:
                    msg = (
                        f"{name}={shown(value, 60)} has no effect beside compressor, which has a budget of its own. "
                        "Pass one of the two."
                    )
                    raise InvalidInputError(msg)
        return self


@dataclass(frozen=True)
class Histories:
    """Creates histories with the settings of a memory.

    Args:
        engine: The engine of the histories.
        retention: The retention by agent; None for all other agents.
        ttl: Seconds without use after which a session expires, unless its retention has a TTL; None for never.
        max_messages: The maximum number of messages in a window; None for all.
        max_tokens: The maximum number of tokens in a window; None for any number.
    """

    engine: HistoryEngine
    retention: Mapping[str | None, Retention]
    ttl: float | None
    max_messages: int | None
    max_tokens: int | None = None

    def create(
        self,
        session_id: str,
        user_id: str | None,
        agent: str | None,
        window: Window,
        retention: Retention | None,
        *,
        turn: bool,
    ) -> AgentMemHistory:
        """Create the history of a session. With `turn`, it serves one turn of a chain."""
        check_optional_id("agent", agent)
        return AgentMemHistory(
            self.engine,
            session_id,
            user_id=None if turn and user_id == "" else user_id,  # a config names no user by an empty ID
            agent=agent,
            max_messages=self.max_messages if window.max_messages is None else window.max_messages,
            max_tokens=self.max_tokens if window.max_tokens is None else window.max_tokens,
            token_counter=window.token_counter,
            compressor=window.compressor,
            retention=self.retention_of(agent, check_retention(retention)),
            turn=turn,
        )

    def retention_of(self, agent: str | None, given: Retention | None = None) -> Retention:
        """Return the retention of an agent, with the TTL of the memory if it has none.

        Args:
            agent: The agent; None for no agent.
            given: Takes precedence over the configured retention. Default: None.
        """
        kept = given or self.retention.get(agent) or self.retention[None]
        return replace(kept, ttl=self.ttl) if kept.ttl is None else kept


class HistoryMethods:
    """Create chat histories, and search all messages of a user."""

    _histories: Histories

    def history(
        self,
        session_id: str = DEFAULT_SESSION,
        *,
        user_id: str | None = None,
        agent: str | None = None,
        max_messages: int | None = None,
        max_tokens: int | None = None,
        token_counter: Any = None,
        compressor: MemoryCompressor | None = None,
        retention: Retention | None = None,
    ) -> AgentMemHistory:
        """Return the chat history of a session.

        Args:
            session_id: The session: any string of 1 to 1,024 bytes. Default: `"default"`.
            user_id: The user of the session. Default: None (nobody).
            agent: The agent whose messages are read. Default: None (those of all agents).
            max_messages: The maximum number of messages in the window that `messages` returns. Default: as configured for
                the memory.
            max_tokens: The maximum number of tokens in that window. Default: as configured for the memory.
            token_counter: Counts tokens: the name of a model, a model, or a function. Default: None (approximately).
            compressor: Summarises the messages that exceed its own budget; see `compressor`. It replaces `max_messages`,
                `max_tokens` and `token_counter`. Default: None.
            retention: The messages that are kept, and their TTL. Default: as configured for the agent.

        Raises:
            InvalidInputError: A value is not accepted, or a budget is given beside a compressor.
            InvalidTypeError: An argument has the wrong type.
        """
        window = Window(max_messages, max_tokens, token_counter, compressor).checked()
        return self._histories.create(session_id, user_id, agent, window, retention, turn=False)

    def get_session_history(self, session_id: str = DEFAULT_SESSION, user_id: str | None = None) -> AgentMemHistory:
        """Return the history of a session for one turn of a chain: the factory for `RunnableWithMessageHistory`.

        Args:
            session_id: The session. Default: `"default"`.
            user_id: The user of the session. An empty ID, as in a config's default, names no user. Default: None (nobody).
        """
        return self._histories.create(session_id, user_id, None, Window(), None, turn=True)

    @property
    def history_factory_config(self) -> list[ConfigurableFieldSpec]:
        """The keys that the factories read from a run's config, for `RunnableWithMessageHistory(history_factory_config=…)`.

        They are `user_id` and `session_id`. Each run must name both; an empty `user_id` names no user. Without this list,
        LangChain passes `session_id` only, and the sessions belong to nobody.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> memory = AgentMemory.from_url("sqlite:///:memory:")
            >>> [field.id for field in memory.history_factory_config]
            ['user_id', 'session_id']
            >>> memory.close()
        """
        from langchain_core.runnables import ConfigurableFieldSpec

        return [
            ConfigurableFieldSpec(id="user_id", annotation=str, name="User ID", is_shared=True),
            ConfigurableFieldSpec(id="session_id", annotation=str, name="Session ID", is_shared=True),
        ]

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
        """Return a factory such as `get_session_history`, with its own settings.

        Args:
            agent: The agent whose messages are read. Default: None (those of all agents).
            max_messages: The maximum number of messages that a chain is given. Default: as configured for the memory.
            max_tokens: The maximum number of tokens that a chain is given. Default: as configured for the memory.
            token_counter: Counts tokens: the name of a model, a model, or a function. Default: None (approximately).
            compressor: Summarises the messages that exceed its own budget; see `compressor`. Default: None.
            retention: The messages that are kept, and their TTL. Default: as configured for the agent.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> memory = AgentMemory.from_url("sqlite:///:memory:")
            >>> factory = memory.session_history(max_messages=40)
            >>> factory("session-1", user_id="alice@example.com").max_messages
            40
            >>> memory.close()
        """
        window = Window(max_messages, max_tokens, token_counter, compressor).checked()
        self._histories.create(
            "any", None, agent, window, retention, turn=True
        )  # raises an error for wrong settings now

        def get_session_history(session_id: str = DEFAULT_SESSION, user_id: str | None = None) -> AgentMemHistory:
            return self._histories.create(session_id, user_id, agent, window, retention, turn=True)

        return get_session_history

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
        when: str | None = None,
        now: datetime | None = None,
        around: int = 0,
        min_similarity: float | None = None,
        reranker: Reranker | None = None,
    ) -> FoundMessages:
        """Search the messages in all sessions of a user; see `AgentMemHistory.search`.

        Args:
            query: The text to search for.
            k: The maximum number of messages. Default: 10.
            user_id: The user. Default: None (the sessions without a user).
            session_id: Only this session. Default: None (all).
            agent: Only the messages of this agent. Default: None (all).
            role: Only messages of this type, such as `"human"` or `"ai"`. Default: None (all).
            since: Only messages from this time on; in UTC if it has no time zone. Default: None.
            until: Only messages before this time; in UTC if it has no time zone. Default: None.
            when: Only messages of this time, in English: `"last May"`, `"yesterday"`, `"two weeks ago"`. Default: None (all).
            now: The current time for `when`, whose time zone counts. Default: None (the clock, in UTC).
            around: The number of messages before and after each result to return with it. Default: 0.
            min_similarity: Only messages whose cosine similarity to the query is at least this. It needs embeddings. Default:
                None (all).
            reranker: Orders the best 50 messages again: a function from the query and a list of texts to one score for each
                text, or a `BaseDocumentCompressor`. Default: None.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     memory.history("monday", user_id="alice").add_user_message("I am learning Greek")
            ...     memory.history("tuesday", user_id="alice").add_user_message("I went swimming")
            ...     memory.search_history("What does she learn?", user_id="alice")[0].session_id
            'monday'
        """
        from langchain_agentmem.search.messages import MessageQuery

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
        return run(self._histories.engine.search(asked, user_id=user_id, session_id=session_id, agent=agent))

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
        when: str | None = None,
        now: datetime | None = None,
        around: int = 0,
        min_similarity: float | None = None,
        reranker: Reranker | None = None,
    ) -> FoundMessages:
        """Same as `search_history`, but without blocking the event loop."""
        from langchain_agentmem.search.messages import MessageQuery

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
        return await arun(self._histories.engine.search(asked, user_id=user_id, session_id=session_id, agent=agent))


def retention_by_agent(
    retention: Retention | Mapping[str | None, Retention] | None,
) -> dict[str | None, Retention]:
    """Check the retention of a memory and return it by agent; None is the key for all other agents.

    Raises:
        InvalidTypeError: It is neither a `Retention` nor a mapping of agents to `Retention`.
    """
    if retention is None:
        return {None: Retention()}
    if isinstance(retention, Retention):
        return {None: retention}
    if not isinstance(retention, Mapping) or not all(isinstance(one, Retention) for one in retention.values()):
        msg = (
            "retention must be a Retention, such as Retention('session'), or a mapping of agents to Retention,"
            f" got {shown(retention)}."
        )
        raise InvalidTypeError(msg)
    for agent in retention:
        check_optional_id("An agent in retention", agent)
    return {None: Retention(), **retention}
