"""The store and the checkpointer under a key: what the database holds, search, concurrency, and rows of other writers."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from conftest import new_url
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from test_encryption import MARK, MASTER, USER, traces_of

from langchain_agentmem import (
    AgentMemory,
    AgentMemSaver,
    AgentMemStore,
    ConfigurationError,
    DamagedDataError,
    InvalidInputError,
    TamperedDataError,
)
from langchain_agentmem.backends.encrypted import items

TEXTS = ["Pizza in Naples", "Ramen in Osaka", "Pasta and pizza in Rome", "Tacos in Oaxaca", "A bakery in Naples"]


@pytest.fixture(params=["sqlite-file", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request.param, tmp_path)


class Vectors(DeterministicFakeEmbedding):
    """Embeddings of 16 dimensions, the same for the same text."""

    size: int = 16


def graph(saver: AgentMemSaver, *, asks: bool = False) -> Any:
    def answer(state: MessagesState) -> Any:
        said = interrupt(f"{MARK} question") if asks else "answer"
        return {"messages": [AIMessage(f"{MARK} {said} {len(state['messages'])} " * 20)]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=saver)


def config(thread: str, **more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, **more}}


@pytest.mark.parametrize("searchable", [False, True])
async def test_a_dump_holds_no_plaintext_of_items_and_threads(url, call, searchable):
    index: Any = {"embed": Vectors(), "dims": 16}
    with AgentMemory.from_url(url, key=MASTER, searchable=searchable, embeddings=index["embed"]) as memory:
        labels = (MARK, f"{MARK}.dotted", "notes")
        await call(memory.store.put, labels, f"{MARK} key", {"text": f"{MARK} value", MARK: [MARK]}, ttl=60)
        await call(memory.store.put, labels, "own", {MARK: "text"}, index=[MARK])
        await call(memory.store.update, labels, "own", lambda value: {**value, "more": MARK})
        await call(memory.profiles.add_fact, USER, f"{MARK} likes custard tarts")
        asking = graph(memory.checkpointer, asks=True)
        used = config(f"{MARK} thread", user_id=USER, more=MARK)
        used |= {"metadata": {MARK: MARK, "run_id": f"{MARK} run"}, "run_name": MARK, "tags": [MARK]}
        await call(asking.invoke, {"messages": [HumanMessage(f"{MARK} hello " * 20)]}, used)
        await call(asking.invoke, Command(resume=f"{MARK} reply"), used)
        found = await call(memory.store.search, labels[:1], query=f"{MARK} value", filter={"text": f"{MARK} value"})
        assert [item.key for item in found] == [f"{MARK} key"]
        state = await call(asking.get_state, used)
        assert len(state.values["messages"]) == 2
    assert traces_of(url, MARK) == []


@pytest.mark.parametrize("embedded", [False, True])
async def test_a_search_under_a_key_finds_what_one_without_it_finds(url, tmp_path, call, embedded):
    index: Any = {"embed": Vectors(), "dims": 16, "fields": ["text"]} if embedded else None
    found = []
    for number, key in enumerate([{}, {"key": MASTER}, {"key": MASTER, "searchable": True}]):
        kind = next(one for one in ("sqlite-file", "postgres", "redis") if url.startswith(one[:5]))
        own = url if number == 0 else new_url(kind, tmp_path)
        store = AgentMemStore.from_url(own, index=index, **key)
        for at, text in enumerate(TEXTS):
            await call(
                store.put, ("food", str(at % 2)), str(at), {"text": text, "at": at}, index=False if at == 4 else None
            )
        results = await call(store.search, ("food",), query="Where is pizza in Naples?", filter={"at": {"$lt": 4}})
        listed = await call(store.search, ("food", "0"), limit=2)
        found.append(([item.key for item in results], [item.key for item in listed], len(results)))
        assert await call(store.list_namespaces, prefix=("food",), suffix=("1",)) == [("food", "1")]
        assert await call(store.list_namespaces, max_depth=1) == [("food",)]
        await call(store.close)
    assert found[0][1] == found[1][1] == found[2][1]
    assert found[0][0][0] == found[1][0][0] == found[2][0][0] == "0"
    assert set(found[0][0]) == set(found[1][0]) == set(found[2][0])


@pytest.mark.parametrize("embedded", [False, True])
async def test_items_under_a_key_score_as_items_without_one(url, tmp_path, call, embedded):
    embeddings = Vectors() if embedded else None
    found = []
    for number, key in enumerate([None, MASTER]):
        (tmp_path / str(number)).mkdir()
        place = new_url(
            url.partition(":")[0].replace("sqlite", "sqlite-file").replace("postgresql", "postgres"),
            tmp_path / str(number),
        )
        with AgentMemory.from_url(place, key=key, embeddings=embeddings) as memory:
            for at, text in enumerate([*TEXTS, *(f"Note {n} on pasta" for n in range(20))]):
                await call(memory.store.put, ("notes", str(at % 2)), str(at), {"text": text})
            both = [
                await call(memory.store.search, prefix, query="pizza in Rome", limit=30) for prefix in [("notes",), ()]
            ]
            found.append([{item.key: (item.score, item.similarity) for item in some} for some in both])
    assert len(found[0][0]) >= 2
    for plain, sealed in zip(*found, strict=True):
        assert plain.keys() == sealed.keys()
        for key, (score, similarity) in plain.items():
            assert sealed[key] == (pytest.approx(score, abs=1e-4), similarity and pytest.approx(similarity, abs=1e-4))


async def test_a_search_ranks_a_bounded_number_of_items(sqlite_url, call, monkeypatch, caplog):
    monkeypatch.setattr(items, "MAX_RANKED", 3)
    monkeypatch.setattr(items, "_PAGE", 2)
    store = AgentMemStore.from_url(sqlite_url, key=MASTER)
    for at in range(6):
        await call(store.put, ("a",), str(at), {"text": "pizza"})
    with caplog.at_level(logging.WARNING):
        assert {item.key for item in await call(store.search, ("a",), query="pizza")} == {"5", "4", "3", "2"}
    assert "ranked only the newest 3 items" in caplog.text
    await call(store.close)


async def test_reindexing_under_a_key_embeds_what_has_no_vectors(url, call):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        for at, text in enumerate(TEXTS):
            memory.store.put(("food",), str(at), {"text": text})
        before = [(item.key, item.updated_at) for item in memory.store.search(("food",))]
    with AgentMemory.from_url(url, key=MASTER, embeddings=Vectors()) as memory:
        assert (await call(memory.reindex)).items == 5
        assert (await call(memory.reindex)).items == 0
        after = [(item.key, item.updated_at) for item in memory.store.search(("food",))]
        assert sorted(after) == sorted(before)
        assert memory.store.search(("food",), query=TEXTS[1])[0].key == "1"


async def test_16_tasks_write_to_one_thread_and_one_namespace(url):
    saver, store = AgentMemSaver.from_url(url, key=MASTER), AgentMemStore.from_url(url, key=MASTER)
    app = graph(saver)
    await app.ainvoke({"messages": [HumanMessage("start")]}, config("thread"))
    latest = await saver.aget_tuple(config("thread"))
    assert latest is not None

    async def work(number: int) -> None:
        await saver.aput_writes(latest.config, [("messages", [HumanMessage(f"{number} " * 100)])], f"task {number}")
        await store.aput(("notes",), str(number), {"number": number})
        await store.aupdate(("notes",), "sum", lambda value: {"sum": (value or {"sum": 0})["sum"] + number})
        await app.ainvoke({"messages": [HumanMessage(str(number))]}, config(f"other {number % 4}"))

    await asyncio.gather(*(work(number) for number in range(16)))
    stored = await saver.aget_tuple(config("thread"))
    assert stored is not None
    assert {write[0] for write in stored.pending_writes or ()} >= {f"task {number}" for number in range(16)}
    assert (await store.aget(("notes",), "sum")).value == {"sum": sum(range(16))}
    assert len(await store.asearch(("notes",), limit=100)) == 17
    for number in range(4):
        assert [one async for one in saver.alist(config(f"other {number}"))]
    await saver.aclose()
    await store.aclose()


def share(url: str, name: str) -> None:
    with AgentMemory.from_url(url, key=MASTER) as memory:
        app = graph(memory.checkpointer)
        for at in range(2):
            app.invoke({"messages": [HumanMessage(f"{name} {at}")]}, config("shared"))
            app.invoke({"messages": [HumanMessage(f"{name} {at}")]}, config(name))
            memory.store.update(("notes",), "sum", lambda value: {"sum": (value or {"sum": 0})["sum"] + 1})


def test_8_processes_use_one_new_memory_and_one_thread(url, processes):
    processes.together(share, url)
    with AgentMemory.from_url(url, key=MASTER) as memory:
        assert memory.store.get(("notes",), "sum").value == {"sum": 16}
        app = graph(memory.checkpointer)
        for number in range(8):
            assert len(app.get_state(config(str(number))).values["messages"]) == 4
        stored = list(memory.checkpointer.list(config("shared")))
        assert len(stored) == 16 * 3
        assert stored[0].config == app.get_state(config("shared")).config


async def test_a_copied_thread_goes_on_and_is_bound_to_its_own_head(url, call):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        app = graph(memory.checkpointer)
        await call(app.invoke, {"messages": [HumanMessage("one")]}, config("first"))
        await call(memory.checkpointer.copy_thread, "first", "second")
        await call(app.invoke, {"messages": [HumanMessage("two")]}, config("second"))
        for thread, length in (("first", 2), ("second", 4)):
            assert len((await call(app.get_state, config(thread))).values["messages"]) == length
        await call(memory.checkpointer.prune, ["second"], strategy="keep_latest")
        assert len(await call(memory.checkpointer.list, config("second"))) == 1
        assert len((await call(app.get_state, config("second"))).values["messages"]) == 4


async def test_the_latest_checkpoint_of_a_thread_that_another_process_extends(url, call):
    with AgentMemory.from_url(url, key=MASTER) as one, AgentMemory.from_url(url, key=MASTER) as other:
        for number in range(1, 4):
            for memory in (one, other):
                await call(graph(memory.checkpointer).invoke, {"messages": [HumanMessage(str(number))]}, config("1"))
        assert len((await call(graph(one.checkpointer).get_state, config("1"))).values["messages"]) == 12


async def test_a_checkpoint_that_another_process_stored_again_is_listed(url, call):
    checkpoint: Any = {"v": 4, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    place: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    with AgentMemory.from_url(url, key=MASTER) as one, AgentMemory.from_url(url, key=MASTER) as other:
        for memory in (one, other, one):
            await call(memory.checkpointer.put, place, checkpoint, {"by": id(memory)}, {})
        (found,) = await call(other.checkpointer.list, place)
        assert found.metadata == {"by": id(one)}


async def test_long_names_are_refused_before_anything_is_written(url, call):
    with AgentMemory.from_url(url, key=MASTER) as memory:
        with pytest.raises(InvalidInputError, match="at most 2,600"):
            await call(memory.store.put, tuple(f"label {number}" for number in range(100)), "key", {"a": 1})
        assert await call(memory.store.list_namespaces) == []


async def test_a_value_that_cannot_be_stored_leaves_no_thread_behind(url, call):
    checkpoint: Any = {
        "v": 4,
        "id": "1",
        "ts": "",
        "channel_values": {"messages": ["\ud800" * 300]},
        "channel_versions": {"messages": "1"},
        "versions_seen": {},
    }
    with AgentMemory.from_url(url, key=MASTER) as memory:
        place: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
        with pytest.raises(InvalidInputError):
            await call(memory.checkpointer.put, place, checkpoint, {}, {"messages": "1"})
        assert await call(memory.checkpointer.threads) == []
        checkpoint["channel_values"] = {"messages": ["text " * 100]}
        await call(memory.checkpointer.put, place, checkpoint, {}, {"messages": "1"})
        assert len(await call(memory.checkpointer.threads)) == 1


async def test_a_plain_layout_under_a_key_is_refused(url):
    with pytest.raises(ConfigurationError, match="cannot be combined with a key"):
        AgentMemSaver.from_url(url, key=MASTER, compact=False)


async def test_a_thread_of_postgres_saver_is_refused(postgres_url, call):
    from langgraph.checkpoint.postgres import PostgresSaver

    with AgentMemory.from_url(postgres_url, key=MASTER) as memory:
        await call(memory.store.get, ("a",), "b")
        with PostgresSaver.from_conn_string(search_path_of(postgres_url)) as saver:
            graph(saver).invoke({"messages": [HumanMessage("Hello")]}, config("1"))
        with pytest.raises(DamagedDataError, match="copy_from"):
            await call(memory.checkpointer.get_tuple, config("1"))
        with pytest.raises(TamperedDataError, match="copy_from"):
            await call(memory.checkpointer.threads)


def search_path_of(url: str) -> str:
    """The URL of a schema in the form of libpq."""
    base, _, schema = url.partition("?schema=")
    return f"{base}?options=-csearch_path%3D{schema}"


@pytest.mark.parametrize("stored", [False, True])
async def test_a_tenant_keeps_its_searchable_setting(url, call, stored):
    with AgentMemory.from_url(url, key=MASTER, searchable=stored) as memory:
        await call(memory.store.put, ("notes",), "k", {"text": "pizza"})
        await call(memory.profiles.add_fact, USER, "likes pizza")
    with AgentMemory.from_url(url, key=MASTER) as memory:
        assert [one.key for one in await call(memory.store.search, ("notes",), query="pizza")] == ["k"]
        assert len(await call(memory.profiles.search, USER, "pizza")) == 1
        await call(memory.store.put, ("notes",), "k2", {"text": "pizza"})
    with AgentMemory.from_url(url, key=MASTER, searchable=stored) as memory:
        assert len(await call(memory.store.search, ("notes",), query="pizza")) == 2
    with AgentMemory.from_url(url, key=MASTER, searchable=not stored) as memory:
        with pytest.raises(ConfigurationError, match=f"was created with searchable={stored}.*copy_to"):
            await call(memory.store.search, ("notes",), query="pizza")
        with pytest.raises(ConfigurationError, match=f"was created with searchable={stored}"):
            await call(memory.store.put, ("notes",), "k3", {"text": "pizza"})
