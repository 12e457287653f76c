"""How the values of entities change: merging entities that share a name, and adding what a change says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from langchain_agentmem.knowledge.entities.changes import EntityChange
from langchain_agentmem.knowledge.entities.values import new_entity
from langchain_agentmem.knowledge.names import folded
from langchain_agentmem.knowledge.unit import Value

MAX_SOURCES = 50
"""Number of message IDs that an entity and a relation keep: the last ones."""


def merged(entities: Sequence[Value]) -> Value:
    """Merge entities that share a name.

    The result has the main name of the first entity, and all other names as aliases. If two entities have different
    values, that of the entity that was updated last wins, and the others are kept in `other_values`.

    Args:
        entities: The values of one or more entities.
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
    return result


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
            entity["other_values"] = {
                known: values for known, values in entity["other_values"].items() if folded(known) != folded(name)
            }
    entity["attributes"] = attributes


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
