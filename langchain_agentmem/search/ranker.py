"""The ranking of texts by words and vectors: the same for messages and items, on every backend.

1. Words: BM25. The count of a word is divided by the length of the text that contains it. A message also has words of the two
   messages before it and the two after it, and of its date, with less weight; long messages take less.
2. Vectors: the cosine similarity, averaged with that of the messages before and after. A text scores by how many standard
   deviations it is more similar than the average text. Items of a store have no neighbours. What they have in common does not
   count: the similarity of an item to the average item is subtracted.
3. The score is the sum of both. Vectors count as far as they can be trusted (`langchain_agentmem.search.trust`).
4. Messages by another speaker than one that the query names lose a part of their score. Texts that contain all words of the
   query in order, with stop words only between them, come first.

`docs/search.md` has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_agentmem.search.corpus import Corpus, products
from langchain_agentmem.search.queries import Query
from langchain_agentmem.search.statistics import Statistics
from langchain_agentmem.search.trust import trust_in
from langchain_agentmem.search.weights import (
    AFTER,
    ASKS,
    AVERAGE,
    BEFORE,
    DATE,
    DEVIATION,
    EXACT,
    ITEMS,
    LEAST_DEVIATION,
    LEAST_TRUST,
    MAX_WORDS,
    MESSAGES,
    OTHER_SPEAKER,
    TIMED,
    rarity_of,
)
from langchain_agentmem.text.words import number_of, numbers_of, without_endings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905
"""English names of the months. They do not depend on the locale of the process."""

_DECIMALS = 5
"""Scores are rounded to this many decimals: those of equal texts may differ in the last digits."""

_SIMILARITY_DECIMALS = 6

_COMMON = 32
"""A word that one text of this number contains is common: it is faster to go through all rows in order."""

_YEAR_DIGITS = 4
_AI = "ai"


class Hit(NamedTuple):
    """A text that a search found."""

    row: int
    """The row of the corpus."""
    score: float
    """Relevance, from 0 to 1. Scores are comparable within one result only."""
    similarity: float | None
    """The cosine similarity to the query; None if the query or the text has no vector."""
    matched: list[str]
    """The words of the query that the text contains, as the query writes them, in lower case."""


class Ranker:
    """Ranks the texts of a corpus for one query.

    Args:
        corpus: The texts.
        query: The query.
        items: If true, the texts are items of a store: they have no neighbours, and their dates say nothing. Default: False.
    """

    def __init__(self, corpus: Corpus, query: Query, *, items: bool = False) -> None:
        self._corpus = corpus
        self._query = query
        self._weights = ITEMS if items else MESSAGES
        self._are_items = items
        self._statistics = Statistics.of(corpus)
        self._size, self._speakers = self._statistics.size, self._statistics.speakers

    def text_to_embed(self) -> str:
        """Return the query without names of speakers, because each message of a speaker begins with the name.

        If the query has no other words, all of it is returned.
        """
        text, language = self._query.text, self._query.language
        if not self._speakers:
            return text
        words = ((word, numbers_of(without_endings(word), language)) for word in text.split())
        kept = [word for word, numbers in words if not numbers or not self._speakers.issuperset(numbers)]
        return " ".join(kept) or text

    def weights(self) -> dict[int, float]:
        """Return the weights of the query's words, by word number: how rare each is."""
        return {number: rarity_of(self._size, holders) for holders, number, _, _ in self._wanted}

    def best(
        self,
        vector: bytes | None,
        k: int,
        accepted: NDArray[np.bool_] | None = None,
        min_similarity: float | None = None,
    ) -> list[Hit]:
        """Return the best texts, best first. Of equal scores the newer text comes first.

        Args:
            vector: The vector of the query, as `unit` returns it; None to rank by words only.
            k: The maximum number of texts.
            accepted: True for the rows that may be returned; None for all.
            min_similarity: Only texts whose cosine similarity is at least this. Default: None (all).
        """
        import numpy as np

        words = self._lexical()
        similarity = None if vector is None else self._similarities(vector)
        score, weight = words, 1.0
        if similarity is not None:
            trust = self._weights.dense * max(LEAST_TRUST, self._corpus.trust(trust_in))
            compared = similarity - self._statistics.common if self._are_items else similarity
            # If no text contains a word of the query, the vectors alone make up the score.
            score, weight = self._dense(compared), float(words.any()) + trust
            score *= np.float32(trust)
            score += words
        score = self._with_speakers(score)
        score *= np.float32(1 / weight)
        np.clip(score, 0, 1, out=score)
        holders = self._phrase_holders()
        if len(holders):
            exact = score[holders]
            score *= np.float32(EXACT)
            score[holders] = EXACT + (1 - EXACT) * exact
        for left_out in self._left_out(words, similarity, accepted, min_similarity):
            score[left_out] = -1
        return [self._hit(row, score, similarity) for row in self._first(score, k)]

    def _left_out(
        self,
        words: NDArray[np.float32],
        similarity: NDArray[np.float32] | None,
        accepted: NDArray[np.bool_] | None,
        min_similarity: float | None,
    ) -> Iterator[NDArray[np.bool_]]:
        """Yield what the search does not find: true for each of these rows."""
        import numpy as np

        if similarity is None:
            yield (words == 0) | ~self._corpus.alive
        elif self._statistics.has_vector is not None:
            yield ~self._corpus.alive | ((words == 0) & np.isnan(similarity))
        if accepted is not None:
            yield ~accepted
        if min_similarity is not None:
            yield np.ones(len(words), dtype=np.bool_) if similarity is None else ~(similarity >= min_similarity)

    # Words

    def _lexical(self) -> NDArray[np.float32]:
        """Return the word scores: BM25 over the words of a text, those near it and those of its date. The best is 1."""
        import numpy as np

        size, known, k1 = self._corpus.size, self._statistics, self._weights.k1
        norms = known.norms_of(self._weights.b)
        score, found, scratch = np.zeros((3, size), dtype=np.float32)
        for holders, number, rows, counts in self._wanted:
            weight = np.float32(rarity_of(self._size, holders) * (k1 + 1))
            often = counts.astype(np.float32) / norms[rows]
            dated = self._dated(number)
            if len(rows) * _COMMON > size:
                total = known.with_context(rows, often)
                if dated is not None:
                    total[dated] += np.float32(DATE)
                np.add(total, np.float32(k1), out=scratch)
                total /= scratch
                total *= weight
                score += total
                continue
            found[rows] = often
            touched: list[NDArray[np.integer[Any]]] = [rows]
            for at, lent in self._lent(rows, often):
                found[at] += lent * known.borrows[at]
                touched.append(at)
            if dated is not None:
                found[dated] += np.float32(DATE)
                touched.append(dated)
            # A row that is touched twice gets the same sum twice: it is assigned, not added.
            every = np.concatenate(touched)
            total = found[every]
            score[every] += weight * (total / (total + np.float32(k1)))
            found[every] = 0
        score[known.empty] = 0  # a text without words is not found by those near it
        if self._speakers:
            score[known.asking] *= np.float32(1 - ASKS)
        if self._query.asks_when:
            score[known.timed] *= np.float32(1 + TIMED)
        highest = score.max(initial=0.0)
        if highest > 0:
            score /= highest
        return score

    @cached_property
    def _wanted(self) -> list[tuple[int, int, NDArray[np.int32], NDArray[np.int32]]]:
        """The rarest words of the query: how many texts contain each, its number, the rows, and how often."""
        found = []
        for number, (rows, counts) in self._occurrences.items():
            found.append((len(rows), number, rows, counts))
        return sorted(found, key=lambda one: one[:2])[:MAX_WORDS]

    @cached_property
    def _occurrences(self) -> dict[int, tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """The rows that contain each word of the query, and how often."""
        return {number: self._alive(*self._corpus.occurrences(number)) for number in self._query.numbers}

    def _alive(self, rows: NDArray[np.int32], counts: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        kept = self._corpus.alive[rows]
        return (rows, counts) if kept.all() else (rows[kept], counts[kept])

    def _lent(
        self, rows: NDArray[np.int32], often: NDArray[np.float32]
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Yield the rows near the given ones, and how much a word in the given rows counts for them."""
        import numpy as np

        for links, weights in ((self._corpus.following, BEFORE), (self._corpus.previous, AFTER)):
            at, lent = rows, often
            for weight in weights:
                near = links[at]
                exists = near >= 0
                at, lent = near[exists], lent[exists]
                yield at, np.float32(weight) * lent

    def _dated(self, number: int) -> NDArray[np.int64] | None:
        """Return the rows whose date has a word; None if no date has it."""
        import numpy as np

        part = (_date_words(self._query.language).get(number) or self._year(number)) if not self._are_items else None
        if part is None:
            return None
        kind, value = part
        rows: NDArray[np.int64] = np.flatnonzero((self._statistics.dates[kind] == value) & self._corpus.alive)
        return rows

    def _year(self, number: int) -> tuple[str, int] | None:
        words = (word for word, numbers in self._query.words if numbers == (number,))
        return next((("year", int(word)) for word in words if word.isdecimal() and len(word) <= _YEAR_DIGITS), None)

    # Vectors

    def _similarities(self, vector: bytes) -> NDArray[np.float32] | None:
        """Return the similarity of each text to the query; NaN for texts without vector. None if no text has one."""
        import numpy as np

        corpus = self._corpus
        query = np.frombuffer(vector, dtype="<f4")
        if corpus.vectors is None or corpus.vectors.shape[1] != len(query):
            return None
        found = products(corpus, query)
        has_vector = self._statistics.has_vector
        if has_vector is not None:
            found[~has_vector] = np.nan
        return found

    def _dense(self, similarity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the vector scores: how much more similar than the average a text is, with its neighbours if both are short.

        A text without vector is as similar as the average.
        """
        import numpy as np

        has_vector = self._statistics.has_vector
        if has_vector is None:
            known = similar = self._statistics.smoothed(similarity)
        else:
            similar = self._statistics.smoothed(np.where(has_vector, similarity, np.float32(0)))
            known = similar[has_vector]
        if not len(known):
            return np.full(len(similarity), AVERAGE, dtype=np.float32)
        mean = known.mean(dtype=np.float64)
        dense = similar - np.float32(mean)
        spread = dense if has_vector is None else dense[has_vector]
        deviation = max(math.sqrt(float(np.square(spread).mean(dtype=np.float64))), LEAST_DEVIATION)
        dense *= np.float32(1 / (deviation * DEVIATION))
        dense += np.float32(AVERAGE)
        if has_vector is not None:
            dense[~has_vector] = AVERAGE
        return np.clip(dense, 0, 1, out=dense)

    # Speakers and phrases

    def _with_speakers(self, score: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reduce the scores of messages by another speaker than one that the query names.

        The speaker of an answer without a name is its agent.
        """
        import numpy as np

        corpus, wanted = self._corpus, frozenset(self._query.sequence)
        named = self._speakers & wanted
        agents = [
            name is not None and wanted.issuperset(numbers_of(name, self._query.language)) for name in corpus.agents
        ]
        if named:
            others = np.array(sorted(self._speakers - named), dtype=np.uint32)
            score[np.isin(corpus.speaker, others)] *= np.float32(1 - OTHER_SPEAKER)
        if any(agents) and _AI in corpus.roles:
            has_agent = np.array([name is not None for name in corpus.agents])[corpus.agent]
            is_answer = (corpus.role == list(corpus.roles).index(_AI)) & (corpus.speaker == 0) & has_agent
            score[is_answer & ~np.array(agents)[corpus.agent]] *= np.float32(1 - OTHER_SPEAKER)
        return score

    def _phrase_holders(self) -> NDArray[np.int32]:
        """Return the rows that contain the words of the query in order, with nothing but stop words between them."""
        import numpy as np

        corpus, sequence = self._corpus, self._query.sequence
        holders = [rows for rows, _ in self._occurrences.values()]
        if not holders:
            return np.array([], dtype=np.int32)
        rows, *others = sorted(holders, key=len)
        for other in others:
            if not len(rows):
                break
            rows = rows[other[np.searchsorted(other, rows).clip(0, len(other) - 1)] == rows] if len(other) else rows[:0]
        if len(sequence) == 1 or not len(rows):
            return rows
        texts = [corpus.words(row) for row in rows.tolist()]
        numbers = np.concatenate(texts)
        of_row = np.repeat(rows, [len(text) for text in texts])
        ignored = self._query.ignored()
        if ignored:
            different, which = np.unique(numbers, return_inverse=True)
            kept = np.array([number not in ignored for number in different.tolist()], dtype=np.bool_)[which]
            numbers, of_row = numbers[kept], of_row[kept]
        count = len(numbers) - len(sequence) + 1
        if count <= 0:
            return rows[:0]
        begins = of_row[:count] == of_row[len(sequence) - 1 :]
        for at, number in enumerate(sequence):
            begins &= numbers[at : at + count] == number
        return np.unique(of_row[:count][begins])

    # Results

    def _first(self, score: NDArray[np.float32], k: int) -> list[int]:
        """Return the rows with the highest scores, best first, without those whose score is negative."""
        import numpy as np

        corpus, least = self._corpus, 0.0
        if k == 0:
            return []
        if len(score) > k:
            least = max(0.0, float(np.partition(score, len(score) - k)[len(score) - k]) - 10**-_DECIMALS)
        rows = np.flatnonzero(score >= np.float32(least))
        keys = zip(
            np.round(score[rows].astype(np.float64), _DECIMALS).tolist(),
            corpus.created_at[rows].tolist(),
            corpus.position[rows].tolist(),
            [corpus.session_ids[at] for at in corpus.session[rows].tolist()],
            rows.tolist(),
            strict=True,
        )
        return [row for *_, row in sorted(keys, reverse=True)[:k]]

    def _hit(self, row: int, score: NDArray[np.float32], similarity: NDArray[np.float32] | None) -> Hit:
        similar = None if similarity is None else float(similarity[row])
        return Hit(
            row,
            round(float(score[row]), _DECIMALS),
            None
            if similar is None or math.isnan(similar)
            else round(min(max(similar, -1.0), 1.0), _SIMILARITY_DECIMALS),
            self._query.matched(frozenset(self._corpus.words(row).tolist())),
        )


@cache
def _date_words(language: str) -> dict[int, tuple[str, int]]:
    """Return the part of a date that each word number is: a day of the month, or a month."""
    months = {number: ("month", at) for at, name in enumerate(MONTHS, 1) for number in numbers_of(name, language)}
    return {**months, **{number_of(str(day)): ("day", day) for day in range(1, 32)}}
