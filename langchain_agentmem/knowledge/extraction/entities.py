"""Entities, where a profile learns from a conversation: what a model is shown of them, and what of its answer is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from langchain_core.utils.json_schema import dereference_refs
from langgraph.store.base import Item, SearchOp

from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.knowledge.entities.changes import EntityChanges
from langchain_agentmem.knowledge.entities.drafts import Draft, check_period
from langchain_agentmem.knowledge.entities.views import IS_ENTITY, Known, reading_about, told_of
from langchain_agentmem.knowledge.extraction.markers import USER
from langchain_agentmem.knowledge.extraction.operations import Said
from langchain_agentmem.knowledge.extraction.proposals import UnusableAnswerError
from langchain_agentmem.knowledge.namespaces import ENTITIES, ItemKey, user_namespace
from langchain_agentmem.knowledge.unit import UnitOfWork, UnreadItemsError
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine

_NUMBERS = {
    "type": "array",
    "items": {"type": "integer"},
    "description": "The numbers of the messages that say so.",
}


def entities_schema() -> dict[str, Any]:
    """The JSON schema of `EntityChanges` as a part of an answer: without references, unions and defaults."""
    schema: dict[str, Any] = _plain(dereference_refs(EntityChanges.model_json_schema()))
    for name in ("entities", "relations"):
        schema["properties"][name]["items"]["properties"]["sources"] = _NUMBERS
    return schema


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema that small models, and the strict mode of providers, can follow."""
    either = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    plain = {**schema, **(either[0] if either else {})}
    for name in ("$defs", "anyOf", "default", "title"):
        plain.pop(name, None)
    if "properties" in plain:
        plain["properties"] = {name: _plain(one) for name, one in plain["properties"].items()}
    if "items" in plain:
        plain["items"] = _plain(plain["items"])
    return plain


def entity_searches(user_id: str, query: str | None, most: int) -> list[SearchOp]:
    """The searches for entities that matter: those that answer to a query, and those that changed last.

    Args:
        user_id: Whose.
        query: The query; None for the last changed alone.
        most: The most entities of all searches together.
    """
    where = user_namespace(user_id, ENTITIES)
    newest = SearchOp(where, IS_ENTITY, most, 0, None)
    return [newest] if query is None else [SearchOp(where, IS_ENTITY, most - most // 3, 0, query), newest]


def known_entities(
    engine: StoreEngine, user_id: str, found: Sequence[Item], most: int, characters: int, at: datetime
) -> Program[dict[str, list[Any]]]:
    """What a prompt says of entities that were found, and of how they relate.

    Args:
        engine: Where they are.
        user_id: Whose.
        found: The items that were found, the more important before.
        most: The most entities.
        characters: The most characters.
        at: At what time the relations are to hold.
    """
    items = list({item.key: item for item in found}.values())[:most]
    if not items:
        return {"entities": [], "relations": []}
    known = Known(engine, user_id)
    known.learn((item.namespace, item.key, item.value) for item in items)
    entities, relations = yield from reading_about(known, [item.key for item in items], characters, at)
    return told_of(entities, relations, characters)


def places_of(user_id: str, changes: EntityChanges) -> tuple[ItemKey, ...]:
    """What changes depend on, as far as they say themselves."""
    try:
        Draft(UnitOfWork(user_id, {}), "").apply(changes)
    except UnreadItemsError as unread:
        return unread.keys
    return ()


def checked_entities(changes: EntityChanges) -> EntityChanges:
    """A model's changes, checked as far as they can be before what is stored is read.

    Raises:
        UnusableAnswerError: One of them cannot be done.
    """
    for number, relation in enumerate(changes.relations, 1):
        try:
            check_period(relation)
        except InvalidInputError as error:
            msg = f"Relation {number}: {error}"
            raise UnusableAnswerError(msg) from None
    return changes


def changes_left(
    changes: EntityChanges, said: Sequence[Said], start: int, end: int, fresh: frozenset[int]
) -> EntityChanges:
    """Those of a model's changes that come from messages which nobody else has read meanwhile, with the messages' ids.

    Args:
        changes: The changes; they name messages by the numbers under which these were shown.
        said: The messages, in order: the first has the number 1.
        start: The place of the first message that nobody else has read.
        end: The place after the last message.
        fresh: The places of the messages that were not forgotten meanwhile.
    """
    people = [one.place for one in said if one.role == USER]
    if start >= end or fresh.isdisjoint(people):
        return EntityChanges()
    shown = {str(number): one for number, one in enumerate(said, 1)}

    def is_left(sources: Sequence[str]) -> bool:
        read = [shown[name].place for name in sources if name in shown]
        return max(read, default=end - 1) >= start and fresh.issuperset(read or people)

    left = {name: [one for one in getattr(changes, name) if is_left(one.sources)] for name in ("entities", "relations")}
    return changes.model_copy(update=left).sourced({name: one.source for name, one in shown.items()})
