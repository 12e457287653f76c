"""Operations of a model on the memories of its user, which LangChain tools and the MCP server share.

An operation is a description, the schema of its arguments, and a program. The caller names the user. No argument does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.errors import InvalidInputError
from langchain_agentmem.knowledge.memories import Memories
from langchain_agentmem.programs import Program
from langchain_agentmem.text.quoting import ABOUT_QUOTED, quoted

READING = ("search_memory",)
"""The names of the operations that change nothing."""

LONGEST_QUERY = 10_000
"""The maximum number of characters of a query."""

_ID = re.compile(r"(?<![0-9a-z])[0-9a-f]{20}(?![0-9a-z])")
"""IDs of memories."""

_FAULTS = 5
"""The maximum number of wrong arguments that a message explains."""


class SaveMemory(BaseModel):
    """The arguments of `save_memory`."""

    memory: str = Field(
        description="What to remember, as one sentence that is understood without the conversation: names instead of "
        "pronouns, dates instead of 'yesterday'."
    )


class SearchMemory(BaseModel):
    """The arguments of `search_memory`."""

    query: str = Field(description="What to look for: a question or a few words.")


class ForgetMemory(BaseModel):
    """The arguments of `forget_memory`."""

    memory_id: str = Field(description="The id of the memory, as search_memory shows it.")


class Saved(BaseModel):
    """The result of `save_memory`."""

    memory_id: str = Field(description="The id by which the memory is forgotten.")
    times: int = Field(description="How often it was saved; more than 1 if it was known already.")


class FoundMemory(BaseModel):
    """One memory that a search found."""

    id: str = Field(description="The id by which the memory is forgotten.")
    memory: str
    saved: str = Field(description="The date on which it was last saved.")


class Found(BaseModel):
    """The result of `search_memory`."""

    memories: list[FoundMemory] = Field(description="The best match first.")


class Forgotten(BaseModel):
    """The result of `forget_memory`."""

    memory_id: str = Field(description="The id of the memory that was deleted.")


class Caller(NamedTuple):
    """The user for whom an operation runs, and the agent that calls it."""

    user_id: str
    agent: str | None = None


class Answer(NamedTuple):
    """The result of an operation."""

    text: str
    """The result for a model. Stored texts in it are quoted."""
    data: BaseModel
    """The same result as data."""


class Operation(NamedTuple):
    """An operation on the memories of one user."""

    name: str
    description: str
    arguments: type[BaseModel]
    result: type[BaseModel]
    program: Callable[..., Program[Answer]]
    """Takes the caller and the model's arguments."""


def memory_operations(memories: Memories, k: int, max_length: int) -> Mapping[str, Operation]:
    """Return the operations by their names.

    Args:
        memories: The memories of all users.
        k: The maximum number of results of a search.
        max_length: The maximum number of characters of a memory.
    """

    def save(caller: Caller, memory: str) -> Program[Answer]:
        saved = yield from memories.engine.save(caller.user_id, memory, max_length, agent=caller.agent)
        data = Saved(memory_id=saved.id, times=saved.times)
        if saved.times == 1:
            return Answer(f"Saved as memory {saved.id}.", data)
        known = f"This was known already, as memory {saved.id}, saved {saved.times} times."
        return Answer(f"{known} {introduced(saved.text)}", data)

    def search(caller: Caller, query: str) -> Program[Answer]:
        found = yield from memories.engine.search(caller.user_id, checked_query(query), k)
        rows = [FoundMemory(id=one.id, memory=one.text, saved=f"{one.updated_at:%Y-%m-%d}") for one in found]
        text = introduced([row.model_dump() for row in rows]) if rows else "No memory was found."
        return Answer(text, Found(memories=rows))

    def forget(caller: Caller, memory_id: str) -> Program[Answer]:
        # Models copy an ID with quotation marks, spaces or other words around it.
        for one in dict.fromkeys((memory_id, *_ids_in(memory_id))):
            if one.strip() and (yield from memories.engine.forget(caller.user_id, one)):
                return Answer(f"Memory {one} is forgotten.", Forgotten(memory_id=one))
        msg = f"There is no memory with the id {shown(memory_id, 60)}. Use an id that search_memory shows."
        raise InvalidInputError(msg)

    operations = (
        Operation(
            "save_memory",
            "Remember something about the user for later conversations: what they say about themselves, want, prefer, "
            f"or asked to remember. At most {max_length:,} characters; saving the same again does no harm.",
            SaveMemory,
            Saved,
            save,
        ),
        Operation(
            "search_memory",
            "Find what is remembered about the user from earlier conversations, each with the id by which it is forgotten.",
            SearchMemory,
            Found,
            search,
        ),
        Operation(
            "forget_memory",
            "Delete a memory about the user, when they ask for it or it is no longer true. Search for its id first.",
            ForgetMemory,
            Forgotten,
            forget,
        ),
    )
    return {one.name: one for one in operations}


def checked_query(query: str) -> str:
    """Return a model's query.

    Args:
        query: The query.

    Raises:
        InvalidInputError: It is empty or too long.
    """
    if not query.strip():
        msg = "query must not be empty: say what to look for."
        raise InvalidInputError(msg)
    if len(query) > LONGEST_QUERY:
        msg = f"query has {len(query):,} characters; at most {LONGEST_QUERY:,} are accepted. Ask with fewer words."
        raise InvalidInputError(msg)
    return query


def introduced(value: Any) -> str:
    """Return a value quoted as data, after the sentences that say so.

    Args:
        value: A value that JSON can express.
    """
    return f"{ABOUT_QUOTED}\n{quoted(value)}"


def explained(error: ValidationError) -> str:
    """Return the message for a model about wrong arguments, which are not repeated in it.

    Args:
        error: The error.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    faults = [f"{'.'.join(map(str, one['loc']))[:60]}: {one['msg']}" for one in found]
    more = f"; and {len(faults) - _FAULTS} more" if len(faults) > _FAULTS else ""
    return f"The arguments are not accepted, and nothing was done: {'; '.join(faults[:_FAULTS])}{more}."


def _ids_in(text: str) -> list[str]:
    """Return the ID in a text; none if the text has several, for it is not clear which one is meant."""
    found = list(dict.fromkeys(_ID.findall(text.casefold())))
    return found if len(found) == 1 else []
