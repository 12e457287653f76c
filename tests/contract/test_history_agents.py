"""Chat history: several agents in one session, each message with its agent, user, time and metadata."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from identity import without_ids
from langchain_core.messages import AIMessage, HumanMessage

from langchain_agentmem import InvalidInputError, StoredMessage


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1_800_000_000.0

    monkeypatch.setattr("time.time", lambda: Clock.now)
    return Clock


async def test_each_message_knows_its_agent_user_time_and_metadata(memory, call, clock):
    question = memory.history("s", user_id="alice@example.com")
    writer = memory.history("s", user_id="alice@example.com", agent="writer")
    await call(question.add_messages, [HumanMessage("q")])
    clock.now += 1.5
    notes = {"tokens": 12, "nested": {"a": [1, None, "ü\x00"]}, "big": 2**70}
    await call(writer.add_messages, [AIMessage("a"), AIMessage("b")], metadata=notes)
    start = datetime.fromtimestamp(1_800_000_000, UTC)
    later = start + timedelta(seconds=1.5)
    assert without_ids(await call(question.stored)) == [
        StoredMessage(HumanMessage("q"), "s", 0, start, "alice@example.com", None, {}),
        StoredMessage(AIMessage("a"), "s", 1, later, "alice@example.com", "writer", notes),
        StoredMessage(AIMessage("b"), "s", 2, later, "alice@example.com", "writer", notes),
    ]
    assert await call(writer.stored, 1) == (await call(question.stored))[-1:]


async def test_one_agents_messages_are_read_alone_or_all_in_order(memory, call):
    agents = ["writer", "critic", None, "writer", "critic", "writer"]
    for number, agent in enumerate(agents):
        await call(memory.history("s", agent=agent).add_messages, [AIMessage(str(number))])
    for agent, expected in (
        ("writer", ["0", "3", "5"]),
        ("critic", ["1", "4"]),
        (None, ["0", "1", "2", "3", "4", "5"]),
    ):
        history = memory.history("s", agent=agent)
        assert [message.content for message in await call(history.get_recent)] == expected
        assert [message.content for page in await call(history.pages, 2) for message in page] == expected
        assert [entry.message.content for entry in await call(history.stored)] == expected
        assert await call(history.count) == len(expected)
    assert [entry.agent for entry in await call(memory.history("s").stored)] == agents
    assert [entry.position for entry in await call(memory.history("s", agent="writer").stored)] == [0, 3, 5]


async def test_clearing_one_agent_leaves_the_messages_of_all_others(memory, call):
    for agent in ("writer", None, "critic", "writer"):
        await call(memory.history("s", agent=agent).add_messages, [AIMessage(str(agent))])
    await call(memory.history("s", agent="writer").clear)
    assert [entry.agent for entry in await call(memory.history("s").stored)] == [None, "critic"]
    assert await call(memory.history("s").count) == 2
    assert await call(memory.history("s", agent="writer").count) == 0
    await call(memory.history("s").clear)
    assert await call(memory.history("s").count) == 0


async def test_an_agent_of_one_session_is_not_seen_in_another(memory, call):
    await call(memory.history("s", agent="writer").add_messages, [AIMessage("a")])
    await call(memory.history("s", user_id="u", agent="writer").add_messages, [AIMessage("b")])
    await call(memory.history("t", agent="writer").add_messages, [AIMessage("c")])
    assert without_ids(await call(memory.history("s", agent="writer").get_recent)) == [AIMessage("a")]
    assert without_ids(await call(memory.history("s", user_id="u", agent="writer").get_recent)) == [AIMessage("b")]


async def test_metadata_that_was_read_can_be_changed_without_changing_what_is_stored(memory, call):
    history = memory.history("s")
    notes = {"a": [1]}
    await call(history.add_messages, [AIMessage("a")], metadata=notes)
    notes["a"].append(2)
    (entry,) = await call(history.stored)
    entry.metadata["a"].append(3)
    assert (await call(history.stored))[0].metadata == {"a": [1]}


async def test_metadata_nested_too_deep_is_refused_and_nothing_is_written(memory, call):
    deep: dict = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(InvalidInputError, match="nested deeper than 200 levels"):
        await call(memory.history("s").add_messages, [AIMessage("a")], metadata=deep)
    assert await call(memory.history("s").count) == 0
