"""Chat history: adding, reading, counting, paging and clearing."""

from __future__ import annotations

import random
import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity import without_ids
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_agentmem import (
    AgentMemHistory,
    AgentMemory,
    InvalidInputError,
    InvalidTypeError,
    Retention,
    StorageClosedError,
    UnsupportedValueError,
)


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


def texts(messages: list[BaseMessage]) -> list[Any]:
    return [message.content for message in messages]


async def test_a_new_session_is_empty(memory, call):
    history = memory.history("new")
    assert await call(Window(history).read) == []
    assert await call(history.get_recent) == []
    assert await call(history.stored) == []
    assert await call(history.count) == 0
    assert await call(history.pages) == []
    await call(history.clear)
    assert await call(memory.sessions.list) == []


async def test_messages_come_back_in_the_order_they_were_added(memory, call):
    history = memory.history("s")
    for start in range(0, 30, 3):
        await call(history.add_messages, numbered(3, start))
    assert without_ids(await call(Window(history).read)) == numbered(30)
    assert await call(history.count) == 30


async def test_another_history_object_of_the_session_sees_the_messages(memory, call):
    await call(memory.history("s", user_id="alice").add_messages, numbered(3))
    assert without_ids(await call(memory.history("s", user_id="alice").get_recent)) == numbered(3)


async def test_sync_and_async_work_on_one_object_in_turn(memory):
    history = memory.history("s")
    history.add_messages(numbered(1))
    await history.aadd_messages(numbered(1, 1))
    history.add_messages(numbered(1, 2))
    assert without_ids(history.messages) == without_ids(await history.aget_messages()) == numbered(3)
    assert history.count() == await history.acount() == 3


async def test_langchains_convenience_methods_work(memory):
    history = memory.history("s")
    history.add_user_message("hello")
    history.add_ai_message("hi")
    history.add_message(SystemMessage("be kind"))
    history.add_user_message(HumanMessage("bye", id="4"))
    assert without_ids(history.messages) == [
        SystemMessage("be kind"),
        HumanMessage("hello"),
        AIMessage("hi"),
        HumanMessage("bye"),
    ]
    assert history.messages[-1].id == "4"
    assert "hello" in str(history)


async def test_messages_with_the_same_id_are_all_kept(memory, call):
    history = memory.history("s")
    await call(history.add_messages, [HumanMessage("a", id="1"), HumanMessage("b", id="1")])
    await call(history.add_messages, [HumanMessage("a", id="1")])
    assert texts(await call(history.get_recent)) == ["a", "b", "a"]


async def test_adding_nothing_is_no_error_and_makes_no_session(memory, call):
    history = memory.history("s")
    await call(history.add_messages, [])
    await call(history.add_messages, ())
    assert await call(history.count) == 0
    assert await call(memory.sessions.list) == []


async def test_any_iterable_of_messages_is_accepted(memory, call):
    history = memory.history("s")
    await call(history.add_messages, tuple(numbered(2)))
    await call(history.add_messages, (message for message in numbered(2, 2)))
    assert without_ids(await call(history.get_recent)) == numbered(4)


async def test_what_was_read_can_be_changed_without_changing_what_is_stored(memory, call):
    history = memory.history("s")
    given_messages = [HumanMessage("a", additional_kwargs={"k": [1]})]
    await call(history.add_messages, given_messages)
    given_messages[0].content = "changed"
    read = await call(Window(history).read)
    read[0].additional_kwargs["k"].append(2)
    read.append(HumanMessage("b"))
    assert without_ids(await call(Window(history).read)) == [HumanMessage("a", additional_kwargs={"k": [1]})]


async def test_the_most_recent_messages_are_read(memory, call):
    history = memory.history("s")
    await call(history.add_messages, numbered(25))
    assert texts(await call(history.get_recent)) == [str(n) for n in range(15, 25)]
    assert texts(await call(history.get_recent, 3)) == ["22", "23", "24"]
    assert texts(await call(history.get_recent, n=25)) == [str(n) for n in range(25)]
    assert texts(await call(history.get_recent, 1000)) == [str(n) for n in range(25)]


async def test_recent_messages_come_as_they_were_added_an_old_system_message_is_not_among_them(memory, call):
    history = memory.history("s", max_messages=1)
    result = ToolMessage("orphan", tool_call_id="1")
    await call(history.add_messages, [SystemMessage("be kind"), HumanMessage("hi"), result])
    assert without_ids(await call(history.get_recent, 1)) == [result]
    assert without_ids(await call(history.get_recent, 2)) == [HumanMessage("hi"), result]
    assert without_ids(await call(history.get_recent, 3)) == [SystemMessage("be kind"), HumanMessage("hi"), result]


@pytest.mark.parametrize("n", [0, -1, 1.5, "3", None, True])
async def test_a_number_of_recent_messages_that_makes_no_sense_is_refused(memory, call, n):
    with pytest.raises((InvalidInputError, InvalidTypeError), match="n must be"):
        await call(memory.history("s").get_recent, n)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 19, 20, 21, 1000])
async def test_pages_partition_the_history(memory, call, size):
    history = memory.history("s")
    await call(history.add_messages, numbered(20))
    pages = await call(history.pages, size)
    assert without_ids([message for page in pages for message in page]) == numbered(20)
    assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
    assert 1 <= len(pages[-1]) <= size


async def test_pages_hold_tool_results_without_their_call_and_old_system_messages(memory, call):
    history = memory.history("s", max_messages=1)
    messages = [ToolMessage("orphan", tool_call_id="x"), SystemMessage("a"), SystemMessage("b"), HumanMessage("c")]
    await call(history.add_messages, messages)
    pages = await call(history.pages, 2)
    assert without_ids([message for page in pages for message in page]) == messages


async def test_what_is_added_while_paging_comes_on_a_later_page_and_nothing_twice(memory):
    history = memory.history("s")
    history.add_messages(numbered(6))
    seen: list[BaseMessage] = []
    for page in history.pages(2):
        seen.extend(page)
        if len(seen) == 2:
            history.add_messages(numbered(2, 6))
    assert without_ids(seen) == numbered(8)
    seen = []
    async for page in history.apages(2):
        seen.extend(page)
        if len(seen) == 2:
            await history.aadd_messages(numbered(2, 8))
    assert without_ids(seen) == numbered(10)


@pytest.mark.parametrize("size", [0, -5, 2.0, "2"])
async def test_a_page_size_that_makes_no_sense_is_refused(memory, call, size):
    with pytest.raises((InvalidInputError, InvalidTypeError), match="size must be"):
        await call(memory.history("s").pages, size)


async def test_clear_deletes_the_messages_of_this_session_only(memory, call):
    history, other = memory.history("s"), memory.history("other")
    await call(history.add_messages, numbered(5))
    await call(other.add_messages, numbered(2))
    await call(history.clear)
    assert await call(history.count) == 0
    assert await call(Window(history).read) == []
    assert without_ids(await call(other.get_recent)) == numbered(2)


async def test_a_cleared_session_can_be_used_again(memory, call):
    history = memory.history("s")
    await call(history.add_messages, numbered(5))
    await call(history.clear)
    await call(history.clear)
    await call(history.add_messages, numbered(2))
    assert without_ids(await call(history.get_recent)) == numbered(2)
    assert await call(history.count) == 2


async def test_positions_count_from_zero_without_gaps(memory, call):
    history = memory.history("s")
    await call(history.add_messages, numbered(3))
    await call(history.add_messages, numbered(2, 3))
    assert [entry.position for entry in await call(history.stored)] == [0, 1, 2, 3, 4]
    assert [entry.position for entry in await call(history.stored, 2)] == [3, 4]


async def test_stored_gives_the_newest_messages_even_if_an_older_system_message_exists(memory, call):
    history = memory.history("s")
    await call(history.add_messages, [SystemMessage("be kind"), *numbered(4)])
    assert [entry.message.content for entry in await call(history.stored, 2)] == ["2", "3"]
    assert len(await call(history.stored, 100)) == 5


@pytest.mark.parametrize("limit", [0, -1, 1.0, "1"])
async def test_a_limit_that_makes_no_sense_is_refused(memory, call, limit):
    with pytest.raises((InvalidInputError, InvalidTypeError), match="limit must be"):
        await call(memory.history("s").stored, limit)


@pytest.mark.parametrize(
    "not_messages",
    [
        "hello",
        {"role": "user", "content": "hello"},
        ("human", "hello"),
        [HumanMessage("fine"), {"role": "narrator", "content": "hello"}],
        [HumanMessage("fine"), None],
        HumanMessage("not in a list"),
        b"hello",
        [[HumanMessage("nested")]],
        [HumanMessage],
        [SimpleNamespace(type="human", content="looks like one")],
        None,
        7,
    ],
    ids=repr,
)
async def test_what_is_no_message_is_refused_and_nothing_is_written(memory, call, not_messages):
    history = memory.history("s")
    with pytest.raises(
        (InvalidInputError, InvalidTypeError), match=r"add_messages takes a list|messages\[\d\] is not a message"
    ):
        await call(history.add_messages, not_messages)
    assert await call(history.count) == 0


async def test_metadata_that_json_does_not_know_is_refused_and_nothing_is_written(memory, call):
    history = memory.history("s")
    for metadata in ({"at": {1, 2}}, {1: "a"}, ["a"]):
        with pytest.raises(UnsupportedValueError):
            await call(history.add_messages, numbered(1), metadata=metadata)
    with pytest.raises(InvalidInputError):
        await call(history.add_messages, numbered(1), metadata={"a": "\ud800"})
    assert await call(history.count) == 0


@settings(deadline=None, max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.integers(0, 7), max_size=8), size=st.integers(1, 12), n=st.integers(1, 30))
async def test_count_pages_and_recent_agree_whatever_was_added(memory, call, batches, size, n):
    session = memory.history("s")
    await call(session.clear)
    expected: list[BaseMessage] = []
    for batch in batches:
        added = numbered(batch, len(expected))
        await call(session.add_messages, added)
        expected += added
    assert await call(session.count) == len(expected)
    assert without_ids([message for page in await call(session.pages, size) for message in page]) == expected
    assert without_ids(await call(session.get_recent, n)) == expected[-n:]
    assert without_ids([entry.message for entry in await call(session.stored, n)]) == expected[-n:]


async def test_a_history_stands_alone(lasting_url, call):
    first = AgentMemHistory.from_url(lasting_url, "s", user_id="alice")
    await call(first.add_messages, numbered(2))
    await call(first.close)
    await call(first.close)
    with pytest.raises(StorageClosedError):
        await call(first.count)
    second = AgentMemHistory.from_url(lasting_url, "s", user_id="alice", max_messages=2)
    assert without_ids(await call(Window(second).read)) == numbered(2)
    await call(second.close)


async def test_a_history_and_a_memory_on_one_database_share_their_sessions(lasting_url, call):
    with AgentMemory.from_url(lasting_url) as memory:
        history = AgentMemHistory.from_url(lasting_url, "s")
        await call(history.add_messages, numbered(2))
        assert without_ids(await call(memory.history("s").get_recent)) == numbered(2)
        await call(history.close)


async def test_the_applications_own_connection_stays_open(call):
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    history = AgentMemHistory.from_connection(connection, "s")
    await call(history.add_messages, numbered(2))
    assert without_ids(await call(history.get_recent)) == numbered(2)
    await call(history.close)
    assert connection.execute("SELECT count(*) FROM agentmem_messages").fetchone() == (2,)
    connection.close()


async def test_every_method_of_a_closed_memory_says_that_it_is_closed(memory, call):
    history = memory.history("s")
    await call(history.add_messages, numbered(1))
    await call(memory.close)
    await call(memory.close)
    for method, *arguments in (
        (history.add_messages, numbered(1)),
        (Window(history).read,),
        (history.get_recent,),
        (history.stored,),
        (history.count,),
        (history.pages,),
        (history.clear,),
        (memory.sessions.list,),
        (memory.sessions.rename, "s", "title"),
        (memory.sessions.end, "s"),
        (memory.sessions.delete, "s"),
        (memory.sweep,),
    ):
        with pytest.raises(StorageClosedError, match="closed"):
            await call(method, *arguments)


async def test_a_memory_that_was_never_used_can_be_closed(url, call):
    unused = AgentMemory.from_url(url)
    await call(unused.close)
    with pytest.raises(StorageClosedError):
        await call(unused.history("s").count)


async def test_a_memory_is_a_context_manager_in_both_worlds(lasting_url):
    with AgentMemory.from_url(lasting_url) as memory:
        memory.history("s").add_messages(numbered(1))
    with pytest.raises(StorageClosedError):
        memory.history("s").count()
    async with AgentMemory.from_url(lasting_url) as memory:
        assert await memory.history("s").acount() == 1
    with pytest.raises(StorageClosedError):
        await memory.history("s").acount()


async def test_a_history_shows_itself_without_running_what_is_in_it(memory):
    history = memory.history("<b>s</b>", user_id="alice", agent="writer")
    history.add_messages([HumanMessage("<script>alert(1)</script>"), AIMessage([{"type": "text", "text": "fine"}])])
    assert repr(history) == "AgentMemHistory('<b>s</b>', user_id='alice', agent='writer')"
    limited = memory.history("s", max_messages=5, retention=Retention("session"))
    assert repr(limited).startswith(
        "AgentMemHistory('s', user_id=None, agent=None, max_messages=5, retention=Retention("
    )
    shown = history._repr_html_()
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert "&lt;script&gt;" in shown
    assert "fine" in shown
    assert "newest 2 of 2 messages" in shown


async def test_an_application_that_seeds_its_random_numbers_loses_no_turn(memory, call):
    """As a notebook does whose cells are run again."""
    for turn in range(3):
        random.seed(42)
        await call(memory.history("s").add_messages, numbered(2, 2 * turn))
    assert without_ids(await call(memory.history("s").get_recent, 10)) == numbered(6)
