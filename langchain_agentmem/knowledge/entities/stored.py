"""The knowledge graph of one user in a unit of work: add, merge and delete entities and relations.

`values` describes the stored form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import DamagedDataError, InvalidInputError
from langchain_agentmem.knowledge.entities.changes import EntityChange, EntityChanges, RelationChange, RelationRemoval
from langchain_agentmem.knowledge.entities.merging import (
    add_names,
    describe,
    joined_sources,
    merged,
    note_merge,
    search_text,
    separated,
)
from langchain_agentmem.knowledge.entities.values import (
    check_name_item,
    check_relations_item,
    ends_of,
    is_alias,
    keys_of,
    merges_of,
    new_entity,
    new_relation,
    relations_in,
)
from langchain_agentmem.knowledge.names import folded, name_key
from langchain_agentmem.knowledge.namespaces import ENTITIES, RELATIONS, ItemKey, Namespace, user_namespace
from langchain_agentmem.knowledge.unit import UnitOfWork, Value

T = TypeVar("T")

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

    def apply_valid(self, changes: EntityChanges, sources: Sequence[str] = ()) -> list[str]:
        """Make those of a model's changes that are valid for the stored graph.

        Args:
            changes: The changes.
            sources: Message IDs for changes that name none. Default: none.

        Returns:
            The errors of the other changes.
        """
        self._read_ahead(changes)
        faults: list[str] = []

        def each(what: str, items: Sequence[T], change: Callable[[T], object]) -> None:
            for number, item in enumerate(items, 1):
                before = dict(self._unit.changes)
                try:
                    change(item)
                except InvalidInputError as error:
                    self._unit.changes = before
                    faults.append(f"{what} {number}: {error}")

        each("Entity", changes.entities, lambda one: self.upsert(one, sources, by_model=True))
        each("Wrong relation", changes.wrong_relations, self.unrelate)
        each("Relation", changes.relations, lambda one: self.relate(one, sources))
        each("Forgotten entity", changes.forgotten, self.forget)
        return faults

    def upsert(self, change: EntityChange, sources: Sequence[str] = (), *, by_model: bool = False) -> Value:
        """Add or update an entity. Entities that share one of its names are merged with it.

        Args:
            change: The change.
            sources: Message IDs if the change names none. Default: none.
            by_model: If true, a known entity is merged with another one only if the change has two of its names.
                Default: False.

        Returns:
            The value of the entity.
        """
        change = self._distinguished(change)
        names = {name_key("name", name): name for name in (change.name, *change.aliases)}
        found = self._entities_of(names)
        own = self._main_key(next(iter(names)))
        if by_model:
            found = self._certain(found, own, names)
            names = {key: name for key, name in names.items() if (main := self._main_key(key)) is None or main in found}
        known = [found.pop(own)] if own in found else []
        known += sorted(found.values(), key=lambda one: (one["updated_at"], one["name"]), reverse=True)
        entity = merged(known, self._now) if known else new_entity(change.name, self._now)
        if own is None:
            # The new name becomes the main name; the old main name becomes an alias.
            entity["aliases"] = [entity["name"], *entity["aliases"]] if known else []
            entity["name"] = change.name
            if known:
                kept = {key for one in known for key in keys_of(one)}
                new = new_entity(change.name, self._now)
                add_names(new, {key: name for key, name in names.items() if key not in kept})
                describe(new, change)
                new["sources"] = list(change.sources or sources)
                note_merge(entity, known[0], [new], self._now)
        add_names(entity, names)
        describe(entity, change)
        entity["sources"] = joined_sources(entity["sources"], change.sources or sources)
        entity["updated_at"] = self._now
        self._store_entity(entity)
        return entity

    def _distinguished(self, change: EntityChange) -> EntityChange:
        """Return a change with a distinct name for another entity of the same word: Apple, an organisation; apple, a fruit.

        These are names that differ in capital letters, of entities of different kinds.
        """
        known = self._find(change.name)
        if known is None or not change.kind or not known["kind"] or folded(change.kind) == known["kind"]:
            return change
        key = name_key("name", change.name)
        spelling = next((name for name in (known["name"], *known["aliases"]) if folded(name) == key), known["name"])
        if spelling.islower() == change.name.islower():
            return change
        return change.model_copy(update={"name": f"{change.name} ({folded(change.kind)})"})

    def _certain(self, found: Mapping[str, Value], own: str | None, names: Iterable[str]) -> dict[str, Value]:
        """Return the known entities that a model's change refers to.

        Args:
            found: Entities that have one of the names, by the keys of their main names.
            own: Key of the main name of the entity that has the first name; None if there is none.
            names: Keys of the names.
        """
        shared = Counter(main for key in names if (main := self._main_key(key)) is not None)
        ranked = shared.most_common(2)
        best = own
        if own is None and ranked and (len(ranked) == 1 or ranked[0][1] > ranked[1][1]):
            best = ranked[0][0]
        return {main: one for main, one in found.items() if main == best or shared[main] > 1}

    def split(self, name: str, part: str | None) -> list[Value]:
        """Undo a merge of an entity.

        Args:
            name: A name of the entity.
            part: A name of an entity in the merge; None for the last merge.

        Returns:
            The entity that was kept, and those that were merged with it.

        Raises:
            InvalidInputError: There is no such entity or merge.
        """
        self._need_names([name], relations=False)
        entity = self._find(name)
        if entity is None:
            msg = f"There is no entity {shown(name, 60)} to split. `list` returns the names of all entities."
            raise InvalidInputError(msg)
        key = None if part is None else name_key("part", part)
        merges = merges_of(entity)
        if key is not None:
            added = [one for one in merges if _is_in(key, one["others"])]
            merges = added or [one for one in merges if _is_in(key, [one["kept"]])]
        if not merges:
            merged_with = "" if part is None else f" with {shown(part, 60)}"
            msg = f"The entity {shown(entity['name'], 60)} was not merged{merged_with}, so it cannot be split."
            raise InvalidInputError(msg)
        parts = separated(entity, merges[-1])
        parts[0]["updated_at"] = self._now
        kept = {key for one in parts for key in keys_of(one)}
        self._need(self._entities, [*kept, *keys_of(entity)])
        for old in keys_of(entity):
            if old not in kept:
                self._unit[self._entities, old] = None
        for one in parts:
            self._store_entity(one)
        return parts

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
        """Declare all items that several changes read or write, so that they are read together."""
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
        """Return all validity periods of a relation, under all names of its entities."""
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


def _is_in(key: str, entities: Iterable[Value]) -> bool:
    """Return true if one of some entities has a name."""
    return any(key in keys_of(one) for one in entities)


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
