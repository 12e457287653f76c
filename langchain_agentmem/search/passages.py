"""The part of a long text that matches a query."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from langchain_agentmem.search.weights import K1
from langchain_agentmem.text.words import ENGLISH, numbers_of

PASSAGE_WORDS = 75
"""The number of words of a passage, about. A single longer sentence is divided."""

_SHORT_CHARACTERS = 300
"""A text of at most this number of characters is one passage."""

_SENTENCES = re.compile(r"\S.*?(?:[.!?\u061f\u0964](?=\s)|[\u3002\uff01\uff1f]|(?=\n)|$)", re.DOTALL)


def passage_of(text: str, weights: Mapping[int, float], language: str = ENGLISH) -> str | None:
    """Return the passage of a text that matches a query best: some sentences of about `PASSAGE_WORDS` words.

    Args:
        text: The text.
        weights: The weights of the query's words, by word number.
        language: The language of the stemmer. Default: `"english"`.

    Returns:
        A part of the text, or a short text as it is. None if no word of the query is in the text.

    Example:
        >>> from langchain_agentmem.search.passages import passage_of
        >>> from langchain_agentmem.text.words import number_of
        >>> passage_of("It rained. " * 60 + "We saw an owl.", {number_of("owl"): 1.0})[-14:]
        'We saw an owl.'
    """
    if len(text) <= _SHORT_CHARACTERS:
        return text.strip() if any(number in weights for number in numbers_of(text, language)) else None
    best, highest = None, 0.0
    for start, end, numbers in _passages(text, language):
        counts = Counter(number for number in numbers if number in weights)
        score = sum(weights[number] * often * (K1 + 1) / (often + K1) for number, often in counts.items())
        if score > highest:
            best, highest = text[start:end], score
    return best


def _passages(text: str, language: str) -> Iterable[tuple[int, int, list[int]]]:
    """Divide a text into passages: the start, the end and the word numbers of each."""
    start, end, numbers = 0, 0, list[int]()
    for first, last in _parts(text):
        own = numbers_of(text[first:last], language)
        if numbers and len(numbers) + len(own) > PASSAGE_WORDS:
            yield start, end, numbers
            numbers = []
        start, end = (start, last) if numbers else (first, last)
        numbers = numbers + own
    if numbers:
        yield start, end, numbers


def _parts(text: str) -> Iterable[tuple[int, int]]:
    """Divide a text into sentences, and long sentences at spaces."""
    for sentence in _SENTENCES.finditer(text):
        words = [word.start() for word in re.finditer(r"\S+", sentence[0])]
        edges = [sentence.start() + at for at in words[::PASSAGE_WORDS]]
        for first, following in zip(edges, [*edges[1:], sentence.end()], strict=True):
            yield first, first + len(text[first:following].rstrip())
