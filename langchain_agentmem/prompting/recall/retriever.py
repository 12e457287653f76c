"""LangChain's retriever for `AgentMemory.recall`."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.knowledge.retrievers import Knowledge
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import OffLoop, Program, arun, run
from langchain_agentmem.programs.sizes import is_long
from langchain_agentmem.prompting.recall.engine import RecallEngine
from langchain_agentmem.prompting.recall.results import RecalledItem


class MemoryRetriever(BaseRetriever):
    """A retriever of what is stored about a user; `AgentMemory.as_retriever` creates it.

    A document's metadata are those of the item, with `kind`, `score`, `similarity`, `source` and `time` (ISO 8601).
    """

    engine: RecallEngine = Field(exclude=True, repr=False)
    user_id: str
    session_id: str | None = None
    k: int = 10
    max_tokens: int | None = None
    min_similarity: float | None = None
    knowledge: Any = Field(default=Knowledge([], []), exclude=True)
    """The checked argument: a `Knowledge`."""
    counter: Any = Field(default=None, exclude=True, repr=False)
    """The token counter; None for the default one."""

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 (LangChain's signature)
        k: int | None = None,
        max_tokens: int | None = None,
    ) -> list[Document]:
        return run(self._documents(query, k, max_tokens))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 (LangChain's signature)
        k: int | None = None,
        max_tokens: int | None = None,
    ) -> list[Document]:
        return await arun(self._documents(query, k, max_tokens))

    def _documents(self, query: str, k: int | None, max_tokens: int | None) -> Program[list[Document]]:
        most = self.k if k is None else k
        least = self.min_similarity
        found = yield from self.engine.recall(
            query, self.user_id, self.session_id, most, knowledge=self.knowledge, min_similarity=least
        )
        budget = self.max_tokens if max_tokens is None else check_count("max_tokens", max_tokens)
        if budget is None:
            return [_document(item) for item in found]
        counter = self.counter or TokenCounter()
        yield from counter.prepare()
        yield from OffLoop(is_long(item.text for item in found))
        sizes = accumulate(counter.text(item.text) for item in found)
        return [_document(item) for item, size in zip(found, sizes, strict=True) if size <= budget]

    def __repr__(self) -> str:
        names = [*self.knowledge.names, *(one.name for one in self.knowledge.sources)]
        return f"MemoryRetriever(k={self.k}, knowledge={names!r})"


def _document(item: RecalledItem) -> Document:
    source = item.source
    ids = {name: one for name, one in source.items() if name not in ("message_ids", "agent", "message_id")}
    metadata: dict[str, Any] = {
        **item.metadata,
        "kind": item.kind,
        "score": item.score,
        "similarity": item.similarity,
        "source": dict(source),
        "time": None if item.time is None else item.time.isoformat(),
    }
    return Document(item.text, id=":".join(map(str, (item.kind, *ids.values()))), metadata=metadata)
