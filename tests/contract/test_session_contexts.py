"""Sessions as context managers: their contents, and the data that their end deletes."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from counting import Costs, RoundTrips
from database import database
from langchain_core.messages import HumanMessage
from session_blocks import EVERYTHING, NOTHING, START, Block, Clock, fill, left, opened

from langchain_agentmem import (
    AgentMemory,
    InvalidInputError,
    InvalidTypeError,
    Retention,
    StorageBusyError,
    StorageClosedError,
)
from langchain_agentmem.arguments.caching import ReadCache
from langchain_agentmem.errors import UnsupportedValueError

# The end of a session


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock.time)
    return clock


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


# The contents of a session


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
