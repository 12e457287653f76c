"""Finding checkpoints: IDs of any kind, pages of any length, and filters on any metadata."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from listed_checkpoints import BIG, checkpoint, ids, put, thread

from langchain_agentmem import (
    AgentMemSaver,
)
from langchain_agentmem.checkpointing.containment import contains

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
