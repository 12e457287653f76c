"""The configurations in `docs/mcp.md` start a server, and reach it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_clients import process, told
from starlette.applications import Starlette

from langchain_agentmem import AgentMemory
from langchain_agentmem.__main__ import main
from langchain_agentmem.command.mcp import api_keys_in
from langchain_agentmem.serving.mcp import Access, create_mcp_app

TEXT = (Path(__file__).parents[2] / "docs" / "mcp.md").read_text(encoding="utf-8")
BLOCKS = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)]
ALICE = "alice@example.com"


def entries(url: bool) -> list[dict[str, Any]]:
    """What the configurations say about the server: a URL, or a command."""
    found = [(block.get("servers") or block.get("mcpServers") or {}).get("memory") for block in BLOCKS]
    return [entry for entry in found if entry and ("url" in entry) is url]


async def test_the_commands_start_a_server(tmp_path: Path) -> None:
    first, second = entries(url=False)
    assert {name: second[name] for name in first} == first
    assert first["command"] == "agentmem"
    url = first["env"]["AGENTMEM_URL"].replace("/home/alice", str(tmp_path))
    arguments = ("-m", "langchain_agentmem", *first["args"], "--url", url)
    async with process(tmp_path / "stderr", "auto", *arguments) as client:
        await told(client, "save_memory", memory="Alice drinks tea")
    with AgentMemory.from_url(url) as memory:
        assert [one.text for one in memory.memories.list(ALICE)] == ["Alice drinks tea"]


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Access]:
    (found,) = [block for block in BLOCKS if "a-long-random-key" in block]
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(found))
    return api_keys_in(path)


async def test_the_headers_reach_the_memory_of_the_key(sqlite_memory: AgentMemory, keys: dict[str, Access]) -> None:
    local, remote = entries(url=True)
    apps = {
        local["url"]: create_mcp_app(sqlite_memory, user_id=ALICE),
        remote["url"]: create_mcp_app(
            sqlite_memory,
            api_keys=keys,
            allowed_hosts=re.findall(r"--allowed-host ([\w.]+)$", TEXT, re.MULTILINE),
        ),
    }
    for entry in (local, remote):
        app: Starlette = apps[entry["url"]]
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), headers=entry.get("headers")) as http,
            Client(streamable_http_client(entry["url"], http_client=http)) as client,
        ):
            await told(client, "save_memory", memory="Alice drinks tea")
    assert [one.times for one in sqlite_memory.memories.list(ALICE)] == [2]


def test_the_options_in_the_document_exist(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["agentmem"])
    assert main(["mcp", "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"--[a-z][a-z-]+", TEXT)) <= known


async def test_the_application_of_the_document_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncio.run", lambda program: program.close())
    document: dict[str, Any] = {}
    exec("\n".join(re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)), document)
    app = document["app"]
    headers = {"authorization": "Bearer a-long-random-key"}
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), headers=headers) as http,
        Client(streamable_http_client("http://localhost/mcp/", http_client=http)) as client,
    ):
        await told(client, "save_memory", memory="Alice drinks tea")
