"""Facts under outdated digests: earlier versions, and stores in another language, compared facts by another rule.

A fact is stored under the digest of its statement. If the rule changes, a statement no longer finds the stored fact that says
the same, and is stored a second time. `rekey_facts` moves such facts to their present digests and joins facts that are equal.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.knowledge.facts.facts import Fact, digest_in, fact_id
from langchain_agentmem.knowledge.facts.normalization import digest_of_fact
from langchain_agentmem.knowledge.facts.statements import MAX_TOPICS
from langchain_agentmem.knowledge.facts.stored import joined_sources
from langchain_agentmem.knowledge.items import items_in, readable
from langchain_agentmem.knowledge.namespaces import FACTS, ItemKey, fact_key, user_namespace
from langchain_agentmem.knowledge.unit import UnitOfWork, commit
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine

_log = logging.getLogger(__name__)

_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def rekey_facts(store: StoreEngine, user_id: str) -> Program[int]:
    """Move the facts of a user that are stored under outdated digests. Their IDs change.

    Args:
        store: The store.
        user_id: ID of the user.

    Returns:
        Number of the facts that moved.
    """
    items = yield from items_in(store, user_namespace(user_id, FACTS))
    facts = list(readable(items, Fact.of_item))
    outdated = {one.id for one in facts if digest_in(one.id) != _digest(user_id, one, store.language)}
    if not outdated:
        return 0
    digests = {digest_in(id_) for id_ in outdated}
    digests |= {_digest(user_id, one, store.language) for one in facts if one.id in outdated}
    near = {one.id: {digest_in(id_) for id_ in (one.replaces, one.replaced_by) if id_} for one in facts}
    others = {digest_in(id_) for id_, of_near in near.items() if of_near & digests} - digests

    def edit(unit: UnitOfWork) -> int:
        groups: dict[str, list[Fact]] = {}
        for digest in digests:
            for key, one in _periods(unit, digest):
                groups.setdefault(_digest(user_id, one, store.language), []).append(one)
                unit[key] = None
        joined = {digest: _joined(group) for digest, group in groups.items()}
        new_ids = {
            old: fact_id(digest, number)
            for digest, periods in joined.items()
            for number, (_, ids) in enumerate(periods, 1)
            for old in ids
        }
        for digest, periods in joined.items():
            for number, (one, _) in enumerate(periods, 1):
                name = digest if number == len(periods) else fact_id(digest, number)
                unit[fact_key(user_id, name)] = _renamed(one, fact_id(digest, number), new_ids).to_value(number)
        for digest in others:
            for key, one in _periods(unit, digest):
                unit[key] = _renamed(one, one.id, new_ids).to_value(int(one.id.rpartition("-")[2]))
        return sum(old != new for old, new in new_ids.items())

    keys = [fact_key(user_id, digest) for digest in (*digests, *others)]
    return (yield from commit(store, user_id, keys, edit))


def _digest(user_id: str, fact: Fact, language: str) -> str:
    return digest_of_fact(user_id, fact.text, language)


def _periods(unit: UnitOfWork, digest: str) -> list[tuple[ItemKey, Fact]]:
    """Return the periods of a fact with the keys of their items, the earliest first."""
    latest = unit[fact_key(unit.user_id, digest)]
    if latest is None:
        return []
    number = latest.get("number")
    earlier = range(1, number) if isinstance(number, int) else ()
    keys = [fact_key(unit.user_id, name) for name in (*(fact_id(digest, one) for one in earlier), digest)]
    unit.need(keys)
    found = []
    for key in keys:
        try:
            value = unit[key]
            found += [] if value is None else [(key, Fact.from_item(key[1], value))]
        except DamagedDataError as error:
            _log.warning("A fact stays under its outdated digest: %s", error)
    return found


def _joined(periods: Iterable[Fact]) -> list[tuple[Fact, list[str]]]:
    """Return the periods of one statement in order, with their former IDs. Periods that overlap are joined."""
    result: list[tuple[Fact, list[str]]] = []
    for one in sorted(periods, key=lambda one: one.valid_from or _EARLIEST):
        if result and (one.valid_from or _EARLIEST) < (result[-1][0].valid_to or _LATEST):
            _join(result[-1][0], one)
            result[-1][1].append(one.id)
        else:
            result.append((one, [one.id]))
    return result


def _join(fact: Fact, other: Fact) -> None:
    """Add to a fact what another one adds that says the same and starts later."""
    if (other.valid_to or _LATEST) > (fact.valid_to or _LATEST):
        fact.valid_to, fact.replaced_by = other.valid_to, other.replaced_by
    fact.topics = list(dict.fromkeys([*fact.topics, *other.topics]))[:MAX_TOPICS]
    fact.sources = joined_sources(fact.sources, other.sources)
    fact.first_seen = min(fact.first_seen or _LATEST, other.first_seen or _LATEST)
    fact.last_seen = max(fact.last_seen or _EARLIEST, other.last_seen or _EARLIEST)
    fact.confidence = max(fact.confidence, other.confidence)
    fact.metadata = {**fact.metadata, **other.metadata}
    fact.agent = fact.agent or other.agent
    fact.replaces = fact.replaces or other.replaces


def _renamed(fact: Fact, own: str, new_ids: Mapping[str, str]) -> Fact:
    """Return a fact that refers to other facts by their new IDs."""
    near = {name: new_ids.get(id_, id_) for name in ("replaces", "replaced_by") if (id_ := getattr(fact, name))}
    return fact.model_copy(update={name: None if id_ == own else id_ for name, id_ in near.items()})
