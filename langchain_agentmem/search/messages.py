"""Searching chat histories: the same ranking on every backend, from the words and vectors that messages are stored with.

What a message is about often stands in the turns before it, so its lexical text carries the two messages before it in its
session, and its date (8 May 2023). Words that stand in more than a quarter of the messages say nothing of what is looked
for, and are left out of the query before it is embedded. On three conversations of LoCoMo (Maharana et al., "Evaluating very
long-term conversational memory of LLM agents", 2024) `benchmarks/retrieval.py` measures what this finds.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from itertools import islice
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.values import check_count, shown
from langchain_agentmem.backends.contract import Backend, HistoryScope, IndexEntry, LoggedMessage, MessageRow
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.encoding.json_values import load_json
from langchain_agentmem.errors import ConfigurationError, InvalidInputError, InvalidTypeError, InvalidVectorsError
from langchain_agentmem.messages.models import FoundMessage, FoundMessages
from langchain_agentmem.messages.properties import datetime_of, text_of
from langchain_agentmem.programs import OffLoop, Program, Read, Write
from langchain_agentmem.programs.sizes import is_large
from langchain_agentmem.search.fingerprint import Embedded, Indexer
from langchain_agentmem.search.ranking import combined, terms
from langchain_agentmem.text.vectors import similarities_to
from langchain_agentmem.text.words import analyze, checked_words, frequencies, numbers_of, scores

_log = logging.getLogger(__name__)

CONTEXT = 2
"""How many of the messages before it a message is found by as well."""

OWN = 2
"""How often a message's own words count beside those before it. With 2 the first right answer comes earlier than with 1 (by
words alone a mean reciprocal rank of 0.51 instead of 0.44, on LoCoMo), and the first ten hold as many."""

COMMON_SHARE = 0.25
"""A word that stands in more than this share of the messages is left out of a query before it is embedded."""

MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905
"""As they are written in English, whatever the server's locale."""

ROLES = {
    "human": frozenset(("human", "HumanMessageChunk")),
    "ai": frozenset(("ai", "AIMessageChunk")),
    "system": frozenset(("system", "SystemMessageChunk")),
    "tool": frozenset(("tool", "ToolMessageChunk")),
    "function": frozenset(("function", "FunctionMessageChunk")),
    "chat": frozenset(("chat", "ChatMessageChunk")),
    "remove": frozenset(("remove",)),
}
"""The roles of messages, each with the types that have it."""

_OTHER_NAMES = {"user": "human", "assistant": "ai", "developer": "system"}

MANY_ENTRIES = 500
"""Among more messages than this a search ranks in a worker thread under `arun`: it takes some milliseconds."""

_FEW = 20
"""Among fewer messages than this no word is called common."""

Place = tuple[str, int]
"""A message's session and position."""


def message_in(codec: Codec, row: MessageRow, session_id: str) -> BaseMessage:
    """The message of a row.

    Raises:
        DamagedDataError: It cannot be read; the error names the session and the position.
    """
    with reading(f"Message {row.position} of session {session_id!r}"):
        return codec.load_message(row.body)


def described(codec: Codec, row: MessageRow, session_id: str, user_id: str | None) -> dict[str, Any]:
    """What is known of a stored message, by the names of `StoredMessage`."""
    with reading(f"Message {row.position} of session {session_id!r}"):
        return {
            "message": codec.load_message(row.body),
            "session_id": session_id,
            "position": row.position,
            "created_at": datetime_of(row.created_at),
            "user_id": user_id,
            "agent": row.agent,
            "metadata": {} if row.metadata is None else load_json(row.metadata),
        }


def found_messages(
    backend: Backend,
    codec: Codec,
    indexer: Indexer | None,
    scope: HistoryScope,
    query: str,
    k: int,
    role: str | None,
    since: datetime | None,
    until: datetime | None,
    around: int,
) -> Program[FoundMessages]:
    """Find messages.

    Args:
        backend: Where they are.
        codec: What reads them.
        indexer: What the query is embedded with; None to search by words alone.
        scope: Which messages are looked at.
        query: What is looked for.
        k: The most messages.
        role: The type of those that may be found; None for any.
        since: From when on; None for no bound.
        until: Before when; None for no bound.
        around: How many messages before and after each to give with it.

    Returns:
        The messages, best first.
    """
    if not isinstance(query, str):
        msg = f"query must be a string, got {type(query).__name__}: {shown(query)}."
        raise InvalidTypeError(msg)
    check_text("query", query)
    k = check_count("k", k, least=0)
    around = check_count("around", around, least=0)
    types = _types_of(role)
    start, end = _bound("since", since), _bound("until", until)
    now = time.time()
    if indexer is not None and query.strip():
        yield from indexer.ready()
    with reading("The index of a user's messages"):
        entries: list[IndexEntry] = yield from Read(
            backend, backend.messages.index(scope, now, vectors=indexer is not None)
        )
    language = backend.language
    many = len(entries) > MANY_ENTRIES
    yield from OffLoop(many)
    words = [_words_of(entry, codec, language) for entry in entries]
    vector = None
    if query.strip() and indexer is not None and any(entry.vector for entry in entries):
        vector = yield from indexer.query(without_common_words(query, words, language))
    yield from OffLoop(many)
    passing = (
        (at, score)
        for at, score in _rank(entries, words, query, vector, language)
        if (types is None or entries[at].role in types) and start <= entries[at].created_at < end
    )
    ranked = list(islice(passing, k))
    neighbours = {at: _around(entries, at, around) for at, _ in ranked}
    places = {_place(entries[at]) for group in neighbours.values() for at in group}
    rows: dict[Place, MessageRow] = {}
    if places:
        with reading("One of a user's messages"):
            rows = yield from Read(backend, backend.messages.rows(scope, sorted(places), now))
    yield from OffLoop(is_large_body(rows.values()))
    found = FoundMessages()
    for at, score in ranked:
        row = rows.get(_place(entries[at]))
        if row is not None:
            near = [rows[place] for one in neighbours[at] if (place := _place(entries[one])) in rows]
            told = described(codec, row, entries[at].session_id, scope.user_id)
            messages = [message_in(codec, one, entries[at].session_id) for one in near] if around else []
            found.append(FoundMessage(**told, score=score, around=messages))
    return found


def is_large_body(rows: Iterable[MessageRow]) -> bool:
    """Whether to decode messages takes so long that an event loop must not wait for it."""
    return is_large([row.body.data for row in rows])


def _types_of(role: Any) -> frozenset[str] | None:
    """The types of messages that a role stands for, chunks among them; None for any.

    Raises:
        InvalidTypeError: It is not a string.
        InvalidInputError: It is no role that LangChain knows.
    """
    if role is None:
        return None
    if not isinstance(role, str):
        msg = f"role must be a string, got {type(role).__name__}: {shown(role)}."
        raise InvalidTypeError(msg)
    if role not in ROLES:
        meant = _OTHER_NAMES.get(role)
        hint = "" if meant is None else f" LangChain calls it {meant!r}."
        msg = f"role {shown(role)} is not known.{hint} Known roles are {', '.join(ROLES)}."
        raise InvalidInputError(msg)
    return ROLES[role]


def _bound(what: str, moment: datetime | None) -> float:
    if moment is None:
        return -math.inf if what == "since" else math.inf
    if not isinstance(moment, datetime):
        msg = f"{what} must be a datetime, got {type(moment).__name__}: {shown(moment)}."
        raise InvalidTypeError(msg)
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def without_common_words(query: str, texts: Sequence[bytes], language: str) -> str:
    """A query without the words that stand in so many texts that they tell none from another; whole if nothing is left.

    Args:
        query: The query.
        texts: The texts, as `langchain_agentmem.text.words.analyze` knows them.
        language: Their language.
    """
    if len(texts) < _FEW:
        return query
    asked = {word: numbers_of(word, language) for word in query.split()}
    found = frequencies(texts, (number for numbers in asked.values() for number in numbers))
    most = COMMON_SHARE * len(texts)
    kept = [word for word, numbers in asked.items() if not numbers or any(found[number] <= most for number in numbers)]
    return " ".join(kept) or query


def _rank(
    entries: Sequence[IndexEntry], words: Sequence[bytes], query: str, vector: bytes | None, language: str
) -> Iterator[tuple[int, float]]:
    """The places of entries with their scores, best first."""
    import numpy as np

    texts = []
    first, session_id = 0, None
    for at, entry in enumerate(entries):
        if entry.session_id != session_id:
            first, session_id = at, entry.session_id
        before = words[max(first, at - CONTEXT) : at]
        texts.append(b"".join((*before, words[at] * OWN, _date_words(entry.created_at // 86400, language))))
    answers = [score or None for score in scores(texts, terms(query, language), language)]
    dense = similarities_to([entry.vector for entry in entries], vector)
    found = [at for at in range(len(entries)) if answers[at] is not None or dense[at] is not None]
    total = combined([answers[at] for at in found], [dense[at] for at in found])
    # Equal scores: the newer one first.
    order = np.lexsort((found, [entries[at].created_at for at in found], total))[::-1]
    return ((found[one], total[one]) for one in order.tolist())


def _words_of(entry: IndexEntry, codec: Codec, language: str) -> bytes:
    with reading(f"Message {entry.position} of session {entry.session_id!r}"):
        datetime_of(entry.created_at)
        if entry.words is None:
            return b"" if entry.body is None else analyze(text_of(codec.load_message(entry.body)), language)
        return checked_words(entry.words)


@lru_cache(maxsize=10_000)
def _date_words(day: float, language: str) -> bytes:
    date = datetime_of(day * 86400)
    return analyze(f"{date.day} {MONTHS[date.month - 1]} {date.year}", language)


def _around(entries: Sequence[IndexEntry], at: int, size: int) -> list[int]:
    session_id = entries[at].session_id
    near = range(max(0, at - size), min(len(entries), at + size + 1))
    return [one for one in near if entries[one].session_id == session_id]


def _place(entry: IndexEntry) -> Place:
    return entry.session_id, entry.position


def embed_messages(indexer: Indexer | None, messages: Sequence[BaseMessage]) -> Program[Embedded]:
    """The vectors of messages, in one call to the model.

    None for those without text. None for all when the model fails, or is another than that of the stored vectors: a turn of
    a conversation is stored whatever happens to its vectors.

    Raises:
        InvalidVectorsError: The model returned something else than one vector for each text, or other dimensions.
    """
    texts = told(messages)
    if indexer is None or not texts:
        return Embedded()
    try:
        return (yield from indexer.documents(texts))
    except InvalidVectorsError:
        raise
    except ConfigurationError as error:
        _log.warning("%d messages are stored without vectors. %s", len(texts), error)
        return Embedded()


def renew_messages(
    backend: Backend,
    indexer: Indexer | None,
    stored: Sequence[LoggedMessage],
    messages: Sequence[BaseMessage],
    embedded: Embedded,
) -> Program[None]:
    """Give messages that were just stored other vectors, or none, when `reindex` did not wait for them.

    Args:
        backend: Where they are.
        indexer: What embeds them.
        stored: The messages as they are stored.
        messages: The messages themselves.
        embedded: What was stored of them.
    """
    while indexer is not None:
        renewed = yield from indexer.renewed(told(messages), embedded)
        if renewed is None:
            return
        embedded = renewed
        rows = [
            LoggedMessage(key, row._replace(vector=embedded.vectors.get(text_of(message))))
            for (key, row), message in zip(stored, messages, strict=True)
        ]
        yield from Write(backend, backend.messages.embed(rows[0].key.tenant, rows))


def told(messages: Sequence[BaseMessage]) -> list[str]:
    """What is embedded of messages."""
    return [text for text in map(text_of, messages) if text.strip()]
