"""The full-text index of tables that an older version of this package wrote."""

from __future__ import annotations

from database import database

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.postgres import migrating

CONFIGURATION = """
CREATE TEXT SEARCH CONFIGURATION agentmem_words (COPY = english);
CREATE TEXT SEARCH DICTIONARY agentmem_stem (TEMPLATE = snowball, Language = english);
ALTER TEXT SEARCH CONFIGURATION agentmem_words ALTER MAPPING REPLACE english_stem WITH agentmem_stem
"""
"""Statements that create the analysis of version 3 on the server."""


async def test_the_index_of_version_3_is_used_and_brought_up_to_date(postgres_url, call, monkeypatch):
    with database(postgres_url) as opened:
        opened.execute(f'DROP SCHEMA IF EXISTS "{opened.schema}" CASCADE')
    with monkeypatch.context() as patched, AgentMemory.from_url(postgres_url) as memory:
        patched.setattr(migrating, "VERSION", 3)
        assert memory.history("s").count() == 0
    with database(postgres_url) as opened:
        for statement in CONFIGURATION.split(";"):
            opened.execute(statement)
        opened.execute(
            "SELECT agentmem_put_items('{a,a}', '{dog,korean}', ?, '{NULL,NULL}', 1, '{1,2}', ?, '{}', '{}', '{}')",
            ['{"text": "Running dogs"}', '{"text": "저는 서울에서 살아요"}'],
            ["Running dogs", "저는 서울에서 살아요"],
        )
        opened.execute("UPDATE agentmem_schema SET indexed = true")
    with AgentMemory.from_url(postgres_url) as memory:
        assert [item.key for item in await call(memory.store.search, ("a",), query="dog runs")] == ["dog"]
        assert await call(memory.store.search, ("a",), query="서울") == []
        await call(memory.reindex)
        assert [item.key for item in await call(memory.store.search, ("a",), query="서울")] == ["korean"]
        assert [item.key for item in await call(memory.store.search, ("a",), query="dog runs")] == ["dog"]
        await call(memory.close)
    with database(postgres_url) as opened:
        assert opened.execute(
            "SELECT count(*) FROM pg_ts_config WHERE cfgnamespace = current_schema()::regnamespace"
        ) == [(0,)]
