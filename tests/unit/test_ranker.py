"""The ranking of texts: each rule, and what holds for all texts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_agentmem.search.corpus import BuiltCorpus, Text
from langchain_agentmem.search.queries import Query
from langchain_agentmem.search.ranker import Hit, Ranker
from langchain_agentmem.search.trust import trust_in
from langchain_agentmem.search.weights import EXACT
from langchain_agentmem.text.marks import analyze_message
from langchain_agentmem.text.vectors import unit

DAY = 86_400.0


def message(
    text: str,
    position: int,
    *,
    session: str = "s",
    at: float | None = None,
    vector: Sequence[float] | None = None,
    role: str = "human",
    agent: str | None = None,
) -> Text:
    vectors = () if vector is None else (unit(vector),)
    moment = float(position) if at is None else at
    return Text(session, position, analyze_message(text), moment, role, agent, vectors)


def session(*texts: str) -> list[Text]:
    return [message(text, position) for position, text in enumerate(texts)]


def search(
    texts: Sequence[Text], query: str, vector: Sequence[float] | None = None, k: int = 100, least: float | None = None
) -> list[Hit]:
    ranker = Ranker(BuiltCorpus(texts), Query.of(query))
    return ranker.best(None if vector is None else unit(vector), k, None, least)


def rows(texts: Sequence[Text], query: str, vector: Sequence[float] | None = None) -> list[int]:
    return [hit.row for hit in search(texts, query, vector)]


# Words


def test_a_text_that_repeats_a_word_is_before_one_that_contains_it_once():
    assert rows(session("", "owl tree tree house", "", "", "", "owl owl tree house"), "owl")[:2] == [5, 1]


def test_a_short_text_is_before_a_long_one_with_the_same_word():
    assert rows(session("an owl", *[""] * 5, "an owl and " + "more words " * 30), "owl")[:2] == [0, 6]


def test_a_rare_word_counts_more_than_a_frequent_one():
    texts = [message(text, 0, session=text) for text in ("cat one", "cat two", "cat three", "owl four")]
    assert rows(texts, "owl cat")[0] == 3


def test_messages_near_a_word_are_found_after_the_one_that_contains_it():
    found = search(session("a", "b", "the owl", "c", "d", "e"), "owl")
    assert found[0].row == 2
    assert {hit.row for hit in found} == {0, 1, 2, 3, 4}
    assert [hit.matched for hit in found] == [["owl"], [], [], [], []]


def test_messages_of_another_session_take_no_words():
    texts = [message("the owl", 0, session="a"), message("hello", 1, session="b")]
    assert rows(texts, "owl") == [0]


def test_a_long_message_takes_less_from_its_neighbours():
    def share(words: int) -> float:
        texts = session("the owl sat", " ".join(f"w{n}" for n in range(words)), "", "", "a hut", "yes indeed", "ok")
        scores = {hit.row: hit.score for hit in search(texts, "owl")}
        return scores[1] / scores[0]

    assert share(200) < share(75)


def test_a_message_is_found_by_its_date():
    moment = datetime(2023, 5, 8, 12, tzinfo=UTC).timestamp()
    texts = [message(f"note {n}", 0, session=str(n), at=moment + n * 40 * DAY) for n in range(3)]
    assert rows(texts, "What happened on 8 May 2023?")[0] == 0
    assert rows(texts, "8th")[0] == 0
    assert set(rows(texts, "2023")) == {0, 1, 2}
    assert rows(texts, "1999") == []


def test_a_message_that_speaks_of_a_time_counts_more_if_the_query_asks_when():
    texts = [message(text, 0, session=text) for text in ("the owl came on a tree", "the owl came yesterday again")]
    assert rows(texts, "When came the owl?")[0] == 1


def test_the_rarest_words_of_a_long_query_are_looked_for():
    texts = [message(f"w{n} " * 2, 0, session=str(n)) for n in range(100)]
    texts += [message(" ".join(f"w{n}" for n in range(90)), 0, session=f"copy {copy}") for copy in range(3)]
    query = " ".join([f"w{n}" for n in range(90)] + ["w95"])
    assert 95 in rows(texts, query)


def test_a_message_without_words_is_not_found_by_words():
    assert rows(session("the owl", "", "..."), "owl") == [0]


def test_matched_words_of_text_without_spaces_are_pairs_of_characters():
    (found,) = search(session("私は東京で寿司を食べました"), "東京の寿司は?")
    assert found.matched == ["東京", "寿司"]


# Exact matches


def test_an_exact_match_is_before_messages_near_others():
    texts = session(
        "hello", "order 4712 please", "cancel order 4712", "cancelled 4712", "ok", "cancel it, order it, 4712"
    )
    found = search(texts, "cancel order 4712")
    assert found[0].row == 2
    assert found[0].score > found[1].score


@pytest.mark.parametrize("query", ["Did you cancel the order 4712?", "cancel order 4712", "Cancelled orders: 4712"])
def test_stop_words_and_endings_do_not_matter_in_an_exact_match(query):
    texts = [
        *session("cancel 4712 order 4712", "cancel an order of 4712", "4712 4712", "order cancel"),
        message("x", 9),
    ]
    assert rows(texts, query)[0] == 1


def test_a_query_that_repeats_words_matches_exactly():
    assert rows(session("a knock knock joke", "a joke, knock"), "knock knock joke")[0] == 0


def test_a_query_of_stop_words_matches_exactly():
    assert rows(session("be or not to be", "to be or not to be", "not to be"), "to be or not to be")[0] == 1


def test_text_without_spaces_matches_exactly():
    texts = session("京都と東京", "東京都に行きました", "東京", "都")
    assert rows(texts, "東京都")[0] == 1
    assert rows(session("東京 owl", "大東京 owl tree", "東京 tree owl"), "東京 owl tree")[0] == 1


# Speakers


def test_messages_by_another_speaker_than_the_named_one_count_less():
    texts = session("Ann: I saw the owl", "x", "x", "x", "Bob: I saw the owl", "x", "x", "x", "Ann: hello")
    assert rows(texts, "What owl did Bob see")[0] == 4
    assert rows(texts, "What owl did Ann see")[0] == 0


def test_a_name_that_begins_few_texts_is_not_the_name_of_a_speaker():
    texts = [message("Note: the owl", 0), *(message(f"text {n}", 0, session=str(n)) for n in range(99))]
    ranker = Ranker(BuiltCorpus(texts), Query.of("note the owl"))
    assert ranker.text_to_embed() == "note the owl"


def test_names_of_speakers_are_not_embedded():
    corpus = BuiltCorpus(session("Ann: hello", "Bob: hi"))
    assert Ranker(corpus, Query.of("What did Ann's owl eat, Bob?")).text_to_embed() == "What did owl eat,"
    assert Ranker(corpus, Query.of("Ann Bob")).text_to_embed() == "Ann Bob"


def test_answers_of_another_agent_than_the_named_one_count_less():
    texts = [
        message("the owl is here", 0, role="ai", agent="critic", session="a"),
        message("the owl is here", 0, role="ai", agent="travel planner", session="b"),
    ]
    assert rows(texts, "owl travel planner")[0] == 1
    assert rows(texts, "owl critic")[0] == 0


def test_a_message_that_asks_counts_less_if_it_names_its_speaker():
    def order(*texts: str) -> list[int]:
        return rows([message(text, -at, session=text) for at, text in enumerate(texts)], "owl nest")

    assert order("Ann: an owl x nest?", "Ann: an owl y nest.")[0] == 1


# Vectors


def test_the_most_similar_text_is_first():
    texts = [message(f"t{n}", 0, session=str(n), vector=[1.0, n]) for n in range(5)]
    assert rows(texts, "zeppelin", [1.0, 4.0]) == [4, 3, 2, 1, 0]


def test_the_similarity_of_neighbours_counts():
    near = [message("a", 0, vector=[1, 1]), message("b", 1, vector=[1, 0]), message("c", 2, vector=[1, 0])]
    far = [message("d", 5, session="t", vector=[1, 1]), message("e", 6, session="t", vector=[0, 1])]
    found = search([*near, *far], "zeppelin", [1, 0])
    scores = {hit.row: hit.score for hit in found}
    assert scores[0] > scores[3]
    assert found[0].similarity == 1.0


def test_a_text_without_vector_is_found_by_its_words_only():
    texts = [
        message("the owl", 0, session="a"),
        *(message(f"t{n}", 0, session=str(n), vector=[1, n]) for n in range(3)),
    ]
    assert rows(texts, "owl", [0, 1])[0] == 0
    assert 0 not in rows(texts, "zeppelin", [0, 1])
    assert search(texts, "owl", [0, 1])[0].similarity is None


def test_vectors_of_other_dimensions_are_not_compared():
    texts = [message(f"t{n}", 0, session=str(n), vector=[1, n]) for n in range(3)]
    assert rows(texts, "t1", [1, 0, 0]) == [1]
    mixed = [*texts, message("t9", 0, session="9", vector=[1, 0, 0])]
    assert 3 not in rows(mixed, "zeppelin", [1, 0])


def test_the_most_similar_vector_of_a_text_counts():
    texts = [
        Text("a", 0, b"", 0.0, vectors=(unit([1, 0]), unit([0, 1]))),
        Text("b", 0, b"", 0.0, vectors=(unit([1, 1]),)),
    ]
    found = search(texts, "zeppelin", [0, 1])
    assert [(hit.row, hit.similarity) for hit in found] == [(0, 1.0), (1, pytest.approx(0.707107))]


def test_an_item_that_is_similar_to_all_others_is_behind_the_one_that_differs_as_the_query_does():
    def vector(axis: int, common: float, own: float) -> list[float]:
        return [common, *(own if at == axis else 0.0 for at in range(60))]

    texts = [message(f"word{at}", 0, session=f"item {at:02}", vector=vector(at, 0.6, 0.8)) for at in range(60)]
    texts.append(message("words", 0, session="item of all", vector=vector(0, 1.0, 0.01)))
    query = unit(vector(5, 0.9, 0.4))
    ranker = Ranker(BuiltCorpus(texts, neighbours=False), Query.of("?"), items=True)
    best = ranker.best(query, 2)
    assert [hit.row for hit in best] == [5, 60]
    assert best[0].similarity < best[1].similarity  # the similarity itself stays the cosine


def test_dates_of_items_say_nothing():
    texts = [message("a letter", 0, session="a", at=datetime(2023, 5, 8, tzinfo=UTC).timestamp())]
    assert rows(texts, "May 2023") == [0]
    assert Ranker(BuiltCorpus(texts, neighbours=False), Query.of("May 2023"), items=True).best(None, 5) == []


def test_a_least_similarity_leaves_out_other_texts():
    texts = [
        message("the owl", 0, session="a"),
        *(message(f"t{n}", 0, session=str(n), vector=[1, n]) for n in range(3)),
    ]
    assert [hit.row for hit in search(texts, "owl", [1, 0], least=0.7)] == [1, 2]
    assert search(texts, "owl", None, least=0.7) == []


# Trust


def talk(vectors: Sequence[Sequence[float]]) -> list[Text]:
    return [message(f"w{n}", n, vector=vector) for n, vector in enumerate(vectors)]


def noise(count: int) -> list[list[float]]:
    source = random.Random(1)
    return [[source.gauss(0, 1) for _ in range(16)] for _ in range(count)]


def test_vectors_that_tell_neighbours_from_others_are_trusted():
    topics = noise(20)
    vectors = [[a + 0.3 * b for a, b in zip(topics[n // 10], own, strict=True)] for n, own in enumerate(noise(200))]
    assert trust_in(BuiltCorpus(talk(vectors))) == 1.0


def test_vectors_that_say_nothing_are_not_trusted_and_hurt_no_search():
    texts = talk(noise(200))
    assert trust_in(BuiltCorpus(texts)) == 0.0
    by_words = rows(texts, "w7")
    assert rows(texts, "w7", noise(1)[0])[: len(by_words)] == by_words


def test_few_texts_are_trusted():
    assert trust_in(BuiltCorpus(talk(noise(10)))) == 1.0
    assert trust_in(BuiltCorpus([])) == 1.0


def alone(vectors: Sequence[Sequence[float]]) -> list[Text]:
    """Texts without neighbours: two of each pair share a rare word."""
    pairs = enumerate(vectors)
    return [message(f"w{n // 2} and {n}", 0, session=str(n), vector=vector) for n, vector in pairs]


def test_texts_without_neighbours_are_compared_by_rare_words():
    topics = noise(100)
    vectors = [[a + 0.3 * b for a, b in zip(topics[n // 2], own, strict=True)] for n, own in enumerate(noise(200))]
    assert trust_in(BuiltCorpus(alone(vectors))) == 1.0
    assert trust_in(BuiltCorpus(alone(noise(200)))) == 0.0


# Properties

WORDS = ["owl", "tree", "Ann:", "Bob:", "yesterday", "?", "the", "May", "2023", "東京", "running"]
texts_of_sessions = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join),
        st.none() | st.tuples(*[st.integers(-3, 3)] * 2).filter(any),
    ),
    max_size=12,
).map(
    lambda lines: [
        message(text, at, session=name, vector=vector, at=at // 2 * DAY)
        for at, (name, text, vector) in enumerate(lines)
    ]
)
queries = st.lists(st.sampled_from([*WORDS, "When", "runs"]), max_size=4).map(" ".join)
vectors = st.none() | st.tuples(*[st.integers(-3, 3)] * 2).filter(any)


@given(texts_of_sessions, queries, vectors)
def test_scores_are_in_range_and_fall(texts, query, vector):
    found = search(texts, query, vector)
    scores = [hit.score for hit in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert all(hit.similarity is None or -1 <= hit.similarity <= 1 for hit in found)


@given(texts_of_sessions, queries, vectors, st.randoms())
def test_the_order_of_the_rows_changes_nothing(texts, query, vector, source):
    shuffled = list(texts)
    source.shuffle(shuffled)

    def shown(own: Sequence[Text]) -> list[tuple[str, int, float, list[str]]]:
        return [
            (own[hit.row].session_id, own[hit.row].position, round(hit.score, 6), hit.matched)
            for hit in search(own, query, vector)
        ]

    assert shown(texts) == shown(shuffled)


@given(texts_of_sessions, queries, vectors, st.integers(0, 5))
def test_fewer_results_are_the_first_of_more(texts, query, vector, k):
    assert [hit.row for hit in search(texts, query, vector, k)] == rows(texts, query, vector)[:k]


@given(texts_of_sessions, queries)
def test_a_text_that_contains_all_words_in_order_is_first(texts, query):
    extra = message(query, 99, session="exact", at=99 * DAY)
    found = search([*texts, extra], query)
    if Query.of(query).words:
        own = next(hit for hit in found if hit.row == len(texts))
        assert own.score >= EXACT
        assert found[0].matched == own.matched
