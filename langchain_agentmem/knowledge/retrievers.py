"""Sources of shared knowledge outside of the memory: LangChain's retrievers and vector stores, searched where they are.

A source may be slow, fail or return anything. It is searched concurrently with the memory's own data and within a time limit.
If it fails, a warning is logged and the other results are used. Its texts are bounded, and never interpreted.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from langchain_agentmem.arguments.durations import required_seconds
from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.values import check_list, reason_of, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.collections import collection_names
from langchain_agentmem.knowledge.names import text_id
from langchain_agentmem.programs import OuterStep, Program, Within, beside
from langchain_agentmem.programs.signals import came_by_signal

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.vectorstores import VectorStore

T = TypeVar("T")

if TYPE_CHECKING:
    KnowledgeOrigin: TypeAlias = "str | BaseRetriever | VectorStore | KnowledgeSource"
    """What the argument `knowledge` contains: the name of a collection, a retriever, a vector store, or a source."""

_log = logging.getLogger(__name__)

LONGEST_PASSAGE = 10_000
"""Maximum number of characters of a passage. A longer text is shortened."""

_LONGEST_METADATA = 500
"""Maximum number of characters of a value of the metadata that a model is shown."""

_NO_RELEVANCE = (NotImplementedError, ValueError)
"""Errors of vector stores that cannot turn their distances into relevance scores."""

_MOST_RESULTS = 1_000
"""Maximum number of results of a source that are looked at."""


@dataclass(frozen=True, eq=False)
class KnowledgeSource:
    """A LangChain retriever or vector store as shared knowledge, with a name.

    `knowledge=[…]` of `recall`, `tools`, `middleware`, `prompt` and `as_retriever` takes retrievers and vector stores as they
    are. Wrap one in a `KnowledgeSource` to choose its name, its description or its time limit.

    Args:
        origin: The retriever or the vector store.
        name: The name that results and prompts show. Default: `""` (the retriever's `name`, or the name of its class).
        description: What the source contains, for the agent that has the tool `search_knowledge`. Default: `""` (none).
        time_limit: The time of a search, as a `timedelta` or in seconds. Default: 30.

    Raises:
        InvalidTypeError: `origin` is neither a retriever nor a vector store, or another argument has the wrong type.
        InvalidInputError: The name is too long, or the time limit is not positive.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> from langchain_core.vectorstores import InMemoryVectorStore
        >>> from langchain_agentmem import AgentMemory, KnowledgeSource
        >>> handbook = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
        >>> _ = handbook.add_texts(["Refunds take five days."])
        >>> with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...     source = KnowledgeSource(handbook, "handbook")
        ...     found = memory.recall("How long does a refund take?", user_id="alice@example.com", knowledge=[source])
        ...     [(item.text, item.source["collection"]) for item in found]
        [('Refunds take five days.', 'handbook')]
    """

    origin: BaseRetriever | VectorStore
    name: str = ""
    description: str = field(default="", repr=False)
    time_limit: timedelta | float = field(default=30.0, repr=False)

    def __post_init__(self) -> None:
        if not is_origin(self.origin):
            msg = f"KnowledgeSource takes a LangChain retriever or vector store, got {shown(self.origin)}."
            raise InvalidTypeError(msg)
        for name in ("name", "description"):
            if not isinstance(getattr(self, name), str):
                msg = f"{name} must be a string, got {shown(getattr(self, name))}."
                raise InvalidTypeError(msg)
        required_seconds("time_limit", self.time_limit)
        given = self.name or getattr(self.origin, "name", None)
        name = given if isinstance(given, str) and given else type(self.origin).__name__
        object.__setattr__(self, "name", check_id("The name of a source of knowledge", name))


class Passage(NamedTuple):
    """A text that a source returned."""

    source: str
    """The name of the source."""
    key: str
    """The document's ID, or one that equal texts share."""
    text: str
    score: float
    """Relevance from 0 to 1: that of the source, or the reciprocal of the rank."""
    metadata: Mapping[str, Any]


class Knowledge(NamedTuple):
    """The argument `knowledge`, checked."""

    names: list[str]
    """The names of collections of the memory."""
    sources: list[KnowledgeSource]

    @property
    def described(self) -> list[str]:
        """The name of each collection and source, with its description."""
        return [
            *self.names,
            *(f"{one.name} ({one.description})" if one.description else one.name for one in self.sources),
        ]

    def beside(self, program: Program[T], query: str | None, k: int) -> Program[tuple[T, list[Passages]]]:
        """Run a program, and search the sources concurrently.

        Args:
            program: The program.
            query: The text to search for; None to search nothing.
            k: The maximum number of passages of each source.

        Returns:
            The program's result, and the passages of each source in order.
        """
        steps = [] if query is None else [SourceSearch(one, query, k) for one in self.sources]
        if not steps:
            return (yield from program), []
        return (yield from beside(steps, program))


class Passages(NamedTuple):
    """The passages of one source, the most relevant first."""

    source: KnowledgeSource
    found: list[Passage]
    failure: str | None = None
    """Why the source could not be searched; None if it was."""


def checked_knowledge(given: Any) -> Knowledge:
    """Return the checked argument `knowledge`.

    Args:
        given: The argument: names of collections, retrievers, vector stores and `KnowledgeSource`s; or a `Knowledge`.

    Raises:
        InvalidTypeError: The argument is not a list of these.
        InvalidInputError: A name is empty, too long, or used twice.
    """
    if isinstance(given, Knowledge):
        return given
    if is_origin(given) or isinstance(given, KnowledgeSource):
        msg = f"knowledge must be a list, got {type(given).__name__}. Put a single source in brackets."
        raise InvalidTypeError(msg)
    names: list[Any] = []
    sources: list[KnowledgeSource] = []
    for one in check_list("knowledge", given, "names of collections, retrievers and vector stores"):
        if isinstance(one, KnowledgeSource):
            sources.append(one)
        elif is_origin(one):
            sources.append(KnowledgeSource(one))
        elif isinstance(one, str):
            names.append(one)
        else:
            msg = (
                f"knowledge takes names of collections, LangChain retrievers and vector stores, got {type(one).__name__}: "
                f"{shown(one)}."
            )
            raise InvalidTypeError(msg)
    taken = set(collection_names("knowledge", names))
    for source in sources:
        if source.name in taken:
            msg = (
                f"knowledge contains several sources with the name {shown(source.name)}. "
                f"Name them with KnowledgeSource(origin, name)."
            )
            raise InvalidInputError(msg)
        taken.add(source.name)
    return Knowledge(names, sources)


def is_origin(value: Any) -> bool:
    """Return true for a LangChain retriever or vector store."""
    if isinstance(value, (str, KnowledgeSource)):
        return False
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.vectorstores import VectorStore

    return isinstance(value, (BaseRetriever, VectorStore))


class SourceSearch(OuterStep[Passages]):
    """Outer step: search a source. If it fails, log a warning and return no passages.

    Args:
        source: The source.
        query: The text to search for.
        k: The maximum number of passages.
    """

    __slots__ = ("_k", "_query", "_source")

    def __init__(self, source: KnowledgeSource, query: str, k: int) -> None:
        self._source = source
        self._query = query
        self._k = k

    def perform(self) -> Passages:
        try:
            return self._passages(self._within.perform())
        except Exception as error:  # each source has errors of its own
            return self._failed(error)

    async def aperform(self) -> Passages:
        try:
            return self._passages(await self._within.aperform())
        except Exception as error:
            return self._failed(error)

    @property
    def _within(self) -> Within[Any]:
        seconds = required_seconds("time_limit", self._source.time_limit)
        return Within(_Request(self._source.origin, self._query, self._k), seconds)

    def _passages(self, returned: Any) -> Passages:
        return Passages(self._source, passages_of(self._source.name, returned, self._k))

    def _failed(self, error: Exception) -> Passages:
        if came_by_signal(error):
            raise error
        name = self._source.name
        _log.warning("The source of knowledge %r could not be searched, and is left out: %s", name, reason_of(error))
        return Passages(self._source, [], reason_of(error))


class _Request(OuterStep[Any]):
    """Outer step: call a retriever or a vector store, and return its result unchecked."""

    __slots__ = ("_k", "_origin", "_query")

    def __init__(self, origin: Any, query: str, k: int) -> None:
        self._origin = origin
        self._query = query
        self._k = k

    def perform(self) -> Any:
        if self._is_retriever:
            return self._origin.invoke(self._query)
        try:
            # Not the public method: it warns about scores outside of [0, 1], which are frequent and are clipped here.
            return self._origin._similarity_search_with_relevance_scores(self._query, k=self._k)
        except _NO_RELEVANCE:
            return self._origin.similarity_search(self._query, k=self._k)

    async def aperform(self) -> Any:
        if self._is_retriever:
            return await self._origin.ainvoke(self._query)
        try:
            return await self._origin._asimilarity_search_with_relevance_scores(self._query, k=self._k)
        except _NO_RELEVANCE:
            return await self._origin.asimilarity_search(self._query, k=self._k)

    @property
    def _is_retriever(self) -> bool:
        from langchain_core.retrievers import BaseRetriever

        return isinstance(self._origin, BaseRetriever)


def passages_of(source: str, returned: Any, k: int) -> list[Passage]:
    """Return the passages in the result of a retriever or vector store. Empty and repeated texts are left out.

    Args:
        source: The name of the source.
        returned: Documents, or pairs of a document and its relevance score.
        k: The maximum number of passages.

    Example:
        >>> from langchain_core.documents import Document
        >>> from langchain_agentmem.knowledge.retrievers import passages_of
        >>> documents = [Document("Tea"), Document(" "), Document("Tea"), Document("Milk")]
        >>> [(one.text, one.score) for one in passages_of("shop", documents, 5)]
        [('Tea', 1.0), ('Milk', 0.5)]
    """
    if returned is None:
        return []
    if isinstance(returned, (str, bytes, Mapping)) or not isinstance(returned, Iterable):
        msg = f"it must return a list of documents, got {type(returned).__name__}"
        raise TypeError(msg)
    found: dict[str, Passage] = {}
    for at, one in enumerate(returned):
        if at == _MOST_RESULTS or len(found) == k:
            break
        document, score = one if isinstance(one, (tuple, list)) and len(one) == 2 else (one, None)
        text = readable_text(getattr(document, "page_content", None))
        if not text or text in found:
            continue
        metadata = getattr(document, "metadata", None)
        own = dict(metadata) if isinstance(metadata, Mapping) else {}
        key = getattr(document, "id", None)
        rank = len(found)
        found[text] = Passage(
            source,
            key if isinstance(key, str) and key else text_id(text),
            text,
            _relevance(own.get("relevance_score") if score is None else score, rank),
            own,
        )
    return list(found.values())


def readable_text(text: Any) -> str:
    """Return a text without characters that cannot be sent, without spaces around it, and bounded; `""` for another value."""
    if not isinstance(text, str):
        return ""
    clean = text[: 2 * LONGEST_PASSAGE].replace("\x00", "").encode(errors="replace").decode().strip()
    return clean if len(clean) <= LONGEST_PASSAGE else f"{clean[: LONGEST_PASSAGE - 1]}…"


def _relevance(score: Any, rank: int) -> float:
    """Return a score of a source, clipped to [0, 1]; the reciprocal of the rank if the source gives none."""
    try:
        number = float(score)
    except (TypeError, ValueError):
        return 1 / (rank + 1)
    return 1 / (rank + 1) if math.isnan(number) else min(max(number, 0.0), 1.0)


def shown_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a passage that a model is shown: short texts, numbers and truth values.

    Example:
        >>> from langchain_agentmem.knowledge.retrievers import shown_metadata
        >>> shown_metadata({"page": 4, "source": "handbook.pdf", "embedding": [0.5] * 1000})
        {'page': 4, 'source': 'handbook.pdf'}
    """
    shown_values: dict[str, Any] = {}
    for name, value in metadata.items():
        if isinstance(value, str):
            value = readable_text(value)  # noqa: PLW2901 (the same value)
        if (
            isinstance(name, str)
            and isinstance(value, (str, int, float))
            and len(str(value)) <= _LONGEST_METADATA
            and len(name) <= _LONGEST_METADATA
        ):
            shown_values[name] = value
    return shown_values


def in_turn(lists: Sequence[Sequence[T]], most: int, key: Callable[[T], Any]) -> list[T]:
    """Return the best of several results: the first of each in turn, then the second of each, without repetitions.

    Args:
        lists: The results, each with the most relevant first.
        most: The maximum number.
        key: Returns what is equal for equal results.

    Example:
        >>> from langchain_agentmem.knowledge.retrievers import in_turn
        >>> in_turn([["a", "b", "c"], ["x", "a"]], 4, str)
        ['a', 'x', 'b', 'c']
    """
    found: dict[Any, T] = {}
    for at in range(max(map(len, lists), default=0)):
        for one in lists:
            if at < len(one):
                found.setdefault(key(one[at]), one[at])
    return list(found.values())[:most]
