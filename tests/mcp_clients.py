"""Official MCP clients: of a server in this process, and of a command in another one."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from langchain_agentmem import AgentMemory
from langchain_agentmem.serving.mcp.tools import ABOUT
from langchain_agentmem.text.quoting import ABOUT_QUOTED

ALICE, BOB = "alice@example.com", "bob"
MODES = ("auto", "legacy")
"""The protocol of 2026 without sessions, and the handshake of the protocols before."""

URL = "http://127.0.0.1:8321/mcp"


@asynccontextmanager
async def http_of(app: Any, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client of an ASGI application that runs in this process."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), headers=headers) as http:
        yield http


@asynccontextmanager
async def client_of(app: Any, mode: str = "auto", **headers: str) -> AsyncIterator[Client]:
    """An MCP client of an ASGI application that runs in this process."""
    async with (
        http_of(app, **headers) as http,
        Client(streamable_http_client(URL, http_client=http), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def process(errors: Path, mode: str, *arguments: str) -> AsyncIterator[Client]:
    """An MCP client of `python …` on stdio; its stderr goes to a file."""
    with errors.open("w") as stderr:
        server = StdioServerParameters(command=sys.executable, args=[*arguments])
        async with Client(stdio_client(server, errlog=stderr), mode=mode) as client:
            yield client


async def told(client: Client, tool: str, **arguments: Any) -> Any:
    """The structured result of a tool. Its text quotes the stored texts, and nothing else has them."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """The message of a tool that fails."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.structured_content is None
    assert "Traceback" not in text_of(result)
    return text_of(result)


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert content.type == "text"
    return content.text


def quoted_in(text: str) -> Any:
    """The data in a text that quotes it."""
    _, about, rest = text.partition(f"{ABOUT_QUOTED}\n<data>")
    assert about
    data, _, after = rest.partition("</data>")
    assert after == ""
    return json.loads(data)


async def read(client: Client, uri: str) -> Any:
    """The JSON of a resource."""
    (content,) = (await client.read_resource(uri)).contents
    assert (content.uri, content.mime_type) == (uri, "application/json")
    data = json.loads(content.text)
    assert data.pop("about") == ABOUT
    return data


async def unreadable(client: Client, uri: str) -> str:
    """The message about a resource that cannot be read."""
    try:
        await client.read_resource(uri)
    except MCPError as error:
        return error.message
    raise AssertionError(uri)


def fill(memory: AgentMemory) -> None:
    """Store a session, a preference and a fact of Alice, and a secret of Bob."""
    memory.history("trip/Athens ?", user_id=ALICE).add_messages([("user", "Where is the hotel?"), ("ai", "In Plaka.")])
    memory.profiles.update_preference(ALICE, "language", "Greek")
    memory.profiles.add_fact(ALICE, "Allergic to peanuts")
    memory.history("secret", user_id=BOB).add_user_message("The code for Bob's door is 1234")
    memory.memories.save(BOB, "The code for Bob's door is 1234")
    memory.profiles.add_fact(BOB, "Bob's door has the code 1234")


async def converse(client: Client) -> None:
    """Save, search, recall, read and forget as Alice, in a memory that `fill` filled."""
    first = await told(client, "save_memory", memory="Alice drinks tea, never coffee.")
    assert (await told(client, "save_memory", memory="alice drinks tea, never coffee")) == {**first, "times": 2}
    result = await client.call_tool("search_memory", {"query": "What does she drink? tea?"})
    assert quoted_in(text_of(result)) == result.structured_content["memories"]
    assert [(one["id"], one["memory"]) for one in result.structured_content["memories"]] == [
        (first["memory_id"], "Alice drinks tea, never coffee.")
    ]
    result = await client.call_tool("recall_memory", {"query": "peanuts and tea at the hotel"})
    recalled = {(one["kind"], one["text"]) for one in result.structured_content["items"]}
    assert {("fact", "Allergic to peanuts"), ("memory", "Alice drinks tea, never coffee.")} <= recalled
    assert any(kind == "turn" and "hotel" in text for kind, text in recalled)
    assert quoted_in(text_of(result))["facts"] == ["Allergic to peanuts"]
    known = {"profile": {"preferences": {"language": "Greek"}}, "facts": ["Allergic to peanuts"]}
    result = await client.call_tool("read_profile")
    assert quoted_in(text_of(result)) == known
    assert result.structured_content == {"about": ABOUT, **known}
    assert await read(client, "agentmem://profile") == known

    listed = (await client.list_resources()).resources
    assert [one.uri for one in listed] == [
        "agentmem://profile",
        "agentmem://sessions",
        "agentmem://sessions/trip%2FAthens%20%3F",
    ]
    (template,) = (await client.list_resource_templates()).resource_templates
    assert template.uri_template == "agentmem://sessions/{session_id}"
    session = await read(client, listed[2].uri)
    assert [(one["position"], one["role"], one["text"]) for one in session.pop("messages")] == [
        (0, "human", "Where is the hotel?"),
        (1, "ai", "In Plaka."),
    ]
    assert await read(client, "agentmem://sessions") == {"sessions": [session]}
    assert (session["session_id"], session["title"]) == ("trip/Athens ?", "Where is the hotel?")

    assert await told(client, "forget_memory", memory_id=first["memory_id"]) == {"memory_id": first["memory_id"]}
    assert await told(client, "search_memory", query="tea") == {"about": ABOUT, "memories": []}
    assert "There is no memory with the id" in await refused(client, "forget_memory", memory_id=first["memory_id"])
