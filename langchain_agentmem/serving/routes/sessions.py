"""Sessions: list, read, rename, end and delete."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from langchain_agentmem.serving.callers import CallerOf, OwnerOf, UserOf
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
    SessionId,
    part,
)
from langchain_agentmem.serving.routing import router

routes = router("sessions", 404)


class Summary(Answer):
    """The summary of a session or a thread."""

    text: str = Field(examples=["They plan a trip to Malta."])
    topics: list[str] = Field(examples=[["travel"]])
    decisions: list[str]
    open_questions: list[str]
    message_count: int = Field(examples=[8])
    """The number of messages that the summary covers."""
    updated_at: datetime


class Session(Answer):
    """A session."""

    session_id: str = Field(examples=["trip"])
    user_id: str | None = Field(examples=[ALICE])
    title: str | None = Field(examples=["Where shall we go?"])
    message_count: int = Field(examples=[2])
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    summary: Summary | None
    metadata: dict[str, Any]


class NewTitle(Body):
    """A new title."""

    session_id: Id = Field(examples=["trip"])
    user_id: Id | None = Field(default=None, examples=[ALICE])
    title: str = Field(max_length=10_000, examples=["Malta"])


class EndedSession(Body):
    """A session to end."""

    session_id: Id = Field(examples=["trip"])
    user_id: Id | None = Field(default=None, examples=[ALICE])


@routes.get("/sessions", response_model=Listing[Session])
async def list_sessions(caller: CallerOf, owner: OwnerOf, limit: Limit = 100, offset: Offset = 0) -> Any:
    """List sessions, the most recently used first."""
    found = await caller.memory.sessions.alist(user_id=owner, limit=limit + 1, offset=offset)
    return part(found, limit, offset)


@routes.get("/session", response_model=Session)
async def get_session(caller: CallerOf, user: UserOf, session_id: SessionId) -> Any:
    """Return a session."""
    found = await caller.memory.sessions.aget(session_id, user_id=user)
    if found is None:
        raise ProblemError(404, "The session does not exist.")
    return found


@routes.patch("/session")
async def rename_session(caller: CallerOf, new: NewTitle) -> Changed:
    """Set the title of a session."""
    renamed = await caller.memory.sessions.arename(new.session_id, new.title, user_id=caller.user(new.user_id))
    return Changed(changed=renamed)


@routes.post("/session/end")
async def end_session(caller: CallerOf, ended: EndedSession) -> Deleted:
    """End a session: delete its variables, and the messages and records of the retention policy `session`."""
    return Deleted(deleted=await caller.memory.sessions.aend(ended.session_id, user_id=caller.user(ended.user_id)))


@routes.delete("/session")
async def delete_session(caller: CallerOf, user: UserOf, session_id: SessionId) -> Changed:
    """Delete a session with all its messages."""
    return Changed(changed=await caller.memory.sessions.adelete(session_id, user_id=user))
