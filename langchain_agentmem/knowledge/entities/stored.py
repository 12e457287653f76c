"""The knowledge graph of one user in a unit of work: add, merge and delete entities and relations.

`values` describes the stored form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import DamagedDataError, InvalidInputError
from langchain_agentmem.knowledge.entities.changes import EntityChange, EntityChanges, RelationChange, RelationRemoval
from langchain_agentmem.knowledge.entities.merging import add_names, describe, joined_sources, merged, search_text
from langchain_agentmem.knowledge.entities.values import (
    check_name_item,
    check_relations_item,
    ends_of,
    is_alias,
    keys_of,
    new_entity,
    new_relation,
    relations_in,
)
from langchain_agentmem.knowledge.names import folded, name_key
from langchain_agentmem.knowledge.namespaces import ENTITIES, RELATIONS, ItemKey, Namespace, user_namespace
from langchain_agentmem.knowledge.unit import UnitOfWork, Value

MAX_NAMES = 200
"""Upper bound of the names of an entity."""

MAX_ATTRIBUTES = 200
"""Upper bound of the attributes of an entity."""

MAX_RELATIONS = 5_000
"""Upper bound of the relations of a name."""


@dataclass
class GraphChanges:
    """Summary of the changes to a graph."""

    entities: list[str] = field(default_factory=list)
    """Main names of new and updated entities."""
    relations: int = 0
    """Number of relations that were added, updated or deleted."""
    forgotten: int = 0
    """Number of entities that were deleted."""


class StoredGraph:
    """The entities and relations of one user in a unit of work.

    Args:
        unit: The unit of work.
        now: The current time, as ISO 8601 in UTC.
    """

    def __init__(self, unit: UnitOfWork, now: str) -> None:
        self._unit = unit
        self._entities = user_namespace(unit.user_id, ENTITIES)
        self._relations = user_namespace(unit.user_id, RELATIONS)
        self._now = now
        self._checked: set[ItemKey] = set()

    def apply(self, changes: EntityChanges, sources: Sequence[str] = ()) -> None:
        """Make several changes.

        Args:
            changes: The changes.
            sources: Message IDs for changes that name none. Default: none.
        """
        self._read_ahead(changes)
        for entity in changes.entities:
            self.upsert(entity, sources)
        for removal in changes.wrong_relations:
            self.unrelate(removal)
        for relation in changes.relations:
            self.relate(relation, sources)
        for name in changes.forgotten:
            self.forget(name)

    def upsert(self, change: EntityChange, sources: Sequence[str] = ()) -> Value:
        """Add or update an entity. Entities that share one of its names are merged with it.

        Args:
            change: The change.
            sources: Message IDs if the change names none. Default: none.

        Returns:
            The value of the entity.
        """
        names = {name_key("name", name): name for name in (change.name, *change.aliases)}
        found = self._entities_of(names)
        own = self._main_key(next(iter(names)))
        known = [found.pop(own)] if own in found else []
        known += sorted(found.values(), key=lambda one: (one["updated_at"], one["name"]), reverse=True)
        entity = merged(known) if known else new_entity(change.name, self._now)
        if own is None:
            # The new name becomes the main name; the old main name becomes an alias.
            entity["aliases"] = [entity["name"], *entity["aliases"]] if known else []
            entity["name"] = change.name
        add_names(entity, names)
        describe(entity, change)
        entity["sources"] = joined_sources(entity["sources"], change.sources or sources)
        entity["updated_at"] = self._now
        self._store_entity(entity)
        return entity

    def relate(self, change: RelationChange, sources: Sequence[str] = ()) -> Value:
        """Add or update a relation. Entities that do not exist are added.

        Args:
            change: The change.
            sources: Message IDs if the change names none. Default: none.

        Returns:
            The value of the relation, with the main names of both entities.
        """
        check_period(change)
        self._need_names([change.subject, change.object])
        subject, object_ = self._existing(change.subject), self._existing(change.object)
        relation = _same_period(self._between(subject, change.predicate, object_), change)
        if relation is None:
            relation = new_relation(subject["name"], change.predicate, object_["name"], self._now)
        dates = {"valid_from": change.valid_from, "valid_to": change.valid_to}
        relation = {
            **relation,
            **{name: date for name, date in dates.items() if date is not None},
            "sources": joined_sources(relation["sources"], change.sources or sources),
            "updated_at": self._now,
        }
        self._store_relation(relation)
        return {**relation, "subject": subject["name"], "object": object_["name"]}

    def unrelate(self, removal: RelationRemoval) -> int:
        """Delete a relation with all its validity periods.

        Returns:
            The number of deleted periods.
        """
        self._need_names([removal.subject, removal.object])
        subject, object_ = self._find(removal.subject), self._find(removal.object)
        if subject is None or object_ is None:
            return 0
        relations = self._between(subject, removal.predicate, object_)
        for relation in relations:
            self._delete_relation(relation)
        return len(relations)

    def forget(self, name: str) -> bool:
        """Delete an entity with all its names and relations. A damaged entity is deleted too.

        Returns:
            True if there was such an entity.
        """
        self._need_names([name])
        try:
            entity = self._find(name)
        except DamagedDataError:  # its other names are unknown
            self._unit[self._entities, name_key("name", name)] = None
            return True
        if entity is None:
            return False
        keys = keys_of(entity)
        relations = list(self._relations_of(keys))
        self._need(self._relations, (end for one in relations for end in ends_of(one)))
        for relation in relations:
            self._delete_relation(relation)
        for key in keys:
            self._unit[self._entities, key] = None
        return True

    def changes(self) -> GraphChanges:
        """Return a summary of what changes in the unit of work."""
        summary = GraphChanges()
        relations: set[str] = set()
        for (namespace, key), value in self._unit.changes.items():
            before = self._unit.before((namespace, key))
            if namespace == self._relations:
                old, new = ({one["id"]: one for one in relations_in(item)} for item in (before, value))
                relations |= {id_ for id_ in old.keys() | new.keys() if old.get(id_) != new.get(id_)}
            elif namespace != self._entities:
                continue
            elif value is None:
                summary.forgotten += before is not None and not is_alias(before)
            elif not is_alias(value):
                summary.entities.append(value["name"])
        summary.relations = len(relations)
        return summary

    # Reading

    def _read_ahead(self, changes: EntityChanges) -> None:
        """Make sure that all items that several changes touch are read together."""
        related: list[RelationChange | RelationRemoval] = [*changes.relations, *changes.wrong_relations]
        names = [name for one in changes.entities for name in (one.name, *one.aliases)]
        ends = [*(name for one in related for name in (one.subject, one.object)), *changes.forgotten]
        self._need_names([*names, *ends], relations=bool(ends))
        found = self._entities_of(name_key("a name", name) for name in (*names, *ends))
        self._need_names((key for entity in found.values() for key in keys_of(entity)), relations=bool(ends))

    def _need_names(self, names: Iterable[str], *, relations: bool = True) -> None:
        """Make sure that the items of some names are read.

        Args:
            names: The names.
            relations: If true, the relations of the names are read too. Default: True.
        """
        namespaces = (self._entities, self._relations) if relations else (self._entities,)
        keys = [name_key("a name", name) for name in names]
        self._unit.need((namespace, key) for namespace in namespaces for key in keys)

    def _need(self, namespace: Namespace, keys: Iterable[str]) -> None:
        self._unit.need((namespace, key) for key in keys)

    def _entity_item(self, key: str) -> Value | None:
        """Return the value of a name's item, checked once."""
        value = self._unit[self._entities, key]
        if value is not None and (self._entities, key) not in self._checked:
            check_name_item(value)
            self._checked.add((self._entities, key))
        return value

    def _relations_item(self, key: str) -> Value | None:
        """Return the value of the item with the relations of a name, checked once."""
        value = self._unit[self._relations, key]
        if value is not None and (self._relations, key) not in self._checked:
            check_relations_item(value)
            self._checked.add((self._relations, key))
        return value

    def _main_key(self, key: str) -> str | None:
        item = self._entity_item(key)
        return None if item is None else str(item.get("same_as", key))

    def _entities_of(self, keys: Iterable[str]) -> dict[str, Value]:
        """Return the entities that have one of some names, by the keys of their main names."""
        keys = list(keys)
        self._need(self._entities, keys)
        main_keys = list(dict.fromkeys(main for key in keys if (main := self._main_key(key)) is not None))
        self._need(self._entities, main_keys)
        return {main: value for main in main_keys if (value := self._entity_item(main)) is not None}

    def _find(self, name: str) -> Value | None:
        return next(iter(self._entities_of([name_key("name", name)]).values()), None)

    def _existing(self, name: str) -> Value:
        """Return the entity of a name. Add it if there is none."""
        entity = self._find(name)
        if entity is None:
            entity = new_entity(name, self._now)
            self._store_entity(entity)
        return entity

    def _relations_of(self, keys: Iterable[str]) -> Iterator[Value]:
        """Yield the relations of some names, each once."""
        keys = list(keys)
        self._need(self._relations, keys)
        seen = set()
        for key in keys:
            for relation in relations_in(self._relations_item(key)):
                if relation["id"] not in seen:
                    seen.add(relation["id"])
                    yield relation

    def _between(self, subject: Value, predicate: str, object_: Value) -> list[Value]:
        """Return all validity periods of a relation, under whichever names they are stored."""
        subjects, objects = set(keys_of(subject)), set(keys_of(object_))
        found = []
        for one in self._relations_of(keys_of(subject)):
            start, end = ends_of(one)
            if start in subjects and end in objects and folded(one["predicate"]) == folded(predicate):
                found.append(one)
        return found

    # Writing

    def _store_entity(self, entity: Value) -> None:
        main, *others = keys_of(entity)
        for what, count, most in (
            ("names", len(others) + 1, MAX_NAMES),
            ("attributes", len(entity["attributes"]), MAX_ATTRIBUTES),
        ):
            if count > most:
                msg = f"The entity {shown(entity['name'])} would have {count} {what}; at most {most} are accepted."
                raise InvalidInputError(msg)
        self._need(self._entities, others)
        entity["text"] = search_text(entity)
        self._unit[self._entities, main] = entity
        for key in others:
            if self._entity_item(key) != {"same_as": main}:
                self._unit[self._entities, key] = {"same_as": main}

    def _store_relation(self, relation: Value) -> None:
        self._need(self._relations, ends_of(relation))
        for key in dict.fromkeys(ends_of(relation)):
            relations = dict((self._relations_item(key) or {"relations": {}})["relations"])
            relations[relation["id"]] = relation
            if len(relations) > MAX_RELATIONS:
                msg = f"{shown(key)} would have {len(relations):,} relations; at most {MAX_RELATIONS:,} are accepted."
                raise InvalidInputError(msg)
            self._unit[self._relations, key] = {"relations": relations}

    def _delete_relation(self, relation: Value) -> None:
        self._need(self._relations, ends_of(relation))
        for key in dict.fromkeys(ends_of(relation)):
            left = dict((self._relations_item(key) or {"relations": {}})["relations"])
            left.pop(relation["id"], None)
            self._unit[self._relations, key] = {"relations": left} if left else None


def check_period(change: RelationChange) -> None:
    """Refuse a relation that ends before it begins.

    Raises:
        InvalidInputError: It does.
    """
    start, end = change.valid_from, change.valid_to
    if start is not None and end is not None and end <= start:
        msg = f"A relation must not end before it begins; got valid_from {start} and valid_to {end}."
        raise InvalidInputError(msg)


def _same_period(relations: Iterable[Value], change: RelationChange) -> Value | None:
    """Return the stored validity period that a change is about; None if the change is a new one.

    It overlaps with the period of the change. Among several, one with the same start wins, then one with the same end, then
    one that has not ended, then the latest. All dates are ISO 8601 in UTC, whose order is that of time.
    """
    start, end = change.valid_from, change.valid_to

    def overlaps(one: Value) -> bool:
        ends_before = start is not None and one["valid_to"] is not None and one["valid_to"] <= start
        starts_after = end is not None and one["valid_from"] is not None and one["valid_from"] >= end
        return not ends_before and not starts_after

    def rank(one: Value) -> tuple[bool, bool, bool, str, str]:
        same_start = start is not None and one["valid_from"] == start
        same_end = end is not None and one["valid_to"] == end
        return same_start, same_end, one["valid_to"] is None, one["valid_from"] or "", one["created_at"]

    return max(filter(overlaps, relations), key=rank, default=None)
