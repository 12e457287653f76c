"""Tools with which an agent manages its context: it reads shortened tool results in full, and compacts the conversation."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables.config import run_in_executor
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from langchain_agentmem.compression.excerpts import CONVERSATION, READ_TOOL
from langchain_agentmem.compression.reading import PAGE, stored_result

COMPACT_TOOL = "compact_conversation"
"""The name of the tool that compacts the conversation."""


class ReadStoredResult(BaseModel):
    """The arguments of `read_stored_result`."""

    result_id: str = Field(description=f"The ID in a mark, or '{CONVERSATION}' for all messages.")
    find: str = Field("", description="Return only the passages that contain these words.")
    offset: int = Field(0, ge=0, description="Characters to skip, to read a long text in pages.")


class CompactConversation(BaseModel):
    """The arguments of `compact_conversation`."""


def context_tools() -> list[BaseTool]:
    """Return the tools `read_stored_result` and `compact_conversation`.

    Example:
        >>> from langchain_agentmem.compression.context_tools import context_tools
        >>> [tool.name for tool in context_tools()]
        ['read_stored_result', 'compact_conversation']
    """
    read = StructuredTool(
        name=READ_TOOL,
        description="Return an earlier tool result or message that this conversation contains only shortened or summarised. "
        f"At most {PAGE:,} characters a call.",
        args_schema=ReadStoredResult,
        func=_read,
        coroutine=_aread,
        handle_tool_error=True,
        handle_validation_error=True,
    )
    compact = StructuredTool(
        name=COMPACT_TOOL,
        description="Summarise all earlier turns of this conversation before your next step. Call it when a task is finished "
        "and their details are no longer needed.",
        args_schema=CompactConversation,
        func=_compact,
        coroutine=_acompact,
        handle_validation_error=True,
    )
    return [read, compact]


def _read(result_id: str, runtime: ToolRuntime, find: str = "", offset: int = 0) -> str | list[Any]:
    return stored_result(runtime.state, result_id, offset, find)


async def _aread(result_id: str, runtime: ToolRuntime, find: str = "", offset: int = 0) -> str | list[Any]:
    return await run_in_executor(None, stored_result, runtime.state, result_id, offset, find)


def _compact() -> str:
    return "The earlier turns are replaced by a summary before your next step."


async def _acompact() -> str:
    return _compact()
