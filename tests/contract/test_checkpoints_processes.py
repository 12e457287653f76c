"""One database from many threads, tasks, event loops and processes: nothing lost, nobody locked out."""

from __future__ import annotations

import asyncio
import functools
import itertools
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

import pytest
from examples import repetitions
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from patience import PATIENCE
from processes import killed

from langchain_agentmem import AgentMemory, AgentMemSaver

BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4
TURNS = repetitions(20, least=8)
THREADS = repetitions(40, least=20)


def thread(thread_id: str, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **more}}


def checkpoint(number: int, log: list[str]) -> Any:
    return {
        "v": 4,
        "id": f"{number:06}",
        "ts": "",
        "channel_values": {"log": log, "n": number},
        "channel_versions": {"log": f"{number}", "n": f"{number}"},
        "versions_seen": {},
    }


def put_steps(saver: AgentMemSaver, thread_id: str, count: int) -> None:
    """Put checkpoints that follow each other, each with what a task wrote."""
    config = thread(thread_id)
    log: list[str] = []
    for number in range(count):
        log.append(f"{thread_id} {number} {BIG}")
        given = checkpoint(number, log)
        config = saver.put(config, given, {"step": number}, given["channel_versions"])
        saver.put_writes(config, [("log", [*log, "next"]), ("n", number)], f"task {number}")
        assert saver.get_tuple(thread(thread_id)).checkpoint["channel_values"]["log"] == log


async def aput_steps(saver: AgentMemSaver, thread_id: str, count: int) -> None:
    config = thread(thread_id)
    log: list[str] = []
    for number in range(count):
        log.append(f"{thread_id} {number} {BIG}")
        given = checkpoint(number, log)
        config = await saver.aput(config, given, {"step": number}, given["channel_versions"])
        await saver.aput_writes(config, [("log", [*log, "next"]), ("n", number)], f"task {number}")
        assert (await saver.aget_tuple(thread(thread_id))).checkpoint["channel_values"]["log"] == log


def assert_steps(saver: AgentMemSaver, thread_id: str, count: int) -> None:
    """All that `put_steps` put is there."""
    listed = list(saver.list(thread(thread_id)))
    assert [one.metadata["step"] for one in listed] == list(reversed(range(count)))
    for one in listed:
        number = one.metadata["step"]
        log = [f"{thread_id} {n} {BIG}" for n in range(number + 1)]
        assert one.checkpoint["channel_values"] == {"log": log, "n": number}
        assert one.pending_writes == [
            (f"task {number}", "log", [*log, "next"]),
            (f"task {number}", "n", number),
        ]


def conversation(saver: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} {BIG}")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=saver)


def converse(turns: int, url: str, name: str) -> None:
    with AgentMemory.from_url(url) as memory:
        graph = conversation(memory.checkpointer)
        for turn in range(turns):
            result = graph.invoke({"messages": [HumanMessage(f"{name} {turn} {BIG}")]}, thread(name))
            assert len(result["messages"]) == 2 * (turn + 1)


# Threads, tasks, loops


def test_16_threads_that_write_several_threads_each_lose_nothing(memory):
    saver = memory.checkpointer
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: put_steps(saver, f"thread {name}", 6), range(THREADS)))
    for fresh in (saver, AgentMemSaver(memory.backend)):
        for name in range(THREADS):
            assert_steps(fresh, f"thread {name}", 6)


def test_threads_with_a_saver_each_lose_nothing(lasting_url):
    def work(name: int) -> None:
        with AgentMemory.from_url(lasting_url) as memory:
            put_steps(memory.checkpointer, f"thread {name}", 5)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    with AgentMemory.from_url(lasting_url) as memory:
        for name in range(16):
            assert_steps(memory.checkpointer, f"thread {name}", 5)


def test_threads_that_write_to_one_thread_lose_nothing(memory):
    """As parallel runs on one thread do: each puts checkpoints of its own."""
    saver = memory.checkpointer

    def work(writer: int) -> None:
        config = thread("shared")
        log: list[str] = []
        for number in range(5):
            log.append(f"{writer} {number} {BIG}")
            given = {
                **checkpoint(number, list(log)),
                "id": f"{number}-{writer}",
                "channel_versions": {
                    "log": saver.get_next_version(None, None),
                    "n": saver.get_next_version(None, None),
                },
            }
            config = saver.put(config, given, {"writer": writer}, given["channel_versions"])
            saver.put_writes(config, [("log", [f"{writer}"])], f"task {writer}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    found = {one.checkpoint["id"]: one for one in saver.list(thread("shared"))}
    assert len(found) == 80
    for writer in range(16):
        for number in range(5):
            one = found[f"{number}-{writer}"]
            assert one.checkpoint["channel_values"]["log"] == [f"{writer} {n} {BIG}" for n in range(number + 1)]
            assert one.pending_writes == [(f"task {writer}", "log", [f"{writer}"])]


async def test_many_tasks_of_one_event_loop_lose_nothing(memory):
    await asyncio.gather(*(aput_steps(memory.checkpointer, f"task {name}", 5) for name in range(25)))
    for name in range(25):
        assert_steps(memory.checkpointer, f"task {name}", 5)


async def test_a_sync_method_may_be_called_inside_a_running_event_loop(memory):
    put_steps(memory.checkpointer, "1", 3)
    await asyncio.gather(
        aput_steps(memory.checkpointer, "2", 5), asyncio.to_thread(put_steps, memory.checkpointer, "3", 5)
    )
    assert_steps(memory.checkpointer, "1", 3)
    assert_steps(memory.checkpointer, "2", 5)
    assert_steps(memory.checkpointer, "3", 5)


async def test_a_graph_may_be_invoked_sync_inside_a_running_event_loop(memory):
    graph = conversation(memory.checkpointer)
    for turn in range(3):
        graph.invoke({"messages": [HumanMessage("hi")]}, thread("1"))
        result = await graph.ainvoke({"messages": [HumanMessage("hi")]}, thread("1"))
        assert len(result["messages"]) == 4 * (turn + 1)


def test_one_saver_serves_several_event_loops_one_after_the_other_and_at_once(memory):
    for name in range(3):
        asyncio.run(aput_steps(memory.checkpointer, f"one after the other {name}", 3))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: asyncio.run(aput_steps(memory.checkpointer, f"at once {name}", 4)), range(4)))
    for name in range(4):
        assert_steps(memory.checkpointer, f"at once {name}", 4)


async def test_a_cancelled_put_leaves_all_or_nothing(memory):
    saver = memory.checkpointer
    for attempt in range(10):
        given = checkpoint(attempt, [f"{attempt} {n} {BIG}" for n in range(50)])
        task = asyncio.create_task(saver.aput(thread("1"), given, {}, given["channel_versions"]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    given = checkpoint(999, [BIG])
    await saver.aput(thread("1"), given, {}, given["channel_versions"])
    listed = [one async for one in saver.alist(thread("1"))]
    assert listed[0].checkpoint == given
    for one in listed[1:]:
        number = one.checkpoint["channel_values"]["n"]
        assert one.checkpoint["channel_values"]["log"] == [f"{number} {n} {BIG}" for n in range(50)]


def test_listing_does_not_hold_up_who_writes(lasting_url):
    """The other one would wait a tenth of a second at most."""
    with AgentMemory.from_url(lasting_url) as one, AgentMemory.from_url(f"{lasting_url}?timeout=0.1") as other:
        put_steps(one.checkpointer, "1", 60)
        listing = one.checkpointer.list(thread("1"))
        seen = [next(listing).metadata["step"]]
        put_steps(other.checkpointer, "2", 3)
        for found in listing:
            seen.append(found.metadata["step"])
            if found.metadata["step"] % 20 == 0:
                other.checkpointer.put(thread("3"), checkpoint(found.metadata["step"], [BIG]), {}, {"log": "1"})
        assert seen == list(reversed(range(60)))


def test_reading_goes_on_while_another_writes(lasting_url):
    with AgentMemory.from_url(lasting_url) as one, AgentMemory.from_url(lasting_url) as other:
        put_steps(one.checkpointer, "1", 3)
        stop = threading.Event()

        def write() -> int:
            count = 0
            while not stop.is_set():
                other.checkpointer.put(thread("2"), checkpoint(count, [f"{count} {BIG}"]), {}, {"log": str(count)})
                count += 1
            return count

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            for _ in range(60):
                assert_steps(one.checkpointer, "1", 3)
            stop.set()
            assert writing.result() > 0


# Processes


def first_use(url: str, name: str) -> int:
    with AgentMemory.from_url(url) as memory:
        if int(name) % 2:
            return len(list(memory.checkpointer.list(None)))
        put_steps(memory.checkpointer, name, 1)
        return 0


def test_8_processes_may_use_a_new_database_first(lasting_url, processes):
    processes.together(first_use, lasting_url)
    with AgentMemory.from_url(lasting_url) as memory:
        assert {info.thread_id for info in memory.checkpointer.threads()} == set("0246")
        for name in "0246":
            assert_steps(memory.checkpointer, name, 1)


def test_8_processes_with_a_conversation_each_lose_nothing(lasting_url, processes):
    processes.together(functools.partial(converse, TURNS), lasting_url)
    with AgentMemory.from_url(lasting_url) as memory:
        graph = conversation(memory.checkpointer)
        assert len(memory.checkpointer.threads()) == 8
        for name in range(8):
            contents = [message.content for message in graph.get_state(thread(str(name))).values["messages"]]
            assert contents[::2] == [f"{name} {turn} {BIG}" for turn in range(TURNS)]
            assert contents[1::2] == [f"{2 * turn + 1} {BIG}" for turn in range(TURNS)]
            assert len(list(memory.checkpointer.list(thread(str(name))))) == 3 * TURNS


def share_thread(url: str, name: str) -> None:
    """Checkpoints that follow the latest of a thread that others write too, with values that were just read."""
    with AgentMemory.from_url(url) as memory:
        saver = memory.checkpointer
        for number in range(10):
            latest = saver.get_tuple(thread("shared"))
            log = [*latest.checkpoint["channel_values"]["log"], f"{name} {number} {BIG}"]
            before = latest.checkpoint["channel_versions"]["log"]
            given = checkpoint(0, log)
            given |= {
                "id": f"{len(log):06}-{name}-{number}",
                "channel_versions": {"log": saver.get_next_version(before, None)},
            }
            stored = saver.put(latest.config, given, {"log": log}, given["channel_versions"])
            saver.put_writes(stored, [("log", [*log, "next"])], name)
            if number % 4 == 3:
                saver.prune([f"other {name}"])


def test_8_processes_that_share_a_thread_build_on_what_the_others_wrote(lasting_url, processes):
    with AgentMemory.from_url(lasting_url) as memory:
        memory.checkpointer.put(thread("shared"), checkpoint(0, [BIG]), {"log": [BIG]}, {"log": "0"})
        processes.together(share_thread, lasting_url)
        listed = list(memory.checkpointer.list(thread("shared")))
        assert len(listed) == 81
        for one in listed:
            assert one.checkpoint["channel_values"]["log"] == one.metadata["log"]
        memory.checkpointer.prune(["shared"])
        (left,) = memory.checkpointer.list(thread("shared"))
        assert left == listed[0]._replace(parent_config=None)


def prune_and_write(url: str, name: str) -> None:
    """One process prunes what another writes."""
    with AgentMemory.from_url(url) as memory:
        if int(name) % 2:
            for _ in range(30):
                memory.checkpointer.prune([str(int(name) - 1)])
            return
        graph = conversation(memory.checkpointer)
        for turn in range(10):
            graph.invoke({"messages": [HumanMessage(f"{name} {turn} {BIG}")]}, thread(name))
            assert len(graph.get_state(thread(name)).values["messages"]) == 2 * (turn + 1)


def test_pruning_a_thread_that_another_process_writes_harms_nothing(lasting_url, processes):
    processes.together(prune_and_write, lasting_url)
    with AgentMemory.from_url(lasting_url) as memory:
        graph = conversation(memory.checkpointer)
        for name in "0246":
            assert len(graph.get_state(thread(name)).values["messages"]) == 20
            for one in memory.checkpointer.list(thread(name)):
                assert one.checkpoint["id"]


def write_steps(url: str, acknowledged: Connection) -> None:
    saver = AgentMemory.from_url(url).checkpointer
    config, log = thread("1"), []
    for number in itertools.count():
        log.append(f"{number} {500 * 'x'}")
        given = checkpoint(number, log)
        config = saver.put(config, given, {"step": number}, given["channel_versions"])
        saver.put_writes(config, [("log", [number])], "task")
        acknowledged.send(number)


@pytest.mark.parametrize("acknowledged", [1, 50])
def test_a_killed_process_loses_nothing_that_was_acknowledged(lasting_url, acknowledged):
    printed = killed(write_steps, lasting_url, acknowledged)
    with AgentMemory.from_url(lasting_url) as memory:
        listed = list(memory.checkpointer.list(thread("1")))
        assert len(listed) >= printed
        for one in listed:
            step = one.metadata["step"]
            assert one.checkpoint["channel_values"]["log"] == [f"{n} {500 * 'x'}" for n in range(step + 1)]
            assert one.pending_writes == [("task", "log", [step])] or step >= printed
        given = checkpoint(len(listed), [*listed[0].checkpoint["channel_values"]["log"], BIG])
        memory.checkpointer.put(listed[0].config, given, {}, given["channel_versions"])
        assert memory.checkpointer.get_tuple(thread("1")).checkpoint == given


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_works_on_its_own_and_harms_nothing(lasting_url):
    with AgentMemory.from_url(lasting_url) as memory:
        put_steps(memory.checkpointer, "parent", 3)
        child = multiprocessing.get_context("fork").Process(target=put_steps, args=(memory.checkpointer, "child", 5))
        child.start()
        put_steps(memory.checkpointer, "parent too", 5)
        child.join(PATIENCE)
        assert child.exitcode == 0
        assert_steps(memory.checkpointer, "parent", 3)
        assert_steps(memory.checkpointer, "parent too", 5)
        assert_steps(memory.checkpointer, "child", 5)
