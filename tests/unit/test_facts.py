"""When two texts say the same: the rule by which facts merge without a model."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from langchain_agentmem.knowledge.facts.facts import Fact, Facts
from langchain_agentmem.knowledge.facts.normalization import digest_of_fact, normalized

SAME = [
    ("The user likes pizza.", "Likes pizza"),
    ("I like pizza", "She likes Pizza!"),
    ("My dog is called Rex", "The user's dog is called Rex"),
    ("Speaks English and Spanish", "speaks spanish and English"),
    ("Speaks English, Spanish and Greek", "Speaks Greek, English, and Spanish"),
    ("Doesn't like pizza", "does not like pizza"),
    ("Can't swim", "cannot swim"),
    ("Doesn’t eat fish", "does not eat fish"),
    ("Is a data scientist", "is the data scientist"),
    ("Lives in  Athens\n", "lives in ATHENS"),
    ("I'm a doctor", "Is a doctor"),
    ("I have a dog", "Has a dog"),
    ("I watch movies", "Watches movies"),
    ("Has two dogs", "I have two dogs."),
    ("Likes dogs", "like dog"),
    ("HAS TWO DOGS", "has two dogs"),
    ("I study law", "She studies law"),
]
DIFFERENT = [
    ("Likes pizza", "Does not like pizza"),
    ("Likes pizza", "Doesn't like pizza"),
    ("Likes pizza", "Never likes pizza"),
    ("Likes pizza", "Dislikes pizza"),
    ("Can swim", "Can't swim"),
    ("Prefers tea to coffee", "Prefers coffee to tea"),
    ("Anna manages Ben", "Ben manages Anna"),
    ("Flies to Berlin", "Flies from Berlin"),
    ("Lives in Berlin", "Lived in Berlin"),
    ("Was a pilot", "Is a pilot"),
    ("Writes C++", "Writes C#"),
    ("Writes C++", "Writes C"),
    ("Pays 3.5 %", "Pays 35 %"),
    ("Keeps it at -5 degrees", "Keeps it at 5 degrees"),
    ("Works Monday or Tuesday", "Works Monday and Tuesday"),
    ("Likes tea, not coffee", "Likes coffee, not tea"),
    ("Eats without salt", "Eats with salt"),
    ("😀", "😢"),
    ("東京に住んでいる", "京都に住んでいる"),
    ("Likes anime", "Likes animals"),
    ("Works with customs", "Works with customers"),
    ("Is political", "Is polite"),
    ("Is an author", "Is an authority"),
    ("Works at a university", "Works on the universe"),
    ("Studies organs", "Studies organisation"),
    ("Works in marketing", "Works in the market"),
    ("Reads the Times", "Reads time"),
    ("Reads the news", "Reads the new"),
    ("Wears glasses", "Wears glass"),
    ("Works with Williams", "Works with William"),
    ("Knows Peters", "Knows Peter"),
    ("Likes Wendy's", "Likes Wendy"),
    ("Blood type A", "Blood type"),
    ("Takes vitamin A daily", "Takes vitamin daily"),
    ("Prefers AM flights", "Prefers flights"),
    ("Uses .NET", "Uses net"),
    ("Mag Reis", "Mag Reisen"),
    ("Ist Politiker", "Ist politisch"),
    ("A un fils", "A un fil"),
    ("Aime les animaux", "Aime les animés"),
    ("Le gusta la política", "Le gusta el político"),
    ("Trabaja el martes", "Trabaja el marte"),
    ("Gosta de animais", "Gosta de anime"),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=ascii)
def test_texts_that_say_the_same(one, other):
    assert normalized(one) == normalized(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=ascii)
def test_texts_that_do_not(one, other):
    assert normalized(one) != normalized(other)


words = st.sampled_from(
    [
        "likes",
        "pizza",
        "lives",
        "in",
        "Berlin",
        "works",
        "at",
        "the",
        "harbour",
        "with",
        "Anna",
        "two",
        "dogs",
        "reads",
        "novels",
    ]
)
sentences = st.lists(words, min_size=2, max_size=8).map(" ".join)


@given(
    sentences,
    st.sampled_from(["{}", "The user {}", "I {}", "She {}."]),
    st.sampled_from([str.upper, str.capitalize, str.lower]),
)
def test_capitals_punctuation_and_who_it_is_about_do_not_count(text, frame, change):
    assume(set(text.split()) - {"the", "a", "The"})  # there is something that it says
    assert normalized(change(frame.format(text))) == normalized(text)


@given(st.text(max_size=80))
def test_any_text_says_something_and_the_same_each_time(text):
    assume(text.strip())
    assert normalized(text)
    assert normalized(text) == normalized(f"  {text}\n")


@given(sentences, st.integers(0, 7), st.sampled_from(["not", "never", "no longer"]))
def test_a_negation_always_counts(text, at, negation):
    parts = text.split()
    assert normalized(" ".join([*parts[:at], negation, *parts[at:]])) != normalized(text)


@given(st.permutations(["tea", "milk", "juice", "beer"]), sentences)
def test_what_and_joins_may_stand_in_any_order(drinks, text):
    first, *others = sorted(drinks)
    assert normalized(f"{text} drinks {', '.join(drinks[:-1])} and {drinks[-1]}") == normalized(
        f"{text} drinks {', '.join([first, *others[:-1]])} and {others[-1]}"
    )


@given(sentences, sentences)
def test_the_digest_is_the_same_for_what_says_the_same_and_for_one_user_alone(one, other):
    assert (digest_of_fact("a", one) == digest_of_fact("a", other)) == (normalized(one) == normalized(other))
    assert digest_of_fact("a", one) != digest_of_fact("b", one)


@pytest.mark.parametrize("language", ["english", "german", "spanish"])
@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=ascii)
def test_the_language_of_the_store_makes_no_facts_equal(one, other, language):
    assert normalized(one, language) != normalized(other, language)


def test_inflections_of_other_languages_count():
    assert normalized("Mag Hunde", "german") != normalized("Mag Hund", "german")
    assert normalized("mag  HUNDE.", "german") == normalized("Mag Hunde", "german")


def test_a_timeline_shows_what_ended_and_escapes_what_users_write():
    facts = Facts(
        [
            Fact(
                id="a-1",
                text="Lives in <b>Athens</b>",
                valid_from="2020-01-01T00:00Z",
                valid_to="2021-01-01T00:00Z",
                replaced_by="b-1",
            ),
            Fact(id="b-1", text="Lives in Patras", valid_from="2021-01-01T00:00Z"),
        ]
    )
    shown = facts._repr_html_()
    assert "<s>Lives in &lt;b&gt;Athens&lt;/b&gt;</s><br><small>then: Lives in Patras</small>" in shown
    assert "<s>Lives in Patras" not in shown
    assert "2021-01-01" in shown
