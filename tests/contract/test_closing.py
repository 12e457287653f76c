"""Closing a memory that is in use: each call ends, with its result or with one clear error; and what a closed memory shows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from patience import PATIENCE

from langchain_agentmem import AgentMemory, AgentMemSaver, AgentMemStore, StorageClosedError

USERS = 12
"""More than there are connections, so that some wait for one."""

CONFIG: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}


def calls(memory: AgentMemory, number: int) -> list[Callable[..., Any]]:
    """Each surface used once, in methods that have async twins."""
    return [
        lambda call: call(memory.store.put, ("a",), f"k{number}", {"text": "pizza"}),
        lambda call: call(memory.history(f"s{number}").add_messages, [HumanMessage("a")]),
        lambda call: call(memory.checkpointer.get_tuple, CONFIG),
        lambda call: call(memory.store.search, ("a",), query="pizza"),
        lambda call: call(memory.store.update, ("a",), f"u{number}", lambda value: {"n": 1}),
        lambda call: call(memory.profiles.add_fact, f"user{number}", "Sails"),
    ]


def assert_only_closed(ended: list[BaseException]) -> None:
    assert len(ended) == USERS
    assert {type(error) for error in ended} == {StorageClosedError}
    assert all(str(error).startswith(("This memory is closed", "This memory was closed")) for error in ended)


@pytest.mark.parametrize("rounds", [1, 5, 20])
def test_threads_in_the_middle_of_calls_get_a_clear_error(url, rounds):
    memory = AgentMemory.from_url(url)
    began, ended = threading.Semaphore(0), []

    def use(number: int) -> None:
        try:
            while True:
                for call in calls(memory, number):
                    call(lambda method, *args, **options: method(*args, **options))
                    began.release()
        except BaseException as error:
            ended.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(USERS)]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        assert began.acquire(timeout=PATIENCE)
    memory.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert_only_closed(ended)


@pytest.mark.parametrize("closing", ["aclose", "close", "close in a thread"])
@pytest.mark.parametrize("rounds", [1, 7])
async def test_tasks_in_the_middle_of_calls_get_a_clear_error(url, closing, rounds):
    memory = AgentMemory.from_url(url)
    began, ended = asyncio.Semaphore(0), []

    async def call(method: Any, *args: Any, **options: Any) -> Any:
        return await getattr(method.__self__, f"a{method.__name__}")(*args, **options)

    async def use(number: int) -> None:
        try:
            while True:
                for one in calls(memory, number):
                    await one(call)
                    began.release()
        except Exception as error:
            ended.append(error)

    tasks = [asyncio.create_task(use(number)) for number in range(USERS)]
    for _ in range(rounds):
        await asyncio.wait_for(began.acquire(), PATIENCE)
    if closing == "aclose":
        await memory.aclose()
    elif closing == "close":
        memory.close()
    else:
        await asyncio.to_thread(memory.close)
    await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
    assert_only_closed(ended)


async def test_a_closed_memory_refuses_every_call(url, call):
    memory = AgentMemory.from_url(url)
    for one in calls(memory, 0):
        await one(call)
    await call(memory.close)
    await call(memory.close)
    for one in calls(memory, 0):
        with pytest.raises(StorageClosedError, match="This memory is closed"):
            await one(call)


@pytest.mark.parametrize("used", [True, False])
async def test_a_closed_memory_can_be_shown(url, call, used):
    memory = AgentMemory.from_url(url)
    history = memory.history("session-1")
    if used:
        await call(history.add_messages, [HumanMessage("a")])
        profile = await call(memory.profiles.get, "alice")
        graph = await call(memory.entities.neighbours, "alice", "Alice")
    surfaces = memory, memory.store, memory.checkpointer, memory.sessions, history
    assert not any(", closed" in repr(surface) for surface in surfaces)
    await call(memory.close)
    assert all(", closed" in repr(surface) for surface in surfaces)
    assert "This memory is closed" in memory._repr_html_()
    assert "session-1: This memory is closed" in history._repr_html_()
    for surface in (memory.profiles, memory.entities, memory.memories, memory.sessions, memory.knowledge):
        assert repr(surface)
    if used:
        assert "alice" in profile._repr_html_()
        assert graph._repr_html_()


@pytest.mark.parametrize("surface", [AgentMemStore, AgentMemSaver])
async def test_a_surface_that_stands_alone_can_be_shown_when_closed(url, call, surface):
    alone = surface.from_url(url)
    assert ", closed" not in repr(alone)
    await call(alone.close)
    assert ", closed" in repr(alone)


async def test_a_memory_without_a_server_can_be_shown(tmp_path):
    for url in (
        f"sqlite:///{tmp_path}/nowhere/a.db",
        "postgresql://nobody@127.0.0.1:1/nothing",
        "redis://127.0.0.1:1/0?retries=0",
    ):
        with AgentMemory.from_url(url) as memory:
            assert "<th>state</th>" in memory._repr_html_()
            assert "s: " in memory.history("s")._repr_html_()
