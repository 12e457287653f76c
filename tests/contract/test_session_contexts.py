"""Sessions as context managers: what a session contains, what its end deletes, and when it ends without its worker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any
from uuid import UUID

import pytest
from counting import Costs, RoundTrips
from database import database
from langchain_core.messages import HumanMessage
from processes import killed

from langchain_agentmem import (
    AgentMemory,
    InvalidInputError,
    InvalidTypeError,
    Retention,
    StorageBusyError,
    StorageClosedError,
)
from langchain_agentmem.arguments.caching import ReadCache
from langchain_agentmem.backends.contract import DoomedSession, StaleScan
from langchain_agentmem.errors import UnsupportedValueError
from langchain_agentmem.lifecycle.session import Session

START = datetime(2027, 1, 15, 8, 0, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START.timestamp()

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock.time)
    return clock


class Block:
    """`with` and `async with` as pairs of methods, for `call`."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def enter(self) -> Session:
        return self.session.__enter__()

    async def aenter(self) -> Session:
        return await self.session.__aenter__()

    def leave(self, error: BaseException | None = None) -> bool | None:
        return self.session.__exit__(error and type(error), error, None)

    async def aleave(self, error: BaseException | None = None) -> bool | None:
        return await self.session.__aexit__(error and type(error), error, None)


@asynccontextmanager
async def opened(call: Any, session: Session) -> AsyncIterator[Session]:
    block = Block(session)
    assert await call(block.enter) is session
    raised: BaseException | None = None
    try:
        yield session
    except BaseException as error:
        raised = error
    assert not await call(block.leave, raised)
    if raised is not None:
        raise raised


async def fill(call: Any, session: Session, *agents: str | None) -> None:
    for agent in agents:
        await call(session.history(agent=agent).add_messages, [HumanMessage(f"by {agent}")])
        await call(session.variables.set, "draft", f"of {agent}", agent=agent)
        if agent is not None:
            await call(session.records.save, agent, {"by": agent})


async def left(call: Any, memory: AgentMemory, *agents: str | None, **key: Any) -> dict[str, list[Any]]:
    """What is stored in session `s`, by kind."""
    key = {"session_id": "s", **key}
    user_id = key.get("user_id")
    messages = await call(memory.history(key["session_id"], user_id=user_id).get_recent, 100)
    variables = [await call(memory.variables.get, "draft", agent=agent, **key) for agent in agents]
    records = await call(memory.records.query, session_id=key["session_id"], user_id=user_id, newest_first=False)
    return {
        "messages": [message.content for message in messages],
        "variables": [value for value in variables if value is not None],
        "records": [one.record["by"] for one in records],
    }


NOTHING: dict[str, list[Any]] = {"messages": [], "variables": [], "records": []}
EVERYTHING = {
    "messages": ["by None", "by writer"],
    "variables": ["of None", "of writer"],
    "records": ["writer"],
}


# What the end of a session deletes


@pytest.mark.parametrize(
    ("policy", "expected"), [("single_run", NOTHING), ("session", NOTHING), ("persistent", EVERYTHING)]
)
async def test_the_data_of_a_session_follows_its_policy(memory, call, policy, expected):
    async with opened(call, memory.session("s", retention=Retention(policy), metadata={"n": 1})) as session:
        await fill(call, session, None, "writer")
        assert [one.content for one in await call(session.history(agent=None).get_recent)] == EVERYTHING["messages"]
        assert await call(session.variables.get, "draft", agent="writer") == "of writer"
        assert len(await call(session.records.query)) == 1
    assert await left(call, memory, None, "writer") == expected
    listed = [(info.session_id, info.metadata) for info in await call(memory.sessions.list)]
    assert listed == ([("s", {"n": 1})] if policy == "persistent" else [])


async def test_the_data_of_a_session_follows_the_policy_of_its_agent(url, call):
    configured = {None: Retention("session"), "critic": Retention(), "scratch": Retention("single_run")}
    with AgentMemory.from_url(url, retention=configured) as memory:
        await call(memory.history("s", agent="critic").add_messages, [HumanMessage("before")])
        async with opened(call, memory.session("s", user_id=None)) as session:
            await fill(call, session, None, "writer", "critic", "scratch")
        assert await left(call, memory, "critic", "writer", "scratch") == {
            "messages": ["before", "by critic"],
            "variables": ["of critic"],
            "records": ["critic"],
        }
        overridden = {None: Retention(), "writer": Retention("session")}
        async with opened(call, memory.session("t", user_id="alice", retention=overridden)) as session:
            await fill(call, session, None, "writer", "critic")
        assert await left(call, memory, None, "writer", "critic", session_id="t", user_id="alice") == {
            "messages": ["by None", "by critic"],
            "variables": ["of None", "of None", "of critic"],
            "records": ["critic"],
        }


async def test_the_end_of_a_session_leaves_other_sessions_and_scopes(memory, call):
    for user_id in ("alice", None):
        await call(
            memory.history("s", user_id=user_id, retention=Retention("session")).add_messages, [HumanMessage("a")]
        )
    await call(memory.variables.set, "draft", "of alice", user_id="alice")
    await call(memory.records.save, "writer", {"by": "nobody"})
    async with opened(call, memory.session("s", user_id="bob", retention=Retention("session"))) as session:
        await fill(call, session, None)
    assert [await call(memory.history("s", user_id=user).count) for user in ("alice", None, "bob")] == [1, 1, 0]
    assert await call(memory.variables.get, "draft", user_id="alice") == "of alice"
    assert len(await call(memory.records.query)) == 1


async def test_messages_that_stay_keep_their_session(memory, call):
    await call(memory.history("s").add_messages, [HumanMessage("stays")])
    async with opened(call, memory.session("s", retention=Retention("session"), metadata={"n": 1})) as session:
        await fill(call, session, "writer")
    assert (await left(call, memory, "writer"))["messages"] == ["stays"]
    info = await call(memory.sessions.get, "s")
    assert (info.message_count, info.metadata) == (1, {"n": 1})


async def test_an_error_in_the_block_ends_the_session_too(memory, call):
    async def work() -> None:
        async with opened(call, memory.session("s", retention=Retention("session"))) as session:
            await fill(call, session, "writer")
            raise KeyError("broken")

    with pytest.raises(KeyError, match="broken") as raised:
        await work()
    assert not hasattr(raised.value, "__notes__")
    assert await left(call, memory, "writer") == NOTHING


async def test_an_error_of_the_closing_does_not_replace_that_of_the_block(url, call, caplog):
    memory = AgentMemory.from_url(url)

    async def work() -> None:
        async with opened(call, memory.session("s")):
            await call(memory.close)
            raise KeyError("broken")

    with pytest.raises(KeyError, match="broken") as raised, caplog.at_level(logging.WARNING):
        await work()
    (note,) = raised.value.__notes__
    assert "Session 's' could not be closed: StorageClosedError: This memory is closed." in note
    assert "Session 's' could not be closed" in caplog.text


async def test_an_error_of_the_closing_is_raised(url, call):
    memory = AgentMemory.from_url(url)
    with pytest.raises(StorageClosedError):
        async with opened(call, memory.session("s")):
            await call(memory.close)


async def test_a_session_is_ended_before_the_end_of_the_block(memory, call):
    async with opened(call, memory.session("s", retention=Retention("session"))) as session:
        await fill(call, session, "writer")
        await call(session.end)
        assert await left(call, memory, "writer") == NOTHING
        await call(memory.history("s", retention=Retention("session")).add_messages, [HumanMessage("later")])
    assert await call(memory.history("s").count) == 1


async def test_a_closing_that_failed_is_repeated(memory, call, monkeypatch):
    async with opened(call, memory.session("s", retention=Retention("session"))) as session:
        await fill(call, session, "writer")
        with monkeypatch.context() as patched:
            patched.setattr(memory.backend, "write", broken)
            patched.setattr(memory.backend, "awrite", broken)
            with pytest.raises(StorageBusyError):
                await call(session.end)
        assert (await left(call, memory, "writer"))["messages"] == ["by writer"]
    assert await left(call, memory, "writer") == NOTHING


def broken(program: Any) -> Any:
    raise StorageBusyError("another writer holds the database")


async def test_a_session_that_was_deleted_stays_deleted(memory, call):
    async with opened(call, memory.session("s")) as session:
        await fill(call, session, "writer")
        await call(memory.sessions.delete, "s")
    assert await call(memory.sessions.list) == []
    assert await left(call, memory, "writer") == NOTHING


@pytest.mark.parametrize("by", ["exit", "deletion"])
async def test_a_deleted_session_leaves_no_trace(lasting_url, call, by):
    secret = "alice-4711"
    with AgentMemory.from_url(lasting_url) as memory:
        retention = Retention("session" if by == "exit" else "persistent")
        session = memory.session(
            "s", user_id=secret, context={"v": secret}, metadata={"m": secret}, retention=retention
        )
        async with opened(call, session):
            await call(session.history(agent=secret).add_messages, [HumanMessage(secret)])
            await call(session.variables.set, "w", secret, agent=secret, ttl=60)
            await call(session.records.save, secret, {"r": secret}, status=secret)
        if by == "deletion":
            assert await call(memory.sessions.delete, "s", user_id=secret)
        await call(memory.close)
    with database(lasting_url) as opened_database:
        assert [name for name, data in opened_database.everything().items() if secret.encode() in data] == []


# Several workers


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


# What a session contains


async def test_the_context_becomes_variables(memory, call, clock):
    context = {"goal": "launch", "steps": [1, {"a": None}]}
    async with opened(call, memory.session("s", user_id="alice", context=context)) as session:
        assert await call(session.variables.all) == {**context, "session_started": START.isoformat()}
        assert await call(memory.variables.get, "goal", user_id="alice", session_id="s") == "launch"
        await call(session.variables.set_many, {"goal": "relaunch", "n": 1}, ttl=60)
        assert await call(session.variables.get, "goal") == "relaunch"
        await call(memory.variables.set, "plan", "relaunch", user_id="bob", session_id="s")
        (found,) = await call(session.variables.search, "relaunches", 1)
        assert (found.name, found.scope, found.user_id) == ("goal", "session", "alice")
        assert await call(session.variables.delete, "n")
        assert await call(session.variables.get, "n", 0) == 0
        assert await call(session.variables.clear) == 3


async def test_a_session_invalidates_cached_variables(url, call):
    with AgentMemory.from_url(url, read_cache=ReadCache()) as memory:
        for goal in ("launch", "relaunch"):
            async with opened(call, memory.session("s", context={"goal": goal}, retention=Retention("session"))):
                assert await call(memory.variables.get, "goal", session_id="s") == goal
            assert await call(memory.variables.get, "goal", session_id="s") is None


async def test_the_agent_of_a_session_is_the_default(memory, call):
    async with opened(call, memory.session("s", agent="writer")) as session:
        await call(session.variables.set, "tone", "formal")
        await call(session.history().add_messages, [HumanMessage("a")])
        await call(session.history(agent=None).add_messages, [HumanMessage("b")])
        assert await call(session.history().count) == 1
        assert await call(memory.variables.get, "tone", session_id="s", agent="writer") == "formal"
        assert await call(memory.variables.get, "tone", session_id="s") is None


async def test_a_session_without_id_gets_one(memory, call):
    first, second = memory.session(), memory.session()
    assert UUID(first.id) != UUID(second.id)
    async with opened(call, first):
        assert [info.session_id for info in await call(memory.sessions.list)] == [first.id]


async def test_metadata_is_stored_with_the_session(memory, call):
    given = {"user": "john@example.com", "tags": ["a"]}
    async with opened(call, memory.session("s", metadata=given)) as session:
        session.metadata["tags"].append("b")
        assert session.metadata == given
        assert await call(session.update_metadata, {"step": 2}) == {**given, "step": 2}
        assert (await call(memory.sessions.get, "s")).metadata == {**given, "step": 2}
    async with opened(call, memory.session("s")) as session:
        assert session.metadata == {**given, "step": 2}
        await call(memory.sessions.delete, "s")
        with pytest.raises(InvalidInputError, match="Session 's' does not exist any more"):
            await call(session.update_metadata, {"step": 3})
    async with opened(call, memory.session("s", metadata={})) as session:
        assert session.metadata == {}


async def test_one_session_is_found_by_its_id(memory, call, clock):
    assert await call(memory.sessions.get, "s") is None
    async with opened(call, memory.session("s", user_id="alice")):
        info = await call(memory.sessions.get, "s", user_id="alice")
        assert (info.session_id, info.user_id, info.message_count, info.title) == ("s", "alice", 0, None)
        assert info.created_at == info.updated_at == START
        assert info.metadata == {}
        assert await call(memory.sessions.get, "s") is None
        await call(memory.history("s", user_id="alice").add_messages, [HumanMessage("Where shall we go?")])
    assert (await call(memory.sessions.get, "s", user_id="alice")).title == "Where shall we go?"
    assert await call(memory.sessions.list) == [await call(memory.sessions.get, "s", user_id="alice")]


async def test_a_summary_counts_what_a_session_contains(memory, call, clock):
    async with opened(call, memory.session("s", retention={"scratch": Retention("single_run")})) as session:
        empty = await call(session.summary)
        assert (empty.messages, empty.agents, empty.records) == (0, (), {})
        assert empty.first_activity == empty.last_activity == START
        clock.now += 5
        await fill(call, session, None, "writer", "critic")
        await call(session.history(agent="scratch").add_messages, [HumanMessage("note")])
        await call(session.records.save, "judge", {}, status="failed")
        found = await call(session.summary)
        assert (found.messages, found.agents) == (4, ("critic", "judge", "scratch", "writer"))
        assert found.records == {"success": 2, "failed": 1}
        assert (found.first_activity, found.last_activity) == (START, START + timedelta(seconds=5))
        assert "SessionOverview" in found._repr_html_()


async def test_the_messages_of_a_single_run_are_shared_by_its_histories(memory, call):
    async with opened(call, memory.session("s", retention=Retention("single_run", max_messages=2))) as session:
        for number in range(3):
            for agent in ("a", "b"):
                await call(session.history(agent=agent).add_messages, [HumanMessage(f"{agent}{number}")])
        assert [one.content for one in await call(session.history(agent="a").get_recent)] == ["a1", "a2"]
        assert [one.content for one in await call(session.history(agent="b").get_recent)] == ["b1", "b2"]
        assert [one.content for one in await call(session.history().get_recent)] == ["a1", "b1", "a2", "b2"]
        await call(session.history(agent="a").clear)
        assert [one.content for one in await call(session.history().get_recent)] == ["b1", "b2"]
        assert await call(memory.history("s").count) == 0
        history = session.history()
    assert await call(history.count) == 0
    assert await call(memory.sessions.list) == []


async def test_the_retention_of_an_agent_is_set_while_running(memory, call):
    async with opened(call, memory.session("s")) as session:
        await fill(call, session, "writer", "critic")
        await call(session.set_retention, "critic", Retention("session"))
        await fill(call, session, "critic")
    assert await left(call, memory, "writer", "critic") == {
        "messages": ["by writer", "by critic"],
        "variables": ["of writer"],
        "records": ["writer", "critic"],
    }
    async with opened(call, memory.session("s")) as session:
        await call(session.set_retention, None, Retention("session"))
        await fill(call, session, "writer")
    assert (await left(call, memory, "writer"))["messages"] == ["by writer", "by critic"]
    with pytest.raises(InvalidTypeError, match="retention must be a Retention"):
        await call(session.set_retention, "writer", None)


# Costs


async def test_an_opening_and_a_closing_are_one_transaction_each(memory, call, monkeypatch):
    await call(memory.sessions.list)
    costs = Costs(memory, monkeypatch)
    session = memory.session("s", context={"goal": "launch"}, metadata={"n": 1}, retention=Retention("session"))
    await call(Block(session).enter)
    ((kind, statements),) = costs.reset()
    assert kind == "write"
    assert statements == 1 or memory.backend.name == "sqlite"
    await call(Block(session).leave)
    ((kind, statements),) = costs.reset()
    assert kind == "write"
    # A session that is deleted leaves the indexes of Redis, which are in other slots.
    assert statements == 1 or memory.backend.name in {"sqlite", "redis"}


async def test_an_opening_and_a_closing_are_one_round_trip_to_postgres(postgres_url, call, monkeypatch):
    with AgentMemory.from_url(postgres_url) as memory:
        await call(memory.sessions.list)
        trips = RoundTrips(monkeypatch)
        session = memory.session("s", context={"goal": "launch"}, retention=Retention("session"))
        await call(Block(session).enter)
        assert trips.reset() == 1
        await call(Block(session).leave)
        assert trips.reset() == 1
        await call(memory.close)


# Wrong arguments


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"session_id": ""}, InvalidInputError, "session_id must not be empty"),
        ({"user_id": 5}, InvalidTypeError, "user_id must be a string"),
        ({"agent": ""}, InvalidInputError, "agent must not be empty"),
        ({"context": "goal"}, InvalidTypeError, "context must be a mapping"),
        ({"metadata": ["a"]}, UnsupportedValueError, "metadata must be a mapping"),
        ({"metadata": {"at": START}}, UnsupportedValueError, "isoformat"),
        ({"timeout": 0}, InvalidInputError, "timeout must be more than 0"),
        ({"timeout": "60"}, InvalidTypeError, "timeout must be a timedelta"),
        ({"retention": "session"}, InvalidTypeError, "retention must be a Retention"),
        ({"retention": {"writer": "session"}}, InvalidTypeError, "retention must be a Retention"),
        ({"context": {"": 1}}, InvalidInputError, "name must not be empty"),
        ({"context": {"at": START}}, UnsupportedValueError, "The value of 'at'"),
    ],
    ids=repr,
)
async def test_a_wrong_session_is_refused(sqlite_memory, call, arguments, error, text):
    with pytest.raises(error, match=text):
        sqlite_memory.session(**{"session_id": "s", **arguments})
    assert await call(sqlite_memory.sessions.list) == []


async def test_workers_that_add_metadata_lose_none_of_each_other(memory, call):
    sessions = [memory.session("s", metadata={"n": 0}), *(memory.session("s") for _ in range(5))]
    for one in sessions:
        await one.__aenter__()
    for at, one in enumerate(sessions):
        await call(one.update_metadata, {f"of {at}": at})
    found = (await call(memory.sessions.get, "s")).metadata
    assert found == {"n": 0, **{f"of {at}": at for at in range(6)}}
    assert sessions[-1].metadata == found
    await asyncio.gather(*(one.aupdate_metadata({f"again {at}": at}) for at, one in enumerate(sessions)))
    assert (await call(memory.sessions.get, "s")).metadata == {**found, **{f"again {at}": at for at in range(6)}}
    for one in sessions:
        await one.__aexit__(None, None, None)


@pytest.mark.parametrize("name", ["history", "variables", "records", "update_metadata"])
def test_a_session_must_be_opened_first(sqlite_memory, name):
    session = sqlite_memory.session("s")
    with pytest.raises(InvalidInputError, match=r"Session 's' is not open. Write `with memory.session\('s'\) as"):
        {
            "history": lambda: session.history(),
            "variables": lambda: session.variables,
            "records": lambda: session.records,
            "update_metadata": lambda: session.update_metadata({}),
        }[name]()


async def test_a_session_cannot_be_used_after_its_end(memory, call):
    session = memory.session("s", retention=Retention("session"))
    async with opened(call, session):
        variables, records = session.variables, session.records
        await call(session.end)
        uses = [
            lambda: session.history(),
            lambda: session.variables,
            lambda: session.records,
            lambda: call(session.update_metadata, {}),
            lambda: call(variables.set, "v", 1),
            lambda: call(variables.get, "v"),
            lambda: call(records.save, "writer", {}),
            lambda: call(records.query),
        ]
        for use in uses:
            with pytest.raises(InvalidInputError, match="Session 's' is not open"):
                await use()
    with pytest.raises(InvalidInputError, match="Session 's' is not open"):
        await call(variables.set, "v", 1)
    assert await call(memory.sessions.list) == []


def test_the_representation_of_a_session_shows_its_state(sqlite_memory):
    session = sqlite_memory.session("s", user_id="alice")
    assert repr(session) == "Session('s', user_id='alice', not opened yet)"
    with session:
        assert repr(session) == "Session('s', user_id='alice', open)"
        assert repr(session.records) == "SessionRecords('s', user_id='alice')"
        assert repr(session.variables) == "SessionVariables('s', user_id='alice', agent=None)"
    assert repr(session) == "Session('s', user_id='alice', closed)"


async def test_an_opening_that_is_interrupted_leaves_no_open_session(memory, call, monkeypatch):
    def interrupted():
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(memory._histories.engine.sweeper, "after_write", interrupted)
    session = memory.session("s", context={"g": 1}, timeout=None, retention=Retention("session"))
    with pytest.raises(KeyboardInterrupt):
        await call(memory_entry(session).enter)
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


def memory_entry(session):
    """Return an object whose `enter` and `aenter` open a session."""

    class Entry:
        def enter(self):
            return session.__enter__()

        async def aenter(self):
            return await session.__aenter__()

    return Entry()
