"""Search in chat histories, with the same ranking on every backend.

`langchain_agentmem.search.ranker` ranks the messages. `benchmarks/retrieval.py` measures the ranking.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.backends.contract import Backend, Changes, HistoryScope, MessageRow, SessionKey
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.messages.models import FoundMessage, FoundMessages, StoredMessage
from langchain_agentmem.messages.properties import text_of
from langchain_agentmem.messages.roles import types_of_role
from langchain_agentmem.programs import CallTwin, OffLoop, Program, Read
from langchain_agentmem.search.corpora import Corpora, CorpusKey, KeptCorpus, Load, with_words
from langchain_agentmem.search.corpus import Corpus
from langchain_agentmem.search.fingerprint import Indexer
from langchain_agentmem.search.passages import passage_of
from langchain_agentmem.search.queries import Query
from langchain_agentmem.search.ranker import Hit, Ranker
from langchain_agentmem.search.reranking import RERANKED, Reranker, check_reranker, reranked
from langchain_agentmem.search.rows import are_large, message_of, stored_message
from langchain_agentmem.search.thresholds import check_similarity
from langchain_agentmem.text.dates import Span, span_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MANY_ENTRIES = 500
"""Under `arun`, a worker thread ranks more messages than this, because it takes some milliseconds."""

INDEX = "The index of a user's messages"
"""The name of what searches read, in errors."""

Address = tuple[str, int]
"""A message's session and position."""


@dataclass(frozen=True)
class MessageQuery:
    """The checked arguments of a search in chat histories; `MessageQuery.of` checks them."""

    text: str
    k: int
    types: frozenset[str] | None
    """The accepted values of `BaseMessage.type`; None for all."""
    since: float
    """Unix seconds; minus infinity if there is no bound."""
    until: float
    """Unix seconds; infinity if there is no bound."""
    around: int
    """The number of neighbours before and after each message to return with it."""
    without_session: str | None = None
    """A session whose messages are not accepted."""
    min_similarity: float | None = None
    """Only messages whose cosine similarity is at least this; None for all."""
    reranker: Reranker | None = None

    @classmethod
    def of(
        cls,
        query: str,
        k: int,
        *,
        role: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        when: str | None = None,
        now: datetime | None = None,
        around: int = 0,
        min_similarity: float | None = None,
        reranker: Reranker | None = None,
    ) -> MessageQuery:
        """Check the arguments of `AgentMemHistory.search`.

        Raises:
            InvalidTypeError: An argument has the wrong type.
            InvalidInputError: An argument has a wrong value.
        """
        if not isinstance(query, str):
            msg = f"query must be a string, got {type(query).__name__}: {shown(query)}."
            raise InvalidTypeError(msg)
        check_text("query", query)
        span = Span(-math.inf, math.inf) if when is None else span_of(when, now)
        return cls(
            query,
            check_count("k", k, least=0),
            types_of_role(role),
            max(span.since, _bound("since", since, -math.inf)),
            min(span.until, _bound("until", until, math.inf)),
            check_count("around", around, least=0),
            min_similarity=check_similarity(min_similarity),
            reranker=check_reranker(reranker),
        )

    @property
    def depth(self) -> int:
        """The number of messages to read."""
        return self.k if self.reranker is None or not self.k else max(self.k, RERANKED)

    def accepted(self, corpus: Corpus) -> NDArray[np.bool_] | None:
        """Return true for the messages whose role, time and session are accepted; None if all are."""
        import numpy as np

        if (self.since, self.until, self.types, self.without_session) == (-math.inf, math.inf, None, None):
            return None
        accepted = (corpus.created_at >= self.since) & (corpus.created_at < self.until)
        if self.types is not None:
            types = np.array([role in self.types for role in corpus.roles], dtype=np.bool_)
            accepted &= types[corpus.role]
        if self.without_session is not None:
            others = np.array([one != self.without_session for one in corpus.session_ids], dtype=np.bool_)
            accepted &= others[corpus.session]
        return accepted


class MessageSearch:
    """A search in chat histories, in parts: a caller may read other data in the same round trips.

    The parts are `ready`, `index` and `rank`, then `rows` and `found`. Close the search at the end.

    Args:
        backend: The backend that stores the messages.
        codec: Decodes the messages.
        indexer: Embeds the query; None to search by words only.
        scope: The messages to search.
        query: The query.
    """

    def __init__(
        self, backend: Backend, codec: Codec, indexer: Indexer | None, scope: HistoryScope, query: MessageQuery
    ) -> None:
        self._backend = backend
        self._codec = codec
        self._indexer = indexer if query.text.strip() else None
        self._scope = scope
        self._query = query
        self._now = time.time()
        self._corpora = Corpora.of(backend)
        self._corpus_key = CorpusKey(scope.tenant, scope.user_id, scope.session_id, indexer is not None)
        self._kept = self._corpora.get(self._corpus_key, KeptCorpus)
        self._start = self._kept.state
        self._load: Load | None = None
        self._best: list[_Best] = []
        self._weights: dict[int, float] = {}
        """The weights of the query's words."""
        check_similarity(query.min_similarity, with_vectors=indexer is not None)

    def close(self) -> None:
        """Let other searches read the messages, if this one has begun to read them and failed."""
        if self._load is not None:
            self._load.end()

    def ready(self) -> Program[None]:
        """Check that the stored vectors belong to the embedding model. Wait if another search reads all these messages.

        Raises:
            EmbeddingsChangedError: They belong to another model.
        """
        if self._indexer is not None:
            yield from self._indexer.ready()
        if self._start.cursor is None and not self._load:
            load = self._load = self._corpora.load(self._corpus_key)
            if not load.is_mine:
                yield from CallTwin(load.wait, load.await_)
                self._kept = self._corpora.get(self._corpus_key, KeptCorpus)
                self._start = self._kept.state

    def index(self) -> Program[Changes]:
        """Return the storage program that reads what changed in the messages since the last search."""
        tenant, user_id, session_id, vectors = self._corpus_key
        return self._backend.messages.changes(tenant, user_id, session_id, self._start.cursor, vectors=vectors)

    def rank(self, changes: Changes) -> Program[bool]:
        """Rank the messages; return true if any was found.

        Args:
            changes: The result of `index`.
        """
        corpus = yield from self._corpus(changes)
        self.close()
        return (yield from self._rank(corpus))

    def _corpus(self, changes: Changes) -> Program[Corpus]:
        """Bring the corpus up to date, and return it. Changes are read again if another search has applied others since."""
        while True:
            yield from OffLoop(changes.entries.size > MANY_ENTRIES)
            complete = with_words(changes, self._codec, self._backend.language)
            corpus = self._kept.view(complete, self._start, self._now, self._scope.agent)
            if corpus is not None and self._kept.is_usable:
                self._corpora.keep(self._corpus_key, self._kept)
                return corpus
            if not self._kept.is_usable:
                self._kept = KeptCorpus()
            self._start = self._kept.state
            with reading(INDEX):
                changes = yield from Read(self._backend, self.index())

    def _rank(self, corpus: Corpus) -> Program[bool]:
        query = self._query
        many = corpus.size > MANY_ENTRIES
        yield from OffLoop(many)
        ranker = Ranker(corpus, Query.of(query.text, self._backend.language))
        vector = None
        if self._indexer is not None and corpus.vectors is not None:
            vector = yield from self._indexer.query(ranker.text_to_embed())
        yield from OffLoop(many)
        hits = ranker.best(vector, query.depth, query.accepted(corpus), query.min_similarity)
        self._weights = ranker.weights()
        self._best = [
            _Best(
                _address(corpus, hit.row), hit, [_address(corpus, row) for row in _near(corpus, hit.row, query.around)]
            )
            for hit in hits
        ]
        return bool(self._best)

    def rows(self) -> Program[dict[Address, MessageRow]]:
        """Return the storage program that reads the messages that were found."""
        addresses = sorted({address for one in self._best for address in one.around})
        return self._backend.messages.rows(self._scope, addresses, self._now)

    def found(self, rows: Mapping[Address, MessageRow]) -> Program[FoundMessages]:
        """Return the messages that were found, best first.

        Args:
            rows: The result of `rows`.
        """
        yield from OffLoop(are_large(rows.values()))
        best = [one for one in self._best if one.address in rows]
        stored = [stored_message(self._codec, rows[one.address], self._key(one.address)) for one in best]
        order = [(at, one.hit.score) for at, one in enumerate(best)]
        if self._query.reranker is not None:
            texts = [text_of(one.message) for one in stored]
            order = (yield from reranked(self._query.reranker, self._query.text, texts))[: self._query.k]
            yield from OffLoop(are_large(rows.values()))
        return FoundMessages(self._found(best[at], stored[at], score, rows) for at, score in order)

    def _found(
        self, best: _Best, stored: StoredMessage, score: float, rows: Mapping[Address, MessageRow]
    ) -> FoundMessage:
        key = self._key(best.address)
        near = [rows[one] for one in best.around if one in rows] if self._query.around else []
        return FoundMessage(
            **vars(stored),
            score=score,
            around=[message_of(self._codec, one, key) for one in near],
            similarity=best.hit.similarity,
            matched=best.hit.matched,
            passage=self._passage(best.hit, stored),
        )

    def _passage(self, hit: Hit, stored: StoredMessage) -> str | None:
        if not hit.matched:
            return None
        return passage_of(str(stored.message.text), self._weights, self._backend.language)

    def _key(self, address: Address) -> SessionKey:
        return SessionKey(self._scope.tenant, self._scope.user_id, address[0])


class _Best(NamedTuple):
    """A message that was found."""

    address: Address
    hit: Hit
    around: list[Address]
    """The message and its neighbours, in order."""


def search_messages(
    backend: Backend, codec: Codec, indexer: Indexer | None, scope: HistoryScope, query: MessageQuery
) -> Program[FoundMessages]:
    """Find messages; see `MessageSearch` for the arguments.

    Returns:
        The messages, best first.
    """
    return (yield from found_messages(backend, MessageSearch(backend, codec, indexer, scope, query)))


def found_messages(backend: Backend, search: MessageSearch) -> Program[FoundMessages]:
    """Do all parts of a search.

    Args:
        backend: The backend that stores the messages.
        search: The search.
    """
    with closing(search):
        yield from search.ready()
        with reading(INDEX):
            entries = yield from Read(backend, search.index())
        rows: dict[Address, MessageRow] = {}
        if (yield from search.rank(entries)):
            with reading("One of a user's messages"):
                rows = yield from Read(backend, search.rows())
        return (yield from search.found(rows))


def _bound(what: str, moment: datetime | None, default: float) -> float:
    if moment is None:
        return default
    if not isinstance(moment, datetime):
        msg = f"{what} must be a datetime, got {type(moment).__name__}: {shown(moment)}."
        raise InvalidTypeError(msg)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _near(corpus: Corpus, row: int, size: int) -> list[int]:
    """Return a row and its neighbours, in order."""
    before, after = (list(islice(_linked(links, row), size)) for links in (corpus.previous, corpus.following))
    return [*reversed(before), row, *after]


def _linked(links: NDArray[np.int32], row: int) -> Iterator[int]:
    while (row := int(links[row])) >= 0:
        yield row


def _address(corpus: Corpus, row: int) -> Address:
    return corpus.session_ids[corpus.session[row]], int(corpus.position[row])
