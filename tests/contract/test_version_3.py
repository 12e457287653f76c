"""A database that version 3 of the layout wrote is brought up to date at its first use."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from database import database
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from langchain_agentmem import AgentMemory, Retention
from langchain_agentmem.backends.postgres import migrating
from langchain_agentmem.backends.redis.scripts import slot

SCHEMA = Path(__file__).parent.parent / "sqlite_version_3.sql"
SECRET = "My number is 4711"
LEFT_OVER = {"trimmed": SECRET, "cleared": SECRET}
"""The titles that version 3 left when it deleted their messages."""


def talk(memory: AgentMemory) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage("ok")]})
    builder.add_edge(START, "reply")
    return builder.compile(checkpointer=memory.checkpointer)


def turn(user_id: str) -> Any:
    return {"configurable": {"thread_id": "1", "user_id": user_id}}


@pytest.fixture
def old_url(lasting_url: str, tmp_path: Path, monkeypatch) -> str:
    """The URL of a database as version 3 left it."""
    with AgentMemory.from_url(lasting_url) as memory:
        memory.history("whole").add_messages([HumanMessage(SECRET), AIMessage("ok")])
        memory.history("named").add_messages([AIMessage("Good morning")])
        memory.sessions.rename("named", "Numbers")
        trimmed = memory.history("trimmed", retention=Retention(max_messages=2))
        trimmed.add_messages([HumanMessage(SECRET)])
        trimmed.add_messages([AIMessage("a"), HumanMessage("b")])
        memory.history("cleared").add_messages([HumanMessage(SECRET)])
        memory.history("cleared").clear()
        talk(memory).invoke({"messages": [HumanMessage("hi")]}, turn("alice"))
    if lasting_url.startswith("sqlite"):
        _as_sqlite_of_version_3(Path(lasting_url.removeprefix("sqlite:///")), tmp_path / "new.db")
    elif lasting_url.startswith("postgres"):
        _as_postgres_of_version_3(lasting_url, monkeypatch)
    else:
        _as_redis_of_version_3(lasting_url)
    return lasting_url


def _as_sqlite_of_version_3(path: Path, new: Path) -> None:
    shutil.move(path, new)
    with sqlite3.connect(path) as opened:
        opened.executescript(SCHEMA.read_text())
        opened.execute("INSERT INTO agentmem_schema VALUES (3, 'english')")
        opened.execute("ATTACH ? AS newer", (str(new),))
        for table in ("sessions", "messages", "threads", "checkpoints", "channel_values", "elements", "writes"):
            columns = ", ".join(row[1] for row in opened.execute(f"PRAGMA main.table_info(agentmem_{table})"))
            opened.execute(f"INSERT INTO agentmem_{table} ({columns}) SELECT {columns} FROM newer.agentmem_{table}")
        for session_id, title in LEFT_OVER.items():
            opened.execute("UPDATE agentmem_sessions SET title = ? WHERE session_id = ?", (title, session_id))
    opened.close()


def _as_postgres_of_version_3(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with database(url) as opened:
        schema, base = opened.schema, url.partition("?")[0]
    with psycopg.connect(base, autocommit=True) as admin:
        admin.execute(f'ALTER SCHEMA "{schema}" RENAME TO "{schema}_new"')
        with monkeypatch.context() as patched, AgentMemory.from_url(url) as memory:
            patched.setattr(migrating, "VERSION", 3)
            assert memory.history("whole").count() == 0
        tables = ("sessions", "messages", "threads", "channel_values", "elements")
        for table in (*(f"agentmem_{name}" for name in tables), "checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            named = admin.execute(
                "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute "
                "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                (f'"{schema}".{table}',),
            ).fetchone()
            columns = named[0] if named else ""
            admin.execute(
                f'INSERT INTO "{schema}".{table} ({columns}) OVERRIDING SYSTEM VALUE '
                f'SELECT {columns} FROM "{schema}_new".{table}'
            )
        for table in ("agentmem_sessions", "agentmem_threads"):
            admin.execute(f"SELECT setval(pg_get_serial_sequence('\"{schema}\".{table}', 'id'), 1000)")
        for session_id, title in LEFT_OVER.items():
            changed = (title.encode(), session_id)
            admin.execute(f'UPDATE "{schema}".agentmem_sessions SET title = %s WHERE session_id = %s', changed)
        admin.execute(f'DROP SCHEMA "{schema}_new" CASCADE')


def _as_redis_of_version_3(url: str) -> None:
    kind = redis.RedisCluster if "+cluster" in url else redis.Redis
    client: Any = kind.from_url(url.replace("+cluster", "").partition("?")[0])
    for session_id in ("whole", "named", "trimmed", "cleared"):
        key = slot("session", "default", "", session_id) + "session"
        client.hdel(key, "titled")
        if session_id in LEFT_OVER:
            client.hset(key, "title", LEFT_OVER[session_id])
    client.hdel(slot("thread", "default", "1") + "thread", "user:alice")
    client.close()


async def test_titles_of_version_3_go_with_their_messages(old_url, call):
    with AgentMemory.from_url(old_url) as memory:
        titles = {info.session_id: info.title for info in await call(memory.sessions.list)}
        assert titles == {"whole": SECRET, "named": "Numbers", "trimmed": None, "cleared": None}
        await call(memory.history("named").add_messages, [HumanMessage("And you?")])
        await call(memory.history("trimmed").add_messages, [HumanMessage("c")])
        await call(memory.history("whole").clear)
        titles = {info.session_id: info.title for info in await call(memory.sessions.list)}
        assert titles == {"whole": None, "named": "Numbers", "trimmed": "c", "cleared": None}
        await call(memory.close)


async def test_a_thread_of_version_3_keeps_its_owner(old_url, call):
    with AgentMemory.from_url(old_url) as memory:
        (info,) = await call(memory.checkpointer.threads, user_id="alice")
        assert info.users == {"alice": info.updated_at}
        await call(talk(memory).invoke, {"messages": [HumanMessage("hi")]}, turn("bob"))
        for user in ("alice", "bob"):
            (found,) = await call(memory.checkpointer.threads, user_id=user)
            assert set(found.users) == {"alice", "bob"}
            assert found.users["alice"] == info.updated_at
        await call(memory.checkpointer.copy_thread, "1", "2")
        assert len(await call(memory.checkpointer.threads, user_id="alice")) == 2
        await call(memory.close)


async def test_items_of_a_database_of_version_3_are_changed(old_url, call):
    """Its tokens of changes are kept in another way since."""
    with AgentMemory.from_url(old_url) as memory:
        for _ in range(2):
            await call(memory.store.update, ("n",), "k", lambda value: {"n": (value or {"n": 0})["n"] + 1})
        assert (await call(memory.store.get, ("n",), "k")).value == {"n": 2}
        await call(memory.close)
