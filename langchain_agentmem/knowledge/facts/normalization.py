"""The rule that decides, without a model, whether two texts state the same fact.

Two texts state the same fact if they consist of the same words in the same order. Exceptions:

* Capitals, punctuation around words, articles, and present forms of "to be" are ignored. So is the subject, if the text
  begins with it ("The user …", "I …", "She …", "My …").
* An English plural counts as the singular, and a verb in the third person as the first person; see
  `inflections`. Names do not: a word that begins with a capital inside a text is compared as it is, unless the whole
  text is in capitals.
* Words joined by "and", "or" or a comma may be in any order.
* A contraction is expanded ("doesn't" is "does not"), so a negation always counts.
* All other differences count: a tense ("lived" is not "lives"), signs and numbers ("C++" is not "C#"), and a letter that is a
  name ("Blood type A").

The rule prefers one kind of error: it may take one fact for two, which a model can merge later. It seldom takes two facts for
one, which nobody could separate again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.knowledge.facts.inflections import first_person, may_be_english, singular
from langchain_agentmem.text.words import ENGLISH

RULE_VERSION = 2
"""Version of the rule. Facts that an earlier version stored have other digests."""

_SUBJECTS = frozenset("the user users user's i my he she they his their".split())  # noqa: SIM905
_IGNORED = frozenset("the is are be".split())  # noqa: SIM905
_ARTICLES = frozenset("a an".split())  # noqa: SIM905
_CONJUNCTIONS = frozenset(("and", "or", "&"))
_CONTRACTIONS = {
    "can't": ("can", "not"),
    "cannot": ("can", "not"),
    "won't": ("will", "not"),
    "shan't": ("shall", "not"),
}
_ENDINGS = {"n't": "not", "'m": "am", "'re": "are", "'ve": "have", "'ll": "will"}
_CONTRACTED_IS = frozenset("he's she's it's that's there's user's".split())  # noqa: SIM905
_PUNCTUATION = ",;:!?\"'()[]{}…“”„‘’«»、。，！？；："
_COMMAS = (",", "、", "，")


class _Word(NamedTuple):
    """A word of a text."""

    text: str
    """The word in lower case."""
    is_name: bool
    """True if it begins with a capital inside a text that is not all in capitals."""
    is_last: bool
    joins: bool
    """True if a comma follows."""


def digest_of_fact(user_id: str, text: str, language: str = ENGLISH) -> str:
    """Return a digest that is equal for all texts that state the same fact about a user. It does not reveal the text.

    Args:
        user_id: ID of the user.
        text: Text of the fact.
        language: Language of the store. Inflections are only folded in English. Default: `"english"`.
    """
    return digest_of_ids(user_id, normalized(text, language), size=12).hex()


def normalized(text: str, language: str = ENGLISH) -> str:
    """Return the normal form of a text: equal for texts that state the same fact.

    Args:
        text: The text.
        language: Language of the store. Inflections are only folded in English. Default: `"english"`.

    Example:
        >>> from langchain_agentmem.knowledge.facts.normalization import normalized
        >>> normalized("The user speaks Greek and Danish.") == normalized("Speaks danish, greek")
        True
        >>> normalized("She likes pizza") == normalized("She doesn't like pizza")
        False
        >>> normalized("Likes anime") == normalized("Likes animals")
        False
    """
    words = _words(text)
    folds = language == ENGLISH and may_be_english([word.text for word in words])
    runs: list[list[str]] = []
    """Words in order. A run holds the words that conjunctions or commas join."""
    joins = has_or = False
    before = ""
    for number, word in enumerate(words):
        if word.text in _CONJUNCTIONS:
            joins = bool(runs)
            has_or = has_or or word.text == "or"
            continue
        following = words[number + 1].text if number + 1 < len(words) else ""
        if not _is_ignored(word, before, following, is_first=not runs):
            fold = _unchanged if word.is_name or not folds else singular if runs else first_person
            form = fold(word.text)
            if joins:
                runs[-1].append(form)
            else:
                runs.append([form])
            joins = False
        before = word.text
        if word.joins:
            joins = bool(runs)
    normal = " ".join("+".join(sorted(run)) for run in runs)
    folded = unicodedata.normalize("NFKC", text).casefold()
    return (f"or: {normal}" if has_or else normal) or " ".join(folded.split())


def _words(text: str) -> list[_Word]:
    """Return the words of a text, with contractions expanded."""
    plain = unicodedata.normalize("NFKC", text).replace("’", "'")
    raws = plain.split()
    has_case = any(one.islower() for one in plain)
    words: list[_Word] = []
    for raw in raws:
        stripped = _stripped(raw)
        is_name = has_case and bool(words) and stripped[:1].isupper()
        parts = [one for one in _expanded(stripped.casefold()) if one]
        is_last = raw is raws[-1]
        words += [_Word(one, is_name, is_last, joins=False) for one in parts]
        if words and raw.endswith(_COMMAS):
            words[-1] = words[-1]._replace(joins=True)
    return words


def _stripped(raw: str) -> str:
    """Return a word without the punctuation around it. A full stop in front belongs to the word: ".NET"."""
    word = raw.strip(_PUNCTUATION).rstrip(f".{_PUNCTUATION}")
    return word.lstrip(f".{_PUNCTUATION}") if word.startswith("..") else word


def _is_ignored(word: _Word, before: str, following: str, *, is_first: bool) -> bool:
    """Return true if the comparison ignores a word.

    Args:
        word: The word.
        before: The word before it, in lower case; empty if there is none.
        following: The word after it, in lower case; empty if there is none.
        is_first: True if no word before it counts.
    """
    if word.text in _IGNORED or (is_first and word.text in _SUBJECTS):
        return True
    if word.text in _ARTICLES:
        return not word.is_name and not word.is_last
    if word.text == "am":
        return before == "i" or is_first
    return word.text in ("do", "does") and following == "not"


def _expanded(word: str) -> Iterable[str]:
    """Return the words of an expanded contraction."""
    if word in _CONTRACTIONS:
        return _CONTRACTIONS[word]
    if word in _CONTRACTED_IS:
        return (word.removesuffix("'s"),)
    for ending, full in _ENDINGS.items():
        if word.endswith(ending):
            return (word.removesuffix(ending), full)
    return (word,)


def _unchanged(word: str) -> str:
    return word
