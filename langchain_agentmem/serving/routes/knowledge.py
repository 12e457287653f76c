"""Collections of texts for all users. Every key may read them; only a key for all users may change them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import Field, JsonValue

from langchain_agentmem.serving.callers import CallerOf, WholeMemory
from langchain_agentmem.serving.routes.models import (
    MAX_IDS,
    MAX_LIMIT,
    All,
    Answer,
    Body,
    Deleted,
    Id,
    Limit,
    Listing,
    Offset,
    Search,
    part,
    require_ids_or_all,
)
from langchain_agentmem.serving.routing import router

routes = router("knowledge", 404, 409)

Name = Annotated[
    str, Query(min_length=1, max_length=1024, description="The name of the collection.", examples=["guidelines"])
]
OptionalNames = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=1024)]] | None,
    Query(min_length=1, max_length=MAX_IDS, description="The names of collections. Default: all."),
]
EntryIds = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=1024)]] | None,
    Query(min_length=1, max_length=MAX_IDS, description="The IDs of entries."),
]


class Names(Answer):
    """The names of the collections."""

    items: list[str] = Field(examples=[["guidelines"]])


class Entry(Answer):
    """A text of a collection."""

    id: str
    name: str = Field(examples=["guidelines"])
    """The name of the collection."""
    text: str = Field(examples=["Refunds take five days."])
    metadata: dict[str, Any]
    score: float | None


class NewEntries(Body):
    """Texts to add to a collection."""

    name: Id = Field(examples=["guidelines"])
    texts: list[Annotated[str, Field(min_length=1, max_length=100_000)]] = Field(
        min_length=1, max_length=MAX_LIMIT, examples=[["Refunds take five days."]]
    )
    metadata: dict[str, JsonValue] | None = None
    """The metadata of each text."""
    replace: bool = False
    """If true, the other texts of the collection are deleted."""


class AddedEntries(Answer):
    """The entries that were added."""

    ids: list[str]


@routes.get("/knowledge/names")
async def list_names(caller: CallerOf) -> Names:
    """List the names of the collections."""
    return Names(items=await caller.memory.knowledge.anames())


@routes.get("/knowledge", response_model=Listing[Entry])
async def list_entries(caller: CallerOf, name: Name, limit: Limit = 100, offset: Offset = 0) -> Any:
    """List the texts of a collection."""
    return part(await caller.memory.knowledge.alist(name, limit=limit + 1, offset=offset), limit, offset)


@routes.get("/knowledge/search", response_model=Listing[Entry])
async def search_entries(
    caller: CallerOf,
    query: Search,
    name: OptionalNames = None,
    k: Annotated[int, Query(ge=1, le=100, description="The maximum number of texts.")] = 5,
) -> Any:
    """Find the texts that match a query best. Collections that do not exist are left out."""
    if name is not None:
        known = await caller.memory.knowledge.anames()
        name = [one for one in name if one in known]
        if not name:
            return {"items": []}
    return {"items": await caller.memory.knowledge.asearch(query, names=name, k=k)}


@routes.post("/knowledge", status_code=201)
async def add_entries(memory: WholeMemory, new: NewEntries) -> AddedEntries:
    """Add texts to a collection in one transaction, or replace it."""
    store = memory.knowledge.areplace if new.replace else memory.knowledge.aadd
    return AddedEntries(ids=await store(new.name, new.texts, new.metadata))


@routes.delete("/knowledge")
async def delete_entries(memory: WholeMemory, name: Name, id: EntryIds = None, everything: All = False) -> Deleted:
    """Delete texts of a collection or, with `all=true`, the whole collection."""
    require_ids_or_all("id", id, everything)
    return Deleted(deleted=await memory.knowledge.adelete(name, id))
