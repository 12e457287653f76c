"""Entities of users and the relations between them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from langchain_agentmem.serving.callers import CallerOf, RequiredUser
from langchain_agentmem.serving.problems import ProblemError
from langchain_agentmem.serving.routes.models import (
    ALICE,
    Answer,
    Body,
    Changed,
    Deleted,
    Id,
    Limit,
    Listing,
    Offset,
    part,
)
from langchain_agentmem.serving.routing import router

routes = router("entities", 404, 409)

Name = Annotated[str, Query(min_length=1, max_length=300, description="The name of the entity.", examples=["Acme"])]


class Entity(Answer):
    """A person, an organisation, a place, or anything else with a name."""

    name: str = Field(examples=["Acme"])
    kind: str = Field(examples=["organisation"])
    aliases: list[str]
    attributes: dict[str, str]
    description: str
    other_values: dict[str, list[str]]
    """Values that were replaced when entities were merged."""
    sources: list[str]
    """The IDs of the messages that mention it."""
    created_at: datetime | None
    updated_at: datetime | None
    score: float | None


class Relation(Answer):
    """A relation between two entities."""

    subject: str = Field(examples=["Alice"])
    predicate: str = Field(examples=["works at"])
    object: str = Field(examples=["Acme"])
    valid_from: datetime | None
    valid_to: datetime | None
    """The end of the validity period; null while the relation is valid."""
    sources: list[str]
    created_at: datetime | None
    updated_at: datetime | None


class Graph(Answer):
    """Entities and the relations between them."""

    entities: list[Entity]
    relations: list[Relation]
    complete: bool
    """False if the graph may have more entities than the limit allowed."""


class NewEntity(Body):
    """An entity to add or to change."""

    user_id: Id | None = Field(default=None, examples=[ALICE])
    name: str = Field(min_length=1, max_length=300, examples=["Acme"])
    kind: str = Field(default="", max_length=300, examples=["organisation"])
    aliases: list[Annotated[str, Field(min_length=1, max_length=300)]] = Field(default_factory=list, max_length=50)
    attributes: dict[str, str] | None = None
    description: str = Field(default="", max_length=2_000)


class NewRelation(Body):
    """A relation to add."""

    user_id: Id | None = Field(default=None, examples=[ALICE])
    subject: str = Field(min_length=1, max_length=300, examples=["Alice"])
    predicate: str = Field(min_length=1, max_length=300, examples=["works at"])
    object: str = Field(min_length=1, max_length=300, examples=["Acme"])


@routes.get("/entities", response_model=Listing[Entity])
async def list_entities(
    caller: CallerOf,
    user: RequiredUser,
    query: Annotated[
        str | None, Query(min_length=1, max_length=10_000, description="Find entities that match.")
    ] = None,
    kind: Annotated[str | None, Query(min_length=1, max_length=300, description="Only entities of this kind.")] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Any:
    """List the entities of a user, or those that match a query best."""
    entities = caller.memory.entities
    if query is not None:
        return {"items": await entities.asearch(user, query, limit, kind=kind)}
    return part(await entities.alist(user, kind=kind, limit=limit + 1, offset=offset), limit, offset)


@routes.get("/entity", response_model=Entity)
async def get_entity(caller: CallerOf, user: RequiredUser, name: Name) -> Any:
    """Return an entity by one of its names."""
    found = await caller.memory.entities.aget(user, name)
    if found is None:
        raise ProblemError(404, "The entity does not exist.")
    return found


@routes.get("/entities/graph", response_model=Graph)
async def get_graph(caller: CallerOf, user: RequiredUser) -> Any:
    """Return all entities of a user with their relations."""
    return await caller.memory.entities.agraph(user)


@routes.get("/entities/neighbours", response_model=Graph)
async def get_neighbours(
    caller: CallerOf,
    user: RequiredUser,
    name: Name,
    depth: Annotated[int, Query(ge=1, le=5, description="The maximum number of relations on the way.")] = 1,
    limit: Limit = 100,
) -> Any:
    """Return the entities near one, with their relations."""
    return await caller.memory.entities.aneighbours(user, name, depth, limit=limit)


@routes.post("/entities", status_code=201, response_model=Entity)
async def upsert_entity(caller: CallerOf, new: NewEntity) -> Any:
    """Add an entity, or add to a stored one."""
    return await caller.memory.entities.aupsert(
        caller.required_user(new.user_id),
        new.name,
        new.kind,
        aliases=new.aliases,
        attributes=new.attributes,
        description=new.description,
    )


@routes.delete("/entity")
async def forget_entity(caller: CallerOf, user: RequiredUser, name: Name) -> Changed:
    """Delete an entity with its relations."""
    return Changed(changed=await caller.memory.entities.aforget(user, name))


@routes.post("/relations", status_code=201, response_model=Relation)
async def relate(caller: CallerOf, new: NewRelation) -> Any:
    """Add a relation between two entities, which are added if they do not exist."""
    user = caller.required_user(new.user_id)
    return await caller.memory.entities.arelate(user, new.subject, new.predicate, new.object)


@routes.delete("/relations")
async def unrelate(
    caller: CallerOf,
    user: RequiredUser,
    subject: Name,
    predicate: Annotated[str, Query(min_length=1, max_length=300, description="The relation.", examples=["works at"])],
    object: Name,  # the name in the URL
) -> Deleted:
    """Delete a relation."""
    return Deleted(deleted=await caller.memory.entities.aunrelate(user, subject, predicate, object))
