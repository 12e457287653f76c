"""The HTTP API inside LangGraph's agent server, by the setting `http.app` as docs/agent-server.md shows it."""

from __future__ import annotations

from pathlib import Path

import httpx
from agent_server import agent_server
from langgraph_sdk import get_client

ALICE = "alice@example.com"


async def test_the_agent_server_has_the_routes_of_both(sqlite_url: str, tmp_path: Path) -> None:
    headers = {"X-API-Key": "a-long-random-key"}
    with agent_server(tmp_path, sqlite_url, application=True) as url:
        async with get_client(url=url, api_key=None) as client:
            thread = (await client.threads.create())["thread_id"]
            asked = {"messages": [{"role": "user", "content": "Hello"}]}
            config = {"configurable": {"user_id": ALICE}}
            await client.runs.wait(thread, "agent", input=asked, config=config)
        async with httpx.AsyncClient(base_url=url, timeout=60) as served:
            assert (await served.get("/v1/sessions")).status_code == 401
            listed = (await served.get("/v1/threads", params={"user_id": ALICE}, headers=headers)).json()["items"]
            assert [one["thread_id"] for one in listed] == [thread]
            query = {"thread_id": thread, "user_id": ALICE}
            found = (await served.get("/v1/thread/messages", params=query, headers=headers)).json()["items"]
            assert [one["text"] for one in found] == ["Hello", "You said: Hello"]
            said = {"session_id": "a/b", "user_id": ALICE, "messages": [{"role": "user", "content": "Hello"}]}
            assert (await served.post("/v1/messages", headers=headers, json=said)).status_code == 201
            sessions = (await served.get("/v1/sessions", headers=headers)).json()["items"]
            assert [(one["user_id"], one["session_id"]) for one in sessions] == [(ALICE, "a/b")]
            assert (await served.get("/ready")).json() == {"status": "ok"}
            page = await served.get("/")
            assert "<title>Agent memory</title>" in page.text
            assert (await served.get("/page/main.js")).headers["content-type"].startswith("text/javascript")
