"""Chat histories that other packages wrote, imported into each backend."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import foreign
import psycopg
import pytest
import redis
from conftest import new_url
from foreign import SESSIONS, plain
from langchain_core._api.deprecation import LangChainDeprecationWarning
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, HumanMessage, message_to_dict, messages_to_dict
from langchain_postgres import PostgresChatMessageHistory
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from langchain_agentmem import AgentMemory, ExistingDataWarning, Guard
from langchain_agentmem.errors import ConfigurationError, InvalidInputError, InvalidTypeError
from langchain_agentmem.lifecycle.importers import rows as importer_rows

TOTAL = sum(map(len, SESSIONS.values()))


async def stored(memory: AgentMemory, call: Any, session: str, user_id: str | None = None) -> list[Any]:
    pages = await call(memory.history(session, user_id=user_id).pages, 100)
    return [message for page in pages for message in page]


async def holds_all(memory: AgentMemory, call: Any, user_id: str | None = None, names: list[str] | None = None) -> None:
    """All messages of `SESSIONS`, in order, and nothing else."""
    for name, messages in zip(names or SESSIONS, SESSIONS.values(), strict=True):
        found = await stored(memory, call, name, user_id)
        assert plain(found) == plain(messages)
        assert all(one.id for one in found)
        assert [one.id for one, before in zip(found, messages, strict=True) if before.id] == [
            one.id for one in messages if one.id
        ]
    assert len(await call(memory.sessions.list, user_id=user_id)) == len(SESSIONS)


async def imports_once(memory: AgentMemory, call: Any, source: Any, **options: Any) -> None:
    """An import, and another one that changes nothing."""
    done = await call(memory.import_from, source, **options)
    assert (done.counts["messages"], done.counts["sessions"]) == (TOTAL, len(SESSIONS))
    again = await call(memory.import_from, source, **options)
    assert (dict(again.counts), again.unchanged["messages"]) == ({}, TOTAL)


@pytest.mark.parametrize("table", ["message_store", "chats"])
async def test_a_url_of_sql_histories(memory, call, tmp_path, table):
    url = foreign.sql_histories(tmp_path / "old.db", table)
    await imports_once(memory, call, url, format="sql-history", table=table)
    await holds_all(memory, call)


@pytest.mark.parametrize("path", ["old.db", ":memory:"])
async def test_an_engine_of_sql_histories(memory, call, tmp_path, path):
    engine = create_engine(f"sqlite:///{tmp_path / path if path != ':memory:' else path}")
    for session, messages in SESSIONS.items():
        foreign.SQLChatMessageHistory(session, connection=engine).add_messages(messages)
    await imports_once(memory, call, engine, user_id="alice")
    await holds_all(memory, call, "alice")
    engine.dispose()


async def test_one_sql_history(memory, call, tmp_path):
    url = foreign.sql_histories(tmp_path / "old.db")
    history = foreign.sql_history(url, "session-1")
    done = await call(memory.import_from, history, user_id="alice", session_id="trip", agent="travel")
    assert (done.counts["messages"], done.counts["sessions"]) == (len(SESSIONS["session-1"]), 1)
    assert plain(await stored(memory, call, "trip", "alice")) == plain(SESSIONS["session-1"])
    assert await call(memory.history("trip", user_id="alice", agent="travel").count) == len(SESSIONS["session-1"])
    await call(memory.import_from, history, user_id="alice")
    assert await call(memory.history("session-1", user_id="alice").count) == len(SESSIONS["session-1"])


async def test_an_asynchronous_sql_history(sqlite_memory, tmp_path):
    foreign.sql_histories(tmp_path / "old.db")
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'old.db'}")
    history = foreign.SQLChatMessageHistory("session-1", connection=engine)
    with pytest.raises(InvalidTypeError, match=r"is asynchronous\. Await memory\.aimport_from"):
        sqlite_memory.import_from(history)
    done = await sqlite_memory.aimport_from(history)
    assert done.counts["messages"] == len(SESSIONS["session-1"])
    done = await sqlite_memory.aimport_from(engine)
    assert (done.counts["messages"], done.unchanged["messages"]) == (
        TOTAL - len(SESSIONS["session-1"]),
        len(SESSIONS["session-1"]),
    )
    await engine.dispose()


async def test_a_url_of_postgres_histories(memory, call, postgres_database):
    names = foreign.postgres_histories(postgres_database)
    await imports_once(memory, call, postgres_database, format="postgres-history", table="Chats")
    await holds_all(memory, call, names=names)


@pytest.mark.parametrize("kind", ["connection", "pool"])
async def test_a_connection_to_postgres_histories(memory, call, postgres_database, kind):
    names = foreign.postgres_histories(postgres_database)
    if kind == "pool":
        with ConnectionPool(postgres_database, min_size=1, max_size=1) as pool:
            await imports_once(memory, call, pool, format="postgres-history", table="public.Chats")
    else:
        with psycopg.connect(postgres_database) as connection:
            await imports_once(memory, call, connection, format="postgres-history", table="public.Chats")
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    await holds_all(memory, call, names=names)


async def test_one_postgres_history_keeps_its_times(memory, call, postgres_database):
    name, *_ = foreign.postgres_histories(postgres_database)
    with psycopg.connect(postgres_database) as connection:
        history = PostgresChatMessageHistory("Chats", name, sync_connection=connection)
        await call(memory.import_from, history, session_id="trip")
    found = await call(memory.search_history, "Sunny weather in Malta", session_id="trip")
    times = {one.position: one.created_at for one in found}
    assert times[3] == datetime(2024, 5, 17, 12, 4, tzinfo=UTC)  # that of its row
    (info,) = await call(memory.sessions.list)
    assert info.created_at == datetime(2024, 5, 17, 12, tzinfo=UTC)  # that of the earliest message
    assert info.updated_at == datetime(2024, 5, 17, 12, len(SESSIONS["session-1"]), tzinfo=UTC)


async def test_an_asynchronous_postgres_history(sqlite_memory, postgres_database):
    name, *_ = foreign.postgres_histories(postgres_database)
    async with await psycopg.AsyncConnection.connect(postgres_database) as connection:
        history = PostgresChatMessageHistory("Chats", name, async_connection=connection)
        done = await sqlite_memory.aimport_from(history)
        assert done.counts["messages"] == len(SESSIONS["session-1"])
        done = await sqlite_memory.aimport_from(connection, format="postgres-history", table="Chats")
        assert done.unchanged["messages"] == len(SESSIONS["session-1"])
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


async def test_an_open_transaction_of_the_application_stays_open(sqlite_memory, postgres_database):
    foreign.postgres_histories(postgres_database)
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE mine (n int)")
        sqlite_memory.import_from(connection, format="postgres-history", table="Chats")
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        connection.execute("SELECT n FROM mine")


async def test_a_url_of_redis_histories(memory, call, redis_url):
    foreign.redis_histories(redis_url)
    foreign.redis_histories(redis_url, "message_store_of_others:")
    await imports_once(memory, call, redis_url, format="redis-history")
    await holds_all(memory, call)


async def test_a_prefix_in_redis_is_no_pattern(memory, call, redis_url):
    foreign.redis_histories(redis_url, "a[b]*?\\:")
    foreign.redis_histories(redis_url, "ab:")
    with redis.Redis.from_url(redis_url) as client:
        await imports_once(memory, call, client, format="redis-history", prefix="a[b]*?\\:")
    await holds_all(memory, call)


class Repeating(redis.Redis):
    """A client whose SCAN returns each key twice, as Redis may do while it resizes its table."""

    def scan_iter(self, *args: Any, **more: Any) -> Any:
        for key in super().scan_iter(*args, **more):
            yield from (key, key)


@pytest.mark.parametrize("write", [foreign.redis_histories, foreign.redis_strings])
async def test_a_key_that_a_scan_returns_twice_is_imported_once(memory, call, redis_url, write):
    write(redis_url)
    format_ = "redis-strings" if write is foreign.redis_strings else "redis-history"
    with Repeating.from_url(redis_url) as client:
        done = await call(memory.import_from, client, format=format_)
    assert (done.counts["messages"], done.counts["sessions"]) == (TOTAL, len(SESSIONS))
    await holds_all(memory, call)


async def test_one_redis_history_keeps_its_expiry(memory, call, redis_url):
    foreign.redis_histories(redis_url, ttl=1_000)
    await call(memory.import_from, foreign.RedisChatMessageHistory("session-1", redis_url))
    assert plain(await stored(memory, call, "session-1")) == plain(SESSIONS["session-1"])
    (info,) = await call(memory.sessions.list)
    assert 0 < (info.expires_at - datetime.now(UTC)).total_seconds() <= 1_000


async def test_conversations_in_redis_strings(memory, call, redis_url):
    foreign.redis_strings(redis_url)
    await imports_once(memory, call, redis_url, format="redis-strings")
    await holds_all(memory, call)
    profile = await call(memory.profiles.get, "alice@example.com")
    assert (profile.name, profile.preferences) == ("Alice", {"language": "Greek"})
    assert [fact.text for fact in profile.facts] == ["Lives in Athens", "Is allergic to peanuts"]


async def test_a_profile_is_completed_and_not_overwritten(sqlite_memory, redis_url):
    foreign.redis_strings(redis_url)
    sqlite_memory.profiles.update_preference("alice@example.com", "language", "English")
    sqlite_memory.profiles.add_fact("alice@example.com", "lives in Athens.")
    done = sqlite_memory.import_from(redis_url, format="redis-strings")
    assert done.counts["profiles"] == 1
    profile = sqlite_memory.profiles.get("alice@example.com")
    assert (profile.name, profile.preferences) == ("Alice", {"language": "English"})
    assert [fact.text for fact in profile.facts] == ["lives in Athens.", "Is allergic to peanuts"]
    assert sqlite_memory.import_from(redis_url, format="redis-strings").unchanged["profiles"] == 1


async def test_a_file_history_and_its_file(memory, call, tmp_path):
    history = foreign.file_history(tmp_path / "session-1.json")
    done = await call(memory.import_from, history)
    assert done.counts["messages"] == len(SESSIONS["session-1"])
    done = await call(memory.import_from, str(tmp_path / "session-1.json"), format="messages")
    assert (dict(done.counts), done.unchanged["messages"]) == ({}, len(SESSIONS["session-1"]))
    assert plain(await stored(memory, call, "session-1")) == plain(SESSIONS["session-1"])


async def test_a_file_history_in_another_encoding(sqlite_memory, tmp_path):
    history = foreign.FileChatMessageHistory(str(tmp_path / "s.json"), encoding="latin-1", ensure_ascii=False)
    history.add_messages([HumanMessage("Où est Malte ?")])
    sqlite_memory.import_from(history)
    assert [one.content for one in sqlite_memory.history("s").messages] == ["Où est Malte ?"]


async def test_a_list_of_dictionaries(memory, call):
    documents = messages_to_dict(SESSIONS["session-1"])
    done = await call(memory.import_from, documents, format="messages", session_id="trip")
    assert done.counts["messages"] == len(documents)
    assert plain(await stored(memory, call, "trip")) == plain(SESSIONS["session-1"])


@pytest.mark.parametrize("wrapped", [False, True])
async def test_roles_and_contents(memory, call, tmp_path, wrapped):
    calls = [{"id": "c", "type": "function", "function": {"name": "search", "arguments": '{"query": "Malta"}'}}]
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Where to?"}], "created_at": "2024-05-17T12:00:00Z"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": "Sunny"},
        {"role": "assistant", "content": "To Malta."},
    ]
    path = tmp_path / "trip.json"
    path.write_text(json.dumps({"messages": said} if wrapped else said))
    done = await call(memory.import_from, path, format="roles", user_id="alice")
    assert done.counts["messages"] == len(said)
    found = await stored(memory, call, "trip", "alice")
    assert [one.type for one in found] == ["system", "human", "ai", "tool", "ai"]
    assert found[2].tool_calls[0]["args"] == {"query": "Malta"}
    again = await call(memory.import_from, {"messages": said}, format="roles", user_id="alice", session_id="trip")
    assert (dict(again.counts), again.unchanged["messages"]) == ({}, len(said))


async def test_any_other_history(memory, call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainDeprecationWarning)
        history = InMemoryChatMessageHistory(messages=list(SESSIONS["session-1"]))
    with pytest.raises(InvalidInputError, match="session_id is missing: a InMemoryChatMessageHistory has none"):
        await call(memory.import_from, history)
    await call(memory.import_from, history, session_id="trip")
    assert plain(await stored(memory, call, "trip")) == plain(SESSIONS["session-1"])


async def test_a_function_names_user_and_session(memory, call, tmp_path):
    url = foreign.sql_histories(tmp_path / "old.db")
    done = await call(
        memory.import_from, url, format="sql-history", sessions=lambda session: (f"user of {session}", "one")
    )
    assert done.counts["sessions"] == len(SESSIONS)
    for name, messages in SESSIONS.items():
        assert plain(await stored(memory, call, "one", f"user of {name}")) == plain(messages)


async def test_several_sessions_become_one(memory, call, tmp_path):
    url = foreign.sql_histories(tmp_path / "old.db")
    await call(memory.import_from, url, format="sql-history", sessions=lambda _: (None, "one"))
    await call(memory.import_from, url, format="sql-history", sessions=lambda _: (None, "one"))
    expected = [message for messages in SESSIONS.values() for message in messages]
    assert plain(await stored(memory, call, "one")) == plain(expected)


async def test_an_import_that_stopped_continues(memory, call, tmp_path, monkeypatch):
    url = foreign.sql_histories(tmp_path / "old.db")
    foreign.sql_history(url, "session-1").add_messages(foreign.conversation("c", 20))
    monkeypatch.setattr(importer_rows, "PAGE_ROWS", 10)
    pages = 0

    def stop(done: Any) -> None:
        nonlocal pages
        pages += bool(done.counts)
        if pages == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await call(memory.import_from, url, format="sql-history", progress=stop)
    assert 0 < (await call(memory.stats)).entries["messages"] < TOTAL + 81
    done = await call(memory.import_from, url, format="sql-history")
    assert done.unchanged["messages"] == 30
    expected = [*SESSIONS["session-1"], *foreign.conversation("c", 20)]
    assert plain(await stored(memory, call, "session-1")) == plain(expected)


KILLED = """
import os, signal, sys
from langchain_agentmem import AgentMemory
from langchain_agentmem.lifecycle.importers import rows

rows.PAGE_ROWS = 10
done = []

def kill(so_far):
    done.extend(so_far.counts and [1])
    if len(done) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

with AgentMemory.from_url(sys.argv[1]) as memory:
    memory.import_from(sys.argv[2], format="sql-history", progress=kill)
"""


@pytest.mark.parametrize("pages", [1, 4])
def test_an_import_of_a_killed_process_continues(lasting_url, tmp_path, pages):
    source = foreign.sql_histories(tmp_path / "old.db")
    foreign.sql_history(source, "session-1").add_messages(foreign.conversation("c", 20))
    killed = subprocess.run([sys.executable, "-c", KILLED, lasting_url, source, str(pages)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with AgentMemory.from_url(lasting_url) as memory:
        done = memory.import_from(source, format="sql-history")
        assert (done.counts["messages"], done.unchanged["messages"]) == (TOTAL + 81 - 10 * pages, 10 * pages)
        expected = [*SESSIONS["session-1"], *foreign.conversation("c", 20)]
        assert plain(memory.history("session-1").get_recent(1_000)) == plain(expected)


async def test_messages_that_came_later_are_added(memory, call, tmp_path):
    url = foreign.sql_histories(tmp_path / "old.db")
    await call(memory.import_from, url, format="sql-history")
    await call(memory.history("session-1").add_messages, [HumanMessage("said here")])
    foreign.sql_history(url, "session-1").add_messages([AIMessage("said there")])
    done = await call(memory.import_from, url, format="sql-history")
    assert dict(done.counts) == {"messages": 1}
    texts = [one.text for one in await stored(memory, call, "session-1")]
    assert texts[-2:] == ["said here", "said there"]


async def test_deleted_messages_do_not_come_back(memory, call, tmp_path):
    url = foreign.sql_histories(tmp_path / "old.db")
    await call(memory.import_from, url, format="sql-history")
    first, *_ = await stored(memory, call, "session-1")
    await call(memory.history("session-1").delete, [first.id])
    done = await call(memory.import_from, url, format="sql-history")
    assert dict(done.counts) == {}


async def test_equal_messages_and_equal_ids_of_a_source_all_come(memory, call, tmp_path):
    url = foreign.sql_histories(tmp_path / "old.db")
    repeated = [HumanMessage("ok"), HumanMessage("ok"), AIMessage("x", id="run-1"), AIMessage("x", id="run-1")]
    foreign.sql_history(url, "repeated").add_messages(repeated)
    await call(memory.import_from, url, format="sql-history")
    done = await call(memory.import_from, url, format="sql-history")
    assert dict(done.counts) == {}
    assert plain(await stored(memory, call, "repeated")) == plain(repeated)


DAMAGED = [
    "not JSON",
    "[1]",
    '{"type": "human"}',
    '{"type": "unknown", "data": {}}',
    '{"type": "ai", "data": {"content": 1}}',
]


@pytest.mark.parametrize("text", DAMAGED)
async def test_a_damaged_row_is_named_and_nothing_is_stored(memory, call, tmp_path, text, monkeypatch):
    monkeypatch.setattr(importer_rows, "PAGE_ROWS", 2)
    url = foreign.sql_histories(tmp_path / "old.db")
    with sqlite3.connect(tmp_path / "old.db") as connection:
        connection.execute("INSERT INTO message_store VALUES (77, 'broken', ?)", (text,))
    connection.close()
    with pytest.raises(
        InvalidInputError, match="Could not import row 77 of session 'broken' in the table message_store"
    ):
        await call(memory.import_from, url, format="sql-history")
    assert await call(memory.sessions.list) == []


async def test_a_string_in_redis_that_is_no_list(sqlite_memory, redis_url):
    with redis.Redis.from_url(redis_url) as client:
        client.set("memory:s", '{"a": 1}')
        with pytest.raises(InvalidInputError, match=r"session 's' .key 'memory:s'.: the string must hold a JSON list"):
            sqlite_memory.import_from(client, format="redis-strings")


async def test_what_the_guard_refuses_is_named(sqlite_url, tmp_path):
    url = foreign.sql_histories(tmp_path / "old.db")
    foreign.sql_history(url, "secret").add_messages([HumanMessage("AKIAIOSFODNN7EXAMPLE is my key")])
    with AgentMemory.from_url(sqlite_url, guard=Guard()) as memory:
        with pytest.raises(InvalidInputError, match="session 'secret'"):
            memory.import_from(url, format="sql-history")
        assert memory.sessions.list() == []


async def test_the_source_is_not_changed(sqlite_memory, tmp_path):
    url = foreign.sql_histories(tmp_path / "old.db")
    before = (tmp_path / "old.db").read_bytes()
    sqlite_memory.import_from(url, format="sql-history")
    assert (tmp_path / "old.db").read_bytes() == before


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (3, {}, "must be a path or a file, or an object of another package, got int: 3"),
        ("postgresql://me:secret@host/db", {}, "Could not recognise 'postgresql://host/db'"),
        ("old.db", {"format": "sql"}, "import_from has no format 'sql'. The formats are"),
        ("sqlite:///old.db", {"format": "sql-history", "sesions": 1}, "import_from has no argument 'sesions'"),
        ("sqlite:///old.db", {"format": "sql-history", "session_id": "a"}, "Pass sessions=…, a function"),
        ("sqlite:///old.db", {"format": "sql-history", "sessions": "a"}, "sessions"),
        ("redis://host", {"format": "redis-history", "sessions": str, "user_id": "a"}, "user_id='a' has no effect"),
        ("postgresql://host/db", {"format": "postgres-history"}, "table is missing"),
        ([], {"format": "roles"}, "session_id is missing"),
        ("sqlite+aiosqlite:///old.db", {"format": "sql-history"}, "names the asynchronous driver sqlite.aiosqlite"),
        ("missing.json", {"format": "roles"}, "Could not read 'missing.json': No such file"),
        ({"a": 1}, {"format": "roles", "session_id": "s"}, "must hold a list of messages"),
        (["a", 1], {"format": "roles", "session_id": "s"}, "Could not import row 1 of session 's'"),
        ("sqlite:///missing/old.db", {"format": "sql-history"}, "Could not read the table message_store at"),
        ([], {"format": "messages", "session_id": "s", "existing": "drop"}, 'existing must be "error"'),
    ],
)
async def test_wrong_arguments(sqlite_memory, source, options, said):
    with pytest.raises((InvalidInputError, InvalidTypeError), match=said):
        sqlite_memory.import_from(source, **options)


async def test_objects_that_are_imported_in_another_way(sqlite_memory, sqlite_url):
    with pytest.raises(InvalidTypeError, match=r"other.copy_to\(memory, session_id=…\)"):
        sqlite_memory.import_from(sqlite_memory.history("s"))
    with AgentMemory.from_url(sqlite_url) as other, pytest.raises(InvalidTypeError, match=r"other.copy_to\(memory\)"):
        sqlite_memory.import_from(other)


async def test_progress_tells_what_was_stored(memory, call, tmp_path):
    url = foreign.sql_histories(tmp_path / "old.db")
    told: list[str] = []
    await call(memory.import_from, url, format="sql-history", progress=lambda done: told.append(done.description))
    assert told == [f"Checked {TOTAL} rows", f"Imported 3 sessions, {TOTAL} messages"]


async def test_a_history_becomes_longer_than_a_page(memory, call, tmp_path, monkeypatch):
    monkeypatch.setattr(importer_rows, "PAGE_ROWS", 4)
    history = foreign.sql_history(f"sqlite:///{tmp_path / 'old.db'}", "long")
    history.add_messages(foreign.conversation("a", 5))
    await call(memory.import_from, history)
    assert plain(await stored(memory, call, "long")) == plain(foreign.conversation("a", 5))
    path = Path(tmp_path / "long.json")
    path.write_text(json.dumps(messages_to_dict(foreign.conversation("b", 5))))
    await call(memory.import_from, path, format="messages", user_id="bob")
    assert plain(await stored(memory, call, "long", "bob")) == plain(foreign.conversation("b", 5))


async def test_one_history_in_postgres_of_langchain_community(memory, call, postgres_database):
    history = foreign.community_history(postgres_database, "s", "chats")
    for message in SESSIONS["session-1"]:
        history.add_message(message)
    done = await call(memory.import_from, history, session_id="trip")
    assert done.counts["messages"] == len(SESSIONS["session-1"])
    assert plain(await stored(memory, call, "trip")) == plain(SESSIONS["session-1"])
    done = await call(memory.import_from, postgres_database, format="postgres-history", table="chats", user_id="bob")
    assert plain(await stored(memory, call, "s", "bob")) == plain(SESSIONS["session-1"])


async def test_histories_in_a_redis_cluster(sqlite_memory, call, tmp_path):
    url = new_url("redis-cluster", tmp_path)
    with redis.RedisCluster.from_url(url.replace("redis+cluster", "redis")) as client:
        for session, messages in SESSIONS.items():
            for message in messages:
                client.lpush(f"message_store:{session}", json.dumps(message_to_dict(message)))
        await imports_once(sqlite_memory, call, client, format="redis-history")
    await imports_once(sqlite_memory, call, url, format="redis-history", user_id="alice")
    await holds_all(sqlite_memory, call, "alice")


async def test_imported_messages_are_found_by_meaning(url, call, tmp_path):
    source = foreign.sql_histories(tmp_path / "old.db")
    with AgentMemory.from_url(url, embeddings=DeterministicFakeEmbedding(size=8)) as memory:
        await call(memory.import_from, source, format="sql-history")
        assert (await call(memory.reindex)).messages == 0


async def test_a_memory_under_a_key(lasting_url, call, tmp_path):
    source = foreign.sql_histories(tmp_path / "old.db")
    with AgentMemory.from_url(lasting_url, key=bytes(range(32))) as memory:
        await imports_once(memory, call, source, format="sql-history", user_id="alice")
        await holds_all(memory, call, "alice")
        done = await call(memory.import_from, foreign.GET_ALL, format="mem0")
        assert (done.counts["memories"], len(await call(memory.memories.list, "alice"))) == (2, 2)


async def imports_its_own(memory: AgentMemory, call: Any, said: str) -> None:
    """What the warning of a new memory names is imported by the call that it names."""
    with pytest.warns(ExistingDataWarning) as told:
        await call(memory.sessions.list)
    (text,) = [str(one.message) for one in told]
    source, options = re.search(r"memory\.import_from\('([^']*)', (.*?)\) or the command", text).groups()
    given = dict(re.findall(r"(\w+)='([^']*)'", options))
    assert (source, given["format"]) == (said, given["format"])
    await imports_once(memory, call, said, **given)


async def test_a_memory_in_the_same_sqlite_file(call, tmp_path):
    source = foreign.sql_histories(tmp_path / "one.db", "chats")
    with AgentMemory.from_url(source) as memory:
        await imports_its_own(memory, call, source)
        await holds_all(memory, call)


async def test_a_memory_in_the_same_postgres_database(call, postgres_database):
    names = foreign.postgres_histories(postgres_database)
    with AgentMemory.from_url(postgres_database) as memory:
        with pytest.warns(ExistingDataWarning, match="table='public.Chats'"):
            await call(memory.sessions.list)
        await imports_once(memory, call, postgres_database, format="postgres-history", table="public.Chats")
        await holds_all(memory, call, names=names)


async def test_a_memory_in_the_same_redis_database(call, redis_url):
    foreign.redis_histories(redis_url)
    with AgentMemory.from_url(redis_url) as memory:
        with pytest.warns(ExistingDataWarning, match="format='redis-history'"):
            await call(memory.sessions.list)
        await imports_once(memory, call, redis_url, format="redis-history")
        await holds_all(memory, call)


async def test_a_package_that_is_missing_is_named(sqlite_memory, monkeypatch):
    for name, source, format_, said in (
        ("sqlalchemy", "sqlite:///old.db", "sql-history", "needs the package sqlalchemy. Run pip install sqlalchemy"),
        ("psycopg", "postgresql://host/db", "store", "needs the extra .postgres."),
        ("redis", "redis://host", "redis-history", "needs the extra .redis."),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(ConfigurationError, match=said):
                sqlite_memory.import_from(source, format=format_)


@pytest.mark.parametrize(
    ("given", "options", "other"),
    [({"user_id": "bob"}, {}, "its user_id is 'bob'"), ({}, {"user_id": "bob"}, "the argument user_id is 'bob'")],
    ids=["document", "argument"],
)
def test_a_profile_in_redis_stays_with_its_user(sqlite_memory, redis_url, given, options, other):
    with redis.Redis.from_url(redis_url) as client:
        client.set("user_profile:alice", json.dumps({**given, "name": "Alice"}))
    with pytest.raises(InvalidInputError, match=f"the key names the user 'alice', but {other}"):
        sqlite_memory.import_from(redis_url, format="redis-strings", **options)
    assert sqlite_memory.profiles.get("bob").name is None


@pytest.mark.parametrize("given", ["{}", "sqlite:///{}"])
@pytest.mark.parametrize("format", ["sql-history", "store"])
async def test_a_missing_file_is_refused_and_not_created(sqlite_memory, tmp_path, given, format):
    with pytest.raises(InvalidInputError, match=r"nope\.db.*: there is no (such )?file"):
        sqlite_memory.import_from(given.format(tmp_path / "nope.db"), format=format)
    assert not (tmp_path / "nope.db").exists()


async def test_the_path_of_sql_histories(memory, call, tmp_path):
    foreign.sql_history(f"sqlite:///{tmp_path / 'old.db'}", "session-1").add_messages(foreign.conversation("c", 2))
    for path in (tmp_path / "old.db", str(tmp_path / "old.db")):
        await call(memory.import_from, path, format="sql-history")
    assert len(await stored(memory, call, "session-1")) == len(foreign.conversation("c", 2))
    with pytest.raises(InvalidInputError, match=r"Could not read the table no at .*old\.db"):
        await call(memory.import_from, str(tmp_path / "old.db"), format="sql-history", table="no")


async def test_a_table_that_two_formats_read_is_imported_once(memory, call, postgres_database):
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE message_store (id SERIAL PRIMARY KEY, session_id TEXT, message TEXT)")
        message = json.dumps(message_to_dict(HumanMessage("Hello")))
        connection.execute("INSERT INTO message_store (session_id, message) VALUES ('s', %s)", [message])
    for form, table in (("postgres-history", "message_store"), ("sql-history", "public.message_store")):
        await call(memory.import_from, postgres_database, format=form, table=table)
    assert await call(memory.history("s").count) == 1
