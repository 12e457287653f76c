"""Facts about a user, and when two texts say the same.

Two texts say the same when the same words stand in them in the same order, each in its basic form, where

* capitals, punctuation around words, articles, forms of "to be" in the present, and who the sentence is about when it
  begins with that ("The user …", "I …", "She …", "My …") do not count;
* words that "and", "or" or a comma join may stand in any order;
* a contraction counts as what it stands for ("doesn't" is "does not"), so that a negation always counts;
* a past tense in -ed counts ("lived" is not "lives"), and so do signs and numbers ("C++" is not "C#").

Where this rule errs it takes one fact for two, which a model can put right, and seldom two for one, which nobody could.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from langgraph.store.base import Item
from pydantic import BaseModel, Field

from langchain_agentmem.arguments.ids import check_text
from langchain_agentmem.arguments.values import check_list, shown
from langchain_agentmem.backends.digests import digest_of_ids
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.reading import reading
from langchain_agentmem.text.words import ENGLISH, stemmed

MAX_TEXT = 500
"""The longest fact, in characters."""

MAX_TOPICS, MAX_TOPIC = 10, 60
"""The most topics of a fact, and the longest of them, in characters."""

MAX_SOURCES = 20
"""How many of the messages that a fact was stated in are kept: the first, and those stated last."""

_ABOUT_WHOM = frozenset("the user users user's i my he she they his her their".split())  # noqa: SIM905
_EMPTY = frozenset("a an the is are am be do does".split())  # noqa: SIM905
_JOINING = frozenset(("and", "or", "&"))
_CONTRACTIONS = {
    "can't": ("can", "not"),
    "cannot": ("can", "not"),
    "won't": ("will", "not"),
    "shan't": ("shall", "not"),
}
_AROUND = ".,;:!?\"'()[]{}…“”„‘’«»、。，！？；："
_LISTING = (",", "、", "，")


class Fact(BaseModel):
    """Something that is or was true of a user."""

    id: str = ""
    """Names the fact among those of its user."""
    text: str
    topics: list[str] = Field(default_factory=list)
    sources: list[str] = Field(default_factory=list)
    """The ids of messages that say so."""
    first_seen: datetime | None = None
    """When it was stated first."""
    last_seen: datetime | None = None
    """When it was stated last."""
    valid_from: datetime | None = None
    """Since when it is true: since it was stated, where nobody said otherwise."""
    valid_to: datetime | None = None
    """Until when it was true; None: it still is."""
    confidence: float = 1.0
    """How sure whoever noted it was, from 0 to 1."""
    replaces: str | None = None
    """The id of the fact that this one superseded."""
    replaced_by: str | None = None
    """The id of the fact that superseded this one."""
    score: float | None = Field(default=None, exclude=True)
    """How well it answers a search, from 0 to 1."""

    def is_valid(self, at: datetime | None = None) -> bool:
        """Whether it is true at a time.

        Args:
            at: When. Default: None (it has not ended).
        """
        if at is None:
            return self.valid_to is None
        begun = self.valid_from is None or self.valid_from <= at
        return begun and (self.valid_to is None or at < self.valid_to)

    def to_value(self, number: int) -> dict[str, Any]:
        """What the store keeps of it."""
        value = self.model_dump(mode="json", exclude={"id", "score"})
        return {**value, "number": number}

    @classmethod
    def from_value(cls, id_: str, value: Mapping[str, Any], score: float | None = None) -> Fact:
        """The inverse of `to_value`.

        Raises:
            DamagedDataError: The value does not hold a fact.
        """
        with reading(f"The fact {shown(id_)}"):
            number = value["number"]
            if isinstance(number, bool) or not isinstance(number, int):
                msg = f"its number is {shown(number, 60)}"
                raise TypeError(msg)
            return cls.model_validate({**value, "id": id_, "score": score})

    @classmethod
    def of_item(cls, item: Item) -> Fact:
        """Return the fact in an item of the store.

        Raises:
            DamagedDataError: The item does not hold a fact.
        """
        return cls.from_item(item.key, item.value, getattr(item, "score", None))

    @classmethod
    def from_item(cls, key: str, value: Mapping[str, Any], score: float | None = None) -> Fact:
        """Same as `of_item`, for the key and the value of an item. The key begins with the fact's digest."""
        return cls.from_value(f"{key.partition('-')[0]}-{value.get('number')}", value, score)


class Facts(list[Fact]):
    """Some facts, in order; a notebook shows them as a timeline, with those that ended struck out."""

    def _repr_html_(self) -> str:
        return timeline_html(self)


def timeline_html(facts: Iterable[Fact]) -> str:
    """A table of facts and when they were true."""
    every = list(facts)
    texts = {fact.id: fact.text for fact in every}
    scored = any(fact.score is not None for fact in every)
    rows = []
    for fact in every:
        text = html.escape(fact.text)
        if fact.valid_to is not None:
            text = f"<s>{text}</s>"
            if fact.replaced_by in texts:
                text += f"<br><small>then: {html.escape(texts[fact.replaced_by])}</small>"
        cells = [
            _date(fact.valid_from),
            _date(fact.valid_to),
            text,
            html.escape(", ".join(fact.topics)),
            fact.confidence,
        ]
        cells[4] = f"{fact.confidence:.2f}"
        if scored:
            cells.append("" if fact.score is None else f"{fact.score:.2f}")
        rows.append("".join(f"<td style='text-align:left'>{cell}</td>" for cell in cells))
    heads = ["from", "to", "fact", "topics", "confidence", *(["score"] if scored else [])]
    head = "".join(f"<th style='text-align:left'>{one}</th>" for one in heads)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _date(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d}"


def checked_fact_text(text: Any) -> str:
    """A fact's text without spaces around it.

    Raises:
        InvalidTypeError: It is no string.
        InvalidInputError: It is empty, or longer than `MAX_TEXT` characters.
    """
    if not isinstance(text, str):
        msg = f"A fact must be a text, got {type(text).__name__}: {shown(text)}."
        raise InvalidTypeError(msg)
    check_text("A fact", text)
    plain = " ".join(text.split())
    if not plain or len(plain) > MAX_TEXT:
        msg = f"A fact must have 1 to {MAX_TEXT} characters, got {len(plain)}: {shown(plain, 60)}. Split or shorten it."
        raise InvalidInputError(msg)
    return plain


def checked_topics(topics: Any) -> list[str]:
    """Topics in lower case, each once.

    Raises:
        InvalidTypeError: They are no list of strings.
        InvalidInputError: They are too many, or one is empty or too long.
    """
    plain = list(dict.fromkeys(checked_topic(topic) for topic in check_list("topics", topics)))
    if len(plain) > MAX_TOPICS:
        msg = f"A fact may have {MAX_TOPICS} topics, got {len(plain)}."
        raise InvalidInputError(msg)
    return plain


def checked_topic(topic: Any) -> str:
    """Same as `checked_topics`, for one."""
    if not isinstance(topic, str):
        msg = f"A topic must be a string, got {type(topic).__name__}: {shown(topic)}."
        raise InvalidTypeError(msg)
    check_text("A topic", topic)
    plain = " ".join(topic.split()).casefold()
    if not plain or len(plain) > MAX_TOPIC:
        msg = f"A topic must have 1 to {MAX_TOPIC} characters, got {len(plain)}: {shown(plain, 60)}."
        raise InvalidInputError(msg)
    return plain


def utc(moment: Any, what: str = "A time") -> datetime:
    """A time in UTC; one without a zone, or a number of seconds since 1970, is taken to be in it.

    Args:
        moment: A `datetime`, ISO 8601, or a number of seconds.
        what: How it is called in a message. Default: `"A time"`.

    Raises:
        InvalidTypeError: It is no time.
        InvalidInputError: It is a text that is not ISO 8601, or out of range.
    """
    given = moment
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment.strip().replace("Z", "+00:00"))
        except ValueError:
            msg = f"{what} must be a datetime, or ISO 8601 such as 2024-05-17T12:00:00Z, got {shown(given, 60)}."
            raise InvalidInputError(msg) from None
    elif isinstance(moment, bool) or not isinstance(moment, (int, float, datetime)):
        msg = f"{what} must be a datetime, or ISO 8601 as a text, got {type(moment).__name__}: {shown(moment, 60)}."
        raise InvalidTypeError(msg)
    try:
        if not isinstance(moment, datetime):
            if moment < 0:
                msg = f"{what} must be a datetime or ISO 8601, or seconds since 1970, got {shown(given, 60)}."
                raise InvalidInputError(msg)
            return datetime.fromtimestamp(moment, timezone.utc)
        return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
    except InvalidInputError:
        raise
    except (OSError, OverflowError, ValueError):
        msg = f"{what} must lie between the years 1 and 9999 in UTC, got {shown(given, 60)}."
        raise InvalidInputError(msg) from None


def digest_of_fact(user_id: str, text: str, language: str = ENGLISH) -> str:
    """What is the same for all texts that say the same of a user, and tells nothing of what they say.

    Args:
        user_id: The user.
        text: What is said.
        language: In which language words have a basic form. Default: `"english"`.
    """
    return digest_of_ids(user_id, said(text, language), size=12).hex()


def said(text: str, language: str = ENGLISH) -> str:
    """What a text says, by the rule of this module: equal for texts that say the same.

    Args:
        text: The text.
        language: In which language words have a basic form. Default: `"english"`.

    Example:
        >>> from langchain_agentmem.knowledge.facts.facts import said
        >>> said("The user speaks Greek and Danish.") == said("Speaks danish, greek")
        True
        >>> said("She likes pizza") == said("She doesn't like pizza")
        False
    """
    runs: list[list[str]] = []
    joined = either = False
    for raw in unicodedata.normalize("NFKC", text).casefold().replace("’", "'").split():
        word = raw.strip(_AROUND)
        if word in _JOINING:
            joined = bool(runs)
            either = either or word == "or"
            continue
        words = [one for one in _expanded(word) if one]
        if not runs:
            words = [one for one in words if one not in _ABOUT_WHOM]
        for one in words:
            if one in _EMPTY:
                continue
            if joined:
                runs[-1].append(_basic(one, language))
            else:
                runs.append([_basic(one, language)])
            joined = False
        if raw.endswith(_LISTING):
            joined = bool(runs)
    plain = " ".join("+".join(sorted(run)) for run in runs)
    return (f"or: {plain}" if either else plain) or unicodedata.normalize("NFKC", text).casefold().strip()


def _expanded(word: str) -> Iterable[str]:
    if word in _CONTRACTIONS:
        return _CONTRACTIONS[word]
    if word.endswith("n't"):
        return (word[:-3], "not")
    return (word.removesuffix("'s"),)


def _basic(word: str, language: str) -> str:
    if not (word.isascii() and word.isalpha()):
        return word
    basic = stemmed(word, language)
    return f"{basic}-ed" if word.endswith("ed") and basic != word else basic
