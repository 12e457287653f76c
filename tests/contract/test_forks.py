"""Processes forked while threads of their parent are in the middle of calls: both go on, with connections of their own."""

from __future__ import annotations

import asyncio
import os
import select
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from surfaces import use

from langchain_agentmem import AgentMemory

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

SECONDS = 60


def in_child(work: Callable[[], Any]) -> str:
    """What a function returns in a forked child, or its error, as text."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = str(work())
        except BaseException:
            said = traceback.format_exc()
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], SECONDS)
    if not ready:
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read() if ready else "it did not end"


def used(memory: AgentMemory, name: str) -> str:
    """Use each surface, synchronously and in an event loop."""

    async def sync(method: Any, *args: Any, **options: Any) -> Any:
        return method(*args, **options)

    async def twin(method: Any, *args: Any, **options: Any) -> Any:
        return await getattr(method.__self__, f"a{method.__name__}")(*args, **options)

    for way in (sync, twin):
        for number in range(2):
            asyncio.run(use(memory, way, number))
            memory.history(name).add_messages([HumanMessage("a")])
    return str(memory.history(name).count())


def test_children_and_busy_threads_harm_each_other_nowhere(lasting_url):
    with AgentMemory.from_url(lasting_url) as memory:
        assert used(memory, "parent") == "4"
        stop, counts, failed = threading.Event(), [0, 0, 0], []

        def work(number: int) -> None:
            try:
                while not stop.is_set():
                    memory.history(f"thread{number}").add_messages([HumanMessage("a")])
                    counts[number] += 1
                    assert memory.history(f"thread{number}").count() == counts[number]
                    memory.store.search((), query="a")
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        said = [in_child(lambda name=f"child{n}": used(memory, name)) for n in range(3)]
        stop.set()
        for thread in threads:
            thread.join(SECONDS)
        assert (said, failed) == (["4", "4", "4"], [])
        assert [memory.history(f"thread{number}").count() for number in range(3)] == counts
        assert [memory.history(f"child{number}").count() for number in range(3)] == [4, 4, 4]


async def test_a_child_of_a_running_event_loop_uses_its_own(lasting_url):
    memory = AgentMemory.from_url(lasting_url)
    await memory.history("parent").aadd_messages([HumanMessage("a")])

    def child() -> str:
        answers = []
        # The child has a copy of the running loop, so another thread runs its own.
        thread = threading.Thread(target=lambda: answers.append(used(memory, "child")))
        thread.start()
        thread.join(SECONDS)
        return answers[0]

    assert in_child(child) == "4"
    await memory.history("parent").aadd_messages([HumanMessage("a")])
    assert await memory.history("parent").acount() == 2
    assert await memory.history("child").acount() == 4
    await memory.aclose()
