"""Serving the memory of one user to assistants, by the Model Context Protocol (MCP). It requires the extra `mcp`.

A server is bound to one user: by the application that creates it, or by the API key of the request. No tool has an argument
that names a user.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from langchain_agentmem.errors import missing_extra
from langchain_agentmem.knowledge.memories import LONGEST_MEMORY
from langchain_agentmem.serving.access import Access

if TYPE_CHECKING:
    from mcp.server import Server
    from pydantic import BaseModel
    from starlette.applications import Starlette

    from langchain_agentmem.memory import AgentMemory

__all__ = ["Access", "create_mcp", "create_mcp_app", "serve_stdio"]


def create_mcp(
    memory: AgentMemory,
    *,
    user_id: str | None = None,
    schema: type[BaseModel] | Mapping[str, Any] | None = None,
    k: int = 5,
    max_length: int = LONGEST_MEMORY,
    max_tokens: int = 2_000,
    read_only: bool = False,
) -> Server[Any]:
    """Create an MCP server with the tools and resources of one user's memory.

    The tools are `save_memory`, `search_memory`, `forget_memory`, `recall_memory` and `read_profile`. The resources are the
    profile and the sessions. `serve_stdio` and `create_mcp_app` serve it; so does every transport of the package `mcp`.

    Args:
        memory: The memory.
        user_id: The user. Default: None (the API key of a request names the user; see `create_mcp_app`).
        schema: The schema of the profile: a Pydantic model or a JSON schema. Default: None (`UserProfile`).
        k: The maximum number of results of `search_memory`; `recall_memory` returns at most twice as many. Default: 5.
        max_length: The maximum number of characters of a memory. Default: 2,000.
        max_tokens: The maximum number of tokens of the text of `recall_memory`, and of a profile. Default: 2,000.
        read_only: If true, leave out the tools that change memories. Default: False.

    Raises:
        InvalidInputError: A value is not accepted.
        InvalidTypeError: An argument has the wrong type.
        ConfigurationError: The package `mcp` is not installed.

    Example:
        >>> import asyncio
        >>> from mcp import Client
        >>> from langchain_agentmem import AgentMemory
        >>> from langchain_agentmem.serving.mcp import create_mcp
        >>> async def talk():
        ...     async with AgentMemory.from_url("sqlite:///:memory:") as memory:
        ...         async with Client(create_mcp(memory, user_id="alice@example.com")) as client:
        ...             saved = await client.call_tool("save_memory", {"memory": "Alice drinks tea."})
        ...             found = await client.call_tool("search_memory", {"query": "tea or coffee?"})
        ...     return [one["memory"] for one in found.structured_content["memories"]]
        >>> asyncio.run(talk())
        ['Alice drinks tea.']
    """
    try:
        from langchain_agentmem.serving.mcp.server import McpSettings, build
    except ImportError as error:
        raise _missing() from error
    return build(memory, user_id, McpSettings(schema, k, max_length, max_tokens, read_only))


def create_mcp_app(
    memory: AgentMemory,
    *,
    user_id: str | None = None,
    api_keys: Mapping[str, Access] | None = None,
    path: str = "/mcp",
    allowed_hosts: Sequence[str] = (),
    close_memory: bool = False,
    schema: type[BaseModel] | Mapping[str, Any] | None = None,
    k: int = 5,
    max_length: int = LONGEST_MEMORY,
    max_tokens: int = 2_000,
    read_only: bool = False,
) -> Starlette:
    """Create an ASGI application that serves MCP by streamable HTTP.

    Requests are independent of each other: any number of workers can serve them.

    Args:
        memory: The memory. All requests share it.
        user_id: The user of all requests, which need no API key. Only clients on this machine are accepted. Default: None
            (`api_keys` names the users).
        api_keys: What each API key may access. A client sends its key as `Authorization: Bearer …` or as `X-API-Key`. Only
            keys of exactly one user are accepted. Default: None (`user_id` names the user).
        path: The path of the endpoint. Default: `"/mcp"`.
        allowed_hosts: The values of the `Host` header that are accepted besides those of this machine, such as
            `"memory.example.com"`, or `"memory.example.com:*"` for any port. Web pages of the same origins are accepted too.
            This prevents DNS rebinding. Default: none.
        close_memory: If true, the memory is closed when the application ends. Default: False.
        schema: As in `create_mcp`. Default: None.
        k: As in `create_mcp`. Default: 5.
        max_length: As in `create_mcp`. Default: 2,000.
        max_tokens: As in `create_mcp`. Default: 2,000.
        read_only: As in `create_mcp`. Default: False.

    Returns:
        The application. An application that mounts it runs its lifespan; see docs/mcp.md.

    Raises:
        InvalidInputError: A value is not accepted; or both or neither of `user_id` and `api_keys` are given.
        InvalidTypeError: An argument has the wrong type.
        ConfigurationError: The package `mcp` is not installed.

    Example:
        >>> from langchain_agentmem import AgentMemory
        >>> from langchain_agentmem.serving.mcp import Access, create_mcp_app
        >>> memory = AgentMemory.from_url("sqlite:///:memory:")
        >>> app = create_mcp_app(memory, api_keys={"a-long-random-key": Access(users=["alice@example.com"])})
        >>> memory.close()
    """
    try:
        from langchain_agentmem.serving.mcp.http import HttpSettings, build_app
        from langchain_agentmem.serving.mcp.server import McpSettings
    except ImportError as error:
        raise _missing() from error
    settings = McpSettings(schema, k, max_length, max_tokens, read_only)
    return build_app(memory, user_id, api_keys, settings, HttpSettings(path, allowed_hosts, close_memory))


async def serve_stdio(server: Server[Any]) -> None:
    """Serve MCP on stdin and stdout until stdin ends. Whatever else the process prints on stdout goes to stderr.

    Args:
        server: The server, as `create_mcp` returns it.
    """
    from mcp.server.stdio import stdio_server

    stdout = sys.stdout
    async with stdio_server() as (reading, writing):
        try:
            with redirect_stdout(sys.stderr):
                await server.run(reading, writing, server.create_initialization_options())
        finally:
            stdout.flush()  # what others buffered goes to stderr, too, as long as the transport owns stdout


def _missing() -> Exception:
    return missing_extra(what="The MCP server", extra="mcp")
