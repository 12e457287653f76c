"""Finding checkpoints: ids of any kind, pages of any length, filters on any metadata, and clear errors."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

from langchain_agentmem import (
    AgentMemError,
    AgentMemSaver,
    InvalidInputError,
    InvalidTypeError,
    UnsupportedValueError,
)
from langchain_agentmem.checkpointing.containment import contains

BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4
HALF = "half of a pair: \ud83d"


def thread(thread_id: Any = "1", namespace: str | None = "", **more: Any) -> Any:
    where = {} if namespace is None else {"checkpoint_ns": namespace}
    return {"configurable": {"thread_id": thread_id, **where, **more}}


def checkpoint(checkpoint_id: str | None = None, **values: Any) -> Any:
    return {
        "v": 4,
        "id": checkpoint_id or str(uuid6()),
        "ts": "2026-11-20T00:00:00+00:00",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, "1"),
        "versions_seen": {},
    }


async def put(saver: Any, call: Any, config: Any = None, metadata: Any = None, **values: Any) -> Any:
    given = checkpoint(**values)
    return await call(saver.put, config or thread(), given, metadata or {}, given["channel_versions"])


def ids(tuples: list[Any]) -> list[str]:
    return [one.checkpoint["id"] for one in tuples]


# Ids of any kind

ODD_IDS = [
    "*",
    "%",
    "_",
    "?",
    "a/b:c*?[x]%_",
    "ü€😀",
    "alice@example.com",
    "i" * 1024,
    "1|2",
    "1:2",
    "' OR 1=1 --",
    '"; DROP TABLE agentmem_threads; --',
    "{thread}",
    "../../etc/passwd",
    " ",
    "a\nb",
    "null",
    "NULL",
    "0",
    "\u00e9",
    "e\u0301",
    "A",
    "a",
]


async def test_threads_with_odd_ids_are_apart(memory, call):
    saver = memory.checkpointer
    for thread_id in ODD_IDS:
        config = await put(saver, call, thread(thread_id), {"run_id": thread_id}, log=[thread_id, BIG])
        await call(saver.put_writes, config, [("a", [thread_id, BIG])], thread_id, thread_id)
    assert {info.thread_id for info in await call(saver.threads)} == set(ODD_IDS)
    for thread_id in ODD_IDS:
        (found,) = await call(saver.list, thread(thread_id))
        assert found == await call(saver.get_tuple, thread(thread_id))
        assert found.config["configurable"]["thread_id"] == thread_id
        assert found.checkpoint["channel_values"] == {"log": [thread_id, BIG]}
        assert found.pending_writes == [(thread_id, "a", [thread_id, BIG])]


@pytest.mark.parametrize("doomed", ["*", "a/b:c*?[x]%_", "a", "\u00e9"])
async def test_what_is_done_to_a_thread_with_an_odd_id_is_done_to_it_alone(memory, call, doomed):
    saver = memory.checkpointer
    for thread_id in ODD_IDS:
        await put(saver, call, thread(thread_id), {"run_id": thread_id}, log=[BIG, thread_id])
        await put(saver, call, thread(thread_id), {"run_id": f"second {thread_id}"}, log=[BIG, thread_id, 2])

    async def counts() -> dict[str, int]:
        return {one: len(await call(saver.list, thread(one))) for one in ODD_IDS}

    await call(saver.prune, [doomed])
    assert await counts() == {one: 1 if one == doomed else 2 for one in ODD_IDS}
    await call(saver.delete_for_runs, [f"second {doomed}"])
    assert await counts() == {one: 0 if one == doomed else 2 for one in ODD_IDS}
    await put(saver, call, thread(doomed))
    await call(saver.copy_thread, doomed, f"copy {doomed}"[:1000])
    await call(saver.delete_thread, doomed)
    assert await counts() == {one: 0 if one == doomed else 2 for one in ODD_IDS}
    assert len(await call(saver.list, None)) == 2 * (len(ODD_IDS) - 1) + 1


@pytest.mark.parametrize("thread_id", [7, uuid.UUID(int=7)], ids=str)
async def test_a_number_or_uuid_serves_as_thread_id_as_with_other_savers(memory, call, thread_id):
    saver = memory.checkpointer
    stored = await put(saver, call, thread(thread_id), log=[BIG])
    assert stored["configurable"]["thread_id"] == thread_id
    assert (await call(saver.get_tuple, thread(str(thread_id)))).checkpoint == (
        await call(saver.get_tuple, stored)
    ).checkpoint
    assert len(await call(saver.list, thread(thread_id))) == 1
    await call(saver.delete_thread, thread_id)
    assert await call(saver.list, None) == []


async def test_checkpoint_ids_of_any_kind_sort_as_text(memory, call):
    saver = memory.checkpointer
    names = ["a", "B", "10", "9", "ü", "1f0-ab", "%", "*", "😀", "i" * 1024]
    for name in names:
        await call(saver.put, thread(), checkpoint(name), {}, {})
    assert ids(await call(saver.list, thread())) == sorted(names, reverse=True)
    assert ids(await call(saver.list, thread(namespace=None))) == sorted(names, reverse=True)
    assert (await call(saver.get_tuple, thread())).checkpoint["id"] == max(names)
    for name in names:
        assert (await call(saver.get_tuple, thread(checkpoint_id=name))).checkpoint["id"] == name
        assert ids(await call(saver.list, thread(checkpoint_id=name))) == [name]
        before = ids(await call(saver.list, thread(), before=thread(checkpoint_id=name)))
        assert before == sorted((one for one in names if one < name), reverse=True)


# Listing


async def test_a_thread_with_more_than_1000_checkpoints_is_listed_whole(memory, call):
    saver = memory.checkpointer
    expected = []
    for number in range(1050):
        given = checkpoint(f"{number:06}", n=number)
        saver.put(thread(), given, {"step": number, "even": number % 2 == 0}, given["channel_versions"])
        expected.append(given["id"])
    expected.reverse()
    assert ids(await call(saver.list, thread())) == expected
    assert ids(await call(saver.list, thread(namespace=None))) == expected
    assert ids(await call(saver.list, None)) == expected
    assert ids(await call(saver.list, thread(), limit=777)) == expected[:777]
    assert ids(await call(saver.list, thread(), filter={"even": True})) == expected[1::2]
    assert ids(await call(saver.list, thread(), filter={"even": True}, limit=60)) == expected[1:121:2]
    assert ids(await call(saver.list, thread(), filter={"step": 0})) == ["000000"]
    before = await call(saver.list, thread(), before=thread(checkpoint_id="000500"), limit=3)
    assert ids(before) == ["000499", "000498", "000497"]


async def test_listing_works_as_with_langgraphs_own_saver(memory, call):
    """Every combination of what may be restricted."""
    ours, reference = memory.checkpointer, InMemorySaver()
    for number in range(12):
        for saver in (ours, reference):
            given = checkpoint(f"{number:03}", n=number)
            saver.put(thread(f"{number % 2}", ["", "inner"][number % 3 == 0]), given, {"step": number % 5}, {"n": "1"})

    def place(one: Any) -> tuple[str, ...]:
        return tuple(one.config["configurable"][name] for name in ("thread_id", "checkpoint_ns", "checkpoint_id"))

    for config in (None, *(thread(t, ns) for t in ("0", "1", "2") for ns in (None, "", "inner"))):
        for wanted in (None, {}, {"step": 2}, {"step": 9}, {"step": 2, "source": "loop"}):
            for before in (None, thread(checkpoint_id="007")):
                expected = [place(one) for one in reference.list(config, filter=wanted, before=before)]
                expected.sort(key=lambda one: (one[2], one[0], one[1]), reverse=True)
                for limit in (None, 0, 1, 4, 100):
                    found = await call(ours.list, config, filter=wanted, before=before, limit=limit)
                    assert [place(one) for one in found] == expected[:limit]


async def test_a_listing_that_is_left_early_leaves_nothing_open(memory, call):
    saver = memory.checkpointer
    for _ in range(3):
        await put(saver, call, log=[BIG])
    for _ in range(20):
        next(saver.list(thread()))
        async for _ in saver.alist(thread()):
            break
    await put(saver, call)
    assert len(await call(saver.list, thread())) == 4


async def test_what_is_put_while_a_listing_goes_on_does_not_disturb_it(memory):
    saver = memory.checkpointer
    for number in range(120):
        saver.put(thread(), checkpoint(f"{number:04}", log=[BIG]), {}, {"log": "1"})
    seen = []
    for at, one in enumerate(saver.list(thread())):
        seen.append(one.checkpoint["id"])
        if at % 7 == 0:
            saver.put(thread(), checkpoint(f"9{at:04}", log=[BIG]), {}, {"log": "1"})
        if at == 60:
            saver.prune(["other"])
    assert seen == [f"{number:04}" for number in reversed(range(120))]


METADATA: list[dict[str, Any]] = [
    {"source": "input", "step": -1, "parents": {}, "score": {"deep": {"list": [1, {"a": None}]}}},
    {"source": "loop", "step": 0, "parents": {"": "1"}, "flag": True, "nothing": None},
    {"source": "loop", "step": 1, "flag": False, "text": "a\x00b", "ratio": 0.5},
    {"source": "update", "step": 2, "user": "alice@example.com", "tags": ["a", "b"], "big": 2**70},
    {"source": "fork", "step": 3, "user": "%", "tags": [], "empty": ""},
    {"source": "loop", "step": 4, "pair": (1, (2, 3)), "writes": {"node": {"messages": [HumanMessage("hi", id="1")]}}},
]


@pytest.mark.parametrize(
    ("filter", "steps"),
    [
        ({"source": "loop"}, [4, 1, 0]),
        ({"source": "loop", "flag": True}, [0]),
        ({"step": 2}, [2]),
        ({"step": 2.0}, [2]),
        ({"step": "2"}, []),
        ({"step": -1}, [-1]),
        ({"flag": False}, [1]),
        ({"nothing": None, "source": "loop"}, [0]),
        ({"ratio": 0.5}, [1]),
        ({"text": "a\x00b"}, [1]),
        ({"score": {"deep": {"list": [1, {"a": None}]}}}, [-1]),
        ({"score": {"deep": {"list": [1, {"a": 0}]}}}, []),
        ({"score": {"deep": {}}}, [-1]),
        ({"score": {"deep": {"list": [{"a": None}]}}}, [-1]),
        ({"score": {"deep": {"list": [1]}}}, [-1]),
        ({"score": {"deep": {"list": [1, 2]}}}, []),
        ({"score": {"deep": {"list": 1}}}, []),
        ({"score": {"list": [1]}}, []),
        ({"parents": {}}, [0, -1]),
        ({"parents": {"": "1"}}, [0]),
        ({"tags": ["a", "b"]}, [2]),
        ({"tags": ["b", "a"]}, [2]),
        ({"tags": ("b",)}, [2]),
        ({"tags": ["b", "b"]}, [2]),
        ({"tags": ["c"]}, []),
        ({"tags": "a"}, []),
        ({"tags": []}, [3, 2]),
        ({"flag": 1}, []),
        ({"ratio": {}}, []),
        ({"pair": [1, (2,)]}, [4]),
        ({"pair": (1, [2])}, [4]),
        ({"pair": [[3, 2]]}, [4]),
        ({"empty": ""}, [3]),
        ({"user": "%"}, [3]),
        ({"user": "alice@example.com"}, [2]),
        ({"big": 2**70}, [2]),
        ({"writes": {"node": {"messages": [HumanMessage("hi", id="1")]}}}, [4]),
        ({"unknown": 1}, []),
        ({"parents.": "1"}, []),
        ({}, [4, 3, 2, 1, 0, -1]),
    ],
    ids=str,
)
async def test_any_metadata_can_be_filtered_by(memory, call, filter, steps):
    saver = memory.checkpointer
    for metadata in METADATA:
        await put(saver, call, None, metadata)
    for config in (thread(), thread(namespace=None), None):
        found = await call(saver.list, config, filter=filter)
        assert [one.metadata["step"] for one in found] == steps


async def test_a_graphs_history_pages_and_filters(memory, call):
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [("ai", f"{len(state['messages'])}")]})
    builder.add_edge(START, "reply")
    graph = builder.compile(checkpointer=memory.checkpointer)
    for run in "ab":
        for _ in range(5):
            config = {**thread(namespace=None), "metadata": {"run": run}}
            await call(graph.invoke, {"messages": [("user", "hi")]}, config)
    whole = await call(graph.get_state_history, thread(namespace=None))
    assert len(whole) == 30
    pages: list[Any] = []
    while len(pages) < 30:
        before = pages[-1].config if pages else None
        pages += await call(graph.get_state_history, thread(namespace=None), before=before, limit=7)
    assert pages == whole
    inputs = await call(graph.get_state_history, thread(namespace=None), filter={"source": "input", "run": "a"})
    assert len(inputs) == 5


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


async def test_the_repr_of_a_saver_states_its_configuration(memory):
    assert repr(memory.checkpointer) == f"AgentMemSaver({memory.backend!r}, tenant='default', compact=True)"
    alone = AgentMemSaver.from_url("sqlite:///:memory:", ttl=timedelta(minutes=1), tenant="app", compact=False)
    assert repr(alone) == "AgentMemSaver(SqliteBackend(':memory:'), tenant='app', ttl=60, compact=False)"


async def test_a_notebook_shows_a_saver_and_its_threads_as_tables(memory, call):
    saver = memory.checkpointer
    config: Any = {"configurable": {"thread_id": "<b>1</b>", "checkpoint_ns": ""}}
    await call(saver.put, config, empty_checkpoint(), {}, {})
    table = saver._repr_html_()
    assert "<th>threads</th><td>1</td>" in table
    assert "<th>checkpoints</th><td>1</td>" in table
    shown = (await call(saver.threads))._repr_html_()
    assert "&lt;b&gt;1&lt;/b&gt;" in shown
    assert "<b>" not in shown
    assert (await call(saver.threads))[0]._repr_html_() == shown
    await call(memory.close)
    assert "<th>state</th>" in saver._repr_html_()


# Metadata


@pytest.mark.parametrize("compact", [True, False], ids=["compact", "plain"])
async def test_tuples_in_metadata_come_back_as_lists_and_are_found(memory, call, compact):
    saver = AgentMemSaver(memory.backend, compact=compact)
    await put(saver, call, None, {"source": "loop", "pair": (1, ("a", {"deep": (None,)}))})
    (found,) = await call(saver.list, None, filter={"pair": (1, ["a"])})
    assert repr(found.metadata["pair"]) == "[1, ['a', {'deep': [None]}]]"
    assert (await call(saver.get_tuple, thread())).metadata == found.metadata


async def test_tuples_that_an_earlier_version_stored_come_back_as_lists(memory, call, monkeypatch):
    saver = memory.checkpointer
    with monkeypatch.context() as patched:
        patched.setattr("langchain_agentmem.checkpointing.engine.with_lists", lambda metadata: metadata)
        await put(saver, call, None, {"pair": (1, (2,))})
    (found,) = await call(saver.list, None, filter={"pair": [[2]]})
    assert repr(found.metadata["pair"]) == "[1, [2]]"


def test_a_filter_matches_as_postgres_does(postgres_url):
    """Every pair of a few values, asked of Postgres itself."""
    values: list[Any] = [
        *(None, True, False, 0, 1, 1.0, 1.5, "", "a", "1", [], {}, [[]], [{}], {"a": None}, {"a": []}, [None]),
        *([1, 2], [2, 1, 1], [1, [2]], [[1, 2]], [[2]], {"a": 1}, {"a": 1, "b": [1]}, {"b": []}, {"b": [1.0]}),
        *([{"a": 1, "b": 2}], [{"a": 1}, {"b": 2}], {"a": {"a": 1}}, {"a": {}}, [True], ["a", "1"]),
    ]
    documents = [{"k": value} for value in values] + [{}]
    pairs = [(value, wanted) for value in documents for wanted in documents]
    with psycopg.connect(postgres_url.partition("?")[0]) as connection:
        asked = connection.execute(
            "SELECT value::jsonb @> wanted::jsonb FROM unnest(%s::text[], %s::text[]) AS pair (value, wanted)",
            ([json.dumps(value) for value, _ in pairs], [json.dumps(wanted) for _, wanted in pairs]),
        )
        expected = [contained for (contained,) in asked]
    assert [contains(value, wanted) for value, wanted in pairs] == expected


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
