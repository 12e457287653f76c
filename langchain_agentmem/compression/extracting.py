"""Summaries without a model: the sentences that say most of what is said, in their order.

The method is SumBasic (Nenkova and Vanderwende, "The impact of frequency on summarization", 2005): a sentence is as
good as the words in it are frequent on average; when one is taken, the probabilities of its words are squared, so that
the next says something else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from langchain_agentmem.search.ranking import terms
from langchain_agentmem.text.words import ENGLISH, stemmed

_SENTENCE = re.compile(r"[^\n.!?。！？]+(?:[.!?。！？]+(?=\s|$|[^\x00-\x7f])|[.!?。！？]|\n+)?")
_SPEAKER = re.compile(r"(?:human|ai|system|user|assistant|tool(?: [^\s:]{1,64})?): ")
"""How a line of a transcript begins."""
_FEW = 4
"""Words: a sentence of fewer counts as if it had so many, or greetings would win. This is not in the paper."""
_TRIES = 10
"""So many sentences in a row that do not fit end the search."""
_LONGEST = 400
"""Characters: a longer sentence is cut, so that one cannot take all the room."""


def extract(texts: Sequence[str], fits: Callable[[str], bool], language: str = ENGLISH) -> str:
    """A summary made of the texts' own sentences.

    Args:
        texts: The texts, in their order.
        fits: Says whether a summary is short enough.
        language: Which language they are in. Default: English.

    Example:
        >>> from langchain_agentmem.compression.extracting import extract
        >>> texts = ["The budget is 900 euros.", "Hello!", "Is the budget enough for us?"]
        >>> print(extract(texts, lambda text: len(text) < 60))
        The budget is 900 euros.
        Is the budget enough for us?
    """
    sentences = list(dict.fromkeys(sentence for text in texts for sentence in _sentences(text)))
    words = [_words(sentence, language) for sentence in sentences]
    counts = Counter(word for one in words for word in one)
    total = sum(counts.values()) or 1
    probability = {word: count / total for word, count in counts.items()}
    taken: list[int] = []
    # From the best on. Sentences only get worse, so one whose score is still right is the best that is left.
    left = [(-_score(one, probability), at) for at, one in enumerate(words) if one]
    heapify(left)
    refused = 0
    while left and refused < _TRIES:
        before, best = heappop(left)
        now = -_score(words[best], probability)
        if now > before:
            heappush(left, (now, best))
            continue
        if not fits("\n".join(sentences[at] for at in sorted([*taken, best]))):
            refused += 1
            continue
        refused = 0
        taken.append(best)
        for word in set(words[best]):
            probability[word] **= 2
    return "\n".join(sentences[at] for at in sorted(taken))


def _score(words: Sequence[str], probability: Mapping[str, float]) -> float:
    return sum(probability[word] for word in words) / max(len(words), _FEW)


def _sentences(text: str) -> list[str]:
    return [sentence.strip()[:_LONGEST] for sentence in _SENTENCE.findall(text) if sentence.strip()]


def _words(sentence: str, language: str) -> list[str]:
    return [stemmed(term, language) for term in terms(_said(sentence))]


def _said(sentence: str) -> str:
    """A sentence without the mark of who said it."""
    mark = _SPEAKER.match(sentence)
    return sentence[mark.end() :] if mark else sentence
