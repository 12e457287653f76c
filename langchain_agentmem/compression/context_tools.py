"""Tools with which an agent manages its context: it reads shortened tool results in full, and compacts the conversation."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langchain_core.tools.base import TOOL_MESSAGE_BLOCK_TYPES
from langgraph.prebuilt import ToolRuntime
from pydantic import BaseModel, Field

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.compression.excerpts import READ_TOOL, result_id
from langchain_agentmem.messages.blocks import as_json, content_of_block, file_in
from langchain_agentmem.messages.call_types import kind_of

COMPACT_TOOL = "compact_conversation"
"""The name of the tool that compacts the conversation."""

_PAGE = 20_000
"""The number of characters that one call returns."""


class ReadStoredResult(BaseModel):
    """The arguments of `read_stored_result`."""

    result_id: str = Field(description="The ID in the mark of the shortened result.")
    offset: int = Field(0, ge=0, description="The number of characters to skip, to read a long result in pages.")


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
        description="Return an earlier tool result in full. Old results are shortened in this conversation; a mark in their "
        f"text names their ID. A call returns at most {_PAGE:,} characters.",
        args_schema=ReadStoredResult,
        func=_read,
        coroutine=_aread,
        handle_tool_error=True,
        handle_validation_error=True,
    )
    compact = StructuredTool(
        name=COMPACT_TOOL,
        description="Replace all earlier turns of this conversation by a summary, before your next step. Call it when a "
        "task is finished and the details of earlier turns are no longer needed.",
        args_schema=CompactConversation,
        func=_compact,
        coroutine=_acompact,
        handle_validation_error=True,
    )
    return [read, compact]


def _read(result_id: str, runtime: ToolRuntime, offset: int = 0) -> str | list[Any]:
    return stored_result(runtime.state, result_id, offset)


async def _aread(result_id: str, runtime: ToolRuntime, offset: int = 0) -> str | list[Any]:
    return stored_result(runtime.state, result_id, offset)


def _compact() -> str:
    return "The earlier turns are replaced by a summary before your next step."


async def _acompact() -> str:
    return _compact()


def stored_result(state: Any, wanted: str, offset: int = 0) -> str | list[Any]:
    """Return a tool result of a thread in full, or a page of it. The first page contains its pictures and files.

    The thread's state contains all messages: requests are shortened, the transcript is not.

    Args:
        state: The state of the thread.
        wanted: The ID of the result.
        offset: The number of characters to skip. Default: 0.

    Raises:
        ToolException: The thread has no such result.
    """
    messages = state.get("messages", ()) if isinstance(state, dict) else getattr(state, "messages", ())
    for message in reversed(messages):
        if isinstance(message, ToolMessage) and result_id(message) == wanted.strip():
            return _page(message, offset)
    msg = f"There is no stored result with the ID {shown(wanted, 40)}. Use the ID in the mark of a shortened result."
    raise ToolException(msg)


def _page(message: ToolMessage, offset: int) -> str | list[Any]:
    blocks = [message.content] if isinstance(message.content, str) else message.content
    files = [block for block in blocks if file_in(block) is not None and kind_of(block) in TOOL_MESSAGE_BLOCK_TYPES]
    text = "\n".join(as_json(content_of_block(block)) for block in blocks if block not in files)
    rest = len(text) - offset - _PAGE
    more = f"\n[{rest:,} more characters: offset={offset + _PAGE}]" if rest > 0 else ""
    page = text[offset : offset + _PAGE] + more
    return [*([{"type": "text", "text": page}] if page else []), *files] if files and not offset else page
