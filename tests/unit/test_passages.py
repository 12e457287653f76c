"""The part of a long text that matches a query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_agentmem.search.passages import PASSAGE_WORDS, passage_of
from langchain_agentmem.text.words import number_of, numbers_of, words_of

OWL = {number_of("owl"): 2.0, number_of("oak"): 1.0}


def test_the_passage_with_the_rarest_words_is_returned():
    text = "Oak oak. " * 40 + "An owl. " + "Nothing here. " * 60
    assert "An owl." in (passage_of(text, OWL) or "")


def test_a_text_without_words_of_the_query_has_no_passage():
    assert passage_of("Nothing here. " * 60, OWL) is None
    assert passage_of("Nothing", OWL) is None
    assert passage_of("", OWL) is None


@pytest.mark.parametrize("separator", [" ", "\n", "\n\n"])
def test_a_long_sentence_is_divided(separator):
    text = separator.join(["word"] * 300 + ["owl"] + ["word"] * 300)
    passage = passage_of(text, OWL)
    assert passage is not None
    assert len(passage.split()) <= PASSAGE_WORDS
    assert "owl" in passage


def test_text_without_spaces_is_divided_at_its_full_stops():
    text = "雨が降りました。" * 60 + "梟を見ました。" + "雨が降りました。" * 60
    passage = passage_of(text, dict.fromkeys(numbers_of("梟を"), 1.0))
    assert passage is not None
    assert "梟を見ました。" in passage
    assert len(words_of(passage)) <= 2 * PASSAGE_WORDS


@given(st.lists(st.sampled_from(["owl", "oak", "word.", "\n", "。", "日本", "?!"]), max_size=400).map(" ".join))
def test_a_passage_is_a_part_of_the_text_that_contains_a_word(text):
    passage = passage_of(text, OWL)
    has_word = not OWL.keys().isdisjoint(numbers_of(text))
    assert (passage is not None) == has_word
    if passage is not None:
        assert passage in text
        assert not OWL.keys().isdisjoint(numbers_of(passage))
