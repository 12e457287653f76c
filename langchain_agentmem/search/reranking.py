"""Reranking: a model of the application orders the best results of a search again."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Union

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import ConfigurationError, InvalidTypeError
from langchain_agentmem.programs import CallTwin, OuterStep, Program

if TYPE_CHECKING:
    from langchain_core.documents.compressor import BaseDocumentCompressor
    from typing_extensions import TypeIs

RERANKED = 50
"""The number of best results that a reranker orders again."""

Reranker = Union[Callable[[str, list[str]], Sequence[float] | Awaitable[Sequence[float]]], "BaseDocumentCompressor"]
"""A function from a query and texts to one score for each text, or a document compressor of LangChain."""

_INDEX = "agentmem_index"
_SCORE = "relevance_score"


def check_reranker(reranker: Any) -> Reranker | None:
    """Return the reranker.

    Raises:
        InvalidTypeError: It is neither a function nor a `BaseDocumentCompressor`.
    """
    if reranker is None or _is_compressor(reranker):
        return reranker
    if isinstance(reranker, type) or not callable(reranker):
        msg = (
            f"reranker must be a function from a query and a list of texts to scores, or a BaseDocumentCompressor, "
            f"got {shown(reranker)}."
        )
        raise InvalidTypeError(msg)
    own: Reranker = reranker
    return own


def reranked(reranker: Reranker, query: str, texts: Sequence[str]) -> Program[list[tuple[int, float]]]:
    """Return the indexes of texts in the reranker's order, with scores from 0 to 1.

    Scores outside of 0 to 1 are scaled: the highest is 1, the lowest 0. A compressor may leave texts out. If it gives no
    scores, they fall evenly from 1.

    Args:
        reranker: The reranker.
        query: The query.
        texts: The texts, best first. Of equal scores the earlier text stays first.

    Raises:
        ConfigurationError: The reranker returned something else than one finite number for each text.
    """
    if not texts:
        return []
    if _is_compressor(reranker):
        return (yield from _compressed(reranker, query, texts))
    returned = yield from _Score(reranker, query, list(texts))
    scores = _checked(returned, len(texts))
    order = sorted(range(len(texts)), key=lambda at: -scores[at])
    scaled = _scaled(scores)
    return [(at, scaled[at]) for at in order]


def _is_compressor(reranker: Any) -> TypeIs[BaseDocumentCompressor]:
    from langchain_core.documents.compressor import BaseDocumentCompressor

    return isinstance(reranker, BaseDocumentCompressor)


def _compressed(
    compressor: BaseDocumentCompressor, query: str, texts: Sequence[str]
) -> Program[list[tuple[int, float]]]:
    from langchain_core.documents import Document

    documents = [Document(text, metadata={_INDEX: at}) for at, text in enumerate(texts)]
    kept = yield from CallTwin(compressor.compress_documents, compressor.acompress_documents, documents, query)
    order: list[Any] = list(dict.fromkeys(one.metadata.get(_INDEX) for one in kept))
    if not all(isinstance(at, int) and 0 <= at < len(texts) for at in order):
        msg = f"reranker {shown(compressor)} must return the documents with their metadata; {_INDEX!r} is missing or wrong."
        raise ConfigurationError(msg)
    given = {one.metadata[_INDEX]: one.metadata.get(_SCORE) for one in kept}
    if all(isinstance(score, (int, float)) for score in given.values()):
        scaled = _scaled(_checked([given[at] for at in order], len(order)))
    else:
        scaled = [1 - place / len(order) for place in range(len(order))]
    return list(zip(order, scaled, strict=True))


class _Score(OuterStep[Any]):
    """Outer step: call a function that scores texts. Under `arun`, a worker thread calls a synchronous function."""

    __slots__ = ("function", "query", "texts")

    def __init__(self, function: Callable[[str, list[str]], Any], query: str, texts: list[str]) -> None:
        self.function, self.query, self.texts = function, query, texts

    def perform(self) -> Any:
        returned = self.function(self.query, self.texts)
        if inspect.isawaitable(returned):
            if inspect.iscoroutine(returned):
                returned.close()
            msg = f"reranker {shown(self.function)} is a coroutine function: use the method with the prefix `a` and await it."
            raise InvalidTypeError(msg)
        return returned

    async def aperform(self) -> Any:
        function = self.function
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
            return await function(self.query, self.texts)
        returned = await asyncio.to_thread(function, self.query, self.texts)
        return await returned if inspect.isawaitable(returned) else returned


def _checked(scores: Any, count: int) -> list[float]:
    try:
        found = [float(score) for score in scores]
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        msg = f"reranker must return one finite number for each of {count} texts, got {shown(scores)}."
        raise ConfigurationError(msg)
    return found


def _scaled(scores: Sequence[float]) -> list[float]:
    low, high = min(scores), max(scores)
    if low >= 0 and high <= 1:
        return list(scores)
    return [(score - low) / (high - low) if high > low else 1.0 for score in scores]
