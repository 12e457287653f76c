"""Reading entities and relations: a few items by their keys, and what they say together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from langgraph.store.base import GetOp

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.knowledge.entities.drafts import check_item, keys_of, relations_in
from langchain_agentmem.knowledge.entities.graphs import Entity, EntityList, Relation, RelationList, check_relation
from langchain_agentmem.knowledge.names import folded
from langchain_agentmem.knowledge.namespaces import ENTITIES, RELATIONS, user_namespace
from langchain_agentmem.knowledge.reading import answers, report
from langchain_agentmem.knowledge.unit import Value
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.text.quoting import ABOUT_QUOTED, quoted

IS_ENTITY = {"same_as": {"$exists": False}}
"""The filter by which a search finds entities, and not where they are."""

_SHORTEST = len('"a b c", ')
"""The fewest characters that a relation takes in a prompt."""


class Known:
    """What was read of a user's entities and relations."""

    def __init__(self, engine: StoreEngine, user_id: str) -> None:
        self._engine = engine
        self._entities = user_namespace(user_id, ENTITIES)
        self._relations = user_namespace(user_id, RELATIONS)
        self.values: dict[str, Any] = {}
        """What lies under the keys of names: an entity, where it is, or None."""
        self._related: dict[str, Any] = {}

    def load(self, keys: Iterable[str], *, relations: bool = False) -> Program[None]:
        """Read what is not known yet of the entities of names, and their relations under all of their names."""
        wanted = dict.fromkeys(keys)
        while True:
            mains = [main for key in wanted if (main := self.main(key)) is not None]
            wanted |= dict.fromkeys(mains)
            wanted |= dict.fromkeys(
                key for main in mains if self.values.get(main) for key in keys_of(self.values[main])
            )
            missing = [(self._entities, key) for key in wanted if key not in self.values]
            if relations:
                missing += [(self._relations, key) for key in wanted if key not in self._related]
            if not missing:
                return
            items = yield from answers(self._engine, [GetOp(*place) for place in missing])
            self.learn((*place, item and item.value) for place, item in zip(missing, items, strict=True))

    def learn(self, read: Iterable[tuple[tuple[str, ...], str, Any]]) -> None:
        """Take in items that were read; an entity's names say where its others lie. Damaged ones are as if not there."""
        for space, key, found in read:
            if space == self._relations:
                self._related[key] = None if found is None else {"relations": dict(self._readable(key, found))}
                continue
            value = found
            try:
                if value is not None:
                    check_item(value, relations=False)
            except DamagedDataError as error:
                report(space, key, error)
                value = None
            self.values[key] = value
            if value is not None and "same_as" not in value:
                for other in keys_of(value)[1:]:
                    self.values[other] = {"same_as": key}

    def _readable(self, key: str, item: Value) -> Iterator[tuple[str, Value]]:
        """The relations in an item that are not damaged."""
        try:
            with reading(f"The relations of {shown(key)}"):
                relations = list(item["relations"].items())
        except DamagedDataError as error:
            report(self._relations, key, error)
            return
        for id_, relation in relations:
            try:
                check_relation(relation)
            except DamagedDataError as error:
                report(self._relations, key, error)
            else:
                yield id_, relation

    def main(self, key: str) -> str | None:
        """The key of the main name of an entity, as far as it is known.

        Items that were read one after the other may show an entity before and after it became one with another.
        """
        passed: set[str] = set()
        while key not in passed:
            value = self.values.get(key, {})
            if value is None:
                return None
            if "same_as" not in value:
                return key if key in self.values or passed else None
            passed.add(key)
            key = value["same_as"]
        return None

    def entity(self, key: str) -> Value | None:
        """The entity of a name."""
        main = self.main(key)
        value: Value | None = None if main is None else self.values.get(main)
        return value

    def entities(self, keys: Iterable[str]) -> EntityList:
        """The entities of names, in their order, each once."""
        values = (self.entity(key) for key in keys)
        return EntityList(Entity.of(one) for one in {one["name"]: one for one in values if one is not None}.values())

    def relations_of(self, key: str) -> list[Value]:
        """The relations under all names of an entity."""
        entity = self.entity(key)
        names = [] if entity is None else keys_of(entity)
        return list({one["id"]: one for name in names for one in relations_in(self._related.get(name))}.values())

    def shown(self, values: Iterable[Value]) -> RelationList:
        """Relations as they are given, the last changed first; those that entities had in common are one."""
        merged: dict[Any, Value] = {}
        for value in sorted(values, key=lambda one: str(one["updated_at"])):
            ends = [self.entity(key) for key in (folded(value["subject"]), folded(value["object"]))]
            subject, object_ = (None if end is None else end["name"] for end in ends)
            if subject is None or object_ is None:
                continue
            what = (subject, folded(value["predicate"]), object_, value["valid_from"], value["valid_to"])
            before = merged.pop(what, value)
            sources = dict.fromkeys([*before["sources"], *value["sources"]])
            created = min(before["created_at"], value["created_at"])
            merged[what] = {**value, "sources": list(sources), "created_at": created}
        return RelationList(Relation.of(one, what[0], what[2]) for what, one in reversed(merged.items()))


def reading_about(
    known: Known, keys: Iterable[str], most: int, at: datetime
) -> Program[tuple[EntityList, RelationList]]:
    """Read entities, and their relations that hold at a time.

    Args:
        known: Takes in what is read.
        keys: The keys of their names.
        most: How many characters there will be room for.
        at: The time.
    """
    keys = list(keys)
    yield from known.load(keys, relations=True)
    mains = list(dict.fromkeys(main for key in keys if (main := known.main(key)) is not None))
    # More than these have no room, however short they are.
    values = latest(one for main in mains for one in known.relations_of(main) if holds(one, at))[: most // _SHORTEST]
    yield from known.load(key for value in values for key in ends_of(value))
    return known.entities(mains), known.shown(values)


def context_block(entities: Sequence[Entity], relations: Sequence[Relation], most: int) -> str:
    """Entities and relations for a prompt: as many as fit, the more important before."""
    told = told_of(entities, relations, most - len(f"{ABOUT_QUOTED}\n"))
    return f"{ABOUT_QUOTED}\n{quoted(told)}" if any(told.values()) else ""


def told_of(entities: Sequence[Entity], relations: Sequence[Relation], most: int) -> dict[str, list[Any]]:
    """As many entities and relations as fit, the more important before.

    Args:
        entities: The entities.
        relations: The relations.
        most: The most characters of all of it, quoted.
    """
    told: dict[str, list[Any]] = {"entities": [], "relations": []}
    left = most - len(quoted(told))
    # Descriptions and attributes leave room for relations.
    kept = left // 2 if relations else 0

    def tell(where: str, form: Any, least: int = 0) -> bool:
        nonlocal left
        size = len(quoted(form)) - len("<data></data>") + len(", ")
        if left - size < least:
            return False
        told[where].append(form)
        left -= size
        return True

    for one in entities:
        short = _filled({"name": one.name, "kind": one.kind, "also called": list(one.aliases)})
        more = _filled({"description": one.description, "attributes": one.attributes})
        tell("entities", {**short, **more}, kept) or tell("entities", short) or tell("entities", {"name": one.name})
    for relation in relations:
        tell("relations", str(relation))
    return told


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def ends_of(relation: Value) -> tuple[str, str]:
    """The keys of the names that a stored relation lies under: its subject's and its object's."""
    return folded(relation["subject"]), folded(relation["object"])


def latest(values: Iterable[Value]) -> list[Value]:
    """Stored relations, those that changed last first."""
    return sorted(values, key=lambda one: str(one["updated_at"]), reverse=True)


def holds(relation: Value, at: datetime) -> bool:
    """Whether a stored relation is so at a time."""
    return Relation.of(relation, "", "").holds(at)
