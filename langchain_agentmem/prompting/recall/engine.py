"""Recall as a program: searches knowledge and earlier sessions side by side, and ranks what they find together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

from langgraph.store.base import GetOp, SearchItem, SearchOp

from langchain_agentmem.arguments.ids import check_id, check_name, check_optional_id
from langchain_agentmem.arguments.values import check_count
from langchain_agentmem.errors import DamagedDataError
from langchain_agentmem.history.engine import HistoryEngine
from langchain_agentmem.knowledge.collections import CollectionEngine
from langchain_agentmem.knowledge.entities.models import Entity, Relation
from langchain_agentmem.knowledge.entities.snapshot import Snapshot
from langchain_agentmem.knowledge.entities.values import IS_ENTITY, keys_of
from langchain_agentmem.knowledge.items import read_batch, readable
from langchain_agentmem.knowledge.namespaces import (
    ENTITIES,
    FACTS,
    MEMORIES,
    RELATIONS,
    Namespace,
    shared_namespace,
    user_namespace,
)
from langchain_agentmem.knowledge.retrievers import Passages, checked_knowledge
from langchain_agentmem.knowledge.times import now
from langchain_agentmem.messages.tokens import TokenCounter
from langchain_agentmem.programs import Compute, Program, Read
from langchain_agentmem.programs.sizes import is_long
from langchain_agentmem.prompting.recall.conversion import (
    entity_item,
    fact_item,
    knowledge_item,
    memory_item,
    passage_item,
    similarity_of,
    turn_items,
)
from langchain_agentmem.prompting.recall.results import Recall, RecalledItem
from langchain_agentmem.prompting.recall.text import clipped, recalled_text
from langchain_agentmem.prompting.recall.turns import EarlierTurns, unless_damaged
from langchain_agentmem.search.messages import MessageSearch
from langchain_agentmem.search.ranking import query_words
from langchain_agentmem.search.thresholds import check_similarity, is_similar
from langchain_agentmem.store.engine import StoreEngine
from langchain_agentmem.text.words import analyze, scores

_log = logging.getLogger(__name__)

MAX_QUERY = 1_000
"""Maximum number of characters of a query. Of a longer message, only the end is used."""

MAX_DISPLACED = 500
"""Maximum number of items that a search in one namespace reads, if the application's items below it displace knowledge."""

MAX_RELATIONS = 5
"""Maximum number of relations that are recalled with an entity: those that were updated last."""

_CURRENT = {"valid_to": None, **IS_ENTITY}
"""Filter of a user's knowledge: no ended facts and no aliases."""

_ITEMS: Mapping[str, Callable[[SearchItem], RecalledItem]] = {FACTS: fact_item, MEMORIES: memory_item}


def query_of(message: str) -> str:
    """Return the end of a message as the text to search for; an empty text if the message has no visible character."""
    return message.encode(errors="replace").decode().strip()[-MAX_QUERY:].strip()


class RecallEngine:
    """The operation of `AgentMemory.recall` as a program. See there for arguments, results and errors.

    Args:
        store: The store.
        history: The histories.
    """

    def __init__(self, store: StoreEngine, history: HistoryEngine) -> None:
        self._store = store
        self._turns = EarlierTurns(history)
        self._shared = CollectionEngine(store)

    def recall(
        self,
        query: str,
        user_id: str,
        session_id: str | None = None,
        k: int = 10,
        max_tokens: int | None = None,
        knowledge: Any = (),
        counter: TokenCounter | None = None,
        min_similarity: float | None = None,
    ) -> Program[Recall]:
        """Return the stored knowledge that answers a message."""
        check_id("user_id", user_id)
        check_optional_id("session_id", session_id)
        k = check_count("k", k)
        budget = None if max_tokens is None else check_count("max_tokens", max_tokens)
        least = self.checked_similarity(min_similarity)
        shared = checked_knowledge(knowledge)
        if not isinstance(query, str):
            check_name("query", query)
        text = query_of(query)
        if not text:
            _log.debug("recall: searched nothing for user %r: the message has no text", user_id)
            return Recall(query)
        with closing(self._turns.search(text, user_id, session_id, k)) as messages:
            own = self._items(text, user_id, k, shared.names, messages)
            items, others = yield from shared.beside(own, text, k)
        items = with_passages([one for one in items if is_similar(one.similarity, least)], others)
        large = is_long(item.text for item in items)
        best = (yield from Compute(large, _ranked_together, items, text, self._store.language))[:k]
        _log.debug("recall: found %d items for user %r", len(best), user_id)
        if budget is None:
            return Recall(query, tuple(best), recalled_text(best, None, len))
        counter = counter or TokenCounter()
        yield from counter.prepare()
        return Recall(query, tuple(best), recalled_text(best, budget, counter.text))

    def checked_similarity(self, least: float | None) -> float | None:
        """Return the argument `min_similarity`.

        Raises:
            InvalidTypeError: It is not a number.
            InvalidInputError: It is not between -1 and 1.
            ConfigurationError: The memory has no embeddings.
        """
        return check_similarity(least, with_vectors=self._store.indexer is not None)

    def _items(
        self, text: str, user_id: str, k: int, names: Sequence[str], messages: MessageSearch
    ) -> Program[list[RecalledItem]]:
        """Search everything in as few round trips as possible: candidates and their items, then turns and relations."""
        yield from messages.ready()
        searches = [SearchOp(user_namespace(user_id), _CURRENT, k, 0, text)]
        if names:
            searches.append(SearchOp(*_below(names), k, 0, text))
        (own, *shared), entries = yield from self._beside(
            searches, messages.index, partial(self._separately, searches, user_id, names)
        )
        own = yield from self._of_user(user_id, searches[0], own)
        by_label: dict[str, list[SearchItem]] = {}
        for item in own:
            by_label.setdefault(item.namespace[1], []).append(item)
        turns, entities = yield from self._turns_and_entities(user_id, messages, entries, by_label.pop(ENTITIES, []))
        known = [item for label, found in by_label.items() for item in readable(found, _ITEMS[label])]
        from_collections = list(readable((item for found in shared for item in found), knowledge_item))
        yield from self._shared.require_unfound(names, [item.source["collection"] for item in from_collections])
        return [*known, *entities, *from_collections, *turns]

    def _of_user(self, user_id: str, search: SearchOp, found: Sequence[SearchItem]) -> Program[list[SearchItem]]:
        """Return the items of a search that are knowledge about the user.

        The application may store items of its own below the user's root namespace. If they displaced knowledge, each kind of
        knowledge is searched by itself.

        Args:
            user_id: ID of the user.
            search: The search.
            found: Its result.
        """
        namespaces = _namespaces(user_id)
        own = [item for item in found if item.namespace in namespaces]
        if len(own) == len(found) or len(found) < search.limit:
            return own
        kept: list[SearchItem] = []
        for namespace in namespaces:
            kept += yield from self._directly_in(namespace, search)
        return kept

    def _directly_in(self, namespace: Namespace, search: SearchOp) -> Program[list[SearchItem]]:
        """Search one namespace without those below it, in which the application may store items of its own.

        The items below count towards the limit of a search, so it is repeated with a larger one, up to `MAX_DISPLACED`.
        """
        limit = search.limit
        while True:
            larger = search._replace(namespace_prefix=namespace, limit=limit)
            (found,), _ = yield from self._beside([larger], None, partial(read_batch, self._store, [larger]))
            own = [item for item in found if item.namespace == namespace][: search.limit]
            if len(own) == search.limit or len(found) < limit or limit >= MAX_DISPLACED:
                return own
            limit = min(limit * 8, MAX_DISPLACED)

    def _turns_and_entities(
        self, user_id: str, messages: MessageSearch, entries: Any, found: Sequence[SearchItem]
    ) -> Program[tuple[list[RecalledItem], list[RecalledItem]]]:
        """Read the messages that were found, and the relations of the entities that were found.

        Args:
            user_id: ID of the user.
            messages: The search for messages.
            entries: Its index entries; None if they cannot be read.
            found: The items of the entities.
        """
        ranked = entries is not None and (yield from unless_damaged(messages.rank(entries)))
        entities = dict(readable(found, lambda item: (item.key, Entity.from_value(item.value, item.score))))
        keys = [key for item in found if item.key in entities for key in keys_of(item.value)]
        gets = [GetOp(user_namespace(user_id, RELATIONS), key) for key in dict.fromkeys(keys)]
        related, rows = yield from self._beside(
            gets, messages.rows if ranked else None, partial(read_batch, self._store, gets)
        )
        snapshot = Snapshot(self._store, user_id)
        snapshot.add((item.namespace, item.key, item.value) for item in found)
        snapshot.add((op.namespace, op.key, item and item.value) for op, item in zip(gets, related, strict=True))
        turns = [] if rows is None else turn_items((yield from unless_damaged(messages.found(rows))) or ())
        similarities = {item.key: similarity_of(item) for item in found}
        return turns, [entity_item(one, _relations(snapshot, key), similarities[key]) for key, one in entities.items()]

    def _beside(
        self,
        ops: Sequence[GetOp | SearchOp],
        program: Callable[[], Program[Any]] | None,
        separately: Callable[[], Program[list[Any]]],
    ) -> Program[tuple[list[Any], Any]]:
        """Do reads and a storage program in the same round trips. If stored data is damaged, do them one after the other.

        Args:
            ops: The reads.
            program: Returns the storage program; None if there is none.
            separately: Returns a program that does the reads and leaves out damaged items.

        Returns:
            The results of both; None for the program if it cannot read its data.
        """
        if not ops and program is None:
            return [], None
        try:
            results, others = yield from self._store.read_beside(ops, [] if program is None else [program()])
        except DamagedDataError:
            results = yield from separately()
            others = []
            if program is not None:
                others = [(yield from unless_damaged(iter(Read(self._store.backend, program()))))]
        return results, others[0] if others else None

    def _separately(
        self, searches: Sequence[SearchOp], user_id: str, names: Sequence[str]
    ) -> Program[list[list[SearchItem]]]:
        """Search each namespace by itself, and leave out damaged items."""
        namespaces = _namespaces(user_id)
        spaces = [*namespaces, *map(shared_namespace, names)]
        found = yield from read_batch(self._store, [searches[0]._replace(namespace_prefix=space) for space in spaces])
        own = [item for items in found[: len(namespaces)] for item in items]
        return [own, *([item for items in found[len(namespaces) :] for item in items] for _ in searches[1:])]


def with_passages(items: Sequence[RecalledItem], others: Iterable[Passages]) -> list[RecalledItem]:
    """Return items of the memory, and the passages of other sources whose texts are not among them."""
    texts = {item.text for item in items if item.kind == "knowledge"}
    passages = {one.text: one for found in others for one in found.found}
    return [*items, *(passage_item(one) for text, one in passages.items() if text not in texts)]


def _ranked_together(items: Sequence[RecalledItem], query: str, language: str) -> list[RecalledItem]:
    """Return items of several searches in one order, with the means of their own score and of common ones.

    A score of a search is relative: its best item scores high even if it contains one word of many. The common scores are
    those of full-text search in the found items, and the similarities. In each, the best item has 1.
    """
    by_words = scores([analyze(clipped(item.text), language) for item in items], query_words(query, language))
    by_vector = [None if item.similarity is None else max(0.0, item.similarity) for item in items]
    parts = [[item.score for item in items], _scaled(by_words), _scaled(by_vector)]
    means = [fmean(score for score in of_item if score is not None) for of_item in zip(*parts, strict=True)]
    ranked = [replace(item, score=mean) for item, mean in zip(items, means, strict=True)]
    return sorted(ranked, key=lambda item: item.score, reverse=True)


def _scaled(values: Sequence[float | None]) -> list[float | None]:
    """Return values divided by the greatest; None for each if that is 0."""
    best = max((value for value in values if value is not None), default=0.0)
    return [None if value is None or best <= 0 else value / best for value in values]


def _namespaces(user_id: str) -> list[Namespace]:
    return [user_namespace(user_id, label) for label in (FACTS, MEMORIES, ENTITIES)]


def _below(names: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    """Return the namespace and the filter of a search in collections."""
    namespace = shared_namespace(names[0])
    return namespace if len(names) == 1 else namespace[:1], {"collection": {"$in": list(names)}}


def _relations(snapshot: Snapshot, key: str) -> list[Relation]:
    """Return the relations of an entity that hold now, with the names that they had when they were stored."""
    values: Iterable[Mapping[str, Any]] = snapshot.relations_at([key], now())[:MAX_RELATIONS]
    return [Relation.from_value(one, one["subject"], one["object"]) for one in values]
