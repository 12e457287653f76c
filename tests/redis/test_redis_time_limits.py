"""`timeout=` bounds an operation, waiting in line counts only while nobody progresses, and errors say what became of a write."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from proxies import LosingProxy
from servers import RedisCluster, RedisServer, free_port, redis_server

from langchain_agentmem import AgentMemory, StorageBusyError, StorageError
from langchain_agentmem.backends.redis import exchange, session_keys

TURN = [HumanMessage("question"), AIMessage("answer")]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        yield started


@pytest.fixture
def slow_answers(monkeypatch) -> None:
    """Every answer takes 50 ms longer."""
    read, aread = exchange._read, exchange._aread

    def slow(*arguments: Any) -> Any:
        time.sleep(0.05)
        return read(*arguments)

    async def aslow(*arguments: Any) -> Any:
        await asyncio.sleep(0.05)
        return await aread(*arguments)

    monkeypatch.setattr(exchange, "_read", slow)
    monkeypatch.setattr(exchange, "_aread", aslow)


async def test_a_burst_of_turns_on_one_loop_waits_in_line_for_longer_than_the_limit(any_redis_url, slow_answers):
    async with AgentMemory.from_url(f"{any_redis_url}?timeout=2&pool_size=2") as memory:

        async def turn(number: int) -> None:
            messages = memory.history(f"s{number % 10}")
            await messages.aget_messages()
            await messages.aadd_messages(TURN)

        await memory.history("s").aget_messages()
        began = time.monotonic()
        await asyncio.gather(*(turn(number) for number in range(70)))
        assert time.monotonic() - began > 2.5
        counts = await asyncio.gather(*(memory.history(f"s{number}").acount() for number in range(10)))
        assert counts == [14] * 10


async def test_an_answer_counts_that_came_while_the_event_loop_was_blocked(redis_url):
    def block() -> None:
        ends = time.monotonic() + 0.3
        while time.monotonic() < ends:
            pass

    async with AgentMemory.from_url(redis_url) as memory:
        await memory.history("s").aadd_messages(TURN)
        driver = memory.backend.driver
        driver.settings = driver.settings._replace(timeout=0.1)
        asyncio.get_running_loop().call_soon(block)
        assert await memory.history("s").acount() == 2


def test_100_threads_wait_in_line_for_longer_than_the_limit(any_redis_url, slow_answers):
    with AgentMemory.from_url(f"{any_redis_url}?timeout=4&pool_size=1") as memory, ThreadPoolExecutor(100) as threads:
        memory.history("s0").add_messages(TURN)
        began = time.monotonic()
        list(threads.map(lambda number: memory.history(f"s{number % 20}").add_messages(TURN), range(1, 101)))
        assert time.monotonic() - began > 4.5 or "cluster" in any_redis_url  # which has a line for each of its servers
        assert sum(memory.history(f"s{number}").count() for number in range(20)) == 202


def assert_in_time(began: float, limit: float) -> None:
    # Callers that wait one after the other take 15 times the limit.
    assert limit * 0.9 < time.monotonic() - began < limit + 8


async def silence(memory: AgentMemory, call: Any, servers: list[RedisServer], limit: float) -> None:
    """All callers hear of a silent server when the limit is over, those in line too; and go on when it answers again."""
    await call(memory.history("s").add_messages, TURN)
    for server in servers:
        server.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(StorageBusyError, match=f"within {limit:g} seconds"):
            await call(memory.history("s").count)
        assert_in_time(began, limit)
        began = time.monotonic()
        failed = await asyncio.gather(*(memory.history("s").acount() for _ in range(30)), return_exceptions=True)
        assert {type(error) for error in failed} == {StorageBusyError}
        assert_in_time(began, limit)
    finally:
        for server in servers:
            server.process.send_signal(signal.SIGCONT)
    assert await call(memory.history("s").count) == 2
    await call(memory.close)


async def test_a_silent_server_is_an_error_when_the_limit_is_over(server, call):
    with AgentMemory.from_url(f"{server.url}?timeout=1&pool_size=2") as memory:
        await silence(memory, call, [server], 1)


async def test_a_silent_cluster_is_an_error_when_the_limit_is_over(call):
    cluster = RedisCluster()
    try:
        with AgentMemory.from_url(f"{cluster.url}?timeout=1&pool_size=2") as memory:
            await silence(memory, call, cluster.nodes, 1)
    finally:
        cluster.close()


async def test_connecting_to_a_silent_server_counts(server, call):
    server.process.send_signal(signal.SIGSTOP)
    with AgentMemory.from_url(f"{server.url}?timeout=1") as memory:
        began = time.monotonic()
        with pytest.raises(StorageBusyError, match="Nothing was stored"):
            await call(memory.history("s").add_messages, TURN)
        assert_in_time(began, 1)
        server.process.send_signal(signal.SIGCONT)
        await call(memory.history("s").add_messages, TURN)
        await call(memory.close)


async def test_attempts_count(call):
    with AgentMemory.from_url(f"redis://127.0.0.1:{free_port()}/0?timeout=1&retries=100") as memory:
        began = time.monotonic()
        with pytest.raises(StorageError, match=r"Cannot reach Redis.*Nothing was stored\.$"):
            await call(memory.history("s").add_messages, TURN)
        assert time.monotonic() - began < 20  # without a limit, attempts go on for more than a minute
        with pytest.raises(StorageError, match="Cannot reach Redis") as caught:
            await call(memory.history("s").count)
        assert "stored" not in str(caught.value)
        await call(memory.close)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_callers_go_on_at_once_after_a_restart(call, how):
    """Without a single retry: connections that the server closed are noticed before they are used."""
    with (
        redis_server(appendonly="yes", appendfsync="always") as server,
        AgentMemory.from_url(f"{server.url}?retries=0") as memory,
    ):
        with ThreadPoolExecutor(5) as threads:
            list(threads.map(lambda _: memory.history("s").add_messages(TURN), range(50)))
        await asyncio.gather(*(memory.history("s").acount() for _ in range(20)))
        for _ in range(2):
            server.stop(how)
            server.start()
            assert [await call(memory.history("s").count) for _ in range(12)] == [100] * 12
            assert await asyncio.gather(*(memory.history("s").acount() for _ in range(20))) == [100] * 20
        await call(memory.close)


async def test_an_error_says_that_a_write_whose_answer_was_lost_may_be_stored(redis_url, call):
    proxy = LosingProxy(redis_url)
    with AgentMemory.from_url(f"{proxy.url}?retries=0") as memory:
        messages = memory.history("s")
        await call(messages.add_messages, TURN)
        await call(messages.count)
        proxy.lose(session_keys.LUA["append"].digest.encode(), bool)
        with pytest.raises(StorageError, match="may have been stored"):
            await call(messages.add_messages, TURN)
        assert await call(messages.count) == 4
        proxy.lose(session_keys.LUA["count"].digest.encode(), bool)
        with pytest.raises(StorageError) as caught:
            await call(messages.count)
        assert "stored" not in str(caught.value)
        await call(memory.close)
    proxy.close()
