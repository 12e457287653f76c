"""The surfaces by themselves, as LangGraph's own classes are used: `from_conn_string`, `setup`, `with` and `async with`."""

from __future__ import annotations

import asyncio
import inspect
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from examples import Thing
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.postgres.base import PoolConfig

from langchain_agentmem import (
    AgentMemCache,
    AgentMemHistory,
    AgentMemory,
    AgentMemSaver,
    AgentMemStore,
    ConfigurationError,
    InvalidInputError,
    InvalidTypeError,
    StorageClosedError,
)

AsyncPostgresSaver = PostgresSaver = AgentMemSaver
AsyncPostgresStore = PostgresStore = AgentMemStore
"""The change of the import."""

CONFIG: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
CHECKPOINT: Any = {
    "v": 4,
    "ts": "2024-07-31T20:14:19.804150+00:00",
    "id": "1ef4f797-8335-6428-8001-8a1503f9b875",
    "channel_values": {"my_key": "meow", "node": "node"},
    "channel_versions": {"__start__": 2, "my_key": 3, "start:node": 3, "node": 3},
    "versions_seen": {"__input__": {}, "__start__": {"__start__": 1}, "node": {"start:node": 2}},
}


def graph_on(saver: Any, store: Any = None) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [("ai", "ok")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=saver, store=store)


# The snippets of LangGraph's documentation


def test_the_documented_use_of_a_saver(url):
    with PostgresSaver.from_conn_string(url) as checkpointer:
        checkpointer.setup()
        checkpointer.put(CONFIG, CHECKPOINT, {}, {})
        assert checkpointer.get(CONFIG)["channel_values"] == {"my_key": "meow", "node": "node"}
        assert len(list(checkpointer.list({"configurable": {"thread_id": "1"}}))) == 1
        graph = graph_on(checkpointer)
        graph.invoke({"messages": [("user", "hi")]}, {"configurable": {"thread_id": "2"}})
    with pytest.raises(StorageClosedError):
        checkpointer.get(CONFIG)


async def test_the_documented_asynchronous_use_of_a_saver(url):
    async with AsyncPostgresSaver.from_conn_string(url) as checkpointer:
        await checkpointer.setup()
        await checkpointer.aput(CONFIG, CHECKPOINT, {}, {})
        assert (await checkpointer.aget(CONFIG))["channel_values"] == {"my_key": "meow", "node": "node"}
        assert len([one async for one in checkpointer.alist({"configurable": {"thread_id": "1"}})]) == 1
        graph = graph_on(checkpointer)
        await graph.ainvoke({"messages": [("user", "hi")]}, {"configurable": {"thread_id": "2"}})
    with pytest.raises(StorageClosedError):
        await checkpointer.aget(CONFIG)


def test_the_documented_use_of_a_store(url):
    index: Any = {"dims": 16, "embed": DeterministicFakeEmbedding(size=16), "fields": ["text"]}
    with PostgresStore.from_conn_string(url, index=index, ttl={"default_ttl": 60, "refresh_on_read": True}) as store:
        store.setup()
        store.start_ttl_sweeper()
        store.put(("docs",), "doc1", {"text": "Python tutorial"})
        store.put(("docs",), "doc2", {"text": "TypeScript guide"}, index=False)
        assert [item.key for item in store.search(("docs",), query="programming guides", limit=2)] == ["doc1"]
        assert store.stop_ttl_sweeper()
    with pytest.raises(StorageClosedError):
        store.get(("docs",), "doc1")


async def test_the_documented_asynchronous_use_of_a_store(url):
    async with AsyncPostgresStore.from_conn_string(url, ttl={"default_ttl": 60}) as store:
        await store.setup()
        await store.start_ttl_sweeper()
        await store.aput(("users", "123"), "prefs", {"theme": "dark"})
        assert (await store.aget(("users", "123"), "prefs")).value == {"theme": "dark"}
        await store.stop_ttl_sweeper()
    with pytest.raises(StorageClosedError):
        await store.aget(("users", "123"), "prefs")


def test_a_saver_and_a_store_of_one_graph(lasting_url):
    with (
        PostgresStore.from_conn_string(lasting_url) as store,
        PostgresSaver.from_conn_string(lasting_url, pipeline=True) as checkpointer,
    ):
        store.setup()
        checkpointer.setup()
        graph_on(checkpointer, store).invoke({"messages": [("user", "hi")]}, CONFIG)
    saver = AgentMemSaver.from_conn_string(lasting_url)  # without `with`
    assert len(saver.get(CONFIG)["channel_values"]["messages"]) == 2
    saver.close()


async def test_a_serializer_of_from_conn_string_is_used(url):
    pytest.importorskip("Crypto")
    serde = EncryptedSerializer.from_pycryptodome_aes(key=os.urandom(32))
    async with AsyncPostgresSaver.from_conn_string(url, serde=serde) as saver:
        assert saver.serde is serde
        await saver.aput(CONFIG, CHECKPOINT, {}, {})
        assert (await saver.aget(CONFIG))["channel_values"] == {"my_key": "meow", "node": "node"}


async def test_a_pool_of_from_conn_string_is_ours(url):
    config = PoolConfig(min_size=5, max_size=20)
    if url.startswith("sqlite"):
        with pytest.raises(ConfigurationError, match="pool_config is for Postgres and Redis"):
            AsyncPostgresStore.from_conn_string(url, pool_config=config)
        return
    async with AsyncPostgresStore.from_conn_string(url, pool_config=config) as store:
        await store.setup()
        assert store.engine.backend.driver.settings.pool_size == 20
        await store.aput(("a",), "k", {"n": 1})


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (20, "pool_config must be a mapping"),
        ({"max_size": "20"}, "max_size"),
        ({"max_size": 0}, "max_size"),
        ({"min_size": -1}, "min_size"),
        ({"max_size": 5, "kwargs": {"sslmode": "require"}}, "Unknown entry 'kwargs'"),
        ({"max_size": 5, "reconnect_timeout": 3}, "Unknown entry 'reconnect_timeout'"),
    ],
    ids=repr,
)
def test_what_has_no_meaning_in_a_pool_is_refused(postgres_url, config, problem):
    with pytest.raises((ConfigurationError, InvalidTypeError, InvalidInputError), match=problem):
        AgentMemStore.from_conn_string(postgres_url, pool_config=config)


@pytest.mark.parametrize("kind", [AgentMemSaver, AgentMemStore])
def test_a_pipeline_is_true_or_false(url, kind):
    with pytest.raises(InvalidTypeError, match="pipeline must be True or False, got str"):
        kind.from_conn_string(url, pipeline="yes")


# Connection strings


def test_a_connection_string_of_libpq(postgres_url):
    parts = urlsplit(postgres_url)
    conninfo = f"host={parts.hostname} port={parts.port} dbname={parts.path[1:]} user={unquote(parts.username or '')}"
    with AgentMemSaver.from_conn_string(conninfo) as saver:
        assert saver._backend.name == "postgres"
        assert saver.get(CONFIG) is None
    with pytest.raises(ConfigurationError, match="connection string of Postgres cannot be parsed") as caught:
        AgentMemSaver.from_conn_string("host=localhost password=secret nonsense")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["memory.db", "a b?#%.sqlite", "über.sqlite3"])
def test_the_path_of_a_sqlite_file(tmp_path, name):
    path = tmp_path / name
    with AgentMemHistory.from_conn_string(str(path), "s") as history:
        history.add_user_message("Hello")
    assert path.is_file()
    with sqlite3.connect(path) as opened:
        assert opened.execute("SELECT count(*) FROM agentmem_messages").fetchone() == (1,)
    opened.close()


@pytest.mark.parametrize("given", ["", "localhost:6379", "postgres", "mysql://user@host/db", 5, None], ids=repr)
@pytest.mark.parametrize("kind", [AgentMemSaver, AgentMemStore])
def test_what_is_no_connection_string_is_refused(kind, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigurationError, InvalidTypeError), match=r"connection string|URL"):
        kind.from_conn_string(given)
    assert list(tmp_path.iterdir()) == []


# Setting up, and closing

SURFACES: dict[str, Callable[[str], Any]] = {
    "saver": AgentMemSaver.from_conn_string,
    "store": AgentMemStore.from_conn_string,
    "cache": AgentMemCache.from_conn_string,
    "history": lambda url: AgentMemHistory.from_conn_string(url, "s"),
}
surfaces = pytest.mark.parametrize("make", SURFACES.values(), ids=SURFACES)


@surfaces
def test_setup_makes_the_tables(sqlite_url, make):
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with make(sqlite_url) as surface:
        assert not path.exists()
        surface.setup()
        with sqlite3.connect(path) as opened:
            assert opened.execute("SELECT count(*) FROM agentmem_schema").fetchone() == (1,)
        opened.close()


@surfaces
async def test_setup_in_an_event_loop_does_nothing_before_it_is_awaited(sqlite_url, make):
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    async with make(sqlite_url) as surface:
        work = surface.setup()
        assert not path.exists()
        await work
        assert path.exists()
        await surface.setup()
        await surface.asetup()


@surfaces
def test_setup_may_be_given_to_asyncio_run(url, make):
    with make(url) as surface:
        asyncio.run(surface.setup())
        task = surface.setup()
        assert inspect.isawaitable(task)


@surfaces
async def test_setup_on_a_database_that_is_not_there_says_so(tmp_path, make):
    with make(f"sqlite:///{tmp_path}/nowhere/memory.db") as surface:
        for setup in (surface.setup, surface.asetup):
            with pytest.raises(ConfigurationError, match="nowhere"):
                await setup()
        with pytest.raises(ConfigurationError, match="nowhere"):
            await asyncio.to_thread(surface.setup)


@surfaces
@pytest.mark.parametrize("error", [None, RuntimeError("broken off")])
async def test_with_closes_what_stands_alone(url, make, error):
    used = []
    try:
        with make(url) as surface:
            used.append(surface)
            if error:
                raise error
    except RuntimeError:
        pass
    try:
        async with make(url) as surface:
            used.append(surface)
            if error:
                raise error
    except RuntimeError:
        pass
    for surface in used:
        with pytest.raises(StorageClosedError):
            await surface.asetup()


async def test_with_leaves_a_memory_open(memory):
    with memory.history("s") as history, memory.store, memory.checkpointer:
        history.add_user_message("a")
    async with memory.history("s") as history, memory.store, memory.checkpointer:
        await history.aadd_messages([HumanMessage("b")])
    assert memory.history("s").count() == 2


# Constructors


@surfaces
def test_a_constructor_takes_a_url(url, make):
    kind = type(make(url))
    arguments = ["s"] if kind is AgentMemHistory else []
    with kind(url, *arguments) as surface:
        surface.setup()
    with pytest.raises(StorageClosedError):
        surface.setup()


def test_the_constructor_of_a_memory_takes_a_url(url):
    with AgentMemory(url) as memory:
        memory.history("s").add_user_message("Hello")
        assert memory.history("s").count() == 1


def test_constructors_take_a_connection():
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    with AgentMemory(connection) as memory, AgentMemSaver(connection) as saver, AgentMemStore(connection) as store:
        memory.history("s").add_user_message("Hello")
        assert saver.get(CONFIG) is None
        store.put(("a",), "k", {"n": 1})
    with AgentMemHistory(connection, "s") as history:
        assert history.count() == 1
    assert connection.execute("SELECT count(*) FROM agentmem_items").fetchone() == (1,)
    connection.close()


NO_DATABASES = [None, 5, ["sqlite:///:memory:"], {"url": "sqlite:///:memory:"}, Thing()]


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (kind, given)
        for kind in (AgentMemory, AgentMemSaver, AgentMemStore, AgentMemHistory)
        for given in NO_DATABASES
        if (kind, given) != (AgentMemory, None)  # which reads the environment
    ],
    ids=repr,
)
def test_what_is_no_database_is_refused_with_the_right_call(kind, given):
    arguments = ["s"] if kind is AgentMemHistory else []
    with pytest.raises(InvalidTypeError, match=rf'{kind.__name__}\("sqlite:///agentmem.db"'):
        kind(given, *arguments)


def test_a_history_with_its_arguments_exchanged_is_refused_with_the_right_call():
    with pytest.raises(InvalidInputError, match=r"AgentMemHistory\('postgresql://host/db', 's1'\)"):
        AgentMemHistory("s1", "postgresql://user:secret@host/db?sslmode=require")


@pytest.mark.parametrize("given", ["memory.db", "s1", "mysql://host/db"])
@pytest.mark.parametrize("kind", [AgentMemory, AgentMemSaver, AgentMemStore])
def test_a_constructor_refuses_text_that_is_no_url(kind, given):
    with pytest.raises(ConfigurationError, match="URL"):
        kind(given)
