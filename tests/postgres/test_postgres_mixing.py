"""LangGraph's own tables: what its saver and its store wrote goes on under ours, and the other way round."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import psycopg
import pytest
from database import database
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.postgres import PostgresStore
from langgraph.types import Command, interrupt
from psycopg.rows import dict_row
from typing_extensions import TypedDict

from langchain_agentmem import AgentMemory, AgentMemSaver, AgentMemStore, ConfigurationError, DamagedDataError

CONFIG: Any = {"configurable": {"thread_id": "1"}}
BIG = "a text that is long enough to be stored as an element of its own, not within the checkpoint. " * 4


@contextmanager
def connection(url: str) -> Iterator[Any]:
    """A connection as LangGraph's classes want it, on the schema of a URL."""
    with database(url) as opened:
        base, schema = url.partition("?")[0], opened.schema
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    with psycopg.connect(base, **options) as one:
        one.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        one.execute(f'SET search_path = "{schema}", public')
        yield one


@contextmanager
def theirs(url: str) -> Iterator[PostgresSaver]:
    with connection(url) as one:
        saver = PostgresSaver(one)
        saver.setup()
        yield saver


def talk(saver: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage(f"{len(state['messages'])} {BIG}")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=saver)


class Answers(TypedDict):
    answers: Annotated[list[Any], operator.add]


def questions(saver: Any) -> Any:
    """A graph that asks twice, the second time inside a subgraph."""
    inner = StateGraph(Answers)
    inner.add_node("ask", lambda state: {"answers": [interrupt("second?")]})
    inner.add_edge(START, "ask")
    outer = StateGraph(Answers)
    outer.add_node("first", lambda state: {"answers": [interrupt({"question": BIG})]})
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "first")
    outer.add_edge("first", "inner")
    return outer.compile(checkpointer=saver)


def seen(saver: Any, config: Any = CONFIG) -> list[Any]:
    return [
        (one.config, one.checkpoint, one.metadata, one.parent_config, one.pending_writes) for one in saver.list(config)
    ]


async def test_a_thread_that_langgraphs_saver_wrote_is_read_equal_and_goes_on(postgres_url, call):
    with theirs(postgres_url) as saver:
        for number in range(3):
            talk(saver).invoke(
                {"messages": [HumanMessage(f"{number} {BIG}")]}, {**CONFIG, "metadata": {"who": "alice"}}
            )
        before = seen(saver)
    with AgentMemory.from_url(postgres_url) as memory:
        ours = memory.checkpointer
        assert [
            (o.config, o.checkpoint, o.metadata, o.parent_config, o.pending_writes)
            for o in await call(ours.list, CONFIG)
        ] == before
        assert [info.thread_id for info in await call(ours.threads)] == ["1"]
        assert (await call(ours.threads))[0].checkpoint_count == len(before)
        result = await call(talk(ours).invoke, {"messages": [HumanMessage("on")]}, CONFIG)
        assert len(result["messages"]) == 8
        assert len(await call(ours.list, CONFIG)) == len(before) + 3
        fork = before[3][0]
        assert (await call(ours.get_tuple, fork)).checkpoint == before[3][1]
        result = await call(talk(ours).invoke, {"messages": [HumanMessage("fork")]}, fork)
        await call(ours.copy_thread, "1", "2")
        other: Any = {"configurable": {"thread_id": "2"}}
        assert len(await call(ours.list, other)) == len(await call(ours.list, CONFIG))
        await call(ours.prune, ["1"])
        assert len(await call(ours.list, CONFIG)) == 1
        assert (await call(talk(ours).get_state, CONFIG)).values == result
        await call(ours.delete_thread, "2")
        assert [info.thread_id for info in await call(ours.threads)] == ["1"]
    with database(postgres_url) as opened:
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            assert opened.execute(f"SELECT * FROM {table} WHERE thread_id = '2'") == []


async def test_interrupts_and_subgraphs_that_langgraphs_saver_wrote_are_resumed(postgres_url, call):
    with theirs(postgres_url) as saver:
        assert "__interrupt__" in questions(saver).invoke({"answers": ["zero"]}, CONFIG)
        assert "__interrupt__" in questions(saver).invoke({"answers": ["zero"]}, {"configurable": {"thread_id": "2"}})
        questions(saver).invoke(Command(resume="one"), {"configurable": {"thread_id": "2"}})
    with AgentMemory.from_url(postgres_url) as memory:
        ours = memory.checkpointer
        await call(questions(ours).invoke, Command(resume=f"one {BIG}"), CONFIG)
        result = await call(questions(ours).invoke, Command(resume="two"), CONFIG)
        # The subgraph returns all of its state, which is added to what the outer graph has.
        assert result == {"answers": [*(2 * ["zero", f"one {BIG}"]), "two"]}
        deeper = await call(questions(ours).invoke, Command(resume="two"), {"configurable": {"thread_id": "2"}})
        assert deeper == {"answers": [*(2 * ["zero", "one"]), "two"]}


async def test_a_run_that_langgraphs_saver_wrote_is_deleted(postgres_url, call):
    with theirs(postgres_url) as saver:
        for run in ("old", "new"):
            talk(saver).invoke({"messages": [HumanMessage(BIG)]}, {**CONFIG, "metadata": {"run_id": run}})
    with AgentMemory.from_url(postgres_url) as memory:
        await call(memory.checkpointer.delete_for_runs, ["old"])
        left = await call(memory.checkpointer.list, CONFIG)
        assert {one.metadata["run_id"] for one in left} == {"new"}
        assert len((await call(talk(memory.checkpointer).get_state, CONFIG)).values["messages"]) == 4


async def test_langgraphs_saver_reads_what_was_written_with_compact_false(postgres_url, call):
    with AgentMemory.from_url(postgres_url, compact=False) as memory:
        ours = memory.checkpointer
        for number in range(3):
            config: Any = {**CONFIG, "metadata": {"note": f"a\x00b {number}"}}
            await call(talk(ours).invoke, {"messages": [HumanMessage(f"{number}\x00 {BIG}")]}, config)
        await call(questions(ours).invoke, {"answers": ["zero"]}, {"configurable": {"thread_id": "2"}})
        expected = {thread: seen(ours, {"configurable": {"thread_id": thread}}) for thread in "12"}
    with theirs(postgres_url) as saver:
        for thread in "12":
            assert seen(saver, {"configurable": {"thread_id": thread}}) == expected[thread]
        assert len(talk(saver).invoke({"messages": [HumanMessage("on")]}, CONFIG)["messages"]) == 8
        assert "__interrupt__" in questions(saver).invoke(Command(resume="one"), {"configurable": {"thread_id": "2"}})


async def test_a_compact_thread_goes_on_for_langgraphs_saver_after_a_turn_with_compact_false(postgres_url, call):
    with AgentMemory.from_url(postgres_url) as memory:
        await call(talk(memory.checkpointer).invoke, {"messages": [HumanMessage(BIG)]}, CONFIG)
        plain = AgentMemSaver(memory.backend, compact=False)
        await call(talk(plain).invoke, {"messages": [HumanMessage("plain")]}, CONFIG)
    with theirs(postgres_url) as saver:
        assert len(talk(saver).invoke({"messages": [HumanMessage("on")]}, CONFIG)["messages"]) == 6


def test_langgraphs_saver_never_takes_a_compact_thread_for_an_empty_one(postgres_url):
    with AgentMemory.from_url(postgres_url) as memory:
        talk(memory.checkpointer).invoke({"messages": [HumanMessage(BIG)]}, CONFIG)
    with theirs(postgres_url) as saver:
        with pytest.raises(TypeError):
            saver.get_tuple(CONFIG)
        with pytest.raises(TypeError):
            list(saver.list(CONFIG))
        with pytest.raises(psycopg.Error):
            saver.prune(["1"])


def test_plain_rows_are_refused_under_a_key(postgres_url):
    serde = EncryptedSerializer.from_pycryptodome_aes(key=b"0123456789abcdef")
    with theirs(postgres_url) as saver:
        talk(saver).invoke({"messages": [HumanMessage("hi")]}, CONFIG)
    with (
        AgentMemory.from_url(postgres_url, serde=serde) as memory,
        pytest.raises(DamagedDataError, match="not encrypted"),
    ):
        memory.checkpointer.get_tuple(CONFIG)
    with pytest.raises(ConfigurationError, match="compact=False"):
        AgentMemory.from_url(postgres_url, serde=serde, compact=False)


async def test_tasks_that_were_sent_before_version_4_of_the_format_are_found(postgres_url, call):
    with theirs(postgres_url) as saver:
        place: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
        empty: Any = {"v": 1, "ts": "2024-07-31T20:14:19+00:00", "channel_values": {}, "versions_seen": {}}
        first = {**empty, "id": "1", "channel_versions": {}}
        stored = saver.put(place, first, {}, {})
        saver.put_writes(stored, [("__pregel_tasks", "sent one"), ("__pregel_tasks", "sent two")], "task")
        second = {**empty, "id": "2", "channel_versions": {"a": "00000000000000000000000000000001.5"}}
        saver.put(stored, second, {}, {})
        expected = saver.get_tuple(CONFIG)
    with AgentMemory.from_url(postgres_url) as memory:
        found = await call(memory.checkpointer.get_tuple, CONFIG)
        assert found.checkpoint == expected.checkpoint
        assert found.checkpoint["channel_values"]["__pregel_tasks"] == ["sent one", "sent two"]
        third = {**empty, "v": 4, "id": "3", "channel_versions": {}}
        await call(memory.checkpointer.put, place, {**third, "id": "0"}, {}, {})
        await call(memory.checkpointer.prune, ["1"])
        assert (await call(memory.checkpointer.get_tuple, CONFIG)).checkpoint == found.checkpoint
        assert [one.checkpoint["id"] for one in await call(memory.checkpointer.list, CONFIG)] == ["2", "1"]


async def test_sent_tasks_of_a_thread_without_versions_have_one(postgres_url, call):
    with theirs(postgres_url) as saver:
        place: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
        empty: Any = {"v": 1, "ts": "", "channel_values": {}, "versions_seen": {}, "channel_versions": {}}
        stored = saver.put(place, {**empty, "id": "1"}, {}, {})
        saver.put_writes(stored, [("__pregel_tasks", "sent")], "task")
        saver.put(stored, {**empty, "id": "2"}, {}, {})
        expected = saver.get_tuple(CONFIG).checkpoint
    with AgentMemory.from_url(postgres_url) as memory:
        found = (await call(memory.checkpointer.get_tuple, CONFIG)).checkpoint
        assert found["channel_values"] == expected["channel_values"] == {"__pregel_tasks": ["sent"]}
        (version,) = found["channel_versions"].values()
        (theirs_version,) = expected["channel_versions"].values()
        assert version.partition(".")[0] == theirs_version.partition(".")[0]
        assert (await call(memory.checkpointer.get_tuple, CONFIG)).checkpoint == found
        (first, _) = await call(memory.checkpointer.list, CONFIG)
        assert first.checkpoint == found
        assert memory.checkpointer.get_next_version(version, None) > version


async def test_a_thread_that_does_not_say_when_it_was_stored_is_listed_and_pruned(postgres_url, call):
    with theirs(postgres_url) as saver:
        place: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
        for number in "12":
            given: Any = {
                "v": 4,
                "id": number,
                "ts": "",
                "channel_values": {},
                "channel_versions": {},
                "versions_seen": {},
            }
            saver.put(place, given, {}, {})
    with AgentMemory.from_url(postgres_url) as memory:
        (info,) = await call(memory.checkpointer.threads)
        assert (info.thread_id, info.checkpoint_count) == ("1", 2)
        assert await call(memory.checkpointer.expire_checkpoints, 1) == 1


# The store


class Letters(Embeddings):
    """How often each letter occurs."""

    def embed_query(self, text: str) -> list[float]:
        return [text.lower().count(letter) + 0.01 for letter in "abcdefghijklmnopqrstuvwxyz"]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


INDEX: Any = {"dims": 26, "embed": Letters(), "fields": ["text"]}


@pytest.mark.parametrize("first", ["theirs", "ours"])
async def test_both_stores_find_what_the_other_put(postgres_url, call, first):
    with connection(postgres_url) as one:
        peer = PostgresStore(one, index=INDEX)

        def put_theirs() -> None:
            peer.setup()
            peer.put(("memories", "alice"), "food", {"text": "She likes pizzas", "n": 9})

        async def put_ours() -> None:
            await call(store.put, ("memories", "alice"), "sport", {"text": "She was running", "n": 10})

        store = AgentMemStore.from_url(postgres_url, index=INDEX)
        words = AgentMemStore(store.engine.backend)
        if first == "theirs":
            put_theirs()
            await put_ours()
        else:
            await put_ours()
            put_theirs()
        found = await call(store.search, ("memories",))
        assert {item.key for item in found} == {"food", "sport"}
        assert {item.key for item in peer.search(("memories",))} == {"food", "sport"}
        assert (await call(store.get, ("memories", "alice"), "food")).value == {"text": "She likes pizzas", "n": 9}
        assert peer.get(("memories", "alice"), "sport").value == {"text": "She was running", "n": 10}
        for query, key in (("pizza", "food"), ("runs", "sport")):
            assert [item.key for item in await call(words.search, ("memories",), query=query)] == [key]
            assert (await call(store.search, ("memories",), query=query))[0].key == key
        assert [item.key for item in peer.search(("memories",), query="was running", limit=1)] == ["sport"]
        assert [item.key for item in await call(store.search, ("memories",), filter={"n": {"$gt": 9}})] == ["sport"]
        peer.put(("memories", "alice"), "food", {"text": "Now she likes sushi"})
        assert await call(words.search, ("memories",), query="pizza") == []
        assert [item.key for item in await call(words.search, ("memories",), query="sushi")] == ["food"]
        peer.delete(("memories", "alice"), "food")
        assert await call(words.search, ("memories",), query="sushi") == []
        await call(store.delete, ("memories", "alice"), "sport")
        assert peer.search(("memories",)) == []
        with database(postgres_url) as opened:
            for table in ("store", "store_vectors", "agentmem_item_texts", "agentmem_item_ttls"):
                # What is left is the note that says of which model the vectors are.
                assert opened.execute(f"SELECT * FROM {table} WHERE prefix NOT LIKE '%notes%'") == []
        await call(store.close)


async def test_what_langgraphs_store_put_is_analysed_as_ours(postgres_url, call):
    texts = {
        "hindi": "मुझे हिन्दी पसंद है",
        "korean": "저는 서울에서 살아요",
        "german": "Lange Straße",
        "cake": "Two cakes 🎂",
    }
    with connection(postgres_url) as one, AgentMemory.from_url(postgres_url) as memory:
        await call(memory.store.put, ("a",), "ours", {"text": "Nothing"})
        peer = PostgresStore(one)
        for key, text in texts.items():
            peer.put(("a",), key, {"text": text, "tags": ["दाल", 7]})
        queries = {"हिन्दी": "hindi", "서울": "korean", "STRASSE": "german", "cake": "cake", "🎂": "cake"}
        for query, key in queries.items():
            assert [item.key for item in await call(memory.store.search, ("a",), query=query)] == [key]
        assert len(await call(memory.store.search, ("a",), query="दाल")) == len(texts)
        # What this package puts is not analysed again as a whole value.
        peer.put(("a",), "hindi", {"text": "தமிழ்"})
        await call(memory.store.put, ("a",), "hindi", {"text": "বাংলা", "other": "తెలుగు"}, ["text"])
        assert await call(memory.store.search, ("a",), query="తెలుగు தமிழ்") == []
        peer.put(("a",), "gone", {"text": "gone"})
        peer.delete(("a",), "gone")
        assert await call(memory.store.search, ("a",), query="gone") == []
        with database(postgres_url) as opened:
            assert opened.execute("SELECT count(*) FROM agentmem_unanalyzed_items") == [(0,)]
        await call(memory.close)


def test_the_items_of_an_existing_store_are_indexed_in_batches(postgres_url):
    with connection(postgres_url) as one:
        peer = PostgresStore(one)
        peer.setup()
        for number in range(1_203):
            peer.put(("many", f"n{number % 7}"), str(number), {"text": f"word{number} shared"})
    with AgentMemory.from_url(postgres_url) as memory:
        assert [item.key for item in memory.store.search(("many",), query="word1202")] == ["1202"]
        assert len(memory.store.search(("many",), query="shared", limit=2_000)) == 1_203
        assert len(memory.store.list_namespaces()) == 7


def test_what_langgraphs_store_lets_live_for_minutes_expires(postgres_url, monkeypatch):
    with connection(postgres_url) as one, AgentMemory.from_url(postgres_url) as memory:
        memory.store.put(("a",), "ours", {"n": 1}, ttl=0.5)
        peer = PostgresStore(one, ttl={"default_ttl": 5})
        peer.put(("a",), "theirs", {"n": 1})
        peer.put(("a",), "ours", {"n": 2}, ttl=5)
        import time

        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 200)
        assert memory.store.get(("a",), "ours").value == {"n": 2}
        assert memory.store.get(("a",), "theirs", refresh_ttl=False) is not None
        monkeypatch.setattr(time, "time", lambda: now + 450)
        assert memory.store.get(("a",), "theirs") is None
        assert memory.store.get(("a",), "ours") is not None
        monkeypatch.setattr(time, "time", lambda: now + 2000)
        assert memory.sweep() == 2


async def test_the_users_that_langgraphs_own_saver_noted_are_a_threads_users(postgres_url, call):
    hi: Any = {"messages": [HumanMessage("hi")]}

    def turn(user_id: str | None, thread_id: str = "1") -> Any:
        return {"configurable": {"thread_id": thread_id, **({} if user_id is None else {"user_id": user_id})}}

    with theirs(postgres_url) as saver:
        for user_id in ("alice", "bob", None):
            talk(saver).invoke(hi, turn(user_id))
        talk(saver).invoke(hi, turn("carol", "2"))
    with AgentMemory.from_url(postgres_url) as memory:
        for written in (0, 1):
            for user_id, expected in {"alice": ["1"], "bob": ["1"], "carol": ["2"], "dave": []}.items():
                listed = await call(memory.checkpointer.threads, user_id=user_id)
                assert [info.thread_id for info in listed] == expected
                assert all(user_id in info.users for info in listed)
            (info,) = await call(memory.checkpointer.threads, user_id="alice")
            assert (info.user_id, set(info.users)) == ("bob", {"alice", "bob"})
            assert info.users["alice"] < info.users["bob"]
            if not written:
                await call(talk(memory.checkpointer).invoke, hi, turn(None))
        await call(memory.checkpointer.copy_thread, "2", "3")
        assert len(await call(memory.checkpointer.threads, user_id="carol")) == 2
        await call(memory.close)


def test_threads_and_items_of_langgraphs_classes_are_copied(postgres_url):
    user = {"configurable": {"thread_id": "1", "user_id": "alice"}}
    with theirs(postgres_url) as saver:
        for _ in range(3):
            talk(saver).invoke({"messages": [HumanMessage(BIG)]}, user)
        questions(saver).invoke({"answers": []}, {"configurable": {"thread_id": "asking"}})
    with connection(postgres_url) as one:
        store = PostgresStore(one)
        store.setup()
        store.put(("docs", "a"), "k", {"text": "pizza"}, ttl=None)
    with AgentMemory.from_url(postgres_url) as memory, AgentMemory.from_url("sqlite:///:memory:") as other:
        copied = memory.copy_to(other)
        assert (copied.counts["threads"], copied.counts["checkpoints"], copied.counts["items"]) == (2, 11, 1)
        for thread in (user, {"configurable": {"thread_id": "asking"}}):
            every = [(one.config, one.metadata) for one in memory.checkpointer.list(thread)]
            assert [(one.config, one.metadata) for one in other.checkpointer.list(thread)] == every
            assert other.checkpointer.get(thread) == memory.checkpointer.get(thread)
        assert [one.thread_id for one in other.checkpointer.threads(user_id="alice")] == ["1"]
        assert other.store.get(("docs", "a"), "k").value == {"text": "pizza"}
        assert memory.copy_to(other).counts == {}
        state = questions(other.checkpointer).invoke(Command(resume="one"), {"configurable": {"thread_id": "asking"}})
        assert state["answers"] == ["one"]
