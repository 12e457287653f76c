"""Changes of the values of entities: merge entities that share a name, and add the parts of a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_agentmem.knowledge.entities.changes import EntityChange
from langchain_agentmem.knowledge.entities.values import keys_of, merges_of, new_entity
from langchain_agentmem.knowledge.names import folded
from langchain_agentmem.knowledge.unit import Value

MAX_MERGES = 10
"""Number of merges of an entity that can be undone: the last ones."""

MAX_SOURCES = 50
"""Number of message IDs that an entity and a relation keep: the last ones."""


def merged(entities: Sequence[Value], now: str) -> Value:
    """Merge entities that share a name.

    The result has the main name of the first entity, and all other names as aliases. If two entities have different
    values, that of the entity that was updated last wins, and the others are kept in `other_values`.

    Args:
        entities: The values of one or more entities.
        now: The current time, as ISO 8601 in UTC.
    """
    first = entities[0]
    result = new_entity(first["name"], first["created_at"])
    result["aliases"] = [name for one in entities for name in (one["name"], *one["aliases"])]
    for one in sorted(entities, key=lambda one: (one["updated_at"], one["name"])):
        for name in ("kind", "description"):
            if one[name]:
                _keep_other_value(result, name, result[name], one[name])
                result[name] = one[name]
        for name, value in one["attributes"].items():
            known = attribute_name(result, name)
            _keep_other_value(result, known, result["attributes"].get(known), value)
            result["attributes"][known] = value
        for name, values in one["other_values"].items():
            for value in values:
                _keep_other_value(result, name, value, None)
        result["sources"] = joined_sources(result["sources"], one["sources"])
        result["created_at"] = min(result["created_at"], one["created_at"])
    add_names(result, {})
    if merges_of(first):
        result["merges"] = merges_of(first)
    if len(entities) > 1:
        note_merge(result, first, entities[1:], now)
    return result


def note_merge(entity: Value, kept: Value, others: Sequence[Value], now: str) -> None:
    """Record a merge in an entity, so that `separated` can undo it.

    Args:
        entity: The entity after the merge.
        kept: The entity that keeps later changes if the merge is undone, as it was.
        others: The other entities, as they were.
        now: The current time, as ISO 8601 in UTC.
    """
    parts = [{name: value for name, value in one.items() if name != "text"} for one in (kept, *others)]
    parts[0].pop("merges", None)  # the merged entity holds them
    merge = {"kept": parts[0], "others": parts[1:], "at": now}
    entity["merges"] = [*merges_of(entity), merge][-MAX_MERGES:]


def separated(entity: Value, merge: Value) -> list[Value]:
    """Undo a merge.

    The merged entities are restored. Later additions stay with the entity that was kept.

    Args:
        entity: The entity.
        merge: One of its merges.

    Returns:
        The entity that was kept, and the others.
    """
    kept, others = merge["kept"], merge["others"]
    own = set(keys_of(kept))
    foreign = {key for one in others for key in keys_of(one)} - own
    # Names that the kept entity has lost since are not restored.
    names = [name for name in (entity["name"], *entity["aliases"]) if folded(name) not in foreign]
    names.sort(key=lambda name: folded(name) != folded(kept["name"]))
    result = {**entity, "name": names[0], "aliases": names[1:], "attributes": dict(entity["attributes"])}
    for name in ("kind", "description"):
        if result[name] != kept[name] and any(result[name] == one[name] for one in others):
            result[name] = kept[name]
    before = {folded(name): value for name, value in kept["attributes"].items()}
    for name, value in entity["attributes"].items():
        given = [one["attributes"].get(attribute_name(one, name)) for one in others]
        if value in given and before.get(folded(name)) != value:
            del result["attributes"][name]
            if folded(name) in before:
                result["attributes"][name] = before[folded(name)]
    mine = kept["other_values"]
    result["other_values"] = {
        name: left
        for name, values in entity["other_values"].items()
        if (left := [one for one in values if one in mine.get(name, ()) or not _is_of(one, name, [kept, *others])])
    }
    foreign_sources = {source for one in others for source in one["sources"]} - set(kept["sources"])
    result["sources"] = [source for source in entity["sources"] if source not in foreign_sources]
    result["created_at"] = kept["created_at"]
    result["merges"] = [one for one in merges_of(entity) if one != merge]
    add_names(result, {})
    restored = [{**one, "aliases": [name for name in one["aliases"] if folded(name) not in own]} for one in others]
    return [result, *restored]


def _is_of(value: str, name: str, entities: Iterable[Value]) -> bool:
    """Return true if one of some entities has a value, under `kind`, `description` or an attribute's name."""
    return any(
        value == (one[name] if name in ("kind", "description") else one["attributes"].get(attribute_name(one, name)))
        or value in one["other_values"].get(name, ())
        for one in entities
    )


def _keep_other_value(entity: Value, name: str, old: str | None, new: str | None) -> None:
    others = entity["other_values"].get(name, [])
    if old and old != new and old not in others:
        entity["other_values"][name] = [*others, old]


def add_names(entity: Value, names: Mapping[str, str]) -> None:
    """Add aliases. A name that the entity has already keeps its first spelling.

    Args:
        entity: The value of the entity.
        names: The names by their keys.
    """
    known = {folded(entity["name"]): entity["name"]}
    for alias in entity["aliases"]:
        known.setdefault(folded(alias), alias)
    for key, name in names.items():
        known.setdefault(key, name)
    entity["aliases"] = list(known.values())[1:]


def describe(entity: Value, change: EntityChange) -> None:
    """Set the kind, the description and the attributes that a change gives."""
    entity["kind"] = folded(change.kind) or entity["kind"]
    entity["description"] = change.description or entity["description"]
    attributes = dict(entity["attributes"])
    for attribute in change.attributes:
        name = attribute_name(entity, attribute.name)
        attributes.pop(name, None)
        if attribute.value:
            attributes[name] = attribute.value
        else:  # values that merged entities had are removed too
            entity["other_values"] = _without(entity["other_values"], name)
            if merges_of(entity):
                entity["merges"] = _merges_without(entity, name)
    entity["attributes"] = attributes


def _without(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {known: value for known, value in values.items() if folded(known) != folded(name)}


def _merges_without(entity: Value, name: str) -> list[Value]:
    """Return the merges of an entity without an attribute, so that a removed attribute leaves no text."""

    def cleaned(part: Value) -> Value:
        values = {key: _without(part[key], name) for key in ("attributes", "other_values")}
        return {**part, **values, **({"merges": _merges_without(part, name)} if merges_of(part) else {})}

    return [
        {**one, "kept": cleaned(one["kept"]), "others": [cleaned(part) for part in one["others"]]}
        for one in merges_of(entity)
    ]


def attribute_name(entity: Value, name: str) -> str:
    """Return the first spelling of an attribute's name."""
    return next((known for known in entity["attributes"] if folded(known) == folded(name)), name)


def joined_sources(known: Sequence[str], more: Iterable[str]) -> list[str]:
    """Return message IDs without repetitions, the last `MAX_SOURCES`."""
    return list(dict.fromkeys([*known, *more]))[-MAX_SOURCES:]


def search_text(entity: Value) -> str:
    """Return the text by which search finds an entity."""
    attributes = (f"{name}: {value}" for name, value in entity["attributes"].items())
    names = ", ".join([entity["name"], *entity["aliases"]])
    return "\n".join(line for line in (names, entity["kind"], entity["description"], *attributes) if line)
