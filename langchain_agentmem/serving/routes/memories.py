"""Memories that users and agents asked to keep, and recall of everything that is known."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field, JsonValue

from langchain_agentmem.serving.callers import CallerOf, RequiredUser
from langchain_agentmem.serving.routes.models import (
    ALICE,
    Answer,
    Body,
    Changed,
    Id,
    Limit,
    Listing,
    Offset,
    OptionalSessionId,
    Search,
    part,
    plain,
)
from langchain_agentmem.serving.routing import router

routes = router("memories")


class Memory(Answer):
    """A memory of a user."""

    id: str
    text: str = Field(examples=["Prefers window seats"])
    times: int = Field(examples=[1])
    """The number of times that it was saved."""
    created_at: datetime
    updated_at: datetime
    score: float | None
    metadata: dict[str, Any]
    agent: str | None


class NewMemory(Body):
    """A memory to save."""

    user_id: Id | None = Field(default=None, examples=[ALICE])
    text: str = Field(min_length=1, max_length=2_000, examples=["Prefers window seats"])
    agent: Id | None = None
    metadata: dict[str, JsonValue] | None = None


class RecalledItem(Answer):
    """A stored item that answers a message."""

    kind: str = Field(examples=["fact"])
    """`fact`, `memory`, `entity`, `turn` or `knowledge`."""
    text: str = Field(examples=["Likes hiking"])
    score: float
    source: dict[str, Any]
    """The IDs of what is stored."""
    time: datetime | None
    metadata: dict[str, Any]


class Recalled(Answer):
    """The stored knowledge that answers a message, the most relevant first."""

    items: list[RecalledItem]
    text: str
    """The items, quoted as data for a prompt."""


@routes.get("/memories", response_model=Listing[Memory])
async def list_memories(
    caller: CallerOf,
    user: RequiredUser,
    query: Annotated[
        str | None, Query(min_length=1, max_length=10_000, description="Find memories that match.")
    ] = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Any:
    """List the memories of a user, or those that match a query best."""
    memories = caller.memory.memories
    if query is not None:
        return {"items": await memories.asearch(user, query, limit)}
    return part(await memories.alist(user, limit=limit + 1, offset=offset), limit, offset)


@routes.post("/memories", status_code=201, response_model=Memory)
async def save_memory(caller: CallerOf, new: NewMemory) -> Any:
    """Save a memory of a user. Equal texts are one memory."""
    user = caller.required_user(new.user_id)
    return await caller.memory.memories.asave(user, new.text, agent=new.agent, metadata=new.metadata)


@routes.delete("/memories")
async def forget_memory(
    caller: CallerOf,
    user: RequiredUser,
    memory_id: Annotated[str, Query(min_length=1, max_length=1024, description="The ID of the memory.")],
) -> Changed:
    """Delete a memory of a user."""
    return Changed(changed=await caller.memory.memories.aforget(user, memory_id))


@routes.get("/recall", response_model=Recalled)
async def recall(
    caller: CallerOf,
    user: RequiredUser,
    query: Search,
    session_id: OptionalSessionId = None,
    k: Annotated[int, Query(ge=1, le=100, description="The maximum number of items.")] = 10,
) -> Any:
    """Return what is known about a user that answers a message: facts, memories, entities and turns of other sessions."""
    found = await caller.memory.arecall(query, user_id=user, session_id=session_id, k=k)
    items = [
        {name: getattr(one, name) for name in ("kind", "text", "score", "time")}
        | {"source": plain(dict(one.source)), "metadata": plain(dict(one.metadata))}
        for one in found
    ]
    return {"items": items, "text": found.text}
