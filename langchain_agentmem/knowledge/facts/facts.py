"""Facts about a user: statements with a source and a validity period."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import Item
from pydantic import BaseModel, Field, model_validator

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.text.tables import FieldTable, Struck, html_table

_UNKNOWN = datetime.min.replace(tzinfo=UTC)


class Fact(FieldTable, BaseModel):
    """One statement about a user, with its sources and its validity period."""

    id: str = ""
    """Identifies the fact among those of its user."""
    text: str
    topics: list[str] = Field(default_factory=list)
    sources: list[str] = Field(default_factory=list)
    """IDs of the messages that state it."""
    first_seen: datetime | None = None
    """Time of the first statement."""
    last_seen: datetime | None = None
    """Time of the latest statement."""
    valid_from: datetime | None = None
    """Start of the validity period. If no source states it, this is the time of the first statement."""
    valid_to: datetime | None = None
    """End of the validity period; None while the fact is true."""
    confidence: float = 1.0
    """Confidence in the fact, from 0 to 1."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """JSON-serialisable metadata of the application."""
    agent: str | None = None
    """Agent that saved the fact; None if it is unknown."""
    replaces: str | None = None
    """ID of the fact that this one superseded."""
    replaced_by: str | None = None
    """ID of the fact that superseded this one."""
    score: float | None = Field(default=None, exclude=True)
    """Relevance to the query of a search, from 0 to 1; None if there was no query."""

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, given: Any) -> Any:
        """Accept a text in place of a fact."""
        return {"text": given} if isinstance(given, str) else given

    def is_valid(self, at: datetime | None = None) -> bool:
        """Return true if the fact is true at a time.

        Args:
            at: The time. Default: None (true if the fact has not ended).
        """
        if at is None:
            return self.valid_to is None
        has_started = self.valid_from is None or self.valid_from <= at
        return has_started and (self.valid_to is None or at < self.valid_to)

    def to_value(self, number: int) -> dict[str, Any]:
        """Return the value to store.

        Args:
            number: Number of the fact's validity period, from 1.
        """
        value = self.model_dump(mode="json", exclude={"id", "score"})
        return {**value, "number": number}

    @classmethod
    def from_value(cls, id_: str, value: Mapping[str, Any], score: float | None = None) -> Fact:
        """Return the fact in a stored value: the inverse of `to_value`.

        Raises:
            DamagedDataError: The value does not hold a fact.
        """
        with reading(f"The fact {shown(id_)}"):
            number = value["number"]
            if isinstance(number, bool) or not isinstance(number, int):
                msg = f"number is {shown(number, 60)}"
                raise TypeError(msg)
            return cls.model_validate({**value, "id": id_, "score": score})

    @classmethod
    def from_item(cls, key: str, value: Mapping[str, Any], score: float | None = None) -> Fact:
        """Same as `from_value`, for the key of an item, which begins with the digest of the fact."""
        return cls.from_value(fact_id(key.partition("-")[0], value.get("number")), value, score)

    @classmethod
    def of_item(cls, item: Item) -> Fact:
        """Return the fact in an item of the store.

        Raises:
            DamagedDataError: The item does not hold a fact.
        """
        return cls.from_item(item.key, item.value, getattr(item, "score", None))


def fact_id(digest: str, number: object) -> str:
    """Return the ID of a fact: the digest of its statement and the number of its validity period."""
    return f"{digest}-{number}"


def digest_in(id_: str) -> str:
    """Return the digest in the ID of a fact; empty if the ID holds none."""
    return id_.rpartition("-")[0]


class Facts(list[Fact]):
    """Facts in order. A notebook shows them as a timeline, in which ended facts are struck out."""

    def _repr_html_(self) -> str:
        return timeline_html(self)


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """Return facts by the start of their validity periods, the oldest first."""
    return sorted(facts, key=lambda fact: (fact.valid_from or _UNKNOWN, fact.first_seen or _UNKNOWN, fact.id))


def timeline_html(facts: Iterable[Fact]) -> str:
    """Return an HTML table of facts and their validity periods."""
    every = list(facts)
    texts = {fact.id: fact.text for fact in every}
    rows = []
    for fact in every:
        text: str | Struck = fact.text
        if fact.valid_to is not None:
            next_text = texts.get(fact.replaced_by or "")
            text = Struck(fact.text, "" if next_text is None else f"then: {next_text}")
        topics = ", ".join(fact.topics)
        rows.append((_date(fact.valid_from), _date(fact.valid_to), text, topics, fact.confidence, fact.score))
    return html_table(rows, header=("from", "to", "fact", "topics", "confidence", "score"))


def _date(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%d}"
