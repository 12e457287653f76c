"""A Postgres server that does not answer, or restarts: no call waits longer than `timeout=`, and each says what it knows."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from database import database
from langchain_core.messages import HumanMessage
from psycopg_pool import ConnectionPool
from servers import PostgresServer
from stalling import StallingProxy
from surfaces import use

from langchain_agentmem import AgentMemory, StorageBusyError, StorageClosedError, StorageError
from langchain_agentmem.backends.postgres.transactions import Transaction
from langchain_agentmem.programs import Sleep

SECONDS = 1
"""The time limit of calls that get no answer. All others have the default."""

LATEST = SECONDS + 8
"""When a call must have ended. 30 callers that wait one after the other, two at a time, take 15 seconds."""

numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    one = PostgresServer()
    yield one
    one.close()


@pytest.fixture
def proxy(server) -> Iterator[StallingProxy]:
    one = StallingProxy(server.port)
    yield one
    one.close()


@pytest.fixture
def url(proxy, request) -> str:
    schema = f"s{abs(hash(request.node.name)) % 10**12}"
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?schema={schema}"


@contextmanager
def within_the_limit(memory: AgentMemory) -> Iterator[None]:
    """Calls in this block have a short time limit, and must end soon after it."""
    driver = memory.backend.driver
    patient, driver.settings = driver.settings, driver.settings._replace(timeout=SECONDS)
    started = time.monotonic()
    yield
    assert time.monotonic() - started < LATEST
    driver.settings = patient


async def test_a_server_that_accepts_and_says_nothing(proxy, url, call):
    proxy.stall()
    with AgentMemory.from_url(url) as memory:
        with (
            within_the_limit(memory),
            pytest.raises(StorageBusyError, match=rf"connect.*within {SECONDS} seconds. Nothing was stored"),
        ):
            await call(memory.history("s").add_messages, [HumanMessage("a")])
        proxy.resume()
        await use(memory, call, 0)
        await call(memory.close)


async def test_a_connect_timeout_that_ends_before_the_time_limit(proxy, url, call):
    proxy.stall()
    with AgentMemory.from_url(f"{url}&connect_timeout=2") as memory:
        with pytest.raises(
            StorageBusyError, match=r"Could not connect to Postgres: .*timeout expired\. Nothing was stored"
        ):
            await call(memory.history("s").add_messages, [HumanMessage("a")])
        await call(memory.close)


async def test_a_server_that_stops_to_answer(proxy, url, call):
    with AgentMemory.from_url(url) as memory:
        await use(memory, call, 0)
        proxy.stall()
        with within_the_limit(memory), pytest.raises(StorageBusyError, match=f"answer within {SECONDS} seconds"):
            await call(memory.history("s").get_recent)
        with within_the_limit(memory), pytest.raises(StorageBusyError):
            await call(memory.store.put, ("a",), "b", {"n": 1})
        proxy.resume()
        assert await call(memory.history("s").count) == 2
        await call(memory.close)


async def test_a_lost_answer_to_a_write_is_said_to_be_unknown(proxy, url, call):
    with AgentMemory.from_url(url) as memory:
        await use(memory, call, 0)
        proxy.stall(answers_only=True)
        with within_the_limit(memory), pytest.raises(StorageBusyError, match="unknown whether the write was stored"):
            await call(memory.store.put, ("a",), "k", {"n": 1})
        proxy.resume()
        assert (await call(memory.store.get, ("a",), "k")).value == {"n": 1}
        await call(memory.close)


async def test_a_call_that_waits_for_a_lock_is_said_to_have_stored_nothing(postgres_url, call):
    with AgentMemory.from_url(postgres_url) as memory, database(postgres_url) as other:
        await call(memory.store.put, ("a",), "k", {"n": 0})
        other.execute("BEGIN")
        other.execute("SELECT * FROM store FOR UPDATE")
        with within_the_limit(memory), pytest.raises(StorageBusyError, match="Nothing was stored"):
            await call(memory.store.put, ("a",), "k", {"n": 1})
        other.execute("COMMIT")
        assert (await call(memory.store.get, ("a",), "k")).value == {"n": 0}
        await call(memory.close)


async def test_many_callers_of_a_silent_server_end_together(proxy, url, call):
    with AgentMemory.from_url(f"{url}&pool_size=2") as memory:
        await use(memory, call, 0)
        proxy.stall()
        with within_the_limit(memory):
            results = await asyncio.gather(*(memory.history("s").acount() for _ in range(30)), return_exceptions=True)
        assert {type(result) for result in results} == {StorageBusyError}, [str(one) for one in results]
        with ThreadPoolExecutor(30) as pool, within_the_limit(memory):
            errors = [one.exception() for one in [pool.submit(memory.history("s").count) for _ in range(30)]]
        assert {type(error) for error in errors} == {StorageBusyError}
        proxy.resume()
        await call(memory.close)


async def test_a_cancelled_task_does_not_wait_for_a_silent_server(proxy, url):
    async with AgentMemory.from_url(url) as memory:
        await memory.history("s").acount()
        proxy.stall()
        with within_the_limit(memory):
            task = asyncio.create_task(memory.history("s").acount())
            done, _ = await asyncio.wait({task}, timeout=0.2)
            assert not done
            task.cancel()
            await asyncio.wait({task})
        assert task.cancelled()
        proxy.resume()
        assert await memory.history("s").acount() == 0


@pytest.mark.parametrize("autocommit", [True, False])
async def test_connections_of_the_application_have_the_limit_too(proxy, url, call, autocommit):
    base, schema = url.partition("?")[0], url.rpartition("=")[2]
    with AgentMemory.from_url(url) as memory:
        memory.history("s").count()
    with psycopg.connect(base, autocommit=autocommit) as connection:
        memory = AgentMemory.from_connection(connection, schema=schema)
        await call(memory.history("s").count)
        proxy.stall()
        with within_the_limit(memory), pytest.raises(StorageBusyError):
            await call(memory.history("s").count)
        assert connection.closed, "an answer may come that nobody reads"
        proxy.resume()


def test_a_server_that_is_stopped(server):
    url = f"{server.url}?schema=stopped"
    with AgentMemory.from_url(url) as memory:
        memory.history("s").add_messages([HumanMessage("a")])
        _signal(server, signal.SIGSTOP)
        try:
            with within_the_limit(memory), pytest.raises(StorageBusyError):
                memory.history("s").count()
            with within_the_limit(memory), pytest.raises(StorageBusyError):
                asyncio.run(memory.history("s").acount())
        finally:
            _signal(server, signal.SIGCONT)
        assert memory.history("s").count() == 1


def _signal(server: PostgresServer, number: signal.Signals) -> None:
    assert server.process is not None
    children = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False)
    for process in (server.process.pid, *map(int, children.stdout.split())):
        os.kill(process, number)


async def test_a_restart_is_over_for_callers_as_soon_as_for_the_server(server, call):
    with AgentMemory.from_url(f"{server.url}?schema=restart_{next(numbers)}") as memory:
        await use(memory, call, 0)
        await memory.history("s").acount()
        server.stop(signal.SIGQUIT)
        calling = asyncio.ensure_future(asyncio.to_thread(memory.history("s").count))
        acalling = asyncio.ensure_future(memory.history("s").acount())
        await asyncio.sleep(0)
        await asyncio.to_thread(server.start)
        started = time.monotonic()
        assert await asyncio.gather(calling, acalling) == [2, 2]
        await use(memory, call, 1)
        assert time.monotonic() - started < 20
        await call(memory.close)


# Waiting for a connection


@pytest.fixture
def slow_transactions(monkeypatch) -> None:
    """Every transaction takes 20 ms longer."""
    in_transaction = Transaction._in_transaction

    def slow(*arguments: Any) -> Any:
        yield from Sleep(0.02)
        return (yield from in_transaction(*arguments))

    monkeypatch.setattr(Transaction, "_in_transaction", slow)


async def test_waiting_counts_only_while_nothing_progresses(postgres_url, slow_transactions):
    """The last call takes longer in all than the limit, because many are before it, and none fails."""
    async with AgentMemory.from_url(f"{postgres_url}&timeout=2&pool_size=1") as memory:
        await memory.history("s").aadd_messages([HumanMessage("first")])
        began = time.monotonic()
        turns = (memory.history(f"s{number}").aadd_messages([HumanMessage("a")]) for number in range(130))
        await asyncio.gather(*turns)
        assert time.monotonic() - began > 2.5


async def test_a_thousand_turns_on_one_event_loop_all_succeed(postgres_url):
    async with AgentMemory.from_url(postgres_url) as memory:
        await asyncio.gather(
            *(memory.history(f"s{number % 50}").aadd_messages([HumanMessage(str(number))]) for number in range(1_000))
        )
        assert sum([await memory.history(f"s{number}").acount() for number in range(50)]) == 1_000


def test_a_thousand_turns_in_threads_all_succeed(postgres_url):
    with AgentMemory.from_url(postgres_url) as memory, ThreadPoolExecutor(250) as pool:
        turns = [
            pool.submit(memory.history(f"s{number % 50}").add_messages, [HumanMessage(str(number))])
            for number in range(1_000)
        ]
        for turn in turns:
            turn.result()
        assert sum(memory.history(f"s{number}").count() for number in range(50)) == 1_000


def test_a_pool_of_the_application_serves_more_threads_than_may_wait_for_it(postgres_url):
    base, _, schema = postgres_url.partition("?schema=")
    with ConnectionPool(base, min_size=1, max_size=2, max_waiting=2, open=True) as given:
        memory = AgentMemory.from_connection(given, schema=schema)
        with ThreadPoolExecutor(40) as pool:
            turns = [pool.submit(memory.history("s").add_messages, [HumanMessage("a")]) for _ in range(200)]
            for turn in turns:
                turn.result()
        assert memory.history("s").count() == 200


async def test_a_memory_that_is_closed_refuses_those_who_wait(postgres_url):
    memory = AgentMemory.from_url(f"{postgres_url}&pool_size=1")
    await memory.history("s").aadd_messages([HumanMessage("a")])
    with database(postgres_url) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM agentmem_sessions FOR UPDATE")
        turns: list[Any] = [asyncio.create_task(memory.history("s").aadd_messages([HumanMessage("b")])) for _ in "12"]
        _, pending = await asyncio.wait(turns, timeout=0.3)
        assert len(pending) == 2
        memory.close()
        with pytest.raises(StorageClosedError):
            await turns[1]
        other.execute("COMMIT")
    await turns[0]


def test_what_a_refused_connection_says(server):
    with (
        AgentMemory.from_url(f"postgresql://nobody@127.0.0.1:{server.port}/postgres") as memory,
        pytest.raises(StorageError, match=r"Could not connect to Postgres: .*nobody"),
    ):
        memory.history("s").count()
