"""A session's title, and every other copy of a message, goes with the message."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_agentmem import AgentMemory, Retention

SECRET = "My number is 4711"


async def title_of(memory: AgentMemory, call, **whose: Any) -> str | None:
    (info,) = await call(memory.sessions.list, **whose)
    return info.title


@pytest.mark.parametrize("agent", [None, "writer"])
async def test_clearing_a_session_deletes_its_title(memory, call, agent):
    history = memory.history("s", agent=agent)
    await call(history.add_messages, [HumanMessage(SECRET), AIMessage("ok")])
    await call(history.clear)
    assert await title_of(memory, call) is None
    await call(history.add_messages, [HumanMessage("Good morning")])
    assert await title_of(memory, call) == "Good morning"


async def test_clearing_one_agents_messages_deletes_the_title_that_came_from_them(memory, call):
    await call(memory.history("s", agent="a").add_messages, [HumanMessage(SECRET)])
    await call(memory.history("s", agent="b").add_messages, [HumanMessage("Good morning")])
    await call(memory.history("s", agent="b").clear)
    assert await title_of(memory, call) == SECRET
    await call(memory.history("s", agent="b").add_messages, [HumanMessage("Again")])
    await call(memory.history("s", agent="a").clear)
    assert await title_of(memory, call) is None
    await call(memory.history("s").add_messages, [AIMessage("No question"), HumanMessage("Next")])
    assert await title_of(memory, call) == "Next"


async def test_ending_a_session_deletes_the_title_that_came_from_it(memory, call):
    await call(memory.history("s", retention=Retention("session")).add_messages, [HumanMessage(SECRET)])
    await call(memory.history("s").add_messages, [HumanMessage("Good morning")])
    await call(memory.sessions.end, "s")
    assert await title_of(memory, call) is None


async def test_ending_a_session_leaves_the_title_of_a_message_that_stays(memory, call):
    await call(memory.history("s").add_messages, [HumanMessage("Good morning")])
    await call(memory.history("s", retention=Retention("session")).add_messages, [HumanMessage(SECRET)])
    await call(memory.sessions.end, "s")
    assert await title_of(memory, call) == "Good morning"


async def test_retention_deletes_the_title_with_its_message(memory, call):
    history = memory.history("s", retention=Retention(max_messages=3))
    await call(history.add_messages, [HumanMessage(SECRET), AIMessage("1")])
    await call(history.add_messages, [AIMessage("2")])
    assert await title_of(memory, call) == SECRET
    await call(history.add_messages, [AIMessage("3")])
    assert await title_of(memory, call) is None
    await call(history.add_messages, [HumanMessage("Next"), AIMessage("4")])
    assert await title_of(memory, call) == "Next"


async def test_of_many_messages_at_once_one_that_is_kept_gives_the_title(memory, call):
    messages = [HumanMessage(str(number)) for number in range(10)]
    await call(memory.history("a", retention=Retention(max_messages=3)).add_messages, messages)
    assert await title_of(memory, call) == "7"
    await call(memory.sessions.delete, "a")
    # The system message is spared, so there is room for two others.
    await call(
        memory.history("b", retention=Retention(max_messages=3)).add_messages, [SystemMessage("rules"), *messages]
    )
    assert await title_of(memory, call) == "8"
    await call(memory.sessions.delete, "b")
    await call(
        memory.history("c", retention=Retention(max_messages=1)).add_messages, [SystemMessage("rules"), *messages]
    )
    assert await title_of(memory, call) is None


async def test_a_title_that_was_set_stays_as_long_as_the_session_has_messages(memory, call):
    history = memory.history("s", retention=Retention("session", max_messages=1))
    await call(history.add_messages, [HumanMessage(SECRET)])
    await call(memory.sessions.rename, "s", "Numbers")
    await call(history.add_messages, [HumanMessage("Good morning")])
    assert await title_of(memory, call) == "Numbers"
    await call(memory.history("s", agent="nobody").clear)
    assert await title_of(memory, call) == "Numbers"
    await call(memory.sessions.end, "s")
    assert await title_of(memory, call) is None


async def test_a_session_that_is_used_again_after_it_expired_has_a_new_title(memory, call, monkeypatch):
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    history = memory.history("s", retention=Retention(ttl=60))
    await call(history.add_messages, [HumanMessage(SECRET)])
    now[0] += 60
    await call(history.add_messages, [AIMessage("Anybody there?")])
    assert await title_of(memory, call) is None
    await call(history.add_messages, [HumanMessage("Yes")])
    await call(history.clear)
    assert await title_of(memory, call) is None


async def test_the_list_shows_the_stored_summary_until_the_messages_go(memory, call):
    compressor = memory.compressor(max_messages=4)
    history = memory.history("s", user_id="u", compressor=compressor)
    await call(history.add_messages, [HumanMessage(f"The code of door {n} is {n}{n}.") for n in range(10)])
    await call(memory.history("t", user_id="u").add_messages, [HumanMessage("Hello")])
    await history.aget_messages()
    listed = {info.session_id: info.summary for info in await call(memory.sessions.list, user_id="u")}
    assert listed == {"s": await call(memory.summary, "s", user_id="u"), "t": None}
    assert "door" in listed["s"].text
    await call(history.clear)
    assert [info.summary for info in await call(memory.sessions.list, user_id="u")] == [None, None]
    assert await call(memory.search_history, "door", user_id="u") == []


async def test_the_list_shows_the_summary_of_messages_that_were_handed_over(memory, call):
    await call(memory.history("s").add_messages, [HumanMessage("Hello")])
    compressor = memory.compressor(max_messages=4)
    messages = [HumanMessage(f"The code of door {n} is {n}{n}.") for n in range(10)]
    await call(compressor.invoke, messages, {"configurable": {"session_id": "s"}})
    (info,) = await call(memory.sessions.list)
    assert info.summary == await call(memory.summary, "s")
    assert "door" in info.summary.text
