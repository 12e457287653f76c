"""The methods of `AgentMemory` that recall stored knowledge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_agentmem.arguments.ids import check_id, check_optional_id
from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.history.methods import Histories
from langchain_agentmem.programs import arun, run
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    from langchain_agentmem.knowledge.retrievers import KnowledgeOrigin
    from langchain_agentmem.prompting.recall.engine import RecallEngine
    from langchain_agentmem.prompting.recall.results import Recall
    from langchain_agentmem.prompting.recall.retriever import MemoryRetriever


class RecallMethods:
    """Recall the stored knowledge that answers a message."""

    store: AgentMemStore
    _histories: Histories

    def recall(
        self,
        query: str,
        *,
        user_id: str,
        session_id: str | None = None,
        k: int = 10,
        max_tokens: int | None = None,
        knowledge: Sequence[KnowledgeOrigin] = (),
        token_counter: Any = None,
        min_similarity: float | None = None,
    ) -> Recall:
        """Return the stored knowledge that answers a message: facts, memories, entities, turns of earlier sessions.

        Facts that have ended are left out. Items that cannot be read are left out too, and a warning in the log names them.

        Args:
            query: The message. Of a long one, the last 1,000 characters count. If it is empty, nothing is recalled.
            user_id: The user.
            session_id: The current session, whose messages are left out. Default: None (all sessions are searched).
            k: The maximum number of items. Default: 10.
            max_tokens: The maximum number of tokens of the text. The least relevant items are left out first. Default: None
                (any number).
            knowledge: What to search besides: collections of shared knowledge, by name; LangChain retrievers and vector
                stores, as they are or as `KnowledgeSource`s. One that fails is left out, with a warning. Default: none.
            token_counter: Counts tokens: the name of a model, a model, or a function. Default: None (approximately).
            min_similarity: Only items whose cosine similarity to the message is at least this, and passages of retrievers. It
                needs embeddings. Default: None (all).

        Returns:
            The items, the most relevant first; `text` quotes them as data for a prompt.

        Raises:
            InvalidInputError: A value is not accepted.
            InvalidTypeError: An argument has the wrong type.
            UnknownCollectionError: A collection of shared knowledge does not exist.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     fact = memory.profiles.add_fact("alice@example.com", "Allergic to peanuts")
            ...     print(memory.recall("Peanuts?", user_id="alice@example.com").text.splitlines()[1])
            <data>{"facts": ["Allergic to peanuts"]}</data>
        """
        counter = _counter(token_counter)
        return run(
            self._recall_engine.recall(query, user_id, session_id, k, max_tokens, knowledge, counter, min_similarity)
        )

    async def arecall(
        self,
        query: str,
        *,
        user_id: str,
        session_id: str | None = None,
        k: int = 10,
        max_tokens: int | None = None,
        knowledge: Sequence[KnowledgeOrigin] = (),
        token_counter: Any = None,
        min_similarity: float | None = None,
    ) -> Recall:
        """Same as `recall`, but without blocking the event loop."""
        counter = _counter(token_counter)
        return await arun(
            self._recall_engine.recall(query, user_id, session_id, k, max_tokens, knowledge, counter, min_similarity)
        )

    def as_retriever(
        self,
        *,
        user_id: str,
        k: int = 10,
        session_id: str | None = None,
        max_tokens: int | None = None,
        knowledge: Sequence[KnowledgeOrigin] = (),
        token_counter: Any = None,
        min_similarity: float | None = None,
    ) -> MemoryRetriever:
        """Return a LangChain retriever that returns what `recall` finds as documents.

        Args:
            user_id: The user.
            k: The maximum number of documents. Default: 10.
            session_id: The current session, whose messages are left out. Default: None (all sessions are searched).
            max_tokens: The maximum number of tokens of all documents together. The least relevant ones are left out. Default:
                None (any number).
            knowledge: What to search besides: collections of shared knowledge, by name; LangChain retrievers and vector
                stores, as they are or as `KnowledgeSource`s. One that fails is left out, with a warning. Default: none.
            token_counter: Counts tokens: the name of a model, a model, or a function. Default: None (approximately).
            min_similarity: Only items whose cosine similarity to the message is at least this, and passages of retrievers. It
                needs embeddings. Default: None (all).

        Raises:
            InvalidInputError: A value is not accepted.
            InvalidTypeError: An argument has the wrong type.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
            ...     saved = memory.memories.save("alice@example.com", "Drinks tea")
            ...     (document,) = memory.as_retriever(user_id="alice@example.com").invoke("tea or coffee?")
            ...     document.page_content, document.metadata["kind"]
            ('Drinks tea', 'memory')
        """
        from langchain_agentmem.knowledge.retrievers import checked_knowledge
        from langchain_agentmem.prompting.recall.retriever import MemoryRetriever

        return MemoryRetriever(
            engine=self._recall_engine,
            user_id=check_id("user_id", user_id),
            session_id=check_optional_id("session_id", session_id),
            k=check_count("k", k),
            max_tokens=None if max_tokens is None else check_count("max_tokens", max_tokens),
            min_similarity=self._recall_engine.checked_similarity(min_similarity),
            knowledge=checked_knowledge(knowledge),
            counter=_counter(token_counter),
        )

    @cached_property
    def _recall_engine(self) -> RecallEngine:
        from langchain_agentmem.prompting.recall.engine import RecallEngine

        return RecallEngine(self.store.engine, self._histories.engine)


def _counter(token_counter: Any) -> Any:
    from langchain_agentmem.messages.tokens import TokenCounter

    return TokenCounter.of(token_counter)
