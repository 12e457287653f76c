"""Summaries of sessions and threads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from langchain_agentmem.serving.callers import CallerOf, OwnerOf, UserOf
from langchain_agentmem.serving.problems import ProblemError
from langchain_agentmem.serving.routes.models import (
    ALICE,
    Answer,
    Limit,
    Listing,
    Offset,
    OptionalSessionId,
    OptionalThreadId,
    part,
)
from langchain_agentmem.serving.routes.sessions import Summary
from langchain_agentmem.serving.routing import router
from langchain_agentmem.serving.threads import may_access, own_threads

routes = router("summaries", 404)


class ConversationSummary(Answer):
    """The summary of a session or a thread."""

    summary: Summary | None
    session_id: str | None = Field(examples=["trip"])
    thread_id: str | None
    user_id: str | None = Field(examples=[ALICE])
    updated_at: datetime
    title: str | None = Field(examples=["Where shall we go?"])


@routes.get("/summary", response_model=Summary)
async def get_summary(
    caller: CallerOf,
    user: UserOf,
    session_id: OptionalSessionId = None,
    thread_id: OptionalThreadId = None,
    agent: Annotated[
        str | None, Query(min_length=1, max_length=1024, description="Only messages of this agent.")
    ] = None,
) -> Any:
    """Return the stored summary of a session or a thread.

    A session without one gets a summary that quotes its newest 1,000 messages.
    """
    found = None
    if thread_id is None or await may_access(caller, thread_id, user):
        found = await caller.memory.asummary(
            session_id, user_id=None if session_id is None else user, agent=agent, thread_id=thread_id
        )
    if found is None:
        raise ProblemError(404, "There is no summary.")
    return found


@routes.get("/summaries", response_model=Listing[ConversationSummary])
async def list_summaries(caller: CallerOf, owner: OwnerOf, limit: Limit = 20, offset: Offset = 0) -> Any:
    """List the summaries of sessions and threads, the most recently used first."""
    found = list(await caller.memory.asummaries(user_id=owner, limit=limit + 1, offset=offset))
    listed: dict[str, Any] = part(found, limit, offset)
    threads = [one.thread_id for one in listed["items"] if one.thread_id is not None]
    if caller.is_bound and threads:
        own = await own_threads(caller, threads)
        listed["items"] = [one for one in listed["items"] if one.thread_id is None or one.thread_id in own]
    return listed
