"""Malformed messages: refused before anything is written, repaired where a refusal would lose the turn, readable once stored."""

from __future__ import annotations

import dataclasses
import enum
import json
import logging
import pickle
import secrets
import time
from typing import Any

import numpy as np
import pytest
from identity import without_ids
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_messages,
)
from langchain_core.messages.tool import invalid_tool_call
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import AnyUrl, BaseModel

from langchain_agentmem import AgentMemHistory, AgentMemory, InvalidInputError
from langchain_agentmem.backends.contract import Append, MessageRow, SessionKey
from langchain_agentmem.encoding.packing import Packer
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Program, Write, run
from langchain_agentmem.text.words import analyze

LONG = 10**5000
HALF = "cut off: \ud83d"


def with_fields(message: BaseMessage, **fields: Any) -> BaseMessage:
    for name, value in fields.items():
        message.__dict__[name] = value
    return message


def deep() -> Any:
    value: Any = "bottom"
    for _ in range(400):
        value = [value]
    return value


def circle() -> Any:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def called(**call: Any) -> BaseMessage:
    return with_fields(AIMessage("said"), tool_calls=[{"name": "f", "args": {}, "id": "1", **call}])


MALFORMED: dict[str, tuple[str, BaseMessage]] = {
    "a call without an id": (
        "tool_calls[0].id",
        with_fields(AIMessage("said"), tool_calls=[{"name": "f", "args": {}}]),
    ),
    "a call without a name": (
        "tool_calls[0].name",
        with_fields(AIMessage("said"), tool_calls=[{"args": {}, "id": "1"}]),
    ),
    "a call without arguments": (
        "tool_calls[0].args",
        with_fields(AIMessage("said"), tool_calls=[{"name": "f", "id": "1"}]),
    ),
    "arguments that are text": ("tool_calls[0].args", called(args="{}")),
    "a numeric id of a call": ("tool_calls[0].id", called(id=7)),
    "the second call": (
        "tool_calls[1].id",
        with_fields(AIMessage("said"), tool_calls=[{"name": "f", "args": {}, "id": "1"}, {"name": "g", "args": {}}]),
    ),
    "calls that are text": ("tool_calls", with_fields(AIMessage("said"), tool_calls="search")),
    "calls that are None": ("tool_calls", with_fields(AIMessage("said"), tool_calls=None)),
    "a call that is text": ("tool_calls[0]", with_fields(AIMessage("said"), tool_calls=["search"])),
    "invalid calls that are None": ("invalid_tool_calls", with_fields(AIMessage("said"), invalid_tool_calls=None)),
    "an invalid call without arguments": (
        "invalid_tool_calls[0].args",
        with_fields(AIMessage("said"), invalid_tool_calls=[{**invalid_tool_call(), "args": 5}]),
    ),
    "a long integer in arguments": ("tool_calls", called(args={"n": [LONG]})),
    "a long integer in content": ("content", HumanMessage([{"type": "text", "text": "said", "n": LONG}])),
    "a long integer in keywords": ("additional_kwargs", HumanMessage("said", additional_kwargs={"n": LONG})),
    "deep arguments": ("tool_calls", called(args={"n": deep()})),
    "a circle": ("tool_calls", called(args=circle())),
    "a numeric name": ("name", with_fields(HumanMessage("said"), name=5)),
    "a numeric id": ("id", with_fields(HumanMessage("said"), id=5)),
    "no content": ("content", HumanMessage.model_construct()),
    "content that is None": ("content", with_fields(AIMessage("said"), content=None)),
    "content that is a number": ("content", HumanMessage.model_construct(content=5)),
    "content that is bytes": ("content", HumanMessage.model_construct(content=b"said")),
    "a block that is None": ("content", with_fields(HumanMessage("said"), content=["said", None])),
    "keywords that are None": ("additional_kwargs", with_fields(HumanMessage("said"), additional_kwargs=None)),
    "metadata that are a list": ("response_metadata", with_fields(AIMessage("said"), response_metadata=[1])),
    "a result of no call": ("tool_call_id", with_fields(ToolMessage("said", tool_call_id="1"), tool_call_id=None)),
    "a result without a call": ("tool_call_id", ToolMessage.model_construct(content="said")),
    "an unknown status": ("status", with_fields(ToolMessage("said", tool_call_id="1"), status="odd")),
    "no role": ("role", with_fields(ChatMessage("said", role="judge"), role=None)),
    "usage that is text": ("usage_metadata", with_fields(AIMessage("said"), usage_metadata="12")),
    "chunks that are None": ("tool_call_chunks", with_fields(AIMessageChunk("said"), tool_call_chunks=None)),
    "another type": ("type", with_fields(HumanMessage("said"), type="ai")),
}
malformed = pytest.mark.parametrize("name", MALFORMED)
AROUND = [SystemMessage("rules"), HumanMessage("first question"), AIMessage("first answer")]


@malformed
async def test_a_malformed_message_is_refused_with_its_place_and_nothing_is_written(memory, call, name):
    history = memory.history("s")
    where, message = MALFORMED[name]
    with pytest.raises(InvalidInputError) as caught:
        await call(history.add_messages, [HumanMessage("before"), message])
    assert f"messages[1]: {where}: " in str(caught.value)
    assert await call(history.count) == 0


def test_an_error_names_every_faulty_field(sqlite_memory):
    message = with_fields(AIMessage("said"), name=5, tool_calls="x", invalid_tool_calls=None)
    with pytest.raises(InvalidInputError) as caught:
        sqlite_memory.history("s").add_messages([message])
    assert all(f"{field}: " in str(caught.value) for field in ("name", "tool_calls", "invalid_tool_calls"))


@pytest.mark.parametrize("message", [HumanMessage(HALF), HumanMessage("a", additional_kwargs={"k": [HALF]})], ids=ascii)
def test_broken_text_is_refused_with_its_place(sqlite_memory, message):
    with pytest.raises(
        InvalidInputError, match=r"messages\[1\]: (content|additional_kwargs): .* half of a surrogate pair"
    ):
        sqlite_memory.history("s").add_messages([HumanMessage("before"), message])


async def test_an_old_pickle_that_lacks_newer_fields_is_completed(memory, call):
    message = AIMessage("said")
    for field in ("invalid_tool_calls", "usage_metadata", "response_metadata"):
        del message.__dict__[field]
    old = pickle.loads(pickle.dumps(message))
    await call(memory.history("s").add_messages, [old])
    assert without_ids(await call(memory.history("s").get_recent)) == [AIMessage("said")]


# Stored by earlier versions


def store_raw(memory: AgentMemory, session_id: str, messages: list[BaseMessage]) -> None:
    """Store messages as earlier versions did: unchecked."""
    packer = Packer(JsonPlusSerializer())
    rows = [
        MessageRow(
            at,
            message.type,
            None,
            False,
            time.time(),
            None,
            Typed(f"message:{type(message).__name__}", packer.pack(message.__dict__)),
            analyze("said", "english"),
        )
        for at, message in enumerate(messages)
    ]
    append = memory.backend.messages.append(
        SessionKey("default", None, session_id), Append(rows, None, time.time(), token=secrets.randbits(62))
    )

    def program() -> Program[None]:
        yield from Write(memory.backend, append)

    run(program())


STORED = [name for name in MALFORMED if name not in ("deep arguments", "a circle", "another type")]


@pytest.mark.parametrize("name", STORED)
async def test_a_malformed_message_that_is_stored_already_can_be_read(memory, call, name):
    _, message = MALFORMED[name]
    store_raw(memory, "s", [*AROUND, message, HumanMessage("last question")])
    history = memory.history("s")
    recent = await call(history.get_recent)
    assert len(recent) == 5
    assert [one.content for one in recent if one is not recent[3]] == [
        *(one.content for one in AROUND),
        "last question",
    ]
    restored = recent[3]
    assert type(restored) is type(message)
    json.dumps(restored.model_dump())
    convert_to_openai_messages([restored])
    type(restored).model_validate(restored.model_dump())
    again = memory.history("copy")
    await call(again.add_messages, recent)
    assert await call(again.get_recent) == recent
    for window in (
        memory.history("s"),
        memory.history("s", max_messages=3),
        memory.history("s", max_tokens=1000),
    ):
        sync = window.messages
        assert sync[-1].content == "last question"
        assert await window.aget_messages() == sync
    assert len(await call(history.search, "said", 10, around=2)) >= 1
    compressor = memory.compressor(lambda messages: AIMessage("in short"), max_messages=3)
    compressed = memory.history("s", compressor=compressor).messages
    assert compressed[-1].content == "last question"


async def test_what_a_repair_leaves_out_is_described_in_the_metadata(memory):
    store_raw(memory, "s", [with_fields(AIMessage("said"), tool_calls="search for cats")])
    (restored,) = memory.history("s").get_recent()
    assert restored.content == "said"
    assert restored.tool_calls == []
    assert restored.response_metadata["malformed"] == {"tool_calls": "'search for cats'"}


CALL = {"name": "f", "args": {}, "id": "1", "type": "tool_call"}


@pytest.mark.parametrize(
    ("fields", "calls", "described"),
    [
        ({"tool_calls": [{"name": "f", "args": '{"q": [1]}', "id": "1"}]}, [{**CALL, "args": {"q": [1]}}], None),
        ({"tool_calls": {"name": "f", "args": {}, "id": "1"}}, [CALL], None),
        ({"tool_calls": [CALL, "find cats"]}, [CALL], "find cats"),
        ({"tool_calls": [{"name": "f", "args": "cats", "id": "1"}]}, [CALL], "cats"),
        ({"usage_metadata": {"input_tokens": 1}}, [], "'input_tokens': 1"),
        ({"type": "odd"}, [], "odd"),
    ],
)
def test_a_repair_keeps_or_describes_every_part_of_a_field(sqlite_memory, fields, calls, described):
    store_raw(sqlite_memory, "s", [with_fields(AIMessage("said"), **fields)])
    (restored,) = sqlite_memory.history("s").get_recent()
    assert restored.tool_calls == calls
    (field,) = fields
    found = restored.response_metadata.get("malformed", {})
    assert described in found[field] if described else found == {}


async def test_an_unknown_status_is_described_in_the_metadata(sqlite_memory):
    store_raw(sqlite_memory, "s", [MALFORMED["an unknown status"][1]])
    (restored,) = sqlite_memory.history("s").get_recent()
    assert (restored.status, restored.response_metadata) == ("success", {"malformed": {"status": "'odd'"}})


async def test_extraction_reads_a_session_with_malformed_messages(memory, call):
    prompts = []

    def model(prompt: Any) -> AIMessage:
        prompts.append(prompt)
        return AIMessage(json.dumps({"add": [{"text": "Alice likes cats", "sources": [1]}]}))

    store_raw(memory, "s", [HumanMessage("I like cats"), *(MALFORMED[name][1] for name in STORED)])
    recent = await call(memory.history("s").get_recent, 100)
    node = memory.profile_node(RunnableLambda(model))
    await call(node.invoke, {"messages": recent}, {"configurable": {"user_id": "alice"}})
    assert prompts


# In the state of a graph, which no history checked


@malformed
async def test_malformed_messages_of_a_state_block_neither_compressor_nor_extraction(sqlite_memory, call, name):
    messages = [
        *AROUND,
        HumanMessage("words " * 50),
        MALFORMED[name][1],
        HumanMessage("more"),
        HumanMessage("last question"),
    ]
    for limit in ({"max_messages": 3}, {"max_tokens": 300}):
        compressor = sqlite_memory.compressor(lambda messages: AIMessage("in short"), **limit)
        assert (await call(compressor.invoke, messages))[-1].content == "last question"
    prompts = []

    def model(prompt: Any) -> AIMessage:
        prompts.append(prompt)
        return AIMessage(json.dumps({"add": [{"text": "Alice likes cats", "sources": [1]}]}))

    node = sqlite_memory.profile_node(RunnableLambda(model))
    await call(node.invoke, {"messages": messages}, {"configurable": {"user_id": "alice"}})
    assert prompts


# Inside RunnableWithMessageHistory

factories = pytest.mark.parametrize("factory", ["get_session_history", "history"])


def chain_with(memory: AgentMemory, answer: Any, factory: str, **options: Any) -> Any:
    return RunnableWithMessageHistory(RunnableLambda(lambda messages: answer), getattr(memory, factory), **options)


SESSION: Any = {"configurable": {"session_id": "s"}}


@factories
@malformed
async def test_a_turn_of_a_chain_is_stored_in_a_repaired_form(sqlite_memory, call, caplog, name, factory):
    _, message = MALFORMED[name]
    chain = chain_with(sqlite_memory, message, factory)
    with caplog.at_level(logging.WARNING):
        await call(chain.invoke, [HumanMessage("question")], SESSION)
    question, answer = await call(sqlite_memory.history("s").get_recent)
    assert question.content == "question"
    assert "said" in str(answer.content) or "content" in name or name == "no content"
    json.dumps(answer.model_dump())
    warnings = [record.getMessage() for record in caplog.records if "repaired form" in record.getMessage()]
    assert len(warnings) == 1
    assert "messages[1]" in warnings[0]


async def test_a_turn_of_a_chain_is_stored_on_every_backend(memory, call, caplog):
    chain = chain_with(memory, called(args={"n": LONG}), "get_session_history")
    await call(chain.invoke, [HumanMessage("question")], SESSION)
    _, answer = await call(memory.history("s").get_recent)
    assert answer.tool_calls == [{"name": "f", "args": {"n": hex(LONG)}, "id": "1", "type": "tool_call"}]
    assert "stored in a repaired form" in caplog.text


@factories
async def test_a_streamed_turn_is_stored_too(sqlite_memory, call, factory):
    chain = chain_with(sqlite_memory, with_fields(AIMessage("said"), name=5), factory)
    await call(chain.stream, [HumanMessage("question")], SESSION)
    assert [one.name for one in await call(sqlite_memory.history("s").get_recent)] == [None, "5"]


GIVEN: list[tuple[Any, Any, list[BaseMessage]]] = [
    ([("human", "question")], AIMessage("said"), [HumanMessage("question"), AIMessage("said")]),
    (
        [HumanMessage("one"), {"role": "user", "content": "two"}],
        AIMessage("said"),
        [HumanMessage("one"), HumanMessage("two"), AIMessage("said")],
    ),
    (["question"], ["one", "two"], [HumanMessage("question"), AIMessage("one"), AIMessage("two")]),
    ("question", [{"role": "assistant", "content": "said"}], [HumanMessage("question"), AIMessage("said")]),
    ("question", [("ai", "said")], [HumanMessage("question"), AIMessage("said")]),
    ("question", [5], [HumanMessage("question"), AIMessage("5")]),
]


@factories
@pytest.mark.parametrize(("question", "answer", "stored"), GIVEN, ids=lambda one: ascii(one)[:40])
async def test_what_models_accept_as_messages_loses_no_turn(sqlite_memory, call, factory, question, answer, stored):
    chain = chain_with(sqlite_memory, answer, factory)
    for _ in range(2):
        await call(chain.invoke, question, SESSION)
    assert without_ids(await call(sqlite_memory.history("s").get_recent)) == stored * 2


def test_a_value_that_is_no_message_is_stored_as_text_with_a_warning(sqlite_memory, caplog):
    chain_with(sqlite_memory, [Opaque()], "history").invoke("question", SESSION)
    _, answer = sqlite_memory.history("s").get_recent()
    assert "Opaque object" in answer.content
    assert f"A value of type {__name__}.Opaque that a chain gave as a message is stored as text" in caplog.text


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Row:
    name: str
    colour: Any = None


class Parsed(BaseModel):
    rows: list[Row]


class Opaque:
    pass


class Rude:
    def model_dump(self) -> Any:
        raise RuntimeError


class Note(AIMessage):
    pass


class Link(BaseModel):
    uri: AnyUrl


OPAQUE = f"[a value of type {__name__}.Opaque, which cannot be stored]"
ARTIFACTS: list[tuple[Any, Any]] = [
    (Colour.RED, "red"),
    (Parsed(rows=[Row("a", Colour.RED)]), {"rows": [{"name": "a", "colour": "red"}]}),
    (np.float32(1.5), 1.5),
    ([Link(uri="https://example.org/")], [{"uri": "https://example.org/"}]),
    ({"n": np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])}, {"n": [(1, 2.0)]}),
    ([Opaque(), 1], [OPAQUE, 1]),
    ({Opaque: 1}, {str(Opaque): 1}),
    (Rude(), OPAQUE.replace("Opaque", "Rude")),
    ((Opaque(), {1, 2}), (OPAQUE, {1, 2})),
    (HALF, "cut off: ?"),
]


@pytest.mark.parametrize(("artifact", "stored"), ARTIFACTS, ids=lambda one: ascii(one)[:30])
async def test_an_artifact_that_cannot_be_stored_loses_no_turn(sqlite_memory, call, artifact, stored):
    message = ToolMessage("said", tool_call_id="1", artifact=artifact)
    await call(chain_with(sqlite_memory, message, "get_session_history").invoke, [HumanMessage("question")], SESSION)
    _, restored = await call(sqlite_memory.history("s").get_recent)
    assert restored.artifact == stored
    assert message.artifact is artifact


async def test_one_warning_names_each_type_of_value_that_cannot_be_stored(sqlite_memory, call, caplog):
    message = AIMessage("said", response_metadata={"a": Opaque(), "b": [Opaque()]}, additional_kwargs={"c": Colour.RED})
    chain = chain_with(sqlite_memory, message, "get_session_history")
    for _ in range(2):
        await call(chain.invoke, [HumanMessage("question")], SESSION)
    assert await call(sqlite_memory.history("s").count) == 4
    named = [record.getMessage().split()[3] for record in caplog.records if "Values of type" in record.getMessage()]
    assert sorted(named) == sorted([f"{__name__}.Opaque", f"{__name__}.Colour"])


@pytest.mark.parametrize("message", [Note("said"), BaseMessage(content="said", type="custom")], ids=repr)
async def test_a_message_of_a_class_of_ones_own_loses_no_turn(sqlite_memory, call, message):
    await call(chain_with(sqlite_memory, message, "get_session_history").invoke, [HumanMessage("question")], SESSION)
    _, restored = await call(sqlite_memory.history("s").get_recent)
    assert restored.content == "said"
    assert type(restored) is (AIMessage if isinstance(message, AIMessage) else ChatMessage)


class Mine(AgentMemHistory):
    def add_messages(self, messages: Any, **options: Any) -> None:
        super().add_messages(messages, **options)


async def test_a_history_of_a_class_of_ones_own_repairs_too(sqlite_memory, call):
    def factory(session_id: str) -> AgentMemHistory:
        return Mine(sqlite_memory.backend, session_id)

    chain = RunnableWithMessageHistory(RunnableLambda(lambda messages: MALFORMED["a numeric name"][1]), factory)
    await call(chain.invoke, [HumanMessage("question")], SESSION)
    assert await call(sqlite_memory.history("s").count) == 2


async def test_a_step_inside_a_chain_that_adds_messages_itself_is_told(sqlite_memory):
    history = sqlite_memory.history("other")

    def step(messages: Any) -> AIMessage:
        history.add_messages([MALFORMED["a numeric name"][1]])
        return AIMessage("not reached")

    chain = RunnableWithMessageHistory(RunnableLambda(step), sqlite_memory.get_session_history)
    with pytest.raises(InvalidInputError, match="name"):
        chain.invoke([HumanMessage("question")], SESSION)
