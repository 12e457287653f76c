"""Rows that were damaged are `DamagedDataError`, which names what they belong to; the rest stays readable."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import Any

import psycopg
import pytest
import redis
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from langchain_agentmem import AgentMemError, AgentMemory, DamagedDataError
from langchain_agentmem.encoding import limits
from langchain_agentmem.encoding.codec import Codec
from langchain_agentmem.encoding.json_values import load_json

CHECKPOINT: Any = {
    "v": 4,
    "id": "1",
    "ts": "",
    "channel_values": {"m": [HumanMessage("long " * 100), AIMessage("longer " * 100)], "d": {"k": "text " * 100}},
    "channel_versions": {"m": "1", "d": "1"},
    "versions_seen": {},
}
CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


async def fill(memory: AgentMemory, call: Any) -> None:
    await call(memory.history("s").add_messages, [SystemMessage("rules"), HumanMessage("pizza"), AIMessage("pasta")])
    await call(memory.history("other").add_messages, [HumanMessage("pizza")])
    for key in ("bad", "good"):
        await call(memory.store.put, ("a",), key, {"text": "pizza"})
    stored = await call(memory.checkpointer.put, CONFIG, CHECKPOINT, {"step": 1}, CHECKPOINT["channel_versions"])
    await call(memory.checkpointer.put_writes, stored, [("m", ["written " * 100])], "task")


def reads(memory: AgentMemory) -> dict[str, tuple[Any, ...]]:
    history, store, saver = memory.history("s"), memory.store, memory.checkpointer
    return {
        "recent": (history.get_recent,),
        "stored": (history.stored,),
        "pages": (history.pages,),
        "search": (history.search, "pizza"),
        "all sessions": (memory.sessions.list,),
        "get": (store.get, ("a",), "bad"),
        "items": (store.search, ("a",)),
        "update": (store.update, ("a",), "bad", lambda value: value or {}),
        "checkpoint": (saver.get_tuple, CONFIG),
        "checkpoints": (saver.list, None),
        "threads": (saver.threads,),
        "add": (history.add_messages, [HumanMessage("more")]),
        "put writes": (saver.put_writes, {"configurable": {"thread_id": "t", "checkpoint_id": "1"}}, [("x", 1)], "t2"),
        "copy": (saver.copy_thread, "t", "copy"),
        "prune": (saver.prune, ["t"]),
    }


async def read_all(memory: AgentMemory, call: Any) -> list[str]:
    """Read everything; the errors, all of which are ours."""
    errors = []
    for method, *arguments in reads(memory).values():
        try:
            await call(method, *arguments)
        except AgentMemError as error:
            errors.append(str(error))
    return errors


async def test_any_column_of_a_sqlite_file_may_be_garbage(tmp_path, call):
    path = tmp_path / "memory.db"
    with AgentMemory.from_url(f"sqlite:///{path}") as memory:
        await fill(memory, call)
    original = path.read_bytes()
    connection = sqlite3.connect(path)
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE TABLE agentmem%' AND name <> 'agentmem_schema'"
    ).fetchall()
    columns = [(table, row[1]) for (table,) in tables for row in connection.execute(f"PRAGMA table_info({table})")]
    connection.close()
    errors = []
    for table, column in columns:
        path.write_bytes(original)
        with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.IntegrityError):
            connection.execute(
                f"UPDATE {table} SET {column} = ?", (b"\x80" if column in ("data", "body") else "damaged",)
            )
            connection.commit()
        with AgentMemory.from_url(f"sqlite:///{path}") as memory:
            errors += await read_all(memory, call)
        for file in tmp_path.glob("memory.db-*"):
            file.unlink()
    assert len(columns) > 50
    for what in ("Session 's'", "Thread 't'", "Item 'bad'", "Message 1 of session 's'"):
        assert any(what in error for error in errors)


DAMAGES = [
    "UPDATE store SET value = '[]'",
    'UPDATE store SET value = \'{"agentmem:json": "["}\'',
    "UPDATE checkpoints SET checkpoint = '[]'",
    'UPDATE checkpoints SET checkpoint = \'{"v": "agentmem"}\'',
    'UPDATE checkpoints SET checkpoint = \'{"v": "agentmem", "type": 5, "document": 5, "values": {}}\'',
    'UPDATE checkpoints SET type = NULL, checkpoint = \'{"v": 4, "channel_values": 5}\'',
    'UPDATE checkpoints SET type = NULL, checkpoint = \'{"v": 4, "channel_versions": [1]}\'',
    "UPDATE agentmem_elements SET data = 'x'",
    "UPDATE agentmem_channel_values SET data = 'x'",
    "UPDATE checkpoint_writes SET blob = 'x'",
    "UPDATE agentmem_messages SET body = 'x'",
    "UPDATE agentmem_messages SET type = 'pickle'",
    "UPDATE agentmem_messages SET words = 'xyz'",
    "UPDATE agentmem_messages SET metadata = '['",
]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_any_row_of_a_postgres_database_may_be_garbage(postgres_url, call, damage):
    with AgentMemory.from_url(postgres_url) as memory:
        await fill(memory, call)
        with psycopg.connect(postgres_url.partition("?")[0], autocommit=True) as connection:
            connection.execute(f"SET search_path = {postgres_url.partition('schema=')[2]}")
            assert connection.execute(damage).rowcount > 0
        assert await read_all(AgentMemory(memory.backend), call) != []


@pytest.mark.parametrize("garbage", [b"", b"\x80", b"\x00\x00\x00\x01\x90xyz", b"damaged"], ids=repr)
async def test_any_value_of_a_redis_database_may_be_garbage(redis_url, call, garbage):
    with AgentMemory.from_url(redis_url) as memory:
        await fill(memory, call)
    with redis.Redis.from_url(redis_url) as client:
        dumps = {key: client.dump(key) for key in client.scan_iter()}
        errors = []
        for key in dumps:
            kind = client.type(key)
            if kind == b"string":
                client.set(key, garbage)
            elif kind == b"hash":
                client.hset(key, mapping=dict.fromkeys(client.hkeys(key), garbage))
            elif kind == b"list":
                for at in range(client.llen(key)):
                    client.lset(key, at, garbage)
            else:
                continue
            with AgentMemory.from_url(redis_url) as memory:
                errors += await read_all(memory, call)
            client.flushdb()
            for name, dump in dumps.items():
                client.restore(name, 0, dump)
    assert len(errors) > 10


async def test_one_damaged_message_is_named_and_other_sessions_are_readable(memory, call, monkeypatch):
    load = Codec.load_message

    def damaged(self: Codec, typed: Any) -> Any:
        message = load(self, typed)
        if message.content == "pizza" and message.id == "bad":
            return load(self, ("message:HumanMessage", b"\x80"))
        return message

    await call(
        memory.history("s").add_messages, [HumanMessage("one"), HumanMessage("pizza", id="bad"), HumanMessage("three")]
    )
    await call(memory.history("other").add_messages, [HumanMessage("fine")])
    monkeypatch.setattr(Codec, "load_message", damaged)
    for method, *arguments in (
        (memory.history("s").get_recent,),
        (memory.history("s").stored,),
        (memory.history("s").pages,),
        (memory.history("s").search, "pizza"),
    ):
        with pytest.raises(DamagedDataError, match=r"^Message 1 of session 's': "):
            await call(method, *arguments)
    assert (await call(memory.history("s").get_recent, 1))[0].content == "three"
    assert (await call(memory.history("other").get_recent))[0].content == "fine"
    assert len(await call(memory.sessions.list)) == 2


async def test_a_damaged_summary_is_made_again(sqlite_memory, sqlite_url, call, caplog):
    compressor = sqlite_memory.compressor(lambda messages: AIMessage("in short"), max_messages=2)
    history = sqlite_memory.history("s", compressor=compressor)
    await call(history.add_messages, [HumanMessage(str(number)) for number in range(6)])
    whole = history.messages
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("UPDATE agentmem_summaries SET value = '{}'").rowcount == 1
        connection.commit()
    assert sqlite_memory.history("s", compressor=compressor).messages == whole
    assert "A new summary will be written" in caplog.text


def test_a_compressed_row_is_read_up_to_a_bound(monkeypatch):
    codec = Codec()
    large = codec.dump_document({"text": "x" * 100_000})
    assert len(large.data) < 2_000
    monkeypatch.setattr(limits, "MAX_VALUE_BYTES", 100_000)
    with pytest.raises(DamagedDataError, match="larger than 100,000 bytes once decompressed"):
        codec.load_document(large)
    monkeypatch.setattr(limits, "MAX_VALUE_BYTES", len("x" * 100_000) + 100)
    assert codec.load_document(large) == {"text": "x" * 100_000}
    with pytest.raises(DamagedDataError, match="is incomplete"):
        codec.load_document((large.type, large.data[:-6]))


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, '{"n": ' + "9" * 5_000 + "}", None, b"\x80"],
    ids=lambda one: repr(one)[:10],
)
def test_hostile_json_is_damage(text):
    with pytest.raises(DamagedDataError):
        load_json(text)
