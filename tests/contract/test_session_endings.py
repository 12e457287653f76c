"""Sessions of several workers, and sessions that end without their worker: timeouts, kills and interruptions."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from multiprocessing.connection import Connection

import pytest
from langchain_core.messages import HumanMessage
from processes import killed
from session_blocks import NOTHING, START, Block, Clock, fill, left, opened

from langchain_agentmem import (
    AgentMemory,
    InvalidInputError,
    Retention,
)
from langchain_agentmem.backends.contract import DoomedSession, StaleScan

# Several workers


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock.time)
    return clock


async def test_the_last_worker_ends_a_session(url, call):
    with AgentMemory.from_url(url) as memory:
        other = memory if url.endswith(":memory:") else AgentMemory.from_url(url)
        ending = Retention("session")
        async with opened(call, memory.session("s", retention=ending)) as outer:
            await fill(call, outer, "writer")
            async with opened(call, other.session("s", retention=ending)) as inner:
                await fill(call, inner, "critic")
            assert (await left(call, memory, "writer", "critic"))["messages"] == ["by writer", "by critic"]
            assert (await left(call, memory, "writer", "critic"))["records"] == ["writer", "critic"]
        assert await left(call, memory, "writer", "critic") == NOTHING
        await call(other.close)


async def test_many_tasks_share_a_session(memory):
    started = asyncio.Event()
    counts = []

    async def work(number: int) -> None:
        async with memory.session("s", retention=Retention("session")) as session:
            await session.history(agent=f"a{number}").aadd_messages([HumanMessage(str(number))])
            if number == 7:
                started.set()
            await started.wait()
            counts.append((await session.asummary()).messages)

    await asyncio.gather(*(work(number) for number in range(8)))
    assert all(count > 0 for count in counts)
    assert await memory.sessions.alist() == []


async def test_an_object_opens_a_session_again(memory, call):
    session = memory.session("s", retention=Retention("session"), context={"goal": "launch"})
    for _ in range(2):
        async with opened(call, session):
            assert await call(session.variables.get, "goal") == "launch"
            with pytest.raises(InvalidInputError, match="Session 's' is open in this object already"):
                await call(Block(session).enter)
        assert await call(memory.sessions.list) == []


# Timeouts


async def test_a_session_without_activity_is_ended_by_the_next_sweep(memory, call, clock):
    session = memory.session("s", retention=Retention("session"), timeout=60)
    await call(Block(session).enter)
    for act in (
        lambda: call(session.history(agent="writer").add_messages, [HumanMessage("by writer")]),
        lambda: call(session.variables.set, "draft", "of writer", agent="writer"),
        lambda: call(session.records.save, "writer", {"by": "writer"}),
    ):
        clock.now += 50
        await act()
        assert await call(memory.sweep) == 0
    clock.now += 59.5
    assert await call(memory.sweep) == 0
    assert (await left(call, memory, "writer"))["records"] == ["writer"]
    clock.now += 0.5
    assert await call(memory.sweep) == 1
    assert await left(call, memory, "writer") == NOTHING
    assert await call(memory.sessions.list) == []
    assert await call(memory.sweep) == 0
    await call(Block(session).leave)


async def test_the_next_opening_ends_an_abandoned_session(memory, call, clock):
    first = memory.session("s", retention=Retention("session"), timeout=timedelta(minutes=1), metadata={"run": 1})
    await call(Block(first).enter)
    await fill(call, first, "writer")
    clock.now += 59
    async with opened(call, memory.session("s", retention=Retention("session"), timeout=60)) as second:
        assert second.metadata == {"run": 1}
        assert await call(second.history(agent="writer").count) == 1
    clock.now += 60
    async with opened(call, memory.session("s", retention=Retention("session"))) as third:
        assert third.metadata == {}
        assert await call(third.history(agent="writer").count) == 0
        await fill(call, third, "critic")
        await call(Block(first).leave)
        assert (await left(call, memory, "critic"))["messages"] == ["by critic"]
    assert await left(call, memory, "critic") == NOTHING


async def test_the_end_at_the_timeout_follows_the_policies(memory, call, clock):
    policies = {None: Retention("session"), "critic": Retention()}
    await call(Block(session := memory.session("s", retention=policies, timeout=60)).enter)
    await fill(call, session, None, "writer", "critic")
    await call(session.set_retention, "writer", Retention())
    await fill(call, session, "writer")
    clock.now += 61
    assert await call(memory.sweep) == 1
    assert await left(call, memory, None, "writer", "critic") == {
        "messages": ["by critic", "by writer"],
        "variables": ["of writer", "of critic"],
        "records": ["critic", "writer"],
    }


async def test_a_worker_that_continues_after_the_timeout_leaves_nothing_behind(memory, call, clock):
    session = memory.session("s", retention=Retention("session"), timeout=60, context={"goal": "launch"})
    async with opened(call, session):
        clock.now += 61
        assert await call(memory.sweep) == 1
        await fill(call, session, None, "writer")
    assert await left(call, memory, None, "writer") == NOTHING
    assert await call(memory.variables.all, session_id="s") == {}
    assert await call(memory.sessions.list) == []


async def test_a_worker_that_continues_after_a_deletion_leaves_what_its_policy_says(memory, call):
    policies = {None: Retention("session"), "critic": Retention()}
    async with opened(call, memory.session("s", retention=policies)) as session:
        await call(memory.sessions.delete, "s")
        await fill(call, session, None, "writer", "critic")
    assert await left(call, memory, None, "writer", "critic") == {
        "messages": ["by critic"],
        "variables": ["of critic"],
        "records": ["critic"],
    }


async def test_an_open_session_is_not_cleaned_up(memory, call, clock):
    endless = memory.session("endless", timeout=None)
    await call(Block(endless).enter)
    await call(Block(memory.session("abandoned", timeout=60)).enter)
    async with opened(call, memory.session("s", timeout=600, context={"goal": "launch"})):
        clock.now += 61
        assert (await call(memory.cleanup, older_than=1, dry_run=True)).sessions == 1
        assert (await call(memory.cleanup, older_than=1)).sessions == 1
        assert {info.session_id for info in await call(memory.sessions.list)} == {"s", "endless"}
        assert await call(memory.variables.get, "goal", session_id="s") == "launch"
    await call(Block(endless).leave)
    clock.now += 61
    assert (await call(memory.cleanup, older_than=1)).sessions == 2


async def test_a_session_that_is_opened_after_it_was_listed_is_not_cleaned_up(memory, call, clock):
    await call(memory.history("s").add_messages, [HumanMessage("a")])
    scan = StaleScan("default", clock.now + 1, clock.now)
    rows, _ = memory.backend.read(memory.backend.stale.sessions(scan))
    await call(Block(memory.session("s")).enter)  # at the same time: the last use is the same
    assert memory.backend.write(memory.backend.stale.delete_sessions([DoomedSession(rows[0])], clock.now)) == [False]
    assert (await call(memory.sessions.get, "s")).message_count == 1


async def test_a_session_without_timeout_stays_open(memory, call, clock):
    await call(Block(session := memory.session("s", retention=Retention("session"), timeout=None)).enter)
    await fill(call, session, "writer")
    clock.now += 10**8
    assert await call(memory.sweep) == 0
    assert (await left(call, memory, "writer"))["messages"] == ["by writer"]


async def test_more_abandoned_sessions_than_one_batch_are_all_ended(memory, call, clock):
    for number in range(130):
        await call(Block(memory.session(str(number), retention=Retention("session"))).enter)
    clock.now += 3601
    assert await call(memory.sweep) == 130
    assert await call(memory.sessions.list) == []


def work_for_ever(url: str, sender: Connection) -> None:
    with AgentMemory.from_url(url) as memory, memory.session("s", retention=Retention("session")) as session:
        for number in range(10**9):
            session.history(agent="writer").add_user_message("by writer")
            session.records.save("writer", {"by": "writer"})
            session.variables.set("draft", "of writer", agent="writer")
            sender.send(number)


@pytest.mark.parametrize("by", ["sweep", "opening"])
async def test_a_killed_process_leaves_nothing_behind(lasting_url, call, monkeypatch, by):
    killed(work_for_ever, lasting_url, 3)
    with AgentMemory.from_url(lasting_url) as memory:
        assert await call(memory.sweep) == 0
        assert len((await left(call, memory, "writer"))["messages"]) >= 3
        later = time.time() + 3601
        monkeypatch.setattr("time.time", lambda: later)
        if by == "sweep":
            assert await call(memory.sweep) == 1
        else:
            async with opened(call, memory.session("s", retention=Retention("session"))) as session:
                assert (await call(session.summary)).messages == 0
        assert await left(call, memory, "writer") == NOTHING
        assert await call(memory.sessions.list) == []


async def test_an_expired_session_is_closed_without_error(url, call, clock):
    with AgentMemory.from_url(url, ttl=60) as memory:
        async with opened(call, memory.session("s", metadata={"n": 1})) as session:
            assert (await call(memory.sessions.get, "s")).expires_at == START + timedelta(seconds=60)
            await fill(call, session, "writer")
            clock.now += 61
            assert await call(memory.sessions.get, "s") is None
            assert (await call(session.summary)).messages == 0
        assert await call(memory.sessions.list) == []


# Interruptions


async def test_an_opening_that_is_interrupted_leaves_no_open_session(memory, call, monkeypatch):
    def interrupted():
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(memory._histories.engine.sweeper, "after_write", interrupted)
    session = memory.session("s", context={"g": 1}, timeout=None, retention=Retention("session"))
    with pytest.raises(KeyboardInterrupt):
        await call(Block(session).enter)
    assert await call(memory.sessions.get, "s") is None
    assert await call(memory.variables.all, session_id="s") == {}
    monkeypatch.undo()
    async with session:
        assert session.variables.get("g") == 1


async def test_an_opening_that_is_cancelled_anywhere_leaves_no_open_session(memory):
    for steps in range(40):
        session = memory.session(f"s{steps}", context={"g": 1}, timeout=None, retention=Retention("session"))
        opening = asyncio.ensure_future(session.__aenter__())
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        try:
            await opening
        except asyncio.CancelledError:
            assert await memory.sessions.aget(session.id) is None
        else:
            await session.aend()
