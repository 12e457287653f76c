"""An export reads the vectors of a large namespace in step with its pages."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import pytest
import redis
from langchain_core.embeddings import DeterministicFakeEmbedding

from langchain_agentmem import AgentMemory
from langchain_agentmem.backends.redis import transfer
from langchain_agentmem.backends.redis.vector_logs import VectorLogs

ITEMS, SIZE = 250, 8
RECORD = 8 + 4 * SIZE


@pytest.fixture
def memory(redis_url):
    with AgentMemory.from_url(redis_url, embeddings=DeterministicFakeEmbedding(size=SIZE)) as memory:
        for number in range(ITEMS):
            memory.store.put(("docs",), f"{number * 7 % ITEMS:03}", {"text": f"item {number}", "more": ["a", "b"]})
        yield memory


@pytest.fixture
def asked(monkeypatch):
    """The bytes that each script of `VectorLogs` returned."""
    found: Counter[str] = Counter()
    invoke = VectorLogs._invoke

    def counted(self: Any, name: str, *rest: Any) -> Any:
        answer = yield from invoke(self, name, *rest)
        found[name] += len(answer)
        return answer

    monkeypatch.setattr(VectorLogs, "_invoke", counted)
    return found


def exported(memory: AgentMemory, progress: Any = False) -> dict[str, Any]:
    file = io.BytesIO()
    memory.export(file, progress=progress)
    lines = map(json.loads, file.getvalue().splitlines())
    return {line["key"]: line.get("vectors", []) for line in lines if line["kind"] == "item"}


def test_each_record_is_read_once(memory, asked, monkeypatch):
    expected = exported(memory)
    assert (len(expected), len(next(iter(expected.values()))), asked) == (ITEMS, 1, {})
    monkeypatch.setattr(transfer, "_WHOLE_LOG", 1_000)
    assert exported(memory) == expected
    assert asked == {"stamps": 8 * ITEMS, "records": RECORD * ITEMS}
    assert exported(memory) == expected
    assert asked == {"stamps": 8 * ITEMS, "records": 2 * RECORD * ITEMS}


def compactions(url: str) -> int:
    """The number of times that logs were compacted."""
    with redis.Redis.from_url(url) as client:
        return sum(int(client.hget(key, "compacted") or 0) for key in client.scan_iter(match="*logs:*"))


def test_a_log_that_grows_and_is_compacted_between_two_pages(memory, asked, monkeypatch, redis_url):
    monkeypatch.setattr(transfer, "_WHOLE_LOG", 0)
    monkeypatch.setattr("langchain_agentmem.lifecycle.transfer.exporting.ROWS", 50)
    calls: list[int] = []

    def change(done: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            memory.store.put(("docs",), "249", {"text": "new"})
        if len(calls) == 3:
            for turn in range(8):
                for number in range(0, ITEMS, 2):
                    memory.store.put(("docs",), f"{number:03}", {"text": f"turn {turn} {number}"})

    before = exported(memory)
    found = exported(memory, change)
    after = exported(memory)
    monkeypatch.setattr(transfer, "_WHOLE_LOG", 10**9)
    assert after == exported(memory)
    assert compactions(redis_url)
    assert found.keys() == before.keys()
    for key, vectors in found.items():
        read_before = int(key) < 150
        assert vectors == (before if read_before else after)[key], key
    assert asked["stamps"] > 8 * ITEMS


def test_items_of_several_fields_and_without_vectors(redis_url, monkeypatch):
    monkeypatch.setattr(transfer, "_WHOLE_LOG", 0)
    embeddings = DeterministicFakeEmbedding(size=SIZE)
    with AgentMemory.from_url(redis_url, embeddings=embeddings) as memory:
        memory.store.put(("docs",), "both", {"a": "one", "b": "two"}, index=["a", "b"])
        memory.store.put(("docs",), "none", {"a": "one"}, index=False)
        memory.store.put(("docs", "sub"), "one", {"a": "three"}, index=["a"])
        found = exported(memory)
        assert {key: len(vectors) for key, vectors in found.items()} == {"both": 2, "none": 0, "one": 1}
        monkeypatch.setattr(transfer, "_WHOLE_LOG", 10**9)
        assert exported(memory) == found
