"""The part of a prompt about entities and their relations, within a budget of characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from langchain_agentmem.knowledge.entities.models import Entity, EntityList, Relation, RelationList
from langchain_agentmem.knowledge.entities.snapshot import Snapshot
from langchain_agentmem.knowledge.entities.values import ends_of
from langchain_agentmem.programs import Program
from langchain_agentmem.text.quoting import ABOUT_QUOTED, quoted

_SHORTEST_RELATION = len('"a b c", ')
"""The fewest characters that a relation takes in a prompt."""

_FRAME = len(quoted("")) - len('""')


class Neighbourhood(NamedTuple):
    """Some entities, and their relations that hold at a time."""

    entities: EntityList
    relations: RelationList


def read_neighbourhood(snapshot: Snapshot, keys: Iterable[str], budget: int, at: datetime) -> Program[Neighbourhood]:
    """Read entities and their relations for a prompt.

    Args:
        snapshot: The items that were read before.
        keys: Keys of the entities' names.
        budget: Budget of the prompt, in characters. Relations that cannot fit are not read.
        at: Time at which the relations must hold.
    """
    keys = list(keys)
    yield from snapshot.load(keys, relations=True)
    main_keys = snapshot.main_keys(keys)
    relations = snapshot.relations_at(main_keys, at)[: budget // _SHORTEST_RELATION]
    yield from snapshot.load(key for one in relations for key in ends_of(one))
    return Neighbourhood(snapshot.entities(main_keys), snapshot.relations(relations))


def context_block(found: Neighbourhood, budget: int) -> str:
    """Return the part of a prompt that quotes entities and relations; an empty string if there are none.

    Args:
        found: The entities and relations, the more important ones first.
        budget: Upper bound of its characters.
    """
    shown = fitting(found.entities, found.relations, budget - len(f"{ABOUT_QUOTED}\n"))
    return f"{ABOUT_QUOTED}\n{quoted(shown)}" if any(shown.values()) else ""


def fitting(entities: Sequence[Entity], relations: Sequence[Relation], budget: int) -> dict[str, list[Any]]:
    """Return as many entities and relations as fit in a budget, in the form in which a prompt quotes them.

    Args:
        entities: The entities, the more important ones first.
        relations: The relations, the more important ones first.
        budget: Upper bound of the characters of the quoted result.
    """
    shown: dict[str, list[Any]] = {"entities": [], "relations": []}
    left = budget - len(quoted(shown))
    reserved = left // 2 if relations else 0
    """Characters that are reserved for relations."""

    def add(part: str, form: Any, reserve: int = 0) -> bool:
        nonlocal left
        size = len(quoted(form)) - _FRAME + len(", ")
        if left - size < reserve:
            return False
        shown[part].append(form)
        left -= size
        return True

    for one in entities:
        short = _without_empty({"name": one.name, "kind": one.kind, "also called": list(one.aliases)})
        more = _without_empty({"description": one.description, "attributes": one.attributes})
        add("entities", {**short, **more}, reserved) or add("entities", short) or add("entities", {"name": one.name})
    for relation in relations:
        add("relations", str(relation))
    return shown


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}
