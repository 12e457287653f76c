"""The part of a user's knowledge that the prompt contains in addition to the new messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from langgraph.store.base import GetOp, SearchItem, SearchOp

from langchain_agentmem.knowledge.entities.engine import EntityEngine, relevant_searches
from langchain_agentmem.knowledge.extraction.selection import Selection, clipped
from langchain_agentmem.knowledge.facts.facts import Fact
from langchain_agentmem.knowledge.items import read_batch, readable
from langchain_agentmem.knowledge.namespaces import FACTS, user_namespace
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine

MAX_FACTS, MAX_FACT_CHARACTERS = 20, 4_000
"""Upper bounds of the facts that the model is shown, and of their characters."""

MAX_ENTITIES, MAX_ENTITY_CHARACTERS = 12, 3_000
"""Upper bounds of the entities that the model is shown, and of their characters with their relations."""

MAX_FIELDS, MAX_FIELD_CHARACTERS = 100, 4_000
"""Upper bounds of the fields that the model is shown if the document is long, and of the document's characters."""

_QUERY = 1_000
"""Number of characters of the new messages that are searched for: the last ones."""


class Known(NamedTuple):
    """Facts and entities that the model is shown."""

    facts: list[Fact]
    """The facts; the first one has the number 1."""
    entities: dict[str, list[Any]] | None
    """Entities and relations as the prompt quotes them; None if the model is not asked for entities."""


def read_known(
    store: StoreEngine, user_id: str, selection: Selection, *, facts: bool, entities: bool
) -> Program[Known]:
    """Read the facts and entities that answer the new messages best, then those that were updated last.

    Args:
        store: The store.
        user_id: ID of the user.
        selection: The new messages.
        facts: If true, read facts.
        entities: If true, read entities.
    """
    query = " ".join(one.text for one in selection.of_user)[-_QUERY:]
    namespace, valid = user_namespace(user_id, FACTS), {"valid_to": None}
    searches: list[GetOp | SearchOp] = []
    if facts:
        searches.append(SearchOp(namespace, valid, MAX_FACTS // 2, 0, query))
        searches.append(SearchOp(namespace, valid, MAX_FACTS, 0, None))
    of_facts = len(searches)
    if entities:
        searches += relevant_searches(user_id, query, MAX_ENTITIES)
    found: list[list[SearchItem]] = (yield from read_batch(store, searches)) if searches else []
    described = None
    if entities:
        items = [item for items in found[of_facts:] for item in items]
        described = yield from EntityEngine(store).described(
            user_id, items, MAX_ENTITIES, MAX_ENTITY_CHARACTERS, selection.messages[-1].at
        )
    return Known(_fitting(item for items in found[:of_facts] for item in items), described)


def _fitting(items: Iterable[SearchItem]) -> list[Fact]:
    """Return as many facts as the model is shown, each once."""
    shown: dict[str, Fact] = {}
    left = MAX_FACT_CHARACTERS
    for fact in readable(items, Fact.of_item):
        digest = fact.id.rpartition("-")[0]
        length = len(fact.text) + sum(map(len, fact.topics)) + 20
        if digest not in shown and length <= left and len(shown) < MAX_FACTS:
            shown[digest] = fact
            left -= length
    return list(shown.values())


def shown_fields(document: dict[str, Any]) -> dict[str, Any]:
    """Return as much of a profile's fields as the model is shown. In a long document, every field has an equal share."""
    if _length(document) <= MAX_FIELD_CHARACTERS:
        return document
    share = MAX_FIELD_CHARACTERS // max(1, len(document))
    return {name: _shortened(value, share) for name, value in list(document.items())[-MAX_FIELDS:]}


def _shortened(value: Any, most: int) -> Any:
    """Return the last entries of a value, or its beginning and end if it is a text."""
    if isinstance(value, str):
        return clipped(value, max(20, most))
    if not isinstance(value, (dict, list)):
        return value
    entries: Sequence[Any] = list(value.items()) if isinstance(value, dict) else value
    while entries and _length(entries) > most:
        entries = entries[len(entries) // 2 + 1 :]
    return dict(entries) if isinstance(value, dict) else list(entries)


def _length(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False))
