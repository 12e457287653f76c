"""Entities and relations as programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from langgraph.store.base import Item, SearchOp

from langchain_agentmem.arguments.ids import check_name
from langchain_agentmem.arguments.values import check_count, check_list
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.knowledge.entities.changes import (
    EntityChange,
    EntityChanges,
    RelationChange,
    RelationRemoval,
    When,
    given_moment,
)
from langchain_agentmem.knowledge.entities.context import context_block, fitting, read_neighbourhood
from langchain_agentmem.knowledge.entities.models import Entity, EntityGraph, EntityList, Relation, RelationList
from langchain_agentmem.knowledge.entities.snapshot import Snapshot
from langchain_agentmem.knowledge.entities.stored import StoredGraph
from langchain_agentmem.knowledge.entities.values import IS_ENTITY, ends_of
from langchain_agentmem.knowledge.guarding import guarded_change, guarded_changes
from langchain_agentmem.knowledge.items import read_batch, readable
from langchain_agentmem.knowledge.names import folded, name_key
from langchain_agentmem.knowledge.namespaces import ENTITIES, RELATIONS, user_namespace
from langchain_agentmem.knowledge.times import now
from langchain_agentmem.knowledge.unit import Value, commit
from langchain_agentmem.programs import Program
from langchain_agentmem.store.engine import StoreEngine

T = TypeVar("T")

MAX_DEPTH = 5
"""Upper bound of the depth of `neighbours`."""

_PAGE = 10_000


class EntityEngine:
    """The operations of `Entities` as programs. See there for arguments, results and errors.

    Args:
        store: The store.
    """

    def __init__(self, store: StoreEngine) -> None:
        self.store = store

    # Changing

    def upsert(self, user_id: str, change: EntityChange) -> Program[Entity]:
        """Add or update an entity."""
        kept = guarded_change(change, self.store.guard)
        return self._change(user_id, lambda graph: Entity.from_value(graph.upsert(kept)))

    def relate(self, user_id: str, change: RelationChange) -> Program[Relation]:
        """Add or update a relation."""
        kept = guarded_change(change, self.store.guard)

        def edit(graph: StoredGraph) -> Relation:
            value = graph.relate(kept)
            return Relation.from_value(value, value["subject"], value["object"])

        return self._change(user_id, edit)

    def unrelate(self, user_id: str, removal: RelationRemoval) -> Program[int]:
        """Delete a relation with all its validity periods; return the number of periods."""
        return self._change(user_id, lambda graph: graph.unrelate(removal))

    def apply(self, user_id: str, changes: EntityChanges, sources: Sequence[str] = ()) -> Program[None]:
        """Make several changes in one transaction."""
        kept = guarded_changes(changes, self.store.guard)
        return self._change(user_id, lambda graph: graph.apply(kept, sources))

    def split(self, user_id: str, name: str, part: str | None) -> Program[EntityList]:
        """Undo a merge of an entity; return the separated entities."""
        name, part = check_name("name", name), None if part is None else check_name("part", part)

        def edit(graph: StoredGraph) -> EntityList:
            return EntityList(Entity.from_value(one) for one in graph.split(name, part))

        return (yield from self._change(user_id, edit))

    def forget(self, user_id: str, name: str) -> Program[bool]:
        """Delete an entity; return true if there was one."""
        return self._change(user_id, lambda graph: graph.forget(name))

    def _change(self, user_id: str, edit: Callable[[StoredGraph], T]) -> Program[T]:
        moment = now().isoformat()
        return (yield from commit(self.store, user_id, (), lambda unit: edit(StoredGraph(unit, moment))))

    # Reading

    def get(self, user_id: str, name: str) -> Program[Entity | None]:
        """Return the entity of a name, or None."""
        snapshot = Snapshot(self.store, user_id)
        key = name_key("name", name)
        yield from snapshot.load([key])
        value = snapshot.entity(key)
        return None if value is None else Entity.from_value(value)

    def list(self, user_id: str, kind: str | None, limit: int, offset: int) -> Program[EntityList]:
        """Return entities, those that were updated last first."""
        limit, offset = check_count("limit", limit), check_count("offset", offset, least=0)
        return (yield from self._search(user_id, None, limit, kind, offset))

    def search(self, user_id: str, query: str, k: int, kind: str | None = None) -> Program[EntityList]:
        """Return the entities that answer a query best."""
        return (yield from self._search(user_id, check_name("query", query), check_count("k", k), kind))

    def _search(
        self, user_id: str, query: str | None, limit: int, kind: str | None, offset: int = 0
    ) -> Program[EntityList]:
        condition: dict[str, Any] = dict(IS_ENTITY)
        if kind is not None:
            condition["kind"] = folded(check_name("kind", kind))
        search = SearchOp(user_namespace(user_id, ENTITIES), condition, limit, offset, query)
        (items,) = yield from read_batch(self.store, [search])
        return EntityList(readable(items, lambda item: Entity.from_value(item.value, item.score)))

    def relations(self, user_id: str, name: str) -> Program[RelationList]:
        """Return all relations of an entity, those that were updated last first."""
        snapshot = Snapshot(self.store, user_id)
        key = name_key("name", name)
        yield from snapshot.load([key], relations=True)
        values = snapshot.relations_of(key)
        yield from snapshot.load(end for value in values for end in ends_of(value))
        return snapshot.relations(values)

    def neighbours(self, user_id: str, name: str, depth: int, as_of: When | None, limit: int) -> Program[EntityGraph]:
        """Return the graph around an entity, up to a depth. Each step outwards reads its new entities together."""
        if check_count("depth", depth) > MAX_DEPTH:
            msg = f"depth must be at most {MAX_DEPTH}; got {depth}."
            raise InvalidInputError(msg)
        limit, at, start = check_count("limit", limit), _moment(as_of), name_key("name", name)
        snapshot = Snapshot(self.store, user_id)
        yield from snapshot.load([start], relations=True)
        outer = snapshot.main_keys([start])
        reached, complete = dict.fromkeys(outer), True
        relations: dict[str, Value] = {}
        for step in range(1, depth + 1):
            values = snapshot.relations_at(outer, at)
            relations |= {value["id"]: value for value in values}
            ends = [key for key in dict.fromkeys(key for one in values for key in ends_of(one)) if key not in reached]
            outer = []
            # In chunks: an entity may have far more neighbours than the limit.
            for first in range(0, len(ends), limit):
                chunk = ends[first : first + limit]
                if len(reached) == limit:
                    complete = False
                    break
                yield from snapshot.load(chunk, relations=step < depth)
                new = [key for key in snapshot.main_keys(chunk) if key not in reached]
                room = limit - len(reached)
                complete = complete and len(new) <= room
                outer += new[:room]
                reached |= dict.fromkeys(new[:room])
        inside = [one for one in relations.values() if all(snapshot.main_key(key) in reached for key in ends_of(one))]
        return EntityGraph(snapshot.entities(reached), snapshot.relations(inside), complete)

    def graph(self, user_id: str) -> Program[EntityGraph]:
        """Return all entities and relations of a user."""
        snapshot = Snapshot(self.store, user_id)
        namespaces = user_namespace(user_id, ENTITIES), user_namespace(user_id, RELATIONS)
        for offset in range(0, 10**9, _PAGE):
            searches = [SearchOp(namespace, None, _PAGE, offset) for namespace in namespaces]
            pages = yield from read_batch(self.store, searches)
            snapshot.add((item.namespace, item.key, item.value) for page in pages for item in page)
            if all(len(page) < _PAGE for page in pages):
                break
        keys = snapshot.all_main_keys()
        relations = snapshot.relations(one for key in keys for one in snapshot.relations_of(key))
        return EntityGraph(snapshot.entities(keys), relations)

    # For prompts

    def context(
        self,
        user_id: str,
        names_or_query: str | Iterable[str],
        max_characters: int,
        max_entities: int,
        as_of: When | None,
    ) -> Program[str]:
        """Return the part of a prompt that quotes some entities and their relations."""
        check_count("max_characters", max_characters)
        check_count("max_entities", max_entities)
        if isinstance(names_or_query, str):
            found = yield from self._search(user_id, names_or_query, max_entities, None)
            names = [entity.name for entity in found]
        else:
            names = check_list("names_or_query", names_or_query, "names")
        keys, at = [name_key("a name", name) for name in names], _moment(as_of)
        snapshot = Snapshot(self.store, user_id)
        yield from snapshot.load(keys, relations=True)
        main_keys = snapshot.main_keys(keys)[:max_entities]
        neighbourhood = yield from read_neighbourhood(snapshot, main_keys, max_characters, at)
        return context_block(neighbourhood, max_characters)

    def described(
        self, user_id: str, found: Sequence[Item], most: int, budget: int, at: datetime
    ) -> Program[dict[str, Any]]:
        """Return the part of a prompt about entities that searches found, and about their relations.

        Args:
            user_id: ID of the user.
            found: Items that `relevant_searches` found, the more important ones first.
            most: Upper bound of the number of entities.
            budget: Upper bound of the characters.
            at: When the relations must hold.
        """
        items = list({item.key: item for item in found}.values())[:most]
        if not items:
            return {"entities": [], "relations": []}
        snapshot = Snapshot(self.store, user_id)
        snapshot.add((item.namespace, item.key, item.value) for item in items)
        neighbourhood = yield from read_neighbourhood(snapshot, [item.key for item in items], budget, at)
        return fitting(*neighbourhood, budget)


def relevant_searches(user_id: str, query: str | None, most: int) -> list[SearchOp]:
    """Return the searches for entities that matter: those that answer a query, and those that were updated last.

    Args:
        user_id: ID of the user.
        query: The query; None for the last updated ones only.
        most: Upper bound of the number of entities.
    """
    namespace = user_namespace(user_id, ENTITIES)
    newest = SearchOp(namespace, IS_ENTITY, most, 0, None)
    return [newest] if query is None else [SearchOp(namespace, IS_ENTITY, most - most // 3, 0, query), newest]


def _moment(as_of: When | None) -> datetime:
    return given_moment("as_of", as_of) or now()
