"""Agents: run a turn, and read what is known about a user."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import Path, Query
from pydantic import Field, JsonValue, model_validator
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from langchain_agentmem.serving.agents import Answered, Part, ServedAgent, Turn
from langchain_agentmem.serving.callers import Caller, CallerOf, RequiredUser
from langchain_agentmem.serving.problems import ProblemError
from langchain_agentmem.serving.routes.models import ALICE, MAX_LIMIT, Answer, Body, Id, plain
from langchain_agentmem.serving.routing import LongRoute, router
from langchain_agentmem.serving.service import Service
from langchain_agentmem.serving.turns import Events

routes = router("agents", 404, 502)
run_routes = router("agents", 404, 409, 502, route=LongRoute)

_ENDING = "The service is shutting down."

AgentName = Annotated[str, Path(min_length=1, max_length=1024, description="The agent.", examples=["rag-agent"])]


class AgentNames(Answer):
    """The names of the agents."""

    items: list[str] = Field(examples=[["rag-agent"]])


class KnownThing(Answer):
    """A fact about a user, or a memory that was saved."""

    memory_id: str
    kind: Literal["fact", "memory"]
    memory: str = Field(examples=["User name is Alice"])
    topics: list[str] = Field(examples=[["personal"]])
    user_id: str = Field(examples=[ALICE])
    agent_id: str | None = Field(examples=["rag-agent"])
    """The agent that saved it."""
    created_at: datetime | None


class KnownThings(Answer):
    """What is known about a user, oldest first."""

    user_id: str = Field(examples=[ALICE])
    memories: list[KnownThing]


class Run(Body):
    """A turn to run."""

    message: str | None = Field(default=None, min_length=1, examples=["I love Python and machine learning!"])
    """The message of the user."""
    user_id: Id | None = Field(default=None, examples=[ALICE])
    session_id: Id | None = Field(default=None, examples=["alice-session-1"])
    """The session. Default: a new one."""
    stream: bool = False
    """If true, the answer is a stream of server-sent events: `token`, and at last `done` or `error`."""
    resume: JsonValue = None
    """The value with which an interrupted turn is resumed, instead of a message."""

    @model_validator(mode="after")
    def _one_of_message_and_resume(self) -> Run:
        if (self.message is None) == (self.resume is None):
            msg = "Pass either message or resume."
            raise ValueError(msg)
        return self


class Interrupt(Answer):
    """What an interrupted turn waits for."""

    id: str
    value: Any


class RunAnswer(Answer):
    """The answer of an agent."""

    agent_id: str = Field(examples=["rag-agent"])
    user_id: str | None = Field(examples=[ALICE])
    session_id: str = Field(examples=["alice-session-1"])
    thread_id: str = Field(examples=["alice@example.com/alice-session-1/rag-agent"])
    content: str = Field(examples=["Python is a good choice."])
    message_id: str | None
    interrupts: list[Interrupt]


class ToolCallPart(Answer):
    """A part of a tool call. Parts with the same `index` are one call; join their `args` to JSON."""

    index: int | None = Field(examples=[0])
    id: str | None = Field(examples=["call-1"])
    name: str | None = Field(examples=["search_memory"])
    args: str | None = Field(examples=['{"query": "Malta"}'])


class Token(Answer):
    """A part of a message of the agent, in an event `token`."""

    text: str
    message_id: str | None
    """The ID of the message: an agent that calls tools sends several messages in a turn."""
    tool_calls: list[ToolCallPart]


_TOKEN = '{"text":"Python","message_id":"lc_run--01a21dc0","tool_calls":[]}'

_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "schema": {
            "description": "Events: `token` with a part of a message (`text`, `message_id`, `tool_calls`), and at last "
            "`done` with the answer, or `error`.",
            "type": "object",
            "properties": {
                "event": {"type": "string", "enum": ["token", "done", "error"]},
                "data": {"type": "string", "description": "JSON.", "examples": [_TOKEN]},
            },
            "required": ["event", "data"],
        },
    }
}


@routes.get("/agents")
async def list_agents(request: Request, caller: CallerOf) -> AgentNames:
    """List the names of the agents."""
    return AgentNames(items=_service(request).agents.names(caller.memory.tenant))


@routes.get("/agents/{agent}/memories")
async def list_known_things(
    request: Request,
    caller: CallerOf,
    agent: AgentName,
    user: RequiredUser,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The maximum number of facts, and of memories.")] = 100,
) -> KnownThings:
    """Return what is known about a user: the newest facts that are true now, and the newest memories that were saved."""
    _agent(request, caller, agent)
    facts = [one for one in await caller.memory.profiles.atimeline(user) if one.is_valid()][-limit:]
    found = [
        KnownThing(
            memory_id=one.id,
            kind="fact",
            memory=one.text,
            topics=one.topics,
            user_id=user,
            agent_id=one.agent,
            created_at=one.first_seen,
        )
        for one in facts
    ]
    saved = await caller.memory.memories.alist(user, limit=limit)
    found += [
        KnownThing(
            memory_id=one.id,
            kind="memory",
            memory=one.text,
            topics=[],
            user_id=user,
            agent_id=one.agent,
            created_at=one.created_at,
        )
        for one in reversed(saved)
    ]
    return KnownThings(user_id=user, memories=found)


@run_routes.post(
    "/agents/{agent}/run",
    response_model=RunAnswer,
    responses={200: {"description": "The answer.", "content": _STREAM}},
)
async def run_agent(request: Request, caller: CallerOf, agent: AgentName, run: Run) -> Any:
    """Run a turn of an agent. Its thread belongs to this user, session and agent; turns of a thread follow each other.

    The turn is finished even if the client leaves.
    """
    served = _agent(request, caller, agent)
    user = caller.user(run.user_id)
    if user is None and served.needs_user:
        raise ProblemError(422, "user_id is missing. This agent needs a user.")
    if run.message is None and not served.is_graph:
        raise ProblemError(422, "This agent cannot be resumed. Pass a message.")
    turn = Turn(run.message, user, run.session_id or str(uuid4()), run.resume)
    service = _service(request)
    if run.stream:
        return _streamed(service, caller, served, turn)
    answer = service.turns.start(_answer(service, caller, served, turn))
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        if answer.cancelled():  # the application ends
            raise ProblemError(503, _ENDING) from None
        raise


async def _answer(service: Service, caller: Caller, served: ServedAgent, turn: Turn) -> RunAnswer:
    async with (
        asyncio.timeout(service.limits.run_timeout),
        service.turns.lock(caller.memory.tenant, served.thread_id(turn)),
    ):
        return _shown(served, turn, await served.answer(turn))


def _streamed(service: Service, caller: Caller, served: ServedAgent, turn: Turn) -> Response:
    events = Events()

    async def produce() -> None:
        failure: Exception | None = None
        try:
            async with (
                asyncio.timeout(service.limits.run_timeout),
                service.turns.lock(caller.memory.tenant, served.thread_id(turn)),
            ):
                async for part in served.stream(turn):
                    if isinstance(part, Answered):
                        events.send("done", _shown(served, turn, part).model_dump_json())
                    else:
                        events.send("token", _token(part).model_dump_json())
        except asyncio.CancelledError:  # the application ends
            failure = ProblemError(503, _ENDING)
            raise
        except Exception as error:
            failure = error
        finally:
            events.close(failure)

    service.turns.start(produce())
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events.body(), media_type="text/event-stream", headers=headers)


def _token(part: Part) -> Token:
    calls = [ToolCallPart.model_validate(dict(one)) for one in part.tool_calls]
    return Token(text=part.text, message_id=part.message_id, tool_calls=calls)


def _shown(served: ServedAgent, turn: Turn, answered: Answered) -> RunAnswer:
    return RunAnswer(
        agent_id=served.name,
        user_id=turn.user_id,
        session_id=turn.session_id,
        thread_id=served.thread_id(turn),
        content=answered.content,
        message_id=answered.message_id,
        interrupts=[Interrupt(id=one, value=plain(value)) for one, value in answered.interrupts],
    )


def _agent(request: Request, caller: Caller, name: str) -> ServedAgent:
    found = _service(request).agents.get(caller.memory.tenant, name)
    if found is None:
        raise ProblemError(404, "There is no agent of this name.")
    return found


def _service(request: Request) -> Service:
    service: Service = request.app.state.agentmem
    return service
