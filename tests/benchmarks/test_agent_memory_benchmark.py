"""`benchmarks/agent_memory_benchmark.py`: the adapter for an open harness, with the harness' interface and a tiny data set."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from memory_bench_shape import Document, MemoryProvider, TinyDataset, install
from test_compression_benchmark import loaded

from langchain_agentmem import AgentMemory


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Any:
    registry = install(monkeypatch)
    monkeypatch.setenv("AGENTMEM_EMBEDDINGS", "none")
    module = loaded("agent_memory_benchmark")
    assert registry == {}
    return module


@pytest.fixture
def provider(harness, tmp_path):
    made = harness.AgentMemoryProvider(k=2)
    made.prepare(tmp_path / "store", {"talk", "chat"})
    yield made
    made.cleanup()


def test_the_retrieval_step_finds_the_documents_with_the_answers(harness, tmp_path, capsys):
    harness.main(["retrieval", "--dataset", "tiny", "--split", "all", "--output-dir", str(tmp_path)])
    assert "tiny all: 4 questions, 4 documents, recall 1.000" in capsys.readouterr().out
    assert (tmp_path / "tiny" / "agentmem" / "_store" / "all" / "agentmem.db").exists()


def test_the_command_line_of_the_harness_knows_the_memory(harness, capsys):
    harness.main(["run", "--dataset", "locomo"])
    assert capsys.readouterr().out == "the harness ran run --dataset locomo\n"
    assert issubclass(harness.REGISTRY["agentmem"], MemoryProvider)


def test_a_document_is_a_session_of_messages_with_speakers_and_dates(harness, provider, tmp_path):
    provider.ingest(TinyDataset().load_documents("all"))
    with AgentMemory.from_url(f"sqlite:///{tmp_path}/store/agentmem.db", tenant=str(tmp_path / "store")) as memory:
        first = memory.history("talk_1", user_id="talk").messages
        assert [message.text for message in first] == ["Mia: I sold the old piano. [image: a piano]"]
        assert first[0].additional_kwargs["created_at"] == "2023-05-08T13:56:00+00:00"
        assert [message.type for message in memory.history("chat_1", user_id="chat").messages] == ["human", "ai"]
        plain = memory.history("chat_2", user_id="everybody").messages
        assert [len(message.text) for message in plain] == [29, 1360, 24]


def test_a_search_returns_messages_with_the_ids_of_their_documents(harness, provider):
    provider.ingest(TinyDataset().load_documents("all"))
    found, raw = provider.retrieve("moved to Bern", 1, user_id="talk")
    expected = Document("talk_2", "Tom: My sister moved to Bern.\nMia: Do you miss her?", "talk")
    assert [(one.id, one.user_id) for one in found] == [("talk_2", "talk")]
    assert found[0].content.endswith(expected.content)
    assert raw["results"][0]["session"] == "talk_2"
    assert 0 < raw["results"][0]["score"] <= 1
    assert provider.retrieve("moved to Bern", 1, user_id="chat")[0] == []


def test_the_methods_for_event_loops_do_the_same(harness, provider):
    documents = TinyDataset().load_documents("all")

    async def stored_twice() -> Any:
        await provider.async_ingest(documents)
        await provider.async_ingest(documents)  # replaces: no message is stored twice
        return await provider.async_retrieve("piano", user_id="talk")

    found, raw = asyncio.run(stored_twice())
    assert [one.id for one in found] == ["talk_1"]
    assert raw == provider.retrieve("piano", user_id="talk")[1]


def test_a_memory_that_is_not_open_is_refused(harness):
    with pytest.raises(RuntimeError, match="call prepare"):
        harness.AgentMemoryProvider().retrieve("a query")
