"""Storage programs side by side: their reads share round trips, on every backend."""

from __future__ import annotations

import time

import pytest
from counting import Costs, RoundTrips

from langchain_agentmem import InvalidInputError, StorageError
from langchain_agentmem.backends.redis.scripts import Invoke, Script
from langchain_agentmem.programs import Compute, Fetch, Read, arun, one_statement, run, storage_program, together


@pytest.fixture
def drive(call):
    """Run a program sync or async, as `call` does."""

    class Runner:
        def read(self, program):
            return run(program)

        async def aread(self, program):
            return await arun(program)

    return lambda program: call(Runner().read, program)


def reads(memory):
    """Return three reads of three tables: messages, items and a summary."""
    engine, store = memory._histories.engine, memory.store.engine
    messages, items = memory.backend.messages, memory.backend.items
    key, now = engine.key("s"), time.time()
    return [
        lambda: messages.window(key, None, 10, now),
        lambda: items.get(store.tenant, [(("a",), "k"), (("b",), "missing")], now),
        lambda: messages.summary(key, None, now),
    ]


def side_by_side(memory, programs):
    return iter(Read(memory.backend, together(programs)))


async def test_reads_side_by_side_are_one_round_trip(memory, drive, monkeypatch):
    memory.history("s").add_user_message("hello")
    memory.store.put(("a",), "k", {"n": 1})
    await drive(side_by_side(memory, [make() for make in reads(memory)]))  # open connections
    costs, trips = Costs(memory, monkeypatch), RoundTrips(monkeypatch)
    (window, found, summary) = await drive(side_by_side(memory, [make() for make in reads(memory)]))
    assert [row.position for row in window] == [window[0].position]
    assert found[0] is not None
    assert found[0].key == "k"
    assert (found[1], summary) == (None, None)
    (cost,) = costs.reset()
    assert cost == ("read", 2 if memory.backend.name == "sqlite" else 1)  # SQLite's window is two statements
    assert trips.count == (1 if memory.backend.name == "postgres" else 0)


async def test_each_result_is_that_of_the_program_alone(memory, drive):
    memory.history("s").add_user_message("hello")
    memory.store.put(("a",), "k", {"n": 1})
    alone = [await drive(iter(Read(memory.backend, make()))) for make in reads(memory)]
    assert await drive(side_by_side(memory, [make() for make in reads(memory)])) == alone
    assert await drive(side_by_side(memory, [])) == []
    one, *_ = reads(memory)
    assert await drive(side_by_side(memory, [one()])) == alone[:1]


async def test_programs_that_are_several_share_the_round_trip(memory, drive, monkeypatch):
    memory.history("s").add_user_message("hello")
    one, two, three = reads(memory)
    alone = [await drive(iter(Read(memory.backend, make()))) for make in (one, two, three)]
    costs = Costs(memory, monkeypatch)
    nested = await drive(side_by_side(memory, [together([one(), two()]), three(), together([two()])]))
    assert nested == [alone[:2], alone[2], [alone[1]]]
    assert costs.reset() == [("read", 2 if memory.backend.name == "sqlite" else 1)]  # SQLite's window is two statements


async def test_programs_of_different_length_end_side_by_side(memory, drive):
    make, *_ = reads(memory)

    @storage_program
    def twice():
        first = yield from make()
        total = yield from Compute(True, sum, [1, 2])
        return len(first), total, len((yield from make()))

    memory.history("s").add_user_message("hello")
    results = await drive(side_by_side(memory, [twice(), make(), twice()]))
    assert (results[0], len(results[1]), results[2]) == ((1, 3, 1), 1, (1, 3, 1))


async def test_an_error_of_one_program_is_raised_and_the_memory_goes_on(memory, drive):
    make, *_ = reads(memory)
    closed = []

    @storage_program
    def failing():
        yield from make()
        raise InvalidInputError("no")

    @storage_program
    def other():
        try:
            yield from make()
            yield from make()
        finally:
            closed.append(True)

    with pytest.raises(InvalidInputError, match="no"):
        await drive(side_by_side(memory, [other(), failing()]))
    assert closed
    assert await drive(side_by_side(memory, [make(), make()])) == [[], []]


async def test_an_error_of_the_database_is_raised_and_the_memory_goes_on(memory, drive):
    make, _, summary = reads(memory)

    @one_statement
    def broken():
        if memory.backend.name == "redis":
            return (
                yield from Invoke(Script("broken", "nothing", "return redis.call('NO')", "0" * 40), ["agentmem:{a}:b"])
            )
        return (yield from Fetch("SELECT broken"))

    with pytest.raises(StorageError):
        await drive(side_by_side(memory, [make(), broken(), summary()]))
    assert await drive(side_by_side(memory, [make(), make()])) == [[], []]
