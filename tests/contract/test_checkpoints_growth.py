"""What a turn costs does not grow with the thread: bytes, statements, transactions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest
from counting import Costs
from database import database
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import START, MessagesState, StateGraph
from typing_extensions import TypedDict

from langchain_agentmem import AgentMemory

CONFIG: Any = {"configurable": {"thread_id": "1"}}
WORDS = [
    "".join(letters)
    for source in [random.Random(5)]
    for letters in (source.choices("abcdefghijklmnoprstuvwz", k=source.randint(2, 11)) for _ in range(3000))
]


def texts(seed: int) -> Iterator[str]:
    """Texts of 400 characters of words, all different."""
    source = random.Random(seed)
    while True:
        yield " ".join(source.choices(WORDS, k=90))[:400]


def one_node(state: Any, saver: Any, node: Callable[[Any], Any]) -> Any:
    builder = StateGraph(state)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile(checkpointer=saver)


def payload(url: str) -> int:
    """The bytes of all columns of all our tables."""
    with database(url) as opened:
        return opened.payload()


async def per_turn(url: str, turn: Callable[[], Any], turns: int = 60) -> tuple[float, float]:
    """The bytes that a turn adds: in turns 10 to 20, and in the last 10."""
    sizes = {}
    for number in range(1, turns + 1):
        await turn()
        if number in (10, 20, turns - 10, turns):
            sizes[number] = payload(url)
    assert min(sizes.values()) > 0
    return (sizes[20] - sizes[10]) / 10, (sizes[turns] - sizes[turns - 10]) / 10


@pytest.fixture
def quick_url(lasting_url: str) -> str:
    return f"{lasting_url}?synchronous=normal" if lasting_url.startswith("sqlite") else lasting_url


async def test_a_turn_of_a_long_conversation_adds_as_many_bytes_as_one_of_a_short(quick_url, call):
    questions, answers = texts(1), texts(2)
    with AgentMemory.from_url(quick_url) as memory:
        graph = one_node(MessagesState, memory.checkpointer, lambda _: {"messages": [AIMessage(next(answers))]})

        async def turn() -> None:
            await call(graph.invoke, {"messages": [HumanMessage(next(questions))]}, CONFIG, durability="sync")

        early, late = await per_turn(quick_url, turn)
        assert len((await call(graph.get_state, CONFIG)).values["messages"]) == 120
    assert late == pytest.approx(early, rel=0.2)
    assert late < 8 * 2 * 400


class Notes(TypedDict):
    log: list[str]
    table: dict[str, str]
    nested: dict[str, list[str]]


@pytest.mark.parametrize("channel", ["log", "table", "nested"])
async def test_a_value_that_a_node_returns_whole_adds_only_what_is_new_in_it(quick_url, channel):
    source = texts(3)

    def node(state: Notes) -> Any:
        if channel == "log":
            return {"log": [*state.get("log", []), next(source)]}
        if channel == "table":
            table = state.get("table", {})
            return {"table": {**table, f"key {len(table)}": next(source)}}
        return {"nested": {"n": ["x"], "log": [*state.get("nested", {}).get("log", []), next(source)]}}

    with AgentMemory.from_url(quick_url) as memory:
        graph = one_node(Notes, memory.checkpointer, node)

        async def turn() -> None:
            graph.invoke({}, CONFIG, durability="sync")

        early, late = await per_turn(quick_url, turn)
        value = graph.get_state(CONFIG).values[channel]
        assert len(value["log"] if channel == "nested" else value) == 60
    # A few references more, once in the channel and once in the write: all of them would be 2 * 60 * 16 bytes.
    assert late < early + 1200
    assert late < 400 + 4000


async def test_a_conversation_that_is_encrypted_grows_no_faster(quick_url):
    source = texts(4)
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"k" * 32)
    with AgentMemory.from_url(quick_url, serde=serde) as memory:
        graph = one_node(MessagesState, memory.checkpointer, lambda _: {"messages": [AIMessage(next(source))]})

        async def turn() -> None:
            graph.invoke({"messages": [HumanMessage(next(source))]}, CONFIG, durability="sync")

        early, late = await per_turn(quick_url, turn)
    assert late == pytest.approx(early, rel=0.2)


async def test_a_window_of_messages_stays_as_cheap_as_it_was(quick_url):
    """The oldest messages go as new ones come; their texts stay stored for the checkpoints of their time."""
    source = texts(5)

    def node(state: MessagesState) -> Any:
        old = [RemoveMessage(id=message.id) for message in state["messages"][:-10]]
        return {"messages": [*old, AIMessage(next(source))]}

    with AgentMemory.from_url(quick_url) as memory:
        graph = one_node(MessagesState, memory.checkpointer, node)

        async def turn() -> None:
            graph.invoke({"messages": [HumanMessage(next(source))]}, CONFIG, durability="sync")

        early, late = await per_turn(quick_url, turn)
        assert len(graph.get_state(CONFIG).values["messages"]) == 11
    assert late == pytest.approx(early, rel=0.2)


async def test_a_message_that_is_put_again_is_not_stored_again(quick_url, call):
    source = texts(6)

    def copies(text: str) -> int:
        with database(quick_url) as opened:
            return sum(text.encode() in element.data for element in opened.stored("elements"))

    with AgentMemory.from_url(quick_url) as memory:
        graph = one_node(MessagesState, memory.checkpointer, lambda _: {"messages": [AIMessage(next(source))]})
        for _ in range(20):
            await call(graph.invoke, {"messages": [HumanMessage(next(source))]}, CONFIG)
        whole = (await call(graph.get_state, CONFIG)).values["messages"]
        before = [copies(message.content) for message in whole]
        # As the input, without an id; as what a task wrote; and as part of the conversation.
        assert max(before) <= 3
        for _ in range(2):
            await call(graph.update_state, CONFIG, {"messages": whole})
        assert [copies(message.content) for message in whole] == before


# Statements and transactions


class Notebook(TypedDict):
    messages: Annotated[list[Any], lambda old, new: [*(old or []), *new]]


@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["plain", "encrypted"])
async def test_statements_and_transactions_do_not_grow_with_the_thread(url, call, monkeypatch, key):
    serde = None if key is None else EncryptedSerializer.from_pycryptodome_aes(key=key)
    source = texts(7)
    with AgentMemory.from_url(url, serde=serde) as memory:
        counts = Costs(memory, monkeypatch)
        saver = memory.checkpointer
        value: list[str] = []
        config: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
        seen: dict[int, Any] = {}
        for number in range(1, 81):
            value.append(next(source))
            checkpoint: Any = {
                "v": 4,
                "id": f"{number:06}",
                "ts": "",
                "channel_values": {"log": value, "other": {"a": value[0]}, "n": number},
                "channel_versions": {"log": str(number), "other": "1", "n": str(number)},
                "versions_seen": {},
            }
            new = {"log": str(number), "n": str(number), **({"other": "1"} if number == 1 else {})}
            counts.reset()
            config = await call(saver.put, config, checkpoint, {}, new)
            put = counts.reset()
            await call(saver.put_writes, config, [("log", [*value, "more"]), ("n", 1)], "task")
            put_writes = counts.reset()
            if number in (6, 70, 75, 80):
                found = await call(saver.get_tuple, {"configurable": {"thread_id": "1"}})
                assert found.checkpoint["channel_values"]["log"] == value
                seen[number] = {"put": put, "put_writes": put_writes, "get_tuple": counts.reset()}
    assert [kind for kind, _ in seen[75]["put"]] == ["write"]
    assert [kind for kind, _ in seen[75]["put_writes"]] == ["write"]
    assert [kind for kind, _ in seen[75]["get_tuple"]] == ["read"]
    assert seen[6] | {"put_writes": None} == seen[80] | {"put_writes": None}
    assert seen[70] == seen[80]
    assert all(statements <= 8 for transactions in seen[80].values() for _, statements in transactions)


async def test_a_run_that_stores_its_state_at_its_end_writes_once(url, call, monkeypatch):
    questions, answers = texts(3), texts(4)
    with AgentMemory.from_url(url) as memory:
        graph = one_node(MessagesState, memory.checkpointer, lambda _: {"messages": [AIMessage(next(answers))]})
        await call(graph.invoke, {"messages": [HumanMessage(next(questions))]}, CONFIG, durability="exit")
        counts = Costs(memory, monkeypatch)
        for _ in range(3):
            counts.reset()
            await call(graph.invoke, {"messages": [HumanMessage(next(questions))]}, CONFIG, durability="exit")
            assert counts.transactions == ["read", "write"]
        state = await call(graph.get_state, CONFIG)
        assert len(state.values["messages"]) == 8


async def test_reading_goes_on_in_one_transaction_with_a_cold_cache(lasting_url, call, monkeypatch):
    source = texts(8)
    with AgentMemory.from_url(lasting_url) as memory:
        graph = one_node(MessagesState, memory.checkpointer, lambda _: {"messages": [AIMessage(next(source))]})
        for _ in range(20):
            await call(graph.invoke, {"messages": [HumanMessage(next(source))]}, CONFIG)
        before = payload(lasting_url)
    with AgentMemory.from_url(lasting_url) as memory:
        # The first operation of a memory also checks that the tenant is not encrypted.
        await call(memory.checkpointer.get_tuple, {"configurable": {"thread_id": "another"}})
        counts = Costs(memory, monkeypatch)
        await call(memory.checkpointer.get_tuple, CONFIG)
        assert [kind for kind, _ in counts.reset()] == ["read"]
        graph = one_node(MessagesState, memory.checkpointer, lambda _: {"messages": [AIMessage(next(source))]})
        await call(graph.invoke, {"messages": [HumanMessage(next(source))]}, CONFIG)
    # The turn after a restart writes no more than any other.
    assert payload(lasting_url) - before < 1.5 * before / 20


async def test_a_turn_after_the_whole_history_was_listed_writes_no_more_than_any_other(lasting_url, call):
    source = texts(9)
    with AgentMemory.from_url(lasting_url) as memory:
        graph = one_node(MessagesState, memory.checkpointer, lambda _: {"messages": [AIMessage(next(source))]})

        async def turn() -> int:
            before = payload(lasting_url)
            await call(graph.invoke, {"messages": [HumanMessage(next(source))]}, CONFIG)
            return payload(lasting_url) - before

        sizes = [await turn() for _ in range(40)]
        await call(graph.get_state_history, CONFIG)
        assert await turn() < 1.15 * max(sizes[-20:])
