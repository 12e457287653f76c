"""How a user's knowledge changes: functions on what is stored, so that several changes are stored together or not at all.

A fact lies under the digest of what it says; so two writers who add the same meet at one item, and the second confirms what
the first has stored. What was true, ended, and is true again has several periods: the item holds the last, items under the
digest with a number hold those before. A fact that was forgotten leaves its digest and the time alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langchain_agentmem.knowledge.facts.facts import (
    MAX_SOURCES,
    MAX_TOPICS,
    Fact,
    checked_fact_text,
    checked_topics,
    digest_of_fact,
    utc,
)
from langchain_agentmem.knowledge.facts.fields import Fields
from langchain_agentmem.knowledge.namespaces import FACTS, PROFILE, user_space
from langchain_agentmem.knowledge.reading import reading

FORGOTTEN = "forgotten"
"""The second label of what is known of facts that were forgotten."""

Place = tuple[tuple[str, ...], str]
Value = dict[str, Any]


class UnreadError(LookupError):
    """A change depends on an item that was not read: read it, and begin anew."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.place = place


@dataclass(frozen=True)
class Statement:
    """A fact as somebody stated it."""

    text: str
    at: datetime
    """When."""
    timed: bool = True
    """Whether that is known to be so, and not just taken to be so."""
    topics: Sequence[str] = ()
    sources: Sequence[str] = ()
    valid_from: datetime | None = None
    confidence: float = 1.0

    @classmethod
    def checked(cls, text: Any, at: datetime, topics: Any = (), sources: Iterable[str] = (), **more: Any) -> Statement:
        """A statement whose parts are accepted.

        Raises:
            InvalidInputError: One of them is not.
        """
        return cls(checked_fact_text(text), utc(at), topics=checked_topics(topics), sources=tuple(sources), **more)


@dataclass
class Edits:
    """Changes to a user's items, of those that were read.

    Args:
        user_id: Whose.
        values: The items as they were read; None where there is none.
        language: In which language words have a basic form.
    """

    user_id: str
    values: Mapping[Place, Value | None]
    language: str
    changes: dict[Place, Value | None] = field(default_factory=dict)
    added: set[str] = field(default_factory=set)
    """The ids of facts that are new."""

    def __getitem__(self, place: Place) -> Value | None:
        value = self._raw(place)
        if value is not None and place not in self.changes:
            _check_form(place, value)
        return value

    def _raw(self, place: Place) -> Value | None:
        """The value of an item, damaged or not."""
        if place in self.changes:
            return self.changes[place]
        if place not in self.values:
            raise UnreadError(place)
        return self.values[place]

    def __setitem__(self, place: Place, value: Value | None) -> None:
        self.changes[place] = value

    # Where what lies

    def digest(self, text: str) -> str:
        """The digest of what a text says."""
        return digest_of_fact(self.user_id, text, self.language)

    def fact_place(self, key: str) -> Place:
        """Where a fact lies: its key is its digest, for the last period, or its id."""
        return user_space(self.user_id, FACTS), key

    def forgotten_place(self, digest: str) -> Place:
        """Where it says that a fact was forgotten."""
        return user_space(self.user_id, FORGOTTEN), digest

    def places_of(self, text: str) -> list[Place]:
        """What adding a fact depends on."""
        digest = self.digest(text)
        return [self.fact_place(digest), self.forgotten_place(digest)]

    # Facts

    def find(self, id_: str) -> tuple[Place, Fact, int] | None:
        """A fact by its id: its place, itself, and the number of its period."""
        digest, _, number = id_.rpartition("-")
        for place in (self.fact_place(digest), self.fact_place(id_)):
            value = self[place] if place[1] else None
            if value is not None and str(value["number"]) == number:
                return place, Fact.from_value(id_, value), value["number"]
        return None

    def add(self, statement: Statement, *, anew: bool = False) -> Fact | None:
        """Add a fact, or confirm it; None when it was forgotten, and nobody said it since.

        Args:
            statement: The fact.
            anew: Whether it counts as said after all else, whatever the clocks say. Default: False.
        """
        digest = self.digest(statement.text)
        if not anew and self._is_forgotten(digest, statement):
            return None
        if self[self.forgotten_place(digest)] is not None:
            self[self.forgotten_place(digest)] = None
        place = self.fact_place(digest)
        value = self[place]
        number = 1
        if value is not None:
            known = Fact.from_value(f"{digest}-{value['number']}", value)
            if known.valid_to is None or (statement.at <= known.valid_to and not anew):
                return self._confirm(*self._period(digest, value["number"], statement.at), statement)
            # True again: what was so far moves to a place of its own.
            self[self.fact_place(known.id)] = value
            number = value["number"] + 1
        fact = Fact(
            id=f"{digest}-{number}",
            text=statement.text,
            topics=list(statement.topics),
            sources=list(statement.sources)[-MAX_SOURCES:],
            first_seen=statement.at,
            last_seen=statement.at,
            valid_from=statement.valid_from or statement.at,
            confidence=statement.confidence,
        )
        self[place] = fact.to_value(number)
        self._cut_before(fact, number)
        self.added.add(fact.id)
        return fact

    def confirm(self, id_: str, statement: Statement) -> Fact | None:
        """Note that a statement says the same as a fact, in other words; it is added where the fact is gone or has ended."""
        found = self.find(id_)
        if self._is_forgotten(id_.rpartition("-")[0], statement):
            return None
        if found is None or found[1].valid_to is not None:
            return self.add(statement)
        return self._confirm(*found, statement)

    def replace(self, id_: str, statement: Statement, *, anew: bool = False) -> Fact | None:
        """Let a statement supersede a fact, which stays with its end; of two that supersede one, the later said is valid.

        Args:
            id_: The fact.
            statement: The statement.
            anew: As in `add`.
        """
        old = self._latest(id_)
        # Of a fact that was forgotten meanwhile, other words come back as little as its own.
        forgotten = not anew and self._is_forgotten(id_.rpartition("-")[0], statement)
        new = None if forgotten else self.add(statement, anew=anew)
        if new is None or new.valid_to is not None or old is None or old[1].id == new.id:
            return new
        place, fact, number = old
        if fact.valid_to is not None:
            return new
        begun = new.valid_from or statement.at
        if fact.last_seen is not None and statement.at < fact.last_seen and not anew:
            self._put_before(old, new, begun)
        else:
            fact.valid_to, fact.replaced_by, new.replaces = max(fact.valid_from or begun, begun), new.id, fact.id
            self[place] = fact.to_value(number)
        found = self.find(new.id)
        if found is not None:
            self[found[0]] = new.to_value(found[2])
        return new

    def _put_before(self, later: tuple[Place, Fact, int], new: Fact, begun: datetime) -> None:
        """Put what was said late where it belongs among facts that superseded each other: the one before ends with it."""
        seen = {new.id}
        while True:
            place, fact, number = later
            seen.add(fact.id)
            earlier = self.find(fact.replaces) if fact.replaces and fact.replaces not in seen else None
            if earlier is None or earlier[1].valid_from is None or earlier[1].valid_from <= begun:
                break
            later = earlier
        new.valid_to, new.replaced_by = max(fact.valid_from or begun, begun), fact.id
        if earlier is None or earlier[1].valid_to is None or earlier[1].valid_to <= begun:
            return
        before_place, before, before_number = earlier
        before.valid_to, before.replaced_by, new.replaces, fact.replaces = begun, new.id, before.id, new.id
        self[before_place], self[place] = before.to_value(before_number), fact.to_value(number)

    def end(self, id_: str, at: datetime) -> Fact | None:
        """Note that a fact is true no longer; None when it is gone, or has ended before."""
        found = self.find(id_)
        if found is None or found[1].valid_to is not None:
            return None
        place, fact, number = found
        fact.valid_to = at if fact.valid_from is None else max(at, fact.valid_from)
        self[place] = fact.to_value(number)
        return fact

    def forget(self, id_: str, at: datetime) -> bool:
        """Delete a fact, the periods before in which it was true, and what it superseded; returns whether there was one."""
        digest = id_.rpartition("-")[0]
        if not digest or self._raw(self.fact_place(digest)) is None:
            return False
        left = [digest]
        while left:
            digest = left.pop()
            value = self._raw(self.fact_place(digest))
            if value is None:
                continue
            number = value.get("number")
            periods = range(1, number) if isinstance(number, int) else ()
            earlier = [self.fact_place(f"{digest}-{number}") for number in periods]
            for period in (value, *(self._raw(place) for place in earlier)):
                before = (period or {}).get("replaces")
                left += [before.rpartition("-")[0]] if isinstance(before, str) and not self._is_true(before) else []
            for place in (self.fact_place(digest), *earlier):
                self[place] = None
            self[self.forgotten_place(digest)] = {"at": at.isoformat()}
        return True

    def _is_true(self, id_: str) -> bool:
        """Whether what a fact says is true, in a later period too."""
        value = self._raw(self.fact_place(id_.rpartition("-")[0]))
        return value is not None and value.get("valid_to") is None

    def _is_forgotten(self, digest: str, statement: Statement) -> bool:
        """Whether a fact was forgotten, and a statement is not known to be later."""
        forgotten = self[self.forgotten_place(digest)] if digest else None
        return forgotten is not None and (
            not statement.timed or statement.at <= datetime.fromisoformat(forgotten["at"])
        )

    def _confirm(self, place: Place, known: Fact, number: int, statement: Statement) -> Fact:
        known.topics = list(dict.fromkeys([*known.topics, *statement.topics]))[:MAX_TOPICS]
        sources = list(dict.fromkeys([*known.sources, *statement.sources]))
        known.sources = sources if len(sources) <= MAX_SOURCES else [sources[0], *sources[1 - MAX_SOURCES :]]
        known.first_seen = min(known.first_seen or statement.at, statement.at)
        known.last_seen = max(known.last_seen or statement.at, statement.at)
        begun = statement.valid_from or statement.at
        known.valid_from = min(known.valid_from or begun, begun)
        known.confidence = max(known.confidence, statement.confidence)
        self[place] = known.to_value(number)
        self._cut_before(known, number)
        return known

    def _cut_before(self, fact: Fact, number: int) -> None:
        """Let the periods before one end where it begins, at the latest: no fact is true twice at a time."""
        digest = fact.id.rpartition("-")[0]
        for earlier in range(number - 1, 0, -1):
            place = self.fact_place(f"{digest}-{earlier}")
            value = self[place]
            before = Fact.from_value(f"{digest}-{earlier}", value) if value is not None else None
            if before is None or before.valid_to is None or fact.valid_from is None:
                return
            if before.valid_to <= fact.valid_from:
                return
            before.valid_to = fact.valid_from
            before.valid_from = min(before.valid_from or fact.valid_from, fact.valid_from)
            self[place] = before.to_value(earlier)

    def _period(self, digest: str, number: int, at: datetime) -> tuple[Place, Fact, int]:
        """The period of a fact that a time belongs to, from a number on: the last one that had begun or not ended by then."""
        place = self.fact_place(digest)
        while True:
            fact = Fact.from_value(f"{digest}-{number}", self[place] or {})
            before = self.fact_place(f"{digest}-{number - 1}")
            earlier = number > 1 and fact.valid_from is not None and at < fact.valid_from
            value = self[before] if earlier else None
            ended = None if value is None else Fact.from_value("", value).valid_to
            if ended is None or at > ended:
                return place, fact, number
            place, number = before, number - 1

    def _latest(self, id_: str) -> tuple[Place, Fact, int] | None:
        """A fact, or the one that superseded it by now."""
        found = self.find(id_)
        seen = {id_}
        while found is not None and found[1].replaced_by is not None and found[1].replaced_by not in seen:
            seen.add(found[1].replaced_by)
            found = self.find(found[1].replaced_by)
        return found

    # The profile's fields

    def fields(self, schema: str) -> Fields:
        """The fields of a profile, to be changed."""
        return Fields(self.user_id, self[self.profile_place(schema)])

    def keep(self, schema: str, fields: Fields) -> None:
        """Store the fields of a profile, as they have become."""
        self[self.profile_place(schema)] = fields.value

    def profile_place(self, schema: str) -> Place:
        """Where the fields of a profile lie."""
        return user_space(self.user_id, PROFILE), schema


def _check_form(place: Place, value: Value) -> None:
    """Refuse a value that this package did not write.

    Raises:
        DamagedDataError: It did not.
    """
    namespace, key = place
    label = namespace[1]
    with reading(f"The item {key!r:.100} in {namespace!r:.200}"):
        if label == FACTS:
            Fact.from_value("", value)
        elif label == FORGOTTEN:
            datetime.fromisoformat(value["at"])
