"""How entities and relations are stored, and how changes of them are put together before they are stored at once.

An entity lies under the key of its main name; under the key of each other name lies `{"same_as": …}`, the key of the main
one. All relations of a name, those in which it is the object too, lie in one item under the name's key; so each relation is
in two items, under the names that it was stored with. What two entities become one by are those small items alone: relations
stay where they are, and belong to the entity that their names belong to. Reading all around an entity is reading a few
items by their keys.

A draft works on a unit of work (`knowledge.unit`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import DamagedDataError, InvalidInputError
from langchain_agentmem.knowledge.entities.changes import EntityChange, EntityChanges, RelationChange, RelationRemoval
from langchain_agentmem.knowledge.entities.graphs import check_entity, check_relation
from langchain_agentmem.knowledge.names import folded, name_key
from langchain_agentmem.knowledge.namespaces import ENTITIES, RELATIONS, ItemKey, user_namespace
from langchain_agentmem.knowledge.unit import UnitOfWork, Value

MAX_NAMES = 200
"""The most names of an entity."""

MAX_ATTRIBUTES = 200
"""The most attributes of an entity."""

MAX_RELATIONS = 5_000
"""The most relations under one name."""

MAX_SOURCES = 50
"""So many message ids are kept of an entity and of a relation: the last given."""


@dataclass
class Told:
    """What a draft changes."""

    entities: list[str] = field(default_factory=list)
    """The names of the entities that are new or were told of."""
    relations: int = 0
    """How many relations are new, were told of, or are gone."""
    forgotten: int = 0
    """How many entities are gone."""


class Draft:
    """Changes of a user's entities and relations, while they are put together.

    Args:
        unit: The unit of work.
        now: What time it is, as ISO 8601.
    """

    def __init__(self, unit: UnitOfWork, now: str) -> None:
        self._entities = user_namespace(unit.user_id, ENTITIES)
        self._relations = user_namespace(unit.user_id, RELATIONS)
        self._unit = unit
        self._now = now
        self._checked: set[ItemKey] = set()

    def apply(self, changes: EntityChanges, sources: Sequence[str] = ()) -> None:
        """Make all of some changes.

        Args:
            changes: The changes.
            sources: The ids of the messages that say so, for what does not name its own. Default: none.
        """
        self._foresee(changes)
        for entity in changes.entities:
            self.upsert(entity, sources)
        for removal in changes.wrong_relations:
            self.unrelate(removal)
        for relation in changes.relations:
            self.relate(relation, sources)
        for name in changes.forgotten:
            self.forget(name)

    def upsert(self, change: EntityChange, sources: Sequence[str] = ()) -> Value:
        """Make or change an entity; those that share a name with it become one with it."""
        names = {name_key("name", name): name for name in (change.name, *change.aliases)}
        found = self._entities_of(names)
        own = self._main_key(next(iter(names)))
        before = [found.pop(own)] if own in found else []
        before += sorted(found.values(), key=lambda one: (one["updated_at"], one["name"]), reverse=True)
        value = _merged(before) if before else _entity(change.name, self._now)
        if own is None:
            # What is called by a new main name keeps the others as aliases.
            value["aliases"] = [value["name"], *value["aliases"]] if before else []
            value["name"] = change.name
        _rename(value, names)
        _describe(value, change)
        value["sources"] = _sources(value["sources"], change.sources or sources)
        value["updated_at"] = self._now
        self._store_entity(value)
        return value

    def relate(self, change: RelationChange, sources: Sequence[str] = ()) -> Value:
        """Note a relation, or what is new about one; entities that are not known are made.

        Returns it between the main names of both.
        """
        begin, end = change.valid_from, change.valid_to
        check_period(change)
        self._need_about([change.subject, change.object])
        subject, object_ = self._known(change.subject), self._known(change.object)
        overlapping = [one for one in self._same(subject, change.predicate, object_) if _overlaps(one, begin, end)]
        relation = max(overlapping, key=lambda one: _nearness(one, begin, end), default=None)
        if relation is None:
            relation = {
                "id": secrets.token_hex(8),
                "subject": subject["name"],
                "predicate": change.predicate,
                "object": object_["name"],
                "valid_from": None,
                "valid_to": None,
                "sources": [],
                "created_at": self._now,
            }
        given = {name: value for name, value in (("valid_from", begin), ("valid_to", end)) if value is not None}
        all_sources = _sources(relation["sources"], change.sources or sources)
        relation = {**relation, **given, "sources": all_sources, "updated_at": self._now}
        self._store_relation(relation)
        return {**relation, "subject": subject["name"], "object": object_["name"]}

    def unrelate(self, removal: RelationRemoval) -> int:
        """Delete a relation, of all times; returns how many there were."""
        self._need_about([removal.subject, removal.object])
        subject, object_ = self._get(removal.subject), self._get(removal.object)
        if subject is None or object_ is None:
            return 0
        same = self._same(subject, removal.predicate, object_)
        for relation in same:
            self._delete_relation(relation)
        return len(same)

    def forget(self, name: str) -> bool:
        """Delete an entity with all its names and relations; returns whether there was one."""
        self._need_about([name])
        try:
            entity = self._get(name)
        except DamagedDataError:  # nothing says which other names it had
            self._unit[self._entities, name_key("name", name)] = None
            return True
        if entity is None:
            return False
        keys = keys_of(entity)
        relations = list(self._all_relations(keys))
        self._need(self._relations, (folded(one[end]) for one in relations for end in ("subject", "object")))
        for relation in relations:
            self._delete_relation(relation)
        for key in keys:
            self._unit[self._entities, key] = None
        return True

    def told(self) -> Told:
        """What is to be stored, in short."""
        told = Told()
        relations: set[str] = set()
        for (space, key), value in self._unit.changes.items():
            before = self._unit.before((space, key))
            if space == self._relations:
                old, new = ({one["id"]: one for one in relations_in(item)} for item in (before, value))
                relations |= {id_ for id_ in old.keys() | new.keys() if old.get(id_) != new.get(id_)}
            elif space != self._entities:
                continue
            elif value is None:
                told.forgotten += before is not None and "same_as" not in before
            elif "same_as" not in value:
                told.entities.append(value["name"])
        told.relations = len(relations)
        return told

    # Reading

    def _foresee(self, changes: EntityChanges) -> None:
        """Have all items that changes touch read together."""
        related: list[RelationChange | RelationRemoval] = [*changes.relations, *changes.wrong_relations]
        names = [name for one in changes.entities for name in (one.name, *one.aliases)]
        ends = [*(name for one in related for name in (one.subject, one.object)), *changes.forgotten]
        self._need_about([*names, *ends], relations=bool(ends))
        known = self._entities_of(name_key("a name", name) for name in (*names, *ends))
        self._need_about((key for entity in known.values() for key in keys_of(entity)), relations=bool(ends))

    def _need_about(self, names: Iterable[str], *, relations: bool = True) -> None:
        """Have all read that lies under some names."""
        spaces = (self._entities, self._relations) if relations else (self._entities,)
        keys = [name_key("a name", name) for name in names]
        self._unit.need((space, key) for space in spaces for key in keys)

    def _need(self, space: tuple[str, ...], keys: Iterable[str]) -> None:
        """Have items read, all at once rather than one after the other."""
        self._unit.need((space, key) for key in keys)

    def _read(self, space: tuple[str, ...], key: str) -> Value | None:
        place = (space, key)
        value = self._unit[place]
        if value is not None and place not in self._checked:
            check_item(value, relations=space == self._relations)
            self._checked.add(place)
        return value

    def _main_key(self, key: str) -> str | None:
        item = self._read(self._entities, key)
        return None if item is None else str(item.get("same_as", key))

    def _entities_of(self, keys: Iterable[str]) -> dict[str, Value]:
        """The entities that have one of these names, by the keys of their main ones."""
        keys = list(keys)
        self._need(self._entities, keys)
        mains = list(dict.fromkeys(main for key in keys if (main := self._main_key(key)) is not None))
        self._need(self._entities, mains)
        return {main: value for main in mains if (value := self._read(self._entities, main)) is not None}

    def _get(self, name: str) -> Value | None:
        return next(iter(self._entities_of([name_key("name", name)]).values()), None)

    def _known(self, name: str) -> Value:
        """The entity of a name; it is made when there is none."""
        entity = self._get(name)
        if entity is None:
            entity = _entity(name, self._now)
            self._store_entity(entity)
        return entity

    def _all_relations(self, keys: Iterable[str]) -> Iterator[Value]:
        keys = list(keys)
        self._need(self._relations, keys)
        seen = set()
        for key in keys:
            for relation in relations_in(self._read(self._relations, key)):
                if relation["id"] not in seen:
                    seen.add(relation["id"])
                    yield relation

    def _same(self, subject: Value, predicate: str, object_: Value) -> list[Value]:
        """The relations of all times between two entities, under whatever names they were stored."""
        own, other, said = set(keys_of(subject)), set(keys_of(object_)), folded(predicate)
        return [
            one
            for one in self._all_relations(keys_of(subject))
            if folded(one["predicate"]) == said and folded(one["subject"]) in own and folded(one["object"]) in other
        ]

    # Writing

    def _store_entity(self, value: Value) -> None:
        main, *others = keys_of(value)
        if len(others) >= MAX_NAMES:
            msg = f"The entity {shown(value['name'])} would have {len(others) + 1} names; at most {MAX_NAMES} are accepted."
            raise InvalidInputError(msg)
        if len(value["attributes"]) > MAX_ATTRIBUTES:
            msg = (
                f"The entity {shown(value['name'])} would have {len(value['attributes'])} attributes; at most "
                f"{MAX_ATTRIBUTES} "
                f"are accepted."
            )
            raise InvalidInputError(msg)
        self._need(self._entities, others)
        value["text"] = _text(value)
        self._unit[self._entities, main] = value
        for key in others:
            if self._read(self._entities, key) != {"same_as": main}:
                self._unit[self._entities, key] = {"same_as": main}

    def _store_relation(self, relation: Value) -> None:
        keys = _ends(relation)
        self._need(self._relations, keys)
        for key in keys:
            relations = dict((self._read(self._relations, key) or {"relations": {}})["relations"])
            relations[relation["id"]] = relation
            if len(relations) > MAX_RELATIONS:
                msg = f"{key!r} would have {len(relations):,} relations; at most {MAX_RELATIONS:,} are accepted."
                raise InvalidInputError(msg)
            self._unit[self._relations, key] = {"relations": relations}

    def _delete_relation(self, relation: Value) -> None:
        keys = _ends(relation)
        self._need(self._relations, keys)
        for key in keys:
            left = dict((self._read(self._relations, key) or {"relations": {}})["relations"])
            left.pop(relation["id"], None)
            self._unit[self._relations, key] = {"relations": left} if left else None


def check_item(value: Value, *, relations: bool) -> None:
    """Refuse a stored item that does not hold what this package writes.

    Args:
        value: The item's value.
        relations: Whether it holds the relations of a name, rather than an entity or where one is.

    Raises:
        DamagedDataError: It does not.
    """
    if relations:
        with reading("The relations of a name"):
            values = list(value["relations"].values())
        for one in values:
            check_relation(one)
    elif "same_as" in value:
        if not isinstance(value["same_as"], str):
            msg = f"The name of an entity refers to {shown(value['same_as'], 60)}: the stored item was damaged or altered."
            raise DamagedDataError(msg)
    else:
        check_entity(value)


def check_period(change: RelationChange) -> None:
    """Refuse a relation that ends before it begins."""
    begin, end = change.valid_from, change.valid_to
    if begin is not None and end is not None and end <= begin:
        msg = f"A relation must not end before it begins: valid_from is {begin}, valid_to is {end}."
        raise InvalidInputError(msg)


def keys_of(entity: Mapping[str, Any]) -> list[str]:
    """The keys of an entity's names, the main one first."""
    return list(dict.fromkeys(folded(name) for name in (entity["name"], *entity["aliases"])))


def relations_in(item: Mapping[str, Any] | None) -> list[Value]:
    """The relations in an item that holds those of a name."""
    return [] if item is None else list(item["relations"].values())


def _ends(relation: Value) -> list[str]:
    return list(dict.fromkeys((folded(relation["subject"]), folded(relation["object"]))))


def _entity(name: str, now: str) -> Value:
    return {
        "name": name,
        "aliases": [],
        "kind": "",
        "description": "",
        "attributes": {},
        "other_values": {},
        "sources": [],
        "created_at": now,
        "updated_at": now,
    }


def _merged(entities: Sequence[Value]) -> Value:
    """One entity of several: with the first one's name, and with all that was known of any of them.

    Where they differ, the one that changed last counts, and what the others say is kept as other values.
    """
    first = entities[0]
    merged = {**_entity(first["name"], first["created_at"]), "attributes": {}, "other_values": {}}
    merged["aliases"] = [name for one in entities for name in (one["name"], *one["aliases"])]
    for one in sorted(entities, key=lambda one: (one["updated_at"], one["name"])):
        for name in ("kind", "description"):
            if one[name]:
                _supersede(merged, name, merged[name], one[name])
                merged[name] = one[name]
        for name, value in one["attributes"].items():
            known = _attribute(merged, name)
            _supersede(merged, known, merged["attributes"].get(known), value)
            merged["attributes"][known] = value
        for name, values in one["other_values"].items():
            for value in values:
                _supersede(merged, name, value, None)
        merged["sources"] = _sources(merged["sources"], one["sources"])
        merged["created_at"] = min(merged["created_at"], one["created_at"])
    _rename(merged, {})
    return merged


def _supersede(entity: Value, name: str, old: str | None, new: str | None) -> None:
    """Keep a value that another one takes the place of."""
    values = entity["other_values"].get(name, [])
    if old and old != new and old not in values:
        entity["other_values"][name] = [*values, old]


def _rename(value: Value, names: Mapping[str, str]) -> None:
    """Give an entity more names; each is kept as it was first written."""
    known = {folded(value["name"]): value["name"]}
    for alias in value["aliases"]:
        known.setdefault(folded(alias), alias)
    for key, name in names.items():
        known.setdefault(key, name)
    value["aliases"] = list(known.values())[1:]


def _describe(value: Value, change: EntityChange) -> None:
    value["kind"] = folded(change.kind) or value["kind"]
    value["description"] = change.description or value["description"]
    attributes = dict(value["attributes"])
    for attribute in change.attributes:
        name = _attribute(value, attribute.name)
        attributes.pop(name, None)
        if attribute.value:
            attributes[name] = attribute.value
        else:  # what other entities with this name said of it is removed too
            value["other_values"] = {
                known: values for known, values in value["other_values"].items() if folded(known) != folded(name)
            }
    value["attributes"] = attributes


def _attribute(value: Value, name: str) -> str:
    """An attribute's name as it was first written."""
    return next((known for known in value["attributes"] if folded(known) == folded(name)), name)


def _sources(known: Sequence[str], more: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*known, *more]))[-MAX_SOURCES:]


def _text(value: Value) -> str:
    """What search finds an entity by."""
    properties = (f"{name}: {text}" for name, text in value["attributes"].items())
    lines = (", ".join([value["name"], *value["aliases"]]), value["kind"], value["description"], *properties)
    return "\n".join(line for line in lines if line)


def _overlaps(relation: Value, begin: str | None, end: str | None) -> bool:
    """Whether a relation holds at some time between two; all of them are UTC in the same form, which sorts."""
    ends_before = begin is not None and relation["valid_to"] is not None and relation["valid_to"] <= begin
    begins_after = end is not None and relation["valid_from"] is not None and relation["valid_from"] >= end
    return not ends_before and not begins_after


def _nearness(relation: Value, begin: str | None, end: str | None) -> tuple[bool, bool, bool, str, str]:
    """Which of several relations is meant: one with the same dates, else the one that holds still, else the latest."""
    same_begin = begin is not None and relation["valid_from"] == begin
    same_end = end is not None and relation["valid_to"] == end
    return same_begin, same_end, relation["valid_to"] is None, relation["valid_from"] or "", relation["created_at"]
