"""The ranker finds the same as a ranking that computes the score of every text."""

from __future__ import annotations

import random

import exhaustive
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_agentmem.backends.contract.changes import SessionChange, SessionVersion, packed
from langchain_agentmem.search import ranker
from langchain_agentmem.search.growing import GrowingCorpus
from langchain_agentmem.search.queries import Query
from langchain_agentmem.search.ranker import Ranker
from langchain_agentmem.text.marks import analyze_message
from langchain_agentmem.text.vectors import unit

WORDS = ["tea", "coffee", "cats", "dogs", "paris", "rain", "music", "walks", "may", "2024", "8", "lemon", "yesterday?"]
NAMES = ["", "", "Alice: ", "Bob: "]
WIDTH = 6


def text(source, most):
    words = source.choices(WORDS, [1 / (1 + rank) for rank in range(len(WORDS))], k=source.randint(0, most))
    return source.choice(NAMES) + " ".join(words) if words else ""


def vector(source):
    return unit([source.gauss(0, 1) for _ in range(WIDTH)])


def grown(source, size, most):
    """A corpus of several sessions that grew in turns, some of it expired or gone."""
    corpus, following = GrowingCorpus(), {}
    while corpus.size < size:
        name = f"s-{source.randrange(6)}"
        first, count = following.get(name, 0), source.randint(1, 9)
        following[name] = first + count
        rows = [
            (
                at,
                source.choice(["human", "ai"]),
                source.choice([None, "writer", "tea"]),
                1.7e9 + source.randrange(400) * 86_400.0,
                analyze_message(text(source, most)),
                vector(source) if source.random() < 0.95 else None,
                None,
            )
            for at in range(first, first + count)
        ]
        version = SessionVersion(1, first + count, 5.0 if name == "s-5" else None)
        corpus.apply([SessionChange(name, version, first, count)], [], packed(rows))
    corpus.apply([], ["s-4"], packed([]))
    return corpus.view(10.0)


@pytest.mark.parametrize("common", [1, 32, 10**9])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 300), most=st.sampled_from([3, 12, 120]))
def test_the_ranker_finds_the_same_as_a_ranking_of_every_text(common, seed, size, most):
    source = random.Random(seed)
    view = grown(source, size, most)
    query = Query.of(text(source, 6) + source.choice(["", " writer", " when"]))
    wanted = source.choice([None, vector(source)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranker, "_COMMON", common)
        found = Ranker(view, query).best(wanted, 10)
    expected = exhaustive.best(view, query, wanted, 10)
    scores = exhaustive.scores(view, query, wanted)
    assert len(found) == len(expected)
    for hit, (_, score) in zip(found, expected, strict=True):
        assert hit.score == pytest.approx(score, abs=2e-5)
        assert hit.score == pytest.approx(scores[hit.row], abs=2e-5)
