"""Records of what agents did."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime, Field, JsonValue

from langchain_agentmem.serving.callers import CallerOf, OwnerOf
from langchain_agentmem.serving.routes.models import (
    ALICE,
    Answer,
    Body,
    Id,
    Limit,
    OptionalAgent,
    OptionalSessionId,
)
from langchain_agentmem.serving.routing import router

routes = router("records")


class Record(Answer):
    """A record of an agent."""

    id: str
    agent: str = Field(examples=["writer"])
    record: dict[str, Any] = Field(examples=[{"output": "A headline"}])
    status: str = Field(examples=["success"])
    session_id: str | None
    user_id: str | None
    started_at: datetime | None
    duration: float | None
    """Seconds."""
    created_at: datetime


class Records(Answer):
    """Records of agents."""

    items: list[Record]
    next_after: str | None = None
    """The record to continue after; null at the end."""


class NewRecord(Body):
    """A record to save."""

    agent: Id = Field(examples=["writer"])
    record: dict[str, JsonValue] = Field(examples=[{"output": "A headline"}])
    session_id: Id | None = Field(default=None, examples=["campaign-1"])
    user_id: Id | None = Field(default=None, examples=[ALICE])
    status: Id | None = Field(default=None, examples=["success"])


class SavedRecord(Answer):
    """The ID of a saved record."""

    id: str


@routes.get("/records", response_model=Records)
async def list_records(
    caller: CallerOf,
    owner: OwnerOf,
    agent: OptionalAgent = None,
    session_id: OptionalSessionId = None,
    status: Annotated[str | None, Query(min_length=1, max_length=1024, description="The status.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Only records from this time on.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Only records before this time.")] = None,
    after: Annotated[
        str | None, Query(min_length=1, max_length=100, description="The ID of the last record of the page before.")
    ] = None,
    newest_first: Annotated[bool, Query(description="If false, the oldest records come first.")] = True,
    limit: Limit = 100,
) -> Any:
    """Return records, the newest first."""
    found = await caller.memory.records.aquery(
        agent=agent,
        session_id=session_id,
        user_id=owner,
        status=status,
        since=since,
        until=until,
        after=after,
        newest_first=newest_first,
        limit=limit,
    )
    return {"items": found, "next_after": found[-1].id if len(found) == limit else None}


@routes.post("/records", status_code=201)
async def save_record(caller: CallerOf, new: NewRecord) -> SavedRecord:
    """Save a record of an agent."""
    saved = await caller.memory.records.asave(
        new.agent,
        new.record,
        session_id=new.session_id,
        user_id=caller.user(new.user_id),
        status=new.status,
    )
    return SavedRecord(id=saved)
