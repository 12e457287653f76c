"""The stored form of entities and relations.

Every name of an entity has an item, whose key is the normalised name:

* The item of the main name holds the entity.
* The item of an alias holds `{"same_as": key}`, the key of the main name.
* An entity that was merged holds the merged parts as they were (`merges`), so that the merge can be undone.

The relations of a name are one item in another namespace. A relation is stored twice, under its subject and under its
object, with the names that they had at that time. Merging two entities therefore rewrites only the items of names:
relations stay where they are, and belong to the entity that has the name now. Reading an entity with its relations takes
few reads by key.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from types import NoneType
from typing import Any

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.encoding.damage import reading
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.knowledge.names import folded
from langchain_agentmem.knowledge.unit import Value

_ENTITY: Mapping[str, Any] = {
    "name": str,
    "kind": str,
    "description": str,
    "aliases": list,
    "attributes": dict,
    "other_values": dict,
    "sources": list,
    "created_at": str,
    "updated_at": str,
}
_RELATION: Mapping[str, Any] = {
    "id": str,
    "subject": str,
    "predicate": str,
    "object": str,
    "valid_from": (str, NoneType),
    "valid_to": (str, NoneType),
    "sources": list,
    "created_at": str,
    "updated_at": str,
}

_MERGE: Mapping[str, Any] = {"kept": dict, "others": list, "at": str}

ALIAS, RELATED = "same_as", "relations"
"""The field of the item of an alias, and the field with the relations of a name, by ID."""

IS_ENTITY = {ALIAS: {"$exists": False}}
"""Filter of searches: entities without the items of aliases."""


def new_entity(name: str, now: str) -> Value:
    """Return the value of an entity about which only the name is known."""
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


def new_relation(subject: str, predicate: str, object_: str, now: str) -> Value:
    """Return the value of a relation without a validity period."""
    return {
        "id": secrets.token_hex(8),
        "subject": subject,
        "predicate": predicate,
        "object": object_,
        "valid_from": None,
        "valid_to": None,
        "sources": [],
        "created_at": now,
        "updated_at": now,
    }


def merges_of(entity: Mapping[str, Any]) -> list[Value]:
    """Return the merges that made an entity, the newest last: what was merged, as it was before."""
    return list(entity.get("merges", ()))


def is_alias(value: Mapping[str, Any]) -> bool:
    """Return true if a value is that of an alias, and not an entity."""
    return ALIAS in value


def keys_of(entity: Mapping[str, Any]) -> list[str]:
    """Return the keys of an entity's names, that of the main name first."""
    return list(dict.fromkeys(folded(name) for name in (entity["name"], *entity["aliases"])))


def relations_in(item: Mapping[str, Any] | None) -> list[Value]:
    """Return the relations in the item of a name."""
    return [] if item is None else list(item[RELATED].values())


def ends_of(relation: Mapping[str, Any]) -> tuple[str, str]:
    """Return the keys under which a relation is stored: that of its subject and that of its object."""
    return folded(relation["subject"]), folded(relation["object"])


def check_name_item(value: Value) -> None:
    """Check the value of a name's item: an entity, or an alias of one.

    Raises:
        DamagedDataError: It is neither.
    """
    if not is_alias(value):
        check_entity(value)
    elif not isinstance(value[ALIAS], str):
        msg = f"An alias refers to {shown(value['same_as'], 60)}: the stored item was damaged or altered."
        raise DamagedDataError(msg)


def check_relations_item(value: Value) -> None:
    """Check the value of an item that holds the relations of a name.

    Raises:
        DamagedDataError: One of them is damaged.
    """
    with reading("The relations of a name"):
        relations = list(value[RELATED].values())
    for relation in relations:
        check_relation(relation)


def check_entity(value: Mapping[str, Any]) -> None:
    """Check that a value holds an entity.

    Raises:
        DamagedDataError: It does not.
    """
    _check_fields("An entity", value, _ENTITY)
    for merge in merges_of(value):
        _check_fields("A merge of entities", merge, _MERGE)
        for part in (merge["kept"], *merge["others"]):
            check_entity(part)
    if not all(isinstance(one, str) for one in (*value["aliases"], *value["attributes"].values())):
        msg = f"The entity {shown(value['name'], 60)} cannot be read: the stored item was damaged or altered."
        raise DamagedDataError(msg)


def check_relation(value: Any) -> None:
    """Check that a value holds a relation.

    Raises:
        DamagedDataError: It does not.
    """
    _check_fields("A relation", value, _RELATION)


def _check_fields(what: str, value: Any, fields: Mapping[str, Any]) -> None:
    with reading(what):
        wrong = [name for name, kind in fields.items() if not isinstance(value[name], kind)]
        if wrong:
            msg = f"{wrong[0]} is {shown(value[wrong[0]], 60)}"
            raise TypeError(msg)
        for name in ("created_at", "updated_at", "valid_from", "valid_to"):
            if value.get(name) is not None:
                datetime.fromisoformat(value[name])
