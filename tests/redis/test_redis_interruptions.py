"""Calls that are broken off: by an exception that a signal handler raises, at any line, or by a cancelled task.

Afterwards the same memory gives every caller its own answer, and no connection or place in a pool is lost: with `pool_size=1` one
lost place would block all later calls.
"""

from __future__ import annotations

import asyncio
import linecache
import random
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
import redis
from langchain_core.messages import HumanMessage
from langgraph.store.base import GetOp, PutOp
from patience import PATIENCE
from servers import redis_server

from langchain_agentmem import AgentMemory, StorageError

# A socket that redis-py was just making is closed when it is collected, which Python notes.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

KEYS = [str(number) for number in range(8)]
OPTIONS = "?pool_size=1&retries=0"
CONFIG: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}


class Stop(Exception):
    """An ordinary exception of the application's."""


class Exit(BaseException):
    """One that `except Exception` lets through."""


class LineCounter:
    """Counts the lines that our Redis code and redis-py run, and raises an exception at one of them."""

    def __init__(self, at: int | None, kind: type[BaseException]) -> None:
        self.at, self.kind, self.count = at, kind, 0

    def _enter(self, frame: Any, event: str, argument: Any) -> Any:
        name = frame.f_globals.get("__name__", "")
        watched = name.startswith(("langchain_agentmem.backends.redis", "langchain_agentmem.programs", "redis"))
        # What a finaliser raises is printed and lost, and interrupts nobody.
        return self._line if watched and not _is_final(frame) else None

    def _line(self, frame: Any, event: str, argument: Any) -> Any:
        if event == "line" and not _is_lock(frame):
            self.count += 1
            if self.count == self.at:
                sys.settrace(None)
                raise self.kind
        return self._line

    def watching(self) -> LineCounter:
        """A context manager that counts, and catches the exception.

        It is no generator: from Python 3.12 on, the frame of one keeps the exception, and so the call's objects, until the garbage
        collector runs.
        """
        return self

    def __enter__(self) -> None:
        sys.settrace(self._enter)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        sys.settrace(None)
        return isinstance(error, self.kind)


def _is_lock(frame: Any) -> bool:
    """Return true at the lines that take and release a lock: Python runs no signal handler between a lock and its block."""
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return line.startswith("with ") and line.endswith("lock:")


def _is_final(frame: Any) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def filled(memory: AgentMemory) -> AgentMemory:
    for key in KEYS:
        memory.store.put(("n",), key, {"n": key})
        memory.history(key).add_messages([HumanMessage(key)])
    return memory


def assert_own_answers(memory: AgentMemory, number: int) -> None:
    key = KEYS[number % len(KEYS)]
    assert [item.value for item in memory.store.batch([GetOp(("n",), key)])] == [{"n": key}]
    assert memory.history(key).get_recent(1)[0].content == key


def operations(memory: AgentMemory) -> list[Callable[[], Any]]:
    """One command; several in one round trip; several as one transaction; one after the other."""
    return [
        lambda: memory.store.get(("n",), "1"),
        lambda: memory.store.put(("other",), "k", {"n": 1}),
        lambda: memory.store.batch([PutOp((root,), "k", {"n": 1}) for root in ("a", "b", "c")]),
        lambda: memory.store.search((), query="words"),
    ]


def assert_each_line_can_raise(
    memory: AgentMemory, kind: type[BaseException], tried: Sequence[Callable[[], Any]], most: int
) -> None:
    """Raise at each line of some operations, or at that number of lines spread over each."""
    for operation in tried:
        operation()
        whole = LineCounter(None, kind)
        with whole.watching():
            operation()
        assert whole.count > 50
        for at in range(1, whole.count + 1, max(1, whole.count // most)):
            with LineCounter(at, kind).watching():
                operation()
            assert_own_answers(memory, at)


@pytest.mark.parametrize("kind", [Stop, Exit, TimeoutError])
def test_an_exception_at_any_line_harms_no_later_call(redis_url, kind):
    with AgentMemory.from_url(redis_url + OPTIONS) as memory:
        assert_each_line_can_raise(filled(memory), kind, operations(memory)[:1], 10_000)


def test_an_exception_harms_no_later_call_whatever_is_called(any_redis_url):
    with AgentMemory.from_url(any_redis_url + OPTIONS) as memory:
        assert_each_line_can_raise(filled(memory), Stop, operations(memory), 60)


def test_an_exception_harms_no_later_call_on_a_socket():
    with redis_server() as server, AgentMemory.from_url(f"unix://{server.socket}{OPTIONS}") as memory:
        assert_each_line_can_raise(filled(memory), Exit, operations(memory)[1:2], 60)


def test_an_exception_harms_neither_the_memory_nor_the_applications_client(any_redis_url):
    scheme, _, rest = any_redis_url.partition("://")
    cluster = "cluster" in scheme
    client = (redis.RedisCluster if cluster else redis.Redis).from_url(f"redis://{rest}")
    for key in KEYS:
        client.set(f"application:{key}", key)
    memory = filled(AgentMemory.from_client(client))
    for operation in operations(memory)[:3]:
        for at in range(1, 700, 23):
            with LineCounter(at, Exit).watching():
                operation()
            assert_own_answers(memory, at)
            assert client.get(f"application:{KEYS[at % len(KEYS)]}") == KEYS[at % len(KEYS)].encode()
    memory.close()
    client.close()


def test_an_exception_while_a_memory_connects_harms_no_later_call(any_redis_url):
    with AgentMemory.from_url(any_redis_url + OPTIONS) as memory:
        filled(memory)
    whole = LineCounter(None, Stop)
    with AgentMemory.from_url(any_redis_url + OPTIONS) as memory, whole.watching():
        memory.store.get(("n",), "1")
    for at in range(1, whole.count, whole.count // 60):
        with AgentMemory.from_url(any_redis_url + OPTIONS) as memory:
            with LineCounter(at, Stop).watching():
                memory.store.get(("n",), "1")
            assert_own_answers(memory, at)


def test_a_signal_harms_no_later_call(redis_url):
    def stop(*_: Any) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    chance, broken = random.Random(7), 0
    try:
        with AgentMemory.from_url(redis_url + OPTIONS) as memory:
            filled(memory)
            for number in range(300):
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-4, 1e-3))
                    for _ in range(20):
                        memory.store.get(("n",), KEYS[number % 5])
                        memory.history("s").add_messages([HumanMessage("a")])
                except Stop:
                    broken += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                assert_own_answers(memory, number)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert broken > 100


def test_an_exception_of_a_signal_reaches_the_caller_as_it_is():
    """`TimeoutError` is what redis-py knows for a silent server: that of a handler must not be taken for it."""

    def late(*_: Any) -> None:
        raise TimeoutError("the job took too long")

    before = signal.signal(signal.SIGALRM, late)
    try:
        with redis_server() as server, AgentMemory.from_url(server.url) as memory:
            filled(memory)
            server.process.send_signal(signal.SIGSTOP)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(TimeoutError, match="the job took too long"):
                memory.store.get(("n",), "1")
            server.process.send_signal(signal.SIGCONT)
            assert_own_answers(memory, 3)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_error_of_the_caller_is_not_taken_for_one_of_a_connection(redis_url):
    with AgentMemory.from_url(f"{redis_url}?retries=0") as memory:
        filled(memory)
        memory.backend.driver.servers._connectors[False].servers.options["port"] = 1
        memory.backend.driver.servers._pools.clear()
        try:
            raise OSError("the caller's")
        except OSError:
            with pytest.raises(StorageError, match="Cannot reach Redis"):
                memory.store.get(("n",), "1")


def test_a_connection_with_an_unread_answer_is_not_used(redis_url):
    """Whatever left it there."""
    with AgentMemory.from_url(redis_url + OPTIONS) as memory:
        filled(memory)
        (pool,) = memory.backend.driver.servers._pools.values()
        (link,) = pool._idle
        link.connection.send_command("ECHO", "somebody else's answer")
        link.connection.can_read(timeout=PATIENCE)
        for number in range(3):
            assert_own_answers(memory, number)


# Event loops


async def broken_off(how: str, work: Any, turns: int) -> bool:
    """Break a coroutine off after some turns of the loop; returns whether it was over before."""
    if how == "cancel":
        task = asyncio.ensure_future(work)
        for _ in range(turns):
            await asyncio.sleep(0)
        over = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return over
    if how == "anyio":
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def stop() -> None:
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()

                group.start_soon(stop)
                await work
                return True
        return False
    try:
        await asyncio.wait_for(work, turns / 50_000)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("how", ["cancel", "wait_for", "anyio"])
async def test_a_cancelled_call_harms_no_later_call(any_redis_url, how):
    async with AgentMemory.from_url(any_redis_url + OPTIONS) as memory:
        await asyncio.to_thread(filled, memory)
        works: list[Callable[[], Any]] = [
            lambda: memory.store.aget(("n",), "1"),
            lambda: memory.history("s").aadd_messages([HumanMessage("a")]),
            lambda: memory.store.abatch([PutOp((root,), "k", {"n": 1}) for root in ("a", "b", "c")]),
            lambda: memory.store.asearch((), query="words"),
            lambda: memory.checkpointer.aget_tuple(CONFIG),
        ]
        for work in works:
            await work()
            for turns in range(40):
                over = await broken_off(how, work(), turns)
                key = KEYS[turns % len(KEYS)]
                assert (await memory.store.aget(("n",), key)).value == {"n": key}
                assert (await memory.history(key).aget_messages())[0].content == key
                if over and how != "wait_for":
                    break


async def test_cancelled_callers_that_wait_for_a_connection_leave_the_line(redis_url):
    async with AgentMemory.from_url(redis_url + OPTIONS) as memory:
        await asyncio.to_thread(filled, memory)
        for turns in range(30):
            tasks = [asyncio.ensure_future(memory.store.aget(("n",), key)) for key in KEYS]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            items = await asyncio.gather(*tasks[1::2])
            assert [item.key for item in items] == KEYS[1::2]


@pytest.mark.parametrize("kind", [Stop, Exit])
def test_an_exception_at_any_line_of_a_coroutine_harms_no_later_call(redis_url, kind):
    async def main() -> None:
        async with AgentMemory.from_url(redis_url + OPTIONS) as memory:
            await asyncio.to_thread(filled, memory)
            counter = LineCounter(None, kind)
            with counter.watching():
                await memory.history("s").aadd_messages([HumanMessage("a")])
            for at in range(1, counter.count, counter.count // 100):
                with LineCounter(at, kind).watching():
                    await memory.history("s").aadd_messages([HumanMessage("a")])
                key = KEYS[at % len(KEYS)]
                assert (await memory.store.aget(("n",), key)).value == {"n": key}

    asyncio.run(main())
