"""Large texts and many rows leave an event loop free for others.

Nothing here measures seconds. A ticker sleeps for a millisecond again and again, and counts: on a loop that is blocked for the
whole time of an operation it gets a few turns, whatever the machine's speed.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.store.base import PutOp
from patience import PATIENCE

from langchain_agentmem import AgentMemory
from langchain_agentmem.programs import Compute, OffLoop, arun, off_loop, run
from langchain_agentmem.text.words import MAX_SEARCHED_CHARACTERS

LEAST_TICKS = 15
WORDS = 100_000

_numbers = itertools.count()


def long_text() -> str:
    """About a megabyte of words, all different, none of which was met before."""
    source = random.Random(next(_numbers))
    return " ".join("".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(WORDS))


async def ticks_during(work: Awaitable[Any]) -> int:
    """How often others got a turn while something was awaited."""
    count = 0

    async def tick() -> None:
        nonlocal count
        while True:
            await asyncio.sleep(0.001)
            count += 1

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    try:
        await work
        return count
    finally:
        ticker.cancel()


async def test_adding_a_long_message_leaves_the_loop_free(memory):
    history = memory.history("s")
    await history.aadd_messages([HumanMessage("hello")])
    text = long_text()
    assert await ticks_during(history.aadd_messages([HumanMessage(text)])) >= LEAST_TICKS
    assert (await history.aget_messages())[-1].text == text
    first, last = text.split()[0], text.split()[-1]
    assert (await history.asearch(first))[0].position == 1
    assert await history.asearch(last) == []


async def test_putting_a_long_text_leaves_the_loop_free(any_redis_url):
    # The other engines analyse texts themselves.
    async with AgentMemory.from_url(any_redis_url) as memory:
        await memory.store.aput(("a",), "short", {"text": "hello"})
        assert await ticks_during(memory.store.aput(("a",), "long", {"text": long_text()})) >= LEAST_TICKS
        assert len(await memory.store.asearch(("a",))) == 2


async def test_what_lies_far_behind_in_a_long_text_is_not_indexed(memory, call):
    filler = "lorem " * (MAX_SEARCHED_CHARACTERS // 6)
    await call(memory.store.put, ("a",), "k", {"text": f"giraffe {filler} elephant"})
    assert [item.key for item in await call(memory.store.search, ("a",), query="giraffe")] == ["k"]
    assert await call(memory.store.search, ("a",), query="elephant") == []
    assert "elephant" in (await call(memory.store.get, ("a",), "k")).value["text"]
    history = memory.history("s")
    await call(history.add_messages, [HumanMessage(f"giraffe {filler} elephant")])
    assert len(await call(history.search, "giraffe")) == 1
    assert await call(history.search, "elephant") == []


async def test_a_large_batch_leaves_the_loop_free(memory):
    ops = [PutOp(("many", str(at % 10)), str(at), {"text": f"number {at}", "n": at}) for at in range(5_000)]
    assert await ticks_during(memory.store.abatch(ops)) >= LEAST_TICKS
    assert await memory.store.aget(("many", "9"), "4999") is not None


async def test_compressing_a_long_message_leaves_the_loop_free(sqlite_memory):
    compressor = sqlite_memory.compressor(max_tokens=2_000)
    messages = [HumanMessage(long_text()), AIMessage("So much."), HumanMessage("What did I say?")]
    assert await ticks_during(compressor.ainvoke(messages)) >= LEAST_TICKS


async def test_a_long_session_in_a_budget_leaves_the_loop_free(sqlite_memory):
    history = sqlite_memory.history("s", max_tokens=500_000)
    await history.aadd_messages([HumanMessage(f"Message {at} says something or other") for at in range(20_000)])
    assert await ticks_during(history.aget_messages()) >= LEAST_TICKS
    assert await ticks_during(history.asearch("something")) >= LEAST_TICKS


async def test_a_large_checkpoint_leaves_the_loop_free(memory):
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"messages": [HumanMessage(f"Message {at}", id=str(at)) for at in range(20_000)]}
    checkpoint["channel_versions"] = {"messages": 1}
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    saver = memory.checkpointer
    put = saver.aput(config, checkpoint, {}, {"messages": 1})
    assert await ticks_during(put) >= LEAST_TICKS
    # The saver has the elements in memory, so this takes a fraction of the time.
    assert await ticks_during(saver.aget_tuple(config)) >= LEAST_TICKS // 3


async def test_heavy_work_is_done_while_all_threads_of_the_loops_executor_wait(memory):
    """As nodes in threads do, which wait for what they submit to the event loop."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(2))

    def node(number: int) -> None:
        added = memory.history(f"s{number}").aadd_messages([HumanMessage("word " * 10_000)])
        asyncio.run_coroutine_threadsafe(added, loop).result(PATIENCE)

    await asyncio.gather(*(asyncio.to_thread(node, number) for number in range(2)))
    assert [await memory.history(f"s{number}").acount() for number in range(2)] == [1, 1]


# The steps


def here() -> Iterator[Any]:
    """A program that says in which threads it is computed."""
    threads = [threading.current_thread()]
    yield from OffLoop(large=True)
    threads.append(threading.current_thread())
    value = yield from Compute(False, lambda: 7)
    threads.append(threading.current_thread())
    yield from OffLoop(large=False)
    threads.append(threading.current_thread())
    return threads, value


async def test_a_program_is_computed_off_the_loop_until_its_next_step():
    own = threading.current_thread()
    threads, value = await arun(here())
    assert [thread is own for thread in threads] == [True, False, True, True]
    assert value == 7
    assert run(here()) == ([own] * 4, 7)
    threads, _ = await arun(off_loop(here(), True))
    assert [thread is own for thread in threads] == [False, False, False, True]
    threads, _ = await arun(off_loop(here(), False))
    assert [thread is own for thread in threads] == [True, False, True, True]


@pytest.mark.parametrize(
    "wrap", [lambda program: program, lambda program: off_loop(program, True)], ids=["plain", "off"]
)
async def test_errors_pass_through_a_program_that_is_computed_off_the_loop(wrap: Callable[[Any], Any]):
    def fails() -> Iterator[Any]:
        yield from OffLoop(large=True)
        raise ValueError("so it is")

    def handles() -> Iterator[Any]:
        yield from OffLoop(large=True)
        try:
            yield from Compute(False, int, "seven")
        except ValueError:
            return (yield from Compute(True, int, "7"))

    with pytest.raises(ValueError, match="so it is"):
        await arun(wrap(fails()))
    assert await arun(wrap(handles())) == 7


async def test_a_cancelled_program_ends_after_what_it_computes_off_the_loop():
    began, go_on, ended = threading.Event(), threading.Event(), []

    def slow() -> Iterator[Any]:
        yield from OffLoop(large=True)
        try:
            began.set()
            go_on.wait(PATIENCE)
            yield from Compute(False, int)
        finally:
            ended.append(True)

    task = asyncio.create_task(arun(slow()))
    await asyncio.to_thread(began.wait, PATIENCE)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
