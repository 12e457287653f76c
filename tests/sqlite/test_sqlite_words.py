"""The full-text index of a file that an older version of this package wrote."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.namespaces import encode_namespace

SCHEMA = Path(__file__).parent.parent / "sqlite_version_3.sql"
TEXTS = {
    "english": {
        "hindi": "मुझे हिन्दी पसंद है",
        "korean": "저는 서울에서 살아요",
        "dog": "Running dogs",
        "cake": "A cake 🎂",
    },
    "german": {"cat": "ich lieb katz", "street": "lang strass"},
}
"""Texts in the index of version 3: whole texts in English, stems in other languages."""
QUERIES = {
    "english": {"हिन्दी": "hindi", "서울": "korean", "runs": "dog", "🎂": "cake"},
    "german": {"Katzen": "cat", "Straße": "street"},
}


@pytest.mark.parametrize("language", TEXTS)
async def test_the_index_of_version_3_is_brought_up_to_date(sqlite_url, call, language):
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as opened:
        opened.executescript(SCHEMA.read_text())
        opened.execute("INSERT INTO agentmem_schema VALUES (3, ?)", (language,))
        for number, (key, text) in enumerate(TEXTS[language].items(), 1):
            item = (number, "default", encode_namespace(("a",)), key, "{}", 0.0, 0.0, 2 * number)
            columns = "id, tenant, namespace, key, value, created_at, updated_at, revision"
            opened.execute(f"INSERT INTO agentmem_items ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", item)
            opened.execute("INSERT INTO agentmem_item_texts (rowid, text) VALUES (?, ?)", (number, text))
    opened.close()
    with AgentMemory.from_url(f"{sqlite_url}?language={language}") as memory:
        for query, key in QUERIES[language].items():
            assert [item.key for item in await call(memory.store.search, ("a",), query=query)] == [key]
        await call(memory.store.put, ("a",), "new", {"text": "Katzen"})
        assert "new" in [item.key for item in await call(memory.store.search, ("a",), query="Katzen")]
        await call(memory.store.delete, ("a",), "new")
        await call(memory.close)
