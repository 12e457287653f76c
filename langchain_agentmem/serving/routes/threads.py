"""Threads of LangGraph: list, read and delete."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from pydantic import Field

from langchain_agentmem.checkpointing.sizes import CheckpointSize
from langchain_agentmem.serving.callers import CallerOf, OwnerOf, UserOf
from langchain_agentmem.serving.routes.messages import Message, shown_message
from langchain_agentmem.serving.routes.models import (
    ALICE,
    After,
    Answer,
    Changed,
    Limit,
    Listing,
    Offset,
    ThreadId,
    part,
)
from langchain_agentmem.serving.routing import router
from langchain_agentmem.serving.threads import is_own, may_access

routes = router("threads", 409)


class Thread(Answer):
    """A thread."""

    thread_id: str = Field(examples=["thread-1"])
    user_id: str | None = Field(examples=[ALICE])
    """The user of the last turn."""
    checkpoint_count: int = Field(examples=[4])
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    users: dict[str, datetime]
    """All users of the thread, each with the time of the last turn."""


class Checkpoint(Answer):
    """A checkpoint of a thread."""

    checkpoint_id: str
    namespace: str
    """The namespace of the graph: empty for the graph itself, not for its subgraphs."""
    parent_id: str | None
    created_at: datetime | None
    step: int | None
    source: str | None
    channels: list[str]
    """The channels that have a value."""
    pending_writes: int
    message_count: int | None
    """The number of messages in the channel `messages`; null without that channel."""


class Checkpoints(Answer):
    """Checkpoints of a thread, the newest first."""

    items: list[Checkpoint]
    next_before: str | None = None
    """The checkpoint to continue before; null at the end."""


class ThreadMessage(Message):
    """A message of a thread."""

    position: int = Field(examples=[0])


class ThreadMessages(Answer):
    """Messages in the latest state of a thread, oldest first."""

    items: list[ThreadMessage]
    next_after: int | None = None
    """The position to continue after; null at the end of the list."""


@routes.get("/threads", response_model=Listing[Thread])
async def list_threads(caller: CallerOf, owner: OwnerOf, limit: Limit = 100, offset: Offset = 0) -> Any:
    """List threads, the most recently used first. A key that is bound to users gets no threads with other users."""
    found = await caller.memory.checkpointer.athreads(user_id=owner, limit=limit + 1, offset=offset)
    listed: dict[str, Any] = part(found, limit, offset)
    listed["items"] = [one for one in listed["items"] if is_own(caller, one.users)]
    return listed


@routes.get("/thread/checkpoints", response_model=Checkpoints)
async def list_checkpoints(
    caller: CallerOf,
    user: UserOf,
    thread_id: ThreadId,
    before: Annotated[
        str | None, Query(min_length=1, max_length=100, description="Only checkpoints before this one.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="The maximum number of checkpoints.")] = 20,
) -> Any:
    """Return the checkpoints of a thread, the newest first."""
    if not await may_access(caller, thread_id, user):
        return {"items": []}
    found = await caller.memory.checkpointer.asizes(thread_id, limit=limit, before=before)
    return {"items": list(map(_shown, found)), "next_before": found[-1].checkpoint_id if len(found) == limit else None}


@routes.get("/thread/messages", response_model=ThreadMessages)
async def list_thread_messages(
    caller: CallerOf, user: UserOf, thread_id: ThreadId, after: After = -1, limit: Limit = 100
) -> Any:
    """Return the messages in the latest state of a thread: those of its channel `messages`, oldest first.

    Turns may change this list, so a position is that of a message at the time of the request.
    """
    if not await may_access(caller, thread_id, user):
        return {"items": []}
    found = await caller.memory.checkpointer.aget_tuple(_config(thread_id))
    messages = (None if found is None else _messages(found)) or []
    first = after + 1
    shown = [{**shown_message(one), "position": at} for at, one in enumerate(messages[first : first + limit], first)]
    return {"items": shown, "next_after": after + limit if len(messages) > first + limit else None}


@routes.delete("/thread")
async def delete_thread(caller: CallerOf, user: UserOf, thread_id: ThreadId) -> Changed:
    """Delete a thread with all its checkpoints."""
    if not await may_access(caller, thread_id, user):
        return Changed(changed=False)
    exists = await caller.memory.checkpointer.aget_tuple(_config(thread_id)) is not None
    await caller.memory.checkpointer.adelete_thread(thread_id)
    return Changed(changed=exists)


def _config(thread_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id}}


def _messages(found: CheckpointTuple) -> list[BaseMessage] | None:
    messages = found.checkpoint["channel_values"].get("messages")
    if not isinstance(messages, list):
        return None
    return [one for one in messages if isinstance(one, BaseMessage)]


def _shown(found: CheckpointSize) -> dict[str, Any]:
    own = ("checkpoint_id", "namespace", "parent_id", "created_at", "step", "source", "channels", "message_count")
    return {**{name: getattr(found, name) for name in own}, "pending_writes": found.writes}
