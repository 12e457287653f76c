"""Query analysis and score fusion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_agentmem.backends.contract import Candidate
from langchain_agentmem.search.ranking import MAX_TERMS, STOP_WORDS, rank, stop_words, terms

score = st.none() | st.floats(0.001, 50) | st.integers(1, 3).map(float)
# Similarities are ranked by six decimals.
similarity = st.none() | st.floats(-1, 1).map(lambda value: round(value, 6)) | st.sampled_from([-1.0, 0.0, 0.5, 1.0])
candidates = st.lists(st.tuples(score, similarity), max_size=20).map(
    lambda pairs: [Candidate(n, lexical, dense) for n, (lexical, dense) in enumerate(pairs)]
)


def by_words(found: list[Candidate], one: Candidate) -> float:
    """A candidate's share of the best lexical score."""
    return 0.0 if one.lexical is None else one.lexical / max(other.lexical or 0 for other in found)


def by_meaning(found: list[Candidate], one: Candidate) -> float:
    """Where a candidate's similarity lies between the lowest and the highest."""
    known = [other.dense for other in found if other.dense is not None]
    if one.dense is None:
        return 0.0
    low, high = min(known) if len(known) == len(found) else min(0.0, *known), max(known)
    return float(high > 0) if high == low else (one.dense - low) / (high - low)


def expected_score(found: list[Candidate], one: Candidate) -> float:
    if all(other.lexical is None for other in found):
        return 0.5 if one.dense is None else (1 + one.dense) / 2
    if all(other.dense is None for other in found):
        return by_words(found, one)
    return (by_words(found, one) + by_meaning(found, one)) / 2


@given(candidates)
def test_every_candidate_gets_one_score_from_both_halves_and_the_best_come_first(found):
    ranked = rank(found)
    assert dict(ranked) == pytest.approx({one.id: expected_score(found, one) for one in found})
    assert len(ranked) == len(found)
    scores = [value for _, value in ranked]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("similarity", "score"), [(1.0000001, 1.0), (-1.0000001, 0.0)])
def test_a_similarity_that_rounding_put_out_of_its_bounds_scores_at_the_bound(similarity, score):
    assert rank([Candidate(1, None, similarity)]) == [(1, score)]


@given(candidates)
def test_being_at_least_as_good_in_both_halves_never_ranks_lower(found):
    ranked = dict(rank(found))
    for one in found:
        for other in found:
            comparable = one.dense is not None and other.dense is not None
            if comparable and one.dense >= other.dense and (one.lexical or 0) >= (other.lexical or 0):
                assert ranked[one.id] >= ranked[other.id]


@given(candidates)
def test_the_order_does_not_depend_on_the_order_of_the_candidates(found):
    assert rank(found) == rank(list(reversed(found)))


def test_nothing_ranks_to_nothing():
    assert rank([]) == []


def test_equal_scores_put_the_newer_first():
    assert rank([Candidate(1, 2.0, None), Candidate(3, 2.0, None), Candidate(2, 2.0, None)]) == [
        (3, 1.0),
        (2, 1.0),
        (1, 1.0),
    ]


def test_words_alone_are_scored_against_the_best():
    assert rank([Candidate(1, 1.0, None), Candidate(2, 4.0, None)]) == [(2, 1.0), (1, 0.25)]


def test_meaning_alone_is_scored_by_similarity():
    assert rank([Candidate(1, None, -1.0), Candidate(2, None, 1.0), Candidate(3, None, 0.0)]) == [
        (2, 1.0),
        (3, 0.5),
        (1, 0.0),
    ]


def test_words_and_meaning_count_the_same():
    found = [Candidate(1, 4.0, 0.9), Candidate(2, None, 0.9), Candidate(3, 4.0, 0.1), Candidate(4, None, 0.1)]
    assert rank(found) == [(1, 1.0), (3, 0.5), (2, 0.5), (4, 0.0)]


def test_what_only_one_half_found_is_kept():
    assert rank([Candidate(1, 2.0, None), Candidate(2, None, 0.3)]) == [(2, 0.5), (1, 0.5)]
    assert rank([Candidate(1, 2.0, None), Candidate(2, None, -0.3)]) == [(1, 0.5), (2, 0.0)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("What does Alice like to eat?", ["alice", "eat"]),
        ("pizza Pizza PIZZA", ["pizza"]),
        ("the of and", ["the", "of", "and"]),
        ("not", ["not"]),
        ("", []),
        ("I{_", ["i"]),
        ("__", []),
        ("snake_case __init__", ["snake_case", "__init__"]),
        (" \t\n", []),
        ("?!*\"'()", []),
        ("a-b:c*", ["b", "c"]),
        ("naïve Café", ["naïve", "café"]),
        ("東京 2026", ["東京", "2026"]),
        ("alice@example.com", ["alice", "example", "com"]),
        ('"quoted phrase"', ["quoted", "phrase"]),
        ("x" * 5000, ["x" * 5000]),
    ],
)
def test_the_terms_of_a_query(query, expected):
    assert terms(query) == expected


@given(st.text())
def test_no_query_yields_more_terms_than_the_limit_or_anything_but_words(query):
    found = terms(query)
    assert len(found) <= MAX_TERMS
    assert len(set(found)) == len(found)
    for term in found:
        assert term
        assert not set(term) & set("\"*():^-+{}' \x00")


def test_a_long_query_is_cut_after_its_first_terms():
    words = [f"word{n}" for n in range(200)]
    assert terms(" ".join(words)) == words[:MAX_TERMS]


def test_stop_words_are_lower_case_words():
    assert all(word == word.lower() and word.isalpha() for word in STOP_WORDS)


def test_a_querys_stop_words_are_those_of_its_language():
    assert terms("Wo ist der Hund?", "german") == ["hund"]
    assert terms("What does the dog like?", "german") == ["what", "does", "the", "dog", "like"]
    assert terms("Qu'est-ce qu'il mange ?", "french") == ["mange"]
    assert terms("que con las de", "spanish") == ["que", "con", "las", "de"]  # there is nothing else
    assert terms("the tamil", "tamil") == ["the", "tamil"]
    assert stop_words("dutch_porter") == stop_words("dutch")
    assert stop_words("porter") == STOP_WORDS


SPOKEN = "danish dutch finnish french german hungarian italian norwegian portuguese russian spanish swedish turkish"


@pytest.mark.parametrize("language", SPOKEN.split())
def test_stop_words_are_left_out_unless_there_is_nothing_else(language):
    words = [word for word in stop_words(language) if word.isalpha()]
    assert 50 < len(words) < 350
    for word in words:
        assert terms(f"{word} xyz", language) == ["xyz"]
        assert terms(word, language) == [word]
