"""Profiles of users, and the facts about them with their history."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime, Field, JsonValue

from langchain_agentmem.serving.callers import CallerOf, RequiredUser
from langchain_agentmem.serving.problems import ProblemError
from langchain_agentmem.serving.routes.models import (
    ALICE,
    MAX_LIMIT,
    Answer,
    Body,
    Changed,
    Deleted,
    Id,
    Limit,
    Listing,
    Offset,
    part,
    plain,
)
from langchain_agentmem.serving.routing import router

routes = router("profiles", 409)


class Profile(Answer):
    """The profile of a user."""

    user_id: str = Field(examples=[ALICE])
    profile: dict[str, Any] = Field(examples=[{"preferences": {"language": "Greek"}}])
    """The fields of the profile."""


class ProfileText(Answer):
    """The profile and the facts of a user as text for a prompt, quoted as data."""

    text: str


class Preference(Body):
    """A preference to set."""

    user_id: Id | None = Field(default=None, examples=[ALICE])
    key: str = Field(min_length=1, max_length=1_000, examples=["language"])
    value: JsonValue = Field(examples=["Greek"])


class Fact(Answer):
    """A fact about a user."""

    id: str
    text: str = Field(examples=["Likes hiking"])
    topics: list[str] = Field(examples=[["hobbies"]])
    sources: list[str]
    """The IDs of the messages that state it."""
    first_seen: datetime | None
    last_seen: datetime | None
    valid_from: datetime | None
    valid_to: datetime | None
    """The end of the validity period; null while the fact is true."""
    confidence: float
    metadata: dict[str, Any]
    agent: str | None
    replaces: str | None
    """The ID of the fact that this one superseded."""
    replaced_by: str | None
    """The ID of the fact that superseded this one."""
    score: float | None
    """The relevance to the query of a search, from 0 to 1."""


class FactList(Answer):
    """Facts about a user."""

    items: list[Fact]


class NewFact(Body):
    """A fact to add."""

    user_id: Id | None = Field(default=None, examples=[ALICE])
    text: str = Field(min_length=1, max_length=2_000, examples=["Likes hiking"])
    topics: list[str] = Field(default_factory=list, max_length=50, examples=[["hobbies"]])
    agent: Id | None = None
    replaces: Id | None = None
    """The ID of a fact that this one supersedes."""
    metadata: dict[str, JsonValue] | None = None


AsOf = Annotated[AwareDatetime | None, Query(description="The time at which the profile was valid. Default: now.")]
FactId = Annotated[str, Query(min_length=1, max_length=1024, description="The ID of the fact.", examples=["fact-1"])]


@routes.get("/profile", response_model=Profile)
async def get_profile(caller: CallerOf, user: RequiredUser, as_of: AsOf = None) -> Any:
    """Return the profile of a user, now or at an earlier time. The profile of an unknown user is empty."""
    found = await caller.memory.profiles.aget(user, as_of=as_of)
    return {"user_id": user, "profile": plain(found.model_dump(mode="json"))}


@routes.get("/profile/context")
async def get_profile_context(
    caller: CallerOf,
    user: RequiredUser,
    query: Annotated[str | None, Query(min_length=1, max_length=10_000, description="Prefer what matches it.")] = None,
    max_tokens: Annotated[int, Query(ge=1, le=100_000, description="The budget in tokens.")] = 1_000,
) -> ProfileText:
    """Return the profile and the facts of a user as text for a prompt."""
    return ProfileText(text=await caller.memory.profiles.acontext(user, query=query, max_tokens=max_tokens))


@routes.patch("/profile")
async def set_preference(caller: CallerOf, new: Preference) -> Changed:
    """Set a preference in the profile of a user."""
    user = caller.required_user(new.user_id)
    await caller.memory.profiles.aupdate_preference(user, new.key, new.value)
    return Changed(changed=True)


@routes.delete("/profile")
async def forget_profile(caller: CallerOf, user: RequiredUser) -> Deleted:
    """Delete the profile and the facts of a user."""
    return Deleted(deleted=await caller.memory.profiles.aforget(user))


@routes.get("/facts", response_model=FactList)
async def list_facts(
    caller: CallerOf,
    user: RequiredUser,
    query: Annotated[
        str | None, Query(min_length=1, max_length=10_000, description="Find the facts that match.")
    ] = None,
    topic: Annotated[str | None, Query(min_length=1, max_length=1_000, description="Only facts of this topic.")] = None,
    past: Annotated[bool, Query(description="Also facts whose validity period has ended.")] = False,
    k: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The maximum number of facts.")] = 100,
) -> Any:
    """Return the facts about a user: those that match a query, those of a topic, or all."""
    profiles = caller.memory.profiles
    if query is not None and topic is not None:
        raise ProblemError(422, "query and topic exclude each other. Pass one of them.")
    if query is not None:
        found = await profiles.asearch(user, query, k, past=past)
    elif topic is not None:
        found = await profiles.aby_topic(user, topic, past=past)
    else:
        found = await profiles.atimeline(user)
    return {"items": [one for one in found if past or one.is_valid()][:k]}


@routes.get("/facts/history", response_model=Listing[Fact])
async def list_fact_history(caller: CallerOf, user: RequiredUser, limit: Limit = 100, offset: Offset = 0) -> Any:
    """Return facts about a user, also superseded ones, by the start of their validity periods."""
    found = await caller.memory.profiles.atimeline(user)
    return part(found[offset : offset + limit + 1], limit, offset)


@routes.post("/facts", status_code=201, response_model=Fact)
async def add_fact(caller: CallerOf, new: NewFact) -> Any:
    """Add a fact about a user."""
    return await caller.memory.profiles.aadd_fact(
        caller.required_user(new.user_id),
        new.text,
        topics=new.topics,
        agent=new.agent,
        replaces=new.replaces,
        metadata=new.metadata,
    )


@routes.post("/facts/end")
async def end_fact(caller: CallerOf, user: RequiredUser, fact_id: FactId) -> Changed:
    """End the validity period of a fact now."""
    return Changed(changed=await caller.memory.profiles.aend_fact(user, fact_id))


@routes.delete("/facts")
async def forget_fact(caller: CallerOf, user: RequiredUser, fact_id: FactId) -> Changed:
    """Delete a fact. Messages that were written before never bring it back."""
    return Changed(changed=await caller.memory.profiles.aforget_fact(user, fact_id))
