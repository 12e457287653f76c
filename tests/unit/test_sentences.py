"""Summaries without a model."""

from __future__ import annotations

from collections import Counter

import pytest

from langchain_agentmem.compression.sentences import select_sentences, split_sentences
from langchain_agentmem.search.ranking import terms
from langchain_agentmem.text.words import words_of


def test_no_text_is_lost_between_sentences():
    text = "我们星期五见面。OK then. 预算是九百。Hello"
    assert split_sentences(text) == ["我们星期五见面。", "OK then.", "预算是九百。", "Hello"]
    assert select_sentences([text], lambda summary: True).replace("\n", "") == text.replace(" 预", "预")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two!? Three", ["One.", "Two!?", "Three"]),
        ("a line\nanother\n\nlast", ["a line", "another", "last"]),
        ("「はい。」と言った。次。", ["「はい。", "」と言った。", "次。"]),
        ("...", []),
    ],
    ids=["marks", "lines", "quotes", "nothing"],
)
def test_splitting_into_sentences(text, sentences):
    assert split_sentences(text) == sentences


def test_who_speaks_does_not_count_as_a_word():
    plain = ["Rome costs much.", "Nine hundred euros is what Rome costs.", "Human nature.", "The tool looked Rome up."]
    speakers = ["human", "ai", "human", "tool look"]
    marked = [f"{speaker}: {text}" for speaker, text in zip(speakers, plain, strict=True)]
    for lines in (1, 2, 3):
        chosen = select_sentences(plain, lambda summary, lines=lines: summary.count("\n") < lines).split("\n")
        found = select_sentences(marked, lambda summary, lines=lines: summary.count("\n") < lines).split("\n")
        assert [line.partition(": ")[2] for line in found] == chosen


def test_the_best_sentence_is_chosen_each_time():
    """As SumBasic says, done the long way."""
    texts = [f"The {'budget' if at % 3 else 'plan'} of project {at % 7} is number {at}." for at in range(60)]
    words = [words_of(" ".join(terms(text))) for text in texts]
    counts = Counter(word for one in words for word in one)
    probability = {word: count / sum(counts.values()) for word, count in counts.items()}
    taken: list[int] = []
    while len(taken) < 20:
        left = [at for at in range(len(texts)) if at not in taken]
        best = max(left, key=lambda at: sum(probability[word] for word in words[at]) / max(len(words[at]), 4))
        taken.append(best)
        for word in set(words[best]):
            probability[word] **= 2
    assert select_sentences(texts, lambda summary: summary.count("\n") < 20) == "\n".join(
        texts[at] for at in sorted(taken)
    )


def test_neither_long_texts_nor_many_take_long():
    # Each of these takes many times as long as a test may, where the time grows with the square of the length.
    assert split_sentences("a" * 2_000_000 + "。b")[1] == "b"
    assert len(split_sentences("." * 1_000_000 + "b")) == 1
    texts = [f"Message {at} is about subject {at % 1_000}." for at in range(5_000)]
    assert select_sentences(texts, lambda summary: summary.count("\n") < 200)
