"""Facts of one user in a unit of work: add, confirm, supersede, end and forget them.

A fact is stored under the digest of its statement. Two writers who add the same statement therefore change the same item,
and the second one confirms the fact of the first.

A fact that ended and became true again has several periods. The item under the digest holds the latest period. Earlier
periods are stored under the digest with the period's number.

A forgotten fact leaves a tombstone, which holds the time and nothing of the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.knowledge.facts.facts import Fact, digest_in, fact_id
from langchain_agentmem.knowledge.facts.normalization import digest_of_fact
from langchain_agentmem.knowledge.facts.statements import MAX_TOPICS, Statement
from langchain_agentmem.knowledge.namespaces import ItemKey, fact_key, forgotten_fact_key
from langchain_agentmem.knowledge.unit import UnitOfWork

MAX_SOURCES = 20
"""Number of message IDs that a fact keeps: the first one, and the last ones."""


def joined_sources(known: Iterable[str], new: Iterable[str]) -> list[str]:
    """Return the sources of a fact after a statement with further sources."""
    sources = list(dict.fromkeys([*known, *new]))
    return sources if len(sources) <= MAX_SOURCES else [sources[0], *sources[1 - MAX_SOURCES :]]


class StoredFact(NamedTuple):
    """One period of a fact, as it is stored."""

    key: ItemKey
    fact: Fact
    number: int
    """Number of the period, from 1."""


def keys_of_digest(user_id: str, digest: str) -> list[ItemKey]:
    """Return the keys that every change of a fact reads: its latest period and its tombstone."""
    return [fact_key(user_id, digest), forgotten_fact_key(user_id, digest)]


def keys_of_text(user_id: str, text: str, language: str) -> list[ItemKey]:
    """Same as `keys_of_digest`, for the text of a fact in the language of the store."""
    return keys_of_digest(user_id, digest_of_fact(user_id, text, language))


class StoredFacts:
    """The facts of one user in a unit of work.

    Args:
        unit: The unit of work.
    """

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit
        self.added: set[str] = set()
        """IDs of the facts that are new."""

    def find(self, id_: str) -> StoredFact | None:
        """Return a fact by its ID, or None.

        Raises:
            DamagedDataError: The stored item does not hold a fact.
        """
        for key in (digest_in(id_), id_):
            stored = self._read(key) if key else None
            if stored is not None and stored.fact.id == id_:
                return stored
        return None

    def add(self, statement: Statement, *, override: bool = False) -> Fact | None:
        """Add a fact, or confirm the stored fact that says the same.

        Args:
            statement: The statement.
            override: If true, the statement counts as later than everything stored. Default: False.

        Returns:
            The fact; None if it was forgotten and the statement is not known to be later.
        """
        digest = digest_of_fact(self._unit.user_id, statement.text, self._unit.language)
        if not override and self._is_forgotten(digest, statement):
            return None
        if self._tombstone(digest) is not None:
            self._unit[forgotten_fact_key(self._unit.user_id, digest)] = None
        latest = self._read(digest)
        number = 1
        if latest is not None:
            ended = latest.fact.valid_to
            if ended is None or (statement.at <= ended and not override):
                return self._confirm(self._period_at(latest, statement.at), statement)
            # The fact is true again: the period that ended moves to a key of its own.
            self._unit[self._key(latest.fact.id)] = self._unit[latest.key]
            number = latest.number + 1
        fact = Fact(
            id=fact_id(digest, number),
            text=statement.text,
            topics=list(statement.topics),
            sources=list(statement.sources)[-MAX_SOURCES:],
            first_seen=statement.at,
            last_seen=statement.at,
            valid_from=statement.valid_from or statement.at,
            confidence=statement.confidence,
            metadata=dict(statement.metadata),
            agent=statement.agent,
        )
        self._store(StoredFact(self._key(digest), fact, number))
        self._end_earlier_periods(fact, number)
        self.added.add(fact.id)
        return fact

    def confirm(self, id_: str, statement: Statement) -> Fact | None:
        """Confirm a fact by a statement in other words. If the fact has ended or is gone, add the statement.

        Args:
            id_: ID of the fact.
            statement: The statement.

        Returns:
            The fact; None if it was forgotten and the statement is not known to be later.
        """
        found = self.find(id_)
        if self._is_forgotten(digest_in(id_), statement):
            return None
        if found is None or found.fact.valid_to is not None:
            return self.add(statement)
        return self._confirm(found, statement)

    def replace(self, id_: str, statement: Statement, *, override: bool = False) -> Fact | None:
        """Supersede a fact by a statement. The superseded fact keeps its text and gets an end date.

        If a later statement has superseded the fact already, the new fact is inserted between them in the order of time.

        Args:
            id_: ID of the fact to supersede.
            statement: The statement.
            override: As in `add`.

        Returns:
            The new fact; None if it or the superseded fact was forgotten and the statement is not known to be later.
        """
        old = self._successor(id_)
        # A forgotten fact must not come back in other words either.
        is_forgotten = not override and self._is_forgotten(digest_in(id_), statement)
        new = None if is_forgotten else self.add(statement, override=override)
        if new is None or new.valid_to is not None or old is None or old.fact.id == new.id:
            return new
        if old.fact.valid_to is not None:
            return new
        is_late = old.fact.last_seen is not None and statement.at < old.fact.last_seen
        start = new.valid_from or statement.at
        if is_late and not override:
            self._insert_before(old, new, start)
        else:
            _supersede(old.fact, new, start)
            self._store(old)
        found = self.find(new.id)
        if found is not None:
            self._store(found._replace(fact=new))
        return new

    def end(self, id_: str, at: datetime) -> Fact | None:
        """End the validity period of a fact.

        Args:
            id_: ID of the fact.
            at: When it ended.

        Returns:
            The fact; None if there is no such fact or it has ended before.
        """
        found = self.find(id_)
        if found is None or found.fact.valid_to is not None:
            return None
        fact = found.fact
        fact.valid_to = at if fact.valid_from is None else max(at, fact.valid_from)
        self._store(found)
        return fact

    def forget(self, id_: str, at: datetime) -> bool:
        """Delete a fact with its earlier periods, and the facts that it superseded unless they are true again.

        Damaged items are deleted too.

        Args:
            id_: ID of the fact.
            at: When it was forgotten.

        Returns:
            True if there was such a fact.
        """
        unit = self._unit
        digest = digest_in(id_)
        if not digest or unit[self._key(digest)] is None:
            return False
        pending = [digest]
        while pending:
            digest = pending.pop()
            value = unit[self._key(digest)]
            if value is None:
                continue
            number = value.get("number")
            numbers = range(1, number) if isinstance(number, int) else ()
            earlier = [self._key(fact_id(digest, number)) for number in numbers]
            unit.need(earlier)
            periods = [unit[key] for key in earlier]
            for period in (value, *periods):
                superseded = (period or {}).get("replaces")
                if isinstance(superseded, str) and not self._is_true(superseded):
                    pending.append(digest_in(superseded))
            for key in (self._key(digest), *earlier):
                unit[key] = None
            # An earlier version may have stored the fact under another digest than the one that statements have now.
            texts = {text for period in (value, *periods) if isinstance(text := (period or {}).get("text"), str)}
            for each in {digest, *(digest_of_fact(unit.user_id, text, unit.language) for text in texts)}:
                unit[forgotten_fact_key(unit.user_id, each)] = {"at": at.isoformat()}
        return True

    # Reading

    def _key(self, key: str) -> ItemKey:
        return fact_key(self._unit.user_id, key)

    def _read(self, key: str) -> StoredFact | None:
        """Return one period of a fact; `key` is the fact's digest for the latest period, and its ID for an earlier one.

        Raises:
            DamagedDataError: The stored item does not hold a fact.
        """
        value = self._unit[self._key(key)]
        return None if value is None else StoredFact(self._key(key), Fact.from_item(key, value), value["number"])

    def _tombstone(self, digest: str) -> datetime | None:
        """Return when a fact was forgotten, or None."""
        namespace, key = forgotten_fact_key(self._unit.user_id, digest)
        value = self._unit[namespace, key]
        with reading(f"The item {shown(key)} in {shown(namespace, 200)}"):
            return None if value is None else datetime.fromisoformat(value["at"])

    def _is_forgotten(self, digest: str, statement: Statement) -> bool:
        """Return true if a fact was forgotten and the statement is not known to be later."""
        forgotten = self._tombstone(digest) if digest else None
        return forgotten is not None and (not statement.timed or statement.at <= forgotten)

    def _is_true(self, id_: str) -> bool:
        """Return true if the statement of a fact is true, in this period or a later one."""
        value = self._unit[self._key(digest_in(id_))]
        return value is not None and value.get("valid_to") is None

    def _period_at(self, latest: StoredFact, at: datetime) -> StoredFact:
        """Return the period that a time belongs to: the last one that had started, or had not ended, by then.

        Args:
            latest: The latest period of the fact.
            at: The time.
        """
        period = latest
        digest = digest_in(latest.fact.id)
        while period.number > 1 and period.fact.valid_from is not None and at < period.fact.valid_from:
            earlier = self._read(fact_id(digest, period.number - 1))
            if earlier is None or earlier.fact.valid_to is None or at > earlier.fact.valid_to:
                break
            period = earlier
        return period

    def _successor(self, id_: str) -> StoredFact | None:
        """Return a fact, or the last of the facts that superseded it one after the other."""
        found = self.find(id_)
        seen = {id_}
        while found is not None and found.fact.replaced_by is not None and found.fact.replaced_by not in seen:
            seen.add(found.fact.replaced_by)
            found = self.find(found.fact.replaced_by)
        return found

    # Writing

    def _store(self, stored: StoredFact) -> None:
        self._unit[stored.key] = stored.fact.to_value(stored.number)

    def _confirm(self, stored: StoredFact, statement: Statement) -> Fact:
        """Add the topics, sources, times, confidence and metadata of a statement to a fact that says the same."""
        fact = stored.fact
        fact.topics = list(dict.fromkeys([*fact.topics, *statement.topics]))[:MAX_TOPICS]
        fact.sources = joined_sources(fact.sources, statement.sources)
        fact.first_seen = min(fact.first_seen or statement.at, statement.at)
        fact.last_seen = max(fact.last_seen or statement.at, statement.at)
        start = statement.valid_from or statement.at
        fact.valid_from = min(fact.valid_from or start, start)
        fact.confidence = max(fact.confidence, statement.confidence)
        fact.metadata = {**fact.metadata, **statement.metadata}
        fact.agent = fact.agent or statement.agent
        self._store(stored)
        self._end_earlier_periods(fact, stored.number)
        return fact

    def _end_earlier_periods(self, fact: Fact, number: int) -> None:
        """End the earlier periods of a fact before this one starts, so that no two periods overlap."""
        digest = digest_in(fact.id)
        for earlier in range(number - 1, 0, -1):
            stored = self._read(fact_id(digest, earlier))
            if stored is None or fact.valid_from is None:
                return
            before = stored.fact
            if before.valid_to is None or before.valid_to <= fact.valid_from:
                return
            before.valid_to = fact.valid_from
            before.valid_from = min(before.valid_from or fact.valid_from, fact.valid_from)
            self._store(stored)

    def _insert_before(self, later: StoredFact, new: Fact, start: datetime) -> None:
        """Insert a late statement into a chain of facts that superseded each other.

        The new fact ends when the next one starts, and the fact before it ends when the new one starts.

        Args:
            later: The last fact of the chain.
            new: The new fact.
            start: Start of the new fact's validity period.
        """
        seen = {new.id, later.fact.id}
        earlier = self._superseded_by(later, seen)
        while earlier is not None and earlier.fact.valid_from is not None and earlier.fact.valid_from > start:
            later = earlier
            earlier = self._superseded_by(later, seen)
        if earlier is not None and earlier.fact.valid_to is not None and earlier.fact.valid_to > start:
            earlier.fact.valid_to = start
            earlier.fact.replaced_by, new.replaces = new.id, earlier.fact.id
            later.fact.replaces = new.id
            self._store(earlier)
            self._store(later)
        new.valid_to, new.replaced_by = max(later.fact.valid_from or start, start), later.fact.id

    def _superseded_by(self, stored: StoredFact, seen: set[str]) -> StoredFact | None:
        """Return the fact that a fact superseded, unless it was seen before: damaged items may refer to each other."""
        id_ = stored.fact.replaces
        if not id_ or id_ in seen:
            return None
        seen.add(id_)
        return self.find(id_)


def _supersede(old: Fact, new: Fact, start: datetime) -> None:
    """End a fact when the one that supersedes it starts."""
    old.valid_to, old.replaced_by = max(old.valid_from or start, start), new.id
    new.replaces = old.id
