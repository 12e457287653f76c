"""One database used by many threads and processes: nothing lost, nothing torn, also when one is killed."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from multiprocessing.connection import Connection
from typing import Any

import pytest
from identity import without_ids
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from patience import PATIENCE
from processes import killed

from langchain_agentmem import AgentMemory

TURNS = 12


def turn(writer: str, number: int) -> list[Any]:
    name = f"{writer}:{number}"
    called = AIMessage(f"{name}:1", tool_calls=[{"name": "f", "args": {}, "id": name}])
    return [HumanMessage(f"{name}:0"), called, ToolMessage(f"{name}:2", tool_call_id=name)]


def append_turns(url: str, writer: str) -> None:
    with AgentMemory.from_url(url) as memory:
        for number in range(TURNS):
            memory.history("s").add_messages(turn(writer, number))


def assert_turns(contents: list[str], writers: set[str], turns: int) -> None:
    """Each turn is there once, whole and in order, and each writer's turns follow each other in the order written."""
    assert len(contents) == len(writers) * turns * 3
    seen: dict[str, list[int]] = {writer: [] for writer in writers}
    for name, parts in groupby(contents, key=lambda content: content.rpartition(":")[0]):
        assert [part.rpartition(":")[2] for part in parts] == ["0", "1", "2"]
        writer, _, number = name.rpartition(":")
        seen[writer].append(int(number))
    assert seen == {writer: list(range(turns)) for writer in writers}


def read_first(url: str, name: str) -> int:
    with AgentMemory.from_url(url) as memory:
        return memory.history("s").count() + len(memory.store.search(()))


def write_first(url: str, name: str) -> None:
    with AgentMemory.from_url(url) as memory:
        if int(name) % 2:
            memory.history("s").add_messages([HumanMessage(name)])
        else:
            memory.store.put(("first",), name, {"n": name})


def increment(url: str, name: str) -> None:
    with AgentMemory.from_url(url) as memory:
        for _ in range(15):
            memory.store.update(("counters",), "visits", add_one)


def add_one(value: dict[str, Any] | None) -> dict[str, Any]:
    return {"n": (value or {"n": 0})["n"] + 1}


def test_another_memory_on_the_database_sees_what_was_written(lasting_url):
    with AgentMemory.from_url(lasting_url) as first, AgentMemory.from_url(lasting_url) as second:
        for number in range(5):
            first.history("s").add_messages(turn("a", number))
            assert second.history("s").count() == 3 * (number + 1)
        second.history("s").clear()
        assert first.history("s").count() == 0


def test_a_memory_opened_later_sees_what_was_written(lasting_url):
    with AgentMemory.from_url(lasting_url) as memory:
        memory.history("s", user_id="u").add_messages(turn("a", 0), metadata={"k": 1})
    with AgentMemory.from_url(lasting_url) as memory:
        assert without_ids(memory.history("s", user_id="u").get_recent()) == turn("a", 0)
        assert memory.history("s", user_id="u").stored()[0].metadata == {"k": 1}


def test_64_threads_that_append_to_one_session_lose_nothing(memory):
    def append(writer: int) -> None:
        for number in range(4):
            memory.history("s").add_messages(turn(str(writer), number))

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(append, range(64)))
    contents = [message.content for message in memory.history("s").get_recent(10_000)]
    assert_turns(contents, {str(n) for n in range(64)}, 4)
    assert memory.history("s").count() == 64 * 4 * 3
    assert [entry.position for entry in memory.history("s").stored()] == list(range(64 * 4 * 3))


async def test_64_tasks_that_append_to_one_session_lose_nothing(memory):
    async def append(writer: int) -> None:
        for number in range(4):
            await memory.history("s").aadd_messages(turn(str(writer), number))

    await asyncio.gather(*(append(writer) for writer in range(64)))
    contents = [message.content for message in await memory.history("s").aget_recent(10_000)]
    assert_turns(contents, {str(n) for n in range(64)}, 4)


def test_readers_see_whole_turns_while_others_write(memory):
    with ThreadPoolExecutor(4) as pool:
        writing = [
            pool.submit(lambda w=w: [memory.history("s").add_messages(turn(w, n)) for n in range(15)]) for w in "ab"
        ]
        while not all(future.done() for future in writing):
            assert len(memory.history("s").get_recent(10_000)) % 3 == 0
            assert memory.history("s").count() % 3 == 0
        for future in writing:
            future.result()
    assert memory.history("s").count() == 90


def test_8_processes_that_append_to_one_session_lose_nothing(lasting_url, processes):
    processes.together(append_turns, lasting_url)
    with AgentMemory.from_url(lasting_url) as memory:
        contents = [message.content for message in memory.history("s").get_recent(10_000)]
        assert_turns(contents, {str(n) for n in range(8)}, TURNS)
        assert memory.history("s").count() == 8 * TURNS * 3


def test_8_processes_may_write_to_a_new_database_first(lasting_url, processes):
    processes.together(write_first, lasting_url)
    with AgentMemory.from_url(lasting_url) as memory:
        assert sorted(message.content for message in memory.history("s").get_recent()) == list("1357")
        assert sorted(item.key for item in memory.store.search(("first",))) == list("0246")


def test_8_processes_may_read_a_new_database_first(lasting_url, processes):
    assert processes.together(read_first, lasting_url) == [0] * 8


def test_8_processes_that_update_one_item_lose_nothing(lasting_url, processes):
    processes.together(increment, lasting_url)
    with AgentMemory.from_url(lasting_url) as memory:
        assert memory.store.get(("counters",), "visits").value == {"n": 8 * 15}


def write_turns(url: str, acknowledged: Connection) -> None:
    memory = AgentMemory.from_url(url)
    for number in itertools.count():
        memory.history("s").add_messages([HumanMessage(f"{number}:{part}") for part in range(3)])
        memory.store.put(("acknowledged",), str(number), {"n": number})
        acknowledged.send(number)


@pytest.mark.parametrize("acknowledged", [1, 40])
def test_a_killed_process_loses_nothing_that_was_acknowledged(lasting_url, acknowledged):
    printed = killed(write_turns, lasting_url, acknowledged)
    with AgentMemory.from_url(lasting_url) as memory:
        contents = [message.content for message in memory.history("s").get_recent(100_000)]
        assert len(contents) >= 3 * printed
        assert contents == [f"{number}:{part}" for number in range(len(contents) // 3) for part in range(3)]
        items = {item.value["n"] for item in memory.store.search(("acknowledged",), limit=100_000)}
        assert items >= set(range(printed))
        memory.history("s").add_messages(turn("after", 0))
        assert without_ids(memory.history("s").get_recent(3)) == turn("after", 0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_works_on_its_own_and_harms_nothing(lasting_url):
    with AgentMemory.from_url(lasting_url) as memory:
        memory.history("s").add_messages(turn("parent", 0))
        child = multiprocessing.get_context("fork").Process(target=_append_as_child, args=(memory,))
        child.start()
        memory.history("s").add_messages(turn("parent", 1))
        child.join(PATIENCE)
        assert child.exitcode == 0
        memory.history("s").add_messages(turn("parent", 2))
        contents = [message.content for message in memory.history("s").get_recent(100)]
        place = contents.index("child:0:0")
        assert contents[place : place + 3] == [message.content for message in turn("child", 0)]
        assert_turns(contents[:place] + contents[place + 3 :], {"parent"}, 3)
        assert memory.history("s").count() == 12


def _append_as_child(memory: AgentMemory) -> None:
    memory.history("s").add_messages(turn("child", 0))
