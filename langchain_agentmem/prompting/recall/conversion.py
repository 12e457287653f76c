"""Recalled items, made from facts, memories, entities, turns and entries of shared knowledge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, ChatMessage
from langgraph.store.base import SearchItem

from langchain_agentmem.knowledge.collections import entry_of
from langchain_agentmem.knowledge.entities.models import Entity, Relation
from langchain_agentmem.knowledge.facts.facts import Fact
from langchain_agentmem.knowledge.memories import memory_of
from langchain_agentmem.knowledge.retrievers import Passage
from langchain_agentmem.messages.models import FoundMessage
from langchain_agentmem.messages.roles import ROLES, role_of
from langchain_agentmem.prompting.recall.results import RecalledItem
from langchain_agentmem.store.items import FoundItem

_SPEAKERS = {"human": "user", "ai": "assistant"}

TYPES = ROLES["human"] | ROLES["ai"] | ROLES["chat"]
"""The values of `BaseMessage.type` of messages that are recalled."""


def similarity_of(item: SearchItem) -> float | None:
    """Return the cosine similarity of an item to the query; None without vectors."""
    return item.similarity if isinstance(item, FoundItem) else None


def fact_item(item: SearchItem) -> RecalledItem:
    """Return the recalled item of a stored fact.

    Raises:
        DamagedDataError: The item does not hold a fact.
    """
    fact = Fact.of_item(item)
    source = _source(fact_id=fact.id, message_ids=fact.sources, agent=fact.agent)
    return RecalledItem(
        "fact", fact.text, fact.score or 0.0, source, fact.last_seen, fact.metadata, similarity_of(item)
    )


def memory_item(item: SearchItem) -> RecalledItem:
    """Return the recalled item of a stored memory.

    Raises:
        DamagedDataError: The item does not hold a memory.
    """
    memory = memory_of(item.key, item.value, item.score)
    source = _source(memory_id=memory.id, agent=memory.agent)
    score, similarity = memory.score or 0.0, similarity_of(item)
    return RecalledItem("memory", memory.text, score, source, memory.updated_at, memory.metadata, similarity)


def knowledge_item(item: SearchItem) -> RecalledItem:
    """Return the recalled item of an entry of shared knowledge.

    Raises:
        DamagedDataError: The item does not hold an entry.
    """
    entry = entry_of(item)
    source = _source(collection=entry.name, key=entry.id)
    score, similarity = entry.score or 0.0, similarity_of(item)
    return RecalledItem("knowledge", entry.text, score, source, item.updated_at, entry.metadata, similarity)


def passage_item(passage: Passage) -> RecalledItem:
    """Return the recalled item of a passage from a retriever or vector store."""
    source = _source(collection=passage.source, key=passage.key)
    return RecalledItem("knowledge", passage.text, passage.score, source, None, passage.metadata)


def entity_item(entity: Entity, relations: Sequence[Relation], similarity: float | None) -> RecalledItem:
    """Return the recalled item of an entity.

    Args:
        entity: The entity.
        relations: Its relations.
        similarity: The similarity of the entity's item to the message.
    """
    names = f"{entity.name} ({entity.kind})" if entity.kind else entity.name
    if entity.aliases:
        names = f"{names}, also called {', '.join(entity.aliases)}"
    details = [entity.description, *(f"{name}: {value}" for name, value in entity.attributes.items())]
    details = [one for one in (*details, *map(str, relations)) if one]
    text = f"{names}: {'; '.join(details)}" if details else names
    source = _source(entity=entity.name, message_ids=list(entity.sources))
    return RecalledItem("entity", text, entity.score or 0.0, source, entity.updated_at, entity.attributes, similarity)


def turn_items(found: Iterable[FoundMessage]) -> list[RecalledItem]:
    """Return the recalled items of messages: each message with its question or its answer, each turn once.

    Args:
        found: The messages with their neighbours, the most relevant first.
    """
    items: dict[tuple[str, str], RecalledItem] = {}
    for one in found:
        text = "\n".join(line for message in _turn_of(one) if (line := _line(message)))
        if text:
            source = _source(
                session_id=one.session_id, position=one.position, message_id=one.message.id, agent=one.agent
            )
            item = RecalledItem("turn", text, one.score, source, one.created_at, one.metadata, one.similarity)
            items.setdefault((one.session_id, text), item)
    return list(items.values())


def _turn_of(found: FoundMessage) -> list[BaseMessage]:
    """Return a message, after the user's message that it answers, or before its answer."""
    around = found.around or [found.message]
    at = next((index for index, message in enumerate(around) if message == found.message), 0)
    if role_of(found.message) == "human":
        return [around[at], *(one for one in around[at + 1 : at + 2] if role_of(one) == "ai")]
    return [*(one for one in around[max(0, at - 1) : at] if role_of(one) == "human"), around[at]]


def _line(message: BaseMessage) -> str:
    text = str(message.text).strip()
    speaker = message.role if isinstance(message, ChatMessage) else _SPEAKERS.get(role_of(message), message.type)
    return f"{message.name or speaker}: {text}" if text else ""


def _source(**ids: Any) -> Mapping[str, Any]:
    return {name: one for name, one in ids.items() if one is not None and one != []}
