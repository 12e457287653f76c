"""A growing corpus ranks as one that is built at once; and what a kept corpus does when a change of it is interrupted."""

from __future__ import annotations

import os
import random

import pytest
from examples import repetitions

from langchain_agentmem import DamagedDataError, InvalidInputError, InvalidTypeError
from langchain_agentmem.backends.contract import Changes, Entries, SessionChange, SessionVersion
from langchain_agentmem.backends.contract.changes import joined, packed, unpacked
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.search import growing, ranker
from langchain_agentmem.search.corpora import Corpora, KeptCorpus, with_words
from langchain_agentmem.search.corpus import BuiltCorpus, Text
from langchain_agentmem.search.queries import Query
from langchain_agentmem.search.ranker import Ranker
from langchain_agentmem.text.marks import analyze_message
from langchain_agentmem.text.vectors import unit

WORDS = ["tea", "coffee", "cats", "dogs", "paris", "rain", "music", "walks"]
QUERY = "tea with cats in paris"


def row(source, position):
    """A message with random words."""
    text = " ".join(source.choices(WORDS, k=source.randint(1, 5)))
    vector = unit([source.random() for _ in range(4)]) if source.random() < 0.9 else None
    agent = source.choice([None, "writer"])
    return position, "human", agent, 1e9 + position, analyze_message(text), vector, None


def change(session_id, edition, rows, first=0, expires_at=None):
    """The change of a session, and its entries."""
    following = max([one[0] + 1 for one in rows], default=first)
    return SessionChange(session_id, SessionVersion(edition, following, expires_at), first, len(rows)), packed(rows)


def scores(corpus, agent=None):
    """The scores of all results, by session and position."""
    found = Ranker(corpus, Query.of(QUERY, "english")).best(unit([1.0, 2.0, 0.5, 0.1]), 1000)
    return {
        (corpus.session_ids[corpus.session[hit.row]], int(corpus.position[hit.row])): pytest.approx(hit.score, abs=2e-5)
        for hit in found
    }


def built(sessions, agent=None):
    texts = [
        Text(name, one[0], one[4], one[3], one[1], one[2], () if one[5] is None else (one[5],))
        for name, rows in sessions.items()
        for one in rows
        if agent in (None, one[2])
    ]
    return BuiltCorpus(texts)


@pytest.mark.parametrize("seed", range(repetitions(12, least=4)))
def test_a_grown_corpus_ranks_as_a_built_one(monkeypatch, seed):
    monkeypatch.setattr(growing, "_FEWEST_DEAD", 3)
    monkeypatch.setattr(growing, "_TRUST_CHANGE", -1)  # measure the trust in vectors for each search
    source, corpus, sessions = random.Random(seed), growing.GrowingCorpus(), {}
    for step in range(60):
        name = f"s-{source.randrange(4)}"
        known = sessions.get(name, [])
        kind = source.choice(["add", "add", "add", "edit", "delete", "expire"])
        gone, changes = [], []
        if kind == "add":
            first = known[-1][0] + 1 if known else 0
            added = [row(source, first + at) for at in range(source.randint(1, 4))]
            sessions[name] = [*known, *added]
            changes = [change(name, step, added, first)]
        elif kind == "edit" and known:
            sessions[name] = [one for one in known if source.random() < 0.7] or known[:1]
            changes = [change(name, step, sessions[name])]
        elif known:
            del sessions[name]
            gone = [name] if kind == "delete" else []
            changes = [] if gone else [change(name, step, known, expires_at=5.0)]
        corpus.apply([one for one, _ in changes], gone, joined([entries for _, entries in changes]))
        for agent in (None, "writer"):
            assert scores(corpus.view(10.0, agent)) == scores(built(sessions, agent))
    assert corpus._dead <= max(3, corpus.size // 4)


def test_common_words_score_as_other_words(monkeypatch):
    source = random.Random(1)
    corpus = built({f"s-{at}": [row(source, position) for position in range(9)] for at in range(5)})
    found = []
    for common in (0, 1000):
        monkeypatch.setattr(ranker, "_COMMON", common)
        found.append(scores(corpus))
    assert found[0] == found[1]
    assert len(found[0]) > 30


def test_a_view_does_not_change_while_the_corpus_grows():
    source, corpus = random.Random(1), growing.GrowingCorpus()
    first, entries = change("s-1", 1, [row(source, at) for at in range(5)])
    corpus.apply([first], [], entries)
    view = corpus.view(0.0)
    expected = scores(view)
    for step in range(5):
        added, entries = change("s-1", 1, [row(source, 5 + step)], 5 + step)
        corpus.apply([added], [], entries)
    edited, entries = change("s-1", 2, [row(source, 0)])
    corpus.apply([edited], [], entries)
    assert scores(view) == expected
    assert len(scores(corpus.view(0.0))) == 1


def test_a_corpus_with_mostly_vectors_of_another_model_is_read_again():
    source, corpus = random.Random(1), growing.GrowingCorpus()
    rows = [(*row(source, at)[:5], unit([1.0, 2.0]), None) for at in range(2)]
    one, entries = change("s-1", 1, rows)
    corpus.apply([one], [], entries)
    assert not corpus.is_stale
    rows = [(*row(source, at)[:5], unit([1.0, 2.0, 3.0]), None) for at in range(3)]
    one, entries = change("s-2", 1, rows)
    corpus.apply([one], [], entries)
    assert corpus.is_stale


@pytest.mark.parametrize("column", [4, 5])
def test_a_message_with_damaged_words_or_vector_is_named(column):
    source = random.Random(1)
    rows = [row(source, 0), row(source, 1)]
    rows[1] = (*rows[1][:column], b"12345", *rows[1][column + 1 :])
    one, entries = change("s-1", 1, rows)
    with pytest.raises(DamagedDataError, match="Message 1 of session 's-1'"):
        with_words(Changes(None, [one], [], entries), Codec(), "english")


def test_an_interrupted_change_is_made_again(monkeypatch):
    source, kept = random.Random(1), KeptCorpus()
    one, entries = change("s-1", 1, [row(source, 0)])
    found = Changes("cursor", [one], [], entries)
    with monkeypatch.context() as patch:
        patch.setattr(growing.GrowingCorpus, "_add_segment", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kept.view(found, kept.state, 0.0, None)
    started = kept.state._replace(cursor="an earlier one")
    assert kept.view(found._replace(sessions=[], entries=Entries()), started, 0.0, None) is None
    view = kept.view(found, kept.state, 0.0, None)
    assert view is not None
    assert view.living == 1


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_corpus_of_another_process_is_not_used(monkeypatch):
    kept = KeptCorpus()
    assert kept.is_usable
    number = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: number + 1)
    assert not kept.is_usable


def test_changes_that_another_search_has_applied_are_not_applied_again():
    source, kept = random.Random(1), KeptCorpus()
    one, entries = change("s-1", 1, [row(source, 0)])
    kept.view(Changes("a", [one], [], entries), kept.state, 0.0, None)
    start = kept.state
    more, entries = change("s-1", 1, [row(source, 1)], 1)
    added = Changes("b", [more], [], entries)
    assert kept.view(added, start, 0.0, None).living == 2
    assert kept.view(added._replace(cursor="c"), start, 0.0, None).living == 2
    edited, entries = change("s-1", 2, [row(source, 0)])
    assert kept.view(Changes("d", [edited], [], entries), start, 0.0, None) is None
    assert kept.view(Changes("e", [edited], [], entries), kept.state, 0.0, None).living == 1


def test_packed_messages_are_unpacked():
    source = random.Random(1)
    rows = [row(source, at) for at in range(5)]
    assert list(unpacked(packed(rows))) == rows
    assert list(unpacked(joined([packed(rows[:2]), packed(rows[2:])]))) == rows
    assert list(unpacked(packed([]))) == []


@pytest.mark.parametrize(
    ("value", "error"), [(-1, InvalidInputError), (float("nan"), InvalidInputError), ("1", InvalidTypeError)]
)
def test_a_wrong_bound_is_refused(value, error):
    with pytest.raises(error, match="search_cache"):
        Corpora.of(object(), value)


def test_the_first_searches_find_words_without_postings(monkeypatch):
    monkeypatch.setattr(growing, "_FEW_ROWS", 0)
    monkeypatch.setattr(growing, "_SCANS", 2 * len(WORDS))
    source, corpus, computed = random.Random(1), growing.GrowingCorpus(), []
    original = growing.postings
    monkeypatch.setattr(growing, "postings", lambda *arguments: computed.append(1) or original(*arguments))
    rows = [row(source, position) for position in range(200)]
    changed, entries = change("s", 1, rows)
    corpus.apply([changed], [], entries)
    view, numbers = corpus.view(0.0), [Query.of(word).numbers[0] for word in WORDS]
    scanned = [[part.tolist() for part in view.occurrences(number)] for number in numbers]
    assert [[part.tolist() for part in view.occurrences(number)] for number in numbers] == scanned
    assert computed == []
    assert [[part.tolist() for part in view.occurrences(number)] for number in numbers] == scanned
    assert computed == [1]
    assert sum(len(found) for found, _ in scanned) > 200
