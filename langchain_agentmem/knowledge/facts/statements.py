"""Statements of facts, and the validation of their parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langchain_agentmem.arguments.ids import check_id, check_optional_id, check_text
from langchain_agentmem.arguments.values import check_list, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError
from langchain_agentmem.knowledge.facts.facts import Fact
from langchain_agentmem.knowledge.provenance import checked_metadata
from langchain_agentmem.knowledge.sources import source_ids
from langchain_agentmem.knowledge.times import utc

MAX_TEXT = 500
"""Longest text of a fact, in characters."""

MAX_TOPICS, MAX_TOPIC = 10, 60
"""Largest number of topics of a fact, and the longest topic in characters."""

_PARTS = ("text", "topics", "sources", "valid_from", "confidence", "metadata", "agent")


@dataclass(frozen=True)
class Statement:
    """A fact as a message or the application states it."""

    text: str
    at: datetime
    """Time of the statement."""
    timed: bool = True
    """True if `at` is known, false if it was assumed."""
    topics: Sequence[str] = ()
    given_topics: Sequence[str] = ()
    """The topics as they were given, in capitals or not: a guard reads these."""
    sources: Sequence[str] = ()
    """IDs of the messages that state it."""
    valid_from: datetime | None = None
    """Start of the validity period. Default: None (`at`)."""
    confidence: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    agent: str | None = None
    """Agent that saves it."""

    @classmethod
    def checked(cls, text: Any, at: datetime, topics: Any = (), sources: Iterable[str] = (), **more: Any) -> Statement:
        """Return a statement with a validated text, time and topics.

        Raises:
            InvalidInputError: One of them is not valid.
        """
        given = check_list("topics", topics)
        plain = checked_topics(given)
        return cls(checked_text(text), utc(at), topics=plain, given_topics=given, sources=tuple(sources), **more)


def given_statement(
    at: datetime,
    text: Any,
    topics: Any = (),
    sources: Any = (),
    valid_from: datetime | str | None = None,
    confidence: float = 1.0,
    metadata: Any = None,
    agent: Any = None,
) -> Statement:
    """Return the statement with the arguments of `Profiles.add_fact`.

    Args:
        at: Time of the statement.
        text: As in `add_fact`, like the other arguments.
        topics: See `text`.
        sources: See `text`.
        valid_from: See `text`.
        confidence: See `text`.
        metadata: See `text`.
        agent: See `text`.

    Raises:
        InvalidInputError: An argument is not valid.
        InvalidTypeError: An argument has the wrong type.
    """
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float)) or not 0 <= confidence <= 1:
        msg = f"confidence must be a number from 0 to 1; got {shown(confidence, 60)}."
        raise InvalidInputError(msg)
    return Statement.checked(
        text,
        at,
        topics,
        source_ids(sources),
        valid_from=None if valid_from is None else utc(valid_from, "valid_from"),
        confidence=confidence,
        metadata=checked_metadata(metadata),
        agent=check_optional_id("agent", agent),
    )


def given_statements(at: datetime, facts: Any) -> list[Statement]:
    """Return the statements in the argument of `Profiles.add_facts`: each a text, a `Fact` or a dict.

    Raises:
        InvalidInputError: One of them is not valid.
        InvalidTypeError: One of them has the wrong type.
    """
    return [_given(at, one) for one in check_list("facts", facts, "texts, Facts or dicts")]


def _given(at: datetime, one: Any) -> Statement:
    if isinstance(one, Fact):
        parts: dict[str, Any] = {name: getattr(one, name) for name in _PARTS}
        return given_statement(at, **parts)
    if not isinstance(one, Mapping):
        return given_statement(at, one)
    unknown = [name for name in one if name not in _PARTS]
    if unknown or "text" not in one:
        msg = (
            f"A fact as a dict needs 'text' and may have {', '.join(_PARTS[1:])}; got the keys {shown(list(one), 200)}."
        )
        raise InvalidInputError(msg)
    return given_statement(at, **one)


def checked_fact_id(fact: Fact | str) -> str:
    """Return the ID of a fact, given as the fact or its ID.

    Raises:
        InvalidInputError: The ID is empty or too long.
        InvalidTypeError: It is not a string.
    """
    return check_id("A fact's id", fact.id if isinstance(fact, Fact) else fact)


def checked_text(text: Any) -> str:
    """Return the text of a fact with single spaces.

    Raises:
        InvalidTypeError: It is not a string.
        InvalidInputError: It is empty, or longer than `MAX_TEXT` characters.
    """
    if not isinstance(text, str):
        msg = f"A fact must be a string; got {type(text).__name__}: {shown(text)}."
        raise InvalidTypeError(msg)
    check_text("A fact", text)
    plain = " ".join(text.split())
    if not plain or len(plain) > MAX_TEXT:
        msg = f"A fact must have 1 to {MAX_TEXT} characters; got {len(plain)}: {shown(plain, 60)}. Shorten or split it."
        raise InvalidInputError(msg)
    return plain


def checked_topics(topics: Any) -> list[str]:
    """Return topics in lower case, without duplicates.

    Raises:
        InvalidTypeError: The argument is not a list of strings.
        InvalidInputError: There are more than `MAX_TOPICS`, or one is empty or too long.
    """
    plain = list(dict.fromkeys(checked_topic(topic) for topic in check_list("topics", topics)))
    if len(plain) > MAX_TOPICS:
        msg = f"A fact may have at most {MAX_TOPICS} topics; got {len(plain)}."
        raise InvalidInputError(msg)
    return plain


def folded_topics(topics: Iterable[str]) -> list[str]:
    """Return checked topics in lower case, without duplicates."""
    return list(dict.fromkeys(_folded(topic) for topic in topics))


def checked_topic(topic: Any) -> str:
    """Same as `checked_topics`, for one topic."""
    if not isinstance(topic, str):
        msg = f"A topic must be a string; got {type(topic).__name__}: {shown(topic)}."
        raise InvalidTypeError(msg)
    check_text("A topic", topic)
    plain = _folded(topic)
    if not plain or len(plain) > MAX_TOPIC:
        msg = f"A topic must have 1 to {MAX_TOPIC} characters; got {len(plain)}: {shown(plain, 60)}."
        raise InvalidInputError(msg)
    return plain


def _folded(topic: str) -> str:
    return " ".join(topic.split()).casefold()
