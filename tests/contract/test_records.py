"""The records of agents: saved once, never changed, found by agent, session, user, status and time."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from counting import Costs
from langchain_core.messages import HumanMessage

from langchain_agentmem import AgentMemory, ConfigurationError, InvalidInputError, InvalidTypeError, Retention
from langchain_agentmem.errors import UnsupportedValueError

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


def steps(records: Any) -> list[int]:
    return [one.record["step"] for one in records]


async def test_a_record_is_returned_as_it_was_saved(memory, call, clock):
    clock.now += 1.5
    record_id = await call(
        memory.records.save,
        "analytics_agent",
        {"input": {"q": "émile"}, "output": [1, 2.5, None, True], "empty": {}},
        session_id="campaign-1",
        user_id="alice@example.com",
        status="failed",
        started_at=START,
        duration=timedelta(seconds=1.25),
    )
    (found,) = await call(memory.records.query)
    assert found.record == {"input": {"q": "émile"}, "output": [1, 2.5, None, True], "empty": {}}
    assert (found.id, found.agent, found.status, found.duration) == (record_id, "analytics_agent", "failed", 1.25)
    assert (found.session_id, found.user_id) == ("campaign-1", "alice@example.com")
    assert (found.started_at, found.created_at) == (START, START + timedelta(seconds=1.5))


async def test_a_record_states_its_own_status(memory, call):
    for record, expected in (({}, "success"), ({"status": "retried"}, "retried"), ({"status": 7}, "success")):
        record_id = await call(memory.records.save, "a", record)
        assert [one.status for one in await call(memory.records.query) if one.id == record_id] == [expected]
    await call(memory.records.save, "a", {"status": "success"}, status="checked")
    assert len(await call(memory.records.query, status="checked")) == 1


async def test_records_are_found_by_what_they_belong_to(memory, call, clock):
    for step in range(8):
        clock.now += 60
        await call(
            memory.records.save,
            "writer" if step % 2 else "critic",
            {"step": step, "status": "success" if step < 6 else "failed"},
            session_id=["monday", None][step % 4 // 2],
            user_id="alice" if step < 4 else None,
        )

    async def found(**wanted: Any) -> list[int]:
        return steps(await call(memory.records.query, **wanted))

    minute = timedelta(minutes=1)
    assert await found() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert await found(newest_first=False, limit=3) == [0, 1, 2]
    assert await found(agent="writer") == [7, 5, 3, 1]
    assert await found(user_id="alice") == [3, 2, 1, 0]
    assert await found(user_id=None) == [7, 6, 5, 4]
    assert await found(session_id="monday") == [5, 4, 1, 0]
    assert await found(session_id="monday", user_id="alice") == [1, 0]
    assert await found(status="failed", agent="critic") == [6]
    assert await found(since=START + 3 * minute, until=START + 6 * minute) == [4, 3, 2]
    assert await found(since="2027-01-15T08:08:00") == [7]
    assert await found(until=START + minute) == []
    assert await found(agent="nobody") == []


async def test_all_records_come_page_by_page(memory, call):
    for step in range(23):
        await call(memory.records.save, "a", {"step": step}, user_id=str(step % 3), session_id=[None, "s"][step % 2])
    for newest_first in (True, False):
        seen: list[int] = []
        after = None
        while page := await call(memory.records.query, limit=5, after=after, newest_first=newest_first):
            seen += steps(page)
            after = page[-1].id
        assert sorted(seen) == list(range(23))
        assert seen == steps(await call(memory.records.query, limit=None, newest_first=newest_first))
        assert steps(await call(memory.records.query, limit=sys.maxsize, newest_first=newest_first)) == seen


async def test_a_page_stays_within_the_time_that_was_asked_for(memory, call, clock):
    ids = []
    for step in range(6):
        ids.append(await call(memory.records.save, "a", {"step": step}))
        clock.now += 1
    end = START + timedelta(seconds=4)
    assert steps(await call(memory.records.query, until=end, after=ids[5])) == [3, 2, 1, 0]
    assert steps(await call(memory.records.query, until=end, after=ids[2])) == [1, 0]
    assert steps(await call(memory.records.query, since=end, after=ids[1], newest_first=False)) == [4, 5]


async def test_a_session_takes_its_records_with_it(memory, call):
    for user in ("alice", None):
        await call(memory.records.save, "a", {"step": 1}, session_id="s", user_id=user)
    await call(memory.records.save, "a", {"step": 2})
    (info,) = await call(memory.sessions.list, user_id="alice")
    assert (info.session_id, info.message_count, info.title) == ("s", 0, None)
    assert await call(memory.sessions.delete, "s", user_id="alice")
    assert steps(await call(memory.records.query)) == [2, 1]
    await call(memory.records.save, "a", {"step": 3}, session_id="s", user_id="alice")
    assert steps(await call(memory.records.query, session_id="s", user_id="alice")) == [3]


async def test_records_expire_with_their_session(url, call, clock):
    with AgentMemory.from_url(url, ttl=60) as memory:
        await call(memory.records.save, "a", {"step": 0})
        await call(memory.records.save, "a", {"step": 1}, session_id="s")
        clock.now += 50
        await call(memory.records.save, "a", {"step": 2}, session_id="s")
        clock.now += 50
        assert steps(await call(memory.records.query)) == [2, 1, 0]
        clock.now += 10
        assert steps(await call(memory.records.query)) == [0]
        assert await call(memory.records.query, session_id="s") == []
        await call(memory.history("s").add_messages, [HumanMessage("again")])
        assert steps(await call(memory.records.query)) == [0]
        clock.now += 60
        assert await call(memory.sweep) == 1


async def test_a_record_makes_a_session_live_longer(url, call, clock):
    with AgentMemory.from_url(url, ttl=60) as memory:
        await call(memory.history("s").add_messages, [HumanMessage("hi")])
        clock.now += 50
        await call(memory.records.save, "a", {"step": 1}, session_id="s")
        clock.now += 50
        assert await call(memory.history("s").count) == 1
        (info,) = await call(memory.sessions.list)
        assert (info.updated_at, info.message_count) == (START + timedelta(seconds=50), 1)


async def test_the_end_of_a_session_deletes_the_records_of_its_policy(url, call):
    policies = {None: Retention(), "draft": Retention("session"), "scratch": Retention("single_run")}
    with AgentMemory.from_url(url, retention=policies) as memory:
        for agent in ("draft", "scratch", "critic"):
            await call(memory.records.save, agent, {}, session_id="s")
            await call(memory.records.save, agent, {})
        await call(memory.sessions.end, "s")
        assert [one.agent for one in await call(memory.records.query, session_id="s")] == ["critic"]
        assert len(await call(memory.records.query)) == 4


async def test_a_saved_record_takes_one_transaction(memory, call, monkeypatch):
    await call(memory.records.save, "a", {}, session_id="s")
    costs = Costs(memory, monkeypatch)
    await call(memory.records.save, "a", {}, session_id="s")
    ((kind, statements),) = costs.reset()
    assert kind == "write"
    assert statements == (3 if memory.backend.name == "sqlite" else 1)
    await call(memory.records.query, session_id="s", user_id=None)
    assert costs.reset() == [("read", 1)]


async def test_tenants_have_their_own_records(url, call):
    with AgentMemory.from_url(url) as ours, AgentMemory.from_url(url, tenant="other") as theirs:
        await call(ours.records.save, "a", {"step": 1}, session_id="s")
        assert await call(theirs.records.query) == []
        assert await call(theirs.sessions.list) == []


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"agent": ""}, InvalidInputError, "agent must not be empty"),
        ({"agent": None}, InvalidTypeError, "agent must be a string"),
        ({"record": "text"}, UnsupportedValueError, "record must be a mapping"),
        ({"record": {"output": b"x"}}, UnsupportedValueError, r"^record\['output'\] is of type bytes"),
        ({"record": {"at": datetime(2026, 1, 1, tzinfo=UTC)}}, UnsupportedValueError, "isoformat"),
        ({"status": ""}, InvalidInputError, "status must not be empty"),
        ({"status": 5}, InvalidTypeError, "status must be a string"),
        ({"session_id": ""}, InvalidInputError, "session_id must not be empty"),
        ({"user_id": 7}, InvalidTypeError, "user_id must be a string"),
        ({"duration": -1}, InvalidInputError, "duration must be at least 0"),
        ({"duration": float("nan")}, InvalidInputError, "duration must be at least 0"),
        ({"duration": "1"}, InvalidTypeError, "duration must be a timedelta"),
        ({"started_at": "yesterday"}, InvalidInputError, "started_at must be a datetime"),
    ],
    ids=repr,
)
async def test_a_wrong_record_is_refused(sqlite_memory, call, arguments, error, text):
    given = {"agent": "a", "record": {}, **arguments}
    with pytest.raises(error, match=text):
        await call(sqlite_memory.records.save, **given)
    assert await call(sqlite_memory.records.query) == []
    assert await call(sqlite_memory.sessions.list) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"limit": 0}, InvalidInputError),
        ({"after": "5"}, InvalidInputError),
        ({"since": 5.5j}, InvalidTypeError),
        ({"newest_first": "no"}, InvalidTypeError),
        ({"user_id": ""}, InvalidInputError),
        ({"agent": 3}, InvalidTypeError),
    ],
    ids=repr,
)
async def test_a_wrong_query_is_refused(sqlite_memory, call, arguments, error):
    (name,) = arguments
    with pytest.raises(error, match=name):
        await call(sqlite_memory.records.query, **arguments)


async def test_records_become_a_data_frame(sqlite_memory, call):
    save = sqlite_memory.records.save
    ids = [await call(save, "writer", {"n": 1}, duration=1.5), await call(save, "critic", {"n": 2}, session_id="s")]
    frame = (await call(sqlite_memory.records.query)).to_pandas()
    assert list(frame.index) == ids[::-1]
    assert list(frame["agent"]) == ["critic", "writer"]
    assert frame["duration"].sum() == 1.5
    assert frame["record"].iloc[0] == {"n": 2}
    empty = (await call(sqlite_memory.records.query, agent="nobody")).to_pandas()
    assert list(empty.columns) == list(frame.columns)
    assert len(empty) == 0


def test_a_missing_pandas_is_named(sqlite_memory, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match=r"to_pandas\(\) needs the extra \[pandas\]"):
        sqlite_memory.records.query().to_pandas()


def test_a_notebook_shows_records_as_a_table(sqlite_memory):
    for step in range(30):
        sqlite_memory.records.save("<b>", {"step": step}, session_id="s")
    page = sqlite_memory.records.query()._repr_html_()
    assert page.startswith("<table><caption>The first 20 of 30 records</caption>")
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "Records(SqliteBackend" in repr(sqlite_memory.records)
