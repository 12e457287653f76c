"""The command that serves the memory of one user to assistants: mcp."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from langchain_agentmem.arguments.values import shown
from langchain_agentmem.command.invocation import Invocation, operation
from langchain_agentmem.command.listening import LOCAL, api_keys_in, serve_http
from langchain_agentmem.errors import InvalidInputError, missing_extra

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.server import Server

    from langchain_agentmem.memory import AgentMemory
    from langchain_agentmem.serving.access import Access


@operation(
    "agentmem mcp --user alice@example.com",
    "agentmem mcp --user alice@example.com --transport http --port 8321",
    "agentmem mcp --transport http --host 0.0.0.0 --api-keys keys.json --allowed-host memory.example.com",
)
def mcp(
    call: Invocation,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="The user whose memory is served. No tool can name another one.")
    ] = None,
    transport: Annotated[
        Literal["stdio", "http"], typer.Option(help="stdin and stdout of this process, or streamable HTTP.")
    ] = "stdio",
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="HTTP: the address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="HTTP: the port; 0 for any.")] = 8321,
    api_keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="HTTP: a JSON file that maps API keys to their users, instead of --user; see docs/mcp.md.",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="HTTP: a host name of this server, if clients are on other machines."),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", metavar="", help="Leave out the tools that change memories.")
    ] = False,
) -> None:
    """Serve the memory of one user to assistants, by MCP.

    The assistant starts this command itself, or connects to its URL with --transport http.
    """
    try:
        from langchain_agentmem.serving.mcp import create_mcp, create_mcp_app
    except ImportError:
        raise missing_extra(what="The MCP server", extra="mcp") from None
    _check(call, user, transport, host, api_keys, allowed_host or [])
    keys = None if api_keys is None else _keys_in(api_keys)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with call.memory(creates=True) as memory:
        if transport == "stdio":
            asyncio.run(_on_stdio(memory, create_mcp(memory, user_id=user, read_only=read_only)))
            return
        app = create_mcp_app(
            memory,
            user_id=user,
            api_keys=keys,
            allowed_hosts=allowed_host or [],
            close_memory=True,
            read_only=read_only,
        )
        serve_http(call, app, host, port, what="MCP", path="/mcp")


def _check(
    call: Invocation, user: str | None, transport: str, host: str, api_keys: Path | None, allowed: list[str]
) -> None:
    if transport == "stdio":
        if user is None:
            msg = "Name the user whose memory is served: --user ID."
            raise InvalidInputError(msg)
        if api_keys is not None or allowed:
            msg = "--api-keys and --allowed-host belong to --transport http."
            raise InvalidInputError(msg)
        if call.key_file == "-":
            msg = "--key-file - reads the key from stdin, which MCP uses. Name a file, or set AGENTMEM_KEY."
            raise InvalidInputError(msg)
        return
    if (user is None) == (api_keys is None):
        msg = "Pass either --user ID, to serve one user on this machine, or --api-keys FILE, to serve the users of the keys."
        raise InvalidInputError(msg)
    if host in LOCAL:
        return
    if api_keys is None:
        msg = f"Without --api-keys, only this machine is served: --host must be 127.0.0.1, got {shown(host)}."
        raise InvalidInputError(msg)
    if not allowed:
        msg = f"--host {host} is reached by other machines. Name the host in their URL with --allowed-host NAME."
        raise InvalidInputError(msg)


def _keys_in(path: Path) -> Mapping[str, Access]:
    """Return what the API keys in a file may access.

    Raises:
        InvalidInputError: The file cannot be read, or a key is not bound to exactly one user.
    """
    keys = api_keys_in(path)
    for number, access in enumerate(keys.values(), 1):
        if len(access.users or ()) != 1:
            form = '{"users": ["alice@example.com"]}'
            msg = (
                f"Key {number} in {shown(str(path))} must be bound to exactly one user, such as {form}. Put the keys of "
                "other services into another file."
            )
            raise InvalidInputError(msg)
    return keys


async def _on_stdio(memory: AgentMemory, server: Server[Any]) -> None:
    from langchain_agentmem.serving.mcp import serve_stdio

    loop = asyncio.get_running_loop()
    ending: list[asyncio.Task[None]] = []

    def end(number: int) -> None:
        ending.append(loop.create_task(_end(memory, number)))

    for one in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(one, end, int(one))
    try:
        await serve_stdio(server)
    finally:
        await memory.aclose()


async def _end(memory: AgentMemory, number: int) -> None:
    """Close the memory and end the process. A thread that reads stdin cannot be interrupted, so nothing waits for it."""
    try:
        await memory.aclose()
    finally:
        os._exit(128 + number)
