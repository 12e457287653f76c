"""Chat history: how much of a session is kept, and for how long."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity import without_ids
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_agentmem import AgentMemHistory, AgentMemory, InvalidInputError, InvalidTypeError, Retention


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock.time)
    return clock


class Window:
    """`messages` and `aget_messages` as a pair of methods, for `call`."""

    def __init__(self, history: AgentMemHistory) -> None:
        self.history = history

    def read(self) -> list[BaseMessage]:
        return self.history.messages

    async def aread(self) -> list[BaseMessage]:
        return await self.history.aget_messages()


def numbered(count: int, start: int = 0) -> list[BaseMessage]:
    return [HumanMessage(str(n)) if n % 2 == 0 else AIMessage(str(n)) for n in range(start, start + count)]


# How much


async def test_no_more_messages_are_kept_than_the_retention_allows(memory, call):
    history = memory.history("s", retention=Retention(max_messages=5))
    for start in range(0, 20, 2):
        await call(history.add_messages, numbered(2, start))
        assert await call(history.count) == min(start + 2, 5)
    assert without_ids(await call(history.get_recent, 100)) == numbered(5, 15)
    assert [entry.position for entry in await call(history.stored)] == [15, 16, 17, 18, 19]


async def test_of_one_large_addition_the_newest_messages_are_kept(memory, call):
    history = memory.history("s", retention=Retention(max_messages=3))
    await call(history.add_messages, numbered(50))
    assert without_ids(await call(history.get_recent, 100)) == numbered(3, 47)
    assert await call(history.count) == 3
    (info,) = await call(memory.sessions.list)
    assert info.message_count == 3


async def test_the_newest_system_message_is_spared_and_older_ones_go(memory, call):
    history = memory.history("s", retention=Retention(max_messages=4))
    await call(history.add_messages, [SystemMessage("old"), HumanMessage("a"), SystemMessage("new"), *numbered(10)])
    kept = without_ids(await call(history.get_recent, 100))
    assert SystemMessage("new") in kept
    assert SystemMessage("old") not in kept
    assert kept[-3:] == numbered(3, 7)
    assert await call(history.count) == len(kept)


async def test_a_spared_system_message_counts_among_those_that_are_kept(memory, call):
    history = memory.history("s", retention=Retention(max_messages=4))
    await call(history.add_messages, [SystemMessage("rules"), *numbered(10)])
    assert without_ids(await call(history.get_recent, 100)) == [SystemMessage("rules"), *numbered(3, 7)]
    assert await call(history.count) == 4


@settings(deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.booleans(), max_size=6), max_size=6), keep=st.integers(2, 8))
async def test_what_is_kept_is_the_newest_and_the_count_is_right(memory, call, batches, keep):
    history = memory.history(str(uuid.uuid4()), retention=Retention(max_messages=keep))
    added: list[BaseMessage] = []
    for batch in batches:
        messages = [
            (SystemMessage if system else HumanMessage)(str(len(added) + at)) for at, system in enumerate(batch)
        ]
        added += messages
        await call(history.add_messages, messages)
    kept = await call(history.get_recent, 1000)
    assert await call(history.count) == len(kept)
    systems = [message for message in added if isinstance(message, SystemMessage)]
    spared = systems[-1:] if systems and systems[-1] not in added[-keep:] else []
    newest = added[len(added) - min(keep - len(spared), len(added)) :]
    assert without_ids(kept) == [*spared, *newest]


async def test_a_limit_on_what_is_kept_is_not_a_limit_on_other_sessions(memory, call):
    await call(memory.history("other").add_messages, numbered(10))
    await call(memory.history("s", retention=Retention(max_messages=2)).add_messages, numbered(10))
    assert await call(memory.history("other").count) == 10
    assert await call(memory.history("s").count) == 2


async def test_one_agents_limit_does_not_delete_the_messages_of_others(url, call):
    with AgentMemory.from_url(url, retention={None: Retention(), "writer": Retention(max_messages=2)}) as memory:
        await call(memory.history("s", agent="critic").add_messages, numbered(6))
        await call(memory.history("s", agent="writer").add_messages, numbered(4))
        assert await call(memory.history("s", agent="critic").count) == 6
        assert without_ids(await call(memory.history("s", agent="writer").get_recent)) == numbered(2, 2)


async def test_one_agents_limit_counts_its_own_messages_only(url, call):
    with AgentMemory.from_url(url, retention={None: Retention(), "writer": Retention(max_messages=3)}) as memory:
        for start in range(0, 8, 2):
            await call(memory.history("s", agent="writer").add_messages, numbered(2, start))
            await call(memory.history("s", agent="critic").add_messages, numbered(4))
            await call(memory.history("s").add_messages, [SystemMessage("rules")])
        assert without_ids(await call(memory.history("s", agent="writer").get_recent)) == numbered(3, 5)
        assert await call(memory.history("s", agent="critic").count) == 16
        assert await call(memory.history("s").count) == 3 + 16 + 4
        assert (await call(memory.sessions.list))[0].message_count == 3 + 16 + 4


# For how long


async def test_a_session_expires_after_its_time(memory, call, clock):
    history = memory.history("s", user_id="u", retention=Retention(ttl=60))
    await call(history.add_messages, numbered(3))
    clock.now += 59.9
    assert await call(history.count) == 3
    (info,) = await call(memory.sessions.list, user_id="u")
    assert info.expires_at == datetime.fromtimestamp(1_800_000_060, UTC)
    clock.now += 0.1
    assert await call(history.count) == 0
    assert await call(Window(history).read) == []
    assert await call(history.get_recent) == []
    assert await call(history.stored) == []
    assert await call(history.pages) == []
    assert await call(memory.sessions.list, user_id="u") == []
    assert not await call(memory.sessions.rename, "s", "title", user_id="u")


async def test_an_agents_messages_expire_with_their_session(memory, call, clock):
    history = memory.history("s", agent="writer", retention=Retention(ttl=60))
    await call(history.add_messages, numbered(3))
    clock.now += 61
    assert await call(history.count) == 0
    assert await call(Window(history).read) == []
    assert await call(history.pages) == []


async def test_a_sliding_time_counts_from_the_last_message(memory, call, clock):
    history = memory.history("s", retention=Retention(ttl=timedelta(seconds=60)))
    for start in range(5):
        await call(history.add_messages, numbered(1, start))
        clock.now += 50
    assert await call(history.count) == 5
    clock.now += 10
    assert await call(history.count) == 0


async def test_reading_does_not_make_a_session_live_longer(memory, call, clock):
    history = memory.history("s", retention=Retention(ttl=60))
    await call(history.add_messages, numbered(1))
    clock.now += 50
    assert without_ids(await call(Window(history).read)) == numbered(1)
    clock.now += 10
    assert await call(Window(history).read) == []


async def test_an_absolute_time_counts_from_the_first_message(memory, call, clock):
    history = memory.history("s", retention=Retention(ttl=60, sliding=False))
    await call(history.add_messages, numbered(1))
    clock.now += 50
    await call(history.add_messages, numbered(1, 1))
    clock.now += 9
    assert await call(history.count) == 2
    clock.now += 1
    assert await call(history.count) == 0


@pytest.mark.parametrize("sliding", [True, False])
async def test_a_session_used_again_after_it_expired_is_a_new_one(memory, call, clock, sliding):
    history = memory.history("s", retention=Retention(ttl=60, sliding=sliding))
    await call(history.add_messages, numbered(4))
    await call(memory.sessions.rename, "s", "old title")
    clock.now += 100
    await call(history.add_messages, numbered(2, 10))
    (first, second) = await call(history.stored)
    assert without_ids([first.message, second.message]) == numbered(2, 10)
    assert [first.position, second.position] == [0, 1]
    (info,) = await call(memory.sessions.list)
    assert (info.title, info.message_count) == ("10", 2)
    assert info.created_at == info.updated_at == datetime.fromtimestamp(clock.now, UTC)
    clock.now += 59
    assert await call(history.count) == 2
    clock.now += 1
    assert await call(history.count) == 0


async def test_an_expired_session_used_again_without_a_time_to_live_stays(memory, call, clock):
    await call(memory.history("s", retention=Retention(ttl=60)).add_messages, numbered(4))
    clock.now += 100
    await call(memory.history("s").add_messages, numbered(1, 4))
    clock.now += 10**9
    assert without_ids(await call(memory.history("s").get_recent)) == numbered(1, 4)


async def test_sweeping_deletes_expired_sessions_and_nothing_else(memory, call, clock):
    for n in range(5):
        await call(memory.history(f"short-{n}", retention=Retention(ttl=60)).add_messages, numbered(2))
    await call(memory.history("long", retention=Retention(ttl=600)).add_messages, numbered(2))
    await call(memory.history("forever").add_messages, numbered(2))
    assert await call(memory.sweep) == 0
    clock.now += 60
    assert await call(memory.sweep) == 5
    assert await call(memory.sweep) == 0
    assert {info.session_id for info in await call(memory.sessions.list)} == {"long", "forever"}
    clock.now -= 60
    assert {info.session_id for info in await call(memory.sessions.list)} == {"long", "forever"}


async def test_more_expired_sessions_than_one_batch_are_all_swept(memory, call, clock):
    for n in range(230):
        memory.history(f"s{n}", retention=Retention(ttl=60)).add_messages(numbered(1))
    clock.now += 60
    assert await call(memory.sweep) == 230


async def test_the_memorys_time_to_live_holds_for_sessions(url, call, clock):
    with AgentMemory.from_url(url, ttl=60) as memory:
        await call(memory.history("s").add_messages, numbered(1))
        await call(memory.get_session_history("t").add_messages, numbered(1))
        clock.now += 60
        assert await call(memory.sessions.list) == []


@pytest.mark.parametrize("retention", [Retention(max_messages=5), {"writer": Retention(max_messages=5)}], ids=repr)
async def test_the_memorys_time_to_live_holds_where_a_retention_says_nothing_of_time(url, call, clock, retention):
    with AgentMemory.from_url(url, ttl=60, retention=retention) as memory:
        await call(memory.history("s", agent="writer").add_messages, numbered(1))
        clock.now += 60
        assert await call(memory.history("s", agent="writer").count) == 0


# Policies


async def test_ending_a_session_deletes_what_is_kept_for_its_length_only(memory, call):
    session, forever = Retention("session"), Retention("persistent")
    await call(memory.history("s", retention=session).add_messages, numbered(2))
    await call(memory.history("s", retention=forever).add_messages, numbered(2, 2))
    await call(memory.history("s", retention=session).add_messages, numbered(2, 4))
    await call(memory.history("other", retention=session).add_messages, numbered(2))
    assert await call(memory.sessions.end, "s") == 4
    assert await call(memory.sessions.end, "s") == 0
    assert without_ids(await call(memory.history("s").get_recent)) == numbered(2, 2)
    assert await call(memory.history("s").count) == 2
    assert await call(memory.history("other").count) == 2


async def test_ending_a_session_that_does_not_exist_is_no_error(memory, call):
    assert await call(memory.sessions.end, "nowhere") == 0


async def test_ending_a_users_session_leaves_another_users(memory, call):
    for user_id in ("a", "b", None):
        history = memory.history("s", user_id=user_id, retention=Retention("session"))
        await call(history.add_messages, numbered(2))
    assert await call(memory.sessions.end, "s", user_id="a") == 2
    assert [await call(memory.history("s", user_id=user_id).count) for user_id in ("a", "b", None)] == [0, 2, 2]


async def test_a_single_run_lives_as_long_as_its_history(memory, call):
    history = memory.history("s", retention=Retention("single_run"))
    await call(history.add_messages, numbered(5))
    await call(history.add_messages, numbered(2, 5))
    assert without_ids(await call(Window(history).read)) == numbered(7)
    assert without_ids(await call(history.get_recent, 3)) == numbered(3, 4)
    assert await call(history.count) == 7
    assert without_ids(await call(history.pages, 3)) == [numbered(3), numbered(3, 3), numbered(1, 6)]
    assert [entry.position for entry in await call(history.stored)] == list(range(7))
    again = memory.history("s", retention=Retention("single_run"))
    assert await call(Window(again).read) == []
    assert await call(again.count) == 0
    assert await call(memory.sessions.list) == []


async def test_a_single_run_is_windowed_and_cleared_like_any_other(memory, call):
    history = memory.history("s", max_messages=3, retention=Retention("single_run"))
    await call(history.add_messages, [SystemMessage("rules"), *numbered(8)])
    assert without_ids(await call(Window(history).read)) == [SystemMessage("rules"), *numbered(2, 6)]
    await call(history.clear)
    assert await call(Window(history).read) == []
    assert await call(history.count) == 0


async def test_a_single_run_keeps_copies_too(memory, call):
    history = memory.history("s", retention=Retention("single_run"))
    message = HumanMessage("a", additional_kwargs={"k": []})
    await call(history.add_messages, [message])
    message.additional_kwargs["k"].append(1)
    assert without_ids(await call(history.get_recent)) == [HumanMessage("a", additional_kwargs={"k": []})]


async def test_a_single_run_knows_metadata_and_times_of_its_messages(memory, call, clock):
    history = memory.history("s", agent="writer", user_id="u", retention=Retention("single_run"))
    await call(history.add_messages, numbered(1), metadata={"source": "test"})
    clock.now += 100
    (entry,) = await call(history.stored)
    assert (entry.agent, entry.user_id, entry.metadata) == ("writer", "u", {"source": "test"})
    assert entry.created_at == datetime.fromtimestamp(1_800_000_000, UTC)


async def test_a_single_run_keeps_no_more_messages_than_the_retention_allows(memory, call):
    history = memory.history("s", retention=Retention("single_run", max_messages=3))
    await call(history.add_messages, numbered(8))
    assert without_ids(await call(history.get_recent, 100)) == numbered(3, 5)
    assert await call(history.count) == 3


async def test_clearing_a_single_run_leaves_what_is_stored_in_the_session(memory, call):
    await call(memory.history("s").add_messages, numbered(4))
    await call(memory.history("s", retention=Retention("single_run")).clear)
    assert await call(memory.history("s").count) == 4


async def test_each_agent_can_have_its_own_retention(url, call, clock):
    policies = {
        None: Retention("persistent"),
        "writer": Retention("session", max_messages=3),
        "scratch": Retention("single_run"),
    }
    with AgentMemory.from_url(url, retention=policies) as memory:
        await call(memory.history("s", agent="scratch").add_messages, numbered(2))
        await call(memory.history("s", agent="writer").add_messages, numbered(5))
        await call(memory.history("s", agent="anyone").add_messages, numbered(2, 10))
        await call(memory.history("s").add_messages, numbered(2, 20))
        assert await call(memory.history("s", agent="scratch").count) == 0
        assert without_ids(await call(memory.history("s", agent="writer").get_recent)) == numbered(3, 2)
        assert await call(memory.sessions.end, "s") == 3
        assert without_ids(await call(memory.history("s").get_recent)) == [*numbered(2, 10), *numbered(2, 20)]


async def test_a_history_can_override_the_retention_of_its_agent(url, call):
    with AgentMemory.from_url(url, retention=Retention(max_messages=2)) as memory:
        await call(memory.history("a").add_messages, numbered(5))
        await call(memory.history("b", retention=Retention()).add_messages, numbered(5))
        await call(memory.session_history(retention=Retention(max_messages=4))("c").add_messages, numbered(5))
        assert [await call(memory.history(one).count) for one in "abc"] == [2, 5, 4]


@pytest.mark.parametrize(
    "arguments",
    [
        {"policy": "forever"},
        {"max_messages": 0},
        {"max_messages": -1},
        {"max_messages": 1.5},
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": float("nan")},
        {"ttl": float("inf")},
        {"ttl": "60"},
        {"ttl": True},
        {"ttl": timedelta(0)},
    ],
    ids=repr,
)
def test_a_retention_that_makes_no_sense_is_refused(arguments):
    with pytest.raises((InvalidInputError, InvalidTypeError), match=next(iter(arguments))):
        Retention(**arguments)


@pytest.mark.parametrize("retention", ["session", 7, {"writer": "session"}, {None: 3}], ids=repr)
def test_a_retention_of_the_wrong_type_is_refused(url, retention):
    with pytest.raises(InvalidTypeError, match="retention must be"):
        AgentMemory.from_url(url, retention=retention)
