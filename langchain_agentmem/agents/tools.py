"""Tools with which an agent saves, searches and forgets memories about its user.

The run names the user (`user_of`), or the application when it creates the tools. No argument of a tool names a user or a
namespace. Wrong arguments of a model are reported in the tool's message, and nothing is changed. A missing user and an
unavailable database are errors of the application and are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field, ValidationError

from langchain_agentmem.agents.operations import (
    READING,
    Caller,
    Operation,
    checked_query,
    explained,
    introduced,
    memory_operations,
)
from langchain_agentmem.arguments.ids import check_id
from langchain_agentmem.arguments.runs import agent_of
from langchain_agentmem.arguments.values import check_count, check_flag, check_list, shown
from langchain_agentmem.errors import InvalidInputError, InvalidTypeError, UnknownCollectionError
from langchain_agentmem.knowledge.memories import LONGEST_MEMORY, Memories
from langchain_agentmem.knowledge.namespaces import user_of
from langchain_agentmem.knowledge.retrievers import Knowledge, checked_knowledge, in_turn, shown_metadata
from langchain_agentmem.knowledge.shared import SharedKnowledge
from langchain_agentmem.programs import Program, arun, run

NAMES = ("save_memory", "search_memory", "forget_memory")
"""The names of the tools for a user's memories."""

_OUTSIDE: Any = object()
"""The runtime of a tool that does not run in a graph."""


class SearchKnowledge(BaseModel):
    """The arguments of `search_knowledge`."""

    query: str = Field(description="What to look for: a question or a few words.")


class _Tool(NamedTuple):
    """A tool before it is bound to a user."""

    name: str
    description: str
    arguments: type[BaseModel]
    program: Callable[..., Program[str]]
    """Takes the caller, if `personal`, and the model's arguments."""
    personal: bool = True


def memory_tools(
    memories: Memories,
    shared: SharedKnowledge,
    *,
    user_id: str | None = None,
    include: Collection[str] | None = None,
    k: int = 5,
    max_length: int = LONGEST_MEMORY,
    read_only: bool = False,
    knowledge: Any = (),
) -> list[BaseTool]:
    """Return the tools; see `AgentMemory.tools`."""
    k = check_count("k", k)
    check_count("max_length", max_length)
    if user_id is not None:
        check_id("user_id", user_id)
    chosen = _chosen(include, read_only)
    others = checked_knowledge(knowledge)
    operations = memory_operations(memories, k, max_length)
    tools = [_personal(operations[name]) for name in NAMES if name in chosen]
    if others.described:
        tools.append(_knowledge(shared, others, k))
    return [_bound(tool, user_id) for tool in tools]


def _chosen(include: Collection[str] | None, read_only: bool) -> set[str]:
    given: Any = NAMES if include is None else [include] if isinstance(include, str) else include
    chosen = check_list("include", given, "names of tools")
    if unknown := [name for name in chosen if name not in NAMES]:
        msg = f"include names an unknown tool {shown(unknown[0], 60)}: known are {', '.join(NAMES)}."
        raise InvalidInputError(msg)
    known = READING if check_flag("read_only", read_only) else NAMES
    return {name for name in chosen if name in known}


def _personal(operation: Operation) -> _Tool:
    def text(caller: Caller, **arguments: Any) -> Program[str]:
        return (yield from operation.program(caller, **arguments)).text

    return _Tool(operation.name, operation.description, operation.arguments, text)


def _knowledge(shared: SharedKnowledge, knowledge: Knowledge, k: int) -> _Tool:
    def search(query: str) -> Program[str]:
        own, others = yield from knowledge.beside(entries(checked_query(query)), query, k)
        passages = [
            [_entry(one.text, one.source, shown_metadata(one.metadata)) for one in part.found] for part in others
        ]
        found = in_turn([own, *passages], k, itemgetter("text"))
        failed = [part.source.name for part in others if part.failure is not None]
        answer = introduced(found) if found else "Nothing was found."
        return f"{answer}\nCould not be searched: {', '.join(failed)}." if failed else answer

    def entries(query: str) -> Program[list[dict[str, Any]]]:
        if not knowledge.names:
            return []
        found = yield from shared.engine.search(query, knowledge.names, k, None)
        return [_entry(one.text, one.name, one.metadata) for one in found]

    described = f"Search what is written down for all users, in: {', '.join(knowledge.described)}."
    return _Tool("search_knowledge", described, SearchKnowledge, search, personal=False)


def _entry(text: str, collection: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": text, "collection": collection, **_metadata(metadata)}


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": metadata} if metadata else {}


def _bound(tool: _Tool, user_id: str | None) -> BaseTool:
    """Return the LangChain tool, sync and async, for one user or for the user of each run (None)."""

    def answer(config: RunnableConfig, runtime: Any, arguments: dict[str, Any]) -> Program[str]:
        # A model's arguments are JSON: none of them can be a `ToolRuntime`.
        inside = runtime if isinstance(runtime, ToolRuntime) else None
        caller = []
        if tool.personal:
            state, context = (None, None) if inside is None else (inside.state, inside.context)
            whose = user_of(config, state, context) if user_id is None else user_id
            caller = [Caller(whose, agent_of(config))]
        try:
            return (yield from tool.program(*caller, **arguments))
        except UnknownCollectionError:  # the application named it, not the model
            raise
        except (InvalidInputError, InvalidTypeError) as error:
            raise ToolException(str(error)) from error

    def given(text: tuple[Any, ...]) -> dict[str, Any]:
        """Return the arguments of a call with a single text, which LangChain allows for tools with one argument."""
        return dict(zip(tool.arguments.model_fields, text, strict=False))

    # LangGraph injects the config and the runtime. They are not part of the schema that a model sees.
    def act(*text: Any, config: RunnableConfig, runtime: ToolRuntime = _OUTSIDE, **arguments: Any) -> str:
        return run(answer(config, runtime, {**given(text), **arguments}))

    async def aact(*text: Any, config: RunnableConfig, runtime: ToolRuntime = _OUTSIDE, **arguments: Any) -> str:
        return await arun(answer(config, runtime, {**given(text), **arguments}))

    return StructuredTool(
        name=tool.name,
        description=tool.description,
        args_schema=tool.arguments,
        func=act,
        coroutine=aact,
        handle_tool_error=True,
        handle_validation_error=_explained,
    )


def _explained(error: Any) -> str:
    """Return the tool's message about wrong arguments."""
    if not isinstance(error, ValidationError):
        return "The arguments are not accepted."
    return explained(error)
