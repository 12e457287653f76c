"""A retriever over the files of Deep Agents, which its `StoreBackend` stores as items of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langgraph.runtime import get_runtime
from pydantic import Field

from langchain_agentmem.programs import OffLoop, Program, arun, run
from langchain_agentmem.programs.sizes import is_long
from langchain_agentmem.store.arguments import check_namespace
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.text.words import words_of

Namespace = tuple[str, ...] | Callable[[Any], tuple[str, ...]]
"""A namespace, or the function of a `StoreBackend` that returns it for a runtime."""


class FileRetriever(BaseRetriever):
    """A retriever of files; `AgentMemory.file_retriever` creates it.

    A document is the path of a file, a line number, and the part of the file that has the most words of the query. Its ID is
    the path. Its metadata are `path`, `score` and `line`: the number of the first line of the part, from 0, which is the
    `offset` of the tool `read_file`.
    """

    name: str | None = "files"
    engine: StoreEngine = Field(exclude=True, repr=False)
    namespace: Any = Field(exclude=True)
    """A `Namespace`."""
    k: int = 5
    max_length: int = 2_000

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 (LangChain's signature)
    ) -> list[Document]:
        return run(self._documents(query))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 (LangChain's signature)
    ) -> list[Document]:
        return await arun(self._documents(query))

    def _documents(self, query: str) -> Program[list[Document]]:
        given = self.namespace(_runtime()) if callable(self.namespace) else self.namespace
        namespace = check_namespace(given, least=1)  # an empty one would search the files of all users
        found = yield from self.engine.search(namespace, query=query, limit=self.k)
        texts = [_text_of(item.value) for item in found]
        yield from OffLoop(is_long(texts))
        wanted = set(words_of(query, self.engine.backend.language))
        documents = []
        for item, text in zip(found, texts, strict=True):
            if text:
                part = self._best_part(text, wanted)
                metadata = {"path": item.key, "line": part.line, "score": item.score}
                content = f"{item.key}, line {part.line + 1}:\n{part.text}"
                documents.append(Document(content, id=item.key, metadata=metadata))
        return documents

    def _best_part(self, text: str, wanted: set[str]) -> Part:
        if len(text) <= self.max_length:
            return Part(0, text)
        language = self.engine.backend.language
        return max(
            parts_of(text, self.max_length), key=lambda part: len(wanted.intersection(words_of(part.text, language)))
        )


class Part(NamedTuple):
    """A part of a file."""

    line: int
    """The number of its first line, from 0."""
    text: str


def parts_of(text: str, most: int) -> Iterator[Part]:
    r"""Yield the parts of a text: whole lines, as far as they are not too long.

    Args:
        text: The text.
        most: The maximum number of characters of a part.

    Example:
        >>> from langchain_agentmem.agents.files import parts_of
        >>> [tuple(part) for part in parts_of("one\ntwo\nthree and four", 8)]
        [(0, 'one\ntwo\n'), (2, 'three an'), (2, 'd four')]
    """
    first, collected = 0, ""
    for number, line in enumerate(text.splitlines(keepends=True)):
        if collected and len(collected) + len(line) > most:
            yield Part(first, collected)
            collected = ""
        if not collected:
            first = number
        collected += line
        while len(collected) > most:
            yield Part(number, collected[:most])
            first, collected = number, collected[most:]
    if collected:
        yield Part(first, collected)


def _text_of(value: Mapping[str, Any]) -> str:
    """Return the text of a stored file; an empty text for another item or a file that is not text."""
    content = value.get("content")
    if isinstance(content, list) and all(isinstance(line, str) for line in content):  # Deep Agents before 0.5
        content = "\n".join(content)
    return content if isinstance(content, str) and value.get("encoding", "utf-8") == "utf-8" else ""


def _runtime() -> Any:
    """Return the runtime of the running graph; None outside of a graph, as a `StoreBackend` does."""
    try:
        return get_runtime()
    except (RuntimeError, KeyError):
        return None
