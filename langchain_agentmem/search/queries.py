"""The analysis of a query: its words, and whether it asks for a time."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from langchain_agentmem.search.ranking import stop_words, terms_in_order
from langchain_agentmem.text.words import ENGLISH, has_unspaced, number_of, numbers_of, numbers_of_characters, words_of

ENDINGS = ("s", "t", "ll", "re", "ve", "m", "d")
"""What follows an apostrophe in texts, which is no word: in Bob's, we'll, don't."""

_ASKS_WHEN = re.compile(r"\s*(when|how long|(in )?(what|which) (year|month|date|day))\b", re.IGNORECASE)


@dataclass(frozen=True)
class Query:
    """An analysed query; `Query.of` analyses it."""

    text: str
    language: str
    words: tuple[tuple[str, tuple[int, ...]], ...]
    """Each word that search looks for, in lower case and once, with its word numbers. Text without spaces between words is
    divided into pairs of characters."""
    sequence: tuple[int, ...]
    """The numbers of these words in the order of the query, as often as it contains them."""
    asks_when: bool
    """True if the query asks for a time, in English."""

    @classmethod
    def of(cls, text: str, language: str = ENGLISH) -> Query:
        """Analyse a query.

        Args:
            text: The query. It has no operators.
            language: The language of the stemmer and of the stop words. Default: `"english"`.

        Example:
            >>> from langchain_agentmem.search.queries import Query
            >>> [word for word, numbers in Query.of("When did Bob's dogs run, and run?").words]
            ['bob', 'dogs', 'run']
        """
        found = terms_in_order(text, language)
        numbers = {word: tuple(numbers_of(word, language)) for word in found}
        sequence = tuple(number for word in found for number in numbers[word])
        words = dict(part for word, group in numbers.items() for part in _parts(word, group, language))
        return cls(text, language, tuple(words.items()), sequence, bool(_ASKS_WHEN.match(text)))

    @property
    def numbers(self) -> list[int]:
        """The word numbers, each once."""
        return list(dict.fromkeys(self.sequence))

    def ignored(self) -> frozenset[int]:
        """Return the numbers of words that may be between the query's words in a phrase.

        They are stop words, and the single characters that follow pairs of characters.
        """
        without, wanted = stop_numbers(self.language), frozenset(self.sequence)
        ignored = frozenset[int]() if wanted <= without else without
        if has_unspaced(self.text):
            ignored |= numbers_of_characters()
        return ignored - wanted

    def matched(self, numbers: Collection[int]) -> list[str]:
        """Return the words of the query that a text contains.

        Args:
            numbers: The word numbers of the text.
        """
        return [word for word, group in self.words if all(number in numbers for number in group)]


def _parts(word: str, numbers: tuple[int, ...], language: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return a word with its numbers; the parts of text without spaces between words."""
    if has_unspaced(word):
        return [(part, (number_of(part),)) for part in words_of(word, language)]
    return [(word, numbers)] if numbers else []


@cache
def stop_numbers(language: str) -> frozenset[int]:
    """Return the word numbers of stop words and of contracted endings."""
    words = (*stop_words(language), *ENDINGS)
    return frozenset(number_of(word) for one in words for word in words_of(one, language))
