"""Calls that an exception breaks off at any point: no slot, no answer and no transaction is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pytest
from database import database
from examples import stride
from langgraph.store.base import GetOp, PutOp
from patience import PATIENCE
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

import langchain_agentmem
from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.postgres.slots import Slot, Slots, TimeLimit
from langchain_agentmem.backends.postgres.transactions import Do
from langchain_agentmem.programs import together

TRACED = {
    str(Path(langchain_agentmem.__file__).parent / name)
    for name in (
        *("backends/failures.py", "backends/lifetimes.py"),
        *(
            f"backends/postgres/{part}.py"
            for part in ("driver", "leases", "pipelines", "slots", "sources", "transactions", "waits")
        ),
    )
}

SOURCES = ("own", "pool", "connection", "connection-without-autocommit")


class Stopped(Exception):
    """What a signal handler raises."""


@contextlib.contextmanager
def opened(source: str, url: str) -> Iterator[AgentMemory]:
    """A memory with one connection of some kind."""
    base, _, schema = url.partition("?schema=")
    if source == "own":
        with AgentMemory.from_url(f"{url}&pool_size=1") as memory:
            yield memory
    elif source == "pool":
        settings = {"autocommit": True}
        with ConnectionPool(base, kwargs=settings, min_size=1, max_size=1, timeout=PATIENCE, open=True) as pool:
            yield AgentMemory.from_connection(pool, schema=schema)
    else:
        with psycopg.connect(base, autocommit=source == "connection") as connection:
            yield AgentMemory.from_connection(connection, schema=schema)
            assert connection.info.transaction_status == TransactionStatus.IDLE


class Breaking:
    """Raises an exception at one of the lines that a call runs through."""

    def __init__(self, at: int, error: type[BaseException] = Stopped) -> None:
        self.at = at
        self.error = error
        self.lines = 0

    def __enter__(self) -> Breaking:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        return self._line if frame.f_code.co_filename in TRACED else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                raise self.error
        return self._line


def one_statement(memory: AgentMemory, number: int) -> None:
    memory.store.put(("a",), "k", {"n": number})


def transaction(memory: AgentMemory, number: int) -> None:
    memory.store.batch([GetOp(("a",), "k"), PutOp(("a",), "k", {"n": number}), PutOp(("a",), "other", None)])


def pipeline(memory: AgentMemory, number: int) -> None:
    memory.store.put(("a",), "k", {"n": number})
    items, tenant = memory.backend.items, memory.store.engine.tenant
    keys = [(("a",), "k")]
    for rows in memory.backend.read(together([items.get(tenant, keys, 0.0), items.get(tenant, keys, 0.0)])):
        assert [row and row.value for row in rows] == [f'{{"n": {number}}}']


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("call", [one_statement, transaction])
@pytest.mark.parametrize("source", SOURCES)
def test_an_exception_at_any_line_leaves_nothing_behind(postgres_url, source, call):
    with opened(source, postgres_url) as memory:
        first = 1 - stride()
        call(memory, first)
        with Breaking(at=0) as counting:
            call(memory, first)
        assert counting.lines > 50
        for at in range(1, counting.lines + 1, stride()):
            with contextlib.suppress(Stopped), Breaking(at):
                call(memory, at)
            stored = memory.store.get(("a",), "k")
            assert stored is not None
            assert stored.value["n"] in (at - stride(), at)
            call(memory, at)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # psycopg's own generators
@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt])
@pytest.mark.parametrize("source", SOURCES)
def test_an_exception_at_any_line_of_a_pipeline_leaves_nothing_behind(postgres_url, source, error, caplog):
    with opened(source, postgres_url) as memory:
        pipeline(memory, 0)
        with Breaking(at=0) as counting:
            pipeline(memory, 0)
        for at in range(1, counting.lines + 1, stride()):
            with contextlib.suppress(error), Breaking(at, error):
                pipeline(memory, at)
            pipeline(memory, at)
    caplog.clear()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt])
@pytest.mark.parametrize("source", SOURCES)
def test_signals_at_any_moment_leave_nothing_behind(postgres_url, source, error, caplog):
    def stop(*_: object) -> None:
        raise error

    chance = random.Random(1)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with opened(source, postgres_url) as memory:
            for number in range(20):
                memory.store.put(("n",), str(number), {"n": number})
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline:
                with contextlib.suppress(error):
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-4, 2e-3))
                    transaction(memory, 0)
                    memory.store.get(("n",), "0")
                    pipeline(memory, 0)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                number = chance.randrange(20)
                item = memory.store.get(("n",), str(number))
                assert item is not None
                assert item.value == {"n": number}
    finally:
        signal.signal(signal.SIGALRM, before)
        caplog.clear()


def stop_when_a_call_waits(url: str) -> None:
    """Send a signal to the main thread when a call waits for a lock."""
    with database(url) as one:
        query = f"SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{one.schema}%'"
        while not one.execute(query):
            time.sleep(0.01)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)


def test_a_call_that_waits_for_a_lock_is_cancelled_on_the_server(postgres_url):
    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with opened("own", postgres_url) as memory, database(postgres_url) as other:
            one_statement(memory, 0)
            other.execute("BEGIN")
            other.execute("SELECT * FROM store FOR UPDATE")
            stopping = threading.Thread(target=stop_when_a_call_waits, args=(postgres_url,))
            stopping.start()
            with pytest.raises(Stopped):
                one_statement(memory, 1)
            stopping.join(PATIENCE)
            other.execute("COMMIT")
            assert memory.store.get(("a",), "k").value == {"n": 0}
    finally:
        signal.signal(signal.SIGALRM, before)


class Cancelling:
    """Cancels the current task at one of the steps of a call, before or after the step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = self.steps = 0
        perform = Do.aperform

        async def counted(step: Any) -> Any:
            self.steps += 1
            if self.steps == self.at:
                asyncio.current_task().cancel()
            return await perform(step)

        monkeypatch.setattr(Do, "aperform", counted)


@contextlib.asynccontextmanager
async def aopened(source: str, url: str) -> Any:
    base, _, schema = url.partition("?schema=")
    if source == "own":
        async with AgentMemory.from_url(f"{url}&pool_size=1") as memory:
            yield memory
    elif source == "pool":
        settings = {"autocommit": True}
        async with AsyncConnectionPool(
            base, kwargs=settings, min_size=1, max_size=1, timeout=PATIENCE, open=False
        ) as pool:
            yield AgentMemory.from_connection(pool, schema=schema)
    else:
        async with await psycopg.AsyncConnection.connect(base, autocommit=source == "connection") as connection:
            yield AgentMemory.from_connection(connection, schema=schema)
            assert connection.info.transaction_status == TransactionStatus.IDLE


async def atransaction(memory: AgentMemory, number: int) -> None:
    await memory.store.abatch([GetOp(("a",), "k"), PutOp(("a",), "k", {"n": number}), PutOp(("a",), "other", None)])


async def apipeline(memory: AgentMemory, number: int) -> None:
    await memory.store.aput(("a",), "k", {"n": number})
    items, tenant = memory.backend.items, memory.store.engine.tenant
    keys = [(("a",), "k")]
    for rows in await memory.backend.aread(together([items.get(tenant, keys, 0.0), items.get(tenant, keys, 0.0)])):
        assert [row and row.value for row in rows] == [f'{{"n": {number}}}']


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # psycopg's own generators
@pytest.mark.parametrize("acall", [atransaction, apipeline])
@pytest.mark.parametrize("source", SOURCES)
async def test_a_task_that_is_cancelled_at_any_step_leaves_nothing_behind(postgres_url, source, acall, monkeypatch):
    cancelling = Cancelling(monkeypatch)
    async with aopened(source, postgres_url) as memory:
        await acall(memory, 0)
        cancelling.steps = 0
        await acall(memory, 0)
        steps = cancelling.steps
        assert steps >= 4
        for at in range(1, steps + 1):
            cancelling.at, cancelling.steps = at, 0
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.create_task(acall(memory, at))
            cancelling.at = 0
            stored = await memory.store.aget(("a",), "k")
            assert stored.value["n"] in (at - 1, at)
            await acall(memory, at)


@pytest.mark.parametrize("source", SOURCES)
async def test_tasks_that_are_cancelled_while_they_wait_leave_nothing_behind(postgres_url, source):
    async with aopened(source, postgres_url) as memory:
        await atransaction(memory, 0)
        with database(postgres_url) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM store FOR UPDATE")
            waiting = [asyncio.create_task(atransaction(memory, number)) for number in range(1, 6)]
            _, pending = await asyncio.wait(waiting, timeout=0.3)
            assert len(pending) == 5
            for task in waiting:
                task.cancel()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)
            other.execute("COMMIT")
        assert (await memory.store.aget(("a",), "k")).value == {"n": 0}
        await atransaction(memory, 1)


def test_a_slot_whose_caller_is_gone_is_given_to_the_next():
    slots = Slots(1)
    limit = TimeLimit(PATIENCE)
    lost, next_ = Slot(slots), Slot(slots)
    langchain_agentmem.programs.run(lost.take(limit))
    waiting = threading.Thread(target=lambda: langchain_agentmem.programs.run(next_.take(limit)))
    waiting.start()
    del lost
    gc.collect()
    waiting.join(PATIENCE)
    assert next_.is_taken
