"""The users of a scripted conversation, the form of its turns, and the forms in which models write their answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from customers import Customer
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from profiles import add
from pydantic import BaseModel, ConfigDict, Field

from langchain_agentmem import UserProfile

# The users, with the schemas of their profiles


class Numbered(BaseModel):
    user_id: int
    city: str | None = None


class Identified(BaseModel):
    user_id: UUID
    city: str | None = None


class Long(BaseModel):
    user_id: Annotated[str, Field(min_length=8)]
    city: str | None = None


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    user_id: str = Field(alias="userId")
    born: date | None = None
    sizes: set[int] = Field(default_factory=set)
    member: UUID | None = None
    zip_code: str | None = Field(default=None, validation_alias="zipCode", serialization_alias="ZIP")


LOOSE = {
    "title": "loose",
    "type": "object",
    "properties": {"city": {"type": "string"}, "pets": {"type": "array", "items": {"type": "string"}}},
}

MEMBER = "5f0c1c52-6f2e-4c3a-9d52-0f6d6a0b7c11"


@dataclass(frozen=True)
class Talk:
    """A thread: its user, and the options of the node that extracts from it."""

    user: str
    schema: Any = UserProfile
    options: Mapping[str, Any] = field(default_factory=dict)
    summarises: bool = False
    """True if an agent leads it whose middleware summarises the messages."""


TALKS = {
    "ben": Talk("ben@example.com", Customer),
    "ann": Talk("ann@example.com"),
    "eva": Talk("eva@example.com", options={"entities": True}),
    "lucia": Talk("lucía@example.com"),
    "carlos": Talk("carlos@example.com", options={"language": "English", "from_assistant": True}),
    "polyglot": Talk("polyglot@example.com"),
    "agent": Talk("agent@example.com", summarises=True),
    "42": Talk("42", Numbered),
    "uuid": Talk(MEMBER, Identified),
    "long": Talk("ann@example.com", Long),
    "strict": Talk("ben@example.com", Strict),
    "loose": Talk("ben@example.com", LOOSE),
}

# The forms in which models write answers


def thinking(answer: str) -> str:
    draft = json.dumps({"changes": [add("Likes coffee")]})
    return f"<think>Perhaps {draft}? No.</think>\n{answer}"


def without_start(answer: str) -> str:
    return f'{{"changes": [{{"action": "add", "text": "Likes coffee"}}]}}</think>{answer}'


def fenced(answer: str) -> str:
    return f"Here it is:\n```json\n{answer}\n```\nDone."


def in_python(answer: str) -> str:
    return str(json.loads(answer))


def with_comments(answer: str) -> str:
    return answer.replace('[{"action"', '[ // new\n{"action"').replace("}]}", "},],}")


def with_line_breaks(answer: str) -> str:
    return answer.replace("long words", "long\nwords")


def as_string(answer: str) -> str:
    return json.dumps(answer)


def with_list_as_string(answer: str) -> str:
    return json.dumps({name: json.dumps(value) for name, value in json.loads(answer).items()})


def with_changes_as_strings(answer: str) -> str:
    return json.dumps({"changes": [json.dumps(one) for one in json.loads(answer)["changes"]]})


def without_list(answer: str) -> str:
    return json.dumps({"changes": json.loads(answer)["changes"][0]})


def as_call_in_text(answer: str) -> str:
    return f"<tool_call>{json.dumps({'name': 'change_profile', 'arguments': json.loads(answer)})}</tool_call>"


def as_call(answer: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "change_profile", "args": json.loads(answer), "id": "1"}])


def ended(**metadata: Any) -> Callable[[str], AIMessage]:
    return lambda answer: AIMessage(answer, response_metadata=metadata)


def closed_stream(answer: str) -> AIMessage:
    half = answer[: answer.index("peanut") + len("peanut")]
    call = {"name": "change_profile", "args": half, "id": "1", "index": 0, "type": "tool_call_chunk"}
    return AIMessageChunk("", tool_call_chunks=[call])


Answer = str | list[dict[str, Any]] | dict[str, Any] | tuple[Callable[[str], Any], Any]
"""The text of an answer, its changes, the whole object, or a form with one of these."""


@dataclass(frozen=True)
class Turn:
    """A message of the user and the assistant's answer, which the node then reads."""

    talk: str
    entries: str
    """The requirements that it shows."""
    said: str
    answers: Sequence[Answer]
    """What the model that extracts answers, one for each call. A change names the message of the turn, if it names none."""
    report: Mapping[str, Any]
    """What is reported. Not written: two messages, one call, and what is empty."""
    reply: str | Sequence[AIMessage] = "I see."
    at: str | None = None
    """When it is said. Default: an hour after the turn before."""
    earlier: Sequence[BaseMessage] = ()
    """Messages that the run puts before what the user says."""
    shown: Sequence[str] | None = None
    """The messages that the model is shown. Default: those of the turn."""
    written: Sequence[str | None] | None = None
    """The dates that the model is shown with these messages. Default: not compared."""
    first: Sequence[tuple[Any, ...]] = ()
    """Calls of the application before the turn: a method of the memory, and its arguments after the user's ID."""
    context: Mapping[str, Any] | None = None
    """The data in `profiles.context` after the turn. Default: not compared."""
