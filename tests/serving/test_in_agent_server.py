"""The HTTP API inside LangGraph's agent server, by the setting `http.app`."""

from __future__ import annotations

from pathlib import Path

import httpx
from agent_server import agent_server

APPLICATION = """
import os
from langchain_agentmem import AgentMemory
from langchain_agentmem.serving import Access, create_app

memory = AgentMemory.from_url(os.environ["AGENTMEM_URL"])
app = create_app(memory, api_keys={"key-of-alice": Access(users=["alice@example.com"])})
"""


def test_the_agent_server_has_the_routes_of_both(sqlite_url: str, tmp_path: Path) -> None:
    with agent_server(tmp_path, sqlite_url, application=APPLICATION) as url, httpx.Client(base_url=url) as client:
        assert client.get("/v1/sessions").status_code == 401
        headers = {"X-API-Key": "key-of-alice"}
        said = {"session_id": "a/b", "messages": [{"role": "user", "content": "Hello"}]}
        assert client.post("/v1/messages", headers=headers, json=said).status_code == 201
        found = client.get("/v1/sessions", headers=headers).json()["items"]
        assert [(one["user_id"], one["session_id"]) for one in found] == [("alice@example.com", "a/b")]
        assert client.post("/threads", json={}).json()["thread_id"]
        assert client.get("/ready").json() == {"status": "ok"}
