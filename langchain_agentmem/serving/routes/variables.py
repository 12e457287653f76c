"""Variables, and the routes of agents' memory variables under `/api/v1/agent/{agent}/memory`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import Field, JsonValue

from langchain_agentmem.serving.callers import CallerOf, UserOf
from langchain_agentmem.serving.problems import ProblemError
from langchain_agentmem.serving.routes.models import (
    ALICE,
    Answer,
    Body,
    Changed,
    Deleted,
    Id,
    OptionalAgent,
    OptionalSessionId,
)
from langchain_agentmem.serving.routing import router

routes = router("variables", 404)
agent_routes = router("agent memory", 404, prefix="/api/v1/agent/{agent}/memory")

_MISSING = object()
_LONGEST_TTL = 3_000 * 365 * 24 * 3_600

Name = Annotated[str, Query(min_length=1, max_length=1024, description="The name.", examples=["tone"])]
AgentName = Annotated[str, Path(min_length=1, max_length=1024, description="The agent.", examples=["my_agent"])]
MemoryName = Annotated[str, Path(min_length=1, max_length=1024, description="The name.", examples=["user_preference"])]
SessionName = Annotated[
    str | None, Query(min_length=1, max_length=1024, description="The session.", examples=["user123"])
]


class Values(Answer):
    """The variables in a scope, with those of the wider scopes."""

    values: dict[str, Any] = Field(examples=[{"tone": "short"}])


class Value(Answer):
    """A variable."""

    name: str = Field(examples=["tone"])
    value: Any = Field(examples=["short"])


class NewValues(Body):
    """Variables to set."""

    values: dict[Id, JsonValue] = Field(min_length=1, max_length=100, examples=[{"tone": "short"}])
    user_id: Id | None = Field(default=None, examples=[ALICE])
    agent: Id | None = None
    session_id: Id | None = None
    ttl: float | None = Field(default=None, gt=0, le=_LONGEST_TTL)
    """The time after which they expire, in seconds. Default: never."""


class AgentMemory(Answer):
    """A memory variable of an agent."""

    name: str = Field(examples=["user_preference"])
    content: Any = Field(examples=["Prefers detailed technical explanations"])
    agent: str = Field(examples=["my_agent"])
    session_name: str | None = Field(examples=["user123"])
    user_id: str | None


class AgentMemories(Answer):
    """The memory variables of an agent."""

    items: list[AgentMemory]


class NewAgentMemory(Body):
    """A memory variable to add or to replace."""

    name: Id = Field(examples=["user_preference"])
    content: JsonValue = Field(examples=["Prefers detailed technical explanations"])
    session_name: Id | None = Field(default=None, examples=["user123"])
    user_id: Id | None = Field(default=None, examples=[ALICE])


@routes.get("/variables")
async def list_variables(
    caller: CallerOf, user: UserOf, agent: OptionalAgent = None, session_id: OptionalSessionId = None
) -> Values:
    """Return the variables in a scope, with those of the wider scopes."""
    return Values(values=await caller.memory.variables.aall(user_id=user, agent=agent, session_id=session_id))


@routes.get("/variable")
async def get_variable(
    caller: CallerOf, user: UserOf, name: Name, agent: OptionalAgent = None, session_id: OptionalSessionId = None
) -> Value:
    """Return a variable of a scope, or of the next wider scope that has it."""
    found = await caller.memory.variables.aget(name, _MISSING, user_id=user, agent=agent, session_id=session_id)
    if found is _MISSING:
        raise ProblemError(404, "The variable does not exist.")
    return Value(name=name, value=found)


@routes.put("/variables")
async def set_variables(caller: CallerOf, new: NewValues) -> Changed:
    """Set variables of a scope in one transaction."""
    await caller.memory.variables.aset_many(
        new.values, user_id=caller.user(new.user_id), agent=new.agent, session_id=new.session_id, ttl=new.ttl
    )
    return Changed(changed=True)


@routes.delete("/variable")
async def delete_variable(
    caller: CallerOf, user: UserOf, name: Name, agent: OptionalAgent = None, session_id: OptionalSessionId = None
) -> Changed:
    """Delete a variable of exactly this scope."""
    return Changed(
        changed=await caller.memory.variables.adelete(name, user_id=user, agent=agent, session_id=session_id)
    )


@routes.delete("/variables")
async def clear_variables(
    caller: CallerOf,
    user: UserOf,
    agent: OptionalAgent = None,
    session_id: OptionalSessionId = None,
    everything: Annotated[bool, Query(alias="all", description="Required, because it deletes all of them.")] = False,
) -> Deleted:
    """Delete all variables of exactly this scope; wider and narrower scopes are kept. It needs `all=true`."""
    if not everything:
        raise ProblemError(422, "Pass all=true to delete all variables of the scope, or name one: DELETE /v1/variable.")
    return Deleted(deleted=await caller.memory.variables.aclear(user_id=user, agent=agent, session_id=session_id))


@agent_routes.post("", status_code=201)
async def add_agent_memory(caller: CallerOf, agent: AgentName, new: NewAgentMemory) -> AgentMemory:
    """Add or replace a memory variable of an agent, in a session or in all."""
    user = caller.user(new.user_id)
    await caller.memory.variables.aset(new.name, new.content, user_id=user, agent=agent, session_id=new.session_name)
    return _shown(new.name, new.content, agent, new.session_name, user)


@agent_routes.get("")
async def list_agent_memories(
    caller: CallerOf, user: UserOf, agent: AgentName, session_name: SessionName = None
) -> AgentMemories:
    """Return the memory variables of an agent in a session, with those of the wider scopes."""
    found = await caller.memory.variables.aall(user_id=user, agent=agent, session_id=session_name)
    return AgentMemories(items=[_shown(name, value, agent, session_name, user) for name, value in found.items()])


@agent_routes.delete("")
async def clear_agent_memories(
    caller: CallerOf, user: UserOf, agent: AgentName, session_name: SessionName = None
) -> Deleted:
    """Delete the memory variables of an agent in exactly this session; without `session_name`, those outside sessions."""
    deleted = await caller.memory.variables.aclear(user_id=user, agent=agent, session_id=session_name)
    return Deleted(deleted=deleted)


@agent_routes.get("/{name}")
async def get_agent_memory(
    caller: CallerOf, user: UserOf, agent: AgentName, name: MemoryName, session_name: SessionName = None
) -> AgentMemory:
    """Return a memory variable of an agent."""
    variables = caller.memory.variables
    found = await variables.aget(name, _MISSING, user_id=user, agent=agent, session_id=session_name)
    if found is _MISSING:
        raise ProblemError(404, "The memory does not exist.")
    return _shown(name, found, agent, session_name, user)


@agent_routes.delete("/{name}")
async def delete_agent_memory(
    caller: CallerOf, user: UserOf, agent: AgentName, name: MemoryName, session_name: SessionName = None
) -> Changed:
    """Delete a memory variable of an agent."""
    variables = caller.memory.variables
    return Changed(changed=await variables.adelete(name, user_id=user, agent=agent, session_id=session_name))


def _shown(name: str, content: Any, agent: str, session_name: str | None, user: str | None) -> AgentMemory:
    return AgentMemory(name=name, content=content, agent=agent, session_name=session_name, user_id=user)
