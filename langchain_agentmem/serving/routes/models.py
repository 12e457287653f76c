"""Parts of requests and responses that several groups of routes share."""

from __future__ import annotations

import json
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from langchain_agentmem.arguments.ids import MAX_ID_BYTES
from langchain_agentmem.serving.problems import ProblemError

T = TypeVar("T")

MAX_LIMIT = 1_000
"""The maximum number of entries in a response."""

MAX_IDS = 20
"""The maximum number of IDs in a URL, which servers and clients limit to 64 kB."""

MAX_OFFSET = 2**53 - 1
"""The largest whole number that all clients can represent."""

ALICE = "alice@example.com"


class Body(BaseModel):
    """The body of a request. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Answer(BaseModel):
    """The body of a response."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


class Listing(Answer, Generic[T]):
    """A part of a list."""

    # For each `Listing[…]`, Pydantic would search the whole call stack for docstrings: the import would take twice as long.
    model_config = ConfigDict(use_attribute_docstrings=False)

    items: list[T]
    next_offset: int | None = Field(None, description="The offset of the next part; null at the end of the list.")


class Changed(Answer):
    """The result of a change."""

    changed: bool = Field(examples=[True])
    """True if there was something to change."""


class Deleted(Answer):
    """The result of a deletion."""

    deleted: int = Field(examples=[1])
    """The number of deleted objects."""


Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_BYTES)]
"""An ID in a body."""
SessionId = Annotated[str, Query(min_length=1, max_length=MAX_ID_BYTES, description="The session.", examples=["trip"])]
OptionalSessionId = Annotated[
    str | None, Query(min_length=1, max_length=MAX_ID_BYTES, description="The session.", examples=["trip"])
]
ThreadId = Annotated[
    str, Query(min_length=1, max_length=MAX_ID_BYTES, description="The thread.", examples=["thread-1"])
]
OptionalThreadId = Annotated[
    str | None, Query(min_length=1, max_length=MAX_ID_BYTES, description="The thread.", examples=["thread-1"])
]
OptionalAgent = Annotated[
    str | None, Query(min_length=1, max_length=MAX_ID_BYTES, description="The agent.", examples=["writer"])
]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="The maximum number of entries.")]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="The number of entries to skip.")]
After = Annotated[int, Query(ge=-1, le=MAX_OFFSET, description="The position of the last message of the page before.")]
Search = Annotated[str, Query(min_length=1, max_length=10_000, description="The query.", examples=["Where to?"])]

All = Annotated[bool, Query(alias="all", description="If true, and without IDs, everything is deleted.")]


def require_ids_or_all(name: str, ids: list[str] | None, everything: bool) -> None:
    """Require IDs of what is deleted, or `all=true`: a forgotten ID must not delete everything.

    Args:
        name: The query parameter of the IDs.
        ids: The IDs; None for everything.
        everything: The query parameter `all`.

    Raises:
        ProblemError: There are neither IDs nor `all=true`, or both.
    """
    if ids is None and not everything:
        raise ProblemError(422, f"{name} is missing. Pass the IDs to delete, or all=true to delete everything.")
    if ids is not None and everything:
        raise ProblemError(422, f"{name} and all=true exclude each other. Pass one of them.")


def part(entries: list[T], limit: int, offset: int) -> dict[str, object]:
    """Return a part of a list as a response.

    Args:
        entries: The entries at the offset, at most one more than `limit`.
        limit: The maximum number of entries in the part.
        offset: The offset of the part.
    """
    return {"items": entries[:limit], "next_offset": offset + limit if len(entries) > limit else None}


def plain(value: Any) -> Any:
    """Return a value that JSON can represent. Parts of other types become text.

    Args:
        value: The value.
    """
    return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
