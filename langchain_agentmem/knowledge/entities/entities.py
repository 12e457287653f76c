"""Entities and relations of users: a small knowledge graph for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.store.base import SearchOp

from langchain_agentmem.arguments.ids import check_name
from langchain_agentmem.arguments.values import check_count, check_list
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.knowledge.entities.changes import (
    EntityChanges,
    RelationRemoval,
    When,
    entity_change,
    given_changes,
    given_moment,
    relation_change,
    source_ids,
    valid,
)
from langchain_agentmem.knowledge.entities.drafts import Draft
from langchain_agentmem.knowledge.entities.graphs import Entity, EntityGraph, EntityList, Relation, RelationList
from langchain_agentmem.knowledge.entities.views import (
    IS_ENTITY,
    Known,
    context_block,
    ends_of,
    holds,
    latest,
    reading_about,
)
from langchain_agentmem.knowledge.names import folded, name_key
from langchain_agentmem.knowledge.namespaces import ENTITIES, RELATIONS, user_namespace
from langchain_agentmem.knowledge.reading import answers, readable
from langchain_agentmem.knowledge.unit import Value, commit
from langchain_agentmem.programs import Program, arun, run
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    import networkx as nx

T = TypeVar("T")

MAX_DEPTH = 5
"""The farthest that `neighbours` goes."""

_PAGE = 10_000


class Entities:
    """The entities of users and how they relate. It hangs on `AgentMemory.entities`; every method has an async twin.

    An entity is known by its names, compared without case, compatibility forms of characters and extra spaces. Entities that
    turn out to share a name become one: with all names, attributes and relations of both; where they differ, what changed
    last counts, and the rest is kept in `other_values`. Entities do not expire.

    Args:
        store: Where they are.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> _ = memory.entities.upsert("alice", "Robert Smith", "person", aliases=["Bob"])
        >>> _ = memory.entities.relate("alice", "Bob", "works at", "Acme", valid_from="2024-05-01")
        >>> [str(relation) for relation in memory.entities.neighbours("alice", "acme").relations]
        ['Robert Smith works at Acme (since 2024-05-01)']
        >>> memory.close()
    """

    def __init__(self, store: AgentMemStore) -> None:
        self._engine = store.engine

    # Writing

    def upsert(
        self,
        user_id: str,
        name: str,
        kind: str = "",
        *,
        aliases: Sequence[str] = (),
        attributes: Mapping[str, Any] | None = None,
        description: str = "",
        sources: Sequence[str] = (),
    ) -> Entity:
        """Make an entity, or add to one: what is left out stays as it is.

        Args:
            user_id: Whose.
            name: Its name, or one of them.
            kind: What it is, in a word. Default: as known.
            aliases: More names. Entities that have one of them become one with it. Default: none.
            attributes: Its properties, kept as text; an empty text removes one. Default: none.
            description: What it is, in a sentence. Default: as known.
            sources: The ids of the messages that say so. Default: none.

        Returns:
            The entity as it is now known.

        Raises:
            InvalidInputError: An argument is not accepted; nothing was written.
        """
        change = entity_change(name, kind, aliases, attributes, description, sources)
        return run(self._changed(user_id, lambda draft: Entity.of(draft.upsert(change))))

    async def aupsert(
        self,
        user_id: str,
        name: str,
        kind: str = "",
        *,
        aliases: Sequence[str] = (),
        attributes: Mapping[str, Any] | None = None,
        description: str = "",
        sources: Sequence[str] = (),
    ) -> Entity:
        """Same as `upsert`, but without blocking the event loop."""
        change = entity_change(name, kind, aliases, attributes, description, sources)
        return await arun(self._changed(user_id, lambda draft: Entity.of(draft.upsert(change))))

    def relate(
        self,
        user_id: str,
        subject: str,
        predicate: str,
        object: str,
        *,
        valid_from: When | None = None,
        valid_to: When | None = None,
        sources: Sequence[str] = (),
    ) -> Relation:
        """Note how one entity relates to another; those that are not known are made.

        A relation that is known for a time in common with this one is the same: it gets the dates that are given, and the
        sources; of several, one with the same dates is meant, else the one that holds still. So `valid_to` ends it, and
        naming it again without dates changes no date. What began after it ended is another.

        Args:
            user_id: Whose.
            subject: A name of the one.
            predicate: The relation, such as `works at`.
            object: A name of the other.
            valid_from: Since when it is so: a `datetime`, a `date`, or ISO 8601. Default: None (as known).
            valid_to: Until when it was so. Default: None (as known).
            sources: The ids of the messages that say so. Default: none.

        Returns:
            The relation as it is now known.

        Raises:
            InvalidInputError: An argument is not accepted; nothing was written.
        """
        change = relation_change(subject, predicate, object, valid_from, valid_to, sources)
        return run(self._changed(user_id, lambda draft: _related(draft.relate(change))))

    async def arelate(
        self,
        user_id: str,
        subject: str,
        predicate: str,
        object: str,
        *,
        valid_from: When | None = None,
        valid_to: When | None = None,
        sources: Sequence[str] = (),
    ) -> Relation:
        """Same as `relate`, but without blocking the event loop."""
        change = relation_change(subject, predicate, object, valid_from, valid_to, sources)
        return await arun(self._changed(user_id, lambda draft: _related(draft.relate(change))))

    def unrelate(self, user_id: str, subject: str, predicate: str, object: str) -> int:
        """Delete a relation that was never so, of all times; one that has ended is given `valid_to` with `relate`.

        Args:
            user_id: Whose.
            subject: A name of the one.
            predicate: The relation.
            object: A name of the other.

        Returns:
            How many there were.
        """
        removal = valid(RelationRemoval, subject=subject, predicate=predicate, object=object)
        return run(self._changed(user_id, lambda draft: draft.unrelate(removal)))

    async def aunrelate(self, user_id: str, subject: str, predicate: str, object: str) -> int:
        """Same as `unrelate`, but without blocking the event loop."""
        removal = valid(RelationRemoval, subject=subject, predicate=predicate, object=object)
        return await arun(self._changed(user_id, lambda draft: draft.unrelate(removal)))

    def apply(self, user_id: str, changes: EntityChanges | Mapping[str, Any], *, sources: Sequence[str] = ()) -> None:
        """Make several changes at once: all of them, or none.

        Making them twice is making them once, unless they date one relation in ways that contradict each other.

        Args:
            user_id: Whose.
            changes: The changes, or what can be validated as such.
            sources: The ids of the messages that say so, for what does not name its own. Default: none.

        Raises:
            InvalidInputError: A change is not accepted; nothing was written.
        """
        run(self.applying(user_id, changes, sources))

    async def aapply(
        self, user_id: str, changes: EntityChanges | Mapping[str, Any], *, sources: Sequence[str] = ()
    ) -> None:
        """Same as `apply`, but without blocking the event loop."""
        await arun(self.applying(user_id, changes, sources))

    def forget(self, user_id: str, name: str) -> bool:
        """Delete an entity with all its names and all its relations.

        Args:
            user_id: Whose.
            name: One of its names.

        Returns:
            Whether there was one.
        """
        return run(self._changed(user_id, lambda draft: draft.forget(name)))

    async def aforget(self, user_id: str, name: str) -> bool:
        """Same as `forget`, but without blocking the event loop."""
        return await arun(self._changed(user_id, lambda draft: draft.forget(name)))

    # Reading

    def get(self, user_id: str, name: str) -> Entity | None:
        """The entity of a name, or None.

        Args:
            user_id: Whose.
            name: One of its names.
        """
        return run(self._get(user_id, name))

    async def aget(self, user_id: str, name: str) -> Entity | None:
        """Same as `get`, but without blocking the event loop."""
        return await arun(self._get(user_id, name))

    def list(self, user_id: str, *, kind: str | None = None, limit: int = 100, offset: int = 0) -> EntityList:
        """A user's entities, the last changed first.

        Args:
            user_id: Whose.
            kind: Only those of this kind. Default: None (all).
            limit: The most entities. Default: 100.
            offset: How many to skip. Default: 0.
        """
        return run(self._list(user_id, limit, kind, offset))

    async def alist(self, user_id: str, *, kind: str | None = None, limit: int = 100, offset: int = 0) -> EntityList:
        """Same as `list`, but without blocking the event loop."""
        return await arun(self._list(user_id, limit, kind, offset))

    def search(self, user_id: str, query: str, k: int = 5, *, kind: str | None = None) -> EntityList:
        """The entities that answer a query best, by their names, kinds, descriptions and attributes.

        Args:
            user_id: Whose.
            query: What to look for; see `AgentMemStore.search`.
            k: The most entities. Default: 5.
            kind: Only those of this kind. Default: None (all).
        """
        return run(self._searched(user_id, query, k, kind))

    async def asearch(self, user_id: str, query: str, k: int = 5, *, kind: str | None = None) -> EntityList:
        """Same as `search`, but without blocking the event loop."""
        return await arun(self._searched(user_id, query, k, kind))

    def relations(self, user_id: str, name: str) -> RelationList:
        """All relations of an entity, those that have ended too, the last changed first.

        Args:
            user_id: Whose.
            name: One of its names.
        """
        return run(self._relations(user_id, name))

    async def arelations(self, user_id: str, name: str) -> RelationList:
        """Same as `relations`, but without blocking the event loop."""
        return await arun(self._relations(user_id, name))

    def neighbours(
        self, user_id: str, name: str, depth: int = 1, *, as_of: When | None = None, limit: int = 100
    ) -> EntityGraph:
        """What an entity is related to, and what that is related to, up to a depth.

        Args:
            user_id: Whose.
            name: One of its names. Where there is no such entity, the graph is empty.
            depth: How many relations away, from 1 to `MAX_DEPTH`. Default: 1.
            as_of: At what time the relations are to hold. Default: None (now).
            limit: The most entities; the nearest are taken. Default: 100.

        Returns:
            The entities, the nearest first and of equally near ones those whose relations changed last, and the relations by
            which they were found.
        """
        return run(self._neighbours(user_id, name, depth, as_of, limit))

    async def aneighbours(
        self, user_id: str, name: str, depth: int = 1, *, as_of: When | None = None, limit: int = 100
    ) -> EntityGraph:
        """Same as `neighbours`, but without blocking the event loop."""
        return await arun(self._neighbours(user_id, name, depth, as_of, limit))

    def graph(self, user_id: str) -> EntityGraph:
        """All entities of a user and all their relations, those that have ended too.

        Args:
            user_id: Whose.
        """
        return run(self._graph(user_id))

    async def agraph(self, user_id: str) -> EntityGraph:
        """Same as `graph`, but without blocking the event loop."""
        return await arun(self._graph(user_id))

    def to_networkx(self, user_id: str) -> nx.MultiDiGraph[str]:
        """Same as `graph`, for networkx (extra `[graphs]`); see `EntityGraph.to_networkx`."""
        return self.graph(user_id).to_networkx()

    async def ato_networkx(self, user_id: str) -> nx.MultiDiGraph[str]:
        """Same as `to_networkx`, but without blocking the event loop."""
        return (await self.agraph(user_id)).to_networkx()

    def context(
        self,
        user_id: str,
        names_or_query: str | Iterable[str],
        *,
        max_characters: int = 2_000,
        max_entities: int = 10,
        as_of: When | None = None,
    ) -> str:
        """What a prompt should say of entities and their relations, quoted as data.

        Args:
            user_id: Whose.
            names_or_query: A text: the entities that answer it best. A list of names: those entities.
            max_characters: The most characters of the whole block; what is less important is left out. Default: 2,000.
            max_entities: The most entities whose relations are given. Default: 10.
            as_of: At what time the relations are to hold. Default: None (now).

        Returns:
            The block; an empty text where nothing is known.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> memory = AgentMemory.from_url("sqlite:///:memory:")
            >>> _ = memory.entities.relate("alice", "Bob", "works at", "Acme")
            >>> print(memory.entities.context("alice", "Where is Bob?").splitlines()[1])
            <data>{"entities": [{"name": "Bob"}], "relations": ["Bob works at Acme"]}</data>
            >>> memory.close()
        """
        return run(self._context(user_id, names_or_query, max_characters, max_entities, as_of))

    async def acontext(
        self,
        user_id: str,
        names_or_query: str | Iterable[str],
        *,
        max_characters: int = 2_000,
        max_entities: int = 10,
        as_of: When | None = None,
    ) -> str:
        """Same as `context`, but without blocking the event loop."""
        return await arun(self._context(user_id, names_or_query, max_characters, max_entities, as_of))

    # Programs

    def applying(
        self, user_id: str, changes: EntityChanges | Mapping[str, Any], sources: Sequence[str] = ()
    ) -> Program[None]:
        """The program of `apply`."""
        all_of_them = changes if isinstance(changes, EntityChanges) else given_changes(changes)
        ids = source_ids(sources)
        yield from self._changed(user_id, lambda draft: draft.apply(all_of_them, ids))

    def _changed(self, user_id: str, change: Callable[[Draft], T]) -> Program[T]:
        """Make a change of a user's entities and relations."""
        now = datetime.now(timezone.utc).isoformat()
        return (yield from commit(self._engine, user_id, (), lambda unit: change(Draft(unit, now))))

    def _get(self, user_id: str, name: str) -> Program[Entity | None]:
        known = Known(self._engine, user_id)
        key = name_key("name", name)
        yield from known.load([key])
        value = known.entity(key)
        return None if value is None else Entity.of(value)

    def _search(
        self, user_id: str, query: str | None, k: int, kind: str | None, offset: int = 0
    ) -> Program[EntityList]:
        condition: dict[str, Any] = dict(IS_ENTITY)
        if kind is not None:
            condition["kind"] = folded(check_name("kind", kind))
        search = SearchOp(
            user_namespace(user_id, ENTITIES), condition, k, check_count("offset", offset, least=0), query
        )
        (items,) = yield from answers(self._engine, [search])
        return EntityList(readable(items, lambda item: Entity.of(item.value, item.score)))

    def _searched(self, user_id: str, query: str, k: int, kind: str | None) -> Program[EntityList]:
        check_name("query", query)
        return (yield from self._search(user_id, query, check_count("k", k), kind))

    def _list(self, user_id: str, limit: int, kind: str | None, offset: int) -> Program[EntityList]:
        return (yield from self._search(user_id, None, check_count("limit", limit), kind, offset))

    def _relations(self, user_id: str, name: str) -> Program[RelationList]:
        known = Known(self._engine, user_id)
        key = name_key("name", name)
        yield from known.load([key], relations=True)
        values = known.relations_of(key)
        yield from known.load(key for value in values for key in ends_of(value))
        return known.shown(values)

    def _neighbours(self, user_id: str, name: str, depth: int, as_of: When | None, limit: int) -> Program[EntityGraph]:
        if check_count("depth", depth) > MAX_DEPTH:
            msg = f"depth must be at most {MAX_DEPTH}, got {depth}."
            raise InvalidInputError(msg)
        known = Known(self._engine, user_id)
        return (
            yield from self._around(known, [name_key("name", name)], depth, _time(as_of), check_count("limit", limit))
        )

    def _around(self, known: Known, keys: Sequence[str], depth: int, at: datetime, limit: int) -> Program[EntityGraph]:
        """The graph around entities: each step outwards reads what is new in it, all at once."""
        yield from known.load(keys, relations=True)
        reached = dict.fromkeys(main for key in keys if (main := known.main(key)) is not None)
        complete = len(reached) <= limit
        reached = dict.fromkeys(list(reached)[:limit])
        used: dict[str, Value] = {}
        outer = list(reached)
        for step in range(1, depth + 1):
            values = latest(one for main in outer for one in known.relations_of(main) if holds(one, at))
            used |= {value["id"]: value for value in values}
            ends = [key for key in dict.fromkeys(key for one in values for key in ends_of(one)) if key not in reached]
            outer = []
            # Of what has very many neighbours, no more are read than are asked for.
            for start in range(0, len(ends), limit):
                if len(reached) == limit:
                    complete = False
                    break
                chunk = ends[start : start + limit]
                yield from known.load(chunk, relations=step < depth)
                for main in dict.fromkeys(main for key in chunk if (main := known.main(key)) is not None):
                    if main not in reached and len(reached) == limit:
                        complete = False
                    elif main not in reached:
                        reached[main] = None
                        outer.append(main)
        inside = [one for one in used.values() if all(known.main(key) in reached for key in ends_of(one))]
        return EntityGraph(known.entities(reached), known.shown(inside), complete)

    def _graph(self, user_id: str) -> Program[EntityGraph]:
        known = Known(self._engine, user_id)
        spaces = user_namespace(user_id, ENTITIES), user_namespace(user_id, RELATIONS)
        for offset in range(0, 10**9, _PAGE):
            pages = yield from answers(self._engine, [SearchOp(space, None, _PAGE, offset) for space in spaces])
            for space, page in zip(spaces, pages, strict=True):
                known.learn((space, item.key, item.value) for item in page)
            if all(len(page) < _PAGE for page in pages):
                break
        mains = sorted(key for key, value in known.values.items() if value is not None and "same_as" not in value)
        return EntityGraph(
            known.entities(mains), known.shown(one for main in mains for one in known.relations_of(main))
        )

    def _context(
        self,
        user_id: str,
        names_or_query: str | Iterable[str],
        max_characters: int,
        max_entities: int,
        as_of: When | None,
    ) -> Program[str]:
        check_count("max_characters", max_characters)
        check_count("max_entities", max_entities)
        known = Known(self._engine, user_id)
        if isinstance(names_or_query, str):
            found = yield from self._search(user_id, names_or_query, max_entities, None)
            names = [entity.name for entity in found]
        else:
            names = check_list("names_or_query", names_or_query, "names")
        keys = [name_key("a name", name) for name in names]
        at = _time(as_of)
        yield from known.load(keys, relations=True)
        mains = list(dict.fromkeys(main for key in keys if (main := known.main(key)) is not None))[:max_entities]
        entities, relations = yield from reading_about(known, mains, max_characters, at)
        return context_block(entities, relations, max_characters)


def _related(value: Value) -> Relation:
    return Relation.of(value, value["subject"], value["object"])


def _time(as_of: When | None) -> datetime:
    return given_moment("as_of", as_of) or datetime.now(timezone.utc)
