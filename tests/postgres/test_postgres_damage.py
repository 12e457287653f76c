"""Rows in Postgres that were damaged or altered raise `DamagedDataError`, whatever is wrong with them."""

from __future__ import annotations

import pytest
from database import database
from langchain_core.messages import HumanMessage
from surfaces import CONFIG, talk

from langchain_agentmem import AgentMemory, DamagedDataError

ITEMS = [
    "UPDATE store SET value = '[1]'",
    "UPDATE store SET value = '\"x\"'",
    "UPDATE store SET value = 'null'",
    "UPDATE store SET value = '5'",
    'UPDATE store SET value = \'{"agentmem:json": "no JSON"}\'',
    "UPDATE store SET created_at = NULL",
    "UPDATE store SET updated_at = NULL",
]


@pytest.mark.parametrize("damage", ITEMS)
async def test_a_damaged_item_is_an_error_of_ours(postgres_url, call, damage):
    with AgentMemory.from_url(postgres_url) as memory, database(postgres_url) as opened:
        memory.store.put(("a",), "k", {"text": "pizza"})
        opened.execute(damage)
        for method, *arguments in ((memory.store.get, ("a",), "k"), (memory.store.search, ("a",))):
            with pytest.raises(DamagedDataError, match="damaged or altered"):
                await call(method, *arguments)
        memory.store.delete(("a",), "k")
        await call(memory.close)


MESSAGES = [
    "UPDATE agentmem_messages SET metadata = '{no JSON'",
    "UPDATE agentmem_messages SET body = 'no document'",
    "UPDATE agentmem_messages SET body = ''",
    "UPDATE agentmem_messages SET type = 'unknown'",
]


@pytest.mark.parametrize("damage", MESSAGES)
async def test_a_damaged_message_is_an_error_of_ours(postgres_url, call, damage):
    with AgentMemory.from_url(postgres_url) as memory, database(postgres_url) as opened:
        memory.history("s").add_messages([HumanMessage("a")])
        opened.execute(damage)
        with pytest.raises(DamagedDataError):
            await call(memory.history("s").get_recent)
        await call(memory.close)


async def test_a_damaged_title_is_an_error_of_ours(postgres_url, call):
    with AgentMemory.from_url(postgres_url) as memory, database(postgres_url) as opened:
        memory.history("s").add_messages([HumanMessage("a")])
        opened.execute(r"UPDATE agentmem_sessions SET title = '\xff'::bytea")
        with pytest.raises(DamagedDataError, match="'s'"):
            await call(memory.sessions.list)
        await call(memory.close)


CHECKPOINTS = [
    "UPDATE checkpoints SET checkpoint = '[]'",
    "UPDATE checkpoints SET checkpoint = '\"x\"'",
    "UPDATE checkpoints SET checkpoint = 'null'",
    "UPDATE checkpoints SET checkpoint = '{}'",
    "UPDATE checkpoints SET checkpoint = checkpoint - 'document' - 'channel_versions'",
    'UPDATE checkpoints SET checkpoint = checkpoint || \'{"document": "#", "channel_versions": []}\'',
    'UPDATE checkpoints SET checkpoint = checkpoint || \'{"document": 5, "channel_versions": "x"}\'',
    'UPDATE checkpoints SET checkpoint = checkpoint || \'{"document": null, "channel_values": [1]}\'',
    "UPDATE checkpoints SET type = 'other', metadata = '[]'",
    "UPDATE checkpoints SET type = 'other', metadata = 'null'",
    "UPDATE checkpoint_writes SET type = NULL",
    "UPDATE checkpoint_writes SET type = 'unknown'",
    "UPDATE checkpoint_writes SET type = 'agentmem:'",
]


@pytest.mark.parametrize("damage", CHECKPOINTS)
@pytest.mark.parametrize("compact", [True, False])
async def test_a_damaged_checkpoint_is_an_error_of_ours(postgres_url, call, damage, compact):
    with AgentMemory.from_url(postgres_url, compact=compact) as memory, database(postgres_url) as opened:
        talk(memory).invoke({"messages": [HumanMessage("a")]}, CONFIG)
        saver = memory.checkpointer
        saver.put_writes(saver.get_tuple(CONFIG).config, [("messages", [HumanMessage("b")])], "task")
        opened.execute(damage)
        with pytest.raises(DamagedDataError):
            await call(saver.get_tuple, CONFIG)
        with pytest.raises(DamagedDataError):
            await call(saver.list, CONFIG)
        saver.delete_thread("1")
        await call(memory.close)
