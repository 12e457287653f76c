"""Messages of sessions: read by position, add, delete and search."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import Query
from langchain_core.messages import BaseMessage
from pydantic import Field, JsonValue

from langchain_agentmem.messages.models import FoundMessage, StoredMessage
from langchain_agentmem.messages.roles import role_of
from langchain_agentmem.programs import arun
from langchain_agentmem.serving.callers import CallerOf, UserOf
from langchain_agentmem.serving.routes.models import (
    ALICE,
    MAX_IDS,
    MAX_LIMIT,
    After,
    All,
    Answer,
    Body,
    Deleted,
    Id,
    Limit,
    OptionalAgent,
    OptionalSessionId,
    Search,
    SessionId,
    plain,
    require_ids_or_all,
)
from langchain_agentmem.serving.routing import router

routes = router("messages")


class ToolCall(Answer):
    """A call of a tool."""

    name: str = Field(examples=["search"])
    args: dict[str, Any] = Field(examples=[{"query": "Malta"}])
    id: str | None = Field(default=None, examples=["call-1"])


class Message(Answer):
    """A message."""

    id: str | None = Field(default=None, examples=["message-1"])
    role: str = Field(examples=["human"])
    """`human`, `ai`, `system`, `tool` or another one."""
    text: str = Field(examples=["Where shall we go?"])
    content: str | list[Any] = Field(examples=["Where shall we go?"])
    """The text, or a list of blocks."""
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class MessageOfSession(Message):
    """A message of a session."""

    session_id: str = Field(examples=["trip"])
    user_id: str | None = Field(examples=[ALICE])
    position: int = Field(examples=[0])
    agent: str | None = None
    created_at: datetime
    metadata: dict[str, Any]


class FoundMessageOfSession(MessageOfSession):
    """A message that a search found."""

    score: float = Field(examples=[0.9])
    """The relevance to the query, from 0 to 1."""
    similarity: float | None = Field(examples=[0.7])
    """The cosine similarity to the query, from -1 to 1; null without embeddings."""
    matched: list[str] = Field(examples=[["malta"]])
    """The words of the query that the message contains."""
    passage: str | None
    """The part of a long text that matched."""
    around: list[Message]
    """The message with its neighbours, if the search asked for neighbours."""


class MessagePage(Answer):
    """Messages of a session, oldest first."""

    items: list[MessageOfSession]
    next_after: int | None = None
    """The position to continue after; null at the end of the session."""


class FoundMessageList(Answer):
    """The result of a search, best first."""

    items: list[FoundMessageOfSession]


class NewMessage(Body):
    """A message to add."""

    role: Literal["user", "human", "assistant", "ai", "system"] = Field(examples=["user"])
    content: str = Field(examples=["Where shall we go?"])
    id: Id | None = None
    name: str | None = Field(default=None, max_length=1_000)


class NewMessages(Body):
    """Messages to add to a session in one transaction."""

    session_id: Id = Field(examples=["trip"])
    user_id: Id | None = Field(default=None, examples=[ALICE])
    agent: Id | None = None
    messages: list[NewMessage] = Field(min_length=1, max_length=MAX_LIMIT)
    metadata: dict[str, JsonValue] | None = None
    """The metadata of each message."""


class AddedMessages(Answer):
    """The messages that were added."""

    ids: list[str] = Field(examples=[["message-1"]])
    """Their IDs, in the order of the request."""
    positions: list[int] = Field(examples=[[0]])
    """Their positions in the session, in the same order."""


@routes.get("/messages", response_model=MessagePage)
async def list_messages(
    caller: CallerOf,
    user: UserOf,
    session_id: SessionId,
    agent: OptionalAgent = None,
    after: After = -1,
    limit: Limit = 100,
) -> Any:
    """Return the messages of a session that follow a position, oldest first."""
    found = await caller.memory.history(session_id, user_id=user, agent=agent).apage(after, limit)
    return {
        "items": list(map(shown_stored, found)),
        "next_after": found[-1].position if len(found) == limit else None,
    }


@routes.post("/messages", status_code=201)
async def add_messages(caller: CallerOf, new: NewMessages) -> AddedMessages:
    """Add messages to a session, in one transaction. A message without an ID gets one."""
    history = caller.memory.history(new.session_id, user_id=caller.user(new.user_id), agent=new.agent)
    ids = [one.id or str(uuid4()) for one in new.messages]
    messages: list[Any] = [
        {**one.model_dump(exclude_none=True), "id": id_} for one, id_ in zip(new.messages, ids, strict=True)
    ]
    first = await arun(history.adding(messages, new.metadata)) or 0
    return AddedMessages(ids=ids, positions=[*range(first, first + len(ids))])


@routes.delete("/messages")
async def delete_messages(
    caller: CallerOf,
    user: UserOf,
    session_id: SessionId,
    agent: OptionalAgent = None,
    message_id: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=1024)]] | None,
        Query(
            min_length=1,
            max_length=MAX_IDS,
            description="The IDs of the messages.",
        ),
    ] = None,
    everything: All = False,
) -> Deleted:
    """Delete messages of a session: those with the given IDs or, with `all=true`, all."""
    require_ids_or_all("message_id", message_id, everything)
    history = caller.memory.history(session_id, user_id=user, agent=agent)
    if message_id is None:
        count = await history.acount()
        await history.aclear()
        return Deleted(deleted=count)
    return Deleted(deleted=await history.adelete(message_id))


@routes.get("/search", response_model=FoundMessageList)
async def search_messages(
    caller: CallerOf,
    user: UserOf,
    query: Search,
    session_id: OptionalSessionId = None,
    agent: OptionalAgent = None,
    role: Annotated[str | None, Query(min_length=1, max_length=100, description="The role of the messages.")] = None,
    k: Annotated[int, Query(ge=1, le=100, description="The maximum number of messages.")] = 10,
    around: Annotated[int, Query(ge=0, le=20, description="The number of neighbours of each result.")] = 0,
    when: Annotated[
        str | None,
        Query(min_length=1, max_length=100, description="A time in English, such as `last May` or `yesterday`."),
    ] = None,
) -> Any:
    """Find the messages of a user, or of sessions without a user, that match a query best."""
    found = await caller.memory.asearch_history(
        query,
        k,
        user_id=user,
        session_id=session_id,
        agent=agent,
        role=role,
        around=around,
        when=when,
    )
    return {"items": list(map(_shown_found, found))}


def shown_message(message: BaseMessage) -> dict[str, Any]:
    """Return a message as a response.

    Args:
        message: The message.
    """
    calls = getattr(message, "tool_calls", None)
    return {
        "id": message.id,
        "role": role_of(message),
        "text": str(message.text),
        "content": plain(message.content),
        "name": message.name,
        "tool_calls": plain(calls) if calls else None,
        "tool_call_id": getattr(message, "tool_call_id", None),
    }


def shown_stored(stored: StoredMessage) -> dict[str, Any]:
    """Return a message of a session as a response.

    Args:
        stored: The message.
    """
    own = ("session_id", "user_id", "position", "agent", "created_at", "metadata")
    return {**shown_message(stored.message), **{name: getattr(stored, name) for name in own}}


def _shown_found(found: FoundMessage) -> dict[str, Any]:
    own = {name: getattr(found, name) for name in ("score", "similarity", "matched", "passage")}
    return {**shown_stored(found), **own, "around": list(map(shown_message, found.around))}
