"""LangGraph's agent server keeps its threads and items in a memory: its checkpointer and its store, on every backend."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from agent_server import TTL, agent_server
from conftest import new_url
from langgraph_sdk import get_client

from langchain_agentmem import AgentMemory


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def texts(values: Any) -> list[str]:
    return [message["content"] for message in values["messages"]]


@pytest.mark.parametrize(
    ("backend", "objects"),
    [("sqlite-file", True), ("postgres", False), ("redis", False), ("redis-cluster", False)],
)
async def test_threads_runs_interrupts_and_items_are_kept_in_the_memory(
    backend: str, objects: bool, tmp_path: Path
) -> None:
    memory_url = new_url(backend, tmp_path)
    (tmp_path / "server").mkdir()
    with agent_server(tmp_path / "server", memory_url, objects=objects) as url:
        async with get_client(url=url, api_key=None) as client:
            first, second = await two_threads(client)
            await an_interrupt(client, second)
            await state_and_history(client, first)
            await copies_and_deletions(client, first)
            await items(client)
    with AgentMemory.from_url(memory_url) as memory:
        stored = {thread.thread_id: thread.user_id for thread in memory.checkpointer.threads()}
        assert stored[second] == "alice@example.com"
        assert stored[first] is None
        state = memory.checkpointer.get_tuple({"configurable": {"thread_id": second}})
        assert [message.text for message in state.checkpoint["channel_values"]["messages"]] == [
            "Delete the garden",
            "Approved: yes",
            "Hello again",
            "You said: Hello again",
        ]
        expiries = {thread.thread_id: thread.expires_at for thread in memory.checkpointer.threads()}
        expected = None if objects else time.time() + TTL
        assert expiries[second] is None if objects else abs(expiries[second].timestamp() - expected) < 600
        assert sum(memory.stats().expiries["all_items"].values()) == 6
        assert memory.stats().expiries["all_items"]["day"] == (1 if objects else 5)
        assert memory.store.get(("users", "alice"), "hobby").value == {"text": "Alice walks in the mountains"}
        assert {item.key for item in memory.store.search(("notes",))} == {
            "Hello",
            "Delete the garden",
            "Again",
            "Hello again",
        }


async def two_threads(client: Any) -> tuple[str, str]:
    """Two threads at once: one of nobody, one of a user that waits for an answer."""
    first, second = [(await client.threads.create())["thread_id"] for _ in range(2)]
    alice = {"configurable": {"user_id": "alice@example.com"}}
    answered, waiting = await asyncio.gather(
        client.runs.wait(first, "agent", input=said("Hello")),
        client.runs.wait(second, "agent", input=said("Delete the garden"), config=alice),
    )
    assert texts(answered) == ["Hello", "You said: Hello"]
    assert [one["value"] for one in waiting["__interrupt__"]] == ["Really?"]
    return first, second


async def an_interrupt(client: Any, thread: str) -> None:
    state = await client.threads.get_state(thread)
    assert state["next"] == ["answer"]
    assert [one["value"] for one in state["interrupts"]] == ["Really?"]
    parts = [
        part async for part in client.runs.stream(thread, "agent", command={"resume": "yes"}, stream_mode="values")
    ]
    assert not [part for part in parts if part.event == "error"]
    assert texts(parts[-1].data) == ["Delete the garden", "Approved: yes"]
    assert (await client.threads.get_state(thread))["next"] == []
    pieces = [
        part
        async for part in client.runs.stream(
            thread, "agent", input=said("Hello again"), stream_mode=["updates", "messages"]
        )
    ]
    assert [[*part.data] for part in pieces if part.event == "updates"] == [["note"], ["answer"]]
    assert any(part.event.startswith("messages") for part in pieces)


async def state_and_history(client: Any, thread: str) -> None:
    history = await client.threads.get_history(thread)
    assert [len(state["values"].get("messages", [])) for state in history] == [2, 1, 1, 0]
    bound: Any = {"configurable": history[1]["checkpoint"]}
    (older,) = await client.threads.get_history(thread, limit=1, before=bound)
    assert older["checkpoint"]["checkpoint_id"] == history[2]["checkpoint"]["checkpoint_id"]
    at = await client.threads.get_state(thread, checkpoint=history[2]["checkpoint"])
    assert texts(at["values"]) == ["Hello"]
    await client.threads.update_state(thread, said("Again"), as_node="answer")
    state = await client.threads.get_state(thread)
    assert texts(state["values"]) == ["Hello", "You said: Hello", "Again"]
    assert texts(await client.runs.wait(thread, "agent", input=None, checkpoint=history[1]["checkpoint"]))[:2] == [
        "Hello",
        "You said: Hello",
    ]
    assert texts(await client.runs.wait(thread, "agent", input=said("Again")))[-1] == "You said: Again"


async def copies_and_deletions(client: Any, thread: str) -> None:
    copy = (await client.threads.copy(thread))["thread_id"]
    states = [(await client.threads.get_state(one))["values"] for one in (thread, copy)]
    assert states[0] == states[1]
    await client.threads.delete(copy)
    assert texts((await client.threads.get_state(thread))["values"])[0] == "Hello"


async def items(client: Any) -> None:
    store = client.store
    await store.put_item(["users", "alice"], "hobby", {"text": "Alice walks in the mountains"}, ttl=90)
    await store.put_item(["users", "bob"], "hobby", {"text": "Bob collects stamps", "rank": 10})
    await store.put_item(["users", "bob"], "passing", {"text": "Bob is here for a day", "rank": 9})
    assert (await store.get_item(["users", "alice"], "hobby"))["value"] == {"text": "Alice walks in the mountains"}
    found = (await store.search_items(["users"], query="Who walks on a mountain?"))["items"]
    assert (found[0]["namespace"], found[0]["key"]) == (["users", "alice"], "hobby")
    found = (await store.search_items(["users"], filter={"rank": {"$gt": 9}}))["items"]
    assert [(item["namespace"][-1], item["key"]) for item in found] == [("bob", "hobby")]
    await store.delete_item(["users", "bob"], "passing")
    listed = await store.list_namespaces(prefix=["users"], max_depth=2)
    assert sorted(listed["namespaces"]) == [["users", "alice"], ["users", "bob"]]
    assert len((await store.search_items(["users"], limit=10))["items"]) == 2
