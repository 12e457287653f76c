"""A memory that begins empty in a database with data of other packages says so once."""

from __future__ import annotations

import re
import sqlite3
import uuid
import warnings
from pathlib import Path
from typing import Any

import foreign
import psycopg
import pytest
import redis
from langchain_core.messages import HumanMessage
from langchain_postgres import PostgresChatMessageHistory
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.sqlite import SqliteStore

from langchain_agentmem import AgentMemHistory, AgentMemory, AgentMemSaver, AgentMemStore, ExistingDataWarning
from langchain_agentmem.backends.existing import NoMemoryError

CONFIG: Any = {"configurable": {"thread_id": "1"}}


def run_graph(saver: Any) -> None:
    builder = StateGraph(MessagesState).add_node("reply", lambda state: {"messages": [HumanMessage("b")]})
    builder.add_edge(START, "reply").compile(checkpointer=saver).invoke({"messages": [HumanMessage("a")]}, CONFIG)


def call_of(url: str, format_: str, **options: str) -> str:
    """The call and the command that a warning names, as a pattern."""
    named = {"format": format_, **options}
    call = ", ".join([repr(url), *(f"{name}={value!r}" for name, value in named.items())])
    words = " ".join([url, *(f"--{name} {value}" for name, value in named.items())])
    return re.escape(f"memory.import_from({call}) or the command `agentmem import {words} --url {url}`")


def sqlite_saver(path: str) -> str:
    with SqliteSaver.from_conn_string(path) as saver:
        run_graph(saver)
    return r"SqliteSaver \(table checkpoints\).*" + call_of(f"sqlite:///{path}", "saver")


def sqlite_store(path: str) -> str:
    with SqliteStore.from_conn_string(path) as store:
        store.setup()
        store.put(("a",), "k", {"n": 1})
    return r"SqliteStore \(table store\).*" + call_of(f"sqlite:///{path}", "store")


def sqlite_history(path: str) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)")
        connection.execute("INSERT INTO message_store (session_id, message) VALUES ('s', '{}')")
    connection.close()
    return r"SQLChatMessageHistory \(table message_store\).*" + call_of(f"sqlite:///{path}", "sql-history")


def named_sqlite_history(path: str) -> str:
    foreign.sql_history(f"sqlite:///{path}", "s", "My chats").add_messages([HumanMessage("a")])
    imports = call_of(f"sqlite:///{path}", "sql-history", table="My chats").replace(
        r"table\ My\ chats", r"table\ 'My\ chats'"
    )
    return r"SQLChatMessageHistory \(table My chats\).*" + imports


async def told_once(url: str, call: Any, said: str) -> None:
    with AgentMemory.from_url(url) as memory:
        with pytest.warns(ExistingDataWarning, match=said) as record:
            await call(memory.store.get, ("a",), "k")
        assert len(record) == 1
        assert "The memory begins empty" in str(record[0].message)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await call(memory.history("s").add_messages, [HumanMessage("a")])
            assert await call(memory.history("s").count) == 1
    await told_nothing(url, call)


async def told_nothing(url: str, call: Any) -> None:
    with warnings.catch_warnings(), AgentMemory.from_url(url) as memory:
        warnings.simplefilter("error", ExistingDataWarning)
        await call(memory.store.put, ("a",), "k", {"n": 1})


@pytest.mark.parametrize("others", [sqlite_saver, sqlite_store, sqlite_history, named_sqlite_history])
async def test_data_in_a_sqlite_file_is_told_once(sqlite_url, call, others):
    said = others(sqlite_url.removeprefix("sqlite:///"))
    await told_once(sqlite_url, call, said)


async def test_one_warning_names_all_that_a_file_holds(sqlite_url, call):
    path = sqlite_url.removeprefix("sqlite:///")
    said = [others(path).partition(".*")[0] for others in (sqlite_saver, sqlite_store, sqlite_history)]
    await told_once(sqlite_url, call, ".*; .*".join(said))


async def test_an_applications_own_tables_are_not_told(sqlite_url, call):
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        for table in ("checkpoints (place, height)", "store (street, town)", "message_store (session_id, message)"):
            connection.execute(f"CREATE TABLE {table}")
        connection.execute("INSERT INTO checkpoints VALUES (1, 2)")
        connection.execute("INSERT INTO store VALUES (1, 2)")
    connection.close()
    await told_nothing(sqlite_url, call)


async def test_the_applications_own_connection_is_looked_at_too(sqlite_url, call):
    path = sqlite_url.removeprefix("sqlite:///")
    said = sqlite_saver(path)
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    with AgentMemory.from_connection(connection) as memory, pytest.warns(ExistingDataWarning, match=said):
        await call(memory.store.get, ("a",), "k")
    connection.close()


def community_history(connection: Any) -> None:
    connection.execute(
        "CREATE TABLE message_store (id SERIAL PRIMARY KEY, session_id TEXT NOT NULL, message JSONB NOT NULL)"
    )
    connection.execute("INSERT INTO message_store (session_id, message) VALUES ('s', '{}')")


def sql_history(connection: Any) -> None:
    connection.execute("CREATE TABLE message_store (id SERIAL PRIMARY KEY, session_id TEXT, message TEXT)")
    connection.execute("INSERT INTO message_store (session_id, message) VALUES ('s', '{}')")


def postgres_history(connection: Any) -> None:
    PostgresChatMessageHistory.create_tables(connection, "My_chats")
    history = PostgresChatMessageHistory("My_chats", str(uuid.uuid4()), sync_connection=connection)
    history.add_messages([HumanMessage("a")])


def in_postgres(table: str) -> str:
    return call_of("postgresql://…", "postgres-history", table=table)


def vectors(connection: Any) -> None:
    connection.execute("CREATE TABLE langchain_pg_embedding (id text, collection_id uuid, document text)")
    connection.execute("INSERT INTO langchain_pg_embedding VALUES ('a')")


def newer_vectors(connection: Any) -> None:
    connection.execute("CREATE TABLE pages (langchain_id uuid, content text, langchain_metadata json)")
    connection.execute("INSERT INTO pages (content) VALUES ('a')")


@pytest.mark.parametrize("schema", ["", "?schema=mine"])
@pytest.mark.parametrize(
    ("others", "said"),
    [
        (
            community_history,
            r"PostgresChatMessageHistory \(table public\.message_store\).*" + in_postgres("public.message_store"),
        ),
        (
            sql_history,
            r"SQLChatMessageHistory \(table public\.message_store\).*"
            + call_of("postgresql://…", "sql-history", table="public.message_store"),
        ),
        (
            vectors,
            r"vectors of langchain-postgres \(table public\.langchain_pg_embedding\).*knowledge=\[vector_store\]",
        ),
        (newer_vectors, r"vectors of langchain-postgres \(table public\.pages\)"),
        (
            postgres_history,
            r'PostgresChatMessageHistory \(table public\."My_chats"\).*' + in_postgres("public.My_chats"),
        ),
    ],
)
async def test_data_in_postgres_is_told_once(postgres_database, call, others, said, schema):
    with psycopg.connect(postgres_database) as connection:
        others(connection)
    separator = "&" if "?" in postgres_database else "?"
    await told_once(postgres_database + schema.replace("?", separator), call, said)


async def test_langgraphs_own_tables_in_postgres_are_used_and_not_told(postgres_database, call):
    with PostgresSaver.from_conn_string(postgres_database) as saver:
        saver.setup()
        run_graph(saver)
    await told_nothing(postgres_database, call)
    with AgentMemory.from_url(postgres_database) as memory:
        assert await call(memory.checkpointer.get_tuple, CONFIG) is not None


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (
            "message_store:session-1",
            r"RedisChatMessageHistory \(keys message_store:.*" + call_of("redis://…", "redis-history"),
        ),
        ("thread:{1}:", r"ValkeySaver \(keys thread:.*" + call_of("redis://…", "saver")),
        ("checkpoint:{1}::1ef", r"ValkeySaver \(keys checkpoint:.*" + call_of("redis://…", "saver")),
        ("checkpoint:1:__empty__:1ef", r"RedisSaver \(keys checkpoint:.*memory\.checkpointer\.copy_from\(saver\)"),
        ("store_vectors:1", r"RedisStore \(keys store_vectors:.*memory\.import_from\(RedisStore\(…\)\)"),
    ],
)
async def test_data_in_redis_is_told_once(any_redis_url, call, key, said):
    scheme, _, rest = any_redis_url.partition("://")
    kind: Any = redis.RedisCluster if "cluster" in scheme else redis.Redis
    with kind.from_url(f"redis://{rest}") as client:
        client.set(key, "{}")
        client.set("others:1", "{}")
    await told_once(any_redis_url, call, said)


async def test_other_keys_in_redis_are_not_told(redis_url, call):
    with redis.Redis.from_url(redis_url) as client:
        client.mset({"messages:1": "a", "checkpoints": "b", "store:1": "c"})
    await told_nothing(redis_url, call)


async def test_a_new_database_is_not_told(url, call):
    await told_nothing(url, call)


SURFACES = (AgentMemHistory, AgentMemSaver, AgentMemStore)


async def used(surface: Any, call: Any) -> None:
    if isinstance(surface, AgentMemHistory):
        await call(surface.count)
    elif isinstance(surface, AgentMemSaver):
        assert await call(surface.get_tuple, CONFIG) is None
    else:
        assert await call(surface.get, ("a",), "k") is None


async def told_by(surface: Any, call: Any, said: str) -> None:
    with pytest.warns(ExistingDataWarning, match=said) as record:
        await used(surface, call)
    assert len(record) == 1
    await call(surface.close)


def arguments(kind: Any) -> list[str]:
    return ["s"] if kind is AgentMemHistory else []


@pytest.mark.parametrize("kind", SURFACES)
@pytest.mark.parametrize("door", ["from_url", "from_conn_string", "constructor"])
async def test_each_surface_on_a_url_tells_what_a_sqlite_file_holds(sqlite_url, call, kind, door):
    path = sqlite_url.removeprefix("sqlite:///")
    said = sqlite_saver(path)
    make = kind if door == "constructor" else getattr(kind, door)
    await told_by(make(path if door == "from_conn_string" else sqlite_url, *arguments(kind)), call, said)


@pytest.mark.parametrize("kind", SURFACES)
@pytest.mark.parametrize("door", ["from_connection", "constructor"])
async def test_each_surface_on_a_connection_tells_what_a_sqlite_file_holds(sqlite_url, call, kind, door):
    path = sqlite_url.removeprefix("sqlite:///")
    said = sqlite_saver(path)
    connection = sqlite3.connect(path, check_same_thread=False)
    make = kind if door == "constructor" else kind.from_connection
    await told_by(make(connection, *arguments(kind)), call, said)
    connection.close()


@pytest.mark.parametrize("kind", SURFACES)
@pytest.mark.parametrize("door", ["from_url", "from_conn_string", "constructor"])
async def test_each_surface_tells_what_a_postgres_database_holds(postgres_database, call, kind, door):
    with psycopg.connect(postgres_database) as connection:
        vectors(connection)
    make = kind if door == "constructor" else getattr(kind, door)
    await told_by(make(postgres_database, *arguments(kind)), call, "vectors of langchain-postgres")


@pytest.mark.parametrize("kind", SURFACES)
async def test_each_surface_on_a_connection_tells_what_a_postgres_database_holds(postgres_database, call, kind):
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        vectors(connection)
        await told_by(kind.from_connection(connection, *arguments(kind)), call, "vectors of langchain-postgres")


@pytest.mark.parametrize("kind", SURFACES)
@pytest.mark.parametrize("door", ["from_url", "from_conn_string", "constructor", "from_client"])
async def test_each_surface_tells_what_redis_holds(redis_url, call, kind, door):
    with redis.Redis.from_url(redis_url) as client:
        client.set("checkpoint:1:__empty__:1ef", "{}")
        make = kind if door == "constructor" else getattr(kind, door)
        place = client if door == "from_client" else redis_url
        await told_by(make(place, *arguments(kind)), call, r"RedisSaver \(keys checkpoint:")


@pytest.mark.parametrize("key", [None, bytes(32)])
async def test_a_backend_that_never_creates_refuses_a_database_without_a_memory(
    lasting_url, postgres_database, call, key
):
    url = postgres_database if lasting_url.startswith("postgresql") else lasting_url
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).unlink()
    for _ in range(2):
        with AgentMemory.from_url(url, key=key) as memory:
            memory.backend.never_create()
            with pytest.raises(NoMemoryError, match="contains no memory yet"):
                await call(memory.users)
    with AgentMemory.from_url(url, key=key) as memory:
        await call(memory.history("s", user_id="alice").add_messages, [HumanMessage("Hello")])
    with AgentMemory.from_url(url, key=key) as memory:
        memory.backend.never_create()
        assert await call(memory.users) == ["alice"]
