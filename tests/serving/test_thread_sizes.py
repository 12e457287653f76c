"""The route of the sizes of a thread's checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from everything import chat_graph, config

from langchain_agentmem import AgentMemory
from langchain_agentmem.serving import Access, create_app

ALICE, BOB = "alice@example.com", "bob@example.com"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    memory = AgentMemory.from_url("sqlite:///:memory:")
    for number in range(2):
        await chat_graph(memory.checkpointer).ainvoke({"messages": [("user", f"{number}")]}, config("trip", ALICE))
    app = create_app(memory, api_keys={"alice": Access(users=[ALICE]), "bob": Access(users=[BOB]), "all": Access()})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://service") as opened:
        yield opened
    await memory.aclose()


async def test_sizes_are_listed_page_by_page(client: httpx.AsyncClient) -> None:
    found, before = [], None
    while True:
        query = {"thread_id": "trip", "limit": "4"} | ({} if before is None else {"before": before})
        page = (await client.get("/v1/thread/sizes", params=query, headers={"X-API-Key": "all"})).json()
        found += page["items"]
        before = page["next_before"]
        if before is None:
            break
    assert [one["step"] for one in found] == [4, 3, 2, 1, 0, -1]
    assert all(0 < one["new_bytes"] <= one["bytes"] for one in found)


@pytest.mark.parametrize(
    ("key", "status", "sizes"), [("alice", 200, 6), ("all", 200, 6), ("bob", 200, 0), ("unknown", 401, 0)]
)
async def test_only_who_may_access_the_thread_gets_its_sizes(
    client: httpx.AsyncClient, key: str, status: int, sizes: int
) -> None:
    found = await client.get("/v1/thread/sizes", params={"thread_id": "trip"}, headers={"X-API-Key": key})
    assert (found.status_code, len(found.json().get("items", ()))) == (status, sizes)


async def test_an_unknown_thread_has_no_sizes(client: httpx.AsyncClient) -> None:
    found = await client.get("/v1/thread/sizes", params={"thread_id": "none"}, headers={"X-API-Key": "all"})
    assert (found.status_code, found.json()["items"]) == (200, [])
