"""Search in chat histories, with the same ranking on every backend.

A message is found by its own words, by those of the two messages before it in its session, and by its date (`8 May 2023`).
Words that more than a quarter of the messages contain are removed from a query before it is embedded.
`benchmarks/retrieval.py` measures the ranking on three conversations of LoCoMo (Maharana et al., "Evaluating very long-term
conversational memory of LLM agents", 2024).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.backends.contract import Backend, HistoryScope, IndexEntry, MessageRow, SessionKey
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import InvalidTypeError
from langchain_agentmem.messages.models import FoundMessage, FoundMessages
from langchain_agentmem.messages.properties import datetime_of, text_of
from langchain_agentmem.messages.roles import types_of_role
from langchain_agentmem.programs import OffLoop, Program, Read
from langchain_agentmem.search.fingerprint import Indexer
from langchain_agentmem.search.ranking import fuse, query_words
from langchain_agentmem.search.rows import are_large, message_of, stored_message
from langchain_agentmem.text.vectors import similarities_to
from langchain_agentmem.text.words import analyze, checked_words, frequencies, numbers_of, scores

CONTEXT = 2
"""The number of preceding messages whose words also find a message."""

OWN_WEIGHT = 2
"""The weight of a message's own words. Those of the preceding messages have weight 1.

With weight 2 instead of 1, full-text search on LoCoMo has a mean reciprocal rank of 0.51 instead of 0.44, and the same recall
in the first ten results.
"""

COMMON_SHARE = 0.25
"""Words that a larger share of the messages contains are removed from a query before it is embedded."""

MANY_ENTRIES = 500
"""Under `arun`, a worker thread ranks more messages than this, because it takes some milliseconds."""

_FEWEST_FOR_COMMON = 20
"""With fewer messages than this, no word counts as common."""

_MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905
"""English names of the months. They do not depend on the locale of the process."""

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

    @classmethod
    def of(
        cls,
        query: str,
        k: int,
        role: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        around: int = 0,
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
        return cls(
            query,
            check_count("k", k, least=0),
            types_of_role(role),
            _bound("since", since, -math.inf),
            _bound("until", until, math.inf),
            check_count("around", around, least=0),
        )

    def accepts(self, entry: IndexEntry) -> bool:
        """Return true if the role, the time and the session of a message are accepted."""
        if entry.session_id == self.without_session:
            return False
        return (self.types is None or entry.role in self.types) and self.since <= entry.created_at < self.until


class MessageSearch:
    """A search in chat histories, in parts: a caller may read other data in the same round trips.

    The parts are `index` and `rank`, then `rows` and `found`.

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
        self._with_vectors = indexer is not None
        self._scope = scope
        self._query = query
        self._now = time.time()
        self._entries: Sequence[IndexEntry] = ()
        self._best: list[tuple[int, float]] = []
        self._neighbours: dict[int, list[int]] = {}

    def ready(self) -> Program[None]:
        """Check that the stored vectors belong to the embedding model.

        Raises:
            EmbeddingsChangedError: They belong to another model.
        """
        if self._indexer is not None:
            yield from self._indexer.ready()

    def index(self) -> Program[list[IndexEntry]]:
        """Return the storage program that reads the index entries of the messages."""
        return self._backend.messages.index(self._scope, self._now, vectors=self._with_vectors)

    def rank(self, entries: Sequence[IndexEntry]) -> Program[bool]:
        """Rank the messages; return true if any was found.

        Args:
            entries: The result of `index`.
        """
        query, language = self._query, self._backend.language
        many = len(entries) > MANY_ENTRIES
        yield from OffLoop(many)
        words = [_words_of(entry, self._codec, language) for entry in entries]
        vector = None
        if self._indexer is not None and any(entry.vector for entry in entries):
            vector = yield from self._indexer.query(without_common_words(query.text, words, language))
        yield from OffLoop(many)
        ranked = _ranked(entries, words, query.text, vector, language)
        self._entries = entries
        self._best = list(islice((pair for pair in ranked if query.accepts(entries[pair[0]])), query.k))
        self._neighbours = {at: _neighbours(entries, at, query.around) for at, _ in self._best}
        return bool(self._best)

    def rows(self) -> Program[dict[Address, MessageRow]]:
        """Return the storage program that reads the messages that were found."""
        addresses = sorted({_address(self._entries[at]) for group in self._neighbours.values() for at in group})
        return self._backend.messages.rows(self._scope, addresses, self._now)

    def found(self, rows: Mapping[Address, MessageRow]) -> Program[FoundMessages]:
        """Return the messages that were found, best first.

        Args:
            rows: The result of `rows`.
        """
        codec, scope, entries = self._codec, self._scope, self._entries
        yield from OffLoop(are_large(rows.values()))
        found = FoundMessages()
        for at, score in self._best:
            row = rows.get(_address(entries[at]))
            if row is not None:
                near = [rows[address] for one in self._neighbours[at] if (address := _address(entries[one])) in rows]
                key = SessionKey(scope.tenant, scope.user_id, entries[at].session_id)
                around = [message_of(codec, one, key) for one in near] if self._query.around else []
                stored = stored_message(codec, row, key)
                found.append(FoundMessage(**vars(stored), score=score, around=around))
        return found


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
    yield from search.ready()
    with reading("The index of a user's messages"):
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


def without_common_words(query: str, texts: Sequence[bytes], language: str) -> str:
    """Remove the words from a query that too many texts contain. If no word is left, return the whole query.

    Args:
        query: The query.
        texts: The texts, as `langchain_agentmem.text.words.analyze` encodes them.
        language: The language of the texts.
    """
    if len(texts) < _FEWEST_FOR_COMMON:
        return query
    numbers = {word: numbers_of(word, language) for word in query.split()}
    found = frequencies(texts, (number for group in numbers.values() for number in group))
    most = COMMON_SHARE * len(texts)
    kept = [word for word, group in numbers.items() if not group or any(found[number] <= most for number in group)]
    return " ".join(kept) or query


def _ranked(
    entries: Sequence[IndexEntry], words: Sequence[bytes], query: str, vector: bytes | None, language: str
) -> list[tuple[int, float]]:
    """Return the indexes of entries that match, with their scores, best first. Equal scores: the newer one first."""
    texts = []
    first, session_id = 0, None
    for at, entry in enumerate(entries):
        if entry.session_id != session_id:
            first, session_id = at, entry.session_id
        before = words[max(first, at - CONTEXT) : at]
        texts.append(b"".join((*before, words[at] * OWN_WEIGHT, _date_words(entry.created_at // 86400, language))))
    lexical = [score or None for score in scores(texts, query_words(query, language))]
    dense = similarities_to([entry.vector for entry in entries], vector)
    matching = [at for at in range(len(entries)) if lexical[at] is not None or dense[at] is not None]
    newest_first = sorted(matching, key=lambda at: entries[at].created_at)[::-1]
    return fuse(newest_first, [lexical[at] for at in newest_first], [dense[at] for at in newest_first])


def _words_of(entry: IndexEntry, codec: Codec, language: str) -> bytes:
    with reading(f"Message {entry.position} of session {entry.session_id!r}"):
        datetime_of(entry.created_at)
        if entry.words is None:
            return b"" if entry.body is None else analyze(text_of(codec.load_message(entry.body)), language)
        return checked_words(entry.words)


@lru_cache(maxsize=10_000)
def _date_words(day: float, language: str) -> bytes:
    date = datetime_of(day * 86400)
    return analyze(f"{date.day} {_MONTHS[date.month - 1]} {date.year}", language)


def _neighbours(entries: Sequence[IndexEntry], at: int, size: int) -> list[int]:
    """Return the indexes of a message and of its neighbours in the same session."""
    session_id = entries[at].session_id
    near = range(max(0, at - size), min(len(entries), at + size + 1))
    return [one for one in near if entries[one].session_id == session_id]


def _address(entry: IndexEntry) -> Address:
    return entry.session_id, entry.position
