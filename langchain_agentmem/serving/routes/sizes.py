"""The sizes of the checkpoints of a thread."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from langchain_agentmem.serving.callers import CallerOf, UserOf
from langchain_agentmem.serving.routes.models import Answer, ThreadId
from langchain_agentmem.serving.routing import router
from langchain_agentmem.serving.threads import may_access

routes = router("threads")


class CheckpointSize(Answer):
    """A checkpoint with its size."""

    checkpoint_id: str
    namespace: str
    """Empty for the graph itself; otherwise the subgraph."""
    parent_id: str | None
    created_at: datetime | None
    step: int | None = Field(examples=[1])
    source: str | None = Field(examples=["loop"])
    channels: list[str] = Field(examples=[["messages"]])
    """The channels that have a value."""
    writes: int = Field(examples=[0])
    """The number of pending writes."""
    bytes: int = Field(examples=[5_200])
    """The bytes that the checkpoint needs, including those that it shares with other checkpoints."""
    new_bytes: int = Field(examples=[900])
    """The bytes that its parent does not need."""


class CheckpointSizes(Answer):
    """Checkpoints of a thread with their sizes, the newest first."""

    items: list[CheckpointSize]
    next_before: str | None = None
    """The checkpoint to continue before; null at the end."""


@routes.get("/thread/sizes", response_model=CheckpointSizes)
async def list_sizes(
    caller: CallerOf,
    user: UserOf,
    thread_id: ThreadId,
    before: Annotated[
        str | None, Query(min_length=1, max_length=100, description="Only checkpoints before this one.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="The maximum number of checkpoints.")] = 20,
) -> Any:
    """Return the checkpoints of a thread with the bytes that they need and add, the newest first."""
    if not await may_access(caller, thread_id, user):
        return {"items": []}
    found = await caller.memory.checkpointer.asizes(thread_id, limit=limit, before=before)
    return {"items": found, "next_before": found[-1].checkpoint_id if len(found) == limit else None}
