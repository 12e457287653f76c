"""Calls that are larger than what Redis takes as one command, or as one value."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
from langchain_core.messages import HumanMessage
from langgraph.store.base import PutOp
from servers import redis_server
from test_redis_scripts import use_everything

from langchain_agentmem import AgentMemory, InvalidInputError, StorageError
from langchain_agentmem.backends.contract import Append, ItemPut, MessageRow, SessionKey
from langchain_agentmem.backends.redis import scripts
from langchain_agentmem.encoding.references import Typed
from langchain_agentmem.programs import Program, storage_program

MANY = 180_000
"""Messages with six arguments each: more than the 1,048,576 of one command."""
KEY = SessionKey("default", None, "s")


def rows(number: int) -> list[MessageRow]:
    """Messages that look alike, as those of one application do."""
    body = b"a message of the usual length, of which only a few bytes in the middle (%06d) are its own, and the rest is not"
    return [MessageRow(at, "human", None, False, 1.0, None, Typed("t", body % at)) for at in range(number)]


def append(number: int) -> Append:
    return Append(rows(number), [], time.time(), token=number)


def test_more_messages_than_a_command_has_arguments(redis_url):
    with AgentMemory.from_url(redis_url) as memory:
        log = memory.backend.messages
        assert memory.backend.write(log.append(KEY, append(MANY))) == 0
        assert memory.backend.read(log.count(KEY, None, time.time())) == MANY
        read = memory.backend.read(log.window(KEY, None, None, time.time()))
        assert [row.position for row in read] == list(range(MANY))
        assert [row.body for row in read[::1000]] == [row.body for row in rows(MANY)[::1000]]


def test_more_items_than_a_command_has_arguments(redis_url):
    with AgentMemory.from_url(redis_url) as memory:
        text = '{"n": %d, "words": "a value of the usual length, most of which is what the others have as well"}'
        puts = [ItemPut(("n",), str(number), text % number, None, None) for number in range(140_000)]
        items = memory.backend.items
        memory.backend.write(items.put("default", puts, time.time()))
        found = memory.backend.read(items.get("default", [(("n",), put.key) for put in puts], time.time()))
        assert [row.value for row in found] == [put.value for put in puts]
        memory.backend.write(items.delete("default", [(("n",), put.key) for put in puts[1:]]))
        assert [item.key for item in memory.store.search(("n",))] == ["0"]


def test_a_large_call_is_stored_whole_or_not_at_all():
    with redis_server() as server, AgentMemory.from_url(server.url) as memory:
        memory.history("other").add_messages([HumanMessage("a")])
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", 1)
            with pytest.raises(StorageError, match="Nothing was stored"):
                memory.backend.write(memory.backend.messages.append(KEY, append(50_000)))
            client.config_set("maxmemory", 0)
        assert memory.history("s").count() == 0


def test_an_error_after_a_part_was_stored_does_not_say_that_nothing_was():
    now = time.time()
    with (
        redis_server() as server,
        AgentMemory.from_url(server.url) as memory,
        redis.Redis.from_url(server.url) as client,
    ):
        items = memory.backend.items

        @storage_program
        def two_steps() -> Program[None]:
            yield from items.put("default", [ItemPut(("n",), "first", "{}", None, None)], now)
            client.config_set("maxmemory", 1)
            yield from items.put("default", [ItemPut(("n",), "second", "{}", None, None)], now)

        with pytest.raises(StorageError, match="A part of the call may have been stored"):
            memory.backend.write(two_steps())
        assert memory.store.get(("n",), "first").value == {}


async def test_every_operation_may_have_many_arguments(any_redis_url, call, monkeypatch):
    monkeypatch.setattr(scripts, "MAX_ARGUMENTS", 0)
    with AgentMemory.from_url(any_redis_url) as memory:
        await use_everything(memory, call)
        await call(memory.close)


async def test_a_value_that_is_too_large_for_redis_is_refused_before_anything_is_stored(redis_url, call, monkeypatch):
    monkeypatch.setattr(scripts, "MAX_BYTES", 1_000_000)
    with AgentMemory.from_url(redis_url) as memory:

        async def refused(method: Any, *arguments: Any) -> None:
            with pytest.raises(InvalidInputError, match="Nothing was stored"):
                await call(method, *arguments)

        await refused(memory.history("s").add_messages, [HumanMessage("a" * 1_000_001)])
        await refused(memory.store.put, ("n",), "k", {"text": "a" * 1_000_001}, False)
        await refused(memory.store.batch, [PutOp(("n",), key, {"text": "a" * 600_000}, False) for key in "abcd"])
        assert await call(memory.history("s").count) == 0
        assert await call(memory.store.search, ()) == []
        await call(memory.close)
