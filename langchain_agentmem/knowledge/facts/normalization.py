"""The rule that decides, without a model, whether two texts state the same fact.

Two texts state the same fact if they consist of the same words in the same order, each word in its basic form. Exceptions:

* Capitals, punctuation around words, articles, and present forms of "to be" are ignored. So is the subject, if the text
  begins with it ("The user …", "I …", "She …", "My …").
* Words joined by "and", "or" or a comma may be in any order.
* A contraction is expanded ("doesn't" is "does not"), so a negation always counts.
* A past tense in -ed counts ("lived" is not "lives"), and so do signs and numbers ("C++" is not "C#").

The rule prefers one kind of error: it may take one fact for two, which a model can merge later. It seldom takes two facts for
one, which nobody could separate again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.text.words import ENGLISH, stemmed

_SUBJECTS = frozenset("the user users user's i my he she they his their".split())  # noqa: SIM905
_IGNORED = frozenset("a an the is are am be do does".split())  # noqa: SIM905
_CONJUNCTIONS = frozenset(("and", "or", "&"))
_CONTRACTIONS = {
    "can't": ("can", "not"),
    "cannot": ("can", "not"),
    "won't": ("will", "not"),
    "shan't": ("shall", "not"),
}
_PUNCTUATION = ".,;:!?\"'()[]{}…“”„‘’«»、。，！？；："
_COMMAS = (",", "、", "，")


def digest_of_fact(user_id: str, text: str, language: str = ENGLISH) -> str:
    """Return a digest that is equal for all texts that state the same fact about a user. It does not reveal the text.

    Args:
        user_id: ID of the user.
        text: Text of the fact.
        language: Language of the text, which decides the basic form of words. Default: `"english"`.
    """
    return digest_of_ids(user_id, normalized(text, language), size=12).hex()


def normalized(text: str, language: str = ENGLISH) -> str:
    """Return the normal form of a text: equal for texts that state the same fact.

    Args:
        text: The text.
        language: Language of the text, which decides the basic form of words. Default: `"english"`.

    Example:
        >>> from langchain_agentmem.knowledge.facts.normalization import normalized
        >>> normalized("The user speaks Greek and Danish.") == normalized("Speaks danish, greek")
        True
        >>> normalized("She likes pizza") == normalized("She doesn't like pizza")
        False
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    runs: list[list[str]] = []
    """Words in order. A run holds the words that conjunctions or commas join."""
    joins = has_or = False
    for raw in folded.replace("’", "'").split():
        word = raw.strip(_PUNCTUATION)
        if word in _CONJUNCTIONS:
            joins = bool(runs)
            has_or = has_or or word == "or"
            continue
        words = [one for one in _expanded(word) if one]
        if not runs:
            words = [one for one in words if one not in _SUBJECTS]
        for one in words:
            if one in _IGNORED:
                continue
            if joins:
                runs[-1].append(_basic_form(one, language))
            else:
                runs.append([_basic_form(one, language)])
            joins = False
        if raw.endswith(_COMMAS):
            joins = bool(runs)
    normal = " ".join("+".join(sorted(run)) for run in runs)
    return (f"or: {normal}" if has_or else normal) or folded.strip()


def _expanded(word: str) -> Iterable[str]:
    """Return the words that a contraction stands for."""
    if word in _CONTRACTIONS:
        return _CONTRACTIONS[word]
    if word.endswith("n't"):
        return (word[:-3], "not")
    return (word.removesuffix("'s"),)


def _basic_form(word: str, language: str) -> str:
    """Return the stem of a word. A past tense in -ed is kept apart from the present; other scripts have no stem."""
    if not (word.isascii() and word.isalpha()):
        return word
    stem = stemmed(word, language)
    return f"{stem}-ed" if word.endswith("ed") and stem != word else stem
