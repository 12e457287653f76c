"""Wrong input of a checkpointer: clear errors, and nothing is written."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.types import Interrupt, Send
from listed_checkpoints import BIG, checkpoint, ids, put, thread
from pydantic import BaseModel

from langchain_agentmem import (
    AgentMemError,
    InvalidInputError,
    InvalidTypeError,
    UnsupportedValueError,
)

HALF = "half of a pair: \ud83d"


# Wrong input: clear errors, and nothing written


@pytest.mark.parametrize(
    ("config", "error", "match"),
    [
        ({"configurable": {}}, InvalidInputError, "names no thread"),
        ({}, InvalidInputError, "names no thread"),
        (thread(""), InvalidInputError, "thread_id must not be empty"),
        (thread(None), InvalidTypeError, "thread_id must be a string"),
        (thread(b"1"), InvalidTypeError, "thread_id must be a string"),
        (thread(["1"]), InvalidTypeError, "thread_id must be a string"),
        (thread(1.5), InvalidTypeError, "thread_id must be a string"),
        (thread(True), InvalidTypeError, "thread_id must be a string"),
        (thread(HALF), InvalidInputError, "half of a surrogate pair"),
        (thread("a\x00b"), InvalidInputError, "NUL"),
        (thread("i" * 1025), InvalidInputError, "1,025 bytes"),
        (thread("ü" * 513), InvalidInputError, "1,026 bytes"),
        (thread("1", 7), InvalidTypeError, "checkpoint_ns must be a string"),
        (thread("1", HALF), InvalidInputError, "checkpoint_ns contains half"),
        (thread("1", "a\x00b"), InvalidInputError, "checkpoint_ns"),
        (thread(checkpoint_id=HALF), InvalidInputError, "checkpoint_id contains half"),
        (thread(checkpoint_id=7), InvalidTypeError, "checkpoint_id must be a string"),
    ],
    ids=ascii,
)
async def test_a_config_that_names_no_checkpoint_is_refused(memory, call, config, error, match):
    saver = memory.checkpointer
    with pytest.raises(error, match=match):
        await call(saver.get_tuple, config)
    with pytest.raises(error, match=match):
        await call(saver.put, config, checkpoint(log=[BIG]), {}, {"log": "1"})
    named = {"configurable": {"checkpoint_id": "1", **config.get("configurable", {})}}
    with pytest.raises(error, match=match):
        await call(saver.put_writes, named, [("a", 1)], "task")
    with pytest.raises(error, match=match):
        await call(saver.get_delta_channel_history, config=config, channels=["a"])
    assert await call(saver.threads) == []


@pytest.mark.parametrize(
    "config",
    [
        thread(""),
        thread(["1"]),
        thread(True),
        thread(HALF),
        thread("a\x00b"),
        thread("1", HALF),
        thread("1", 7),
        thread(checkpoint_id=HALF),
        thread(checkpoint_id=7),
    ],
    ids=ascii,
)
async def test_a_listing_of_what_cannot_exist_is_refused(memory, call, config):
    with pytest.raises(AgentMemError):
        await call(memory.checkpointer.list, config)


async def test_an_empty_checkpoint_id_names_none(memory, call):
    saver = memory.checkpointer
    for number in range(2):
        await call(saver.put, thread(checkpoint_id=""), checkpoint(f"{number}"), {}, {})
    assert (await call(saver.get_tuple, thread(checkpoint_id=""))).checkpoint["id"] == "1"
    assert ids(await call(saver.list, thread(checkpoint_id=""))) == ["1", "0"]
    assert ids(await call(saver.list, thread(), before=thread(checkpoint_id=""))) == ["1", "0"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"limit": -1}, InvalidInputError),
        ({"limit": "5"}, InvalidTypeError),
        ({"limit": 1.5}, InvalidTypeError),
        ({"limit": True}, InvalidTypeError),
        ({"filter": ["source"]}, InvalidTypeError),
        ({"before": thread(checkpoint_id=5)}, InvalidTypeError),
        ({"before": thread(checkpoint_id=HALF)}, InvalidInputError),
    ],
    ids=ascii,
)
async def test_a_listing_with_wrong_options_is_refused(memory, call, options, error):
    await put(memory.checkpointer, call)
    with pytest.raises(error):
        await call(memory.checkpointer.list, thread(), **options)


@pytest.mark.parametrize("method", ["delete_thread", "set_ttl", "copy from", "copy to"])
@pytest.mark.parametrize(
    ("wrong", "error"),
    [("", InvalidInputError), (None, InvalidTypeError), (HALF, InvalidInputError), (["1"], InvalidTypeError)],
    ids=ascii,
)
async def test_a_thread_id_that_cannot_exist_is_refused(memory, call, method, wrong, error):
    saver = memory.checkpointer
    await put(saver, call)
    arguments = {
        "delete_thread": (saver.delete_thread, wrong),
        "set_ttl": (saver.set_ttl, wrong, 10),
        "copy from": (saver.copy_thread, wrong, "2"),
        "copy to": (saver.copy_thread, "1", wrong),
    }[method]
    with pytest.raises(error, match="thread_id"):
        await call(*arguments)
    assert len(await call(saver.list, None)) == 1


@pytest.mark.parametrize("wrong", ["1", b"1", None, 7, {"1"}], ids=repr)
async def test_a_list_of_ids_must_be_a_list(memory, call, wrong):
    saver = memory.checkpointer
    await put(saver, call, None, {"run_id": "1"})
    with pytest.raises(InvalidTypeError, match="thread_ids must be a list of strings"):
        await call(saver.prune, wrong)
    with pytest.raises(InvalidTypeError, match="thread_ids must be a list of strings"):
        await call(saver.prune, wrong, strategy="delete")
    with pytest.raises(InvalidTypeError, match="run_ids must be a list of strings"):
        await call(saver.delete_for_runs, wrong)
    assert len(await call(saver.list, None)) == 1


@pytest.mark.parametrize("wrong", [None, b"1", ["1"], 1.5, True], ids=repr)
async def test_a_list_of_ids_must_hold_ids(memory, call, wrong):
    saver = memory.checkpointer
    await put(saver, call, thread(str(wrong)), {"run_id": str(wrong)})
    await put(saver, call, thread(str(wrong)), {"run_id": str(wrong)})
    with pytest.raises(InvalidTypeError):
        await call(saver.prune, ["1", wrong])
    with pytest.raises(InvalidTypeError):
        await call(saver.delete_for_runs, ["1", wrong])
    with pytest.raises(InvalidTypeError):
        await call(saver.expire_checkpoints, 1, thread_ids=[wrong])
    assert len(await call(saver.list, None)) == 2


@pytest.mark.parametrize("strategy", ["delete_all", "", None, "keep", "KEEP_LATEST"])
async def test_an_unknown_strategy_is_refused_before_anything_is_deleted(memory, call, strategy):
    saver = memory.checkpointer
    for _ in range(3):
        await put(saver, call)
    with pytest.raises(InvalidInputError, match="must be 'keep_latest' or 'delete'"):
        await call(saver.prune, ["1"], strategy=strategy)
    with pytest.raises(AgentMemError):
        await call(saver.prune, ["1", ""], strategy="delete")
    assert len(await call(saver.list, None)) == 3


class Note(BaseModel):
    text: str


VALUES_WITH_HALVES: dict[str, Any] = {
    "a short text": HALF,
    "a long text": HALF + BIG,
    "a list": [BIG, HALF],
    "a short list": [HALF],
    "a dict": {"a": BIG, "b": HALF},
    "a key": {HALF: BIG},
    "a tuple": (BIG, HALF),
    "nested": [BIG, {"a": [{"b": HALF}]}],
    "a message": HumanMessage(HALF),
    "messages": [HumanMessage(BIG), HumanMessage(BIG + HALF)],
    "a message's id": [HumanMessage(BIG, id=HALF)],
    "a set": {BIG, HALF},
    "a dataclass": [Interrupt(value={"question": HALF}, id="1")],
    "a pydantic model": Note(text=HALF),
    "a send": [Send("node", {"a": [HALF]})],
    "a send of a message": Send("node", [HumanMessage(HALF)]),
}


@pytest.mark.parametrize("name", VALUES_WITH_HALVES)
async def test_half_of_a_surrogate_pair_is_refused_and_nothing_is_written(memory, call, name):
    saver = memory.checkpointer
    value = VALUES_WITH_HALVES[name]
    with pytest.raises(InvalidInputError, match="half of a surrogate pair"):
        await put(saver, call, log=value)
    with pytest.raises(InvalidInputError, match="half of a surrogate pair"):
        await call(saver.put_writes, thread(checkpoint_id="1"), [("fine", BIG), ("log", value)], "task")
    assert await call(saver.threads) == []


@pytest.mark.parametrize("where", ["metadata", "metadata's key", "channel", "task", "path", "written channel", "run"])
async def test_half_of_a_surrogate_pair_in_a_name_is_refused_and_nothing_is_written(memory, call, where):
    saver = memory.checkpointer
    config = thread(checkpoint_id="1")
    calls = {
        "metadata": lambda: put(saver, call, None, {"a": {"b": [HALF]}}),
        "metadata's key": lambda: put(saver, call, None, {"a": {HALF: 1}}),
        "channel": lambda: put(saver, call, **{HALF: [BIG]}),
        "task": lambda: call(saver.put_writes, config, [("a", 1)], HALF),
        "path": lambda: call(saver.put_writes, config, [("a", 1)], "task", HALF),
        "written channel": lambda: call(saver.put_writes, config, [("b", 1), (HALF, 1)], "task"),
        "run": lambda: put(saver, call, None, {"run_id": HALF}),
    }
    with pytest.raises(InvalidInputError, match="half of a surrogate pair"):
        await calls[where]()
    assert await call(saver.threads) == []


@pytest.mark.parametrize(
    "value",
    [object(), [BIG, object()], {"a": lambda: None}, 2**70, [BIG, -(2**64)]],
    ids=["object", "list", "dict", "big", "small"],
)
async def test_a_value_that_langgraph_cannot_store_is_refused_and_nothing_is_written(memory, call, value):
    saver = memory.checkpointer
    if value != 2**70:  # a large number by itself is no trouble
        with pytest.raises(UnsupportedValueError):
            await put(saver, call, fine=[BIG], log=value)
    with pytest.raises(UnsupportedValueError):
        await call(saver.put_writes, thread(checkpoint_id="1"), [("fine", BIG), ("log", value)], "task")
    assert await call(saver.threads) == []


# Wrong arguments


def circle() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


CONFIGS = {
    "None": None,
    "text": "x",
    "a number": 7,
    "a list": [],
    "nothing": {},
    "no configurable": {"configurable": None},
    "configurable is text": {"configurable": "x"},
    "no thread": {"configurable": {"checkpoint_ns": ""}},
    "a thread that is None": thread(None),
    "a thread that is a float": thread(1.5),
    "a thread that is a list": thread(["1"]),
    "a thread that is a bool": thread(True),
    "a thread of 5,000 digits": thread(10**5000),
    "a namespace that is a number": thread("1", 5),
    "a checkpoint that is a number": thread(checkpoint_id=5),
}


@pytest.mark.parametrize("name", CONFIGS)
async def test_a_config_that_names_no_thread_is_refused(sqlite_memory, call, name):
    saver, config = sqlite_memory.checkpointer, CONFIGS[name]
    given = checkpoint()
    for method, *arguments in (
        (saver.get_tuple, config),
        (saver.put, config, given, {}, {}),
        (saver.put_writes, config, [("a", 1)], "task"),
    ):
        with pytest.raises((InvalidInputError, InvalidTypeError)):
            await call(method, *arguments)
    with pytest.raises((InvalidInputError, InvalidTypeError)):
        await call(saver.get_delta_channel_history, config=config, channels=["a"])
    assert await call(saver.threads) == []


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in CONFIGS
        if name not in ("None", "nothing", "no configurable", "no thread", "a thread that is None")
    ],
)
async def test_a_listing_with_a_wrong_config_is_refused(sqlite_memory, call, name):
    with pytest.raises((InvalidInputError, InvalidTypeError)):
        await call(sqlite_memory.checkpointer.list, CONFIGS[name])


@pytest.mark.parametrize("before", ["x", 7, {"configurable": "x"}], ids=repr)
async def test_a_listing_before_no_config_is_refused(sqlite_memory, call, before):
    with pytest.raises(InvalidTypeError, match="before"):
        await call(sqlite_memory.checkpointer.list, None, before=before)


@pytest.mark.parametrize(
    ("given", "metadata", "versions"),
    [
        (None, {}, {}),
        ("x", {}, {}),
        ({}, {}, {}),
        ({"id": "1"}, {}, {}),
        ({**checkpoint(), "id": None}, {}, {}),
        ({**checkpoint(), "channel_values": [1]}, {}, {}),
        (checkpoint(), None, {}),
        (checkpoint(), [1], {}),
        (checkpoint(), {}, None),
        (checkpoint(), {}, "x"),
    ],
    ids=lambda one: "checkpoint" if isinstance(one, dict) and "ts" in one else repr(one),
)
async def test_a_checkpoint_whose_parts_are_wrong_is_refused(sqlite_memory, call, given, metadata, versions):
    with pytest.raises((InvalidInputError, InvalidTypeError)):
        await call(sqlite_memory.checkpointer.put, thread(), given, metadata, versions)
    assert await call(sqlite_memory.checkpointer.threads) == []


@pytest.mark.parametrize("writes", [None, "x", [1], [("a",)], ["ab"], [(1, 2)]], ids=repr)
async def test_writes_that_are_no_pairs_are_refused(sqlite_memory, call, writes):
    with pytest.raises(InvalidTypeError):
        await call(sqlite_memory.checkpointer.put_writes, thread(checkpoint_id="1"), writes, "task")
    assert await call(sqlite_memory.checkpointer.threads) == []


async def test_a_filter_that_holds_itself_is_refused(sqlite_memory, call):
    with pytest.raises(InvalidInputError, match="contains itself"):
        await call(sqlite_memory.checkpointer.list, None, filter=circle())
    for condition in (circle(), {"a": {"$eq": circle()}}, {"a": {"$in": [circle()]}}, {"a": [circle()]}):
        with pytest.raises(InvalidInputError, match="contains itself"):
            await call(sqlite_memory.store.search, ("a",), filter=condition)


@pytest.mark.parametrize("version", ["abc", "", object()], ids=lambda one: type(one).__name__)
def test_a_version_without_a_number_is_refused(sqlite_memory, version):
    with pytest.raises(InvalidInputError, match="version"):
        sqlite_memory.checkpointer.get_next_version(version, None)


@pytest.mark.parametrize("user_id", [["a"], 1.5, True, 10**5000], ids=lambda one: type(one).__name__)
async def test_a_user_that_is_no_id_is_refused(sqlite_memory, call, user_id):
    with pytest.raises((InvalidInputError, InvalidTypeError), match="user_id"):
        await put(sqlite_memory.checkpointer, call, thread(user_id=user_id))
    assert await call(sqlite_memory.checkpointer.threads) == []
