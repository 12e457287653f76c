"""Chat history: every message that langchain-core knows comes back equal, and what would not is refused."""

from __future__ import annotations

import enum
import uuid
from collections import OrderedDict, deque, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from any_messages import ALL_TYPES, assert_equal, message
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from identity import without_ids
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from pydantic import BaseModel

from langchain_agentmem import AgentMemError, InvalidInputError, UnsupportedValueError


@settings(deadline=None, max_examples=examples(60), suppress_health_check=list(HealthCheck))
@given(messages=st.lists(st.deferred(lambda: message), min_size=1, max_size=6))
async def test_any_messages_come_back_equal_in_order_and_of_the_same_type(memory, call, messages):
    history = memory.history(str(uuid.uuid4()))
    await call(history.add_messages, messages)
    assert_equal(await call(history.get_recent, 100), messages)
    assert_equal([entry.message for entry in await call(history.stored)], messages)
    assert_equal([one for page in await call(history.pages, 2) for one in page], messages)


def one_of_each() -> list[BaseMessage]:
    called = tool_call(name="look_up", args={"q": "ü€😀\x00", "deep": {"n": [1, 2**80, None]}}, id="call_1")
    return [
        SystemMessage("be kind"),
        HumanMessage(
            [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}]
        ),
        AIMessage(
            "", tool_calls=[called], invalid_tool_calls=[invalid_tool_call(name="g", args="{", id="2", error="no")]
        ),
        ToolMessage(
            "42", tool_call_id="call_1", artifact={"rows": [(1, "a"), (2, "b")]}, status="error", name="look_up"
        ),
        FunctionMessage("old", name="f"),
        ChatMessage("I judge", role="judge"),
        RemoveMessage(id="7"),
        HumanMessageChunk("a"),
        AIMessageChunk("b", tool_call_chunks=[tool_call_chunk(name="f", args="{}", id="1", index=0)]),
        SystemMessageChunk("c"),
        ToolMessageChunk("d", tool_call_id="9"),
        FunctionMessageChunk("e", name="f"),
        ChatMessageChunk("f", role="judge"),
    ]


async def test_one_of_each_type_comes_back_equal(memory, call):
    messages = one_of_each()
    assert {type(one) for one in messages} == ALL_TYPES
    history = memory.history("s")
    await call(history.add_messages, messages)
    assert_equal(await call(history.get_recent, 100), messages)


async def test_chunks_that_were_read_can_still_be_added_up(memory, call):
    history = memory.history("s")
    await call(history.add_messages, [AIMessageChunk("Hel"), AIMessageChunk("lo", chunk_position="last")])
    first, second = await call(history.get_recent)
    assert (first + second).content == "Hello"


async def test_a_message_that_was_read_can_be_sent_on_and_stored_again(memory, call):
    first, second = memory.history("first"), memory.history("second")
    await call(first.add_messages, one_of_each())
    await call(second.add_messages, await call(first.get_recent, 100))
    assert_equal(await call(second.get_recent, 100), one_of_each())
    for restored, original in zip(await call(second.get_recent, 100), one_of_each(), strict=True):
        restored = restored if original.id else without_ids(restored)
        assert restored.model_dump() == original.model_dump()
        assert restored.model_copy(deep=True) == original
        assert type(original).model_validate(restored.model_dump()) == original


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\x00",
        "a\x00b\x00",
        "ü€😀𝔘",
        "\u202e\ufeff\r\n\t",
        "x" * 100_000,
        "😀" * 25_000,
        [],
        [""],
        [{"type": "text", "text": "\x00"}],
        ["plain", {"type": "text", "text": "block"}],
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}],
        "{{braces}} {and} %s '; DROP TABLE agentmem_messages; --",
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_content_comes_back_as_it_was(memory, call, content):
    history = memory.history("s")
    await call(history.add_messages, [HumanMessage(content), AIMessage(content), SystemMessage(content)])
    assert [one.content for one in await call(history.get_recent)] == [content] * 3


async def test_standard_content_blocks_come_back_equal(memory, call):
    message = AIMessage(
        content_blocks=[
            {"type": "reasoning", "reasoning": "She asked for food."},
            {
                "type": "text",
                "text": "Pizza",
                "annotations": [{"type": "citation", "url": "https://a.b", "title": "a"}],
            },
            {"type": "tool_call", "name": "order", "args": {"n": 2}, "id": "1"},
            {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        ],
        response_metadata={"output_version": "v1"},
    )
    history = memory.history("s")
    await call(history.add_messages, [message])
    (restored,) = await call(history.get_recent)
    assert_equal([restored], [message])
    assert restored.content_blocks == message.content_blocks
    assert restored.tool_calls == message.tool_calls
    assert restored.text == "Pizza"


@pytest.mark.parametrize(
    "artifact",
    [
        None,
        {},
        {"a": {"b": [1, (2, 3), {"c": None}]}},
        [],
        (),
        (1, (2, [3])),
        b"\x00\xff",
        {1, 2, 3},
        frozenset({"a"}),
        datetime(2026, 11, 5, 12, 30, 15, 123456, tzinfo=UTC),
        datetime(2026, 11, 5, 12, 30, 15, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(2026, 11, 5),
        date(2026, 11, 5),
        time(12, 30, 15, 7),
        timedelta(days=-1, microseconds=3),
        Decimal("1.10"),
        uuid.UUID(int=7),
        {"at": datetime(2026, 11, 5), "ids": {uuid.UUID(int=1)}, "price": Decimal("9.99"), "raw": (b"a", b"b")},
        Path("/a/b"),
        deque([1, 2]),
        2**200,
        -(2**64),
        float("inf"),
        1.5,
        True,
        {1: "a", 2: "b", None: "c", True: "d"},  # noqa: F601 (on purpose)
        {(1, 2): "a"},
        HumanMessage("inside"),
        [AIMessage("inside", id="1")],
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_artifacts_come_back_equal(memory, call, artifact):
    history = memory.history("s")
    await call(history.add_messages, [ToolMessage("r", tool_call_id="1", artifact=artifact)])
    (restored,) = await call(history.get_recent)
    assert restored.artifact == artifact
    assert type(restored.artifact) is type(artifact)


class Colour(enum.Enum):
    RED = "red"


class Unknown:
    pass


class Model(BaseModel):
    a: int = 1


@dataclass
class Data:
    a: int = 1


class Note(HumanMessage):
    pass


class MyAI(AIMessage):
    pass


Pair = namedtuple("Pair", "a b")

KEYS = [
    datetime(2026, 11, 5),
    date(2026, 11, 5),
    time(12),
    uuid.UUID(int=7),
    Colour.RED,
    frozenset({1}),
    2**80,
    Decimal(1),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
async def test_an_unusual_key_comes_back_equal_or_is_refused(memory, call, key):
    history = memory.history("s")
    message = ToolMessage("r", tool_call_id="1", artifact={key: 1})
    try:
        await call(history.add_messages, [message])
    except UnsupportedValueError:
        assert await call(history.count) == 0
    else:
        assert without_ids(await call(history.get_recent)) == [message]


def itself() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    "message",
    [
        Note("x"),
        MyAI("x"),
        BaseMessage(content="x", type="custom"),
        type("HumanMessage", (HumanMessage,), {})("x"),
        *(
            ToolMessage("r", tool_call_id="1", artifact=value)
            for value in (
                Unknown(),
                Model(),
                Data(),
                Colour.RED,
                Pair(1, 2),
                lambda: None,
                object,
                iter([]),
                1j,
                range(3),
                [Unknown()],
                {"a": (1, Model())},
                {Colour.RED},
                HumanMessage("x", extra=Data()),
                Note("x"),
                itself(),
            )
        ),
        HumanMessage("x", additional_kwargs={"a": Unknown()}),
        HumanMessage("x", response_metadata={"a": [Model()]}),
        AIMessage("x", tool_calls=[tool_call(name="f", args={"a": Unknown()}, id="1")]),
        HumanMessage("x", extra=Data()),
        HumanMessage([{"type": "text", "text": Unknown()}]),
    ],
    ids=lambda one: repr(one)[:70],
)
async def test_what_would_not_come_back_equal_is_refused_and_nothing_is_written(memory, call, message):
    history = memory.history("s")
    await call(history.add_messages, [HumanMessage("before")])
    for messages in ([message], [HumanMessage("fine"), message], [message, HumanMessage("fine")]):
        with pytest.raises(UnsupportedValueError):
            await call(history.add_messages, messages)
    assert without_ids(await call(history.get_recent)) == [HumanMessage("before")]


async def test_a_refused_subclass_is_named_with_what_to_do(memory, call):
    with pytest.raises(UnsupportedValueError, match=r"Note.*Convert it first"):
        await call(memory.history("s").add_messages, [Note("x")])


async def test_a_refused_artifact_is_named_with_what_to_do(memory, call):
    with pytest.raises(UnsupportedValueError, match=r"Colour.*would not come back equal"):
        await call(memory.history("s").add_messages, [ToolMessage("r", tool_call_id="1", artifact=[Colour.RED])])


async def test_what_cannot_be_decoded_within_the_recursion_limit_is_refused_or_comes_back(memory, call):
    for depth in (50, 120, 250, 500, 900, 1020, 1100, 5000):
        deep: list[Any] = []
        for _ in range(depth):
            deep = [deep]
        history = memory.history(f"deep-{depth}")
        try:
            await call(history.add_messages, [ToolMessage("r", tool_call_id="1", artifact=deep)])
        except AgentMemError:
            assert await call(history.count) == 0
            continue
        inner = (await call(history.get_recent))[0].artifact
        reached = 0
        while inner:
            inner, reached = inner[0], reached + 1
        assert reached == depth


HALF = "a\ud83d"


@pytest.mark.parametrize(
    "message",
    [
        HumanMessage(HALF),
        HumanMessage([{"type": "text", "text": HALF}]),
        HumanMessage([{"type": "text", HALF: "x"}]),
        HumanMessage([HALF]),
        HumanMessage("x", name=HALF),
        HumanMessage("x", id=HALF),
        HumanMessage("x", additional_kwargs={"a": {"b": [HALF]}}),
        HumanMessage("x", additional_kwargs={HALF: 1}),
        HumanMessage("x", extra=HALF),
        AIMessage("x", tool_calls=[tool_call(name="f", args={"a": HALF}, id="1")]),
        AIMessage("x", tool_calls=[tool_call(name=HALF, args={}, id="1")]),
        AIMessage("x", tool_calls=[tool_call(name="f", args={}, id=HALF)]),
        ToolMessage("x", tool_call_id=HALF),
        ToolMessage("x", tool_call_id="1", artifact=(HALF,)),
        ToolMessage("x", tool_call_id="1", artifact={"a": HALF}),
        ChatMessage("x", role=HALF),
        RemoveMessage(id=HALF),
    ],
    ids=lambda one: ascii(one)[:70],
)
async def test_half_of_a_surrogate_pair_is_refused_and_nothing_is_written(memory, call, message):
    history = memory.history("s")
    await call(history.add_messages, [HumanMessage("before")])
    for messages in ([message], [HumanMessage("fine"), message]):
        with pytest.raises(InvalidInputError, match="surrogate"):
            await call(history.add_messages, messages)
    assert without_ids(await call(history.get_recent)) == [HumanMessage("before")]


async def test_ordered_and_other_dictionaries_come_back_equal(memory, call):
    history = memory.history("s")
    message = ToolMessage("r", tool_call_id="1", artifact=OrderedDict([("b", 1), ("a", 2)]))
    await call(history.add_messages, [message])
    (restored,) = await call(history.get_recent)
    assert without_ids(restored) == message
    assert list(restored.artifact) == ["b", "a"]
