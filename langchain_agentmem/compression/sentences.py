"""Summaries without a model: the sentences whose words are the most frequent, in their order.

The method is SumBasic (Nenkova and Vanderwende, "The impact of frequency on summarization", 2005). The score of a sentence is
the mean probability of its words. When a sentence is selected, the probabilities of its words are squared, so that the next
one covers another topic.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from langchain_agentmem.search.ranking import terms
from langchain_agentmem.text.words import ENGLISH, words_of

_SENTENCE = re.compile(r"[^\n.!?。！？]+(?:[.!?。！？]+(?=\s|$|[^\x00-\x7f])|[.!?。！？]|\n+)?")
_SPEAKER = re.compile(r"(?:human|ai|system|user|assistant|tool(?: [^\s:]{1,64})?): ")
"""The beginning of a line in a transcript."""
_MIN_WORDS = 4
"""Shorter sentences are scored as if they had this number of words, or greetings would win. This is not in the paper."""
_MAX_MISSES = 10
"""The search ends after this number of consecutive sentences that do not fit."""
_MAX_CHARACTERS = 400
"""A longer sentence is truncated."""


def select_sentences(texts: Sequence[str], fits: Callable[[str], bool], language: str = ENGLISH) -> str:
    """Return a summary that consists of sentences of the texts.

    Args:
        texts: The texts, in their order.
        fits: Returns true if a summary is short enough.
        language: The language of the texts. Default: English.

    Example:
        >>> from langchain_agentmem.compression.sentences import select_sentences
        >>> texts = ["The budget is 900 euros.", "Hello!", "Is the budget enough for us?"]
        >>> print(select_sentences(texts, lambda text: len(text) < 60))
        The budget is 900 euros.
        Is the budget enough for us?
    """
    sentences = list(dict.fromkeys(sentence for text in texts for sentence in split_sentences(text)))
    words = [_words(sentence, language) for sentence in sentences]
    counts = Counter(word for one in words for word in one)
    total = sum(counts.values()) or 1
    probability = {word: count / total for word, count in counts.items()}
    selected: list[int] = []
    # Scores only decrease. A sentence at the top of the heap whose score is still the same is therefore the best one.
    candidates = [(-_score(one, probability), at) for at, one in enumerate(words) if one]
    heapify(candidates)
    misses = 0
    while candidates and misses < _MAX_MISSES:
        former, best = heappop(candidates)
        current = -_score(words[best], probability)
        if current > former:
            heappush(candidates, (current, best))
            continue
        if not fits("\n".join(sentences[at] for at in sorted([*selected, best]))):
            misses += 1
            continue
        misses = 0
        selected.append(best)
        for word in set(words[best]):
            probability[word] **= 2
    return "\n".join(sentences[at] for at in sorted(selected))


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    return [sentence.strip()[:_MAX_CHARACTERS] for sentence in _SENTENCE.findall(text) if sentence.strip()]


def _score(words: Sequence[str], probability: Mapping[str, float]) -> float:
    return sum(probability[word] for word in words) / max(len(words), _MIN_WORDS)


def _words(sentence: str, language: str) -> list[str]:
    return words_of(" ".join(terms(_without_speaker(sentence))), language)


def _without_speaker(sentence: str) -> str:
    mark = _SPEAKER.match(sentence)
    return sentence[mark.end() :] if mark else sentence
