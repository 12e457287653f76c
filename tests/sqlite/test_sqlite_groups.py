"""Group commit: concurrent writes of event loops share transactions, and each succeeds or fails alone."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import SearchOp
from patience import PATIENCE

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.contract import ItemPut
from langchain_agentmem.backends.sqlite.driver import SqliteDriver
from langchain_agentmem.backends.sqlite.line import Line
from langchain_agentmem.errors import StorageBusyError, StorageClosedError
from langchain_agentmem.programs import Execute, Fetch, run, storage_program


class Interruption(BaseException):
    """Raised by a signal handler."""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[AgentMemory]:
    with AgentMemory.from_url(f"sqlite:///{tmp_path}/groups.db?timeout=0.5") as memory:
        memory.store.put(("warm",), "up", {"n": 1})
        yield memory


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The beginnings of all transactions."""
    begun: list[str] = []
    original = SqliteDriver._begin

    def begin(driver: SqliteDriver, cursor: Any, kind: str) -> None:
        begun.append(kind)
        original(driver, cursor, kind)

    monkeypatch.setattr(SqliteDriver, "_begin", begin)
    return begun


def checkpoint(number: int) -> Any:
    return {
        "v": 4,
        "id": f"{number:06}",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {"log": [f"{'words ' * 60}{number}"]},
        "channel_versions": {"log": "1"},
        "versions_seen": {},
    }


def config(number: int) -> Any:
    return {"configurable": {"thread_id": str(number), "checkpoint_ns": ""}}


async def test_concurrent_writes_share_transactions(memory, transactions):
    saver = memory.checkpointer
    await asyncio.gather(*(saver.aput(config(at), checkpoint(at), {}, {"log": "1"}) for at in range(64)))
    assert transactions.count("BEGIN IMMEDIATE") < 16
    for at in range(64):
        found = await saver.aget_tuple(config(at))
        assert found is not None
        assert found.checkpoint["channel_values"] == checkpoint(at)["channel_values"]


def failing(text: str) -> Any:
    yield from Execute(
        "INSERT INTO agentmem_threads (tenant, thread_id, created_at, updated_at) VALUES ('x', ?, 1, 1)", (text,)
    )
    raise ValueError(text)


def wrong() -> Any:
    yield from Fetch("SELECT * FROM no_such_table")


async def test_a_write_that_fails_leaves_the_others_of_its_group(memory, transactions):
    saver, backend = memory.checkpointer, memory.backend
    writes: list[Any] = []
    for at in range(24):
        writes.append(saver.aput(config(at), checkpoint(at), {}, {"log": "1"}))
        writes.append(backend.awrite(failing(str(at)) if at % 2 else wrong()))
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(one).__name__ for one in results[1::2]] == ["StorageError", "ValueError"] * 12
    assert not [one for one in results[::2] if isinstance(one, BaseException)]
    assert transactions.count("BEGIN IMMEDIATE") < 30
    assert len(memory.checkpointer.threads()) == 24
    (count,) = backend.read(Fetch("SELECT count(*) FROM agentmem_threads WHERE tenant = 'x'").__iter__())
    assert count == (0,)


async def test_writes_of_a_group_fail_if_another_process_holds_the_file(memory, tmp_path):
    saver = memory.checkpointer
    other = sqlite3.connect(tmp_path / "groups.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writes = (saver.aput(config(at), checkpoint(at), {}, {"log": "1"}) for at in range(8))
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(one) for one in results} == {StorageBusyError}
    other.execute("ROLLBACK")
    other.close()
    await saver.aput(config(1), checkpoint(1), {}, {"log": "1"})
    assert len(saver.threads()) == 1


async def test_a_cancelled_write_leaves_the_others_of_its_group(memory):
    saver = memory.checkpointer
    tasks = [asyncio.create_task(saver.aput(config(at), checkpoint(at), {}, {"log": "1"})) for at in range(16)]
    await asyncio.sleep(0)
    tasks[9].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [at for at, one in enumerate(results) if isinstance(one, BaseException)] in ([9], [])
    stored = {int(info.thread_id) for info in saver.threads()}
    assert stored >= set(range(16)) - {9}


async def test_a_write_that_a_signal_interrupts_does_not_stop_the_writes_after_it(memory, monkeypatch):
    saver, submit = memory.checkpointer, ThreadPoolExecutor.submit

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        raise Interruption

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(Interruption):
        await saver.aput(config(1), checkpoint(1), {}, {"log": "1"})
    await asyncio.wait_for(saver.aput(config(2), checkpoint(2), {}, {"log": "1"}), 20)


async def test_a_write_to_a_closed_memory_is_refused(memory):
    await memory.aclose()
    with pytest.raises(StorageClosedError):
        await memory.checkpointer.aput(config(1), checkpoint(1), {}, {"log": "1"})


def test_loops_in_several_threads_share_transactions(memory, transactions):
    async def write(base: int) -> None:
        saver = memory.checkpointer
        await asyncio.gather(
            *(saver.aput(config(at), checkpoint(at), {}, {"log": "1"}) for at in range(base, base + 20))
        )

    async def both() -> None:
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, write(base)) for base in (0, 100, 200)))

    asyncio.run(both())
    assert len(memory.checkpointer.threads()) == 60


# Threads


@storage_program
def stored(number: int, fails: bool) -> Any:
    yield from Execute(
        "INSERT INTO agentmem_threads (tenant, thread_id, created_at, updated_at) VALUES ('x', ?, 1, 1)", (str(number),)
    )
    if fails:
        raise ValueError(number)
    return number


def waiting_behind_a_writer(memory: AgentMemory, writes: list[Any]) -> list[Any]:
    """Start writes in threads while another write runs, and return what becomes of each."""
    line, running, go_on = memory.backend.driver._writing, threading.Event(), threading.Event()

    def slow() -> Any:
        running.set()
        assert go_on.wait(PATIENCE)
        yield from Fetch("SELECT 1")

    def outcome(write: Any) -> Any:
        try:
            return write()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(writes) + 1) as pool:
        first = pool.submit(memory.backend.write, slow())
        assert running.wait(PATIENCE)
        others = []
        for number, write in enumerate(writes):
            others.append(pool.submit(outcome, write))
            for _ in iter(lambda: len(line._tickets) < number + 2, False):  # noqa: B023 (called at once)
                assert not others[-1].done()
        go_on.set()
        first.result()
        return [one.result() for one in others]


def test_writes_of_threads_that_wait_share_a_transaction(memory, transactions):
    saver = memory.checkpointer
    writes = [partial(saver.put, config(at), checkpoint(at), {}, {"log": "1"}) for at in range(12)]
    assert not [one for one in waiting_behind_a_writer(memory, writes) if isinstance(one, Exception)]
    assert transactions.count("BEGIN IMMEDIATE") == 2
    for at in range(12):
        found = saver.get_tuple(config(at))
        assert found is not None
        assert found.checkpoint["channel_values"] == checkpoint(at)["channel_values"]


def test_a_write_of_a_thread_that_fails_leaves_the_others_of_its_group(memory, transactions):
    backend = memory.backend
    writes = [lambda at=at: backend.write(stored(at, at % 3 == 1)) for at in range(12)]
    found = waiting_behind_a_writer(memory, writes)
    assert [type(one) for one in found[1::3]] == [ValueError] * 4
    assert [one for one in found if isinstance(one, int)] == [at for at in range(12) if at % 3 != 1]
    (kept,) = backend.read(Fetch("SELECT count(*) FROM agentmem_threads WHERE tenant = 'x'").__iter__())
    assert kept == (8,)
    assert transactions.count("BEGIN IMMEDIATE") == 3  # the group begins again once


def test_the_first_write_of_a_group_fails_alone(memory):
    backend = memory.backend
    found = waiting_behind_a_writer(memory, [lambda at=at: backend.write(stored(at, at == 0)) for at in range(4)])
    assert [type(one) for one in found] == [ValueError, int, int, int]


def test_writes_are_not_lost_if_the_transaction_of_their_group_is_interrupted(memory, monkeypatch):
    backend, finish, interrupted, runs = memory.backend, Line.finish, [], []

    def interrupting(line: Line, jobs: Any) -> None:
        if len(jobs) > 1 and not interrupted:
            interrupted.append(len(jobs))
            raise KeyboardInterrupt
        finish(line, jobs)

    @storage_program
    def put(number: int) -> Any:
        runs.append(number)
        yield from Execute("UPDATE agentmem_threads SET updated_at = ? WHERE tenant = 'y'", (number,))
        return number

    def write(number: int) -> Any:
        try:
            return backend.write(put(number))
        except KeyboardInterrupt:
            return "interrupted"

    monkeypatch.setattr(Line, "finish", interrupting)
    found = waiting_behind_a_writer(memory, [partial(write, number) for number in range(5)])
    assert interrupted == [5]
    assert sorted(map(str, found)) == ["1", "2", "3", "4", "interrupted"]
    assert sorted(runs) == [0, 1, 2, 3, 4]  # the transaction was committed: none runs again


@pytest.mark.parametrize("careful", [False, True], ids=["together", "in savepoints"])
def test_the_exception_of_a_signal_handler_ends_the_call_that_it_interrupts(memory, careful):
    backend, line, begun, results = memory.backend, memory.backend.driver._writing, threading.Event(), {}
    main = threading.main_thread()

    class TimeIsUp(Exception):
        pass

    def handler(*_: Any) -> None:
        raise TimeIsUp

    @storage_program
    def first() -> Any:
        begun.set()
        for _ in iter(lambda: len(line._tickets) < (3 if careful else 2), False):
            assert not results
        yield Fetch("SELECT 1")
        return "first"

    @storage_program
    def failing() -> Any:
        yield Fetch("SELECT 1")
        raise ValueError

    @storage_program
    def other() -> Any:
        yield Fetch("SELECT 1")
        if threading.current_thread() is main:
            signal.raise_signal(signal.SIGUSR1)
        return "other"

    def write(name: str, program: Any) -> None:
        assert begun.wait(PATIENCE)
        try:
            results[name] = backend.write(program)
        except Exception as error:
            results[name] = type(error)

    programs = {"failing": failing(), "other": other()} if careful else {"other": other()}
    threads = [threading.Thread(target=write, args=each) for each in programs.items()]
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for thread in threads:
            thread.start()
        with pytest.raises(TimeIsUp):
            backend.write(first())
    finally:
        for thread in threads:
            thread.join(PATIENCE)
        signal.signal(signal.SIGUSR1, before)
    assert results == ({"failing": ValueError, "other": "other"} if careful else {"other": "other"})


def test_the_writes_of_an_interrupted_group_are_free_before_the_next_writer_begins(memory, monkeypatch):
    backend, leave, states = memory.backend, Line.leave, []
    mine: list[Any] = []

    @storage_program
    def interrupted(number: int) -> Any:
        mine.append(number)
        yield Fetch("SELECT 1")
        if mine == [0, 1]:
            raise KeyboardInterrupt
        return number

    def leaving(line: Line, ticket: Any) -> None:
        if line is backend.driver._writing and mine == [0, 1] and not states:
            states.extend(bool(one.job._open) for one in line._tickets if one is not ticket)
        leave(line, ticket)

    def write(number: int) -> Any:
        try:
            return backend.write(interrupted(number))
        except KeyboardInterrupt:
            return "interrupted"

    monkeypatch.setattr(Line, "leave", leaving)
    found = waiting_behind_a_writer(memory, [partial(write, number) for number in range(3)])
    assert found == ["interrupted", 1, 2]
    assert states == [True, True]


def test_a_thread_that_waits_too_long_writes_nothing(memory, tmp_path):
    other = sqlite3.connect(tmp_path / "groups.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    saver = memory.checkpointer

    def write(at: int) -> Any:
        try:
            return saver.put(config(at), checkpoint(at), {}, {"log": "1"})
        except StorageBusyError as error:
            return error

    with ThreadPoolExecutor(6) as pool:
        assert {type(one) for one in pool.map(write, range(6))} == {StorageBusyError}
    other.execute("ROLLBACK")
    other.close()
    assert saver.threads() == []


def test_a_search_in_a_transaction_that_was_rolled_back_leaves_nothing_behind(memory):
    store, backend = memory.store, memory.backend
    store.search(("a",), query="pizza")
    batch = run(store.engine.prepare([SearchOp(("a",), query="pizza")]))

    def failing() -> Any:
        yield from backend.items.put("default", [ItemPut(("a",), "lost", '{"text":"pizza"}', None, "pizza")], 1e9)
        answers, _ = yield from store.engine._transaction(batch, (), 1e9)
        assert len(answers[0]) == 1
        raise Interruption

    with pytest.raises(Interruption):
        backend.write(failing())
    store.put(("a",), "new", {"text": "pasta"})
    assert [item.key for item in store.search(("a",), query="pasta")] == ["new"]
    assert store.search(("a",), query="pizza") == []
