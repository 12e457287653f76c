"""Connections to Postgres: the application's own, lost ones, many at once, and what is left when all is closed."""

from __future__ import annotations

import asyncio
import gc
import itertools
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from database import database
from identity import without_ids
from langchain_core.messages import AIMessage, HumanMessage
from patience import PATIENCE
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from servers import PostgresServer, free_port
from surfaces import assert_used, talk, use

from langchain_agentmem import AgentMemError, AgentMemory, ConfigurationError, StorageClosedError, StorageError

numbers = itertools.count()


def base_of(url: str) -> str:
    return url.partition("?")[0]


def schema_of(url: str) -> str:
    return url.rpartition("schema=")[2]


@pytest.mark.parametrize("autocommit", [True, False])
async def test_a_pool_of_the_application_is_used_and_left_open(postgres_url, call, autocommit):
    with ConnectionPool(base_of(postgres_url), kwargs={"autocommit": autocommit}, open=True, min_size=1) as pool:
        with AgentMemory.from_connection(pool, schema=schema_of(postgres_url)) as memory:
            for number in range(3):
                await use(memory, call, number)
            await assert_used(memory, call, 3)
        with pool.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


async def test_an_asynchronous_pool_serves_asynchronous_callers(postgres_url):
    async with AsyncConnectionPool(base_of(postgres_url), open=False, min_size=1) as pool:
        memory = AgentMemory.from_connection(pool, schema=schema_of(postgres_url))
        await memory.history("s").aadd_messages([HumanMessage("a")])
        assert without_ids(await memory.history("s").aget_recent()) == [HumanMessage("a")]
        with pytest.raises(ConfigurationError, match="asynchronous"):
            memory.history("s").get_recent()
        await memory.aclose()
        async with pool.connection() as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_a_connection_of_the_application_is_used_within_its_transaction(postgres_url, call):
    with psycopg.connect(base_of(postgres_url)) as connection:
        memory = AgentMemory.from_connection(connection, schema=schema_of(postgres_url))
        await use(memory, call, 0)  # no transaction is going on: what was acknowledged is stored
        connection.rollback()
        await assert_used(memory, call, 1)
        connection.execute("SELECT 1")
        await use(memory, call, 1)
        connection.rollback()
        await assert_used(memory, call, 1)
        connection.execute("SELECT 1")
        await use(memory, call, 1)
        connection.commit()
        await call(memory.close)
        assert not connection.closed
    with AgentMemory.from_url(postgres_url) as memory:
        await assert_used(memory, call, 2)


async def test_an_asynchronous_connection_of_the_application_is_used(postgres_url):
    connection = await psycopg.AsyncConnection.connect(base_of(postgres_url))
    memory = AgentMemory.from_connection(connection, schema=schema_of(postgres_url))
    await asyncio.gather(*(memory.history(f"s{n}").aadd_messages([HumanMessage("a")]) for n in range(8)))
    await connection.commit()
    await memory.aclose()
    await connection.close()
    with AgentMemory.from_url(postgres_url) as memory:
        assert len(memory.sessions.list()) == 8


def test_what_is_no_connection_is_refused(postgres_url):
    with pytest.raises(TypeError, match=r"Cannot use a builtins\.str"):
        AgentMemory.from_connection(postgres_url)


# Many at once


async def test_as_many_connections_are_used_as_operations_run(postgres_url):
    """Each operation waits for a lock that is held until all of them are there."""
    with AgentMemory.from_url(f"{postgres_url}&pool_size=6") as memory, database(postgres_url) as opened:
        for number in range(6):
            memory.history(f"s{number}").add_messages([HumanMessage("a")])
        opened.execute("BEGIN")
        opened.execute("SELECT * FROM agentmem_sessions FOR UPDATE")

        def waiting() -> int:
            with database(postgres_url) as other:
                of_ours = f"query LIKE '%{other.schema}%agentmem_append%'"
                query = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND {of_ours}"
                return int(other.execute(query)[0][0])

        def add(number: int) -> None:
            memory.history(f"s{number}").add_messages([HumanMessage("b")])

        with ThreadPoolExecutor(6) as pool:
            adding = [pool.submit(add, number) for number in range(6)]
            deadline = time.monotonic() + PATIENCE
            while waiting() < 6 and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            assert waiting() == 6
            opened.execute("COMMIT")
            for one in adding:
                one.result(PATIENCE)
        opened.execute("BEGIN")
        opened.execute("SELECT * FROM agentmem_sessions FOR UPDATE")
        tasks = [asyncio.ensure_future(memory.history(f"s{n}").aadd_messages([HumanMessage("c")])) for n in range(6)]
        deadline = time.monotonic() + PATIENCE
        while await asyncio.to_thread(waiting) < 6 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert waiting() == 6
        opened.execute("COMMIT")
        await asyncio.gather(*tasks)
        assert [memory.history(f"s{number}").count() for number in range(6)] == [3] * 6
        await memory.aclose()


async def test_more_operations_than_connections_wait_their_turn(postgres_url):
    async with AgentMemory.from_url(f"{postgres_url}&pool_size=2") as memory:
        await asyncio.gather(*(memory.history("s").aadd_messages([HumanMessage(str(n))]) for n in range(40)))
        assert await memory.history("s").acount() == 40


# Lost connections


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that may be stopped and started."""
    one = PostgresServer()
    yield one
    one.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
async def test_a_restart_of_the_server_is_survived(server, call, how):
    with AgentMemory.from_url(f"{server.url}?schema=restarted_{next(numbers)}") as memory:
        await use(memory, call, 0)
        for number in range(1, 3):
            server.stop(how)
            server.start()
            await use(memory, call, number)
        await assert_used(memory, call, 3)
        await call(memory.close)


async def test_a_restart_in_the_middle_of_many_turns_doubles_and_loses_nothing(server):
    url = f"{server.url}?schema=middle&timeout=20"
    done: list[str] = []
    failed: list[str] = []
    with AgentMemory.from_url(url) as memory:
        memory.history("s").add_messages([HumanMessage("first")])
        stop = threading.Event()

        def turns(name: int) -> None:
            number = 0
            while not stop.is_set():
                text = f"{name}-{number}"
                try:
                    memory.history("s").add_messages([HumanMessage(text), AIMessage(text)])
                    done.append(text)
                except AgentMemError:
                    failed.append(text)
                number += 1

        workers = [threading.Thread(target=turns, args=(name,)) for name in range(4)]
        for worker in workers:
            worker.start()
        deadline = time.monotonic() + PATIENCE
        while len(done) < 20 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        server.stop(signal.SIGINT)
        server.start()
        reached = len(done)
        while len(done) < reached + 20 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        stop.set()
        for worker in workers:
            worker.join()
        stored = [message.content for message in memory.history("s").get_recent(100_000)][1:]
    assert stored[::2] == stored[1::2], "no half turn, and no turn within another"
    assert set(done) <= set(stored[::2]) <= set(done) | set(failed)
    assert len(set(stored)) == len(stored[::2]), "no turn is there twice"


async def test_connections_that_were_broken_are_replaced(postgres_url, call):
    with AgentMemory.from_url(postgres_url) as memory, database(postgres_url) as opened:
        for number in range(4):
            await use(memory, call, number)
            broken = opened.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE pid <> pg_backend_pid() AND query LIKE '%{opened.schema}%'"
            )
            assert broken
        await assert_used(memory, call, 4)
        await call(memory.close)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://postgres@127.0.0.1:{free}/postgres?timeout=2", "refused"),
        ("postgresql://postgres@127.0.0.1:{port}/nowhere", "nowhere"),
        ("postgresql://nobody_at_all@127.0.0.1:{port}/postgres", "nobody_at_all"),
    ],
)
async def test_what_cannot_be_connected_to_is_a_clear_error_at_once(server, call, url, reason):
    memory = AgentMemory.from_url(url.format(free=free_port(), port=server.port))
    started = time.monotonic()
    with pytest.raises(AgentMemError, match=reason):
        await call(memory.history("s").get_recent)
    assert time.monotonic() - started < 20
    await call(memory.close)


async def test_a_task_that_is_cancelled_leaves_a_whole_turn_or_none(postgres_url):
    async with AgentMemory.from_url(f"{postgres_url}&pool_size=2") as memory:
        history = memory.history("s")
        await history.aadd_messages([HumanMessage("before")])
        with database(postgres_url) as opened:
            opened.execute("BEGIN")
            opened.execute("SELECT * FROM agentmem_sessions FOR UPDATE")
            tasks = [asyncio.ensure_future(history.aadd_messages([HumanMessage("a"), HumanMessage("b")])) for _ in "12"]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            opened.execute("COMMIT")
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError)
        await history.aadd_messages([HumanMessage("after")])
        texts = [message.content for message in await history.aget_recent(10)]
    assert texts[0] == "before"
    assert "".join(texts[1:]).replace("ab", "") == "after"


# The end


async def test_closing_leaves_no_connection_no_thread_and_no_warning(postgres_url, call):
    before = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        memory = AgentMemory.from_url(postgres_url)
        await use(memory, call, 0)
        await call(memory.close)
        with pytest.raises(StorageClosedError):
            await call(memory.history("s").count)
        await call(memory.close)
        del memory
        gc.collect()
    assert {thread for thread in threading.enumerate() if "agentmem" in thread.name} <= before
    with database(postgres_url) as opened:
        deadline = time.monotonic() + PATIENCE
        of_ours = f"query LIKE '%{opened.schema}%agentmem_append%'"
        query = f"SELECT count(*) FROM pg_stat_activity WHERE {of_ours} AND pid <> pg_backend_pid()"
        while opened.execute(query)[0][0] and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert opened.execute(query) == [(0,)]


FORGETFUL = """
import asyncio, sys
from langchain_core.messages import HumanMessage
from langchain_agentmem import AgentMemory

memory = AgentMemory.from_url(sys.argv[1])
memory.history("s").add_messages([HumanMessage("a")])

async def main():
    await asyncio.gather(*(memory.history("s").aadd_messages([HumanMessage("b")]) for _ in range(8)))

for _ in range(3):
    asyncio.run(main())
print(memory.history("s").count())
"""


def test_a_program_that_never_closes_ends_without_a_word(postgres_url):
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", FORGETFUL, postgres_url],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "25"), done.stderr
    assert done.stderr.strip() == ""


FORKED = """
import asyncio, os, sys
from langchain_core.messages import HumanMessage
from langchain_agentmem import AgentMemory

memory = AgentMemory.from_url(sys.argv[1])
memory.history("s").add_messages([HumanMessage("a")])
loop = asyncio.new_event_loop()
loop.run_until_complete(memory.history("s").aadd_messages([HumanMessage("b")]))
child = os.fork()
if child == 0:
    memory.history("s").add_messages([HumanMessage("child")])
    sys.exit(0)  # an end with all that is done at one
assert os.waitpid(child, 0)[1] == 0
memory.history("s").add_messages([HumanMessage("c")])
loop.run_until_complete(memory.history("s").aadd_messages([HumanMessage("d")]))
loop.close()
print([message.content for message in memory.history("s").get_recent()])
"""


def test_a_forked_process_harms_nothing_when_it_ends(postgres_url):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, postgres_url],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['a', 'b', 'child', 'c', 'd']"


def test_a_read_only_server_is_a_clear_error(postgres_url):
    with AgentMemory.from_url(postgres_url) as memory:
        memory.history("s").add_messages([HumanMessage("a")])
    read_only = f"{postgres_url}&options=-c%20default_transaction_read_only%3Don"
    with AgentMemory.from_url(read_only) as memory:
        assert memory.history("s").count() == 1
        with pytest.raises(StorageError, match="accepts no writes"):
            memory.history("s").add_messages([HumanMessage("b")])
        assert memory.history("s").count() == 1


async def test_nothing_leaves_a_transaction_open(postgres_url, call):
    with AgentMemory.from_url(postgres_url) as memory, database(postgres_url) as opened:
        await use(memory, call, 0)
        await assert_used(memory, call, 1)
        with pytest.raises(AgentMemError):
            await call(memory.store.put, ("x" * 1024,) * 1, "k", {"n": object()})
        query = (
            "SELECT DISTINCT state FROM pg_stat_activity "
            "WHERE query LIKE '%" + opened.schema + "%' AND pid <> pg_backend_pid()"
        )
        # A connection whose answer has just come may still be called active for a moment.
        deadline = time.monotonic() + PATIENCE
        while (states := opened.execute(query)) != [("idle",)] and time.monotonic() < deadline:
            pass
        assert states == [("idle",)]
        await call(memory.close)


# Sweeping


async def test_sweeping_leaves_what_a_writer_is_using_and_waits_for_nobody(postgres_url, call, monkeypatch):
    with AgentMemory.from_url(postgres_url, ttl=10) as memory, database(postgres_url) as opened:
        for number in range(3):
            await call(memory.history(f"s{number}").add_messages, [HumanMessage("a")])
            await call(memory.store.put, ("a",), str(number), {"n": number})
            await call(
                talk(memory).invoke, {"messages": [HumanMessage("a")]}, {"configurable": {"thread_id": str(number)}}
            )
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 60)
        opened.execute("BEGIN")
        opened.execute("SELECT * FROM agentmem_sessions WHERE session_id = 's1' FOR UPDATE")
        opened.execute("SELECT * FROM store WHERE key = '1' FOR UPDATE")
        opened.execute("SELECT * FROM agentmem_threads WHERE thread_id = '1' FOR UPDATE")
        assert await call(memory.sweep) == 6
        opened.execute("COMMIT")
        assert await call(memory.sweep) == 3
        for table in ("agentmem_sessions", "agentmem_messages", "store", "agentmem_item_texts", "agentmem_item_ttls"):
            assert opened.execute(f"SELECT * FROM {table}") == []
        for table in (
            "agentmem_threads",
            "checkpoints",
            "checkpoint_writes",
            "agentmem_channel_values",
            "agentmem_elements",
        ):
            assert opened.execute(f"SELECT * FROM {table}") == []
        await call(memory.close)
