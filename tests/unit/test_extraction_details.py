"""Learning from conversations: what does not depend on where profiles are."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from langchain_core.messages import RemoveMessage
from langgraph.graph import START as BEGIN
from langgraph.graph import MessagesState, StateGraph
from patience import PATIENCE
from profiles import ALICE, START, add, answer, assistant, config, human, shown, texts
from pydantic import BaseModel, PrivateAttr

from langchain_agentmem import InvalidInputError, InvalidTypeError, StorageClosedError
from langchain_agentmem.knowledge.extraction.markers import Marker
from langchain_agentmem.testing import ScriptedChatModel

NOTHING = answer()


def asked(model: ScriptedChatModel) -> list[list[str]]:
    """The texts of the new messages that the model was shown, one list a call."""
    return [[one["text"] for one in shown(request)["messages"]] for request in model.requests]


@pytest.fixture
def url() -> str:
    """What does not depend on the backend is tested on one."""
    return "sqlite:///:memory:"


async def test_messages_without_ids_trimmed_histories_and_repetitions(memory, call):
    model = ScriptedChatModel([NOTHING] * 10)
    node = memory.profile_node(model)
    turns = [human("I am Al."), assistant("Hello!"), human("yes"), assistant("Good."), human("yes"), assistant("Fine.")]
    for end in (2, 4, 6):
        await call(node.invoke, turns[:end], config())
    await call(node.invoke, turns, config())
    await call(node.invoke, turns[-2:], config())
    assert asked(model) == [["I am Al.", "Hello!"], ["yes", "Good."], ["yes", "Fine."]]
    await call(node.invoke, [*turns[-2:], human("I moved.")], config())
    assert asked(model)[3:] == [["I moved."]]
    await call(node.invoke, [RemoveMessage(id="x"), *turns, human("I moved.")], config())
    assert len(model.requests) == 4
    # Another thread, and another user, are other conversations.
    await call(node.invoke, turns[:2], config(thread="u"))
    await call(node.invoke, turns[:2], config("bob", thread="v"))
    assert asked(model)[4:] == [["I am Al.", "Hello!"]] * 2


class Slow(ScriptedChatModel):
    """Answers its first request too late: after `late` is set."""

    _late: threading.Event = PrivateAttr(default_factory=threading.Event)

    @property
    def late(self) -> threading.Event:
        return self._late

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.requests:
            assert self._late.wait(PATIENCE)
        return super()._generate(messages, *args, **kwargs)

    async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.requests:
            self.requests.append(messages)
            await asyncio.Event().wait()
        return super()._generate(messages, *args, **kwargs)


@pytest.mark.parametrize("limit", [0.1, timedelta(milliseconds=100)])
async def test_a_model_that_takes_too_long_changes_nothing_and_the_next_run_reads_again(memory, call, caplog, limit):
    model = Slow([answer(add("Has two dogs"))] * 2)
    node = memory.profile_node(model, time_limit=limit)
    late = await call(node.invoke, [human("I have two dogs.", "a")], config())
    assert (late.messages, late.calls, late.changed) == (1, 1, False)
    assert "It took longer than 0.1 seconds" in late.error
    assert "Nothing was extracted from 1 messages: TimeoutError" in caplog.text
    assert (await call(memory.profiles.get, ALICE)).facts == []
    model.late.set()
    while not model.requests:  # what the model says too late is lost
        await asyncio.sleep(0)
    again = await call(memory.profile_node(model).invoke, [human("I have two dogs.", "a")], config())
    assert (texts(again.added), again.error) == (["Has two dogs"], None)


@pytest.mark.parametrize("limit", [0, -1, "60", float("nan"), True, [60]])
async def test_a_time_limit_that_is_no_duration_is_refused(memory, limit):
    with pytest.raises((InvalidInputError, InvalidTypeError), match="time_limit must be"):
        memory.profile_node(ScriptedChatModel([]), time_limit=limit)


async def test_reading_the_same_messages_again_changes_nothing(memory, call):
    model = ScriptedChatModel(
        [answer(add("Has two dogs")), answer(add("Owns a pair of dogs")), answer(add("Has a cat"))]
    )
    messages = [human("I have two dogs.", "a")]
    nodes = [memory.profile_node(model) for _ in range(3)]
    for node in nodes:
        await call(node.invoke, messages, config())
    assert len(model.requests) == 1
    assert texts((await call(memory.profiles.get, ALICE)).facts) == ["Has two dogs"]


async def test_nobody_is_read_without_a_user(memory, call):
    node = memory.profile_node(ScriptedChatModel([NOTHING]))
    with pytest.raises(InvalidInputError, match="The run names no user"):
        await call(node.invoke, [human("I am Al.")], config(None))
    with pytest.raises(InvalidInputError, match="no messages"):
        await call(node.invoke, {"text": "I am Al."}, config())
    assert await call(memory.store.search, ()) == []
    assert await call(node.invoke, {"messages": [human("Hi")], "user_id": "bob"}, config(None)) == {}
    assert (await call(memory.profiles.get, "bob")).last_interaction is not None


async def test_old_messages_do_not_undo_what_was_said_since(memory, call):
    node = memory.profile_node(
        ScriptedChatModel(
            [
                answer({"action": "update", "field": "name", "value": "Alice"}, add("Lives in Patras")),
                answer(
                    {"action": "update", "field": "name", "value": "Al"},
                    {"action": "update", "fact": 1, "text": "Lives in Athens"},
                ),
            ]
        )
    )
    await call(node.invoke, [human("I'm Alice in Patras.", "a", 5)], config())
    await call(node.invoke, [human("I'm Al in Athens.", "b", 1)], config(thread="older"))
    profile = await call(memory.profiles.get, ALICE)
    assert (profile.name, texts(profile.facts), texts(profile.past)) == (
        "Alice",
        ["Lives in Patras"],
        ["Lives in Athens"],
    )
    before = await call(memory.profiles.get, ALICE, as_of=START.replace(day=3))
    assert texts(before.facts) == ["Lives in Athens"]


def test_the_user_may_be_named_by_the_runtime_context(memory):
    @dataclass
    class Context:
        user_id: str

    builder = StateGraph(MessagesState, context_schema=Context)
    builder.add_node("remember", memory.profile_node(ScriptedChatModel([answer(add("Has two dogs"))])))
    builder.add_edge(BEGIN, "remember")
    builder.compile().invoke({"messages": [human("I have two dogs", "a")]}, context=Context("carol"))
    assert texts(memory.profiles.get("carol").facts) == ["Has two dogs"]


async def test_an_extraction_in_the_turn_is_an_event(memory):
    node = memory.profile_node(ScriptedChatModel([answer(add("Has two dogs"))]))
    events = [event async for event in node.astream_events([human("I have two dogs", "a")], config(), version="v2")]
    (told,) = (event["data"] for event in events if event["event"] == "on_custom_event")
    assert texts(told.added) == ["Has two dogs"]


def test_what_the_database_cannot_do_is_an_error(memory):
    node = memory.profile_node(ScriptedChatModel([answer(add("Has two dogs"))]))
    memory.close()
    with pytest.raises(StorageClosedError):
        node.invoke([human("I have two dogs", "a")], config())


@pytest.mark.parametrize("action", ["add", "update"])
def test_a_fact_forgotten_while_the_model_is_asked_stays_forgotten_in_other_words_too(memory, action):
    fact = memory.profiles.add_fact(ALICE, "Suffers from hay fever")

    class Meanwhile(ScriptedChatModel):
        def _generate(self, *args: Any, **options: Any) -> Any:
            memory.profiles.forget_fact(ALICE, fact)
            return super()._generate(*args, **options)

    change = {"action": action, "fact": 1, "text": "Has had hay fever for long"}
    done = memory.profile_node(Meanwhile([answer(change)])).invoke([human("My hay fever again!", "a")], config())
    assert (done.error, done.changed) == (None, False)
    assert memory.profiles.timeline(ALICE) == []


def test_messages_without_a_time_before_the_last_turn_bring_nothing_forgotten_back(memory):
    memory.profiles.forget_fact(ALICE, memory.profiles.add_fact(ALICE, "Suffers from hay fever"))
    fact = answer(add("Suffers from hay fever", messages=[1]))
    node = memory.profile_node(ScriptedChatModel([fact] * 2))
    node.invoke([human("I have hay fever."), assistant("Oh."), human("Hello")], config())
    assert memory.profiles.timeline(ALICE) == []
    node.invoke([human("My hay fever is back.")], config(thread="u"))
    assert texts(memory.profiles.timeline(ALICE)) == ["Suffers from hay fever"]


async def test_messages_with_ids_are_known_whatever_stands_before_them(memory, call):
    model = ScriptedChatModel([answer()] * 2)
    node = memory.profile_node(model)
    one, two, three, four = (human("yes", one) for one in "abcd")
    await call(node.invoke, [one, two, three], config())
    await call(node.invoke, [one, three, four], config())
    assert asked(model) == [["yes"] * 3, ["yes"]]


async def test_who_looks_for_something_else_reads_the_same_messages_too(memory, call):
    class Traveller(BaseModel):
        visited: list[str] = []

    said = [human("I sail, and I was on Crete.", "a")]
    sails, crete = answer(add("Sails")), answer({"action": "add", "field": "visited", "value": "Crete"})
    model = ScriptedChatModel([sails, crete, sails, answer()])
    options: list[dict[str, Any]] = [
        {},
        {"schema": Traveller},
        {"instructions": "Look for hobbies."},
        {"entities": True},
    ]
    for more in options * 2:
        await call(memory.profile_node(model, **more).invoke, said, config())
    assert len(model.requests) == 4
    assert (await call(memory.profiles.get, ALICE, schema=Traveller)).visited == ["Crete"]


async def test_one_message_without_id_and_thread_is_always_read(memory, call):
    script = [
        answer(add("Lives in Rome", messages=[1])),
        answer({"action": "update", "fact": 1, "text": "Lives in Paris", "messages": [1]}),
        answer({"action": "update", "fact": 1, "text": "Lives in Rome", "messages": [1]}),
    ]
    node = memory.profile_node(ScriptedChatModel(script))
    for city in ("Rome", "Paris", "Rome"):
        done = await call(node.invoke, [human(f"I live in {city}")], {"configurable": {"user_id": ALICE}})
        assert done.calls == 1
        assert texts((await call(memory.profiles.get, ALICE)).facts) == [f"Lives in {city}"]


@pytest.mark.parametrize(
    ("read", "given", "new"),
    [
        ("ab", "abcda", "cda"),
        ("abab", "ababab", "ab"),
        ("abcde", "de", ""),
        ("abcde", "def", "f"),
        ("abcde", "abc", ""),
        ("abcd", "abcxy", "xy"),
        ("ab", "a", "a"),
        ("ab", "b", ""),
        ("abc", "xby", "xby"),
        ("", "ab", "ab"),
    ],
)
def test_messages_without_ids_are_known_by_the_longest_row_of_them(read, given, new):
    marker = Marker(Marker(None).after([f"t{one}" for one in read]))
    start = marker.start([f"t{one}" for one in given])
    assert given[start:] == new
