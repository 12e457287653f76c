"""The ranking of texts, computed for every text in float64: what the results of `Ranker` are compared with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from langchain_agentmem.backends.contract import Backend, Changes
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.search import weights
from langchain_agentmem.search.corpora import with_words
from langchain_agentmem.search.corpus import BuiltCorpus, Corpus, Text
from langchain_agentmem.search.queries import Query
from langchain_agentmem.search.ranker import MONTHS
from langchain_agentmem.search.trust import trust_in
from langchain_agentmem.text.words import number_of, numbers_of

Floats = NDArray[np.float64]


def corpus_of(
    backend: Backend, user_id: str | None, session_id: str | None = None, agent: str | None = None, *, now: float = 0.0
) -> BuiltCorpus:
    """The messages of a user, read as by a new process."""
    changes = backend.read(backend.messages.changes("default", user_id, session_id, None, vectors=True))
    return BuiltCorpus(texts_in(changes, backend.language, agent, now))


def texts_in(changes: Changes, language: str, agent: str | None, now: float) -> Iterator[Text]:
    """The messages in changes since nothing."""
    from langchain_agentmem.backends.contract.changes import unpacked

    rows = unpacked(with_words(changes, Codec(), language).entries)
    for one in changes.sessions:
        expires_at = one.version.expires_at
        for _ in range(one.size):
            position, role, author, time, words, vector, _ = next(rows)
            if agent in (None, author) and (expires_at is None or expires_at > now):
                yield Text(one.session_id, position, words or b"", time, role, author, (vector,) if vector else ())


def scores(corpus: Corpus, query: Query, vector: bytes | None, *, dates: bool = True) -> Floats:
    """The score of each text; NaN for those that the query does not find."""
    words = _words(corpus, query, dates)
    highest = words.max(initial=0.0)
    words = words / highest if highest else words
    found, total, weight = words > 0, words, 1.0
    if vector is not None and corpus.vectors is not None:
        similarity = _similarities(corpus, vector)
        trust = max(weights.LEAST_TRUST, trust_in(corpus))
        total = words + weights.DENSE * trust * _dense(corpus, similarity)
        weight = float(found.any()) + weights.DENSE * trust
        found = found | ~np.isnan(similarity)
    total = (_speakers(corpus, query, total) / weight).clip(0, 1)
    exact = np.array([at for at in _holders(corpus, query) if _has_phrase(corpus.words(at).tolist(), query)], dtype=int)
    exact = np.isin(np.arange(corpus.size), exact) & corpus.alive
    if exact.any():
        total = np.where(exact, weights.EXACT + (1 - weights.EXACT) * total, weights.EXACT * total)
    return np.where(found & corpus.alive, total, np.nan)


def best(corpus: Corpus, query: Query, vector: bytes | None, k: int) -> list[tuple[int, float]]:
    """The best rows with their scores. Of equal scores the newer text comes first."""
    found = scores(corpus, query, vector)
    rows = sorted(
        np.flatnonzero(~np.isnan(found)).tolist(),
        key=lambda row: (
            round(float(found[row]), 5),
            corpus.created_at[row],
            corpus.position[row],
            corpus.session_ids[corpus.session[row]],
        ),
        reverse=True,
    )
    return [(row, float(found[row])) for row in rows[:k]]


def _words(corpus: Corpus, query: Query, dates: bool) -> Floats:
    size, mean = weights.size_and_mean(corpus)
    borrows = np.minimum(1.0, weights.SHORT / np.maximum(corpus.lengths, 1))
    held = []
    for number in query.numbers:
        own = np.zeros(corpus.size)
        rows, counts = corpus.occurrences(number)
        own[rows] = counts / weights.norms(corpus.lengths[rows], mean)
        own[~corpus.alive] = 0
        held.append((int(np.count_nonzero(own)), number, own))
    score = np.zeros(corpus.size)
    for holders, number, own in sorted(held, key=lambda one: one[:2])[: weights.MAX_WORDS]:
        found = own.copy()
        for links, lent in ((corpus.previous, weights.BEFORE), (corpus.following, weights.AFTER)):
            near = own
            for weight in lent:
                near = np.where(links >= 0, near[links], 0.0)
                found += weight * borrows * near
        if dates:
            found[_dated(corpus, query, number)] += weights.DATE
        rarity = weights.rarity_of(size, holders)
        score += rarity * found * (weights.K1 + 1) / (found + weights.K1)
    score[(corpus.lengths == 0) | ~corpus.alive] = 0
    asking = corpus.asks & np.isin(corpus.speaker, list(_frequent(corpus, size)))
    score[asking] *= 1 - weights.ASKS
    if query.asks_when:
        score[corpus.timed] *= 1 + weights.TIMED
    return score


def _dated(corpus: Corpus, query: Query, number: int) -> NDArray[np.bool_]:
    from datetime import UTC, datetime

    days = corpus.kept.get("days")
    if days is None:
        days = corpus.kept["days"] = [datetime.fromtimestamp(time, UTC) for time in corpus.created_at.tolist()]
    if number in {number_of(str(day)) for day in range(1, 32)}:
        return np.array([number == number_of(str(day.day)) for day in days], dtype=bool)
    names = [numbers_of(name, query.language) for name in MONTHS]
    if any(number in one for one in names):
        return np.array([number in names[day.month - 1] for day in days], dtype=bool)
    years = {int(word) for word, numbers in query.words if numbers == (number,) and word.isdecimal() and len(word) <= 4}
    if not years:
        return np.zeros(corpus.size, dtype=bool)
    return np.array([day.year in years for day in days], dtype=bool)


def _similarities(corpus: Corpus, vector: bytes) -> Floats:
    assert corpus.vectors is not None
    found = corpus.vectors.astype(np.float64) @ np.frombuffer(vector, dtype="<f4").astype(np.float64)
    if corpus.owner is not None:
        best_of = np.full(corpus.size, -np.inf)
        np.maximum.at(best_of, corpus.owner, found)
        found = best_of
    return np.where(corpus.has_vector & corpus.alive, found, np.nan)


def _dense(corpus: Corpus, similarity: Floats) -> Floats:
    lacks = np.isnan(similarity)
    own, borrows = np.where(lacks, 0.0, similarity), np.minimum(1.0, weights.SHORT / np.maximum(corpus.lengths, 1))
    total, counted = own.copy(), np.ones(corpus.size)
    for near in (corpus.previous, corpus.following):
        share = weights.SIMILAR * np.minimum(borrows, borrows[near]) * ((near >= 0) & ~lacks & ~lacks[near])
        total += share * own[near]
        counted += share
    similar = total / counted
    known = similar[~lacks]
    mean, deviation = known.mean(), max(known.std(), weights.LEAST_DEVIATION)
    similar[lacks] = mean
    return (weights.AVERAGE + (similar - mean) / (deviation * weights.DEVIATION)).clip(0, 1)


def _frequent(corpus: Corpus, size: int) -> set[int]:
    names, often = np.unique(corpus.speaker[(corpus.speaker != 0) & corpus.alive], return_counts=True)
    return set(names[often >= weights.SPEAKER_SHARE * size].tolist())


def _speakers(corpus: Corpus, query: Query, score: Floats) -> Floats:
    wanted, frequent = set(query.sequence), _frequent(corpus, weights.size_and_mean(corpus)[0])
    agents = [name is not None and wanted.issuperset(numbers_of(name, query.language)) for name in corpus.agents]
    less = np.zeros(corpus.size, dtype=np.int64)
    if frequent & wanted:
        less += np.isin(corpus.speaker, list(frequent - wanted))
    if any(agents):
        for row in range(corpus.size):
            is_answer = corpus.roles[corpus.role[row]] == "ai" and corpus.speaker[row] == 0
            if is_answer and corpus.agents[corpus.agent[row]] is not None and not agents[corpus.agent[row]]:
                less[row] += 1
    return score * (1 - weights.OTHER_SPEAKER) ** less


def _holders(corpus: Corpus, query: Query) -> list[int]:
    """The rows that contain all words of the query."""
    every = [set(corpus.occurrences(number)[0].tolist()) for number in query.numbers]
    return sorted(set.intersection(*every)) if every else []


def _has_phrase(words: list[int], query: Query) -> bool:
    sequence, ignored = list(query.sequence), query.ignored()
    if len(sequence) != 1:
        words = [word for word in words if word not in ignored]
    size = len(sequence)
    return bool(size) and any(words[at : at + size] == sequence for at in range(len(words) - size + 1))
