"""`Entities`: a small knowledge graph for each user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_agentmem.knowledge.entities.changes import (
    EntityChanges,
    RelationRemoval,
    When,
    entity_change,
    given_changes,
    relation_change,
    validated,
)
from langchain_agentmem.knowledge.entities.engine import EntityEngine
from langchain_agentmem.knowledge.entities.models import Entity, EntityGraph, EntityList, Relation, RelationList
from langchain_agentmem.knowledge.face import KnowledgeFace
from langchain_agentmem.knowledge.sources import source_ids
from langchain_agentmem.programs import arun, run
from langchain_agentmem.store.face import AgentMemStore

if TYPE_CHECKING:
    import networkx as nx


class Entities(KnowledgeFace[EntityEngine]):
    """The entities and relations of users: `memory.entities`. Every method has an async twin with the prefix `a`.

    An entity is known by its names. Names are equal if they differ only in case, in compatibility forms of characters, or
    in spaces. Entities that share a name are merged: the result has all names, attributes and relations. Where they differ,
    the value that was updated last wins, and the others are kept in `other_values`. `split` undoes a merge. Entities do not
    expire.

    If two names differ in capital letters and the kinds differ, the entities are different: Apple, an organisation, and
    apple, a fruit. The second one is named `apple (fruit)`.

    Of the aliases that a model gives, pronouns, roles such as "my brother" and words for the user are left out, and a known
    entity is merged with another one only if the model gives two of its names.

    Args:
        store: The store, such as `memory.store`.

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
        super().__init__(EntityEngine(store.engine))

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
        """Add or update an entity. Arguments that are omitted leave its values unchanged.

        Args:
            user_id: ID of the user.
            name: The entity's name, or one of its names.
            kind: Kind of the entity, in one word, such as `person`. Default: unchanged.
            aliases: Other names. Entities that have one of them are merged with this one. Default: none.
            attributes: Attributes by name, stored as text. An empty text removes an attribute. Default: none.
            description: Description of the entity, in one sentence. Default: unchanged.
            sources: IDs of messages that mention the entity. Default: none.

        Returns:
            The entity after the change.

        Raises:
            InvalidInputError: An argument is not valid; nothing was written.
        """
        change = entity_change(name, kind, aliases, attributes, description, sources)
        return run(self.engine.upsert(user_id, change))

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
        """Same as `upsert`, without blocking the event loop."""
        change = entity_change(name, kind, aliases, attributes, description, sources)
        return await arun(self.engine.upsert(user_id, change))

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
        """Add or update a relation between two entities. Entities that do not exist are added.

        If a stored validity period of the relation overlaps with the given one, it gets the given dates and sources. Among
        several, a period with the same dates is updated, else the one that has not ended. So `valid_to` ends a relation,
        and a call without dates changes no date. A relation that begins again after its end gets a new period.

        Args:
            user_id: ID of the user.
            subject: A name of the subject.
            predicate: The relation, such as `works at`.
            object: A name of the object.
            valid_from: Start of the validity period: a `datetime`, a `date`, or ISO 8601. Default: None (unchanged).
            valid_to: End of the validity period. Default: None (unchanged).
            sources: IDs of messages that state the relation. Default: none.

        Returns:
            The relation after the change.

        Raises:
            InvalidInputError: An argument is not valid; nothing was written.
        """
        change = relation_change(subject, predicate, object, valid_from, valid_to, sources)
        return run(self.engine.relate(user_id, change))

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
        """Same as `relate`, without blocking the event loop."""
        change = relation_change(subject, predicate, object, valid_from, valid_to, sources)
        return await arun(self.engine.relate(user_id, change))

    def unrelate(self, user_id: str, subject: str, predicate: str, object: str) -> int:
        """Delete a relation that was never true, with all its validity periods.

        To end a relation that was true, call `relate` with `valid_to`.

        Args:
            user_id: ID of the user.
            subject: A name of the subject.
            predicate: The relation.
            object: A name of the object.

        Returns:
            The number of deleted validity periods.
        """
        removal = validated(RelationRemoval, subject=subject, predicate=predicate, object=object)
        return run(self.engine.unrelate(user_id, removal))

    async def aunrelate(self, user_id: str, subject: str, predicate: str, object: str) -> int:
        """Same as `unrelate`, without blocking the event loop."""
        removal = validated(RelationRemoval, subject=subject, predicate=predicate, object=object)
        return await arun(self.engine.unrelate(user_id, removal))

    def apply(self, user_id: str, changes: EntityChanges | Mapping[str, Any], *, sources: Sequence[str] = ()) -> None:
        """Make several changes in one transaction.

        Applying changes twice has the same result as applying them once, unless they give one relation contradictory dates.

        Args:
            user_id: ID of the user.
            changes: The changes, or a mapping in their form.
            sources: Message IDs for changes that name none. Default: none.

        Raises:
            InvalidInputError: A change is not valid; nothing was written.
        """
        run(self.engine.apply(user_id, given_changes(changes), source_ids(sources)))

    async def aapply(
        self, user_id: str, changes: EntityChanges | Mapping[str, Any], *, sources: Sequence[str] = ()
    ) -> None:
        """Same as `apply`, without blocking the event loop."""
        await arun(self.engine.apply(user_id, given_changes(changes), source_ids(sources)))

    def split(self, user_id: str, name: str, part: str | None = None) -> EntityList:
        """Undo a merge: restore the entities as they were before it.

        Later changes stay with the entity whose name was known first. A relation goes back to the entity that had the name
        with which the relation was added. The last 10 merges of an entity can be undone.

        Args:
            user_id: ID of the user.
            name: One of the entity's names.
            part: A name of an entity that was merged. Default: None (the last merge).

        Returns:
            The separate entities.

        Raises:
            InvalidInputError: There is no such entity, or it was not merged; nothing was written.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> memory = AgentMemory.from_url("sqlite:///:memory:")
            >>> _ = memory.entities.upsert("alice", "Tom", "person", attributes={"age": "30"})
            >>> _ = memory.entities.upsert("alice", "Jim", "person", aliases=["Tom"], attributes={"age": "40"})
            >>> [(one.name, one.attributes) for one in memory.entities.split("alice", "Tom")]
            [('Tom', {'age': '30'}), ('Jim', {'age': '40'})]
            >>> memory.close()
        """
        return run(self.engine.split(user_id, name, part))

    async def asplit(self, user_id: str, name: str, part: str | None = None) -> EntityList:
        """Same as `split`, without blocking the event loop."""
        return await arun(self.engine.split(user_id, name, part))

    def forget(self, user_id: str, name: str) -> bool:
        """Delete an entity with all its names and relations.

        Args:
            user_id: ID of the user.
            name: One of the entity's names.

        Returns:
            True if there was such an entity.
        """
        return run(self.engine.forget(user_id, name))

    async def aforget(self, user_id: str, name: str) -> bool:
        """Same as `forget`, without blocking the event loop."""
        return await arun(self.engine.forget(user_id, name))

    # Reading

    def get(self, user_id: str, name: str) -> Entity | None:
        """Return an entity, or None if there is no entity with this name.

        Args:
            user_id: ID of the user.
            name: One of the entity's names.
        """
        return run(self.engine.get(user_id, name))

    async def aget(self, user_id: str, name: str) -> Entity | None:
        """Same as `get`, without blocking the event loop."""
        return await arun(self.engine.get(user_id, name))

    def list(self, user_id: str, *, kind: str | None = None, limit: int = 100, offset: int = 0) -> EntityList:
        """Return entities, those that were updated last first.

        Args:
            user_id: ID of the user.
            kind: Only entities of this kind. Default: None (all).
            limit: Upper bound of the number of entities. Default: 100.
            offset: Number of entities to skip. Default: 0.
        """
        return run(self.engine.list(user_id, kind, limit, offset))

    async def alist(self, user_id: str, *, kind: str | None = None, limit: int = 100, offset: int = 0) -> EntityList:
        """Same as `list`, without blocking the event loop."""
        return await arun(self.engine.list(user_id, kind, limit, offset))

    def search(self, user_id: str, query: str, k: int = 5, *, kind: str | None = None) -> EntityList:
        """Return the entities whose names, kind, description and attributes answer a query best.

        Args:
            user_id: ID of the user.
            query: The query; see `AgentMemStore.search`.
            k: Upper bound of the number of entities. Default: 5.
            kind: Only entities of this kind. Default: None (all).
        """
        return run(self.engine.search(user_id, query, k, kind))

    async def asearch(self, user_id: str, query: str, k: int = 5, *, kind: str | None = None) -> EntityList:
        """Same as `search`, without blocking the event loop."""
        return await arun(self.engine.search(user_id, query, k, kind))

    def relations(self, user_id: str, name: str) -> RelationList:
        """Return all relations of an entity, those that have ended too. Relations that were updated last come first.

        Args:
            user_id: ID of the user.
            name: One of the entity's names.
        """
        return run(self.engine.relations(user_id, name))

    async def arelations(self, user_id: str, name: str) -> RelationList:
        """Same as `relations`, without blocking the event loop."""
        return await arun(self.engine.relations(user_id, name))

    def neighbours(
        self, user_id: str, name: str, depth: int = 1, *, as_of: When | None = None, limit: int = 100
    ) -> EntityGraph:
        """Return the graph around an entity.

        Args:
            user_id: ID of the user.
            name: One of the entity's names. The graph is empty if there is no such entity.
            depth: Number of relations between the entity and the farthest one, from 1 to 5. Default: 1.
            as_of: Time at which the relations must hold. Default: None (now).
            limit: Upper bound of the number of entities; the nearest ones are returned. Default: 100.

        Returns:
            The entities, the nearest ones first. Among equally near ones, those whose relations were updated last come first.
            The relations are those on the way to these entities.
        """
        return run(self.engine.neighbours(user_id, name, depth, as_of, limit))

    async def aneighbours(
        self, user_id: str, name: str, depth: int = 1, *, as_of: When | None = None, limit: int = 100
    ) -> EntityGraph:
        """Same as `neighbours`, without blocking the event loop."""
        return await arun(self.engine.neighbours(user_id, name, depth, as_of, limit))

    def graph(self, user_id: str) -> EntityGraph:
        """Return all entities and relations of a user, relations that have ended too.

        Args:
            user_id: ID of the user.
        """
        return run(self.engine.graph(user_id))

    async def agraph(self, user_id: str) -> EntityGraph:
        """Same as `graph`, without blocking the event loop."""
        return await arun(self.engine.graph(user_id))

    def to_networkx(self, user_id: str) -> nx.MultiDiGraph[str]:
        """Same as `graph`, for networkx (extra `[graphs]`); see `EntityGraph.to_networkx`."""
        return self.graph(user_id).to_networkx()

    async def ato_networkx(self, user_id: str) -> nx.MultiDiGraph[str]:
        """Same as `to_networkx`, without blocking the event loop."""
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
        """Return the part of a prompt about some entities and their relations. It quotes everything as data.

        Args:
            user_id: ID of the user.
            names_or_query: A text selects the entities that answer it best. A list of names selects these entities.
            max_characters: Upper bound of the characters; less important entities and relations are left out.
                Default: 2,000.
            max_entities: Upper bound of the number of entities. Default: 10.
            as_of: When the relations must hold. Default: None (now).

        Returns:
            The text; an empty string if nothing is known.

        Example:
            >>> from langchain_agentmem import AgentMemory
            >>> memory = AgentMemory.from_url("sqlite:///:memory:")
            >>> _ = memory.entities.relate("alice", "Bob", "works at", "Acme")
            >>> print(memory.entities.context("alice", "Where is Bob?").splitlines()[1])
            <data>{"entities": [{"name": "Bob"}], "relations": ["Bob works at Acme"]}</data>
            >>> memory.close()
        """
        return run(self.engine.context(user_id, names_or_query, max_characters, max_entities, as_of))

    async def acontext(
        self,
        user_id: str,
        names_or_query: str | Iterable[str],
        *,
        max_characters: int = 2_000,
        max_entities: int = 10,
        as_of: When | None = None,
    ) -> str:
        """Same as `context`, without blocking the event loop."""
        return await arun(self.engine.context(user_id, names_or_query, max_characters, max_entities, as_of))
