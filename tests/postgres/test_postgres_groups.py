"""Group commit: concurrent writes of checkpoints on one event loop share transactions, and each succeeds or fails alone."""

from __future__ import annotations

import asyncio
import signal
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest

from langchain_agentmem import AgentMemory, StorageError
from langchain_agentmem.backends.postgres import groups
from langchain_agentmem.backends.postgres.slots import TimeLimit
from langchain_agentmem.backends.postgres.transactions import Transaction
from langchain_agentmem.programs import Fetch, in_own_transaction, short_write

TASKS = 48


@pytest.fixture
async def memory(postgres_url: str) -> AsyncIterator[AgentMemory]:
    async with AgentMemory.from_url(f"{postgres_url}&timeout=20&pool_size=6") as memory:
        await memory.checkpointer.aget_tuple(config(0))
        yield memory


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the programs of all transactions of event loops."""
    begun: list[str] = []
    original = Transaction.aperform

    async def counted(step: Transaction) -> Any:
        begun.append(step.program.__name__)
        return await original(step)

    monkeypatch.setattr(Transaction, "aperform", counted)
    return begun


def config(number: int) -> Any:
    return {"configurable": {"thread_id": str(number), "checkpoint_ns": ""}}


def checkpoint(number: int) -> Any:
    return {
        "v": 4,
        "id": f"{number:06}",
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {"log": [f"{'words ' * 60}{number}"]},
        "channel_versions": {"log": "1"},
        "versions_seen": {},
    }


def put(memory: AgentMemory, number: int) -> Any:
    return memory.checkpointer.aput(config(number), checkpoint(number), {}, {"log": "1"})


def connected(memory: AgentMemory) -> Any:
    """A connection of another writer."""
    settings = memory.backend.driver.settings
    return psycopg.connect(settings.conninfo, options=f"-c search_path={settings.schema}")


async def stored(memory: AgentMemory) -> list[int]:
    return sorted(int(info.thread_id) for info in await memory.checkpointer.athreads())


async def test_concurrent_writes_share_transactions(memory, transactions):
    await asyncio.gather(*(put(memory, at) for at in range(TASKS)))
    assert len(transactions) < TASKS / 4
    for at in range(TASKS):
        found = await memory.checkpointer.aget_tuple(config(at))
        assert found is not None
        assert found.checkpoint["channel_values"] == checkpoint(at)["channel_values"]


async def test_a_lone_write_is_one_transaction_of_one_statement(memory, transactions):
    await put(memory, 1)
    assert transactions == ["put"]


@short_write
def failing(number: int) -> Any:
    yield Fetch("SELECT 1 / (%s::int - %s::int)", (number, number))


async def test_a_write_that_fails_leaves_the_others_of_its_group(memory):
    writes = [memory.backend.awrite(failing(at)) if at % 12 == 5 else put(memory, at) for at in range(TASKS)]
    found = await asyncio.gather(*writes, return_exceptions=True)
    assert [at for at, one in enumerate(found) if isinstance(one, StorageError)] == [5, 17, 29, 41]
    assert await stored(memory) == [at for at in range(TASKS) if at % 12 != 5]


async def test_a_refused_write_leaves_the_others_of_its_group(memory):
    saver = memory.checkpointer
    await put(memory, 1)
    other = {**checkpoint(1), "id": "000002", "channel_values": {"log": ["another " * 60]}}
    writes = [saver.aput(config(1), other, {}, {"log": "1"}), *(put(memory, at) for at in range(2, 20))]
    await asyncio.gather(*writes)
    found = await saver.aget_tuple(config(1))
    assert found.checkpoint["channel_values"] == other["channel_values"]
    assert await stored(memory) == list(range(1, 20))


@pytest.mark.parametrize("cancelled", [0, 1, 7])
async def test_a_cancelled_write_leaves_the_others_of_its_group(memory, cancelled):
    for turns in range(0, 12, 2):
        tasks = [asyncio.create_task(put(memory, 100 * turns + at)) for at in range(16)]
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[cancelled].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [at for at, one in enumerate(found) if isinstance(one, BaseException)] in ([cancelled], [])
        wanted = {100 * turns + at for at in range(16)} - {100 * turns + cancelled}
        assert wanted <= set(await stored(memory))


async def test_a_lock_of_another_writer_stops_only_the_writes_to_its_thread(memory, monkeypatch):
    monkeypatch.setattr(groups, "_LOCK_MILLISECONDS", 100)
    await put(memory, 3)
    with connected(memory) as other:
        other.execute("SELECT 1 FROM agentmem_threads FOR UPDATE")
        tasks = [asyncio.create_task(put(memory, at)) for at in range(TASKS)]
        done, waiting = await asyncio.wait([task for at, task in enumerate(tasks) if at != 3])
        assert len(done) == TASKS - 1
        assert not waiting
        assert not tasks[3].done()
        other.rollback()
        await asyncio.gather(*tasks)
    assert await stored(memory) == list(range(TASKS))


async def test_writes_that_wait_for_a_lock_alone_do_not_stop_the_writes_to_other_threads(memory, transactions):
    await put(memory, 3)
    begun = len(transactions)
    with connected(memory) as other:
        other.execute("SELECT 1 FROM agentmem_threads FOR UPDATE")
        waiting = []
        for at in range(groups.MOST_GROUPS):
            waiting.append(asyncio.create_task(put(memory, 3)))
            for _ in iter(lambda: len(transactions) <= begun + at, False):  # noqa: B023 (called at once)
                await asyncio.sleep(0)
        await put(memory, 4)
        assert not any(task.done() for task in waiting)
        other.rollback()
        await asyncio.gather(*waiting)
    assert await stored(memory) == [3, 4]


async def test_a_write_whose_groups_are_always_interrupted_is_stored(memory, monkeypatch):
    shared = []

    def interrupted(_: Any, program: Any, limit: Any, operate: Any) -> Any:
        shared.append(program)
        yield from operate(program)  # the transaction is committed, but the caller that ran it was cancelled
        return (yield from operate(program))

    monkeypatch.setattr(groups.Groups, "write", interrupted)
    await put(memory, 1)
    assert len(shared) == 1
    assert await stored(memory) == [1]


def test_a_repeated_write_shares_no_transaction():
    assert failing(1).shares
    assert not in_own_transaction(failing(1)).shares


async def test_writes_to_the_same_threads_do_not_lock_each_other_out(memory):
    saver = memory.checkpointer
    await asyncio.gather(*(put(memory, at) for at in range(8)))
    writes = [
        saver.aput_writes(
            {"configurable": {"thread_id": str(at * 5 % 8), "checkpoint_ns": "", "checkpoint_id": "x"}},
            [("log", f"{at}")],
            f"task-{at}",
        )
        for at in range(120)
    ]
    await asyncio.gather(*writes)
    with connected(memory) as reader:
        assert reader.execute("SELECT count(*) FROM checkpoint_writes").fetchone() == (120,)


async def test_a_write_of_a_closed_memory_is_refused(memory):
    await memory.aclose()
    with pytest.raises(StorageError, match="closed"):
        await put(memory, 1)


# Threads


@pytest.fixture
def sync_memory(postgres_url: str) -> Iterator[AgentMemory]:
    with AgentMemory.from_url(f"{postgres_url}&timeout=20&pool_size=6") as memory:
        memory.checkpointer.get_tuple(config(0))
        yield memory


def outcomes(writes: list[Callable[[], Any]]) -> list[Any]:
    """Start writes in threads while `MOST_GROUPS` others run, and return what becomes of each."""

    def outcome(write: Callable[[], Any]) -> Any:
        try:
            return write()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(writes)) as pool:
        return list(pool.map(outcome, writes))


@pytest.fixture
def busy(sync_memory: AgentMemory, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Groups begin when all writes of the test wait. The sizes of the groups."""
    sizes: list[int] = []
    together, all_wait = groups.together, threading.Event()
    own = sync_memory.backend.driver._thread_groups
    leader = groups._Leader()
    own._leaders.update((-at, weakref.ref(leader)) for at in range(1, groups.MOST_GROUPS + 1))

    def counted(programs: Any) -> Any:
        sizes.append(len(programs))
        return together(programs)

    def release(expected: int) -> None:
        while len(own.waiting) < expected:
            assert not all_wait.wait(0.01)
        own._end(leader)
        own._leaders.clear()
        own.appoint()

    monkeypatch.setattr(groups, "together", counted)
    sync_memory.release = lambda expected: threading.Thread(target=release, args=(expected,)).start()
    return sizes


def test_writes_of_threads_that_wait_share_a_transaction(sync_memory, busy):
    saver = sync_memory.checkpointer
    sync_memory.release(12)
    found = outcomes([partial(saver.put, config(at), checkpoint(at), {}, {"log": "1"}) for at in range(12)])
    assert not [one for one in found if isinstance(one, Exception)]
    assert sum(busy) > 8
    for at in range(12):
        assert saver.get_tuple(config(at)).checkpoint["channel_values"] == checkpoint(at)["channel_values"]


def test_a_write_of_a_thread_that_fails_leaves_the_others_of_its_group(sync_memory, busy):
    saver, backend = sync_memory.checkpointer, sync_memory.backend
    sync_memory.release(12)
    writes: list[Callable[[], Any]] = [
        partial(saver.put, config(at), checkpoint(at), {}, {"log": "1"}) for at in range(12)
    ]
    writes[4] = lambda: backend.write(failing(4))
    found = outcomes(writes)
    assert [at for at, one in enumerate(found) if isinstance(one, StorageError)] == [4]
    assert sorted(int(info.thread_id) for info in saver.threads()) == [at for at in range(12) if at != 4]
    assert busy


def test_the_exception_of_a_signal_handler_ends_the_call_that_leads_a_group():
    class TimeIsUp(Exception):
        pass

    def handler(*_: Any) -> None:
        raise TimeIsUp

    def operate(program: Any) -> Any:
        run.append(program.__name__)
        signal.raise_signal(signal.SIGUSR1)
        yield from program

    run: list[str] = []
    own, other = groups.Groups(eager=1), groups._Waiter(failing(1), TimeLimit(20))
    own.waiting.append(other)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(TimeIsUp):
            next(own.write(failing(2), TimeLimit(20), operate))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert run == ["together"]
    assert other.outcome is groups._ALONE
    assert own.has_room()
