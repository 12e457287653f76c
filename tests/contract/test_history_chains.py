"""Chat history in `RunnableWithMessageHistory`: the wiring, overlapping turns, and what a turn costs."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from counting import Costs
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import ConfigurableFieldSpec, Runnable, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from patience import PATIENCE
from pydantic import PrivateAttr

from langchain_agentmem import AgentMemHistory, AgentMemory
from langchain_agentmem.testing import ScriptedChatModel

PROMPT = ChatPromptTemplate.from_messages(
    [("system", "You help."), MessagesPlaceholder("history"), ("human", "{question}")]
)
BY_USER = [
    ConfigurableFieldSpec(id="user_id", annotation=str, is_shared=True),
    ConfigurableFieldSpec(id="session_id", annotation=str, is_shared=True),
]

Wire = Callable[[AgentMemory, Runnable], tuple[Runnable, Callable[[str], Any]]]


def with_a_key(memory: AgentMemory, model: Runnable, **options: Any) -> tuple[Runnable, Callable[[str], Any]]:
    """The history goes into a variable of the prompt."""
    factory = options.pop("factory", memory.get_session_history)
    chain = RunnableWithMessageHistory(
        PROMPT | model, factory, input_messages_key="question", history_messages_key="history", **options
    )
    return chain, lambda question: {"question": question}


def without_a_key(memory: AgentMemory, model: Runnable, **options: Any) -> tuple[Runnable, Callable[[str], Any]]:
    """The history is put before the input messages."""
    factory = options.pop("factory", memory.get_session_history)
    return RunnableWithMessageHistory(model, factory, **options), lambda question: [HumanMessage(question)]


wirings = pytest.mark.parametrize("wire", [with_a_key, without_a_key])


def session(session_id: str, **more: str) -> dict[str, Any]:
    return {"configurable": {"session_id": session_id, **more}}


def conversation(count: int) -> list[BaseMessage]:
    return [HumanMessage(str(n)) if n % 2 == 0 else AIMessage(str(n)) for n in range(count)]


def texts(messages: list[BaseMessage]) -> list[Any]:
    return [message.content for message in messages]


@wirings
async def test_a_chain_remembers_the_turns_of_a_session(memory, call, wire):
    model = ScriptedChatModel(["one", "two", "three"])
    chain, ask = wire(memory, model)
    answer = await call(chain.invoke, ask("a"), session("s"))
    assert answer.content == "one"
    await call(chain.invoke, ask("b"), session("s"))
    await call(chain.invoke, ask("c"), session("other"))
    assert texts(model.requests[1])[-3:] == ["a", "one", "b"]
    assert texts(model.requests[2])[-1:] == ["c"]
    assert "a" not in texts(model.requests[2])
    stored = await call(memory.history("s").get_recent)
    assert [(type(message), message.content) for message in stored] == [
        (HumanMessage, "a"),
        (AIMessage, "one"),
        (HumanMessage, "b"),
        (AIMessage, "two"),
    ]
    assert await call(memory.history("other").count) == 2


@wirings
@pytest.mark.parametrize("bound", [{}, {"max_messages": 2}, {"max_tokens": 40}, "compressor"])
async def test_a_session_of_answers_only_begins_with_a_message_in_place_of_the_user(memory, call, wire, bound):
    options = {"compressor": memory.compressor(max_messages=20)} if bound == "compressor" else bound
    history = memory.history("s", **options)
    greeting = AIMessage("Hello! How can I help?")
    await call(history.add_messages, [greeting])
    assert texts(history.messages) == texts(await history.aget_messages()) == [greeting.content]
    model = ScriptedChatModel(["one", "two"])
    chain, ask = wire(memory, model, factory=memory.session_history(**options))
    await call(chain.invoke, ask("a"), session("s"))
    first = [one for one in model.requests[0] if one.type != "system"]
    assert [one.type for one in first] == ["human", "ai", "human"]
    assert texts(first)[1:] == [greeting.content, "a"]
    assert texts(await call(memory.history("s").get_recent)) == [greeting.content, "a", "one"]


@wirings
async def test_a_chain_keyed_by_user_and_session_keeps_users_apart(memory, call, wire):
    model = ScriptedChatModel(["one", "two", "three"])
    chain, ask = wire(memory, model, history_factory_config=BY_USER)
    await call(chain.invoke, ask("a"), session("s", user_id="alice@example.com"))
    await call(chain.invoke, ask("b"), session("s", user_id="bob@example.com"))
    await call(chain.invoke, ask("c"), session("s", user_id="alice@example.com"))
    assert texts(model.requests[2])[-3:] == ["a", "one", "c"]
    assert "b" not in texts(model.requests[2])
    assert await call(memory.history("s", user_id="alice@example.com").count) == 4
    assert await call(memory.history("s", user_id="bob@example.com").count) == 2
    assert await call(memory.history("s").count) == 0


@wirings
async def test_what_a_chain_streams_is_stored_once(memory, call, wire):
    model = ScriptedChatModel(["one", "two"])
    chain, ask = wire(memory, model)
    parts = await call(chain.stream, ask("a"), session("s"))
    assert "".join(part.content for part in parts) == "one"
    await call(chain.invoke, ask("b"), session("s"))
    assert texts(await call(memory.history("s").get_recent)) == ["a", "one", "b", "two"]


@wirings
async def test_a_failed_turn_stores_nothing_and_the_next_one_goes_on(memory, call, wire):
    model = ScriptedChatModel(["one", RuntimeError("model is down"), "three"])
    chain, ask = wire(memory, model)
    await call(chain.invoke, ask("a"), session("s"))
    with pytest.raises(RuntimeError, match="model is down"):
        await call(chain.invoke, ask("b"), session("s"))
    await call(chain.invoke, ask("c"), session("s"))
    assert texts(await call(memory.history("s").get_recent)) == ["a", "one", "c", "three"]


@wirings
async def test_a_chain_is_given_a_window_while_everything_is_stored(memory, call, wire):
    await call(memory.history("s").add_messages, [SystemMessage("rules"), *conversation(100)])
    model = ScriptedChatModel([f"answer {n}" for n in range(3)])
    chain, ask = wire(memory, model, factory=memory.session_history(max_messages=40))
    for n in range(3):
        await call(chain.invoke, ask(f"question {n}"), session("s"))
    for n, request in enumerate(model.requests):
        given = texts(request)[1:] if wire is with_a_key else texts(request)
        turns = [text for k in range(n) for text in (f"question {k}", f"answer {k}")]
        assert given == ["rules", *texts(conversation(100))[62 + 2 * n :], *turns, f"question {n}"]
    assert await call(memory.history("s").count) == 101 + 6
    assert texts(await call(memory.history("s").get_recent, 6)) == [
        text for k in range(3) for text in (f"question {k}", f"answer {k}")
    ]


@wirings
async def test_a_batch_over_several_sessions_keeps_them_apart(memory, call, wire):
    chain, ask = wire(memory, RunnableLambda(lambda messages: AIMessage("re: " + last(messages))))
    await call(chain.batch, [ask(f"q{n}") for n in range(20)], [session(f"s{n % 4}") for n in range(20)])
    for n in range(4):
        stored = texts(await call(memory.history(f"s{n}").get_recent, 100))
        assert sorted(stored[::2]) == sorted(f"q{k}" for k in range(n, 20, 4))
        assert stored[1::2] == [f"re: {question}" for question in stored[::2]]


def last(messages: Any) -> str:
    """The text of the last message of what a model is asked."""
    return (messages.to_messages() if hasattr(messages, "to_messages") else messages)[-1].content


class Meeting:
    """A model whose answers wait until `parties` turns have all read their history and asked their question."""

    def __init__(self, parties: int) -> None:
        self.threads = threading.Barrier(parties, timeout=PATIENCE)
        self.waiting = parties
        self.tasks = asyncio.Event()
        self.model = RunnableLambda(self.answer, self.aanswer)

    def answer(self, messages: Any) -> AIMessage:
        self.threads.wait()
        return AIMessage("re: " + last(messages))

    async def aanswer(self, messages: Any) -> AIMessage:
        self.waiting -= 1
        if not self.waiting:
            self.tasks.set()
        await asyncio.wait_for(self.tasks.wait(), PATIENCE)
        return AIMessage("re: " + last(messages))


@pytest.fixture(params=["threads", "tasks"])
def together(request) -> Callable[..., Any]:
    """`await together(chain, inputs, config)` runs one turn for each input, all at once."""

    async def run(chain: Runnable, inputs: list[Any], config: dict[str, Any]) -> None:
        if request.param == "tasks":
            await asyncio.gather(*(chain.ainvoke(one, config) for one in inputs))
            return
        with ThreadPoolExecutor(len(inputs)) as pool:
            await asyncio.gather(
                *(asyncio.get_running_loop().run_in_executor(pool, chain.invoke, one, config) for one in inputs)
            )

    return run


@wirings
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("before", [0, 3, 20])
async def test_turns_that_overlap_lose_nothing(memory, together, wire, window, before):
    memory.history("s").add_messages(conversation(before))
    meeting = Meeting(2)
    chain, ask = wire(memory, meeting.model, factory=memory.session_history(max_messages=window))
    await together(chain, [ask("first"), ask("second")], session("s"))
    stored = texts(memory.history("s").get_recent(1000))
    assert stored[:before] == texts(conversation(before))
    first, second = ["first", "re: first"], ["second", "re: second"]
    assert stored[before:] in (first + second, second + first)


@wirings
async def test_many_turns_that_overlap_are_each_stored_whole(memory, together, wire):
    meeting = Meeting(8)
    chain, ask = wire(memory, meeting.model)
    await together(chain, [ask(f"q{n}") for n in range(8)], session("s"))
    stored = texts(memory.history("s").get_recent(1000))
    assert sorted(stored[::2]) == sorted(f"q{n}" for n in range(8))
    assert stored[1::2] == [f"re: {question}" for question in stored[::2]]


def new_for_each_turn(memory: AgentMemory) -> Callable[[str], AgentMemHistory]:
    return lambda session_id: AgentMemHistory(memory.backend, session_id)


def one_for_all_turns(memory: AgentMemory) -> Callable[[str], AgentMemHistory]:
    return functools.cache(memory.history)


def one_turn_for_all(memory: AgentMemory) -> Callable[[str], AgentMemHistory]:
    return functools.cache(lambda session_id: memory.get_session_history(session_id))


def one_derived_for_all(memory: AgentMemory) -> Callable[[str], AgentMemHistory]:
    class Derived(AgentMemHistory):
        @property
        def messages(self) -> list[BaseMessage]:
            return super().messages

        async def aget_messages(self) -> list[BaseMessage]:
            return await super().aget_messages()

    return functools.cache(lambda session_id: Derived(memory.backend, session_id))


@wirings
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize(
    "factory_of",
    [lambda memory: memory.history, new_for_each_turn, one_for_all_turns, one_turn_for_all, one_derived_for_all],
    ids=["history", "new for each turn", "one for all turns", "one turn for all", "one derived for all"],
)
async def test_whatever_a_factory_returns_turns_that_overlap_lose_nothing(memory, together, wire, factory_of, before):
    memory.history("s").add_messages(conversation(before))
    factory = factory_of(memory)
    for round_ in range(2):
        chain, ask = wire(memory, Meeting(8).model, factory=factory)
        await together(chain, [ask(f"q{round_}{n}") for n in range(8)], session("s"))
    stored = texts(memory.history("s").get_recent(1000))[before:]
    assert sorted(stored[::2]) == sorted(f"q{round_}{n}" for round_ in range(2) for n in range(8))
    assert stored[1::2] == [f"re: {question}" for question in stored[::2]]


BLOCKS: list[Any] = [
    {"type": "image", "base64": "aGk=", "mime_type": "image/png"},
    {"type": "file", "base64": "aGk=", "mime_type": "application/pdf"},
    {"text": "without a type"},
]


class Waiting(ScriptedChatModel):
    """A chat model whose answers wait until two turns have read their history."""

    _barrier: threading.Barrier = PrivateAttr(default_factory=lambda: threading.Barrier(2, timeout=PATIENCE))

    def _generate(self, *args: Any, **options: Any) -> Any:
        self._barrier.wait()
        return super()._generate(*args, **options)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.get("type", "no type"))
@pytest.mark.parametrize("factory_of", [lambda memory: memory.history, one_for_all_turns, one_turn_for_all])
def test_blocks_that_a_chat_model_changes_in_its_trace_lose_no_overlapping_turn(sqlite_memory, block, factory_of):
    sqlite_memory.history("s").add_messages(
        [HumanMessage([{"type": "text", "text": "look"}, block]), AIMessage("nice")]
    )
    chain, ask = without_a_key(sqlite_memory, Waiting(["one", "two"]), factory=factory_of(sqlite_memory))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda question: chain.invoke(ask(question), session("s")), ["q1", "q2"]))
    stored = texts(sqlite_memory.history("s").get_recent())[2:]
    assert sorted(stored[::2]) == ["q1", "q2"]
    assert sorted(stored[1::2]) == ["one", "two"]


async def test_turns_of_one_object_that_repeat_what_was_said_are_stored_whole(memory, call):
    history = memory.history("s")
    model = ScriptedChatModel(["hello", RuntimeError("model is down"), "hello", "hello"])
    chain, ask = without_a_key(memory, model, factory=lambda session_id: history)
    for number in range(4):
        if number == 1:
            with pytest.raises(RuntimeError):
                await call(chain.invoke, ask("hi"), session("s"))
        else:
            await call(chain.invoke, ask("hi"), session("s"))
    assert texts(await call(history.get_recent)) == ["hi", "hello"] * 3


@wirings
async def test_a_turn_after_a_failed_one_reads_what_others_stored_since(memory, call, wire):
    model = ScriptedChatModel([RuntimeError("model is down"), "two"])
    chain, ask = wire(memory, model, factory=one_turn_for_all(memory))
    with pytest.raises(RuntimeError):
        await call(chain.invoke, ask("a"), session("s"))
    await call(memory.history("s").add_messages, [HumanMessage("from elsewhere")])
    await call(chain.invoke, ask("b"), session("s"))
    assert texts(model.requests[1])[-2:] == ["from elsewhere", "b"]


async def test_outside_of_a_chain_one_object_reads_what_is_stored(memory, call):
    history = memory.history("s")
    chain, ask = without_a_key(memory, ScriptedChatModel(["one"]), factory=lambda session_id: history)
    await call(chain.invoke, ask("a"), session("s"))
    await call(memory.history("s").add_messages, [HumanMessage("b")])
    assert texts(await history.aget_messages()) == texts(history.messages) == ["a", "one", "b"]


async def test_the_history_of_a_turn_may_be_read_again_inside_it(memory, call):
    seen: list[list[Any]] = []

    def answer(messages: list[BaseMessage]) -> AIMessage:
        seen.append(texts(memory.history("s").get_recent()))
        return AIMessage("one")

    chain, ask = without_a_key(memory, RunnableLambda(answer))
    await call(chain.invoke, ask("a"), session("s"))
    await call(chain.invoke, ask("b"), session("s"))
    assert seen == [[], ["a", "one"]]
    assert texts(memory.history("s").get_recent()) == ["a", "one", "b", "one"]


# What a turn costs


@wirings
async def test_a_turn_is_one_read_and_one_write(memory, call, wire, monkeypatch):
    await call(memory.history("s").add_messages, conversation(100))
    chain, ask = wire(memory, ScriptedChatModel(["one", "two"]), factory=memory.session_history(max_messages=40))
    costs = Costs(memory, monkeypatch)
    await call(chain.invoke, ask("a"), session("s"))
    assert costs.transactions == ["read", "write"]
    costs.reset()
    await call(chain.invoke, ask("b"), session("s"))
    assert costs.transactions == ["read", "write"]


@wirings
async def test_a_turn_costs_the_same_on_ten_thousand_messages_as_on_a_hundred(url, memory, call, wire, monkeypatch):
    await call(memory.history("short").add_messages, [SystemMessage("rules"), *conversation(100)])
    await call(memory.history("long").add_messages, [SystemMessage("rules"), *conversation(10_000)])
    chain, ask = wire(memory, ScriptedChatModel(["a"] * 4), factory=memory.session_history(max_messages=40))
    costs = Costs(memory, monkeypatch)
    measured = []
    for session_id in ("short", "long"):
        # The first turn may load a script, onto one of several servers.
        await call(chain.invoke, ask("q"), session(session_id))
        costs.reset()
        await call(chain.invoke, ask("q"), session(session_id))
        measured.append((list(costs.transactions), costs.statements, costs.rows))
    (kinds, *short), (others, *long) = measured
    assert kinds == others
    # On a cluster, the index of sessions may be on the node of one session and not on that of the other.
    assert long == pytest.approx(short, abs=1 if "cluster" in url else 0)
    assert long[1] <= 45
